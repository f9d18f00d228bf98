// How the channels of a head are numbered as key codes: code 2 p + h is channel p + h * rotary_dim / 2; from rotary_dim on they keep their number.
#pragma once

#include <stdint.h>

namespace {

// Largest head dim with kernels: outlier indices are bytes.
constexpr uint32_t maximum_head_dim = 256;

// Channel of each code index.
struct code_channels {
  uint8_t of[maximum_head_dim];
  code_channels(uint32_t head_dim, uint32_t rotary_dim) {
    for (uint32_t code = 0; code < head_dim; code++) of[code] = (uint8_t)(code < rotary_dim ? code / 2 + (code & 1) * rotary_dim / 2 : code);
  }
};

}  // namespace
