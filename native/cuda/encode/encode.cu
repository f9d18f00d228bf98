// Encoding of pages: see encode.h. One block a page and head (or a page).
#include "cuda/encode/head.cuh"
#include "cuda/append/append.h"
#include "cuda/encode/page-scales.cuh"

namespace kvq_cuda {

// Scales of the head's channels: the layer's, or the page's, which are written beside the codes.
__device__ __forceinline__ void find_scales(const encode_head &h, uint8_t *side, kvq_cuda_encoded &encoded) {
  const kvq_cuda_encode &e = h.e;
  for (uint32_t code = threadIdx.x; code < e.head_dim; code += encode_threads) {
    const uint32_t channel = h.channel_of_code(code), column = h.head * e.head_dim + channel;
    float scale = e.scale[column], zero = e.zero[column];
    if (e.page_scales) {
      const float *row = h.tile() + channel * block_tokens;
      float low = row[0], high = row[0];
      for (uint32_t t = 1; t < h.tokens; t++) low = row[t] < low ? row[t] : low, high = row[t] > high ? row[t] : high;
      if (measure_channel(low, high, side[code], side[e.head_dim + code], scale, zero)) atomicAdd(&encoded.clamped, 1u);
    }
    h.numbers(h.at.scale)[channel] = scale;
    h.numbers(h.at.zero)[channel] = zero;
    h.numbers(h.at.inverse)[channel] = inverse_of(scale);
  }
}

// Marks what lies outside the thresholds, as many as there are slots; counts the rest.
__device__ __forceinline__ void mark_keys(const encode_head &h, kvq_cuda_encoded &encoded) {
  const kvq_cuda_encode &e = h.e;
  for (uint32_t i = threadIdx.x; i < 2 * e.head_dim; i += encode_threads) {
    const uint32_t channel = i / 2, first = i % 2 * 32;
    uint32_t bits = 0;
    if (e.low != nullptr) {
      const float low = e.low[h.head * e.head_dim + channel], high = e.high[h.head * e.head_dim + channel];
      for (uint32_t t = 0; t < 32; t++) {
        const float x = h.tile()[channel * block_tokens + first + t];
        bits |= static_cast<uint32_t>(first + t < h.tokens && (x < low || high < x)) << t;
      }
    }
    if (e.outliers == 0 && bits != 0) atomicAdd(&encoded.saturated, static_cast<uint32_t>(__popc(bits)));
    h.marks()[i] = e.outliers ? bits : 0;
  }
  __syncthreads();
  if (e.outliers == 0) return;
  if (threadIdx.x < h.tokens) {
    const uint32_t token = threadIdx.x;
    const uint32_t dropped = h.limit_marks(token, [&](uint32_t channel) {
      return fabsf(__fmul_rn(__fsub_rn(h.tile()[channel * block_tokens + token], h.numbers(h.at.zero)[channel]), h.numbers(h.at.inverse)[channel]));
    });
    if (dropped > 0) atomicAdd(&encoded.saturated, dropped);
  }
  __syncthreads();
}

// Rounds the head's channels in feedback order; each error is spread over the channels that follow. In a slot the tile then holds the stored difference.
__device__ __forceinline__ void round_keys(const encode_head &h, kvq_cuda_encoded &encoded) {
  const kvq_cuda_encode &e = h.e;
  const uint32_t token = threadIdx.x % block_tokens, part = threadIdx.x / block_tokens;
  const bool fed = e.feedback_order != nullptr;
  const uint16_t *order = fed ? e.feedback_order + h.head * e.head_dim : nullptr;
  const float *weights = fed ? e.feedback_weights + size_t{h.head} * (e.head_dim * (e.head_dim - 1) / 2) : nullptr;
  for (uint32_t rank = fed ? 0 : part; rank < e.head_dim; rank += fed ? 1 : token_parts) {
    const uint32_t channel = fed ? load_table(order + rank) : rank;
    float *place = h.tile() + channel * block_tokens + token;
    const float x = *place, zero = h.numbers(h.at.zero)[channel], scale = h.numbers(h.at.scale)[channel];
    const uint32_t code = h.code_of(__fmul_rn(__fsub_rn(x, zero), h.numbers(h.at.inverse)[channel]));
    const float decoded = __fadd_rn(__fmul_rn(h.level(code), scale), zero);
    const bool slot = h.marked(channel, token);
    float error = __fsub_rn(x, decoded), stored = 0;
    if (slot) {
      stored = float_of_half(finite_half(error));
      error = __fsub_rn(x, __fadd_rn(decoded, stored));
      if (stored != stored) encoded.failed = 1;
    }
    if (fed) {
      // W_jz lies at j * (2 D - j - 1) / 2 + z - j - 1.
      const float *row = weights + rank * (2 * e.head_dim - rank - 1) / 2 - rank - 1;
      for (uint32_t z = rank + 1 + part; z < e.head_dim; z += token_parts) {
        float *target = h.tile() + load_table(order + z) * block_tokens + token;
        *target = __fsub_rn(*target, __fmul_rn(error, load_table(row + z)));
      }
      __syncthreads();
    }
    if (!fed || part == 0) {
      h.codes()[channel * block_tokens + token] = static_cast<uint8_t>(token < h.tokens ? code : 0);
      if (slot) *place = stored;
    }
  }
  __syncthreads();
}

// Which values of a token are outliers: the `count` largest |x - mean|, ties to the lower column. A warp's work: the threshold is found bit by bit. Writes a bit a column.
template <class Number>
__device__ __forceinline__ void choose_outliers(Number number, uint32_t columns, float mean, uint32_t count, uint32_t *chosen) {
  const uint32_t lane = threadIdx.x % 32;
  const auto deviation = [&](uint32_t column) { return __float_as_uint(fabsf(__fsub_rn(number(column), mean))); }; // ascends with the number
  const auto how_many = [&](uint32_t least) {
    uint32_t n = 0;
    for (uint32_t column = lane; column < columns; column += 32) n += deviation(column) >= least;
#pragma unroll
    for (uint32_t distance = 16; distance > 0; distance /= 2) n += __shfl_xor_sync(~0u, n, distance);
    return n;
  };
  uint32_t threshold = 0;
  for (uint32_t bit = 31; bit-- > 0;)
    if (how_many(threshold | 1u << bit) >= count) threshold |= 1u << bit;
  uint32_t left = count - how_many(threshold + 1); // of those at the threshold
  for (uint32_t first = 0; first < columns; first += 32) {
    const uint32_t d = deviation(first + lane);
    const uint32_t equal = __ballot_sync(~0u, d == threshold);
    const bool taken = d > threshold || (d == threshold && static_cast<uint32_t>(__popc(equal & ((1u << lane) - 1))) < left);
    const uint32_t bits = __ballot_sync(~0u, taken);
    const uint32_t used = static_cast<uint32_t>(__popc(equal));
    left -= used < left ? used : left;
    if (lane == 0) chosen[first / 32] = bits;
  }
  __syncwarp();
}

}  // namespace kvq_cuda

