/* SPDX-License-Identifier: Apache-2.0 */
#include "keypolicy/diff.h"

#include <ctype.h>
#include <stdarg.h>

/* A statement as a sorted set of lines. Whoever adds lines looks at `failed` once, at the end. */
struct lines {
        char **items;
        size_t n;
        bool failed; /* out of memory: a line is missing */
        bool paired; /* with a statement of the other policy */
};

static void lines_done(struct lines *l) {
        for (size_t i = 0; i < l->n; i++)
                free(l->items[i]);
        free(l->items);
        *l = (struct lines) {};
}
#define _cleanup_lines_ _cleanup_(lines_done)

/* Takes `line`; NULL counts as out of memory. */
static void take_line(struct lines *l, char *line) {
        char **larger = line ? reallocarray(l->items, l->n + 1, sizeof *larger) : NULL;

        if (!larger) {
                free(line);
                l->failed = true;
                return;
        }
        l->items = larger;
        l->items[l->n++] = line;
}

static void add_line(struct lines *l, const char *format, ...) _printf_(2, 3);

static void add_line(struct lines *l, const char *format, ...) {
        char *line;
        va_list ap;
        int n;

        va_start(ap, format);
        n = vasprintf(&line, format, ap);
        va_end(ap);
        take_line(l, n < 0 ? NULL : line);
}

static int by_text(const void *a, const void *b) {
        return strcmp(*(char *const *) a, *(char *const *) b);
}

static void sort_unique(struct lines *l) {
        size_t kept = 0;

        if (l->n == 0)
                return;
        qsort(l->items, l->n, sizeof *l->items, by_text);
        for (size_t i = 0; i < l->n; i++)
                if (kept > 0 && streq(l->items[kept - 1], l->items[i]))
                        free(l->items[i]);
                else
                        l->items[kept++] = l->items[i];
        l->n = kept;
}

static char *lower(char *s) {
        for (char *c = s; c && *c; c++)
                *c = (char) tolower((unsigned char) *c);
        return s;
}

static char *copy_in_case(const char *text, bool ignore_case) {
        char *copy = strdup(text);

        return ignore_case ? lower(copy) : copy;
}

/* "Action kms:decrypt", one line for each value. */
static void add_each(struct lines *l, const char *what, const struct strings *values, bool ignore_case) {
        for (size_t i = 0; i < values->n; i++) {
                _cleanup_free_ char *value = copy_in_case(values->items[i], ignore_case);

                if (value)
                        add_line(l, "%s %s", what, value);
                else
                        l->failed = true;
        }
}

/* An account is named by its number or by an ARN: the ARN stands for both. `partition` begins with that of the ARNs
 * beside it. */
static void add_principals(struct lines *l, const char *what, const struct strings *values, const char *partition) {
        for (size_t i = 0; i < values->n; i++)
                if (strspn(values->items[i], "0123456789") == strlen(values->items[i]))
                        add_line(l, "%s arn:%.*s:iam::%s:root", what, (int) strcspn(partition, ":"), partition,
                                 values->items[i]);
                else
                        add_line(l, "%s %s", what, values->items[i]);
}

/* Text that could be taken for more than one word, or for another's quotes, is written as in JSON. */
static int print_word(FILE *f, const char *text) {
        _cleanup_json_ json_object *o = NULL;
        const char *c = text;

        while (*c > ' ' && *c < 0x7f && !strchr("\"|=", *c))
                c++;
        if (*text && !*c)
                return fputs(text, f) < 0 ? -ENOMEM : 0;
        o = json_object_new_string(text);
        return !o || fputs(json_object_to_json_string_ext(o, JSON_C_TO_STRING_NOSLASHESCAPE), f) < 0 ? -ENOMEM : 0;
}

