/* SPDX-License-Identifier: Apache-2.0 */
#include "evidence/turn.h"

#include <ctype.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "basic/clock.h"
#include "evidence/tpm-internal.h"

enum { RETRY_MS = 10, NAME_MAX_BYTES = 200 };

/* ---- which file: each returns a descriptor or a negative errno */

/* "/dev/tpm0" has its resource manager at "/dev/tpmrm0". */
static int open_device(const char *path) {
        const char *slash = strrchr(path, '/'), *name = slash + 1;
        _cleanup_free_ char *manager = NULL;
        int fd;

        if (strncmp(name, "tpm", 3) == 0 && name[3] >= '0' && name[3] <= '9' &&
            asprintf(&manager, "%.*s/tpmrm%s", (int) (slash - path), path, name + 3) < 0)
                return -ENOMEM;
        fd = open(manager ?: path, O_RDWR | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
        return fd < 0 ? -errno : fd;
}

/* Refuses a directory in which others than `user` and root can create files. */
static int open_directory(const char *path, uid_t user) {
        struct stat st;
        int fd;

        fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0)
                return -errno;
        if (fstat(fd, &st) < 0 || (user != 0 && st.st_uid != user) || (st.st_mode & 022) != 0) {
                close(fd);
                return -EPERM;
        }
        return fd;
}

/* Two TCTI strings that are long or hold unusual characters may get the same name. Their callers then take turns, too,
 * which does no harm. */
static void name_lock(const char *tcti, char name[static NAME_MAX_BYTES]) {
        int n = snprintf(name, NAME_MAX_BYTES, "turn-%s", tcti);

        for (int i = 0; i < n && i < NAME_MAX_BYTES - 1; i++)
                if (!isascii(name[i]) || !isalnum(name[i]))
                        name[i] = '-';
}

/* A file that root creates in the directory of another user is given to that user. An existing file is not changed. */
static int open_lock(int directory, const char *name) {
        struct stat st;
        int fd;

        fd = openat(directory, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
        if (fd >= 0) {
                if (geteuid() == 0 && (fstat(directory, &st) < 0 || fchown(fd, st.st_uid, st.st_gid) < 0)) {
                        close(fd);
                        return -EPERM;
                }
                return fd;
        }
        if (errno != EEXIST)
                return -errno;
        fd = openat(directory, name, O_RDWR | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC | O_NOCTTY);
        return fd < 0 ? -errno : fd;
}

static int open_shared(const char *tcti) {
        char own[64], name[NAME_MAX_BYTES];
        const char *const directories[] = { "/run/sealboot", own };
        uid_t user = geteuid();
        int fd = -ENOENT;

        snprintf(own, sizeof own, user == 0 ? "/run/sealboot-root" : "/run/user/%u", (unsigned) user);
        if (user == 0 && mkdir(own, 0700) < 0 && errno != EEXIST)
                own[0] = '\0';
        name_lock(tcti, name);
        for (size_t i = 0; fd < 0 && i < ELEMENTS(directories); i++) {
                _cleanup_close_ int directory = open_directory(directories[i], user);

                fd = directory < 0 ? directory : open_lock(directory, name);
        }
        return fd;
}

/* ---- the turn */

int turn_take(const char *tpm, unsigned wait_ms, int *ret, struct error *e) {
        int64_t deadline_ns = clock_deadline_ns(wait_ms);
        _cleanup_close_ int fd = tpm[0] == '/' ? open_device(tpm) : open_shared(tpm);

        if (fd == -ENOMEM)
                return fail_oom(e);
        /* The device can be opened by one process alone, or the caller may not use its resource manager, or there is no
         * directory for a lock. */
        if (fd < 0) {
                *ret = -1;
                return 0;
        }
        while (flock(fd, LOCK_EX | LOCK_NB) < 0) {
                if (errno != EWOULDBLOCK && errno != EINTR)
                        return fail(e, FAILURE_TPM, -errno, tpm, "cannot take the turn: %m");
                if (clock_has_passed(deadline_ns))
                        return fail(e, FAILURE_TPM_BUSY, -EBUSY, tpm,
                                    "another attestation was going on for all of %u ms", wait_ms);
                clock_sleep_ms(RETRY_MS);
        }
        *ret = TAKE_FD(fd);
        return 0;
}
