/* SPDX-License-Identifier: Apache-2.0 */
#include "configuration/config.h"

#include "aws/key-arn.h"
#include "basic/encode.h"
#include "basic/file.h"
#include "basic/json.h"

enum { CONFIG_MAX = 256 * 1024 };

void config_free(struct config *c) {
        if (!c)
                return;
        for (size_t i = 0; i < c->n_keys; i++)
                free(c->keys[i]);
        for (size_t i = 0; i < c->n_context; i++) {
                free(c->context[i].key);
                free(c->context[i].value);
        }
        free(c->keys);
        free(c->context);
        free(c->digests);
        free(c->model);
        free(c->region);
        free(c->endpoint_imds);
        free(c->endpoint_kms);
        free(c->endpoint_s3);
        free(c->endpoint_autoscaling);
        free(c->hook_group);
        free(c->hook_name);
        free(c->ca_bundle);
        free(c->tcti);
        free(c->model_directory);
        free(c->measurement_log);
        free(c->report);
        free(c);
}

/* Every complaint names the file and the key. */
#define BAD(e, subject, ...) fail(e, FAILURE_CONFIG, -EINVAL, subject, __VA_ARGS__)

static int take_text(json_object *o, const char *absent, char **ret, struct error *e) {
        const char *text = o ? json_text(o) : absent;

        if (!text)
                return 0;
        *ret = strdup(text);
        return *ret ? 0 : fail_oom(e);
}

static int take_keys(json_object *o, const char *subject, struct config *c, struct error *e) {
        size_t n = o ? json_object_array_length(o) : 0;

        if (n == 0 && !c->discovery)
                return BAD(e, subject,
                           "\"keys\" is missing; expected a list of KMS key ARNs, or \"discovery\": true to accept any key");
        if (n > 0 && c->discovery)
                return BAD(e, subject, "\"keys\" and \"discovery\" exclude each other");
        c->keys = calloc(n + 1, sizeof *c->keys);
        if (!c->keys)
                return fail_oom(e);
        for (size_t i = 0; i < n; i++) {
                json_object *key = json_object_array_get_idx(o, i);

                if (!json_object_is_type(key, json_type_string) || !key_arn_valid(json_text(key)))
                        return BAD(e, subject,
                                   "\"keys[%zu]\" must be a KMS key ARN such as arn:aws:kms:REGION:ACCOUNT:key/ID "
                                   "(an alias will not do), not %.200s",
                                   i, json_object_to_json_string_ext(key, JSON_C_TO_STRING_PLAIN));
                c->keys[i] = strdup(json_text(key));
                if (!c->keys[i])
                        return fail_oom(e);
                c->n_keys++;
        }
        return 0;
}

static int take_context(json_object *o, const char *subject, struct config *c, struct error *e) {
        size_t n = o ? (size_t) json_object_object_length(o) : 0;

        c->context = calloc(n + 1, sizeof *c->context);
        if (!c->context)
                return fail_oom(e);
        if (n == 0)
                return 0;
        json_object_object_foreach(o, key, value) {
                struct message_pair *pair = &c->context[c->n_context];

                if (!json_object_is_type(value, json_type_string))
                        return BAD(e, subject, "\"encryption_context.%.100s\" must be text", key);
                pair->key = strdup(key);
                pair->value = strdup(json_text(value));
                c->n_context++;
                if (!pair->key || !pair->value)
                        return fail_oom(e);
        }
        return 0;
}

static int take_digests(json_object *o, const char *subject, struct config *c, struct error *e) {
        static const char prefix[] = "sha384:";
        size_t n = o ? json_object_array_length(o) : 0;

        c->digests = calloc(n + 1, sizeof *c->digests);
        if (!c->digests)
                return fail_oom(e);
        for (; c->n_digests < n; c->n_digests++) {
                json_object *text = json_object_array_get_idx(o, c->n_digests);

                if (!json_object_is_type(text, json_type_string) || strncmp(json_text(text), prefix, strlen(prefix)) != 0 ||
                    hex_decode(json_text(text) + strlen(prefix), c->digests[c->n_digests], MODEL_DIGEST) < 0)
                        return BAD(e, subject, "\"model_digests[%zu]\" must be sha384: and 96 hex digits", c->n_digests);
        }
        return 0;
}

static int take_measure(json_object *o, const char *subject, struct config *c, struct error *e) {
        const char *text = o ? json_text(o) : "model";

        if (streq(text, "model"))
                c->measure = MEASURE_MODEL;
        else if (streq(text, "sha384"))
                c->measure = MEASURE_SHA384;
        else
                return BAD(e, subject, "\"measure\" is \"%.64s\", expected \"model\" or \"sha384\"", text);
        return 0;
}

