// The AVX2 kernels of compressed pages: fp32 in both precisions.
#if defined(__x86_64__)
#include "ops/attend-pages/finish.simd.h"
#include "ops/attend-pages/stage.simd.h"

namespace kvq::avx2 {
constinit const page_kernels fast_pages = {exact_scores, weigh, exact_values, finish, stage_page, false, 16, "avx2 fp32", "avx2 fp32"};
constinit const page_kernels exact_pages = {exact_scores, weigh, exact_values, finish, stage_page, false, 16, "avx2 fp32", "avx2 fp32"};
}  // namespace kvq::avx2
#endif
