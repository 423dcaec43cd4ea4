/* SPDX-License-Identifier: Apache-2.0 */
#include "aws/answer.h"

#include "basic/clock.h"

/* A role's session token is 1 to 2 KiB; locked memory is scarce. */
enum { MAX_SECRET_TEXT = 8 * 1024 };

/* The end of a string's content: the index of its closing quote, or n. */
static size_t string_end(const char *text, size_t n, size_t i) {
        while (i < n && text[i] != '"')
                i += text[i] == '\\' ? 2 : 1;
        return MIN_OF(i, n);
}

static size_t skip_space(const char *text, size_t n, size_t i) {
        while (i < n && memchr(" \t\r\n", text[i], 4))
                i++;
        return i;
}

/* Finds the content of the text value of a top-level member. */
static int find_text(const char *text, size_t n, const char *key, size_t *ret_start, size_t *ret_end) {
        int r = -ENOENT;
        unsigned depth = 0;

        for (size_t i = 0; i < n; i++) {
                size_t start, end, value;

                if (text[i] == '{' || text[i] == '[')
                        depth++;
                else if ((text[i] == '}' || text[i] == ']') && depth > 0)
                        depth--;
                if (text[i] != '"')
                        continue;
                start = i + 1;
                i = end = string_end(text, n, start);
                value = skip_space(text, n, end + 1);
                if (depth != 1 || end - start != strlen(key) || memcmp(text + start, key, end - start) != 0 ||
                    value >= n || text[value] != ':')
                        continue;
                value = skip_space(text, n, value + 1);
                if (r == 0 || value >= n || text[value] != '"')
                        return -EBADMSG;
                *ret_start = value + 1;
                *ret_end = i = string_end(text, n, value + 1);
                r = 0;
        }
        return r;
}

int answer_take_secret(char *text, size_t n, const char *key, struct secret **ret) {
        _cleanup_secret_ struct secret *s = NULL;
        size_t start = 0, end = 0, used = 0;
        int r;

        r = find_text(text, n, key, &start, &end);
        if (r < 0)
                return r;
        if (end - start > MAX_SECRET_TEXT)
                return -EBADMSG;
        r = secret_new(end - start, &s);
        if (r < 0)
                return r;
        for (size_t i = start; i < end; i++) {
                if (text[i] == '\\' && (i + 1 == end || text[++i] != '/'))
                        return -EBADMSG;
                s->data[used++] = (uint8_t) text[i];
        }
        memset(text + start, 'x', end - start);
        s->size = used;
        *ret = TAKE(s);
        return 0;
}

const char *answer_text(json_object *o, const char *key) {
        json_object *member;

        if (!json_object_object_get_ex(o, key, &member) || !json_object_is_type(member, json_type_string) ||
            strlen(json_object_get_string(member)) != (size_t) json_object_get_string_len(member))
                return NULL;
        return json_object_get_string(member);
}

int answer_time(const char *text, int64_t *ret) {
        char again[DATE_TEXT_SIZE];
        struct tm tm = {};
        int64_t seconds;

        if (!strptime(text, "%Y-%m-%dT%H:%M:%SZ", &tm))
                return -EBADMSG;
        seconds = timegm(&tm);
        date_text(seconds, again);
        /* strptime() forgives missing digits, white space, and dates such as 30 February. */
        if (!streq(again, text))
                return -EBADMSG;
        *ret = seconds;
        return 0;
}
