/* SPDX-License-Identifier: Apache-2.0 */
#include "keypolicy/key-policy.h"

#include <ctype.h>
#include <stdarg.h>
#include <strings.h>

#include "basic/file.h"

struct parse {
        const char *source;
        const char *statement; /* its name, once known */
        struct error *e;
};

static int refuse(const struct parse *p, const char *format, ...) _printf_(2, 3);

static int refuse(const struct parse *p, const char *format, ...) {
        char reason[512];
        va_list ap;

        va_start(ap, format);
        vsnprintf(reason, sizeof reason, format, ap);
        va_end(ap);
        fail(p->e, FAILURE_POLICY, -EINVAL, p->source, "%s%s%s", p->statement ?: "", p->statement ? ": " : "", reason);
        fail_advice(p->e, "KMS would answer MalformedPolicyDocumentException; correct the policy.");
        return -EINVAL;
}

bool glob_matches(const char *pattern, const char *text, bool ignore_case) {
        const char *star = NULL, *resume = NULL;

        while (*text) {
                if (*pattern == '*') {
                        star = ++pattern;
                        resume = text;
                } else if (*pattern == '?' || *pattern == *text ||
                           (ignore_case && tolower((unsigned char) *pattern) == tolower((unsigned char) *text))) {
                        pattern++;
                        text++;
                } else if (star) {
                        pattern = star;
                        text = ++resume;
                } else
                        return false;
        }
        while (*pattern == '*')
                pattern++;
        return *pattern == '\0';
}

bool strings_have_variable(const struct strings *s) {
        for (size_t i = 0; i < s->n; i++)
                if (strstr(s->items[i], "${"))
                        return true;
        return false;
}

bool statement_covers_action(const struct statement *s, const char *action) {
        for (size_t i = 0; i < s->actions.n; i++)
                if (glob_matches(s->actions.items[i], action, true))
                        return !s->not_action;
        return s->not_action;
}

static bool is_of(json_object *o, enum json_type type) {
        return type != json_type_null &&
               (json_object_is_type(o, type) || (type == json_type_int && json_object_is_type(o, json_type_double)));
}

/* A string or an array of strings. `also` is another type that IAM accepts as text: true and false, or numbers; null:
 * none. */
static int take_strings(const struct parse *p, json_object *o, const char *what, enum json_type also,
                        struct strings *ret) {
        bool array = json_object_is_type(o, json_type_array);
        size_t n = array ? json_object_array_length(o) : 1;
        const char **items;

        if (n == 0)
                return refuse(p, "%s is empty", what);
        items = calloc(n, sizeof *items);
        if (!items)
                return fail_oom(p->e);
        for (size_t i = 0; i < n; i++) {
                json_object *v = array ? json_object_array_get_idx(o, i) : o;
                bool text = json_object_is_type(v, json_type_string);

                if (!text && !is_of(v, also)) {
                        free(items);
                        return refuse(p, "%s is not text", what);
                }
                items[i] = json_object_get_string(v);
                if (!items[i]) {
                        free(items);
                        return fail_oom(p->e);
                }
                if (text && strlen(items[i]) != (size_t) json_object_get_string_len(v)) {
                        free(items);
                        return refuse(p, "%s holds a NUL character", what);
                }
        }
        *ret = (struct strings) { items, n };
        return 0;
}

static bool is_account(const char *s) {
        return strlen(s) == 12 && strspn(s, "0123456789") == 12;
}

