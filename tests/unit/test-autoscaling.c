/* SPDX-License-Identifier: Apache-2.0 */

/* CompleteLifecycleAction: what is sent, and what Auto Scaling's errors mean. Also what all signed services refuse. */

#include "unit.h"

#include "aws/autoscaling.h"
#include "canned.h"

#define FAULT(code, message) \
        "<ErrorResponse " \
        "xmlns=\"http://autoscaling.amazonaws.com/doc/2011-01-01/\"><Error><Type>Sender</Type><Code>" code \
        "</Code><Message>" message "</Message></Error><RequestId>r</RequestId></ErrorResponse>"
#define DENIED \
        "User: arn:aws:sts::1:assumed-role/r/i-1 is not authorized to perform: autoscaling:CompleteLifecycleAction " \
        "on " \
        "resource: arn:aws:autoscaling:g "

static void test_errors(void **state _unused_) {
        static const struct {
                long status;
                const char *text;
                enum http_verdict verdict;
                const char *reason, *advice; /* parts; advice "" is none */
        } table[] = {
                { 400, FAULT("ValidationError", "No active Lifecycle Action found with instance ID i-1"), HTTP_RETRY,
                  "HTTP 400 ValidationError: No active", "does not wait for this hook" },
                { 400, FAULT("ValidationError", "1 validation error"), HTTP_FINAL, "1 validation error",
                  "Compare the group and the name" },
                { 403, FAULT("AccessDenied", DENIED "because no identity-based policy allows the action"), HTTP_FINAL,
                  "HTTP 403 AccessDenied: User: arn", "Let the caller's IAM policy allow" },
                { 403, FAULT("AccessDenied", DENIED "with an explicit deny in a service control policy"), HTTP_FINAL,
                  "explicit deny", "a service control policy of the organization" },
                { 403, FAULT("AccessDenied", "no"), HTTP_FINAL, "HTTP 403 AccessDenied: no", "" },
                { 403, FAULT("ExpiredToken", "The security token has expired"), HTTP_REFRESH, "ExpiredToken", "hook" },
                { 403, FAULT("RequestExpired", "Request has expired"), HTTP_FINAL, "RequestExpired", "clock is wrong" },
                { 403, FAULT("SignatureDoesNotMatch", "Signature expired: 2020 is now earlier than"), HTTP_FINAL,
                  "Signature expired", "clock is wrong" },
                { 400, FAULT("Throttling", "Rate exceeded"), HTTP_RETRY, "Throttling: Rate exceeded", "" },
                { 400, FAULT("&lt;x&gt;", "not a code"), HTTP_FINAL, "HTTP 400: not a code", "" },
                { 502, "<html>Bad Gateway</html>", HTTP_RETRY, "HTTP 502", "" },
                { 404, "", HTTP_FINAL, "HTTP 404", "" },
                { 400, "<ErrorResponse><Error><Code>A</Code>", HTTP_FINAL, "HTTP 400 A", "" },
        };

        for (size_t i = 0; i < ELEMENTS(table); i++) {
                const struct service_answer answer = { .status = table[i].status,
                                                       .text = table[i].text,
                                                       .n = strlen(table[i].text),
                                                       .subject = "lifecycle hook h of g" };
                struct error e = {};

                if (autoscaling_judge_error(&answer, &e) != table[i].verdict || !strstr(e.reason, table[i].reason) ||
                    !strstr(e.advice, table[i].advice))
                        fail_msg("%s: %s (%s)", table[i].text, e.reason, e.advice);
                assert_int_equal(e.failure, FAILURE_LIFECYCLE);
                assert_string_equal(e.subject, "lifecycle hook h of g");
        }
}

struct fixture {
        struct canned canned;
        struct http *http;
        struct credential_source *source;
};

static void start(struct fixture *f, const struct canned_reply *replies, size_t n) {
        _cleanup_credentials_ struct credentials *credentials = NULL;
        struct error e = {};

        canned_start(&f->canned, replies, n);
        assert_ok(http_new(&(struct http_options) {}, &f->http, &e), &e);
        assert_ok(credentials_new("AKID", "key", "session", INT64_MAX, &credentials, &e), &e);
        assert_ok(credentials_fixed(credentials, &f->source, &e), &e);
}

static const struct lifecycle_hook hook = { .group = "models & more", .name = "load/1", .instance_id = "i-0123" };

static struct service_access access_of(const struct fixture *f) {
        return (struct service_access) {
                .http = f->http, .credentials = f->source, .region = "eu-west-1", .endpoint.url = f->canned.url
        };
}

static int complete(struct fixture *f, bool proceed, struct error *e) {
        const struct service_access access = access_of(f);

        return autoscaling_complete(&access, &hook, proceed, e);
}

static size_t stop(struct fixture *f) {
        size_t n = canned_stop(&f->canned);

        canned_done(&f->canned);
        credential_source_free(f->source);
        http_free(f->http);
        return n;
}

