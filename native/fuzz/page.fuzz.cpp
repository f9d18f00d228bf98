// libFuzzer target: blocks from outside. The first bytes of an input choose a layout and the number of tokens, the others are the block. kvq_check_block must read nothing outside
// it (the block lies in memory of exactly its size, so that the address sanitizer notices), and what it accepts must decode to finite numbers, the same ones on every instruction set.
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "kvquant/codec.h"

namespace {

constexpr uint32_t head_dims[] = {16, 16, 32, 48, 64, 80, 128, 256};
constexpr uint32_t maximum_heads = 4;
constexpr uint32_t maximum_columns = maximum_heads * 256;

// Plans with ordinary numbers; the bytes under test are the block's.
struct plan_arrays {
  float levels[32], midpoints[32], scale[maximum_columns], zero[maximum_columns];
  plan_arrays() {
    for (int index = 0; index < 32; index++) levels[index] = static_cast<float>(8 * index - 127) / 127.0f, midpoints[index] = levels[index] + 0.03f;
    for (uint32_t column = 0; column < maximum_columns; column++) scale[column] = 0.5f + static_cast<float>(column % 5), zero[column] = static_cast<float>(column % 9) - 4.0f;
  }
};
const plan_arrays arrays;

struct subject {
  bool keys;
  kvq_key_plan key = {};
  kvq_value_plan value = {};
  kvq_block_layout layout;
  uint32_t tokens;
  bool fitted;  // cut the block to the length its counts ask for, so that accepted blocks are not left to chance
  bool decoded; // decode what is accepted: of wide pages one in sixteen, for speed
};

subject choose(const uint8_t *data) {
  subject chosen;
  const uint32_t head_dim = head_dims[data[0] & 7], kv_heads = 1 + (data[0] >> 3 & 3), bits = 2 + (data[1] & 3);
  chosen.keys = data[1] >> 2 & 1;
  const uint32_t kind = data[1] >> 3 & 1, outliers = data[1] >> 4 & 1;
  chosen.fitted = data[1] >> 5 & 1;
  chosen.tokens = data[2] % 67;
  chosen.key = {kv_heads, head_dim, data[1] >> 6 & 1 ? head_dim : head_dim / 2, bits, kind, kind ? 0 : outliers, arrays.scale, arrays.zero, nullptr, nullptr, arrays.levels, arrays.midpoints, nullptr, nullptr};
  chosen.value = {kv_heads, head_dim, head_dim, bits, kind, kind ? 0 : outliers, arrays.levels, arrays.midpoints, arrays.zero, arrays.scale};
  chosen.decoded = kv_heads * head_dim <= 32 || (data[0] >> 5 == 0 && data[1] >> 7 == 0);
  chosen.layout = chosen.keys ? kvq_key_layout(&chosen.key) : kvq_value_layout(&chosen.value);
  return chosen;
}

// The input after a fixed part that repeats its first bytes: sections as they come, cut where their counts say.
std::vector<uint8_t> fit_block(const subject &chosen, const uint8_t *data, size_t size) {
  const size_t fixed = kvq_outliers_offset(&chosen.layout);
  std::vector<uint8_t> block(kvq_block_capacity(&chosen.layout), 0);
  for (size_t place = 0; place < fixed && size > 0; place += size) std::memcpy(block.data() + place, data, size < fixed - place ? size : fixed - place);
  if (chosen.layout.token_arrays > 0) {
    for (size_t array = 0; array < chosen.layout.token_arrays; array++) {
      uint8_t *const numbers = block.data() + kvq_token_data_offset(&chosen.layout) + 128 * array;
      std::memset(numbers + 2 * chosen.tokens, 0, 2 * (64 - chosen.tokens));
    }
  }
  if (chosen.layout.outliers == 0) return block;
  std::memcpy(block.data() + fixed, data, size < block.size() - fixed ? size : block.size() - fixed);
  size_t end = fixed;
  for (uint32_t head = 0; head < chosen.layout.kv_heads && end + 32 <= block.size(); head++) {
    size_t entries = 0;
    for (size_t byte = 0; byte < 32; byte++) entries += (block[end + byte] & 15u) + (block[end + byte] >> 4u);
    end += 32 + (3 * entries + 3) / 4 * 4;
  }
  block.resize(end < block.size() ? end : block.size());
  return block;
}

void require(bool condition) {
  if (!condition) std::abort();
}

void decode_everywhere(const subject &chosen, const uint8_t *bytes, size_t size, const uint32_t *offsets) {
  const size_t count = static_cast<size_t>(chosen.tokens) * chosen.layout.kv_heads * chosen.layout.head_dim;
  void *block = nullptr;
  static void *scratch = nullptr; // one for all runs: making it takes longer than decoding
  require(posix_memalign(&block, KVQ_BLOCK_ALIGNMENT, size + KVQ_BLOCK_PADDING) == 0);
  if (scratch == nullptr) require(posix_memalign(&scratch, 64, kvq_codec_scratch(maximum_heads, maximum_columns / maximum_heads)) == 0);
  std::memcpy(block, bytes, size);
  std::memset(static_cast<uint8_t *>(block) + size, 0, KVQ_BLOCK_PADDING);
  std::vector<float> first;
  for (int isa = 0; isa < KVQ_ISA_COUNT; isa++) {
    if (!kvq_isa_available(static_cast<kvq_isa>(isa))) continue;
    std::vector<float> out(count, NAN); // of exactly this size: an index outside the last head writes behind it
    if (chosen.keys) kvq_decode_keys(static_cast<kvq_isa>(isa), &chosen.key, static_cast<uint8_t *>(block), chosen.tokens, offsets, out.data(), scratch);
    else kvq_decode_values(static_cast<kvq_isa>(isa), &chosen.value, static_cast<uint8_t *>(block), chosen.tokens, offsets, out.data(), scratch);
    if (isa == KVQ_ISA_SCALAR) {
      float largest = 0;
      for (const float x : out) largest = std::fmax(largest, std::fabs(x) < INFINITY ? 0.0f : 1.0f);
      require(largest == 0);
      first.swap(out);
    } else {
      require(std::memcmp(first.data(), out.data(), count * sizeof(float)) == 0);
    }
  }
  std::free(block);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size < 3) return 0;
  const subject chosen = choose(data);
  data += 3;
  size -= 3;
  std::vector<uint8_t> fitted;
  if (chosen.fitted && chosen.tokens >= 1 && chosen.tokens <= 64) {
    fitted = fit_block(chosen, data, size);
    data = fitted.data();
    size = fitted.size();
  }
  uint8_t *const exact = static_cast<uint8_t *>(std::malloc(size > 0 ? size : 1));
  std::memcpy(exact, data, size);
  uint32_t offsets[maximum_heads] = {};
  const kvq_status status = kvq_check_block(&chosen.layout, exact, size, chosen.tokens, chosen.layout.outliers ? offsets : nullptr);
  require(status == KVQ_OK || status == KVQ_CORRUPT_DATA);
  if (status == KVQ_OK && chosen.decoded) decode_everywhere(chosen, exact, size, offsets);
  std::free(exact);
  return 0;
}
