// The CUDA driver, opened at run time, and how its failures are told.
#pragma once
#include <memory>
#include <string>

#include "cuda-node/driver-types.h"
#include "runtime/runtime-error.h"

namespace kvquant::cuda {

// A function of the driver and the name it is exported under.
template <class Signature>
struct DriverFunction {
  const char *name;
  Signature *pointer = nullptr;
};

// Table of the functions used, by their versioned names.
struct Driver {
  DriverFunction<Result(unsigned)> init{"cuInit"};
  DriverFunction<Result(int *)> driver_version{"cuDriverGetVersion"};
  DriverFunction<Result(Result, const char **)> error_name{"cuGetErrorName"};
  DriverFunction<Result(Result, const char **)> error_string{"cuGetErrorString"};
  DriverFunction<Result(int *)> device_count{"cuDeviceGetCount"};
  DriverFunction<Result(DeviceNumber *, int)> device_get{"cuDeviceGet"};
  DriverFunction<Result(char *, int, DeviceNumber)> device_name{"cuDeviceGetName"};
  DriverFunction<Result(size_t *, DeviceNumber)> device_memory{"cuDeviceTotalMem_v2"};
  DriverFunction<Result(int *, int, DeviceNumber)> device_attribute{"cuDeviceGetAttribute"};
  DriverFunction<Result(Context *, DeviceNumber)> context_retain{"cuDevicePrimaryCtxRetain"};
  DriverFunction<Result(DeviceNumber)> context_release{"cuDevicePrimaryCtxRelease_v2"};
  DriverFunction<Result(Context)> context_push{"cuCtxPushCurrent_v2"};
  DriverFunction<Result(Context *)> context_pop{"cuCtxPopCurrent_v2"};
  DriverFunction<Result()> context_synchronize{"cuCtxSynchronize"};
  DriverFunction<Result(size_t *, size_t *)> memory_info{"cuMemGetInfo_v2"};
  DriverFunction<Result(Address *, size_t)> memory_allocate{"cuMemAlloc_v2"};
  DriverFunction<Result(Address)> memory_free{"cuMemFree_v2"};
  DriverFunction<Result(Address, const void *, size_t, StreamHandle)> copy_to_device{"cuMemcpyHtoDAsync_v2"};
  DriverFunction<Result(void *, Address, size_t, StreamHandle)> copy_to_host{"cuMemcpyDtoHAsync_v2"};
  DriverFunction<Result(Address, Address, size_t, StreamHandle)> copy_on_device{"cuMemcpyDtoDAsync_v2"};
  DriverFunction<Result(Address, unsigned char, size_t, StreamHandle)> fill{"cuMemsetD8Async"};
  DriverFunction<Result(StreamHandle *, unsigned)> stream_create{"cuStreamCreate"};
  DriverFunction<Result(StreamHandle)> stream_destroy{"cuStreamDestroy_v2"};
  DriverFunction<Result(StreamHandle)> stream_synchronize{"cuStreamSynchronize"};
  DriverFunction<Result(EventHandle *, unsigned)> event_create{"cuEventCreate"};
  DriverFunction<Result(EventHandle)> event_destroy{"cuEventDestroy_v2"};
  DriverFunction<Result(EventHandle, StreamHandle)> event_record{"cuEventRecord"};
  DriverFunction<Result(float *, EventHandle, EventHandle)> event_elapsed{"cuEventElapsedTime"};
  DriverFunction<Result(ModuleHandle *, const void *)> module_load{"cuModuleLoadData"};
  DriverFunction<Result(ModuleHandle)> module_unload{"cuModuleUnload"};
  DriverFunction<Result(FunctionHandle *, ModuleHandle, const char *)> module_function{"cuModuleGetFunction"};
  DriverFunction<Result(int *, int, FunctionHandle)> function_attribute{"cuFuncGetAttribute"};
  DriverFunction<Result(FunctionHandle, int, int)> function_set{"cuFuncSetAttribute"};
  DriverFunction<Result(FunctionHandle, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, StreamHandle, void **, void **)> launch{"cuLaunchKernel"};

  // Name and meaning of a result, such as "CUDA_ERROR_OUT_OF_MEMORY (2): out of memory".
  std::string describe(Result result) const;

  // Calls `function`; on failure throws a RuntimeError with the call, the code's name and `shape`, what the call was for.
  template <class Signature, class... Arguments>
  void call(const DriverFunction<Signature> &function, const std::string &shape, Arguments... arguments) const {
    const Result result = function.pointer(arguments...);
    if (result != kSuccess) fail(function.name, shape, result);
  }

  [[noreturn]] void fail(const char *call, const std::string &shape, Result result) const;
};

// The driver at `path` (a file, or a name for the system's search), opened and initialised once; never closed.
// Throws KVQ_UNAVAILABLE with the reason: no such library, a function it lacks, no GPU, or a failing cuInit.
std::shared_ptr<const Driver> open_driver(const std::string &path);

}  // namespace kvquant::cuda
