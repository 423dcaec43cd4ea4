/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* How a boot reads from S3: small objects whole, and ranges of one version of an object, for a curl_multi of the
 * caller. (policy/owner has s3-head.h and s3-write.h for owners.) Requests are signed, bodies are not
 * (UNSIGNED-PAYLOAD): TLS protects them on the way, and sealed files authenticate themselves.
 * Failures: S3_DENIED, S3_NOT_FOUND (also: wrong region), S3_UNAVAILABLE, S3_CHANGED, S3_ANSWER, CLOCK, CREDENTIALS,
 * NETWORK, with S3's own words and its request id.
 * Source: Amazon S3 API Reference; RFC 9110 (Range, Content-Range, ETag). */

#include "aws/service.h"

struct s3;

enum { S3_ETAG_SIZE = 128 };

/* Requests to AWS's own endpoints are virtual-hosted, unless the bucket's name has a dot; to another endpoint they are
 * path-style. May be used from any thread. */
int s3_new(const struct service_access *access, struct s3 **ret, struct error *e);
void s3_free(struct s3 *s3);
DEFINE_CLEANUP(struct s3 *, s3_free, s3_freep)

/* "s3://bucket/any/key" into bucket and key ("" for none). -EINVAL with `failure` when the bucket's name is not one. */
int s3_parse_uri(const char *uri, enum failure failure, char **ret_bucket, char **ret_key, struct error *e);

struct s3_head {
        uint64_t size;
        char etag[S3_ETAG_SIZE]; /* with its quotes */
};
/* Reads the headers of an answer to a GET or HEAD of a whole object. Not HTTP_OK: S3_ANSWER. */
enum http_verdict s3_read_head(struct http_call *call, struct s3_head *ret, struct error *e);

/* The whole object, of at most `max` bytes (else S3_ANSWER), with a NUL after it; ret_head may be NULL. */
int s3_get(struct s3 *s3, const char *bucket, const char *key, size_t max, uint8_t **ret, size_t *ret_n,
           struct s3_head *ret_head, struct error *e);

/* The first bytes of an object: `max` of them, or all if it has fewer. */
int s3_get_start(struct s3 *s3, const char *bucket, const char *key, size_t max, uint8_t **ret, size_t *ret_n,
                 struct error *e);

/* Readies `easy` to GET the bytes first..last (inclusive; S3 clamps `last` to the object's end), of the version whose
 * ETag is `if_match`, if not NULL. `refresh` asks for fresh credentials (after HTTP_REFRESH). Set
 * CURLOPT_WRITEFUNCTION, -WRITEDATA and -PRIVATE after this. One attempt: backoff is the caller's, with a struct retry
 * for each range. */
int s3_prepare_range(struct s3 *s3, CURL *easy, const char *bucket, const char *key, uint64_t first, uint64_t last,
                     const char *if_match, bool refresh, struct http_call **ret, struct error *e);

/* http_tell_retry() for a range. */
void s3_tell_retry(const struct s3 *s3, const struct error *why, unsigned wait_ms);

struct s3_range {
        uint64_t first, last; /* inclusive; first is the one asked for, last too unless the object ends before it */
        uint64_t total;       /* the object's size */
        const char *etag;     /* with its quotes; borrowed from the call */
};

/* For the write callback, from the first byte on. 1: the body is the range described in *ret. 0: it is an error's, or
 * headers that do not fit the request: give it to http_call_body(), and let the transfer end when that refuses it.
 * Cheap: parsed once. */
int s3_range_answer(struct http_call *call, struct s3_range *ret);

/* After the transfer. HTTP_OK: status 206, headers that fit the request, and as many body bytes as they say. */
enum http_verdict s3_judge_range(struct http_call *call, CURLcode code, struct error *e);

/* RFC 9110's "bytes 0-9/100": strict, first <= last < total. -EBADMSG. */
int s3_parse_content_range(const char *text, uint64_t *ret_first, uint64_t *ret_last, uint64_t *ret_total);
/* A strong entity tag with its quotes. */
bool s3_etag_valid(const char *text);

/* One signed request with retries, for what policy/owner adds. */
struct s3_request {
        const char *method, *bucket, *key; /* key "" or NULL: the bucket itself */
        const char *query;                 /* encoded: "list-type=2&prefix=a%2Fb"; NULL: none */
        const struct pair *headers;        /* more to send and sign; names in lower case */
        size_t n_headers;
        const void *body;
        size_t body_size;
        size_t max_answer;    /* 0: only short ones are expected */
        unsigned deadline_ms; /* 0: 30 s */
        /* More judgement on an answer that HTTP says is fine (an error inside a 200); may be NULL. */
        enum http_verdict (*judge)(struct http_call *call, struct error *e);
};
int s3_perform(struct s3 *s3, const struct s3_request *request, struct http_call **ret, struct error *e);

/* Judges an answer whose status is not 2xx (or a 200 that holds an error), for tests and fuzzing; fills e. */
enum http_verdict s3_judge_error(const struct service_answer *answer, struct error *e);
