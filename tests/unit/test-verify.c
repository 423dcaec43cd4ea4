/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include "basic/file.h"
#include "verify/chain.h"
#include "verify/document.h"
#include "verify/sealboot-verify.h"

/* What tests/fixtures/attestation/make puts into the documents. */
static const int64_t signed_at = 1767225600;
#define TWELVE(x) x x x x x x x x x x x x
static const char pcr4[] = TWELVE("44444444"), zeros[] = TWELVE("00000000");

struct fixture {
        uint8_t *root, *nitrotpm, *enclave;
        size_t root_size, nitrotpm_size, enclave_size;
};

static void read_fixture(const char *name, uint8_t **ret, size_t *ret_n) {
        _cleanup_free_ char *path = NULL;
        struct error e;

        assert_true(asprintf(&path, "%s/tests/fixtures/attestation/%s", getenv("SEALBOOT_SOURCE_ROOT"), name) > 0);
        assert_ok(file_read(path, 1 << 20, FAILURE_IO, ret, ret_n, &e), &e);
}

static int set_up(void **state) {
        struct fixture *f = calloc(1, sizeof *f);

        assert_non_null(f);
        read_fixture("root.pem", &f->root, &f->root_size);
        read_fixture("nitrotpm.cbor", &f->nitrotpm, &f->nitrotpm_size);
        read_fixture("enclave.cbor", &f->enclave, &f->enclave_size);
        *state = f;
        return 0;
}

static int tear_down(void **state) {
        struct fixture *f = *state;

        free(f->root);
        free(f->nitrotpm);
        free(f->enclave);
        free(f);
        return 0;
}

DEFINE_CLEANUP(struct sealboot_verifier *, sealboot_verifier_free, verifier_freep)
#define _cleanup_verifier_ _cleanup_(verifier_freep)

static struct sealboot_verifier *new_verifier(const struct fixture *f) {
        struct sealboot_verifier *v = sealboot_verifier_new();

        assert_non_null(v);
        assert_int_equal(sealboot_verifier_set_root(v, (const char *) f->root, f->root_size), 0);
        assert_int_equal(sealboot_verifier_set_time(v, signed_at + 60), 0);
        return v;
}

static const struct sealboot_check *find(const struct sealboot_verifier *v, const char *name) {
        const struct sealboot_check *c;

        for (size_t i = 0; (c = sealboot_verifier_check(v, i)); i++)
                if (streq(c->name, name))
                        return c;
        fail_msg("there is no check %s", name);
        return NULL;
}

static void assert_check(const struct sealboot_verifier *v, const char *name, enum sealboot_result result,
                         const char *words) {
        const struct sealboot_check *c = find(v, name);

        if (c->result != result || !strstr(c->detail, words))
                fail_msg("%s: %d, \"%s\"; expected %d, \"%s\"", name, (int) c->result, c->detail, (int) result, words);
}

static void add_reference(struct sealboot_verifier *v, const char *name, const char *pcrs) {
        _cleanup_free_ char *json = NULL;

        assert_true(asprintf(&json, "{\"Measurements\": {%s}}", pcrs) > 0);
        assert_int_equal(sealboot_verifier_add_reference(v, json, strlen(json), name), 0);
}

