/* SPDX-License-Identifier: Apache-2.0 */
#include "aws/s3.h"
#include "basic/json.h"
#include "basic/utf8.h"
#include "configuration/config.h"
#include "configuration/value.h"

int lifecycle_hook_parse(json_object *object, enum failure failure, const char *subject, const char *where,
                         char **ret_group, char **ret_name, struct error *e) {
        json_object *group = NULL, *name = NULL;
        const struct json_field fields[] = {
                { "group", json_type_string, true, 1, 255, "an Auto Scaling group's name", &group },
                { "name", json_type_string, true, 1, 255, "a lifecycle hook's name", &name },
        };
        static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_/";
        _cleanup_free_ char *g = NULL, *n = NULL;
        int r;

        if (!object)
                return 0;
        r = json_fields(object, fields, ELEMENTS(fields), failure, subject, where, e);
        if (r < 0)
                return r;
        /* No hook has another name, and a hook that does not exist cannot be completed. Source: Amazon EC2 Auto Scaling
         * API. */
        if (json_text(name)[strspn(json_text(name), allowed)])
                return fail(e, failure, -EINVAL, subject,
                            "\"%s.name\" is \"%s\", expected the name of a lifecycle hook: letters, digits, - _ and /",
                            where, json_text(name));
        if (!utf8_printable(json_text(group)) || strchr(json_text(group), ':'))
                return fail(e, failure, -EINVAL, subject,
                            "\"%s.group\" is \"%s\", expected the name of an Auto Scaling group: no colon, no control "
                            "characters",
                            where, json_text(group));
        g = strdup(json_text(group));
        n = strdup(json_text(name));
        if (!g || !n)
                return fail_oom(e);
        *ret_group = TAKE(g);
        *ret_name = TAKE(n);
        return 0;
}

static const char subject[] = "user data";

/* User data that is meant for cloud-init, or was encoded once too often. */
static const char *mistaken_for(const char *text) {
        static const struct {
                const char *start, *what;
        } forms[] = {
                { "#!", "a script" },
                { "#cloud-config", "a configuration for cloud-init" },
                { "#include", "a configuration for cloud-init" },
                { "Content-Type:", "a multi-part archive for cloud-init" },
                { "MIME-Version:", "a multi-part archive for cloud-init" },
                { "<powershell>", "a script" },
                { "\x1f\x8b", "gzip-compressed" },
                { "eyJ", "base64 text, so it was encoded once more than EC2 wants" },
                { "ewo", "base64 text, so it was encoded once more than EC2 wants" },
                { "ewk", "base64 text, so it was encoded once more than EC2 wants" },
                { "ew0", "base64 text, so it was encoded once more than EC2 wants" },
                { "eyA", "base64 text, so it was encoded once more than EC2 wants" },
        };

        for (size_t i = 0; i < ELEMENTS(forms); i++)
                if (strncmp(text, forms[i].start, strlen(forms[i].start)) == 0)
                        return forms[i].what;
        return NULL;
}

static int parse_json(const char *text, size_t n, json_object **ret, struct error *e) {
        const char *what = mistaken_for(text);
        int r;

        r = json_parse(text, n, FAILURE_LAUNCH, subject, ret, e);
        if (r == 0 || r == -ENOMEM || !what)
                return r;
        fail(e, FAILURE_LAUNCH, -EINVAL, subject, "it is not JSON but %s", what);
        fail_advice(e, "The image runs nothing that user data brings: give a JSON object, such as {\"sealboot\": "
                       "{\"model\": \"s3://BUCKET/PREFIX/\"}}, and let it be base64-encoded once.");
        return -EINVAL;
}

/* User data may say where a copy of the report goes. That does no harm: the report has no secret, it is sent with the
 * credentials of the operator's own role, and only to the S3 endpoint of the measured configuration. */
static int take_report_to(const char *text, struct launch *launch, struct error *e) {
        struct error why = {};

        if (value_prefix(text, &why) < 0)
                return fail(e, FAILURE_LAUNCH, -EINVAL, subject, "\"sealboot.report_to\": %s", why.reason);
        launch->report_to = strdup(text);
        return launch->report_to ? 0 : fail_oom(e);
}

/* What user data says; borrowed from its JSON object. */
struct said {
        json_object *document; /* owned; NULL: there is no user data, or it is blank */
        json_object *model, *inputs;
};

static void said_done(struct said *s) {
        json_putp(&s->document);
}

/* Outputs that user data does not set stay as they are. */
static int parse_user_data(const char *text, size_t n, struct said *ret, struct launch *launch, struct error *e) {
        json_object *ours = NULL, *hook = NULL, *report_to = NULL;
        const struct json_field fields[] = {
                { "model", json_type_string, false, 1, 2048, "an s3:// URI", &ret->model },
                { "inputs", json_type_object, false, 0, 0, "an object with a place for each input", &ret->inputs },
                { "lifecycle_hook", json_type_object, false, 0, 0, "an object with group and name", &hook },
                { "report_to", json_type_string, false, 1, 1024, "an s3:// URI of a prefix", &report_to },
        };
        int r;

        if (!text || strspn(text, " \t\r\n") == n)
                return 0;
        r = parse_json(text, n, &ret->document, e);
        if (r < 0)
                return r;
        if (!json_object_is_type(ret->document, json_type_object))
                return fail(e, FAILURE_LAUNCH, -EINVAL, subject, "it must be a JSON object");
        if (!json_object_object_get_ex(ret->document, "sealboot", &ours))
                return 0;
        r = json_fields(ours, fields, ELEMENTS(fields), FAILURE_LAUNCH, subject, "sealboot", e);
        if (r < 0)
                return r;
        r = lifecycle_hook_parse(hook, FAILURE_LAUNCH, subject, "sealboot.lifecycle_hook", &launch->hook_group,
                                 &launch->hook_name, e);
        return r < 0 || !report_to ? r : take_report_to(json_text(report_to), launch, e);
}

