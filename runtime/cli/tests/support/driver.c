// A driver of a GPU that is not there: it says what the environment wants it to say, keeps memory of the host as that of the
// device, and runs nothing. For tests of what is said where a driver fails; what kernels compute is not seen with it.

#include <stdlib.h>
#include <string.h>

typedef unsigned long long word;

static int number(const char *name, int otherwise) {
    const char *text = getenv(name);
    return text ? atoi(text) : otherwise;
}

static int fine(void *place) {
    if (place) *(void **)place = (void *)64;
    return 0;
}

int cuInit(unsigned flags) { return number("FAKE_INIT", 0); }
int cuDriverGetVersion(int *version) { *version = number("FAKE_VERSION", 13000); return 0; }
int cuDeviceGetCount(int *count) { *count = number("FAKE_COUNT", 1); return 0; }
int cuDeviceGet(int *device, int index) { *device = index; return 0; }
int cuDeviceGetName(char *name, int room, int device) { strncpy(name, "Fake GPU", room); return 0; }
int cuDeviceTotalMem_v2(size_t *bytes, int device) { *bytes = number("FAKE_MEMORY", 1 << 30); return 0; }

int cuDeviceGetAttribute(int *value, int attribute, int device) {
    switch (attribute) {
    case 75: *value = number("FAKE_CAPABILITY", 90) / 10; break;
    case 76: *value = number("FAKE_CAPABILITY", 90) % 10; break;
    case 97: *value = number("FAKE_SHARED", 227 << 10); break;
    case 115: *value = 1; break;
    default: *value = 4;
    }
    return 0;
}

int cuDevicePrimaryCtxRetain(void *context, int device) { return fine(context); }
int cuDevicePrimaryCtxRelease_v2(int device) { return 0; }
int cuCtxSetCurrent(void *context) { return 0; }
int cuDeviceGetDefaultMemPool(void *pool, int device) { return fine(pool); }
int cuMemPoolSetAttribute(void *pool, int attribute, void *value) { return 0; }
int cuStreamCreate(void *stream, unsigned flags) { return fine(stream); }
int cuStreamDestroy_v2(void *stream) { return 0; }

static int failed;
int cuStreamSynchronize(void *stream) { return failed; }

int cuMemAllocAsync(word *address, size_t bytes, void *stream) {
    if (bytes > (size_t)number("FAKE_MEMORY", 1 << 30)) return 2;
    *address = (word)malloc(bytes);
    return 0;
}
int cuMemFreeAsync(word address, void *stream) { free((void *)address); return 0; }
int cuMemGetInfo_v2(size_t *left, size_t *all) { *left = *all = number("FAKE_MEMORY", 1 << 30); return 0; }
int cuMemsetD8Async(word to, unsigned char byte, size_t n, void *stream) { memset((void *)to, byte, n); return 0; }
int cuMemcpyHtoDAsync_v2(word to, const void *from, size_t n, void *stream) { memcpy((void *)to, from, n); return 0; }
int cuMemcpyDtoHAsync_v2(void *to, word from, size_t n, void *stream) { memcpy(to, (void *)from, n); return 0; }
int cuMemcpyDtoDAsync_v2(word to, word from, size_t n, void *stream) { memcpy((void *)to, (void *)from, n); return 0; }

int cuMemAlloc_v2(word *address, size_t bytes) { return cuMemAllocAsync(address, bytes, NULL); }
int cuMemFree_v2(word address) { return cuMemFreeAsync(address, NULL); }
int cuMemHostAlloc(void **start, size_t bytes, unsigned flags) { *start = malloc(bytes); return 0; }
int cuMemHostGetDevicePointer_v2(word *address, void *start, unsigned flags) { *address = (word)start; return 0; }
int cuMemFreeHost(void *start) { free(start); return 0; }

int cuEventCreate(void *event, unsigned flags) { return fine(event); }
int cuEventRecord(void *event, void *stream) { return 0; }
int cuEventSynchronize(void *event) { return failed; }
int cuEventElapsedTime(float *milliseconds, void *from, void *to) { *milliseconds = 1.0f; return 0; }
int cuEventDestroy_v2(void *event) { return 0; }
int cuTensorMapEncodeTiled(void *map, int type, unsigned rank, void *start, const word *sizes, const word *strides,
                           const unsigned *box, const unsigned *steps, int inner, int swizzle, int cache, int fill) {
    return number("FAKE_MAP", 0);
}

int cuLinkCreate_v2(unsigned n, int *options, void **values, void *state) { return fine(state); }
int cuLinkAddData_v2(void *state, int type, void *data, size_t size, const char *name, unsigned n, int *options, void **values) {
    return number("FAKE_ASSEMBLY", 0);
}
int cuLinkComplete(void *state, void **cubin, size_t *size) { *cubin = "code"; *size = 4; return 0; }
int cuLinkDestroy(void *state) { return 0; }
int cuModuleLoadDataEx(void *module, const void *image, unsigned n, int *options, void **values) {
    fine(module);
    return number("FAKE_LOADING", 0);
}
int cuModuleUnload(void *module) { return 0; }
int cuModuleGetFunction(void *function, void *module, const char *name) { return fine(function); }
int cuFuncSetAttribute(void *function, int attribute, int value) { return 0; }
int cuFuncGetAttribute(int *value, int attribute, void *function) {
    *value = attribute ? 255 : number("FAKE_THREADS", 1024);
    return 0;
}
int cuLaunchKernel(void *function, unsigned x, unsigned y, unsigned z, unsigned tx, unsigned ty, unsigned tz,
                   unsigned shared, void *stream, void **parameters, void **extra) {
    failed = number("FAKE_RUN", 0);
    return number("FAKE_LAUNCH", 0);
}

int cuGraphCreate(void *graph, unsigned flags) { return fine(graph); }
int cuGraphDestroy(void *graph) { return 0; }
int cuGraphAddKernelNode_v2(void *node, void *graph, const void *after, size_t n, const void *what) { return fine(node); }
int cuGraphAddMemsetNode(void *node, void *graph, const void *after, size_t n, const void *what, void *context) {
    return fine(node);
}
int cuGraphInstantiateWithFlags(void *made, void *graph, word flags) { return fine(made); }
int cuGraphExecKernelNodeSetParams_v2(void *made, void *node, const void *what) { return 0; }
int cuGraphExecMemsetNodeSetParams(void *made, void *node, const void *what, void *context) { return 0; }
int cuGraphExecDestroy(void *made) { return 0; }
int cuGraphLaunch(void *made, void *stream) {
    failed = number("FAKE_RUN", 0);
    return number("FAKE_LAUNCH", 0);
}

int cuGetErrorName(int code, const char **text) {
    *text = code == 2 ? "CUDA_ERROR_OUT_OF_MEMORY" : "CUDA_ERROR_OF_SOME_KIND";
    return 0;
}
int cuGetErrorString(int code, const char **text) { *text = "what the driver says"; return 0; }
