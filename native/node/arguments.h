// Reading arguments from JavaScript; lengths are checked again here for memory safety.
#pragma once
#include <napi.h>

#include <string>
#include <vector>

#include "runtime/runtime-error.h"

namespace kvquant::node {

[[noreturn]] inline void reject(Napi::Env env, const std::string &message) {
  Napi::Error error = Napi::Error::New(env, message);
  error.Value().Set("code", Napi::String::New(env, "INVALID_ARGUMENT"));
  throw error;
}

inline double number(const Napi::Object &object, const char *name) {
  const Napi::Value value = object.Get(name);
  if (!value.IsNumber()) reject(object.Env(), std::string(name) + ": expected a number");
  return value.As<Napi::Number>().DoubleValue();
}

// An integer from 0 to `maximum`.
inline uint64_t integer(const Napi::Value &value, const char *name, uint64_t maximum) {
  const double number = value.IsNumber() ? value.As<Napi::Number>().DoubleValue() : -1;
  if (!(number >= 0 && number <= static_cast<double>(maximum)) || number != static_cast<double>(static_cast<uint64_t>(number))) {
    reject(value.Env(), std::string(name) + ": expected an integer from 0 to " + std::to_string(maximum));
  }
  return static_cast<uint64_t>(number);
}

inline uint32_t integer(const Napi::Object &object, const char *name, uint64_t maximum = 1u << 24) { return static_cast<uint32_t>(integer(object.Get(name), name, maximum)); }

inline bool flag(const Napi::Object &object, const char *name) { return object.Get(name).ToBoolean(); }

// The numbers of a Float32Array of at least `minimum`.
inline float *floats(const Napi::Value &value, const char *name, size_t minimum) {
  if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != napi_float32_array) reject(value.Env(), std::string(name) + ": expected a Float32Array");
  auto array = value.As<Napi::Float32Array>();
  if (array.ElementLength() < minimum) reject(value.Env(), std::string(name) + ": expected at least " + std::to_string(minimum) + " numbers, got " + std::to_string(array.ElementLength()));
  return array.Data();
}

inline std::vector<float> copy_floats(const Napi::Value &value, const char *name) {
  if (value.IsUndefined() || value.IsNull()) return {};
  const float *data = floats(value, name, 0);
  return {data, data + value.As<Napi::Float32Array>().ElementLength()};
}

struct Bytes {
  const uint8_t *data;
  size_t length;
};

inline Bytes byte_view(const Napi::Value &value, const char *name) {
  if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != napi_uint8_array) reject(value.Env(), std::string(name) + ": expected a Uint8Array");
  const auto array = value.As<Napi::Uint8Array>();
  return {array.Data(), array.ElementLength()};
}

inline std::vector<uint32_t> copy_integers(const Napi::Value &value, const char *name) {
  if (value.IsUndefined() || value.IsNull()) return {};
  if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != napi_uint32_array) reject(value.Env(), std::string(name) + ": expected a Uint32Array");
  const auto array = value.As<Napi::Uint32Array>();
  return {array.Data(), array.Data() + array.ElementLength()};
}

}  // namespace kvquant::node
