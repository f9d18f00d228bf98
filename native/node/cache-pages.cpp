// What a cache holds: its bytes and pages in figures, and pages and exact tokens on their way in and out.
#include "kvquant/codec.h"
#include "node/arguments.h"
#include "node/cache.h"
#include "node/promise-worker.h"

namespace kvquant::node {

// bytes(beyond?: Cache): { pages, pageHeaders, sinks, exact, tables }; with `beyond` of the blocks it does not share, without tables and room allocated ahead
Napi::Value CacheObject::bytes(const Napi::CallbackInfo &info) {
  SequenceCache &cache = idle(info.Env());
  const SequenceCache *beyond = nullptr;
  if (info[0].IsObject()) {
    CacheObject *other = CacheObject::Unwrap(info[0].As<Napi::Object>());
    if (other->shared_->rules != shared_->rules) reject(info.Env(), "bytes: expected a cache of the same rules");
    beyond = &other->idle(info.Env());
  }
  LayerBytes sum;
  for (size_t index = 0; index < cache.layers(); index++) {
    const LayerBytes layer = cache.layer(index).bytes(beyond == nullptr ? nullptr : &beyond->layer(index));
    sum.pages += layer.pages;
    sum.page_headers += layer.page_headers;
    sum.sinks += layer.sinks;
    sum.exact += layer.exact;
  }
  size_t tables = 0;
  if (beyond == nullptr) for (const LayerRules &layer : cache.rules().layers) tables += layer.compressed() ? kvq_attention_tables_bytes(layer.plan->tables()) : 0;
  Napi::Object result = Napi::Object::New(info.Env());
  result.Set("pages", static_cast<double>(sum.pages));
  result.Set("pageHeaders", static_cast<double>(sum.page_headers + (beyond == nullptr ? cache.allocator().spare_bytes() : 0)));
  result.Set("sinks", static_cast<double>(sum.sinks));
  result.Set("exact", static_cast<double>(sum.exact));
  result.Set("tables", static_cast<double>(tables));
  return result;
}

// pages(layer, withBytes, first = 0, count = all): { start, tokens, encodedTokens, keyBytes, valueBytes, keySaturated, ..., key?, value? }[]
Napi::Value CacheObject::pages(const Napi::CallbackInfo &info) {
  const Napi::Env env = info.Env();
  SequenceCache &cache = idle(env);
  const LayerCache &layer = cache.layer(integer(info[0], "layer", cache.layers() - 1));
  const bool with_bytes = info[1].ToBoolean();
  const size_t first = info[2].IsUndefined() ? 0 : integer(info[2], "first", layer.page_count());
  const size_t end = info[3].IsUndefined() ? layer.page_count() : first + integer(info[3], "count", layer.page_count() - first);
  Napi::Array result = Napi::Array::New(env, end - first);
  for (size_t index = first; index < end; index++) {
    const PageReference &reference = layer.page(index);
    const CachedPage &page = *reference.page;
    Napi::Object entry = Napi::Object::New(env);
    entry.Set("start", static_cast<double>(reference.start));
    entry.Set("tokens", reference.tokens);
    entry.Set("encodedTokens", page.encoded_tokens);
    entry.Set("keyBytes", page.key_bytes);
    entry.Set("valueBytes", page.value_bytes);
    entry.Set("keySaturated", page.saturated[0]);
    entry.Set("valueSaturated", page.saturated[1]);
    entry.Set("keyClamped", page.clamped[0]);
    entry.Set("valueClamped", page.clamped[1]);
    if (with_bytes) {
      Napi::Uint8Array key = Napi::Uint8Array::New(env, page.key_bytes);
      std::memcpy(key.Data(), page.key, page.key_bytes);
      Napi::Uint8Array value = Napi::Uint8Array::New(env, page.value_bytes);
      std::memcpy(value.Data(), page.value, page.value_bytes);
      entry.Set("key", key);
      entry.Set("value", value);
    }
    result.Set(static_cast<uint32_t>(index - first), entry);
  }
  return result;
}

// pageTotals(): { keyBytes, valueBytes, tokens, saturated, clamped } of the closed pages of all layers
Napi::Value CacheObject::page_totals(const Napi::CallbackInfo &info) {
  SequenceCache &cache = idle(info.Env());
  PageTotals sum;
  for (size_t index = 0; index < cache.layers(); index++) sum += cache.layer(index).page_totals();
  Napi::Object result = Napi::Object::New(info.Env());
  result.Set("keyBytes", static_cast<double>(sum.key_bytes));
  result.Set("valueBytes", static_cast<double>(sum.value_bytes));
  result.Set("tokens", static_cast<double>(sum.tokens));
  result.Set("saturated", static_cast<double>(sum.saturated));
  result.Set("clamped", static_cast<double>(sum.clamped));
  return result;
}

// addPage(layer, { tokens, encodedTokens, key, value, keySaturated, .. }): a page that was encoded elsewhere
void CacheObject::add_page(const Napi::CallbackInfo &info) {
  const Napi::Env env = info.Env();
  SequenceCache &cache = idle(env);
  LayerCache &layer = cache.layer(integer(info[0], "layer", cache.layers() - 1));
  if (!layer.rules().compressed()) reject(env, "addPage: expected a compressed layer");
  const auto page = info[1].As<Napi::Object>();
  const uint32_t encoded = integer(page, "encodedTokens", KVQ_PAGE_TOKENS);
  const uint32_t tokens = integer(page, "tokens", encoded);
  if (tokens == 0) reject(env, "addPage: expected 1 to 64 tokens");
  const Bytes key = byte_view(page.Get("key"), "key");
  const Bytes value = byte_view(page.Get("value"), "value");
  const uint32_t counts[] = {integer(page, "keySaturated", UINT32_MAX), integer(page, "valueSaturated", UINT32_MAX), integer(page, "keyClamped", UINT32_MAX), integer(page, "valueClamped", UINT32_MAX)};
  const kvq_block_layout &key_layout = layer.rules().plan->key().layout();
  const kvq_block_layout &value_layout = layer.rules().plan->value().layout();
  call(env, [&] {
    std::vector<uint32_t> offsets(2 * size_t{key_layout.kv_heads});
    require(kvq_check_block(&key_layout, key.data, key.length, encoded, offsets.data()), "addPage: expected a key block of this layer, got a damaged one");
    require(kvq_check_block(&value_layout, value.data, value.length, encoded, offsets.data() + key_layout.kv_heads), "addPage: expected a value block of this layer, got a damaged one");
    CachedPage *stored = cache.allocator().make(encoded, {{key.data, key.length}, key_layout.outliers ? offsets.data() : nullptr, counts[0], counts[2]},
                                                {{value.data, value.length}, value_layout.outliers ? offsets.data() + key_layout.kv_heads : nullptr, counts[1], counts[3]});
    try {
      layer.add_closed_page(stored, tokens);
    } catch (...) {
      release(stored);
      throw;
    }
  });
}

// exportExact(layer): { sinks, tokens, values Uint16Array }: sinks and the tokens after the closed pages, raw
Napi::Value CacheObject::export_exact(const Napi::CallbackInfo &info) {
  SequenceCache &cache = idle(info.Env());
  const LayerCache &layer = cache.layer(integer(info[0], "layer", cache.layers() - 1));
  Napi::Uint16Array values = Napi::Uint16Array::New(info.Env(), layer.exact_values());
  layer.export_exact(values.Data());
  Napi::Object result = Napi::Object::New(info.Env());
  result.Set("sinks", layer.sinks());
  result.Set("tokens", static_cast<double>(layer.exact_tokens()));
  result.Set("values", values);
  return result;
}

// importExact(layer, part "sinks" | "tail", tokens, values Uint16Array)
void CacheObject::import_exact(const Napi::CallbackInfo &info) {
  const Napi::Env env = info.Env();
  SequenceCache &cache = idle(env);
  LayerCache &layer = cache.layer(integer(info[0], "layer", cache.layers() - 1));
  const bool sinks = info[1].ToString().Utf8Value() == "sinks";
  const uint64_t tokens = integer(info[2], "tokens", 1u << 30);
  if (!info[3].IsTypedArray() || info[3].As<Napi::TypedArray>().TypedArrayType() != napi_uint16_array) reject(env, "values: expected a Uint16Array");
  const auto values = info[3].As<Napi::Uint16Array>();
  const ExactShape &shape = layer.rules().exact;
  const uint64_t expected = sinks ? 2 * tokens * shape.columns() : (tokens + KVQ_PAGE_TOKENS - 1) / KVQ_PAGE_TOKENS * ExactChunk::values(shape);
  if (values.ElementLength() != expected) reject(env, "values: expected " + std::to_string(expected) + " numbers, got " + std::to_string(values.ElementLength()));
  call(env, [&] {
    if (sinks) layer.import_sinks(values.Data(), static_cast<uint32_t>(tokens));
    else layer.import_exact(values.Data(), tokens);
  });
}

// paths(): { layer, side, bits, path }[] of compressed layers
Napi::Value CacheObject::paths(const Napi::CallbackInfo &info) {
  const Napi::Env env = info.Env();
  const CacheRules &rules = *shared_->rules;
  Napi::Array result = Napi::Array::New(env);
  uint32_t next = 0;
  for (size_t layer = 0; layer < rules.layers.size(); layer++) {
    for (int side = 0; side < 2; side++) {
      const LayerPlan *plan = rules.layers[layer].plan.get();
      Napi::Object entry = Napi::Object::New(env);
      entry.Set("layer", static_cast<double>(layer));
      entry.Set("side", side == 0 ? "key" : "value");
      entry.Set("bits", plan == nullptr ? 16 : side == 0 ? plan->key().plan().bits : plan->value().plan().bits);
      entry.Set("path", plan == nullptr ? std::string(kvq_isa_name(rules.isa)) + " fp16" : std::string(kvq_attention_path(plan->tables(), side)));
      result.Set(next++, entry);
    }
  }
  return result;
}

}  // namespace kvquant::node
