// Online softmax of a chunk in base 2, for the ISA of the including file: three passes over 512 scores of a query, about 1 operation a token and query on 16 lanes.
#pragma once

#include <cmath>

#include "ops/attend-pages/attend-pages.h"
#include "ops/common/float-vector.h"

namespace {

// Scales everything summed so far by 2^(old maximum - new maximum).
inline void rescale(kvq::workspace &work, uint32_t head_dim, uint32_t g, float most) {
  const float keep = std::isinf(work.maximum[g]) ? 0.0f : std::exp2(work.maximum[g] - most);
  work.maximum[g] = most;
  work.total[g] *= keep;
  work.zero_sum[g] *= keep;
  float *sum = work.sum + static_cast<size_t>(g) * head_dim;
  for (uint32_t c = 0; c < head_dim; c += lanes) store(sum + c, multiply(broadcast(keep), load(sum + c)));
}

inline void weigh(kvq::workspace &work, uint32_t head_dim, uint32_t tokens) {
  for (uint32_t g = 0; g < work.group; g++) {
    float *row = work.scores + g * kvq::chunk_tokens;
    floats most[2] = {load(row), load(row + lanes)};
    for (uint32_t t = 2 * lanes; t < tokens; t += 2 * lanes) {
      most[0] = maximum(most[0], load(row + t));
      most[1] = maximum(most[1], load(row + t + lanes));
    }
    const float found = maximum_of(maximum(most[0], most[1]));
    if (found > work.maximum[g]) rescale(work, head_dim, g, found);
    const floats shift = broadcast(work.maximum[g]);
    floats total[2] = {zero(), zero()};
    for (uint32_t t = 0; t < tokens; t += 2 * lanes) {
      for (int half = 0; half < 2; half++) {
        const floats weight = exp2_weight(subtract(load(row + t + half * lanes), shift));
        total[half] = add(total[half], weight);
        store(row + t + half * lanes, weight);
      }
    }
    work.total[g] += sum_of(add(total[0], total[1]));
  }
}

}  // namespace
