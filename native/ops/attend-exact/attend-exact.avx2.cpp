// AVX2 instance of the flash-decode in attend-exact.simd.h.
#if defined(__x86_64__)
#include "ops/attend-exact/attend-exact.simd.h"

void kvq::avx2::attend_exact(const exact_call &call) { attend(call); }
#endif
