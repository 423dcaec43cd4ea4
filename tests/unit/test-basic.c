/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <sys/prctl.h>

#include "basic/encode.h"
#include "basic/json.h"
#include "basic/reader.h"
#include "basic/secret.h"
#include "basic/utf8.h"

static void test_reader_stays_where_it_failed(void **state) {
        static const uint8_t bytes[] = { 1, 2, 3, 4, 5, 6, 7, 8, 9 };
        struct reader r = reader_over(bytes, sizeof bytes), sub;
        uint64_t u64;
        uint32_t u32 = 42;
        uint16_t u16;
        uint8_t u8;

        (void) state;
        assert_int_equal(reader_be64(&r, &u64), 0);
        assert_true(u64 == 0x0102030405060708);
        assert_int_equal(reader_be32(&r, &u32), -EBADMSG);
        assert_int_equal(u32, 42);
        assert_int_equal(r.offset, 8);
        assert_int_equal(reader_u8(&r, &u8), 0);
        assert_int_equal(u8, 9);
        assert_int_equal(reader_u8(&r, &u8), -EBADMSG);
        assert_int_equal(reader_seek(&r, 10), -EBADMSG);
        assert_int_equal(reader_seek(&r, 1), 0);
        assert_int_equal(reader_sub(&r, 3, &sub), 0);
        assert_int_equal(reader_le16(&sub, &u16), 0);
        assert_int_equal(u16, 0x0302);
        assert_int_equal(reader_le16(&sub, &u16), -EBADMSG);
        assert_int_equal(reader_skip(&r, SIZE_MAX), -EBADMSG);
}

static void test_base64_is_strict(void **state) {
        static const struct {
                const char *text;
                int r;
                size_t n;
        } table[] = {
                { "", 0, 0 },           { "AA==", 0, 1 },           { "AAA=", 0, 2 },        { "AAAA", 0, 3 },
                { "A", -EINVAL, 0 },    { "AA", -EINVAL, 0 },       { "AA=A", -EINVAL, 0 },  { "A===", -EINVAL, 0 },
                { "====", -EINVAL, 0 }, { "AA==AAAA", -EINVAL, 0 }, { "AA\n=", -EINVAL, 0 }, { " AAA", -EINVAL, 0 },
                { "AA-_", -EINVAL, 0 },
        };

        (void) state;
        for (size_t i = 0; i < ELEMENTS(table); i++) {
                _cleanup_free_ uint8_t *out = NULL;
                size_t n = 0;

                assert_int_equal(base64_decode(table[i].text, strlen(table[i].text), &out, &n), table[i].r);
                assert_int_equal(n, table[i].n);
        }
}

static void test_hex(void **state) {
        uint8_t out[3];
        char text[7];

        (void) state;
        assert_int_equal(hex_decode("00fFa9", out, 3), 0);
        hex_encode(out, 3, text);
        assert_string_equal(text, "00ffa9");
        assert_int_equal(hex_decode("00ff", out, 3), -EINVAL);
        assert_int_equal(hex_decode("00ffa9aa", out, 3), -EINVAL);
        assert_int_equal(hex_decode("00ffg9", out, 3), -EINVAL);
}

static void test_decimal(void **state) {
        static const struct {
                const char *text;
                uint64_t max, number;
                int r;
        } table[] = {
                { "0", 0, 0, 0 },
                { "256", 256, 256, 0 },
                { "18446744073709551615", UINT64_MAX, UINT64_MAX, 0 },
                { "257", 256, 0, -EINVAL },
                { "18446744073709551616", UINT64_MAX, 0, -EINVAL },
                { "99999999999999999999999", UINT64_MAX, 0, -EINVAL },
                { "", 9, 0, -EINVAL },
                { "07", 9, 0, -EINVAL },
                { "+7", 9, 0, -EINVAL },
                { "-7", UINT64_MAX, 0, -EINVAL },
                { " 7", 9, 0, -EINVAL },
                { "7 ", 9, 0, -EINVAL },
                { "7k", 9, 0, -EINVAL },
                { "0x7", 9, 0, -EINVAL },
        };
        const char *cursor = "4,7";
        uint64_t n;

        (void) state;
        for (size_t i = 0; i < ELEMENTS(table); i++) {
                n = 0;
                assert_int_equal(decimal_parse(table[i].text, table[i].max, &n), table[i].r);
                assert_int_equal(n, table[i].number);
        }
        assert_int_equal(decimal_read(&cursor, 23, &n), 0);
        assert_int_equal(n, 4);
        assert_string_equal(cursor, ",7");
        assert_int_equal(decimal_read(&cursor, 23, &n), -EINVAL);
        assert_string_equal(cursor, ",7");
}

