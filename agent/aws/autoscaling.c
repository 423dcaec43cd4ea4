/* SPDX-License-Identifier: Apache-2.0 */
#include "aws/autoscaling.h"

#include "aws/denial.h"
#include "aws/service.h"
#include "aws/sigv4.h"
#include "aws/verdict.h"
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
                        .headers = (struct pair[]) {
                                { "content-type", "application/x-www-form-urlencoded; charset=utf-8" },
                        },
                        .n_headers = 1,
                        .body = c->body, .body_size = strlen(c->body),
                        .max_answer = MAX_ANSWER, .timeout_ms = ATTEMPT_MS,
                        .subject = c->subject, .malformed = FAILURE_LIFECYCLE,
                },
        }, easy, refresh, ret, e);
}

/* Errors are <ErrorResponse><Error><Code>...</Code><Message>...</Message></Error></ErrorResponse>. */
static void parse_error(struct http_call *call, char code[static 80], char message[static 512]) {
        _cleanup_free_ char *copy = NULL;
        const char *text;
        size_t n;

        code[0] = message[0] = '\0';
        copy = strdup(http_call_text(call, &n));
        text = copy ? xml_find(copy, n, "ErrorResponse/Error/Message") : NULL;
        snprintf(message, 512, "%s", text ?: "");
        text = xml_find(http_call_text(call, &n), n, "ErrorResponse/Error/Code");
        snprintf(code, 80, "%s", text && verdict_code_valid(text) ? text : "");
}

static void advise(const char *code, const char *message, bool is_clock, struct error *e) {
        char advice[512] = "";
        struct denial d;

        if (denial_parse(message, &d))
                denial_advice(&d, "the resource policy", advice, sizeof advice);
        if (is_clock)
                fail_advice(e, "The instance's clock is wrong: make chrony reach 169.254.169.123 (Amazon Time Sync) "
                               "before the agent starts.");
        else if (advice[0])
                fail_advice(e, "%s", advice);
        else if (streq(code, "ValidationError"))
                fail_advice(e, "Compare the group and the name of the lifecycle hook with `aws autoscaling "
                               "describe-lifecycle-hooks`. If they are right, the instance does not wait for this "
                               "hook: it was completed already, or its timeout has passed.");
        else if (code[0] && strncmp(code, "AccessDenied", 12) != 0)
                fail_advice(e, "Auto Scaling named the reason above; the hook's own timeout decides now.");
}

static enum http_verdict judge(void *userdata, struct http_call *call, CURLcode code, struct error *e) {
        enum http_verdict verdict = http_judge(call, code, e);
        char kind[80], message[512];
        struct verdict v;
        long status;

        (void) userdata;
        status = http_call_status(call);
        if (verdict != HTTP_OK || status == 200)
                return verdict;
        parse_error(call, kind, message);
        v = verdict_of(VERDICT_AUTOSCALING, status, kind[0] ? kind : NULL, message);
        http_verdict_fail(call, v.verdict, e, FAILURE_LIFECYCLE, "HTTP %ld %s: %s", status, kind, message);
        /* A signature whose date is off is called invalid, like one by the wrong key. */
        advise(kind, message,
               v.failure == FAILURE_CLOCK || strstr(message, "Signature expired") ||
                       strstr(message, "Signature not yet current"),
               e);
        return v.verdict;
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

int autoscaling_complete(struct http *http, struct credential_source *credentials, const char *region,
                         const struct endpoint_choice *endpoint, const struct lifecycle_hook *hook, bool proceed,
                         struct error *e) {
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
                r = endpoint->url ? endpoint_parse(endpoint->url, "Auto Scaling endpoint", &c.endpoint, e)
                                  : endpoint_aws(NULL, "autoscaling", region, endpoint, &c.endpoint, e);
        if (r < 0)
                return r;
        c.subject = subject;
        c.body = body;
        r = http_perform(http, &exchange, &policy, &call, e);
        endpoint_done(&c.endpoint);
        return r;
}