/* "Condition OPERATOR KEY = a | b": the values of one condition are alternatives, so they share a line. */
static char *condition_line(const struct condition *c, const char *key, const struct lines *values) {
        _cleanup_free_ char *text = NULL;
        size_t size;
        FILE *f = open_memstream(&text, &size);
        int r;

        if (!f)
                return NULL;
        fprintf(f, "Condition %s ", c->operator_name);
        r = print_word(f, key);
        for (size_t i = 0; i < values->n && r == 0; i++) {
                fputs(i > 0 ? " | " : " = ", f);
                r = print_word(f, values->items[i]);
        }
        return fclose(f) != 0 || r < 0 ? NULL : TAKE(text);
}

static void add_condition(struct lines *l, const struct condition *c) {
        bool any_case = c->match == MATCH_STRING_EQUALS_IGNORE_CASE || c->match == MATCH_BOOL || c->match == MATCH_NULL;
        _cleanup_free_ char *key = copy_in_case(c->key, true);
        _cleanup_lines_ struct lines values = {};

        for (size_t i = 0; i < c->values.n; i++)
                take_line(&values, copy_in_case(c->values.items[i], any_case));
        sort_unique(&values);
        take_line(l, key && !values.failed ? condition_line(c, key, &values) : NULL);
}

static bool has_variable(const struct statement *s) {
        for (size_t i = 0; i < s->n_conditions; i++)
                if (strings_have_variable(&s->conditions[i].values))
                        return true;
        return strings_have_variable(&s->resources);
}

static int describe(const struct statement *s, bool variables, const char *partition, struct lines *ret) {
        const char *principal = s->not_principal ? "NotPrincipal" : "Principal";
        _cleanup_lines_ struct lines l = {};

        add_line(&l, "Effect %s", s->allow ? "Allow" : "Deny");
        if (has_variable(s))
                add_line(&l, "Version %s", variables ? "2012-10-17" : "2008-10-17");
        if (s->anyone)
                add_line(&l, "%s *", principal);
        else
                add_principals(&l, principal, &s->principals, partition);
        add_each(&l, s->not_principal ? "NotPrincipal service" : "Principal service", &s->services, false);
        add_each(&l, s->not_action ? "NotAction" : "Action", &s->actions, true);
        add_each(&l, s->not_resource ? "NotResource" : "Resource", &s->resources, false);
        for (size_t i = 0; i < s->n_conditions; i++)
                add_condition(&l, &s->conditions[i]);
        if (l.failed)
                return -ENOMEM;
        sort_unique(&l);
        *ret = TAKE_STRUCT(l);
        return 0;
}

static bool equal(const struct lines *a, const struct lines *b) {
        if (a->n != b->n)
                return false;
        for (size_t i = 0; i < a->n; i++)
                if (!streq(a->items[i], b->items[i]))
                        return false;
        return true;
}

/* Copies the lines of `from` that `other` (may be NULL) lacks. */
static int subtract(const struct lines *from, const struct lines *other, char ***ret, size_t *ret_n) {
        _cleanup_lines_ struct lines rest = {};

        for (size_t i = 0; i < from->n; i++)
                if (!other || !bsearch(&from->items[i], other->items, other->n, sizeof *other->items, by_text))
                        take_line(&rest, strdup(from->items[i]));
        if (rest.failed)
                return -ENOMEM;
        *ret = TAKE(rest.items);
        *ret_n = rest.n;
        rest.n = 0;
        return 0;
}

static int add_change(struct changes *c, const char *before, const struct lines *a, const char *after,
                      const struct lines *b) {
        struct change *larger = reallocarray(c->items, c->n + 1, sizeof *larger), *change;
        int r;

        if (!larger)
                return -ENOMEM;
        c->items = larger;
        change = &c->items[c->n++];
        *change = (struct change) { .before = before, .after = after };
        r = a ? subtract(a, b, &change->removed, &change->n_removed) : 0;
        if (r < 0)
                return r;
        return b ? subtract(b, a, &change->added, &change->n_added) : 0;
}

