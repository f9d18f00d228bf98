// Appends new tokens to exact storage: keys rotated to their positions, values, and keys before RoPE, all rounded to fp16 (kvq_cuda_exact).
// Kernel: kvq_append, one block for each token and KV head.
#pragma once

#include "cuda/attend/attend.h"

// Where one row goes.
struct kvq_cuda_append_row {
  uint16_t *address;  // exact storage of its chunk
  uint16_t capacity;  // of that storage, at most 64
  uint16_t slot;      // token within it, below capacity
  uint32_t sequence;  // whose it is: index of `overflow`
};
static_assert(sizeof(kvq_cuda_append_row) == 16, "read as one vector");

struct kvq_cuda_append {
  const kvq_cuda_append_row *rows; // [count]
  const float *key, *value;        // [count][stride]: keys before RoPE, [kv_heads * head_dim]
  const float *angles;             // [count][head_dim / 2][2]: kvq_cuda_fill_angles of each position
  uint32_t *overflow;              // [sequences] set to 1 when a number of that sequence is not finite in fp16; may be read after any number of calls
  uint32_t count, kv_heads, head_dim, rotary_dim;
  uint32_t key_stride, value_stride;
};

inline kvq_cuda_launch kvq_cuda_plan_append(const kvq_cuda_append &append) {
  kvq_cuda_launch launch = {"kvq_append", {append.count, append.kv_heads, 1}, 128, 0, 0, 0, {}};
  kvq_cuda_set_parameters(launch, append);
  return launch;
}
