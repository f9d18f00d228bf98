#include "node/codec.h"

#include "kvquant/codec.h"
#include "node/codec-options.h"
#include "node/isa-argument.h"
#include "node/promise-worker.h"

namespace kvquant::node {

namespace {

// encode(x Float32Array [tokens, columns], tokens) -> { bytes, saturated, clamped }
template <class Encode>
Napi::Value encode_block(const Napi::CallbackInfo &info, const kvq_block_layout &layout, const Encode &encode) {
  const Napi::Env env = info.Env();
  const auto tokens = static_cast<uint32_t>(integer(info[1], "tokens", KVQ_PAGE_TOKENS));
  if (tokens == 0) reject(env, "tokens: expected 1 to 64, got 0");
  const float *x = floats(info[0], "x", size_t{tokens} * layout.kv_heads * layout.head_dim);
  AlignedBuffer<uint8_t> block, scratch;
  kvq_encoded encoded{};
  call(env, [&] {
    block.reserve(kvq_block_capacity(&layout) + KVQ_BLOCK_PADDING);
    scratch.reserve(kvq_codec_scratch(layout.kv_heads, layout.head_dim));
    require(encode(x, tokens, block.data(), scratch.data(), &encoded), "encoding failed");
  });
  Napi::Uint8Array bytes = Napi::Uint8Array::New(env, encoded.bytes);
  std::memcpy(bytes.Data(), block.data(), encoded.bytes);
  Napi::Object result = Napi::Object::New(env);
  result.Set("bytes", bytes);
  result.Set("saturated", encoded.saturated);
  result.Set("clamped", encoded.clamped);
  return result;
}

// decode(bytes, tokens, out Float32Array [tokens, columns])
template <class Decode>
void decode_block(const Napi::CallbackInfo &info, const kvq_block_layout &layout, const Decode &decode) {
  const Bytes source = byte_view(info[0], "block");
  const auto tokens = static_cast<uint32_t>(integer(info[1], "tokens", UINT32_MAX));
  std::vector<uint32_t> offsets(layout.kv_heads);
  call(info.Env(), [&] { require(kvq_check_block(&layout, source.data, source.length, tokens, offsets.data()), "block: expected one that this codec wrote, got a damaged one"); });
  float *out = floats(info[2], "out", size_t{tokens} * layout.kv_heads * layout.head_dim);
  AlignedBuffer<uint8_t> block, scratch;
  call(info.Env(), [&] {
    block.reserve(source.length + KVQ_BLOCK_PADDING);
    scratch.reserve(kvq_codec_scratch(layout.kv_heads, layout.head_dim));
  });
  // Kernels want alignment and padding, which JavaScript's memory has not.
  std::memcpy(block.data(), source.data, source.length);
  std::memset(block.data() + source.length, 0, KVQ_BLOCK_PADDING);
  decode(block.data(), tokens, layout.outliers ? offsets.data() : nullptr, out, scratch.data());
}

}  // namespace

Napi::Function KeyCodecObject::define(Napi::Env env) {
  return DefineClass(env, "KeyCodec", {InstanceMethod<&KeyCodecObject::encode>("encode"), InstanceMethod<&KeyCodecObject::decode>("decode")});
}

KeyCodecObject::KeyCodecObject(const Napi::CallbackInfo &info) : Napi::ObjectWrap<KeyCodecObject>(info) {
  const auto options = info[0].As<Napi::Object>();
  isa_ = isa(options);
  KeyArrays arrays = read_key_arrays(options);
  call(info.Env(), [&] { codec_ = std::make_shared<const KeyCodec>(std::move(arrays)); });
}

Napi::Value KeyCodecObject::encode(const Napi::CallbackInfo &info) {
  return encode_block(info, codec_->layout(), [this](const float *x, uint32_t tokens, uint8_t *out, void *scratch, kvq_encoded *encoded) {
    return kvq_encode_keys(isa_, &codec_->plan(), x, tokens, out, scratch, encoded);
  });
}

void KeyCodecObject::decode(const Napi::CallbackInfo &info) {
  decode_block(info, codec_->layout(), [this](const uint8_t *block, uint32_t tokens, const uint32_t *offsets, float *out, void *scratch) {
    kvq_decode_keys(isa_, &codec_->plan(), block, tokens, offsets, out, scratch);
  });
}

Napi::Function ValueCodecObject::define(Napi::Env env) {
  return DefineClass(env, "ValueCodec", {InstanceMethod<&ValueCodecObject::encode>("encode"), InstanceMethod<&ValueCodecObject::decode>("decode")});
}

ValueCodecObject::ValueCodecObject(const Napi::CallbackInfo &info) : Napi::ObjectWrap<ValueCodecObject>(info) {
  const auto options = info[0].As<Napi::Object>();
  isa_ = isa(options);
  ValueArrays arrays = read_value_arrays(options);
  call(info.Env(), [&] { codec_ = std::make_shared<const ValueCodec>(std::move(arrays)); });
}

Napi::Value ValueCodecObject::encode(const Napi::CallbackInfo &info) {
  return encode_block(info, codec_->layout(), [this](const float *x, uint32_t tokens, uint8_t *out, void *scratch, kvq_encoded *encoded) {
    return kvq_encode_values(isa_, &codec_->plan(), x, tokens, out, scratch, encoded);
  });
}

void ValueCodecObject::decode(const Napi::CallbackInfo &info) {
  decode_block(info, codec_->layout(), [this](const uint8_t *block, uint32_t tokens, const uint32_t *offsets, float *out, void *scratch) {
    kvq_decode_values(isa_, &codec_->plan(), block, tokens, offsets, out, scratch);
  });
}

}  // namespace kvquant::node
