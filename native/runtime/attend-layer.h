// Attention of new tokens over their sequences' caches in one layer, for a mixed batch, on all threads.
// A sequence with one new token is split by KV head and page range (decode); one with several by KV head and block of queries (prefill). How a sequence is split depends on its own
// length alone, so its result does not depend on the batch or on the number of threads.
#pragma once
#include <span>
#include <vector>

#include "runtime/aligned-buffer.h"
#include "runtime/close-pages.h"
#include "runtime/sequence-cache.h"
#include "runtime/thread-pool.h"

namespace kvquant {

// The newest `rows` pending tokens of a layer, whose queries are rows first_row .. of the batch.
struct AttentionRequest {
  LayerOfSequence layer;
  size_t first_row, rows;
};

// Rows of the batch.
struct AttentionRows {
  const float *query; // row r at query + r * query_stride: [query_heads * head_dim], before RoPE
  size_t query_stride;
  const float *rotated; // [rows][query_heads * head_dim]: the same rotated, times attention factor^2
  float *out;           // [rows][query_heads * head_dim]
};

class LayerAttention {
 public:
  explicit LayerAttention(ThreadPool &pool) : pool_(pool), workers_(pool.threads()) {}
  // All requests have the same heads and ISA. Pages must have been closed before. Throws bad_alloc before anything is written.
  void run(const CacheRules &rules, std::span<const AttentionRequest> requests, const AttentionRows &rows);

 private:
  enum class Kind { kPages, kChunks, kSinks, kBlock };
  struct Task {
    Kind kind;
    size_t request;
    uint32_t head;
    size_t first, count; // pages, chunks, or queries
    size_t partial;      // index of its partial result; decode only
  };
  // The partial results of one query row and KV head.
  struct Merge {
    size_t request;
    uint32_t head;
    size_t first_partial, count;
  };
  struct Worker {
    AlignedBuffer<uint8_t> kernel;
    AlignedBuffer<uint16_t> sinks;
    AlignedBuffer<float> queries, keys, values, state;
    AlignedBuffer<uint8_t> seen;
  };

  void plan(const CacheRules &rules, std::span<const AttentionRequest> requests);
  void reserve(const CacheRules &rules);
  kvq_partial partial(const CacheRules &rules, size_t index) const;
  kvq_exact_view sink_view(const LayerCache &cache, uint32_t head, Worker &worker) const;
  void decode(const CacheRules &rules, const AttentionRequest &request, const Task &task, const AttentionRows &rows, Worker &worker) const;
  void prefill(const CacheRules &rules, const AttentionRequest &request, const Task &task, const AttentionRows &rows, Worker &worker) const;

  ThreadPool &pool_;
  std::vector<Worker> workers_;
  std::vector<Task> tasks_;
  std::vector<Merge> merges_;
  size_t partials_ = 0;
  size_t longest_block_ = 0;
  AlignedBuffer<float> partial_memory_;
  std::vector<kvq_page_view> page_views_;   // of the decode requests, one after another
  std::vector<kvq_exact_view> chunk_views_;
  std::vector<size_t> page_views_at_, chunk_views_at_;
};

}  // namespace kvquant
