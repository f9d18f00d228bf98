// The query as the kernels of pages want it: code order, base 2, turned to the middle of a page, in fixed point.
#include <cmath>

#include "ops/attend-pages/attend-pages.h"

void kvq::turn_query(const kvq_attention_tables *tables, workspace &work, uint64_t start) {
  const uint32_t padded = tables->key.padded_pairs, pairs = tables->key.pairs;
  const double distance = work.position >= start ? static_cast<double>(work.position - start) : -static_cast<double>(start - work.position);
  kvq_rope_at(tables->rope, distance - 31.5, work.cosine, work.sine);
  for (uint32_t p = pairs; p < padded; p++) work.cosine[p] = work.sine[p] = 0;
  for (uint32_t g = 0; g < work.group; g++) {
    const float *a = work.base_re + g * padded, *b = work.base_im + g * padded;
    float *re = work.re + g * padded, *im = work.im + g * padded;
    for (uint32_t p = 0; p < pairs; p++) {
      re[p] = a[p] * work.cosine[p] - b[p] * work.sine[p];
      im[p] = a[p] * work.sine[p] + b[p] * work.cosine[p];
    }
  }
  work.start = start;
  work.steps = 0;
}

// A factor for each flush of 16 pairs: the largest one with which neither their sum nor one number overflows.
void kvq::fit_query(const workspace &work, const float *grid, uint32_t padded_pairs, float gain, float *factor, float *inverse) {
  for (uint32_t g = 0; g < work.group; g++) {
    for (uint32_t first = 0; first < padded_pairs; first += flush_pairs) {
      const float *magnitude = work.magnitude + g * padded_pairs + first;
      const uint32_t count = padded_pairs - first < flush_pairs ? padded_pairs - first : flush_pairs;
      float sum = 1e-30f, most = 1e-30f;
      for (uint32_t p = 0; p < count; p++) {
        const float reach = magnitude[p] * grid[first + p];
        sum += reach;
        most = reach > most ? reach : most;
      }
      const float by_sum = largest_query_sum / sum, by_one = largest_query / (most * gain), unit = by_sum < by_one ? by_sum : by_one;
      for (uint32_t p = 0; p < count; p++) factor[g * padded_pairs + first + p] = unit * gain * grid[first + p];
      inverse[g * 16 + first / flush_pairs] = 1 / unit;
    }
  }
}

float kvq::query_gain(uint32_t group) { return group == 1 ? single_query_gain : 1.0f; }
