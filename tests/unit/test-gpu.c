/* SPDX-License-Identifier: Apache-2.0 */

/* machine/accelerators and machine/gpu-test: which accelerators a machine has, the nodes of their drivers, and the test
 * of an instance with GPUs or Neuron devices, on trees that look like /sys, /proc and /dev. */

#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "machine/accelerators.h"
#include "machine/gpu-test.h"
#include "tree.h"

/* Files of a machine: a name, and its text. */
struct file {
        const char *name, *text;
};

#define PCI "sys/bus/pci/devices/"
#define DEVICE(slot, v, d, c) \
        { PCI slot "/vendor", v }, { PCI slot "/device", d }, { \
                PCI slot "/class", c \
        }

static const struct file p4d[] = {
        DEVICE("0000:00:03.0", "0x1d0f\n", "0xec20\n", "0x020000\n"), /* a network interface */
        DEVICE("0000:10:1c.0", "0x10de\n", "0x20b0\n", "0x030200\n"),
        DEVICE("0000:10:1d.0", "0x10de\n", "0x20b0\n", "0x030200\n"),
        DEVICE("0000:c0:1c.0", "0x10de\n", "0x1af1\n", "0x068000\n"),
        { "proc/devices",
          "Character devices:\n  1 mem\n195 nvidia\n235 nvidia-nvswitch\n508 nvidia-uvm\n\nBlock devices:\n259 "
          "blkext\n" },
        { "proc/driver/nvidia/gpus/0000:10:1c.0/information",
          "Model: \t\t NVIDIA A100\nIRQ:   \t\t 0\nDevice Minor: \t 0\nGPU Firmware: \t 550.163.01\nGPU Excluded:\t "
          "No\n" },
        { "proc/driver/nvidia/gpus/0000:10:1d.0/information",
          "Model: \t\t NVIDIA A100\nDevice Minor: \t 7\nGPU Firmware: \t 550.163.01\n" },
        { "proc/driver/nvidia-nvswitch/devices/0000:c0:1c.0", "" },
        { "sys/module/nvidia/version", "550.163.01\n" },
        { "sys/kernel/security/lockdown", "none integrity [confidentiality]\n" },
        { "proc/sys/kernel/modules_disabled", "1\n" },
};

static const struct device_node p4d_nodes[] = {
        { "nvidia-nvswitch0", 235, 0 }, { "nvidia-nvswitchctl", 235, 255 },
        { "nvidia-uvm", 508, 0 },       { "nvidia-uvm-tools", 508, 1 },
        { "nvidia0", 195, 0 },          { "nvidia7", 195, 7 },
        { "nvidiactl", 195, 255 },
};

/* An instance with two Neuron devices. */
static const struct file inf2[] = {
        DEVICE("0000:00:1e.0", "0x1d0f\n", "0x7264\n", "0x088000\n"),
        DEVICE("0000:00:1f.0", "0x1d0f\n", "0x7264\n", "0x088000\n"),
        { "sys/class/neuron_device/neuron0/dev", "248:0\n" },
        { "sys/class/neuron_device/neuron1/dev", "248:1\n" },
        { "sys/class/neuron_device/node_id", "x\n" }, /* a file of the class, no device */
        { "sys/class/neuron_device/neuron_cc/dev", "248:3\n" },
        { "sys/module/neuron/version", "2.24.7.0\n" },
        { "sys/kernel/security/lockdown", "none integrity [confidentiality]\n" },
        { "proc/sys/kernel/modules_disabled", "1\n" },
};

static void make_folders(char *path) {
        for (char *p = path + 1; (p = strchr(p, '/')); *p++ = '/') {
                *p = '\0';
                assert_true(mkdir(path, 0755) == 0 || errno == EEXIST);
        }
}

static void write_files(const char *root, const struct file *files, size_t n) {
        for (size_t i = 0; i < n; i++) {
                _cleanup_free_ char *path = NULL;

                assert_true(asprintf(&path, "%s/%s", root, files[i].name) > 0);
                make_folders(path);
                tree_write(root, files[i].name, files[i].text);
        }
}

/* A machine with these files, of which `other` replaces one. */
static void make(char *root, const struct file *files, size_t n, const struct file *other) {
        memcpy(root, "/tmp/test-gpu-XXXXXX", sizeof "/tmp/test-gpu-XXXXXX");
        assert_non_null(mkdtemp(root));
        write_files(root, files, n);
        if (other)
                write_files(root, other, 1);
}

