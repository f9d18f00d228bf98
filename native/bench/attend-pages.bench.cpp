// Decode attention over compressed pages against fp16: an equally good flash-decode over fp16 pages, in the same process, interleaved, one thread, working set far beyond the caches.
// Usage: attend-pages.bench [rounds] [millions of tokens x heads]. Prints ns a token and KV head, and the ratio to fp16 (median of rounds, and best against best).
// Checks first that both answer the same question: the fp16 pages of one head are decoded from its compressed ones.
#if defined(__AVX512F__) || !defined(__x86_64__)
#error "compile this file without instruction set flags; the kernels choose"
#endif
#if !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"  // of g++ 12's own AVX-512 header (GCC bug 105593)
#pragma GCC diagnostic ignored "-Wuninitialized"
#endif
#include <immintrin.h>
#include <sys/mman.h>
#include <time.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "kvquant/attention.h"

#define BASELINE __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,f16c,fma"), noinline))

namespace {

double seconds() {
  timespec t;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

uint8_t *reserve(size_t bytes) {
  bytes = (bytes + (2u << 20)) & ~size_t((2u << 20) - 1);
  void *memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) std::exit(2);
  madvise(memory, bytes, MADV_HUGEPAGE);
  return static_cast<uint8_t *>(memory);
}

struct numbers {
  uint64_t state = 0x9E3779B97F4A7C15ull;
  uint64_t next() { state ^= state << 13; state ^= state >> 7; state ^= state << 17; return state; }
  double uniform() { return static_cast<double>(next() >> 11) / 9007199254740992.0; }
  double normal() { return std::sqrt(-2 * std::log(uniform() + 1e-300)) * std::cos(6.283185307179586 * uniform()); }
};

// ---- fp16: keys [page][head_dim][64] after RoPE, values in panels of 64 channels; keys and values read once for all queries, fp32 sums in registers ----

constexpr int chunk = 512;

template <int dim, int queries>
BASELINE void half_scores(const uint16_t *keys, const float *q, int pages, float *scores) {
  constexpr int vectors = queries <= 6 ? 4 : 2;
  for (int i = 0; i < pages; i++) {
    const uint16_t *page = keys + static_cast<size_t>(i) * 64 * dim;
    for (int first = 0; first < 4; first += vectors) {
      __m512 sum[queries][vectors];
      for (int g = 0; g < queries; g++) for (int v = 0; v < vectors; v++) sum[g][v] = _mm512_setzero_ps();
#pragma GCC unroll 2
      for (int d = 0; d < dim; d++) {
        const uint16_t *row = page + d * 64;
        _mm_prefetch(reinterpret_cast<const char *>(row) + 4096, _MM_HINT_T0);
        _mm_prefetch(reinterpret_cast<const char *>(row) + 4160, _MM_HINT_T0);
        __m512 k[vectors];
        for (int v = 0; v < vectors; v++) k[v] = _mm512_cvtph_ps(_mm256_load_si256(reinterpret_cast<const __m256i *>(row + 16 * (first + v))));
        for (int g = 0; g < queries; g++) for (int v = 0; v < vectors; v++) sum[g][v] = _mm512_fmadd_ps(k[v], _mm512_set1_ps(q[d * queries + g]), sum[g][v]);
      }
      for (int g = 0; g < queries; g++) for (int v = 0; v < vectors; v++) _mm512_storeu_ps(scores + g * chunk + i * 64 + 16 * (first + v), sum[g][v]);
    }
  }
}

template <int dim, int queries>
BASELINE void half_values(const uint16_t *values, const float *weights, int pages, float *sums) {
  for (int i = 0; i < pages; i++) {
    for (int panel = 0; panel < dim / 64; panel++) {
      __m512 sum[queries][4];
      for (int g = 0; g < queries; g++) for (int c = 0; c < 4; c++) sum[g][c] = _mm512_loadu_ps(sums + g * dim + panel * 64 + c * 16);
#pragma GCC unroll 2
      for (int t = 0; t < 64; t++) {
        const uint16_t *row = values + static_cast<size_t>(i) * 64 * dim + panel * 4096 + t * 64;
        _mm_prefetch(reinterpret_cast<const char *>(row) + 6144, _MM_HINT_T0);
        _mm_prefetch(reinterpret_cast<const char *>(row) + 6208, _MM_HINT_T0);
        __m512 v[4];
        for (int c = 0; c < 4; c++) v[c] = _mm512_cvtph_ps(_mm256_load_si256(reinterpret_cast<const __m256i *>(row + 16 * c)));
        for (int g = 0; g < queries; g++) for (int c = 0; c < 4; c++) sum[g][c] = _mm512_fmadd_ps(v[c], _mm512_set1_ps(weights[g * chunk + i * 64 + t]), sum[g][c]);
      }
      for (int g = 0; g < queries; g++) for (int c = 0; c < 4; c++) _mm512_storeu_ps(sums + g * dim + panel * 64 + c * 16, sum[g][c]);
    }
  }
}

BASELINE inline __m512 exp2_of(__m512 x) {
  x = _mm512_max_ps(x, _mm512_set1_ps(-126.0f));
  const __m512 n = _mm512_roundscale_ps(x, 0), f = _mm512_sub_ps(x, n);
  __m512 p = _mm512_set1_ps(1.5403530e-4f);
  for (float c : {1.3333558e-3f, 9.6181291e-3f, 5.5504109e-2f, 2.4022651e-1f, 6.9314718e-1f, 1.0f}) p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(c));
  return _mm512_scalef_ps(p, n);
}

