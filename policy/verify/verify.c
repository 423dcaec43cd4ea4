/* SPDX-License-Identifier: Apache-2.0 */
#include "verify/sealboot-verify.h"

#include <inttypes.h>
#include <openssl/sha.h>
#include <stdarg.h>

#include "basic/clock.h"
#include "basic/encode.h"
#include "verify/chain.h"
#include "verify/document.h"
#include "verify/reference.h"
#include "verify/tls.h"

enum check {
        CHECK_STRUCTURE,
        CHECK_CHAIN,
        CHECK_VALIDITY,
        CHECK_SIGNATURE,
        CHECK_AGE,
        CHECK_NONCE,
        CHECK_USER_DATA,
        CHECK_PUBLIC_KEY,
        CHECK_DEBUG_MODE,
        CHECK_PCRS,
        CHECK_COMMAND_LINE,
        CHECK_MODEL,
        CHECK_DRIVERS,
        CHECK_COUNT,
};

static const char *const check_names[CHECK_COUNT] = {
        "structure",  "chain",      "validity", "signature",    "age",   "nonce",   "user-data",
        "public-key", "debug-mode", "pcrs",     "command-line", "model", "drivers",
};

enum {
        EXPECTED_MAX = 1024,
        CLOCK_SLACK = 5, /* seconds by which a document may be ahead of our clock */
        REASON_MAX = 256,
};

struct expected {
        bool set;
        size_t size;
        uint8_t data[EXPECTED_MAX];
};

struct sealboot_verifier {
        uint8_t root[ROOT_FINGERPRINT_SIZE];
        int64_t time, max_age;
        bool whole; /* refuse a reference that does not cover all of the boot */
        bool tls;   /* of this run: the document is for `user_data`'s TLS key, and for nothing else */
        struct expected nonce, user_data, public_key;
        struct references references;
        uint8_t (*digests)[SEALBOOT_DIGEST_SIZE];
        size_t n_digests;

        uint8_t *copy; /* of the document, which `document` borrows from */
        struct document document;
        bool authentic;
        int64_t at; /* the time of this run */
        char module_id[257];
        struct sealboot_check checks[CHECK_COUNT];
        struct error error;
        char message[sizeof(struct error)];
};

static const uint8_t zeros[SHA384_SIZE];

_Static_assert(SEALBOOT_DIGEST_SIZE == SHA384_SIZE, "the public header includes no other");

static void set(struct sealboot_verifier *v, enum check check, enum sealboot_result result, const char *format, ...)
        _printf_(4, 5);

static void set(struct sealboot_verifier *v, enum check check, enum sealboot_result result, const char *format, ...) {
        char *detail;
        va_list ap;
        int n;

        va_start(ap, format);
        n = vasprintf(&detail, format, ap);
        va_end(ap);
        free((char *) v->checks[check].detail);
        v->checks[check] = (struct sealboot_check) { check_names[check], result, n < 0 ? NULL : detail };
}

static void reset(struct sealboot_verifier *v) {
        free(v->copy);
        v->copy = NULL;
        v->document = (struct document) {};
        v->authentic = false;
        v->module_id[0] = '\0';
        v->error = (struct error) {};
        v->message[0] = '\0';
        for (size_t i = 0; i < CHECK_COUNT; i++)
                set(v, i, SEALBOOT_NOT_CHECKED, "not reached");
}

struct sealboot_verifier *sealboot_verifier_new(void) {
        struct sealboot_verifier *v = calloc(1, sizeof *v);

        if (!v)
                return NULL;
        memcpy(v->root, aws_nitro_root, sizeof v->root);
        v->time = SEALBOOT_TIME_NOW;
        v->max_age = -1;
        reset(v);
        return v;
}

void sealboot_verifier_free(struct sealboot_verifier *v) {
        if (!v)
                return;
        references_done(&v->references);
        for (size_t i = 0; i < CHECK_COUNT; i++)
                free((char *) v->checks[i].detail);
        free(v->digests);
        free(v->copy);
        free(v);
}

/* A setter's answer, with the reason where sealboot_verifier_error() finds it. */
static int answer(struct sealboot_verifier *v, int r) {
        if (r < 0)
                snprintf(v->message, sizeof v->message, "%s: %s", v->error.subject, v->error.reason);
        return r;
}

