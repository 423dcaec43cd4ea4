/* SPDX-License-Identifier: Apache-2.0 */

/* Stands in for NVIDIA's libcuda.so.1 and libnvidia-ml.so.1: one library with both sets of functions. GPU_FAULT names
 * what goes wrong. */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define PUBLIC __attribute__((visibility("default")))

static uint8_t memory[8 << 20];

static int fault(const char *name) {
        const char *wanted = getenv("GPU_FAULT");

        return wanted && strcmp(wanted, name) == 0;
}

/* NVML */
PUBLIC int nvmlInit_v2(void);
PUBLIC int nvmlSystemGetDriverVersion(char *version, unsigned size);
PUBLIC int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **device);
PUBLIC int nvmlDeviceGetPersistenceMode(void *device, unsigned *mode);

int nvmlInit_v2(void) {
        return fault("nvml") ? 9 : 0;
}

int nvmlSystemGetDriverVersion(char *version, unsigned size) {
        strncpy(version, fault("version") ? "1.2" : "550.163.01", size);
        return 0;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **device) {
        *device = memory;
        return index == 0 ? 0 : 6;
}

int nvmlDeviceGetPersistenceMode(void *device, unsigned *mode) {
        *mode = !fault("persistence");
        return device == memory ? 0 : 2;
}

/* CUDA's driver interface */
PUBLIC int cuInit(unsigned flags);
PUBLIC int cuDeviceGetCount(int *count);
PUBLIC int cuDevicePrimaryCtxRetain(void **context, int device);
PUBLIC int cuDevicePrimaryCtxRelease_v2(int device);
PUBLIC int cuCtxSetCurrent(void *context);
PUBLIC int cuMemAlloc_v2(uint64_t *address, size_t size);
PUBLIC int cuMemFree_v2(uint64_t address);
PUBLIC int cuMemcpyHtoD_v2(uint64_t to, const void *from, size_t size);
PUBLIC int cuMemcpyDtoH_v2(void *to, uint64_t from, size_t size);

int cuInit(unsigned flags) {
        return fault("fabric") ? 802 : (int) flags;
}

int cuDeviceGetCount(int *count) {
        *count = fault("count") ? 0 : 2;
        return 0;
}

int cuDevicePrimaryCtxRetain(void **context, int device) {
        *context = memory;
        return fault("context") && device == 1 ? 2 : 0;
}

int cuDevicePrimaryCtxRelease_v2(int device) {
        return device > 1;
}

int cuCtxSetCurrent(void *context) {
        return context != memory;
}

int cuMemAlloc_v2(uint64_t *address, size_t size) {
        *address = 4096;
        return size > sizeof memory - 4096 || fault("memory") ? 2 : 0;
}

int cuMemFree_v2(uint64_t address) {
        return address != 4096;
}

int cuMemcpyHtoD_v2(uint64_t to, const void *from, size_t size) {
        memcpy(memory + to, from, size);
        return 0;
}

int cuMemcpyDtoH_v2(void *to, uint64_t from, size_t size) {
        memory[from + size - 1] ^= (uint8_t) fault("bytes");
        memcpy(to, memory + from, size);
        return 0;
}