BASELINE void half_softmax(float *row, int tokens, float &maximum, float &total, float *sum, int dim) {
  __m512 most = _mm512_set1_ps(-INFINITY);
  for (int t = 0; t < tokens; t += 16) most = _mm512_max_ps(most, _mm512_load_ps(row + t));
  const float found = _mm512_reduce_max_ps(most);
  if (found > maximum) {
    const float keep = std::exp2(maximum - found);
    total *= keep;
    for (int c = 0; c < dim; c++) sum[c] *= keep;
    maximum = found;
  }
  __m512 all = _mm512_setzero_ps();
  for (int t = 0; t < tokens; t += 16) {
    const __m512 e = exp2_of(_mm512_sub_ps(_mm512_load_ps(row + t), _mm512_set1_ps(maximum)));
    all = _mm512_add_ps(all, e);
    _mm512_store_ps(row + t, e);
  }
  total += _mm512_reduce_add_ps(all);
}

template <int dim, int queries>
BASELINE void half_attention(const uint16_t *keys, const uint16_t *values, const float *q, int pages, float *out) {
  alignas(64) float scores[queries][chunk], sum[queries][dim] = {}, turned[dim * queries];
  const float scale = 1.44269504f / std::sqrt(static_cast<float>(dim));
  for (int g = 0; g < queries; g++) for (int d = 0; d < dim; d++) turned[d * queries + g] = q[g * dim + d] * scale;
  float maximum[queries], total[queries] = {};
  for (float &m : maximum) m = -INFINITY;
  for (int i = 0; i < pages; i += 8) {
    const int now = std::min(8, pages - i);
    half_scores<dim, queries>(keys + static_cast<size_t>(i) * 64 * dim, turned, now, scores[0]);
    for (int g = 0; g < queries; g++) half_softmax(scores[g], now * 64, maximum[g], total[g], sum[g], dim);
    half_values<dim, queries>(values + static_cast<size_t>(i) * 64 * dim, scores[0], now, sum[0]);
  }
  for (int g = 0; g < queries; g++) for (int d = 0; d < dim; d++) out[g * dim + d] = sum[g][d] / total[g];
}

// ---- compressed ----

// Layers of `kv_heads` heads x `pages` pages; blocks are separate, as a pool hands them out.
struct compressed {
  kvq_key_plan key{};
  kvq_value_plan value{};
  std::vector<float> scale, zero, mean, deviation, levels, thresholds;
  std::vector<double> frequency;
  kvq_rope *rope = nullptr;
  kvq_attention_tables *tables = nullptr;
  std::vector<std::vector<kvq_page_view>> layers;
  std::vector<std::vector<uint32_t>> offsets;
  uint8_t *memory = nullptr;
  size_t memory_bytes = 0;
  float *scratch = nullptr;
  double bytes_token = 0;

