// kvq_rope_create: one allocation that holds the struct and all tables, each of them at a multiple of 64 bytes.
// Table angles are at most 64 * frequency, so the library's double cos and sin are as exact as needed.
#include <cmath>
#include <new>

#include "ops/common/arena.h"
#include "ops/rope/rope.h"

namespace {

constexpr uint32_t offsets = 32;
constexpr long double pi = 3.141592653589793238462643383279502884L;

struct arrays {
  kvq::rope_tables *tables;
  double *frequency;
  uint64_t *half_step;
  float *offset_cos, *offset_sin, *page_cos, *page_sin;
  int16_t *offset_fixed;
};

// One number more than offset_fixed holds: kernels gather its int16 numbers as 32 bits, so reading the last one touches the two bytes behind it.
arrays carve(arena &memory, size_t pairs) {
  return {memory.take<kvq::rope_tables>(1),    memory.take<double>(pairs), memory.take<uint64_t>(pairs), memory.take<float>(pairs * offsets),
          memory.take<float>(pairs * offsets), memory.take<float>(pairs),  memory.take<float>(pairs),    memory.take<int16_t>(pairs * 2 * offsets + 1)};
}

uint64_t half_step_of(double frequency) {
  long double turns = static_cast<long double>(frequency) / (4 * pi);
  long double fraction = std::ldexp(turns - std::floor(turns), 64);
  long double rounded = std::floor(fraction + 0.5L);
  return rounded >= 18446744073709551616.0L ? 0 : static_cast<uint64_t>(rounded);
}

int16_t fixed_of(double x) { return static_cast<int16_t>(std::lround(x * 32767)); }

}  // namespace

kvq_status kvq_rope_create(uint32_t head_dim, uint32_t rotary_dim, float attention_factor, const double *frequency, kvq_rope **out) {
  if (out == nullptr || head_dim == 0 || head_dim % 2 != 0 || rotary_dim % 2 != 0 || rotary_dim > head_dim || (rotary_dim > 0 && frequency == nullptr) || !std::isfinite(attention_factor))
    return KVQ_INVALID_ARGUMENT;
  for (uint32_t pair = 0; pair < rotary_dim / 2; pair++)
    if (!std::isfinite(frequency[pair])) return KVQ_INVALID_ARGUMENT;

  const size_t pairs = head_dim / 2;
  arena count{nullptr};
  carve(count, pairs);
  void *memory = ::operator new(count.used, std::align_val_t(arena_alignment), std::nothrow);
  if (memory == nullptr) return KVQ_OUT_OF_CAPACITY;
  arena space{static_cast<uint8_t *>(memory)};
  const arrays a = carve(space, pairs);

  for (size_t pair = 0; pair < pairs; pair++) {
    const double f = pair < rotary_dim / 2 ? frequency[pair] : 0;
    a.frequency[pair] = f;
    a.half_step[pair] = half_step_of(f);
    a.page_cos[pair] = static_cast<float>(std::cos(64 * f));
    a.page_sin[pair] = static_cast<float>(std::sin(64 * f));
    for (uint32_t l = 0; l < offsets; l++) {
      const double cosine = std::cos((l + 0.5) * f), sine = std::sin((l + 0.5) * f);
      a.offset_cos[pair * offsets + l] = static_cast<float>(cosine);
      a.offset_sin[pair * offsets + l] = static_cast<float>(sine);
      a.offset_fixed[pair * 2 * offsets + l] = fixed_of(cosine);
      a.offset_fixed[pair * 2 * offsets + offsets + l] = fixed_of(sine);
    }
  }

  kvq::rope_tables *tables = new (a.tables) kvq::rope_tables{};
  tables->head_dim = head_dim;
  tables->rotary_dim = rotary_dim;
  tables->attention_factor = attention_factor;
  tables->frequency = a.frequency;
  tables->offset_cos = a.offset_cos;
  tables->offset_sin = a.offset_sin;
  tables->offset_fixed = a.offset_fixed;
  tables->page_cos = a.page_cos;
  tables->page_sin = a.page_sin;
  tables->half_step = a.half_step;
  *out = tables;
  return KVQ_OK;
}

void kvq_rope_destroy(kvq_rope *rope) { ::operator delete(static_cast<void *>(static_cast<kvq::rope_tables *>(rope)), std::align_val_t(arena_alignment)); }
