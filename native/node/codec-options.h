// Fitted arrays of codecs from JavaScript: KeyCodecOptions and ValueCodecOptions of packages/cpu.
#pragma once
#include "node/arguments.h"
#include "runtime/codec.h"

namespace kvquant::node {

inline KeyArrays read_key_arrays(const Napi::Object &options) {
  KeyArrays arrays{integer(options, "kvHeads"), integer(options, "headDim"), integer(options, "rotaryDim"), integer(options, "bits"), flag(options, "pageScales"), flag(options, "outliers"),
                   copy_floats(options.Get("scale"), "scale"), copy_floats(options.Get("zero"), "zero"), copy_floats(options.Get("low"), "low"), copy_floats(options.Get("high"), "high"),
                   copy_floats(options.Get("levels"), "levels"), copy_floats(options.Get("midpoints"), "midpoints"), copy_floats(options.Get("feedbackWeights"), "feedbackWeights"), {}};
  for (const float channel : copy_floats(options.Get("feedbackOrder"), "feedbackOrder")) arrays.feedback_order.push_back(channel >= 0 && channel < 65535.0f ? static_cast<uint16_t>(channel) : 65535);
  return arrays;
}

inline ValueArrays read_value_arrays(const Napi::Object &options) {
  return {integer(options, "kvHeads"), integer(options, "headDim"), integer(options, "rotaryDim"), integer(options, "bits"), flag(options, "rotated"), integer(options, "outlierCount"),
                     copy_floats(options.Get("levels"), "levels"), copy_floats(options.Get("midpoints"), "midpoints"), copy_floats(options.Get("mean"), "mean"), copy_floats(options.Get("deviation"), "deviation")};
}

}  // namespace kvquant::node