bool is_unique_id(const char *s) {
        size_t n = strlen(s);

        return n >= 16 && n <= 128 && (strncmp(s, "AROA", 4) == 0 || strncmp(s, "AIDA", 4) == 0) &&
               strspn(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789") == n;
}

/* An account, the ARN of an account, user, role or session, or a unique id. KMS compares a wildcard in them literally.
 */
static bool is_principal(const char *s) {
        static const char *const kinds[] = { "user/", "role/", "assumed-role/", "federated-user/" };
        const char *account, *resource;
        char number[13];

        if (streq(s, "*") || is_account(s) || is_unique_id(s))
                return true;
        if (strchr(s, '*') ||
            !(glob_matches("arn:aws:iam::*", s, false) || glob_matches("arn:aws:sts::*", s, false) ||
              glob_matches("arn:aws-*:iam::*", s, false) || glob_matches("arn:aws-*:sts::*", s, false)))
                return false;
        account = strstr(s, "::") + 2;
        resource = strchr(account, ':');
        if (!resource || resource - account != 12)
                return false;
        snprintf(number, sizeof number, "%s", account);
        resource++;
        if (!is_account(number))
                return false;
        for (size_t i = 0; i < ELEMENTS(kinds); i++)
                if (strncmp(resource, kinds[i], strlen(kinds[i])) == 0 && resource[strlen(kinds[i])])
                        return true;
        return streq(resource, "root");
}

static int take_principal(const struct parse *p, json_object *o, struct statement *s) {
        int r;

        if (json_object_is_type(o, json_type_string) && streq(json_object_get_string(o), "*")) {
                s->anyone = true;
                return 0;
        }
        if (!json_object_is_type(o, json_type_object) || json_object_object_length(o) == 0)
                return refuse(p, "Principal is neither \"*\" nor an object");
        json_object_object_foreach(o, kind, value) {
                if (streq(kind, "AWS"))
                        r = take_strings(p, value, "Principal", json_type_null, &s->principals);
                else if (streq(kind, "Service"))
                        r = take_strings(p, value, "Principal", json_type_null, &s->services);
                else
                        r = refuse(p, "\"%s\" is not a kind of principal", kind);
                if (r < 0)
                        return r;
        }
        for (size_t i = 0; i < s->principals.n; i++) {
                if (!is_principal(s->principals.items[i]))
                        return refuse(p, "\"%s\" is not a principal", s->principals.items[i]);
                s->anyone |= streq(s->principals.items[i], "*");
        }
        return 0;
}

static int take_actions(const struct parse *p, json_object *o, struct statement *s) {
        int r;

        r = take_strings(p, o, "Action", json_type_null, &s->actions);
        if (r < 0)
                return r;
        for (size_t i = 0; i < s->actions.n; i++) {
                const char *a = s->actions.items[i];

                if (streq(a, "*"))
                        continue;
                if (strncasecmp(a, "kms:", 4) != 0 || !a[4] ||
                    strspn(a + 4, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ*?") != strlen(a + 4))
                        return refuse(p, "\"%s\" is not an action of KMS", a);
        }
        return 0;
}

static int take_resources(const struct parse *p, json_object *o, struct statement *s) {
        int r;

        r = take_strings(p, o, "Resource", json_type_null, &s->resources);
        if (r < 0)
                return r;
        for (size_t i = 0; i < s->resources.n; i++)
                if (!s->resources.items[i][0])
                        return refuse(p, "Resource is empty");
        return 0;
}

static const struct {
        const char *name;
        enum match_kind match;
        bool negated;
} operators[] = {
        { "StringEquals", MATCH_STRING_EQUALS, false },
        { "StringNotEquals", MATCH_STRING_EQUALS, true },
        { "StringEqualsIgnoreCase", MATCH_STRING_EQUALS_IGNORE_CASE, false },
        { "StringNotEqualsIgnoreCase", MATCH_STRING_EQUALS_IGNORE_CASE, true },
        { "StringLike", MATCH_STRING_LIKE, false },
        { "StringNotLike", MATCH_STRING_LIKE, true },
        { "ArnEquals", MATCH_ARN, false },
        { "ArnNotEquals", MATCH_ARN, true },
        { "ArnLike", MATCH_ARN, false },
        { "ArnNotLike", MATCH_ARN, true },
        { "Bool", MATCH_BOOL, false },
        { "Null", MATCH_NULL, false },
        { "NumericEquals", MATCH_OTHER, false },
        { "NumericNotEquals", MATCH_OTHER, true },
        { "NumericLessThan", MATCH_OTHER, false },
        { "NumericLessThanEquals", MATCH_OTHER, false },
        { "NumericGreaterThan", MATCH_OTHER, false },
        { "NumericGreaterThanEquals", MATCH_OTHER, false },
        { "DateEquals", MATCH_OTHER, false },
        { "DateNotEquals", MATCH_OTHER, true },
        { "DateLessThan", MATCH_OTHER, false },
        { "DateLessThanEquals", MATCH_OTHER, false },
        { "DateGreaterThan", MATCH_OTHER, false },
        { "DateGreaterThanEquals", MATCH_OTHER, false },
        { "IpAddress", MATCH_OTHER, false },
        { "NotIpAddress", MATCH_OTHER, true },
        { "BinaryEquals", MATCH_OTHER, false },
};

static int take_operator(const struct parse *p, const char *text, struct condition *c) {
        static const char all[] = "ForAllValues:", any[] = "ForAnyValue:", suffix[] = "IfExists";
        const char *plain = text;
        size_t n;

        c->operator_name = text;
        if (strncmp(plain, all, strlen(all)) == 0) {
                c->quantifier = QUANTIFIER_ALL;
                plain += strlen(all);
        } else if (strncmp(plain, any, strlen(any)) == 0) {
                c->quantifier = QUANTIFIER_ANY;
                plain += strlen(any);
        }
        n = strlen(plain);
        if (n > strlen(suffix) && streq(plain + n - strlen(suffix), suffix)) {
                c->if_exists = true;
                n -= strlen(suffix);
        }
        for (size_t i = 0; i < ELEMENTS(operators); i++) {
                if (strlen(operators[i].name) != n || memcmp(operators[i].name, plain, n) != 0)
                        continue;
                if (operators[i].match == MATCH_NULL && (c->if_exists || c->quantifier != QUANTIFIER_NONE))
                        break;
                c->match = operators[i].match;
                c->negated = operators[i].negated;
                return 0;
        }
        return refuse(p, "\"%s\" is not a condition operator of IAM", text);
}

static int take_condition(const struct parse *p, const char *operator_name, const char *key, json_object *values,
                          struct statement *s) {
        struct condition c = { .key = key }, *larger;
        int r;

        r = take_operator(p, operator_name, &c);
        if (r < 0)
                return r;
        if (!strchr(key, ':'))
                return refuse(p, "\"%s\" is not a condition key", key);
        larger = reallocarray(s->conditions, s->n_conditions + 1, sizeof *larger);
        if (!larger)
                return fail_oom(p->e);
        s->conditions = larger;
        r = take_strings(p, values, key, c.match == MATCH_OTHER ? json_type_int : json_type_boolean, &c.values);
        if (r < 0)
                return r;
        s->conditions[s->n_conditions++] = c;
        for (size_t i = 0; i < c.values.n; i++)
                if ((c.match == MATCH_NULL || c.match == MATCH_BOOL) && strcasecmp(c.values.items[i], "true") != 0 &&
                    strcasecmp(c.values.items[i], "false") != 0)
                        return refuse(p, "%s of %s takes true or false", operator_name, key);
        return 0;
}

static int take_conditions(const struct parse *p, json_object *o, struct statement *s) {
        int r;

        if (!json_object_is_type(o, json_type_object))
                return refuse(p, "Condition is not an object");
        json_object_object_foreach(o, operator_name, block) {
                if (!json_object_is_type(block, json_type_object) || json_object_object_length(block) == 0)
                        return refuse(p, "the condition %s is not an object", operator_name);
                json_object_object_foreach(block, key, values) {
                        r = take_condition(p, operator_name, key, values, s);
                        if (r < 0)
                                return r;
                }
        }
        return 0;
}

static int take_effect(const struct parse *p, json_object *o, struct statement *s) {
        const char *effect = json_object_is_type(o, json_type_string) ? json_object_get_string(o) : "";

        if (!streq(effect, "Allow") && !streq(effect, "Deny"))
                return refuse(p, "Effect is neither Allow nor Deny");
        s->allow = streq(effect, "Allow");
        return 0;
}

static int take_sid(const struct parse *p, json_object *o, struct statement *s) {
        (void) s;
        return json_object_is_type(o, json_type_string) ? 0 : refuse(p, "Sid is not text");
}

enum element {
        ELEMENT_SID,
        ELEMENT_EFFECT,
        ELEMENT_PRINCIPAL,
        ELEMENT_ACTION,
        ELEMENT_RESOURCE,
        ELEMENT_CONDITION,
        ELEMENT_COUNT
};

static const struct {
        const char *name;
        enum element element;
        bool negates;
        int (*take)(const struct parse *p, json_object *o, struct statement *s);
} elements[] = {
        { "Sid", ELEMENT_SID, false, take_sid },
        { "Effect", ELEMENT_EFFECT, false, take_effect },
        { "Principal", ELEMENT_PRINCIPAL, false, take_principal },
        { "NotPrincipal", ELEMENT_PRINCIPAL, true, take_principal },
        { "Action", ELEMENT_ACTION, false, take_actions },
        { "NotAction", ELEMENT_ACTION, true, take_actions },
        { "Resource", ELEMENT_RESOURCE, false, take_resources },
        { "NotResource", ELEMENT_RESOURCE, true, take_resources },
        { "Condition", ELEMENT_CONDITION, false, take_conditions },
};

static int take_element(const struct parse *p, const char *key, json_object *value, struct statement *s,
                        unsigned *seen) {
        for (size_t i = 0; i < ELEMENTS(elements); i++) {
                if (!streq(elements[i].name, key))
                        continue;
                if (*seen & 1u << elements[i].element)
                        return refuse(p, "it has both %s and its opposite", key);
                *seen |= 1u << elements[i].element;
                s->not_principal |= elements[i].negates && elements[i].element == ELEMENT_PRINCIPAL;
                s->not_action |= elements[i].negates && elements[i].element == ELEMENT_ACTION;
                s->not_resource |= elements[i].negates && elements[i].element == ELEMENT_RESOURCE;
                return elements[i].take(p, value, s);
        }
        return refuse(p, "\"%s\" is not an element of a policy", key);
}

static int take_statement(struct parse *p, json_object *o, size_t number, struct statement *s) {
        unsigned seen = 0;
        json_object *sid;
        int r;

        snprintf(s->name, sizeof s->name, "statement %zu", number);
        p->statement = s->name;
        if (!json_object_is_type(o, json_type_object))
                return refuse(p, "it is not an object");
        if (json_object_object_get_ex(o, "Sid", &sid) && json_object_is_type(sid, json_type_string) &&
            json_object_get_string_len(sid) > 0) {
                s->has_sid = true;
                snprintf(s->name, sizeof s->name, "%s", json_object_get_string(sid));
        }
        json_object_object_foreach(o, key, value) {
                r = take_element(p, key, value, s, &seen);
                if (r < 0)
                        return r;
        }
        for (size_t i = 0; i < ELEMENTS(elements); i++)
                if (!elements[i].negates && elements[i].element >= ELEMENT_EFFECT &&
                    elements[i].element <= ELEMENT_RESOURCE && !(seen & 1u << elements[i].element))
                        return refuse(p, "it has no %s", elements[i].name);
        if (s->allow && s->not_principal)
                return refuse(p, "NotPrincipal is only for Deny");
        return 0;
}

static int take_version(const struct parse *p, json_object *o, struct key_policy *policy) {
        const char *version = json_object_is_type(o, json_type_string) ? json_object_get_string(o) : "";

        policy->variables = streq(version, "2012-10-17");
        return policy->variables || streq(version, "2008-10-17")
                       ? 0
                       : refuse(p, "Version is neither 2012-10-17 nor 2008-10-17");
}

static int take_statements(struct parse *p, json_object *o, struct key_policy *policy) {
        bool array = json_object_is_type(o, json_type_array);
        size_t n = array ? json_object_array_length(o) : 1;
        int r;

        policy->statements = calloc(n + 1, sizeof *policy->statements);
        if (!policy->statements)
                return fail_oom(p->e);
        for (size_t i = 0; i < n; i++) {
                policy->n = i + 1;
                r = take_statement(p, array ? json_object_array_get_idx(o, i) : o, i + 1, &policy->statements[i]);
                if (r < 0)
                        return r;
                for (size_t k = 0; k < i; k++)
                        if (policy->statements[k].has_sid && policy->statements[i].has_sid &&
                            streq(policy->statements[k].name, policy->statements[i].name))
                                return refuse(p, "the Sid is not unique");
        }
        p->statement = NULL;
        return n > 0 ? 0 : refuse(p, "it has no statement");
}

static int take_document(struct parse *p, struct key_policy *policy) {
        bool statements = false;
        int r = 0;

        if (!json_object_is_type(policy->json, json_type_object))
                return refuse(p, "it is not an object");
        json_object_object_foreach(policy->json, key, value) {
                if (streq(key, "Version"))
                        r = take_version(p, value, policy);
                else if (streq(key, "Statement")) {
                        r = take_statements(p, value, policy);
                        statements = true;
                } else if (!streq(key, "Id"))
                        r = refuse(p, "\"%s\" is not an element of a policy", key);
                if (r < 0)
                        return r;
        }
        return statements ? 0 : refuse(p, "it has no statement");
}

void key_policy_done(struct key_policy *policy) {
        for (size_t i = 0; i < policy->n; i++) {
                struct statement *s = &policy->statements[i];

                for (size_t k = 0; k < s->n_conditions; k++)
                        free(s->conditions[k].values.items);
                free(s->conditions);
                free(s->principals.items);
                free(s->services.items);
                free(s->actions.items);
                free(s->resources.items);
        }
        free(policy->statements);
        json_object_put(policy->json);
        *policy = (struct key_policy) {};
}

int key_policy_parse(const char *text, size_t size, const char *source, struct key_policy *ret, struct error *e) {
        _cleanup_key_policy_ struct key_policy policy = {};
        struct parse p = { .source = source, .e = e };
        int r;

        if (size > KEY_POLICY_MAX)
                return refuse(&p, "it is longer than %d bytes", KEY_POLICY_MAX);
        r = json_parse(text, size, FAILURE_POLICY, source, &policy.json, e);
        if (r < 0)
                return r;
        r = take_document(&p, &policy);
        if (r < 0)
                return r;
        *ret = TAKE_STRUCT(policy);
        return 0;
}

int key_policy_read(const char *path, struct key_policy *ret, struct error *e) {
        _cleanup_json_ json_object *answer = NULL;
        _cleanup_free_ uint8_t *text = NULL;
        json_object *inner;
        struct error ignored;
        size_t n;
        int r;

        r = file_read(path, 4 * KEY_POLICY_MAX, FAILURE_IO, &text, &n, e);
        if (r < 0)
                return r;
        r = json_parse((const char *) text, n, FAILURE_POLICY, path, &answer, &ignored);
        if (r == 0 && json_object_is_type(answer, json_type_object) &&
            json_object_object_get_ex(answer, "Policy", &inner) && json_object_is_type(inner, json_type_string))
                return key_policy_parse(json_object_get_string(inner), (size_t) json_object_get_string_len(inner), path,
                                        ret, e);
        return key_policy_parse((const char *) text, n, path, ret, e);
}
