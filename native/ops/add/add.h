// Element-wise sums: the internal contract of the ISAs.
#pragma once

#include <cstddef>

namespace kvq {

using add_kernel = void(float *x, const float *y, size_t count); /* x[i] += y[i] */
namespace scalar { add_kernel add; }
namespace avx2 { add_kernel add; }
namespace avx512 { add_kernel add; }

}  // namespace kvq
