/* SPDX-License-Identifier: Apache-2.0 */
#include "evidence/measurement-log.h"

#include <fcntl.h>
#include <json-c/json.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <systemd/sd-id128.h>

#include "basic/clock.h"
#include "basic/encode.h"
#include "basic/file.h"
#include "basic/json.h"
#include "basic/utf8.h"
#include "evidence/registers.h"

enum {
        RECORD_SEPARATOR = 0x1e,
        TEXT_MAX = 64 * 1024,
        LOG_MAX = 16 * 1024 * 1024,
};

struct measurement_log {
        int fd;
        char *path;
        char *record;
        size_t size;
        off_t end;
        bool marked; /* by us; the mark of an earlier writer is left as it is */
};

void measurement_log_close(struct measurement_log *l) {
        if (!l)
                return;
        if (l->fd >= 0)
                close(l->fd);
        free(l->path);
        free(l->record);
        free(l);
}

static int add(json_object *o, const char *key, json_object *value) {
        if (value && json_object_object_add(o, key, value) == 0)
                return 0;
        json_object_put(value);
        return -ENOMEM;
}

static json_object *digest_list(const struct measured_digest *digests, size_t n) {
        _cleanup_json_ json_object *list = json_object_new_array();

        for (size_t i = 0; list && i < n; i++) {
                json_object *one = json_object_new_object();
                char hex[2 * PCR_DIGEST_MAX + 1];

                if (!one || json_object_array_add(list, one) < 0) {
                        json_object_put(one);
                        return NULL;
                }
                hex_encode(digests[i].digest, digests[i].size, hex);
                if (add(one, "hashAlg", json_object_new_string(digests[i].algorithm)) < 0 ||
                    add(one, "digest", json_object_new_string(hex)) < 0)
                        return NULL;
        }
        return TAKE(list);
}

static json_object *content(const struct measurement *what, const void *text, size_t n) {
        _cleanup_json_ json_object *o = json_object_new_object();
        char boot_id[SD_ID128_STRING_MAX];
        int64_t timestamp_us = clock_ns() / 1000;
        sd_id128_t id;

        if (!o)
                return NULL;
        if (text && n <= TEXT_MAX && utf8_valid(text, n) &&
            add(o, "string", json_object_new_string_len(text, (int) n)) < 0)
                return NULL;
        if (what->description && add(o, "description", json_object_new_string(what->description)) < 0)
                return NULL;
        if (sd_id128_get_boot(&id) >= 0 &&
            add(o, "bootId", json_object_new_string(sd_id128_to_string(id, boot_id))) < 0)
                return NULL;
        if (add(o, "timestamp", json_object_new_int64(timestamp_us)) < 0 ||
            add(o, "eventType", json_object_new_string(what->event_type)) < 0)
                return NULL;
        return TAKE(o);
}

static int compose(struct measurement_log *l, unsigned pcr, const struct measured_digest *digests, size_t n_digests,
                   const struct measurement *what, const void *text, size_t n) {
        _cleanup_json_ json_object *o = json_object_new_object();
        int size;

        if (!o || add(o, "pcr", json_object_new_int64(pcr)) < 0 ||
            add(o, "digests", digest_list(digests, n_digests)) < 0 ||
            add(o, "content_type", json_object_new_string("systemd")) < 0 ||
            add(o, "content", content(what, text, n)) < 0)
                return -ENOMEM;
        size = asprintf(&l->record, "%c%s\n", RECORD_SEPARATOR,
                        json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE));
        if (size < 0) {
                l->record = NULL;
                return -ENOMEM;
        }
        l->size = (size_t) size;
        return 0;
}

