// Launches kernels of native/cuda by name under emulation, and the memory they work on.
#pragma once

#include <dlfcn.h>

#include "cuda/append/append.h"
#include "cuda/attend/attend.h"
#include "cuda/encode/encode.h"
#include "cuda/test/problem.h"
#include "emulation.h"

namespace emulation {

// Plans for a small device, so that small problems have several splits and windows. Shared memory of sm_90, or of sm_120 (sm_86 and sm_89 have the same).
inline kvq_cuda_device small_device(uint32_t multiprocessors, uint64_t cache_bytes, bool little_shared = false) {
  return {multiprocessors, little_shared ? 102400u : 233472u, little_shared ? 101376u : 232448u, cache_bytes};
}

template <class Parameters>
void run_kernel(const kvq_cuda_launch &launch, void *kernel, uint64_t seed) {
  Parameters parameters;
  if (launch.parameter_bytes != sizeof(parameters)) misuse("parameters of another kernel");
  memcpy(static_cast<void *>(&parameters), launch.parameters, sizeof(parameters));
  run_grid(launch.kernel, {launch.grid[0], launch.grid[1], launch.grid[2]}, launch.threads, launch.shared_bytes, seed, [=] { reinterpret_cast<void (*)(Parameters)>(kernel)(parameters); });
}

// The program must be linked with -rdynamic.
inline void run(const kvq_cuda_launch &launch, uint64_t seed) {
  void *kernel = dlsym(RTLD_DEFAULT, launch.kernel);
  if (kernel == nullptr) {
    fprintf(stderr, "emulation: no kernel %s\n", launch.kernel);
    _exit(misuse_exit_code);
  }
  if (strncmp(launch.kernel, "kvq_cuda_encode", 15) == 0) run_kernel<kvq_cuda_encode>(launch, kernel, seed);
  else if (strcmp(launch.kernel, "kvq_append") == 0) run_kernel<kvq_cuda_append>(launch, kernel, seed);
  else run_kernel<kvq_cuda_attention>(launch, kernel, seed);
}

// Exactly the bytes asked for.
class host_memory : public kvq_test::kernel_memory {
 public:
  ~host_memory() override {
    for (void *piece : pieces_) free(piece);
  }
  void *allocate(size_t bytes) override {
    void *piece = nullptr;
    if (posix_memalign(&piece, 256, bytes == 0 ? 1 : bytes) != 0) abort();
    memset(piece, 0xff, bytes);
    pieces_.push_back(piece);
    return piece;
  }
  // Nothing may come from an empty vector, whose address is null.
  void write(void *to, const void *from, size_t bytes) override {
    if (bytes > 0) memcpy(to, from, bytes);
  }
  void read(void *to, const void *from, size_t bytes) override {
    if (bytes > 0) memcpy(to, from, bytes);
  }

 private:
  std::vector<void *> pieces_;
};

}  // namespace emulation
