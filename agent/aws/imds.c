/* SPDX-License-Identifier: Apache-2.0 */
#include "aws/imds.h"

#include <openssl/crypto.h>
#include <pthread.h>

#include "aws/answer.h"
#include "aws/endpoint.h"
#include "aws/verdict.h"
#include "basic/clock.h"

enum {
        TOKEN_TTL_SECONDS = 6 * 60 * 60,
        TOKEN_MAX = 256,
        ATTEMPT_MS = 4000, /* the service is sometimes slower than a second */
        NAME_MAX_BYTES = 64,
        TEXT_MAX = 1024,
        JSON_MAX = 16 * 1024,
        DEADLINE_MS = 20000,
};

#define NO_CREDENTIALS "the metadata service has no credentials for the role: %s: %s"

struct imds {
        struct http *http;
        struct endpoint endpoint;
        struct retry_policy policy;
        pthread_mutex_t lock;
        char token[TOKEN_MAX + 1]; /* "": none */
        int64_t token_until_ns;
};

int imds_new(struct http *http, const char *endpoint, unsigned deadline_ms, struct imds **ret, struct error *e) {
        _cleanup_(imds_freep) struct imds *imds = calloc(1, sizeof *imds);
        int r;

        if (!imds)
                return fail_oom(e);
        imds->http = http;
        imds->policy =
                (struct retry_policy) { .deadline_ms = deadline_ms ?: DEADLINE_MS, .base_ms = 100, .cap_ms = 2000 };
        pthread_mutex_init(&imds->lock, NULL);
        r = endpoint_parse(endpoint ?: IMDS_ENDPOINT, "instance metadata endpoint", &imds->endpoint, e);
        if (r < 0)
                return r;
        *ret = TAKE(imds);
        return 0;
}

void imds_free(struct imds *imds) {
        if (!imds)
                return;
        endpoint_done(&imds->endpoint);
        pthread_mutex_destroy(&imds->lock);
        OPENSSL_cleanse(imds->token, sizeof imds->token);
        free(imds);
}

/* One question, and which answers are accepted. */
struct imds_get {
        struct imds *imds;
        const char *path;
        size_t max;
        bool may_be_absent; /* 404 is an answer */
        bool may_be_empty;
        const char *absent; /* the reason when there is none until the deadline; NULL: the HTTP status alone */
        enum failure failure;
        /* More judgement on an answer of 200, which may not be the final one yet; may be NULL. */
        enum http_verdict (*judge)(struct http_call *call, struct error *e);
};

static int prepare(const struct imds_get *get, const char *method, const struct pair *header, CURL *easy,
                   struct http_call **ret, struct error *e) {
        _cleanup_free_ char *url = NULL;

        if (asprintf(&url, "%s%s", get->imds->endpoint.origin, get->path) < 0)
                return fail_oom(e);
        return http_prepare(get->imds->http, easy,
                            &(struct http_request) {
                                    .method = method,
                                    .url = url,
                                    .headers = header,
                                    .n_headers = 1,
                                    .max_answer = get->max,
                                    .timeout_ms = ATTEMPT_MS,
                                    .subject = url,
                                    .malformed = FAILURE_IMDS,
                            },
                            ret, e);
}

/* A network fault becomes FAILURE_IMDS, whose advice is the useful one here. */
static enum http_verdict judge_transfer(struct http_call *call, CURLcode code, struct error *e) {
        enum http_verdict verdict = http_judge(call, code, e);

        if (verdict != HTTP_OK && e && e->failure == FAILURE_NETWORK)
                e->failure = FAILURE_IMDS;
        return verdict;
}

static enum http_verdict judge_status(struct http_call *call, struct error *e) {
        long status = http_call_status(call);
        struct verdict v = verdict_of(VERDICT_IMDS, status, NULL, NULL);

        return http_verdict_fail(call, v.verdict, e, v.failure, "HTTP %ld%s", status,
                                 status == 403 ? ": the instance's metadata options forbid access" : "");
}

