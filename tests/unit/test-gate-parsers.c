/* SPDX-License-Identifier: Apache-2.0 */

/* What reaches the gate from outside: nonces, lines of nginx's log, certificates; and how callers are judged. */

#include "unit.h"

#include <ctype.h>
#include <limits.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "basic/file.h"
#include "basic/json.h"
#include "gate/attester.h"
#include "gate/callers.h"
#include "gate/peer-certificate.h"
#include "gate/share.h"
#include "gate/request-log.h"

/* ---- nonces */

static void test_nonces(void **state) {
        static const struct {
                const char *hex;
                size_t n; /* 0: refused */
        } table[] = {
                { "", 0 },
                { "0011223344556677", 8 },
                { "00112233445566aB", 8 },
                { "00112233445566", 0 },
                { "001122334455667", 0 },
                { "00112233445566778", 0 },
                { "00112233445566g7", 0 },
                { "0x112233445566aa", 0 },
                { " 0112233445566aa", 0 },
                { "0000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000"
                  "0000"
                  "000000000000000000000000",
                  64 },
                { "0000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000"
                  "0000"
                  "00000000000000000000000000",
                  0 },
        };

        (void) state;
        for (size_t i = 0; i < ELEMENTS(table); i++) {
                struct attester_question q = {};
                int r = attester_nonce_parse(table[i].hex, &q);

                if (r != (table[i].n ? 0 : -EINVAL) || q.nonce_size != table[i].n)
                        fail_msg("%s: %d, %zu bytes", table[i].hex, r, q.nonce_size);
        }
}

/* ---- the log */

#define TIME "\"time\":\"2026-11-29T12:00:00+00:00\""
#define ID "\"id\":\"0123456789abcdef0123456789abcdef\""
#define HEAD "<190>Nov 29 12:00:00 sealboot_nginx: "
#define LINE(caller, path, status, bytes, seconds) \
        HEAD "{" TIME ",\"caller\":\"" caller "\",\"path\":\"" path "\",\"status\":\"" status "\",\"bytes\":\"" bytes \
             "\",\"seconds\":\"" seconds "\"," ID "}"

static void test_lines(void **state) {
        static const char line[] = LINE("peer/i-0@x", "/v1/models", "200", "17", "12.045");
        struct request_entry r = {};
        struct error e = {};

        (void) state;
        assert_ok(request_line_parse(line, strlen(line), &r, &e), &e);
        assert_string_equal(r.time, "2026-11-29T12:00:00+00:00");
        assert_string_equal(r.caller, "peer/i-0@x");
        assert_string_equal(r.path, "/v1/models");
        assert_string_equal(r.id, "0123456789abcdef0123456789abcdef");
        assert_int_equal(r.status, 200);
        assert_int_equal(r.bytes, 17);
        assert_int_equal(r.duration_ms, 12045);
}

static void test_lines_that_are_refused(void **state) {
        /* clang-format off */
        static const struct {
                const char *line, *words;
        } table[] = {
                { "", "is not nginx's" },
                { "{}", "is not nginx's" },
                { "<190>Nov 29 other: {}", "is not nginx's" },
                { "x sealboot_nginx: {}", "is not nginx's" },
                { HEAD, "cut short" },
                { HEAD "{", "cut short" },
                { HEAD "[]", "must be an object" },
                { HEAD "{}", "\"time\" is missing" },
                { HEAD "{} {}", "is not valid JSON" },
                { HEAD "{" TIME "," TIME "}", "the same key twice" },
                { HEAD "{" TIME ",\"query\":\"x\"}", "unknown key \"query\"" },
                { LINE("a b", "/", "200", "1", "0.001"), "the caller is not well-formed" },
                { LINE("a\\\"", "/", "200", "1", "0.001"), "the caller is not well-formed" },
                { LINE("<script>", "/", "200", "1", "0.001"), "the caller is not well-formed" },
                { LINE("0123456789012345678901234567890123456789012345678901234567890123456789012345678901", "/",
                       "200", "1", "0.001"),
                  "the caller is not well-formed" },
                { LINE("", "/a?b", "200", "1", "0.001"), "the path is not well-formed" },
                { LINE("", "/a\\u0000b", "200", "1", "0.001"), "holds a NUL character" },
                { LINE("", "/\xc3\xa9", "200", "1", "0.001"), "the path is not well-formed" },
                { LINE("", "/", "20", "1", "0.001"), "expected three digits" },
                { LINE("", "/", "2x0", "1", "0.001"), "the status is not three digits" },
                { LINE("", "/", "200", "-1", "0.001"), "the number of bytes is not a number" },
                { LINE("", "/", "200", "99999999999999999999", "0.001"), "the number of bytes is not a number" },
                { LINE("", "/", "200", "1", "0,001"), "the duration is not" },
                { LINE("", "/", "200", "1", "1.0001"), "the duration is not" },
                { LINE("", "/", "200", "1", "1.0x1"), "the duration is not" },
                { LINE("", "/", "200", "1", "99999999999.000"), "the duration is not" },
        };
        /* clang-format on */
        char large[REQUEST_LINE_MAX + 1];
        struct error e = {};

        (void) state;
        for (size_t i = 0; i < ELEMENTS(table); i++) {
                struct request_entry r = {};

                assert_refused(request_line_parse(table[i].line, strlen(table[i].line), &r, &e), &e, FAILURE_IO,
                               table[i].words);
        }
        memset(large, ' ', sizeof large);
        assert_refused(request_line_parse(large, sizeof large, &(struct request_entry) {}, &e), &e, FAILURE_IO,
                       "is longer than 2048 bytes");
}

