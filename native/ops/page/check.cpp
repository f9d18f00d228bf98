// Checks blocks from outside before anything reads them. Accepts exactly what parseBlock of packages/quant/src/quantizers/page-layout.ts does.
#include "kvquant/codec.h"
#include "ops/page/half.h"

namespace {

constexpr size_t count_bytes = KVQ_PAGE_TOKENS / 2;

bool token_numbers_are_sound(const kvq_block_layout &layout, const uint8_t *numbers, uint32_t tokens) {
  for (uint32_t array = 0; array < layout.token_arrays; array++) {
    for (uint32_t token = 0; token < KVQ_PAGE_TOKENS; token++, numbers += 2) {
      const uint16_t half = read_half(numbers);
      // Kernels load the numbers of all 64 tokens, so those of missing ones must be harmless: 0.
      if (token < tokens ? !half_is_finite(half) : half != 0) return false;
    }
  }
  return true;
}

// Length of the outlier section in `bytes` readable bytes; 0 when no encoder writes it.
size_t checked_section_bytes(const uint8_t *section, size_t bytes, uint32_t head_dim, uint32_t tokens) {
  if (bytes < count_bytes) return 0;
  uint8_t counts[KVQ_PAGE_TOKENS];
  size_t entries = 0;
  for (uint32_t token = 0; token < KVQ_PAGE_TOKENS; token++) {
    counts[token] = (section[token >> 1] >> (4 * (token & 1))) & 15;
    if (counts[token] > 0 && token >= tokens) return 0;
    entries += counts[token];
  }
  const size_t used = count_bytes + 3 * entries;
  const size_t length = (used + 3) / 4 * 4;
  if (bytes < length) return 0;
  const uint8_t *deltas = section + count_bytes;
  for (size_t entry = 0; entry < entries; entry++)
    if (!half_is_finite(read_half(deltas + 2 * entry))) return 0;
  const uint8_t *index = deltas + 2 * entries;
  for (uint32_t token = 0; token < KVQ_PAGE_TOKENS; token++) {
    int previous = -1;
    for (uint32_t slot = 0; slot < counts[token]; slot++, index++) {
      if (*index <= previous || *index >= head_dim) return 0;
      previous = *index;
    }
  }
  for (size_t place = used; place < length; place++)
    if (section[place] != 0) return 0;
  return length;
}

}  // namespace

kvq_status kvq_check_block(const kvq_block_layout *layout, const uint8_t *block, size_t bytes, uint32_t tokens, uint32_t *outlier_offsets) {
  if (tokens < 1 || tokens > KVQ_PAGE_TOKENS) return KVQ_CORRUPT_DATA;
  size_t end = kvq_outliers_offset(layout);
  if (bytes < end) return KVQ_CORRUPT_DATA;
  if (!token_numbers_are_sound(*layout, block + kvq_token_data_offset(layout), tokens)) return KVQ_CORRUPT_DATA;
  for (uint32_t head = 0; layout->outliers && head < layout->kv_heads; head++) {
    const size_t length = checked_section_bytes(block + end, bytes - end, layout->head_dim, tokens);
    if (length == 0) return KVQ_CORRUPT_DATA;
    outlier_offsets[head] = (uint32_t)end;
    end += length;
  }
  return bytes == end ? KVQ_OK : KVQ_CORRUPT_DATA;
}
