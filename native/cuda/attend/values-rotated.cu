// Instances of the value kernel for rotated values.
#include "cuda/attend/instances.h"
#include "cuda/attend/values.cuh"

#define KVQ_INSTANCE(bits, head_dim) KVQ_VALUES(rotated, true, bits, head_dim)
KVQ_EACH_INSTANCE
