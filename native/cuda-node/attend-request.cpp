#include "cuda-node/attend-request.h"

#include "node/arguments.h"

namespace kvquant::cuda {

using node::floats;
using node::integer;

namespace {

constexpr uint64_t kLargestInteger = uint64_t{1} << 53;

const double *doubles(const Napi::Value &value, const char *name, size_t length) {
  if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != napi_float64_array || value.As<Napi::TypedArray>().ElementLength() != length) {
    node::reject(value.Env(), std::string(name) + ": expected a Float64Array of " + std::to_string(length));
  }
  return value.As<Napi::Float64Array>().Data();
}

}  // namespace

AttendCall read_attend_request(const Napi::Object &options, std::vector<Napi::Object> &held) {
  AttendCall request{};
  const auto hold = [&](const Napi::Value &value) {
    held.push_back(value.As<Napi::Object>());
    return value;
  };
  const auto pages = options.Get("pages").As<Napi::Array>();
  for (uint32_t index = 0; index < pages.Length(); index++) {
    const auto page = pages.Get(index).As<Napi::Object>();
    const node::Bytes key = node::byte_view(hold(page.Get("key")), "key"), value = node::byte_view(hold(page.Get("value")), "value");
    request.pages.push_back({key.data, value.data, key.length, value.length, integer(page, "encodedTokens", KVQ_PAGE_TOKENS)});
  }
  request.tokens = node::copy_integers(options.Get("tokens"), "tokens");
  const double *starts = doubles(options.Get("starts"), "starts", request.tokens.size());
  for (size_t index = 0; index < request.tokens.size(); index++) request.starts.push_back(static_cast<uint64_t>(starts[index]));
  request.length = integer(options.Get("length"), "length", kLargestInteger);
  const auto rows = options.Get("rows").As<Napi::Array>();
  for (uint32_t index = 0; index < rows.Length(); index++) {
    const auto row = rows.Get(index).As<Napi::Object>();
    const size_t count = integer(row, "count");
    const size_t columns = integer(options, "columns");
    request.rows.push_back({integer(row.Get("position"), "position", kLargestInteger), count, floats(hold(row.Get("keys")), "keys", count * columns), floats(hold(row.Get("values")), "values", count * columns)});
  }
  request.visible = node::copy_integers(options.Get("visible"), "visible");
  request.count = request.visible.size();
  request.first = integer(options.Get("first"), "first", kLargestInteger);
  const size_t query_columns = integer(options, "queryColumns");
  request.queries = floats(hold(options.Get("queries")), "queries", request.count * query_columns);
  request.out = floats(hold(options.Get("out")), "out", request.count * query_columns);
  return request;
}

}  // namespace kvquant::cuda
