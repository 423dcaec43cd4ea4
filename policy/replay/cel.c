/* SPDX-License-Identifier: Apache-2.0 */
#include "replay/cel.h"

#include <ctype.h>

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

        return json_object_object_get_ex(o, key, &v) && json_object_is_type(v, json_type_string)
                       ? json_object_get_string(v)
                       : NULL;
}

static int parse_digest(json_object *o, struct log_event *event) {
        const char *name = string_of(o, "hashAlg"), *hex = string_of(o, "digest");
        const struct pcr_algorithm *algorithm;
        char lower[16] = "";

        if (!name || !hex)
                return -EBADMSG;
        for (size_t i = 0; i < sizeof lower - 1 && name[i]; i++)
                lower[i] = (char) tolower((unsigned char) name[i]);
        algorithm = pcr_algorithm_named(lower);
        if (!algorithm)
                return 0;
        if (event->n_digests >= PCR_BANKS_MAX || log_event_digest(event, algorithm) ||
            strlen(hex) != 2 * algorithm->size ||
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
        return 0;
}

/* By number, or by name as some converters write it. */
static int parse_event_type(json_object *content, uint32_t *ret) {
        json_object *type;

        if (!json_object_object_get_ex(content, "event_type", &type))
                return -ENOENT;
        if (json_object_is_type(type, json_type_int)) {
                *ret = (uint32_t) json_object_get_int64(type);
                return 0;
        }
        return json_object_is_type(type, json_type_string) ? event_type_named(json_object_get_string(type), ret)
                                                           : -EINVAL;
}

/* A firmware event in CEL's form: {"event_type": 4, "event_data": "<hex>"}. Whether an event of no known type extended
 * the PCR cannot be told, so it then has no digest, and the PCR's value is not known. */
static int describe_firmware(json_object *content, struct log_event *event) {
        const char *hex = string_of(content, "event_data");
        _cleanup_free_ uint8_t *data = NULL;
        const char *name;
        size_t n;

        n = hex ? strlen(hex) / 2 : 0;
        data = malloc(n + 1);
        if (!data || (hex && (strlen(hex) % 2 != 0 || hex_decode(hex, data, n) < 0)))
                return -EBADMSG;
        if (parse_event_type(content, &event->type) < 0)
                event->n_digests = 0;
        event->extended = event->type != EV_NO_ACTION;
        name = event_type_name(event->type);
        event->type_name = strdup(name ?: "unknown event type");
        event->text = describe_event(event->type, data, n);
        event_check(event, data, n);
        return 0;
}

/* `content` is NULL, or of any kind: what it says is shown where it is understood, and changes no value. */
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
        json_object *content = NULL;

        event->type = EV_NONE;
        event->extended = true;
        json_object_object_get_ex(record, "content", &content);
        return content_type && streq(content_type, "pcclient_std")
                       ? describe_firmware(content, event)
                       : describe_userspace(content, content_type ?: "unknown content", event);
}

/* What a record that names no PCR is of: an NV index, which systemd from version 259 on extends like a PCR, or
 * something that will come later. */
static void describe_elsewhere(json_object *record, struct log_event *event) {
        json_object *content = NULL, *index = NULL;
        const char *name, *text = string_of(record, "nv_index");
        _cleanup_free_ char *all = NULL;
        char number[32];

        json_object_object_get_ex(record, "content", &content);
        name = string_of(content, "nvIndexName");
        if (json_object_object_get_ex(record, "nv_index", &index) && json_object_is_type(index, json_type_int)) {
                snprintf(number, sizeof number, "0x%08llx", (unsigned long long) json_object_get_int64(index));
                text = number;
        }
        if (asprintf(&all, "%s%s%s%s%s: %s", index ? "NV index" : "no PCR", text ? " " : "", text ?: "",
                     name ? " " : "", name ?: "", event->text ?: "") < 0)
                all = NULL;
        free(event->text);
        event->text = all ? describe_text(all) : NULL;
        event->text_is = TEXT_UNCHECKED;
        event->extended = false;
        event->elsewhere = true;
}