static int invalid(struct sealboot_verifier *v, const char *subject, const char *reason) {
        return answer(v, fail(&v->error, FAILURE_USAGE, -EINVAL, subject, "%s", reason));
}

int sealboot_verifier_set_root(struct sealboot_verifier *v, const char *pem, size_t size) {
        return answer(v, root_from_pem(pem, size, "root", v->root, &v->error));
}

int sealboot_verifier_set_time(struct sealboot_verifier *v, int64_t seconds) {
        if (seconds < SEALBOOT_TIME_DOCUMENT)
                return invalid(v, "time", "it is before 1970");
        v->time = seconds;
        return 0;
}

int sealboot_verifier_set_max_age(struct sealboot_verifier *v, int64_t seconds) {
        if (seconds < 0)
                return invalid(v, "max age", "it is negative");
        v->max_age = seconds;
        return 0;
}

static int expect(struct sealboot_verifier *v, struct expected *to, const char *what, const void *data, size_t size) {
        if (size > EXPECTED_MAX)
                return invalid(v, what, "no document holds more than 1024 bytes of it");
        if (size > 0)
                memcpy(to->data, data, size);
        to->size = size;
        to->set = true;
        return 0;
}

int sealboot_verifier_expect_nonce(struct sealboot_verifier *v, const void *data, size_t size) {
        return expect(v, &v->nonce, "nonce", data, size);
}

int sealboot_verifier_expect_user_data(struct sealboot_verifier *v, const void *data, size_t size) {
        return expect(v, &v->user_data, "user data", data, size);
}

int sealboot_verifier_expect_public_key(struct sealboot_verifier *v, const void *data, size_t size) {
        return expect(v, &v->public_key, "public key", data, size);
}

int sealboot_verifier_add_reference(struct sealboot_verifier *v, const char *json, size_t size, const char *name) {
        int r;

        r = references_parse(&v->references, json, size, name ?: "reference", &v->error);
        return answer(v, r == 0 || r == -ENOMEM ? r : -EINVAL);
}

int sealboot_verifier_require_whole_reference(struct sealboot_verifier *v, int require) {
        v->whole = require != 0;
        return 0;
}

int sealboot_verifier_add_model_digest(struct sealboot_verifier *v, const uint8_t digest[SEALBOOT_DIGEST_SIZE]) {
        uint8_t(*larger)[SEALBOOT_DIGEST_SIZE] = reallocarray(v->digests, v->n_digests + 1, sizeof *larger);

        if (!larger)
                return answer(v, fail_oom(&v->error));
        v->digests = larger;
        memcpy(v->digests[v->n_digests++], digest, SEALBOOT_DIGEST_SIZE);
        return 0;
}

/* The first part: whether the root vouches for the document. Returns what sealboot_verifier_run() returns. */
static int authenticate(struct sealboot_verifier *v, size_t size) {
        _cleanup_chain_ struct chain chain = {};
        int64_t signed_at;
        char fingerprint[2 * ROOT_FINGERPRINT_SIZE + 1];
        int valid, r;

        r = document_parse(v->copy, size, "document", &v->document, &v->error);
        if (r < 0) {
                set(v, CHECK_STRUCTURE, SEALBOOT_FAILED, "%s", v->error.reason);
                return r;
        }
        set(v, CHECK_STRUCTURE, SEALBOOT_PASSED, "COSE_Sign1, ES384, %s",
            v->document.kind == DOCUMENT_NITROTPM ? "NitroTPM document" : "Nitro Enclaves document");

        r = chain_build(&v->document, "document", v->root, &chain, &v->error);
        if (r < 0) {
                set(v, CHECK_CHAIN, SEALBOOT_FAILED, "%s", v->error.reason);
                return r;
        }
        hex_encode(v->root, sizeof v->root, fingerprint);
        set(v, CHECK_CHAIN, SEALBOOT_PASSED, "%zu certificates up to %s root, SHA-256 %s", chain.n,
            memcmp(v->root, aws_nitro_root, sizeof v->root) == 0 ? "the AWS" : "the given", fingerprint);

        signed_at = (int64_t) (v->document.timestamp / 1000);
        v->at = v->time == SEALBOOT_TIME_NOW        ? wall_clock_seconds()
                : v->time == SEALBOOT_TIME_DOCUMENT ? signed_at
                                                    : v->time;
        valid = chain_valid_at(&chain, "document", v->at, &v->error);
        if (valid < 0)
                set(v, CHECK_VALIDITY, SEALBOOT_FAILED, "%s", v->error.reason);
        else
                set(v, CHECK_VALIDITY, SEALBOOT_PASSED, "every certificate is valid %s",
                    v->time == SEALBOOT_TIME_NOW ? "now"
                    : v->time == SEALBOOT_TIME_DOCUMENT
                            ? "at the document's own time; whether that is recent is not checked"
                            : "at the given time");

        r = document_signature(&v->document, "document", chain_key(&chain), &v->error);
        if (r < 0) {
                set(v, CHECK_SIGNATURE, SEALBOOT_FAILED, "%s", v->error.reason);
                return r;
        }
        set(v, CHECK_SIGNATURE, SEALBOOT_PASSED, "verifies with the leaf certificate's key");
        return valid;
}