static int take_endpoints(json_object *o, const char *subject, struct config *c, struct error *e) {
        json_object *imds = NULL, *kms = NULL, *s3 = NULL, *autoscaling = NULL;
        const struct json_field fields[] = {
                { "imds", json_type_string, false, 1, 1024, "a URL", &imds },
                { "kms", json_type_string, false, 1, 1024, "a URL", &kms },
                { "s3", json_type_string, false, 1, 1024, "a URL", &s3 },
                { "autoscaling", json_type_string, false, 1, 1024, "a URL", &autoscaling },
        };
        int r;

        if (!o)
                return 0;
        r = json_fields(o, fields, ELEMENTS(fields), FAILURE_CONFIG, subject, "endpoints", e);
        for (size_t i = 0; r == 0 && i < ELEMENTS(fields); i++) {
                const char *url = *fields[i].ret ? json_text(*fields[i].ret) : "https://";

                if (strncmp(url, "https://", 8) != 0 && strncmp(url, "http://", 7) != 0)
                        r = BAD(e, subject, "\"endpoints.%s\" must be an http or https URL", fields[i].key);
        }
        if (r == 0)
                r = take_text(imds, NULL, &c->endpoint_imds, e);
        if (r == 0)
                r = take_text(kms, NULL, &c->endpoint_kms, e);
        if (r == 0)
                r = take_text(s3, NULL, &c->endpoint_s3, e);
        if (r == 0)
                r = take_text(autoscaling, NULL, &c->endpoint_autoscaling, e);
        return r;
}

static int check_paths(const struct config *c, const char *subject, struct error *e) {
        const struct {
                const char *key, *path;
        } paths[] = {
                { "model_directory", c->model_directory }, { "measurement_log", c->measurement_log },
                { "report", c->report }, { "ca_bundle", c->ca_bundle },
        };

        for (size_t i = 0; i < ELEMENTS(paths); i++)
                if (paths[i].path && paths[i].path[0] != '/')
                        return BAD(e, subject, "\"%s\" must be an absolute path", paths[i].key);
        return 0;
}

int config_parse(const char *text, size_t n, const char *subject, struct config **ret, struct error *e) {
        json_object *keys = NULL, *discovery = NULL, *context = NULL, *digests = NULL, *model = NULL, *measure = NULL,
                    *region = NULL, *fips = NULL, *dualstack = NULL, *endpoints = NULL, *ca = NULL, *tcti = NULL,
                    *directory = NULL, *log = NULL, *report = NULL, *workers = NULL, *connections = NULL,
                    *deadline = NULL, *any_iv = NULL, *hook = NULL;
        const struct json_field fields[] = {
                { "keys", json_type_array, false, 1, 100, "a list of 1 to 100 KMS key ARNs", &keys },
                { "discovery", json_type_boolean, false, 0, 0, "true or false", &discovery },
                { "encryption_context", json_type_object, false, 0, 0, "an object of text values", &context },
                { "model_digests", json_type_array, false, 1, 1000, "a list of 1 to 1000 model digests", &digests },
                { "model", json_type_string, false, 1, 2048, "an s3:// URI", &model },
                { "measure", json_type_string, false, 0, 0, "\"model\" or \"sha384\"", &measure },
                { "region", json_type_string, false, 1, 64, "an AWS Region", &region },
                { "use_fips_endpoint", json_type_boolean, false, 0, 0, "true or false", &fips },
                { "use_dualstack_endpoint", json_type_boolean, false, 0, 0, "true or false", &dualstack },
                { "endpoints", json_type_object, false, 0, 0, "an object with imds, kms, s3, autoscaling", &endpoints },
                { "ca_bundle", json_type_string, false, 1, 1024, "an absolute path", &ca },
                { "tcti", json_type_string, false, 1, 1024, "a TCTI string", &tcti },
                { "model_directory", json_type_string, false, 1, 1024, "an absolute path", &directory },
                { "measurement_log", json_type_string, false, 1, 1024, "an absolute path", &log },
                { "report", json_type_string, false, 1, 1024, "an absolute path", &report },
                { "lifecycle_hook", json_type_object, false, 0, 0, "an object with group and name", &hook },
                { "workers", json_type_int, false, 1, 1024, "1 to 1024", &workers },
                { "connections", json_type_int, false, 1, 1024, "1 to 1024", &connections },
                { "kms_deadline_seconds", json_type_int, false, 1, 3600, "1 to 3600", &deadline },
                { "allow_any_iv", json_type_boolean, false, 0, 0, "true or false", &any_iv },
        };
        _cleanup_(config_freep) struct config *c = calloc(1, sizeof *c);
        _cleanup_json_ json_object *o = NULL;
        int r;

        if (!c)
                return fail_oom(e);
        r = json_parse(text, n, FAILURE_CONFIG, subject, &o, e);
        if (r == 0)
                r = json_fields(o, fields, ELEMENTS(fields), FAILURE_CONFIG, subject, "", e);
        if (r < 0)
                return r;
        c->discovery = json_boolean(discovery, false);
        c->allow_any_iv = json_boolean(any_iv, false);
        c->use_fips_endpoint = json_boolean(fips, false);
        c->use_dualstack_endpoint = json_boolean(dualstack, false);
        c->workers = (unsigned) json_integer(workers, 0);
        c->connections = (unsigned) json_integer(connections, 0);
        c->kms_deadline_ms = (unsigned) json_integer(deadline, 60) * 1000;
        const struct {
                json_object *o;
                const char *absent;
                char **ret;
        } texts[] = {
                { model, NULL, &c->model },
                { region, NULL, &c->region },
                { ca, NULL, &c->ca_bundle },
                { tcti, NULL, &c->tcti },
                { directory, "/run/sealboot/model", &c->model_directory },
                { log, "/run/log/systemd/tpm2-measure.log", &c->measurement_log },
                { report, "/run/sealboot/report.json", &c->report },
        };
        for (size_t i = 0; r == 0 && i < ELEMENTS(texts); i++)
                r = take_text(texts[i].o, texts[i].absent, texts[i].ret, e);
        if (r == 0)
                r = take_keys(keys, subject, c, e);
        if (r == 0)
                r = take_context(context, subject, c, e);
        if (r == 0)
                r = take_digests(digests, subject, c, e);
        if (r == 0)
                r = take_measure(measure, subject, c, e);
        if (r == 0)
                r = take_endpoints(endpoints, subject, c, e);
        if (r == 0)
                r = lifecycle_hook_parse(hook, FAILURE_CONFIG, subject, "lifecycle_hook", &c->hook_group, &c->hook_name, e);
        if (r == 0)
                r = check_paths(c, subject, e);
        if (r < 0)
                return r;
        *ret = TAKE(c);
        return 0;
}

