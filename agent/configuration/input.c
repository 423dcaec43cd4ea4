/* SPDX-License-Identifier: Apache-2.0 */

/* What is accepted of each sealed model: of the only one, or of each in the list "inputs". */

#include "aws/key-arn.h"
#include "basic/encode.h"
#include "configuration/setting.h"

/* The text of a value; NULL when the value is no text, or has a NUL, at which C code would cut it. */
static const char *whole_text(json_object *o) {
        if (!json_object_is_type(o, json_type_string) || strlen(json_text(o)) != (size_t) json_object_get_string_len(o))
                return NULL;
        return json_text(o);
}

int setting_keys(const struct setting *s, json_object *o, const struct reading *r) {
        const int plain = JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE;
        struct input *in = r->input;
        size_t n = o ? json_object_array_length(o) : 0;

        in->keys = calloc(n + 1, sizeof *in->keys);
        if (!in->keys)
                return fail_oom(r->e);
        for (size_t i = 0; i < n; i++) {
                json_object *key = json_object_array_get_idx(o, i);
                const char *arn = whole_text(key);

                if (!arn || !key_arn_valid(arn))
                        return BAD(r,
                                   "\"%s%s[%zu]\" must be a KMS key ARN such as arn:aws:kms:REGION:ACCOUNT:key/ID (an "
                                   "alias will not do), not %.200s",
                                   r->where, s->key, i, json_object_to_json_string_ext(key, plain));
                if (!key_arn_has_its_partition(arn))
                        return BAD(r,
                                   "\"%s%s[%zu]\" names a Region that is not in the partition of the ARN's beginning: "
                                   "%.200s",
                                   r->where, s->key, i, arn);
                in->keys[i] = strdup(arn);
                if (!in->keys[i])
                        return fail_oom(r->e);
                in->n_keys++;
        }
        return 0;
}

/* Refuses pairs that no sealed message can hold: with them no model would ever be accepted. */
static int take_pair(const struct setting *s, const char *key, json_object *value, const struct reading *r,
                     size_t *size) {
        struct pair *pair = &r->input->context[r->input->n_context];
        const char *text = whole_text(value);

        if (!text)
                return BAD(r, "\"%s%s.%.100s\" must be text without a NUL character", r->where, s->key, key);
        if (!key[0])
                return BAD(r, "\"%s%s\" has a pair whose key is empty", r->where, s->key);
        if (strncmp(key, "aws-crypto-", strlen("aws-crypto-")) == 0)
                return BAD(r, "\"%s%s.%.100s\": keys that start with aws-crypto- belong to the AWS Encryption SDK",
                           r->where, s->key, key);
        *size += 2 + strlen(key) + 2 + strlen(text);
        if (*size > UINT16_MAX)
                return BAD(r, "\"%s%s\" is longer than the %d bytes that a sealed file can hold", r->where, s->key,
                           UINT16_MAX);
        pair->name = strdup(key);
        pair->value = strdup(text);
        r->input->n_context++;
        return pair->name && pair->value ? 0 : fail_oom(r->e);
}

