/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include "aws/s3.h"
#include "aws/service.h"
#include "canned.h"
#include "owner/environment.h"
#include "owner/s3-head.h"
#include "owner/s3-write.h"

#define ERROR_BODY(code) \
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>" code "</Code><Message>words</Message></Error>"
#define RANGE(content_range, etag, text) \
        { \
                .status = "206 Partial Content", .headers = "Content-Range: " content_range "\r\nETag: " etag "\r\n", \
                .body = text \
        }

static void test_errors(void **state) {
        static const struct {
                long status;
                const char *text;
                enum http_verdict verdict;
                enum failure failure;
                const char *words;
        } table[] = {
                { 403, ERROR_BODY("AccessDenied"), HTTP_FINAL, FAILURE_S3_DENIED, "HTTP 403 AccessDenied: words" },
                { 404, ERROR_BODY("NoSuchKey"), HTTP_FINAL, FAILURE_S3_NOT_FOUND, "NoSuchKey" },
                { 404, ERROR_BODY("NoSuchBucket"), HTTP_FINAL, FAILURE_S3_NOT_FOUND, "NoSuchBucket" },
                { 412, ERROR_BODY("PreconditionFailed"), HTTP_FINAL, FAILURE_S3_CHANGED, "PreconditionFailed" },
                { 416, ERROR_BODY("InvalidRange"), HTTP_FINAL, FAILURE_SEALED_FORMAT, "InvalidRange" },
                { 503, ERROR_BODY("SlowDown"), HTTP_RETRY, FAILURE_S3_UNAVAILABLE, "SlowDown" },
                { 500, ERROR_BODY("InternalError"), HTTP_RETRY, FAILURE_S3_UNAVAILABLE, "InternalError" },
                { 400, ERROR_BODY("RequestTimeout"), HTTP_RETRY, FAILURE_S3_UNAVAILABLE, "RequestTimeout" },
                { 429, "", HTTP_RETRY, FAILURE_S3_UNAVAILABLE, "HTTP 429" },
                { 504, "<html>", HTTP_RETRY, FAILURE_S3_UNAVAILABLE, "HTTP 504" },
                { 400, ERROR_BODY("ExpiredToken"), HTTP_REFRESH, FAILURE_CREDENTIALS, "ExpiredToken" },
                { 403, ERROR_BODY("InvalidAccessKeyId"), HTTP_FINAL, FAILURE_CREDENTIALS, "InvalidAccessKeyId" },
                { 403, ERROR_BODY("SignatureDoesNotMatch"), HTTP_FINAL, FAILURE_CREDENTIALS, "SignatureDoesNotMatch" },
                { 403, ERROR_BODY("RequestTimeTooSkewed"), HTTP_FINAL, FAILURE_CLOCK, "this machine's clock says" },
                { 301, ERROR_BODY("PermanentRedirect"), HTTP_FINAL, FAILURE_S3_NOT_FOUND, "PermanentRedirect" },
                { 400, ERROR_BODY("AuthorizationHeaderMalformed"), HTTP_FINAL, FAILURE_S3_NOT_FOUND,
                  "AuthorizationHeaderMalformed" },
                { 400, ERROR_BODY("InvalidArgument"), HTTP_FINAL, FAILURE_S3_DENIED,
                  "HTTP 400 InvalidArgument: words" },
                { 400, ERROR_BODY("KMS.DisabledException"), HTTP_FINAL, FAILURE_S3_DENIED,
                  "KMS.DisabledException: words" },
                { 400, ERROR_BODY("KMS.ThrottlingException"), HTTP_RETRY, FAILURE_S3_UNAVAILABLE,
                  "KMS.ThrottlingException" },
                { 418, ERROR_BODY("NeverHeardOf"), HTTP_FINAL, FAILURE_S3_DENIED, "HTTP 418 NeverHeardOf: words" },
                { 400, "", HTTP_FINAL, FAILURE_S3_ANSWER, "HTTP 400" },
                { 403, "", HTTP_FINAL, FAILURE_S3_DENIED, "HTTP 403" },
                { 404, "", HTTP_FINAL, FAILURE_S3_NOT_FOUND, "HTTP 404" },
                { 403, "<Error><Code>Acc\x1b[2Jess", HTTP_FINAL, FAILURE_S3_DENIED, "HTTP 403" },
        };

        (void) state;
        for (size_t i = 0; i < ELEMENTS(table); i++) {
                struct service_answer answer = { .status = table[i].status,
                                                 .text = table[i].text,
                                                 .n = strlen(table[i].text),
                                                 .subject = "s3://b/k" };
                struct error e = {};

                if (s3_judge_error(&answer, &e) != table[i].verdict || e.failure != table[i].failure ||
                    !strstr(e.reason, table[i].words))
                        fail_msg("%ld %s: %d: %s", table[i].status, table[i].text, (int) e.failure, e.reason);
        }
}

static void test_region_advice(void **state) {
        static const char text[] = "<Error><Code>AuthorizationHeaderMalformed</Code><Message>m</Message><Region>"
                                   "eu-west-1</Region></Error>";
        struct service_answer answer = { .status = 400, .text = text, .n = strlen(text), .subject = "s3://b/k" };
        struct error e = {};

        (void) state;
        s3_judge_error(&answer, &e);
        assert_string_equal(e.advice, "The bucket is in another Region: eu-west-1; use that Region.");
}