static void test_json_refuses(void **state) {
        static const struct {
                const char *text, *words;
        } table[] = {
                { "{\"a\": 1, \"a\": 2}", "same key twice" },
                { "{\"a\": {\"b\": 1, \"b\": 1}}", "same key twice" },
                { "{\"a\": \"x:y\", \"a\": \"\\\":\"}", "same key twice" },
                { "{} x", "JSON" },
                { "{'a': 1}", "JSON" },
                { "{\"a\": 1", "JSON" },
                { "{\"a\": /* */ 1}", "JSON" },
                { "{\"a\": 1,}", "JSON" },
                { "[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]", "JSON" },
                { "{\"a\": \"\xff\"}", "JSON" },
                { "{\"a\": \"\\\xc3\xa9\"}", "JSON" },
                { "{\"a\": \xc3\xa9}", "JSON" },
                { "", "JSON" },
                { " ", "JSON" },
                { "nul", "JSON" },
                { "\xef\xbb\xbf", "JSON" },
                { "\xef\xbb\xbf\xef\xbb\xbf{}", "JSON" },
                { "{\xef\xbb\xbf}", "JSON" },
                { "\xff\xfe{", "is UTF-16 text" },
                { "\xfe\xff", "is UTF-16 text" },
        };
        struct error e;

        (void) state;
        for (size_t i = 0; i < ELEMENTS(table); i++) {
                _cleanup_json_ json_object *o = NULL;

                assert_refused(json_parse(table[i].text, strlen(table[i].text), FAILURE_CONFIG, "test", &o, &e), &e,
                               FAILURE_CONFIG, table[i].words);
        }
}

/* Every length of character, in a key and in a value; two bytes of an escape make one character. */
static void test_json_reads_unicode(void **state) {
        static const char text[] =
                "{\"k\xc3\xa9y\": \"\xc3\xa9 \xe2\x82\xac \xef\xbf\xbd \xf0\x9f\x98\x80 \xf4\x8f\xbf\xbf \\u00e9\"}";
        _cleanup_json_ json_object *o = NULL;
        json_object *value;
        struct error e;

        (void) state;
        assert_ok(json_parse(text, strlen(text), FAILURE_CONFIG, "test", &o, &e), &e);
        assert_true(json_object_object_get_ex(o, "k\xc3\xa9y", &value));
        assert_string_equal(json_object_get_string(value),
                            "\xc3\xa9 \xe2\x82\xac \xef\xbf\xbd \xf0\x9f\x98\x80 \xf4\x8f\xbf\xbf \xc3\xa9");
}

/* Editors of other systems put one there. */
static void test_json_passes_over_a_byte_order_mark(void **state) {
        static const char text[] = "\xef\xbb\xbf{\"a\": \"\xc3\xa9\"}\r\n";
        _cleanup_json_ json_object *o = NULL;
        json_object *value;
        struct error e;

        (void) state;
        assert_ok(json_parse(text, strlen(text), FAILURE_CONFIG, "test", &o, &e), &e);
        assert_true(json_object_object_get_ex(o, "a", &value));
        assert_string_equal(json_object_get_string(value), "\xc3\xa9");
}

static int check(const char *text, struct error *e) {
        _cleanup_json_ json_object *o = NULL;
        json_object *n = NULL, *s = NULL;
        const struct json_field fields[] = {
                { "n", json_type_int, true, 1, 9, "a number from 1 to 9", &n },
                { "s", json_type_string, false, 0, 3, "text", &s },
        };
        int r;

        r = json_parse(text, strlen(text), FAILURE_CONFIG, "test", &o, e);
        if (r < 0)
                return r;
        r = json_fields(o, fields, ELEMENTS(fields), FAILURE_CONFIG, "test", "x", e);
        if (r < 0)
                return r;
        return (int) json_integer(n, 0);
}