static void check_age(struct sealboot_verifier *v) {
        int64_t signed_at = (int64_t) (v->document.timestamp / 1000), age = v->at - signed_at;
        char when[DATE_TEXT_SIZE];

        date_text(signed_at, when);
        if (v->max_age < 0)
                set(v, CHECK_AGE, SEALBOOT_NOT_CHECKED, "signed at %s; no maximum age was given", when);
        else if (age < -CLOCK_SLACK)
                set(v, CHECK_AGE, SEALBOOT_FAILED, "signed at %s, %" PRId64 " s in the future: check the clock", when,
                    -age);
        else if (age > v->max_age)
                set(v, CHECK_AGE, SEALBOOT_FAILED,
                    "signed at %s, %" PRId64 " s ago; at most %" PRId64 " s are accepted", when, age, v->max_age);
        else
                set(v, CHECK_AGE, SEALBOOT_PASSED, "signed at %s, %" PRId64 " s ago", when, MAX_OF(age, 0));
}

static void check_expected(struct sealboot_verifier *v, enum check check, const struct expected *expected,
                           struct bytes found, const char *unchecked) {
        if (!expected->set && found.data)
                set(v, check, SEALBOOT_NOT_CHECKED, "the document holds %zu bytes; %s", found.size, unchecked);
        else if (!expected->set)
                set(v, check, SEALBOOT_NOT_CHECKED, "the document holds none");
        else if (!found.data)
                set(v, check, SEALBOOT_FAILED, "the document holds none");
        else if (found.size != expected->size || memcmp(found.data, expected->data, found.size) != 0)
                set(v, check, SEALBOOT_FAILED, "the document's %zu bytes are not the %zu expected", found.size,
                    expected->size);
        else
                set(v, check, SEALBOOT_PASSED, "equal, %zu bytes", found.size);
}

/* The user data as sealboot_verify_tls() expects it. What is wrong tells what happened, so each case has its words. */
static void check_tls_key(struct sealboot_verifier *v) {
        struct bytes found = v->document.user_data;

        if (!found.data || found.size == 0)
                set(v, CHECK_USER_DATA, SEALBOOT_FAILED, "the document holds none: it is bound to no TLS key");
        else if (!tls_is_user_data(found.data, found.size))
                set(v, CHECK_USER_DATA, SEALBOOT_FAILED,
                    "the document was made for another purpose: its %zu bytes are not \"" TLS_LABEL "\" and a digest",
                    found.size);
        else if (memcmp(found.data, v->user_data.data, SEALBOOT_TLS_USER_DATA_SIZE) != 0)
                set(v, CHECK_USER_DATA, SEALBOOT_FAILED,
                    "the document is bound to another TLS key: whoever holds the key of this connection passes on the "
                    "document of another machine");
        else
                set(v, CHECK_USER_DATA, SEALBOOT_PASSED, "binds the TLS key of this connection");
}

/* KMS encrypts to a document's public key. A document for TLS has none, so that neither passes for the other. */
static void check_no_public_key(struct sealboot_verifier *v) {
        if (v->document.public_key.data)
                set(v, CHECK_PUBLIC_KEY, SEALBOOT_FAILED,
                    "the document holds one, of %zu bytes: it was made for KMS or another purpose, and not for TLS",
                    v->document.public_key.size);
        else
                set(v, CHECK_PUBLIC_KEY, SEALBOOT_PASSED, "the document holds none, so it is of no use at KMS");
}

