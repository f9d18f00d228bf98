// Instances of the key kernel with page-local scales.
#include "cuda/attend/instances.h"
#include "cuda/attend/keys.cuh"

#define KVQ_INSTANCE(bits, head_dim) KVQ_KEYS(page, true, bits, head_dim)
KVQ_EACH_INSTANCE