/* The advice names the permission that was refused, and the thing that refused it. */
static void test_advice(void **state) {
#define SAYS(code, message) \
        "<Error><Code>" code "</Code><Message>" message "</Message><StorageClass>GLACIER</StorageClass></Error>"
#define CALLER "User: arn:aws:sts::444455556666:assumed-role/r/i-0 is not authorized to perform: "
        static const struct {
                const char *text, *action, *has, *lacks;
        } table[] = {
                { SAYS("AccessDenied", "Access Denied"), NULL, "s3:GetObject on the object", "kms:" },
                { SAYS("AccessDenied", "Access Denied"), "s3:PutObject", "s3:PutObject", "s3:ListBucket" },
                { "", "s3:PutObject", "s3:PutObject", "s3:GetObject" },
                { SAYS("AccessDenied", CALLER "s3:ListBucket on resource: &quot;arn:aws:s3:::b&quot;"), "s3:GetObject",
                  "s3:ListBucket", "s3:GetObject" },
                { SAYS("AccessDenied", CALLER
                       "s3:GetObjectVersion because no identity-based policy allows the s3:GetObjectVersion action"),
                  NULL, "IAM policy allow s3:GetObjectVersion", "bucket policy" },
                { SAYS("AccessDenied", CALLER "s3:GetObject with an explicit deny in a resource-based policy"), NULL,
                  "A Deny in the bucket policy refuses s3:GetObject", "IAM policy" },
                { SAYS("AccessDenied", CALLER "kms:Decrypt on resource: arn:aws:kms:us-east-1:111122223333:key/0a1b "
                                              "because no resource-based policy allows the kms:Decrypt action"),
                  NULL, "must allow kms:Decrypt", "s3:GetObject" },
                { SAYS("AccessDenied",
                       CALLER "kms:GenerateDataKey on resource: arn:aws:kms:us-east-1:111122223333:key/0a1b because no "
                              "identity-based policy allows the kms:GenerateDataKey action"),
                  "s3:PutObject", "IAM policy allow kms:GenerateDataKey", "s3:PutObject" },
                { SAYS("KMS.DisabledException", "x"), NULL, "SSE-KMS", "s3:GetObject" },
                { SAYS("KMS.DisabledException", "x"), "s3:PutObject", "kms:GenerateDataKey", "kms:Decrypt" },
                { SAYS("InvalidObjectState", "x"), NULL, "archived in the storage class GLACIER", "s3:GetObject" },
                { SAYS("AccountProblem", "x"), NULL, "AccountProblem", "s3:GetObject" },
        };

        (void) state;
        for (size_t i = 0; i < ELEMENTS(table); i++) {
                struct service_answer answer = { .status = 403,
                                                 .text = table[i].text,
                                                 .n = strlen(table[i].text),
                                                 .subject = "s3://b/k",
                                                 .action = table[i].action };
                struct error e = {};

                s3_judge_error(&answer, &e);
                assert_int_equal(e.failure, FAILURE_S3_DENIED);
                if (!strstr(e.advice, table[i].has) || strstr(e.advice, table[i].lacks))
                        fail_msg("%s: %s", table[i].text, e.advice);
        }
}

/* A refusal without a body has a Date. */
static void test_skew_without_a_body(void **state) {
        struct service_answer answer = {
                .status = 403, .text = "", .subject = "s3", .date = "Wed, 01 Jan 2020 00:00:00 GMT"
        };
        struct error e = {};

        (void) state;
        s3_judge_error(&answer, &e);
        assert_int_equal(e.failure, FAILURE_CLOCK);
        assert_non_null(strstr(e.reason, " s ahead"));
        answer.text = ERROR_BODY("AccessDenied");
        answer.n = strlen(answer.text);
        s3_judge_error(&answer, &e);
        assert_int_equal(e.failure, FAILURE_S3_DENIED);
}

static void test_content_range(void **state) {
        static const struct {
                const char *text;
                int r;
                uint64_t first, last, total;
        } table[] = {
                { "bytes 0-0/1", 0, 0, 0, 1 },
                { "bytes 10-19/100", 0, 10, 19, 100 },
                { "bytes 0-18446744073709551614/18446744073709551615", 0, 0, UINT64_MAX - 1, UINT64_MAX },
                { "bytes 0-0/18446744073709551616", -EBADMSG, 0, 0, 0 },
                { "bytes 5-4/100", -EBADMSG, 0, 0, 0 },
                { "bytes 0-100/100", -EBADMSG, 0, 0, 0 },
                { "bytes 0-9/*", -EBADMSG, 0, 0, 0 },
                { "bytes */100", -EBADMSG, 0, 0, 0 },
                { "bytes 00-9/100", -EBADMSG, 0, 0, 0 },
                { "bytes 0-9/0100", -EBADMSG, 0, 0, 0 },
                { "bytes +0-9/100", -EBADMSG, 0, 0, 0 },
                { "bytes 0 - 9/100", -EBADMSG, 0, 0, 0 },
                { "bytes -9/100", -EBADMSG, 0, 0, 0 },
                { "bytes 0-9/100 ", -EBADMSG, 0, 0, 0 },
                { "bytes 0-9", -EBADMSG, 0, 0, 0 },
                { "Bytes 0-9/100", -EBADMSG, 0, 0, 0 },
                { "bytes=0-9/100", -EBADMSG, 0, 0, 0 },
                { "", -EBADMSG, 0, 0, 0 },
        };

        (void) state;
        for (size_t i = 0; i < ELEMENTS(table); i++) {
                uint64_t first = 0, last = 0, total = 0;

                if (s3_parse_content_range(table[i].text, &first, &last, &total) != table[i].r)
                        fail_msg("%s", table[i].text);
                assert_true(first == table[i].first && last == table[i].last && total == table[i].total);
        }
}

