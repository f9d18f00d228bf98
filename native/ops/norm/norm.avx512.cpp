// AVX-512 instance of norm.simd.h.
#if defined(__x86_64__)
#include "ops/norm/norm.simd.h"

void kvq::avx512::rms_norm(const float *x, const float *weight, float epsilon, size_t width, float *y) { rms_norm_row(x, weight, epsilon, width, y); }
#endif
