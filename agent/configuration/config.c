/* SPDX-License-Identifier: Apache-2.0 */
#include "configuration/config.h"

#include "aws/endpoint.h"
#include "basic/file.h"
#include "configuration/setting.h"

enum { CONFIG_MAX = 256 * 1024 };

void config_free(struct config *c) {
        if (!c)
                return;
        for (size_t i = 0; i < c->n_inputs; i++)
                input_done(&c->inputs[i]);
        free(c->region);
        free(c->endpoint_imds);
        free(c->endpoint_kms);
        free(c->endpoint_s3);
        free(c->endpoint_autoscaling);
        free(c->hook_group);
        free(c->hook_name);
        readiness_done(&c->ready);
        free(c->ca_bundle);
        free(c->tcti);
        free(c->model_directory);
        free(c->measurement_log);
        free(c->report);
        free(c->report_to);
        free(c);
}

static int take_measure(const struct setting *s, json_object *o, const struct reading *r) {
        const char *text = o ? json_text(o) : "model";

        if (streq(text, "model"))
                r->c->measure = MEASURE_MODEL;
        else if (streq(text, "sha384"))
                r->c->measure = MEASURE_SHA384;
        else
                return BAD(r, "\"%s\" is \"%.64s\", expected \"model\" or \"sha384\"", s->key, text);
        return 0;
}

static int take_hook(const struct setting *s, json_object *o, const struct reading *r) {
        return lifecycle_hook_parse(o, FAILURE_CONFIG, r->subject, s->key, &r->c->hook_group, &r->c->hook_name, r->e);
}

static int take_ready(const struct setting *s, json_object *o, const struct reading *r) {
        return readiness_parse(o, r->subject, s->key, &r->c->ready, r->e);
}

static int take_keep(const struct setting *s, json_object *o, const struct reading *r) {
        const char *text = o ? json_text(o) : "always";

        if (streq(text, "always"))
                r->c->keep = KEEP_ALWAYS;
        else if (streq(text, "until-ready"))
                r->c->keep = KEEP_UNTIL_READY;
        else
                return BAD(r, "\"%s\" is \"%.64s\", expected \"always\" or \"until-ready\"", s->key, text);
        return 0;
}

/* ---- the tables */

