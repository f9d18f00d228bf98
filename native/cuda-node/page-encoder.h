// Encodes pages of one layer and side on the device: the bytes that kvq_encode_keys and kvq_encode_values write.
#pragma once
#include <memory>
#include <vector>

#include "cuda-node/kernel-set.h"
#include "cuda/encode/encode.h"
#include "runtime/codec.h"

namespace kvquant::cuda {

// Rows of a page on the host: [tokens][kv_heads * head_dim], keys before RoPE or values.
struct PageRows {
  const float *rows;
  uint32_t tokens; // 1 to 64
};

struct EncodedPage {
  std::vector<uint8_t> bytes;
  uint32_t saturated, clamped;
};

class PageEncoder {
 public:
  // Uploads the fitted arrays. UNSUPPORTED for head dims without kernels, OUT_OF_CAPACITY.
  PageEncoder(std::shared_ptr<KernelSet> kernels, std::shared_ptr<const KeyCodec> codec);
  PageEncoder(std::shared_ptr<KernelSet> kernels, std::shared_ptr<const ValueCodec> codec);

  size_t columns() const { return size_t{encode_.kv_heads} * encode_.head_dim; }
  // INVALID_ARGUMENT when feedback rounding overflows.
  std::vector<EncodedPage> encode(const std::vector<PageRows> &pages);

 private:
  void upload();
  void encode_batch(const PageRows *pages, size_t count, std::vector<EncodedPage> &out);

  std::shared_ptr<KernelSet> kernels_;
  std::shared_ptr<const KeyCodec> keys_;
  std::shared_ptr<const ValueCodec> values_;
  kvq_block_layout layout_;
  kvq_cuda_encode encode_; // arrays on the device
  std::shared_ptr<Memory> arrays_;
};

}  // namespace kvquant::cuda
