/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include "fixture.h"
#include "measure/esl.h"

#define SHA256_GUID "\x26\x16\xc4\xc1\x4c\x50\x92\x40\xac\xa9\x41\xf9\x36\x93\x43\x28"
#define X509_GUID "\xa1\x59\xc0\xa5\xe4\x94\xa7\x4a\x87\xb5\xab\x15\x5c\x2b\xf0\x72"
#define OTHER_GUID "0123456789abcdef"
#define OWNER "ownerownerowner!"
#define HASH "hash of an image, of 32 bytes, 1"
#define LIST(size, header, signature) size "\0\0\0" header "\0\0\0" signature "\0\0\0"

struct input {
        const char *bytes;
        size_t size;
};
#define BYTES(literal) \
        { literal, sizeof literal - 1 }

static void test_accepts(void **state _unused_) {
        static const struct {
                struct input input;
                size_t n;
                enum esl_type type;
        } cases[] = {
                { BYTES(""), 0, ESL_OTHER },
                { BYTES(SHA256_GUID LIST("\x4c", "\0", "\x30") OWNER HASH), 1, ESL_SHA256 },
                { BYTES(SHA256_GUID LIST("\x7c", "\0", "\x30") OWNER HASH OWNER HASH), 2, ESL_SHA256 },
                { BYTES(SHA256_GUID LIST("\x1c", "\0", "\x30")), 0, ESL_OTHER },
                { BYTES(X509_GUID LIST("\x2d", "\0", "\x11") OWNER "c" SHA256_GUID LIST("\x4c", "\0", "\x30")
                                OWNER HASH),
                  2, ESL_X509 },
                { BYTES(OTHER_GUID LIST("\x31", "\4", "\x11") "head" OWNER "d"), 1, ESL_OTHER },
        };

        for (size_t i = 0; i < ELEMENTS(cases); i++) {
                _cleanup_esl_ struct esl esl = {};
                struct error e = {};

                assert_ok(esl_parse(cases[i].input.bytes, cases[i].input.size, "t", &esl, &e), &e);
                assert_int_equal(esl.n, cases[i].n);
                if (esl.n > 0) {
                        assert_int_equal(esl.entries[0].type, cases[i].type);
                        assert_memory_equal(esl.entries[0].signature, OWNER, 16);
                        assert_ptr_equal(esl.entries[0].data, esl.entries[0].signature + 16);
                }
        }
}

/* /sys/firmware/efi/efivars/db-... starts with the variable's attributes, which no PCR has. */
static void test_attributes_of_efivarfs(void **state _unused_) {
        static const struct {
                struct input input;
                size_t skipped, n;
        } cases[] = {
                { BYTES("\x27\0\0\0" SHA256_GUID LIST("\x4c", "\0", "\x30") OWNER HASH), 4, 1 },
                { BYTES("\x07\0\0\0" X509_GUID LIST("\x2d", "\0", "\x11") OWNER "c"), 4, 1 },
                { BYTES("\x27\0\0\0"), 4, 0 },
                /* A list whose type's GUID looks like attributes is a list. */
                { BYTES("\x27\0\0\0"
                        "456789abcdef" LIST("\x31", "\4", "\x11") "head" OWNER "d"),
                  0, 1 },
        };

        for (size_t i = 0; i < ELEMENTS(cases); i++) {
                _cleanup_esl_ struct esl esl = {};
                struct error e = {};

                assert_ok(esl_parse(cases[i].input.bytes, cases[i].input.size, "t", &esl, &e), &e);
                assert_int_equal(esl.n, cases[i].n);
                assert_ptr_equal(esl.bytes, cases[i].input.bytes + cases[i].skipped);
                assert_int_equal(esl.size, cases[i].input.size - cases[i].skipped);
        }
}

