/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What KMS and S3 have in common: an endpoint, and requests signed with the credentials of the moment. */

#include "aws/credential-source.h"
#include "aws/endpoint.h"
#include "aws/http.h"

struct service_request {
        const struct endpoint *endpoint;
        const char *service, *region; /* of the signature's scope */
        const char *path, *query;     /* encoded; query may be NULL */
        bool unsigned_payload;        /* otherwise the body's hash is signed */
        struct http_request http;     /* without url; its headers are signed, names in lower case */
};

/* Signs the request and readies the handle as http_prepare() does; adds host, x-amz-date, x-amz-content-sha256 and
 * x-amz-security-token. */
int service_prepare(struct http *http, struct credential_source *credentials, const struct service_request *request,
                    CURL *easy, bool refresh, struct http_call **ret, struct error *e);

/* An answer as the judges of errors see it, so that tests and fuzzers can make one. */
struct service_answer {
        long status;
        const char *text; /* NUL-terminated */
        size_t n;
        const char *date; /* the Date header, or NULL */
        const char *subject;
        const char *action; /* the permission that the request needed, "s3:GetObject", or NULL */
        const char *region; /* the x-amz-bucket-region header, or NULL */
};
struct service_answer service_answer(struct http_call *call);

/* FAILURE_CLOCK: the service says that the request's time is off; its Date stands beside our clock in the reason.
 * HTTP_FINAL. */
enum http_verdict service_clock_fail(const struct service_answer *answer, const char *words, struct error *e);
/* How many seconds our clock is ahead of the answer's Date; 0 when it has none. */
int64_t service_clock_ahead(const struct service_answer *answer);
