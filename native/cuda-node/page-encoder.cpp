#include "cuda-node/page-encoder.h"

#include <algorithm>
#include <cstring>

namespace kvquant::cuda {

namespace {

// Pages of a batch.
constexpr size_t kBatch = 64;

uint64_t round_up(uint64_t bytes) { return (bytes + KVQ_BLOCK_ALIGNMENT - 1) / KVQ_BLOCK_ALIGNMENT * KVQ_BLOCK_ALIGNMENT; }

}  // namespace

PageEncoder::PageEncoder(std::shared_ptr<KernelSet> kernels, std::shared_ptr<const KeyCodec> codec)
    : kernels_(std::move(kernels)), keys_(std::move(codec)), layout_(keys_->layout()), encode_(kvq_cuda_encode_of(keys_->plan())) {
  upload();
}

PageEncoder::PageEncoder(std::shared_ptr<KernelSet> kernels, std::shared_ptr<const ValueCodec> codec)
    : kernels_(std::move(kernels)), values_(std::move(codec)), layout_(values_->layout()), encode_(kvq_cuda_encode_of(values_->plan())) {
  upload();
}

void PageEncoder::upload() {
  if (encode_.head_dim % 32 != 0 || encode_.head_dim > 256) throw RuntimeError(KVQ_UNSUPPORTED, "CUDA encoding: expected a head dim that is a multiple of 32 up to 256, got " + std::to_string(encode_.head_dim));
  std::vector<uint8_t> bytes;
  struct Place {
    const void **pointer;
    uint64_t offset;
  };
  std::vector<Place> places;
  const auto add = [&](auto &pointer, size_t count) {
    if (pointer == nullptr) return;
    const uint64_t offset = round_up(bytes.size());
    bytes.resize(offset + count * sizeof(*pointer));
    std::memcpy(bytes.data() + offset, pointer, count * sizeof(*pointer));
    places.push_back({reinterpret_cast<const void **>(&pointer), offset});
  };
  const size_t wide = columns();
  add(encode_.scale, wide), add(encode_.zero, wide), add(encode_.low, wide), add(encode_.high, wide);
  add(encode_.mean, wide), add(encode_.deviation, wide);
  add(encode_.feedback_order, wide), add(encode_.feedback_weights, wide * (encode_.head_dim - 1) / 2);
  if (bytes.empty()) return;
  const std::lock_guard<std::mutex> lock(kernels_->mutex());
  arrays_ = Memory::allocate(kernels_->shared_device(), bytes.size(), "arrays of an encoder, " + std::to_string(bytes.size()) + " bytes");
  kernels_->stream().upload(arrays_, 0, std::move(bytes));
  for (const Place &place : places) *place.pointer = reinterpret_cast<const void *>(arrays_->address() + place.offset);
}

std::vector<EncodedPage> PageEncoder::encode(const std::vector<PageRows> &pages) {
  const std::lock_guard<std::mutex> lock(kernels_->mutex());
  std::vector<EncodedPage> out;
  for (size_t first = 0; first < pages.size(); first += kBatch) encode_batch(pages.data() + first, std::min(kBatch, pages.size() - first), out);
  return out;
}

void PageEncoder::encode_batch(const PageRows *pages, size_t count, std::vector<EncodedPage> &out) {
  // Sent: the table of pages, then their rows. Received: what became of each, then blocks; offsets of outlier sections stay there.
  const uint64_t row_bytes = columns() * sizeof(float), page_bytes = round_up(row_bytes * KVQ_PAGE_TOKENS);
  const uint64_t rows_at = round_up(count * sizeof(kvq_cuda_encode_page)), sent_bytes = rows_at + count * page_bytes;
  const uint64_t block_bytes = round_up(kvq_block_capacity(&layout_) + KVQ_BLOCK_PADDING), blocks_at = round_up(count * sizeof(kvq_cuda_encoded)), offsets_at = blocks_at + count * block_bytes;
  const uint64_t received_bytes = offsets_at + count * layout_.kv_heads * sizeof(uint32_t);
  kvq_cuda_encode encode = encode_;
  encode.count = static_cast<uint32_t>(count);
  const auto sent = kernels_->work(Work::kCall, sent_bytes), received = kernels_->work(Work::kOut, received_bytes), scratch = kernels_->work(Work::kScratch, kvq_cuda_encode_scratch(encode));

  std::vector<uint8_t> bytes(sent_bytes);
  for (size_t index = 0; index < count; index++) {
    const uint64_t at = rows_at + index * page_bytes;
    std::memcpy(bytes.data() + at, pages[index].rows, pages[index].tokens * row_bytes);
    const kvq_cuda_encode_page page = {reinterpret_cast<const void *>(sent->address() + at), reinterpret_cast<uint8_t *>(received->address() + blocks_at + index * block_bytes),
                                       reinterpret_cast<uint32_t *>(received->address() + offsets_at + index * layout_.kv_heads * sizeof(uint32_t)), pages[index].tokens, 0};
    std::memcpy(bytes.data() + index * sizeof page, &page, sizeof page);
  }
  encode.pages = reinterpret_cast<const kvq_cuda_encode_page *>(sent->address());
  encode.encoded = reinterpret_cast<kvq_cuda_encoded *>(received->address());
  encode.scratch = reinterpret_cast<uint8_t *>(scratch->address());
  Stream &stream = kernels_->stream();
  stream.upload(sent, 0, std::move(bytes));
  stream.fill(received, 0, 0, received_bytes);
  for (const kvq_cuda_launch &launch : kvq_cuda_plan_encode(encode)) kernels_->launch(launch);
  std::vector<uint8_t> back(offsets_at);
  stream.download(received, 0, back.data(), back.size());
  stream.synchronize();
  for (size_t index = 0; index < count; index++) {
    kvq_cuda_encoded encoded;
    std::memcpy(&encoded, back.data() + index * sizeof encoded, sizeof encoded);
    if (encoded.failed != 0) throw RuntimeError(KVQ_INVALID_ARGUMENT, "encode: expected rows that feedback rounding can follow, got page " + std::to_string(index) + " that overflows");
    if (encoded.bytes > kvq_block_capacity(&layout_)) throw RuntimeError(KVQ_CORRUPT_DATA, "encode: expected a block of at most " + std::to_string(kvq_block_capacity(&layout_)) + " bytes, got " + std::to_string(encoded.bytes));
    const uint8_t *block = back.data() + blocks_at + index * block_bytes;
    out.push_back({{block, block + encoded.bytes}, encoded.saturated, encoded.clamped});
  }
}

}  // namespace kvquant::cuda
