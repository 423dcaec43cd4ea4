/* SPDX-License-Identifier: Apache-2.0 */
#include "keypolicy/evaluate.h"

#include "keypolicy/caller.h"

static int judge_statement(const struct statement *s, bool variables, const struct request *q,
                           struct statement_result *ret, struct error *e);

const char *decision_name(enum decision d) {
        return d == DECISION_ALLOWED ? "allowed" : d == DECISION_DENIED ? "denied" : "unknown";
}

/* The decision */

/* A Deny that applies outweighs every Allow, and without an Allow that applies nothing is allowed. */
static void decide(struct evaluation *v) {
        enum truth allow = TRUTH_NO, deny = TRUTH_NO;
        bool by_name = false;

        for (size_t i = 0; i < v->n; i++) {
                const struct statement_result *s = &v->statements[i];

                if (s->statement->allow) {
                        allow = MAX_OF(allow, s->truth);
                        by_name |= s->truth == TRUTH_YES && !s->delegated;
                } else
                        deny = MAX_OF(deny, s->truth);
        }
        if (deny == TRUTH_YES || allow == TRUTH_NO)
                v->decision = DECISION_DENIED;
        else if (deny == TRUTH_UNKNOWN || allow == TRUTH_UNKNOWN)
                v->decision = DECISION_UNKNOWN;
        else
                v->decision = DECISION_ALLOWED;
        v->explicit_deny = deny == TRUTH_YES;
        v->delegated = v->decision == DECISION_ALLOWED && !by_name;
}

int evaluate(const struct key_policy *policy, const struct request *request, struct evaluation *ret, struct error *e) {
        _cleanup_evaluation_ struct evaluation v = {};
        int r;

        v.statements = calloc(policy->n + 1, sizeof *v.statements);
        if (!v.statements)
                return fail_oom(e);
        for (size_t i = 0; i < policy->n; i++) {
                r = judge_statement(&policy->statements[i], policy->variables, request, &v.statements[v.n++], e);
                if (r < 0)
                        return r;
        }
        decide(&v);
        *ret = TAKE_STRUCT(v);
        return 0;
}

void evaluation_done(struct evaluation *v) {
        for (size_t i = 0; i < v->n; i++) {
                for (size_t k = 0; k < v->statements[i].n; k++)
                        free(v->statements[i].elements[k].found);
                free(v->statements[i].elements);
        }
        free(v->statements);
        *v = (struct evaluation) {};
}

/* One statement */

static enum truth resource_matches(const struct statement *s, bool variables, const struct request *q) {
        enum truth t = variables && strings_have_variable(&s->resources) ? TRUTH_UNKNOWN : TRUTH_NO;

        for (size_t i = 0; i < s->resources.n; i++) {
                const char *pattern = s->resources.items[i];

                if (q->resource ? glob_matches(pattern, q->resource, false) : strspn(pattern, "*") == strlen(pattern))
                        t = TRUTH_YES;
                else if (!q->resource)
                        t = MAX_OF(t, TRUTH_UNKNOWN);
        }
        return s->not_resource ? truth_not(t) : t;
}

static char *join_values(const struct request_key *k) {
        char *text = NULL;
        size_t size;
        FILE *f = open_memstream(&text, &size);

        if (!f)
                return NULL;
        for (size_t i = 0; i < k->n; i++)
                fprintf(f, "%s%s", i > 0 ? ", " : "", k->values[i]);
        fclose(f);
        return text;
}

/* Keeps the result of one element. Takes `found`. */
static void add_element(struct statement_result *s, const char *element, const char *key, const struct strings *wanted,
                        char *found, enum truth truth) {
        s->elements[s->n++] = (struct element_result) { element, key, wanted, found, truth };
        s->truth = MIN_OF(s->truth, truth);
}

static char *copy_or_null(const char *text) {
        return text ? strdup(text) : NULL;
}

/* A statement applies if each of its elements matches. */
static int judge_statement(const struct statement *s, bool variables, const struct request *q,
                           struct statement_result *ret, struct error *e) {
        enum { FIXED_ELEMENTS = 3 };
        enum truth caller;

        *ret = (struct statement_result) { .statement = s, .truth = TRUTH_YES };
        ret->elements = calloc(FIXED_ELEMENTS + s->n_conditions, sizeof *ret->elements);
        if (!ret->elements)
                return fail_oom(e);
        caller = statement_is_for_caller(s, q, &ret->delegated);
        add_element(ret, s->not_principal ? "NotPrincipal" : "Principal", NULL, s->anyone ? NULL : &s->principals,
                    copy_or_null(q->principal), caller);
        add_element(ret, s->not_action ? "NotAction" : "Action", NULL, &s->actions, copy_or_null(q->action),
                    truth_of(statement_covers_action(s, q->action)));
        add_element(ret, s->not_resource ? "NotResource" : "Resource", NULL, &s->resources, copy_or_null(q->resource),
                    resource_matches(s, variables, q));
        for (size_t i = 0; i < s->n_conditions; i++) {
                const struct condition *c = &s->conditions[i];
                const struct request_key *k = request_find(q, c->key);

                add_element(ret, c->operator_name, c->key, &c->values, k ? join_values(k) : NULL,
                            condition_met(c, variables, q));
        }
        return 0;
}
