/* SPDX-License-Identifier: Apache-2.0 */
#include "audit/trail.h"

#include "audit/gunzip.h"
#include "basic/file.h"

enum { FILE_MAX = 512 * 1024 * 1024 };

/* number 0: the whole file. */
static int add_bad(struct trail *t, const char *origin, size_t number, const char *reason, struct error *e) {
        struct bad_call *larger = reallocarray(t->bad, t->n_bad + 1, sizeof *larger);
        struct bad_call bad = {};

        if (!larger)
                return fail_oom(e);
        t->bad = larger;
        bad.reason = strdup(reason);
        if ((number > 0 ? asprintf(&bad.origin, "%s, record %zu", origin, number)
                        : asprintf(&bad.origin, "%s", origin)) < 0)
                bad.origin = NULL;
        if (!bad.reason || !bad.origin) {
                free(bad.reason);
                free(bad.origin);
                return fail_oom(e);
        }
        t->bad[t->n_bad++] = bad;
        return 0;
}

/* `record` stays until the trail is freed, and the rest of its file does not: a year of an account's trail has few
 * calls of interest. */
static int keep(struct trail *t, const struct call *call, json_object *record, struct error *e) {
        json_object **records = reallocarray(t->records, t->n_kept + 1, sizeof *records);
        struct call *calls;

        if (!records)
                return fail_oom(e);
        t->records = records;
        calls = reallocarray(t->calls, t->n + 1, sizeof *calls);
        if (!calls)
                return fail_oom(e);
        t->calls = calls;
        t->calls[t->n++] = *call;
        t->records[t->n_kept++] = json_object_get(record);
        return 0;
}

/* Where a record is: for what is said of a bad one. */
struct position {
        struct trail *trail;
        const char *origin;
        size_t number;
};

static int add_record(struct position *p, json_object *record, struct error *e) {
        struct trail *t = p->trail;
        struct error why = {};
        struct call call;
        int r;

        t->n_records++;
        p->number++;
        r = call_parse(record, &call, &why);
        if (r < 0)
                return add_bad(t, p->origin, p->number, why.reason, e);
        return r == 0 ? 0 : keep(t, &call, record, e);
}

/* A record that is the text of a member. */
static int add_text_record(struct position *p, json_object *holder, const char *key, struct error *e) {
        _cleanup_json_ json_object *record = NULL;
        json_object *text = NULL;
        struct error why = {};
        int r;

        if (!json_object_is_type(holder, json_type_object) || !json_object_object_get_ex(holder, key, &text) ||
            !json_object_is_type(text, json_type_string)) {
                p->trail->n_records++;
                return add_bad(p->trail, p->origin, ++p->number, "it has no text of the record", e);
        }
        r = json_parse(json_text(text), (size_t) json_object_get_string_len(text), FAILURE_USAGE, "", &record, &why);
        if (r < 0) {
                p->trail->n_records++;
                return add_bad(p->trail, p->origin, ++p->number, why.reason, e);
        }
        return add_record(p, record, e);
}

static int add_list(struct position *p, json_object *list, const char *text_key, struct error *e) {
        int r = 0;

        for (size_t i = 0; r == 0 && i < json_object_array_length(list); i++) {
                json_object *one = json_object_array_get_idx(list, i);

                r = text_key ? add_text_record(p, one, text_key, e) : add_record(p, one, e);
        }
        return r;
}

/* A row is a list of objects with one column each. */
static int add_rows(struct position *p, json_object *rows, struct error *e) {
        int r = 0;

        for (size_t i = 0; r == 0 && i < json_object_array_length(rows); i++) {
                json_object *row = json_object_array_get_idx(rows, i), *found = NULL;

                for (size_t j = 0; json_object_is_type(row, json_type_array) && j < json_object_array_length(row);
                     j++) {
                        json_object *column = json_object_array_get_idx(row, j);

                        if (json_object_is_type(column, json_type_object) &&
                            json_object_object_get_ex(column, "eventJson", NULL))
                                found = column;
                }
                r = add_text_record(p, found, "eventJson", e);
        }
        return r;
}

static int add_document(struct position *p, json_object *o, struct error *e) {
        json_object *v = NULL;

        if (json_object_is_type(o, json_type_array))
                return add_list(p, o, NULL, e);
        if (json_object_object_get_ex(o, "Records", &v) && json_object_is_type(v, json_type_array))
                return add_list(p, v, NULL, e);
        if (json_object_object_get_ex(o, "Events", &v) && json_object_is_type(v, json_type_array))
                return add_list(p, v, "CloudTrailEvent", e);
        if (json_object_object_get_ex(o, "QueryResultRows", &v) && json_object_is_type(v, json_type_array))
                return add_rows(p, v, e);
        if (json_object_object_get_ex(o, "detail-type", NULL) && json_object_object_get_ex(o, "detail", &v))
                return add_record(p, v, e);
        if (json_object_object_get_ex(o, "eventSource", NULL))
                return add_record(p, o, e);
        return fail(e, FAILURE_USAGE, -EINVAL, p->origin,
                    "it has none of the forms of CloudTrail records: Records, Events, QueryResultRows, detail, "
                    "eventSource");
}

