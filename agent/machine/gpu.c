/* SPDX-License-Identifier: Apache-2.0 */

/* sealboot-gpu: loads the drivers of the accelerators that a machine has, makes their device nodes, and then raises the
 * kernel's lockdown to confidentiality. Units of the GPU images start it before any network.
 *
 *   sealboot-gpu [--fabric-manager PROGRAM]   as above; on a machine without an accelerator it only raises lockdown
 *   sealboot-gpu --test [--save FILE]
 *                         checks on a running machine what only an instance with a GPU can show (gpu-test.c); the
 *                         agent's report has what is in /run/sealboot-gpu/test
 *
 * The images of kiwi/ with this program boot without lockdown= on the command line: the kernel would refuse the
 * drivers' modules, which nobody whom it trusts has signed. Until lockdown is raised there is no network, no key and no
 * model, and modules come from the verity root alone. Lockdown cannot be lowered again.
 *
 * It makes the nodes itself: NVIDIA's program for that (nvidia-modprobe) is setuid. */

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>

#include "machine/accelerators.h"
#include "machine/gpu-test.h"

#define PROGRAM "sealboot-gpu"
#define LOCKDOWN "/sys/kernel/security/lockdown"
#define FABRIC_MANAGER "/usr/bin/nv-fabricmanager"

static int complain(const char *what, const char *why) {
        fprintf(stderr, PROGRAM ": %s: %s\n", what, why);
        return -EIO;
}

/* modprobe says on standard error why a module did not load. */
static int load_module(const char *name) {
        pid_t child = fork();
        int status;

        if (child < 0)
                return complain("modprobe", strerror(errno));
        if (child == 0) {
                execlp("modprobe", "modprobe", name, (char *) NULL);
                fprintf(stderr, PROGRAM ": modprobe: %s\n", strerror(errno));
                _exit(127);
        }
        while (waitpid(child, &status, 0) < 0)
                if (errno != EINTR)
                        return complain("modprobe", strerror(errno));
        if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
                return complain(name, "the driver of this machine's accelerator did not load, for the reason above; "
                                      "use an instance type that the image's driver supports");
        return 0;
}

/* Everybody may open the nodes: DevicePolicy=closed of each service is what keeps it from them. */
static int make_node(const struct device_node *node) {
        char path[64];
        struct stat s;

        snprintf(path, sizeof path, "/dev/%.31s", node->name);
        if (mknod(path, S_IFCHR | 0666, makedev(node->major, node->minor)) == 0)
                return 0;
        if (errno != EEXIST || lstat(path, &s) < 0)
                return complain(path, strerror(errno));
        if (!S_ISCHR(s.st_mode) || s.st_rdev != makedev(node->major, node->minor))
                return complain(path, "is there already, and is another device");
        return chmod(path, 0666) < 0 ? complain(path, strerror(errno)) : 0;
}

static int make_nodes(const struct device_node *nodes, size_t n) {
        umask(0);
        for (size_t i = 0; i < n; i++)
                if (make_node(&nodes[i]) < 0)
                        return -EIO;
        return 0;
}

static int start_gpus(const struct accelerators *found, const char *fabric_manager) {
        struct device_node nodes[NODES_MAX];
        size_t n = 0;
        int r;

        if (found->switches > 0 && access(fabric_manager, X_OK) < 0)
                return complain(fabric_manager,
                                "is not in this image, but the GPUs of this instance type cannot be used "
                                "without it; use an image that has it, such as al2023-gpu");
        if (load_module("nvidia") < 0 || load_module("nvidia-uvm") < 0)
                return -EIO;
        r = nvidia_nodes("", nodes, ELEMENTS(nodes), &n);
        if (r < 0)
                return complain("/proc/driver/nvidia", strerror(-r));
        if (nvidia_gpus(nodes, n) != found->gpus)
                return complain("/proc/driver/nvidia/gpus",
                                "the driver does not list every GPU of this machine; replace "
                                "the instance");
        return make_nodes(nodes, n);
}

