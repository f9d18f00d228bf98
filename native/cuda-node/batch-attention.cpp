#include "cuda-node/batch-attention.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "cuda-node/packed.h"
#include "cuda/append/append.h"
#include "cuda/tables/tables.h"

namespace kvquant::cuda {

namespace {

// Queries of a batch, and pages or exact pieces of its longest query times its queries: with 32 query heads its scores take 134 MB at most (attend/plan.h), and most batches far less.
constexpr size_t kBatchQueries = 256;
constexpr size_t kBatchPages = size_t{1} << 16;

// Consecutive queries of one call. Its new exact tokens are appended with the first of them.
struct Run {
  SequenceAttention *sequence;
  size_t first, count;

  size_t new_rows() const {
    size_t rows = 0;
    if (first == 0) for (const HostRows &each : sequence->call.rows) rows += each.count;
    return rows;
  }
};

// Most pages, or exact pieces, that a query of a call sees.
size_t widest(const SequenceAttention &sequence) {
  size_t most = 1;
  for (size_t query = 0; query < sequence.call.count; query++) {
    const LayerMirror::View view = sequence.mirror->view(sequence.call, query);
    most = std::max({most, size_t{view.pages}, view.exact});
  }
  return most;
}

// Takes batches off the calls that have not failed, in order, until all of their queries are in one.
class Batches {
 public:
  Batches(std::vector<SequenceAttention> &sequences, uint32_t kv_heads) : sequences_(sequences), most_queries_(std::clamp<size_t>(kvq_cuda_most_rows / kv_heads, 1, kBatchQueries)) {}

  // Empty at the end.
  std::vector<Run> next() {
    std::vector<Run> runs;
    size_t queries = 0, most = 1;
    for (; index_ < sequences_.size(); index_++, query_ = 0) {
      SequenceAttention &sequence = sequences_[index_];
      if (sequence.failure != nullptr) continue;
      most = std::max(most, widest(sequence));
      const size_t room = std::clamp<size_t>(kBatchPages / most, 1, most_queries_);
      if (queries >= room) break;
      const size_t count = std::min(room - queries, sequence.call.count - query_);
      if (count > 0) runs.push_back({&sequence, query_, count});
      queries += count;
      query_ += count;
      if (query_ < sequence.call.count) break;
    }
    return runs;
  }

 private:
  std::vector<SequenceAttention> &sequences_;
  const size_t most_queries_;
  size_t index_ = 0, query_ = 0;
};

// One batch: what its launches read, packed for one upload.
class Batch {
 public:
  Batch(CacheTables &tables, size_t layer, const std::vector<Run> &runs) : tables_(tables), shape_(tables.shape()), layer_(tables.layer(layer)), runs_(runs) {
    for (const Run &run : runs) queries_ += run.count, new_rows_ += run.new_rows();
    pack_new_rows();
    pack_queries();
  }

  // Launches everything and brings the answers back; calls whose new tokens do not fit fp16 fail.
  void run();

 private:
  void pack_new_rows();
  void pack_queries();
  // Addresses on the device and shapes; `sent` is where the packed arrays are.
  kvq_cuda_attention attention(const Memory &sent, float *out);
  kvq_cuda_append append(const Memory &sent, uint32_t *overflow) const;
  void read(const std::vector<uint8_t> &received);

  // Each run has a number before the answers that says whether one of its tokens does not fit fp16.
  uint64_t header_bytes() const { return round_to_block(runs_.size() * sizeof(uint32_t)); }

