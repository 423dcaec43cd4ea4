/* SPDX-License-Identifier: Apache-2.0 */
#include "owner/clients.h"

#include <strings.h>

#include "owner/environment.h"

enum { UNREACHABLE_MS = 3000 };

/* The clients' errors name settings of the agent's configuration. For an owner each of them is a variable of the
 * environment, or the variable for all services. */
static int in_variables(int r, struct error *e) {
        static const struct {
                const char *subject, *names[2], *expected;
        } settings[] = {
                { "region", { "AWS_REGION", "AWS_DEFAULT_REGION" }, "a Region's name, such as eu-west-1" },
                { "KMS endpoint",
                  { "AWS_ENDPOINT_URL_KMS", "AWS_ENDPOINT_URL" },
                  "https://HOST or https://HOST:PORT, no more" },
                { "S3 endpoint",
                  { "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL" },
                  "https://HOST or https://HOST:PORT, no more" },
        };

        for (size_t i = 0; r < 0 && e && i < ELEMENTS(settings); i++) {
                const char *name = settings[i].names[environment_value(settings[i].names[0]) ? 0 : 1];

                if (e->failure != FAILURE_CONFIG || !streq(e->subject, settings[i].subject))
                        continue;
                snprintf(e->subject, sizeof e->subject, "%s", name);
                fail_advice(e, "Correct the environment variable %s, or unset it. Expected is %s.", name,
                            settings[i].expected);
                break;
        }
        return r;
}

/* "true" or "false", by the names of the SDKs' settings. */
static int flag(const char *name, bool *ret, struct error *e) {
        const char *value = environment_value(name);

        if (value && strcasecmp(value, "true") != 0 && strcasecmp(value, "false") != 0)
                return fail(e, FAILURE_CONFIG, -EINVAL, name, "it is \"%s\", expected true or false", value);
        *ret = value && strcasecmp(value, "true") == 0;
        return 0;
}

static int choose_endpoints(struct endpoint_choice *ret_kms, struct endpoint_choice *ret_s3, struct error *e) {
        struct endpoint_choice c = {};
        int r;

        r = flag("AWS_USE_FIPS_ENDPOINT", &c.use_fips, e);
        if (r < 0)
                return r;
        r = flag("AWS_USE_DUALSTACK_ENDPOINT", &c.use_dualstack, e);
        if (r < 0)
                return r;
        *ret_kms = *ret_s3 = c;
        ret_kms->url = environment_value("AWS_ENDPOINT_URL_KMS") ?: environment_value("AWS_ENDPOINT_URL");
        ret_s3->url = environment_value("AWS_ENDPOINT_URL_S3") ?: environment_value("AWS_ENDPOINT_URL");
        return 0;
}

static int make_clients(struct owner *o, struct error *e) {
        const struct http_options http = {
                .ca_bundle = environment_value("AWS_CA_BUNDLE"),
                .unreachable_ms = UNREACHABLE_MS,
        };
        struct service_access kms = {}, s3 = {};
        int r;

        o->region = environment_value("AWS_REGION") ?: environment_value("AWS_DEFAULT_REGION");
        r = choose_endpoints(&kms.endpoint, &s3.endpoint, e);
        if (r < 0)
                return r;
        r = http_new(&http, &o->http, e);
        if (r < 0)
                return r;
        r = credentials_from_environment(&o->credentials, e);
        if (r < 0)
                return r;
        kms.http = s3.http = o->http;
        kms.credentials = s3.credentials = o->credentials;
        kms.region = s3.region = o->region;
        r = kms_new(&kms, 0, &o->kms, e);
        if (r < 0)
                return r;
        return o->region ? s3_new(&s3, &o->s3, e) : 0;
}

int owner_new(struct owner **ret, struct error *e) {
        _cleanup_owner_ struct owner *o = calloc(1, sizeof *o);
        int r;

        if (!o)
                return fail_oom(e);
        r = make_clients(o, e);
        if (r < 0)
                return in_variables(r, e);
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
