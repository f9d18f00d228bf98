// Kernels with a bug each: what run.mjs expects a build to notice. `bugs NAME SEED` exits with 0 for a right result, 10 for a wrong one, 86 for what the emulator refuses; sanitizers have their own codes.
#include <cstdio>

#include "emulation.h"

namespace {

constexpr uint32_t threads = 64;
uint32_t *input, *output;

void reverse_without_barrier() {
  KVQ_SHARED(uint32_t[threads], row);
  row[threadIdx.x] = input[threadIdx.x];
  output[threadIdx.x] = row[threads - 1 - threadIdx.x];
}
void reuse_without_barrier() {
  KVQ_SHARED(uint32_t[threads], row);
  uint32_t sum = 0;
  for (uint32_t round = 0; round < 3; round++) {
    row[threadIdx.x] = input[threadIdx.x] + round;
    __syncthreads();
    sum += row[threads - 1 - threadIdx.x]; // the next round overwrites what others still read
  }
  output[threadIdx.x] = sum;
}
void exchange_without_syncwarp() {
  KVQ_SHARED(uint32_t[threads], row);
  row[threadIdx.x] = input[threadIdx.x];
  output[threadIdx.x] = row[threadIdx.x ^ 1];
}
void divergent_barrier() {
  if (threadIdx.x < 32) __syncthreads();
  else __syncthreads();
  output[threadIdx.x] = input[threads - 1 - threadIdx.x];
}
void barrier_after_exit() {
  if (threadIdx.x == 5) return;
  __syncthreads();
  output[threadIdx.x] = input[threads - 1 - threadIdx.x];
}
void shuffle_outside_mask() {
  if (threadIdx.x % 32 < 16) output[threadIdx.x] = __shfl_sync(0xffffu, input[threadIdx.x], 20);
}
void shuffle_in_a_branch() {
  if (threadIdx.x % 2 == 0) output[threadIdx.x] = __shfl_xor_sync(~0u, input[threadIdx.x], 2);
}
void shared_out_of_bounds() {
  KVQ_DYNAMIC_SHARED(memory);
  reinterpret_cast<uint32_t *>(memory)[threadIdx.x + 1] = input[threadIdx.x];
  __syncthreads();
  output[threadIdx.x] = input[threads - 1 - threadIdx.x];
}
void global_out_of_bounds() { output[threadIdx.x] = input[threads - threadIdx.x]; }
void misaligned_vector() {
  const uint4 x = *reinterpret_cast<const uint4 *>(input + 1 + threadIdx.x / 32);
  output[threadIdx.x] = input[threads - 1 - threadIdx.x] + 0 * x.x;
}
void uninitialised_shared() {
  KVQ_SHARED(uint32_t[threads], row);
  if (threadIdx.x != 7) row[threadIdx.x] = input[threadIdx.x];
  __syncthreads();
  output[threadIdx.x] = row[threads - 1 - threadIdx.x];
}
void lost_update() {
  KVQ_SHARED(uint32_t, sum);
  if (threadIdx.x == 0) sum = 0;
  __syncthreads();
  sum += 1;
  __syncthreads();
  output[threadIdx.x] = input[threads - 1 - threadIdx.x] + sum - threads;
}
void copy_not_awaited() {
  KVQ_SHARED(uint4[threads / 4], row);
  if (threadIdx.x < threads / 4) {
    kvq_cuda::start_copy(&row[threadIdx.x], input + 4 * threadIdx.x, true);
    kvq_cuda::commit_copies();
    kvq_cuda::await_copies<1>(); // 0 would wait for it
  }
  __syncthreads();
  output[threadIdx.x] = reinterpret_cast<uint32_t *>(&row)[threads - 1 - threadIdx.x];
  kvq_cuda::await_copies<0>();
}
// No bug: what the detectors must let pass.
void sound() {
  KVQ_SHARED(uint32_t[threads], row);
  row[threadIdx.x] = input[threadIdx.x];
  __syncwarp();
  const uint32_t neighbour = row[threadIdx.x ^ 1];
  __syncthreads();
  row[threadIdx.x] = neighbour;
  __syncthreads();
  output[threadIdx.x] = row[(threads - 1 - threadIdx.x) ^ 1];
}

struct planted {
  const char *name;
  void (*kernel)();
};
const planted all[] = {{"reverse-without-barrier", reverse_without_barrier},
                       {"reuse-without-barrier", reuse_without_barrier},
                       {"exchange-without-syncwarp", exchange_without_syncwarp},
                       {"divergent-barrier", divergent_barrier},
                       {"barrier-after-exit", barrier_after_exit},
                       {"shuffle-outside-mask", shuffle_outside_mask},
                       {"shuffle-in-a-branch", shuffle_in_a_branch},
                       {"shared-out-of-bounds", shared_out_of_bounds},
                       {"global-out-of-bounds", global_out_of_bounds},
                       {"misaligned-vector", misaligned_vector},
                       {"uninitialised-shared", uninitialised_shared},
                       {"lost-update", lost_update},
                       {"copy-not-awaited", copy_not_awaited},
                       {"sound", sound}};

uint32_t expected(const char *name, uint32_t thread) {
  if (strcmp(name, "exchange-without-syncwarp") == 0) return input[thread ^ 1];
  if (strcmp(name, "reuse-without-barrier") == 0) return 3 * input[threads - 1 - thread] + 3;
  return input[threads - 1 - thread];
}

}  // namespace

int main(int count, char **arguments) {
  if (count < 3) return 2;
  input = static_cast<uint32_t *>(aligned_alloc(64, threads * 4));
  output = static_cast<uint32_t *>(aligned_alloc(64, threads * 4));
  for (uint32_t i = 0; i < threads; i++) input[i] = i * 2654435761u + 1, output[i] = 0;
  for (const planted &bug : all) {
    if (strcmp(bug.name, arguments[1]) != 0) continue;
    emulation::run_grid(bug.name, {1, 1, 1}, threads, threads * 4, strtoull(arguments[2], nullptr, 0), bug.kernel);
    for (uint32_t i = 0; i < threads; i++) if (output[i] != expected(bug.name, i)) return 10;
    return 0;
  }
  return 2;
}