static int make_directory(const char *path) {
        _cleanup_free_ char *copy = strdup(path);

        if (!copy)
                return -ENOMEM;
        for (char *slash = strchr(copy + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
                *slash = '\0';
                if (mkdir(copy, 0755) < 0 && errno != EEXIST)
                        return -errno;
                *slash = '/';
        }
        return 0;
}

static int open_locked(struct measurement_log *l, struct error *e) {
        struct stat st;
        int r;

        r = make_directory(l->path);
        if (r < 0) {
                errno = -r;
                return fail(e, FAILURE_MEASURE, r, l->path, "cannot make the measurement log's directory: %m");
        }
        /* Mode 0600: any process that can open the log could lock it for ever. Its content is no secret. */
        l->fd = open(l->path, O_CREAT | O_WRONLY | O_CLOEXEC | O_NOCTTY | O_NOFOLLOW | O_NONBLOCK, 0600);
        if (l->fd < 0)
                return fail(e, FAILURE_MEASURE, -errno, l->path, "cannot open the measurement log: %m");
        if (flock(l->fd, LOCK_EX) < 0 || fstat(l->fd, &st) < 0)
                return fail(e, FAILURE_MEASURE, -errno, l->path, "cannot lock the measurement log: %m");
        if (!S_ISREG(st.st_mode))
                return fail(e, FAILURE_MEASURE, -EBADF, l->path, "the measurement log is not a regular file");
        l->end = st.st_size;
        l->marked = !(st.st_mode & S_ISVTX);
        return 0;
}

int measurement_log_begin(const char *path, unsigned pcr, const struct measured_digest *digests, size_t n_digests,
                          const struct measurement *what, const void *text, size_t text_size,
                          struct measurement_log **ret, struct error *e) {
        _cleanup_(measurement_log_closep) struct measurement_log *l = NULL;
        int r;

        l = calloc(1, sizeof *l);
        if (!l)
                return fail_oom(e);
        l->fd = -1;
        l->path = strdup(path);
        if (!l->path || compose(l, pcr, digests, n_digests, what, text, text_size) < 0)
                return fail_oom(e);
        r = open_locked(l, e);
        if (r < 0)
                return r;
        if (fallocate(l->fd, FALLOC_FL_KEEP_SIZE, l->end, (off_t) l->size) < 0 && errno != EOPNOTSUPP &&
            errno != ENOSYS)
                return fail(e, FAILURE_MEASURE, -errno, l->path, "no room for the record in the measurement log: %m");
        if (l->marked && fchmod(l->fd, 0600 | S_ISVTX) < 0)
                return fail(e, FAILURE_MEASURE, -errno, l->path, "cannot mark the measurement log as unfinished: %m");
        *ret = TAKE(l);
        return 0;
}

void measurement_log_abort(struct measurement_log *l) {
        if (l->marked)
                (void) !fchmod(l->fd, 0600);
}

int measurement_log_commit(struct measurement_log *l, struct error *e) {
        int r;

        if (lseek(l->fd, 0, SEEK_END) < 0)
                return fail(e, FAILURE_MEASURE, -errno, l->path, "cannot append to the measurement log: %m");
        r = write_all(l->fd, l->record, l->size);
        if (r < 0) {
                errno = -r;
                return fail(e, FAILURE_MEASURE, r, l->path, "cannot append to the measurement log: %m");
        }
        if (fsync(l->fd) < 0 || (l->marked && fchmod(l->fd, 0600) < 0))
                return fail(e, FAILURE_MEASURE, -errno, l->path, "cannot finish the measurement log: %m");
        return 0;
}

static const char *text_at(json_object *o, const char *key) {
        json_object *v;

        if (!json_object_object_get_ex(o, key, &v) || !json_object_is_type(v, json_type_string))
                return NULL;
        return json_object_get_string(v);
}

/* Whether the record is about this PCR; if so, the beginning of its text, and its type. */
static bool explain_record(json_object *o, unsigned pcr, char *text, size_t size) {
        const char *string = NULL, *type = NULL;
        json_object *v;

        if (!json_object_is_type(o, json_type_object) || !json_object_object_get_ex(o, "pcr", &v) ||
            !json_object_is_type(v, json_type_int) || json_object_get_int64(v) != (int64_t) pcr)
                return false;
        if (json_object_object_get_ex(o, "content", &v) && json_object_is_type(v, json_type_object)) {
                string = text_at(v, "description") ?: text_at(v, "string");
                type = text_at(v, "eventType");
        }
        snprintf(text, size, "\"%.100s\" (%.40s)", string ?: "", type ?: "of unknown type");
        return true;
}

size_t measurement_log_explain(const char *path, unsigned pcr, char *text, size_t size) {
        _cleanup_free_ uint8_t *log = NULL;
        size_t n, found = 0, used = 0;

        text[0] = '\0';
        if (file_read(path, LOG_MAX, FAILURE_MEASURE, &log, &n, NULL) < 0)
                return 0;
        for (const char *at = (const char *) log, *end = at + n; at < end;) {
                const char *next = memchr(at, RECORD_SEPARATOR, (size_t) (end - at));
                _cleanup_json_ json_object *o = NULL;
                char one[192];

                next = next ?: end;
                if (json_parse(at, (size_t) (next - at), FAILURE_MEASURE, path, &o, NULL) == 0 &&
                    explain_record(o, pcr, one, sizeof one)) {
                        if (used < size)
                                used += (size_t) snprintf(text + used, size - used, "%s%s", found > 0 ? ", " : "", one);
                        found++;
                }
                at = next + 1;
        }
        return found;
}