/* Nobody's word is taken for anything before the document has been authenticated. */
static void test_nothing_is_said_before_it_is_authentic(void **state) {
        const struct fixture *f = *state;
        _cleanup_verifier_ struct sealboot_verifier *v = new_verifier(f);
        size_t size;

        assert_int_equal(sealboot_verifier_set_time(v, signed_at + 4 * 3600), 0);
        assert_int_equal(sealboot_verifier_run(v, f->nitrotpm, f->nitrotpm_size), -EKEYEXPIRED);
        assert_check(v, "validity", SEALBOOT_FAILED, "has expired");
        assert_check(v, "signature", SEALBOOT_PASSED, "");
        assert_check(v, "pcrs", SEALBOOT_NOT_CHECKED, "not reached");
        assert_int_equal(sealboot_verifier_kind(v), SEALBOOT_UNKNOWN);
        assert_null(sealboot_verifier_module_id(v));
        assert_null(sealboot_verifier_pcr(v, 4));
        assert_null(sealboot_verifier_public_key(v, &size));
        assert_int_equal(size, 0);

        assert_int_equal(sealboot_verifier_set_time(v, signed_at - 1), 0);
        assert_int_equal(sealboot_verifier_run(v, f->nitrotpm, f->nitrotpm_size), -EKEYEXPIRED);
        assert_non_null(strstr(sealboot_verifier_error(v), "clock"));

        assert_int_equal(sealboot_verifier_set_time(v, SEALBOOT_TIME_DOCUMENT), 0);
        assert_int_equal(sealboot_verifier_run(v, f->nitrotpm, f->nitrotpm_size), 0);
        assert_int_equal(sealboot_verifier_kind(v), SEALBOOT_NITROTPM);
        assert_int_equal(sealboot_verifier_pcr(v, 4)[0], 0x44);
        assert_null(sealboot_verifier_pcr(v, 31));
        assert_memory_equal(sealboot_verifier_public_key(v, &size), "public key", 10);
        assert_int_equal(size, 10);
        assert_non_null(sealboot_verifier_user_data(v, &size));
        assert_int_equal(size, 0);
        assert_int_equal(sealboot_verifier_timestamp(v), signed_at * 1000);
}

static void test_the_root_is_pinned(void **state) {
        const struct fixture *f = *state;
        _cleanup_verifier_ struct sealboot_verifier *v = sealboot_verifier_new();

        assert_int_equal(sealboot_verifier_run(v, f->nitrotpm, f->nitrotpm_size), -EBADMSG);
        assert_check(v, "chain", SEALBOOT_FAILED, "is not the pinned root (641a0321a3e2");
        assert_int_equal(sealboot_verifier_set_root(v, "no", 2), -EINVAL);
}

/* As AWS publishes it for AWS_NitroEnclaves_Root-G1.zip (AWS Nitro Enclaves User Guide, "Verifying the root of trust"),
 * in its notation, which is also that of `openssl x509 -noout -fingerprint -sha256 -in root.pem`. */
static void test_the_root_is_the_one_that_aws_publishes(void **state _unused_) {
        static const char published[] = "64:1A:03:21:A3:E2:44:EF:E4:56:46:31:95:D6:06:31:"
                                        "7E:D7:CD:CC:3C:17:56:E0:98:93:F3:C6:8F:79:BB:5B";
        char pinned[sizeof published] = "";

        for (size_t i = 0; i < ROOT_FINGERPRINT_SIZE; i++)
                snprintf(pinned + 3 * i, sizeof pinned - 3 * i, "%02X%s", aws_nitro_root[i],
                         i + 1 < ROOT_FINGERPRINT_SIZE ? ":" : "");
        assert_string_equal(pinned, published);
}

static void test_expectations(void **state) {
        const struct fixture *f = *state;
        static const struct {
                int (*expect)(struct sealboot_verifier *v, const void *data, size_t size);
                const char *check, *value;
                int r;
        } table[] = {
                { sealboot_verifier_expect_nonce, "nonce", "nonce", 0 },
                { sealboot_verifier_expect_nonce, "nonce", "nonc", -EKEYREJECTED },
                { sealboot_verifier_expect_nonce, "nonce", "noncf", -EKEYREJECTED },
                { sealboot_verifier_expect_nonce, "nonce", "", -EKEYREJECTED },
                { sealboot_verifier_expect_user_data, "user-data", "", 0 },
                { sealboot_verifier_expect_user_data, "user-data", "x", -EKEYREJECTED },
                { sealboot_verifier_expect_public_key, "public-key", "public key", 0 },
                { sealboot_verifier_expect_public_key, "public-key", "public keys", -EKEYREJECTED },
        };

        for (size_t i = 0; i < ELEMENTS(table); i++) {
                _cleanup_verifier_ struct sealboot_verifier *v = new_verifier(f);

                assert_int_equal(table[i].expect(v, table[i].value, strlen(table[i].value)), 0);
                assert_int_equal(sealboot_verifier_run(v, f->nitrotpm, f->nitrotpm_size), table[i].r);
                assert_check(v, table[i].check, table[i].r == 0 ? SEALBOOT_PASSED : SEALBOOT_FAILED, "");
        }
}

