/* SPDX-License-Identifier: Apache-2.0 */

/* Which models, in which Region, with whose credentials: asked of the metadata service. */

#include "boot/boot.h"

static int find_region(struct boot *b, struct error *e) {
        if (!b->config->region)
                return imds_region(b->services.imds, &b->services.region, e);
        b->services.region = strdup(b->config->region);
        return b->services.region ? 0 : fail_oom(e);
}

static int name_source(struct boot *b, struct boot_input *in, struct error *e) {
        int r;

        r = boot_name_source(b, in, in->place->key, e);
        if (r < 0)
                return r;
        if (in->label)
                boot_report_text(b, in, "owner", in->asked->owner);
        boot_report_text(b, in, "model.source", in->source);
        return 0;
}

static int find_models(struct boot *b, struct error *e) {
        _cleanup_free_ uint8_t *user_data = NULL;
        size_t n;
        int r;

        r = imds_user_data(b->services.imds, launch_needs_user_data(b->config), &user_data, &n, e);
        if (r < 0)
                return r;
        r = launch_parse((char *) user_data, n, b->config, &b->sealed.launch, e);
        if (r < 0)
                return r;
        r = boot_set_inputs(b, e);
        if (r < 0)
                return r;
        return boot_each_input(b, name_source, e);
}

/* Last, so that a state that is not understood can still be told to the hook that user data names. */
static int find_state(struct boot *b, struct error *e) {
        int r;

        r = imds_lifecycle_state(b->services.imds, &b->lifecycle.state, e);
        if (r == 0 && b->lifecycle.state != LIFECYCLE_NONE)
                report_text(b->report, "lifecycle.target", lifecycle_state_name(b->lifecycle.state));
        return r;
}

int boot_ask_metadata(struct boot *b, struct error *e) {
        struct boot_services *s = &b->services;
        int r;

        r = imds_new(s->http, b->config->endpoint_imds, 0, &s->imds, e);
        if (r < 0)
                return r;
        r = credentials_from_imds(s->imds, &s->credentials, e);
        if (r < 0)
                return r;
        /* The Region comes before the user data: a boot that fails on user data can still tell Auto Scaling. */
        r = find_region(b, e);
        if (r < 0)
                return r;
        r = find_models(b, e);
        if (r < 0)
                return r;
        return find_state(b, e);
}

struct service_access boot_access(const struct boot *b, const char *url) {
        return (struct service_access) {
                .http = b->services.http,
                .credentials = b->services.credentials,
                .region = b->services.region,
                .endpoint = config_endpoint(b->config, url),
        };
}

static int connect_services(struct boot *b, struct error *e) {
        const struct service_access s3 = boot_access(b, b->config->endpoint_s3),
                                    kms = boot_access(b, b->config->endpoint_kms);
        int r;

        r = s3_new(&s3, &b->services.s3, e);
        if (r < 0)
                return r;
        return kms_new(&kms, b->config->kms_deadline_ms, &b->services.kms, e);
}

int boot_locate(struct boot *b, struct error *e) {
        int r;

        boot_status("Asking the metadata service");
        report_begin(b->report, "metadata");
        r = boot_ask_metadata(b, e);
        if (r == 0)
                r = connect_services(b, e);
        report_end(b->report, "metadata", 0);
        return r;
}
