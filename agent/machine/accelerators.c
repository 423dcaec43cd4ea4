/* SPDX-License-Identifier: Apache-2.0 */
#include "machine/accelerators.h"

#include <limits.h>

enum {
        VENDOR_NVIDIA = 0x10de,
        VENDOR_AMAZON = 0x1d0f,
        /* The upper two bytes of a PCI class. */
        CLASS_VGA = 0x0300,
        CLASS_3D = 0x0302,
        CLASS_BRIDGE = 0x0680,
        /* Minor numbers of the driver's own nodes. */
        MINOR_CONTROL = 255,
        MINOR_GPU_MAX = 247,
};

/* From the Neuron driver's table of devices: Inferentia, Trainium, Inferentia 2, Trainium 2. */
static const unsigned neuron_devices[] = { 0x7064, 0x7065, 0x7066, 0x7067, 0x7164, 0x7264, 0x7364 };

/* A file of /sys/bus/pci/devices: "0x10de\n". */
static int read_identifier(const char *directory, const char *name, unsigned *ret) {
        _cleanup_fclose_ FILE *f = NULL;
        char path[PATH_MAX], line[32], end;
        unsigned value;

        snprintf(path, sizeof path, "%s/%s", directory, name);
        f = fopen(path, "re");
        if (!f)
                return -errno;
        if (!fgets(line, sizeof line, f) || strncmp(line, "0x", 2) != 0 ||
            strspn(line + 2, "0123456789abcdef") != strlen(line) - 3 || sscanf(line, "0x%8x%c", &value, &end) != 2 ||
            end != '\n')
                return -EBADMSG;
        *ret = value;
        return 0;
}

static bool is_neuron(unsigned device) {
        for (size_t i = 0; i < ELEMENTS(neuron_devices); i++)
                if (neuron_devices[i] == device)
                        return true;
        return false;
}

static int count_device(const char *directory, struct accelerators *a) {
        unsigned vendor = 0, device = 0, class = 0;
        int r;

        r = read_identifier(directory, "vendor", &vendor);
        if (r < 0)
                return r;
        r = read_identifier(directory, "device", &device);
        if (r < 0)
                return r;
        r = read_identifier(directory, "class", &class);
        if (r < 0)
                return r;
        class >>= 8;
        if (vendor == VENDOR_NVIDIA && (class == CLASS_VGA || class == CLASS_3D))
                a->gpus++;
        else if (vendor == VENDOR_NVIDIA && class == CLASS_BRIDGE)
                a->switches++;
        else if (vendor == VENDOR_AMAZON && is_neuron(device))
                a->neurons++;
        return 0;
}

int accelerators_find(const char *root, struct accelerators *ret) {
        _cleanup_closedir_ DIR *d = NULL;
        struct accelerators a = { 0 };
        struct dirent *entry;
        char path[PATH_MAX];

        snprintf(path, sizeof path, "%s/sys/bus/pci/devices", root);
        d = opendir(path);
        if (!d) {
                if (errno != ENOENT)
                        return -errno;
                *ret = a; /* a machine without PCI */
                return 0;
        }
        while ((entry = readdir(d))) {
                char directory[PATH_MAX + 256];
                int r;

                if (entry->d_name[0] == '.')
                        continue;
                snprintf(directory, sizeof directory, "%s/%s", path, entry->d_name);
                r = count_device(directory, &a);
                if (r < 0)
                        return r;
        }
        *ret = a;
        return 0;
}

static int add_node(struct device_node *nodes, size_t max, size_t *n, unsigned major, unsigned minor,
                    const char *name) {
        if (*n >= max)
                return -ENOBUFS;
        snprintf(nodes[*n].name, sizeof nodes[*n].name, "%s", name);
        nodes[*n].major = major;
        nodes[*n].minor = minor;
        ++*n;
        return 0;
}

static int add_numbered(struct device_node *nodes, size_t max, size_t *n, unsigned major, unsigned minor,
                        const char *name) {
        char numbered[32];

        snprintf(numbered, sizeof numbered, "%.16s%u", name, minor);
        return add_node(nodes, max, n, major, minor, numbered);
}

/* The number that the kernel gave a character driver: a line "MAJOR NAME" of /proc/devices. -ENODEV: it has none. */
static int find_major(const char *root, const char *name, unsigned *ret) {
        _cleanup_fclose_ FILE *f = NULL;
        char path[PATH_MAX], line[128], found[65];
        unsigned major;

        snprintf(path, sizeof path, "%s/proc/devices", root);
        f = fopen(path, "re");
        if (!f)
                return -errno;
        while (fgets(line, sizeof line, f) && !streq(line, "Block devices:\n")) {
                const char *number = line + strspn(line, " ");

                if (*number >= '0' && *number <= '9' && sscanf(number, "%3u %64s", &major, found) == 2 &&
                    streq(found, name)) {
                        *ret = major;
                        return 0;
                }
        }
        return -ENODEV;
}

/* The line "Device Minor: N" of a GPU's information. */
static int read_minor(const char *path, unsigned *ret) {
        _cleanup_fclose_ FILE *f = fopen(path, "re");
        char line[256], end;
        unsigned minor;

        if (!f)
                return -errno;
        while (fgets(line, sizeof line, f))
                if (sscanf(line, "Device Minor: %4u%c", &minor, &end) == 2) {
                        if (end != '\n' || minor > MINOR_GPU_MAX)
                                return -EBADMSG;
                        *ret = minor;
                        return 0;
                }
        return -EBADMSG;
}