static void test_age(void **state) {
        const struct fixture *f = *state;
        _cleanup_verifier_ struct sealboot_verifier *v = new_verifier(f);

        assert_int_equal(sealboot_verifier_set_max_age(v, 60), 0);
        assert_int_equal(sealboot_verifier_run(v, f->nitrotpm, f->nitrotpm_size), 0);
        assert_check(v, "age", SEALBOOT_PASSED, "2026-01-01T00:00:00Z, 60 s ago");
        assert_int_equal(sealboot_verifier_set_max_age(v, 59), 0);
        assert_int_equal(sealboot_verifier_run(v, f->nitrotpm, f->nitrotpm_size), -EKEYREJECTED);
        assert_int_equal(sealboot_verifier_set_time(v, SEALBOOT_TIME_DOCUMENT), 0);
        assert_int_equal(sealboot_verifier_run(v, f->nitrotpm, f->nitrotpm_size), -EINVAL);
        assert_int_equal(sealboot_verifier_set_max_age(v, -1), -EINVAL);
        assert_int_equal(sealboot_verifier_set_time(v, -3), -EINVAL);
}

static void test_references(void **state) {
        const struct fixture *f = *state;
        char matching[512], mixed[512], without[256];

        snprintf(matching, sizeof matching, "\"PCR4\": \"%s\", \"PCR12\": \"%s\"", pcr4, zeros);
        snprintf(mixed, sizeof mixed, "\"PCR4\": \"%s\", \"PCR12\": \"%s\"", pcr4, pcr4);
        snprintf(without, sizeof without, "\"PCR4\": \"%s\"", pcr4);
        {
                _cleanup_verifier_ struct sealboot_verifier *v = new_verifier(f);

                add_reference(v, "old", mixed);
                assert_int_equal(sealboot_verifier_run(v, f->nitrotpm, f->nitrotpm_size), -EKEYREJECTED);
                assert_check(v, "pcrs", SEALBOOT_FAILED, "old PCR12 (document 0000");
                assert_check(v, "command-line", SEALBOOT_NOT_CHECKED,
                             "PCR12 was not compared: the document meets no reference");
                add_reference(v, "new", matching);
                assert_int_equal(sealboot_verifier_run(v, f->nitrotpm, f->nitrotpm_size), 0);
                assert_check(v, "pcrs", SEALBOOT_PASSED, "PCR4, PCR12 equal to new");
                assert_check(v, "command-line", SEALBOOT_PASSED,
                             "PCR12 was compared, because new has it; it is zero: nothing was added");
                /* An enclave's PCR4 is something else altogether. */
                assert_int_equal(sealboot_verifier_run(v, f->enclave, f->enclave_size), -EKEYREJECTED);
                assert_check(v, "pcrs", SEALBOOT_FAILED, "new measures a NitroTPM image");
        }
        {
                _cleanup_verifier_ struct sealboot_verifier *v = new_verifier(f);

                add_reference(v, "short", without);
                assert_int_equal(sealboot_verifier_run(v, f->nitrotpm, f->nitrotpm_size), 0);
                assert_check(v, "command-line", SEALBOOT_NOT_CHECKED,
                             "PCR12 was not compared: short has no PCR12; PCR4 does not cover what is appended to the "
                             "command line; it is zero: nothing was added");
        }
        {
                _cleanup_verifier_ struct sealboot_verifier *v = new_verifier(f);

                assert_int_equal(sealboot_verifier_run(v, f->nitrotpm, f->nitrotpm_size), 0);
                assert_check(v, "command-line", SEALBOOT_NOT_CHECKED,
                             "PCR12 was not compared: no reference measurements");
                assert_int_equal(sealboot_verifier_run(v, f->enclave, f->enclave_size), 0);
                assert_check(v, "command-line", SEALBOOT_NOT_CHECKED,
                             "was not compared: no reference measurements were given");
        }
}

static void add_set(struct sealboot_verifier *v, const char *pcrs, const char *more) {
        _cleanup_free_ char *json = NULL;

        assert_true(asprintf(&json, "{\"Measurements\": {%s}%s}", pcrs, more) > 0);
        assert_int_equal(sealboot_verifier_add_reference(v, json, strlen(json), "set"), 0);
}

