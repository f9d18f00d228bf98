// kvq_write_exact: one token into exact storage. Keys are channel-major, so a token is a column: one store a cache line; values are rows of their panels.
#include "ops/attend-exact/attend-exact.h"
#include "ops/common/half.h"

void kvq_write_exact(uint32_t kv_heads, uint32_t head_dim, const float *key, const float *value, uint16_t *key_page, uint16_t *value_page, uint32_t slot) {
  const size_t channels = static_cast<size_t>(kv_heads) * head_dim;
  for (size_t channel = 0; channel < channels; channel++) key_page[channel * KVQ_PAGE_TOKENS + slot] = half_of_float(key[channel]);
  for (uint32_t head = 0; head < kv_heads; head++)
    for (uint32_t start = 0; start < head_dim; start += 64) {
      const uint32_t width = kvq::panel_width(head_dim, start);
      const float *__restrict from = value + static_cast<size_t>(head) * head_dim + start;
      uint16_t *__restrict row = value_page + (static_cast<size_t>(head) * head_dim + start) * KVQ_PAGE_TOKENS + static_cast<size_t>(slot) * width;
      for (uint32_t channel = 0; channel < width; channel++) row[channel] = half_of_float(from[channel]);
    }
}
