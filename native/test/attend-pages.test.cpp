// Decode attention over pages against attend-pages-reference.h, for every ISA and precision: scores of each token, log-sum and output of whole calls, and staged tiles.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "kvquant/attention.h"
#include "ops/attend-pages/attend-pages.h"

#include "attend-pages-reference.h"

namespace {

using namespace reference;

int failures = 0;
void report(bool good, const std::string &sentence, const std::string &details) {
  if (!good) failures++;
  std::printf(good ? "ok %s (%s)\n" : "not ok %s: %s\n", sentence.c_str(), details.c_str());
}

std::string number(double x) {
  char text[32];
  std::snprintf(text, sizeof text, "%.2g", x);
  return text;
}

struct bounds {
  double score, output; /* output: times the error of an fp16 cache */
};

void test_calls(const layer &l, const kvq_attention_tables *tables, const answers &truth, const bounds &limit, const std::string &name) {
  const uint32_t d = l.s.head_dim;
  double score_error = 0, sum_error = 0, output_ratio = 0, worst = 0;
  uint32_t worst_group = 0;
  for (uint32_t group : {1u, 2u, 3u, 4u, 5u, 6u, 7u, 8u, 12u}) {
    const size_t bytes = kvq_attention_scratch(d, group);
    float *scratch = aligned(bytes / 4 + 16);
    std::memset(scratch, 0xff, bytes);
    // scores of the first chunk of 8 pages, then of the rest
    kvq::workspace work = kvq::begin_pages(tables, layer::head, l.q.data(), group, l.position, l.factor_scale, l.pages[0].start, scratch);
    for (size_t first = 0; first < layer::page_count; first += 8) {
      const size_t count = std::min<size_t>(8, layer::page_count - first);
      tables->kernels->scores(tables, layer::head, work, {l.pages.data() + first, count, layer::page_count - first - count});
      for (uint32_t g = 0; g < group; g++) {
        for (size_t t = 0; t < count * 64; t++) {
          const double wanted = truth.scores[g][first * 64 + t];
          if (!std::isinf(wanted)) score_error = std::fmax(score_error, std::fabs(wanted - work.scores[g * kvq::chunk_tokens + t] * std::log(2.0)));
          if (std::isnan(work.scores[g * kvq::chunk_tokens + t]) && !std::isinf(wanted)) score_error = INFINITY;
        }
      }
    }
    if (score_error > worst) worst = score_error, worst_group = group;
    std::memset(scratch, 0xff, bytes);
    std::vector<float> maximum(group, NAN), total(group, NAN), sum(group * d, NAN);
    kvq_attend_pages(tables, layer::head, l.q.data(), group, l.position, l.factor_scale, l.pages.data(), l.pages.size(), {maximum.data(), total.data(), sum.data()}, scratch);
    double error = 0, half_error = 0;
    for (uint32_t g = 0; g < group; g++) {
      const std::vector<double> &wanted = truth.outputs[g], &halves = truth.halves[g];
      sum_error = std::fmax(sum_error, std::fabs(truth.log_sums[g] - (maximum[g] + std::log2(static_cast<double>(total[g])))));
      for (uint32_t c = 0; c < d; c++) {
        const double difference = sum[g * d + c] / static_cast<double>(total[g]) - wanted[c];
        error += std::isnan(difference) ? INFINITY : difference * difference;
        half_error += (halves[c] - wanted[c]) * (halves[c] - wanted[c]);
      }
    }
    output_ratio = std::fmax(output_ratio, std::sqrt(error / half_error));
    // the same inputs give the same bits
    std::vector<float> again(group * d, NAN);
    std::memset(scratch, 0x7f, bytes);
    kvq_attend_pages(tables, layer::head, l.q.data(), group, l.position, l.factor_scale, l.pages.data(), l.pages.size(), {maximum.data(), total.data(), again.data()}, scratch);
    if (std::memcmp(again.data(), sum.data(), sum.size() * 4) != 0) report(false, name, "two runs differ");
    std::free(scratch);
  }
  report(score_error <= limit.score && sum_error <= 2 * limit.score && output_ratio <= limit.output, name,
         "scores " + number(score_error) + " at G = " + std::to_string(worst_group) + ", log-sum " + number(sum_error) + ", output " + number(output_ratio) + " of an fp16 cache's error");
}

void test_stage(const layer &l, const kvq_attention_tables *tables, const std::string &name) {
  const uint32_t d = l.s.head_dim;
  float *scratch = aligned(kvq_attention_scratch(d, 1) / 4 + 16), *keys = aligned(64 * d), *values = aligned(64 * d);
  double key_error = 0, value_error = 0;
  bool zeros = true;
  for (uint32_t i : {0u, 3u, 6u, layer::page_count - 1}) {
    std::memset(keys, 0xff, 256 * d);
    std::memset(values, 0xff, 256 * d);
    std::memset(scratch, 0xff, kvq_attention_scratch(d, 1));
    kvq_stage_page(tables, layer::head, &l.pages[i], keys, values, scratch);
    for (uint32_t t = 0; t < 64; t++) {
      const std::vector<double> k = l.rotated(l.keys[i].data() + t * d, l.pages[i].start + t, 1);
      for (uint32_t c = 0; c < d; c++) {
        if (t >= l.pages[i].tokens) {
          zeros = zeros && keys[c * 64 + t] == 0 && values[t * d + c] == 0;
          continue;
        }
        const uint32_t half = l.s.rotary_dim / 2, other = c < half ? c + half : c < 2 * half ? c - half : c;
        const double size = std::fabs(l.keys[i][t * d + c]) + std::fabs(l.keys[i][t * d + other]) + l.scale[layer::head * d + c] + std::fabs(l.zero[layer::head * d + c]);
        const double ke = std::fabs(keys[c * 64 + t] - k[c]) / size, ve = std::fabs(values[t * d + c] - l.values[i][t * d + c]);
        key_error = std::isnan(ke) ? INFINITY : std::fmax(key_error, ke);
        value_error = std::isnan(ve) ? INFINITY : std::fmax(value_error, ve);
      }
    }
  }
  report(zeros && key_error < 1e-6 && value_error < 2e-5, name, "keys " + number(key_error) + ", values " + number(value_error) + (zeros ? "" : ", missing tokens are not zero"));
  std::free(scratch);
  std::free(keys);
  std::free(values);
}

void test_layer(const setting &s, const std::string &what) {
  const layer l(s);
  const answers truth(l);
  for (int isa = 0; isa < KVQ_ISA_COUNT; isa++) {
    if (!kvq_isa_available(static_cast<kvq_isa>(isa))) continue;
    for (kvq_precision precision : {KVQ_FAST, KVQ_EXACT}) {
      if (isa == KVQ_ISA_SCALAR && precision == KVQ_FAST) continue;
      kvq_attention_tables *tables = nullptr;
      const std::string name = std::string(kvq_isa_name(static_cast<kvq_isa>(isa))) + (precision == KVQ_FAST ? " fast " : " exact ") + what + ", " + std::to_string(s.bits) + " bits, head dim " +
                               std::to_string(s.head_dim);
      if (kvq_attention_tables_create(static_cast<kvq_isa>(isa), precision, &l.key, &l.value, l.rope, &tables) != KVQ_OK) {
        report(false, name, "no tables");
        continue;
      }
      test_calls(l, tables, truth, precision == KVQ_FAST ? bounds{2e-3, 2} : bounds{1e-4, 1}, name + ": scores, sums and output");
      test_stage(l, tables, name + ": staged tiles");
      kvq_attention_tables_destroy(tables);
    }
  }
}

}  // namespace

