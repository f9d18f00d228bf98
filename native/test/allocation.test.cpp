// Every allocation of an append, made to fail one after another: the cache is as it was, nothing leaks, and the same append succeeds afterwards.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <new>
#include <vector>

#include "runtime/close-pages.h"
#include "runtime/sequence-cache.h"

namespace {

long countdown = -1;  // allocations until the one that fails; below 0: none does
long living = 0;

__attribute__((noinline)) void *allocate(size_t bytes, size_t alignment) {
  if (countdown >= 0 && countdown-- == 0) return nullptr;
  void *memory = nullptr;
  if (posix_memalign(&memory, alignment < sizeof(void *) ? sizeof(void *) : alignment, bytes) != 0) return nullptr;
  living++;
  return memory;
}

__attribute__((noinline)) void release(void *memory) {
  if (memory == nullptr) return;
  living--;
  std::free(memory);
}

}  // namespace

void *operator new(size_t bytes) {
  void *memory = allocate(bytes, alignof(std::max_align_t));
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}
void *operator new(size_t bytes, std::align_val_t alignment) {
  void *memory = allocate(bytes, static_cast<size_t>(alignment));
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}
void *operator new(size_t bytes, std::align_val_t alignment, const std::nothrow_t &) noexcept { return allocate(bytes, static_cast<size_t>(alignment)); }
void operator delete(void *memory) noexcept { release(memory); }
void operator delete(void *memory, size_t) noexcept { release(memory); }
void operator delete(void *memory, std::align_val_t) noexcept { release(memory); }
void operator delete(void *memory, size_t, std::align_val_t) noexcept { release(memory); }
void operator delete(void *memory, std::align_val_t, const std::nothrow_t &) noexcept { release(memory); }
// Pages, chunks and buffers take their memory from here and free it with free().
extern "C" void *aligned_alloc(size_t alignment, size_t bytes) {
  if (countdown >= 0 && countdown-- == 0) return nullptr;
  void *memory = nullptr;
  return posix_memalign(&memory, alignment, bytes) == 0 ? memory : nullptr;
}

