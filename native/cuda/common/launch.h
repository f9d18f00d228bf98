// What a host needs to launch a kernel: shared by the addon, the emulator and the bench. Plain C++, no CUDA header.
#pragma once

#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <type_traits>

// What plans read off the device.
struct kvq_cuda_device {
  uint32_t multiprocessors;    // CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT
  uint32_t shared_bytes;       // of a multiprocessor, CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_MULTIPROCESSOR
  uint32_t block_shared_bytes; // most a block may ask for, CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN
  uint64_t cache_bytes;        // CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE
};

// A kernel and how to launch it. Every kernel takes one struct by value: its bytes are `parameters`.
struct kvq_cuda_launch {
  char kernel[48];       // name in the module, extern "C"
  uint32_t grid[3];
  uint32_t threads;      // of a block, one-dimensional
  uint32_t shared_bytes; // dynamic; above 48 KiB the function needs CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES first
  // The kernel waits for the one before it by itself (griddepcontrol.wait): it may be launched with CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION, and need not be.
  uint32_t programmatic;
  uint32_t parameter_bytes;
  alignas(16) uint8_t parameters[448];
};

template <class Parameters>
inline void kvq_cuda_set_parameters(kvq_cuda_launch &launch, const Parameters &parameters) {
  static_assert(std::is_trivially_copyable_v<Parameters> && sizeof(Parameters) <= sizeof(launch.parameters), "one plain struct");
  launch.parameter_bytes = sizeof(Parameters);
  memcpy(launch.parameters, &parameters, sizeof(Parameters));
}
