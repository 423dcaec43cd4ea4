/* SPDX-License-Identifier: Apache-2.0 */
#include "connect/verdict.h"

#include <openssl/err.h>
#include <openssl/sha.h>
#include <openssl/x509.h>

#include "basic/clock.h"
#include "basic/encode.h"
#include "basic/utf8.h"
#include "verify/document.h"

static const char *const result_words[] = {
        [SEALBOOT_NOT_CHECKED] = "not checked",
        [SEALBOOT_PASSED] = "passed",
        [SEALBOOT_FAILED] = "failed",
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
        for (unsigned i = 0; i < PCR_COUNT_MAX; i++) {
                data = sealboot_verifier_pcr(v, i);
                snprintf(index, sizeof index, "%u", i);
                if (data)
                        add_hex(pcrs, index, data, SHA384_SIZE);
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

json_object *verdict_to_json(const struct sealboot_verifier *v, int r) {
        json_object *o = json_object_new_object(), *checks = json_object_new_array();
        const struct sealboot_check *c;

        json_object_object_add(o, "verified", json_object_new_boolean(r == 0));
        for (size_t i = 0; (c = sealboot_verifier_check(v, i)); i++) {
                json_object *check = json_object_new_object();

                json_object_object_add(check, "name", json_object_new_string(c->name));
                json_object_object_add(check, "result", json_object_new_string(result_words[c->result]));
                json_object_object_add(check, "detail", json_object_new_string(c->detail));
                json_object_array_add(checks, check);
        }
        json_object_object_add(o, "checks", checks);
        json_object_object_add(o, "document",
                               sealboot_verifier_kind(v) == SEALBOOT_UNKNOWN ? NULL : document_to_json(v));
        return o;
}

void verdict_print(FILE *f, const struct sealboot_verifier *v, const char *what, int r) {
        const struct sealboot_check *c;
        size_t unchecked = 0;

        for (size_t i = 0; (c = sealboot_verifier_check(v, i)); i++) {
                fprintf(f, "%-11s  %-12s  %s\n", c->result == SEALBOOT_FAILED ? "FAILED" : result_words[c->result],
                        c->name, c->detail);
                unchecked += c->result == SEALBOOT_NOT_CHECKED;
        }
        if (r == 0)
                fprintf(f, "\n%s is authentic, and all that was asked for holds; %zu checks were not made.\n", what,
                        unchecked);
        else if (r == -EKEYREJECTED)
                fprintf(f, "\n%s is authentic, but is NOT what was expected.\n", what);
        else
                fprintf(f, "\n%s is NOT VERIFIED: trust nothing in it.\n", what);
}

int verdict_code(int r) {
        return r == 0 ? 0 : r == -EKEYREJECTED ? FAILURE_MISMATCH : FAILURE_DOCUMENT;
}

/* What a failed check means to the person who accepts an image and a model. */
static const struct meaning {
        const char *check, *code, *words;
} meanings[] = {
        { "structure", "not-authentic", "no attestation document" },
        { "chain", "not-authentic", "not signed by AWS" },
        { "validity", "clock", "the clock, or an old document" },
        { "signature", "not-authentic", "an altered document" },
        { "age", "clock", "the clock, or an old document" },
        { "nonce", "replay", "a replayed document" },
        { "user-data", "another-key", "another key" },
        { "public-key", "other-purpose", "a document made for another purpose" },
        { "debug-mode", "not-measured", "a machine whose boot was not measured" },
        { "pcrs", "another-image", "another image" },
        { "command-line", "partial-reference", "a reference that does not cover the boot" },
        { "model", "another-model", "another model" },
        { "drivers", "partial-reference", "a reference that does not cover the boot" },
};

static const struct sealboot_check *first_failure(const struct sealboot_verifier *v) {
        const struct sealboot_check *c;

        for (size_t i = 0; (c = sealboot_verifier_check(v, i)); i++)
                if (c->result == SEALBOOT_FAILED)
                        return c;
        return NULL;
}

/* The PCRs that a failed comparison names, each once: "PCR4, PCR12". */
static void list_differing(const char *detail, char *ret, size_t size, uint32_t *ret_mask) {
        size_t used = 0;

        *ret_mask = 0;
        ret[0] = '\0';
        while ((detail = strstr(detail, " PCR"))) {
                unsigned long n = strtoul(detail + 4, (char **) &detail, 10);

                if (n >= PCR_COUNT_MAX || strncmp(detail, " (document", 10) != 0 || (*ret_mask >> n & 1) ||
                    used >= size)
                        continue;
                *ret_mask |= UINT32_C(1) << n;
                used += (size_t) snprintf(ret + used, size - used, "%sPCR%lu", used > 0 ? ", " : "", n);
        }
}

void verdict_refusal(const struct sealboot_verifier *v, int r, struct refusal *ret) {
        const struct sealboot_check *failed = first_failure(v);
        char pcrs[160];
        uint32_t mask;

        *ret = (struct refusal) { .code = "failed" };
        snprintf(ret->text, sizeof ret->text, "%s", sealboot_verifier_error(v));
        if (r == 0 || !failed)
                return;
        for (size_t i = 0; i < ELEMENTS(meanings); i++) {
                const struct meaning *m = &meanings[i];

                if (!streq(m->check, failed->name))
                        continue;
                ret->code = m->code;
                list_differing(streq(m->check, "pcrs") ? failed->detail : "", pcrs, sizeof pcrs, &mask);
                if (mask == UINT32_C(1) << PCR_MODEL) {
                        ret->code = "another-model";
                        snprintf(ret->text, sizeof ret->text, "another model: %s differs from the reference", pcrs);
                } else if (mask != 0)
                        snprintf(ret->text, sizeof ret->text, "%s: %s not as in the reference", m->words, pcrs);
                else
                        snprintf(ret->text, sizeof ret->text, "%s: %s", m->words, failed->detail);
        }
        if (streq(failed->name, "user-data") && !strstr(failed->detail, "another TLS key"))
                ret->code = "other-purpose";
        utf8_make_printable(ret->text);
}

static void add_name(json_object *to, const char *key, const X509_NAME *name) {
        char text[256];

        if (!X509_NAME_oneline(name, text, sizeof text))
                return;
        utf8_make_printable(text);
        json_object_object_add(to, key, json_object_new_string(text));
}

static void add_time(json_object *to, const char *key, const ASN1_TIME *time) {
        char text[DATE_TEXT_SIZE];
        struct tm tm;

        if (ASN1_TIME_to_tm(time, &tm) != 1)
                return;
        date_text((int64_t) timegm(&tm), text);
        json_object_object_add(to, key, json_object_new_string(text));
}

static void add_certificate(json_object *to, struct bytes der) {
        const uint8_t *at = der.data;
        X509 *x = d2i_X509(NULL, &at, (long) der.size);
        uint8_t digest[SHA256_DIGEST_LENGTH];
        json_object *o;

        if (!x) {
                ERR_clear_error();
                return;
        }
        o = json_object_new_object();
        add_name(o, "subject", X509_get_subject_name(x));
        add_name(o, "issuer", X509_get_issuer_name(x));
        add_time(o, "not_before", X509_get0_notBefore(x));
        add_time(o, "not_after", X509_get0_notAfter(x));
        SHA256(der.data, der.size, digest);
        add_hex(o, "sha256", digest, sizeof digest);
        json_object_array_add(to, o);
        X509_free(x);
}

json_object *certificates_to_json(const void *document, size_t size) {
        struct document d;
        struct error e;
        json_object *list;

        if (document_parse(document, size, "document", &d, &e) < 0)
                return NULL;
        list = json_object_new_array();
        add_certificate(list, d.certificate);
        for (size_t i = d.n_cabundle; i > 0; i--)
                add_certificate(list, d.cabundle[i - 1]);
        return list;
}
