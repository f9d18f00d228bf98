#include "cuda-node/cache-tables.h"

#include "cuda/tables/tables.h"

namespace kvquant::cuda {

namespace {

void fill_levels(const float *levels, uint32_t bits, const char *side, int8_t (&out)[32]) {
  if (!kvq_cuda_fill_levels(levels, bits, out)) throw RuntimeError(KVQ_UNSUPPORTED, std::string(side) + " levels: expected numbers of the form k/127, got others; fit the quantizer anew");
}

}  // namespace

CacheTables::CacheTables(std::shared_ptr<KernelSet> kernels, const CacheShape &shape, Rope rope, const std::vector<Codecs> &layers) : kernels_(std::move(kernels)), shape_(shape), rope_(std::move(rope)) {
  if (!kvq_cuda_supports_head_dim(shape.head_dim)) throw RuntimeError(KVQ_UNSUPPORTED, "CUDA kernels: expected a head dim of 64, 128 or 256, got " + std::to_string(shape.head_dim) + "; use the cpu backend");
  const std::lock_guard<std::mutex> lock(kernels_->mutex());
  std::vector<uint32_t> offsets(kvq_cuda_offset_angle_count(shape.head_dim));
  kvq_cuda_fill_offset_angles(rope_.get(), offsets.data());
  const uint64_t bytes = offsets.size() * sizeof(uint32_t);
  offset_angles_ = Memory::allocate(kernels_->shared_device(), bytes, "angles within a page, " + std::to_string(bytes) + " bytes");
  kernels_->stream().upload(offset_angles_, 0, offsets.data(), bytes);
  bytes_ += bytes;
  for (const Codecs &codecs : layers) layers_.push_back(codecs.key == nullptr ? nullptr : make_layer(codecs));
  kernels_->stream().synchronize();
}

std::unique_ptr<LayerTables> CacheTables::make_layer(const Codecs &codecs) {
  const kvq_key_plan &key = codecs.key->plan();
  const kvq_value_plan &value = codecs.value->plan();
  if (key.kv_heads != shape_.kv_heads || key.head_dim != shape_.head_dim || value.kv_heads != shape_.kv_heads || value.head_dim != shape_.head_dim || key.rotary_dim != rope_->rotary_dim) {
    throw RuntimeError(KVQ_INVALID_ARGUMENT, "layers: expected codecs of the cache's shape and rope");
  }
  auto layer = std::make_unique<LayerTables>();
  layer->key = codecs.key;
  layer->value = codecs.value;
  layer->recipe = {shape_.head_dim, key.bits, key.page_scales, value.bits, value.rotated};
  if (!kvq_cuda_supports(layer->recipe)) throw RuntimeError(KVQ_UNSUPPORTED, "CUDA kernels: expected keys and values of 2 to 5 bits, got " + std::to_string(key.bits) + " and " + std::to_string(value.bits));
  fill_levels(key.levels, key.bits, "key", layer->key_levels);
  fill_levels(value.levels, value.bits, "value", layer->value_levels);
  const size_t columns = shape_.key_columns();
  std::vector<float> numbers(4 * columns);
  kvq_cuda_fill_key_scales(&key, numbers.data(), numbers.data() + columns);
  if (value.rotated) {
    std::copy_n(value.mean, columns, numbers.data() + 2 * columns);
    std::copy_n(value.deviation, columns, numbers.data() + 3 * columns);
  }
  const uint64_t bytes = numbers.size() * sizeof(float);
  layer->memory = Memory::allocate(kernels_->shared_device(), bytes, "scales of a layer, " + std::to_string(bytes) + " bytes");
  kernels_->stream().upload(layer->memory, 0, numbers.data(), bytes);
  bytes_ += bytes;
  const float *first = device_pointer<float>(*layer->memory);
  layer->key_scale = first;
  layer->key_zero = first + columns;
  layer->value_mean = first + 2 * columns;
  layer->value_deviation = first + 3 * columns;
  return layer;
}

uint32_t CacheTables::angle_row(uint64_t start) {
  const auto known = rows_.find(start);
  if (known != rows_.end()) return known->second;
  const auto row = static_cast<uint32_t>(rows_.size());
  angles_.resize(size_t{row + 1} * shape_.head_dim);
  kvq_cuda_fill_angles(rope_.get(), static_cast<double>(start) + (KVQ_PAGE_TOKENS - 1) / 2.0, angles_.data() + size_t{row} * shape_.head_dim);
  rows_.emplace(start, row);
  return row;
}

const std::shared_ptr<Memory> &CacheTables::page_angles() {
  const uint64_t needed = std::max<uint64_t>(angles_.size(), shape_.head_dim) * sizeof(float);
  if (page_angles_ == nullptr || page_angles_->bytes() < needed) {
    const uint64_t bytes = std::max<uint64_t>(2 * needed, 64 << 10);
    auto bigger = Memory::allocate(kernels_->shared_device(), bytes, "angles of pages, " + std::to_string(bytes) + " bytes");
    bytes_ += bytes - (page_angles_ == nullptr ? 0 : page_angles_->bytes());
    page_angles_ = std::move(bigger);
    uploaded_ = 0;
  }
  if (uploaded_ < angles_.size()) {
    kernels_->stream().upload(page_angles_, uploaded_ * sizeof(float), angles_.data() + uploaded_, (angles_.size() - uploaded_) * sizeof(float));
    uploaded_ = angles_.size();
  }
  return page_angles_;
}

}  // namespace kvquant::cuda