#define PCR(n, value) "\"PCR" #n "\": \"" value "\""
#define FOUR TWELVE("44444444")
#define ZEROS TWELVE("00000000")
#define SEVEN TWELVE("77777777")
#define ON ", \"SecureBoot\": true"
#define OFF ", \"SecureBoot\": false"

/* The document has zeros but in PCR4 and PCR7. */
static void test_a_reference_must_cover_what_pcr4_does_not(void **state) {
        const struct fixture *f = *state;
        static const struct {
                const char *pcrs, *more;
                enum sealboot_result command_line, drivers; /* with the reference required to be whole */
        } table[] = {
                { PCR(2, ZEROS) "," PCR(4, FOUR) "," PCR(12, ZEROS), "", SEALBOOT_PASSED, SEALBOOT_PASSED },
                { PCR(4, FOUR) "," PCR(12, ZEROS), "", SEALBOOT_PASSED, SEALBOOT_FAILED },
                { PCR(2, ZEROS) "," PCR(4, FOUR) "," PCR(7, SEVEN), "", SEALBOOT_FAILED, SEALBOOT_PASSED },
                { PCR(4, FOUR), "", SEALBOOT_FAILED, SEALBOOT_FAILED },
                { PCR(4, FOUR), ON, SEALBOOT_FAILED, SEALBOOT_FAILED }, /* of which nothing was compared */
                { PCR(4, FOUR) "," PCR(7, SEVEN), "", SEALBOOT_FAILED, SEALBOOT_FAILED },
                { PCR(4, FOUR) "," PCR(7, SEVEN), OFF, SEALBOOT_FAILED, SEALBOOT_FAILED },
                { PCR(4, FOUR) "," PCR(7, SEVEN), ON, SEALBOOT_PASSED, SEALBOOT_PASSED },
                { PCR(4, FOUR) "," PCR(7, SEVEN) "," PCR(12, ZEROS), OFF, SEALBOOT_PASSED, SEALBOOT_FAILED },
                { PCR(15, ZEROS), "", SEALBOOT_NOT_CHECKED, SEALBOOT_NOT_CHECKED }, /* says nothing of an image */
        };

        for (size_t i = 0; i < ELEMENTS(table); i++)
                for (int whole = 0; whole <= 1; whole++) {
                        _cleanup_verifier_ struct sealboot_verifier *v = new_verifier(f);
                        enum sealboot_result command_line = table[i].command_line, drivers = table[i].drivers;
                        bool fails = whole && (command_line == SEALBOOT_FAILED || drivers == SEALBOOT_FAILED);

                        add_set(v, table[i].pcrs, table[i].more);
                        assert_int_equal(sealboot_verifier_require_whole_reference(v, whole), 0);
                        assert_int_equal(sealboot_verifier_run(v, f->nitrotpm, f->nitrotpm_size),
                                         fails ? -EKEYREJECTED : 0);
                        if (!whole && command_line == SEALBOOT_FAILED)
                                command_line = SEALBOOT_NOT_CHECKED;
                        if (!whole && drivers == SEALBOOT_FAILED)
                                drivers = SEALBOOT_NOT_CHECKED;
                        assert_check(v, "pcrs", SEALBOOT_PASSED, "");
                        assert_check(v, "command-line", command_line, fails ? "" : "PCR");
                        assert_check(v, "drivers", drivers, fails ? "" : "PCR");
                }
}

/* Of several sets that are met, a whole one counts, wherever it stands. */
static void test_a_whole_reference_is_preferred(void **state) {
        const struct fixture *f = *state;

        for (int first = 0; first <= 1; first++) {
                _cleanup_verifier_ struct sealboot_verifier *v = new_verifier(f);

                if (first)
                        add_set(v, PCR(2, ZEROS) "," PCR(4, FOUR) "," PCR(12, ZEROS), "");
                add_set(v, PCR(4, FOUR), "");
                add_set(v, PCR(2, FOUR) "," PCR(4, FOUR) "," PCR(12, ZEROS), "");
                if (!first)
                        add_set(v, PCR(2, ZEROS) "," PCR(4, FOUR) "," PCR(12, ZEROS), "");
                assert_int_equal(sealboot_verifier_require_whole_reference(v, 1), 0);
                assert_int_equal(sealboot_verifier_run(v, f->nitrotpm, f->nitrotpm_size), 0);
                assert_check(v, "pcrs", SEALBOOT_PASSED, "PCR2, PCR4, PCR12 equal");
        }
}