#define ENDPOINT(name) \
        { \
#name, json_type_string, 1, 1024, "an http or https URL", setting_text, \
                        .offset = offsetof(struct config, endpoint_##name), .check = value_endpoint \
        }

static const struct setting endpoint_settings[] = {
        ENDPOINT(imds),
        ENDPOINT(kms),
        ENDPOINT(s3),
        ENDPOINT(autoscaling),
};

static int take_endpoints(const struct setting *s, json_object *o, const struct reading *r) {
        struct reading inside = *r;

        inside.where = "endpoints.";
        return o ? settings_take(endpoint_settings, ELEMENTS(endpoint_settings), o, s->key, &inside) : 0;
}

/* "inputs" comes after the keys of the form for one model and "measure", which it excludes. */
static const struct setting settings[] = {
        SETTING_LIST(keys, 100, "a list of 1 to 100 KMS key ARNs", setting_keys),
        SETTING_FLAG(discovery, IN_INPUT),
        SETTING_OBJECT(encryption_context, "an object of text values", setting_context),
        SETTING_LIST(model_digests, 1000, "a list of 1 to 1000 model digests", setting_digests),
        SETTING_TEXT(model, IN_INPUT, 2048, "an s3:// URI", value_model),
        SETTING_OBJECT(key_store, "an object with url and ca_bundle", setting_key_store),
        SETTING(measure, json_type_string, 0, 0, "\"model\" or \"sha384\"", take_measure, .offset = 0),
        SETTING_LIST(inputs, INPUTS_MAX, "a list of 1 to 16 inputs", setting_inputs),
        SETTING_TEXT(region, IN_CONFIG, 64, "an AWS Region", value_region),
        SETTING_FLAG(use_fips_endpoint, IN_CONFIG),
        SETTING_FLAG(use_dualstack_endpoint, IN_CONFIG),
        SETTING_OBJECT(endpoints, "an object with imds, kms, s3, autoscaling", take_endpoints),
        SETTING_TEXT(ca_bundle, IN_CONFIG, 1024, "an absolute path", value_file),
        SETTING_TEXT(tcti, IN_CONFIG, 1024, "a TCTI string", value_tcti),
        SETTING_TEXT_OR(model_directory, IN_CONFIG, "/run/sealboot/model", 1024, "an absolute path", value_path),
        SETTING_TEXT_OR(measurement_log, IN_CONFIG, "/run/log/systemd/tpm2-measure.log", 1024, "an absolute path",
                        value_file),
        SETTING_TEXT_OR(report, IN_CONFIG, "/run/sealboot/report.json", 1024, "an absolute path", value_file),
        SETTING_TEXT(report_to, IN_CONFIG, 1024, "an s3:// URI of a prefix", value_prefix),
        SETTING_OBJECT(lifecycle_hook, "an object with group and name", take_hook),
        SETTING_OBJECT(ready, "an object with upstream and health", take_ready),
        SETTING(keep, json_type_string, 0, 0, "\"always\" or \"until-ready\"", take_keep, .offset = 0),
        SETTING_NUMBER(workers, 1024),
        SETTING_NUMBER(connections, 1024),
        SETTING(kms_deadline_seconds, json_type_int, 1, 3600, "1 to 3600", setting_seconds,
                .offset = offsetof(struct config, kms_deadline_ms)),
        SETTING(heartbeat_seconds, json_type_int, 1, 3600, "1 to 3600", setting_seconds,
                .offset = offsetof(struct config, heartbeat_ms)),
        SETTING_FLAG(allow_any_iv, IN_CONFIG),
};
_Static_assert(ELEMENTS(settings) <= SETTINGS_MAX, "settings_take() has too little room");

const char *config_key(size_t i) {
        return i < ELEMENTS(settings) ? settings[i].key : NULL;
}

static int check_fips(const struct reading *r) {
        const struct config *c = r->c;
        const struct endpoint_choice choice = config_endpoint(c, NULL);
        _cleanup_endpoint_ struct endpoint unused = {};
        struct error why = {};

        if (!c->region || c->endpoint_s3 || endpoint_aws(NULL, "s3", c->region, &choice, &unused, &why) == 0)
                return 0;
        return BAD(r, "\"use_fips_endpoint\": %s", why.reason);
}

/* What two keys together must be. */
static int check_together(const struct reading *r) {
        const struct config *c = r->c;
        const struct input *in = &c->inputs[0]; /* of a list, each was checked */

        if (in->n_keys == 0 && !in->discovery)
                return BAD(r, "\"keys\" is missing; expected a list of KMS key ARNs, or \"discovery\": true to accept "
                              "any key");
        if (in->n_keys > 0 && in->discovery)
                return BAD(r, "\"keys\" and \"discovery\" exclude each other");
        if (streq(c->report, c->measurement_log))
                return BAD(r, "\"report\" and \"measurement_log\" are the same file");
        if (streq(c->report, c->model_directory) || streq(c->measurement_log, c->model_directory))
                return BAD(r, "\"%s\" is \"model_directory\", which is not a file",
                           streq(c->report, c->model_directory) ? "report" : "measurement_log");
        if (c->keep == KEEP_UNTIL_READY && !c->ready.socket)
                return BAD(r, "\"keep\": \"until-ready\" needs \"ready\", which says when the server is ready");
        return check_fips(r);
}

int config_parse(const char *text, size_t n, const char *subject, struct config **ret, struct error *e) {
        _cleanup_(config_freep) struct config *c = calloc(1, sizeof *c);
        struct reading reading = { .c = c, .input = &c->inputs[0], .subject = subject, .where = "", .e = e };
        _cleanup_json_ json_object *o = NULL;
        int r;

        if (!c)
                return fail_oom(e);
        c->kms_deadline_ms = 60 * 1000;
        c->heartbeat_ms = 30 * 1000;
        c->n_inputs = 1;
        c->inputs[0].required = true;
        r = json_parse(text, n, FAILURE_CONFIG, subject, &o, e);
        if (r < 0)
                return r;
        r = settings_take(settings, ELEMENTS(settings), o, "", &reading);
        if (r < 0)
                return r;
        r = check_together(&reading);
        if (r < 0)
                return r;
        *ret = TAKE(c);
        return 0;
}

int config_read(const char *path, struct config **ret, struct error *e) {
        _cleanup_free_ uint8_t *text = NULL;
        size_t n;
        int r;

        r = file_read(path, CONFIG_MAX, FAILURE_CONFIG, &text, &n, e);
        return r < 0 ? r : config_parse((char *) text, n, path, ret, e);
}

int config_load(const char *path, const char *root, struct config **ret, struct error *e) {
        _cleanup_(config_freep) struct config *c = NULL;
        int r;

        r = config_read(path, &c, e);
        if (r < 0)
                return r;
        if (c->ca_bundle) {
                r = config_check_bundle(c->ca_bundle, root, e);
                if (r < 0)
                        return r;
        }
        for (size_t i = 0; i < c->n_inputs; i++) {
                if (!c->inputs[i].store_bundle)
                        continue;
                r = config_check_bundle(c->inputs[i].store_bundle, root, e);
                if (r < 0)
                        return r;
        }
        *ret = TAKE(c);
        return 0;
}

/* ---- what the configuration decides */

struct endpoint_choice config_endpoint(const struct config *c, const char *url) {
        return (struct endpoint_choice) { url, c->use_fips_endpoint, c->use_dualstack_endpoint };
}