static int token_prepare(void *userdata, CURL *easy, bool refresh, struct http_call **ret, struct error *e) {
        char ttl[sizeof "4294967295"];

        (void) refresh;
        snprintf(ttl, sizeof ttl, "%u", (unsigned) TOKEN_TTL_SECONDS);
        return prepare(userdata, "PUT", &(struct pair) { "X-aws-ec2-metadata-token-ttl-seconds", ttl }, easy, ret, e);
}

static bool token_valid(const char *text, size_t n) {
        for (size_t i = 0; i < n; i++)
                if (text[i] <= ' ' || text[i] > '~')
                        return false;
        return n > 0 && n <= TOKEN_MAX;
}

static enum http_verdict token_judge(void *userdata, struct http_call *call, CURLcode code, struct error *e) {
        enum http_verdict verdict = judge_transfer(call, code, e);
        long status = http_call_status(call);
        const char *text;
        size_t n;

        (void) userdata;
        if (verdict != HTTP_OK)
                return verdict;
        if (status == 404 || status == 405 || status == 501) {
                http_verdict_fail(call, HTTP_FINAL, e, FAILURE_IMDS,
                                  "HTTP %ld to the PUT for a session token: this metadata service speaks version 1 "
                                  "only",
                                  status);
                fail_advice(e, "sealboot uses IMDSv2 alone. Set the instance's metadata options to "
                               "HttpEndpoint=enabled, HttpTokens=required (aws ec2 modify-instance-metadata-options), "
                               "and see what answers here.");
                return HTTP_FINAL;
        }
        if (status != 200)
                return judge_status(call, e);
        text = http_call_text(call, &n);
        if (!token_valid(text, n))
                return http_verdict_fail(call, HTTP_FINAL, e, FAILURE_IMDS,
                                         "the session token has %zu bytes or is not printable", n);
        return HTTP_OK;
}

/* Copies the token; fetches one when there is none or it is about to end. */
static int token_get(struct imds *imds, char token[static TOKEN_MAX + 1], struct error *e) {
        struct imds_get get = { .imds = imds, .path = "/latest/api/token", .max = TOKEN_MAX };
        struct http_exchange exchange = { .prepare = token_prepare, .judge = token_judge, .userdata = &get };
        _cleanup_http_call_ struct http_call *call = NULL;
        const char *text;
        int64_t began;
        size_t n;
        int r;

        pthread_mutex_lock(&imds->lock);
        memcpy(token, imds->token, TOKEN_MAX + 1);
        began = clock_ns();
        if (began >= imds->token_until_ns)
                token[0] = '\0';
        pthread_mutex_unlock(&imds->lock);
        if (token[0])
                return 0;
        r = http_perform(imds->http, &exchange, &imds->policy, &call, e);
        if (r < 0)
                return r;
        text = http_call_text(call, &n);
        memcpy(token, text, n + 1);
        pthread_mutex_lock(&imds->lock);
        memcpy(imds->token, token, n + 1);
        imds->token_until_ns = began + (TOKEN_TTL_SECONDS - 60) * NS_PER_SECOND;
        pthread_mutex_unlock(&imds->lock);
        return 0;
}

static void token_drop(struct imds *imds) {
        pthread_mutex_lock(&imds->lock);
        imds->token[0] = '\0';
        pthread_mutex_unlock(&imds->lock);
}

static int get_prepare(void *userdata, CURL *easy, bool refresh, struct http_call **ret, struct error *e) {
        struct imds_get *get = userdata;
        char token[TOKEN_MAX + 1];
        int r;

        if (refresh)
                token_drop(get->imds);
        r = token_get(get->imds, token, e);
        if (r < 0)
                return r;
        r = prepare(get, "GET", &(struct pair) { "X-aws-ec2-metadata-token", token }, easy, ret, e);
        OPENSSL_cleanse(token, sizeof token);
        return r;
}

static enum http_verdict get_judge(void *userdata, struct http_call *call, CURLcode code, struct error *e) {
        const struct imds_get *get = userdata;
        enum http_verdict verdict = judge_transfer(call, code, e);
        long status = http_call_status(call);
        const char *text;
        size_t n;

