/* A stand-in for NVIDIA's library, with two cards, so that the GPU driver and pynvml are tested where there is none.
 * The second card answers "not supported" where real ones do (utilisation under virtualisation).
 * Signatures as in nvml.h of CUDA 12. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct { unsigned long long total, free, used; } nvmlMemory_t;
typedef struct { unsigned int gpu, memory; } nvmlUtilization_t;
enum { SUCCESS = 0, NOT_SUPPORTED = 3, DRIVER_NOT_LOADED = 9 };

int nvmlInitWithFlags(unsigned int flags) { return getenv("FAKE_NVML_BROKEN") ? DRIVER_NOT_LOADED : SUCCESS; }
const char *nvmlErrorString(int code) { return code == DRIVER_NOT_LOADED ? "Driver Not Loaded" : "Not Supported"; }
int nvmlSystemGetDriverVersion(char *text, unsigned int size) { snprintf(text, size, "550.54.15"); return SUCCESS; }
int nvmlDeviceGetCount_v2(unsigned int *count) { *count = 2; return SUCCESS; }
int nvmlDeviceGetHandleByIndex_v2(unsigned int index, void **device) {
    *device = (void *)(size_t)(index + 1);
    return SUCCESS;
}
int nvmlDeviceGetName(void *device, char *text, unsigned int size) {
    snprintf(text, size, "NVIDIA Fake %zu", (size_t)device);
    return SUCCESS;
}
int nvmlDeviceGetUUID(void *device, char *text, unsigned int size) {
    snprintf(text, size, "GPU-%08zx-0000-0000-0000-000000000000", (size_t)device);
    return SUCCESS;
}
int nvmlDeviceGetMemoryInfo(void *device, nvmlMemory_t *memory) {
    memory->total = 24ULL << 30;
    memory->free = 20ULL << 30;
    memory->used = 4ULL << 30;
    return SUCCESS;
}
int nvmlDeviceGetUtilizationRates(void *device, nvmlUtilization_t *rates) {
    if ((size_t)device == 2) return NOT_SUPPORTED;
    rates->gpu = 37;
    rates->memory = 12;
    return SUCCESS;
}
int nvmlDeviceGetCudaComputeCapability(void *device, int *major, int *minor) {
    *major = 8;
    *minor = 9;
    return SUCCESS;
}
