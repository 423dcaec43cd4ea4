/* SPDX-License-Identifier: Apache-2.0 */
#include "verify/reference.h"

#include <ctype.h>
#include <openssl/sha.h>
#include <strings.h>

#include "basic/encode.h"
#include "basic/file.h"

enum {
        REFERENCE_SETS_MAX = 256,
};

void reference_set(struct reference *r, unsigned pcr, const uint8_t value[static SHA384_SIZE]) {
        memcpy(r->pcr[pcr], value, SHA384_SIZE);
        r->present |= UINT32_C(1) << pcr;
}

void reference_firmware_alone(uint8_t ret[static SHA384_SIZE]) {
        static const uint8_t separator[4];
        uint8_t extended[2 * SHA384_SIZE] = {};

        SHA384(separator, sizeof separator, extended + SHA384_SIZE);
        SHA384(extended, sizeof extended, ret);
}

static void reference_clear(struct reference *r) {
        free(r->source);
        *r = (struct reference) {};
}

void references_done(struct references *r) {
        for (size_t i = 0; i < r->n; i++)
                reference_clear(&r->items[i]);
        free(r->items);
        *r = (struct references) {};
}

/* "PCR0" to "PCR31", as the tools print them: no sign, no leading zero. */
static int pcr_of_key(const char *key, unsigned *ret) {
        char wanted[sizeof "PCR31"];

        for (unsigned i = 0; i < PCR_COUNT_MAX; i++) {
                snprintf(wanted, sizeof wanted, "PCR%u", i);
                if (streq(key, wanted)) {
                        *ret = i;
                        return 0;
                }
        }
        return -EINVAL;
}

/* "SHA384 { ... }" of nitro-tpm-pcr-compute, "Sha384 { ... }" of nitro-cli, and "SHA-384" of everybody else. */
static bool is_sha384(const char *name) {
        static const char *const names[] = { "SHA384", "SHA-384", "SHA_384" };

        for (size_t i = 0; i < ELEMENTS(names); i++)
                if (strncasecmp(name, names[i], strlen(names[i])) == 0)
                        return true;
        return false;
}

/* Hex digits, where people write them by hand also with "0x" in front. */
static int parse_value(const char *text, uint8_t ret[static SHA384_SIZE]) {
        if (strncasecmp(text, "0x", 2) == 0)
                text += 2;
        return strlen(text) == 2 * SHA384_SIZE ? hex_decode(text, ret, SHA384_SIZE) : -EINVAL;
}

static int parse_measurements(json_object *o, struct reference *r, struct error *e) {
        uint8_t value[SHA384_SIZE];
        unsigned pcr;

        json_object_object_foreach(o, key, v) {
                const char *text = json_object_is_type(v, json_type_string) ? json_object_get_string(v) : "";

                if (!v) /* null: not measured */
                        continue;
                if (streq(key, "HashAlgorithm")) {
                        if (!is_sha384(text))
                                return fail(e, FAILURE_USAGE, -EINVAL, r->source,
                                            "HashAlgorithm is \"%.40s\"; NitroTPM attests the SHA-384 bank only", text);
                } else if (strncasecmp(key, "PCR", strlen("PCR")) != 0)
                        continue; /* what a later version of those tools says of the image beside its PCRs */
                else if (pcr_of_key(key, &pcr) < 0)
                        return fail(e, FAILURE_USAGE, -EINVAL, r->source, "unknown measurement \"%.40s\"", key);
                else if (parse_value(text, value) < 0)
                        return fail(e, FAILURE_USAGE, -EINVAL, r->source, "%s is not %d hex digits", key,
                                    2 * SHA384_SIZE);
                else
                        reference_set(r, pcr, value);
        }
        if (!r->present)
                return fail(e, FAILURE_USAGE, -EINVAL, r->source, "\"Measurements\" holds no PCR");
        return 0;
}

/* The object in "Measurements", or that object by itself, as `jq .Measurements` prints it. */
static json_object *find_measurements(json_object *o) {
        json_object *measurements = NULL;
        unsigned pcr;

        if (!json_object_is_type(o, json_type_object))
                return NULL;
        if (json_object_object_get_ex(o, "Measurements", &measurements))
                return json_object_is_type(measurements, json_type_object) ? measurements : NULL;
        json_object_object_foreach(o, key, v) {
                (void) v;
                if (pcr_of_key(key, &pcr) == 0)
                        return o;
        }
        return NULL;
}

