/* SPDX-License-Identifier: Apache-2.0 */
#include "owner/s3-head.h"

static enum http_verdict judge_head(struct http_call *call, struct error *e) {
        struct s3_head head;

        return s3_read_head(call, &head, e);
}

/* The answer to a refused HEAD is a status alone. A GET of one byte is refused with a reason, which replaces it. When
 * the GET is not refused, or does not arrive, the error of the HEAD stays. */
static void explain_head(struct s3 *s3, const char *bucket, const char *key, struct error *e) {
        const struct pair range = { "range", "bytes=0-0" };
        const struct s3_request request = {
                .method = "GET", .bucket = bucket, .key = key, .headers = &range, .n_headers = 1
        };
        _cleanup_http_call_ struct http_call *call = NULL;
        struct error why = {};

        if (s3_perform(s3, &request, &call, &why) < 0 && why.failure != FAILURE_NETWORK &&
            why.failure != FAILURE_S3_ANSWER && why.failure != FAILURE_SEALED_FORMAT)
                *e = why;
}

int s3_head(struct s3 *s3, const char *bucket, const char *key, struct s3_head *ret, struct error *e) {
        struct s3_request request = { .method = "HEAD", .bucket = bucket, .key = key, .judge = judge_head };
        _cleanup_http_call_ struct http_call *call = NULL;
        struct s3_head out = {};
        int r;

        r = s3_perform(s3, &request, &call, e);
        /* A 404 needs no explanation. */
        if (r < 0 && e &&
            (e->failure == FAILURE_S3_DENIED || e->failure == FAILURE_S3_ANSWER || e->failure == FAILURE_CLOCK))
                explain_head(s3, bucket, key, e);
        if (r < 0)
                return r;
        (void) s3_read_head(call, &out, e);
        *ret = out;
        return 0;
}