/* An emulator, or a machine whose firmware measures nothing, could hold any PCR values. */
static void check_measured(struct sealboot_verifier *v) {
        const uint8_t *pcr = v->document.pcr[PCR_IMAGE];

        if (!pcr || memcmp(pcr, zeros, sizeof zeros) == 0)
                set(v, CHECK_DEBUG_MODE, SEALBOOT_FAILED,
                    "PCR4 is zero or absent: no firmware measured what this machine booted");
        else
                set(v, CHECK_DEBUG_MODE, SEALBOOT_PASSED, "PCR4 is not zero, so the firmware measured the boot");
}

static void check_debug_mode(struct sealboot_verifier *v) {
        const struct document *d = &v->document;

        if (d->kind == DOCUMENT_NITROTPM && v->tls)
                check_measured(v);
        else if (d->kind == DOCUMENT_NITROTPM)
                set(v, CHECK_DEBUG_MODE, SEALBOOT_NOT_CHECKED, "does not apply to a NitroTPM");
        else if (!d->pcr[ENCLAVE_PCR_IMAGE] || memcmp(d->pcr[ENCLAVE_PCR_IMAGE], zeros, sizeof zeros) == 0)
                set(v, CHECK_DEBUG_MODE, SEALBOOT_FAILED,
                    "PCR0 is zero or absent: the enclave runs in debug mode, where its parent can read and change it");
        else
                set(v, CHECK_DEBUG_MODE, SEALBOOT_PASSED, "PCR0 is not zero, so the enclave is not in debug mode");
}

/* Empty where PCR2 says nothing of drivers: an enclave measures its application there, and an emulator may have no
 * firmware. */
static const char *what_pcr2_says(const struct document *d) {
        const uint8_t *pcr = d->pcr[PCR_DRIVERS];
        uint8_t alone[SHA384_SIZE];

        reference_firmware_alone(alone);
        if (d->kind == DOCUMENT_ENCLAVE || !pcr || memcmp(pcr, zeros, sizeof zeros) == 0)
                return "";
        return memcmp(pcr, alone, sizeof alone) == 0 ? "; no UEFI driver from outside the firmware ran"
                                                     : "; a UEFI driver from outside the firmware ran";
}

/* Writes what differs and returns whether anything does. */
static bool compare(const struct document *d, const struct reference *reference, FILE *f) {
        char found[2 * SHA384_SIZE + 1], wanted[2 * SHA384_SIZE + 1];
        bool differs = false;

        if (reference_is_nitrotpm(reference) != (d->kind == DOCUMENT_NITROTPM)) {
                fprintf(f, "%s measures %s", reference->source,
                        d->kind == DOCUMENT_NITROTPM ? "an enclave" : "a NitroTPM image");
                return true;
        }
        for (unsigned i = 0; i < PCR_COUNT_MAX; i++) {
                if (!reference_has(reference, i) ||
                    (d->pcr[i] && memcmp(d->pcr[i], reference->pcr[i], SHA384_SIZE) == 0))
                        continue;
                hex_encode(reference->pcr[i], SHA384_SIZE, wanted);
                if (d->pcr[i])
                        hex_encode(d->pcr[i], SHA384_SIZE, found);
                fprintf(f, "%s PCR%u (document %s, reference %s%s)", differs ? "," : reference->source, i,
                        d->pcr[i] ? found : "has none", wanted, i == PCR_DRIVERS ? what_pcr2_says(d) : "");
                differs = true;
        }
        return differs;
}

static void list_pcrs(const struct reference *reference, FILE *f) {
        const char *separator = "";

        for (unsigned i = 0; i < PCR_COUNT_MAX; i++)
                if (reference_has(reference, i)) {
                        fprintf(f, "%sPCR%u", separator, i);
                        separator = ", ";
                }
}

static bool says_secure_boot(const struct reference *r) {
        return r->secure_boot == SECURE_BOOT_ON && reference_has(r, PCR_SECURE_BOOT);
}

/* Whether the reference lacks a PCR, and the verifier was told to insist on it. */
static bool insists_on(const struct sealboot_verifier *v, const struct reference *r, unsigned pcr) {
        return v->whole && reference_lacks(r, pcr, says_secure_boot(r));
}

