/* SPDX-License-Identifier: Apache-2.0 */
#include "configuration/config.h"

#include "aws/key-arn.h"
#include "aws/s3.h"
#include "aws/service.h"
#include "basic/encode.h"
#include "basic/file.h"
#include "basic/json.h"
#include "basic/utf8.h"

enum { CONFIG_MAX = 256 * 1024, SETTINGS_MAX = 32 };

void config_free(struct config *c) {
        if (!c)
                return;
        for (size_t i = 0; i < c->n_keys; i++)
                free(c->keys[i]);
        pairs_free(c->context, c->n_context);
        free(c->keys);
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

/* ---- one value */

/* The configuration being read, and where in it. */
struct reading {
        struct config *c;
        const char *subject; /* the file */
        const char *where;   /* "", or "endpoints." inside that object */
        struct error *e;
};

/* Every complaint names the file and the key. */
#define BAD(r, ...) fail((r)->e, FAILURE_CONFIG, -EINVAL, (r)->subject, __VA_ARGS__)

/* One key: what json_fields() checks of it, and who takes its value (NULL when the key is absent). */
struct setting {
        const char *key;
        enum json_type type;
        int64_t min, max;
        const char *expected;
        int (*take)(const struct setting *s, json_object *o, const struct reading *r);
        size_t offset; /* of the member of struct config, for the takers that need no more to know it */
        int (*check)(const char *text, struct error *why);
        const char *absent; /* the text when the key is absent, or NULL */
};

static void *member(const struct setting *s, const struct reading *r) {
        return (uint8_t *) r->c + s->offset;
}

static int take_text(const struct setting *s, json_object *o, const struct reading *r) {
        const char *text = o ? json_text(o) : s->absent;
        char **to = member(s, r);
        struct error why = {};

        if (!text)
                return 0;
        if (s->check && s->check(text, &why) < 0)
                return BAD(r, "\"%s%s\": %s", r->where, s->key, why.reason);
        *to = strdup(text);
        return *to ? 0 : fail_oom(r->e);
}

static int take_flag(const struct setting *s, json_object *o, const struct reading *r) {
        bool *to = member(s, r);

        *to = json_boolean(o, *to);
        return 0;
}

static int take_number(const struct setting *s, json_object *o, const struct reading *r) {
        unsigned *to = member(s, r);

        *to = (unsigned) json_integer(o, *to);
        return 0;
}

static int take_seconds(const struct setting *s, json_object *o, const struct reading *r) {
        unsigned *to = member(s, r);

        *to = (unsigned) json_integer(o, *to / 1000) * 1000;
        return 0;
}

/* ---- what a text must be: the checks are those of the code that uses the value at boot */

static int check_endpoint(const char *text, struct error *why) {
        _cleanup_endpoint_ struct endpoint unused = {};

        return endpoint_parse(text, "endpoint", &unused, why);
}

static int check_model(const char *text, struct error *why) {
        _cleanup_free_ char *bucket = NULL, *key = NULL;
        struct error inner = {};

        if (s3_parse_uri(text, FAILURE_CONFIG, &bucket, &key, &inner) == 0)
                return 0;
        return fail(why, inner.failure, -EINVAL, text, "\"%.200s\": %s", text, inner.reason);
}

static int check_region(const char *text, struct error *why) {
        if (region_valid(text))
                return 0;
        return fail(why, FAILURE_CONFIG, -EINVAL, text, "\"%s\" is not the name of a Region%s", text,
                    region_hint(text));
}

static int check_path(const char *text, struct error *why) {
        if (text[0] != '/')
                return fail(why, FAILURE_CONFIG, -EINVAL, text, "\"%.200s\" is not an absolute path", text);
        if (!utf8_printable(text))
                return fail(why, FAILURE_CONFIG, -EINVAL, text, "\"%.200s\" has control characters", text);
        return 0;
}

static int check_file(const char *text, struct error *why) {
        if (text[strlen(text) - 1] == '/')
                return fail(why, FAILURE_CONFIG, -EINVAL, text, "\"%.200s\" is the name of a directory, not of a file",
                            text);
        return check_path(text, why);
}

/* "host=127.0.0.1,port=2321", as the modules swtpm and mssim take it. */
static int check_socket(const char *text, struct error *why) {
        while (*text) {
                size_t n = strcspn(text, ","), name = strcspn(text, "=,");
                char value[256];
                uint64_t port;

                snprintf(value, sizeof value, "%.*s", (int) (n - MIN_OF(n, name + 1)), text + MIN_OF(n, name + 1));
                if (name == n || !value[0] || n - name > sizeof value)
                        return fail(why, FAILURE_CONFIG, -EINVAL, "", "\"%.*s\" is not NAME=VALUE",
                                    (int) MIN_OF(n, 200u), text);
                if (name == 4 && strncmp(text, "port", name) == 0) {
                        if (decimal_parse(value, UINT16_MAX, &port) < 0 || port == 0)
                                return fail(why, FAILURE_CONFIG, -EINVAL, "", "\"%s\" is not a port", value);
                } else if (name != 4 || (strncmp(text, "host", name) != 0 && strncmp(text, "path", name) != 0))
                        return fail(why, FAILURE_CONFIG, -EINVAL, "", "\"%.*s\" is none of host, port, path",
                                    (int) MIN_OF(name, 200u), text);
                text += n + (text[n] == ',');
        }
        return 0;
}

/* A module's name, and after a colon what the module makes of it. Modules are libraries of their own: which there
 * are, only the image can tell. */
static int check_tcti(const char *text, struct error *why) {
        const char *colon = strchrnul(text, ':'), *conf = *colon ? colon + 1 : "";
        size_t n = (size_t) (colon - text);

        if (!utf8_printable(text))
                return fail(why, FAILURE_CONFIG, -EINVAL, text, "\"%.200s\" has control characters", text);
        if (n == 0)
                return fail(why, FAILURE_CONFIG, -EINVAL, text, "\"%.200s\" has no module's name before the colon",
                            text);
        if (n == strlen("device") && strncmp(text, "device", n) == 0 && *colon && conf[0] != '/')
                return fail(why, FAILURE_CONFIG, -EINVAL, text,
                            "\"%.200s\" names no device: an absolute path follows the colon", text);
        if (n == strlen("swtpm") && (strncmp(text, "swtpm", n) == 0 || strncmp(text, "mssim", n) == 0))
                return check_socket(conf, why);
        return 0;
}

/* ---- lists and objects */

/* A text that is whole: one cut at an embedded NUL would read differently elsewhere. NULL: it is none. */
static const char *whole_text(json_object *o) {
        if (!json_object_is_type(o, json_type_string) || strlen(json_text(o)) != (size_t) json_object_get_string_len(o))
                return NULL;
        return json_text(o);
}

static int take_keys(const struct setting *s, json_object *o, const struct reading *r) {
        const int plain = JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE;
        struct config *c = r->c;
        size_t n = o ? json_object_array_length(o) : 0;

        c->keys = calloc(n + 1, sizeof *c->keys);
        if (!c->keys)
                return fail_oom(r->e);
        for (size_t i = 0; i < n; i++) {
                json_object *key = json_object_array_get_idx(o, i);
                const char *arn = whole_text(key);

                if (!arn || !key_arn_valid(arn))
                        return BAD(r,
                                   "\"%s[%zu]\" must be a KMS key ARN such as arn:aws:kms:REGION:ACCOUNT:key/ID (an "
                                   "alias will not do), not %.200s",
                                   s->key, i, json_object_to_json_string_ext(key, plain));
                if (!key_arn_has_its_partition(arn))
                        return BAD(r,
                                   "\"%s[%zu]\" names a Region that is not in the partition of the ARN's beginning: "
                                   "%.200s",
                                   s->key, i, arn);
                c->keys[i] = strdup(arn);
                if (!c->keys[i])
                        return fail_oom(r->e);
                c->n_keys++;
        }
        return 0;
}

/* What no sealed message can hold is refused here: no model would ever be accepted. */
static int take_pair(const struct setting *s, const char *key, json_object *value, const struct reading *r,
                     size_t *size) {
        struct pair *pair = &r->c->context[r->c->n_context];
        const char *text = whole_text(value);

        if (!text)
                return BAD(r, "\"%s.%.100s\" must be text without a NUL character", s->key, key);
        if (!key[0])
                return BAD(r, "\"%s\" has a pair whose key is empty", s->key);
        if (strncmp(key, "aws-crypto-", strlen("aws-crypto-")) == 0)
                return BAD(r, "\"%s.%.100s\": keys that start with aws-crypto- belong to the AWS Encryption SDK",
                           s->key, key);
        *size += 2 + strlen(key) + 2 + strlen(text);
        if (*size > UINT16_MAX)
                return BAD(r, "\"%s\" is longer than the %d bytes that a sealed file can hold", s->key, UINT16_MAX);
        pair->name = strdup(key);
        pair->value = strdup(text);
        r->c->n_context++;
        return pair->name && pair->value ? 0 : fail_oom(r->e);
}

static int take_context(const struct setting *s, json_object *o, const struct reading *r) {
        size_t n = o ? (size_t) json_object_object_length(o) : 0, size = 2;

        r->c->context = calloc(n + 1, sizeof *r->c->context);
        if (!r->c->context)
                return fail_oom(r->e);
        if (n == 0)
                return 0;
        json_object_object_foreach(o, key, value) {
                int result = take_pair(s, key, value, r, &size);

                if (result < 0)
                        return result;
        }
        return 0;
}

static int take_digests(const struct setting *s, json_object *o, const struct reading *r) {
        static const char prefix[] = "sha384:";
        struct config *c = r->c;
        size_t n = o ? json_object_array_length(o) : 0;

        c->digests = calloc(n + 1, sizeof *c->digests);
        if (!c->digests)
                return fail_oom(r->e);
        for (; c->n_digests < n; c->n_digests++) {
                const char *text = whole_text(json_object_array_get_idx(o, c->n_digests));

                if (!text || strncmp(text, prefix, strlen(prefix)) != 0 ||
                    hex_decode(text + strlen(prefix), c->digests[c->n_digests], MODEL_DIGEST) < 0)
                        return BAD(r, "\"%s[%zu]\" must be sha384: and 96 hex digits", s->key, c->n_digests);
        }
        return 0;
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

/* ---- the tables */

/* Every value of an object that the table knows is taken, present or not, in the table's order. */
static int take_settings(const struct setting *settings, size_t n, json_object *o, const char *object,
                         const struct reading *r) {
        struct json_field fields[SETTINGS_MAX];
        json_object *values[SETTINGS_MAX] = {};
        int result;

        for (size_t i = 0; i < n; i++) {
                const struct setting *s = &settings[i];

                fields[i] = (struct json_field) { s->key, s->type, false, s->min, s->max, s->expected, &values[i] };
        }
        result = json_fields(o, fields, n, FAILURE_CONFIG, r->subject, object, r->e);
        for (size_t i = 0; result == 0 && i < n; i++)
                result = settings[i].take(&settings[i], values[i], r);
        return result;
}

#define AT(name) offsetof(struct config, name)
#define URL "an http or https URL"

static const struct setting endpoint_settings[] = {
        { "imds", json_type_string, 1, 1024, URL, take_text, AT(endpoint_imds), check_endpoint, NULL },
        { "kms", json_type_string, 1, 1024, URL, take_text, AT(endpoint_kms), check_endpoint, NULL },
        { "s3", json_type_string, 1, 1024, URL, take_text, AT(endpoint_s3), check_endpoint, NULL },
        { "autoscaling", json_type_string, 1, 1024, URL, take_text, AT(endpoint_autoscaling), check_endpoint, NULL },
};

static int take_endpoints(const struct setting *s, json_object *o, const struct reading *r) {
        struct reading inside = *r;

        inside.where = "endpoints.";
        return o ? take_settings(endpoint_settings, ELEMENTS(endpoint_settings), o, s->key, &inside) : 0;
}

static const struct setting settings[] = {
        { "keys", json_type_array, 1, 100, "a list of 1 to 100 KMS key ARNs", take_keys, 0, NULL, NULL },
        { "discovery", json_type_boolean, 0, 0, "true or false", take_flag, AT(discovery), NULL, NULL },
        { "encryption_context", json_type_object, 0, 0, "an object of text values", take_context, 0, NULL, NULL },
        { "model_digests", json_type_array, 1, 1000, "a list of 1 to 1000 model digests", take_digests, 0, NULL, NULL },
        { "model", json_type_string, 1, 2048, "an s3:// URI", take_text, AT(model), check_model, NULL },
        { "measure", json_type_string, 0, 0, "\"model\" or \"sha384\"", take_measure, 0, NULL, NULL },
        { "region", json_type_string, 1, 64, "an AWS Region", take_text, AT(region), check_region, NULL },
        { "use_fips_endpoint", json_type_boolean, 0, 0, "true or false", take_flag, AT(use_fips_endpoint), NULL, NULL },
        { "use_dualstack_endpoint", json_type_boolean, 0, 0, "true or false", take_flag, AT(use_dualstack_endpoint),
          NULL, NULL },
        { "endpoints", json_type_object, 0, 0, "an object with imds, kms, s3, autoscaling", take_endpoints, 0, NULL,
          NULL },
        { "ca_bundle", json_type_string, 1, 1024, "an absolute path", take_text, AT(ca_bundle), check_file, NULL },
        { "tcti", json_type_string, 1, 1024, "a TCTI string", take_text, AT(tcti), check_tcti, NULL },
        { "model_directory", json_type_string, 1, 1024, "an absolute path", take_text, AT(model_directory), check_path,
          "/run/sealboot/model" },
        { "measurement_log", json_type_string, 1, 1024, "an absolute path", take_text, AT(measurement_log), check_file,
          "/run/log/systemd/tpm2-measure.log" },
        { "report", json_type_string, 1, 1024, "an absolute path", take_text, AT(report), check_file,
          "/run/sealboot/report.json" },
        { "lifecycle_hook", json_type_object, 0, 0, "an object with group and name", take_hook, 0, NULL, NULL },
        { "workers", json_type_int, 1, 1024, "1 to 1024", take_number, AT(workers), NULL, NULL },
        { "connections", json_type_int, 1, 1024, "1 to 1024", take_number, AT(connections), NULL, NULL },
        { "kms_deadline_seconds", json_type_int, 1, 3600, "1 to 3600", take_seconds, AT(kms_deadline_ms), NULL, NULL },
        { "allow_any_iv", json_type_boolean, 0, 0, "true or false", take_flag, AT(allow_any_iv), NULL, NULL },
};
_Static_assert(ELEMENTS(settings) <= SETTINGS_MAX, "take_settings() has too little room");

static int check_fips(const struct reading *r) {
        const struct config *c = r->c;
        const struct endpoint_choice choice = config_endpoint(c, NULL);
        _cleanup_endpoint_ struct endpoint unused = {};
        struct error why = {};

        if (!c->region || c->endpoint_s3 || endpoint_aws(NULL, "s3", c->region, &choice, &unused, &why) == 0)
                return 0;
        return BAD(r, "\"use_fips_endpoint\": %s", why.reason);
}

/* What no key tells alone. */
static int check_together(const struct reading *r) {
        const struct config *c = r->c;

        if (c->n_keys == 0 && !c->discovery)
                return BAD(r, "\"keys\" is missing; expected a list of KMS key ARNs, or \"discovery\": true to accept "
                              "any key");
        if (c->n_keys > 0 && c->discovery)
                return BAD(r, "\"keys\" and \"discovery\" exclude each other");
        if (streq(c->report, c->measurement_log))
                return BAD(r, "\"report\" and \"measurement_log\" are the same file");
        if (streq(c->report, c->model_directory) || streq(c->measurement_log, c->model_directory))
                return BAD(r, "\"%s\" is \"model_directory\", which is no file",
                           streq(c->report, c->model_directory) ? "report" : "measurement_log");
        return check_fips(r);
}

int config_parse(const char *text, size_t n, const char *subject, struct config **ret, struct error *e) {
        _cleanup_(config_freep) struct config *c = calloc(1, sizeof *c);
        struct reading reading = { .c = c, .subject = subject, .where = "", .e = e };
        _cleanup_json_ json_object *o = NULL;
        int r;

        if (!c)
                return fail_oom(e);
        c->kms_deadline_ms = 60 * 1000;
        r = json_parse(text, n, FAILURE_CONFIG, subject, &o, e);
        if (r == 0)
                r = take_settings(settings, ELEMENTS(settings), o, "", &reading);
        if (r == 0)
                r = check_together(&reading);
        if (r < 0)
                return r;
        *ret = TAKE(c);
        return 0;
}

int config_load(const char *path, const char *root, struct config **ret, struct error *e) {
        _cleanup_(config_freep) struct config *c = NULL;
        _cleanup_free_ uint8_t *text = NULL;
        size_t n;
        int r;

        r = file_read(path, CONFIG_MAX, FAILURE_CONFIG, &text, &n, e);
        if (r == 0)
                r = config_parse((char *) text, n, path, &c, e);
        if (r == 0 && c->ca_bundle)
                r = config_check_bundle(c->ca_bundle, root, e);
        if (r < 0)
                return r;
        *ret = TAKE(c);
        return 0;
}

/* ---- what the configuration decides */

struct endpoint_choice config_endpoint(const struct config *c, const char *url) {
        return (struct endpoint_choice) { url, c->use_fips_endpoint, c->use_dualstack_endpoint };
}

struct accepted config_accepted(const struct config *c) {
        return (struct accepted) {
                .keys = c->discovery ? NULL : (const char *const *) c->keys,
                .n_keys = c->n_keys,
                .keys_name = "pinned keys",
                .context = c->context,
                .n_context = c->n_context,
                .digests = (const uint8_t(*)[MODEL_DIGEST]) c->digests,
                .n_digests = c->n_digests,
                .digests_name = "\"model_digests\"",
                .plain_digests = c->measure == MEASURE_SHA384,
                .any_iv = c->allow_any_iv,
        };
}
