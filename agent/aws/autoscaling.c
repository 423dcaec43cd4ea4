/* SPDX-License-Identifier: Apache-2.0 */
#include "aws/autoscaling.h"

#include "aws/denial.h"
#include "aws/service.h"
#include "aws/sigv4.h"
#include "aws/verdict.h"
#include "aws/xml.h"

enum { MAX_ANSWER = 64 * 1024, ATTEMPT_MS = 10000 };

struct request {
        struct service service;
        char *subject, *body;
};

static void request_done(struct request *c) {
        service_done(&c->service);
        free(c->subject);
        free(c->body);
}

static int prepare(void *userdata, CURL *easy, bool refresh, struct http_call **ret, struct error *e) {
        struct request *c = userdata;

        return service_prepare(&c->service, &(struct service_request) {
                .path = "/",
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

/* Errors are <ErrorResponse><Error><Code>...</Code><Message>...</Message></Error></ErrorResponse>. "" where absent. */
static void find_text(const struct service_answer *answer, const char *path, char *ret, size_t room) {
        _cleanup_free_ char *copy = strndup(answer->text, answer->n);
        const char *text = copy ? xml_find(copy, strlen(copy), path) : NULL;

        snprintf(ret, room, "%s", text ?: "");
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

enum http_verdict autoscaling_judge_error(const struct service_answer *answer, struct error *e) {
        char code[80], message[512];
        struct verdict v;

        find_text(answer, "ErrorResponse/Error/Code", code, sizeof code);
        find_text(answer, "ErrorResponse/Error/Message", message, sizeof message);
        if (!verdict_code_valid(code))
                code[0] = '\0';
        v = verdict_of(VERDICT_AUTOSCALING, answer->status, code[0] ? code : NULL, message);
        fail(e, FAILURE_LIFECYCLE, -EIO, answer->subject, "HTTP %ld%s%s%s%s", answer->status, code[0] ? " " : "", code,
             message[0] ? ": " : "", message);
        /* Auto Scaling calls a signature whose date is wrong invalid, as it calls one by the wrong key. */
        advise(code, message,
               v.failure == FAILURE_CLOCK || strstr(message, "Signature expired") ||
                       strstr(message, "Signature not yet current"),
               e);
        return v.verdict;
}

static enum http_verdict judge(void *userdata _unused_, struct http_call *call, CURLcode code, struct error *e) {
        enum http_verdict verdict = http_judge(call, code, e);

        if (verdict != HTTP_OK || http_call_status(call) == 200)
                return verdict;
        return service_judge(call, NULL, autoscaling_judge_error, e);
}

struct action {
        const char *name;
        const char *result; /* LifecycleActionResult, or NULL */
        struct retry_policy policy;
};

static int compose(const struct lifecycle_hook *hook, const struct action *action, char **ret, struct error *e) {
        _cleanup_free_ char *group = NULL, *name = NULL, *instance = NULL;

        if (sigv4_encode(hook->group, false, &group) < 0 || sigv4_encode(hook->name, false, &name) < 0 ||
            sigv4_encode(hook->instance_id, false, &instance) < 0 ||
            asprintf(ret, "Action=%s&AutoScalingGroupName=%s&InstanceId=%s%s%s&LifecycleHookName=%s&Version=2011-01-01",
                     action->name, group, instance, action->result ? "&LifecycleActionResult=" : "",
                     action->result ?: "", name) < 0)
                return fail_oom(e);
        return 0;
}

static int act(const struct service_access *access, const struct lifecycle_hook *hook, const struct action *action,
               struct error *e) {
        _cleanup_(request_done) struct request c = {};
        _cleanup_http_call_ struct http_call *call = NULL;
        const struct http_exchange exchange = { prepare, judge, &c };
        int r;

        r = service_init(&c.service, "autoscaling", "Auto Scaling endpoint", access, e);
        if (r < 0)
                return r;
        if (asprintf(&c.subject, "lifecycle hook %s of %s", hook->name, hook->group) < 0)
                return fail_oom(e);
        r = compose(hook, action, &c.body, e);
        if (r < 0)
                return r;
        return http_perform(access->http, &exchange, &action->policy, &call, e);
}

int autoscaling_complete(const struct service_access *access, const struct lifecycle_hook *hook, bool proceed,
                         struct error *e) {
        static const struct retry_policy policy = { .deadline_ms = 30 * 1000, .base_ms = 100, .cap_ms = 5000 };

        return act(access, hook,
                   &(struct action) { "CompleteLifecycleAction", proceed ? "CONTINUE" : "ABANDON", policy }, e);
}

int autoscaling_heartbeat(const struct service_access *access, const struct lifecycle_hook *hook, struct error *e) {
        static const struct retry_policy once = { .deadline_ms = 0 };

        return act(access, hook, &(struct action) { "RecordLifecycleActionHeartbeat", NULL, once }, e);
}
