// kvq_attention_tables_*: what the kernels of one layer look up, in one allocation; every array starts at a multiple of 64 bytes (unaligned tables cost 1.3 to 1.5 times the time).
#include <cmath>
#include <cstring>
#include <new>

#include "ops/attend-pages/attend-pages.h"
#include "ops/common/arena.h"

namespace {

struct arrays {
  kvq_attention_tables *tables;
  float *key_levels, *value_levels, *scale, *zero, *table, *grid, *fixed_scale, *fixed_zero, *fixed_step, *mean, *deviation;
  int16_t *fixed_table, *query_angles, *fixed_key_levels;
  int8_t *fixed_levels;
};

uint32_t padded_pairs_of(uint32_t head_dim) { return (head_dim / 2 + kvq::pair_lanes - 1) / kvq::pair_lanes * kvq::pair_lanes; }
uint32_t entries_of(uint32_t bits) { return bits == 5 ? 32 : 16; }

arrays carve(arena &memory, const kvq_key_plan &key, const kvq_value_plan &value, bool fixed) {
  const size_t columns = static_cast<size_t>(key.kv_heads) * key.head_dim, entries = columns * entries_of(key.bits);
  const size_t page_fixed = fixed && key.page_scales ? columns : 0, rotated = value.rotated ? columns : 0;
  arrays a;
  a.tables = memory.take<kvq_attention_tables>(1);
  a.key_levels = memory.take<float>(32);
  a.value_levels = memory.take<float>(32);
  a.fixed_levels = memory.take<int8_t>(64);
  a.scale = memory.take<float>(columns);
  a.zero = memory.take<float>(columns);
  a.table = memory.take<float>(key.page_scales ? 0 : entries);
  a.grid = memory.take<float>(fixed ? static_cast<size_t>(key.kv_heads) * padded_pairs_of(key.head_dim) : 0);
  a.fixed_table = memory.take<int16_t>(fixed && !key.page_scales ? columns << key.bits : 0);
  a.fixed_scale = memory.take<float>(page_fixed);
  a.fixed_zero = memory.take<float>(page_fixed);
  a.fixed_step = memory.take<float>(page_fixed);
  a.fixed_key_levels = memory.take<int16_t>(32);
  a.query_angles = memory.take<int16_t>(fixed ? static_cast<size_t>(key.head_dim) * 64 : 0);
  a.mean = memory.take<float>(rotated);
  a.deviation = memory.take<float>(rotated);
  return a;
}

void fill_keys(const arrays &a, const kvq_key_plan &plan) {
  const uint32_t entries = entries_of(plan.bits), mask = (1u << plan.bits) - 1;
  for (uint32_t i = 0; i < 32; i++) a.key_levels[i] = plan.levels[i & mask];
  for (uint32_t head = 0; head < plan.kv_heads; head++) {
    for (uint32_t code = 0; code < plan.head_dim; code++) {
      const size_t to = static_cast<size_t>(head) * plan.head_dim + code, from = static_cast<size_t>(head) * plan.head_dim + kvq::channel_of_code(plan, code);
      a.scale[to] = plan.scale[from];
      a.zero[to] = plan.zero[from];
      if (!plan.page_scales) for (uint32_t i = 0; i < entries; i++) a.table[to * entries + i] = plan.levels[i & mask] * plan.scale[from] + plan.zero[from];
    }
  }
}

float level_reach(const kvq_key_plan &plan) {
  float reach = 0;
  for (uint32_t i = 0; i < 1u << plan.bits; i++) reach = std::fmax(reach, std::fabs(plan.levels[i]));
  return reach;
}

// Largest magnitude of a channel: of its table, or of the calibrated range and some more (even where levels end earlier: the range of a page lies askew).
float reach_of(const arrays &a, const kvq_key_plan &plan, size_t code) {
  if (plan.page_scales) return std::fabs(a.zero[code]) + kvq::fixed_key_headroom * a.scale[code];
  const uint32_t entries = entries_of(plan.bits);
  float reach = 0;
  for (uint32_t i = 0; i < entries; i++) reach = std::fmax(reach, std::fabs(a.table[code * entries + i]));
  return reach;
}

void fill_fixed_keys(const arrays &a, const kvq_key_plan &plan) {
  const uint32_t entries = entries_of(plan.bits), padded = padded_pairs_of(plan.head_dim);
  for (uint32_t i = 0; i < 32; i++) a.fixed_key_levels[i] = static_cast<int16_t>(std::lrint(32767 * a.key_levels[i] / level_reach(plan)));
  for (uint32_t head = 0; head < plan.kv_heads; head++) {
    float *grid = a.grid + static_cast<size_t>(head) * padded;
    for (uint32_t pair = 0; pair < padded; pair++) grid[pair] = 0;
    for (uint32_t pair = 0; pair < plan.head_dim / 2; pair++) {
      const size_t code = static_cast<size_t>(head) * plan.head_dim + 2 * pair;
      grid[pair] = std::fmax(std::hypot(reach_of(a, plan, code), reach_of(a, plan, code + 1)) / kvq::largest_fixed_key, 1e-30f);
      for (size_t j = code; j < code + 2; j++) {
        if (plan.page_scales) {
          a.fixed_scale[j] = std::ldexp(a.scale[j] * level_reach(plan) / grid[pair], -12);
          a.fixed_step[j] = a.scale[j] / 64 / grid[pair];
          a.fixed_zero[j] = a.zero[j] / grid[pair] - 128 * a.fixed_step[j];
        } else {
          for (uint32_t i = 0; i < 1u << plan.bits; i++) a.fixed_table[(j << plan.bits) + i] = static_cast<int16_t>(std::lrint(a.table[j * entries + i] / grid[pair]));
        }
      }
    }
  }
}

// Angles for a single query, which is rotated instead of the keys (keys-fixed.avx512.cpp): token pairs sit where unpacklo and unpackhi of the codes put them.
void fill_query_angles(int16_t *to, const kvq_rope &rope) {
  for (uint32_t pair = 0; pair < rope.head_dim / 2; pair++) {
    const int16_t *cosine = rope.offset_fixed + pair * 64, *sine = cosine + 32;
    for (uint32_t lane = 0; lane < 32; lane++) {
      int16_t *half = to + pair * 128 + ((lane >> 2) & 1) * 64;
      const uint32_t place = 2 * ((lane >> 3) * 4 + (lane & 3));
      half[place] = half[place + 1] = cosine[lane];
      half[32 + place] = sine[lane];
      half[32 + place + 1] = static_cast<int16_t>(-sine[lane]);
    }
  }
}

void fill_values(const arrays &a, const kvq_value_plan &plan) {
  const uint32_t mask = (1u << plan.bits) - 1;
  for (uint32_t i = 0; i < 32; i++) a.value_levels[i] = plan.levels[i & mask];
  for (uint32_t i = 0; i < 64; i++) a.fixed_levels[i] = static_cast<int8_t>(std::lrint(127 * plan.levels[i & mask]));
  if (!plan.rotated) return;
  const size_t columns = static_cast<size_t>(plan.kv_heads) * plan.head_dim;
  std::memcpy(a.mean, plan.mean, columns * sizeof(float));
  std::memcpy(a.deviation, plan.deviation, columns * sizeof(float));
}

const kvq::page_kernels &kernels_of(kvq_isa isa, kvq_precision precision) {
#if defined(__x86_64__)
  if (isa == KVQ_ISA_AVX512) return precision == KVQ_FAST ? kvq::avx512::fast_pages : kvq::avx512::exact_pages;
  if (isa == KVQ_ISA_AVX2) return precision == KVQ_FAST ? kvq::avx2::fast_pages : kvq::avx2::exact_pages;
#endif
  (void)isa;
  (void)precision;
  return kvq::scalar::exact_pages;
}

// Fixed point values hold levels as int8 multiples of 1 / 127; other codebooks take the exact kernels, and kvq_attention_path says so.
bool fits_bytes(const kvq_value_plan &plan) {
  for (uint32_t i = 0; i < 1u << plan.bits; i++) {
    const float whole = 127 * plan.levels[i], nearest = std::round(whole);
    if (std::fabs(whole - nearest) > 1e-3f || std::fabs(nearest) > 127) return false;
  }
  return true;
}

bool supported_bits(uint32_t bits) { return bits >= 2 && bits <= 5; }

}  // namespace

