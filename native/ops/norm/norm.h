// RMS normalisation of one row: the internal contract of the ISAs.
#pragma once

#include <cstddef>

namespace kvq {

using rms_norm_kernel = void(const float *x, const float *weight, float epsilon, size_t width, float *y); /* y may be x */
namespace scalar { rms_norm_kernel rms_norm; }
namespace avx2 { rms_norm_kernel rms_norm; }
namespace avx512 { rms_norm_kernel rms_norm; }

}  // namespace kvq
