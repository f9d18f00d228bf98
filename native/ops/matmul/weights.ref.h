// Codes and scales of one row's run in plain C++.
#pragma once

#include "../common/half.h"
#include "layout.h"

namespace {

using namespace kvq::matmul;

// Codes of a run in order, for one row of the tile.
template <int bits>
void decode(const uint8_t *codes, const uint8_t *high, size_t lane, uint8_t *values) {
  for (size_t value = 0; value < run_values; value++) {
    const size_t byte = lane * 4 + value % 4, group = value / 4;
    if constexpr (bits == 8) values[value] = codes[group * 64 + byte];
    else values[value] = codes[group % 4 * 64 + byte] >> group / 4 * 4 & 15;
    if constexpr (bits == 5) values[value] |= (high[byte] >> group & 1) << 4;
    if constexpr (bits == 6) values[value] |= (high[group / 4 * 64 + byte] >> group % 4 * 2 & 3) << 4;
  }
}

// The numbers that turn codes of one row's run into weights: first * q + second, for Q6_K first for the lower and second for the upper half.
struct row_scales {
  float first, second;
};

template <scaling kind>
row_scales scales_of(const uint8_t *bytes, size_t run, size_t lane) {
  if constexpr (kind == scaling::offset) return {float_of_half(reinterpret_cast<const offset_record *>(bytes)->scale[lane]), 0};
  if constexpr (kind == scaling::affine) {
    const affine_record &record = *reinterpret_cast<const affine_record *>(bytes);
    return {float_of_half(record.scale[lane]), float_of_half(record.minimum[lane])};
  }
  if constexpr (kind == scaling::affine_k) {
    const affine_k_record &record = *reinterpret_cast<const affine_k_record *>(bytes);
    return {float_of_half(record.scale[lane]) * record.factor[run][lane], -(float_of_half(record.minimum[lane]) * record.term[run][lane])};
  }
  if constexpr (kind == scaling::offset_k) {
    const offset_k_record &record = *reinterpret_cast<const offset_k_record *>(bytes);
    const float scale = float_of_half(record.scale[lane]);
    return {scale * record.factor[run][0][lane], scale * record.factor[run][1][lane]};
  }
}

}  // namespace
