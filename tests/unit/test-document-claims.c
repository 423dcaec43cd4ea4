/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include "evidence/cbor.h"
#include "evidence/document-claims.h"

/* COSE_Sign1 with empty headers and signature around a payload of at most 255 bytes. */
static size_t sign1(uint8_t *out, const uint8_t *payload, size_t n) {
        const uint8_t head[] = { 0xd2, 0x84, 0x40, 0xa0, 0x58, (uint8_t) n };

        memcpy(out, head, sizeof head);
        memcpy(out + sizeof head, payload, n);
        out[sizeof head + n] = 0x40;
        return sizeof head + n + 1;
}

#define TIMESTAMP "\x69timestamp\x19\x01\x02"
#define PCRS(map) "\x6dnitrotpm_pcrs" map
#define ZEROS_40 "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
#define DIGEST "\x58\x30" ZEROS_40 "\0\0\0\0\0\0\0\x07"

static int claims(const char *payload, size_t n, struct document_claims *ret) {
        uint8_t document[512];
        size_t size = sign1(document, (const uint8_t *) payload, n);

        return document_claims(document, size, ret);
}

static void test_definite_and_open_maps(void **state) {
        static const char definite[] = "\xa2" TIMESTAMP PCRS("\xa1\x0f" DIGEST),
                          open[] = "\xbf" TIMESTAMP PCRS("\xa1\x0f" DIGEST) "\xff";
        static const uint8_t zeros[SHA384_SIZE];
        struct document_claims c;

        (void) state;
        for (int i = 0; i < 2; i++) {
                assert_int_equal(claims(i ? open : definite, (i ? sizeof open : sizeof definite) - 1, &c), 0);
                assert_int_equal(c.timestamp_ms, 0x102);
                assert_int_equal(c.pcrs[15][SHA384_SIZE - 1], 7);
                assert_memory_equal(c.pcrs[4], zeros, sizeof zeros);
        }
}

static void test_bad_claims_are_refused(void **state) {
        static const struct {
                const char *bytes;
                size_t n;
        } bad[] = {
#define BAD(text) { text, sizeof text - 1 }
                BAD("\xa1" TIMESTAMP),                                    /* no PCRs */
                BAD("\xa1" PCRS("\xa1\x0f" DIGEST)),                      /* no timestamp */
                BAD("\xa2" TIMESTAMP PCRS("\xa1\x18\x18" DIGEST)),        /* PCR24 */
                BAD("\xa2" TIMESTAMP PCRS("\xa1\x0f\x41\0")),             /* a digest of one byte */
                BAD("\xa2" TIMESTAMP PCRS("\xa1\x61\x66" DIGEST)),        /* a PCR with a name */
                BAD("\xa2" TIMESTAMP PCRS("\x0f")),                       /* no map */
                BAD("\xa2\x69timestamp\x61\x31" PCRS("\xa1\x0f" DIGEST)), /* a time in text */
                BAD("\xa1\x01\x02"),                                      /* a key that is no text */
                BAD("\x81\x01"),
                BAD(""),
        };
        struct document_claims c;

        (void) state;
        for (size_t i = 0; i < ELEMENTS(bad); i++)
                assert_int_equal(claims(bad[i].bytes, bad[i].n, &c), -EBADMSG);
}

static void test_every_truncation_is_refused(void **state) {
        static const char payload[] = "\xa2" TIMESTAMP PCRS("\xa1\x0f" DIGEST);
        uint8_t document[512];
        size_t n = sign1(document, (const uint8_t *) payload, sizeof payload - 1);
        struct document_claims c;

        (void) state;
        for (size_t i = 0; i + 1 < n; i++) /* the signature is not looked at */
                assert_int_equal(document_claims(document, i, &c), -EBADMSG);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_definite_and_open_maps),
                cmocka_unit_test(test_bad_claims_are_refused),
                cmocka_unit_test(test_every_truncation_is_refused),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