static void test_etag(void **state) {
        (void) state;
        assert_true(s3_etag_valid("\"9b2cf535f27731c974343645a3985328-42\""));
        assert_false(s3_etag_valid(""));
        assert_false(s3_etag_valid("\""));
        assert_false(s3_etag_valid("\"\""));
        assert_false(s3_etag_valid("W/\"weak\""));
        assert_false(s3_etag_valid("bare"));
        assert_false(s3_etag_valid("\"a\"b\""));
        assert_false(s3_etag_valid("\"a b\""));
        assert_false(s3_etag_valid("\"a\r\""));
}

static void test_uri(void **state) {
        static const struct {
                const char *uri, *bucket, *key;
        } table[] = {
                { "s3://my-models/llama/manifest.sealed", "my-models", "llama/manifest.sealed" },
                { "s3://my.models/a b+c%20//d", "my.models", "a b+c%20//d" },
                { "s3://bucket/", "bucket", "" },
                { "s3://bucket", "bucket", "" },
                { "https://bucket/key", NULL, NULL },
                { "s3:///key", NULL, NULL },
                { "s3://ab/key", NULL, NULL },
                { "s3://Bucket/key", NULL, NULL },
                { "s3://bucket:80/key", NULL, NULL },
                { "s3://user@bucket/key", NULL, NULL },
                { "s3://-bucket/key", NULL, NULL },
                { "s3://buc..ket/key", NULL, NULL },
                { "s3://bucket/k\xc3\xa9y", "bucket", "k\xc3\xa9y" },
                { "s3://bucket/key\nREADY=1", NULL, NULL },
                { "s3://bucket/key\x1b[2J", NULL, NULL },
                { "s3://bucket/key\xc2\x9b", NULL, NULL },
                { "s3://bucket/key\xff", NULL, NULL },
                { "", NULL, NULL },
        };

        (void) state;
        for (size_t i = 0; i < ELEMENTS(table); i++) {
                _cleanup_free_ char *bucket = NULL, *key = NULL;
                struct error e = {};
                int r;

                r = s3_parse_uri(table[i].uri, FAILURE_LAUNCH, &bucket, &key, &e);
                assert_int_equal(r, table[i].bucket ? 0 : -EINVAL);
                if (r < 0)
                        assert_int_equal(e.failure, FAILURE_LAUNCH);
                else {
                        assert_string_equal(bucket, table[i].bucket);
                        assert_string_equal(key, table[i].key);
                }
        }
}

struct fixture {
        struct http *http;
        struct credential_source *source;
        struct s3 *s3;
        struct canned canned;
};

static void start(struct fixture *f, const char *endpoint, const struct canned_reply *replies, size_t n) {
        struct error e = {};

        *f = (struct fixture) {};
        setenv("AWS_ACCESS_KEY_ID", "AKID", 1);
        setenv("AWS_SECRET_ACCESS_KEY", "key", 1);
        canned_start(&f->canned, replies, n);
        assert_ok(http_new(&(struct http_options) {}, &f->http, &e), &e);
        assert_ok(credentials_from_environment(&f->source, &e), &e);
        assert_ok(s3_new(&(struct service_access) { .http = f->http,
                                                    .credentials = f->source,
                                                    .region = "us-east-1",
                                                    .endpoint.url = endpoint ?: f->canned.url },
                         &f->s3, &e),
                  &e);
}

static size_t stop(struct fixture *f) {
        size_t n = canned_stop(&f->canned);

        canned_done(&f->canned);
        s3_free(f->s3);
        credential_source_free(f->source);
        http_free(f->http);
        return n;
}