void changes_done(struct changes *c) {
        for (size_t i = 0; i < c->n; i++) {
                for (size_t k = 0; k < c->items[i].n_removed; k++)
                        free(c->items[i].removed[k]);
                for (size_t k = 0; k < c->items[i].n_added; k++)
                        free(c->items[i].added[k]);
                free(c->items[i].removed);
                free(c->items[i].added);
        }
        free(c->items);
        *c = (struct changes) {};
}

struct described {
        const struct key_policy *policy;
        struct lines *statements;
};

static void described_done(struct described *d) {
        for (size_t i = 0; d->statements && i < d->policy->n; i++)
                lines_done(&d->statements[i]);
        free(d->statements);
}
#define _cleanup_described_ _cleanup_(described_done)

/* The partition of the policy's ARNs, which is one; "aws" when no ARN tells. */
static const char *find_partition(const struct key_policy *policy) {
        for (size_t i = 0; i < policy->n; i++)
                for (size_t k = 0; k < policy->statements[i].principals.n; k++)
                        if (strncmp(policy->statements[i].principals.items[k], "arn:aws-", 8) == 0)
                                return policy->statements[i].principals.items[k] + 4;
        return "aws";
}

static int describe_all(const struct key_policy *policy, const char *partition, struct described *ret) {
        int r;

        *ret = (struct described) { policy, calloc(policy->n + 1, sizeof *ret->statements) };
        if (!ret->statements)
                return -ENOMEM;
        for (size_t i = 0; i < policy->n; i++) {
                r = describe(&policy->statements[i], policy->variables, partition, &ret->statements[i]);
                if (r < 0)
                        return r;
        }
        return 0;
}

static void pair_equal(struct described *a, struct described *b) {
        for (size_t i = 0; i < a->policy->n; i++)
                for (size_t k = 0; k < b->policy->n && !a->statements[i].paired; k++)
                        if (!b->statements[k].paired && equal(&a->statements[i], &b->statements[k]))
                                a->statements[i].paired = b->statements[k].paired = true;
}

static int pair_by_sid(struct described *a, struct described *b, struct changes *c) {
        int r;

        for (size_t i = 0; i < a->policy->n; i++)
                for (size_t k = 0; k < b->policy->n && !a->statements[i].paired; k++) {
                        const struct statement *s = &a->policy->statements[i], *t = &b->policy->statements[k];

                        if (b->statements[k].paired || !s->has_sid || !t->has_sid || !streq(s->name, t->name))
                                continue;
                        a->statements[i].paired = b->statements[k].paired = true;
                        r = add_change(c, s->name, &a->statements[i], t->name, &b->statements[k]);
                        if (r < 0)
                                return r;
                }
        return 0;
}

/* The statements that only one policy has. */
static int add_unpaired(const struct described *d, bool before, struct changes *c) {
        int r;

        for (size_t i = 0; i < d->policy->n; i++) {
                const struct lines *l = &d->statements[i];
                const char *name = d->policy->statements[i].name;

                if (l->paired)
                        continue;
                r = before ? add_change(c, name, l, NULL, NULL) : add_change(c, NULL, NULL, name, l);
                if (r < 0)
                        return r;
        }
        return 0;
}

int key_policy_compare(const struct key_policy *before, const struct key_policy *after, struct changes *ret,
                       struct error *e) {
        _cleanup_described_ struct described a = {}, b = {};
        _cleanup_changes_ struct changes c = {};
        const char *partition = find_partition(before);

        if (streq(partition, "aws"))
                partition = find_partition(after);
        if (describe_all(before, partition, &a) < 0 || describe_all(after, partition, &b) < 0)
                return fail_oom(e);
        pair_equal(&a, &b);
        if (pair_by_sid(&a, &b, &c) < 0 || add_unpaired(&a, true, &c) < 0 || add_unpaired(&b, false, &c) < 0)
                return fail_oom(e);
        *ret = TAKE_STRUCT(c);
        return 0;
}
