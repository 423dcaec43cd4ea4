/* SPDX-License-Identifier: Apache-2.0 */
#include "keypolicy/caller.h"

/* How an element lists the caller. Names of roles are unique in an account and KMS takes only roles that exist, so a
 * role named with a path is the session's. */
struct listed {
        bool account, role, session; /* role: or user */
        bool some_session;           /* of the role that asks, which session is not known */
};

static struct listed find_listed(const struct statement *s, const struct request *q) {
        bool any_session = strstr(q->principal, ":role/") != NULL;
        const char *role = q->role ?: q->principal, *name = any_session ? strrchr(q->principal, '/') : "";
        struct listed l = {};

        for (size_t i = 0; i < s->principals.n; i++) {
                const char *named = s->principals.items[i], *number = strstr(named, "::");
                const char *session = strstr(named, ":assumed-role/");
                bool ours = number && strncmp(number + 2, q->account, 12) == 0;

                l.account |= streq(named, q->account) || (ours && streq(number + 2 + 12, ":root"));
                l.role |= streq(named, role) || (q->role && is_same_role(named, role));
                l.session |= q->role && streq(named, q->principal);
                l.some_session |= any_session && ours && session && strncmp(session + 13, name, strlen(name)) == 0 &&
                                  session[13 + strlen(name)] == '/';
        }
        return l;
}

static enum truth principal_matches(const struct statement *s, const struct request *q, bool *ret_delegated) {
        const struct listed l = find_listed(s, q);

        *ret_delegated = !s->anyone && l.account && !l.role && !l.session;
        if (s->anyone || l.account || l.role || l.session)
                return TRUTH_YES;
        return l.some_session ? TRUTH_UNKNOWN : TRUTH_NO;
}

/* A Deny with NotPrincipal spares a caller only if it lists everything that the caller belongs to: AWS may look at the
 * account first, then the role, then the session, and deny when one of them is missing. */
static enum truth not_principal_matches(const struct statement *s, const struct request *q) {
        bool may_be_session = strstr(q->principal, ":role/") != NULL;
        const struct listed l = find_listed(s, q);

        if (s->anyone || (l.account && l.role && (q->role ? l.session : !may_be_session)))
                return TRUTH_NO;
        return l.account || l.role || l.session || l.some_session ? TRUTH_UNKNOWN : TRUTH_YES;
}

enum truth statement_is_for_caller(const struct statement *s, const struct request *q, bool *ret_delegated) {
        *ret_delegated = false;
        return s->not_principal ? not_principal_matches(s, q) : principal_matches(s, q, ret_delegated);
}
