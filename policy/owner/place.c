/* SPDX-License-Identifier: Apache-2.0 */
#include "owner/place.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "owner/remote-name.h"
#include "owner/s3-head.h"

enum { HEAD_FIRST = 4096 };

static bool ends_in_slash(const char *s) {
        size_t n = strlen(s);

        return n > 0 && s[n - 1] == '/';
}

int place_parse(const char *text, struct place *ret, struct error *e) {
        _cleanup_place_ struct place p = {};
        char advice[REMOTE_NAME_ADVICE_MAX];
        struct stat st;
        int r;

        if (remote_name(text, advice)) {
                fail(e, FAILURE_USAGE, -EINVAL, text, "it is neither s3://BUCKET/... nor a local path");
                fail_advice(e, "%s A local path that looks like this needs ./ in front.", advice);
                return -EINVAL;
        }
        if (strncmp(text, "s3://", 5) == 0) {
                r = s3_parse_uri(text, FAILURE_USAGE, &p.bucket, &p.path, e);
                if (r < 0)
                        return r;
                p.is_model = !p.path[0] || ends_in_slash(p.path);
        } else {
                if (!text[0])
                        return fail(e, FAILURE_USAGE, -EINVAL, "\"\"", "the path is empty");
                p.is_model = ends_in_slash(text) || (stat(text, &st) == 0 && S_ISDIR(st.st_mode));
                if (asprintf(&p.path, "%s%s", text, p.is_model && !ends_in_slash(text) ? "/" : "") < 0)
                        return fail_oom(e);
        }
        *ret = TAKE_STRUCT(p);
        return 0;
}

void place_done(struct place *p) {
        free(p->bucket);
        free(p->path);
}

int place_path(const struct place *p, const char *name, char **ret, struct error *e) {
        return asprintf(ret, "%s%s", p->path, name ?: "") < 0 ? fail_oom(e) : 0;
}

int place_subject(const struct place *p, const char *name, char **ret, struct error *e) {
        int n = asprintf(ret, "%s%s%s%s%s", p->bucket ? "s3://" : "", p->bucket ?: "", p->bucket ? "/" : "", p->path,
                         name ?: "");

        return n < 0 ? fail_oom(e) : 0;
}

/* Exactly n bytes from `offset` on. */
static int read_local_at(int fd, const char *path, uint64_t offset, void *data, size_t n, struct error *e) {
        uint8_t *p = data;

        while (n > 0) {
                ssize_t got = pread(fd, p, n, (off_t) offset);

                if (got < 0 && errno == EINTR)
                        continue;
                if (got < 0)
                        return fail(e, FAILURE_IO, -errno, path, "it cannot be read: %m");
                if (got == 0)
                        return fail(e, FAILURE_IO, -ESTALE, path, "it has become shorter");
                p += got;
                offset += (uint64_t) got;
                n -= (size_t) got;
        }
        return 0;
}

static int open_local(const char *path, int *ret, struct stat *ret_st, struct error *e) {
        _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);

        if (fd < 0 || fstat(fd, ret_st) < 0)
                return fail(e, FAILURE_IO, -errno, path, "it cannot be opened: %m");
        if (!S_ISREG(ret_st->st_mode))
                return fail(e, FAILURE_IO, -EINVAL, path, "it is not a file");
        *ret = fd;
        fd = -1;
        return 0;
}

static int read_local(const char *path, size_t max, uint8_t **ret, size_t *ret_n, uint64_t *ret_size, struct error *e) {
        _cleanup_free_ uint8_t *data = NULL;
        _cleanup_close_ int fd = -1;
        struct stat st = {};
        size_t n;
        int r;

        r = open_local(path, &fd, &st, e);
        if (r < 0)
                return r;
        n = (size_t) MIN_OF((uint64_t) st.st_size, (uint64_t) max);
        data = malloc(n + 1);
        if (!data)
                return fail_oom(e);
        r = read_local_at(fd, path, 0, data, n, e);
        if (r < 0)
                return r;
        *ret = TAKE(data);
        *ret_n = n;
        *ret_size = (uint64_t) st.st_size;
        return 0;
}

/* Exactly n bytes, at least one, from `offset` on. `etag`: of the version that they must be of; NULL: of any. */
static int read_s3_at(struct s3 *s3, const char *bucket, const char *key, const char *etag, uint64_t offset, void *data,
                      size_t n, struct error *e) {
        _cleanup_http_call_ struct http_call *call = NULL;
        char range[64];
        const struct pair headers[] = { { "if-match", etag }, { "range", range } };
        struct s3_request request = { .method = "GET",
                                      .bucket = bucket,
                                      .key = key,
                                      .headers = etag ? headers : headers + 1,
                                      .n_headers = etag ? 2 : 1,
                                      .max_answer = n };
        const char *text;
        size_t got;
        int r;

        snprintf(range, sizeof range, "bytes=%llu-%llu", (unsigned long long) offset,
                 (unsigned long long) offset + n - 1);
        r = s3_perform(s3, &request, &call, e);
        if (r < 0)
                return r;
        text = http_call_text(call, &got);
        if (got != n)
                return fail(e, FAILURE_S3_ANSWER, -EBADMSG, http_call_subject(call), "S3 sent %zu bytes instead of %zu",
                            got, n);
        memcpy(data, text, n);
        return 0;
}

