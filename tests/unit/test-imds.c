/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include <fcntl.h>

#include "aws/credential-source.h"
#include "canned.h"

#define TOKEN \
        { .status = "200 OK", .body = "TOKEN-1" }
#define ROLE \
        { .status = "200 OK", .body = "model-reader\n" }
#define CREDENTIALS(expiration) \
        { \
                .status = "200 OK", \
                .body = "{\"Code\": \"Success\", \"LastUpdated\": \"2026-01-01T00:00:00Z\", \"Type\": " \
                        "\"AWS-HMAC\", " \
                        "\"AccessKeyId\": \"ASIAEXAMPLE\", \"SecretAccessKey\": \"wJalr\\/XUtn+FEMI\", \"Token\": " \
                        "\"IQoJb3JpZ2luX2VjE==\", " \
                        "\"Expiration\": \"" expiration "\", \"New\": {\"Token\": \"not this one\"}}" \
        }

struct fixture {
        struct http *http;
        struct imds *imds;
        struct canned canned;
};

static void start(struct fixture *f, const struct canned_reply *replies, size_t n) {
        struct error e = {};

        *f = (struct fixture) {};
        canned_start(&f->canned, replies, n);
        assert_ok(http_new(&(struct http_options) {}, &f->http, &e), &e);
        assert_ok(imds_new(f->http, f->canned.url, 400, &f->imds, &e), &e);
}

static size_t stop(struct fixture *f) {
        size_t n = canned_stop(&f->canned);

        canned_done(&f->canned);
        imds_free(f->imds);
        http_free(f->http);
        return n;
}

static void test_token_is_asked_for_once(void **state) {
        static const struct canned_reply replies[] = { TOKEN,
                                                       { .status = "200 OK", .body = "us-east-1" },
                                                       { .status = "404 Not Found" },
                                                       { .status = "404 Not Found" },
                                                       { .status = "404 Not Found" } };
        enum lifecycle_state lifecycle = LIFECYCLE_IN_SERVICE;
        struct interruption interruption = { .action = "" };
        _cleanup_free_ char *region = NULL;
        uint8_t *data = NULL;
        struct error e = {};
        struct fixture f;
        size_t n = 1;

        (void) state;
        start(&f, replies, 5);
        assert_ok(imds_region(f.imds, &region, &e), &e);
        assert_string_equal(region, "us-east-1");
        assert_ok(imds_user_data(f.imds, false, &data, &n, &e), &e);
        assert_null(data);
        assert_int_equal(n, 0);
        assert_ok(imds_lifecycle_state(f.imds, &lifecycle, &e), &e);
        assert_int_equal(lifecycle, LIFECYCLE_NONE);
        assert_ok(imds_interruption(f.imds, &interruption, &e), &e);
        assert_null(interruption.action);
        assert_int_equal(f.canned.n_requests, 5);
        assert_memory_equal(f.canned.requests[0], "PUT /latest/api/token HTTP/1.1\r\n", 32);
        assert_non_null(strstr(f.canned.requests[0], "X-aws-ec2-metadata-token-ttl-seconds: 21600\r\n"));
        assert_non_null(strstr(f.canned.requests[0], "Content-Length: 0\r\n"));
        assert_memory_equal(f.canned.requests[1], "GET /latest/meta-data/placement/region HTTP/1.1\r\n", 49);
        for (size_t i = 1; i < 5; i++)
                assert_non_null(strstr(f.canned.requests[i], "X-aws-ec2-metadata-token: TOKEN-1\r\n"));
        stop(&f);
}

static void test_token_is_renewed(void **state) {
        static const struct canned_reply replies[] = { TOKEN,
                                                       { .status = "401 Unauthorized" },
                                                       { .status = "503 Busy" },
                                                       { .status = "200 OK", .body = "TOKEN-2" },
                                                       { .status = "200 OK", .body = "{}" } };
        _cleanup_free_ uint8_t *data = NULL;
        struct error e = {};
        struct fixture f;
        size_t n;

        (void) state;
        start(&f, replies, 5);
        assert_ok(imds_user_data(f.imds, false, &data, &n, &e), &e);
        assert_string_equal((char *) data, "{}");
        assert_non_null(strstr(f.canned.requests[4], "X-aws-ec2-metadata-token: TOKEN-2\r\n"));
        assert_int_equal(stop(&f), 5);
}