static void test_the_newest_are_kept(void **state) {
        _cleanup_(request_log_freep) struct request_log *log = NULL;
        _cleanup_free_ char *text = NULL;
        _cleanup_json_ json_object *o = NULL;
        json_object *list;
        struct error e = {};
        size_t n;

        (void) state;
        assert_int_equal(request_log_new(3, &log), 0);
        for (unsigned i = 0; i < 5; i++)
                request_log_add(log, &(struct request_entry) { .status = 200 + i, .bytes = i });
        request_log_count_refused(log);
        assert_int_equal(request_log_json(log, &text, &n), 0);
        assert_ok(json_parse(text, n, FAILURE_IO, "log", &o, &e), &e);
        list = json_object_object_get(o, "requests");
        assert_int_equal(json_object_array_length(list), 3);
        for (size_t i = 0; i < 3; i++)
                assert_int_equal(json_integer(json_object_object_get(json_object_array_get_idx(list, i), "status"), 0),
                                 202 + i);
        assert_int_equal(json_integer(json_object_object_get(o, "forgotten"), 0), 2);
        assert_int_equal(json_integer(json_object_object_get(o, "refused_lines"), 0), 1);
}

/* ---- the extension of a peer's certificate */

#define TYPE "\x78\x28" PEER_MEDIA_TYPE /* CBOR text of 40 bytes */

static void test_extension(void **state) {
        static const struct {
                const char *value;
                size_t n;
                const char *words; /* NULL: accepted, with the document "doc" */
        } table[] = {
#define ROW(text, words) { text, sizeof text - 1, words }
                ROW("\x04\x2f\x82" TYPE "\x43"
                    "doc",
                    NULL),
                ROW("", "is not an octet string"),
                ROW("\x04", "is not an octet string"),
                ROW("\x03\x00", "is not an octet string"),
                ROW("\x04\x80", "is not an octet string"),
                ROW("\x04\x81", "is not an octet string"),
                ROW("\x04\x83\x00\x00\x00", "is not an octet string"),
                ROW("\x04\x82\xff\xff", "is not an octet string"),
                ROW("\x04\x81\x2f\x82" TYPE "\x43"
                    "doc",
                    "is not an octet string"), /* not the shortest length */
                ROW("\x04\x30\x82" TYPE "\x43"
                    "doc",
                    "is not an octet string"),
                ROW("\x04\x2f\x82" TYPE "\x43"
                    "docx",
                    "is not an octet string"),
                ROW("\x04\x00", "is not a CBOR array"),
                ROW("\x04\x2f\x83" TYPE "\x43"
                    "doc",
                    "is not a CBOR array"),
                ROW("\x04\x2f\x82" TYPE "\x44"
                    "doc",
                    "is not a CBOR array"),
                ROW("\x04\x30\x82" TYPE "\x43"
                    "docx",
                    "is not a CBOR array"),
                ROW("\x04\x2f\x82" TYPE "\x63"
                    "doc",
                    "is not a CBOR array"),
                ROW("\x04\x08\x82\x61"
                    "x"
                    "\x43"
                    "doc"
                    "\x00",
                    "is not a CBOR array"),
                ROW("\x04\x07\x82\x61"
                    "x"
                    "\x43"
                    "doc",
                    "another media type"),
        };

        (void) state;
        for (size_t i = 0; i < ELEMENTS(table); i++) {
                const uint8_t *document = NULL;
                struct error e = {};
                size_t n = 0;
                int r = peer_extension_parse((const uint8_t *) table[i].value, table[i].n, &document, &n, &e);

                if (table[i].words) {
                        assert_refused(r, &e, FAILURE_DOCUMENT, table[i].words);
                        continue;
                }
                assert_ok(r, &e);
                assert_int_equal(n, 3);
                assert_memory_equal(document, "doc", 3);
        }
}

