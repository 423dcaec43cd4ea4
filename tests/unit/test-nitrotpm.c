/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include <sys/file.h>

#include "evidence/nitrotpm.h"
#include "evidence/turn.h"
#include "tree.h"

/* --- request and answer ------------------------------------------------------------------------------------------- */

static void test_encodes_requests(void **state _unused_) {
#define ALL(user_data, nonce, public_key) \
        "\xa1\x6b" \
        "Attestation\xa3\x69user_data" user_data "\x65nonce" nonce "\x6apublic_key" public_key
        static const struct {
                struct attestation_request request;
                const char *bytes;
                size_t size;
        } cases[] = {
#define CASE(text, ...) { { __VA_ARGS__ }, text, sizeof text - 1 }
                CASE(ALL("\xf6", "\xf6", "\xf6"), .nonce = NULL),
                CASE(ALL("\xf6", "\x42no", "\xf6"), .nonce = "no", .nonce_size = 2),
                CASE(ALL("\x40", "\xf6", "\x41k"), .user_data = "", .public_key = "k", .public_key_size = 1),
#undef CASE
        };
#undef ALL

        for (size_t i = 0; i < ELEMENTS(cases); i++) {
                uint8_t out[ATTESTATION_REQUEST_MAX];
                struct error e = {};
                size_t n;

                assert_ok(nitrotpm_encode_request(&cases[i].request, out, &n, &e), &e);
                assert_int_equal(n, cases[i].size);
                assert_memory_equal(out, cases[i].bytes, n);
        }
}

static void test_fields_have_a_limit(void **state _unused_) {
        static const uint8_t field[ATTESTATION_FIELD_MAX + 1];
        uint8_t out[ATTESTATION_REQUEST_MAX];
        struct error e = {};
        size_t n;

        assert_ok(nitrotpm_encode_request(&(struct attestation_request) { field, field, field, ATTESTATION_FIELD_MAX,
                                                                          ATTESTATION_FIELD_MAX,
                                                                          ATTESTATION_FIELD_MAX },
                                          out, &n, &e),
                  &e);
        assert_refused(nitrotpm_encode_request(&(struct attestation_request) { .nonce = field,
                                                                               .nonce_size = sizeof field },
                                               out, &n, &e),
                       &e, FAILURE_USAGE, "1025 bytes, and an attestation document holds at most 1024");
        assert_string_equal(e.subject, "nonce");
}

#define DOCUMENT \
        "\xa1\x6b" \
        "Attestation\xa1\x68" \
        "document"

static void test_decodes_answers(void **state _unused_) {
        static const struct {
                const char *bytes;
                size_t size;
                const char *words; /* NULL: a document of two bytes */
        } cases[] = {
#define CASE(text, words) { text, sizeof text - 1, words }
                CASE(DOCUMENT "\x42hi", NULL),
                CASE("\xa1\x65"
                     "Error\x6a"
                     "TpmFailure",
                     "the NitroTPM answered: TpmFailure"),
                CASE("", "malformed: not a map"),
                CASE("\x80", "malformed: not a map"),
                CASE("\xa0", "neither a document nor an error"),
                CASE("\xa2\x65"
                     "Error\x61"
                     "x\x6b"
                     "Attestation\xa1\x68"
                     "document\x42hi",
                     "neither a document nor an error"),
                CASE("\xa1\x65"
                     "Other\x61x",
                     "malformed: an unknown key"),
                CASE("\xa1\x65"
                     "Error\x60",
                     "malformed: Error"),
                CASE("\xa1\x65"
                     "Error\x05",
                     "malformed: Error"),
                CASE("\xa1\x6b"
                     "Attestation\xa0",
                     "malformed: document"),
                CASE("\xa1\x6b"
                     "Attestation\x80",
                     "malformed: Attestation"),
                CASE(DOCUMENT "\x40", "malformed: document"),
                CASE(DOCUMENT "\x62hi", "malformed: document"),
                CASE(DOCUMENT "\x43hi", "malformed: Attestation"),
#undef CASE
        };

        for (size_t i = 0; i < ELEMENTS(cases); i++) {
                _cleanup_free_ uint8_t *exact = malloc(cases[i].size + 1);
                const uint8_t *document = NULL;
                struct error e = {};
                size_t n = 0;

                memcpy(exact, cases[i].bytes, cases[i].size);
                if (cases[i].words) {
                        assert_refused(nitrotpm_decode_answer(exact, cases[i].size, "tpm", &document, &n, &e), &e,
                                       FAILURE_ATTESTATION, cases[i].words);
                        assert_null(document);
                        continue;
                }
                assert_ok(nitrotpm_decode_answer(exact, cases[i].size, "tpm", &document, &n, &e), &e);
                assert_int_equal(n, 2);
                assert_memory_equal(document, "hi", 2);
        }
}

/* --- turns -------------------------------------------------------------------------------------------------------- */

/* Callers of a device and of its resource manager exclude each other. */
static void test_one_turn_at_a_time(void **state _unused_) {
        char root[] = "/tmp/sealboot-turn-XXXXXX", device[64], manager[64];
        int first = -1, second = -1;
        struct error e = {};

        assert_non_null(mkdtemp(root));
        tree_write(root, "tpm0", "");
        tree_write(root, "tpmrm0", "");
        snprintf(device, sizeof device, "%s/tpm0", root);
        snprintf(manager, sizeof manager, "%s/tpmrm0", root);
        assert_ok(turn_take(device, 0, &first, &e), &e);
        assert_true(first >= 0);
        assert_refused(turn_take(device, 0, &second, &e), &e, FAILURE_TPM_BUSY, "another attestation was going on");
        assert_refused(turn_take(manager, 30, &second, &e), &e, FAILURE_TPM_BUSY, "for all of 30 ms");
        assert_int_equal(second, -1);
        close(first);
        assert_ok(turn_take(manager, 0, &second, &e), &e);
        assert_true(second >= 0);
        close(second);
        tree_remove(root);
}

/* Where there is nothing to lock, there are no turns, and no failure: the TPM's own answer decides. */
static void test_a_device_that_cannot_be_opened_takes_no_turns(void **state _unused_) {
        struct error e = {};
        int fd = 5;

        assert_ok(turn_take("/nowhere/tpm0", 0, &fd, &e), &e);
        assert_int_equal(fd, -1);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_encodes_requests),
                cmocka_unit_test(test_fields_have_a_limit),
                cmocka_unit_test(test_decodes_answers),
                cmocka_unit_test(test_one_turn_at_a_time),
                cmocka_unit_test(test_a_device_that_cannot_be_opened_takes_no_turns),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