        if (verdict != HTTP_OK || (status == 404 && get->may_be_absent))
                return verdict;
        if (status == 401)
                return http_verdict_fail(call, HTTP_REFRESH, e, FAILURE_IMDS,
                                         "HTTP 401: the session token is not accepted");
        if (status == 404 && get->absent)
                return http_verdict_fail(call, verdict_of(VERDICT_IMDS, status, NULL, NULL).verdict, e, get->failure,
                                         "%s (HTTP 404)", get->absent);
        if (status != 200)
                return judge_status(call, e);
        text = http_call_text(call, &n);
        if (strspn(text, " \t\r\n") == n && !get->may_be_empty)
                return http_verdict_fail(call, verdict_of(VERDICT_IMDS, status, VERDICT_CODE_EMPTY, NULL).verdict, e,
                                         get->failure, "%s%san empty answer", get->absent ?: "",
                                         get->absent ? ": " : "");
        return get->judge ? get->judge(call, e) : HTTP_OK;
}

/* *ret is NULL after a 404 that is an answer. */
static int imds_fetch(struct imds_get *get, struct http_call **ret, struct error *e) {
        struct http_exchange exchange = { .prepare = get_prepare, .judge = get_judge, .userdata = get };
        _cleanup_http_call_ struct http_call *call = NULL;
        int r;

        if (get->failure == FAILURE_NONE)
                get->failure = FAILURE_IMDS;
        r = http_perform(get->imds->http, &exchange, &get->imds->policy, &call, e);
        if (r < 0)
                return r;
        *ret = http_call_status(call) == 200 ? TAKE(call) : NULL;
        return 0;
}

/* A name is one line of A-Za-z0-9 and + = , . @ _ - */
static bool name_valid(const char *text, size_t n, size_t max) {
        static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+=,.@_-";

        return n > 0 && n <= max && strspn(text, allowed) == n;
}

/* The first line of a list, as the SDKs take it. Services other than EC2's own may end the line with CR and LF. */
static size_t first_line(char *text) {
        size_t n = strcspn(text, "\r\n");

        text[n] = '\0';
        return n;
}

/* *ret stays NULL when it may be absent and is. */
static int get_name(struct imds_get *get, char **ret, struct error *e) {
        _cleanup_http_call_ struct http_call *call = NULL;
        char *text, *copy;
        size_t n;
        int r;

        get->max = TEXT_MAX;
        r = imds_fetch(get, &call, e);
        if (r < 0 || !call)
                return r;
        text = http_call_text(call, &n);
        if (strlen(text) == n)
                n = first_line(text);
        if (!name_valid(text, n, NAME_MAX_BYTES))
                return fail(e, FAILURE_IMDS, -EBADMSG, http_call_subject(call), "\"%.80s\" is not a name", text);
        copy = strdup(text);
        if (!copy)
                return fail_oom(e);
        *ret = copy;
        return 0;
}

int imds_region(struct imds *imds, char **ret, struct error *e) {
        struct imds_get get = { .imds = imds, .path = "/latest/meta-data/placement/region" };
        _cleanup_free_ char *region = NULL;
        int r;

        r = get_name(&get, &region, e);
        if (r < 0)
                return r;
        if (!region_valid(region))
                return fail(e, FAILURE_IMDS, -EBADMSG, imds->endpoint.origin, "\"%s\" is not a Region", region);
        *ret = TAKE(region);
        return 0;
}

/* The text at a path that may be absent: then *ret_call is NULL, and there is none. */
static int get_if_there(struct imds *imds, const char *path, struct http_call **ret_call, const char **ret_text,
                        size_t *ret_n, struct error *e) {
        struct imds_get get = { .imds = imds, .path = path, .max = TEXT_MAX, .may_be_absent = true };
        int r;

        r = imds_fetch(&get, ret_call, e);
        if (r == 0 && *ret_call)
                *ret_text = http_call_text(*ret_call, ret_n);
        return r;
}

