/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include "aws/sigv4.h"

/* The vectors of AWS's Signature Version 4 test suite (those for path and query as on the wire), with its published
 * credentials, date, region and service; then the four examples of the S3 API Reference. */

#define SUITE_DATE "20150830T123600Z"
#define EMPTY_HASH "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define UNRESERVED "-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
#define SUITE_TOKEN \
        "AQoDYXdzEPT//////////" \
        "wEXAMPLEtc764bNrC9SAPBSM22wDOk4x4HIZ8j4FZTwdQWLWsKWHGBuFqwAeMicRXmxfpSPfIeoIYRqTflfKD8YUuwthAx7mSEI" \
        "/qkPpKPi/" \
        "kMcGdQrmGdeehM4IC1NtBmUpp2wUE8phUZampKsburEDy0KPkyQDYwT7WZ0wq5VSXDvp75YU9HFvlRd8Tx6q6fE8YQcHNVXAkiY9" \
        "q6d+xo0rKwT" \
        "38xVqr7ZD0u0iPPkUL64lIZbqBAz+scqKmlzm8FDrypNC9Yjc8fPOLn9FX9KSYvKTr4rvx3iSIlTJabIQwj2ICCR/oLxBA=="

static struct credentials *credentials(const char *id, const char *key) {
        struct credentials *c = NULL;
        struct error e = {};

        assert_ok(credentials_new(id, key, NULL, INT64_MAX, &c, &e), &e);
        return c;
}

static void assert_signature(const struct sigv4_request *q, const struct credentials *c, const char *signature,
                             const char *name) {
        _cleanup_free_ char *out = NULL;

        assert_int_equal(sigv4_authorization(q, c, &out), 0);
        if (!strstr(out, signature))
                fail_msg("%s: %s, not %s", name, out, signature);
}

static void test_suite(void **state) {
        /* clang-format off */
        static const struct {
                const char *name, *method, *path, *query;
                struct pair more[2];
                const char *body, *signature;
        } table[] = {
                { "get-vanilla", "GET", "/", NULL, {}, "",
                  "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31" },
                { "get-vanilla-query-order-key-case", "GET", "/", "Param2=value2&Param1=value1", {}, "",
                  "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500" },
                { "get-vanilla-query-order-value", "GET", "/", "Param1=value2&Param1=value1", {}, "",
                  "5772eed61e12b33fae39ee5e7012498b51d56abc0abb7c60486157bd471c4694" },
                { "get-vanilla-query-unreserved", "GET", "/", UNRESERVED "=" UNRESERVED, {}, "",
                  "9c3e54bfcdf0b19771a7f523ee5669cdf59bc7cc0884027167c21bb143a40197" },
                { "get-vanilla-empty-query-key", "GET", "/", "Param1=value1", {}, "",
                  "a67d582fa61cc504c4bae71f336f98b97f1ea3c7a6bfe1b6e45aec72011b9aeb" },
                { "get-vanilla-utf8-query", "GET", "/", "%E1%88%B4=bar", {}, "",
                  "2cdec8eed098649ff3a119c94853b13c643bcf08f8b0a1d91e12c9027818dd04" },
                { "get-utf8", "GET", "/%E1%88%B4", NULL, {}, "",
                  "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85" },
                { "get-unreserved", "GET", "/" UNRESERVED, NULL, {}, "",
                  "07ef7494c76fa4850883e2b006601f940f8a34d404d0cfa977f52a65bbf5f24f" },
                { "get-space", "GET", "/example%20space/", NULL, {}, "",
                  "652487583200325589f1fba4c7e578f72c47cb61beeca81406b39ddec1366741" },
                { "get-header-value-trim", "GET", "/", NULL, { { "my-header1", " value1" },
                                                               { "my-header2", " \"a   b   c\"" } }, "",
                  "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736" },
                { "post-vanilla", "POST", "/", NULL, {}, "",
                  "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b" },
                { "post-vanilla-query", "POST", "/", "Param1=value1", {}, "",
                  "28038455d6de14eafc1f9222cf5aa6f1a96197d7deb8263271d420d138af7f11" },
                { "post-header-key-sort", "POST", "/", NULL, { { "my-header1", "value1" } }, "",
                  "c5410059b04c1ee005303aed430f6e6645f61f4dc9e1461ec8f8916fdf18852c" },
                { "post-header-value-case", "POST", "/", NULL, { { "my-header1", "VALUE1" } }, "",
                  "cdbc9802e29d2942e5e10b5bccfdd67c5f22c7c4e8ae67b53629efa58b974b7d" },
                { "post-sts-header-before", "POST", "/", NULL, { { "x-amz-security-token", SUITE_TOKEN } }, "",
                  "85d96828115b5dc0cfc3bd16ad9e210dd772bbebba041836c64533a82be05ead" },
                { "post-x-www-form-urlencoded", "POST", "/", NULL,
                  { { "content-type", "application/x-www-form-urlencoded" } },
                  "Param1=value1", "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a" },
                { "post-x-www-form-urlencoded-parameters", "POST", "/", NULL,
                  { { "content-type", "application/x-www-form-urlencoded; charset=utf8" } }, "Param1=value1",
                  "1a72ec8f64bd914b0e42e42607c7fbce7fb2c7465f63e3092b3b0d39fa77a6fe" },
        };
        /* clang-format on */
        _cleanup_credentials_ struct credentials *c =
                credentials("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY");

        (void) state;
        for (size_t i = 0; i < ELEMENTS(table); i++) {
                /* Not in order: sorting them is the signer's. */
                struct pair headers[4] = { { "x-amz-date", SUITE_DATE } };
                char hash[SIGV4_HASH_SIZE];
                size_t n = 1;

                for (size_t k = 0; k < 2 && table[i].more[k].name; k++)
                        headers[n++] = table[i].more[k];
                headers[n++] = (struct pair) { "host", "example.amazonaws.com" };
                assert_int_equal(sigv4_hash(table[i].body, strlen(table[i].body), hash), 0);
                assert_signature(
                        &(struct sigv4_request) {
                                .method = table[i].method,
                                .path = table[i].path,
                                .query = table[i].query,
                                .headers = headers,
                                .n_headers = n,
                                .payload_hash = hash,
                                .date = SUITE_DATE,
                                .region = "us-east-1",
                                .service = "service",
                        },
                        c, table[i].signature, table[i].name);
        }
}