static void test_enclaves(void **state) {
        const struct fixture *f = *state;
        _cleanup_verifier_ struct sealboot_verifier *v = new_verifier(f);
        char pcrs[512], one[97], two[97];

        memset(one, '0', sizeof one);
        memset(two, '0', sizeof two);
        for (size_t i = 1; i < 96; i += 2) {
                one[i] = '1';
                two[i] = '9';
        }
        one[96] = two[96] = '\0';
        snprintf(pcrs, sizeof pcrs, "\"PCR0\": \"%s\", \"PCR8\": \"%s\"", one, two);
        add_reference(v, "enclave", pcrs);
        assert_int_equal(sealboot_verifier_run(v, f->enclave, f->enclave_size), 0);
        assert_check(v, "pcrs", SEALBOOT_PASSED, "PCR0, PCR8 equal to enclave");
        assert_check(v, "debug-mode", SEALBOOT_PASSED, "");
        assert_check(v, "command-line", SEALBOOT_PASSED, "PCR0");
        assert_check(v, "drivers", SEALBOOT_NOT_CHECKED, "enclave");
        assert_int_equal(sealboot_verifier_add_model_digest(v, (const uint8_t[SEALBOOT_DIGEST_SIZE]) {}), 0);
        assert_int_equal(sealboot_verifier_run(v, f->enclave, f->enclave_size), -EKEYREJECTED);
        assert_check(v, "model", SEALBOOT_FAILED, "enclaves do not measure models");
}

/* A verifier that accepts the fixtures' image; the document's age is 60 seconds. */
static struct sealboot_verifier *new_tls_verifier(const struct fixture *f, const char *four) {
        struct sealboot_verifier *v = new_verifier(f);

        add_set(v, four, "");
        assert_int_equal(sealboot_verifier_require_whole_reference(v, 1), 0);
        assert_int_equal(sealboot_verifier_set_max_age(v, 300), 0);
        return v;
}

#define IMAGE PCR(2, ZEROS) "," PCR(4, FOUR) "," PCR(12, ZEROS)
#define UNMEASURED PCR(2, ZEROS) "," PCR(4, ZEROS) "," PCR(12, ZEROS)
#define NONCE "nonce of 16 byte"

static void read_tls_key(uint8_t key[static SEALBOOT_TLS_KEY_MAX], size_t *ret_n) {
        _cleanup_free_ uint8_t *certificate = NULL;
        size_t n;

        read_fixture("tls.der", &certificate, &n);
        assert_int_equal(sealboot_tls_certificate_key(certificate, n, key, ret_n), 0);
        assert_int_equal(*ret_n, 91); /* of P-256 */
        assert_int_equal(sealboot_tls_certificate_key(certificate, n - 1, key, ret_n), -EINVAL);
        assert_int_equal(sealboot_tls_certificate_key(certificate, 0, key, ret_n), -EINVAL);
        assert_int_equal(sealboot_tls_certificate_key("no certificate", 14, key, ret_n), -EINVAL);
}

