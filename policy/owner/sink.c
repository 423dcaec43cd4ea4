/* SPDX-License-Identifier: Apache-2.0 */
#include "owner/sink.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "basic/file.h"
#include "owner/s3-write.h"

struct sink {
        const struct place *place;
        struct s3 *s3;       /* NULL: local */
        bool made_directory; /* so it is removed again if it stays empty */
};

struct sink_object {
        struct s3_upload *upload; /* or: */
        int fd;
        char *path, *partial; /* partial: NULL once it is complete */
};

int sink_new(const struct place *place, struct owner *owner, struct sink **ret, struct error *e) {
        _cleanup_(sink_freep) struct sink *s = calloc(1, sizeof *s);
        int r = 0;

        if (!s)
                return fail_oom(e);
        s->place = place;
        if (place->bucket)
                r = owner_s3(owner, &s->s3, e);
        else if (place->is_model) {
                s->made_directory = mkdir(place->path, 0777) == 0;
                if (!s->made_directory && errno != EEXIST)
                        return place_advise(place,
                                            fail(e, FAILURE_IO, -errno, place->path,
                                                 "the directory cannot be made: %m"),
                                            e);
        }
        if (r < 0)
                return r;
        *ret = TAKE(s);
        return 0;
}

void sink_free(struct sink *s) {
        if (!s)
                return;
        if (s->made_directory)
                rmdir(s->place->path);
        free(s);
}

int sink_put(struct sink *s, const char *name, const void *data, size_t n, struct error *e) {
        _cleanup_free_ char *path = NULL;
        int r;

        r = place_path(s->place, name, &path, e);
        if (r < 0)
                return r;
        return s->s3 ? s3_put(s->s3, s->place->bucket, path, data, n, e) : file_write(path, data, n, 0644, e);
}

static int begin_local(struct sink_object *o, uint64_t size, struct error *e) {
        int r;

        if (asprintf(&o->partial, "%s.XXXXXX", o->path) < 0) {
                o->partial = NULL;
                return fail_oom(e);
        }
        o->fd = mkostemp(o->partial, O_CLOEXEC);
        if (o->fd < 0) {
                r = fail(e, FAILURE_IO, -errno, o->path, "no temporary file can be made beside it: %m");
                free(TAKE(o->partial));
                return r;
        }
        r = posix_fallocate(o->fd, 0, (off_t) size);
        return r != 0 ? fail(e, FAILURE_IO, -r, o->path, "there is no room for %llu bytes: %s",
                             (unsigned long long) size, strerror(r))
                      : 0;
}

int sink_begin(struct sink *s, const char *name, uint64_t size, struct sink_object **ret, struct error *e) {
        _cleanup_(sink_object_freep) struct sink_object *o = calloc(1, sizeof *o);
        int r;

        if (!o)
                return fail_oom(e);
        o->fd = -1;
        r = place_path(s->place, name, &o->path, e);
        if (r < 0)
                return r;
        r = s->s3 ? s3_upload_begin(s->s3, s->place->bucket, o->path, &o->upload, e) : begin_local(o, size, e);
        if (r < 0)
                return r;
        *ret = TAKE(o);
        return 0;
}

int sink_part(struct sink_object *o, unsigned number, uint64_t offset, const void *data, size_t n, struct error *e) {
        const uint8_t *p = data;

        if (o->upload)
                return s3_upload_part(o->upload, number, data, n, e);
        while (n > 0) {
                ssize_t put = pwrite(o->fd, p, n, (off_t) offset);

                if (put < 0 && errno == EINTR)
                        continue;
                if (put < 0)
                        return fail(e, FAILURE_IO, -errno, o->path, "it cannot be written: %m");
                p += put;
                offset += (uint64_t) put;
                n -= (size_t) put;
        }
        return 0;
}

int sink_complete(struct sink_object *o, struct error *e) {
        if (o->upload)
                return s3_upload_complete(o->upload, e);
        if (fchmod(o->fd, 0644) < 0 || rename(o->partial, o->path) < 0)
                return fail(e, FAILURE_IO, -errno, o->path, "the file cannot be moved to its place: %m");
        free(TAKE(o->partial));
        return 0;
}

void sink_object_free(struct sink_object *o) {
        if (!o)
                return;
        s3_upload_free(o->upload); /* aborts one that is not complete */
        if (o->fd >= 0)
                close(o->fd);
        if (o->partial)
                unlink(o->partial);
        free(o->path);
        free(o->partial);
        free(o);
}

int sink_remove(struct sink *s, const char *name, struct error *e) {
        _cleanup_free_ char *path = NULL;
        int r;

        r = place_path(s->place, name, &path, e);
        if (r < 0)
                return r;
        if (s->s3)
                return s3_delete(s->s3, s->place->bucket, path, e);
        return unlink(path) < 0 && errno != ENOENT ? fail(e, FAILURE_IO, -errno, path, "it cannot be removed: %m") : 0;
}
