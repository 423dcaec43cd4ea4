/* SPDX-License-Identifier: Apache-2.0 */
#include "verbs/document-file.h"

#include <ctype.h>
#include <strings.h>

#include "basic/encode.h"
#include "basic/file.h"
#include "basic/json.h"
#include "basic/reader.h"

enum {
        FILE_MAX = 8 * DOCUMENT_MAX, /* an array of byte values takes up to five characters a byte, indented more */
        TAG_SIGN1 = 0xd2,
        ARRAY_OF_FOUR = 0x84,
        BYTES_OF_U16 = 0x59, /* a byte string whose length is the next two bytes */
};

static int unknown_form(const char *subject, const char *why, struct error *e) {
        fail(e, FAILURE_DOCUMENT, -EBADMSG, subject, "%s", why);
        fail_advice(e, "Give the document as it was received: the COSE_Sign1 message itself, its base64 or hex text, "
                       "or JSON that holds one such text.");
        return -EBADMSG;
}

static bool is_message(const uint8_t *data, size_t n) {
        return n > 2 && (data[0] == ARRAY_OF_FOUR || (data[0] == TAG_SIGN1 && data[1] == ARRAY_OF_FOUR));
}

/* Drops white space in place, also escaped white space of a JSON string or a shell, and turns base64url's alphabet into
 * base64's: base64_decode() is strict. */
static size_t squeeze(char *text, size_t n) {
        size_t kept = 0;

        for (size_t i = 0; i < n; i++)
                if (text[i] == '\\' && i + 1 < n && text[i + 1] && strchr("/nrt", text[i + 1]))
                        i += text[i + 1] != '/';
                else if (!strchr(" \t\r\n", text[i]) || !text[i])
                        text[kept++] = (char) (text[i] == '-' ? '+' : text[i] == '_' ? '/' : text[i]);
        return kept;
}

static int decode_hex(const char *text, size_t n, uint8_t **ret, size_t *ret_n) {
        _cleanup_free_ uint8_t *out = malloc(n / 2 + 1);

        if (!out)
                return -ENOMEM;
        if (n % 2 != 0 || hex_decode(text, out, n / 2) < 0)
                return -EINVAL;
        *ret = TAKE(out);
        *ret_n = n / 2;
        return 0;
}

/* Narrows the text to what is between lines of PEM armour, behind the comma of a data: URL, or between quotes. */
static void unwrap(const char **text, size_t *n) {
        const char *start = *text, *end = start + *n, *found;

        if (*n > 10 && memcmp(start, "-----BEGIN", 10) == 0) {
                found = memchr(start, '\n', *n);
                start = found ? found + 1 : start;
                found = memmem(start, (size_t) (end - start), "-----END", 8);
                if (found)
                        end = found;
        } else if (*n > 5 && memcmp(start, "data:", 5) == 0) {
                found = memchr(start, ',', *n);
                start = found ? found + 1 : start;
        } else if (*n > 1 && (start[0] == '"' || start[0] == '\'') && end[-1] == start[0]) {
                start++;
                end--;
        }
        *text = start;
        *n = (size_t) (end - start);
}

/* "84:4f:..." becomes "844f...". A colon anywhere else stays, and the text is then no hex. */
static size_t drop_colons(char *text, size_t n) {
        size_t kept = 0;

        for (size_t i = 0; i < n; i++)
                if (text[i] != ':' || i % 3 != 2)
                        text[kept++] = text[i];
        return kept;
}

/* A text of hex digits alone is taken as hex: the base64 of a document has other characters, too. */
static int decode_text(const char *given, size_t n, uint8_t **ret, size_t *ret_n) {
        _cleanup_free_ char *text = malloc(n + 4);
        size_t hex;

        if (!text)
                return -ENOMEM;
        unwrap(&given, &n);
        memcpy(text, given, n);
        n = drop_colons(text, squeeze(text, n));
        text[n] = '\0';
        hex = strncasecmp(text, "0x", 2) == 0 ? 2 : 0;
        if (strspn(text + hex, "0123456789abcdefABCDEF") == n - hex)
                return decode_hex(text + hex, n - hex, ret, ret_n);
        while (n % 4 != 0 && n % 4 != 1)
                text[n++] = '=';
        return base64_decode(text, n, ret, ret_n);
}

