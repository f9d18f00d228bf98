// Instances of the fixed point score kernel.
#if defined(__x86_64__)
#include "ops/attend-pages/avx512.h"

#include "ops/attend-pages/keys-fixed-kernel.avx512.h"

kvq::avx512::fixed_kernel *kvq::avx512::fixed_kernel_of(uint32_t bits, uint32_t queries) {
  switch (bits) {
    case 2: return kernel_for<2>(queries);
    case 3: return kernel_for<3>(queries);
    case 4: return kernel_for<4>(queries);
    default: return kernel_for<5>(queries);
  }
}
#endif