static int read_set(json_object *o, struct reference *r, struct error *e) {
        json_object *measurements = find_measurements(o), *secure_boot;
        int k;

        if (!measurements)
                return fail(e, FAILURE_USAGE, -EINVAL, r->source, "it has no \"Measurements\" object");
        k = parse_measurements(measurements, r, e);
        if (k < 0 || !json_object_object_get_ex(o, "SecureBoot", &secure_boot))
                return k;
        if (!json_object_is_type(secure_boot, json_type_boolean))
                return fail(e, FAILURE_USAGE, -EINVAL, r->source, "\"SecureBoot\" is neither true nor false");
        r->secure_boot = json_object_get_boolean(secure_boot) ? SECURE_BOOT_ON : SECURE_BOOT_OFF;
        return 0;
}

/* Takes `source`, also on failure. */
static int parse_set(json_object *o, char *source, struct references *to, struct error *e) {
        _cleanup_(reference_clear) struct reference r = { .source = source };
        struct reference *larger;
        int k;

        k = read_set(o, &r, e);
        if (k < 0)
                return k;
        larger = reallocarray(to->items, to->n + 1, sizeof *larger);
        if (!larger)
                return fail_oom(e);
        to->items = larger;
        to->items[to->n++] = TAKE_STRUCT(r);
        return 0;
}

/* Undoes the appends of a text that turned out to be wrong further on. */
static void references_truncate(struct references *r, size_t n) {
        while (r->n > n)
                reference_clear(&r->items[--r->n]);
}

/* `nitro-cli build-enclave` prints lines of words before its object ("Enclave Image successfully created."). */
static const char *skip_words(const char *text, size_t size) {
        const char *line = text, *end = text + size;

        while (line < end && isalpha((unsigned char) *line)) {
                const char *next = memchr(line, '\n', (size_t) (end - line));

                if (!next)
                        return text;
                line = next + 1;
        }
        return line < end && *line == '{' ? line : text;
}

int references_parse(struct references *to, const char *text, size_t size, const char *source, struct error *e) {
        const char *start = skip_words(text, size);
        _cleanup_json_ json_object *o = NULL;
        size_t before = to->n, sets;
        bool array;
        int k;

        size -= (size_t) (start - text);
        text = start;
        k = json_parse(text, size, FAILURE_USAGE, source, &o, e);
        if (k < 0) {
                fail_advice(e,
                            "Give reference measurements as `sealboot measure` or nitro-tpm-pcr-compute prints them.");
                return k;
        }
        array = json_object_is_type(o, json_type_array);
        sets = array ? json_object_array_length(o) : 1;
        if (sets == 0 || sets > REFERENCE_SETS_MAX)
                return fail(e, FAILURE_USAGE, -EINVAL, source, "it holds %zu sets; expected 1 to %d", sets,
                            REFERENCE_SETS_MAX);
        for (size_t i = 0; i < sets; i++) {
                char *name = NULL;

                if ((array ? asprintf(&name, "%s[%zu]", source, i) : asprintf(&name, "%s", source)) < 0)
                        k = fail_oom(e);
                else
                        k = parse_set(array ? json_object_array_get_idx(o, i) : o, name, to, e);
                if (k < 0) {
                        references_truncate(to, before);
                        fail_advice(e, "Give reference measurements as `sealboot measure` or nitro-tpm-pcr-compute "
                                       "prints them.");
                        return k;
                }
        }
        return 0;
}

int references_read(struct references *to, const char *path, struct error *e) {
        _cleanup_free_ uint8_t *text = NULL;
        size_t size;
        int k;

        k = file_read(path, REFERENCE_FILE_MAX, FAILURE_IO, &text, &size, e);
        if (k < 0)
                return k;
        return references_parse(to, (const char *) text, size, path, e);
}

int reference_to_json(const struct reference *r, json_object **ret, struct error *e) {
        _cleanup_json_ json_object *o = json_object_new_object();
        json_object *m = json_object_new_object();
        char key[sizeof "PCR31"], value[2 * SHA384_SIZE + 1];

        if (!o || !m || json_object_object_add(o, "Measurements", m) < 0)
                return fail_oom(e);
        json_object_object_add(m, "HashAlgorithm", json_object_new_string("SHA384 { ... }"));
        for (unsigned i = 0; i < PCR_COUNT_MAX; i++) {
                if (!reference_has(r, i))
                        continue;
                snprintf(key, sizeof key, "PCR%u", i);
                hex_encode(r->pcr[i], SHA384_SIZE, value);
                json_object_object_add(m, key, json_object_new_string(value));
        }
        if (r->secure_boot != SECURE_BOOT_NOT_SAID &&
            json_object_object_add(o, "SecureBoot", json_object_new_boolean(r->secure_boot == SECURE_BOOT_ON)) < 0)
                return fail_oom(e);
        *ret = TAKE(o);
        return 0;
}