/* Where requests would go, without sending them. */
static void test_addressing(void **state) {
        static const struct {
                const char *region, *bucket, *key, *url;
        } table[] = {
                { "us-east-1", "bucket", "a b/c+d", "https://bucket.s3.us-east-1.amazonaws.com/a%20b/c%2Bd" },
                { "us-east-1", "my.bucket", "k", "https://s3.us-east-1.amazonaws.com/my.bucket/k" },
                { "cn-north-1", "bucket", "k", "https://bucket.s3.cn-north-1.amazonaws.com.cn/k" },
        };
        struct error e = {};
        struct fixture f;

        (void) state;
        start(&f, NULL, NULL, 0);
        for (size_t i = 0; i < ELEMENTS(table); i++) {
                _cleanup_(s3_freep) struct s3 *s3 = NULL;
                CURL *easy = curl_easy_init();
                struct http_call *call = NULL;
                char *url = NULL;

                assert_ok(s3_new(&(struct service_access) { .http = f.http,
                                                            .credentials = f.source,
                                                            .region = table[i].region },
                                 &s3, &e),
                          &e);
                assert_ok(s3_prepare_range(s3, easy, table[i].bucket, table[i].key, 0, 9, NULL, false, &call, &e), &e);
                curl_easy_getinfo(easy, CURLINFO_EFFECTIVE_URL, &url);
                assert_string_equal(url, table[i].url);
                http_call_free(call);
                curl_easy_cleanup(easy);
        }
        stop(&f);
}

static void test_endpoints(void **state) {
        static const struct {
                const char *url, *words;
        } table[] = {
                { "ftp://host", "neither http nor https" },
                { "http://host/path", "more than a scheme" },
                { "http://u:p@host", "more than a scheme" },
                { "http://host/?q", "more than a scheme" },
                { "http://", "not a URL" },
                { "http://ho st", "not a URL" },
        };
        struct error e = {};
        struct fixture f;

        (void) state;
        start(&f, NULL, NULL, 0);
        for (size_t i = 0; i < ELEMENTS(table); i++) {
                struct s3 *s3 = NULL;

                assert_refused(s3_new(&(struct service_access) { .http = f.http,
                                                                 .credentials = f.source,
                                                                 .region = "us-east-1",
                                                                 .endpoint.url = table[i].url },
                                      &s3, &e),
                               &e, FAILURE_CONFIG, table[i].words);
        }
        stop(&f);
}

struct sink {
        struct http_call *call;
        char bytes[64];
        size_t n;
};

static size_t on_bytes(char *data, size_t one, size_t n, void *userdata) {
        struct sink *s = userdata;
        struct s3_range range;

        (void) one;
        if (!s3_range_answer(s->call, &range))
                return http_call_body(s->call, data, n) < 0 ? 0 : n;
        memcpy(s->bytes + s->n, data, MIN_OF(n, sizeof s->bytes - s->n));
        s->n += MIN_OF(n, sizeof s->bytes - s->n);
        return n;
}

/* One ranged GET the way the pipeline does it. */
static enum http_verdict get_range(struct fixture *f, uint64_t first, uint64_t last, const char *if_match,
                                   struct sink *sink, struct s3_range *ret, char etag[static S3_ETAG_SIZE],
                                   struct error *e) {
        CURL *easy = curl_easy_init();
        enum http_verdict verdict;
        CURLcode code;

        assert_ok(s3_prepare_range(f->s3, easy, "bucket", "a key", first, last, if_match, false, &sink->call, e), e);
        curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_bytes);
        curl_easy_setopt(easy, CURLOPT_WRITEDATA, sink);
        code = curl_easy_perform(easy);
        verdict = s3_judge_range(sink->call, code, e);
        if (verdict == HTTP_OK && s3_range_answer(sink->call, ret))
                snprintf(etag, S3_ETAG_SIZE, "%s", ret->etag);
        http_call_free(sink->call);
        curl_easy_cleanup(easy);
        return verdict;
}

static void test_range(void **state) {
        static const struct canned_reply replies[] = { RANGE("bytes 5-9/100", "\"v1\"", "56789"),
                                                       RANGE("bytes 98-99/100", "\"v1\"", "89") };
        char etag[S3_ETAG_SIZE] = "";
        struct sink a = {}, b = {};
        struct s3_range range = {};
        struct error e = {};
        struct fixture f;

        (void) state;
        start(&f, NULL, replies, 2);
        assert_int_equal(get_range(&f, 5, 9, NULL, &a, &range, etag, &e), HTTP_OK);
        assert_true(range.first == 5 && range.last == 9 && range.total == 100 && a.n == 5);
        assert_memory_equal(a.bytes, "56789", 5);
        assert_string_equal(etag, "\"v1\"");
        /* S3 clamps a range at the end of the object. */
        assert_int_equal(get_range(&f, 98, 200, "\"v1\"", &b, &range, etag, &e), HTTP_OK);
        assert_true(range.last == 99 && b.n == 2);
        assert_memory_equal(f.canned.requests[0], "GET /bucket/a%20key HTTP/1.1\r\n", 30);
        assert_non_null(strstr(f.canned.requests[0], "range: bytes=5-9\r\n"));
        assert_null(strstr(f.canned.requests[0], "if-match"));
        assert_non_null(strstr(f.canned.requests[0], "x-amz-content-sha256: UNSIGNED-PAYLOAD\r\n"));
        assert_non_null(strstr(f.canned.requests[1], "if-match: \"v1\"\r\n"));
        assert_non_null(
                strstr(f.canned.requests[1], "SignedHeaders=host;if-match;range;x-amz-content-sha256;x-amz-date, "));
        stop(&f);
}