/* The first set that the document meets. A set that covers all of the boot is preferred to one that does not. NULL: the
 * document meets none, and *ret_differences says why. */
static const struct reference *find_reference(struct sealboot_verifier *v, char **ret_differences) {
        const struct reference *met = NULL;
        size_t size;
        FILE *f;

        f = open_memstream(ret_differences, &size);
        if (!f)
                return NULL;
        for (size_t i = 0; i < v->references.n; i++) {
                const struct reference *r = &v->references.items[i];
                bool whole = !insists_on(v, r, PCR_DRIVERS) && !insists_on(v, r, PCR_COMMAND_LINE);

                if (i > 0)
                        fputs("; ", f);
                if ((met && !whole) || compare(&v->document, r, f))
                        continue;
                met = r;
                if (whole)
                        break;
        }
        if (fclose(f) != 0)
                return NULL;
        return met;
}

static const struct reference *check_pcrs(struct sealboot_verifier *v) {
        _cleanup_free_ char *differences = NULL, *pcrs = NULL;
        const struct reference *met;
        size_t size;
        FILE *f;

        if (v->references.n == 0) {
                set(v, CHECK_PCRS, SEALBOOT_NOT_CHECKED, "no reference measurements were given");
                return NULL;
        }
        met = find_reference(v, &differences);
        if (!met) {
                set(v, CHECK_PCRS, SEALBOOT_FAILED, "differ from %s: %s",
                    v->references.n == 1 ? "the reference" : "every accepted reference", differences ?: "");
                return NULL;
        }
        f = open_memstream(&pcrs, &size);
        if (f) {
                list_pcrs(met, f);
                fclose(f);
        }
        set(v, CHECK_PCRS, SEALBOOT_PASSED, "%s equal to %s", pcrs ?: "", met->source);
        return met;
}

/* Why a PCR that the reference may have was not compared. */
static const char *why_not_compared(const struct sealboot_verifier *v, const struct reference *met, unsigned pcr,
                                    char text[static REASON_MAX]) {
        if (v->references.n == 0)
                return "no reference measurements were given";
        if (!met)
                return "the document meets no reference";
        snprintf(text, REASON_MAX, "%.200s has no PCR%u", met->source, pcr);
        return text;
}

/* For a NitroTPM: whether the PCR was compared that covers what PCR4 does not. */
static void check_beside_pcr4(struct sealboot_verifier *v, enum check check, unsigned pcr, const struct reference *met,
                              const char *uncovered, const char *found) {
        char why[REASON_MAX];

        if (met && reference_has(met, pcr))
                set(v, check, SEALBOOT_PASSED, "PCR%u was compared, because %s has it%s", pcr, met->source, found);
        else if (met && says_secure_boot(met))
                set(v, check, SEALBOOT_PASSED, "PCR7 was compared, which %s says is the value of Secure Boot on",
                    met->source);
        else if (met && insists_on(v, met, pcr))
                set(v, check, SEALBOOT_FAILED,
                    "%s has PCR4 but no PCR%u, and PCR4 does not cover %s%s; give measurements that have both, as "
                    "`sealboot measure` writes them, or say that the reference may be partial",
                    met->source, pcr, uncovered, found);
        else
                set(v, check, SEALBOOT_NOT_CHECKED, "PCR%u was not compared: %s; PCR4 does not cover %s%s", pcr,
                    why_not_compared(v, met, pcr, why), uncovered, found);
}

/* With Secure Boot off PCR4 does not cover a command line that is appended; PCR12 does (GHSA-xrv8-2pf5-f3q7). */
static void check_command_line(struct sealboot_verifier *v, const struct reference *met) {
        const uint8_t *pcr = v->document.pcr[PCR_COMMAND_LINE];
        char why[REASON_MAX];

        if (v->document.kind == DOCUMENT_ENCLAVE) {
                if (met && reference_has(met, ENCLAVE_PCR_IMAGE))
                        set(v, CHECK_COMMAND_LINE, SEALBOOT_PASSED,
                            "PCR0 covers the whole enclave image, its command line included");
                else
                        set(v, CHECK_COMMAND_LINE, SEALBOOT_NOT_CHECKED, "PCR0, which covers it, was not compared: %s",
                            why_not_compared(v, met, ENCLAVE_PCR_IMAGE, why));
                return;
        }
        check_beside_pcr4(v, CHECK_COMMAND_LINE, PCR_COMMAND_LINE, met, "what is appended to the command line",
                          !pcr                                    ? ""
                          : memcmp(pcr, zeros, sizeof zeros) == 0 ? "; it is zero: nothing was added"
                                                                  : "; it is not zero: something was added");
}

