/* SPDX-License-Identifier: Apache-2.0 */

/* sealboot verify: what an attestation document proves, check by check. */

#include <limits.h>
#include <time.h>

#include "basic/encode.h"
#include "basic/file.h"
#include "basic/json.h"
#include "connect/verdict.h"
#include "verbs/command.h"
#include "verbs/document-file.h"
#include "verbs/verifier-options.h"
#include "verify/document.h"
#include "verify/reference.h"
#include "verify/sealboot-verify.h"

enum { ATTRIBUTE_FILE_MAX = 1024 };

struct arguments {
        struct sealboot_verifier *v;
        bool as_json;
};

/* Hex digits, or @FILE. */
static int read_value(const char *text, uint8_t **ret, size_t *ret_n, struct error *e) {
        _cleanup_free_ uint8_t *value = NULL;
        size_t n = strlen(text) / 2;

        if (text[0] == '@')
                return file_read(text + 1, ATTRIBUTE_FILE_MAX, FAILURE_IO, ret, ret_n, e);
        value = malloc(n + 1);
        if (!value)
                return fail_oom(e);
        if (strlen(text) % 2 != 0 || hex_decode(text, value, n) < 0)
                return fail(e, FAILURE_USAGE, -EINVAL, text, "it is neither hex digits nor @FILE");
        *ret = TAKE(value);
        *ret_n = n;
        return 0;
}

typedef int (*expectation)(struct sealboot_verifier *v, const void *data, size_t size);

static int add_expectation(void *field, const struct option_row *row, char *text, struct error *e) {
        struct sealboot_verifier *v = *(struct sealboot_verifier **) field;
        _cleanup_free_ uint8_t *value = NULL;
        size_t n;
        int r;

        r = read_value(text, &value, &n, e);
        if (r < 0)
                return r;
        if (streq(row->name, "nonce"))
                r = sealboot_verifier_expect_nonce(v, value, n);
        else if (streq(row->name, "user-data"))
                r = sealboot_verifier_expect_user_data(v, value, n);
        else
                r = sealboot_verifier_expect_public_key(v, value, n);
        return r < 0 ? verifier_refused(v, r, e) : 0;
}

/* Exactly as shown in --help, and of a day that there is: strptime() takes 30 February, and timegm() makes it 2 March.
 */
static bool parse_date(const char *text, int64_t *ret) {
        static const char format[] = "%Y-%m-%dT%H:%M:%SZ";
        struct tm tm = {};
        char again[64];
        int64_t seconds;

        if (!strptime(text, format, &tm))
                return false;
        seconds = timegm(&tm);
        if (seconds < 0 || strftime(again, sizeof again, format, &tm) == 0 || !streq(again, text))
                return false;
        *ret = seconds;
        return true;
}

static int set_time(void *field, const struct option_row *row, char *text, struct error *e) {
        struct sealboot_verifier *v = *(struct sealboot_verifier **) field;
        int64_t seconds;
        uint64_t number;

        (void) row;
        if (streq(text, "now"))
                seconds = SEALBOOT_TIME_NOW;
        else if (streq(text, "document"))
                seconds = SEALBOOT_TIME_DOCUMENT;
        else if (decimal_parse(text, INT64_MAX, &number) == 0)
                seconds = (int64_t) number;
        else if (!parse_date(text, &seconds))
                return fail(e, FAILURE_USAGE, -EINVAL, "",
                            "'%s' is not a time: --at takes now, document, one such as 2026-02-03T10:12:02Z, or "
                            "seconds since 1970",
                            text);
        return sealboot_verifier_set_time(v, seconds) < 0 ? verifier_refused(v, -EINVAL, e) : 0;
}

static int set_max_age(void *field, const struct option_row *row, char *text, struct error *e) {
        struct sealboot_verifier *v = *(struct sealboot_verifier **) field;
        uint64_t seconds;

        (void) row;
        if (decimal_parse(text, INT64_MAX, &seconds) < 0)
                return fail(e, FAILURE_USAGE, -EINVAL, "", "--max-age takes a number of seconds, not '%s'", text);
        return sealboot_verifier_set_max_age(v, (int64_t) seconds) < 0 ? verifier_refused(v, -EINVAL, e) : 0;
}