static void test_refusals(void **state) {
        static const struct {
                struct canned_reply replies[3];
                size_t n;
                enum failure failure;
                const char *words;
        } table[] = {
                { { { .status = "405 Method Not Allowed" } }, 1, FAILURE_IMDS, "version 1 only" },
                { { { .status = "404 Not Found" } }, 1, FAILURE_IMDS, "version 1 only" },
                { { TOKEN, { .status = "403 Forbidden" } }, 2, FAILURE_IMDS, "metadata options forbid" },
                { { { .status = "403 Forbidden" } }, 1, FAILURE_IMDS, "metadata options forbid" },
                { { { .status = "400 Bad Request" } }, 1, FAILURE_IMDS, "HTTP 400" },
                { { { .status = "200 OK", .body = "two words" } }, 1, FAILURE_IMDS, "not printable" },
                { { { .status = "200 OK", .body = "" } }, 1, FAILURE_IMDS, "session token has 0 bytes" },
                { { TOKEN, { .status = "200 OK", .body = "US EAST" } }, 2, FAILURE_IMDS, "is not a name" },
                { { TOKEN, { .status = "200 OK", .body = "us_east@1" } }, 2, FAILURE_IMDS, "is not a Region" },
                { { TOKEN, { .status = "302 Found", .headers = "Location: http://127.0.0.1:9/\r\n" } },
                  2,
                  FAILURE_IMDS,
                  "HTTP 302" },
        };

        (void) state;
        for (size_t i = 0; i < ELEMENTS(table); i++) {
                char *region = NULL;
                struct error e = {};
                struct fixture f;

                start(&f, table[i].replies, table[i].n);
                assert_refused(imds_region(f.imds, &region, &e), &e, table[i].failure, table[i].words);
                assert_null(region);
                if (i == 0)
                        assert_non_null(strstr(e.advice, "HttpTokens=required"));
                assert_int_equal(stop(&f), table[i].n);
        }
}

static void test_user_data_is_bounded(void **state) {
        static char large[IMDS_USER_DATA_MAX + 2];
        struct canned_reply replies[] = { TOKEN,
                                          { .status = "200 OK", .body = large },
                                          { .status = "200 OK", .body = large + 1 } };
        uint8_t *data = NULL;
        struct error e = {};
        struct fixture f;
        size_t n;

        (void) state;
        memset(large, ' ', sizeof large - 1);
        start(&f, replies, 3);
        assert_refused(imds_user_data(f.imds, false, &data, &n, &e), &e, FAILURE_IMDS, "more than 16384 bytes");
        assert_ok(imds_user_data(f.imds, false, &data, &n, &e), &e);
        assert_int_equal(n, IMDS_USER_DATA_MAX);
        free(data);
        stop(&f);
}