static void test_json_fields_name_what_is_wrong(void **state) {
        struct error e;

        (void) state;
        assert_int_equal(check(" {\"n\": 3, \"s\": \"a:\\\"\"} \n", &e), 3);
        assert_int_equal(check("{\"n\": 3, \"s\": \"\xc3\xa9\"}", &e), 3);
        assert_int_equal(check("{\"s\": \"\xe2\x82\xac\", \"n\": 4}", &e), 4);
        assert_refused(check("{\"n\": 3, \"z\": 1}", &e), &e, FAILURE_CONFIG, "unknown key \"x.z\"");
        assert_refused(check("{\"s\": \"\"}", &e), &e, FAILURE_CONFIG, "\"x.n\" is missing");
        assert_refused(check("{\"n\": \"3\"}", &e), &e, FAILURE_CONFIG, "must be a number from 1 to 9, not string");
        assert_refused(check("{\"n\": 10}", &e), &e, FAILURE_CONFIG, "\"x.n\" is 10, expected a number from 1 to 9");
        assert_refused(check("{\"n\": 1, \"s\": \"a\\u0000\"}", &e), &e, FAILURE_CONFIG, "NUL");
        assert_refused(check("{\"n\": 1, \"s\": \"abcd\"}", &e), &e, FAILURE_CONFIG, "\"x.s\"");
        assert_refused(check("[]", &e), &e, FAILURE_CONFIG, "must be an object, not array");
}

static void test_failures_are_unique_and_complete(void **state) {
        const struct failure_info *table;
        size_t n;

        (void) state;
        table = failure_table(&n);
        for (size_t i = 0; i < n; i++) {
                assert_int_equal(strlen(table[i].message_id), 32);
                assert_true(table[i].failure == FAILURE_NONE || table[i].advice[0]);
                for (size_t j = 0; j < i; j++) {
                        assert_true(table[j].failure < table[i].failure);
                        assert_string_not_equal(table[j].message_id, table[i].message_id);
                        assert_string_not_equal(table[j].name, table[i].name);
                }
        }
}

static void test_printable(void **state _unused_) {
        static const struct {
                const char *text, *shown; /* NULL: the text itself, which is printable */
        } table[] = {
                { "", NULL },
                { "plain ~", NULL },
                { "\xc3\xa9 \xe2\x82\xac \xf0\x9f\x99\x82 \xc2\xa0", NULL },
                { "\xe2\x80\xa7\xe2\x80\xaf\xe2\x81\xa5\xe2\x81\xaa", NULL }, /* the neighbours of those below */
                { "\x1b[2J\r\n\t", "?[2J???" },
                { "\x7f", "?" },
                { "a\xc2\x80z\xc2\x9fz", "a?z?z" },
                /* NOLINTNEXTLINE(misc-misleading-bidirectional) */
                { "\xe2\x80\xa8|\xe2\x80\xae|\xe2\x81\xa6|\xe2\x81\xa9", "?|?|?|?" },
                { "\xff\xc0\x80z", "???z" },
                { "z\xe2\x82", "z??" },
                { "\xed\xa0\x80", "???" },
        };

        for (size_t i = 0; i < ELEMENTS(table); i++) {
                _cleanup_free_ char *copy = strdup(table[i].text), *written = NULL;
                const char *shown = table[i].shown ?: table[i].text;
                size_t n;
                FILE *f = open_memstream(&written, &n);

                assert_int_equal(utf8_printable(table[i].text), !table[i].shown);
                utf8_make_printable(copy);
                assert_string_equal(copy, shown);
                utf8_print(f, table[i].text);
                assert_int_equal(fclose(f), 0);
                assert_string_equal(written, shown);
        }
}