static void print_json(const struct sealboot_verifier *v, int verdict) {
        _cleanup_json_ json_object *o = verdict_to_json(v, verdict);

        puts(json_object_to_json_string_ext(o, JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_NOSLASHESCAPE));
}

static const struct option_row option_rows[] = {
        { 0, "reference", "FILE",
          "PCRs must equal these reference measurements ('sealboot measure' writes them); several files or an array of "
          "sets: any one set, whole",
          OPTION_CALL(verifier_add_file, struct arguments, v) },
        { 0, "partial-reference", NULL,
          "accept a reference with PCR4 but without PCR12 or PCR2: an appended command line, or a UEFI driver that "
          "changes the image in memory, then goes unnoticed",
          OPTION_CALL(verifier_allow_partial_reference, struct arguments, v) },
        { 0, "model-digest", "DIGEST", "PCR15 must be extended with this model digest, once; several: any one",
          OPTION_CALL(verifier_add_digest, struct arguments, v) },
        { 0, "nonce", "VALUE", "the nonce must be this: hex digits, or @FILE for a file's bytes",
          OPTION_CALL(add_expectation, struct arguments, v) },
        { 0, "user-data", "VALUE", "likewise the user data", OPTION_CALL(add_expectation, struct arguments, v) },
        { 0, "public-key", "VALUE", "likewise the public key", OPTION_CALL(add_expectation, struct arguments, v) },
        { 0, "max-age", "SECONDS", "signed at most this long ago", OPTION_CALL(set_max_age, struct arguments, v) },
        { 0, "at", "now|document|TIME",
          "when certificates must be valid: now (default), when the document says it was signed (for old documents), "
          "or a time such as 2026-02-03T10:12:02Z",
          OPTION_CALL(set_time, struct arguments, v) },
        { 0, "root", "PEM", "another root certificate, for emulators",
          OPTION_CALL(verifier_add_file, struct arguments, v) },
        { 0, "json", NULL, "print the result as JSON", OPTION_FLAG(struct arguments, as_json) },
        OPTION_HELP,
        {},
};

static const struct command_line command_line = {
        .program = PROGRAM " verify",
        .usage = "Usage: sealboot verify [OPTION...] DOCUMENT\n\n"
                 "Check an attestation document of a NitroTPM or a Nitro Enclave (raw, base64, hex or in JSON;\n"
                 "'-': standard input): its form, its certificates up to the pinned AWS root, its signature, and\n"
                 "whatever you name below. Each check is listed as passed, FAILED or not checked; what is not\n"
                 "checked is not vouched for.",
        .rows = option_rows,
        .more = "Exit codes: 0 all that was asked for holds; 72 not authentic (malformed, wrong root, expired or\n"
                "not yet valid, bad signature); 73 authentic but not what was expected; 2 usage; 61 a file cannot\n"
                "be read.\n\n"
                "Example: sealboot verify --reference image.json --nonce 8f3a... --max-age 300 document.cbor",
        .operands_min = 1,
        .operands_max = 1,
        .needed = "one document is needed",
};

static int verify_file(struct sealboot_verifier *v, const char *path, bool as_json) {
        _cleanup_free_ uint8_t *data = NULL;
        struct error e;
        size_t n;
        int r;

        r = document_read(path, &data, &n, &e);
        if (r < 0)
                return command_failed(&e);
        r = sealboot_verifier_run(v, data, n);
        if (r == -EINVAL || r == -ENOMEM) {
                verifier_refused(v, r, &e);
                return command_misused(&command_line, &e);
        }
        if (as_json)
                print_json(v, r);
        else
                verdict_print(stdout, v, path, r);
        return verdict_code(r);
}

int cmd_verify(int argc, char *argv[]) {
        _cleanup_verifier_ struct sealboot_verifier *v = sealboot_verifier_new();
        struct arguments a = { .v = v };
        struct operands operands;
        struct error e;
        int code;

        if (!v) {
                fail_oom(&e);
                return command_failed(&e);
        }
        sealboot_verifier_require_whole_reference(v, 1);
        if (!command_parse(&command_line, argc, argv, &a, &operands, &code))
                return code;
        return verify_file(v, operands.items[0], a.as_json);
}
