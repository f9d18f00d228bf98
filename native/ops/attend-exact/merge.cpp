// kvq_merge_partials: brings all parts to the largest maximum, adds them in order and divides by the sum of weights.
#include <cmath>

#include "kvquant/attention.h"

void kvq_merge_partials(const kvq_partial *parts, size_t count, uint32_t group, uint32_t head_dim, float *out) {
  for (uint32_t g = 0; g < group; g++) {
    float largest = -INFINITY;
    for (size_t i = 0; i < count; i++)
      if (parts[i].maximum[g] > largest) largest = parts[i].maximum[g];

    float *__restrict row = out + static_cast<size_t>(g) * head_dim;
    for (uint32_t channel = 0; channel < head_dim; channel++) row[channel] = 0;
    float total = 0;
    for (size_t i = 0; i < count; i++) {
      if (parts[i].maximum[g] == -INFINITY) continue;  // no key in this part
      const float factor = std::exp2(parts[i].maximum[g] - largest);
      const float *__restrict sum = parts[i].sum + static_cast<size_t>(g) * head_dim;
      total += factor * parts[i].total[g];
      for (uint32_t channel = 0; channel < head_dim; channel++) row[channel] += factor * sum[channel];
    }
    const float scale = 1 / total;
    for (uint32_t channel = 0; channel < head_dim; channel++) row[channel] *= scale;
  }
}