KVQ_KERNEL(kvq_cuda::encode_threads, 2) kvq_cuda_encode_keys(KVQ_PARAMETER kvq_cuda_encode e) {
  using namespace kvq_cuda;
  KVQ_DYNAMIC_SHARED(memory);
  const kvq_cuda_encode_page page = e.pages[blockIdx.x];
  kvq_cuda_encoded &encoded = e.encoded[blockIdx.x];
  const encode_head h = {e, memory, encode_shared_of(e.head_dim), blockIdx.y, page.tokens};
  uint8_t *codes = page.block + h.head * head_size(e);
  h.load_levels();
  h.load_tile(page, 2);
  __syncthreads();
  find_scales(h, codes + codes_size(e), encoded);
  __syncthreads();
  mark_keys(h, encoded);
  round_keys(h, encoded);
  h.pack_keys(codes);
  if (e.outliers) h.stage_section(page_scratch(e, blockIdx.x) + h.head * staged_bytes, [&](uint32_t channel, uint32_t token) { return half_of_float(h.tile()[channel * block_tokens + token]); });
}

KVQ_KERNEL(kvq_cuda::encode_threads, 2) kvq_cuda_encode_rotate(KVQ_PARAMETER kvq_cuda_encode e) {
  using namespace kvq_cuda;
  KVQ_DYNAMIC_SHARED(memory);
  const kvq_cuda_encode_page page = e.pages[blockIdx.x];
  const encode_head h = {e, memory, encode_shared_of(e.head_dim), blockIdx.y, page.tokens};
  h.load_tile(page, 1);
  const uint32_t block = e.head_dim & (~e.head_dim + 1), token = threadIdx.x % block_tokens;
  for (uint32_t stride = 1; stride < block; stride *= 2) {
    __syncthreads();
    for (uint32_t i = threadIdx.x / block_tokens; i < e.head_dim / 2; i += token_parts) {
      float *x = h.tile() + (i / stride * 2 * stride + i % stride) * block_tokens + token;
      const float a = x[0], b = x[stride * block_tokens];
      x[0] = __fadd_rn(a, b);
      x[stride * block_tokens] = __fsub_rn(a, b);
    }
  }
  __syncthreads();
  const float gain = static_cast<float>(1.0 / sqrt(static_cast<double>(block)));
  float *rows = reinterpret_cast<float *>(page_scratch(e, blockIdx.x) + encode_scratch_of(e.kv_heads, e.head_dim, true).rows);
  for (uint32_t channel = threadIdx.x / block_tokens; channel < e.head_dim; channel += token_parts) {
    const uint32_t column = h.head * e.head_dim + channel;
    const float u = __fmul_rn(h.tile()[channel * block_tokens + token], gain);
    rows[column * block_tokens + token] = __fmul_rn(__fsub_rn(u, e.mean[column]), inverse_of(e.deviation[column]));
  }
}