static void test_parse_credentials(void **state) {
        static const struct {
                const char *text;
                enum failure failure;
                const char *words;
        } table[] = {
                { "{\"Code\": \"AssumeRoleUnauthorizedAccess\", \"Message\": \"EC2 cannot assume the role\"}",
                  FAILURE_CREDENTIALS, "AssumeRoleUnauthorizedAccess: EC2 cannot assume the role" },
                { "{}", FAILURE_CREDENTIALS, "no Code" },
                { "[]", FAILURE_CREDENTIALS, "no Code" },
                { "", FAILURE_IMDS, "cut short" },
                { "{\"Code\": \"Success\"", FAILURE_IMDS, "cut short" },
                { "{\"Code\": \"Success\"}", FAILURE_IMDS, "lacks a well-formed AccessKeyId" },
                { "{\"Code\": \"Success\", \"AccessKeyId\": \"A\", \"SecretAccessKey\": \"s\", \"Token\": 7, "
                  "\"Expiration\": \"2026-01-01T00:00:00Z\"}",
                  FAILURE_IMDS, "lacks a well-formed AccessKeyId" },
                { "{\"Code\": \"Success\", \"AccessKeyId\": \"A\", \"SecretAccessKey\": \"\", \"Token\": \"t\", "
                  "\"Expiration\": \"2026-01-01T00:00:00Z\"}",
                  FAILURE_IMDS, "lacks a well-formed AccessKeyId" },
                { "{\"Code\": \"Success\", \"AccessKeyId\": \"A\\r\\nX: y\", \"SecretAccessKey\": \"s\", \"Token\": "
                  "\"t\"}",
                  FAILURE_IMDS, "lacks a well-formed AccessKeyId" },
                { "{\"Code\": \"Success\", \"AccessKeyId\": \"A\", \"SecretAccessKey\": \"s\", \"Token\": \"t\\r\\nX: "
                  "y\"}",
                  FAILURE_IMDS, "lacks a well-formed AccessKeyId" },
                { "{\"Code\": \"Success\", \"AccessKeyId\": \"A\", \"SecretAccessKey\": \"s\", \"SecretAccessKey\": "
                  "\"s\", \"Token\": \"t\"}",
                  FAILURE_IMDS, "same key twice" },
                { "{\"Code\": \"Success\", \"AccessKeyId\": \"A\", \"SecretAccessKey\": \"s\", \"Token\": \"t\", "
                  "\"Expiration\": \"2026-01-01\"}",
                  FAILURE_IMDS, "lacks a well-formed Expiration" },
                { "{\"Code\": \"Success\", \"AccessKeyId\": \"A\", \"SecretAccessKey\": \"s\", \"Token\": \"t\", "
                  "\"Expiration\": \"2026-01-01T00:00:00Zz\"}",
                  FAILURE_IMDS, "lacks a well-formed Expiration" },
        };

        (void) state;
        for (size_t i = 0; i < ELEMENTS(table); i++) {
                _cleanup_free_ char *text = strdup(table[i].text);
                struct credentials *c = NULL;
                struct error e = {};

                assert_refused(imds_parse_credentials(text, strlen(text), "role", &c, &e), &e, table[i].failure,
                               table[i].words);
                assert_null(c);
        }
}

static void test_parse_identity(void **state) {
        static const char good[] =
                "{\"accountId\": \"111122223333\", \"instanceId\": \"i-0123456789abcdef0\", \"instanceType\": "
                "\"m7i.xlarge\", \"imageId\": \"ami-0123456789abcdef0\", \"region\": \"us-east-1\", "
                "\"availabilityZone\": \"us-east-1a\", \"devpayProductCodes\": null, \"version\": \"2017-09-30\"}";
        static const struct {
                const char *text, *words;
        } table[] = {
                { "{\"accountId\": \"1111222233334444555\"}", "\"accountId\"" },
                { "{\"accountId\": 111122223333}", "\"accountId\"" },
                { "{\"accountId\": \"111122223333\", \"instanceId\": \"i 0\"}", "\"instanceId\"" },
        };
        struct imds_identity id = {};
        struct error e = {};

        (void) state;
        assert_ok(imds_parse_identity(good, strlen(good), "document", &id, &e), &e);
        assert_string_equal(id.account, "111122223333");
        assert_string_equal(id.instance_id, "i-0123456789abcdef0");
        assert_string_equal(id.instance_type, "m7i.xlarge");
        assert_string_equal(id.zone, "us-east-1a");
        for (size_t i = 0; i < ELEMENTS(table); i++)
                assert_refused(imds_parse_identity(table[i].text, strlen(table[i].text), "document", &id, &e), &e,
                               FAILURE_IMDS, table[i].words);
}