/* Numbers the record: 0 and its PCR, or -ENOENT when it is of something else. */
static int parse_pcr(json_object *record, unsigned *ret) {
        json_object *v;
        int64_t pcr;

        if (!json_object_object_get_ex(record, "pcr", &v))
                return json_object_object_get_ex(record, "digests", NULL) ? -ENOENT : -EBADMSG;
        pcr = json_object_is_type(v, json_type_int) ? json_object_get_int64(v) : -1;
        if (pcr < 0 || pcr >= PCR_COUNT)
                return -EBADMSG;
        *ret = (unsigned) pcr;
        return 0;
}

static int parse_record(json_object *record, const char *subject, struct event_log *l, int64_t *recnum,
                        struct error *e) {
        struct log_event event = {};
        size_t number = l->n + 1;
        json_object *v;
        int r;

        if (!json_object_is_type(record, json_type_object))
                return bad(subject, number, e, "is not an object");
        if (json_object_object_get_ex(record, "recnum", &v)) {
                int64_t n = json_object_is_type(v, json_type_int) ? json_object_get_int64(v) : -1;

                if (n < 0 || n <= *recnum)
                        return bad(subject, number, e, "is out of order: its \"recnum\" does not count up");
                *recnum = n;
        }
        r = parse_pcr(record, &event.pcr);
        if (r < 0 && r != -ENOENT)
                return bad(subject, number, e, "names no PCR from 0 to 23");
        if (parse_digests(record, &event) < 0)
                return bad(subject, number, e, "has no \"digests\", or one that is not well-formed");
        if (parse_content(record, &event) < 0) {
                free(event.type_name);
                free(event.text);
                return bad(subject, number, e, "has a \"content\" that is not well-formed");
        }
        if (r == -ENOENT)
                describe_elsewhere(record, &event);
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
                return fail(e, inner.failure, k, subject, "record %zu: %s", l->n + 1, inner.reason);
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

/* One record at a time: parsed at once, a small array could take a thousand times its size. `at` is behind the bracket.
 */
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

/* Where a line's record ends: at the end of the line, or of the line that closes its last bracket. */
static size_t line_end(const char *text, size_t at, size_t size) {
        bool in_string = false;
        size_t depth = 0;

        for (; at < size && !(text[at] == '\n' && depth == 0); at++)
                if (in_string && text[at] == '\\')
                        at++;
                else if (text[at] == '"')
                        in_string = !in_string;
                else if (!in_string && (text[at] == '{' || text[at] == '['))
                        depth++;
                else if (!in_string && depth > 0 && (text[at] == '}' || text[at] == ']'))
                        depth--;
        return MIN_OF(at, size);
}

static int parse_sequence(const char *text, size_t size, const char *subject, struct event_log *l, struct error *e) {
        bool separated = memchr(text, RECORD_SEPARATOR, size);
        int64_t recnum = -1;
        int k;

        for (size_t at = 0; at < size;) {
                const char *separator = separated ? memchr(text + at, RECORD_SEPARATOR, size - at) : NULL;
                size_t end = separator ? (size_t) (separator - text) : separated ? size : line_end(text, at, size);

                if (!is_blank(text + at, end - at)) {
                        k = parse_text(text + at, end - at, subject, l, &recnum, e);
                        if (k < 0)
                                return k;
                }
                at = end + 1;
        }
        return 0;
}

int cel_parse(const char *text, size_t size, const char *subject, struct event_log *ret, struct error *e) {
        _cleanup_event_log_ struct event_log l = {};
        size_t blank = 0;
        int k;

        if (size >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0) { /* a byte order mark */
                text += 3;
                size -= 3;
        }
        while (blank < size && is_blank(text + blank, 1))
                blank++;
        k = blank < size && text[blank] == '[' ? parse_array(text, blank + 1, size, subject, &l, e)
                                               : parse_sequence(text, size, subject, &l, e);
        if (k < 0)
                return k;
        event_log_find_banks(&l);
        *ret = TAKE_STRUCT(l);
        return 0;
}