static int read_s3(struct s3 *s3, const char *bucket, const char *key, size_t max, uint8_t **ret, size_t *ret_n,
                   uint64_t *ret_size, struct error *e) {
        _cleanup_free_ uint8_t *data = NULL;
        struct s3_head head;
        size_t n;
        int r;

        r = s3_head(s3, bucket, key, &head, e);
        if (r < 0)
                return r;
        n = (size_t) MIN_OF(head.size, (uint64_t) max);
        data = malloc(n + 1);
        if (!data)
                return fail_oom(e);
        r = n > 0 ? read_s3_at(s3, bucket, key, head.etag, 0, data, n, e) : 0;
        if (r < 0)
                return r;
        *ret = TAKE(data);
        *ret_n = n;
        *ret_size = head.size;
        return 0;
}

/* A name in the place: as a path, or if *ret_s3 is not NULL as the key of an object in the place's bucket. */
static int find_in_place(const struct place *p, struct owner *owner, const char *name, char **ret_path,
                         struct s3 **ret_s3, struct error *e) {
        struct s3 *s3 = NULL;
        int r;

        r = place_path(p, name, ret_path, e);
        if (r < 0)
                return r;
        r = p->bucket ? owner_s3(owner, &s3, e) : 0;
        if (r < 0)
                return r;
        *ret_s3 = s3;
        return 0;
}

int place_read(const struct place *p, struct owner *owner, const char *name, size_t max, uint8_t **ret, size_t *ret_n,
               uint64_t *ret_size, struct error *e) {
        _cleanup_free_ char *path = NULL;
        struct s3 *s3;
        int r;

        r = find_in_place(p, owner, name, &path, &s3, e);
        if (r < 0)
                return r;
        return s3 ? read_s3(s3, p->bucket, path, max, ret, ret_n, ret_size, e)
                  : read_local(path, max, ret, ret_n, ret_size, e);
}

int place_read_at(const struct place *p, struct owner *owner, const char *name, uint64_t offset, void *data, size_t n,
                  struct error *e) {
        _cleanup_free_ char *path = NULL;
        _cleanup_close_ int fd = -1;
        struct stat st;
        struct s3 *s3;
        int r;

        r = find_in_place(p, owner, name, &path, &s3, e);
        if (r < 0)
                return r;
        if (s3)
                return read_s3_at(s3, p->bucket, path, NULL, offset, data, n, e);
        r = open_local(path, &fd, &st, e);
        return r < 0 ? r : read_local_at(fd, path, offset, data, n, e);
}

int place_advise(const struct place *p, int r, struct error *e) {
        if (r < 0 && e && e->failure == FAILURE_IO && !e->advice[0] && !p->bucket && may_be_bucket(p->path))
                fail_advice(e, "There is nothing of that name here. If it is a bucket, give it as s3://%.400s.",
                            p->path);
        return r;
}

int place_exists(const struct place *p, struct owner *owner, const char *name, bool *ret, struct error *e) {
        _cleanup_free_ char *path = NULL;
        struct s3_head head;
        struct s3 *s3;
        int r;

        r = place_path(p, name, &path, e);
        if (r < 0)
                return r;
        if (!p->bucket) {
                if (access(path, F_OK) < 0 && errno != ENOENT && errno != ENOTDIR)
                        return fail(e, FAILURE_IO, -errno, path, "it cannot be read: %m");
                *ret = access(path, F_OK) == 0;
                return 0;
        }
        r = owner_s3(owner, &s3, e);
        if (r < 0)
                return r;
        r = s3_head(s3, p->bucket, path, &head, e);
        if (r < 0 && e->failure != FAILURE_S3_NOT_FOUND)
                return r;
        *ret = r == 0;
        *e = (struct error) {};
        return 0;
}

int place_read_header(const struct place *p, struct owner *owner, const char *name, struct message_header **ret,
                      uint64_t *ret_size, struct error *e) {
        _cleanup_free_ char *subject = NULL;
        int r;

        r = place_subject(p, name, &subject, e);
        if (r < 0)
                return r;
        /* A header is rarely longer than the first read; its cap is the second. */
        for (size_t max = HEAD_FIRST;; max = MESSAGE_HEADER_MAX) {
                _cleanup_free_ uint8_t *head = NULL;
                size_t n = 0;

                r = place_advise(p, place_read(p, owner, name, max, &head, &n, ret_size, e), e);
                if (r < 0)
                        return r;
                r = message_header_parse(head, n, subject, ret, e);
                if (r != -EAGAIN || n == *ret_size || max == MESSAGE_HEADER_MAX)
                        return r;
        }
}