/* Their bytes, that they are kept, and that a forced refresh fetches them anew, but not twice in a row. */
static void test_role_credentials(void **state) {
        static const struct canned_reply replies[] = { TOKEN, ROLE, CREDENTIALS("2099-01-01T00:00:00Z"), ROLE,
                                                       CREDENTIALS("2099-02-01T00:00:00Z") };
        _cleanup_(credential_source_freep) struct credential_source *source = NULL;
        _cleanup_credentials_ struct credentials *a = NULL, *b = NULL, *c = NULL, *d = NULL;
        struct error e = {};
        struct fixture f;

        (void) state;
        start(&f, replies, 5);
        assert_ok(credentials_from_imds(f.imds, &source, &e), &e);
        assert_int_equal(f.canned.n_requests, 0);
        assert_ok(credentials_get(source, false, &a, &e), &e);
        assert_string_equal(a->access_key_id, "ASIAEXAMPLE");
        assert_string_equal((char *) a->secret_access_key->data, "wJalr/XUtn+FEMI");
        assert_string_equal((char *) a->session_token->data, "IQoJb3JpZ2luX2VjE==");
        assert_int_equal(a->expires, 4070908800);
        assert_ok(credentials_get(source, true, &b, &e), &e);
        assert_ptr_equal(a, b);
        a->obtained_ns -= INT64_C(3000000000);
        assert_ok(credentials_get(source, false, &c, &e), &e);
        assert_ptr_equal(a, c);
        assert_ok(credentials_get(source, true, &d, &e), &e);
        assert_ptr_not_equal(a, d);
        assert_int_equal(d->expires, 4073587200);
        assert_int_equal(stop(&f), 5);
}

/* Within five minutes of their end they are fetched anew; when that fails, the old ones serve as long as they can. */
static void test_role_credentials_near_their_end(void **state) {
        char soon[sizeof "2026-01-01T00:00:00Z"];
        time_t t = time(NULL) + 60;
        char body[512];
        struct canned_reply replies[] = {
                TOKEN, ROLE, { .status = "200 OK", .body = body }, { .status = "404 Not Found" }
        };
        _cleanup_(credential_source_freep) struct credential_source *source = NULL;
        _cleanup_credentials_ struct credentials *a = NULL, *b = NULL, *c = NULL;
        struct error e = {};
        struct fixture f;
        struct tm tm;

        (void) state;
        strftime(soon, sizeof soon, "%FT%TZ", gmtime_r(&t, &tm));
        snprintf(body, sizeof body,
                 "{\"Code\":\"Success\",\"AccessKeyId\":\"A\",\"SecretAccessKey\":\"s\",\"Token\":\"t\","
                 "\"Expiration\":\"%s\"}",
                 soon);
        start(&f, replies, 4);
        assert_ok(credentials_from_imds(f.imds, &source, &e), &e);
        assert_ok(credentials_get(source, false, &a, &e), &e);
        assert_int_equal(f.canned.n_requests, 3);
        a->obtained_ns -= INT64_C(3000000000);
        assert_ok(credentials_get(source, false, &b, &e), &e);
        assert_int_equal(f.canned.n_requests, 4);
        assert_ok(credentials_get(source, false, &c, &e), &e);
        assert_ptr_equal(a, c);
        assert_int_equal(stop(&f), 4);
}

#define NOT_FOUND \
        { .status = "404 Not Found" }
#define EMPTY \
        { .status = "200 OK", .body = "" }
#define NOT_YET(code) \
        { .status = "200 OK", .body = "{\"Code\": \"" code "\", \"Message\": \"words\"}" }
#define LATE CREDENTIALS("2099-01-01T00:00:00Z")
#define FOREVER(reply) reply, reply, reply, reply, reply, reply, reply, reply, reply, reply, reply, reply, reply, reply