static void test_certificates_that_are_none(void **state) {
        static const struct {
                const char *escaped, *words;
        } table[] = {
                { "", "is not a certificate in PEM" },
                { "x", "is not a certificate in PEM" },
                { "%", "is not escaped" },
                { "%2", "is not escaped" },
                { "%zz", "is not escaped" },
                { "a%00b", "is not escaped" },
                { "-----BEGIN%20CERTIFICATE-----%0AMAA%3D%0A-----END%20CERTIFICATE-----%0A", "is not a certificate" },
        };
        char *large = malloc(PEER_CERTIFICATE_MAX + 2);
        X509 *x = NULL;
        struct error e = {};

        (void) state;
        for (size_t i = 0; i < ELEMENTS(table); i++)
                assert_refused(peer_certificate_read(table[i].escaped, &x, &e), &e, FAILURE_DOCUMENT, table[i].words);
        memset(large, 'a', PEER_CERTIFICATE_MAX + 1);
        large[PEER_CERTIFICATE_MAX + 1] = '\0';
        assert_refused(peer_certificate_read(large, &x, &e), &e, FAILURE_DOCUMENT, "has more than");
        free(large);
        assert_null(x);
}

/* ---- the judgement */

static const char configuration[] =
        /* the SHA-256 of "test" */
        "{\"callers\": {\"tokens\": [{\"name\": \"app\", \"sha256\": "
        "\"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08\"}, {\"name\": \"reader\", \"sha256\": "
        "\"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\", \"reads_requests\": true}]},"
        "\"paths\": {\"server\": \"vllm\"}, \"upstream\": \"127.0.0.1:1\", \"limits\": {\"requests_per_minute\": 4}}";

static void test_judgement(void **state) {
        static const struct {
                struct caller_question q;
                enum caller_verdict verdict;
                const char *words; /* the name, or the reason */
        } table[] = {
                { { "GET", "/v1/models", "Bearer test", NULL }, CALLER_MAY, "app" },
                { { "GET", "/v1/models", "bEARER  test", NULL }, CALLER_MAY, "app" },
                { { "POST", "/v1/models", "Bearer test", NULL }, CALLER_MAY_NOT, "this method is not let through" },
                { { "X", "/v1/models", "Bearer test", NULL }, CALLER_MAY_NOT, "this method is not let through" },
                { { "GET", "/metrics", "Bearer test", NULL }, CALLER_MAY_NOT, "this path is not let through" },
                { { "GET", "/authorize", "Bearer test", NULL }, CALLER_MAY_NOT, "this path is not let through" },
                { { NULL, NULL, "Bearer test", NULL }, CALLER_MAY_NOT, "no path" },
                { { "GET", "/v1/models", NULL, NULL }, CALLER_UNKNOWN, "is needed" },
                { { "GET", "/v1/models", NULL, "" }, CALLER_UNKNOWN, "is needed" },
                { { "GET", "/v1/models", "Bearer tesT", NULL }, CALLER_UNKNOWN, "is not known" },
                { { "GET", "/v1/models", "Bearer", NULL }, CALLER_UNKNOWN, "is not known" },
                { { "GET", "/v1/models", "Bearer test ", NULL }, CALLER_UNKNOWN, "is not known" },
                { { "GET", "/v1/models", "Basic test", NULL }, CALLER_UNKNOWN, "is not known" },
                { { "GET", "/v1/models", NULL, "x" }, CALLER_MAY_NOT, "is not a certificate in PEM" },
                { { "GET", "/.well-known/sealboot/report", "Bearer test", NULL }, CALLER_MAY, "app" },
                { { "GET", "/.well-known/sealboot/requests", "Bearer test", NULL }, CALLER_MAY_NOT, "may not read" },
                { { "GET", "/.well-known/sealboot/requests", "Bearer abc", NULL }, CALLER_MAY, "reader" },
                { { "POST", "/.well-known/sealboot/report", "Bearer abc", NULL }, CALLER_MAY_NOT, "this method" },
                { { "GET", "/v1/models", "Bearer test", NULL }, CALLER_MAY, "app" },
                { { "GET", "/v1/models", "Bearer test", NULL }, CALLER_TOO_OFTEN, "too many requests" },
                { { "GET", "/v1/models", "Bearer abc", NULL }, CALLER_MAY, "reader" },
        };
        _cleanup_gate_config_ struct gate_config *c = NULL;
        _cleanup_callers_ struct callers *l = NULL;
        struct error e = {};

        (void) state;
        assert_ok(gate_config_parse(configuration, strlen(configuration), "gate.json", &c, &e), &e);
        assert_ok(callers_new(c, NULL, &l, &e), &e);
        for (size_t i = 0; i < ELEMENTS(table); i++) {
                struct caller_answer a;

                callers_judge(l, &table[i].q, &a);
                if (a.verdict != table[i].verdict ||
                    !strstr(a.verdict == CALLER_MAY ? a.name : a.reason, table[i].words))
                        fail_msg("row %zu: verdict %d, name %s, reason %s", i, a.verdict, a.name, a.reason);
                assert_int_equal(a.retry_after > 0, a.verdict == CALLER_TOO_OFTEN);
        }
}

