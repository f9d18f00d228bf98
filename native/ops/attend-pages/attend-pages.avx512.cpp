// The AVX-512 kernels of compressed pages.
#if defined(__x86_64__)
#include "ops/attend-pages/avx512.h"

#include "ops/attend-pages/finish.simd.h"
#include "ops/attend-pages/stage.simd.h"
#include "ops/attend-pages/keys-fixed.avx512.h"

namespace kvq::avx512 {
constinit const page_kernels fast_pages = {fixed_scores, weigh, fixed_values, finish, stage_page, true, 64, "avx512 int16 keys", "avx512 int8 levels, 16-bit weights"};
constinit const page_kernels exact_pages = {exact_scores, weigh, exact_values, finish, stage_page, false, 16, "avx512 fp32", "avx512 fp32"};
}  // namespace kvq::avx512
#endif
