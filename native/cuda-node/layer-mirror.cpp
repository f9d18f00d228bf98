#include "cuda-node/layer-mirror.h"

#include <algorithm>
#include <cstring>

#include "cuda-node/packed.h"
#include "kvquant/codec.h"

namespace kvquant::cuda {

LayerMirror::LayerMirror(std::shared_ptr<CacheTables> tables, size_t layer) : tables_(std::move(tables)), layer_(layer), start_(tables_->layer(layer) == nullptr ? 0 : tables_->shape().sink_tokens) {}

LayerMirror::LayerMirror(const LayerMirror &other) : tables_(other.tables_), layer_(other.layer_), pages_(other.pages_), start_(other.start_) {}

void LayerMirror::check_request(const std::shared_ptr<CacheTables> &tables, size_t layer, size_t columns, size_t query_columns) const {
  if (tables != tables_ || layer != layer_) throw RuntimeError(KVQ_INVALID_ARGUMENT, name() + ": expected layer " + std::to_string(layer) + " of the tables that attend, got another layer or one of others");
  const CacheShape &shape = tables_->shape();
  if (columns == shape.key_columns() && query_columns == shape.query_columns()) return;
  throw RuntimeError(KVQ_INVALID_ARGUMENT, name() + ": expected " + std::to_string(shape.key_columns()) + " columns of keys and " + std::to_string(shape.query_columns()) + " of queries");
}

void LayerMirror::keep_pages(size_t count) {
  if (count >= pages_.size()) return;
  pages_.resize(count);
  table_.resize(count);
  starts_.resize(count);
  table_uploaded_ = std::min(table_uploaded_, count);
}

void LayerMirror::forget(uint64_t position) {
  sinks_valid_ = std::min(sinks_valid_, position);
  open_valid_ = position <= start_ ? 0 : std::min(open_valid_, position - start_);
}

LayerMirror::Missing LayerMirror::missing(uint64_t start) {
  const uint64_t ahead = start - start_;
  if (start >= start_ && ahead % KVQ_PAGE_TOKENS == 0 && ahead / KVQ_PAGE_TOKENS <= chunks_.size()) {
    chunks_.erase(chunks_.begin(), chunks_.begin() + static_cast<ptrdiff_t>(ahead / KVQ_PAGE_TOKENS));
    open_valid_ -= std::min(open_valid_, ahead);
  } else {
    chunks_.clear();
    open_valid_ = 0;
  }
  start_ = start;
  return {sinks_valid_, start_ + open_valid_};
}

std::shared_ptr<Memory> LayerMirror::make_chunk(uint32_t capacity) const {
  const CacheShape &shape = tables_->shape();
  return Memory::allocate(tables_->kernels().shared_device(), kvq_cuda_exact_bytes(shape.kv_heads, shape.head_dim, capacity), name() + ", " + std::to_string(capacity) + " exact tokens of " + std::to_string(shape.kv_heads) + " KV heads");
}

void LayerMirror::upload_page(const HostPage &page) {
  const LayerTables *layer = tables_->layer(layer_);
  if (layer == nullptr) throw RuntimeError(KVQ_INVALID_ARGUMENT, name() + ": expected no pages in an fp16 layer");
  const uint32_t heads = tables_->shape().kv_heads;
  const kvq_block_layout &key_layout = layer->key->layout(), &value_layout = layer->value->layout();
  const bool outliers = key_layout.outliers != 0 || value_layout.outliers != 0;
  std::vector<uint32_t> offsets(2 * heads);
  // Kernels prefetch the first lines of an outlier section before they know how long it is: those of the last one lie in the page's own memory too.
  constexpr uint64_t kPrefetched = 512;
  const uint64_t value_at = round_to_block(page.key_bytes), outliers_at = round_to_block(value_at + page.value_bytes + KVQ_BLOCK_PADDING);
  std::vector<uint8_t> bytes(outliers ? std::max(outliers_at + offsets.size() * sizeof(uint32_t), value_at + page.value_bytes + kPrefetched) : outliers_at);
  std::memcpy(bytes.data(), page.key, page.key_bytes);
  std::memcpy(bytes.data() + value_at, page.value, page.value_bytes);
  // Kernels trust counts and indices of outliers. The copy is checked: the block may lie in memory that JavaScript writes to meanwhile.
  require(kvq_check_block(&key_layout, bytes.data(), page.key_bytes, page.encoded_tokens, offsets.data()), "key block: expected one that the layer's codec wrote, got a damaged one");
  require(kvq_check_block(&value_layout, bytes.data() + value_at, page.value_bytes, page.encoded_tokens, offsets.data() + heads), "value block: expected one that the layer's codec wrote, got a damaged one");
  if (outliers) std::memcpy(bytes.data() + outliers_at, offsets.data(), offsets.size() * sizeof(uint32_t));
  KernelSet &kernels = tables_->kernels();
  auto memory = Memory::allocate(kernels.shared_device(), bytes.size(), name() + ", page " + std::to_string(pages_.size()) + ", " + std::to_string(page.key_bytes) + " bytes of keys and " + std::to_string(page.value_bytes) + " of values");
  kernels.stream().upload(memory, 0, std::move(bytes));
  const Address start = memory->address();
  pages_.push_back({std::move(memory), start, start + value_at, outliers ? start + outliers_at : 0, page.encoded_tokens});
}

// Brings table_ up to date with the pages, their positions and valid tokens.
void LayerMirror::place_pages(const AttendCall &call) {
  if (call.starts.size() != pages_.size() || call.tokens.size() != pages_.size()) throw RuntimeError(KVQ_INVALID_ARGUMENT, name() + ": expected a start and a number of tokens for each page");
  table_.resize(pages_.size());
  starts_.resize(pages_.size(), UINT64_MAX);
  for (size_t index = 0; index < pages_.size(); index++) {
    const DevicePage &page = pages_[index];
    const uint32_t tokens = call.tokens[index];
    if (starts_[index] == call.starts[index] && table_[index].tokens == tokens) continue;
    if (tokens < 1 || tokens > page.encoded_tokens) throw RuntimeError(KVQ_INVALID_ARGUMENT, name() + ": expected 1 to " + std::to_string(page.encoded_tokens) + " valid tokens, got " + std::to_string(tokens));
    const kvq_cuda_page entry = {reinterpret_cast<const uint8_t *>(page.key), reinterpret_cast<const uint8_t *>(page.value), reinterpret_cast<const uint32_t *>(page.outliers),
                                 tables_->angle_row(call.starts[index]), tokens};
    table_[index] = entry;
    starts_[index] = call.starts[index];
    table_uploaded_ = std::min(table_uploaded_, index);
  }
}

// Sends what has changed of table_.
void LayerMirror::upload_table() {
  if (table_uploaded_ == table_.size()) return;
  KernelSet &kernels = tables_->kernels();
  const uint64_t needed = table_.size() * sizeof(kvq_cuda_page);
  if (table_memory_ == nullptr || table_memory_->bytes() < needed) {
    table_memory_ = Memory::allocate(kernels.shared_device(), std::max<uint64_t>(2 * needed, 1024), name() + ", table of " + std::to_string(table_.size()) + " pages");
    table_uploaded_ = 0;
  }
  const uint64_t done = table_uploaded_ * sizeof(kvq_cuda_page);
  kernels.stream().upload(table_memory_, done, table_.data() + table_uploaded_, needed - done);
  table_uploaded_ = table_.size();
}

void LayerMirror::extend_chunks(const AttendCall &call) {
  if (sink_tokens() > 0 && sinks_ == nullptr) sinks_ = make_chunk(sink_tokens());
  const uint64_t open = call.length > start_ ? call.length - start_ : 0;
  while (chunks_.size() * KVQ_PAGE_TOKENS < open) chunks_.push_back(make_chunk(KVQ_PAGE_TOKENS));
}

void LayerMirror::prepare(const AttendCall &call) {
  if (call.first + call.count != call.length || call.visible.size() != call.count) throw RuntimeError(KVQ_INVALID_ARGUMENT, name() + ": expected the newest tokens' queries, with the pages that each sees");
  for (const HostPage &page : call.pages) upload_page(page);
  place_pages(call);
  upload_table();
  extend_chunks(call);
  const size_t most = tables_->layer(layer_) == nullptr ? SIZE_MAX : kvq_cuda_most_exact_slots(tables_->shape().head_dim);
  for (size_t query = 0; query < call.count; query++) {
    const size_t exact = view(call, query).exact;
    if (exact > most) throw RuntimeError(KVQ_UNSUPPORTED, name() + ": expected at most " + std::to_string(most) + " pieces of 64 exact tokens that a query sees, got " + std::to_string(exact) + "; use fewer tailTokens");
  }
  for (const HostRows &rows : call.rows) {
    for (size_t index = 0; index < rows.count; index++) place_row(rows.position + index);
  }
}

LayerMirror::View LayerMirror::view(const AttendCall &call, size_t query) const {
  View view = {call.visible[query], sink_tokens(), call.first + query, 0};
  if (view.pages > pages_.size()) throw RuntimeError(KVQ_INVALID_ARGUMENT, name() + ": expected queries that see at most " + std::to_string(pages_.size()) + " pages, got " + std::to_string(view.pages));
  if (view.pages > 0) view.exact_from = call.starts[view.pages - 1] + call.tokens[view.pages - 1];
  if (view.exact_from < start_ || (view.exact_from - start_) % KVQ_PAGE_TOKENS != 0) throw RuntimeError(KVQ_INVALID_ARGUMENT, name() + ": expected exact tokens from a page's end on");
  const uint64_t open = view.position < view.exact_from ? 0 : (view.position - view.exact_from) / KVQ_PAGE_TOKENS + 1;
  view.exact = open + (sink_tokens() > 0 ? 1 : 0);
  return view;
}

void LayerMirror::fill_exact(const View &view, kvq_cuda_exact *out) const {
  const auto piece = [&](const Memory &memory, uint64_t first, uint32_t capacity) {
    return kvq_cuda_exact{device_pointer<uint16_t>(memory), static_cast<uint32_t>(std::min<uint64_t>(capacity, view.position + 1 - first)), capacity};
  };
  if (sink_tokens() > 0) *out++ = piece(*sinks_, 0, sink_tokens());
  for (uint64_t first = view.exact_from; first <= view.position; first += KVQ_PAGE_TOKENS) *out++ = piece(*chunks_[(first - start_) / KVQ_PAGE_TOKENS], first, KVQ_PAGE_TOKENS);
}

kvq_cuda_append_row LayerMirror::place_row(uint64_t position) const {
  const bool sink = position < sink_tokens();
  if (!sink && (position < start_ || position >= start_ + chunks_.size() * KVQ_PAGE_TOKENS)) throw RuntimeError(KVQ_INVALID_ARGUMENT, name() + ": expected exact tokens within the open part, got position " + std::to_string(position));
  const uint64_t place = sink ? position : position - start_;
  const Memory &chunk = sink ? *sinks_ : *chunks_[place / KVQ_PAGE_TOKENS];
  return {device_pointer<uint16_t>(chunk), static_cast<uint16_t>(sink ? sink_tokens() : KVQ_PAGE_TOKENS), static_cast<uint16_t>(place % KVQ_PAGE_TOKENS), 0};
}

void LayerMirror::keep_rows(const AttendCall &call) {
  sinks_valid_ = std::min<uint64_t>(sink_tokens(), call.length);
  open_valid_ = call.length > start_ ? call.length - start_ : 0;
}

uint64_t LayerMirror::bytes() const {
  uint64_t bytes = (table_memory_ == nullptr ? 0 : table_memory_->bytes()) + (sinks_ == nullptr ? 0 : sinks_->bytes());
  for (const DevicePage &page : pages_) bytes += page.memory->bytes();
  for (const auto &chunk : chunks_) bytes += chunk->bytes();
  return bytes;
}

void LayerMirror::download_page(size_t index, uint8_t *key, size_t key_bytes, uint8_t *value, size_t value_bytes) {
  KernelSet &kernels = tables_->kernels();
  const std::lock_guard<std::mutex> lock(kernels.mutex());
  if (index >= pages_.size()) throw RuntimeError(KVQ_INVALID_ARGUMENT, name() + ": expected one of " + std::to_string(pages_.size()) + " pages on the device, got " + std::to_string(index));
  const DevicePage &page = pages_[index];
  kernels.stream().download(page.memory, 0, key, key_bytes);
  kernels.stream().download(page.memory, page.value - page.key, value, value_bytes);
  kernels.stream().synchronize();
}

}  // namespace kvquant::cuda
