/* SPDX-License-Identifier: Apache-2.0 */
#include "machine/gpu-test.h"

#include <dlfcn.h>
#include <limits.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "machine/accelerators.h"

enum { BUFFER = 4 << 20, TEXT = 256 };

/* Which machines a check is for. */
enum kind { EVERY, NVIDIA, NEURON };

/* What a check found: the text that its line says. */
struct finding {
        char text[TEXT];
};

static int _printf_(2, 3) fail(struct finding *f, const char *format, ...) {
        va_list arguments;

        va_start(arguments, format);
        vsnprintf(f->text, sizeof f->text, format, arguments);
        va_end(arguments);
        return -EIO;
}

static int _printf_(2, 3) pass(struct finding *f, const char *format, ...) {
        va_list arguments;

        va_start(arguments, format);
        vsnprintf(f->text, sizeof f->text, format, arguments);
        va_end(arguments);
        return 0;
}

/* The first line of a file, without its end. */
static int read_line(const char *root, const char *name, char *ret, size_t size) {
        _cleanup_fclose_ FILE *f = NULL;
        char path[PATH_MAX];

        snprintf(path, sizeof path, "%s%s", root, name);
        f = fopen(path, "re");
        if (!f || !fgets(ret, (int) size, f))
                return -ENODATA;
        ret[strcspn(ret, "\n")] = '\0';
        return 0;
}

static int check_gpus(const char *root, struct finding *f) {
        struct device_node nodes[NODES_MAX];
        struct accelerators found;
        unsigned listed = 0;
        size_t n = 0;
        int r;

        r = accelerators_find(root, &found);
        if (r < 0)
                return fail(f, "/sys/bus/pci/devices: %s", strerror(-r));
        if (found.gpus == 0)
                return fail(f, "this machine has no NVIDIA GPU");
        r = nvidia_nodes(root, nodes, ELEMENTS(nodes), &n);
        if (r < 0)
                return fail(f, "the driver's lists in /proc: %s", strerror(-r));
        listed = nvidia_gpus(nodes, n);
        if (listed != found.gpus)
                return fail(f, "the machine has %u GPUs, the driver lists %u", found.gpus, listed);
        return pass(f, "%u GPUs, %u NVSwitches", found.gpus, found.switches);
}

/* Each node is there, is the driver's, and is open to every user: an inference server runs as one of its own. */
static int compare_nodes(const char *root, const struct device_node *nodes, size_t n, struct finding *f) {
        for (size_t i = 0; i < n; i++) {
                char path[PATH_MAX];
                struct stat s;

                snprintf(path, sizeof path, "%.2048s/dev/%.31s", root, nodes[i].name);
                if (lstat(path, &s) < 0)
                        return fail(f, "%s: %s", path, strerror(errno));
                if (!S_ISCHR(s.st_mode) || s.st_rdev != makedev(nodes[i].major, nodes[i].minor))
                        return fail(f, "%s is another device", path);
                if ((s.st_mode & 0666) != 0666)
                        return fail(f, "%s has mode %o: no inference server can open it", path, s.st_mode & 07777U);
        }
        return 0;
}

static int check_nodes(const char *root, struct finding *f) {
        struct device_node nodes[NODES_MAX];
        size_t n = 0;
        int r;

        r = nvidia_nodes(root, nodes, ELEMENTS(nodes), &n);
        if (r < 0)
                return fail(f, "the driver's lists in /proc: %s", strerror(-r));
        r = compare_nodes(root, nodes, n, f);
        return r < 0 ? r : pass(f, "%zu device nodes", n);
}

static int check_neurons(const char *root, struct finding *f) {
        struct device_node nodes[NODES_MAX];
        struct accelerators found;
        char version[64] = "";
        size_t n = 0;
        int r;

        r = accelerators_find(root, &found);
        if (r < 0)
                return fail(f, "/sys/bus/pci/devices: %s", strerror(-r));
        r = neuron_nodes(root, nodes, ELEMENTS(nodes), &n);
        if (r < 0)
                return fail(f, NEURON_CLASS ": %s", strerror(-r));
        if (n != found.neurons)
                return fail(f, "the machine has %u Neuron devices, the driver started %zu", found.neurons, n);
        r = compare_nodes(root, nodes, n, f);
        if (r < 0)
                return r;
        if (read_line(root, "/sys/module/neuron/version", version, sizeof version) < 0)
                return fail(f, "/sys/module/neuron/version cannot be read");
        return pass(f, "%zu Neuron devices, driver %s", n, version);
}