  CacheTables &tables_;
  const CacheShape &shape_;
  const LayerTables *layer_; // null: fp16
  const std::vector<Run> &runs_;
  size_t queries_ = 0, new_rows_ = 0, most_pages_ = 0, slots_ = 0;
  Packed packed_;
  uint64_t append_at_ = 0, keys_at_ = 0, values_at_ = 0, append_angles_at_ = 0;
  uint64_t tables_at_ = 0, exact_at_ = 0, query_at_ = 0, angles_at_ = 0;
};

void Batch::pack_new_rows() {
  const size_t columns = shape_.key_columns(), angles = shape_.head_dim;
  append_at_ = packed_.add<kvq_cuda_append_row>(new_rows_);
  keys_at_ = packed_.add<float>(new_rows_ * columns);
  values_at_ = packed_.add<float>(new_rows_ * columns);
  append_angles_at_ = packed_.add<float>(new_rows_ * angles);
  size_t row = 0;
  for (size_t index = 0; index < runs_.size(); index++) {
    if (runs_[index].first != 0) continue;
    const SequenceAttention &sequence = *runs_[index].sequence;
    for (const HostRows &each : sequence.call.rows) {
      std::copy_n(each.keys, each.count * columns, packed_.at<float>(keys_at_) + row * columns);
      std::copy_n(each.values, each.count * columns, packed_.at<float>(values_at_) + row * columns);
      for (size_t token = 0; token < each.count; token++, row++) {
        const uint64_t position = each.position + token;
        kvq_cuda_append_row place = sequence.mirror->place_row(position);
        place.sequence = static_cast<uint32_t>(index);
        packed_.at<kvq_cuda_append_row>(append_at_)[row] = place;
        kvq_cuda_fill_angles(&tables_.rope(), static_cast<double>(position), packed_.at<float>(append_angles_at_) + row * angles);
      }
    }
  }
}

void Batch::pack_queries() {
  std::vector<LayerMirror::View> views;
  for (const Run &run : runs_) {
    for (size_t query = run.first; query < run.first + run.count; query++) {
      const LayerMirror::View &view = views.emplace_back(run.sequence->mirror->view(run.sequence->call, query));
      most_pages_ = std::max<size_t>(most_pages_, view.pages);
      slots_ = std::max(slots_, view.exact);
    }
  }
  const size_t columns = shape_.query_columns(), angles = shape_.head_dim;
  tables_at_ = packed_.add<kvq_cuda_page_table>(queries_);
  exact_at_ = packed_.add<kvq_cuda_exact>(queries_ * slots_);
  query_at_ = packed_.add<float>(queries_ * columns);
  angles_at_ = packed_.add<float>(queries_ * angles);
  size_t index = 0;
  for (const Run &run : runs_) {
    const LayerMirror &mirror = *run.sequence->mirror;
    std::copy_n(run.sequence->call.queries + run.first * columns, run.count * columns, packed_.at<float>(query_at_) + index * columns);
    for (const size_t end = index + run.count; index < end; index++) {
      const LayerMirror::View &view = views[index];
      packed_.at<kvq_cuda_page_table>(tables_at_)[index] = {mirror.table(), view.pages};
      mirror.fill_exact(view, packed_.at<kvq_cuda_exact>(exact_at_) + index * slots_);
      kvq_cuda_fill_angles(&tables_.rope(), static_cast<double>(view.position), packed_.at<float>(angles_at_) + index * angles);
    }
  }
}

kvq_cuda_attention Batch::attention(const Memory &sent, float *out) {
  kvq_cuda_attention p = {};
  if (layer_ != nullptr && most_pages_ > 0) p.page_angles = device_pointer<float>(*tables_.page_angles());
  p.tables = device_pointer<kvq_cuda_page_table>(sent, tables_at_);
  p.exact = device_pointer<kvq_cuda_exact>(sent, exact_at_);
  p.query = device_pointer<float>(sent, query_at_);
  p.query_angles = device_pointer<float>(sent, angles_at_);
  p.out = out;
  p.offset_angles = device_pointer<uint32_t>(*tables_.offset_angles());
  if (layer_ != nullptr) {
    p.key_scale = layer_->key_scale, p.key_zero = layer_->key_zero;
    p.value_mean = layer_->value_mean, p.value_deviation = layer_->value_deviation;
    p.key_outliers = layer_->key->layout().outliers, p.value_outliers = layer_->value->layout().outliers;
    std::copy(std::begin(layer_->key_levels), std::end(layer_->key_levels), p.key_levels);
    std::copy(std::begin(layer_->value_levels), std::end(layer_->value_levels), p.value_levels);
  }
  p.sequences = static_cast<uint32_t>(queries_);
  p.kv_heads = shape_.kv_heads, p.group = shape_.group(), p.head_dim = shape_.head_dim, p.rotary_dim = tables_.rope().rotary_dim;
  p.query_stride = static_cast<uint32_t>(shape_.query_columns());
  p.most_pages = static_cast<uint32_t>(most_pages_);
  p.exact_slots = static_cast<uint32_t>(slots_);
  p.scale = static_cast<float>(1.4426950408889634 / std::sqrt(static_cast<double>(shape_.head_dim)));
  return p;
}

kvq_cuda_append Batch::append(const Memory &sent, uint32_t *overflow) const {
  kvq_cuda_append append = {};
  append.rows = device_pointer<kvq_cuda_append_row>(sent, append_at_);
  append.key = device_pointer<float>(sent, keys_at_);
  append.value = device_pointer<float>(sent, values_at_);
  append.angles = device_pointer<float>(sent, append_angles_at_);
  append.overflow = overflow;
  append.count = static_cast<uint32_t>(new_rows_);
  append.kv_heads = shape_.kv_heads, append.head_dim = shape_.head_dim, append.rotary_dim = tables_.rope().rotary_dim;
  append.key_stride = append.value_stride = static_cast<uint32_t>(shape_.key_columns());
  return append;
}

void Batch::run() {
  KernelSet &kernels = tables_.kernels();
  const uint64_t out_bytes = header_bytes() + queries_ * shape_.query_columns() * sizeof(float);
  const auto sent = kernels.work(Work::kCall, packed_.size());
  const auto results = kernels.work(Work::kOut, out_bytes);
  kvq_cuda_attention p = attention(*sent, device_pointer<float>(*results, header_bytes()));
  const auto plan = [&] { return layer_ == nullptr ? kvq_cuda_plan_half(kernels.limits(), shape_.head_dim, p) : kvq_cuda_plan_attention(kernels.limits(), layer_->recipe, p); };
  const kvq_cuda_attention_scratch scratch = plan().scratch;
  const auto scores = kernels.work(Work::kScores, scratch.score_bytes), partials = kernels.work(Work::kPartials, scratch.partial_bytes), arrivals = kernels.work(Work::kArrivals, scratch.arrival_bytes);
  p.scores = device_pointer<float>(*scores);
  p.partials = device_pointer<float>(*partials);
  p.arrivals = device_pointer<uint32_t>(*arrivals);

  Stream &stream = kernels.stream();
  stream.upload(sent, 0, packed_.take());
  stream.fill(results, 0, 0, header_bytes());
  if (new_rows_ > 0) kernels.launch(kvq_cuda_plan_append(append(*sent, device_pointer<uint32_t>(*results))));
  for (const kvq_cuda_launch &launch : plan().launches) kernels.launch(launch);
  std::vector<uint8_t> received(out_bytes);
  stream.download(results, 0, received.data(), out_bytes);
  stream.synchronize();
  read(received);
}

void fail(SequenceAttention &sequence, std::exception_ptr failure) {
  sequence.failure = std::move(failure);
  sequence.mirror->forget_uploads();
}

// Whether all of `count` fp32 numbers are.
bool all_finite(const uint8_t *numbers, size_t count) {
  constexpr uint32_t kExponent = 0x7f800000u;
  bool finite = true;
  for (size_t index = 0; index < count; index++) {
    uint32_t bits;
    std::memcpy(&bits, numbers + index * sizeof bits, sizeof bits);
    finite &= (bits & kExponent) != kExponent;
  }
  return finite;
}

void Batch::read(const std::vector<uint8_t> &received) {
  const size_t columns = shape_.query_columns();
  const uint8_t *answers = received.data() + header_bytes();
  for (size_t index = 0; index < runs_.size(); index++) {
    const auto &[sequence, first, count] = runs_[index];
    uint32_t overflow = 0;
    std::memcpy(&overflow, received.data() + index * sizeof overflow, sizeof overflow);
    if (overflow != 0) {
      fail(*sequence, std::make_exception_ptr(RuntimeError(KVQ_INVALID_ARGUMENT, sequence->mirror->name() + ": expected keys that fit fp16 after RoPE, got others")));
    } else if (!all_finite(answers, count * columns)) {
      fail(*sequence, std::make_exception_ptr(RuntimeError(KVQ_INVALID_ARGUMENT, sequence->mirror->name() + ": expected queries whose products with the keys fit fp16, got an answer that is not a number; use the cpu backend")));
    } else {
      std::memcpy(sequence->call.out + first * columns, answers, count * columns * sizeof(float));
      if (first == 0) sequence->mirror->keep_rows(sequence->call);
    }
    answers += count * columns * sizeof(float);
  }
}

}  // namespace

void attend_together(CacheTables &tables, size_t layer, std::vector<SequenceAttention> &sequences) {
  KernelSet &kernels = tables.kernels();
  const std::lock_guard<std::mutex> lock(kernels.mutex());
  for (SequenceAttention &sequence : sequences) {
    try {
      sequence.mirror->prepare(sequence.call);
    } catch (...) {
      fail(sequence, std::current_exception());
    }
  }
  try {
    Batches batches(sequences, tables.shape().kv_heads);
    for (auto runs = batches.next(); !runs.empty(); runs = batches.next()) Batch(tables, layer, runs).run();
  } catch (...) {
    kernels.forget_arrivals();
    for (SequenceAttention &sequence : sequences) {
      if (sequence.failure == nullptr) fail(sequence, std::current_exception());
    }
  }
}

}  // namespace kvquant::cuda
