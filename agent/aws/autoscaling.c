/* SPDX-License-Identifier: Apache-2.0 */
#include "aws/autoscaling.h"

#include "aws/service.h"
#include "aws/sigv4.h"
#include "aws/xml.h"

enum { MAX_ANSWER = 64 * 1024, ATTEMPT_MS = 10000 };

struct completion {
        struct http *http;
        struct credential_source *credentials;
        const char *region;
        struct endpoint endpoint;
        const char *subject;
        char *body;
};

static int prepare(void *userdata, CURL *easy, bool refresh, struct http_call **ret, struct error *e) {
        struct completion *c = userdata;

        return service_prepare(c->http, c->credentials, &(struct service_request) {
                .endpoint = &c->endpoint, .service = "autoscaling", .region = c->region, .path = "/",
                .http = {
                        .method = "POST",
                        .headers = (struct http_header[]) { { "content-type", "application/x-www-form-urlencoded; charset=utf-8" } },
                        .n_headers = 1,
                        .body = c->body, .body_size = strlen(c->body),
                        .max_answer = MAX_ANSWER, .timeout_ms = ATTEMPT_MS,
                        .subject = c->subject, .malformed = FAILURE_LIFECYCLE,
                },
        }, easy, refresh, ret, e);
}

/* Errors are <ErrorResponse><Error><Code>...</Code><Message>...</Message></Error></ErrorResponse>. */
static enum http_verdict judge(void *userdata, struct http_call *call, CURLcode code, struct error *e) {
        enum http_verdict verdict = http_judge(call, code, e);
        _cleanup_free_ char *copy = NULL;
        const char *kind = NULL, *message = NULL;
        long status;
        size_t n;

        (void) userdata;
        if (verdict != HTTP_OK)
                return verdict;
        status = http_call_status(call);
        if (status == 200)
                return HTTP_OK;
        copy = strdup(http_call_text(call, &n));
        if (copy)
                message = xml_find(copy, n, "ErrorResponse/Error/Message");
        kind = xml_find(http_call_text(call, &n), n, "ErrorResponse/Error/Code");
        if (kind && streq(kind, "ExpiredToken"))
                verdict = HTTP_REFRESH;
        else if (status >= 500 || (kind && streq(kind, "Throttling")))
                verdict = HTTP_RETRY;
        else
                verdict = HTTP_FINAL;
        return http_verdict_fail(call, verdict, e, FAILURE_LIFECYCLE, "HTTP %ld %s: %s", status, kind ?: "", message ?: "");
}

static int compose(const struct lifecycle_hook *hook, bool proceed, char **ret, struct error *e) {
        _cleanup_free_ char *group = NULL, *name = NULL, *instance = NULL;

        if (sigv4_encode(hook->group, false, &group) < 0 || sigv4_encode(hook->name, false, &name) < 0 ||
            sigv4_encode(hook->instance_id, false, &instance) < 0 ||
            asprintf(ret,
                     "Action=CompleteLifecycleAction&AutoScalingGroupName=%s&InstanceId=%s&LifecycleActionResult=%s"
                     "&LifecycleHookName=%s&Version=2011-01-01",
                     group, instance, proceed ? "CONTINUE" : "ABANDON", name) < 0)
                return fail_oom(e);
        return 0;
}

int autoscaling_complete(struct http *http, struct credential_source *credentials, const char *region, const char *endpoint,
                         const struct lifecycle_hook *hook, bool proceed, struct error *e) {
        static const struct retry_policy policy = { .deadline_ms = 30 * 1000, .base_ms = 100, .cap_ms = 5000 };
        _cleanup_free_ char *subject = NULL, *body = NULL;
        _cleanup_http_call_ struct http_call *call = NULL;
        struct completion c = { .http = http, .credentials = credentials, .region = region };
        const struct http_exchange exchange = { prepare, judge, &c };
        int r;

        if (asprintf(&subject, "lifecycle hook %s of %s", hook->name, hook->group) < 0) {
                subject = NULL;
                return fail_oom(e);
        }
        r = compose(hook, proceed, &body, e);
        if (r == 0)
                r = endpoint ? endpoint_parse(endpoint, "Auto Scaling endpoint", &c.endpoint, e) :
                               endpoint_aws(NULL, "autoscaling", region, &c.endpoint);
        if (r < 0)
                return r;
        c.subject = subject;
        c.body = body;
        r = http_perform(http, &exchange, &policy, &call, e);
        endpoint_done(&c.endpoint);
        return r;
}
