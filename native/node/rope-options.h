// The rotary part of what caches and models are made of: { rotaryDim, attentionFactor, frequencies Float64Array [rotaryDim / 2] }.
#pragma once
#include <napi.h>

#include "node/arguments.h"
#include "node/promise-worker.h"
#include "runtime/codec.h"

namespace kvquant::node {

inline Rope read_rope(const Napi::Object &options, uint32_t head_dim) {
  const uint32_t rotary_dim = integer(options, "rotaryDim");
  const Napi::Value frequencies = options.Get("frequencies");
  if (!frequencies.IsTypedArray() || frequencies.As<Napi::TypedArray>().TypedArrayType() != napi_float64_array || frequencies.As<Napi::TypedArray>().ElementLength() != rotary_dim / 2) {
    reject(options.Env(), "frequencies: expected a Float64Array of half the rotary dim");
  }
  const auto attention_factor = static_cast<float>(number(options, "attentionFactor"));
  kvq_rope *rope = nullptr;
  call(options.Env(), [&] { require(kvq_rope_create(head_dim, rotary_dim, attention_factor, frequencies.As<Napi::Float64Array>().Data(), &rope), "rope: the sizes make no sense"); });
  return Rope(rope);
}

}  // namespace kvquant::node