uint32_t kvq::channel_of_code(const kvq_key_plan &plan, uint32_t code) { return code < plan.rotary_dim ? code / 2 + code % 2 * (plan.rotary_dim / 2) : code; }

kvq_status kvq_attention_tables_create(kvq_isa isa, kvq_precision precision, const kvq_key_plan *key, const kvq_value_plan *value, const kvq_rope *rope, kvq_attention_tables **out) {
  if (key->head_dim != value->head_dim || key->kv_heads != value->kv_heads || key->head_dim != rope->head_dim || key->rotary_dim != rope->rotary_dim) return KVQ_INVALID_ARGUMENT;
  if (key->head_dim == 0 || key->head_dim % 16 != 0 || key->head_dim > kvq::largest_head_dim || !supported_bits(key->bits) || !supported_bits(value->bits)) return KVQ_UNSUPPORTED;
  const kvq::page_kernels &kernels = kernels_of(isa, fits_bytes(*value) ? precision : KVQ_EXACT);
  arena count{nullptr};
  carve(count, *key, *value, kernels.fixed_keys);
  void *memory = ::operator new(count.used, std::align_val_t(arena_alignment), std::nothrow);
  if (memory == nullptr) return KVQ_OUT_OF_CAPACITY;
  arena fill{static_cast<uint8_t *>(memory)};
  const arrays a = carve(fill, *key, *value, kernels.fixed_keys);
  fill_keys(a, *key);
  fill_values(a, *value);
  if (kernels.fixed_keys) {
    fill_fixed_keys(a, *key);
    fill_query_angles(a.query_angles, *rope);
  }
  const uint32_t head_dim = key->head_dim;
  kvq_attention_tables *tables = new (a.tables) kvq_attention_tables{};
  tables->kernels = &kernels;
  tables->rope = rope;
  tables->bytes = count.used;
  tables->key = {kvq_key_layout(key), head_dim, head_dim / 2, padded_pairs_of(head_dim), key->bits, entries_of(key->bits), key->page_scales, level_reach(*key), a.key_levels, a.scale, a.zero,
                 key->page_scales ? nullptr : a.table, a.grid, a.fixed_table, a.fixed_scale, a.fixed_zero, a.fixed_step, a.fixed_key_levels, a.query_angles};
  tables->value = {kvq_value_layout(value), head_dim, value->bits, value->rotated, head_dim & (0u - head_dim), a.value_levels, a.fixed_levels, a.mean, a.deviation};
  *out = tables;
  return KVQ_OK;
}

void kvq_attention_tables_destroy(kvq_attention_tables *tables) {
  if (tables != nullptr) ::operator delete(tables, std::align_val_t(arena_alignment));
}

size_t kvq_attention_tables_bytes(const kvq_attention_tables *tables) { return tables->bytes; }

const char *kvq_attention_path(const kvq_attention_tables *tables, int side) { return side == 0 ? tables->kernels->key_path : tables->kernels->value_path; }
