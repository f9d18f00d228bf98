/* A CUDA driver of our own for tests without a GPU: "device" memory is host memory, work is done at once, and everything is counted and checked.
   The environment variable KVQUANT_FAKE_CUDA steers it, read at every call: words separated by spaces,
     devices=N      number of devices, default 1
     memory=BYTES   memory of a device, default 1 GiB
     shared=BYTES  most shared memory of a block, default 227 KiB
     late          uploads read host memory when other work, or a wait, follows: as late as the driver may
     idle          kernels are launched and counted, and do nothing
     fail=CALL@N:CODE   the N-th call of CALL from now on returns CODE (counted anew whenever the variable changes)
     lost          after that one, all calls that need a context return CODE
   Attributes from 900000 on read its counters: see cuDeviceGetAttribute. */
#include <dlfcn.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef int CUresult;
typedef int CUdevice;
typedef unsigned long long CUdeviceptr;
#define EXPORT __attribute__((visibility("default")))

enum { SUCCESS = 0, INVALID_VALUE = 1, OUT_OF_MEMORY = 2, INVALID_DEVICE = 101, INVALID_IMAGE = 200, INVALID_CONTEXT = 201, INVALID_HANDLE = 400, NOT_FOUND = 500, ILLEGAL_ADDRESS = 700 };

/* --- control and counters --- */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char control[512];
static long long calls_of_failing;
static CUresult lost;
static struct { long long allocations, bytes, streams, modules, events, contexts, calls, misuses, launches, uploaded; } counters;
/* Which calls must fail is decided under the lock, in the order they come. */

static long long number_after(const char *word, long long otherwise) {
  const char *found = strstr(control, word);
  return found == NULL ? otherwise : atoll(found + strlen(word));
}

static CUresult enter(const char *name) {
  pthread_mutex_lock(&lock);
  const char *now = getenv("KVQUANT_FAKE_CUDA");
  if (now == NULL) now = "";
  if (strncmp(now, control, sizeof control - 1) != 0) {
    snprintf(control, sizeof control, "%s", now);
    calls_of_failing = 0;
    lost = SUCCESS;
  }
  counters.calls++;
  const char *fail = strstr(control, "fail=");
  const size_t length = strlen(name);
  if (fail != NULL && strncmp(fail + 5, name, length) == 0 && fail[5 + length] == '@') {
    char *colon;
    const long long which = strtoll(fail + 5 + length + 1, &colon, 10);
    if (++calls_of_failing == which) {
      if (strstr(control, "lost") != NULL) lost = atoi(colon + 1);
      return atoi(colon + 1);
    }
  }
  return SUCCESS;
}

static CUresult leave(CUresult result) {
  pthread_mutex_unlock(&lock);
  return result;
}

static CUresult misuse(CUresult result) {
  counters.misuses++;
  return leave(result);
}