/* The driver loads although a device does not start, and then makes no node for it. The nodes that it makes are root's
 * alone. */
static int start_neurons(const struct accelerators *found) {
        struct device_node nodes[NODES_MAX];
        size_t n = 0;
        int r;

        if (load_module("neuron") < 0)
                return -EIO;
        r = neuron_nodes("", nodes, ELEMENTS(nodes), &n);
        if (r < 0)
                return complain(NEURON_CLASS, strerror(-r));
        if (n != found->neurons)
                return complain(NEURON_CLASS, "the driver has not started every Neuron device of this machine, for the "
                                              "reason in the kernel's log; replace the instance");
        return make_nodes(nodes, n);
}

/* The kernel refuses (EPERM) to be locked at a level that it has already: so its answer is what counts. */
static int raise_lockdown(void) {
        _cleanup_close_ int fd = open(LOCKDOWN, O_WRONLY | O_CLOEXEC);
        _cleanup_fclose_ FILE *f = NULL;
        char line[128] = "";

        if (fd < 0)
                return complain(LOCKDOWN, strerror(errno));
        if (write(fd, "confidentiality", strlen("confidentiality")) < 0 && errno != EPERM)
                return complain(LOCKDOWN, strerror(errno));
        f = fopen(LOCKDOWN, "re");
        if (!f || !fgets(line, sizeof line, f) || !strstr(line, "[confidentiality]"))
                return complain(LOCKDOWN, "is not at confidentiality, and cannot be raised to it");
        return 0;
}

static int start(const char *fabric_manager) {
        struct accelerators found;
        int r;

        r = accelerators_find("", &found);
        if (r < 0)
                return complain("/sys/bus/pci/devices", strerror(-r));
        if (found.gpus > 0 && start_gpus(&found, fabric_manager) < 0)
                return -EIO;
        if (found.neurons > 0 && start_neurons(&found) < 0)
                return -EIO;
        if (raise_lockdown() < 0)
                return -EIO;
        printf("%u NVIDIA GPUs, %u NVSwitches, %u Neuron devices; lockdown is at confidentiality\n", found.gpus,
               found.switches, found.neurons);
        return 0;
}

/* The agent copies the file into its report, so it must never see half of it. */
static int save(const char *text, const char *path) {
        _cleanup_free_ char *new = NULL;
        FILE *f = NULL;
        bool written;

        if (asprintf(&new, "%s.new", path) < 0) {
                new = NULL;
                return complain(path, strerror(ENOMEM));
        }
        f = fopen(new, "we");
        if (!f)
                return complain(new, strerror(errno));
        written = fputs(text, f) >= 0;
        written &= fclose(f) == 0;
        if (!written || rename(new, path) < 0)
                return complain(path, strerror(errno));
        return 0;
}

static int test(const char *path) {
        _cleanup_free_ char *text = NULL;
        size_t size;
        FILE *memory = open_memstream(&text, &size);
        int r;

        if (!memory)
                return complain("the test", strerror(errno));
        r = gpu_test("", memory);
        if (fclose(memory) != 0)
                return complain("the test", strerror(errno));
        if (fputs(text, stdout) < 0 || fflush(stdout) != 0)
                return complain("standard output", strerror(errno));
        if (path && save(text, path) < 0)
                return -EIO;
        return r;
}

int main(int argc, char *argv[]) {
        if (argc == 2 && streq(argv[1], "--test"))
                return test(NULL) < 0 ? 1 : 0;
        if (argc == 4 && streq(argv[1], "--test") && streq(argv[2], "--save"))
                return test(argv[3]) < 0 ? 1 : 0;
        if (argc == 3 && streq(argv[1], "--fabric-manager"))
                return start(argv[2]) < 0 ? 1 : 0;
        if (argc != 1) {
                fprintf(stderr, "Usage: " PROGRAM " [--fabric-manager PROGRAM | --test [--save FILE]]\n");
                return 2;
        }
        return start(FABRIC_MANAGER) < 0 ? 1 : 0;
}