static void make_machine(char *root, const struct file *other) {
        make(root, p4d, ELEMENTS(p4d), other);
}

static int by_name(const void *a, const void *b) {
        return strcmp(((const struct device_node *) a)->name, ((const struct device_node *) b)->name);
}

static void finds_accelerators_by_vendor_device_and_class(void **state) {
        static const struct file others[] = {
                DEVICE("0000:00:04.0", "0x10de\n", "0x1eb8\n", "0x030000\n"), /* a GPU with a display */
                DEVICE("0000:00:05.0", "0x10de\n", "0x10f8\n", "0x040300\n"), /* its sound */
                DEVICE("0000:00:06.0", "0x1d0f\n", "0x7264\n", "0x088000\n"),
                DEVICE("0000:00:07.0", "0x1d0f\n", "0x8061\n", "0x010802\n"),
                DEVICE("0000:00:08.0", "0x1002\n", "0x7264\n", "0x030200\n"),
        };
        struct accelerators a = { 9, 9, 9 };
        char root[32];

        (void) state;
        make_machine(root, NULL);
        assert_int_equal(accelerators_find(root, &a), 0);
        assert_true(a.gpus == 2 && a.switches == 1 && a.neurons == 0);
        write_files(root, others, ELEMENTS(others));
        assert_int_equal(accelerators_find(root, &a), 0);
        assert_true(a.gpus == 3 && a.switches == 1 && a.neurons == 1);
        tree_remove(root);
        assert_int_equal(accelerators_find(root, &a), 0); /* no PCI at all */
        assert_true(a.gpus == 0 && a.switches == 0 && a.neurons == 0);
}

static void refuses_identifiers_that_linux_does_not_write(void **state) {
        static const char *const bad[] = {
                "",         "\n",         "0x\n",      "0x10de",    "10de\n",
                "0x10dg\n", "0x10DE\n",   " 0x10de\n", "0x10de \n", "0x123456789\n",
                "0x-1\n",   "0x10de\r\n", "0x0x10\n",  "0x1 0\n",   "0x0000000000000000000000000000000000010de\n"
        };

        (void) state;
        for (size_t i = 0; i < ELEMENTS(bad); i++) {
                struct file other = { PCI "0000:10:1c.0/vendor", bad[i] };
                struct accelerators a;
                char root[32];

                make_machine(root, &other);
                assert_int_equal(accelerators_find(root, &a), -EBADMSG);
                tree_remove(root);
        }
}

static void makes_the_drivers_nodes(void **state) {
        struct device_node nodes[NODES_MAX];
        char root[32];
        size_t n = 0;

        (void) state;
        make_machine(root, NULL);
        assert_int_equal(nvidia_nodes(root, nodes, ELEMENTS(nodes), &n), 0);
        assert_int_equal(n, ELEMENTS(p4d_nodes));
        assert_int_equal(nvidia_gpus(nodes, n), 2);
        qsort(nodes, n, sizeof *nodes, by_name);
        for (size_t i = 0; i < n; i++) {
                assert_string_equal(nodes[i].name, p4d_nodes[i].name);
                assert_true(nodes[i].major == p4d_nodes[i].major && nodes[i].minor == p4d_nodes[i].minor);
        }
        for (size_t max = 0; max < ELEMENTS(p4d_nodes); max++)
                assert_int_equal(nvidia_nodes(root, nodes, max, &n), -ENOBUFS);
        tree_remove(root);
}

static void refuses_what_the_driver_does_not_write(void **state) {
        static const struct {
                struct file other;
                int expected;
        } bad[] = {
                { { "proc/devices", "" }, -ENODEV },
                { { "proc/devices", "Character devices:\n195 nvidia\n" }, -ENODEV },
                /* a block device of that name is another thing */
                { { "proc/devices", "Character devices:\n\nBlock devices:\n508 nvidia-uvm\n" }, -ENODEV },
                { { "proc/devices", "x nvidia-uvm\n-1 nvidia-uvm\n508 nvidia-uvm2\n" }, -ENODEV },
                { { "proc/driver/nvidia/gpus/0000:10:1d.0/information", "" }, -EBADMSG },
                { { "proc/driver/nvidia/gpus/0000:10:1d.0/information", "Device Minor: \n" }, -EBADMSG },
                { { "proc/driver/nvidia/gpus/0000:10:1d.0/information", "Device Minor: 248\n" }, -EBADMSG },
                { { "proc/driver/nvidia/gpus/0000:10:1d.0/information", "Device Minor: 1x\n" }, -EBADMSG },
                { { "proc/driver/nvidia/gpus/0000:10:1d.0/information", "Device Minor: 99999\n" }, -EBADMSG },
                { { "proc/driver/nvidia/gpus/0000:10:1d.0/information", "Device Minor: 3" }, -EBADMSG },
        };

        (void) state;
        for (size_t i = 0; i < ELEMENTS(bad); i++) {
                struct device_node nodes[NODES_MAX];
                char root[32];
                size_t n = 0;

                make_machine(root, &bad[i].other);
                assert_int_equal(nvidia_nodes(root, nodes, ELEMENTS(nodes), &n), bad[i].expected);
                tree_remove(root);
        }
}