#define ENTER(name) \
  do { \
    const CUresult injected = enter(#name); \
    if (injected != SUCCESS) return leave(injected); \
  } while (0)

/* --- live things --- */

typedef struct Range {
  struct Range *next;
  uintptr_t start;
  size_t bytes;
} Range;
static Range *ranges;

static Range *range_of(CUdeviceptr address, size_t bytes) {
  for (Range *range = ranges; range != NULL; range = range->next) {
    if (address >= range->start && address + bytes <= range->start + range->bytes) return range;
  }
  return NULL;
}

/* Uploads that were asked for and not done. */
typedef struct Upload {
  struct Upload *next;
  CUdeviceptr to;
  const void *from;
  size_t bytes;
} Upload;
static Upload *uploads, **last_upload = &uploads;

static void finish_uploads(void) {
  while (uploads != NULL) {
    Upload *upload = uploads;
    uploads = upload->next;
    if (range_of(upload->to, upload->bytes) != NULL) memcpy((void *)(uintptr_t)upload->to, upload->from, upload->bytes);
    free(upload);
  }
  last_upload = &uploads;
}

typedef struct Thing {
  int kind;
  int live;
  unsigned allowed; /* shared memory of a function's blocks */
  void *library;
  void *pointer;
  char name[64];
} Thing;
enum { CONTEXT = 11, STREAM, EVENT, MODULE, FUNCTION };

static Thing context = {CONTEXT, 0, 0, NULL, NULL, ""};
static __thread int depth;

static int is(const void *thing, int kind) { return thing != NULL && ((const Thing *)thing)->kind == kind && ((const Thing *)thing)->live; }
static Thing *make(int kind) {
  Thing *thing = calloc(1, sizeof *thing);
  thing->kind = kind;
  thing->live = 1;
  return thing;
}

/* --- the driver --- */

EXPORT CUresult cuInit(unsigned flags) {
  ENTER(cuInit);
  return leave(flags == 0 ? SUCCESS : INVALID_VALUE);
}

EXPORT CUresult cuDriverGetVersion(int *version) {
  ENTER(cuDriverGetVersion);
  *version = 13000;
  return leave(SUCCESS);
}

EXPORT CUresult cuGetErrorName(CUresult result, const char **name) {
  switch (result) {
    case INVALID_VALUE: *name = "CUDA_ERROR_INVALID_VALUE"; break;
    case OUT_OF_MEMORY: *name = "CUDA_ERROR_OUT_OF_MEMORY"; break;
    case 35: *name = "CUDA_ERROR_INSUFFICIENT_DRIVER"; break;
    case 100: *name = "CUDA_ERROR_NO_DEVICE"; break;
    case INVALID_IMAGE: *name = "CUDA_ERROR_INVALID_IMAGE"; break;
    case NOT_FOUND: *name = "CUDA_ERROR_NOT_FOUND"; break;
    case ILLEGAL_ADDRESS: *name = "CUDA_ERROR_ILLEGAL_ADDRESS"; break;
    case 719: *name = "CUDA_ERROR_LAUNCH_FAILED"; break;
    default: return INVALID_VALUE;
  }
  return SUCCESS;
}

EXPORT CUresult cuGetErrorString(CUresult result, const char **text) {
  if (result != OUT_OF_MEMORY) return INVALID_VALUE;
  *text = "out of memory";
  return SUCCESS;
}

EXPORT CUresult cuDeviceGetCount(int *count) {
  ENTER(cuDeviceGetCount);
  *count = (int)number_after("devices=", 1);
  return leave(SUCCESS);
}

EXPORT CUresult cuDeviceGet(CUdevice *device, int ordinal) {
  ENTER(cuDeviceGet);
  *device = ordinal;
  return leave(ordinal < number_after("devices=", 1) ? SUCCESS : INVALID_DEVICE);
}

EXPORT CUresult cuDeviceGetName(char *name, int length, CUdevice device) {
  ENTER(cuDeviceGetName);
  snprintf(name, (size_t)length, "Fake GPU %d", device);
  return leave(SUCCESS);
}

EXPORT CUresult cuDeviceTotalMem_v2(size_t *bytes, CUdevice device) {
  ENTER(cuDeviceTotalMem_v2);
  (void)device;
  *bytes = (size_t)number_after("memory=", 1 << 30);
  return leave(SUCCESS);
}

EXPORT CUresult cuDeviceGetAttribute(int *value, int attribute, CUdevice device) {
  if (attribute >= 900000) {
    pthread_mutex_lock(&lock);
    const long long all[] = {counters.allocations, counters.bytes, counters.streams, counters.modules, counters.events, counters.contexts, depth, counters.calls, counters.misuses, counters.launches, counters.uploaded};
    const int which = attribute - 900000;
    const int known = which < (int)(sizeof all / sizeof *all);
    if (known) *value = all[which] > INT32_MAX ? INT32_MAX : (int)all[which];
    return leave(known ? SUCCESS : INVALID_VALUE);
  }
  ENTER(cuDeviceGetAttribute);
  (void)device;
  switch (attribute) {
    case 75: *value = 9; break;
    case 76: *value = 0; break;
    case 16: *value = 4; break;
    case 38: *value = 1 << 20; break;
    case 81: *value = 228 << 10; break;
    case 97: *value = (int)number_after("shared=", 227 << 10); break;
    default: *value = 1000; break;
  }
  return leave(SUCCESS);
}

EXPORT CUresult cuDevicePrimaryCtxRetain(void **handle, CUdevice device) {
  ENTER(cuDevicePrimaryCtxRetain);
  (void)device;
  counters.contexts++;
  context.live = 1;
  *handle = &context;
  return leave(SUCCESS);
}

EXPORT CUresult cuDevicePrimaryCtxRelease_v2(CUdevice device) {
  ENTER(cuDevicePrimaryCtxRelease_v2);
  (void)device;
  if (counters.contexts == 0) return misuse(INVALID_CONTEXT);
  if (--counters.contexts == 0) context.live = 0;
  return leave(SUCCESS);
}

EXPORT CUresult cuCtxPushCurrent_v2(void *handle) {
  ENTER(cuCtxPushCurrent_v2);
  if (!is(handle, CONTEXT)) return misuse(INVALID_CONTEXT);
  depth++;
  return leave(SUCCESS);
}

EXPORT CUresult cuCtxPopCurrent_v2(void **handle) {
  ENTER(cuCtxPopCurrent_v2);
  if (depth == 0) return misuse(INVALID_CONTEXT);
  depth--;
  *handle = &context;
  return leave(SUCCESS);
}

/* Everything below needs a current context. */
#define CURRENT(name) \
  do { \
    ENTER(name); \
    if (depth == 0) return misuse(INVALID_CONTEXT); \
    if (lost != SUCCESS) return leave(lost); \
  } while (0)

EXPORT CUresult cuCtxSynchronize(void) {
  CURRENT(cuCtxSynchronize);
  finish_uploads();
  return leave(SUCCESS);
}

EXPORT CUresult cuMemGetInfo_v2(size_t *free_bytes, size_t *total) {
  CURRENT(cuMemGetInfo_v2);
  *total = (size_t)number_after("memory=", 1 << 30);
  *free_bytes = *total - (size_t)counters.bytes;
  return leave(SUCCESS);
}

EXPORT CUresult cuMemAlloc_v2(CUdeviceptr *address, size_t bytes) {
  CURRENT(cuMemAlloc_v2);
  if (bytes == 0) return misuse(INVALID_VALUE);
  if ((long long)bytes > number_after("memory=", 1 << 30) - counters.bytes) return leave(OUT_OF_MEMORY);
  Range *range = malloc(sizeof *range);
  void *memory = aligned_alloc(512, (bytes + 511) / 512 * 512);
  memset(memory, 0xff, bytes < 1 << 20 ? bytes : 1 << 20); /* NaN: what nobody wrote shows */
  *range = (Range){ranges, (uintptr_t)memory, bytes};
  ranges = range;
  counters.allocations++;
  counters.bytes += (long long)bytes;
  *address = range->start;
  return leave(SUCCESS);
}

EXPORT CUresult cuMemFree_v2(CUdeviceptr address) {
  CURRENT(cuMemFree_v2);
  finish_uploads();
  for (Range **link = &ranges; *link != NULL; link = &(*link)->next) {
    Range *range = *link;
    if (range->start != address) continue;
    *link = range->next;
    counters.allocations--;
    counters.bytes -= (long long)range->bytes;
    free((void *)range->start);
    free(range);
    return leave(SUCCESS);
  }
  return misuse(INVALID_VALUE);
}

EXPORT CUresult cuMemcpyHtoDAsync_v2(CUdeviceptr to, const void *from, size_t bytes, void *stream) {
  CURRENT(cuMemcpyHtoDAsync_v2);
  if (range_of(to, bytes) == NULL || !is(stream, STREAM)) return misuse(INVALID_VALUE);
  Upload *upload = malloc(sizeof *upload);
  *upload = (Upload){NULL, to, from, bytes};
  *last_upload = upload;
  last_upload = &upload->next;
  if (strstr(control, "late") == NULL) finish_uploads();
  counters.uploaded += (long long)bytes;
  return leave(SUCCESS);
}

EXPORT CUresult cuMemcpyDtoHAsync_v2(void *to, CUdeviceptr from, size_t bytes, void *stream) {
  CURRENT(cuMemcpyDtoHAsync_v2);
  if (range_of(from, bytes) == NULL || !is(stream, STREAM)) return misuse(INVALID_VALUE);
  finish_uploads();
  memcpy(to, (const void *)(uintptr_t)from, bytes);
  return leave(SUCCESS);
}

EXPORT CUresult cuMemcpyDtoDAsync_v2(CUdeviceptr to, CUdeviceptr from, size_t bytes, void *stream) {
  CURRENT(cuMemcpyDtoDAsync_v2);
  if (range_of(to, bytes) == NULL || range_of(from, bytes) == NULL || !is(stream, STREAM)) return misuse(INVALID_VALUE);
  finish_uploads();
  memmove((void *)(uintptr_t)to, (const void *)(uintptr_t)from, bytes);
  return leave(SUCCESS);
}

EXPORT CUresult cuMemsetD8Async(CUdeviceptr to, unsigned char value, size_t bytes, void *stream) {
  CURRENT(cuMemsetD8Async);
  if (range_of(to, bytes) == NULL || !is(stream, STREAM)) return misuse(INVALID_VALUE);
  finish_uploads();
  memset((void *)(uintptr_t)to, value, bytes);
  return leave(SUCCESS);
}

EXPORT CUresult cuStreamCreate(void **stream, unsigned flags) {
  CURRENT(cuStreamCreate);
  (void)flags;
  *stream = make(STREAM);
  counters.streams++;
  return leave(SUCCESS);
}

EXPORT CUresult cuStreamDestroy_v2(void *stream) {
  CURRENT(cuStreamDestroy_v2);
  if (!is(stream, STREAM)) return misuse(INVALID_HANDLE);
  ((Thing *)stream)->live = 0; /* kept, so that a use after this is seen */
  counters.streams--;
  return leave(SUCCESS);
}

EXPORT CUresult cuStreamSynchronize(void *stream) {
  CURRENT(cuStreamSynchronize);
  finish_uploads();
  return is(stream, STREAM) ? leave(SUCCESS) : misuse(INVALID_HANDLE);
}

EXPORT CUresult cuEventCreate(void **event, unsigned flags) {
  CURRENT(cuEventCreate);
  (void)flags;
  *event = make(EVENT);
  counters.events++;
  return leave(SUCCESS);
}

EXPORT CUresult cuEventDestroy_v2(void *event) {
  CURRENT(cuEventDestroy_v2);
  if (!is(event, EVENT)) return misuse(INVALID_HANDLE);
  ((Thing *)event)->live = 0;
  counters.events--;
  return leave(SUCCESS);
}

EXPORT CUresult cuEventRecord(void *event, void *stream) {
  CURRENT(cuEventRecord);
  return is(event, EVENT) && is(stream, STREAM) ? leave(SUCCESS) : misuse(INVALID_HANDLE);
}

EXPORT CUresult cuEventElapsedTime(float *milliseconds, void *from, void *to) {
  CURRENT(cuEventElapsedTime);
  if (!is(from, EVENT) || !is(to, EVENT)) return misuse(INVALID_HANDLE);
  *milliseconds = 1.5f;
  return leave(SUCCESS);
}

/* An image is the text "kvquant fake image", for the kernel below, or "kvquant emulated kernels: PATH" for a library that exports kernels and emulated-kernels.cpp's kvq_emulated_launch. */
typedef CUresult (*Launch)(const char *name, void *kernel, const void *parameters, size_t bytes, const unsigned grid[3], unsigned threads, unsigned shared_bytes);

/* Adds `value` to each of `count` 32-bit integers. */
static CUresult add_value(const void *parameters, size_t bytes, const unsigned grid[3], unsigned threads) {
  struct { CUdeviceptr address; uint32_t count, value; } p;
  if (bytes != sizeof p) return INVALID_VALUE;
  memcpy(&p, parameters, sizeof p);
  if (grid[0] * threads < p.count) return INVALID_VALUE;
  if (range_of(p.address, p.count * sizeof(uint32_t)) == NULL) return ILLEGAL_ADDRESS;
  for (uint32_t index = 0; index < p.count; index++) ((uint32_t *)(uintptr_t)p.address)[index] += p.value;
  return SUCCESS;
}

EXPORT CUresult cuModuleLoadData(void **module, const void *image) {
  CURRENT(cuModuleLoadData);
  static const char emulated[] = "kvquant emulated kernels: ";
  void *library = NULL;
  if (strncmp(image, emulated, sizeof emulated - 1) == 0) {
    library = dlopen((const char *)image + sizeof emulated - 1, RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) {
      fprintf(stderr, "%s\n", dlerror());
      return leave(INVALID_IMAGE);
    }
  } else if (strcmp(image, "kvquant fake image") != 0) {
    return leave(INVALID_IMAGE);
  }
  Thing *thing = make(MODULE);
  thing->library = library;
  *module = thing;
  counters.modules++;
  return leave(SUCCESS);
}

EXPORT CUresult cuModuleUnload(void *module) {
  CURRENT(cuModuleUnload);
  if (!is(module, MODULE)) return misuse(INVALID_HANDLE);
  ((Thing *)module)->live = 0;
  counters.modules--;
  return leave(SUCCESS);
}

EXPORT CUresult cuModuleGetFunction(void **function, void *module, const char *name) {
  CURRENT(cuModuleGetFunction);
  if (!is(module, MODULE)) return misuse(INVALID_HANDLE);
  void *library = ((Thing *)module)->library;
  void *pointer = library == NULL ? NULL : dlsym(library, name);
  if (library == NULL ? strcmp(name, "add_value") != 0 : pointer == NULL) return leave(NOT_FOUND);
  Thing *thing = make(FUNCTION);
  thing->library = library;
  thing->pointer = pointer;
  snprintf(thing->name, sizeof thing->name, "%s", name);
  *function = thing;
  return leave(SUCCESS);
}

EXPORT CUresult cuFuncGetAttribute(int *value, int attribute, void *function) {
  CURRENT(cuFuncGetAttribute);
  if (!is(function, FUNCTION)) return misuse(INVALID_HANDLE);
  *value = attribute == 4 ? 32 : 0;
  return leave(SUCCESS);
}

EXPORT CUresult cuFuncSetAttribute(void *function, int attribute, int value) {
  CURRENT(cuFuncSetAttribute);
  if (!is(function, FUNCTION) || attribute != 8) return misuse(INVALID_HANDLE);
  if (value > number_after("shared=", 227 << 10)) return leave(INVALID_VALUE);
  ((Thing *)function)->allowed = (unsigned)value;
  return leave(SUCCESS);
}

EXPORT CUresult cuLaunchKernel(void *function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz, unsigned shared_bytes, void *stream, void **parameters, void **extra) {
  CURRENT(cuLaunchKernel);
  if (!is(function, FUNCTION) || !is(stream, STREAM) || parameters != NULL || extra == NULL) return misuse(INVALID_HANDLE);
  if (extra[0] != (void *)1 || extra[2] != (void *)2 || extra[4] != NULL || gx * gy * gz == 0 || bx * by * bz == 0 || bx * by * bz > 1024) return misuse(INVALID_VALUE);
  const Thing *kernel = function;
  if (gy > 65535 || gz > 65535) return leave(INVALID_VALUE);
  if (shared_bytes > 48u << 10 && shared_bytes > kernel->allowed) return leave(INVALID_VALUE);
  finish_uploads();
  counters.launches++;
  if (strstr(control, "idle") != NULL) return leave(SUCCESS);
  const unsigned grid[3] = {gx, gy, gz};
  const size_t bytes = *(const size_t *)extra[3];
  if (kernel->library == NULL) return leave(add_value(extra[1], bytes, grid, bx));
  const Launch launch = (Launch)(uintptr_t)dlsym(kernel->library, "kvq_emulated_launch");
  return leave(launch == NULL ? NOT_FOUND : launch(kernel->name, kernel->pointer, extra[1], bytes, grid, bx, shared_bytes));
}