namespace {

using namespace kvquant;

constexpr uint32_t kv_heads = 2, head_dim = 32, columns = kv_heads * head_dim;

std::shared_ptr<const CacheRules> make_rules() {
  auto rules = std::make_shared<CacheRules>();
  rules->query_heads = rules->kv_heads = kv_heads;
  rules->head_dim = head_dim;
  rules->isa = KVQ_ISA_SCALAR;
  std::vector<double> frequency(head_dim / 2);
  for (size_t p = 0; p < frequency.size(); p++) frequency[p] = std::pow(1e4, -2.0 * static_cast<double>(p) / head_dim);
  kvq_rope *rope = nullptr;
  if (kvq_rope_create(head_dim, head_dim, 1, frequency.data(), &rope) != KVQ_OK) std::exit(1);
  rules->rope = std::shared_ptr<const kvq_rope>(rope, kvq_rope_destroy);
  std::vector<float> levels, midpoints;
  for (int i = 0; i < 16; i++) levels.push_back(static_cast<float>(std::lround(-127 + 254.0 * i / 15)) / 127.0f);
  for (size_t i = 0; i + 1 < levels.size(); i++) midpoints.push_back((levels[i] + levels[i + 1]) / 2);
  const std::vector<float> ones(columns, 1.0f), zeros(columns, 0.0f);
  // Layer 0 with page scales and rotated values, layer 1 with outliers on both sides.
  for (int layer = 0; layer < 2; layer++) {
    const bool outliers = layer == 1;
    KeyArrays key{kv_heads, head_dim, head_dim, 4, !outliers, outliers, ones, zeros, {}, {}, levels, midpoints, {}, {}};
    if (outliers) key.low = std::vector<float>(columns, -0.9f), key.high = std::vector<float>(columns, 0.9f);
    ValueArrays value{kv_heads, head_dim, head_dim, 4, !outliers, outliers ? 2u : 0u, levels, midpoints, {}, {}};
    if (!outliers) value.mean = zeros, value.deviation = ones;
    rules->layers.push_back({std::make_shared<const LayerPlan>(std::make_shared<const KeyCodec>(key), std::make_shared<const ValueCodec>(value), rules->rope, rules->isa, KVQ_EXACT), 3, 10, {kv_heads, head_dim, true}});
  }
  return rules;
}

void append(SequenceCache &cache, PageCloser &closer, size_t count) {
  try {
    for (size_t index = 0; index < cache.layers(); index++) {
      LayerCache &layer = cache.layer(index);
      layer.extend(count);
      for (uint64_t position = layer.length(); position < layer.pending_length(); position++) {
        float row[columns];
        for (uint32_t c = 0; c < columns; c++) row[c] = std::sin(static_cast<float>(position * columns + c) + static_cast<float>(index));
        layer.write(position, row, row, row);
      }
      const LayerOfSequence place{&cache, index};
      closer.close(KVQ_ISA_SCALAR, {&place, 1});
    }
    cache.commit();
  } catch (const std::bad_alloc &) {
    cache.rollback();
    throw;
  }
}

// FNV-1a of everything the cache holds.
uint64_t digest(const SequenceCache &cache) {
  uint64_t hash = 1469598103934665603ull;
  const auto add = [&hash](const void *data, size_t bytes) {
    for (size_t i = 0; i < bytes; i++) hash = (hash ^ static_cast<const uint8_t *>(data)[i]) * 1099511628211ull;
  };
  for (size_t index = 0; index < cache.layers(); index++) {
    const LayerCache &layer = cache.layer(index);
    const uint64_t sizes[] = {layer.length(), layer.pending_length(), layer.page_count(), layer.chunk_count(), layer.sinks()};
    add(sizes, sizeof sizes);
    add(layer.sink_keys(), layer.sinks() * columns * 2);
    add(layer.sink_values(), layer.sinks() * columns * 2);
    for (size_t page = 0; page < layer.page_count(); page++) {
      const CachedPage &stored = *layer.page(page).page;
      add(stored.key, stored.key_bytes);
      add(stored.value, stored.value_bytes);
    }
    for (size_t chunk = 0; chunk < layer.chunk_count(); chunk++) {
      const kvq_exact_view view = layer.chunk_view(chunk);
      for (size_t row = 0; row < columns; row++) add(view.key + row * KVQ_PAGE_TOKENS, view.tokens * 2);  // [columns][64]
    }
  }
  return hash;
}

struct outcome {
  uint64_t digest;
  bool failed, unchanged;
};

// An append of `more` tokens to a cache of `held`, the allocation number `failing` of which fails.
outcome try_append(const std::shared_ptr<const CacheRules> &rules, size_t held, size_t more, long failing) {
  ThreadPool pool(1);
  SequenceCache cache(rules);
  PageCloser closer(pool);
  if (held > 0) append(cache, closer, held);
  const uint64_t before = digest(cache);
  outcome result{0, false, true};
  countdown = failing;
  try {
    append(cache, closer, more);
  } catch (const std::bad_alloc &) {
    result.failed = true;
  }
  countdown = -1;
  if (result.failed) {
    result.unchanged = digest(cache) == before;
    append(cache, closer, more);
  }
  result.digest = digest(cache);
  return result;
}

}  // namespace

int main() {
  int failures = 0;
  const auto rules = make_rules();
  for (const auto &[held, more] : {std::pair<size_t, size_t>{0, 2}, {0, 200}, {1, 80}, {100, 1}, {70, 400}, {77, 64}}) {
    const uint64_t wanted = try_append(rules, held, more, -1).digest;
    const long balance = living;
    long tried = 0;
    bool unchanged = true, same = true;
    for (;; tried++) {
      const outcome result = try_append(rules, held, more, tried);
      unchanged = unchanged && result.unchanged;
      same = same && result.digest == wanted;
      if (!result.failed) break;
    }
    const bool clean = living == balance, good = unchanged && same && clean && (tried > 0 || more == 1);
    std::printf("%s %zu tokens after %zu: %ld allocations failed in turn%s%s%s\n", good ? "ok" : "not ok", more, held, tried, unchanged ? "" : "; the cache changed", same ? "" : "; a second try gave another cache",
                clean ? "" : "; memory leaked");
    failures += good ? 0 : 1;
  }
  return failures == 0 ? 0 : 1;
}
