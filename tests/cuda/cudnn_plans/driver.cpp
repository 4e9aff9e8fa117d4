// A CUDA driver without a device, for cuDNN to build plans with: kernels are "loaded", nothing can run.
#define ASHLAR_ACCEPTS(name) \
  int name() { return 0; }
#define ASHLAR_GIVES_HANDLE(name) \
  int name(void** handle) {       \
    *handle = &driver;            \
    return 0;                     \
  }
#define ASHLAR_GIVES_ONE(name) \
  int name(int* value) {       \
    *value = 1;                \
    return 0;                  \
  }
#define ASHLAR_GIVES_TEXT(name)         \
  int name(int, const char** text) {    \
    *text = "there is no device here";  \
    return 0;                           \
  }

static int driver = 0;

extern "C" {
int cuDriverGetVersion(int* version) {
  *version = 13000;
  return 0;
}
ASHLAR_GIVES_TEXT(cuGetErrorName)
ASHLAR_GIVES_TEXT(cuGetErrorString)
ASHLAR_GIVES_HANDLE(cuCtxGetCurrent)
ASHLAR_GIVES_HANDLE(cuKernelGetFunction)
ASHLAR_GIVES_HANDLE(cuLibraryGetKernel)
ASHLAR_GIVES_HANDLE(cuLibraryLoadData)
ASHLAR_GIVES_HANDLE(cuLibraryLoadFromFile)
ASHLAR_GIVES_HANDLE(cuModuleGetFunction)
ASHLAR_GIVES_HANDLE(cuModuleLoadData)
ASHLAR_GIVES_ONE(cuDeviceGet)
ASHLAR_GIVES_ONE(cuDeviceGetCount)
ASHLAR_GIVES_ONE(cuKernelGetAttribute)
ASHLAR_ACCEPTS(cuCtxGetLimit)
ASHLAR_ACCEPTS(cuCtxPopCurrent)
ASHLAR_ACCEPTS(cuCtxPushCurrent)
ASHLAR_ACCEPTS(cuKernelSetAttribute)
ASHLAR_ACCEPTS(cuLaunchCooperativeKernel)
ASHLAR_ACCEPTS(cuLaunchKernel)
ASHLAR_ACCEPTS(cuLaunchKernelEx)
ASHLAR_ACCEPTS(cuLibraryUnload)
ASHLAR_ACCEPTS(cuLinkAddData)
ASHLAR_ACCEPTS(cuLinkComplete)
ASHLAR_ACCEPTS(cuLinkCreate)
ASHLAR_ACCEPTS(cuLinkDestroy)
ASHLAR_ACCEPTS(cuModuleUnload)
ASHLAR_ACCEPTS(cuOccupancyMaxPotentialClusterSize)
ASHLAR_ACCEPTS(cuStreamGetCtx)
ASHLAR_ACCEPTS(cuTensorMapEncodeIm2col)
ASHLAR_ACCEPTS(cuTensorMapEncodeTiled)
}