static void test_complete(void **state _unused_) {
        static const struct canned_reply replies[] = {
                { .status = "400 Bad Request",
                  .body = FAULT("ValidationError", "No active Lifecycle Action found with instance ID i-0123") },
                { .status = "200 OK", .body = "<CompleteLifecycleActionResponse/>" },
                { .status = "200 OK", .body = "<CompleteLifecycleActionResponse/>" },
        };
        static const char body[] = "\r\n\r\nAction=CompleteLifecycleAction&AutoScalingGroupName=models%20%26%20more&"
                                   "InstanceId=i-0123&LifecycleActionResult=CONTINUE&LifecycleHookName=load%2F1&"
                                   "Version=2011-01-01";
        struct fixture f = {};
        struct error e = {};

        start(&f, replies, ELEMENTS(replies));
        assert_ok(complete(&f, true, &e), &e);
        assert_non_null(strstr(f.canned.requests[1], body));
        assert_non_null(strstr(f.canned.requests[1], "POST / HTTP/1.1\r\n"));
        assert_non_null(strstr(f.canned.requests[1], "content-type: application/x-www-form-urlencoded; charset=utf-8"));
        assert_non_null(strstr(f.canned.requests[1], "/eu-west-1/autoscaling/aws4_request"));
        assert_ok(complete(&f, false, &e), &e);
        assert_non_null(strstr(f.canned.requests[2], "&LifecycleActionResult=ABANDON&"));
        assert_int_equal(stop(&f), 3);
}

/* A failed attempt is not repeated: the next heartbeat follows soon enough. */
static void test_heartbeat(void **state _unused_) {
        static const struct canned_reply replies[] = {
                { .status = "200 OK", .body = "<RecordLifecycleActionHeartbeatResponse/>" },
                { .status = "503 Service Unavailable" },
                { .status = "400 Bad Request",
                  .body = FAULT("ValidationError", "No active Lifecycle Action found with instance ID i-0123") },
        };
        static const char body[] = "\r\n\r\nAction=RecordLifecycleActionHeartbeat&AutoScalingGroupName=models%20%26%20"
                                   "more&InstanceId=i-0123&LifecycleHookName=load%2F1&Version=2011-01-01";
        struct service_access access;
        struct fixture f = {};
        struct error e = {};

        start(&f, replies, ELEMENTS(replies));
        access = access_of(&f);
        assert_ok(autoscaling_heartbeat(&access, &hook, &e), &e);
        assert_non_null(strstr(f.canned.requests[0], body));
        assert_refused(autoscaling_heartbeat(&access, &hook, &e), &e, FAILURE_LIFECYCLE, "HTTP 503");
        assert_refused(autoscaling_heartbeat(&access, &hook, &e), &e, FAILURE_LIFECYCLE, "No active Lifecycle Action");
        assert_int_equal(stop(&f), 3);
}

static void test_refused(void **state _unused_) {
        static const struct canned_reply reply = { .status = "403 Forbidden",
                                                   .headers = "x-amzn-RequestId: R-1\r\n",
                                                   .body = FAULT("AccessDenied", "no") };
        struct fixture f = {};
        struct error e = {};

        start(&f, &reply, 1);
        assert_refused(complete(&f, true, &e), &e, FAILURE_LIFECYCLE, "HTTP 403 AccessDenied: no");
        assert_string_equal(e.subject, "lifecycle hook load/1 of models & more");
        assert_string_equal(e.request_id, "R-1");
        assert_int_equal(stop(&f), 1);
}

/* Before anything is sent. */
static void test_service_refuses(void **state _unused_) {
        static const struct {
                const char *region;
                struct endpoint_choice endpoint;
                const char *words;
        } table[] = {
                { "eu-west-1a", {}, "\"eu-west-1a\" is not a Region: it looks like an Availability Zone" },
                { "EU", {}, "\"EU\" is not a Region" },
                { "", {}, "\"\" is not a Region" },
                { "eu-west-1", { .url = "ftp://h" }, "neither http nor https" },
                { "eu-west-1", { .url = "http://h/path" }, "more than a scheme" },
        };

        for (size_t i = 0; i < ELEMENTS(table); i++) {
                const struct service_access access = { .region = table[i].region, .endpoint = table[i].endpoint };
                struct service service;
                struct error e = {};

                assert_refused(service_init(&service, "autoscaling", "Auto Scaling endpoint", &access, &e), &e,
                               FAILURE_CONFIG, table[i].words);
                service_done(&service);
        }
}

static void test_clock_ahead(void **state _unused_) {
        struct service_answer answer = { .subject = "s" };
        struct error e = {};

        assert_int_equal(service_clock_ahead(&answer), 0);
        answer.date = "no date";
        assert_int_equal(service_clock_ahead(&answer), 0);
        answer.date = "Thu, 01 Jan 1970 00:00:10 GMT";
        assert_true(service_clock_ahead(&answer) > INT64_C(1700000000));
        assert_int_equal(service_clock_fail(&answer, "HTTP 403 X", &e), HTTP_FINAL);
        assert_int_equal(e.failure, FAILURE_CLOCK);
        assert_non_null(strstr(e.reason, "HTTP 403 X; this machine's clock says "));
        assert_non_null(strstr(e.reason, "the service's Thu, 01 Jan 1970 00:00:10 GMT: it is "));
        assert_non_null(strstr(e.reason, " s ahead"));
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_errors),          cmocka_unit_test(test_complete),
                cmocka_unit_test(test_heartbeat),       cmocka_unit_test(test_refused),
                cmocka_unit_test(test_service_refuses), cmocka_unit_test(test_clock_ahead),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