/* --- JSON --------------------------------------------------------------------------------------------------------- */

struct found {
        uint8_t *data;
        size_t n;
        bool several;
};

static void found_done(struct found *f) {
        free(f->data);
}

/* Takes `data`. A member is recognised by its first bytes, whatever its name is. */
static void add_candidate(struct found *f, uint8_t *data, size_t n) {
        if (!is_message(data, n) || (f->data && f->n == n && memcmp(f->data, data, n) == 0)) {
                free(data);
                return;
        }
        if (f->data) {
                f->several = true;
                free(data);
                return;
        }
        f->data = data;
        f->n = n;
}

static int add_array(struct found *f, json_object *array) {
        size_t n = json_object_array_length(array);
        _cleanup_free_ uint8_t *data = malloc(n + 1);

        if (!data)
                return -ENOMEM;
        for (size_t i = 0; i < n; i++) {
                json_object *v = json_object_array_get_idx(array, i);

                if (!json_object_is_type(v, json_type_int) || json_object_get_int64(v) < 0 ||
                    json_object_get_int64(v) > 255)
                        return 0;
                data[i] = (uint8_t) json_object_get_int64(v);
        }
        add_candidate(f, TAKE(data), n);
        return 0;
}

static int add_text(struct found *f, json_object *text) {
        uint8_t *data;
        size_t n;
        int r;

        r = decode_text(json_object_get_string(text), (size_t) json_object_get_string_len(text), &data, &n);
        if (r < 0)
                return r == -ENOMEM ? r : 0;
        add_candidate(f, data, n);
        return 0;
}

static int search(struct found *f, json_object *o) {
        int r;

        switch (json_object_get_type(o)) {
        case json_type_string:
                return add_text(f, o);
        case json_type_object: {
                json_object_object_foreach(o, key, value) {
                        (void) key;
                        r = search(f, value);
                        if (r < 0)
                                return r;
                }
                return 0;
        }
        case json_type_array:
                r = add_array(f, o);
                if (r < 0)
                        return r;
                for (size_t i = 0; i < json_object_array_length(o); i++) {
                        r = search(f, json_object_array_get_idx(o, i));
                        if (r < 0)
                                return r;
                }
                return 0;
        default:
                return 0;
        }
}

static int decode_json(const char *text, size_t n, const char *subject, uint8_t **ret, size_t *ret_n, struct error *e) {
        _cleanup_(found_done) struct found f = {};
        _cleanup_json_ json_object *o = NULL;
        int r;

        r = json_parse(text, n, FAILURE_DOCUMENT, subject, &o, e);
        if (r < 0)
                return r;
        if (search(&f, o) < 0)
                return fail_oom(e);
        if (f.several)
                return unknown_form(subject, "it is JSON that holds several attestation documents", e);
        if (!f.data)
                return unknown_form(subject,
                                    "it is JSON that holds no attestation document: no text in it is the base64 or hex "
                                    "of "
                                    "a COSE_Sign1 message",
                                    e);
        *ret = TAKE(f.data);
        *ret_n = f.n;
        return 0;
}

/* --- files -------------------------------------------------------------------------------------------------------- */

/* Turns ASCII text in UTF-16, as a shell of Windows writes it, into bytes, in place: every second byte is zero. 0 or
 * -EINVAL. */
static int narrow(uint8_t *data, size_t *n) {
        size_t kept = 0;

        for (size_t i = 2; i + 1 < *n; i += 2) {
                if (data[i + 1] != 0)
                        return -EINVAL;
                data[kept++] = data[i];
        }
        *n = kept;
        return 0;
}

