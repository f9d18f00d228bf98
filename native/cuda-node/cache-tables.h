// What the caches of one model and artifact share on the device: levels and scales of each layer, angles of positions.
#pragma once
#include <atomic>
#include <map>
#include <memory>
#include <vector>

#include "cuda-node/kernel-set.h"
#include "cuda/attend/attend.h"
#include "runtime/codec.h"

namespace kvquant::cuda {

// One compressed layer on the device.
struct LayerTables {
  std::shared_ptr<const KeyCodec> key;
  std::shared_ptr<const ValueCodec> value;
  kvq_cuda_recipe recipe;
  std::shared_ptr<Memory> memory; // key scales, key zero points, value means, value deviations
  const float *key_scale, *key_zero, *value_mean, *value_deviation; // addresses on the device
  int8_t key_levels[32], value_levels[32];
};

struct CacheShape {
  uint32_t query_heads, kv_heads, head_dim;
  uint32_t sink_tokens; // at most 64
  uint32_t group() const { return query_heads / kv_heads; }
  size_t key_columns() const { return size_t{kv_heads} * head_dim; }
  size_t query_columns() const { return size_t{query_heads} * head_dim; }
};

class CacheTables {
 public:
  struct Codecs {
    std::shared_ptr<const KeyCodec> key; // null: an fp16 layer
    std::shared_ptr<const ValueCodec> value;
  };
  // Uploads the tables. UNSUPPORTED for head dims without kernels, OUT_OF_CAPACITY.
  CacheTables(std::shared_ptr<KernelSet> kernels, const CacheShape &shape, Rope rope, const std::vector<Codecs> &layers);

  KernelSet &kernels() const { return *kernels_; }
  const CacheShape &shape() const { return shape_; }
  const kvq_rope &rope() const { return *rope_; }
  size_t layers() const { return layers_.size(); }
  // Null for an fp16 layer.
  const LayerTables *layer(size_t index) const { return layers_[index].get(); }
  const std::shared_ptr<Memory> &offset_angles() const { return offset_angles_; }
  // On the device; for any thread, without the mutex.
  uint64_t bytes() const { return bytes_.load(); }

  // The row of page_angles for a page that starts at `start`; kernels().mutex() is held, as for what follows.
  uint32_t angle_row(uint64_t start);
  // Rows up to the newest, on the device.
  const std::shared_ptr<Memory> &page_angles();

 private:
  std::unique_ptr<LayerTables> make_layer(const Codecs &codecs);

  std::shared_ptr<KernelSet> kernels_;
  CacheShape shape_;
  Rope rope_;
  std::vector<std::unique_ptr<LayerTables>> layers_;
  std::shared_ptr<Memory> offset_angles_, page_angles_;
  std::map<uint64_t, uint32_t> rows_;
  std::vector<float> angles_;   // [rows][head_dim / 2][2]
  size_t uploaded_ = 0;         // numbers of them
  std::atomic<uint64_t> bytes_{0};
};

}  // namespace kvquant::cuda