int imds_lifecycle_state(struct imds *imds, enum lifecycle_state *ret, struct error *e) {
        _cleanup_http_call_ struct http_call *call = NULL;
        const char *text;
        size_t n;
        int r;

        r = get_if_there(imds, "/latest/meta-data/autoscaling/target-lifecycle-state", &call, &text, &n, e);
        if (r < 0)
                return r;
        if (call)
                return lifecycle_state_parse(text, n, http_call_subject(call), ret, e);
        *ret = LIFECYCLE_NONE;
        return 0;
}

int imds_interruption(struct imds *imds, struct interruption *ret, struct error *e) {
        _cleanup_http_call_ struct http_call *call = NULL;
        const char *text;
        size_t n;
        int r;

        r = get_if_there(imds, "/latest/meta-data/spot/instance-action", &call, &text, &n, e);
        if (r < 0)
                return r;
        if (call)
                return interruption_parse(text, n, http_call_subject(call), ret, e);
        *ret = (struct interruption) {};
        return 0;
}

int imds_user_data(struct imds *imds, bool required, uint8_t **ret, size_t *ret_n, struct error *e) {
        /* clang-format off */
        struct imds_get get = {
                .imds = imds, .path = "/latest/user-data", .max = IMDS_USER_DATA_MAX,
                .may_be_absent = !required, .may_be_empty = !required, .failure = FAILURE_LAUNCH,
                .absent = "this instance has no user data, and the measured configuration names no model",
        };
        /* clang-format on */
        _cleanup_http_call_ struct http_call *call = NULL;
        uint8_t *copy = NULL;
        char *text;
        size_t n = 0;
        int r;

        r = imds_fetch(&get, &call, e);
        if (r < 0)
                return r;
        if (call) {
                text = http_call_text(call, &n);
                copy = malloc(n + 1);
                if (!copy)
                        return fail_oom(e);
                memcpy(copy, text, n + 1);
        }
        *ret = copy;
        *ret_n = n;
        return 0;
}

/* Whether the service says that there are no credentials, perhaps not yet. */
static enum http_verdict judge_credentials(struct http_call *call, struct error *e) {
        _cleanup_json_ json_object *o = NULL;
        const char *text, *code, *message;
        size_t n;

        text = http_call_text(call, &n);
        /* An answer that holds secrets is not parsed here, so that they are not copied. It holds no error. */
        if (memmem(text, n, "SecretAccessKey", strlen("SecretAccessKey")) ||
            json_parse(text, n, FAILURE_IMDS, http_call_subject(call), &o, NULL) < 0)
                return HTTP_OK;
        code = answer_text(o, "Code");
        message = answer_text(o, "Message");
        if (!code || streq(code, "Success"))
                return HTTP_OK;
        return http_verdict_fail(call, verdict_of(VERDICT_IMDS, 200, code, message).verdict, e, FAILURE_CREDENTIALS,
                                 NO_CREDENTIALS, code, message ?: "no Message");
}

int imds_credentials(struct imds *imds, struct credentials **ret, struct error *e) {
        struct imds_get list = {
                .imds = imds,
                .path = "/latest/meta-data/iam/security-credentials/",
                .failure = FAILURE_CREDENTIALS,
                .absent = "no IAM role is attached to this instance",
        };
        /* clang-format off */
        struct imds_get get = {
                .imds = imds, .max = JSON_MAX, .judge = judge_credentials, .failure = FAILURE_CREDENTIALS,
                .absent = "the metadata service has no credentials for the role",
        };
        /* clang-format on */
        _cleanup_http_call_ struct http_call *call = NULL;
        _cleanup_free_ char *role = NULL, *path = NULL;
        char *text;
        size_t n;
        int r;

        r = get_name(&list, &role, e);
        if (r < 0)
                return r;
        if (asprintf(&path, "/latest/meta-data/iam/security-credentials/%s", role) < 0)
                return fail_oom(e);
        get.path = path;
        r = imds_fetch(&get, &call, e);
        if (r < 0)
                return r;
        text = http_call_text(call, &n);
        return imds_parse_credentials(text, n, http_call_subject(call), ret, e);
}

