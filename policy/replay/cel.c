/* SPDX-License-Identifier: Apache-2.0 */
#include "replay/cel.h"

#include "basic/encode.h"
#include "basic/json.h"
#include "measure/event-types.h"
#include "replay/check.h"
#include "replay/describe.h"

enum { RECORD_SEPARATOR = 0x1e, RECORD_MAX = 256 * 1024 };

static int bad(const char *subject, size_t record, struct error *e, const char *reason) {
        return fail(e, FAILURE_EVENT_LOG, -EBADMSG, subject, "record %zu %s", record, reason);
}

static const char *string_of(json_object *o, const char *key) {
        json_object *v;

        return json_object_object_get_ex(o, key, &v) && json_object_is_type(v, json_type_string) ? json_object_get_string(v)
                                                                                                 : NULL;
}

static int parse_digest(json_object *o, struct log_event *event) {
        const char *name = string_of(o, "hashAlg"), *hex = string_of(o, "digest");
        const struct pcr_algorithm *algorithm;

        if (!name || !hex)
                return -EBADMSG;
        algorithm = pcr_algorithm_named(name);
        if (!algorithm)
                return 0;
        if (event->n_digests >= PCR_BANKS_MAX || log_event_digest(event, algorithm) || strlen(hex) != 2 * algorithm->size ||
            hex_decode(hex, event->digests[event->n_digests].value, algorithm->size) < 0)
                return -EBADMSG;
        event->digests[event->n_digests++].algorithm = algorithm;
        return 0;
}

static int parse_digests(json_object *record, struct log_event *event) {
        json_object *digests;

        if (!json_object_object_get_ex(record, "digests", &digests) || !json_object_is_type(digests, json_type_array))
                return -EBADMSG;
        for (size_t i = 0; i < json_object_array_length(digests); i++)
                if (parse_digest(json_object_array_get_idx(digests, i), event) < 0)
                        return -EBADMSG;
        return event->n_digests > 0 ? 0 : -EBADMSG;
}

/* A firmware event in CEL's clothes: {"event_type": 4, "event_data": "<hex>"}, both also as strings. */
static int describe_firmware(json_object *content, struct log_event *event) {
        const char *hex = string_of(content, "event_data");
        _cleanup_free_ uint8_t *data = NULL;
        json_object *type;
        const char *name;
        size_t n;

        if (!json_object_object_get_ex(content, "event_type", &type) || !json_object_is_type(type, json_type_int))
                return -EBADMSG;
        n = hex ? strlen(hex) / 2 : 0;
        data = malloc(n + 1);
        if (!data || (hex && (strlen(hex) % 2 != 0 || hex_decode(hex, data, n) < 0)))
                return -EBADMSG;
        event->type = (uint32_t) json_object_get_int64(type);
        event->extended = event->type != EV_NO_ACTION;
        name = event_type_name(event->type);
        event->type_name = strdup(name ?: "unknown event type");
        event->text = describe_event(event->type, data, n);
        event_check(event, data, n);
        return 0;
}

static int describe_userspace(json_object *content, const char *content_type, struct log_event *event) {
        const char *kind = string_of(content, "eventType"), *text = string_of(content, "string");
        const char *description = string_of(content, "description");
        _cleanup_free_ char *type = NULL;

        if (asprintf(&type, "%s%s%s", content_type, kind ? " " : "", kind ?: "") < 0)
                type = NULL;
        event->type_name = type ? describe_text(type) : NULL;
        event->text = describe_text(description ?: text ?: "");
        if (text && !description)
                event_check(event, text, strlen(text));
        return 0;
}

static int parse_content(json_object *record, struct log_event *event) {
        const char *content_type = string_of(record, "content_type");
        json_object *content;

        event->type = EV_NONE;
        event->extended = true;
        if (!content_type || !json_object_object_get_ex(record, "content", &content) ||
            !json_object_is_type(content, json_type_object))
                return -EBADMSG;
        return streq(content_type, "pcclient_std") ? describe_firmware(content, event)
                                                   : describe_userspace(content, content_type, event);
}

static int parse_record(json_object *record, const char *subject, struct event_log *l, int64_t *recnum, struct error *e) {
        struct log_event event = {};
        size_t number = l->n + 1;
        json_object *v;
        int64_t pcr;

        if (!json_object_is_type(record, json_type_object))
                return bad(subject, number, e, "is not an object");
        if (json_object_object_get_ex(record, "recnum", &v)) {
                int64_t n = json_object_is_type(v, json_type_int) ? json_object_get_int64(v) : -1;

                if (n < 0 || n <= *recnum)
                        return bad(subject, number, e, "is out of order: its \"recnum\" does not count up");
                *recnum = n;
        }
        pcr = json_object_object_get_ex(record, "pcr", &v) && json_object_is_type(v, json_type_int)
                      ? json_object_get_int64(v)
                      : -1;
        if (pcr < 0 || pcr >= PCR_COUNT)
                return bad(subject, number, e, "names no PCR from 0 to 23");
        event.pcr = (unsigned) pcr;
        if (parse_digests(record, &event) < 0)
                return bad(subject, number, e, "has no \"digests\", or one that is not well-formed");
        if (parse_content(record, &event) < 0) {
                free(event.type_name);
                free(event.text);
                return bad(subject, number, e, "has no \"content\", or one that is not well-formed");
        }
        return event_log_add(l, &event, subject, e);
}