  // Appends `heads` outlier sections of about `percent` % of the values.
  static size_t sections(numbers &random, uint32_t heads, uint32_t dim, double percent, uint8_t *at, size_t offset, std::vector<uint32_t> &where) {
    for (uint32_t h = 0; h < heads; h++) {
      where.push_back(static_cast<uint32_t>(offset));
      uint8_t *counts = at + offset;
      uint32_t total = 0;
      std::vector<uint8_t> indices;
      for (uint32_t t = 0; t < 64; t++) {
        uint32_t n = 0;
        for (uint32_t c = 0; c < dim && n < 15; c++) if (random.uniform() * 100 < percent) indices.push_back(static_cast<uint8_t>(c)), n++;
        counts[t / 2] = static_cast<uint8_t>(counts[t / 2] | n << 4 * (t & 1));
        total += n;
      }
      for (uint32_t i = 0; i < total; i++) counts[32 + 2 * i] = static_cast<uint8_t>(random.next()), counts[33 + 2 * i] = static_cast<uint8_t>(0x38 | (random.next() & 0x80));
      std::memcpy(counts + 32 + 2 * total, indices.data(), total);
      offset += (32 + 3 * total + 3) / 4 * 4;
    }
    return offset;
  }

  compressed(uint32_t bits, uint32_t dim, uint32_t heads, uint32_t queries, size_t layer_count, size_t pages, bool paper, kvq_isa isa, kvq_precision precision) {
    numbers random;
    for (uint32_t c = 0; c < heads * dim; c++) scale.push_back(1), zero.push_back(static_cast<float>(random.normal())), mean.push_back(0.1f), deviation.push_back(1), thresholds.push_back(1);
    const int count = 1 << bits;
    for (int i = 0; i < count; i++) levels.push_back(static_cast<float>(std::lround(-127 + 254.0 * i / (count - 1))) / 127.0f);
    for (uint32_t p = 0; p < dim / 2; p++) frequency.push_back(std::pow(1e5, -2.0 * p / dim));
    kvq_rope_create(dim, dim, 1, frequency.data(), &rope);
    key = {heads, dim, dim, bits, !paper, paper, scale.data(), zero.data(), thresholds.data(), thresholds.data(), levels.data(), levels.data(), nullptr, nullptr};
    value = {heads, dim, dim, bits, !paper, paper ? 1u : 0u, levels.data(), levels.data(), mean.data(), deviation.data()};
    if (kvq_attention_tables_create(isa, precision, &key, &value, rope, &tables) != KVQ_OK) std::exit(3);
    const kvq_block_layout kl = kvq_key_layout(&key), vl = kvq_value_layout(&value);
    const size_t capacity = kvq_outliers_offset(&kl) + kvq_outliers_offset(&vl) + (paper ? heads * (128 + dim * 64 * 8 / 100) : 0) + 4 * KVQ_BLOCK_PADDING + 256;
    memory_bytes = layer_count * pages * capacity;
    memory = reserve(memory_bytes);
    uint8_t *at = memory;
    offsets.reserve(layer_count * pages * 2);
    for (size_t l = 0; l < layer_count; l++) {
      layers.emplace_back();
      for (size_t p = 0; p < pages; p++) {
        kvq_page_view view{};
        for (int side = 0; side < 2; side++) {
          const kvq_block_layout &layout = side == 0 ? kl : vl;
          size_t bytes = kvq_token_data_offset(&layout);
          for (size_t i = 0; i < bytes; i += 8) { const uint64_t x = random.next(); std::memcpy(at + i, &x, 8); }
          for (uint32_t h = 0; h < heads && layout.side_bytes; h++) for (uint32_t j = 0; j < dim; j++) at[kvq_head_offset(&layout, h) + layout.codes_bytes + j] = static_cast<uint8_t>(160 + random.next() % 32), at[kvq_head_offset(&layout, h) + layout.codes_bytes + dim + j] = static_cast<uint8_t>(110 + random.next() % 36);
          for (; bytes < kvq_outliers_offset(&layout); bytes += 2) at[bytes] = static_cast<uint8_t>(random.next()), at[bytes + 1] = 0x34;
          if (layout.outliers) {
            offsets.emplace_back();
            bytes = sections(random, heads, dim, 1, at, bytes, offsets.back());
            (side == 0 ? view.key_outliers : view.value_outliers) = offsets.back().data();
          }
          (side == 0 ? view.key : view.value) = at;
          bytes_token += static_cast<double>(bytes) / (64.0 * heads * static_cast<double>(layer_count * pages));
          at += (bytes + KVQ_BLOCK_PADDING + 63) / 64 * 64;
        }
        view.start = 4 + 64 * p;
        view.tokens = 64;
        layers.back().push_back(view);
      }
    }
    scratch = static_cast<float *>(std::aligned_alloc(64, kvq_attention_scratch(dim, queries) + 64));
  }
  ~compressed() {
    munmap(memory, (memory_bytes + (2u << 20)) & ~size_t((2u << 20) - 1));
    kvq_attention_tables_destroy(tables);
    kvq_rope_destroy(rope);
    std::free(scratch);
  }
  compressed(const compressed &) = delete;