static int add_gpus(const char *root, struct device_node *nodes, size_t max, size_t *n) {
        _cleanup_closedir_ DIR *d = NULL;
        struct dirent *entry;
        char path[PATH_MAX];
        size_t before = *n;

        snprintf(path, sizeof path, "%s/proc/driver/nvidia/gpus", root);
        d = opendir(path);
        if (!d)
                return errno == ENOENT ? -ENODEV : -errno;
        while ((entry = readdir(d))) {
                char information[PATH_MAX + 272];
                unsigned minor = 0;
                int r;

                if (entry->d_name[0] == '.')
                        continue;
                snprintf(information, sizeof information, "%s/%s/information", path, entry->d_name);
                r = read_minor(information, &minor);
                if (r < 0)
                        return r;
                r = add_numbered(nodes, max, n, NVIDIA_MAJOR, minor, "nvidia");
                if (r < 0)
                        return r;
        }
        return *n == before ? -ENODEV : 0;
}

/* The switches are numbered in the order in which the driver found them. */
static int add_switches(const char *root, struct device_node *nodes, size_t max, size_t *n) {
        _cleanup_closedir_ DIR *d = NULL;
        struct dirent *entry;
        unsigned major = 0, count = 0;
        char path[PATH_MAX];
        int r;

        r = find_major(root, "nvidia-nvswitch", &major);
        if (r < 0)
                return r == -ENODEV ? 0 : r;
        snprintf(path, sizeof path, "%s/proc/driver/nvidia-nvswitch/devices", root);
        d = opendir(path);
        if (!d)
                return errno == ENOENT ? 0 : -errno;
        while ((entry = readdir(d))) {
                if (entry->d_name[0] == '.')
                        continue;
                r = add_numbered(nodes, max, n, major, count++, "nvidia-nvswitch");
                if (r < 0)
                        return r;
        }
        return count == 0 ? 0 : add_node(nodes, max, n, major, MINOR_CONTROL, "nvidia-nvswitchctl");
}

int nvidia_nodes(const char *root, struct device_node *nodes, size_t max, size_t *ret_n) {
        unsigned uvm = 0;
        size_t n = 0;
        int r;

        r = find_major(root, "nvidia-uvm", &uvm);
        if (r < 0)
                return r;
        r = add_node(nodes, max, &n, NVIDIA_MAJOR, MINOR_CONTROL, "nvidiactl");
        if (r < 0)
                return r;
        r = add_node(nodes, max, &n, uvm, 0, "nvidia-uvm");
        if (r < 0)
                return r;
        r = add_node(nodes, max, &n, uvm, 1, "nvidia-uvm-tools");
        if (r < 0)
                return r;
        r = add_gpus(root, nodes, max, &n);
        if (r < 0)
                return r;
        r = add_switches(root, nodes, max, &n);
        if (r < 0)
                return r;
        *ret_n = n;
        return 0;
}

unsigned nvidia_gpus(const struct device_node *nodes, size_t n) {
        unsigned gpus = 0;

        for (size_t i = 0; i < n; i++)
                gpus += nodes[i].major == NVIDIA_MAJOR && nodes[i].minor != MINOR_CONTROL;
        return gpus;
}

/* The kernel's line "MAJOR:MINOR\n" about a device node. */
static int read_number(const char *path, unsigned *ret_major, unsigned *ret_minor) {
        _cleanup_fclose_ FILE *f = fopen(path, "re");
        char line[32], end;

        if (!f)
                return -errno;
        if (!fgets(line, sizeof line, f) || strspn(line, "0123456789:") != strlen(line) - 1 ||
            sscanf(line, "%4u:%7u%c", ret_major, ret_minor, &end) != 3 || end != '\n')
                return -EBADMSG;
        return 0;
}

int neuron_nodes(const char *root, struct device_node *nodes, size_t max, size_t *ret_n) {
        _cleanup_closedir_ DIR *d = NULL;
        struct dirent *entry;
        char path[PATH_MAX];
        size_t n = 0;

        snprintf(path, sizeof path, "%s" NEURON_CLASS, root);
        d = opendir(path);
        if (!d && errno != ENOENT)
                return -errno;
        while (d && (entry = readdir(d))) {
                const char *digits = entry->d_name + strlen("neuron");
                unsigned major = 0, minor = 0;
                char number[PATH_MAX + 272];
                int r;

                /* The class has files of its own beside the devices. */
                if (strncmp(entry->d_name, "neuron", strlen("neuron")) != 0 || *digits == '\0' ||
                    strspn(digits, "0123456789") != strlen(digits))
                        continue;
                snprintf(number, sizeof number, "%s/%s/dev", path, entry->d_name);
                r = read_number(number, &major, &minor);
                if (r < 0)
                        return r;
                if (strlen(entry->d_name) >= sizeof nodes->name)
                        return -EBADMSG;
                r = add_node(nodes, max, &n, major, minor, entry->d_name);
                if (r < 0)
                        return r;
        }
        *ret_n = n;
        return 0;
}
