// The few types and constants of the CUDA driver API that the addon needs, declared from its public documentation: no CUDA header is needed to build, and none is included.
#pragma once
#include <cstddef>
#include <cstdint>

namespace kvquant::cuda {

using Result = int;         // CUresult
using DeviceNumber = int;   // CUdevice
using Address = uint64_t;   // CUdeviceptr
using Context = struct ContextHandle *;
using ModuleHandle = struct ModuleTag *;
using FunctionHandle = struct FunctionTag *;
using StreamHandle = struct StreamTag *;
using EventHandle = struct EventTag *;

// Results told apart.
constexpr Result kSuccess = 0;
constexpr Result kInvalidValue = 1;
constexpr Result kOutOfMemory = 2;
constexpr Result kInvalidImage = 200;
constexpr Result kNoBinaryForGpu = 209;
constexpr Result kInvalidPtx = 218;
constexpr Result kUnsupportedPtxVersion = 222;
constexpr Result kNotFound = 500;
constexpr Result kLaunchOutOfResources = 701;
constexpr Result kNotSupported = 801;

// Attributes of a device.
constexpr int kWarpSize = 10;
constexpr int kClockRate = 13;  // kHz
constexpr int kMultiprocessors = 16;
constexpr int kMemoryClockRate = 36;  // kHz
constexpr int kMemoryBusWidth = 37;   // bits
constexpr int kL2CacheBytes = 38;
constexpr int kComputeCapabilityMajor = 75;
constexpr int kComputeCapabilityMinor = 76;
constexpr int kSharedBytesPerMultiprocessor = 81;
constexpr int kSharedBytesPerBlock = 97;  // with opt-in

// Attributes of a function.
constexpr int kFunctionSharedBytes = 1;
constexpr int kFunctionLocalBytes = 3;
constexpr int kFunctionRegisters = 4;
constexpr int kFunctionMaxDynamicShared = 8;

constexpr unsigned kStreamNonBlocking = 1;

// Markers of cuLaunchKernel's `extra`: one packed block of parameters.
inline void *const kParameterBuffer = reinterpret_cast<void *>(1);
inline void *const kParameterSize = reinterpret_cast<void *>(2);

}  // namespace kvquant::cuda
