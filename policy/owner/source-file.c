/* SPDX-License-Identifier: Apache-2.0 */
#include "owner/source-file.h"

#include <fcntl.h>

int source_file_open(const struct source *s, size_t index, struct source_file *ret, struct error *e) {
        const struct model_file *f = &s->model->files[index];
        _cleanup_free_ char *path = NULL;
        _cleanup_close_ int fd = -1;
        struct stat st;

        if (asprintf(&path, "%s%s%s", s->path, s->is_directory ? "/" : "", s->is_directory ? f->path : "") < 0)
                return fail_oom(e);
        fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
        if (fd < 0 || fstat(fd, &st) < 0)
                return fail(e, FAILURE_IO, -errno, path, "it cannot be opened: %m");
        if (!S_ISREG(st.st_mode) || (uint64_t) st.st_size != f->size)
                return fail(e, FAILURE_IO, -ESTALE, path, "it has changed since the model was scanned");
        *ret = (struct source_file) { .fd = TAKE_FD(fd), .path = TAKE(path), .before = st };
        return 0;
}

int source_file_read(const struct source_file *f, uint64_t offset, void *data, size_t n, struct error *e) {
        uint8_t *p = data;

        while (n > 0) {
                ssize_t got = pread(f->fd, p, n, (off_t) offset);

                if (got < 0 && errno == EINTR)
                        continue;
                if (got < 0)
                        return fail(e, FAILURE_IO, -errno, f->path, "it cannot be read: %m");
                if (got == 0)
                        return fail(e, FAILURE_IO, -ESTALE, f->path, "it has become shorter while it was read");
                p += got;
                offset += (uint64_t) got;
                n -= (size_t) got;
        }
        return 0;
}

int source_file_unchanged(const struct source_file *f, struct error *e) {
        struct stat now;

        if (fstat(f->fd, &now) < 0)
                return fail(e, FAILURE_IO, -errno, f->path, "it cannot be read: %m");
        if (now.st_size != f->before.st_size || now.st_mtim.tv_sec != f->before.st_mtim.tv_sec ||
            now.st_mtim.tv_nsec != f->before.st_mtim.tv_nsec)
                return fail(e, FAILURE_IO, -ESTALE, f->path,
                            "it was changed while it was read, so that it may be a mixture of two versions");
        return 0;
}

void source_file_close(struct source_file *f) {
        if (f->fd >= 0)
                close(f->fd);
        free(f->path);
        *f = (struct source_file) { .fd = -1 };
}