static int decode_any_text(char *text, size_t n, const char *subject, uint8_t **ret, size_t *ret_n, struct error *e) {
        _cleanup_free_ uint8_t *decoded = NULL;
        size_t start = 0, size;
        int r;

        while (start < n && text[start] && strchr(" \t\r\n", text[start]))
                start++;
        while (n > start && text[n - 1] && strchr(" \t\r\n", text[n - 1]))
                n--;
        text += start;
        n -= start;
        if (n > 0 && (text[0] == '{' || text[0] == '['))
                return decode_json(text, n, subject, ret, ret_n, e);
        r = decode_text(text, n, &decoded, &size);
        if (r == 0 && !is_message(decoded, size) && size > 0 && isalnum(decoded[0])) { /* encoded twice */
                _cleanup_free_ uint8_t *inner = TAKE(decoded);

                r = decode_text((const char *) inner, size, &decoded, &size);
        }
        if (r == -ENOMEM)
                return fail_oom(e);
        if (r < 0 || (n > 0 && !is_message(decoded, size))) /* a word can be valid base64 */
                return unknown_form(subject, "it is neither a COSE_Sign1 message nor its base64 or hex text", e);
        *ret = TAKE(decoded);
        *ret_n = size;
        return 0;
}

/* The message in a CBOR byte string, or in the whole answer of an NSM or a NitroTPM, {"Attestation": {"document":
 * bytes}}; NULL when it is neither. */
static const uint8_t *find_inside(const uint8_t *data, size_t size, size_t *ret_n) {
        static const char answer[] = "\xa1\x6b"
                                     "Attestation\xa1\x68"
                                     "document";
        struct reader r = reader_over(data, size);
        const uint8_t *found;
        uint8_t head, high, low;

        if (size > sizeof answer && memcmp(data, answer, sizeof answer - 1) == 0 &&
            reader_skip(&r, sizeof answer - 1) < 0)
                return NULL;
        if (reader_u8(&r, &head) < 0 || head != BYTES_OF_U16 || reader_u8(&r, &high) < 0 || reader_u8(&r, &low) < 0 ||
            reader_left(&r) != (size_t) (high << 8 | low) || reader_bytes(&r, reader_left(&r), &found) < 0)
                return NULL;
        *ret_n = (size_t) (high << 8 | low);
        return is_message(found, *ret_n) ? found : NULL;
}

int document_decode(const uint8_t *data, size_t size, const char *subject, uint8_t **ret, size_t *ret_n,
                    struct error *e) {
        bool utf8 = size >= 3 && memcmp(data, "\xef\xbb\xbf", 3) == 0,
             utf16 = size >= 2 && memcmp(data, "\xff\xfe", 2) == 0;
        _cleanup_free_ uint8_t *copy = NULL;
        const uint8_t *inside = find_inside(data, size, &size);

        if (inside)
                data = inside;
        copy = malloc(size + 1);
        if (!copy)
                return fail_oom(e);
        if (size > 0)
                memcpy(copy, data, size);
        copy[size] = '\0';
        if (utf16 && narrow(copy, &size) < 0)
                return unknown_form(subject, "it is UTF-16 text that is neither base64 nor hex digits", e);
        if (utf8)
                return decode_any_text((char *) copy + 3, size - 3, subject, ret, ret_n, e);
        /* A COSE_Sign1 message starts with an array head or a tag, both outside ASCII. */
        if (utf16 || (size > 0 && copy[0] < 0x80))
                return decode_any_text((char *) copy, size, subject, ret, ret_n, e);
        *ret = TAKE(copy);
        *ret_n = size;
        return 0;
}

int document_read(const char *path, uint8_t **ret, size_t *ret_n, struct error *e) {
        _cleanup_free_ uint8_t *data = NULL;
        size_t n;
        int r;

        r = file_read(path, FILE_MAX, FAILURE_IO, &data, &n, e);
        return r < 0 ? r : document_decode(data, n, path, ret, ret_n, e);
}
