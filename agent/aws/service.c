/* SPDX-License-Identifier: Apache-2.0 */
#include "aws/service.h"

#include "aws/sigv4.h"
#include "basic/clock.h"

enum { MAX_HEADERS = 16 };

/* Host first: add_header() never sees a full table, for requests bring at most MAX_HEADERS / 2. */
static void add_header(struct pair *headers, size_t *n, const char *name, const char *value) {
        headers[(*n)++] = (struct pair) { name, value };
}

int service_prepare(struct http *http, struct credential_source *source, const struct service_request *request,
                    CURL *easy, bool refresh, struct http_call **ret, struct error *e) {
        _cleanup_credentials_ struct credentials *credentials = NULL;
        _cleanup_free_ char *authorization = NULL, *url = NULL;
        char date[SIGV4_DATE_SIZE], hash[SIGV4_HASH_SIZE] = SIGV4_UNSIGNED_PAYLOAD;
        struct pair headers[MAX_HEADERS];
        struct http_request out = request->http;
        size_t n = 0;
        int r;

        r = credentials_get(source, refresh, &credentials, e);
        if (r < 0)
                return r;
        if (out.n_headers > MAX_HEADERS / 2)
                return fail(e, FAILURE_INTERNAL, -EINVAL, out.subject, "too many request headers");
        if (!request->unsigned_payload && sigv4_hash(out.body, out.body_size, hash) < 0)
                return fail_oom(e);
        sigv4_date(wall_clock_seconds(), date);
        add_header(headers, &n, "host", request->endpoint->host);
        add_header(headers, &n, "x-amz-date", date);
        add_header(headers, &n, "x-amz-content-sha256", hash);
        if (credentials->session_token)
                add_header(headers, &n, "x-amz-security-token", (const char *) credentials->session_token->data);
        for (size_t i = 0; i < out.n_headers; i++)
                add_header(headers, &n, out.headers[i].name, out.headers[i].value);
        r = sigv4_authorization(
                &(struct sigv4_request) {
                        .method = out.method,
                        .path = request->path,
                        .query = request->query,
                        .headers = headers,
                        .n_headers = n,
                        .payload_hash = hash,
                        .date = date,
                        .region = request->region,
                        .service = request->service,
                },
                credentials, &authorization);
        if (r < 0)
                return fail(e, FAILURE_INTERNAL, r, out.subject, "the request cannot be signed: %s", strerror(-r));
        add_header(headers, &n, "authorization", authorization);
        if (asprintf(&url, "%s%s%s%s", request->endpoint->origin, request->path, request->query ? "?" : "",
                     request->query ?: "") < 0)
                return fail_oom(e);
        out.url = url;
        out.headers = headers;
        out.n_headers = n;
        return http_prepare(http, easy, &out, ret, e);
}

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
