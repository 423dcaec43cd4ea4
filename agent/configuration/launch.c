/* SPDX-License-Identifier: Apache-2.0 */
#include "aws/s3.h"
#include "basic/json.h"
#include "basic/utf8.h"
#include "configuration/config.h"

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

static int parse_json(const char *text, size_t n, const char *subject, json_object **ret, struct error *e) {
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

/* Outputs that user data does not set stay as they are. Blank user data counts as none. */
static int parse_user_data(const char *text, size_t n, char **ret_model, struct launch *launch, struct error *e) {
        static const char subject[] = "user data";
        _cleanup_json_ json_object *o = NULL;
        json_object *ours = NULL, *model = NULL, *hook = NULL;
        const struct json_field fields[] = {
                { "model", json_type_string, false, 1, 2048, "an s3:// URI", &model },
                { "lifecycle_hook", json_type_object, false, 0, 0, "an object with group and name", &hook },
        };
        int r;

        if (!text || strspn(text, " \t\r\n") == n)
                return 0;
        r = parse_json(text, n, subject, &o, e);
        if (r < 0)
                return r;
        if (!json_object_is_type(o, json_type_object))
                return fail(e, FAILURE_LAUNCH, -EINVAL, subject, "it must be a JSON object");
        if (!json_object_object_get_ex(o, "sealboot", &ours))
                return 0;
        r = json_fields(ours, fields, ELEMENTS(fields), FAILURE_LAUNCH, subject, "sealboot", e);
        if (r < 0)
                return r;
        r = lifecycle_hook_parse(hook, FAILURE_LAUNCH, subject, "sealboot.lifecycle_hook", &launch->hook_group,
                                 &launch->hook_name, e);
        if (r < 0)
                return r;
        if (!model)
                return 0;
        *ret_model = strdup(json_text(model));
        return *ret_model ? 0 : fail_oom(e);
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
        _cleanup_free_ char *model = NULL;
        const char *uri;
        int r;

        r = parse_user_data(text, n, &model, &l, e);
        if (r < 0)
                return r;
        r = default_hook(c, &l, e);
        if (r < 0)
                return r;
        uri = model ?: c->model;
        if (!uri)
                return fail(e, FAILURE_LAUNCH, -ENOENT, "user data",
                            "it names no model, and the measured configuration has no default");
        r = s3_parse_uri(uri, model ? FAILURE_LAUNCH : FAILURE_CONFIG, &l.bucket, &l.key, e);
        if (r < 0)
                return r;
        l.is_prefix = !l.key[0] || l.key[strlen(l.key) - 1] == '/';
        *ret = TAKE_STRUCT(l);
        return 0;
}

void launch_done(struct launch *l) {
        free(l->bucket);
        free(l->key);
        free(l->hook_group);
        free(l->hook_name);
        *l = (struct launch) { 0 };
}