/* Whether a header can hold the text. */
static bool header_safe(const char *text) {
        for (; *text; text++)
                if (*text <= ' ' || *text > '~')
                        return false;
        return true;
}

int imds_parse_credentials(char *text, size_t n, const char *subject, struct credentials **ret, struct error *e) {
        _cleanup_secret_ struct secret *key = NULL, *token = NULL;
        _cleanup_json_ json_object *o = NULL;
        const char *code, *id, *expiration;
        int64_t expires;
        int r, k, t;

        k = answer_take_secret(text, n, "SecretAccessKey", &key);
        t = answer_take_secret(text, n, "Token", &token);
        if (k == -ENOMEM || t == -ENOMEM)
                return fail_oom(e);
        r = json_parse(text, n, FAILURE_IMDS, subject, &o, e);
        if (r < 0)
                return r;
        code = answer_text(o, "Code");
        if (!code || !streq(code, "Success"))
                return fail(e, FAILURE_CREDENTIALS, -EACCES, subject, NO_CREDENTIALS, code ?: "no Code",
                            answer_text(o, "Message") ?: "no Message");
        id = answer_text(o, "AccessKeyId");
        expiration = answer_text(o, "Expiration");
        if (k < 0 || t < 0 || !id || !name_valid(id, strlen(id), 128) || !header_safe((const char *) key->data) ||
            !header_safe((const char *) token->data) || key->size == 0 || token->size == 0)
                return fail(e, FAILURE_IMDS, -EBADMSG, subject,
                            "it lacks a well-formed AccessKeyId, SecretAccessKey or Token");
        if (!expiration || answer_time(expiration, &expires) < 0)
                return fail(e, FAILURE_IMDS, -EBADMSG, subject, "it lacks a well-formed Expiration");
        return credentials_new(id, (const char *) key->data, (const char *) token->data, expires, ret, e);
}

int imds_parse_identity(const char *text, size_t n, const char *subject, struct imds_identity *ret, struct error *e) {
        struct imds_identity out = {};
        const struct {
                const char *key;
                char *to;
                size_t room;
        } table[] = {
                { "accountId", out.account, sizeof out.account },
                { "instanceId", out.instance_id, sizeof out.instance_id },
                { "instanceType", out.instance_type, sizeof out.instance_type },
                { "imageId", out.image_id, sizeof out.image_id },
                { "region", out.region, sizeof out.region },
                { "availabilityZone", out.zone, sizeof out.zone },
        };
        _cleanup_json_ json_object *o = NULL;
        int r;

        r = json_parse(text, n, FAILURE_IMDS, subject, &o, e);
        if (r < 0)
                return r;
        for (size_t i = 0; i < ELEMENTS(table); i++) {
                const char *value = answer_text(o, table[i].key);

                if (!value || !name_valid(value, strlen(value), table[i].room - 1))
                        return fail(e, FAILURE_IMDS, -EBADMSG, subject, "it lacks a well-formed \"%s\"", table[i].key);
                memcpy(table[i].to, value, strlen(value) + 1);
        }
        *ret = out;
        return 0;
}

int imds_identity(struct imds *imds, bool required, struct imds_identity *ret, struct error *e) {
        struct imds_get get = { .imds = imds,
                                .path = "/latest/dynamic/instance-identity/document",
                                .max = JSON_MAX,
                                .may_be_absent = !required,
                                .may_be_empty = !required };
        _cleanup_http_call_ struct http_call *call = NULL;
        const char *text;
        size_t n;
        int r;

        r = imds_fetch(&get, &call, e);
        if (r < 0)
                return r;
        if (!call)
                return fail(e, FAILURE_IMDS, -ENOENT, imds->endpoint.origin,
                            "there is no instance identity document (yet)");
        text = http_call_text(call, &n);
        return imds_parse_identity(text, n, http_call_subject(call), ret, e);
}
