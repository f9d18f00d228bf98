// Encodes pages on the GPU, byte for byte what kvq_encode_keys and kvq_encode_values write (docs/format.md section 2). One call encodes any number of pages of one layer and side: one that
// has just been filled, or a whole prompt.
//
//   kvq_cuda_encode_keys       codes, side data and a staged outlier section of each page and head; feedback rounding
//   kvq_cuda_encode_rotate     rotated values: rotation and standardisation of each page and head
//   kvq_cuda_encode_tokens     values: the numbers of each token, and which of its values are outliers
//   kvq_cuda_encode_values     values: codes and a staged outlier section of each page and head
//   kvq_cuda_encode_sections   staged sections to their places behind one another; offsets and sizes
//
// All take kvq_cuda_encode by value. Bits, head dim (a multiple of 32 up to 256) and recipe are run-time numbers: encoding is a few per cent of a step.
#pragma once

#include <stddef.h>
#include <vector>

#include "cuda/common/launch.h"
#include "kvquant/page.h"

// One page to encode.
struct kvq_cuda_encode_page {
  const void *source;   // fp32 rows [tokens][kv_heads * head_dim], or exact storage (kvq_cuda_exact) of `capacity` tokens
  uint8_t *block;       // room for kvq_block_capacity bytes, a multiple of 64
  uint32_t *outliers;   // [kv_heads] offsets of the outlier sections are written here; not touched when the layout has none
  uint32_t tokens;      // 1 .. 64
  uint32_t capacity;    // of exact storage; 0: fp32 rows
};
static_assert(sizeof(kvq_cuda_encode_page) == 32, "as laid out in tables");

// What became of a page.
struct kvq_cuda_encoded {
  uint32_t bytes;                // length of the block
  uint32_t saturated, clamped;   // as in kvq_encoded
  uint32_t failed;               // 1: feedback overflowed (kvq_encode_keys returns KVQ_INVALID_ARGUMENT); the block is not valid
};

struct kvq_cuda_encode {
  const kvq_cuda_encode_page *pages; // [count]
  kvq_cuda_encoded *encoded;         // [count]; zero before
  uint8_t *scratch;                  // kvq_cuda_encode_scratch bytes, a multiple of 64; contents need not be kept
  // keys: by channel, as in kvq_key_plan
  const float *scale, *zero, *low, *high; // low, high: NULL with page scales
  const uint16_t *feedback_order;         // NULL without feedback
  const float *feedback_weights;
  // values
  const float *mean, *deviation;          // rotated values only
  float levels[32], midpoints[31];
  uint32_t count, kv_heads, head_dim, rotary_dim, bits;
  uint32_t page_scales, outliers;         // keys: blocks carry outlier sections; values: outliers of a token over all heads
  uint32_t rotated;
  uint32_t values;                        // 1: values, 0: keys
};

size_t kvq_cuda_encode_scratch(const kvq_cuda_encode &encode);
std::vector<kvq_cuda_launch> kvq_cuda_plan_encode(const kvq_cuda_encode &encode);

// Fills the part of the parameters that a plan gives; arrays are borrowed from the plan, so replace them by device addresses.
inline kvq_cuda_encode kvq_cuda_encode_of(const kvq_key_plan &plan) {
  kvq_cuda_encode encode = {};
  encode.scale = plan.scale, encode.zero = plan.zero, encode.low = plan.low, encode.high = plan.high;
  encode.feedback_order = plan.feedback_order, encode.feedback_weights = plan.feedback_weights;
  encode.kv_heads = plan.kv_heads, encode.head_dim = plan.head_dim, encode.rotary_dim = plan.rotary_dim, encode.bits = plan.bits;
  encode.page_scales = plan.page_scales, encode.outliers = plan.outliers;
  memcpy(encode.levels, plan.levels, sizeof(float) << plan.bits);
  memcpy(encode.midpoints, plan.midpoints, (sizeof(float) << plan.bits) - sizeof(float));
  return encode;
}
inline kvq_cuda_encode kvq_cuda_encode_of(const kvq_value_plan &plan) {
  kvq_cuda_encode encode = {};
  encode.values = 1;
  encode.mean = plan.mean, encode.deviation = plan.deviation;
  encode.kv_heads = plan.kv_heads, encode.head_dim = plan.head_dim, encode.rotary_dim = plan.rotary_dim, encode.bits = plan.bits;
  encode.rotated = plan.rotated, encode.outliers = plan.rotated ? 0 : plan.outlier_count;
  memcpy(encode.levels, plan.levels, sizeof(float) << plan.bits);
  memcpy(encode.midpoints, plan.midpoints, (sizeof(float) << plan.bits) - sizeof(float));
  return encode;
}

#include "cuda/encode/plan.h"
