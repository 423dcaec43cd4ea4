/* SPDX-License-Identifier: Apache-2.0 */

/* sealboot-init: PID 1 of the images' initrd. It loads the kernel modules that the root needs, finds the partition
 * whose verity superblock is the image's own, opens it under the root hash, and gives the machine to the systemd in it.
 *
 * It takes no input but the files that the build put beside it, which PCR4 covers: no command line, no EFI variable, no
 * credential, no file system of another disk. It starts no shell and no other program. When it cannot go on, it says so
 * on the console and powers the machine off.
 *
 *   /modules/NN-NAME.ko   loaded in the order of their names; other names are ignored
 *   /root.verity          text: "OFFSET\n" (bytes from the partition's start to the superblock), then a dm-verity
 *                         table (Linux, Documentation/admin-guide/device-mapper/verity.rst) with @ for each device
 *   /root.superblock      the superblock, 512 bytes (cryptsetup, "DMVerity": on-disk format 1) */

#include <fcntl.h>
#include <limits.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <time.h>

#include "machine/module-name.h"
#include "machine/verity-root.h"

/* EBS volumes answer within a second or two; an instance whose root does not is broken. */
enum { ROOT_SECONDS = 90, LAST_WORDS_SECONDS = 10 };

static void pause_ms(long ms) {
        nanosleep(&(struct timespec) { ms / 1000, ms % 1000 * 1000000 }, NULL);
}

/* Powers off: an instance that cannot boot must not run on, and a reboot would fail in the same way. */
static _Noreturn void give_up(const char *what, int error) {
        fprintf(stderr, "sealboot-init: %s: %s\nsealboot-init: this image cannot boot here; powering off\n", what,
                strerror(-error));
        pause_ms(LAST_WORDS_SECONDS * 1000);
        sync();
        reboot(RB_POWER_OFF);
        for (;;)
                pause();
}

static void must(int r, const char *what) {
        if (r < 0)
                give_up(what, r);
}

static int mount_at(const char *type, const char *target, unsigned long flags, const char *options) {
        if (mkdir(target, 0755) < 0 && errno != EEXIST)
                return -errno;
        return mount(type, target, type, flags, options) < 0 ? -errno : 0;
}

static int load_module(const char *path) {
        _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);

        if (fd < 0)
                return -errno;
        return syscall(SYS_finit_module, fd, "", 0) < 0 && errno != EEXIST ? -errno : 0;
}

/* A module may refuse to load where this machine has no device for it. If a module that is needed fails, the root
 * cannot be opened, and that is reported. */
static int load_modules(void) {
        struct dirent **names;
        int n = scandir("/modules", &names, NULL, alphasort);

        if (n < 0)
                return -errno;
        for (int i = 0; i < n; i++) {
                char path[PATH_MAX];

                if (is_module_name(names[i]->d_name)) {
                        int r;

                        snprintf(path, sizeof path, "/modules/%s", names[i]->d_name);
                        r = load_module(path);
                        if (r < 0)
                                fprintf(stderr, "sealboot-init: %s: %s\n", path, strerror(-r));
                        unlink(path); /* frees the memory that the file takes */
                }
                free(names[i]);
        }
        free(names);
        return 0;
}

/* Finds the first partition that has the image's superblock. On a partition with a copy of the superblock but with
 * other data, the hash of the first block that is read does not match, so that the boot ends there. */
static int find_root(const struct verity_root *v, char *ret, size_t size) {
        for (int tries = ROOT_SECONDS * 10; tries > 0; tries--) {
                _cleanup_closedir_ DIR *d = opendir("/sys/class/block");
                struct dirent *entry;

                while (d && (entry = readdir(d)))
                        if (entry->d_name[0] != '.') {
                                snprintf(ret, size, "/dev/%s", entry->d_name);
                                if (verity_root_is(v, ret))
                                        return 0;
                        }
                pause_ms(100);
        }
        return -ENODEV;
}

static int open_root(void) {
        _cleanup_(verity_root_done) struct verity_root v = { 0 };
        char device[PATH_MAX], mapped[64];
        int r;

        r = verity_root_read(&v, "/root.verity", "/root.superblock");
        must(r, "the description of the root in the initrd");
        r = find_root(&v, device, sizeof device);
        must(r, "no attached volume holds this image's root");
        r = verity_root_open(&v, device, mapped, sizeof mapped);
        must(r, "dm-verity does not take the root");
        return mount(mapped, "/root", "erofs", MS_RDONLY | MS_NOSUID | MS_NODEV, NULL) < 0 ? -errno : 0;
}

/* The root's systemd finds these file systems mounted and keeps them. The root itself is read-only. */
static void hand_over(void) {
        static const char *const moved[] = { "/dev", "/proc", "/sys", "/run" };
        char program[] = "/usr/lib/systemd/systemd", path[] = "PATH=/usr/bin:/usr/sbin", terminal[] = "TERM=dumb",
             target[16];
        char *arguments[] = { program, NULL }, *environment[] = { path, terminal, NULL };

        must(mount_at("tmpfs", "/root/var", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0755,size=10%"), "/var");
        for (size_t i = 0; i < ELEMENTS(moved); i++) {
                snprintf(target, sizeof target, "/root%s", moved[i]);
                if (mount(moved[i], target, NULL, MS_MOVE, NULL) < 0)
                        give_up(target, -errno);
        }
        unlink("/init");
        if (chdir("/root") < 0 || mount(".", "/", NULL, MS_MOVE, NULL) < 0 || chroot(".") < 0 || chdir("/") < 0)
                give_up("the change to the root", -errno);
        execve(program, arguments, environment);
        give_up(program, -errno);
}

int main(void) {
        if (getpid() != 1) {
                fprintf(stderr,
                        "sealboot-init is the first process of an image's initrd, and does nothing elsewhere\n");
                return 2;
        }
        umask(0022);
        must(mount_at("devtmpfs", "/dev", MS_NOSUID | MS_NOEXEC, "mode=0755"), "/dev");
        must(mount_at("proc", "/proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL), "/proc");
        must(mount_at("sysfs", "/sys", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL), "/sys");
        must(mount_at("tmpfs", "/run", MS_NOSUID | MS_NODEV, "mode=0755,size=20%"), "/run");
        must(load_modules(), "/modules");
        if (mkdir("/root", 0755) < 0 && errno != EEXIST)
                give_up("/root", -errno);
        must(open_root(), "the root's file system");
        hand_over();
}
