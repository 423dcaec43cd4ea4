/* SPDX-License-Identifier: Apache-2.0 */

/* sealboot verify: what an attestation document proves, check by check. */

#include <getopt.h>
#include <limits.h>
#include <time.h>

#include "basic/encode.h"
#include "basic/file.h"
#include "basic/json.h"
#include "verbs/command.h"
#include "verbs/document-file.h"
#include "verify/document.h"
#include "verify/reference.h"
#include "verify/sealboot-verify.h"

enum { ATTRIBUTE_FILE_MAX = 1024 };

DEFINE_CLEANUP(struct sealboot_verifier *, sealboot_verifier_free, verifier_freep)
#define _cleanup_verifier_ _cleanup_(verifier_freep)

static void help(void) {
        puts("Usage: sealboot verify [OPTION...] DOCUMENT\n\n"
             "Check an attestation document of a NitroTPM or a Nitro Enclave (raw, base64, hex or in JSON; '-': standard input):\n"
             "its form, its certificates up to the pinned AWS root, its signature, and whatever you name below.\n"
             "Each check is listed as passed, FAILED or not checked; what is not checked is not vouched for.\n\n"
             "  --reference FILE       PCRs must equal these reference measurements ('sealboot measure' writes them);\n"
             "                         several files or an array of sets: any one set, whole\n"
             "  --partial-reference    accept a reference with PCR4 but without PCR12 or PCR2: an appended command line,\n"
             "                         or a UEFI driver that changes the image in memory, then goes unnoticed\n"
             "  --model-digest DIGEST  PCR15 must be extended with this model digest, once; several: any one\n"
             "  --nonce VALUE          the nonce must be this: hex digits, or @FILE for a file's bytes\n"
             "  --user-data VALUE      likewise the user data\n"
             "  --public-key VALUE     likewise the public key\n"
             "  --max-age SECONDS      signed at most this long ago\n"
             "  --at now|document|TIME when certificates must be valid: now (default), when the document says it was\n"
             "                         signed (for old documents), or a time such as 2026-02-03T10:12:02Z\n"
             "  --root PEM             another root certificate, for emulators\n"
             "  --json                 print the result as JSON\n"
             "  -h, --help             show this text\n\n"
             "Exit codes: 0 all that was asked for holds; 72 not authentic (malformed, wrong root, expired or not yet\n"
             "valid, bad signature); 73 authentic but not what was expected; 2 usage; 61 a file cannot be read.\n\n"
             "Example: sealboot verify --reference image.json --nonce 8f3a... --max-age 300 document.cbor");
}

static int refused(struct sealboot_verifier *v, int r) {
        fprintf(stderr, PROGRAM " verify: %s\n", sealboot_verifier_error(v));
        return r == -ENOMEM ? FAILURE_INTERNAL : FAILURE_USAGE;
}

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
                return fail(e, FAILURE_USAGE, -EINVAL, text, "is neither hex digits nor @FILE");
        *ret = TAKE(value);
        *ret_n = n;
        return 0;
}

typedef int (*expectation)(struct sealboot_verifier *v, const void *data, size_t size);

/* These return an exit code. */

static int add_expectation(struct sealboot_verifier *v, expectation expect, const char *text) {
        _cleanup_free_ uint8_t *value = NULL;
        struct error e;
        size_t n;
        int r;

        r = read_value(text, &value, &n, &e);
        if (r < 0)
                return command_failed(&e);
        r = expect(v, value, n);
        return r < 0 ? refused(v, r) : 0;
}

static int add_file(struct sealboot_verifier *v, const char *path, bool is_root) {
        _cleanup_free_ uint8_t *text = NULL;
        struct error e;
        size_t n;
        int r;

        r = file_read(path, REFERENCE_FILE_MAX, FAILURE_IO, &text, &n, &e);
        if (r < 0)
                return command_failed(&e);
        r = is_root ? sealboot_verifier_set_root(v, (const char *) text, n)
                    : sealboot_verifier_add_reference(v, (const char *) text, n, path);
        return r < 0 ? refused(v, r) : 0;
}

static int add_digest(struct sealboot_verifier *v, const char *text) {
        uint8_t digest[SEALBOOT_DIGEST_SIZE];
        int r;

        if (command_digest(text, digest) < 0)
                return command_usage("verify", "a model digest is sha384: and 96 hex digits, or these alone, not '%s'", text);
        r = sealboot_verifier_add_model_digest(v, digest);
        return r < 0 ? refused(v, r) : 0;
}