/* A driver from outside the firmware runs before the image, and can change the image in memory after it was measured.
 */
static void check_drivers(struct sealboot_verifier *v, const struct reference *met) {
        if (v->document.kind == DOCUMENT_ENCLAVE)
                set(v, CHECK_DRIVERS, SEALBOOT_NOT_CHECKED, "does not apply to an enclave, which has no UEFI firmware");
        else
                check_beside_pcr4(v, CHECK_DRIVERS, PCR_DRIVERS, met, "what a driver changes after the measurement",
                                  what_pcr2_says(&v->document));
}

static void check_model(struct sealboot_verifier *v) {
        const uint8_t *pcr = v->document.pcr[PCR_MODEL];
        uint8_t input[2 * SHA384_SIZE] = {}, extended[SHA384_SIZE];
        char hex[2 * SEALBOOT_DIGEST_SIZE + 1];
        const char *state = !pcr                                    ? "the document has no PCR15"
                            : memcmp(pcr, zeros, sizeof zeros) == 0 ? "PCR15 is zero: no model has been measured"
                                                                    : "PCR15 has been extended";

        if (v->document.kind == DOCUMENT_ENCLAVE)
                state = "enclaves do not measure models";
        if (v->n_digests == 0) {
                set(v, CHECK_MODEL, SEALBOOT_NOT_CHECKED, "%s; no model digest was given", state);
                return;
        }
        for (size_t i = 0; i < v->n_digests && pcr && v->document.kind == DOCUMENT_NITROTPM; i++) {
                memcpy(input + SHA384_SIZE, v->digests[i], SEALBOOT_DIGEST_SIZE);
                SHA384(input, sizeof input, extended);
                if (memcmp(extended, pcr, sizeof extended) != 0)
                        continue;
                hex_encode(v->digests[i], SEALBOOT_DIGEST_SIZE, hex);
                set(v, CHECK_MODEL, SEALBOOT_PASSED, "PCR15 was extended once, with model digest %s", hex);
                return;
        }
        set(v, CHECK_MODEL, SEALBOOT_FAILED, "%s%s", state,
            pcr && memcmp(pcr, zeros, sizeof zeros) != 0 ? ", but not once with an accepted model digest" : "");
}

static int conclude(struct sealboot_verifier *v, int r) {
        for (size_t i = 0; i < CHECK_COUNT; i++) {
                if (!v->checks[i].detail)
                        return answer(v, fail_oom(&v->error));
                if (v->checks[i].result == SEALBOOT_FAILED && !v->message[0]) {
                        snprintf(v->message, sizeof v->message, "%s: %s", v->checks[i].name, v->checks[i].detail);
                        r = r < 0 ? r : -EKEYREJECTED;
                }
        }
        return r;
}

static int run(struct sealboot_verifier *v, const void *document, size_t size) {
        const struct document *d = &v->document;
        const struct reference *met;
        int r;

        reset(v);
        if (v->max_age >= 0 && v->time == SEALBOOT_TIME_DOCUMENT)
                return invalid(v, "max age", "it has no meaning at the document's own time");
        v->copy = malloc(MIN_OF(size, (size_t) DOCUMENT_MAX + 1) + 1);
        if (!v->copy)
                return answer(v, fail_oom(&v->error));
        if (size > 0)
                memcpy(v->copy, document, MIN_OF(size, (size_t) DOCUMENT_MAX + 1));
        r = authenticate(v, MIN_OF(size, (size_t) DOCUMENT_MAX + 1));
        if (r < 0)
                return conclude(v, r);
        v->authentic = true;
        snprintf(v->module_id, sizeof v->module_id, "%.*s", (int) d->module_id.size, (const char *) d->module_id.data);
        check_age(v);
        check_expected(v, CHECK_NONCE, &v->nonce, d->nonce, "not compared, so this may be a replay");
        if (v->tls) {
                check_tls_key(v);
                check_no_public_key(v);
        } else {
                check_expected(v, CHECK_USER_DATA, &v->user_data, d->user_data, "not compared");
                check_expected(v, CHECK_PUBLIC_KEY, &v->public_key, d->public_key, "not compared");
        }
        check_debug_mode(v);
        met = check_pcrs(v);
        check_command_line(v, met);
        check_model(v);
        check_drivers(v, met);
        return conclude(v, 0);
}

