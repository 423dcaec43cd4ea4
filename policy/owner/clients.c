/* SPDX-License-Identifier: Apache-2.0 */
#include "owner/clients.h"

enum { UNREACHABLE_MS = 3000 };

/* Set but empty is as good as unset, as in the SDKs. */
static const char *variable(const char *name, const char *fallback) {
        const char *value = getenv(name);

        if (value && value[0])
                return value;
        return fallback ? variable(fallback, NULL) : NULL;
}

int owner_new(struct owner **ret, struct error *e) {
        const struct http_options http = {
                .ca_bundle = variable("AWS_CA_BUNDLE", NULL), .unreachable_ms = UNREACHABLE_MS,
        };
        const char *region = variable("AWS_REGION", "AWS_DEFAULT_REGION");
        _cleanup_owner_ struct owner *o = calloc(1, sizeof *o);
        int r;

        if (!o)
                return fail_oom(e);
        r = http_new(&http, &o->http, e);
        if (r == 0)
                r = credentials_from_environment(&o->credentials, e);
        if (r == 0)
                r = kms_new(o->http, o->credentials, region, variable("AWS_ENDPOINT_URL_KMS", "AWS_ENDPOINT_URL"), 0, &o->kms, e);
        if (r == 0 && region)
                r = s3_new(o->http, o->credentials, region, variable("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"), &o->s3, e);
        if (r < 0)
                return r;
        *ret = TAKE(o);
        return 0;
}

void owner_free(struct owner *o) {
        if (!o)
                return;
        s3_free(o->s3);
        kms_free(o->kms);
        credential_source_free(o->credentials);
        http_free(o->http);
        free(o);
}

int owner_s3(struct owner *o, struct s3 **ret, struct error *e) {
        if (!o->s3) {
                fail(e, FAILURE_CONFIG, -EDESTADDRREQ, "region", "no Region is set for S3");
                fail_advice(e, "Set AWS_REGION to the bucket's Region.");
                return -EDESTADDRREQ;
        }
        *ret = o->s3;
        return 0;
}
