/* SPDX-License-Identifier: Apache-2.0 */

/* sealboot-lockdown: the last step of an image's boot before the agent asks for the key. Afterwards the kernel loads no
 * more code, and nothing can be written to a volume.
 *
 *   sealboot-lockdown                 checks the kernel's lockdown, closes every device, then the loading of modules
 *   sealboot-lockdown --device NODE   closes one device: udev calls it for each that appears later
 *
 * It is a program and not a script, so that an image needs no shell. */

#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "basic/macros.h"

#define PROGRAM "sealboot-lockdown"

static int complain(const char *what, const char *why) {
        fprintf(stderr, PROGRAM ": %s: %s\n", what, why);
        return -EIO;
}

/* NVMe's character devices pass commands on to the volume: the read-only flag of its block device does not stop them.
 */
static bool passes_commands(const char *name) {
        unsigned a, b;
        int n = 0;

        if (sscanf(name, "ng%un%u%n", &a, &b, &n) == 2 && n > 0 && name[n] == '\0')
                return true;
        n = 0;
        return sscanf(name, "nvme%u%n", &a, &n) == 1 && n > 0 && name[n] == '\0';
}

/* Makes a block device read-only. Ignores a device that has gone away or has no medium. */
static int close_device(const char *node) {
        const char *name = strrchr(node, '/') ? strrchr(node, '/') + 1 : node;
        _cleanup_close_ int fd = -1;
        struct stat s;
        int on = 1;

        if (lstat(node, &s) < 0)
                return errno == ENOENT ? 0 : complain(node, strerror(errno));
        if (S_ISCHR(s.st_mode) && passes_commands(name))
                return unlink(node) < 0 && errno != ENOENT ? complain(node, strerror(errno)) : 0;
        if (!S_ISBLK(s.st_mode))
                return 0;
        fd = open(node, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
        if (fd < 0)
                return errno == ENOENT || errno == ENXIO || errno == ENOMEDIUM ? 0 : complain(node, strerror(errno));
        return ioctl(fd, BLKROSET, &on) < 0 ? complain(node, strerror(errno)) : 0;
}

/* Closes every device, even when one fails. */
static int close_devices(void) {
        _cleanup_closedir_ DIR *d = opendir("/dev");
        struct dirent *entry;
        int result = 0;

        if (!d)
                return complain("/dev", strerror(errno));
        while ((entry = readdir(d))) {
                char node[PATH_MAX];

                snprintf(node, sizeof node, "/dev/%s", entry->d_name);
                if (close_device(node) < 0)
                        result = -EIO;
        }
        return result;
}

static int check_lockdown(void) {
        _cleanup_fclose_ FILE *f = fopen("/sys/kernel/security/lockdown", "re");
        char line[128] = "";

        if (!f || !fgets(line, sizeof line, f))
                return complain("/sys/kernel/security/lockdown", "cannot be read: the kernel has no lockdown");
        if (!strstr(line, "[confidentiality]"))
                return complain("/sys/kernel/security/lockdown",
                                "is not at confidentiality: see lockdown= on the command line");
        return 0;
}

static int close_modules(void) {
        _cleanup_fclose_ FILE *f = fopen("/proc/sys/kernel/modules_disabled", "we");

        if (!f || fputs("1\n", f) < 0 || fflush(f) != 0)
                return complain("/proc/sys/kernel/modules_disabled", strerror(errno));
        return 0;
}

int main(int argc, char *argv[]) {
        if (argc == 3 && streq(argv[1], "--device"))
                return close_device(argv[2]) < 0 ? 1 : 0;
        if (argc != 1) {
                fprintf(stderr, "Usage: " PROGRAM " [--device NODE]\n");
                return 2;
        }
        return check_lockdown() < 0 || close_devices() < 0 || close_modules() < 0 ? 1 : 0;
}
