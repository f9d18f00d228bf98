#include "cuda-node/module.h"

namespace kvquant::cuda {

std::shared_ptr<Module> Module::load(const std::shared_ptr<Device> &device, const void *image, size_t bytes, const std::string &label) {
  const Device::Scope scope(*device);
  // PTX text must end with a zero, and the driver reads the length of binaries from their headers.
  const std::string copy(static_cast<const char *>(image), bytes);
  ModuleHandle handle = nullptr;
  const DeviceInfo &info = device->info();
  device->driver().call(device->driver().module_load, label + ", " + std::to_string(bytes) + " bytes, for compute capability " + std::to_string(info.compute_major) + "." + std::to_string(info.compute_minor),
                        &handle, static_cast<const void *>(copy.c_str()));
  device->adopt(handle);
  return std::shared_ptr<Module>(new Module(device, handle, label));
}

Module::~Module() {
  device_->release_quietly([&] { device_->destroy(handle_); });
}

std::shared_ptr<Kernel> Module::kernel(const std::string &name) {
  const Device::Scope scope(*device_);
  FunctionHandle handle = nullptr;
  device_->driver().call(device_->driver().module_function, name + " of " + label_, &handle, handle_, name.c_str());
  return std::make_shared<Kernel>(shared_from_this(), name, handle);
}

KernelResources Kernel::resources() const {
  Device &device = module_->device();
  const Device::Scope scope(device);
  const auto attribute = [&](int which) {
    int value = 0;
    device.driver().call(device.driver().function_attribute, name_ + ", attribute " + std::to_string(which), &value, which, handle_);
    return value;
  };
  return {attribute(kFunctionRegisters), attribute(kFunctionLocalBytes), attribute(kFunctionSharedBytes)};
}

}  // namespace kvquant::cuda
