/* SPDX-License-Identifier: Apache-2.0 */
#include "aws/denial.h"

/* Each kind by its name in the message. */
static const struct {
        const char *words;
        enum denial_kind kind;
} kinds[] = {
        { "identity-based policy", DENIAL_IDENTITY },         { "resource-based policy", DENIAL_RESOURCE },
        { "permissions boundary", DENIAL_BOUNDARY },          { "session policy", DENIAL_SESSION },
        { "service control policy", DENIAL_SERVICE_CONTROL }, { "resource control policy", DENIAL_RESOURCE_CONTROL },
        { "VPC endpoint policy", DENIAL_VPC_ENDPOINT },       { "VPCE policy", DENIAL_VPC_ENDPOINT },
};

/* The word behind `before`, up to a space, or up to the closing quote: S3 quotes resources, whose names may have
 * spaces. Returns what follows it, or `message` where there is none. */
static const char *take_word(const char *message, const char *before, char *ret, size_t room) {
        const char *found = strstr(message, before);
        bool quoted;
        size_t n;

        if (!found)
                return message;
        found += strlen(before);
        quoted = *found == '"';
        found += quoted;
        n = strcspn(found, quoted ? "\"" : " ");
        snprintf(ret, room, "%.*s", (int) MIN_OF(n, room - 1), found);
        return found + n;
}

bool denial_parse(const char *message, struct denial *ret) {
        struct denial d = {};
        const char *start, *explicit, *why, *at = NULL;

        start = strstr(message, "is not authorized to perform");
        if (!start)
                return false;
        (void) take_word(start, "is not authorized to perform: ", d.action, sizeof d.action);
        /* The reason is behind the resource's name, which is the caller's choice. */
        start = take_word(start, " on resource: ", d.resource, sizeof d.resource);
        explicit = strstr(start, " with an explicit deny in ");
        why = explicit ?: strstr(start, " because no ");
        d.is_explicit = explicit;
        for (size_t i = 0; why && i < ELEMENTS(kinds) && d.kind == DENIAL_UNNAMED; i++)
                if ((at = strstr(why, kinds[i].words))) {
                        d.kind = kinds[i].kind;
                        at += strlen(kinds[i].words);
                }
        if (at && strncmp(at, ": arn:", 6) == 0)
                (void) take_word(at, ": ", d.policy, sizeof d.policy);
        *ret = d;
        return true;
}

void denial_advice(const struct denial *d, const char *resource_policy, char *ret, size_t n) {
        const char *action = d->action[0] ? d->action : "the action", *where = "";
        char resource[96] = "";
        int used;

        if (d->resource[0] && strlen(d->resource) < sizeof resource - 4)
                snprintf(resource, sizeof resource, " on %s", d->resource);
        switch (d->kind) {
        case DENIAL_UNNAMED:
                ret[0] = '\0';
                return;
        case DENIAL_IDENTITY:
                where = "the caller's IAM policy";
                break;
        case DENIAL_RESOURCE:
                where = resource_policy;
                break;
        case DENIAL_BOUNDARY:
                where = "the permissions boundary of the caller's role";
                break;
        case DENIAL_SESSION:
                where = "the session policy that the credentials were issued with";
                break;
        case DENIAL_SERVICE_CONTROL:
                where = "a service control policy of the organization that the caller's account belongs to";
                break;
        case DENIAL_RESOURCE_CONTROL:
                where = "a resource control policy of the organization that owns the resource";
                break;
        case DENIAL_VPC_ENDPOINT:
                where = "the policy of the VPC endpoint that the request went through";
                break;
        }
        if (d->is_explicit)
                used = snprintf(ret, n, "A Deny in %s%s%s refuses %s%s: who administers it must narrow or remove it.",
                                where, d->policy[0] ? ", " : "", d->policy, action, resource);
        else
                used = snprintf(ret, n, "Let %s%s%s allow %s%s.", where, d->policy[0] ? ", " : "", d->policy, action,
                                resource);
        if (used < 0 || (size_t) used >= n)
                ret[n - 1] = '\0';
}