/* A certificate that is judged costs what all callers wait for: an address gets only so many refused. */
static void test_refused_certificates(void **state) {
        struct caller_question q = { .method = "GET", .path = "/v1/models", .address = "192.0.2.1" };
        _cleanup_gate_config_ struct gate_config *c = NULL;
        _cleanup_callers_ struct callers *l = NULL;
        struct caller_answer a;
        struct error e = {};
        char text[16];

        (void) state;
        assert_ok(gate_config_parse(configuration, strlen(configuration), "gate.json", &c, &e), &e);
        assert_ok(callers_new(c, NULL, &l, &e), &e);
        q.certificate = text;
        for (unsigned i = 0; i < 31; i++) {
                snprintf(text, sizeof text, "forged %u", i);
                callers_judge(l, &q, &a);
                assert_int_equal(a.verdict, i < 30 ? CALLER_MAY_NOT : CALLER_TOO_OFTEN);
                assert_int_equal(a.retry_after, i < 30 ? 0 : 2);
        }
        assert_string_equal(a.reason, "too many certificates from this address were refused");
        q.certificate = "forged 3"; /* the judgement is kept */
        callers_judge(l, &q, &a);
        assert_int_equal(a.verdict, CALLER_MAY_NOT);
        q.certificate = "forged 31";
        q.address = "192.0.2.2";
        callers_judge(l, &q, &a);
        assert_int_equal(a.verdict, CALLER_MAY_NOT);
        q.address = "192.0.2.1";
        q.authorization = "Bearer test";
        callers_judge(l, &q, &a);
        assert_int_equal(a.verdict, CALLER_MAY);
}

/* A certificate that is its own authority, as a file in `directory` and as nginx passes it on. */
static void make_authority(const char *directory, char **ret_escaped) {
        EVP_PKEY *key = EVP_EC_gen("P-256");
        X509 *x = X509_new();
        BIO *bio = BIO_new(BIO_s_mem());
        char path[PATH_MAX], *pem = NULL, *escaped;
        long n;

        assert_true(key && x && bio && X509_set_version(x, 2) == 1 && X509_set_pubkey(x, key) == 1);
        ASN1_INTEGER_set(X509_get_serialNumber(x), 1);
        X509_gmtime_adj(X509_getm_notBefore(x), -60);
        X509_gmtime_adj(X509_getm_notAfter(x), 3600);
        X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_ASC, (const uint8_t *) "me", -1, -1, 0);
        X509_set_issuer_name(x, X509_get_subject_name(x));
        assert_true(X509_sign(x, key, EVP_sha256()) > 0 && PEM_write_bio_X509(bio, x) == 1);
        n = BIO_get_mem_data(bio, &pem);
        snprintf(path, sizeof path, "%s/ca.pem", directory);
        assert_int_equal(file_write(path, pem, (size_t) n, 0644, NULL), 0);
        *ret_escaped = escaped = calloc(3, (size_t) n + 1);
        for (long i = 0; i < n; i++)
                escaped += sprintf(escaped, isalnum((unsigned char) pem[i]) ? "%c" : "%%%02X", (unsigned char) pem[i]);
        BIO_free(bio);
        X509_free(x);
        EVP_PKEY_free(key);
}