int config_load(const char *path, struct config **ret, struct error *e) {
        _cleanup_free_ uint8_t *text = NULL;
        size_t n;
        int r;

        r = file_read(path, CONFIG_MAX, FAILURE_CONFIG, &text, &n, e);
        return r < 0 ? r : config_parse((char *) text, n, path, ret, e);
}

/* ---- what the configuration decides */

struct endpoint_choice config_endpoint(const struct config *c, const char *url) {
        return (struct endpoint_choice) { url, c->use_fips_endpoint, c->use_dualstack_endpoint };
}

static int check_context(const struct config *c, const struct message_header *h, const char *subject, struct error *e) {
        for (size_t i = 0; i < c->n_context; i++) {
                const char *value = message_header_context(h, c->context[i].key);

                if (!value)
                        return fail(e, FAILURE_CONTEXT, -EACCES, subject,
                                    "its encryption context lacks \"%.100s\", which must be \"%.200s\"", c->context[i].key,
                                    c->context[i].value);
                if (!streq(value, c->context[i].value))
                        return fail(e, FAILURE_CONTEXT, -EACCES, subject,
                                    "its encryption context has \"%.100s\" = \"%.200s\", which must be \"%.200s\"",
                                    c->context[i].key, value, c->context[i].value);
        }
        return 0;
}

int config_accept(const struct config *c, const struct message_header *h, const char *region, const char *subject,
                  struct key_candidates *ret, struct error *e) {
        _cleanup_key_candidates_ struct key_candidates found = {};
        int r;

        r = key_candidates_find(h, c->discovery ? NULL : (const char *const *) c->keys, c->n_keys, region, &found, e);
        if (r < 0)
                return r;
        if (found.n == 0)
                return fail(e, FAILURE_KEY_NOT_PINNED, -EACCES, subject,
                            "it is sealed under %s %.300s%s, which is not among the %zu pinned keys",
                            /* NOLINTNEXTLINE(clang-analyzer-core.NullDereference): a header has at least one */
                            h->data_keys[0].provider, h->data_keys[0].info, h->n_data_keys > 1 ? " and others" : "",
                            c->n_keys);
        r = check_context(c, h, subject, e);
        if (r < 0)
                return r;
        *ret = found;
        found = (struct key_candidates) {};
        return 0;
}

int config_accept_digest(const struct config *c, const uint8_t digest[static MODEL_DIGEST], const char *subject,
                         struct error *e) {
        char hex[2 * MODEL_DIGEST + 1];

        for (size_t i = 0; i < c->n_digests; i++)
                if (memcmp(c->digests[i], digest, MODEL_DIGEST) == 0)
                        return 0;
        if (c->n_digests == 0)
                return 0;
        hex_encode(digest, MODEL_DIGEST, hex);
        return fail(e, FAILURE_DIGEST, -EACCES, subject,
                    "the model digest sha384:%s is not among the %zu that \"model_digests\" allows", hex, c->n_digests);
}
