/* SPDX-License-Identifier: Apache-2.0 */
#include "keypolicy/policy-json.h"

void policy_add(json_object *to, const char *key, json_object *value) {
        json_object_object_add(to, key, value);
}

void policy_add_text(json_object *to, const char *key, const char *value) {
        policy_add(to, key, json_object_new_string(value));
}

json_object *policy_list(const char *const *items, size_t n) {
        json_object *o;

        if (n == 1)
                return json_object_new_string(items[0]);
        o = json_object_new_array();
        for (size_t i = 0; i < n; i++)
                json_object_array_add(o, json_object_new_string(items[i]));
        return o;
}

json_object *policy_new(json_object **ret_statements) {
        json_object *o = json_object_new_object();

        *ret_statements = json_object_new_array();
        policy_add_text(o, "Version", "2012-10-17");
        policy_add(o, "Statement", *ret_statements);
        return o;
}

json_object *policy_add_statement(json_object *statements, const char *sid, const char *effect,
                                  const struct names *principals, const char *const *actions, size_t n_actions) {
        json_object *s = json_object_new_object(), *who;

        json_object_array_add(statements, s);
        policy_add_text(s, "Sid", sid);
        policy_add_text(s, "Effect", effect);
        if (principals) {
                who = json_object_new_object();
                policy_add(who, "AWS", policy_list(principals->items, principals->n));
                policy_add(s, "Principal", who);
        }
        policy_add(s, "Action", policy_list(actions, n_actions));
        policy_add_text(s, "Resource", "*");
        return s;
}