/* The GPU's system processor runs the firmware of the verity root, which the driver reads under lockdown. */
static int check_firmware(const char *root, struct finding *f) {
        _cleanup_closedir_ DIR *d = NULL;
        struct dirent *entry;
        char path[PATH_MAX], line[TEXT], version[64] = "";

        snprintf(path, sizeof path, "%s/proc/driver/nvidia/gpus", root);
        d = opendir(path);
        if (!d)
                return fail(f, "%s: %s", path, strerror(errno));
        while ((entry = readdir(d))) {
                _cleanup_fclose_ FILE *information = NULL;
                char name[PATH_MAX + 272];

                if (entry->d_name[0] == '.')
                        continue;
                snprintf(name, sizeof name, "%s/%s/information", path, entry->d_name);
                information = fopen(name, "re");
                version[0] = '\0';
                while (information && fgets(line, sizeof line, information))
                        if (sscanf(line, "GPU Firmware: %63s", version) == 1)
                                break;
                if (version[0] == '\0' || streq(version, "N/A"))
                        return fail(f, "%s runs no firmware", entry->d_name);
        }
        return version[0] == '\0' ? fail(f, "the driver lists no GPU") : pass(f, "%s", version);
}

static int check_lockdown(const char *root, struct finding *f) {
        char line[TEXT];

        if (read_line(root, "/sys/kernel/security/lockdown", line, sizeof line) < 0 ||
            !strstr(line, "[confidentiality]"))
                return fail(f, "/sys/kernel/security/lockdown is not at confidentiality");
        if (read_line(root, "/proc/sys/kernel/modules_disabled", line, sizeof line) < 0 || !streq(line, "1"))
                return fail(f, "modules can be loaded");
        return pass(f, "confidentiality, and no module can be loaded");
}

/* Functions of libnvidia-ml.so.1 and libcuda.so.1, by NVIDIA's published interfaces. Both libraries are proprietary, so
 * that nothing is compiled or linked against them. */
struct nvml {
        int (*init)(void);
        int (*driver_version)(char *, unsigned);
        int (*device)(unsigned, void **);
        int (*persistence)(void *, unsigned *);
};

struct cuda {
        int (*init)(unsigned);
        int (*count)(int *);
        int (*retain)(void **, int);
        int (*release)(int);
        int (*set_current)(void *);
        int (*allocate)(uint64_t *, size_t);
        int (*free)(uint64_t);
        int (*to_device)(uint64_t, const void *, size_t);
        int (*from_device)(void *, uint64_t, size_t);
};

/* Opens a library, which stays open. */
static void *open_library(const char *name, struct finding *f) {
        void *library = dlopen(name, RTLD_NOW | RTLD_LOCAL);

        if (!library)
                fail(f, "%s", dlerror());
        return library;
}

static int check_libraries(const char *root, struct finding *f) {
        void *library = open_library("libnvidia-ml.so.1", f), *device;
        char version[96] = "", module[96];
        struct nvml nvml;
        unsigned on = 0;
        int r;

        if (!library)
                return -EIO;
        nvml = (struct nvml) {
                .init = dlsym(library, "nvmlInit_v2"),
                .driver_version = dlsym(library, "nvmlSystemGetDriverVersion"),
                .device = dlsym(library, "nvmlDeviceGetHandleByIndex_v2"),
                .persistence = dlsym(library, "nvmlDeviceGetPersistenceMode"),
        };
        if (!nvml.init || !nvml.driver_version || !nvml.device || !nvml.persistence)
                return fail(f, "libnvidia-ml.so.1 lacks a function");
        r = nvml.init();
        if (r != 0)
                return fail(f, "nvmlInit: %d", r);
        r = nvml.driver_version(version, sizeof version);
        if (r != 0)
                return fail(f, "nvmlSystemGetDriverVersion: %d", r);
        if (read_line(root, "/sys/module/nvidia/version", module, sizeof module) < 0 || !streq(version, module))
                return fail(f, "the libraries are of driver %s, the module is not", version);
        if (nvml.device(0, &device) != 0 || nvml.persistence(device, &on) != 0 || on != 1)
                return fail(f, "the first GPU is not in persistence mode: nvidia-persistenced does not hold it");
        return pass(f, "driver %s, persistence mode", version);
}

