#include "cuda-node/layer-mirror.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "cuda/append/append.h"
#include "cuda/tables/tables.h"
#include "kvquant/codec.h"

namespace kvquant::cuda {

namespace {

// Entries of a batch's page table, and queries of a batch: working memory stays below some megabytes.
constexpr size_t kBatchPages = size_t{1} << 16;
constexpr size_t kBatchQueries = 256;

uint64_t round_up(uint64_t bytes) { return (bytes + KVQ_BLOCK_ALIGNMENT - 1) / KVQ_BLOCK_ALIGNMENT * KVQ_BLOCK_ALIGNMENT; }

template <class Number>
Number *device_pointer(const Memory &memory, uint64_t offset = 0) {
  return reinterpret_cast<Number *>(memory.address() + offset);
}

// Arrays of one call behind each other, so that one copy brings them all.
class Packed {
 public:
  // Room for `count` elements; returns its offset. Filled through at().
  template <class Element>
  uint64_t add(size_t count) {
    const uint64_t offset = round_up(bytes_.size());
    bytes_.resize(offset + count * sizeof(Element));
    return offset;
  }
  template <class Element>
  Element *at(uint64_t offset) {
    return reinterpret_cast<Element *>(bytes_.data() + offset);
  }
  const std::vector<uint8_t> &bytes() const { return bytes_; }