/* Runs the test of a machine; the text that it printed. */
static char *tested(const struct file *other, const char *fault, int expected) {
        char root[32], *text = NULL;
        size_t size;
        FILE *out = open_memstream(&text, &size);

        assert_non_null(out);
        make_machine(root, other);
        assert_int_equal(setenv("GPU_FAULT", fault, 1), 0);
        assert_int_equal(gpu_test(root, out), expected);
        assert_int_equal(fclose(out), 0);
        tree_remove(root);
        return text;
}

/* The nodes of the fake machine are missing unless the test may make devices. */
static void tests_a_machine(void **state) {
        _cleanup_free_ char *text = tested(NULL, "", -EIO);

        (void) state;
        assert_non_null(strstr(text, "gpu-test: PASS gpus: 2 GPUs, 1 NVSwitches\n"));
        assert_non_null(strstr(text, "gpu-test: FAIL nodes: /tmp/test-gpu-"));
        assert_non_null(strstr(text, "gpu-test: PASS lockdown: confidentiality, and no module can be loaded\n"));
        assert_non_null(strstr(text, "gpu-test: PASS libraries: driver 550.163.01, persistence mode\n"));
        assert_non_null(strstr(text, "gpu-test: PASS cuda: 2 GPUs copy to their memory and back\n"));
        assert_non_null(strstr(text, "gpu-test: PASS firmware: 550.163.01\n"));
        assert_non_null(strstr(text, "gpu-test: 5 of 6\n"));
}

static void finds_each_fault(void **state) {
        static const struct {
                struct file other;
                const char *fault, *expected;
        } cases[] = {
                { { .name = NULL }, "nvml", "FAIL libraries: nvmlInit: 9\n" },
                { { .name = NULL }, "version", "FAIL libraries: the libraries are of driver 1.2, the module is not\n" },
                { { .name = NULL }, "persistence", "FAIL libraries: the first GPU is not in persistence mode" },
                { { .name = NULL }, "fabric", "FAIL cuda: cuInit: 802: nvidia-fabricmanager" },
                { { .name = NULL }, "count", "FAIL cuda: cuInit: 0, 0 GPUs\n" },
                { { .name = NULL }, "context", "FAIL cuda: GPU 1: cuDevicePrimaryCtxRetain: 2\n" },
                { { .name = NULL }, "memory", "FAIL cuda: GPU 0: a copy to its memory and back: error 2\n" },
                { { .name = NULL }, "bytes", "FAIL cuda: GPU 0: its memory gives other bytes\n" },
                { { PCI "0000:c0:1c.0/class", "0x030200\n" },
                  "",
                  "FAIL gpus: the machine has 3 GPUs, the driver lists 2\n" },
                { { "sys/kernel/security/lockdown", "none [integrity] confidentiality\n" }, "", "FAIL lockdown: /sys" },
                { { "proc/sys/kernel/modules_disabled", "0\n" }, "", "FAIL lockdown: modules can be loaded\n" },
                { { "sys/module/nvidia/version", "550.54\n" },
                  "",
                  "FAIL libraries: the libraries are of driver 550.163" },
                { { "proc/devices", "" }, "", "FAIL gpus: the driver's lists in /proc: No such device\n" },
                { { "proc/driver/nvidia/gpus/0000:10:1c.0/information", "Device Minor: 0\nGPU Firmware: N/A\n" },
                  "",
                  "FAIL firmware: 0000:10:1c.0 runs no firmware\n" },
        };

        (void) state;
        for (size_t i = 0; i < ELEMENTS(cases); i++) {
                _cleanup_free_ char *text = tested(cases[i].other.name ? &cases[i].other : NULL, cases[i].fault, -EIO);

                if (!strstr(text, cases[i].expected))
                        fail_msg("expected \"%s\" in:\n%s", cases[i].expected, text);
        }
}

