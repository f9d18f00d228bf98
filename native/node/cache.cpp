#include "node/cache.h"

#include <algorithm>
#include <chrono>
#include <cmath>

#include "kvquant/codec.h"
#include "node/codec.h"
#include "node/isa-argument.h"
#include "node/promise-worker.h"
#include "node/rope-options.h"

namespace kvquant::node {

namespace {

// Plans are made once for each pair of codecs: layers rarely share them, forks always share the rules.
std::shared_ptr<const CacheRules> make_rules(const Napi::Object &options) {
  auto rules = std::make_shared<CacheRules>();
  rules->isa = isa(options);
  rules->query_heads = integer(options, "queryHeads");
  rules->kv_heads = integer(options, "kvHeads");
  rules->head_dim = integer(options, "headDim");
  const Napi::Env env = options.Env();
  if (rules->kv_heads == 0 || rules->query_heads == 0 || rules->query_heads % rules->kv_heads != 0) reject(env, "queryHeads: expected whole groups of the KV heads");
  if (rules->head_dim == 0 || rules->head_dim % 8 != 0 || rules->head_dim > 1024) reject(env, "headDim: expected a multiple of 8 up to 1024");
  const bool exact = flag(options, "exact");
  const uint32_t sink_tokens = integer(options, "sinkTokens", KVQ_PAGE_TOKENS);
  // As many as a JavaScript number counts exactly: positions stay far from the end of 64 bits.
  const uint64_t tail_tokens = integer(options.Get("tailTokens"), "tailTokens", uint64_t{1} << 53);
  const auto layers = options.Get("layers").As<Napi::Array>();
  if (layers.Length() == 0) reject(env, "layers: expected at least one");
  rules->rope = read_rope(options, rules->head_dim);
  for (uint32_t index = 0; index < layers.Length(); index++) {
    const Napi::Value layer = layers.Get(index);
    if (!layer.IsObject()) {
      rules->layers.push_back({nullptr, 0, UINT64_MAX / 2, {rules->kv_heads, rules->head_dim, false}});
      continue;
    }
    const auto key = KeyCodecObject::Unwrap(layer.As<Napi::Object>().Get("key").As<Napi::Object>())->codec();
    const auto value = ValueCodecObject::Unwrap(layer.As<Napi::Object>().Get("value").As<Napi::Object>())->codec();
    if (key->plan().kv_heads != rules->kv_heads || key->plan().head_dim != rules->head_dim) reject(env, "layers: expected codecs of the cache's shape");
    call(env, [&] {
      auto plan = std::make_shared<const LayerPlan>(key, value, rules->rope, rules->isa, exact ? KVQ_EXACT : KVQ_FAST);
      rules->layers.push_back({std::move(plan), sink_tokens, tail_tokens, {rules->kv_heads, rules->head_dim, true}});
    });
  }
  return rules;
}

// Appends committed rows to one layer; keys before RoPE.
void append_rows(SequenceCache &cache, size_t index, const float *keys, const float *values, size_t rows) {
  LayerCache &layer = cache.layer(index);
  const CacheRules &rules = cache.rules();
  const size_t columns = layer.rules().exact.columns();
  std::vector<float> rotated(columns), cosine(rules.head_dim / 2), sine(rules.head_dim / 2);
  const uint64_t start = layer.length();
  try {
    layer.extend(rows);
    for (size_t row = 0; row < rows; row++) {
      const float *key = keys + row * columns;
      const float *value = values + row * columns;
      std::copy_n(key, columns, rotated.data());
      kvq_rope_at(rules.rope.get(), static_cast<double>(start + row), cosine.data(), sine.data());
      kvq_rope_apply(rules.rope.get(), cosine.data(), sine.data(), 1.0f, rotated.data(), rules.kv_heads);
      for (size_t column = 0; column < columns; column++) {
        if (!(std::fabs(rotated[column]) < kHalfLimit) || !(std::fabs(key[column]) < kHalfLimit) || !(std::fabs(value[column]) < kHalfLimit)) {
          throw RuntimeError(KVQ_INVALID_ARGUMENT, "append: expected finite numbers that fit fp16 (below 65520), got others at token " + std::to_string(row) + ", channel " + std::to_string(column));
        }
      }
      layer.write(start + row, key, rotated.data(), value);
    }
    layer.commit();
  } catch (...) {
    layer.rollback();
    throw;
  }
}

struct QueryRows {
  std::vector<float> rotated;
  AttentionRows rows;
};

// Rotates the queries of the newest `count` tokens of a layer.
QueryRows rotate_queries(const SequenceCache &cache, size_t index, const float *queries, size_t count, float *out) {
  const CacheRules &rules = cache.rules();
  const size_t columns = size_t{rules.query_heads} * rules.head_dim;
  QueryRows result{std::vector<float>(queries, queries + count * columns), {}};
  std::vector<float> cosine(rules.head_dim / 2), sine(rules.head_dim / 2);
  const uint64_t first = cache.layer(index).pending_length() - count;
  const float gain = rules.rope->attention_factor * rules.rope->attention_factor;
  for (size_t row = 0; row < count; row++) {
    kvq_rope_at(rules.rope.get(), static_cast<double>(first + row), cosine.data(), sine.data());
    kvq_rope_apply(rules.rope.get(), cosine.data(), sine.data(), gain, result.rotated.data() + row * columns, rules.query_heads);
  }
  result.rows = {queries, columns, result.rotated.data(), out};
  return result;
}

void attend_rows(SharedThreads &threads, SequenceCache &cache, size_t index, const float *queries, size_t count, float *out) {
  const std::lock_guard<std::mutex> lock(threads.mutex);
  LayerCache &layer = cache.layer(index);
  try {
    const LayerOfSequence place{&cache, index};
    threads.closer.close(cache.rules().isa, {&place, 1});
    const QueryRows rows = rotate_queries(cache, index, queries, count, out);
    const AttentionRequest request{place, 0, count};
    threads.attention.run(cache.rules(), {&request, 1}, rows.rows);
    layer.commit();
  } catch (...) {
    layer.rollback();
    throw;
  }
}

}  // namespace

Napi::Function CacheObject::define(Napi::Env env) {
  return DefineClass(env, "Cache",
                     {InstanceMethod<&CacheObject::length>("length"), InstanceMethod<&CacheObject::busy>("busy"), InstanceMethod<&CacheObject::layer_length>("layerLength"), InstanceMethod<&CacheObject::pages_end>("pagesEnd"),
                      InstanceMethod<&CacheObject::append>("append"), InstanceMethod<&CacheObject::attend>("attend"), InstanceMethod<&CacheObject::time_attention>("timeAttention"),
                      InstanceMethod<&CacheObject::truncate>("truncate"), InstanceMethod<&CacheObject::truncate_layer>("truncateLayer"), InstanceMethod<&CacheObject::restore>("restore"),
                      InstanceMethod<&CacheObject::dispose>("dispose"), InstanceMethod<&CacheObject::bytes>("bytes"), InstanceMethod<&CacheObject::pages>("pages"), InstanceMethod<&CacheObject::page_totals>("pageTotals"),
                      InstanceMethod<&CacheObject::add_page>("addPage"), InstanceMethod<&CacheObject::paths>("paths"),
                      InstanceMethod<&CacheObject::export_exact>("exportExact"), InstanceMethod<&CacheObject::import_exact>("importExact")});
}

CacheObject::CacheObject(const Napi::CallbackInfo &info) : Napi::ObjectWrap<CacheObject>(info), shared_(std::make_shared<SharedCache>()) {
  const auto options = info[0].As<Napi::Object>();
  if (options.Has("forkOf")) {
    CacheObject *other = CacheObject::Unwrap(options.Get("forkOf").As<Napi::Object>());
    const SequenceCache &cache = other->idle(info.Env());
    call(info.Env(), [&] { shared_->cache = cache.fork(); });
    shared_->rules = other->shared_->rules;
    return;
  }
  // An empty cache with the rules and tables of another.
  shared_->rules = options.Has("likeOf") ? CacheObject::Unwrap(options.Get("likeOf").As<Napi::Object>())->shared_->rules : make_rules(options);
  call(info.Env(), [&] { shared_->cache = std::make_unique<SequenceCache>(shared_->rules); });
}

SequenceCache &CacheObject::idle(Napi::Env env) {
  if (shared_->busy) reject(env, "cache: expected no step or attend running; await it first");
  if (shared_->cache == nullptr) {
    Napi::Error error = Napi::Error::New(env, "cache: expected an open cache, got a disposed one");
    error.Value().Set("code", Napi::String::New(env, "DISPOSED"));
    throw error;
  }
  return *shared_->cache;
}

std::shared_ptr<SharedCache> CacheObject::acquire(Napi::Env env) {
  idle(env);
  shared_->busy = true;
  return shared_;
}

Napi::Value CacheObject::length(const Napi::CallbackInfo &info) { return Napi::Number::New(info.Env(), static_cast<double>(idle(info.Env()).length())); }

Napi::Value CacheObject::busy(const Napi::CallbackInfo &info) { return Napi::Boolean::New(info.Env(), shared_->busy); }

// layerLength(layer)
Napi::Value CacheObject::layer_length(const Napi::CallbackInfo &info) {
  SequenceCache &cache = idle(info.Env());
  return Napi::Number::New(info.Env(), static_cast<double>(cache.layer(integer(info[0], "layer", cache.layers() - 1)).length()));
}

// pagesEnd(layer): position after the closed pages
Napi::Value CacheObject::pages_end(const Napi::CallbackInfo &info) {
  SequenceCache &cache = idle(info.Env());
  return Napi::Number::New(info.Env(), static_cast<double>(cache.layer(integer(info[0], "layer", cache.layers() - 1)).open_start()));
}

// append(layer, keys, values, rows)
void CacheObject::append(const Napi::CallbackInfo &info) {
  SequenceCache &cache = idle(info.Env());
  const size_t layer = integer(info[0], "layer", cache.layers() - 1);
  const size_t rows = integer(info[3], "rows", 1u << 30);
  const size_t columns = cache.layer(layer).rules().exact.columns();
  const float *keys = floats(info[1], "keys", rows * columns);
  const float *values = floats(info[2], "values", rows * columns);
  call(info.Env(), [&] { append_rows(cache, layer, keys, values, rows); });
}

// attend(threads, layer, queries, rows, out): promise
Napi::Value CacheObject::attend(const Napi::CallbackInfo &info) {
  SequenceCache &cache = idle(info.Env());
  const auto threads = ThreadsObject::Unwrap(info[0].As<Napi::Object>())->shared();
  const size_t layer = integer(info[1], "layer", cache.layers() - 1);
  const size_t rows = integer(info[3], "rows", cache.layer(layer).length());
  const size_t columns = size_t{cache.rules().query_heads} * cache.rules().head_dim;
  const float *queries = floats(info[2], "queries", rows * columns);
  float *out = floats(info[4], "out", rows * columns);
  if (rows == 0) reject(info.Env(), "rows: expected at least one query");
  const auto shared = acquire(info.Env());
  return PromiseWorker::start(
      info.Env(), {info.This().As<Napi::Object>(), info[0].As<Napi::Object>(), info[2].As<Napi::Object>(), info[4].As<Napi::Object>()},
      [shared, threads, layer, queries, rows, out] { attend_rows(*threads, *shared->cache, layer, queries, rows, out); }, [shared] { shared->busy = false; });
}

// timeAttention(threads, queries [query heads * head dim], repeats, nanoseconds Float64Array [repeats], out): promise. Each repeat answers one query in every layer, so that no layer is left
// in the processor's caches when the cache is larger than they are.
Napi::Value CacheObject::time_attention(const Napi::CallbackInfo &info) {
  SequenceCache &cache = idle(info.Env());
  const auto threads = ThreadsObject::Unwrap(info[0].As<Napi::Object>())->shared();
  const size_t columns = size_t{cache.rules().query_heads} * cache.rules().head_dim;
  const float *queries = floats(info[1], "queries", columns);
  const size_t repeats = integer(info[2], "repeats", 1u << 20);
  const Napi::Value times = info[3];
  if (!times.IsTypedArray() || times.As<Napi::TypedArray>().TypedArrayType() != napi_float64_array || times.As<Napi::TypedArray>().ElementLength() < repeats) reject(info.Env(), "nanoseconds: expected a Float64Array");
  double *nanoseconds = times.As<Napi::Float64Array>().Data();
  float *out = floats(info[4], "out", cache.layers() * columns);
  if (cache.length() == 0) reject(info.Env(), "timeAttention: expected a cache with tokens");
  const auto shared = acquire(info.Env());
  return PromiseWorker::start(
      info.Env(), {info.This().As<Napi::Object>(), info[0].As<Napi::Object>(), info[1].As<Napi::Object>(), info[3].As<Napi::Object>(), info[4].As<Napi::Object>()},
      [shared, threads, queries, repeats, nanoseconds, out, columns] {
        SequenceCache &cache = *shared->cache;
        const std::lock_guard<std::mutex> lock(threads->mutex);
        const QueryRows rows = rotate_queries(cache, 0, queries, 1, out);
        for (size_t repeat = 0; repeat < repeats; repeat++) {
          const auto start = std::chrono::steady_clock::now();
          for (size_t layer = 0; layer < cache.layers(); layer++) {
            const AttentionRequest request{{&cache, layer}, 0, 1};
            AttentionRows layer_rows = rows.rows;
            layer_rows.out = out + layer * columns;
            threads->attention.run(cache.rules(), {&request, 1}, layer_rows);
          }
          nanoseconds[repeat] = std::chrono::duration<double, std::nano>(std::chrono::steady_clock::now() - start).count();
        }
      },
      [shared] { shared->busy = false; });
}

void CacheObject::truncate(const Napi::CallbackInfo &info) {
  SequenceCache &cache = idle(info.Env());
  const uint64_t tokens = integer(info[0], "tokens", cache.length());
  for (size_t layer = 0; layer < cache.layers(); layer++) cache.layer(layer).truncate(tokens);
}

// truncateLayer(layer, tokens)
void CacheObject::truncate_layer(const Napi::CallbackInfo &info) {
  SequenceCache &cache = idle(info.Env());
  LayerCache &layer = cache.layer(integer(info[0], "layer", cache.layers() - 1));
  layer.truncate(integer(info[1], "tokens", layer.length()));
}

// restore(saved Cache): back to what a fork holds
void CacheObject::restore(const Napi::CallbackInfo &info) {
  SequenceCache &cache = idle(info.Env());
  CacheObject *saved = CacheObject::Unwrap(info[0].As<Napi::Object>());
  if (saved->shared_->rules != shared_->rules) reject(info.Env(), "restore: expected a fork of this cache");
  const SequenceCache &source = saved->idle(info.Env());
  call(info.Env(), [&] { cache.restore(source); });
}

void CacheObject::dispose(const Napi::CallbackInfo &info) {
  if (shared_->busy) reject(info.Env(), "cache: expected no step or attend running; await it first");
  shared_->cache.reset();
}

}  // namespace kvquant::node
