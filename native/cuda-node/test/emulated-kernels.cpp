// The kernels of native/cuda under emulation, as the library that the fake driver loads in place of a fatbin: what tests of @kvquant/cuda run where there is no GPU.
// Built with the kernel sources and -DKVQ_CUDA_EMULATION (packages/cuda/src/fixtures/emulated-kernels.ts).
#include "launch.h"

extern "C" __attribute__((visibility("default"))) int kvq_emulated_launch(const char *name, void *kernel, const void *parameters, size_t bytes, const unsigned grid[3], unsigned threads, unsigned shared_bytes) {
  kvq_cuda_launch launch = {};
  snprintf(launch.kernel, sizeof(launch.kernel), "%s", name);
  for (int axis = 0; axis < 3; axis++) launch.grid[axis] = grid[axis];
  launch.threads = threads;
  launch.shared_bytes = shared_bytes;
  launch.parameter_bytes = static_cast<uint32_t>(bytes);
  if (bytes > sizeof(launch.parameters)) return 1; // CUDA_ERROR_INVALID_VALUE
  memcpy(launch.parameters, parameters, bytes);
  if (strncmp(name, "kvq_cuda_encode", 15) == 0) emulation::run_kernel<kvq_cuda_encode>(launch, kernel, 0);
  else if (strcmp(name, "kvq_append") == 0) emulation::run_kernel<kvq_cuda_append>(launch, kernel, 0);
  else emulation::run_kernel<kvq_cuda_attention>(launch, kernel, 0);
  return 0;
}