int main() {
  const bool quick = std::getenv("KVQ_TEST_QUICK") != nullptr;
  for (uint32_t bits = 2; bits <= 5; bits++) {
    for (uint32_t head_dim : {16u, 48u, 64u, 80u, 96u, 128u, 256u}) {
      if (quick && head_dim != 64 && head_dim != 80 && head_dim != 128) continue;
      test_layer({true, false, true, false, bits, head_dim, head_dim, false, 4, 1}, "page scales, rotated values");
      if (bits == 3 && head_dim > 96 && !quick) continue;
      test_layer({false, true, false, true, bits, head_dim, head_dim, false, 1, 1}, "layer scales, token values, outliers");
    }
  }
  test_layer({true, false, true, false, 4, 128, 128, true, 10000001, 1}, "extreme page scales and zero points at ten million");
  test_layer({true, false, true, false, 3, 64, 64, true, 10000001, 1}, "extreme page scales and zero points at ten million");
  test_layer({false, true, false, true, 4, 64, 64, true, 9999937, 1}, "full outlier slots at ten million");
  test_layer({false, true, false, true, 3, 128, 128, true, 9999937, 1}, "full outlier slots at ten million");
  test_layer({true, false, true, false, 4, 80, 32, false, 1, 1.19}, "partial rotary and attention factor");
  test_layer({false, false, false, false, 2, 96, 48, false, 1, 1.19}, "partial rotary, no outliers");
  std::printf(failures == 0 ? "all passed\n" : "%d failed\n", failures);
  return failures != 0;
}