static void test_s3_examples(void **state) {
        /* clang-format off */
        static const struct {
                const char *name, *method, *path, *query;
                struct pair more[2];
                const char *hash, *signature;
        } table[] = {
                { "get object", "GET", "/test.txt", NULL, { { "range", "bytes=0-9" } }, EMPTY_HASH,
                  "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41" },
                { "put object", "PUT", "/test%24file.text", NULL,
                  { { "date", "Fri, 24 May 2013 00:00:00 GMT" }, { "x-amz-storage-class", "REDUCED_REDUNDANCY" } },
                  "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072",
                  "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd" },
                { "get lifecycle", "GET", "/", "lifecycle", {}, EMPTY_HASH,
                  "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543" },
                { "list objects", "GET", "/", "prefix=J&max-keys=2", {}, EMPTY_HASH,
                  "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7" },
        };
        /* clang-format on */
        _cleanup_credentials_ struct credentials *c =
                credentials("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY");

        (void) state;
        for (size_t i = 0; i < ELEMENTS(table); i++) {
                struct pair headers[5] = { { "host", "examplebucket.s3.amazonaws.com" },
                                           { "x-amz-date", "20130524T000000Z" },
                                           { "x-amz-content-sha256", table[i].hash } };
                size_t n = 3;

                for (size_t k = 0; k < 2 && table[i].more[k].name; k++)
                        headers[n++] = table[i].more[k];
                assert_signature(
                        &(struct sigv4_request) {
                                .method = table[i].method,
                                .path = table[i].path,
                                .query = table[i].query,
                                .headers = headers,
                                .n_headers = n,
                                .payload_hash = table[i].hash,
                                .date = "20130524T000000Z",
                                .region = "us-east-1",
                                .service = "s3",
                        },
                        c, table[i].signature, table[i].name);
        }
}

static void test_authorization_shape(void **state) {
        _cleanup_credentials_ struct credentials *c =
                credentials("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY");
        struct pair headers[33] = { { "x-amz-date", SUITE_DATE }, { "host", "example.amazonaws.com" } };
        struct sigv4_request q = { .method = "GET",
                                   .path = "/",
                                   .headers = headers,
                                   .n_headers = 2,
                                   .payload_hash = EMPTY_HASH,
                                   .date = SUITE_DATE,
                                   .region = "us-east-1",
                                   .service = "service" };
        _cleanup_free_ char *out = NULL;

        (void) state;
        assert_int_equal(sigv4_authorization(&q, c, &out), 0);
        assert_string_equal(out, "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, "
                                 "SignedHeaders=host;x-amz-date, "
                                 "Signature=5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31");
        q.date = "2015";
        assert_int_equal(sigv4_authorization(&q, c, &out), -EINVAL);
        q.date = SUITE_DATE;
        q.n_headers = 33;
        assert_int_equal(sigv4_authorization(&q, c, &out), -EINVAL);
}

static void test_encode(void **state) {
        static const struct {
                const char *text, *key, *parameter;
        } table[] = {
                { "", "", "" },
                { UNRESERVED, UNRESERVED, UNRESERVED },
                { "a b", "a%20b", "a%20b" },
                { "a+b=c&d", "a%2Bb%3Dc%26d", "a%2Bb%3Dc%26d" },
                { "100%25", "100%2525", "100%2525" },
                { "dir/../x//y", "dir/../x//y", "dir%2F..%2Fx%2F%2Fy" },
                { "\xe1\x88\xb4\xff\x7f", "%E1%88%B4%FF%7F", "%E1%88%B4%FF%7F" },
                { "!'()*:@$,;?#", "%21%27%28%29%2A%3A%40%24%2C%3B%3F%23", "%21%27%28%29%2A%3A%40%24%2C%3B%3F%23" },
        };

        (void) state;
        for (size_t i = 0; i < ELEMENTS(table); i++) {
                _cleanup_free_ char *key = NULL, *parameter = NULL;

                assert_int_equal(sigv4_encode(table[i].text, true, &key), 0);
                assert_int_equal(sigv4_encode(table[i].text, false, &parameter), 0);
                assert_string_equal(key, table[i].key);
                assert_string_equal(parameter, table[i].parameter);
        }
}

static void test_date(void **state) {
        static const struct {
                int64_t time;
                const char *date;
        } table[] = { { 0, "19700101T000000Z" },
                      { 1440938160, SUITE_DATE },
                      { 951782400, "20000229T000000Z" },
                      { 4102444799, "20991231T235959Z" } };

        (void) state;
        for (size_t i = 0; i < ELEMENTS(table); i++) {
                char date[SIGV4_DATE_SIZE];

                sigv4_date(table[i].time, date);
                assert_string_equal(date, table[i].date);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_suite),
                cmocka_unit_test(test_s3_examples),
                cmocka_unit_test(test_authorization_shape),
                cmocka_unit_test(test_encode),
                cmocka_unit_test(test_date),
        };

        return cmocka_run_group_tests_name("sigv4", tests, NULL, NULL);
}
