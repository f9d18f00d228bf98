// AVX2 instance of add.simd.h.
#if defined(__x86_64__)
#include "ops/add/add.simd.h"

void kvq::avx2::add(float *x, const float *y, size_t count) { add_arrays(x, y, count); }
#endif
