// What the bench needs of the device: memory, time, and cuBLAS where it is installed.
#pragma once

#include <cuda_runtime.h>
#include <dlfcn.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "cuda/common/launch.h"
#include "cuda/test/problem.h"

#define CHECK(call)                                                                                                     \
  do {                                                                                                                  \
    const cudaError_t status_ = (call);                                                                                 \
    if (status_ != cudaSuccess) printf("%s:%d: %s: %s\n", __FILE__, __LINE__, #call, cudaGetErrorString(status_)), exit(3); \
  } while (0)

namespace kvq_bench {

inline kvq_cuda_device this_device() {
  static const kvq_cuda_device device = [] {
    cudaDeviceProp p;
    CHECK(cudaGetDeviceProperties(&p, 0));
    return kvq_cuda_device{static_cast<uint32_t>(p.multiProcessorCount), static_cast<uint32_t>(p.sharedMemPerMultiprocessor), static_cast<uint32_t>(p.sharedMemPerBlockOptin), static_cast<uint64_t>(p.l2CacheSize)};
  }();
  return device;
}

// Pieces of large allocations, freed together.
class device_memory : public kvq_test::kernel_memory {
 public:
  ~device_memory() override {
    for (void *slab : slabs_) CHECK(cudaFree(slab));
  }
  void *allocate(size_t bytes) override {
    bytes = (bytes + 255) / 256 * 256;
    if (used_ + bytes > size_) {
      size_ = std::max<size_t>(bytes, 256u << 20);
      used_ = 0;
      slabs_.push_back(nullptr);
      CHECK(cudaMalloc(&slabs_.back(), size_));
    }
    void *piece = static_cast<uint8_t *>(slabs_.back()) + used_;
    used_ += bytes;
    return piece;
  }
  void write(void *to, const void *from, size_t bytes) override { CHECK(cudaMemcpy(to, from, bytes, cudaMemcpyHostToDevice)); }
  void read(void *to, const void *from, size_t bytes) override { CHECK(cudaMemcpy(to, from, bytes, cudaMemcpyDeviceToHost)); }

 private:
  std::vector<void *> slabs_;
  size_t size_ = 0, used_ = 0;
};

// Median time of a call over replays of a graph of many calls, which go round `copies` copies of `bytes` bytes.
template <class Call>
double median_us(size_t copies, size_t bytes, Call call) {
  const size_t calls = (std::clamp<size_t>(2000000000 / bytes, 8, 150) + copies - 1) / copies * copies;
  cudaStream_t stream;
  CHECK(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
  cudaGraph_t graph;
  cudaGraphExec_t run;
  CHECK(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
  for (size_t i = 0; i < calls; i++) call(i % copies, stream);
  CHECK(cudaStreamEndCapture(stream, &graph));
  CHECK(cudaGraphInstantiate(&run, graph, 0));
  cudaEvent_t begin, end;
  CHECK(cudaEventCreate(&begin));
  CHECK(cudaEventCreate(&end));
  std::vector<float> times;
  for (int replay = 0; replay < 6; replay++) {
    CHECK(cudaEventRecord(begin, stream));
    CHECK(cudaGraphLaunch(run, stream));
    CHECK(cudaEventRecord(end, stream));
    CHECK(cudaEventSynchronize(end));
    float ms = 0;
    CHECK(cudaEventElapsedTime(&ms, begin, end));
    if (replay > 0) times.push_back(ms * 1000 / calls);
  }
  std::sort(times.begin(), times.end());
  CHECK(cudaEventDestroy(begin));
  CHECK(cudaEventDestroy(end));
  CHECK(cudaGraphExecDestroy(run));
  CHECK(cudaGraphDestroy(graph));
  CHECK(cudaStreamDestroy(stream));
  return times[times.size() / 2];
}

// cuBLAS through dlopen: libcublas.so.13 or .12, or the file that KVQUANT_CUBLAS names.
class cublas {
 public:
  cublas() {
    const char *named = getenv("KVQUANT_CUBLAS");
    for (const char *file : {named, "libcublas.so.13", "libcublas.so.12", "libcublas.so"}) {
      if (file != nullptr && library_ == nullptr) library_ = dlopen(file, RTLD_NOW);
    }
    if (library_ == nullptr) return;
    auto create = reinterpret_cast<int (*)(void **)>(dlsym(library_, "cublasCreate_v2"));
    set_stream_ = reinterpret_cast<decltype(set_stream_)>(dlsym(library_, "cublasSetStream_v2"));
    gemv_ = reinterpret_cast<decltype(gemv_)>(dlsym(library_, "cublasHSHgemvStridedBatched"));
    gemm_ = reinterpret_cast<decltype(gemm_)>(dlsym(library_, "cublasGemmStridedBatchedEx"));
    set_workspace_ = reinterpret_cast<decltype(set_workspace_)>(dlsym(library_, "cublasSetWorkspace_v2"));
    if (create == nullptr || set_stream_ == nullptr || gemv_ == nullptr || gemm_ == nullptr || set_workspace_ == nullptr || create(&handle_) != 0) library_ = nullptr;
  }
  bool present() const { return library_ != nullptr; }

  // Times of q K' and p V for `heads` heads [tokens][head_dim] in fp16 with sums in fp32: the faster of cuBLAS's matrix-vector and matrix-matrix calls.
  std::pair<double, double> matvecs(uint32_t heads, uint32_t head_dim, uint32_t tokens) const {
    device_memory memory;
    const size_t one = size_t{heads} * tokens * head_dim, copies = (400u << 20) / (2 * one) + 1;
    std::vector<uint16_t> numbers(one);
    uint32_t state = 1;
    for (uint16_t &x : numbers) state = state * 1664525 + 1013904223, x = static_cast<uint16_t>(0x3000 | (state >> 16 & 0x8bff)); // 0.125 .. 0.25 and their negatives
    std::vector<uint16_t *> matrices;
    for (size_t i = 0; i < copies; i++) matrices.push_back(memory.place(numbers));
    uint16_t *query = memory.place(std::vector<uint16_t>(numbers.begin(), numbers.begin() + heads * head_dim));
    uint16_t *scores = memory.place(std::vector<uint16_t>(numbers.begin(), numbers.begin() + heads * tokens)), *out = static_cast<uint16_t *>(memory.allocate(size_t{heads} * (tokens + head_dim) * 2));
    set_workspace_(handle_, memory.allocate(32u << 20), 32u << 20);
    const float alpha = 1, beta = 0;
    const int d = static_cast<int>(head_dim), t = static_cast<int>(tokens), h = static_cast<int>(heads);
    constexpr int no = 0, transposed = 1, half = 2, compute_float = 68, any_algorithm = -1;
    const auto failed = [](int status) { if (status != 0) printf("cuBLAS: status %d\n", status), exit(3); };
    // Column-major [head_dim, tokens]: keys transposed times query, values times weights.
    const auto time = [&](auto call) { return median_us(copies, 2 * one, [&](size_t copy, cudaStream_t stream) { set_stream_(handle_, stream); failed(call(matrices[copy])); }); };
    const int64_t stride = int64_t{d} * t;
    const double keys_gemv = time([&](const uint16_t *m) { return gemv_(handle_, transposed, d, t, &alpha, m, d, stride, query, 1, d, &beta, out, 1, t, h); });
    const double values_gemv = time([&](const uint16_t *m) { return gemv_(handle_, no, d, t, &alpha, m, d, stride, scores, 1, t, &beta, out, 1, d, h); });
    const double keys_gemm = time([&](const uint16_t *m) { return gemm_(handle_, transposed, no, t, 1, d, &alpha, m, half, d, stride, query, half, d, d, &beta, out, half, t, t, h, compute_float, any_algorithm); });
    const double values_gemm = time([&](const uint16_t *m) { return gemm_(handle_, no, no, d, 1, t, &alpha, m, half, d, stride, scores, half, t, t, &beta, out, half, d, d, h, compute_float, any_algorithm); });
    printf("(gemv %.1f + %.1f, gemm %.1f + %.1f) ", keys_gemv, values_gemv, keys_gemm, values_gemm);
    return {std::min(keys_gemv, keys_gemm), std::min(values_gemv, values_gemm)};
  }

 private:
  void *library_ = nullptr, *handle_ = nullptr;
  int (*set_stream_)(void *, cudaStream_t) = nullptr;
  int (*set_workspace_)(void *, void *, size_t) = nullptr;
  int (*gemv_)(void *, int, int, int, const float *, const void *, int, long long, const void *, int, long long, const float *, void *, int, long long, int) = nullptr;
  int (*gemm_)(void *, int, int, int, int, int, const void *, const void *, int, int, long long, const void *, int, int, long long, const void *, void *, int, int, long long, int, int, int) = nullptr;
};

}  // namespace kvq_bench
