// Prefill attention for AVX2 and AVX-512: two small matrix products around a running softmax, for blocks of up to 6 consecutive rows.
//   scores  [rows][64]        += q [rows][head_dim] x keys [head_dim][64]      strips of 64 (AVX2: 16) tokens
//   sum     [rows][head_dim]  += weights [rows][64] x values [64][head_dim]    strips of 64 (AVX2: 16) channels
// A strip of 6 rows x 4 vectors (AVX2: 2) of accumulators stays in registers; each step is `vectors` loads and 6 broadcasts for 6 x `vectors` multiply-adds.
// Every element takes its terms in the order of channels (tokens), whatever the block, so a row's bits do not depend on its neighbours. Tokens that no row of the block sees are left
// out: their weights are exact zeros. Zen 4, one core with a peak of 59 G multiply-adds a second: 45 (head dim 64) to 52 (256) with AVX-512, 38 - 41 with AVX2, staged tile in L2.
#pragma once

#include "ops/attend-exact/attend-exact.h"
#include "ops/attend-tile/attend-tile.h"
#include "ops/common/float-vector.h"

namespace {

constexpr size_t page = KVQ_PAGE_TOKENS;
constexpr int strip_vectors = lanes == 16 ? 4 : 2;

// result [rows][vectors] = sum over `steps` k of left [row][k] * right [k][..]; on entry what the sums start from. `last`: valid lanes of the last vector.
template <int rows, int vectors, bool whole>
inline void multiply_strip(const float *left, size_t left_stride, const float *right, size_t right_stride, size_t steps, size_t last, floats (&result)[rows][vectors]) {
#pragma GCC unroll 1  // clang 14 spills the accumulators of an unrolled loop: 2.5 times slower
  for (size_t k = 0; k < steps; k++) {
    floats x[vectors];
    for (int v = 0; v < vectors; v++) x[v] = whole || v + 1 < vectors ? load(right + k * right_stride + v * lanes) : load_first(right + k * right_stride + v * lanes, last);
    for (int r = 0; r < rows; r++) {
      const floats factor = broadcast(left[r * left_stride + k]);
      for (int v = 0; v < vectors; v++) result[r][v] = multiply_add(x[v], factor, result[r][v]);
    }
  }
}

// scores [rows][64] of the first `tokens` tokens, rounded up to whole strips.
template <int rows>
void score_rows(const float *q, size_t head_dim, const float *keys, size_t tokens, float *scores) {
  for (size_t token = 0; token < tokens; token += strip_vectors * lanes) {
    floats sum[rows][strip_vectors];
    for (int r = 0; r < rows; r++)
      for (int v = 0; v < strip_vectors; v++) sum[r][v] = zero();
    multiply_strip<rows, strip_vectors, true>(q, head_dim, keys + token, page, head_dim, lanes, sum);
    for (int r = 0; r < rows; r++)
      for (int v = 0; v < strip_vectors; v++) store(scores + r * page + token + v * lanes, sum[r][v]);
  }
}

// Scores -> weights in place (0 for tokens not seen); returns the factor from the old maximum to the new one.
float update_softmax(float *scores, int seen, float *running_maximum, float *running_total) {
  constexpr int vectors = int(page) / lanes;
  floats x[vectors];
  floats largest = broadcast(*running_maximum);
  for (int v = 0; v < vectors; v++) {
    x[v] = keep_first(load(scores + v * lanes), seen - v * lanes, broadcast(-__builtin_inff()));
    largest = maximum(largest, x[v]);
  }
  const float now = maximum_of(largest);
  float factors[lanes];
  store(factors, exp2_weight(broadcast(*running_maximum - now)));
  floats total = zero();
  for (int v = 0; v < vectors; v++) {
    const floats weight = exp2_weight(subtract(x[v], broadcast(now)));
    total = add(total, weight);
    store(scores + v * lanes, weight);
  }
  *running_maximum = now;
  *running_total = *running_total * factors[0] + sum_of(total);
  return factors[0];
}

template <int rows, int vectors, bool whole>
void add_strip(const float *weights, const float *values, size_t head_dim, size_t tokens, size_t last, const float *factor, float *sum) {
  floats total[rows][vectors];
  for (int r = 0; r < rows; r++)
    for (int v = 0; v < vectors; v++) {
      const float *place = sum + r * head_dim + v * lanes;
      total[r][v] = multiply(broadcast(factor[r]), whole || v + 1 < vectors ? load(place) : load_first(place, last));
    }
  multiply_strip<rows, vectors, whole>(weights, page, values, head_dim, tokens, last, total);
  for (int r = 0; r < rows; r++)
    for (int v = 0; v < vectors; v++) {
      float *place = sum + r * head_dim + v * lanes;
      if (whole || v + 1 < vectors) store(place, total[r][v]);
      else store_first(place, total[r][v], last);
    }
}

// Channels from `done` on: the widest strips first, then halves of them.
template <int rows, int vectors>
void add_values(const float *weights, const float *values, size_t head_dim, size_t done, size_t tokens, const float *factor, float *sum) {
  for (; done + vectors * lanes <= head_dim; done += vectors * lanes)
    add_strip<rows, vectors, true>(weights, values + done, head_dim, tokens, lanes, factor, sum + done);
  if constexpr (vectors > 1) add_values<rows, vectors / 2>(weights, values, head_dim, done, tokens, factor, sum);
  else if (done < head_dim) add_strip<rows, 1, false>(weights, values + done, head_dim, tokens, head_dim - done, factor, sum + done);
}

template <int rows>
void add_block(const kvq::tile_call &call, uint32_t row) {
  const size_t head_dim = call.head_dim;
  size_t tokens = 0;
  for (int r = 0; r < rows; r++) tokens = call.seen[row + r] > tokens ? call.seen[row + r] : tokens;
  score_rows<rows>(call.q + row * head_dim, head_dim, call.keys, tokens, call.weights);
  float factor[rows];
  for (int r = 0; r < rows; r++) factor[r] = update_softmax(call.weights + r * page, call.seen[row + r], call.state.maximum + row + r, call.state.total + row + r);
  add_values<rows, strip_vectors>(call.weights, call.values, head_dim, 0, tokens, factor, call.state.sum + row * head_dim);
}

using block_function = void (*)(const kvq::tile_call &, uint32_t);
constexpr block_function add_blocks[kvq::tile_block_rows + 1] = {nullptr, add_block<1>, add_block<2>, add_block<3>, add_block<4>, add_block<5>, add_block<6>};

void attend(const kvq::tile_call &call) {
  uint32_t row = 0;
  while (row < call.rows) {
    uint32_t count = 0;
    while (count < kvq::tile_block_rows && row + count < call.rows && call.seen[row + count] > 0) count++;
    if (count > 0) add_blocks[count](call, row);
    row += count > 0 ? count : 1;
  }
}

void stage(uint32_t head_dim, const uint16_t *key, const uint16_t *value, uint32_t tokens, float *keys, float *values) {
  for (size_t channel = 0; channel < head_dim; channel++)
    for (size_t token = 0; token < page; token += lanes)
      store(keys + channel * page + token, keep_first(load_half(key + channel * page + token), static_cast<int>(tokens) - static_cast<int>(token), zero()));
  for (size_t start = 0; start < head_dim; start += 64) {
    const size_t width = kvq::panel_width(head_dim, static_cast<uint32_t>(start));
    for (size_t token = 0; token < page; token++)
      for (size_t channel = 0; channel < width; channel += lanes) {
        const size_t valid = width - channel < size_t(lanes) ? width - channel : size_t(lanes);
        store_first(values + token * head_dim + start + channel, token < tokens ? load_half_first(value + start * page + token * width + channel, valid) : zero(), valid);
      }
  }
}

}  // namespace
