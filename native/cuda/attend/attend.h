// Decode attention on the GPU over pages of format v1 and exact tokens: one query token for each sequence of a batch.
//
//   kvq_keys_{channel,page}_<bits>_<headDim>      scores of compressed keys
//   kvq_values_{token,rotated}_<bits>_<headDim>   softmax and compressed values; exact tokens; the merge of all parts
//   kvq_half_<headDim>                            the same attention over exact (fp16) tokens alone: fp16 layers, and the baseline of the bench
//
// All take kvq_cuda_attention by value. Key and value kernels are apart, so that any key recipe goes with any value recipe (docs/decisions/0012). The number of query heads a KV head, G, is a
// run-time number: the tensor cores' 8 columns are the queries. Scores pass through scratch, in windows of pages that stay in the second-level cache.
#pragma once

#include <math.h>
#include <stddef.h>
#include <vector>

#include "cuda/common/launch.h"
#include "kvquant/page.h"

// A closed page, in the page table of its sequence. All addresses are the device's.
struct kvq_cuda_page {
  const uint8_t *key;            // block; starts at a multiple of 64, followed by KVQ_BLOCK_PADDING readable bytes
  const uint8_t *value;          // the same
  const uint32_t *outliers;      // [2][kv_heads] offsets of the outlier sections (kvq_check_block) in the key block, then in the value block; NULL when the layer has none.
                                 // A side without outliers has any numbers there: they are not read.
  uint32_t angle_row;            // row of page_angles for its position
  uint32_t tokens;               // valid ones, 1 .. 64
};
static_assert(sizeof(kvq_cuda_page) == 32, "read as 16-byte vectors");

// The pages that a query sees: the first `count` of its sequence's table, which may lie anywhere.
struct kvq_cuda_page_table {
  const kvq_cuda_page *pages;
  uint32_t count;
};
static_assert(sizeof(kvq_cuda_page_table) == 16, "laid out alike on the host and the device");

// Up to `capacity` exact tokens over all KV heads, in fp16:
//   [kv_heads][3][capacity][head_dim]   part 0: keys rotated to their positions (times the attention factor), 1: values, 2: keys before RoPE (only encoding reads them)
// Starts at a multiple of 64. Rows beyond `tokens` are not read.
struct kvq_cuda_exact {
  const uint16_t *address; // NULL: no tokens
  uint32_t tokens;         // valid ones, at most capacity
  uint32_t capacity;       // at most 64
};
static_assert(sizeof(kvq_cuda_exact) == 16, "read as a 16-byte vector");

inline size_t kvq_cuda_exact_bytes(uint32_t kv_heads, uint32_t head_dim, uint32_t capacity) { return size_t{3} * 2 * kv_heads * head_dim * capacity; }

// The parameters of every kernel of this header.
struct kvq_cuda_attention {
  // the batch
  const kvq_cuda_page_table *tables; // [sequences]
  const kvq_cuda_exact *exact;  // [sequences][exact_slots]: sinks, tail, open page; in any order
  const float *query;           // [sequences][query_stride]: [kv_heads * group][head_dim] before RoPE, channel order, not scaled
  const float *query_angles;    // [sequences][head_dim / 2][2]: cos, sin of the query's position, rotary pairs times the attention factor (kvq_cuda_fill_angles);
                                // exact keys carry the other factor, compressed ones get it from page_angles
  const float *page_angles;     // [rows][head_dim / 2][2]: cos, sin of a page's middle, start + 31.5, rotary pairs times the attention factor
  float *out;                   // [sequences][kv_heads * group * head_dim]
  // the layer (cuda/tables/tables.h)
  const uint32_t *offset_angles; // kvq_cuda_fill_offset_angles: of the model, not of the layer
  const float *key_scale, *key_zero;              // [kv_heads][head_dim] by code index
  const float *value_mean, *value_deviation;      // [kv_heads][head_dim] by channel; rotated values only
  // scratch (kvq_cuda_attention_scratch); nothing in it need be kept between calls, but `arrivals` must be zero before and is zero after
  float *scores;
  float *partials;
  uint32_t *arrivals;
  // shape
  uint32_t sequences, kv_heads, group, head_dim, rotary_dim;
  uint32_t query_stride;
  uint32_t key_outliers, value_outliers;          // 1: blocks carry outlier sections
  uint32_t most_pages;                            // of a sequence
  uint32_t exact_slots;                           // entries of `exact` for each sequence
  float scale;                                    // log2(e) / sqrt(head_dim)
  int8_t key_levels[32], value_levels[32];        // 127 * level; 2^bits of them count
  // what kvq_cuda_plan_attention sets
  uint32_t window_first, window_pages;            // pages of each sequence that this launch covers
  uint32_t exact_blocks, page_splits;             // blocks of a head in this launch
  uint32_t first_slot, slots;                     // partial results: of this launch's page splits, and of a head in all
  uint32_t score_pages;                           // pages of a sequence that `scores` has room for
  uint32_t block_queries;                         // query heads of a block, at most kvq_cuda_queries
};

