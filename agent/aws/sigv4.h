/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* AWS Signature Version 4 in the Authorization header (AWS4-HMAC-SHA256), over EVP. libcurl's CURLOPT_AWS_SIGV4 is not
 * used: it wants the secret key as a string on the ordinary heap, and differs between versions. 7.88 signs queries
 * wrongly that are not sorted or lack a value, 8.14 those with %2B (which continuation tokens have), and refuses keys
 * with ".."; tests/e2e/test_libcurl_sigv4.py measures it. Source: IAM User Guide, "Create a signed AWS API request"; S3
 * API Reference, "Authenticating Requests: Using the Authorization Header". */

#include "aws/credentials.h"
#include "basic/pair.h"

#define SIGV4_UNSIGNED_PAYLOAD "UNSIGNED-PAYLOAD"

enum { SIGV4_DATE_SIZE = sizeof "20150830T123600Z", SIGV4_HASH_SIZE = 2 * 32 + 1 };

struct sigv4_request {
        const char *method;
        const char *path;           /* as on the request line: encoded exactly once, starting with '/' */
        const char *query;          /* as on the request line, without '?', in any order; NULL: none */
        const struct pair *headers; /* all to be signed, host and x-amz-date too; names unique, in lower case */
        size_t n_headers;
        const char *payload_hash; /* sigv4_hash() of the body, or SIGV4_UNSIGNED_PAYLOAD */
        const char *date;         /* sigv4_date(), the value of x-amz-date */
        const char *region, *service;
};

/* The value of the Authorization header; free() it. -EINVAL when the request has more than 32 parameters or
 * headers, -ENOMEM. */
int sigv4_authorization(const struct sigv4_request *request, const struct credentials *credentials, char **ret);

/* ISO 8601 basic format, UTC, of seconds since the epoch. */
void sigv4_date(int64_t time, char ret[static SIGV4_DATE_SIZE]);
/* SHA-256 in lower-case hex. */
int sigv4_hash(const void *data, size_t n, char ret[static SIGV4_HASH_SIZE]);
/* Percent-encodes every byte but A-Z a-z 0-9 - . _ ~ (and '/', if `keep_slash`), with upper-case digits, as AWS does
 * before it signs. Give it raw keys: encoding twice is wrong. */
int sigv4_encode(const char *text, bool keep_slash, char **ret);
