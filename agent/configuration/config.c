/* SPDX-License-Identifier: Apache-2.0 */
#include "configuration/config.h"

#include "aws/key-arn.h"
#include "aws/endpoint.h"
#include "basic/encode.h"
#include "basic/file.h"
#include "basic/json.h"
#include "configuration/value.h"

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

/* An error about the file; the reason names the key. */
#define BAD(r, ...) fail((r)->e, FAILURE_CONFIG, -EINVAL, (r)->subject, __VA_ARGS__)

/* One key: what json_fields() checks of it, and the function that stores its value. */
struct setting {
        const char *key;
        enum json_type type;
        int64_t min, max;
        const char *expected;
        int (*take)(const struct setting *s, json_object *o, const struct reading *r); /* `o` NULL: the key is absent */
        size_t offset; /* of the member of struct config that take_text() and its like store into */
        int (*check)(const char *text, struct error *why); /* take_text(): one of value.h, or NULL */
        const char *absent;                                /* take_text(): the default, or NULL */
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

/* ---- lists and objects */

/* The text of a value; NULL when the value is no text, or has a NUL, at which C code would cut it. */
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

/* Refuses pairs that no sealed message can hold: with them no model would ever be accepted. */
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

/* Stores the values of an object that holds only keys of the table, in the order of the table. Keys that are absent are
 * stored, too: they may have a default. */
static int take_settings(const struct setting *table, size_t n, json_object *o, const char *object,
                         const struct reading *r) {
        struct json_field fields[SETTINGS_MAX];
        json_object *values[SETTINGS_MAX] = {};
        int result;

        for (size_t i = 0; i < n; i++) {
                const struct setting *s = &table[i];

                fields[i] = (struct json_field) { s->key, s->type, false, s->min, s->max, s->expected, &values[i] };
        }
        result = json_fields(o, fields, n, FAILURE_CONFIG, r->subject, object, r->e);
        if (result < 0)
                return result;
        for (size_t i = 0; i < n; i++) {
                result = table[i].take(&table[i], values[i], r);
                if (result < 0)
                        return result;
        }
        return 0;
}

#define URL "an http or https URL"
/* A key has the name of its member. */
#define AT(name) offsetof(struct config, name)
#define FLAG(name) \
        { #name, json_type_boolean, 0, 0, "true or false", take_flag, AT(name), NULL, NULL }
#define NUMBER(name, most) \
        { #name, json_type_int, 1, most, "1 to " #most, take_number, AT(name), NULL, NULL }
#define TEXT(name, most, expected, check) \
        { #name, json_type_string, 1, most, expected, take_text, AT(name), check, NULL }
#define TEXT_OR(name, absent, most, expected, check) \
        { #name, json_type_string, 1, most, expected, take_text, AT(name), check, absent }
#define LIST(name, most, expected, take) \
        { #name, json_type_array, 1, most, expected, take, 0, NULL, NULL }
#define OBJECT(name, expected, take) \
        { #name, json_type_object, 0, 0, expected, take, 0, NULL, NULL }
#define ENDPOINT(name) \
        { #name, json_type_string, 1, 1024, URL, take_text, AT(endpoint_##name), value_endpoint, NULL }

static const struct setting endpoint_settings[] = {
        ENDPOINT(imds),
        ENDPOINT(kms),
        ENDPOINT(s3),
        ENDPOINT(autoscaling),
};

static int take_endpoints(const struct setting *s, json_object *o, const struct reading *r) {
        struct reading inside = *r;

        inside.where = "endpoints.";
        return o ? take_settings(endpoint_settings, ELEMENTS(endpoint_settings), o, s->key, &inside) : 0;
}

static const struct setting settings[] = {
        LIST(keys, 100, "a list of 1 to 100 KMS key ARNs", take_keys),
        FLAG(discovery),
        OBJECT(encryption_context, "an object of text values", take_context),
        LIST(model_digests, 1000, "a list of 1 to 1000 model digests", take_digests),
        TEXT(model, 2048, "an s3:// URI", value_model),
        { "measure", json_type_string, 0, 0, "\"model\" or \"sha384\"", take_measure, 0, NULL, NULL },
        TEXT(region, 64, "an AWS Region", value_region),
        FLAG(use_fips_endpoint),
        FLAG(use_dualstack_endpoint),
        OBJECT(endpoints, "an object with imds, kms, s3, autoscaling", take_endpoints),
        TEXT(ca_bundle, 1024, "an absolute path", value_file),
        TEXT(tcti, 1024, "a TCTI string", value_tcti),
        TEXT_OR(model_directory, "/run/sealboot/model", 1024, "an absolute path", value_path),
        TEXT_OR(measurement_log, "/run/log/systemd/tpm2-measure.log", 1024, "an absolute path", value_file),
        TEXT_OR(report, "/run/sealboot/report.json", 1024, "an absolute path", value_file),
        OBJECT(lifecycle_hook, "an object with group and name", take_hook),
        NUMBER(workers, 1024),
        NUMBER(connections, 1024),
        { "kms_deadline_seconds", json_type_int, 1, 3600, "1 to 3600", take_seconds, AT(kms_deadline_ms), NULL, NULL },
        FLAG(allow_any_iv),
};
_Static_assert(ELEMENTS(settings) <= SETTINGS_MAX, "take_settings() has too little room");

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

        if (c->n_keys == 0 && !c->discovery)
                return BAD(r, "\"keys\" is missing; expected a list of KMS key ARNs, or \"discovery\": true to accept "
                              "any key");
        if (c->n_keys > 0 && c->discovery)
                return BAD(r, "\"keys\" and \"discovery\" exclude each other");
        if (streq(c->report, c->measurement_log))
                return BAD(r, "\"report\" and \"measurement_log\" are the same file");
        if (streq(c->report, c->model_directory) || streq(c->measurement_log, c->model_directory))
                return BAD(r, "\"%s\" is \"model_directory\", which is not a file",
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
        if (r < 0)
                return r;
        r = take_settings(settings, ELEMENTS(settings), o, "", &reading);
        if (r < 0)
                return r;
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
        if (r < 0)
                return r;
        r = config_parse((char *) text, n, path, &c, e);
        if (r < 0)
                return r;
        if (c->ca_bundle) {
                r = config_check_bundle(c->ca_bundle, root, e);
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