/* ---- the places */

static int take_place(const char *uri, enum failure failure, struct place *ret, struct error *e) {
        int r;

        r = s3_parse_uri(uri, failure, &ret->bucket, &ret->key, e);
        if (r == 0)
                ret->is_prefix = !ret->key[0] || ret->key[strlen(ret->key) - 1] == '/';
        return r;
}

static int place_model(const struct said *said, const struct config *c, struct launch *l, struct error *e) {
        const char *model = json_text(said->model), *uri = model ?: c->inputs[0].model;

        if (said->inputs)
                return fail(e, FAILURE_LAUNCH, -EINVAL, subject,
                            "\"sealboot.inputs\" is for an image with \"inputs\" in its measured configuration, and "
                            "this one loads one model: name it by \"sealboot.model\"");
        if (!uri)
                return fail(e, FAILURE_LAUNCH, -ENOENT, subject,
                            "it names no model, and the measured configuration has no default");
        return take_place(uri, model ? FAILURE_LAUNCH : FAILURE_CONFIG, &l->places[0], e);
}

/* `said`: whether user data has a value for the input, NULL for null. */
static int place_input(const struct input *in, bool said, json_object *value, struct place *ret, struct error *e) {
        if (said && value &&
            (!json_object_is_type(value, json_type_string) || json_object_get_string_len(value) == 0 ||
             strlen(json_text(value)) != (size_t) json_object_get_string_len(value)))
                return fail(e, FAILURE_LAUNCH, -EINVAL, subject, "\"sealboot.inputs.%s\" must be an s3:// URI%s",
                            in->name, in->required ? "" : ", or null for none");
        if (said && value)
                return take_place(json_text(value), FAILURE_LAUNCH, ret, e);
        if (!said && in->model)
                return take_place(in->model, FAILURE_CONFIG, ret, e);
        if (!in->required)
                return 0;
        return fail(e, FAILURE_LAUNCH, -ENOENT, subject,
                    said ? "\"sealboot.inputs.%s\" is null, but the measured configuration requires this input of %s"
                         : "it names no place for the input %s of %s, and the measured configuration has no default",
                    in->name, in->owner);
}

static bool is_input(const struct config *c, const char *name) {
        for (size_t i = 0; i < c->n_inputs; i++)
                if (streq(c->inputs[i].name, name))
                        return true;
        return false;
}

static int refuse_unknown_inputs(const struct said *said, const struct config *c, struct error *e) {
        if (said->model)
                return fail(e, FAILURE_LAUNCH, -EINVAL, subject,
                            "\"sealboot.model\" is for an image that loads one model, and this one has inputs: give "
                            "each its place in \"sealboot.inputs\"");
        if (!said->inputs)
                return 0;
        json_object_object_foreach(said->inputs, name, value) {
                (void) value;
                if (!is_input(c, name))
                        return fail(e, FAILURE_LAUNCH, -EINVAL, subject,
                                    "there is an unknown key \"sealboot.inputs.%.200s\": the measured configuration "
                                    "has no such input",
                                    name);
        }
        return 0;
}

static int place_inputs(const struct said *said, const struct config *c, struct launch *l, struct error *e) {
        int r;

        r = refuse_unknown_inputs(said, c, e);
        for (size_t i = 0; r == 0 && i < c->n_inputs; i++) {
                json_object *value = NULL;
                bool has = said->inputs && json_object_object_get_ex(said->inputs, c->inputs[i].name, &value);

                r = place_input(&c->inputs[i], has, value, &l->places[i], e);
        }
        return r;
}

bool launch_needs_user_data(const struct config *c) {
        for (size_t i = 0; i < c->n_inputs; i++)
                if (c->inputs[i].required && !c->inputs[i].model)
                        return true;
        return false;
}

static int default_hook(const struct config *c, struct launch *l, struct error *e) {
        if (l->hook_name || !c->hook_name)
                return 0;
        l->hook_group = strdup(c->hook_group);
        l->hook_name = strdup(c->hook_name);
        return l->hook_group && l->hook_name ? 0 : fail_oom(e);
}

int launch_parse(const char *text, size_t n, const struct config *c, struct launch *ret, struct error *e) {
        _cleanup_(launch_done) struct launch l = { 0 };
        _cleanup_(said_done) struct said said = { 0 };
        int r;

        r = parse_user_data(text, n, &said, &l, e);
        if (r < 0)
                return r;
        r = default_hook(c, &l, e);
        if (r < 0)
                return r;
        r = c->several ? place_inputs(&said, c, &l, e) : place_model(&said, c, &l, e);
        if (r < 0)
                return r;
        *ret = TAKE_STRUCT(l);
        return 0;
}

void launch_done(struct launch *l) {
        for (size_t i = 0; i < INPUTS_MAX; i++) {
                free(l->places[i].bucket);
                free(l->places[i].key);
        }
        free(l->hook_group);
        free(l->hook_name);
        free(l->report_to);
        *l = (struct launch) { 0 };
}