/* Addresses cost nothing, so that all strangers together have a limit. Whoever was accepted is none. */
static void test_refused_certificates_from_everywhere(void **state) {
        static const char json[] = "{\"callers\": {\"certificate_authorities\": [{\"name\": \"ca\", \"file\": "
                                   "\"/ca.pem\"}]}, \"paths\": {\"server\": \"vllm\"}, \"upstream\": "
                                   "\"127.0.0.1:1\"}";
        char directory[] = "/tmp/sealboot-test-XXXXXX", path[PATH_MAX], forged[16], from[40];
        struct caller_question q = { .method = "GET", .path = "/v1/models", .address = "2001:db8:ffff::1" };
        _cleanup_gate_config_ struct gate_config *c = NULL;
        _cleanup_callers_ struct callers *l = NULL;
        _cleanup_free_ char *good = NULL;
        struct caller_answer a;
        struct error e = {};

        (void) state;
        assert_non_null(mkdtemp(directory));
        make_authority(directory, &good);
        assert_ok(gate_config_parse(json, strlen(json), "gate.json", &c, &e), &e);
        assert_ok(callers_new(c, directory, &l, &e), &e);
        q.certificate = good;
        callers_judge(l, &q, &a);
        assert_string_equal(a.name, "ca/me");
        q.certificate = forged;
        for (unsigned i = 0; i < 300; i++) {
                snprintf(forged, sizeof forged, "forged %u", i);
                snprintf(from, sizeof from, "2001:db8:%x::1", i);
                q.address = from;
                callers_judge(l, &q, &a);
                assert_true(i >= 100 || a.verdict == CALLER_MAY_NOT);
        }
        assert_int_equal(a.verdict, CALLER_TOO_OFTEN);
        assert_string_equal(a.reason, "too many certificates were refused, from many addresses");
        q.address = "2001:db8:ffff::2"; /* of the network that was accepted */
        callers_judge(l, &q, &a);
        assert_true(a.verdict == CALLER_MAY_NOT && !strstr(a.reason, "too many"));
        snprintf(path, sizeof path, "%s/ca.pem", directory);
        assert_true(unlink(path) == 0 && rmdir(directory) == 0);
}

static void test_addresses(void **state) {
        static const struct {
                const char *one, *other;
                bool equal;
        } table[] = {
                { "192.0.2.1", "192.0.2.1", true },
                { "192.0.2.1", "192.0.2.2", false },
                { "192.0.2.1", "::ffff:192.0.2.1", true },
                { "2001:db8:0:1::1", "2001:db8:0:1:ffff::", true },
                { "2001:db8:0:1::1", "2001:db8:0:2::1", false },
                { "unix:", NULL, true },
                { "", "192.0.2.1.1", true },
                { NULL, "192.0.2.1", false },
        };

        (void) state;
        for (size_t i = 0; i < ELEMENTS(table); i++) {
                struct address one = address_parse(table[i].one), other = address_parse(table[i].other);

                if (address_equal(&one, &other) != table[i].equal)
                        fail_msg("row %zu", i);
        }
}

/* 60 a minute: 40 for all, 20 for whoever had none for a minute. */
static void test_shares(void **state) {
        struct address greedy[3] = { address_parse("192.0.2.1"), address_parse("192.0.2.2"),
                                     address_parse("192.0.2.3") },
                       new_one = address_parse("192.0.2.4"), other = address_parse("2001:db8::1");
        _cleanup_(share_freep) struct share *s = NULL, *plain = NULL;
        unsigned given = 0, reserved = 0;
        struct error e;

        (void) state;
        assert_ok(share_new(60, 20, true, &s, &e), &e);
        for (uint64_t ms = 1; ms < 300000; ms += 100)
                given += share_take(s, &greedy[ms / 100 % 3], ms) == 0;
        assert_in_range(given, 14 + 199, 14 + 200 + 3 * 5); /* five minutes of 40, and each one's first in a minute */
        for (unsigned i = 0; i < 100; i++)
                share_take(s, &greedy[0], 300000);
        assert_int_equal(share_take(s, &new_one, 300001), 0);
        assert_in_range(share_take(s, &new_one, 300002), 1, 2);
        assert_int_equal(share_take(s, &other, 300003), 0);
        for (unsigned i = 0; i < 100; i++) {
                char text[32];
                struct address a;

                snprintf(text, sizeof text, "198.51.100.%u", i);
                a = address_parse(text);
                reserved += share_take(s, &a, 300004) == 0;
        }
        assert_in_range(reserved, 1, 6);

        assert_ok(share_new(60, 20, false, &plain, &e), &e);
        for (unsigned i = 0; i < 20; i++)
                assert_int_equal(share_take(plain, &greedy[0], 1), 0);
        assert_int_equal(share_take(plain, &new_one, 1), 1);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_nonces),
                cmocka_unit_test(test_lines),
                cmocka_unit_test(test_lines_that_are_refused),
                cmocka_unit_test(test_the_newest_are_kept),
                cmocka_unit_test(test_extension),
                cmocka_unit_test(test_certificates_that_are_none),
                cmocka_unit_test(test_judgement),
                cmocka_unit_test(test_refused_certificates),
                cmocka_unit_test(test_refused_certificates_from_everywhere),
                cmocka_unit_test(test_addresses),
                cmocka_unit_test(test_shares),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
