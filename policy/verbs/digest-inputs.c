/* SPDX-License-Identifier: Apache-2.0 */
#include "verbs/digest-inputs.h"

#include "basic/encode.h"
#include "owner/digest.h"
#include "sealed/input-set.h"
#include "verbs/model-report.h"

int digest_inputs_add(void *field, const struct option_row *row, char *text, struct error *e) {
        struct digest_inputs *d = field;
        const char *equals = strchr(text, '=');

        (void) row;
        if (!equals || equals == text || !equals[1])
                return fail(e, FAILURE_USAGE, -EINVAL, "",
                            "--input is NAME=PATH, NAME=sha384:DIGEST or NAME=absent, not '%s'", text);
        if (d->n_given == INPUTS_MAX)
                return fail(e, FAILURE_USAGE, -E2BIG, "", "--input is given more than %d times", INPUTS_MAX);
        d->given[d->n_given++] = text;
        return 0;
}

/* What is given for this input, behind NAME=; NULL: nothing. */
static const char *find_given(const struct digest_inputs *d, const char *name) {
        size_t n = strlen(name);

        for (size_t i = 0; i < d->n_given; i++)
                if (strncmp(d->given[i], name, n) == 0 && d->given[i][n] == '=')
                        return d->given[i] + n + 1;
        return NULL;
}

/* Every name that is given is an input's, once. */
static int check_given(const struct digest_inputs *d, const struct config *c, struct error *e) {
        for (size_t i = 0; i < d->n_given; i++) {
                int name = (int) strcspn(d->given[i], "=");
                bool known = false;

                for (size_t k = 0; k < c->n_inputs; k++)
                        known |=
                                strncmp(c->inputs[k].name, d->given[i], (size_t) name) == 0 && !c->inputs[k].name[name];
                if (!known)
                        return fail(e, FAILURE_USAGE, -EINVAL, "", "%s has no input '%.*s'", d->config, name,
                                    d->given[i]);
                for (size_t k = 0; k < i; k++)
                        if (strncmp(d->given[k], d->given[i], (size_t) name + 1) == 0)
                                return fail(e, FAILURE_USAGE, -EINVAL, "", "--input %.*s is given twice", name,
                                            d->given[i]);
        }
        return 0;
}

static int digest_path(const char *path, const struct digest_inputs_options *o, uint8_t ret[static MODEL_DIGEST],
                       struct error *e) {
        _cleanup_source_ struct source *s = NULL;
        struct progress progress;
        int r;

        r = source_scan(path, o->links, o->all, &s, e);
        if (r < 0)
                return r;
        left_out_print("digest", s);
        progress_begin(&progress, "hashing", model_size(s->model), o->quiet ? PROGRESS_QUIET : PROGRESS_AUTO);
        r = digest_source(s, 0, &progress, e);
        progress_end(&progress);
        if (r < 0)
                return r;
        memcpy(ret, s->model->digest, MODEL_DIGEST);
        return 0;
}

/* The digest of an input, and whether it is there. Without --input, a digest that the configuration pins alone is the
 * only one that a boot can measure. */
static int digest_input(const struct digest_inputs *d, const struct digest_inputs_options *o, const struct config *c,
                        const struct input *in, bool *ret_present, uint8_t ret[static MODEL_DIGEST], struct error *e) {
        const char *given = find_given(d, in->name);
        const struct accepted accepted = input_accepted(c, in);
        char subject[256];
        int r = 0;

        *ret_present = given ? !streq(given, "absent") : in->required || in->model;
        if (!*ret_present)
                return in->required ? fail(e, FAILURE_USAGE, -EINVAL, "",
                                           "%s requires the input %s: it cannot be absent", d->config, in->name)
                                    : 0;
        if (!given && in->n_digests != 1)
                return fail(e, FAILURE_USAGE, -EINVAL, "",
                            "--input %s=... is missing: the configuration does not pin one digest for it", in->name);
        if (!given)
                memcpy(ret, in->digests[0], MODEL_DIGEST);
        else if (strncmp(given, "sha384:", strlen("sha384:")) != 0)
                r = digest_path(given, o, ret, e);
        else if (command_digest(given, ret) < 0)
                r = fail(e, FAILURE_USAGE, -EINVAL, "", "--input %s: a digest is sha384: and 96 hex digits", in->name);
        if (r < 0)
                return r;
        snprintf(subject, sizeof subject, "input %s of %s", in->name, in->owner);
        return accepted_digest(&accepted, ret, subject, e);
}

static int print_json(const struct input_state *states, size_t n, const uint8_t digest[static MODEL_DIGEST],
                      struct error *e) {
        _cleanup_json_ json_object *o = NULL;
        json_object *list;
        int r;

        r = measured_to_json(digest, &o, e);
        if (r < 0)
                return r;
        list = json_object_new_array();
        json_object_object_add(o, "inputs", list);
        for (size_t i = 0; i < n; i++) {
                json_object *one = json_object_new_object();
                char text[8 + 2 * MODEL_DIGEST] = "sha384:";

                json_object_object_add(one, "name", json_object_new_string(states[i].name));
                json_object_object_add(one, "owner", json_object_new_string(states[i].owner));
                json_object_object_add(one, "present", json_object_new_boolean(states[i].digest != NULL));
                if (states[i].digest) {
                        hex_encode(states[i].digest, MODEL_DIGEST, text + strlen(text));
                        json_object_object_add(one, "digest", json_object_new_string(text));
                }
                json_object_array_add(list, one);
        }
        return model_print_json(o, e);
}

static int print_set(const struct input_state *states, size_t n, const struct digest_inputs_options *o,
                     struct error *e) {
        _cleanup_free_ char *text = NULL;
        uint8_t digest[MODEL_DIGEST];
        size_t size;
        int r;

        r = input_set_text(states, n, &text, &size, digest, e);
        if (r < 0)
                return r;
        if (o->json)
                return print_json(states, n, digest, e);
        if (o->files || o->verbose)
                fputs(text, stdout);
        return o->files ? 0 : measured_print(stdout, digest, e);
}

int digest_inputs_print(const struct digest_inputs *d, const struct digest_inputs_options *o, struct error *e) {
        _cleanup_(config_freep) struct config *c = NULL;
        struct input_state states[INPUTS_MAX];
        uint8_t digests[INPUTS_MAX][MODEL_DIGEST];
        int r;

        r = config_read(d->config, &c, e);
        if (r < 0)
                return r;
        if (!c->several)
                return fail(e, FAILURE_USAGE, -EINVAL, "",
                            "%s is for one model, without \"inputs\": give the model itself, without --config",
                            d->config);
        r = check_given(d, c, e);
        for (size_t i = 0; r == 0 && i < c->n_inputs; i++) {
                const struct input *in = &c->inputs[i];
                bool present;

                r = digest_input(d, o, c, in, &present, digests[i], e);
                states[i] = (struct input_state) { in->name, in->owner, r == 0 && present ? digests[i] : NULL };
        }
        return r < 0 ? r : print_set(states, c->n_inputs, o, e);
}
