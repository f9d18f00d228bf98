// Thread pools: every index runs once, and a system that gives too few threads is an error, not the end of the process.
#include <sys/resource.h>

#include <atomic>
#include <cstdio>
#include <fstream>
#include <string>
#include <vector>

#include "runtime/runtime-error.h"
#include "runtime/thread-pool.h"

namespace {

int failures = 0;

void expect(bool condition, const char *title) {
  std::printf("%s %s\n", condition ? "ok" : "not ok", title);
  if (!condition) failures++;
}

// Bytes of address space that this process has.
size_t address_space() {
  size_t pages = 0;
  std::ifstream("/proc/self/statm") >> pages;
  return pages * 4096;
}

bool runs_every_index(unsigned threads) {
  kvquant::ThreadPool pool(threads);
  for (const size_t count : {size_t{0}, size_t{1}, size_t{7}, size_t{1000}}) {
    std::vector<std::atomic<int>> seen(count);
    pool.run(count, [&](size_t index, unsigned worker) { seen[index] += worker < threads ? 1 : 1000; });
    for (const auto &times : seen) {
      if (times != 1) return false;
    }
  }
  return true;
}

// With room for the stacks of a few threads only.
bool refuses_too_many() {
  rlimit before{};
  getrlimit(RLIMIT_AS, &before);
  const rlimit tight{address_space() + (size_t{128} << 20), before.rlim_max};
  setrlimit(RLIMIT_AS, &tight);
  bool refused = false;
  try {
    kvquant::ThreadPool pool(1024);
  } catch (const kvquant::RuntimeError &error) {
    refused = error.status() == KVQ_OUT_OF_CAPACITY && std::string(error.what()).find("expected 1024 threads") != std::string::npos;
  }
  setrlimit(RLIMIT_AS, &before);
  return refused;
}

}  // namespace

int main() {
  expect(runs_every_index(1), "one thread runs every index once");
  expect(runs_every_index(3), "three threads run every index once");
#if defined(__linux__) && !defined(__SANITIZE_ADDRESS__)
  expect(refuses_too_many(), "a pool of more threads than the system gives is refused");
  expect(runs_every_index(3), "the next pool works");
#endif
  return failures == 0 ? 0 : 1;
}
