/* SPDX-License-Identifier: Apache-2.0 */
#include "configuration/setting.h"

static void *member(const struct setting *s, const struct reading *r) {
        return (uint8_t *) (s->of_input ? (void *) r->input : (void *) r->c) + s->offset;
}

int setting_text(const struct setting *s, json_object *o, const struct reading *r) {
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

int setting_flag(const struct setting *s, json_object *o, const struct reading *r) {
        bool *to = member(s, r);

        *to = json_boolean(o, *to);
        return 0;
}

int setting_number(const struct setting *s, json_object *o, const struct reading *r) {
        unsigned *to = member(s, r);

        *to = (unsigned) json_integer(o, *to);
        return 0;
}

int setting_seconds(const struct setting *s, json_object *o, const struct reading *r) {
        unsigned *to = member(s, r);

        *to = (unsigned) json_integer(o, *to / 1000) * 1000;
        return 0;
}

int settings_take(const struct setting *table, size_t n, json_object *o, const char *object, const struct reading *r) {
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
