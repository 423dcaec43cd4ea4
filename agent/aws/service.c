/* SPDX-License-Identifier: Apache-2.0 */
#include "aws/service.h"

#include "aws/sigv4.h"
#include "basic/clock.h"

enum { MAX_HEADERS = 16, MAX_OWN_HEADERS = MAX_HEADERS / 2 };

int service_init(struct service *service, const char *name, const char *setting, const struct service_access *access,
                 struct error *e) {
        const char *region = access->region;

        *service = (struct service) { .name = name, .http = access->http, .credentials = access->credentials };
        service->choice = access->endpoint;
        service->choice.url = NULL;
        if (region && !region_valid(region))
                return fail(e, FAILURE_CONFIG, -EINVAL, "region", "\"%s\" is not a Region%s", region,
                            region_hint(region));
        service->region = region ? strdup(region) : NULL;
        if (region && !service->region)
                return fail_oom(e);
        return access->endpoint.url ? endpoint_parse(access->endpoint.url, setting, &service->endpoint, e) : 0;
}

void service_done(struct service *service) {
        endpoint_done(&service->endpoint);
        free(service->region);
        *service = (struct service) {};
}

/* ---- requests */

static int find_endpoint(const struct service *service, const struct service_request *request, struct endpoint *ret,
                         struct error *e) {
        if (!service->endpoint.host)
                return endpoint_aws(request->host_prefix, service->name, request->region ?: service->region,
                                    &service->choice, ret, e);
        return endpoint_copy(&service->endpoint, ret) < 0 ? fail_oom(e) : 0;
}

/* The headers of a signed request, and the texts that they borrow. */
struct signature {
        struct pair headers[MAX_HEADERS];
        size_t n_headers;
        char date[SIGV4_DATE_SIZE], hash[SIGV4_HASH_SIZE];
        char *authorization;
};

static void signature_done(struct signature *s) {
        free(s->authorization);
}

static void add_header(struct signature *s, const char *name, const char *value) {
        s->headers[s->n_headers++] = (struct pair) { name, value };
}

/* Adds the signature, with the headers that it covers. The list has room: a request brings at most MAX_OWN_HEADERS. */
static int sign(const struct service *service, const struct service_request *request, const char *host,
                const struct credentials *credentials, struct signature *s, struct error *e) {
        const struct http_request *http = &request->http;
        int r;

        if (http->n_headers > MAX_OWN_HEADERS)
                return fail(e, FAILURE_INTERNAL, -EINVAL, http->subject, "the request has too many headers");
        memcpy(s->hash, SIGV4_UNSIGNED_PAYLOAD, sizeof SIGV4_UNSIGNED_PAYLOAD);
        if (!request->unsigned_payload && sigv4_hash(http->body, http->body_size, s->hash) < 0)
                return fail_oom(e);
        sigv4_date(wall_clock_seconds(), s->date);
        add_header(s, "host", host);
        add_header(s, "x-amz-date", s->date);
        add_header(s, "x-amz-content-sha256", s->hash);
        if (credentials->session_token)
                add_header(s, "x-amz-security-token", (const char *) credentials->session_token->data);
        for (size_t i = 0; i < http->n_headers; i++)
                add_header(s, http->headers[i].name, http->headers[i].value);
        r = sigv4_authorization(
                &(struct sigv4_request) {
                        .method = http->method,
                        .path = request->path,
                        .query = request->query,
                        .headers = s->headers,
                        .n_headers = s->n_headers,
                        .payload_hash = s->hash,
                        .date = s->date,
                        .region = request->region ?: service->region,
                        .service = service->name,
                },
                credentials, &s->authorization);
        if (r < 0)
                return fail(e, FAILURE_INTERNAL, r, http->subject, "the request cannot be signed: %s", strerror(-r));
        add_header(s, "authorization", s->authorization);
        return 0;
}

int service_prepare(const struct service *service, const struct service_request *request, CURL *easy, bool refresh,
                    struct http_call **ret, struct error *e) {
        _cleanup_credentials_ struct credentials *credentials = NULL;
        _cleanup_(signature_done) struct signature signature = {};
        _cleanup_endpoint_ struct endpoint endpoint = {};
        _cleanup_free_ char *url = NULL;
        struct http_request http = request->http;
        int r;

        r = find_endpoint(service, request, &endpoint, e);
        if (r < 0)
                return r;
        if (service->credentials) {
                r = credentials_get(service->credentials, refresh, &credentials, e);
                if (r < 0)
                        return r;
                r = sign(service, request, endpoint.host, credentials, &signature, e);
                if (r < 0)
                        return r;
                http.headers = signature.headers;
                http.n_headers = signature.n_headers;
        }
        if (asprintf(&url, "%s%s%s%s", endpoint.origin, request->path, request->query ? "?" : "",
                     request->query ?: "") < 0)
                return fail_oom(e);
        http.url = url;
        return http_prepare(service->http, easy, &http, ret, e);
}

/* ---- answers */

struct service_answer service_answer(struct http_call *call) {
        struct service_answer answer = {
                .status = http_call_status(call),
                .date = http_call_header(call, "date"),
                .region = http_call_header(call, "x-amz-bucket-region"),
                .subject = http_call_subject(call),
        };

        answer.text = http_call_text(call, &answer.n);
        return answer;
}

enum http_verdict service_judge(struct http_call *call, const char *action, service_judge_error judge,
                                struct error *e) {
        struct service_answer answer = service_answer(call);
        enum http_verdict verdict;

        answer.action = action;
        verdict = judge(&answer, e);
        if (e)
                snprintf(e->request_id, sizeof e->request_id, "%s", http_call_request_id(call));
        return verdict;
}

int64_t service_clock_ahead(const struct service_answer *answer) {
        time_t theirs = answer->date ? curl_getdate(answer->date, NULL) : -1;

        return theirs < 0 ? 0 : wall_clock_seconds() - theirs;
}

enum http_verdict service_clock_fail(const struct service_answer *answer, const char *words, struct error *e) {
        int64_t ahead = service_clock_ahead(answer);
        char ours[SIGV4_DATE_SIZE];

        sigv4_date(wall_clock_seconds(), ours);
        fail(e, FAILURE_CLOCK, -EIO, answer->subject,
             "%s; this machine's clock says %s, the service's %s: it is %lld s %s", words, ours,
             answer->date ?: "nothing", (long long) llabs(ahead), ahead < 0 ? "behind" : "ahead");
        return HTTP_FINAL;
}