static void test_range_refuses(void **state) {
        static const struct {
                struct canned_reply reply;
                enum http_verdict verdict;
                enum failure failure;
                const char *words;
        } table[] = {
                { RANGE("bytes 6-10/100", "\"v1\"", "56789"), HTTP_FINAL, FAILURE_S3_ANSWER,
                  "its Content-Range header is bytes 6-10/100" },
                { RANGE("bytes 5-8/100", "\"v1\"", "5678"), HTTP_FINAL, FAILURE_S3_ANSWER, "Content-Range" },
                { RANGE("bytes 5-9/9", "\"v1\"", "56789"), HTTP_FINAL, FAILURE_S3_ANSWER, "Content-Range" },
                { RANGE("bytes 5-9/100", "\"v1\"", "567890"), HTTP_FINAL, FAILURE_S3_ANSWER,
                  "its Content-Length header is 6" },
                { RANGE("bytes 5-9/100", "\"v2\"", "56789"), HTTP_FINAL, FAILURE_S3_ANSWER,
                  "its ETag header is \"v2\"" },
                { RANGE("bytes 5-9/100", "W/\"v1\"", "56789"), HTTP_FINAL, FAILURE_S3_ANSWER, "its ETag header is W/" },
                { RANGE("bytes 5-9/100", "\"v1\"\r\nETag: \"v1\"", "56789"), HTTP_FINAL, FAILURE_S3_ANSWER,
                  "missing or sent twice" },
                { { .status = "200 OK", .headers = "ETag: \"v1\"\r\n", .body = "56789" },
                  HTTP_FINAL,
                  FAILURE_S3_ANSWER,
                  "whole object" },
                { { .raw = "HTTP/1.1 206 P\r\nContent-Range: bytes 5-9/100\r\nContent-Length: 5\r\nETag: "
                           "\"v1\"\r\n\r\n567" },
                  HTTP_RETRY,
                  FAILURE_NETWORK,
                  "" },
                { { .raw = "HTTP/1.1 206 P\r\nContent-Range: bytes 5-9/100\r\nTransfer-Encoding: chunked\r\nETag: "
                           "\"v1\"\r\n\r\n5\r\n56789\r\n0\r\n\r\n" },
                  HTTP_FINAL,
                  FAILURE_S3_ANSWER,
                  "Content-Length" },
                { { .status = "412 Precondition Failed", .body = ERROR_BODY("PreconditionFailed") },
                  HTTP_FINAL,
                  FAILURE_S3_CHANGED,
                  "PreconditionFailed: words" },
                { { .status = "503 Slow Down", .headers = "x-amz-request-id: R9\r\n", .body = ERROR_BODY("SlowDown") },
                  HTTP_RETRY,
                  FAILURE_S3_UNAVAILABLE,
                  "SlowDown: words" },
                { { .status = "400 Bad Request", .body = ERROR_BODY("ExpiredToken") },
                  HTTP_REFRESH,
                  FAILURE_CREDENTIALS,
                  "ExpiredToken" },
                { { .raw = "" }, HTTP_RETRY, FAILURE_NETWORK, "" },
        };

        (void) state;
        for (size_t i = 0; i < ELEMENTS(table); i++) {
                char etag[S3_ETAG_SIZE] = "";
                struct s3_range range = {};
                enum http_verdict verdict;
                struct sink sink = {};
                struct error e = {};
                struct fixture f;

                start(&f, NULL, &table[i].reply, 1);
                verdict = get_range(&f, 5, 9, "\"v1\"", &sink, &range, etag, &e);
                if (verdict != table[i].verdict || e.failure != table[i].failure || !strstr(e.reason, table[i].words))
                        fail_msg("%zu: %d: %d: %s", i, (int) verdict, (int) e.failure, e.reason);
                assert_string_equal(e.subject, "s3://bucket/a key");
                if (i == 11)
                        assert_string_equal(e.request_id, "R9");
                /* Only the truncated answer was one whose bytes the caller should see. */
                assert_int_equal(sink.n, i == 8 ? 3 : 0);
                stop(&f);
        }
}