KVQ_KERNEL(kvq_cuda::encode_threads, 2) kvq_cuda_encode_tokens(KVQ_PARAMETER kvq_cuda_encode e) {
  using namespace kvq_cuda;
  KVQ_SHARED(float[block_tokens], means);
  const kvq_cuda_encode_page page = e.pages[blockIdx.x];
  const encode_scratch at = encode_scratch_of(e.kv_heads, e.head_dim, true);
  uint8_t *scratch = page_scratch(e, blockIdx.x);
  float *numbers = reinterpret_cast<float *>(scratch + at.numbers); // scale, zero point, inverse
  uint16_t *stored = reinterpret_cast<uint16_t *>(page.block + e.kv_heads * head_size(e));
  const uint32_t columns = e.kv_heads * e.head_dim, token = threadIdx.x;
  const auto set = [&](uint32_t t, uint32_t array, float x) {
    stored[array * block_tokens + t] = finite_half(x);
    numbers[array * block_tokens + t] = float_of_half(finite_half(x));
  };
  // Sums run along the columns in order: a thread a token.
  if (token < page.tokens && (e.rotated || e.outliers)) {
    const float *rows = reinterpret_cast<const float *>(scratch + at.rows);
    float sum = 0;
    for (uint32_t column = 0; column < columns; column++) {
      const float x = e.rotated ? rows[column * block_tokens + token] : source_number(e, page, 1, token, column);
      sum = __fadd_rn(sum, e.rotated ? __fmul_rn(x, x) : x);
    }
    const float mean = __fdiv_rn(sum, static_cast<float>(columns));
    if (e.rotated) {
      set(token, 0, __fmul_rn(3.0f, __fsqrt_rn(mean)));
      numbers[2 * block_tokens + token] = inverse_of(numbers[token]);
    } else {
      means[token] = mean;
    }
  }
  for (uint32_t t = page.tokens + threadIdx.x; t < block_tokens; t += encode_threads)
    for (uint32_t array = 0; array < (e.rotated ? 1u : 2u); array++) stored[array * block_tokens + t] = 0;
  if (e.rotated) return;
  __syncthreads();
  const uint32_t lane = threadIdx.x % 32;
  for (uint32_t t = threadIdx.x / 32; t < page.tokens; t += encode_threads / 32) {
    uint32_t *chosen = reinterpret_cast<uint32_t *>(scratch + at.chosen) + t * (columns / 32);
    const auto number = [&](uint32_t column) { return source_number(e, page, 1, t, column); };
    if (e.outliers) choose_outliers(number, columns, means[t], e.outliers, chosen);
    float low = INFINITY, high = -INFINITY;
    for (uint32_t column = lane; column < columns; column += 32) {
      if (e.outliers && (chosen[column / 32] >> lane & 1)) continue;
      low = fminf(low, number(column)), high = fmaxf(high, number(column));
    }
#pragma unroll
    for (uint32_t distance = 16; distance > 0; distance /= 2) low = fminf(low, __shfl_xor_sync(~0u, low, distance)), high = fmaxf(high, __shfl_xor_sync(~0u, high, distance));
    if (lane == 0) {
      set(t, 0, __fadd_rn(__fdiv_rn(__fsub_rn(high, low), 2.0f), 0.0f)); // + 0 turns -0 into 0
      set(t, 1, __fadd_rn(__fdiv_rn(__fadd_rn(high, low), 2.0f), 0.0f));
      numbers[2 * block_tokens + t] = inverse_of(numbers[t]);
    }
  }
}

