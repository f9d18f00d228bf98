// AVX-512 instance of swiglu.simd.h.
#if defined(__x86_64__)
#include "ops/swiglu/swiglu.simd.h"

void kvq::avx512::swiglu(const float *gate, const float *up, size_t width, float *out) { swiglu_row(gate, up, width, out); }
#endif
