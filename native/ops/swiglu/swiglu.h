// Gated activation of one row: the internal contract of the ISAs.
#pragma once

#include <cstddef>

namespace kvq {

using swiglu_kernel = void(const float *gate, const float *up, size_t width, float *out); /* out[i] = silu(gate[i]) * up[i] */
namespace scalar { swiglu_kernel swiglu; }
namespace avx2 { swiglu_kernel swiglu; }
namespace avx512 { swiglu_kernel swiglu; }

}  // namespace kvq
