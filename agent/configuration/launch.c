/* SPDX-License-Identifier: Apache-2.0 */
#include "aws/s3.h"
#include "basic/json.h"
#include "configuration/config.h"

/* The URI that user data names; *ret stays NULL when it names none. */
static int user_data_model(const char *text, size_t n, char **ret, struct error *e) {
        static const char subject[] = "user data";
        _cleanup_json_ json_object *o = NULL;
        json_object *ours = NULL, *model = NULL;
        const struct json_field fields[] = {
                { "model", json_type_string, false, 1, 2048, "an s3:// URI", &model },
        };
        int r;

        if (!text)
                return 0;
        r = json_parse(text, n, FAILURE_LAUNCH, subject, &o, e);
        if (r < 0)
                return r;
        if (!json_object_is_type(o, json_type_object))
                return fail(e, FAILURE_LAUNCH, -EINVAL, subject, "must be a JSON object");
        if (!json_object_object_get_ex(o, "sealboot", &ours))
                return 0;
        r = json_fields(ours, fields, ELEMENTS(fields), FAILURE_LAUNCH, subject, "sealboot", e);
        if (r < 0 || !model)
                return r;
        *ret = strdup(json_text(model));
        return *ret ? 0 : fail_oom(e);
}

int launch_parse(const char *text, size_t n, const struct config *c, struct launch *ret, struct error *e) {
        _cleanup_free_ char *model = NULL, *bucket = NULL, *key = NULL;
        const char *uri;
        int r;

        r = user_data_model(text, n, &model, e);
        if (r < 0)
                return r;
        uri = model ?: c->model;
        if (!uri)
                return fail(e, FAILURE_LAUNCH, -ENOENT, "user data", "names no model, and the measured configuration has no default");
        r = s3_parse_uri(uri, model ? FAILURE_LAUNCH : FAILURE_CONFIG, &bucket, &key, e);
        if (r < 0)
                return r;
        *ret = (struct launch) { .is_prefix = !key[0] || key[strlen(key) - 1] == '/' };
        ret->bucket = TAKE(bucket);
        ret->key = TAKE(key);
        return 0;
}

void launch_done(struct launch *l) {
        free(l->bucket);
        free(l->key);
        *l = (struct launch) { 0 };
}