static void test_reasons_cannot_steer_a_terminal(void **state) {
        struct error e;

        (void) state;
        assert_int_equal(fail(&e, FAILURE_IO, -EIO, "a\x1b[2J", "b\n%s\xc2\x9b", "\x7f"), -EIO);
        assert_string_equal(e.subject, "a?[2J");
        assert_string_equal(e.reason, "b???");
        assert_int_equal(fail(NULL, FAILURE_IO, -EIO, "x", "y"), -EIO);
        /* What is not UTF-8 would make a report that nobody reads, as would a character cut off at the end. */
        assert_int_equal(fail(&e, FAILURE_IO, -EIO, "\xff \xc3\xa9 \xe2\x82\xac \xc0\x80", "%s", "\xe2\x82"), -EIO);
        assert_string_equal(e.subject, "? \xc3\xa9 \xe2\x82\xac ??");
        assert_string_equal(e.reason, "??");
        assert_int_equal(fail(&e, FAILURE_IO, -EIO, "", "%*s\xe2\x82\xac", (int) sizeof e.reason - 3, "x"), -EIO);
        assert_string_equal(e.reason + sizeof e.reason - 4, "x??");
}

static void test_secret_is_locked_and_undumpable(void **state) {
        _cleanup_secret_ struct secret *s = NULL;

        (void) state;
        assert_int_equal(secret_init(), 0);
        assert_int_equal(prctl(PR_GET_DUMPABLE), 0);
        assert_int_equal(secret_copy("abc", 3, &s), 0);
        assert_string_equal((char *) s->data, "abc");
        assert_int_equal(s->size, 3);
}

static void test_openssl_allocates_in_locked_memory(void **state) {
        char *before, *p, *q;

        (void) state;
        assert_int_equal(secret_init(), 0);
        before = OPENSSL_malloc(40);
        assert_false(CRYPTO_secure_allocated(before));
        memcpy(before, "0123456789", 11);
        secret_memory_begin();
        secret_memory_begin();
        secret_memory_end();
        p = OPENSSL_malloc(100);
        before = OPENSSL_realloc(before, 2000);
        secret_memory_end();
        assert_true(CRYPTO_secure_allocated(p));
        assert_true(CRYPTO_secure_allocated(before));
        assert_string_equal(before, "0123456789");
        /* What is locked stays so, however it is made larger or smaller. */
        before = OPENSSL_realloc(before, 5000);
        before = OPENSSL_realloc(before, 11);
        assert_true(CRYPTO_secure_allocated(before));
        assert_string_equal(before, "0123456789");
        q = OPENSSL_malloc(100);
        assert_false(CRYPTO_secure_allocated(q));
        OPENSSL_free(q);
        OPENSSL_free(p);
        OPENSSL_clear_free(before, 11);
}

static void test_cipher_keeps_its_key_in_locked_memory(void **state) {
        EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
        size_t before;

        (void) state;
        assert_int_equal(secret_init(), 0);
        before = CRYPTO_secure_used();
        assert_int_equal(secret_cipher(ctx, "AES-256-GCM", false), 0);
        assert_true(CRYPTO_secure_used() >= before + 240); /* a key schedule at the least */
        EVP_CIPHER_CTX_free(ctx);
        assert_int_equal(CRYPTO_secure_used(), before);
        ctx = EVP_CIPHER_CTX_new();
        assert_int_equal(secret_cipher(ctx, "no such cipher", false), -EIO);
        EVP_CIPHER_CTX_free(ctx);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_reader_stays_where_it_failed),
                cmocka_unit_test(test_base64_is_strict),
                cmocka_unit_test(test_hex),
                cmocka_unit_test(test_decimal),
                cmocka_unit_test(test_json_refuses),
                cmocka_unit_test(test_json_reads_unicode),
                cmocka_unit_test(test_json_passes_over_a_byte_order_mark),
                cmocka_unit_test(test_json_fields_name_what_is_wrong),
                cmocka_unit_test(test_failures_are_unique_and_complete),
                cmocka_unit_test(test_printable),
                cmocka_unit_test(test_reasons_cannot_steer_a_terminal),
                cmocka_unit_test(test_secret_is_locked_and_undumpable),
                cmocka_unit_test(test_openssl_allocates_in_locked_memory),
                cmocka_unit_test(test_cipher_keeps_its_key_in_locked_memory),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
