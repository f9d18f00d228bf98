// Which values of a token are outliers: the `count` largest |x - mean|, ties to the lower column.
// A vector of deviations is compared with the smallest one held; few pass, and those are inserted one by one into a sorted list (about count * log(columns / count) of them).
// The file that includes this one defines `lanes` first.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace {

// Sets a bit of chosen [columns / 16] for each outlier of x [columns]; deviations, places: scratch [count]. 0 < count < columns.
inline void choose_largest_deviations(const float *x, uint32_t columns, float mean, uint32_t count, float *deviations, uint32_t *places, uint16_t *chosen) {
  const lanes::floats center = lanes::all(mean);
  lanes::floats smallest = lanes::all(-1.0f);
  uint32_t held = 0;
  for (uint32_t column = 0; column < columns; column += lanes::width) {
    const lanes::floats deviation = lanes::absolute(lanes::load(x + column) - center);
    uint32_t larger = lanes::less(smallest, deviation);
    if (larger == 0) continue;
    float all[lanes::width];
    lanes::store(all, deviation);
    for (; larger != 0; larger &= larger - 1) {
      const uint32_t lane = static_cast<uint32_t>(__builtin_ctz(larger));
      if (held == count && !(all[lane] > deviations[count - 1])) continue;
      uint32_t place = held < count ? held++ : count - 1;
      for (; place > 0 && deviations[place - 1] < all[lane]; place--) {
        deviations[place] = deviations[place - 1];
        places[place] = places[place - 1];
      }
      deviations[place] = all[lane];
      places[place] = column + lane;
    }
    if (held == count) smallest = lanes::all(deviations[count - 1]);
  }
  for (uint32_t word = 0; word < columns / 16; word++) chosen[word] = 0;
  for (uint32_t place = 0; place < count; place++) chosen[places[place] / 16] |= static_cast<uint16_t>(1u << places[place] % 16);
}

}  // namespace
