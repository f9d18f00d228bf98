// Encodes the pages that close in a step, on all threads.
#pragma once
#include <span>

#include "kvquant/codec.h"
#include "runtime/aligned-buffer.h"
#include "runtime/sequence-cache.h"
#include "runtime/thread-pool.h"

namespace kvquant {

// A layer of a sequence that is being read or written.
struct LayerOfSequence {
  SequenceCache *sequence;
  size_t layer;
  LayerCache &cache() const { return sequence->layer(layer); }
};

class PageCloser {
 public:
  explicit PageCloser(ThreadPool &pool) : pool_(pool) {}
  // Adds the closing pages of every layer as pending ones. Throws RuntimeError or bad_alloc; pages added before stay pending.
  void close(kvq_isa isa, std::span<const LayerOfSequence> layers);

 private:
  struct Page {
    LayerOfSequence layer;
    size_t index;
    size_t rows_at, key_at, value_at, offsets_at; // places in the buffers below
    kvq_encoded key, value;
    kvq_status key_status, value_status;
  };

  void encode_keys(kvq_isa isa, Page &page, unsigned worker);
  void encode_values(kvq_isa isa, Page &page, unsigned worker);

  ThreadPool &pool_;
  std::vector<Page> pages_;
  AlignedBuffer<float> rows_;
  AlignedBuffer<uint8_t> blocks_;
  AlignedBuffer<uint32_t> offsets_;
  std::vector<AlignedBuffer<uint8_t>> scratch_;
};

}  // namespace kvquant
