/* SPDX-License-Identifier: Apache-2.0 */
#include "gate/request-log.h"

#include <inttypes.h>
#include <pthread.h>

#include "basic/encode.h"
#include "basic/json.h"

#define DIGITS "0123456789"
#define LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

struct request_log {
        pthread_mutex_t lock;
        size_t room, n, next;
        uint64_t forgotten, refused;
        struct request_entry entries[];
};

/* ---- one line */

/* A field that is copied has only these characters, none of which means anything in JSON. */
static int take_text(json_object *o, const char *allowed, char *to, size_t room, const char *what, struct error *e) {
        const char *text = json_text(o);

        if (strlen(text) >= room || text[strspn(text, allowed)])
                return fail(e, FAILURE_IO, -EBADMSG, "log line", "the %s is not well-formed", what);
        snprintf(to, room, "%s", text);
        return 0;
}

static int take_number(const char *text, uint64_t max, const char *what, uint64_t *ret, struct error *e) {
        if (decimal_parse(text, max, ret) < 0)
                return fail(e, FAILURE_IO, -EBADMSG, "log line", "the %s is not a number", what);
        return 0;
}

/* nginx pads to three digits: "000" is a client that left before there was a status. */
static int take_status(const char *text, unsigned *ret, struct error *e) {
        if (strlen(text) != 3 || text[strspn(text, DIGITS)])
                return fail(e, FAILURE_IO, -EBADMSG, "log line", "the status is not three digits");
        *ret = (unsigned) strtoul(text, NULL, 10);
        return 0;
}

/* "12.345" */
static int take_seconds(const char *text, uint64_t *ret_ms, struct error *e) {
        const char *cursor = text, *fraction;
        uint64_t seconds;

        if (decimal_read(&cursor, UINT32_MAX, &seconds) < 0 || cursor[0] != '.' || strlen(cursor) != 4)
                return fail(e, FAILURE_IO, -EBADMSG, "log line", "the duration is not seconds with three decimals");
        fraction = cursor + 1;
        if (fraction[strspn(fraction, DIGITS)])
                return fail(e, FAILURE_IO, -EBADMSG, "log line", "the duration is not seconds with three decimals");
        *ret_ms = seconds * 1000 + strtoul(fraction, NULL, 10);
        return 0;
}

static int take_fields(json_object *o, struct request_entry *ret, struct error *e) {
        json_object *time = NULL, *caller = NULL, *path = NULL, *status = NULL, *bytes = NULL, *seconds = NULL,
                    *id = NULL;
        const struct json_field fields[] = {
                { "time", json_type_string, true, 25, 25, "a time", &time },
                { "caller", json_type_string, true, 0, 0, "a name", &caller },
                { "path", json_type_string, true, 0, 0, "a path", &path },
                { "status", json_type_string, true, 3, 3, "three digits", &status },
                { "bytes", json_type_string, true, 1, 20, "a number", &bytes },
                { "seconds", json_type_string, true, 5, 20, "a number", &seconds },
                { "id", json_type_string, true, 32, 32, "32 hex digits", &id },
        };
        int r;

        r = json_fields(o, fields, ELEMENTS(fields), FAILURE_IO, "log line", "", e);
        if (r == 0)
                r = take_text(time, DIGITS "-+:T", ret->time, sizeof ret->time, "time", e);
        if (r == 0)
                r = take_text(caller, LETTERS DIGITS "._-/=@+:", ret->caller, sizeof ret->caller, "caller", e);
        if (r == 0)
                r = take_text(path, LETTERS DIGITS "/._~-:@+,=", ret->path, sizeof ret->path, "path", e);
        if (r == 0)
                r = take_text(id, DIGITS "abcdef", ret->id, sizeof ret->id, "request id", e);
        if (r == 0)
                r = take_status(json_text(status), &ret->status, e);
        if (r == 0)
                r = take_number(json_text(bytes), INT64_MAX, "number of bytes", &ret->bytes, e);
        return r < 0 ? r : take_seconds(json_text(seconds), &ret->duration_ms, e);
}

/* "<190>Nov 21 14:00:00 sealboot_nginx: {...}" */
int request_line_parse(const char *line, size_t n, struct request_entry *ret, struct error *e) {
        static const char tag[] = " sealboot_nginx: ";
        _cleanup_json_ json_object *o = NULL;
        struct request_entry entry = {};
        const char *at;
        int r;

        if (n > REQUEST_LINE_MAX)
                return fail(e, FAILURE_IO, -EBADMSG, "log line", "is longer than %d bytes", REQUEST_LINE_MAX);
        at = memmem(line, MIN_OF(n, (size_t) 64), tag, strlen(tag));
        if (n == 0 || line[0] != '<' || !at)
                return fail(e, FAILURE_IO, -EBADMSG, "log line", "is not nginx's");
        at += strlen(tag);
        r = json_parse(at, n - (size_t) (at - line), FAILURE_IO, "log line", &o, e);
        if (r == 0)
                r = take_fields(o, &entry, e);
        if (r < 0)
                return r;
        *ret = entry;
        return 0;
}

/* ---- the newest */

int request_log_new(size_t entries, struct request_log **ret) {
        struct request_log *l = calloc(1, sizeof *l + entries * sizeof l->entries[0]);

        if (!l)
                return -ENOMEM;
        pthread_mutex_init(&l->lock, NULL);
        l->room = entries;
        *ret = l;
        return 0;
}

void request_log_free(struct request_log *l) {
        if (!l)
                return;
        pthread_mutex_destroy(&l->lock);
        free(l);
}

void request_log_add(struct request_log *l, const struct request_entry *entry) {
        pthread_mutex_lock(&l->lock);
        if (l->n == l->room)
                l->forgotten++;
        else
                l->n++;
        l->entries[l->next] = *entry;
        l->next = (l->next + 1) % l->room;
        pthread_mutex_unlock(&l->lock);
}

void request_log_count_refused(struct request_log *l) {
        pthread_mutex_lock(&l->lock);
        l->refused++;
        pthread_mutex_unlock(&l->lock);
}

static void print_entry(FILE *f, const struct request_entry *r) {
        fprintf(f,
                "{\"time\":\"%s\",\"caller\":\"%s\",\"path\":\"%s\",\"status\":%u,\"bytes\":%" PRIu64
                ",\"duration_ms\":%" PRIu64 ",\"id\":\"%s\"}",
                r->time, r->caller, r->path, r->status, r->bytes, r->duration_ms, r->id);
}

int request_log_json(struct request_log *l, char **ret, size_t *ret_n) {
        FILE *f = open_memstream(ret, ret_n);

        if (!f)
                return -ENOMEM;
        fputs("{\"requests\":[", f);
        pthread_mutex_lock(&l->lock);
        for (size_t i = 0; i < l->n; i++) {
                if (i > 0)
                        fputs(",\n", f);
                print_entry(f, &l->entries[(l->next + l->room - l->n + i) % l->room]);
        }
        fprintf(f, "],\"forgotten\":%" PRIu64 ",\"refused_lines\":%" PRIu64 "}\n", l->forgotten, l->refused);
        pthread_mutex_unlock(&l->lock);
        if (fclose(f) != 0) {
                free(*ret);
                return -ENOMEM;
        }
        return 0;
}