static void a_machine_without_a_gpu_fails(void **state) {
        char root[] = "/tmp/test-gpu-XXXXXX", *text = NULL;
        size_t size;
        FILE *out = open_memstream(&text, &size);

        (void) state;
        assert_non_null(mkdtemp(root));
        assert_int_equal(gpu_test(root, out), -EIO);
        assert_int_equal(fclose(out), 0);
        assert_non_null(strstr(text, "gpu-test: FAIL gpus: this machine has no NVIDIA GPU\n"));
        free(text);
        tree_remove(root);
}

static void lists_the_nodes_of_started_neuron_devices(void **state) {
        struct device_node nodes[NODES_MAX];
        char root[32];
        size_t n = 9;

        (void) state;
        make(root, inf2, ELEMENTS(inf2), NULL);
        assert_int_equal(neuron_nodes(root, nodes, ELEMENTS(nodes), &n), 0);
        assert_int_equal(n, 2);
        qsort(nodes, n, sizeof *nodes, by_name);
        for (size_t i = 0; i < n; i++) {
                assert_string_equal(nodes[i].name, i == 0 ? "neuron0" : "neuron1");
                assert_true(nodes[i].major == 248 && nodes[i].minor == i);
        }
        assert_int_equal(neuron_nodes(root, nodes, 1, &n), -ENOBUFS);
        tree_remove(root);
        assert_int_equal(neuron_nodes(root, nodes, ELEMENTS(nodes), &n), 0); /* the driver is not loaded */
        assert_int_equal(n, 0);
}

static void refuses_neuron_nodes_that_linux_does_not_write(void **state) {
        static const char *const bad[] = {
                "",       "\n",        "248\n",    "248:\n",    ":0\n",     "248:0",
                "-1:0\n", "248:0:0\n", "248:0 \n", "99999:0\n", "248::0\n",
        };

        (void) state;
        for (size_t i = 0; i < ELEMENTS(bad); i++) {
                struct file other = { "sys/class/neuron_device/neuron1/dev", bad[i] };
                struct device_node nodes[NODES_MAX];
                char root[32];
                size_t n = 0;

                make(root, inf2, ELEMENTS(inf2), &other);
                assert_int_equal(neuron_nodes(root, nodes, ELEMENTS(nodes), &n), -EBADMSG);
                tree_remove(root);
        }
}

/* A node of the fake machine is a file here: what a device node must be like, tests/e2e/test_accelerators.py shows. */
static void tests_a_machine_with_neuron_devices(void **state) {
        static const struct {
                struct file other;
                const char *expected;
        } cases[] = {
                { { .name = NULL }, "gpu-test: FAIL neurons: /tmp/test-gpu-" },
                { { "dev/neuron0", "" }, "/dev/neuron" },
                { { "sys/class/neuron_device/neuron2/dev", "248:2\n" },
                  "FAIL neurons: the machine has 2 Neuron devices, the driver started 3\n" },
                { { "sys/class/neuron_device/neuron1/dev", "248\n" },
                  "FAIL neurons: /sys/class/neuron_device: Bad message\n" },
        };

        (void) state;
        for (size_t i = 0; i < ELEMENTS(cases); i++) {
                char root[32], *text = NULL;
                size_t size;
                FILE *out = open_memstream(&text, &size);

                assert_non_null(out);
                make(root, inf2, ELEMENTS(inf2), cases[i].other.name ? &cases[i].other : NULL);
                assert_int_equal(gpu_test(root, out), -EIO);
                assert_int_equal(fclose(out), 0);
                if (!strstr(text, cases[i].expected) || !strstr(text, "PASS lockdown: ") ||
                    !strstr(text, "gpu-test: 1 of 2\n") || strstr(text, "cuda"))
                        fail_msg("expected \"%s\", and no check of a GPU, in:\n%s", cases[i].expected, text);
                free(text);
                tree_remove(root);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(finds_accelerators_by_vendor_device_and_class),
                cmocka_unit_test(refuses_identifiers_that_linux_does_not_write),
                cmocka_unit_test(makes_the_drivers_nodes),
                cmocka_unit_test(refuses_what_the_driver_does_not_write),
                cmocka_unit_test(tests_a_machine),
                cmocka_unit_test(finds_each_fault),
                cmocka_unit_test(a_machine_without_a_gpu_fails),
                cmocka_unit_test(lists_the_nodes_of_started_neuron_devices),
                cmocka_unit_test(refuses_neuron_nodes_that_linux_does_not_write),
                cmocka_unit_test(tests_a_machine_with_neuron_devices),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
