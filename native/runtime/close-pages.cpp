#include "runtime/close-pages.h"

#include "runtime/runtime-error.h"

namespace kvquant {

namespace {

// Rounded so that every block starts aligned.
size_t capacity(const kvq_block_layout &layout) { return (kvq_block_capacity(&layout) + KVQ_BLOCK_PADDING + kAlignment - 1) / kAlignment * kAlignment; }

}  // namespace

void PageCloser::close(kvq_isa isa, std::span<const LayerOfSequence> layers) {
  pages_.clear();
  size_t rows = 0, bytes = 0, offsets = 0, scratch = 0;
  for (const LayerOfSequence &layer : layers) {
    const LayerCache &cache = layer.cache();
    const size_t count = cache.closing_pages();
    if (count == 0) continue;
    const LayerRules &rules = cache.rules();
    const size_t columns = rules.exact.columns();
    scratch = std::max(scratch, kvq_codec_scratch(rules.exact.kv_heads, rules.exact.head_dim));
    for (size_t index = 0; index < count; index++) {
      const size_t value_at = bytes + capacity(rules.plan->key().layout());
      pages_.push_back({layer, index, rows, bytes, value_at, offsets, {}, {}, KVQ_OK, KVQ_OK});
      rows += 2 * KVQ_PAGE_TOKENS * columns;
      bytes = value_at + capacity(rules.plan->value().layout());
      offsets += 2 * rules.exact.kv_heads;
    }
  }
  if (pages_.empty()) return;
  rows_.reserve(rows);
  blocks_.reserve(bytes);
  offsets_.reserve(offsets);
  scratch_.resize(pool_.threads());
  for (AlignedBuffer<uint8_t> &buffer : scratch_) buffer.reserve(scratch);

  pool_.run(2 * pages_.size(), [&](size_t task, unsigned worker) {
    Page &page = pages_[task / 2];
    if (task % 2 == 0) encode_keys(isa, page, worker);
    else encode_values(isa, page, worker);
  });

  for (const Page &page : pages_) {
    require(page.key_status, "encoding keys failed");
    require(page.value_status, "encoding values failed");
    const LayerRules &rules = page.layer.cache().rules();
    const bool key_outliers = rules.plan->key().layout().outliers != 0;
    const bool value_outliers = rules.plan->value().layout().outliers != 0;
    const uint32_t *offsets = offsets_.data() + page.offsets_at;
    page.layer.cache().add_page(page.layer.sequence->allocator().make(
        KVQ_PAGE_TOKENS, {{blocks_.data() + page.key_at, page.key.bytes}, key_outliers ? offsets : nullptr, page.key.saturated, page.key.clamped},
        {{blocks_.data() + page.value_at, page.value.bytes}, value_outliers ? offsets + rules.exact.kv_heads : nullptr, page.value.saturated, page.value.clamped}));
  }
}

void PageCloser::encode_keys(kvq_isa isa, Page &page, unsigned worker) {
  const LayerCache &cache = page.layer.cache();
  const LayerRules &rules = cache.rules();
  float *rows = rows_.data() + page.rows_at;
  uint8_t *block = blocks_.data() + page.key_at;
  cache.closing_chunk(page.index).read_keys(rules.exact, KVQ_PAGE_TOKENS, rows);
  page.key_status = kvq_encode_keys(isa, &rules.plan->key().plan(), rows, KVQ_PAGE_TOKENS, block, scratch_[worker].data(), &page.key);
  if (page.key_status != KVQ_OK) return;
  page.key_status = kvq_check_block(&rules.plan->key().layout(), block, page.key.bytes, KVQ_PAGE_TOKENS, offsets_.data() + page.offsets_at);
}

void PageCloser::encode_values(kvq_isa isa, Page &page, unsigned worker) {
  const LayerCache &cache = page.layer.cache();
  const LayerRules &rules = cache.rules();
  float *rows = rows_.data() + page.rows_at + KVQ_PAGE_TOKENS * rules.exact.columns();
  uint8_t *block = blocks_.data() + page.value_at;
  cache.closing_chunk(page.index).read_values(rules.exact, KVQ_PAGE_TOKENS, rows);
  page.value_status = kvq_encode_values(isa, &rules.plan->value().plan(), rows, KVQ_PAGE_TOKENS, block, scratch_[worker].data(), &page.value);
  if (page.value_status != KVQ_OK) return;
  page.value_status = kvq_check_block(&rules.plan->value().layout(), block, page.value.bytes, KVQ_PAGE_TOKENS, offsets_.data() + page.offsets_at + rules.exact.kv_heads);
}

}  // namespace kvquant