 private:
  std::vector<uint8_t> bytes_;
};

}  // namespace

LayerMirror::LayerMirror(std::shared_ptr<CacheTables> tables, size_t layer) : tables_(std::move(tables)), layer_(layer), start_(tables_->layer(layer) == nullptr ? 0 : tables_->shape().sink_tokens) {}

LayerMirror::LayerMirror(const LayerMirror &other) : tables_(other.tables_), layer_(other.layer_), pages_(other.pages_), start_(other.start_) {}

void LayerMirror::check_columns(size_t columns, size_t query_columns) const {
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
  // Kernels trust counts and indices of outliers.
  std::vector<uint32_t> offsets(2 * heads);
  require(kvq_check_block(&key_layout, page.key, page.key_bytes, page.encoded_tokens, offsets.data()), "key block: expected one that the layer's codec wrote, got a damaged one");
  require(kvq_check_block(&value_layout, page.value, page.value_bytes, page.encoded_tokens, offsets.data() + heads), "value block: expected one that the layer's codec wrote, got a damaged one");
  const bool outliers = key_layout.outliers != 0 || value_layout.outliers != 0;
  const uint64_t value_at = round_up(page.key_bytes), outliers_at = round_up(value_at + page.value_bytes + KVQ_BLOCK_PADDING);
  std::vector<uint8_t> bytes(outliers_at + (outliers ? offsets.size() * sizeof(uint32_t) : 0));
  std::memcpy(bytes.data(), page.key, page.key_bytes);
  std::memcpy(bytes.data() + value_at, page.value, page.value_bytes);
  if (outliers) std::memcpy(bytes.data() + outliers_at, offsets.data(), offsets.size() * sizeof(uint32_t));
  KernelSet &kernels = tables_->kernels();
  auto memory = Memory::allocate(kernels.shared_device(), bytes.size(), name() + ", page " + std::to_string(pages_.size()) + ", " + std::to_string(page.key_bytes) + " bytes of keys and " + std::to_string(page.value_bytes) + " of values");
  kernels.stream().upload(memory, 0, bytes.data(), bytes.size());
  const Address start = memory->address();
  pages_.reserve(pages_.size() + 1);
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
  if (table_.empty()) return;
  KernelSet &kernels = tables_->kernels();
  const uint64_t needed = table_.size() * sizeof(kvq_cuda_page);
  if (table_memory_ == nullptr || table_memory_->bytes() < needed) {
    const uint64_t bytes = std::max<uint64_t>(2 * needed, 1024);
    table_memory_ = Memory::allocate(kernels.shared_device(), bytes, name() + ", table of " + std::to_string(table_.size()) + " pages");
    table_uploaded_ = 0;
  }
  const uint64_t done = table_uploaded_ * sizeof(kvq_cuda_page);
  kernels.stream().upload(table_memory_, done, table_.data() + table_uploaded_, needed - done);
  table_uploaded_ = table_.size();
}

void LayerMirror::extend_chunks(const AttendCall &call) {
  const uint32_t sink_tokens = tables_->layer(layer_) == nullptr ? 0 : tables_->shape().sink_tokens;
  if (sink_tokens > 0 && sinks_ == nullptr) sinks_ = make_chunk(sink_tokens);
  const uint64_t open = call.length > start_ ? call.length - start_ : 0;
  while (chunks_.size() * KVQ_PAGE_TOKENS < open) chunks_.push_back(make_chunk(KVQ_PAGE_TOKENS));
}

void LayerMirror::attend(const AttendCall &call) {
  KernelSet &kernels = tables_->kernels();
  const std::lock_guard<std::mutex> lock(kernels.mutex());
  try {
    for (const HostPage &page : call.pages) upload_page(page);
    place_pages(call);
    extend_chunks(call);
    size_t most_pages = 1;
    for (const uint32_t pages : call.visible) {
      if (pages > pages_.size()) throw RuntimeError(KVQ_INVALID_ARGUMENT, name() + ": expected queries that see at most " + std::to_string(pages_.size()) + " pages, got " + std::to_string(pages));
      most_pages = std::max<size_t>(most_pages, pages);
    }
    const size_t batch = std::clamp<size_t>(kBatchPages / most_pages, 1, kBatchQueries);
    for (size_t row = 0; row < call.count; row += batch) attend_batch(call, row, std::min(batch, call.count - row), row == 0);
  } catch (...) {
    sinks_valid_ = open_valid_ = 0;
    table_uploaded_ = 0;
    kernels.forget_arrivals();
    throw;
  }
}

void LayerMirror::attend_batch(const AttendCall &call, size_t first_row, size_t rows, bool with_rows) {
  KernelSet &kernels = tables_->kernels();
  const CacheShape &shape = tables_->shape();
  const LayerTables *layer = tables_->layer(layer_);
  const uint32_t sink_tokens = layer == nullptr ? 0 : shape.sink_tokens;
  const size_t columns = shape.key_columns(), query_columns = shape.query_columns(), angles = shape.head_dim;
  Packed packed;

  // New exact tokens.
  size_t new_rows = 0;
  if (with_rows) for (const HostRows &each : call.rows) new_rows += each.count;
  const uint64_t append_at = packed.add<kvq_cuda_append_row>(new_rows), keys_at = packed.add<float>(new_rows * columns), values_at = packed.add<float>(new_rows * columns),
                 append_angles_at = packed.add<float>(new_rows * angles);
  size_t row = 0;
  if (with_rows) {
    for (const HostRows &each : call.rows) {
      std::memcpy(packed.at<float>(keys_at) + row * columns, each.keys, each.count * columns * sizeof(float));
      std::memcpy(packed.at<float>(values_at) + row * columns, each.values, each.count * columns * sizeof(float));
      for (size_t index = 0; index < each.count; index++, row++) {
        const uint64_t position = each.position + index;
        const bool sink = position < sink_tokens;
        if (!sink && (position < start_ || position >= start_ + chunks_.size() * KVQ_PAGE_TOKENS)) throw RuntimeError(KVQ_INVALID_ARGUMENT, name() + ": expected exact tokens within the open part, got position " + std::to_string(position));
        const uint64_t place = sink ? position : position - start_;
        const Memory &chunk = sink ? *sinks_ : *chunks_[place / KVQ_PAGE_TOKENS];
        packed.at<kvq_cuda_append_row>(append_at)[row] = {device_pointer<uint16_t>(chunk), sink ? sink_tokens : KVQ_PAGE_TOKENS, static_cast<uint32_t>(place % KVQ_PAGE_TOKENS)};
        kvq_cuda_fill_angles(&tables_->rope(), static_cast<double>(position), packed.at<float>(append_angles_at) + row * angles);
      }
    }
  }

  // What each query sees: its pages, then exact tokens up to its own.
  size_t entries = 0, slots = 0, most_pages = 0;
  std::vector<uint64_t> exact_from(rows);
  for (size_t index = 0; index < rows; index++) {
    const uint32_t pages = call.visible[first_row + index];
    const uint64_t position = call.first + first_row + index;
    exact_from[index] = pages == 0 ? sink_tokens : call.starts[pages - 1] + call.tokens[pages - 1];
    if (exact_from[index] < start_ || (exact_from[index] - start_) % KVQ_PAGE_TOKENS != 0) throw RuntimeError(KVQ_INVALID_ARGUMENT, name() + ": expected exact tokens from a page's end on");
    const size_t chunks = position < exact_from[index] ? 0 : (position - exact_from[index]) / KVQ_PAGE_TOKENS + 1;
    slots = std::max(slots, chunks + (sink_tokens > 0 ? 1 : 0));
    entries += pages;
    most_pages = std::max<size_t>(most_pages, pages);
  }
  // One query reads the mirror's own table; several need one after another.
  const bool own_table = rows == 1;
  const uint64_t pages_at = packed.add<kvq_cuda_page>(own_table ? 0 : entries), first_page_at = packed.add<uint32_t>(rows + 1), exact_at = packed.add<kvq_cuda_exact>(rows * slots),
                 query_at = packed.add<float>(rows * query_columns), angles_at = packed.add<float>(rows * angles);
  uint32_t *first_page = packed.at<uint32_t>(first_page_at);
  for (size_t index = 0; index < rows; index++) {
    const uint32_t pages = call.visible[first_row + index];
    first_page[index + 1] = first_page[index] + pages;
    if (!own_table && pages > 0) std::memcpy(packed.at<kvq_cuda_page>(pages_at) + first_page[index], table_.data(), pages * sizeof(kvq_cuda_page));
    const uint64_t position = call.first + first_row + index;
    kvq_cuda_exact *exact = packed.at<kvq_cuda_exact>(exact_at) + index * slots;
    if (sink_tokens > 0) *exact++ = {device_pointer<uint16_t>(*sinks_), static_cast<uint32_t>(std::min<uint64_t>(sink_tokens, position + 1)), sink_tokens};
    for (uint64_t start = exact_from[index]; start <= position; start += KVQ_PAGE_TOKENS) {
      *exact++ = {device_pointer<uint16_t>(*chunks_[(start - start_) / KVQ_PAGE_TOKENS]), static_cast<uint32_t>(std::min<uint64_t>(KVQ_PAGE_TOKENS, position + 1 - start)), KVQ_PAGE_TOKENS};
    }
    kvq_cuda_fill_angles(&tables_->rope(), static_cast<double>(position), packed.at<float>(angles_at) + index * angles);
  }
  std::memcpy(packed.at<float>(query_at), call.queries + first_row * query_columns, rows * query_columns * sizeof(float));

  // The results follow a header whose first number says that a key or value does not fit fp16.
  constexpr uint64_t kHeader = KVQ_BLOCK_ALIGNMENT;
  const uint64_t out_bytes = kHeader + rows * query_columns * sizeof(float);
  const auto sent = kernels.work(Work::kCall, packed.bytes().size());
  const auto results = kernels.work(Work::kOut, out_bytes);
  kvq_cuda_attention p = {};
  const bool has_pages = layer != nullptr && most_pages > 0;
  if (has_pages) {
    p.pages = own_table ? device_pointer<kvq_cuda_page>(*table_memory_) : device_pointer<kvq_cuda_page>(*sent, pages_at);
    p.page_angles = device_pointer<float>(*tables_->page_angles());
  }
  p.first_page = device_pointer<uint32_t>(*sent, first_page_at);
  p.exact = device_pointer<kvq_cuda_exact>(*sent, exact_at);
  p.query = device_pointer<float>(*sent, query_at);
  p.query_angles = device_pointer<float>(*sent, angles_at);
  p.out = device_pointer<float>(*results, kHeader);
  p.offset_angles = device_pointer<uint32_t>(*tables_->offset_angles());
  if (layer != nullptr) {
    p.key_scale = layer->key_scale, p.key_zero = layer->key_zero;
    p.value_mean = layer->value_mean, p.value_deviation = layer->value_deviation;
    p.key_outliers = layer->key->layout().outliers, p.value_outliers = layer->value->layout().outliers;
    std::copy(std::begin(layer->key_levels), std::end(layer->key_levels), p.key_levels);
    std::copy(std::begin(layer->value_levels), std::end(layer->value_levels), p.value_levels);
  }
  p.sequences = static_cast<uint32_t>(rows);
  p.kv_heads = shape.kv_heads, p.group = shape.group(), p.head_dim = shape.head_dim, p.rotary_dim = tables_->rope().rotary_dim;
  p.query_stride = static_cast<uint32_t>(query_columns);
  p.most_pages = static_cast<uint32_t>(most_pages);
  p.exact_slots = static_cast<uint32_t>(slots);
  p.scale = static_cast<float>(1.4426950408889634 / std::sqrt(static_cast<double>(shape.head_dim)));
  const auto plan = [&] { return layer == nullptr ? kvq_cuda_plan_half(kernels.limits(), shape.head_dim, p) : kvq_cuda_plan_attention(kernels.limits(), layer->recipe, p); };
  const kvq_cuda_attention_scratch scratch = plan().scratch;
  const auto scores = kernels.work(Work::kScores, scratch.score_bytes), partials = kernels.work(Work::kPartials, scratch.partial_bytes), arrivals = kernels.work(Work::kArrivals, scratch.arrival_bytes);
  p.scores = device_pointer<float>(*scores);
  p.partials = device_pointer<float>(*partials);
  p.arrivals = device_pointer<uint32_t>(*arrivals);

  Stream &stream = kernels.stream();
  stream.upload(sent, 0, packed.bytes().data(), packed.bytes().size());
  stream.fill(results, 0, 0, kHeader);
  if (new_rows > 0) {
    kvq_cuda_append append = {};
    append.rows = device_pointer<kvq_cuda_append_row>(*sent, append_at);
    append.key = device_pointer<float>(*sent, keys_at);
    append.value = device_pointer<float>(*sent, values_at);
    append.angles = device_pointer<float>(*sent, append_angles_at);
    append.overflow = device_pointer<uint32_t>(*results);
    append.count = static_cast<uint32_t>(new_rows);
    append.kv_heads = shape.kv_heads, append.head_dim = shape.head_dim, append.rotary_dim = tables_->rope().rotary_dim;
    append.key_stride = append.value_stride = static_cast<uint32_t>(columns);
    kernels.launch(kvq_cuda_plan_append(append));
  }
  for (const kvq_cuda_launch &launch : plan().launches) kernels.launch(launch);
  std::vector<uint8_t> received(out_bytes);
  stream.download(results, 0, received.data(), out_bytes);
  stream.synchronize();

  uint32_t overflow = 0;
  std::memcpy(&overflow, received.data(), sizeof overflow);
  if (overflow != 0) throw RuntimeError(KVQ_INVALID_ARGUMENT, name() + ": expected keys that fit fp16 after RoPE, got others");
  std::memcpy(call.out + first_row * query_columns, received.data() + kHeader, out_bytes - kHeader);
  if (with_rows) {
    sinks_valid_ = std::min<uint64_t>(sink_tokens, call.length);
    open_valid_ = call.length > start_ ? call.length - start_ : 0;
  }
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
