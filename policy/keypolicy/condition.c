/* SPDX-License-Identifier: Apache-2.0 */
#include "keypolicy/condition.h"

#include <strings.h>

const char *truth_name(enum truth t) {
        return t == TRUTH_YES ? "yes" : t == TRUTH_NO ? "no" : "unknown";
}

enum truth truth_of(bool b) {
        return b ? TRUTH_YES : TRUTH_NO;
}

enum truth truth_not(enum truth t) {
        return t == TRUTH_YES ? TRUTH_NO : t == TRUTH_NO ? TRUTH_YES : TRUTH_UNKNOWN;
}

static enum truth value_met(const struct condition *c, const struct request_key *k, const char *value);

/* The condition */

static bool null_met(const struct condition *c, bool absent) {
        for (size_t i = 0; i < c->values.n; i++)
                if (absent == (strcasecmp(c->values.items[i], "true") == 0))
                        return true;
        return false;
}

bool condition_met_without_key(const struct condition *c) {
        if (c->match == MATCH_NULL)
                return null_met(c, true);
        return c->quantifier == QUANTIFIER_ALL || c->if_exists || (c->quantifier == QUANTIFIER_NONE && c->negated);
}

bool condition_pins_value(const struct condition *c) {
        return !c->negated && !c->if_exists && c->quantifier != QUANTIFIER_ALL && c->match != MATCH_NULL &&
               c->match != MATCH_BOOL && c->match != MATCH_OTHER;
}

enum truth condition_met(const struct condition *c, bool variables, const struct request *q) {
        const struct request_key *k = request_find(q, c->key);
        enum truth all = TRUTH_YES, any = TRUTH_NO;

        if (!k && !request_lacks(q, c->key))
                return TRUTH_UNKNOWN;
        if (c->match == MATCH_NULL)
                return truth_of(null_met(c, !k));
        if (!k)
                return truth_of(condition_met_without_key(c));
        if (variables && strings_have_variable(&c->values))
                return TRUTH_UNKNOWN;
        for (size_t i = 0; i < k->n; i++) {
                enum truth t = value_met(c, k, k->values[i]);

                all = MIN_OF(all, t);
                any = MAX_OF(any, t);
        }
        return c->quantifier == QUANTIFIER_ALL || (c->quantifier == QUANTIFIER_NONE && c->negated) ? all : any;
}

/* One value */

/* Each of an ARN's six parts matches on its own. */
static bool arn_matches(const char *pattern, const char *text) {
        for (unsigned part = 0; part < 6; part++) {
                size_t p = part < 5 ? strcspn(pattern, ":") : strlen(pattern),
                       t = part < 5 ? strcspn(text, ":") : strlen(text);
                _cleanup_free_ char *one = strndup(pattern, p), *other = strndup(text, t);

                if (!one || !other || !glob_matches(one, other, false))
                        return false;
                if (part < 5 && (!pattern[p] || !text[t]))
                        return false;
                pattern += p + 1;
                text += t + 1;
        }
        return true;
}

static bool text_matches(enum match_kind match, const char *value, const char *wanted) {
        switch (match) {
        case MATCH_STRING_EQUALS:
                return streq(value, wanted);
        case MATCH_STRING_EQUALS_IGNORE_CASE:
        case MATCH_BOOL:
                return strcasecmp(value, wanted) == 0;
        case MATCH_STRING_LIKE:
                return glob_matches(wanted, value, false);
        case MATCH_ARN:
                return arn_matches(wanted, value);
        default:
                return false;
        }
}

/* Whether the fixed text of `wanted`, before its first and after its last wildcard, leaves room for a path between
 * `head`, the ARN up to "role/", and the role's name. */
static bool path_may_match(enum match_kind match, const char *head, size_t n_head, const char *name,
                           const char *wanted) {
        int (*compare)(const char *, const char *, size_t) =
                match == MATCH_STRING_EQUALS_IGNORE_CASE ? strncasecmp : strncmp;
        bool wild = match == MATCH_STRING_LIKE || match == MATCH_ARN;
        size_t n = strlen(wanted), n_name = strlen(name), first = wild ? strcspn(wanted, "*?") : n, last = n;

        while (wild && first < n && last > 0 && !strchr("*?", wanted[last - 1]))
                last--;
        last = first < n ? n - last : n; /* how much is fixed at the end */
        last = MIN_OF(last, n_name);
        return compare(wanted, head, MIN_OF(first, n_head)) == 0 &&
               compare(wanted + n - last, name + n_name - last, last) == 0;
}

/* A role's ARN of which all but the path is known. */
static enum truth role_matches(enum match_kind match, const char *role, const char *wanted) {
        const char *slash = strrchr(role, '/');
        size_t n_head = (size_t) (slash - role) + 1;
        _cleanup_free_ char *deep = NULL;
        bool without, with;

        /* No pattern spells this path, so a pattern that matches both it and no path has a wildcard for any path. */
        if (asprintf(&deep, "%.*s\1/\1\1%s", (int) n_head, role, slash) < 0) {
                deep = NULL;
                return TRUTH_UNKNOWN;
        }
        without = text_matches(match, role, wanted);
        with = text_matches(match, deep, wanted);
        if (without && with)
                return TRUTH_YES;
        return without || with || path_may_match(match, role, n_head, slash, wanted) ? TRUTH_UNKNOWN : TRUTH_NO;
}

/* A value of the request meets a plain operator if it matches one of the condition's values, and a negated operator if
 * it matches none. */
static enum truth value_met(const struct condition *c, const struct request_key *k, const char *value) {
        enum truth t = c->match == MATCH_OTHER ? TRUTH_UNKNOWN : TRUTH_NO;

        for (size_t i = 0; i < c->values.n; i++)
                t = MAX_OF(t, k->hides_path ? role_matches(c->match, value, c->values.items[i])
                                            : truth_of(text_matches(c->match, value, c->values.items[i])));
        return c->negated ? truth_not(t) : t;
}