static void test_refuses(void **state _unused_) {
        static const struct {
                struct input input;
                const char *words;
        } cases[] = {
                { BYTES("x"), "cut short in a list's header" },
                { BYTES(SHA256_GUID), "cut short in a list's header" },
                { BYTES(SHA256_GUID LIST("\x1b", "\0", "\x30")), "a list is longer than the file" },
                { BYTES(SHA256_GUID LIST("\0", "\0", "\x30") OWNER HASH), "a list is longer than the file" },
                { BYTES(SHA256_GUID LIST("\x4d", "\0", "\x30") OWNER HASH), "a list is longer than the file" },
                { BYTES(SHA256_GUID LIST("\x4c", "\0", "\x30") OWNER HASH "x"), "cut short in a list's header" },
                { BYTES(SHA256_GUID LIST("\x4c", "\1", "\x30") OWNER HASH), "SignatureHeaderSize is wrong" },
                { BYTES(OTHER_GUID LIST("\x1c", "\1", "\x11")), "SignatureHeaderSize is wrong" },
                { BYTES(SHA256_GUID LIST("\x4c", "\0", "\0") OWNER HASH), "not a whole number of signatures" },
                { BYTES(SHA256_GUID LIST("\x4c", "\0", "\x10") OWNER HASH), "not a whole number of signatures" },
                { BYTES(SHA256_GUID LIST("\x4c", "\0", "\x2f") OWNER HASH), "not a whole number of signatures" },
                { BYTES(SHA256_GUID LIST("\x4c", "\0", "\x18") OWNER HASH), "entries of another size" },
                { BYTES("-----BEGIN CERTIFICATE-----\n"), "it is PEM" },
                { BYTES("\x30\x82\x03\x01 a certificate"), "it is DER" },
                { BYTES("\xe8\x07\x01\x01\0\0\0\0\0\0\0\0\0\0\0\0\xff\x04\0\0\0\x02\xf1\x0e and so on and on"),
                  "it is a signed update" },
                { BYTES("\x27\0\0\0" SHA256_GUID LIST("\x4d", "\0", "\x30") OWNER HASH),
                  "a list is longer than the file" },
                { BYTES("\x05\0\0\0" SHA256_GUID LIST("\x4c", "\0", "\x30") OWNER HASH),
                  "is not an EFI signature list" },
                { BYTES("\x27\1\0\0" SHA256_GUID LIST("\x4c", "\0", "\x30") OWNER HASH),
                  "is not an EFI signature list" },
                { BYTES("AMZNUEFI\0\0\0\0"), "it is EC2's UefiData" },
                { BYTES("QU1aTlVFRkkAAAAA"), "it is EC2's UefiData" },
                { BYTES(OWNER OWNER "12345678_FVH"), "firmware's variable store" },
        };

        for (size_t i = 0; i < ELEMENTS(cases); i++) {
                struct esl esl = {};
                struct error e = {};

                assert_refused(esl_parse(cases[i].input.bytes, cases[i].input.size, "t", &esl, &e), &e, FAILURE_USAGE,
                               cases[i].words);
                assert_null(esl.entries);
        }
}

/* Several lists in one file: a cut inside any of them is noticed, one between two of them cannot be. */
static void test_truncation(void **state _unused_) {
        _cleanup_free_ uint8_t *data = NULL;
        size_t n, whole = 0;

        data = read_fixture("fixtures/measure/db-lists.esl", &n);
        for (size_t i = 0; i <= n; i++) {
                _cleanup_free_ uint8_t *exact = malloc(i + 1);
                _cleanup_esl_ struct esl esl = {};
                struct error e = {};

                memcpy(exact, data, i);
                if (esl_parse(exact, i, "t", &esl, &e) == 0)
                        whole++;
                else
                        assert_int_equal(e.failure, FAILURE_USAGE);
        }
        assert_int_equal(whole, 5); /* nothing, one list, ... four lists */
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_accepts),
                cmocka_unit_test(test_attributes_of_efivarfs),
                cmocka_unit_test(test_refuses),
                cmocka_unit_test(test_truncation),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