static void test_get_and_head(void **state) {
        static const struct canned_reply replies[] = {
                { .status = "200 OK", .headers = "ETag: \"v\"\r\n", .body = "manifest" },
                { .status = "200 OK", .headers = "ETag: \"v\"\r\n", .body = "manifest" },
                { .status = "200 OK", .body = "manifest" },
                { .raw = "HTTP/1.1 200 OK\r\nETag: \"h\"\r\nContent-Length: 5000000000\r\n\r\n" },
                { .raw = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nx-amz-request-id: R7\r\n\r\n" },
        };
        _cleanup_free_ uint8_t *data = NULL;
        struct s3_head head = {};
        uint8_t *none = NULL;
        struct error e = {};
        struct fixture f;
        size_t n;

        (void) state;
        start(&f, NULL, replies, 5);
        assert_ok(s3_get(f.s3, "bucket", "m", 8, &data, &n, &head, &e), &e);
        assert_string_equal((char *) data, "manifest");
        assert_true(n == 8 && head.size == 8);
        assert_string_equal(head.etag, "\"v\"");
        assert_refused(s3_get(f.s3, "bucket", "m", 7, &none, &n, NULL, &e), &e, FAILURE_S3_ANSWER,
                       "at most 7 were expected");
        assert_refused(s3_get(f.s3, "bucket", "m", 8, &none, &n, NULL, &e), &e, FAILURE_S3_ANSWER,
                       "ETag header is missing");
        assert_null(none);
        assert_ok(s3_head(f.s3, "bucket", "m", &head, &e), &e);
        assert_true(head.size == 5000000000);
        assert_refused(s3_head(f.s3, "bucket", "m", &head, &e), &e, FAILURE_S3_NOT_FOUND, "HTTP 404");
        assert_string_equal(e.request_id, "R7");
        assert_memory_equal(f.canned.requests[3], "HEAD /bucket/m HTTP/1.1\r\n", 25);
        assert_int_equal(stop(&f), 5);
}

/* The header of an object: its first bytes, or all of a shorter one. */
static void test_get_start(void **state) {
        static const struct canned_reply replies[] = {
                { .status = "206 Partial Content", .body = "header" },
                { .status = "206 Partial Content", .body = "header that is longer than what was asked for" },
                { .status = "200 OK", .body = "whole" },
                { .status = "416 Range Not Satisfiable", .body = "<Error><Code>InvalidRange</Code></Error>" },
                { .status = "403 Forbidden", .body = "<Error><Code>AccessDenied</Code></Error>" },
        };
        _cleanup_free_ uint8_t *data = NULL;
        uint8_t *none = NULL;
        struct error e = {};
        struct fixture f;
        size_t n;

        (void) state;
        start(&f, NULL, replies, 5);
        assert_ok(s3_get_start(f.s3, "bucket", "m", 8, &data, &n, &e), &e);
        assert_true(n == 6 && memcmp(data, "header", 6) == 0);
        assert_non_null(strstr(f.canned.requests[0], "\r\nrange: bytes=0-7\r\n"));
        assert_refused(s3_get_start(f.s3, "bucket", "m", 8, &none, &n, &e), &e, FAILURE_S3_ANSWER, "8 were asked for");
        assert_refused(s3_get_start(f.s3, "bucket", "m", 8, &none, &n, &e), &e, FAILURE_S3_ANSWER, "Content-Range");
        assert_refused(s3_get_start(f.s3, "bucket", "m", 8, &none, &n, &e), &e, FAILURE_SEALED_FORMAT, "InvalidRange");
        assert_refused(s3_get_start(f.s3, "bucket", "m", 8, &none, &n, &e), &e, FAILURE_S3_DENIED, "AccessDenied");
        assert_null(none);
        assert_int_equal(stop(&f), 5);
}

/* What a HEAD's refusal cannot say is asked for by a GET, which is believed unless it fails by itself. */
static void test_refused_head(void **state) {
#define HEAD(status) \
        { .raw = "HTTP/1.1 " status "\r\nContent-Length: 0\r\nx-amz-request-id: HEAD\r\n\r\n" }
        static const struct {
                struct canned_reply replies[3];
                size_t n;
                enum failure failure;
                const char *words;
        } table[] = {
                { { HEAD("403 Forbidden"), { .status = "403 Forbidden", .body = ERROR_BODY("RequestTimeTooSkewed") } },
                  2,
                  FAILURE_CLOCK,
                  "RequestTimeTooSkewed" },
                { { HEAD("403 Forbidden"), { .status = "403 Forbidden", .body = ERROR_BODY("SignatureDoesNotMatch") } },
                  2,
                  FAILURE_CREDENTIALS,
                  "SignatureDoesNotMatch" },
                { { HEAD("403 Forbidden"), { .status = "403 Forbidden", .body = ERROR_BODY("AccessDenied") } },
                  2,
                  FAILURE_S3_DENIED,
                  "AccessDenied: words" },
                { { HEAD("400 Bad Request"),
                    { .status = "400 Bad Request", .body = ERROR_BODY("KMS.DisabledException") } },
                  2,
                  FAILURE_S3_DENIED,
                  "KMS.DisabledException" },
                { { HEAD("400 Bad Request"), { .status = "400 Bad Request", .body = ERROR_BODY("ExpiredToken") } },
                  2,
                  FAILURE_CREDENTIALS,
                  "ExpiredToken" },
                { { HEAD("403 Forbidden"), RANGE("bytes 0-0/9", "\"v\"", "x") }, 2, FAILURE_S3_DENIED, "HTTP 403" },
                { { HEAD("403 Forbidden"), { .raw = "no HTTP at all" } }, 2, FAILURE_S3_DENIED, "HTTP 403" },
                { { HEAD("404 Not Found") }, 1, FAILURE_S3_NOT_FOUND, "HTTP 404" },
        };

        (void) state;
        for (size_t i = 0; i < ELEMENTS(table); i++) {
                struct s3_head head = {};
                struct error e = {};
                struct fixture f;

                start(&f, NULL, table[i].replies, table[i].n);
                assert_refused(s3_head(f.s3, "bucket", "k", &head, &e), &e, table[i].failure, table[i].words);
                if (table[i].n > 1)
                        assert_non_null(strstr(f.canned.requests[1], "range: bytes=0-0\r\n"));
                assert_int_equal(stop(&f), table[i].n);
        }
}

static void test_upload(void **state) {
        static const struct canned_reply replies[] = {
                { .status = "200 OK",
                  .body = "<InitiateMultipartUploadResult><Bucket>bucket</Bucket><Key>k</Key><UploadId>u/1==</"
                          "UploadId></"
                          "InitiateMultipartUploadResult>" },
                { .status = "200 OK", .headers = "ETag: \"two\"\r\n" },
                { .status = "503 Slow Down" },
                { .status = "200 OK", .headers = "ETag: \"one\"\r\n" },
                { .status = "200 OK",
                  .body = "<?xml version=\"1.0\"?>\n  "
                          "<Error><Code>InternalError</Code><Message>again</Message></Error>" },
                { .status = "200 OK",
                  .body = "  <?xml version=\"1.0\"?>\n<CompleteMultipartUploadResult><ETag>\"x-2\"</ETag>"
                          "<ChecksumCRC32C>Hlh8ag==-2</ChecksumCRC32C></CompleteMultipartUploadResult>" },
        };
        _cleanup_(s3_upload_freep) struct s3_upload *upload = NULL;
        struct error e = {};
        struct fixture f;

        (void) state;
        start(&f, NULL, replies, 6);
        assert_ok(s3_upload_begin(f.s3, "bucket", "k", &upload, &e), &e);
        assert_ok(s3_upload_part(upload, 2, "second", 6, &e), &e);
        assert_refused(s3_upload_complete(upload, &e), &e, FAILURE_INTERNAL, "part 1 of 2 is missing");
        assert_ok(s3_upload_part(upload, 1, "first", 5, &e), &e);
        assert_ok(s3_upload_complete(upload, &e), &e);
        assert_memory_equal(f.canned.requests[0], "POST /bucket/k?uploads= HTTP/1.1\r\n", 34);
        assert_memory_equal(f.canned.requests[1], "PUT /bucket/k?partNumber=2&uploadId=u%2F1%3D%3D HTTP/1.1\r\n", 58);
        assert_non_null(strstr(f.canned.requests[1], "\r\n\r\nsecond"));
        assert_non_null(strstr(f.canned.requests[3], "\r\n\r\nfirst"));
        assert_non_null(strstr(f.canned.requests[5],
                               "<Part><PartNumber>1</PartNumber><ETag>\"one\"</ETag>"
                               "<ChecksumCRC32C>ij6hUA==</ChecksumCRC32C></Part>"
                               "<Part><PartNumber>2</PartNumber><ETag>\"two\"</ETag>"
                               "<ChecksumCRC32C>ev2UKA==</ChecksumCRC32C></Part></CompleteMultipartUpload>"));
        /* What S3 checks before it stores the bytes, and demands under Object Lock. */
        assert_non_null(strstr(f.canned.requests[0], "\r\nx-amz-checksum-algorithm: CRC32C\r\n"));
        assert_non_null(strstr(f.canned.requests[1], "\r\nx-amz-checksum-crc32c: ev2UKA==\r\n"));
        assert_non_null(strstr(f.canned.requests[3], "\r\nx-amz-checksum-crc32c: ij6hUA==\r\n"));
        assert_int_equal(stop(&f), 6);
}

/* S3 says of each body which checksum it stored: anything else than what was sent is an error. */
static void test_upload_is_stored_differently(void **state) {
        static const struct canned_reply replies[] = {
                { .status = "200 OK", .headers = "ETag: \"x\"\r\nx-amz-checksum-crc32c: qTxfkw==\r\n" },
                { .status = "200 OK", .headers = "ETag: \"x\"\r\nx-amz-checksum-crc32c: AAAAAA==\r\n" },
                { .status = "400 Bad Request",
                  .body = "<Error><Code>BadDigest</Code><Message>The CRC32C you specified did not match the calculated "
                          "checksum.</Message></Error>" },
                { .status = "200 OK", .headers = "ETag: \"x\"\r\n" },
                { .status = "200 OK",
                  .body = "<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>" },
                { .status = "200 OK", .headers = "ETag: \"one\"\r\n" },
                { .status = "200 OK",
                  .body = "<CompleteMultipartUploadResult><ChecksumCRC32C>Hlh8ag==-2</ChecksumCRC32C>"
                          "</CompleteMultipartUploadResult>" },
        };
        struct s3_upload *upload = NULL;
        struct error e = {};
        struct fixture f;

        (void) state;
        start(&f, NULL, replies, 7);
        assert_ok(s3_put(f.s3, "bucket", "k", "x", 1, &e), &e);
        assert_refused(s3_put(f.s3, "bucket", "k", "x", 1, &e), &e, FAILURE_S3_ANSWER,
                       "S3 stored bytes with the CRC32C \"AAAAAA==\"");
        assert_ok(s3_put(f.s3, "bucket", "k", "x", 1, &e), &e); /* damaged on the way: sent again */
        assert_ok(s3_upload_begin(f.s3, "bucket", "k", &upload, &e), &e);
        assert_ok(s3_upload_part(upload, 1, "first", 5, &e), &e);
        assert_refused(s3_upload_complete(upload, &e), &e, FAILURE_S3_ANSWER, "S3 stored bytes with the CRC32C");
        s3_upload_free(upload);
        assert_int_equal(stop(&f), 7);
}

static void test_upload_is_aborted(void **state) {
        static const struct canned_reply replies[] = {
                { .status = "200 OK",
                  .body = "<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>" },
                { .status = "200 OK" }, /* no ETag */
                { .status = "204 No Content" },
                { .status = "200 OK", .body = "<Other/>" },
        };
        struct s3_upload *upload = NULL;
        struct error e = {};
        struct fixture f;

        (void) state;
        start(&f, NULL, replies, 4);
        assert_ok(s3_upload_begin(f.s3, "bucket", "k", &upload, &e), &e);
        assert_refused(s3_upload_part(upload, 1, "x", 1, &e), &e, FAILURE_S3_ANSWER, "has no usable ETag");
        s3_upload_free(upload);
        assert_memory_equal(f.canned.requests[2], "DELETE /bucket/k?uploadId=u HTTP/1.1\r\n", 38);
        assert_refused(s3_upload_begin(f.s3, "bucket", "k", &upload, &e), &e, FAILURE_S3_ANSWER, "no UploadId");
        assert_int_equal(stop(&f), 4);
}

static void test_list(void **state) {
        static const struct canned_reply replies[] = {
                { .status = "200 OK",
                  .body = "<ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Name>bucket</Name>"
                          "<IsTruncated>true</IsTruncated>"
                          "<Contents><Key>a/1 &amp; 2</Key><ETag>&quot;e&quot;</ETag><Size>17</Size>"
                          "</Contents>"
                          "<NextContinuationToken>t+/=</NextContinuationToken></ListBucketResult>" },
                { .status = "200 OK",
                  .body = "<ListBucketResult><IsTruncated>false</IsTruncated><Contents><Key>a/3</Key><Size>0</Size></"
                          "Contents></ListBucketResult>" },
                { .status = "200 OK",
                  .body = "<ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken>t</"
                          "NextContinuationToken></ListBucketResult>" },
        };
        _cleanup_(s3_list_done) struct s3_list list = {};
        struct s3_list none = {};
        struct error e = {};
        struct fixture f;

        (void) state;
        start(&f, NULL, replies, 3);
        assert_ok(s3_list(f.s3, "bucket", "a/", 10, &list, &e), &e);
        assert_int_equal(list.n, 2);
        assert_string_equal(list.entries[0].key, "a/1 & 2");
        assert_true(list.entries[0].size == 17 && list.entries[1].size == 0);
        assert_string_equal(list.entries[1].key, "a/3");
        assert_memory_equal(f.canned.requests[1],
                            "GET /bucket?continuation-token=t%2B%2F%3D&list-type=2&prefix=a%2F HTTP/1.1\r\n", 76);
        assert_refused(s3_list(f.s3, "bucket", "a/", 10, &none, &e), &e, FAILURE_S3_ANSWER, "does not end");
        stop(&f);
}

static void test_parse_list_refuses(void **state) {
        static const char *const table[] = {
                "",
                "<Other/>",
                "<ListBucketResult>",
                "<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>",
                "<ListBucketResult><NextContinuationToken>t</NextContinuationToken></ListBucketResult>",
                "<ListBucketResult><Contents><Key>k</Key></Contents></ListBucketResult>",
                "<ListBucketResult><Contents><Size>1</Size></Contents></ListBucketResult>",
                "<ListBucketResult><Contents/></ListBucketResult>",
                "<ListBucketResult><Contents><Key>k</Key><Size>-1</Size></Contents></ListBucketResult>",
                ("<ListBucketResult><Contents><Key>k</Key><Size>9999999999999999999</Size></Contents>"
                 "</ListBucketResult>"),
        };

        (void) state;
        for (size_t i = 0; i < ELEMENTS(table); i++) {
                _cleanup_(s3_list_done) struct s3_list list = {};
                _cleanup_free_ char *text = strdup(table[i]);
                struct error e = {};

                assert_refused(s3_parse_list(text, strlen(text), "s3://bucket/", &list, &e), &e, FAILURE_S3_ANSWER,
                               "not a well-formed");
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_errors),
                cmocka_unit_test(test_region_advice),
                cmocka_unit_test(test_advice),
                cmocka_unit_test(test_skew_without_a_body),
                cmocka_unit_test(test_get_start),
                cmocka_unit_test(test_refused_head),
                cmocka_unit_test(test_content_range),
                cmocka_unit_test(test_etag),
                cmocka_unit_test(test_uri),
                cmocka_unit_test(test_addressing),
                cmocka_unit_test(test_endpoints),
                cmocka_unit_test(test_range),
                cmocka_unit_test(test_range_refuses),
                cmocka_unit_test(test_get_and_head),
                cmocka_unit_test(test_upload),
                cmocka_unit_test(test_upload_is_aborted),
                cmocka_unit_test(test_upload_is_stored_differently),
                cmocka_unit_test(test_list),
                cmocka_unit_test(test_parse_list_refuses),
        };

        return cmocka_run_group_tests_name("s3", tests, NULL, NULL);
}
