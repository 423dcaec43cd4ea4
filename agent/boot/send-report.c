/* SPDX-License-Identifier: Apache-2.0 */

/* A copy of the boot report in the operator's bucket, so that a fleet can be looked at from one place. */

#include <openssl/evp.h>
#include <time.h>

#include "basic/encode.h"
#include "boot/boot.h"

#define PROGRAM "sealboot-agent"

/* The service manager is told nothing meanwhile, and waits BOOT_SILENCE_SECONDS. */
enum { SEND_DEADLINE_MS = 15 * 1000 };

/* "reports/20261130T025930Z-i-0123456789abcdef0.json": keys sort by time. The instance and the time when its boot began
 * make a name of its own for each boot. */
static int name_object(const struct boot *b, const char *prefix, char **ret) {
        time_t seconds = (time_t) (report_began_ms(b->report) / 1000);
        char date[sizeof "YYYYMMDDThhmmssZ"];
        struct tm tm;

        if (!gmtime_r(&seconds, &tm) || strftime(date, sizeof date, "%Y%m%dT%H%M%SZ", &tm) == 0)
                return -EINVAL;
        return asprintf(ret, "%s%s-%s.json", prefix, date, b->services.instance_id) < 0 ? -ENOMEM : 0;
}

/* Where Object Lock is on, S3 demands a checksum. */
static int checksum(const char *text, size_t n, char **ret) {
        uint8_t digest[32];

        if (EVP_Digest(text, n, digest, NULL, EVP_sha256(), NULL) != 1)
                return -EIO;
        return base64_encode(digest, sizeof digest, ret);
}

static int put(struct s3 *s3, const char *bucket, const char *key, const char *text, struct error *e) {
        _cleanup_http_call_ struct http_call *call = NULL;
        _cleanup_free_ char *sum = NULL;
        struct pair headers[] = { { "content-type", "application/json" }, { "x-amz-checksum-sha256", NULL } };
        const struct s3_request request = {
                .method = "PUT",
                .bucket = bucket,
                .key = key,
                .headers = headers,
                .n_headers = ELEMENTS(headers),
                .body = text,
                .body_size = strlen(text),
                .deadline_ms = SEND_DEADLINE_MS,
        };

        if (checksum(text, request.body_size, &sum) < 0)
                return fail_oom(e);
        headers[1].value = sum;
        return s3_perform(s3, &request, &call, e);
}

/* A boot that failed early has no client of S3 yet. */
static int need_s3(struct boot *b, const char *to, struct error *e) {
        const struct service_access access = boot_access(b, b->config->endpoint_s3);
        struct boot_services *s = &b->services;

        if (s->region && s->imds)
                boot_require_identity(b);
        if (!s->instance_id[0] || !s->credentials)
                return fail(e, FAILURE_IMDS, -ENODATA, to, "the metadata service did not tell which instance this is");
        return s->s3 ? 0 : s3_new(&access, &s->s3, e);
}

static int send_report(struct boot *b, const char *to, char **ret_key, struct error *e) {
        _cleanup_free_ char *bucket = NULL, *prefix = NULL, *text = NULL;
        int r;

        r = s3_parse_uri(to, FAILURE_CONFIG, &bucket, &prefix, e);
        if (r < 0)
                return r;
        r = need_s3(b, to, e);
        if (r < 0)
                return r;
        text = report_outline(b->report);
        if (!text || name_object(b, prefix, ret_key) < 0)
                return fail_oom(e);
        return put(b->services.s3, bucket, *ret_key, text, e);
}

void boot_send_report(struct boot *b) {
        _cleanup_free_ char *key = NULL;
        struct error e = {};
        const char *to;

        if (!b->services.http)
                return; /* the boot failed before there was a client to send with */
        /* A boot that failed early has not asked the metadata service yet; user data may name a place. */
        if (!b->services.imds)
                (void) boot_ask_metadata(b, &e);
        to = b->sealed.launch.report_to ?: b->config->report_to;
        if (!to)
                return;
        if (send_report(b, to, &key, &e) == 0)
                report_text(b->report, "report_to.key", key);
        else {
                report_text(b->report, "report_to.error", e.reason);
                fprintf(stderr, PROGRAM ": warning: the boot report is not stored at %s: %s\n", to, e.reason);
        }
        (void) report_write(b->report, NULL);
}
