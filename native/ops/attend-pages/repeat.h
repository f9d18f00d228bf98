// Loops unrolled by the language instead of by the optimiser, so that arrays of vector registers indexed by them stay in registers. (Left to g++ 12, sums of 5 and more queries went through the stack.)
#pragma once

#include <utility>

namespace {

template <typename Visit, int... indices>
inline __attribute__((always_inline)) void repeat_each(Visit &&visit, std::integer_sequence<int, indices...>) {
  (visit(std::integral_constant<int, indices>{}), ...);
}

// visit(0), .., visit(count - 1), each with its number as a constant.
template <int count, typename Visit>
inline __attribute__((always_inline)) void repeat(Visit &&visit) {
  repeat_each(visit, std::make_integer_sequence<int, count>{});
}

}  // namespace