static void test_tls(void **state) {
        const struct fixture *f = *state;
        static const struct {
                const char *document, *nonce, *pcrs;
                int r;
                const char *check, *words; /* of the check that says so */
        } table[] = {
                { "tls.cbor", NONCE, IMAGE, 0, "user-data", "binds the TLS key of this connection" },
                { "tls.cbor", NULL, IMAGE, 0, "nonce", "the document holds 16 bytes; not compared" },
                { "tls-no-nonce.cbor", NULL, IMAGE, 0, "public-key", "no use at KMS" },
                { "tls.cbor", NONCE, PCR(4, SEVEN) "," PCR(2, ZEROS) "," PCR(12, ZEROS), -EKEYREJECTED, "pcrs",
                  "PCR4 (document 4444" },
                { "tls.cbor", NONCE, PCR(4, FOUR), -EKEYREJECTED, "command-line", "no PCR12" },
                { "tls.cbor", "nonce of 16 bytf", IMAGE, -EKEYREJECTED, "nonce", "are not the 16 expected" },
                { "tls.cbor", "nonce of 16 bytes", IMAGE, -EKEYREJECTED, "nonce", "are not the 17 expected" },
                { "tls-no-nonce.cbor", NONCE, IMAGE, -EKEYREJECTED, "nonce", "the document holds none" },
                { "tls-zero.cbor", NULL, UNMEASURED, -EKEYREJECTED, "debug-mode", "PCR4 is zero" },
                { "tls-key-for-kms.cbor", NULL, IMAGE, -EKEYREJECTED, "public-key", "made for KMS" },
                { "other-purpose.cbor", NULL, IMAGE, -EKEYREJECTED, "user-data", "made for another purpose" },
                { "nitrotpm.cbor", NULL, IMAGE, -EKEYREJECTED, "user-data", "bound to no TLS key" },
                { "enclave.cbor", NULL, IMAGE, -EKEYREJECTED, "user-data", "bound to no TLS key" },
                { "tls.der", NULL, IMAGE, -EBADMSG, "structure", "" },
        };
        uint8_t key[SEALBOOT_TLS_KEY_MAX];
        size_t key_size;

        read_tls_key(key, &key_size);
        for (size_t i = 0; i < ELEMENTS(table); i++) {
                _cleanup_verifier_ struct sealboot_verifier *v = new_tls_verifier(f, table[i].pcrs);
                _cleanup_free_ uint8_t *document = NULL;
                size_t n;
                int r;

                read_fixture(table[i].document, &document, &n);
                r = sealboot_verify_tls(v, document, n, key, key_size, table[i].nonce,
                                        table[i].nonce ? strlen(table[i].nonce) : 0);
                if (r != table[i].r)
                        fail_msg("%zu: %s: %d, %s", i, table[i].document, r, sealboot_verifier_error(v));
                assert_check(v, table[i].check, r == 0 ? find(v, table[i].check)->result : SEALBOOT_FAILED,
                             table[i].words);
                /* Any other key is refused. */
                for (size_t at = 0; r == 0 && at < key_size; at += 15) {
                        key[at] ^= 1;
                        assert_int_equal(sealboot_verify_tls(v, document, n, key, key_size, NULL, 0), -EKEYREJECTED);
                        assert_check(v, "user-data", SEALBOOT_FAILED, "bound to another TLS key");
                        key[at] ^= 1;
                }
        }
}

/* Each would leave a gap. And the verifier's own expectations stay as they were. */
static void test_tls_arguments(void **state) {
        const struct fixture *f = *state;
        _cleanup_verifier_ struct sealboot_verifier *v = new_verifier(f);
        _cleanup_free_ uint8_t *d = NULL;
        uint8_t key[SEALBOOT_TLS_KEY_MAX + 1] = {};
        size_t n, size;

        read_tls_key(key, &size);
        read_fixture("tls.cbor", &d, &n);
        assert_int_equal(sealboot_verify_tls(v, d, n, key, size, NONCE, 16), -EINVAL);
        assert_non_null(strstr(sealboot_verifier_error(v), "every instance of every owner passes"));
        add_set(v, IMAGE, "");
        assert_int_equal(sealboot_verify_tls(v, d, n, key, size, NONCE, 16), 0);
        assert_int_equal(sealboot_verify_tls(v, d, n, key, size, NONCE, 7), -EINVAL);
        assert_non_null(strstr(sealboot_verifier_error(v), "nonce: it is shorter"));
        assert_int_equal(sealboot_verify_tls(v, d, n, key, size, d, 1025), -EINVAL);
        assert_int_equal(sealboot_verify_tls(v, d, n, key, size, NULL, 0), -EINVAL);
        assert_non_null(strstr(sealboot_verifier_error(v), "max age: it is needed"));
        assert_int_equal(sealboot_verify_tls(v, d, n, key, 0, NONCE, 16), -EINVAL);
        assert_int_equal(sealboot_verify_tls(v, d, n, key, sizeof key, NONCE, 16), -EINVAL);
        assert_non_null(strstr(sealboot_verifier_error(v), "TLS key: it is not"));
        assert_int_equal(sealboot_verifier_run(v, f->nitrotpm, f->nitrotpm_size), 0);
        assert_check(v, "nonce", SEALBOOT_NOT_CHECKED, "");
        assert_check(v, "debug-mode", SEALBOOT_NOT_CHECKED, "does not apply");
        assert_int_equal(sealboot_verifier_set_max_age(v, 59), 0);
        assert_int_equal(sealboot_verify_tls(v, d, n, key, size, NONCE, 16), -EKEYREJECTED);
        assert_check(v, "age", SEALBOOT_FAILED, "60 s ago");
        assert_int_equal(sealboot_verifier_set_time(v, signed_at + 4 * 3600), 0);
        assert_int_equal(sealboot_verify_tls(v, d, n, key, size, NONCE, 16), -EKEYEXPIRED);
        assert_int_equal(sealboot_verifier_set_time(v, SEALBOOT_TIME_DOCUMENT), 0);
        assert_int_equal(sealboot_verify_tls(v, d, n, key, size, NONCE, 16), -EINVAL);
        assert_int_equal(sealboot_verifier_set_time(v, signed_at), 0);
        assert_int_equal(sealboot_verifier_expect_user_data(v, "", 0), 0);
        assert_int_equal(sealboot_verify_tls(v, d, n, key, size, NONCE, 16), -EINVAL);
        assert_non_null(strstr(sealboot_verifier_error(v), "itself says"));
}

