/* SPDX-License-Identifier: Apache-2.0 */
#include "basic/file.h"

#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>

int file_read(const char *path, size_t max, enum failure failure, uint8_t **ret, size_t *ret_n, struct error *e) {
        _cleanup_close_ int opened = -1;
        _cleanup_free_ uint8_t *buffer = NULL;
        size_t n = 0, room = 0;
        int fd = STDIN_FILENO;

        if (!streq(path, "-")) {
                fd = opened = open(path, O_RDONLY | O_CLOEXEC);
                if (fd < 0)
                        return fail(e, failure, -errno, path, "it cannot be opened: %m");
        }
        for (;;) {
                ssize_t got;

                if (n + 1 >= room) {
                        uint8_t *larger;

                        room = MIN_OF(MAX_OF(2 * room, (size_t) 64 * 1024), max + 2);
                        larger = realloc(buffer, room);
                        if (!larger)
                                return fail_oom(e);
                        buffer = larger;
                }
                got = read(fd, buffer + n, room - n - 1);
                if (got < 0 && errno == EINTR)
                        continue;
                if (got < 0)
                        return fail(e, failure, -errno, path, "it cannot be read: %m");
                if (got == 0)
                        break;
                n += (size_t) got;
                if (n > max)
                        return fail(e, failure, -EFBIG, path, "it is larger than %zu bytes", max);
        }
        buffer[n] = 0;
        *ret = TAKE(buffer);
        *ret_n = n;
        return 0;
}

int write_all(int fd, const void *data, size_t n) {
        const uint8_t *p = data;

        while (n > 0) {
                ssize_t put = write(fd, p, n);

                if (put < 0 && errno == EINTR)
                        continue;
                if (put < 0)
                        return -errno;
                p += put;
                n -= (size_t) put;
        }
        return 0;
}

int file_write(const char *path, const void *data, size_t n, unsigned mode, struct error *e) {
        char temporary[PATH_MAX];
        _cleanup_close_ int fd = -1;
        int r;

        if (snprintf(temporary, sizeof temporary, "%s.XXXXXX", path) >= (int) sizeof temporary)
                return fail(e, FAILURE_IO, -ENAMETOOLONG, path, "the name is too long");
        fd = mkostemp(temporary, O_CLOEXEC);
        if (fd < 0)
                return fail(e, FAILURE_IO, -errno, path, "no temporary file can be made beside it: %m");
        r = write_all(fd, data, n);
        if (r == 0 && fchmod(fd, mode) < 0)
                r = -errno;
        if (r == 0 && rename(temporary, path) < 0)
                r = -errno;
        if (r < 0) {
                unlink(temporary);
                return fail(e, FAILURE_IO, r, path, "it cannot be written: %s", strerror(-r));
        }
        return 0;
}
