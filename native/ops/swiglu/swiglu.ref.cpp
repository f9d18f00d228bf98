// Reference of the gated activation. In fp64, because exp(-x) of a very negative x overflows fp32 where x * exp(x) still is an ordinary number.
#include <cmath>

#include "ops/swiglu/swiglu.h"

void kvq::scalar::swiglu(const float *gate, const float *up, size_t width, float *out) {
  for (size_t i = 0; i < width; i++) out[i] = static_cast<float>(gate[i] / (1 + std::exp(-static_cast<double>(gate[i])))) * up[i];
}