/* Exactly as shown in --help, and of a day that there is: strptime() takes 30 February, and timegm() makes it 2 March. */
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

static int set_time(struct sealboot_verifier *v, const char *text) {
        int64_t seconds;
        uint64_t number;

        if (streq(text, "now"))
                seconds = SEALBOOT_TIME_NOW;
        else if (streq(text, "document"))
                seconds = SEALBOOT_TIME_DOCUMENT;
        else if (decimal_parse(text, INT64_MAX, &number) == 0)
                seconds = (int64_t) number;
        else if (!parse_date(text, &seconds))
                return command_usage("verify", "'%s' is not a time: --at takes now, document, one such as "
                                               "2026-02-03T10:12:02Z, or seconds since 1970", text);
        return sealboot_verifier_set_time(v, seconds) < 0 ? refused(v, -EINVAL) : 0;
}

static int set_max_age(struct sealboot_verifier *v, const char *text) {
        uint64_t seconds;

        if (decimal_parse(text, INT64_MAX, &seconds) < 0)
                return command_usage("verify", "--max-age takes a number of seconds, not '%s'", text);
        return sealboot_verifier_set_max_age(v, (int64_t) seconds) < 0 ? refused(v, -EINVAL) : 0;
}

static const char *const result_words[] = {
        [SEALBOOT_NOT_CHECKED] = "not checked", [SEALBOOT_PASSED] = "passed", [SEALBOOT_FAILED] = "failed",
};

static int add_hex(json_object *to, const char *key, const uint8_t *data, size_t n) {
        char hex[2 * 1024 + 1];

        if (!data || n > 1024)
                return json_object_object_add(to, key, NULL);
        hex_encode(data, n, hex);
        return json_object_object_add(to, key, json_object_new_string(hex));
}

static json_object *document_to_json(const struct sealboot_verifier *v) {
        json_object *o = json_object_new_object(), *pcrs = json_object_new_object();
        bool nitrotpm = sealboot_verifier_kind(v) == SEALBOOT_NITROTPM;
        const uint8_t *data;
        char index[8];
        size_t n;

        json_object_object_add(o, "kind", json_object_new_string(nitrotpm ? "nitrotpm" : "enclave"));
        json_object_object_add(o, "module_id", json_object_new_string(sealboot_verifier_module_id(v)));
        json_object_object_add(o, "timestamp", json_object_new_int64(sealboot_verifier_timestamp(v)));
        for (unsigned i = 0; i < DOCUMENT_PCRS; i++) {
                data = sealboot_verifier_pcr(v, i);
                snprintf(index, sizeof index, "%u", i);
                if (data)
                        add_hex(pcrs, index, data, DOCUMENT_PCR_SIZE);
        }
        json_object_object_add(o, "pcrs", pcrs);
        data = sealboot_verifier_nonce(v, &n);
        add_hex(o, "nonce", data, n);
        data = sealboot_verifier_user_data(v, &n);
        add_hex(o, "user_data", data, n);
        data = sealboot_verifier_public_key(v, &n);
        add_hex(o, "public_key", data, n);
        return o;
}

static void print_json(const struct sealboot_verifier *v, int verdict) {
        _cleanup_json_ json_object *o = json_object_new_object();
        json_object *checks = json_object_new_array();
        const struct sealboot_check *c;

        json_object_object_add(o, "verified", json_object_new_boolean(verdict == 0));
        for (size_t i = 0; (c = sealboot_verifier_check(v, i)); i++) {
                json_object *check = json_object_new_object();

                json_object_object_add(check, "name", json_object_new_string(c->name));
                json_object_object_add(check, "result", json_object_new_string(result_words[c->result]));
                json_object_object_add(check, "detail", json_object_new_string(c->detail));
                json_object_array_add(checks, check);
        }
        json_object_object_add(o, "checks", checks);
        json_object_object_add(o, "document", sealboot_verifier_kind(v) == SEALBOOT_UNKNOWN ? NULL : document_to_json(v));
        puts(json_object_to_json_string_ext(o, JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_NOSLASHESCAPE));
}