/* What a new instance does not have yet is waited for. */
static void test_the_first_seconds(void **state) {
        static const struct {
                struct canned_reply replies[8];
                size_t n;
        } table[] = {
                { { TOKEN, NOT_FOUND, NOT_FOUND, ROLE, LATE }, 5 },
                { { TOKEN, EMPTY, ROLE, LATE }, 4 },
                { { TOKEN, { .status = "200 OK", .body = "\n" }, ROLE, LATE }, 4 },
                { { TOKEN, { .status = "200 OK", .body = "model-reader\r\n" }, LATE }, 3 },
                { { TOKEN, { .status = "200 OK", .body = "model-reader\nanother-role\n" }, LATE }, 3 },
                { { TOKEN, ROLE, NOT_FOUND, LATE }, 4 },
                { { TOKEN, ROLE, EMPTY, LATE }, 4 },
                { { TOKEN, ROLE, NOT_YET("Failed"), LATE }, 4 },
                { { TOKEN, ROLE, NOT_YET("InstanceProfileNotFound"), NOT_YET("AssumeRoleUnauthorizedAccess"), LATE },
                  5 },
                { { { .status = "503 Busy" }, TOKEN, { .status = "429 Many" }, ROLE, LATE }, 5 },
        };
        _cleanup_free_ char *region = NULL;
        _cleanup_free_ uint8_t *data = NULL;
        static const struct canned_reply others[] = { TOKEN,
                                                      NOT_FOUND,
                                                      EMPTY,
                                                      { .status = "200 OK", .body = "us-east-1" },
                                                      NOT_FOUND,
                                                      EMPTY,
                                                      { .status = "200 OK", .body = "{}" } };
        struct error e = {};
        struct fixture f;
        size_t n;

        (void) state;
        for (size_t i = 0; i < ELEMENTS(table); i++) {
                _cleanup_credentials_ struct credentials *c = NULL;

                start(&f, table[i].replies, table[i].n);
                assert_ok(imds_credentials(f.imds, &c, &e), &e);
                assert_int_equal(stop(&f), table[i].n);
        }
        start(&f, others, 7);
        assert_ok(imds_region(f.imds, &region, &e), &e);
        assert_ok(imds_user_data(f.imds, true, &data, &n, &e), &e);
        assert_string_equal((char *) data, "{}");
        assert_int_equal(stop(&f), 7);
}

/* For a bounded time, and then in the words of what was missing. */
static void test_what_never_comes(void **state) {
        static const struct canned_reply none[] = { TOKEN, FOREVER(NOT_FOUND) }, empty[] = { TOKEN, FOREVER(EMPTY) },
                                         unassumed[] = { TOKEN, ROLE,
                                                         FOREVER(NOT_YET("AssumeRoleUnauthorizedAccess")) };
        static const struct {
                const struct canned_reply *replies;
                enum { ROLE_OF, REGION_OF, USER_DATA_OF } what;
                enum failure failure;
                const char *words;
        } table[] = {
                { none, ROLE_OF, FAILURE_CREDENTIALS, "no IAM role is attached to this instance (HTTP 404)" },
                { empty, ROLE_OF, FAILURE_CREDENTIALS, "no IAM role is attached to this instance: an empty answer" },
                { unassumed, ROLE_OF, FAILURE_CREDENTIALS, "AssumeRoleUnauthorizedAccess: words" },
                { none, REGION_OF, FAILURE_IMDS, "HTTP 404" },
                { empty, REGION_OF, FAILURE_IMDS, "an empty answer" },
                { none, USER_DATA_OF, FAILURE_LAUNCH, "has no user data" },
                { empty, USER_DATA_OF, FAILURE_LAUNCH, "an empty answer" },
        };

        (void) state;
        for (size_t i = 0; i < ELEMENTS(table); i++) {
                struct credentials *c = NULL;
                uint8_t *data = NULL;
                char *region = NULL;
                struct error e = {};
                struct fixture f;
                size_t n;

                start(&f, table[i].replies, 15);
                assert_refused(table[i].what == ROLE_OF     ? imds_credentials(f.imds, &c, &e)
                               : table[i].what == REGION_OF ? imds_region(f.imds, &region, &e)
                                                            : imds_user_data(f.imds, true, &data, &n, &e),
                               &e, table[i].failure, table[i].words);
                assert_non_null(strstr(e.reason, " attempts in "));
                stop(&f);
        }
}