KVQ_KERNEL(kvq_cuda::encode_threads, 2) kvq_cuda_encode_values(KVQ_PARAMETER kvq_cuda_encode e) {
  using namespace kvq_cuda;
  KVQ_DYNAMIC_SHARED(memory);
  const kvq_cuda_encode_page page = e.pages[blockIdx.x];
  kvq_cuda_encoded &encoded = e.encoded[blockIdx.x];
  const encode_head h = {e, memory, encode_shared_of(e.head_dim), blockIdx.y, page.tokens};
  const encode_scratch at = encode_scratch_of(e.kv_heads, e.head_dim, true);
  uint8_t *scratch = page_scratch(e, blockIdx.x);
  const float *numbers = reinterpret_cast<const float *>(scratch + at.numbers), *rows = reinterpret_cast<const float *>(scratch + at.rows);
  const uint32_t token = threadIdx.x % block_tokens;
  h.load_levels();
  if (!e.rotated) h.load_tile(page, 1);
  __syncthreads();
  const bool valid = token < page.tokens;
  const float zero = valid && !e.rotated ? numbers[block_tokens + token] : 0.0f, inverse = valid ? numbers[2 * block_tokens + token] : 0.0f, scale = valid ? numbers[token] : 0.0f;
  for (uint32_t channel = threadIdx.x / block_tokens; channel < e.head_dim; channel += token_parts) {
    const float x = e.rotated ? rows[(h.head * e.head_dim + channel) * block_tokens + token] : h.tile()[channel * block_tokens + token];
    h.codes()[channel * block_tokens + token] = static_cast<uint8_t>(valid ? h.code_of(__fmul_rn(__fsub_rn(x, zero), inverse)) : 0);
  }
  __syncthreads();
  h.pack_values(page.block + h.head * head_size(e));
  if (e.outliers == 0) return;
  const uint32_t *chosen = reinterpret_cast<const uint32_t *>(scratch + at.chosen), words = e.kv_heads * e.head_dim / 32;
  for (uint32_t i = threadIdx.x; i < 2 * e.head_dim; i += encode_threads) {
    const uint32_t channel = i / 2, column = h.head * e.head_dim + channel;
    uint32_t bits = 0;
    for (uint32_t t = i % 2 * 32; t < i % 2 * 32 + 32 && t < page.tokens; t++) bits |= (chosen[t * words + column / 32] >> column % 32 & 1) << t % 32;
    h.marks()[i] = bits;
  }
  __syncthreads();
  if (threadIdx.x < page.tokens) {
    const uint32_t dropped = h.limit_marks(token, [&](uint32_t channel) { return fabsf(__fmul_rn(__fsub_rn(h.tile()[channel * block_tokens + token], zero), inverse)); });
    if (dropped > 0) atomicAdd(&encoded.saturated, dropped);
  }
  __syncthreads();
  h.stage_section(scratch + h.head * staged_bytes, [&](uint32_t channel, uint32_t t) {
    const uint32_t place = channel * block_tokens + t;
    return finite_half(__fsub_rn(h.tile()[place], __fadd_rn(__fmul_rn(h.level(h.codes()[place]), scale), zero)));
  });
}