static int parse_lines(struct position *p, const char *text, size_t n, struct error *e) {
        const char *end = text + n;
        int r = 0;

        while (r == 0 && text < end) {
                size_t length = strcspn(text, "\n");
                _cleanup_json_ json_object *o = NULL;

                length = MIN_OF(length, (size_t) (end - text));
                if (strspn(text, " \t\r") < length) {
                        r = json_parse(text, length, FAILURE_USAGE, p->origin, &o, e);
                        if (r == 0)
                                r = add_document(p, o, e);
                }
                text += length + 1;
        }
        return r;
}

int trail_parse(struct trail *t, const char *text, size_t n, const char *origin, struct error *e) {
        struct position p = { .trail = t, .origin = origin };
        const char *second = memchr(text, '\n', n);
        _cleanup_json_ json_object *o = NULL;
        int r;

        /* One object a line: the first line is complete, and another begins. */
        if (text[0] == '{' && second && second > text && (second[-1] == '}' || second[-1] == '\r') && second[1] == '{')
                return parse_lines(&p, text, n, e);
        r = json_parse(text, n, FAILURE_USAGE, origin, &o, e);
        return r < 0 ? r : add_document(&p, o, e);
}

int trail_read(struct trail *t, const char *path, struct error *e) {
        _cleanup_free_ uint8_t *data = NULL, *plain = NULL;
        size_t n, plain_n;
        int r;

        r = file_read(path, FILE_MAX, FAILURE_IO, &data, &n, e);
        if (r < 0)
                return r;
        if (!is_gzip(data, n))
                return trail_parse(t, (char *) data, n, path, e);
        r = gunzip(data, n, FILE_MAX, path, &plain, &plain_n, e);
        return r < 0 ? r : trail_parse(t, (char *) plain, plain_n, path, e);
}

int trail_read_all(struct trail *t, char *const *paths, size_t n, struct error *e) {
        struct error first = {};
        int refused = 0, r;

        for (size_t i = 0; i < n; i++) {
                struct error why = {};

                r = trail_read(t, paths[i], &why);
                if (r == -ENOMEM || (r < 0 && why.failure != FAILURE_USAGE)) {
                        *e = why;
                        return r;
                }
                if (r == 0)
                        continue;
                if (refused == 0) {
                        first = why;
                        refused = r;
                }
                r = add_bad(t, paths[i], 0, why.reason, e);
                if (r < 0)
                        return r;
        }
        if (refused == 0 || t->n_records > 0)
                return 0;
        *e = first;
        return refused;
}

static const char *id_of(const struct call *c) {
        return c->shared_id[0] ? c->shared_id : c->event_id;
}

/* What the judgement goes by. */
static int compare_statements(const struct call *x, const struct call *y) {
        int r;

        r = strcmp(x->operation, y->operation);
        r = r ?: strcmp(x->key, y->key);
        r = r ?: strcmp(x->account, y->account);
        r = r ?: strcmp(x->error, y->error);
        r = r ?: strcmp(x->module_id, y->module_id);
        r = r ?: (int) x->attested - (int) y->attested;
        r = r ?: (int) x->enclave - (int) y->enclave;
        r = r ?: memcmp(&x->present, &y->present, sizeof x->present);
        return r ?: memcmp(x->pcr, y->pcr, sizeof x->pcr);
}

static bool names_caller(const struct call *c) {
        return strncmp(c->caller, "arn:", 4) == 0;
}

/* Of the two records of a call between accounts, the one that names the caller comes first. */
static int compare_ids(const void *a, const void *b) {
        const struct call *x = a, *y = b;
        int r = strcmp(id_of(x), id_of(y));

        r = r ?: compare_statements(x, y);
        r = r ?: (int) names_caller(y) - (int) names_caller(x);
        return r ?: strcmp(x->caller, y->caller);
}

/* A file that the operator of an instance has written must not speak for the owner's: what differs stays. */
static bool says_no_more(const struct call *c, const struct call *before) {
        return id_of(c)[0] && streq(id_of(c), id_of(before)) && compare_statements(c, before) == 0 &&
               (!names_caller(c) || streq(c->caller, before->caller));
}

static int compare_times(const void *a, const void *b) {
        const struct call *x = a, *y = b;
        int r = strcmp(x->time, y->time);

        return r ? r : strcmp(id_of(x), id_of(y));
}

void trail_sort(struct trail *t) {
        size_t kept = 0;

        if (t->n == 0)
                return;
        qsort(t->calls, t->n, sizeof *t->calls, compare_ids);
        for (size_t i = 0; i < t->n; i++) {
                if (kept > 0 && says_no_more(&t->calls[i], &t->calls[kept - 1]))
                        continue;
                t->calls[kept++] = t->calls[i];
        }
        t->n_twice += t->n - kept;
        t->n = kept;
        qsort(t->calls, t->n, sizeof *t->calls, compare_times);
}

void trail_done(struct trail *t) {
        for (size_t i = 0; i < t->n_kept; i++)
                json_object_put(t->records[i]);
        for (size_t i = 0; i < t->n_bad; i++) {
                free(t->bad[i].origin);
                free(t->bad[i].reason);
        }
        free(t->records);
        free(t->bad);
        free(t->calls);
        *t = (struct trail) {};
}
