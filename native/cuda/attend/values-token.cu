// Instances of the value kernel with a scale and a zero point a token, and outliers where blocks carry them.
#include "cuda/attend/instances.h"
#include "cuda/attend/values.cuh"

#define KVQ_INSTANCE(bits, head_dim) KVQ_VALUES(token, false, bits, head_dim)
KVQ_EACH_INSTANCE