int setting_context(const struct setting *s, json_object *o, const struct reading *r) {
        size_t n = o ? (size_t) json_object_object_length(o) : 0, size = 2;

        r->input->context = calloc(n + 1, sizeof *r->input->context);
        if (!r->input->context)
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

int setting_digests(const struct setting *s, json_object *o, const struct reading *r) {
        static const char prefix[] = "sha384:";
        struct input *in = r->input;
        size_t n = o ? json_object_array_length(o) : 0;

        in->digests = calloc(n + 1, sizeof *in->digests);
        if (!in->digests)
                return fail_oom(r->e);
        for (; in->n_digests < n; in->n_digests++) {
                const char *text = whole_text(json_object_array_get_idx(o, in->n_digests));

                if (!text || strncmp(text, prefix, strlen(prefix)) != 0 ||
                    hex_decode(text + strlen(prefix), in->digests[in->n_digests], MODEL_DIGEST) < 0)
                        return BAD(r, "\"%s%s[%zu]\" must be sha384: and 96 hex digits", r->where, s->key,
                                   in->n_digests);
        }
        return 0;
}

/* ---- a key store of the owner's own */

static const struct setting store_settings[] = {
        { "url", json_type_string, 1, 1024, "an https URL", setting_text, .offset = offsetof(struct input, store_url),
          .of_input = true, .check = value_https },
        { "ca_bundle", json_type_string, 1, 1024, "an absolute path", setting_text,
          .offset = offsetof(struct input, store_bundle), .of_input = true, .check = value_file },
};

int setting_key_store(const struct setting *s, json_object *o, const struct reading *r) {
        struct reading inside = *r;
        char object[48], where[56];
        int result;

        if (!o)
                return 0;
        snprintf(object, sizeof object, "%s%s", r->where, s->key);
        snprintf(where, sizeof where, "%s.", object);
        inside.where = where;
        result = settings_take(store_settings, ELEMENTS(store_settings), o, object, &inside);
        if (result < 0)
                return result;
        if (!r->input->store_url || !r->input->store_bundle)
                return BAD(r, "\"%s%s\" is missing; a key store has a url, and a ca_bundle that vouches for it alone",
                           where, r->input->store_url ? "ca_bundle" : "url");
        return 0;
}

/* ---- the list of inputs */

/* The longest owner and directory: both are in messages. */
#define INPUT_DIRECTORY_MAX 255
#define INPUT_OWNER_MAX 64

static const struct setting settings[] = {
        SETTING_TEXT(name, IN_INPUT, INPUT_NAME_MAX, "a name of 1 to 32 characters", value_input_name),
        SETTING_TEXT(owner, IN_INPUT, INPUT_OWNER_MAX, "the name of a party, 1 to 64 bytes", value_owner),
        SETTING_LIST(keys, 100, "a list of 1 to 100 KMS key ARNs", setting_keys),
        SETTING_OBJECT(encryption_context, "an object of text values", setting_context),
        SETTING_LIST(model_digests, 1000, "a list of 1 to 1000 model digests", setting_digests),
        SETTING_TEXT(model, IN_INPUT, 2048, "an s3:// URI", value_model),
        SETTING_TEXT(directory, IN_INPUT, INPUT_DIRECTORY_MAX, "a relative path of at most 255 bytes", value_relative),
        SETTING_FLAG(required, IN_INPUT),
        SETTING_OBJECT(key_store, "an object with url and ca_bundle", setting_key_store),
};
_Static_assert(ELEMENTS(settings) <= SETTINGS_MAX, "settings_take() has too little room");

const char *input_key(size_t i) {
        return i < ELEMENTS(settings) ? settings[i].key : NULL;
}

void input_done(struct input *in) {
        for (size_t i = 0; i < in->n_keys; i++)
                free(in->keys[i]);
        pairs_free(in->context, in->n_context);
        free(in->keys);
        free(in->digests);
        free(in->name);
        free(in->owner);
        free(in->model);
        free(in->directory);
        free(in->store_url);
        free(in->store_bundle);
}

static int take_input(json_object *o, size_t i, const struct reading *r) {
        struct reading inside = *r;
        char object[32], where[40];
        struct input *in;
        int result;

        in = inside.input = &r->c->inputs[i];
        in->required = true;
        snprintf(object, sizeof object, "inputs[%zu]", i);
        snprintf(where, sizeof where, "%s.", object);
        inside.where = where;
        result = settings_take(settings, ELEMENTS(settings), o, object, &inside);
        if (result < 0)
                return result;
        if (!in->name || !in->owner || in->n_keys == 0)
                return BAD(r, "\"%s%s\" is missing; each input has a name, an owner, and the owner's keys", where,
                           !in->name    ? "name"
                           : !in->owner ? "owner"
                                        : "keys");
        if (!in->directory)
                in->directory = strdup(in->name);
        return in->directory ? 0 : fail_oom(r->e);
}

/* Whether the directory `a` is `b`, or `b` is below it. */
static bool holds(const char *a, const char *b) {
        size_t n = strlen(a);

        return strncmp(a, b, n) == 0 && (b[n] == '\0' || b[n] == '/');
}

static int check_pair(const struct reading *r, size_t i, size_t j) {
        const struct input *a = &r->c->inputs[i], *b = &r->c->inputs[j];

        if (streq(a->name, b->name))
                return BAD(r, "\"inputs[%zu].name\" is \"%s\", as that of inputs[%zu]", j, b->name, i);
        if (holds(a->directory, b->directory) || holds(b->directory, a->directory))
                return BAD(r,
                           "\"inputs[%zu].directory\" is \"%s\" and \"inputs[%zu].directory\" is \"%s\": one is in "
                           "the other, and the files of two inputs could have one name",
                           i, a->directory, j, b->directory);
        return 0;
}

/* A digest that is in two places was copied by mistake: a digest names one model, and each input is another. */
static int check_digest(const struct reading *r, size_t i, size_t d) {
        const struct input *inputs = r->c->inputs;

        for (size_t j = 0; j <= i; j++)
                for (size_t k = 0; k < (j == i ? d : inputs[j].n_digests); k++)
                        if (memcmp(inputs[i].digests[d], inputs[j].digests[k], MODEL_DIGEST) == 0)
                                return BAD(r,
                                           "\"inputs[%zu].model_digests[%zu]\" is the digest "
                                           "\"inputs[%zu].model_digests[%zu]\"",
                                           i, d, j, k);
        return 0;
}

static int check_inputs(const struct reading *r) {
        const struct config *c = r->c;
        bool any_required = false;

        for (size_t i = 0; i < c->n_inputs; i++) {
                any_required |= c->inputs[i].required;
                for (size_t j = i + 1; j < c->n_inputs; j++) {
                        int result = check_pair(r, i, j);

                        if (result < 0)
                                return result;
                }
                for (size_t d = 0; d < c->inputs[i].n_digests; d++) {
                        int result = check_digest(r, i, d);

                        if (result < 0)
                                return result;
                }
        }
        return any_required ? 0 : BAD(r, "\"inputs\" has no input that is required: a boot could load nothing");
}

/* The keys of the form for one model, each of which an input has itself. */
static int refuse_both_forms(const struct reading *r) {
        const struct input *one = r->input;
        const char *key = one->n_keys > 0      ? "keys"
                          : one->discovery     ? "discovery"
                          : one->n_context > 0 ? "encryption_context"
                          : one->n_digests > 0 ? "model_digests"
                          : one->model         ? "model"
                          : one->store_url     ? "key_store"
                                               : NULL;

        if (key)
                return BAD(r, "\"%s\" and \"inputs\" exclude each other: each input has keys of its own", key);
        if (r->c->measure != MEASURE_MODEL)
                return BAD(r, "\"measure\": \"sha384\" is for one model, not for \"inputs\"");
        return 0;
}

int setting_inputs(const struct setting *s, json_object *o, const struct reading *r) {
        struct config *c = r->c;
        size_t n = o ? json_object_array_length(o) : 0;
        int result;

        (void) s;
        if (n == 0)
                return 0;
        result = refuse_both_forms(r);
        if (result < 0)
                return result;
        input_done(&c->inputs[0]);
        memset(c->inputs, 0, sizeof c->inputs);
        c->several = true;
        for (c->n_inputs = 0; c->n_inputs < n;) {
                size_t i = c->n_inputs++;

                result = take_input(json_object_array_get_idx(o, i), i, r);
                if (result < 0)
                        return result;
        }
        return check_inputs(r);
}

/* ---- what an input decides */

struct accepted input_accepted(const struct config *c, const struct input *in) {
        return (struct accepted) {
                .keys = in->discovery ? NULL : (const char *const *) in->keys,
                .n_keys = in->n_keys,
                .keys_name = "pinned keys",
                .context = in->context,
                .n_context = in->n_context,
                .digests = (const uint8_t(*)[MODEL_DIGEST]) in->digests,
                .n_digests = in->n_digests,
                .digests_name = "\"model_digests\"",
                .plain_digests = c->measure == MEASURE_SHA384,
                .any_iv = c->allow_any_iv,
        };
}