static void test_truncated_at_every_byte(void **state) {
        const struct fixture *f = *state;
        _cleanup_verifier_ struct sealboot_verifier *v = new_verifier(f);

        for (size_t n = 0; n < f->nitrotpm_size; n++) {
                /* Exactly n bytes, so that a sanitizer sees a read beyond them. */
                _cleanup_free_ uint8_t *cut = malloc(n + (n == 0));

                memcpy(cut, f->nitrotpm, n);
                assert_int_equal(sealboot_verifier_run(v, cut, n), -EBADMSG);
                assert_check(v, "structure", SEALBOOT_FAILED, "cut short");
        }
}

static void test_no_byte_can_change(void **state) {
        const struct fixture *f = *state;
        _cleanup_verifier_ struct sealboot_verifier *v = new_verifier(f);
        _cleanup_free_ uint8_t *copy = malloc(f->nitrotpm_size);

        memcpy(copy, f->nitrotpm, f->nitrotpm_size);
        for (size_t i = 0; i < f->nitrotpm_size; i += i < 64 ? 1 : 31) {
                copy[i] ^= (uint8_t) (1u << i % 8);
                assert_int_equal(sealboot_verifier_run(v, copy, f->nitrotpm_size), -EBADMSG);
                copy[i] ^= (uint8_t) (1u << i % 8);
        }
        assert_int_equal(sealboot_verifier_run(v, copy, f->nitrotpm_size), 0);
}

/* The tag of COSE_Sign1 is optional; no other is. */
static void test_tags(void **state) {
        const struct fixture *f = *state;
        _cleanup_verifier_ struct sealboot_verifier *v = new_verifier(f);
        _cleanup_free_ uint8_t *tagged = malloc(f->nitrotpm_size + 1);

        tagged[0] = 0xd2;
        memcpy(tagged + 1, f->nitrotpm, f->nitrotpm_size);
        assert_int_equal(sealboot_verifier_run(v, tagged, f->nitrotpm_size + 1), 0);
        tagged[0] = 0xd1;
        assert_int_equal(sealboot_verifier_run(v, tagged, f->nitrotpm_size + 1), -EBADMSG);
        assert_check(v, "structure", SEALBOOT_FAILED, "CBOR tag 17");
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_nothing_is_said_before_it_is_authentic),
                cmocka_unit_test(test_the_root_is_pinned),
                cmocka_unit_test(test_the_root_is_the_one_that_aws_publishes),
                cmocka_unit_test(test_expectations),
                cmocka_unit_test(test_age),
                cmocka_unit_test(test_references),
                cmocka_unit_test(test_a_reference_must_cover_what_pcr4_does_not),
                cmocka_unit_test(test_a_whole_reference_is_preferred),
                cmocka_unit_test(test_enclaves),
                cmocka_unit_test(test_tls),
                cmocka_unit_test(test_tls_arguments),
                cmocka_unit_test(test_truncated_at_every_byte),
                cmocka_unit_test(test_no_byte_can_change),
                cmocka_unit_test(test_tags),
        };

        return cmocka_run_group_tests(tests, set_up, tear_down);
}
