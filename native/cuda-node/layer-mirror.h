// One layer of one sequence as the device sees it: closed pages with the bytes they have on the host, and exact tokens in fp16. batch-attention.h attends over both.
// The host keeps everything, so a mirror can be dropped or fall behind at any time; what it lacks is uploaded with the next attention.
#pragma once
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "cuda-node/cache-tables.h"
#include "cuda/append/append.h"

namespace kvquant::cuda {

// A page on the device. Immutable, shared by forks.
struct DevicePage {
  std::shared_ptr<Memory> memory;
  Address key, value, outliers; // outliers: 0 without
  uint32_t encoded_tokens;
};

// Bytes of a page on the host.
struct HostPage {
  const uint8_t *key, *value;
  size_t key_bytes, value_bytes;
  uint32_t encoded_tokens;
};

// Consecutive exact tokens on the host: keys before RoPE and values, [count][kv_heads * head_dim].
struct HostRows {
  uint64_t position;
  size_t count;
  const float *keys, *values;
};

// What one attention needs beyond what the mirror has.
struct AttendCall {
  std::vector<HostPage> pages;  // follow those the mirror has
  std::vector<uint64_t> starts; // positions of all pages
  std::vector<uint32_t> tokens; // valid tokens of all pages
  uint64_t length;              // tokens of the sequence
  std::vector<HostRows> rows;   // what `missing` asked for
  const float *queries;         // [count][query_heads * head_dim], before RoPE, of positions first .. first + count - 1
  size_t count;
  uint64_t first;
  std::vector<uint32_t> visible; // [count] pages that each query sees compressed
  float *out;                    // [count][query_heads * head_dim]
};

class LayerMirror {
 public:
  LayerMirror(std::shared_ptr<CacheTables> tables, size_t layer);
  // A mirror of a fork: shares the pages of `other`; exact tokens are uploaded anew.
  explicit LayerMirror(const LayerMirror &other);
  LayerMirror &operator=(const LayerMirror &) = delete;

  size_t pages() const { return pages_.size(); }
  // INVALID_ARGUMENT unless it is of that layer of those tables, and rows of tokens and of queries have the cache's numbers of columns.
  void check_request(const std::shared_ptr<CacheTables> &tables, size_t layer, size_t columns, size_t query_columns) const;
  // Drops pages from `count` on.
  void keep_pages(size_t count);
  // Exact tokens from `position` on may have changed.
  void forget(uint64_t position);
  // The first positions whose rows are missing, when exact tokens are the sinks and those from `start` on.
  struct Missing {
    uint64_t sinks, open;
  };
  Missing missing(uint64_t start);
  // Device memory of this mirror; pages shared with forks count in each.
  uint64_t bytes() const;
  // Copies the blocks of page `index` back.
  void download_page(size_t index, uint8_t *key, size_t key_bytes, uint8_t *value, size_t value_bytes);

  // What follows is for attention (batch-attention.h), with the mutex of the kernels held.
  std::string name() const { return "layer " + std::to_string(layer_); }
  // Uploads pages and the table of them, and makes room for exact tokens; nothing below fails for a call that was prepared. On error the pages that were uploaded stay.
  void prepare(const AttendCall &call);
  // What a query of a call sees: the first `pages`, and exact tokens from `exact_from` to its own `position`, which with the sinks are `exact` pieces.
  struct View {
    uint32_t pages;
    uint64_t exact_from, position;
    size_t exact;
  };
  View view(const AttendCall &call, size_t query) const;
  void fill_exact(const View &view, kvq_cuda_exact *out) const;
  // Where an exact token lies; INVALID_ARGUMENT where there is no place for it.
  kvq_cuda_append_row place_row(uint64_t position) const;
  // The page table on the device; null without pages.
  const kvq_cuda_page *table() const { return table_.empty() ? nullptr : device_pointer<kvq_cuda_page>(*table_memory_); }
  // The exact tokens of a call are there; or, after a failure, nothing is known of exact tokens and of the page table.
  void keep_rows(const AttendCall &call);
  void forget_uploads() { sinks_valid_ = open_valid_ = table_uploaded_ = 0; }

 private:
  uint32_t sink_tokens() const { return tables_->layer(layer_) == nullptr ? 0 : tables_->shape().sink_tokens; }
  void upload_page(const HostPage &page);
  void place_pages(const AttendCall &call);
  void upload_table();
  void extend_chunks(const AttendCall &call);
  std::shared_ptr<Memory> make_chunk(uint32_t capacity) const;

  std::shared_ptr<CacheTables> tables_;
  size_t layer_;
  std::vector<DevicePage> pages_;
  std::vector<kvq_cuda_page> table_; // of pages_, as the kernels read it
  std::vector<uint64_t> starts_;     // positions they have there
  size_t table_uploaded_ = 0;
  std::shared_ptr<Memory> table_memory_;
  std::shared_ptr<Memory> sinks_;
  std::deque<std::shared_ptr<Memory>> chunks_; // 64 tokens each from start_ on
  uint64_t start_ = 0;
  uint64_t sinks_valid_ = 0, open_valid_ = 0;
};

}  // namespace kvquant::cuda