int sealboot_verifier_run(struct sealboot_verifier *v, const void *document, size_t size) {
        return run(v, document, size);
}

/* Refuses settings with which a document would pass that proves less than sealboot_verify_tls() promises. */
static int check_tls_arguments(struct sealboot_verifier *v, size_t key_size, const void *nonce, size_t nonce_size) {
        if (v->nonce.set || v->user_data.set || v->public_key.set)
                return invalid(v, "expectation",
                               "sealboot_verify_tls() itself says what nonce, user data and public "
                               "key must be");
        if (v->references.n == 0)
                return invalid(v, "reference", "there is none, and without one every instance of every owner passes");
        if (key_size == 0 || key_size > SEALBOOT_TLS_KEY_MAX)
                return invalid(v, "TLS key", "it is not a SubjectPublicKeyInfo in DER of at most 1024 bytes");
        if (v->time == SEALBOOT_TIME_DOCUMENT)
                return invalid(v, "time", "the document's own time proves nothing about freshness");
        if (nonce && nonce_size < SEALBOOT_TLS_NONCE_MIN)
                return invalid(v, "nonce", "it is shorter than 8 bytes: it could have been guessed");
        if (!nonce && v->max_age < 0)
                return invalid(v, "max age", "it is needed where there is no nonce: the document may be an old one");
        return 0;
}

int sealboot_verify_tls(struct sealboot_verifier *v, const void *document, size_t size, const void *key,
                        size_t key_size, const void *nonce, size_t nonce_size) {
        int r;

        reset(v);
        r = check_tls_arguments(v, key_size, nonce, nonce_size);
        if (r < 0)
                return r;
        if (nonce) {
                r = expect(v, &v->nonce, "nonce", nonce, nonce_size);
                if (r < 0)
                        return r;
        }
        tls_user_data(key, key_size, v->user_data.data);
        v->tls = true;
        r = run(v, document, size);
        v->tls = false;
        v->nonce.set = false;
        return r;
}

const char *sealboot_verifier_error(const struct sealboot_verifier *v) {
        return v->message;
}

const struct sealboot_check *sealboot_verifier_check(const struct sealboot_verifier *v, size_t index) {
        return index < CHECK_COUNT ? &v->checks[index] : NULL;
}

enum sealboot_kind sealboot_verifier_kind(const struct sealboot_verifier *v) {
        if (!v->authentic)
                return SEALBOOT_UNKNOWN;
        return v->document.kind == DOCUMENT_NITROTPM ? SEALBOOT_NITROTPM : SEALBOOT_ENCLAVE;
}

const char *sealboot_verifier_module_id(const struct sealboot_verifier *v) {
        return v->authentic ? v->module_id : NULL;
}

int64_t sealboot_verifier_timestamp(const struct sealboot_verifier *v) {
        return v->authentic ? (int64_t) v->document.timestamp : 0;
}

const uint8_t *sealboot_verifier_pcr(const struct sealboot_verifier *v, unsigned index) {
        return v->authentic && index < PCR_COUNT_MAX ? v->document.pcr[index] : NULL;
}

static const uint8_t *authentic_bytes(const struct sealboot_verifier *v, const struct bytes *b, size_t *size) {
        *size = v->authentic ? b->size : 0;
        return v->authentic ? b->data : NULL;
}

const uint8_t *sealboot_verifier_nonce(const struct sealboot_verifier *v, size_t *size) {
        return authentic_bytes(v, &v->document.nonce, size);
}

const uint8_t *sealboot_verifier_user_data(const struct sealboot_verifier *v, size_t *size) {
        return authentic_bytes(v, &v->document.user_data, size);
}

const uint8_t *sealboot_verifier_public_key(const struct sealboot_verifier *v, size_t *size) {
        return authentic_bytes(v, &v->document.public_key, size);
}