static void print_text(const struct sealboot_verifier *v, const char *path, int verdict) {
        const struct sealboot_check *c;
        size_t unchecked = 0;

        for (size_t i = 0; (c = sealboot_verifier_check(v, i)); i++) {
                printf("%-11s  %-12s  %s\n", c->result == SEALBOOT_FAILED ? "FAILED" : result_words[c->result], c->name,
                       c->detail);
                unchecked += c->result == SEALBOOT_NOT_CHECKED;
        }
        if (verdict == 0)
                printf("\n%s is authentic, and all that was asked for holds; %zu checks were not made.\n", path, unchecked);
        else if (verdict == -EKEYREJECTED)
                printf("\n%s is authentic, but is NOT what was expected.\n", path);
        else
                printf("\n%s is NOT VERIFIED: trust nothing in it.\n", path);
}

static int verify_file(struct sealboot_verifier *v, const char *path, bool as_json) {
        _cleanup_free_ uint8_t *data = NULL;
        struct error e;
        size_t n;
        int r;

        r = document_read(path, &data, &n, &e);
        if (r < 0)
                return command_failed(&e);
        r = sealboot_verifier_run(v, data, n);
        if (r == -EINVAL || r == -ENOMEM)
                return refused(v, r);
        if (as_json)
                print_json(v, r);
        else
                print_text(v, path, r);
        return r == 0 ? 0 : r == -EKEYREJECTED ? FAILURE_MISMATCH : FAILURE_DOCUMENT;
}

enum {
        OPT_ROOT = 256,
        OPT_AT,
        OPT_MAX_AGE,
        OPT_NONCE,
        OPT_USER_DATA,
        OPT_PUBLIC_KEY,
        OPT_REFERENCE,
        OPT_PARTIAL_REFERENCE,
        OPT_MODEL_DIGEST,
        OPT_JSON
};

static const struct option options[] = {
        { "root", required_argument, NULL, OPT_ROOT },
        { "at", required_argument, NULL, OPT_AT },
        { "max-age", required_argument, NULL, OPT_MAX_AGE },
        { "nonce", required_argument, NULL, OPT_NONCE },
        { "user-data", required_argument, NULL, OPT_USER_DATA },
        { "public-key", required_argument, NULL, OPT_PUBLIC_KEY },
        { "reference", required_argument, NULL, OPT_REFERENCE },
        { "partial-reference", no_argument, NULL, OPT_PARTIAL_REFERENCE },
        { "model-digest", required_argument, NULL, OPT_MODEL_DIGEST },
        { "json", no_argument, NULL, OPT_JSON },
        { "help", no_argument, NULL, 'h' },
        {},
};

static int apply(struct sealboot_verifier *v, int option, const char *value) {
        switch (option) {
        case OPT_ROOT:
                return add_file(v, value, true);
        case OPT_AT:
                return set_time(v, value);
        case OPT_MAX_AGE:
                return set_max_age(v, value);
        case OPT_NONCE:
                return add_expectation(v, sealboot_verifier_expect_nonce, value);
        case OPT_USER_DATA:
                return add_expectation(v, sealboot_verifier_expect_user_data, value);
        case OPT_PUBLIC_KEY:
                return add_expectation(v, sealboot_verifier_expect_public_key, value);
        case OPT_REFERENCE:
                return add_file(v, value, false);
        case OPT_PARTIAL_REFERENCE:
                sealboot_verifier_require_whole_reference(v, 0);
                return 0;
        case OPT_MODEL_DIGEST:
                return add_digest(v, value);
        default:
                return command_usage("verify", "the option is not known, or lacks its value");
        }
}

int cmd_verify(int argc, char *argv[]) {
        _cleanup_verifier_ struct sealboot_verifier *v = sealboot_verifier_new();
        bool as_json = false;
        int option, code;
        struct error e;

        if (!v) {
                fail_oom(&e);
                return command_failed(&e);
        }
        sealboot_verifier_require_whole_reference(v, 1);
        while ((option = getopt_long(argc, argv, "h", options, NULL)) != -1) {
                if (option == 'h') {
                        help();
                        return 0;
                }
                if (option == OPT_JSON) {
                        as_json = true;
                        continue;
                }
                code = apply(v, option, optarg);
                if (code != 0)
                        return code;
        }
        if (argc - optind != 1)
                return command_usage("verify", "one document is needed");
        return verify_file(v, argv[optind], as_json);
}