  void attend(size_t call, const float *q, uint32_t queries, float *out) const {
    const std::vector<kvq_page_view> &pages = layers[call / key.kv_heads % layers.size()];
    float maximum[16], total[16];
    kvq_attend_pages(tables, static_cast<uint32_t>(call % key.kv_heads), q, queries, 64 * pages.size() + 4, 1 / std::sqrt(static_cast<float>(key.head_dim)), pages.data(), pages.size(), {maximum, total, out}, scratch);
    for (uint32_t g = 0; g < queries; g++) for (uint32_t d = 0; d < key.head_dim; d++) out[g * key.head_dim + d] /= total[g];
  }
};

__attribute__((target("f16c"))) uint16_t half_of(float x) { return static_cast<uint16_t>(_cvtss_sh(x, 0)); }

double median(std::vector<double> x) {
  std::sort(x.begin(), x.end());
  return x[x.size() / 2];
}

template <int dim, int queries>
void run(uint32_t heads, int rounds, double millions, bool paper, const char *only_bits) {
  const size_t pages = 64, calls = std::max<size_t>(heads, static_cast<size_t>(millions * 1e6 / (64.0 * static_cast<double>(pages))) / heads * heads), layers = calls / heads;
  const size_t head_halves = pages * 64 * dim;
  uint16_t *keys = reinterpret_cast<uint16_t *>(reserve(calls * head_halves * 2 + 8192)), *values = reinterpret_cast<uint16_t *>(reserve(calls * head_halves * 2 + 8192));
  for (size_t i = 0; i < calls * head_halves; i++) keys[i] = values[i] = static_cast<uint16_t>(0x3000 + (i * 2654435761u >> 20 & 0x8fff));
  numbers random;
  std::vector<float> q(queries * dim), out(queries * dim), wanted(queries * dim);
  for (float &x : q) x = static_cast<float>(random.normal());
  struct kind { const char *name; uint32_t bits; kvq_precision precision; };
  std::vector<kind> kinds;
  for (const kind &k : {kind{"4 bits", 4, KVQ_FAST}, kind{"3 bits", 3, KVQ_FAST}, kind{"2 bits", 2, KVQ_FAST}, kind{"5 bits", 5, KVQ_FAST}, kind{"4 bits exact", 4, KVQ_EXACT}}) if (std::strchr(only_bits, k.precision == KVQ_EXACT ? 'x' : static_cast<char>('0' + k.bits))) kinds.push_back(k);
  for (const kind &k : kinds) {
    compressed set(k.bits, dim, heads, queries, layers, pages, paper, kvq_isa_best(), k.precision);
    // The check: fp16 pages of call 0 from its staged tiles.
    float *key_tile = static_cast<float *>(std::aligned_alloc(64, 64 * dim * 4)), *value_tile = static_cast<float *>(std::aligned_alloc(64, 64 * dim * 4));
    for (size_t p = 0; p < pages; p++) {
      kvq_stage_page(set.tables, 0, &set.layers[0][p], key_tile, value_tile, set.scratch);
      for (int c = 0; c < dim; c++) for (int t = 0; t < 64; t++) {
        keys[p * 64 * dim + static_cast<size_t>(c * 64 + t)] = half_of(key_tile[c * 64 + t]);
        values[p * 64 * dim + static_cast<size_t>(c / 64 * 4096 + t * 64 + c % 64)] = half_of(value_tile[t * dim + c]);
      }
    }
    std::free(key_tile);
    std::free(value_tile);
    std::vector<float> turned(q), cosine(dim / 2), sine(dim / 2);
    kvq_rope_at(set.rope, static_cast<double>(64 * pages + 4), cosine.data(), sine.data());
    for (int g = 0; g < queries; g++) kvq_rope_apply(set.rope, cosine.data(), sine.data(), 1, turned.data() + g * dim, 1);
    half_attention<dim, queries>(keys, values, turned.data(), static_cast<int>(pages), wanted.data());
    set.attend(0, q.data(), queries, out.data());
    double error = 0, size = 0;
    for (int i = 0; i < queries * dim; i++) error += std::pow(out[i] - wanted[i], 2), size += std::pow(wanted[i], 2);
    if (!(error <= 1e-5 * size)) {
      std::printf("not ok: head dim %d, G %d, %s: relative error %.2e against fp16\n", dim, queries, k.name, std::sqrt(error / size));
      std::exit(1);
    }
    std::vector<double> base, ours, ratio;
    size_t base_call = calls / 2, our_call = 0;
    for (int r = 0; r <= rounds; r++) {
      const int batch = 8;
      double t = seconds();
      for (int i = 0; i < batch; i++, base_call = (base_call + 1) % calls) half_attention<dim, queries>(keys + base_call * head_halves, values + base_call * head_halves, q.data(), static_cast<int>(pages), wanted.data());
      const double b = (seconds() - t) / (batch * 64.0 * static_cast<double>(pages)) * 1e9;
      t = seconds();
      for (int i = 0; i < batch; i++, our_call = (our_call + 1) % calls) set.attend(our_call, q.data(), queries, out.data());
      const double o = (seconds() - t) / (batch * 64.0 * static_cast<double>(pages)) * 1e9;
      if (r > 0) base.push_back(b), ours.push_back(o), ratio.push_back(b / o);
    }
    std::printf("%s D=%d G=%d %-13s fp16 %5.2f ns (%4.1f GB/s)  %5.2f ns (%5.1f B, %4.1f GB/s)  ratio %.2f  best %.2f\n", paper ? "paper" : "kvq  ", dim, queries, k.name, median(base), 4.0 * dim / median(base), median(ours),
                set.bytes_token, set.bytes_token / median(ours), median(ratio), *std::min_element(base.begin(), base.end()) / *std::min_element(ours.begin(), ours.end()));
    std::fflush(stdout);
  }
  munmap(keys, calls * head_halves * 2);
  munmap(values, calls * head_halves * 2);
}

}  // namespace

int main(int argc, char **argv) {
  if (kvq_isa_best() != KVQ_ISA_AVX512) {
    std::printf("skipped: the fp16 baseline is written for AVX-512\n");
    return 0;
  }
  const int rounds = argc > 1 ? std::atoi(argv[1]) : 40;
  const double millions = argc > 2 ? std::atof(argv[2]) : 0.75;
  const char *shapes = argc > 3 ? argv[3] : "1346", *families = argc > 4 ? argv[4] : "kp", *bits = argc > 5 ? argv[5] : "432x";
  for (const char *f = families; *f; f++) {
    const bool paper = *f == 'p';
    if (std::strchr(shapes, '1')) run<128, 1>(32, rounds, millions, paper, bits);
    if (std::strchr(shapes, '3')) run<64, 3>(3, rounds, 2 * millions, paper, bits);
    if (std::strchr(shapes, '4')) run<128, 4>(8, rounds, millions, paper, bits);
    if (std::strchr(shapes, '6')) run<128, 6>(2, rounds, millions, paper, bits);
  }
  return 0;
}