static int parse_text(const char *text, size_t size, const char *subject, struct event_log *l, int64_t *recnum,
                      struct error *e) {
        _cleanup_json_ json_object *record = NULL;
        struct error inner = {};
        int k;

        if (size > RECORD_MAX)
                return bad(subject, l->n + 1, e, "is larger than 256 KiB");
        k = json_parse(text, size, FAILURE_EVENT_LOG, subject, &record, &inner);
        if (k < 0)
                return fail(e, inner.failure, k, subject, "record %zu %s", l->n + 1, inner.reason);
        return parse_record(record, subject, l, recnum, e);
}

static bool is_blank(const char *text, size_t n) {
        for (size_t i = 0; i < n; i++)
                if (!memchr(" \t\r\n", text[i], 4))
                        return false;
        return true;
}

/* Where an array's element ends that starts here: the comma or bracket behind it, or the end of the text. */
static size_t element_end(const char *text, size_t at, size_t size) {
        bool in_string = false;
        size_t depth = 0;

        for (; at < size; at++) {
                char c = text[at];

                if (in_string && c == '\\')
                        at++;
                else if (c == '"')
                        in_string = !in_string;
                else if (in_string)
                        continue;
                else if (c == '[' || c == '{')
                        depth++;
                else if (depth == 0 && (c == ',' || c == ']' || c == '}'))
                        return at;
                else if (c == ']' || c == '}')
                        depth--;
        }
        return size;
}

/* One record at a time: parsed at once, a small array could take a thousand times its size. `at` is behind the bracket. */
static int parse_array(const char *text, size_t at, size_t size, const char *subject, struct event_log *l,
                       struct error *e) {
        int64_t recnum = -1;

        for (;; at++) {
                size_t end = element_end(text, at, size);
                bool last = end < size && text[end] == ']';
                int k = 0;

                if (end == size || text[end] == '}')
                        return fail(e, FAILURE_EVENT_LOG, -EBADMSG, subject, "its array of records is cut short");
                if (!last || l->n > 0 || !is_blank(text + at, end - at))
                        k = parse_text(text + at, end - at, subject, l, &recnum, e);
                if (k < 0)
                        return k;
                at = end;
                if (last && !is_blank(text + end + 1, size - end - 1))
                        return fail(e, FAILURE_EVENT_LOG, -EBADMSG, subject, "something follows its array of records");
                if (last)
                        return 0;
        }
}

static int parse_sequence(const char *text, size_t size, const char *subject, struct event_log *l, struct error *e) {
        char separator = memchr(text, RECORD_SEPARATOR, size) ? RECORD_SEPARATOR : '\n';
        int64_t recnum = -1;
        int k = 0;

        for (size_t at = 0; at < size && k == 0;) {
                const char *end = memchr(text + at, separator, size - at);
                size_t n = end ? (size_t) (end - text) - at : size - at;

                if (!is_blank(text + at, n))
                        k = parse_text(text + at, n, subject, l, &recnum, e);
                at += n + 1;
        }
        return k;
}

/* A bank can be replayed from this log when every record has a digest for it. */
static void common_banks(struct event_log *l) {
        for (size_t i = 0; l->n > 0 && i < l->events[0].n_digests; i++) {
                const struct pcr_algorithm *bank = l->events[0].digests[i].algorithm;
                bool everywhere = true;

                for (size_t j = 0; j < l->n; j++)
                        everywhere = everywhere && log_event_digest(&l->events[j], bank);
                if (everywhere)
                        l->banks[l->n_banks++] = bank;
        }
}

int cel_parse(const char *text, size_t size, const char *subject, struct event_log *ret, struct error *e) {
        _cleanup_event_log_ struct event_log l = {};
        size_t blank = 0;
        int k;

        while (blank < size && is_blank(text + blank, 1))
                blank++;
        k = blank < size && text[blank] == '[' ? parse_array(text, blank + 1, size, subject, &l, e)
                                               : parse_sequence(text, size, subject, &l, e);
        if (k < 0)
                return k;
        common_banks(&l);
        *ret = l;
        l = (struct event_log) {};
        return 0;
}
