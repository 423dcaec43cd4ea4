/* SPDX-License-Identifier: Apache-2.0 */
#include "basic/json.h"

#include <limits.h>

#include "basic/utf8.h"

enum { JSON_DEPTH = 16 };

DEFINE_CLEANUP(json_tokener *, json_tokener_free, json_tokener_freep)

/* Of two equal keys json-c keeps the last and says nothing. Another program may keep the first, and so read another
 * policy from the same text. Hence the text, which is well-formed by now, is read again: the object must have as many
 * keys as the text. */
static size_t count_keys(json_object *o) {
        size_t n = 0;

        if (json_object_is_type(o, json_type_object)) {
                json_object_object_foreach(o, key, value) {
                        (void) key;
                        n += 1 + count_keys(value);
                }
        } else if (json_object_is_type(o, json_type_array))
                for (size_t i = 0; i < json_object_array_length(o); i++)
                        n += count_keys(json_object_array_get_idx(o, i));
        return n;
}

/* In well-formed JSON every colon outside a string follows one key. json-c accepts strings in apostrophes even when it
 * is told to be strict: for an apostrophe outside a string the count is one that no object has. */
static size_t count_colons(const char *text, size_t size) {
        bool in_string = false;
        size_t n = 0;

        for (size_t i = 0; i < size; i++) {
                if (in_string && text[i] == '\\')
                        i++;
                else if (text[i] == '"')
                        in_string = !in_string;
                else if (!in_string && text[i] == ':')
                        n++;
                else if (!in_string && text[i] == '\'')
                        return SIZE_MAX;
        }
        return n;
}

/* Writes characters that are not ASCII as escapes: json-c 0.18 takes their bytes for control characters, which strict
 * syntax forbids. The text is valid UTF-8. */
static char *escape_non_ascii(const char *text, size_t size, size_t *ret_n) {
        char *out = malloc(size * 3 + 1), *p = out;
        bool after_backslash = false;

        if (!out)
                return NULL;
        for (const unsigned char *c = (const unsigned char *) text, *end = c + size; c < end;) {
                unsigned following = *c < 0xc0 ? 0 : *c < 0xe0 ? 1 : *c < 0xf0 ? 2 : 3;
                uint32_t point = *c & (following ? 0x3fu >> following : 0x7fu);

                for (c++; following > 0; following--)
                        point = point << 6 | (*c++ & 0x3fu);
                if (point < 0x80)
                        *p++ = (char) point;
                else if (after_backslash) /* not an escape, and must not become one */
                        *p++ = 'x';
                else if (point < 0x10000)
                        p += sprintf(p, "\\u%04x", point);
                else
                        p += sprintf(p, "\\u%04x\\u%04x", 0xd7c0 + (point >> 10), 0xdc00 + (point & 0x3ff));
                after_backslash = !after_backslash && point == '\\';
        }
        *p = '\0';
        *ret_n = (size_t) (p - out);
        return out;
}

int json_parse(const char *text, size_t size, enum failure failure, const char *subject, json_object **ret,
               struct error *e) {
        _cleanup_(json_tokener_freep) json_tokener *tokener = NULL;
        _cleanup_free_ char *escaped = NULL;
        _cleanup_json_ json_object *o = NULL;
        enum json_tokener_error status;

        if (size >= 2 && (memcmp(text, "\xff\xfe", 2) == 0 || memcmp(text, "\xfe\xff", 2) == 0))
                return fail(e, failure, -EBADMSG, subject, "it is UTF-16 text, and JSON is UTF-8: save it as UTF-8");
        if (size >= 3 &&
            memcmp(text, "\xef\xbb\xbf", 3) == 0) { /* a byte order mark, which RFC 8259 lets readers ignore */
                text += 3;
                size -= 3;
        }
        if (size > INT_MAX / 4 || !utf8_valid(text, size))
                return fail(e, failure, -EBADMSG, subject, "it is not valid JSON: it is not UTF-8 text");
        escaped = escape_non_ascii(text, size, &size);
        tokener = json_tokener_new_ex(JSON_DEPTH);
        if (!escaped || !tokener)
                return fail_oom(e);
        text = escaped;
        json_tokener_set_flags(tokener, JSON_TOKENER_STRICT);
        o = json_tokener_parse_ex(tokener, text, (int) size);
        status = json_tokener_get_error(tokener);
        for (size_t end = json_tokener_get_parse_end(tokener); status == json_tokener_success && end < size; end++)
                if (!strchr(" \t\r\n", text[end]))
                        return fail(e, failure, -EBADMSG, subject, "it is not one JSON value: more follows at byte %zu",
                                    end);
        if (status == json_tokener_continue)
                return fail(e, failure, -EBADMSG, subject, "it is not valid JSON: it is cut short");
        if (status != json_tokener_success)
                return fail(e, failure, -EBADMSG, subject, "it is not valid JSON: %s at byte %zu",
                            json_tokener_error_desc(status), json_tokener_get_parse_end(tokener));
        if (!json_object_is_type(o, json_type_object) && !json_object_is_type(o, json_type_array))
                return fail(e, failure, -EBADMSG, subject, "it is not a JSON object or array");
        if (count_colons(text, size) != count_keys(o))
                return fail(e, failure, -EBADMSG, subject,
                            "it is not strict JSON, or has an object with the same key twice");
        *ret = TAKE(o);
        return 0;
}

