/* SPDX-License-Identifier: Apache-2.0 */
#include "keypolicy/guard.h"

#include <strings.h>

#include "keypolicy/condition-key.h"

#define CREATE_GRANT "kms:CreateGrant"

enum { USE_ACTIONS = 3 };

/* Of the actions that make data keys, only GenerateDataKey gives the caller one that the agent accepts: the actions
 * WithoutPlaintext do not reveal it, and the private key of a pair is not 32 bytes long. */
static const char *const actions_of[USE_COUNT][USE_ACTIONS] = {
        [USE_RELEASE] = { "kms:Decrypt", "kms:ReEncryptFrom" },
        [USE_SEAL] = { "kms:GenerateDataKey", "kms:Encrypt", "kms:ReEncryptTo" },
};

void guarded_done(struct guarded *g) {
        free(g->conditions);
        *g = (struct guarded) {};
}

bool guarded_is_attested(const struct guarded *g) {
        for (size_t i = 0; i < g->n; i++)
                if (is_attestation_key(g->conditions[i].key) && condition_pins_value(&g->conditions[i]))
                        return true;
        return false;
}

const struct condition *guarded_find(const struct guarded *g, const char *key) {
        const struct condition *found = NULL;

        for (size_t i = 0; i < g->n; i++) {
                const struct condition *c = &g->conditions[i];

                if (strcasecmp(c->key, key) == 0 && condition_pins_value(c) &&
                    (!found || c->values.n < found->values.n))
                        found = c;
        }
        return found;
}

/* A Deny that applies whoever the caller is, and whichever key the request names. */
static bool is_for_everyone(const struct statement *deny) {
        if (deny->allow || !deny->anyone || deny->not_principal || deny->not_resource)
                return false;
        for (size_t i = 0; i < deny->resources.n; i++)
                if (streq(deny->resources.items[i], "*"))
                        return true;
        return false;
}

/* An attestation key that no request for this action carries. */
static bool is_never_there(const struct condition *c, const char *action) {
        enum attestation_key kind = attestation_key(c->key, NULL);

        return kind == ATTESTATION_UNKNOWN || (kind != ATTESTATION_NONE && !action_takes_document(action));
}

/* Whether this action is denied to everyone, whatever the request presents. */
static bool is_refused(const struct key_policy *policy, const char *action) {
        for (size_t i = 0; i < policy->n; i++) {
                const struct statement *s = &policy->statements[i];
                bool always = is_for_everyone(s) && statement_covers_action(s, action);

                for (size_t k = 0; k < s->n_conditions && always; k++)
                        always = is_never_there(&s->conditions[k], action) &&
                                 condition_met_without_key(&s->conditions[k]);
                if (always)
                        return true;
        }
        return false;
}

bool statement_is_dead(const struct statement *s) {
        for (size_t i = 0; i < s->n_conditions; i++) {
                const struct condition *c = &s->conditions[i];

                if (attestation_key(c->key, NULL) == ATTESTATION_UNKNOWN && !condition_met_without_key(c))
                        return true;
        }
        return false;
}

/* Which actions of this kind s allows, itself or by a grant. */
static bool find_used(const struct key_policy *policy, const struct statement *s, enum use use,
                      bool ret[static USE_ACTIONS]) {
        bool grants = statement_covers_action(s, CREATE_GRANT) && !is_refused(policy, CREATE_GRANT), any = false;

        for (size_t i = 0; i < USE_ACTIONS; i++) {
                const char *action = actions_of[use][i];

                ret[i] = action && !statement_is_dead(s) && (grants || statement_covers_action(s, action)) &&
                         !is_refused(policy, action);
                any |= ret[i];
        }
        return any;
}

static bool covers_used(const struct statement *deny, enum use use, const bool used[static USE_ACTIONS]) {
        for (size_t i = 0; i < USE_ACTIONS; i++)
                if (used[i] && !statement_covers_action(deny, actions_of[use][i]))
                        return false;
        return is_for_everyone(deny);
}

/* Whether the Deny refuses every request without one attested value. IfExists has no effect on a negated operator, so
 * that its author intended something else: such a Deny is not counted. */
static bool demands_value(const struct statement *deny) {
        const struct condition *c = deny->conditions;

        return deny->n_conditions == 1 && is_attestation_key(c->key) && c->negated && !c->if_exists &&
               c->quantifier == QUANTIFIER_NONE;
}

/* Whether the Deny refuses every request without a document. */
static bool demands_document(const struct statement *deny) {
        for (size_t i = 0; i < deny->n_conditions; i++)
                if (!is_attestation_key(deny->conditions[i].key) || deny->conditions[i].match != MATCH_NULL ||
                    !condition_met_without_key(&deny->conditions[i]))
                        return false;
        return deny->n_conditions > 0;
}

int guarded_init(const struct key_policy *policy, const struct statement *s, enum use use, struct guarded *ret) {
        struct guarded g = { .statement = s };
        bool used[USE_ACTIONS];

        g.used = find_used(policy, s, use, used);
        g.conditions = calloc(s->n_conditions + policy->n + 1, sizeof *g.conditions);
        if (!g.conditions)
                return -ENOMEM;
        for (; g.n < s->n_conditions; g.n++)
                g.conditions[g.n] = s->conditions[g.n];
        for (size_t i = 0; i < policy->n && g.used; i++) {
                const struct statement *deny = &policy->statements[i];

                if (!covers_used(deny, use, used))
                        continue;
                g.demands_document |= demands_document(deny);
                if (demands_value(deny)) {
                        g.conditions[g.n] = deny->conditions[0];
                        g.conditions[g.n++].negated = false;
                }
        }
        *ret = g;
        return 0;
}
