/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What KMS, S3 and Auto Scaling have in common: an endpoint in a Region, requests signed with the credentials of the
 * moment, and answers that name an error. */

#include "aws/credential-source.h"
#include "aws/endpoint.h"
#include "aws/http.h"

struct service {
        const char *name; /* in host names and signatures: "kms" */
        struct http *http;
        struct credential_source *credentials; /* NULL: requests are not signed */
        char *region;                          /* NULL: each request names its own */
        struct endpoint endpoint;              /* .host NULL: AWS's own */
        struct endpoint_choice choice;         /* among AWS's own */
};

/* How a program reaches a service. */
struct service_access {
        struct http *http;                     /* this and the credentials must outlive the service */
        struct credential_source *credentials; /* NULL: requests are not signed */
        const char *region;                    /* may be NULL */
        struct endpoint_choice endpoint;
};
/* `name` is in host names and signatures: "kms". `setting` is what an error calls the endpoint's URL: "KMS endpoint".
 * FAILURE_CONFIG for a Region or an endpoint that is none. service_done() after a failure, too. */
int service_init(struct service *service, const char *name, const char *setting, const struct service_access *access,
                 struct error *e);
void service_done(struct service *service);

struct service_request {
        const char *region;       /* NULL: the service's */
        const char *host_prefix;  /* before the name of AWS's own host: S3's bucket; or NULL */
        const char *path, *query; /* encoded; query may be NULL */
        bool unsigned_payload;    /* otherwise the hash of the body is signed */
        struct http_request http; /* without url; its headers are signed, names in lower case */
};

/* Signs the request and readies the handle as http_prepare() does; adds host, x-amz-date, x-amz-content-sha256 and
 * x-amz-security-token. `refresh` asks for fresh credentials. */
int service_prepare(const struct service *service, const struct service_request *request, CURL *easy, bool refresh,
                    struct http_call **ret, struct error *e);

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

/* Judges an answer that is an error; fills e. */
typedef enum http_verdict (*service_judge_error)(const struct service_answer *answer, struct error *e);

/* Gives the answer to `judge`, and e the answer's request id. `action` as in struct service_answer. */
enum http_verdict service_judge(struct http_call *call, const char *action, service_judge_error judge, struct error *e);

/* FAILURE_CLOCK: the service says that the request's time is wrong. The reason shows the service's Date beside this
 * machine's clock. HTTP_FINAL. */
enum http_verdict service_clock_fail(const struct service_answer *answer, const char *words, struct error *e);
/* How many seconds this machine's clock is ahead of the answer's Date; 0 when the answer has none. */
int64_t service_clock_ahead(const struct service_answer *answer);