static bool in_range(json_object *o, const struct json_field *f) {
        int64_t v;

        if (f->min == 0 && f->max == 0)
                return true;
        if (f->type == json_type_int)
                v = json_object_get_int64(o);
        else if (f->type == json_type_string)
                v = json_object_get_string_len(o);
        else if (f->type == json_type_array)
                v = (int64_t) json_object_array_length(o);
        else
                return true;
        return v >= f->min && v <= f->max;
}

int json_fields(json_object *object, const struct json_field *fields, size_t n, enum failure failure,
                const char *subject, const char *where, struct error *e) {
        const char *dot = where[0] ? "." : "";

        if (!json_object_is_type(object, json_type_object))
                return fail(e, failure, -EINVAL, subject, "%s must be an object, not %s",
                            where[0] ? where : "the top level", json_type_to_name(json_object_get_type(object)));
        json_object_object_foreach(object, key, value) {
                const struct json_field *f = NULL;

                for (size_t i = 0; i < n && !f; i++)
                        if (streq(fields[i].key, key))
                                f = &fields[i];
                if (!f)
                        return fail(e, failure, -EINVAL, subject, "there is an unknown key \"%s%s%s\"", where, dot,
                                    key);
                if (!json_object_is_type(value, f->type))
                        return fail(e, failure, -EINVAL, subject, "\"%s%s%s\" must be %s, not %s", where, dot, key,
                                    f->expected, json_type_to_name(json_object_get_type(value)));
                /* A text secret cut at an embedded NUL, or a path, would read differently elsewhere. */
                if (f->type == json_type_string &&
                    strlen(json_object_get_string(value)) != (size_t) json_object_get_string_len(value))
                        return fail(e, failure, -EINVAL, subject, "\"%s%s%s\" holds a NUL character", where, dot, key);
                if (!in_range(value, f))
                        return fail(e, failure, -ERANGE, subject, "\"%s%s%s\" is %.64s, expected %s", where, dot, key,
                                    json_object_to_json_string_ext(value, JSON_C_TO_STRING_PLAIN), f->expected);
                if (f->ret)
                        *f->ret = value;
        }
        for (size_t i = 0; i < n; i++)
                if (fields[i].required && !json_object_object_get_ex(object, fields[i].key, NULL))
                        return fail(e, failure, -EINVAL, subject, "\"%s%s%s\" is missing; expected %s", where, dot,
                                    fields[i].key, fields[i].expected);
        return 0;
}

const char *json_text(json_object *o) {
        return o ? json_object_get_string(o) : NULL;
}

int64_t json_integer(json_object *o, int64_t absent) {
        return o ? json_object_get_int64(o) : absent;
}

bool json_boolean(json_object *o, bool absent) {
        return o ? json_object_get_boolean(o) : absent;
}

void json_add_text(json_object *to, const char *key, const char *text) {
        json_object_object_add(to, key, text && text[0] ? json_object_new_string(text) : NULL);
}