static void test_lifecycle_states(void **state) {
        static const struct {
                const char *text;
                size_t n; /* 0: strlen(text) */
                enum lifecycle_state state;
        } table[] = {
                { "InService", 0, LIFECYCLE_IN_SERVICE },
                { "Standby", 0, LIFECYCLE_STANDBY },
                { "Detached", 0, LIFECYCLE_DETACHED },
                { "Terminated", 0, LIFECYCLE_TERMINATED },
                { "Warmed:Running", 0, LIFECYCLE_WARMED_RUNNING },
                { "Warmed:Stopped", 0, LIFECYCLE_WARMED_STOPPED },
                { "Warmed:Hibernated", 0, LIFECYCLE_WARMED_HIBERNATED },
                { "Warmed:Terminated", 0, LIFECYCLE_WARMED_TERMINATED },
                { "none", 0, LIFECYCLE_NONE }, /* a name of ours, not of AWS: and so are all below */
                { "", 0, LIFECYCLE_NONE },
                { "inservice", 0, LIFECYCLE_NONE },
                { "InService\n", 0, LIFECYCLE_NONE },
                { " InService", 0, LIFECYCLE_NONE },
                { "InService\0", sizeof "InService", LIFECYCLE_NONE },
                { "InService\nWarmed:Stopped", 0, LIFECYCLE_NONE },
                { "Warmed:", 0, LIFECYCLE_NONE },
                { "Warmed:Pending", 0, LIFECYCLE_NONE },
                { "Warmed.Stopped", 0, LIFECYCLE_NONE },
                { "Pending:Wait", 0, LIFECYCLE_NONE },
                { "\"InService\"", 0, LIFECYCLE_NONE },
                { "<html>\x1b[2J", 0, LIFECYCLE_NONE },
        };

        (void) state;
        for (size_t i = 0; i < ELEMENTS(table); i++) {
                size_t n = table[i].n ?: strlen(table[i].text);
                enum lifecycle_state found = LIFECYCLE_NONE;
                struct error e = {};

                if (table[i].state == LIFECYCLE_NONE) {
                        assert_refused(lifecycle_state_parse(table[i].text, n, "imds", &found, &e), &e, FAILURE_IMDS,
                                       "is not a lifecycle state");
                        assert_null(strchr(e.reason, '\x1b'));
                } else {
                        assert_ok(lifecycle_state_parse(table[i].text, n, "imds", &found, &e), &e);
                        assert_string_equal(lifecycle_state_name(found), table[i].text);
                }
                assert_int_equal(found, table[i].state);
        }
}

static void test_interruptions(void **state) {
        static const struct {
                const char *text, *words; /* NULL: it is accepted */
        } table[] = {
                { "{\"action\": \"terminate\", \"time\": \"2026-11-21T14:00:00Z\"}", NULL },
                { "{\"action\": \"stop\", \"time\": \"2026-11-21T14:00:00Z\", \"new\": 1}", NULL },
                { "{\"action\": \"hibernate\", \"time\": \"2026-11-21T14:00:00Z\"}", NULL },
                { "{\"action\": \"reboot\", \"time\": \"2026-11-21T14:00:00Z\"}", "\"action\"" },
                { "{\"action\": [\"stop\"], \"time\": \"2026-11-21T14:00:00Z\"}", "\"action\"" },
                { "{\"time\": \"2026-11-21T14:00:00Z\"}", "\"action\"" },
                { "{\"action\": \"stop\"}", "\"time\"" },
                { "{\"action\": \"stop\", \"time\": \"soon\"}", "\"time\"" },
                { "{\"action\": \"stop\", \"time\": 1}", "\"time\"" },
                { "[]", "\"action\"" },
                { "terminate", "JSON" },
                { "", "JSON" },
        };

        (void) state;
        for (size_t i = 0; i < ELEMENTS(table); i++) {
                struct interruption found = {};
                struct error e = {};
                int r = interruption_parse(table[i].text, strlen(table[i].text), "imds", &found, &e);

                if (table[i].words) {
                        assert_refused(r, &e, FAILURE_IMDS, table[i].words);
                        assert_null(found.action);
                } else {
                        assert_ok(r, &e);
                        assert_non_null(strstr(table[i].text, found.action));
                        assert_string_equal(found.time, "2026-11-21T14:00:00Z");
                }
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_token_is_asked_for_once),
                cmocka_unit_test(test_token_is_renewed),
                cmocka_unit_test(test_refusals),
                cmocka_unit_test(test_user_data_is_bounded),
                cmocka_unit_test(test_parse_credentials),
                cmocka_unit_test(test_parse_identity),
                cmocka_unit_test(test_role_credentials),
                cmocka_unit_test(test_role_credentials_near_their_end),
                cmocka_unit_test(test_the_first_seconds),
                cmocka_unit_test(test_what_never_comes),
                cmocka_unit_test(test_lifecycle_states),
                cmocka_unit_test(test_interruptions),
        };

        return cmocka_run_group_tests_name("imds", tests, NULL, NULL);
}
