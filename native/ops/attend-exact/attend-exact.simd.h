// Flash-decode over fp16 storage for AVX2 and AVX-512 (ops/common/float-vector.h); included by one .cpp an ISA.
// A chunk of 8 views: scores of all its keys -> running softmax -> weighted values, for a pass of up to 8 queries.
//   keys     [head_dim][64]: a strip of tokens stays in registers [queries][vectors] while the channels go by
//   values   [64][panel]: a strip of channels stays in registers while the tokens go by
// Both are read from memory once, in address order, and shared by all queries of the pass. What lies 8 KB ahead is prefetched, over the end of a view into the one that is read next,
// and into L2: with prefetches into L1, of which few can be in flight, 12 GB/s instead of 20, and 18 with 4 KB ahead (Zen 4, head dim 128, a plain read reaches 24).
// head_dim is a run-time number (a multiple of 8): only the number of queries decides how many registers a strip takes.
// Zen 4, AVX-512, one thread: 80 - 90 % of a plain read up to 4 queries, 65 % with 6 and 42 % with 8, where multiply-adds are the limit (bench/attend-exact.bench.cpp).
#pragma once

#include "ops/attend-exact/attend-exact.h"
#include "ops/common/float-vector.h"

namespace {

constexpr size_t page = KVQ_PAGE_TOKENS;
constexpr size_t chunk_tokens = kvq::exact_chunk_views * page;
constexpr size_t line_halves = 32;       // fp16 numbers of a cache line
constexpr size_t ahead_rows = 64;        // prefetch distance: channels of keys, or tokens of a full panel

// Vectors of a strip for `queries` queries: accumulators, converted data and a broadcast weight fill the 32 (16) registers.
constexpr int strip_vectors(int queries) {
  if (lanes == 16) return queries <= 6 ? 4 : 2;
  return queries == 1 ? 8 : queries == 2 ? 4 : queries <= 6 ? 2 : 1;
}

template <int halves>
inline void prefetch_span(const uint16_t *address) {
  prefetch_to_l2(address);
  if constexpr (halves > int(line_halves)) prefetch_to_l2(address + line_halves);
  static_assert(halves <= int(2 * line_halves));
}

// scores [queries][chunk_tokens] of one view; query [head_dim][queries]; `after`: what is read when this view's keys are done.
template <int queries>
void score_view(const uint16_t *key, const uint16_t *after, size_t head_dim, const float *query, float *scores) {
  constexpr int vectors = strip_vectors(queries), strip = vectors * lanes;
  const size_t turn = head_dim > ahead_rows ? head_dim - ahead_rows : 0;  // from this channel on, `after` is prefetched
  for (size_t token = 0; token < page; token += strip) {
    floats sum[queries][vectors];
    for (int g = 0; g < queries; g++)
      for (int v = 0; v < vectors; v++) sum[g][v] = zero();
    for (size_t start = 0, end = turn; start < head_dim; start = end, end = head_dim) {
      const uint16_t *ahead = (start < turn ? key + ahead_rows * page : after) + token;
#pragma GCC unroll 2
      for (size_t channel = start; channel < end; channel++) {
        prefetch_span<strip>(ahead + (channel - start) * page);
        const uint16_t *row = key + channel * page + token;
        floats x[vectors];
        for (int v = 0; v < vectors; v++) x[v] = load_half(row + v * lanes);
        for (int g = 0; g < queries; g++) {
          const floats q = broadcast(query[channel * queries + g]);
          for (int v = 0; v < vectors; v++) sum[g][v] = multiply_add(x[v], q, sum[g][v]);
        }
      }
    }
    for (int g = 0; g < queries; g++)
      for (int v = 0; v < vectors; v++) store(scores + g * chunk_tokens + token + v * lanes, sum[g][v]);
  }
}

// sum [queries][head_dim] (channel 0 of the strip) += weights [queries][chunk_tokens] * rows of `width` fp16 numbers, for `tokens` rows.
// whole = false: one vector of which `valid` channels exist. (A template parameter: conditions inside keep g++ from holding the sums in registers.)
template <int queries, int vectors, bool whole>
void add_strip(const uint16_t *rows, const uint16_t *ahead, size_t width, size_t tokens, const float *weights, float *sum, size_t head_dim, size_t valid) {
  static_assert(whole || vectors == 1);
  floats total[queries][vectors];
  for (int g = 0; g < queries; g++)
    for (int v = 0; v < vectors; v++) total[g][v] = whole ? load(sum + g * head_dim + v * lanes) : load_first(sum + g * head_dim, valid);
#pragma GCC unroll 2
  for (size_t token = 0; token < tokens; token++) {
    prefetch_span<vectors * lanes>(ahead + token * width);
    floats x[vectors];
    for (int v = 0; v < vectors; v++) x[v] = whole ? load_half(rows + token * width + v * lanes) : load_half_first(rows + token * width, valid);
    for (int g = 0; g < queries; g++) {
      const floats weight = broadcast(weights[g * chunk_tokens + token]);
      for (int v = 0; v < vectors; v++) total[g][v] = multiply_add(x[v], weight, total[g][v]);
    }
  }
  for (int g = 0; g < queries; g++)
    for (int v = 0; v < vectors; v++)
      if constexpr (whole) store(sum + g * head_dim + v * lanes, total[g][v]);
      else store_first(sum + g * head_dim, total[g][v], valid);
}

// One panel from channel `done` of it on: the widest strips first, then halves of them.
template <int queries, int vectors>
void add_panel(const uint16_t *panel, const uint16_t *ahead, size_t width, size_t done, size_t tokens, const float *weights, float *sum, size_t head_dim) {
  for (; done + vectors * lanes <= width; done += vectors * lanes)
    add_strip<queries, vectors, true>(panel + done, ahead + done, width, tokens, weights, sum + done, head_dim, lanes);
  if constexpr (vectors > 1) add_panel<queries, vectors / 2>(panel, ahead, width, done, tokens, weights, sum, head_dim);
  else if (done < width) add_strip<queries, 1, false>(panel + done, ahead + done, width, tokens, weights, sum + done, head_dim, width - done);
}

template <int queries>
void add_view(const uint16_t *value, const uint16_t *after, size_t head_dim, size_t tokens, const float *weights, float *sum) {
  const size_t turn = head_dim > ahead_rows ? head_dim - ahead_rows : 0;  // from this row of 64 numbers on, `after` is prefetched
  for (size_t start = 0; start < head_dim; start += 64) {
    const size_t width = kvq::panel_width(static_cast<uint32_t>(head_dim), static_cast<uint32_t>(start));
    const size_t before = turn <= start ? 0 : turn - start < tokens ? turn - start : tokens;
    const uint16_t *panel = value + start * page;
    if (before > 0) add_panel<queries, strip_vectors(queries)>(panel, panel + ahead_rows * 64, width, 0, before, weights, sum + start, head_dim);
    if (before < tokens) add_panel<queries, strip_vectors(queries)>(panel + before * width, after + (start + before - turn) * 64, width, 0, tokens - before, weights + before, sum + start, head_dim);
  }
}

// Scores -> weights in place, for `count` tokens (a multiple of 64); updates maximum and total and scales `sum` to the new maximum.
void update_softmax(float *scores, size_t count, float *running_maximum, float *running_total, float *sum, size_t head_dim) {
  floats largest = broadcast(*running_maximum);
  for (size_t t = 0; t < count; t += lanes) largest = maximum(largest, load(scores + t));
  const float now = maximum_of(largest);
  if (now != *running_maximum) {
    float factors[lanes];
    store(factors, exp2_weight(broadcast(*running_maximum - now)));
    const floats factor = broadcast(factors[0]);
    *running_total *= factors[0];
    for (size_t channel = 0; channel < head_dim; channel += lanes) {
      const size_t valid = head_dim - channel < size_t(lanes) ? head_dim - channel : size_t(lanes);
      store_first(sum + channel, multiply(factor, load_first(sum + channel, valid)), valid);
    }
    *running_maximum = now;
  }
  const floats offset = broadcast(now);
  floats total = zero();
  for (size_t t = 0; t < count; t += lanes) {
    const floats weight = exp2_weight(subtract(load(scores + t), offset));
    total = add(total, weight);
    store(scores + t, weight);
  }
  *running_total += sum_of(total);
}

// One chunk for the queries first .. first + queries - 1; query [head_dim][queries]; `after`: the keys of the next chunk.
template <int queries>
void attend_chunk(const kvq::exact_call &call, const kvq_exact_view *views, size_t count, const uint16_t *after, uint32_t first, const float *query, float *scores) {
  const size_t head_dim = call.head_dim;
  auto key = [&](size_t i) { return kvq::exact_head(views[i].key, call.head_dim, call.head); };
  auto value = [&](size_t i) { return kvq::exact_head(views[i].value, call.head_dim, call.head); };

  for (size_t i = 0; i < count; i++) {
    score_view<queries>(key(i), i + 1 < count ? key(i + 1) : value(0), head_dim, query, scores + i * page);
    if (views[i].tokens < page)
      for (int g = 0; g < queries; g++)
        for (size_t t = 0; t < page; t += lanes) {
          float *place = scores + g * chunk_tokens + i * page + t;
          store(place, keep_first(load(place), static_cast<int>(views[i].tokens) - static_cast<int>(t), broadcast(-__builtin_inff())));
        }
  }
  float *sum = call.out.sum + first * head_dim;
  for (int g = 0; g < queries; g++) update_softmax(scores + g * chunk_tokens, count * page, call.out.maximum + first + g, call.out.total + first + g, sum + g * head_dim, head_dim);
  for (size_t i = 0; i < count; i++) add_view<queries>(value(i), i + 1 < count ? value(i + 1) : after, head_dim, views[i].tokens, scores + i * page, sum);
}

using chunk_function = void (*)(const kvq::exact_call &, const kvq_exact_view *, size_t, const uint16_t *, uint32_t, const float *, float *);
constexpr chunk_function attend_chunks[kvq::exact_pass_queries + 1] = {nullptr,         attend_chunk<1>, attend_chunk<2>, attend_chunk<3>, attend_chunk<4>,
                                                                       attend_chunk<5>, attend_chunk<6>, attend_chunk<7>, attend_chunk<8>};

// Queries of the next pass when `left` are left: passes of nearly the same size, as few as possible.
uint32_t pass_size(uint32_t left) {
  const uint32_t passes = (left + kvq::exact_pass_queries - 1) / kvq::exact_pass_queries;
  return (left + passes - 1) / passes;
}

void attend(const kvq::exact_call &call) {
  float *query = static_cast<float *>(call.scratch);
  float *scores = query + (static_cast<size_t>(call.head_dim) * call.group + 15) / 16 * 16;

  // [group][head_dim] -> for each pass [head_dim][queries], scaled.
  for (uint32_t first = 0, queries; first < call.group; first += queries) {
    queries = pass_size(call.group - first);
    float *place = query + static_cast<size_t>(first) * call.head_dim;
    for (uint32_t g = 0; g < queries; g++)
      for (size_t channel = 0; channel < call.head_dim; channel++) place[channel * queries + g] = call.q[(first + g) * static_cast<size_t>(call.head_dim) + channel] * call.scale;
  }

  size_t start = 0;
  while (start < call.count) {
    const kvq_exact_view *views = call.views + start;
    const size_t count = call.count - start < kvq::exact_chunk_views ? call.count - start : kvq::exact_chunk_views;
    start += count;
    const uint16_t *after = kvq::exact_head(call.views[start < call.count ? start : start - 1].key, call.head_dim, call.head);
    for (uint32_t first = 0, queries; first < call.group; first += queries) {
      queries = pass_size(call.group - first);
      attend_chunks[queries](call, views, count, after, first, query + static_cast<size_t>(first) * call.head_dim, scores);
    }
  }
}

}  // namespace