KVQ_KERNEL(kvq_cuda::encode_threads, 2) kvq_cuda_encode_sections(KVQ_PARAMETER kvq_cuda_encode e) {
  using namespace kvq_cuda;
  const kvq_cuda_encode_page page = e.pages[blockIdx.x];
  size_t end = e.kv_heads * head_size(e) + (e.values ? (e.rotated ? 1 : 2) * block_tokens * 2 : 0);
  if (e.outliers) {
    const uint8_t *staged = page_scratch(e, blockIdx.x);
    for (uint32_t head = 0; head < e.kv_heads; head++, staged += staged_bytes) {
      const uint32_t length = *reinterpret_cast<const uint32_t *>(staged + section_bytes);
      for (uint32_t i = threadIdx.x; i < length / 4; i += encode_threads) reinterpret_cast<uint32_t *>(page.block + end)[i] = reinterpret_cast<const uint32_t *>(staged)[i];
      if (threadIdx.x == 0) page.outliers[head] = static_cast<uint32_t>(end);
      end += length;
    }
  }
  if (threadIdx.x == 0) e.encoded[blockIdx.x].bytes = static_cast<uint32_t>(end);
}

KVQ_KERNEL(128, 4) kvq_append(KVQ_PARAMETER kvq_cuda_append a) {
  using namespace kvq_cuda;
  const kvq_cuda_append_row row = a.rows[blockIdx.x];
  const uint32_t head = blockIdx.y;
  const float *key = a.key + size_t{blockIdx.x} * a.key_stride + head * a.head_dim, *value = a.value + size_t{blockIdx.x} * a.value_stride + head * a.head_dim;
  uint16_t *rotated = row.address + (size_t{head} * 3 * row.capacity + row.slot) * a.head_dim, *values = rotated + size_t{row.capacity} * a.head_dim, *raw = values + size_t{row.capacity} * a.head_dim;
  bool sound = true;
  const auto put = [&](uint16_t *to, float x) {
    const uint16_t half = half_of_float(x);
    sound = sound && (half & 0x7c00) != 0x7c00;
    *to = half;
  };
  for (uint32_t channel = threadIdx.x; channel < a.head_dim; channel += 128) {
    put(raw + channel, key[channel]);
    put(values + channel, value[channel]);
    float x = key[channel];
    const uint32_t half = a.rotary_dim / 2;
    if (channel < a.rotary_dim) {
      const uint32_t pair = channel < half ? channel : channel - half;
      const float *angle = a.angles + (size_t{blockIdx.x} * (a.head_dim / 2) + pair) * 2;
      x = channel < half ? key[pair] * angle[0] - key[pair + half] * angle[1] : key[pair] * angle[1] + key[pair + half] * angle[0];
    }
    put(rotated + channel, x);
  }
  if (!sound) a.overflow[row.sequence] = 1;
}