// Which kernels a layer takes.
struct kvq_cuda_recipe {
  uint32_t head_dim;                   // 64, 128 or 256
  uint32_t key_bits, page_scales;      // 2 .. 5; 1: page-local key scales
  uint32_t value_bits, rotated;        // 2 .. 5; 1: rotated values
};

inline bool kvq_cuda_supports_head_dim(uint32_t head_dim) { return head_dim == 64 || head_dim == 128 || head_dim == 256; }
inline bool kvq_cuda_supports(const kvq_cuda_recipe &recipe) {
  return kvq_cuda_supports_head_dim(recipe.head_dim) && recipe.key_bits >= 2 && recipe.key_bits <= 5 && recipe.value_bits >= 2 && recipe.value_bits <= 5;
}

inline void kvq_cuda_name_keys(const kvq_cuda_recipe &recipe, char (&name)[48]) {
  snprintf(name, sizeof(name), "kvq_keys_%s_%u_%u", recipe.page_scales ? "page" : "channel", recipe.key_bits, recipe.head_dim);
}
inline void kvq_cuda_name_values(const kvq_cuda_recipe &recipe, char (&name)[48]) {
  snprintf(name, sizeof(name), "kvq_values_%s_%u_%u", recipe.rotated ? "rotated" : "token", recipe.value_bits, recipe.head_dim);
}
inline void kvq_cuda_name_half(uint32_t head_dim, char (&name)[48]) { snprintf(name, sizeof(name), "kvq_half_%u", head_dim); }

// ---- plan ----

// Query heads that one block answers, at most: a larger group goes through the grid's third dimension, and so does one whose queries do not fit the shared memory of the device.
constexpr uint32_t kvq_cuda_queries = 8;
// `sequences` times `kv_heads`, at most: the second dimension of a grid ends there.
constexpr uint32_t kvq_cuda_most_rows = 65535;
// `exact_slots` of a layer with compressed keys and values, at most. (A layer in fp16 takes any number.)
uint32_t kvq_cuda_most_exact_slots(uint32_t head_dim);

struct kvq_cuda_attention_scratch {
  size_t score_bytes, partial_bytes, arrival_bytes;
};

// Launches of one call and the scratch they need.
struct kvq_cuda_attention_plan {
  kvq_cuda_attention_scratch scratch;
  uint32_t score_pages, slots;
  std::vector<kvq_cuda_launch> launches; // in this order on one stream
};

// Shared memory of a block that answers `group` query heads, at most kvq_cuda_queries.
uint32_t kvq_cuda_keys_shared_bytes(const kvq_cuda_recipe &recipe, uint32_t group);
uint32_t kvq_cuda_values_shared_bytes(const kvq_cuda_recipe &recipe, uint32_t group);

// Fills scratch sizes from shapes alone: call it with null scratch first, allocate, set scores, partials, arrivals, and call it again for the launches.
// Needs of `attention`: sequences, kv_heads, group, head_dim, most_pages, exact_slots; for launches everything above "what kvq_cuda_plan_attention sets".
kvq_cuda_attention_plan kvq_cuda_plan_attention(const kvq_cuda_device &device, const kvq_cuda_recipe &recipe, const kvq_cuda_attention &attention);
// The same for a layer in fp16: `exact` holds every token of a sequence, 64 in each entry but the last; `tables`, `scores` and the tables of the layer are not read.
kvq_cuda_attention_plan kvq_cuda_plan_half(const kvq_cuda_device &device, uint32_t head_dim, const kvq_cuda_attention &attention);

#include "cuda/attend/plan.h"
