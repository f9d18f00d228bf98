// Instances of the key kernel with offline scales, and outliers where blocks carry them.
#include "cuda/attend/instances.h"
#include "cuda/attend/keys.cuh"

#define KVQ_INSTANCE(bits, head_dim) KVQ_KEYS(channel, false, bits, head_dim)
KVQ_EACH_INSTANCE