/* Writes a pattern into the GPU's memory and reads it back. */
static int compute(const struct cuda *cuda, int device, struct finding *f) {
        _cleanup_free_ uint8_t *sent = malloc(BUFFER), *received = calloc(1, BUFFER);
        uint64_t memory = 0;
        void *context;
        int r;

        if (!sent || !received)
                return fail(f, "%s", strerror(ENOMEM));
        for (size_t i = 0; i < BUFFER; i++)
                sent[i] = (uint8_t) (i * 31 + (size_t) device);
        r = cuda->retain(&context, device);
        if (r != 0)
                return fail(f, "GPU %d: cuDevicePrimaryCtxRetain: %d", device, r);
        r = cuda->set_current(context);
        if (r == 0)
                r = cuda->allocate(&memory, BUFFER);
        if (r == 0)
                r = cuda->to_device(memory, sent, BUFFER);
        if (r == 0)
                r = cuda->from_device(received, memory, BUFFER);
        if (memory != 0)
                cuda->free(memory);
        cuda->release(device);
        if (r != 0)
                return fail(f, "GPU %d: a copy to its memory and back: error %d", device, r);
        return memcmp(sent, received, BUFFER) == 0 ? 0 : fail(f, "GPU %d: its memory gives other bytes", device);
}

static int check_cuda(const char *root _unused_, struct finding *f) {
        void *library = open_library("libcuda.so.1", f);
        struct cuda cuda;
        int r, count = 0;

        if (!library)
                return -EIO;
        cuda = (struct cuda) {
                .init = dlsym(library, "cuInit"),
                .count = dlsym(library, "cuDeviceGetCount"),
                .retain = dlsym(library, "cuDevicePrimaryCtxRetain"),
                .release = dlsym(library, "cuDevicePrimaryCtxRelease_v2"),
                .set_current = dlsym(library, "cuCtxSetCurrent"),
                .allocate = dlsym(library, "cuMemAlloc_v2"),
                .free = dlsym(library, "cuMemFree_v2"),
                .to_device = dlsym(library, "cuMemcpyHtoD_v2"),
                .from_device = dlsym(library, "cuMemcpyDtoH_v2"),
        };
        if (!cuda.init || !cuda.count || !cuda.retain || !cuda.release || !cuda.set_current || !cuda.allocate ||
            !cuda.free || !cuda.to_device || !cuda.from_device)
                return fail(f, "libcuda.so.1 lacks a function");
        r = cuda.init(0);
        if (r == 802)
                return fail(f, "cuInit: 802: nvidia-fabricmanager has not set up the NVSwitches");
        if (r == 0)
                r = cuda.count(&count);
        if (r != 0 || count < 1)
                return fail(f, "cuInit: %d, %d GPUs", r, count);
        for (int device = 0; device < count; device++)
                if (compute(&cuda, device, f) < 0)
                        return -EIO;
        return pass(f, "%d GPUs copy to their memory and back", count);
}

/* A machine with Neuron devices and no GPU has nothing for the checks of NVIDIA's driver. A machine with neither was
 * meant to have a GPU: the first check says so. */
static bool applies(enum kind kind, const struct accelerators *found) {
        switch (kind) {
        case NVIDIA:
                return found->gpus > 0 || found->neurons == 0;
        case NEURON:
                return found->neurons > 0;
        case EVERY:
        default:
                return true;
        }
}

int gpu_test(const char *root, FILE *out) {
        static const struct {
                enum kind kind;
                const char *name;
                int (*check)(const char *root, struct finding *f);
        } checks[] = {
                { NVIDIA, "gpus", check_gpus },           { NVIDIA, "nodes", check_nodes },
                { NEURON, "neurons", check_neurons },     { EVERY, "lockdown", check_lockdown },
                { NVIDIA, "libraries", check_libraries }, { NVIDIA, "cuda", check_cuda },
                { NVIDIA, "firmware", check_firmware },
        };
        struct accelerators found = { 0 };
        size_t passed = 0, made = 0;

        /* If it fails, the first check fails, too, and says why. */
        (void) accelerators_find(root, &found);
        for (size_t i = 0; i < ELEMENTS(checks); i++) {
                struct finding f = { "" };
                bool good;

                if (!applies(checks[i].kind, &found))
                        continue;
                good = checks[i].check(root, &f) == 0;
                fprintf(out, "gpu-test: %s %s: %s\n", good ? "PASS" : "FAIL", checks[i].name, f.text);
                passed += good;
                made++;
        }
        fprintf(out, "gpu-test: %zu of %zu\n", passed, made);
        return fflush(out) == 0 && passed == made ? 0 : -EIO;
}
