/* SPDX-License-Identifier: Apache-2.0 */

/* AWS's answers in JSON: secrets that are moved out of them, texts and times. */

#include "unit.h"

#include "aws/answer.h"

static void test_secrets_move_out(void **state _unused_) {
        static const struct {
                const char *text, *secret; /* NULL: `result` */
                const char *left;
                int result;
        } table[] = {
                { "{\"K\":\"abc\"}", "abc", "{\"K\":\"xxx\"}", 0 },
                { " { \"a\" : 1 , \"K\"\t:\n\"a\\/b\" } ", "a/b", " { \"a\" : 1 , \"K\"\t:\n\"xxxx\" } ", 0 },
                { "{\"K\":\"\"}", "", "{\"K\":\"\"}", 0 },
                { "{\"a\":{\"K\":\"no\"},\"K\":\"yes\"}", "yes", "{\"a\":{\"K\":\"no\"},\"K\":\"xxx\"}", 0 },
                { "{\"a\":\"K\",\"b\":\"\\\"K\\\":\",\"K\":\"v\"}", "v",
                  "{\"a\":\"K\",\"b\":\"\\\"K\\\":\",\"K\":\"x\"}", 0 },
                { "{}", NULL, "{}", -ENOENT },
                { "", NULL, "", -ENOENT },
                { "{\"a\":{\"K\":\"no\"}}", NULL, "{\"a\":{\"K\":\"no\"}}", -ENOENT },
                { "[\"K\",\"v\"]", NULL, "[\"K\",\"v\"]", -ENOENT },
                { "{\"Kk\":\"v\"}", NULL, "{\"Kk\":\"v\"}", -ENOENT },
                { "{\"K\":7}", NULL, "{\"K\":7}", -EBADMSG },
                { "{\"K\":null}", NULL, "{\"K\":null}", -EBADMSG },
                { "{\"K\":", NULL, "{\"K\":", -EBADMSG },
                { "{\"K\":\"a\",\"K\":\"b\"}", NULL, "{\"K\":\"a\",\"K\":\"b\"}", -EBADMSG },
                { "{\"K\":\"\\u0041\"}", NULL, "{\"K\":\"\\u0041\"}", -EBADMSG },
                { "{\"K\":\"a\\", NULL, "{\"K\":\"a\\", -EBADMSG },
        };

        for (size_t i = 0; i < ELEMENTS(table); i++) {
                _cleanup_free_ char *text = strdup(table[i].text);
                _cleanup_secret_ struct secret *secret = NULL;
                int r = answer_take_secret(text, strlen(text), "K", &secret);

                if (r != table[i].result)
                        fail_msg("%s: %d, expected %d", table[i].text, r, table[i].result);
                assert_string_equal(text, table[i].left);
                if (!table[i].secret) {
                        assert_null(secret);
                        continue;
                }
                assert_int_equal(secret->size, strlen(table[i].secret));
                assert_memory_equal(secret->data, table[i].secret, secret->size + 1);
        }
}

static void test_a_secret_is_bounded(void **state _unused_) {
        _cleanup_free_ char *text = NULL;
        struct secret *secret = NULL;

        assert_true(asprintf(&text, "{\"K\":\"%*s\"}", 8 * 1024 + 1, "a") > 0);
        assert_int_equal(answer_take_secret(text, strlen(text), "K", &secret), -EBADMSG);
        assert_null(secret);
}

static void test_text(void **state _unused_) {
        static const char json[] = "{\"a\":\"text\",\"empty\":\"\",\"n\":1,\"nul\":\"a\\u0000b\",\"o\":{}}";
        _cleanup_json_ json_object *o = NULL;
        struct error e = {};

        assert_ok(json_parse(json, strlen(json), FAILURE_IMDS, "answer", &o, &e), &e);
        assert_string_equal(answer_text(o, "a"), "text");
        assert_string_equal(answer_text(o, "empty"), "");
        assert_null(answer_text(o, "n"));
        assert_null(answer_text(o, "nul"));
        assert_null(answer_text(o, "o"));
        assert_null(answer_text(o, "absent"));
}

static void test_time(void **state _unused_) {
        static const struct {
                const char *text;
                int64_t seconds; /* -1: refused */
        } table[] = {
                { "1970-01-01T00:00:00Z", 0 },
                { "2026-11-21T14:00:00Z", INT64_C(1795269600) },
                { "2000-02-29T23:59:59Z", 951868799 },
                { "", -1 },
                { "2026-11-21", -1 },
                { "2026-11-21T14:00:00", -1 },
                { "2026-11-21T14:00:00Zx", -1 },
                { "2026-11-21T14:00:00.5Z", -1 },
                { "2026-11-21T14:00:00+01", -1 },
                { "2026-13-21T14:00:00Z", -1 },
                { "2026-11-21T25:00:00Z", -1 },
                { " 026-11-21T14:00:00Z", -1 },
                { "2026-1-021T14:00:00Z", -1 },
                { "2026-02-30T14:00:00Z", -1 },
                { "2026-11-21T23:59:60Z", -1 },
        };

        for (size_t i = 0; i < ELEMENTS(table); i++) {
                int64_t seconds = -1;
                int r = answer_time(table[i].text, &seconds);

                if (r != (table[i].seconds < 0 ? -EBADMSG : 0) || seconds != table[i].seconds)
                        fail_msg("\"%s\": %d, %lld", table[i].text, r, (long long) seconds);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_secrets_move_out),
                cmocka_unit_test(test_a_secret_is_bounded),
                cmocka_unit_test(test_text),
                cmocka_unit_test(test_time),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
