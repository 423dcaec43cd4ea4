/* SPDX-License-Identifier: Apache-2.0 */
#include "keypolicy/evaluate.h"

#include <strings.h>

#include "basic/encode.h"
#include "keypolicy/condition-key.h"

const char *decision_name(enum decision d) {
        return d == DECISION_ALLOWED ? "allowed" : d == DECISION_DENIED ? "denied" : "unknown";
}

const char *truth_name(enum truth t) {
        return t == TRUTH_YES ? "yes" : t == TRUTH_NO ? "no" : "unknown";
}

static enum truth truth_of(bool b) {
        return b ? TRUTH_YES : TRUTH_NO;
}

bool is_key_arn(const char *arn) {
        return glob_matches("arn:aws*:kms:?*:?*:key/?*", arn, false);
}

static enum truth opposite(enum truth t) {
        return t == TRUTH_YES ? TRUTH_NO : t == TRUTH_NO ? TRUTH_YES : TRUTH_UNKNOWN;
}

/* Request */

void request_done(struct request *r) {
        for (size_t i = 0; i < r->n; i++) {
                for (size_t k = 0; k < r->keys[i].n; k++)
                        free(r->keys[i].values[k]);
                free(r->keys[i].values);
                free(r->keys[i].name);
        }
        free(r->keys);
        free(r->principal);
        free(r->role);
        *r = (struct request) {};
}

static struct request_key *find_key(const struct request *r, const char *name) {
        for (size_t i = 0; i < r->n; i++)
                if (strcasecmp(r->keys[i].name, name) == 0)
                        return &r->keys[i];
        return NULL;
}

static struct request_key *new_key(struct request *r, const char *name) {
        struct request_key *larger = reallocarray(r->keys, r->n + 1, sizeof *larger);
        char *copy = strdup(name);

        if (larger)
                r->keys = larger;
        if (!larger || !copy) {
                free(copy);
                return NULL;
        }
        r->keys[r->n] = (struct request_key) { .name = copy };
        return &r->keys[r->n++];
}

int request_add(struct request *r, const char *key, const char *value, struct error *e) {
        struct request_key *k = find_key(r, key) ?: new_key(r, key);
        char **larger = k ? reallocarray(k->values, k->n + 1, sizeof *larger) : NULL;

        if (!larger)
                return fail_oom(e);
        k->values = larger;
        k->values[k->n] = strdup(value);
        if (!k->values[k->n])
                return fail_oom(e);
        k->n++;
        return 0;
}

int request_add_context(struct request *r, const char *name, const char *value, struct error *e) {
        _cleanup_free_ char *key = NULL;
        int k;

        if (asprintf(&key, "kms:EncryptionContext:%s", name) < 0)
                return fail_oom(e);
        k = request_add(r, key, value, e);
        return k < 0 ? k : request_add(r, "kms:EncryptionContextKeys", name, e);
}

static int add_pcr(struct request *r, bool nitrotpm, unsigned pcr, const uint8_t value[static SHA384_SIZE],
                   struct error *e) {
        char key[64], hex[2 * SHA384_SIZE + 1];
        int k;

        hex_encode(value, SHA384_SIZE, hex);
        snprintf(key, sizeof key, "kms:RecipientAttestation:%sPCR%u", nitrotpm ? "NitroTPM" : "", pcr);
        k = request_add(r, key, hex, e);
        if (k == 0 && !nitrotpm && pcr == ENCLAVE_PCR_IMAGE)
                k = request_add(r, "kms:RecipientAttestation:ImageSha384", hex, e);
        return k;
}

int request_add_document(struct request *r, const struct document *d, struct error *e) {
        int k = 0;

        r->nitrotpm = d->kind == DOCUMENT_NITROTPM;
        if (!action_takes_document(r->action))
                return 0;
        for (unsigned i = 0; i < PCR_COUNT_MAX && k == 0; i++)
                if (d->pcr[i])
                        k = add_pcr(r, r->nitrotpm, i, d->pcr[i], e);
        return k;
}

int request_add_reference(struct request *r, const struct reference *reference, struct error *e) {
        static const uint8_t zeros[SHA384_SIZE];
        int k = 0;

        r->nitrotpm = reference_is_nitrotpm(reference);
        if (!action_takes_document(r->action))
                return 0;
        r->partial = true;
        if (r->nitrotpm && !reference_has(reference, PCR_MODEL))
                k = add_pcr(r, true, PCR_MODEL, zeros, e);

        for (unsigned i = 0; i < PCR_COUNT_MAX && k == 0; i++)
                if (reference_has(reference, i))
                        k = add_pcr(r, r->nitrotpm, i, reference->pcr[i], e);
        return k;
}

/* arn:aws:sts::ACCOUNT:assumed-role/NAME/SESSION comes from arn:aws:iam::ACCOUNT:role/NAME, less the role's path. */
static int find_role(struct request *r, const char *resource, struct error *e) {
        const char *arn = r->principal, *name = strchr(resource, '/') + 1, *slash = strchr(name, '/');
        int partition = (int) (strstr(arn, ":sts:") - arn);

        if (!slash)
                return fail(e, FAILURE_USAGE, -EINVAL, arn, "is not the ARN of a role session");
        if (asprintf(&r->role, "%.*s:iam::%s:role/%.*s", partition, arn, r->account, (int) (slash - name), name) < 0) {
                r->role = NULL;
                return fail_oom(e);
        }
        return 0;
}

static int fill_principal(struct request *r, const char *principal, struct error *e) {
        const char *account = strstr(principal, "::"), *resource = account ? strchr(account + 2, ':') : NULL;
        bool session = strstr(principal, ":sts::") && resource && strncmp(resource + 1, "assumed-role/", 13) == 0;

        if (strncmp(principal, "arn:aws", 7) != 0 || !resource || resource - account - 2 != 12 || !resource[1])
                return fail(e, FAILURE_USAGE, -EINVAL, principal,
                            "is not the ARN of an IAM role, role session or user");
        snprintf(r->account, sizeof r->account, "%s", account + 2);
        r->principal = strdup(principal);
        if (!r->principal)
                return fail_oom(e);
        return session ? find_role(r, resource + 1, e) : 0;
}

int request_init(struct request *r, const char *principal, const char *action, const char *resource, struct error *e) {
        bool user = strstr(principal, ":user/") != NULL;
        int k;

        if (resource && !is_key_arn(resource))
                return fail(e, FAILURE_USAGE, -EINVAL, resource, "is not the ARN of a KMS key");
        r->action = action;
        r->resource = resource;
        k = fill_principal(r, principal, e);
        if (k < 0)
                return k;
        const struct {
                const char *key, *value;
        } filled[] = {
                { "kms:CallerAccount", r->account },
                { "kms:KeySpec", "SYMMETRIC_DEFAULT" },
                { "kms:KeyUsage", "ENCRYPT_DECRYPT" },
                { "kms:EncryptionAlgorithm", "SYMMETRIC_DEFAULT" },
                { "aws:PrincipalArn", r->role ?: r->principal },
                { "aws:PrincipalAccount", r->account },
                { "aws:PrincipalType", user ? "User" : "AssumedRole" },
                { "aws:SecureTransport", "true" },
        };
        for (size_t i = 0; i < ELEMENTS(filled) && k == 0; i++)
                k = request_add(r, filled[i].key, filled[i].value, e);
        if (k == 0)
                find_key(r, "aws:PrincipalArn")->hides_path = r->role;
        return k;
}

/* The role's name is the last part of its ARN, whatever its path. */
static bool same_role(const char *named, const char *role) {
        const char *slash = strstr(named, ":role/"), *name = strrchr(named, '/'), *other = strrchr(role, '/');

        return streq(named, role) || (slash && name && other &&
                                      strncmp(named, role, (size_t) (slash - named) + 6) == 0 && streq(name, other));
}

static int set_role(struct request *r, struct request_key *k, const char *arn, struct error *e) {
        char *copy;

        if (!same_role(arn, r->role))
                return fail(e, FAILURE_USAGE, -EINVAL, arn, "is not the ARN of the role behind %s", r->principal);
        copy = strdup(arn);
        if (!copy)
                return fail_oom(e);
        free(k->values[0]);
        k->values[0] = copy;
        k->hides_path = false;
        return 0;
}

/* An attestation key that the request certainly does not have: one that KMS does not know, one of the other kind of
 * document, and one that the document, of which all is known, does not fill. */
static bool attestation_is_absent(const struct request *r, const char *key) {
        enum attestation_key kind = attestation_key(key, NULL);

        if (kind == ATTESTATION_NONE || kind == ATTESTATION_UNKNOWN)
                return kind == ATTESTATION_UNKNOWN;
        return !r->partial || r->nitrotpm != (kind == ATTESTATION_NITROTPM);
}

int request_set(struct request *r, const char *key, const char *value, struct error *e) {
        struct request_key *k = find_key(r, key);
        int n;

        if (k && k->hides_path)
                return set_role(r, k, value, e);
        if (strncasecmp(key, "kms:EncryptionContext", 21) == 0)
                return fail(e, FAILURE_USAGE, -EINVAL, key, "is given by the encryption context (--context)");
        if (attestation_key(key, NULL) == ATTESTATION_UNKNOWN)
                return fail(e, FAILURE_USAGE, -EINVAL, key, "is not a condition key of KMS, and so in no request");
        if ((k && !k->set) || attestation_is_absent(r, key))
                return fail(e, FAILURE_USAGE, -EINVAL, key,
                            "is known from the request: only what cannot be known here can be set");
        n = request_add(r, key, value, e);
        if (n == 0)
                find_key(r, key)->set = true;
        return n;
}

/* Conditions */

/* Keys that KMS leaves out of a direct call, so that their absence is known; any other key that is not there is
 * unknown. */
static bool known_absent(const struct request *r, const char *key) {
        static const char *const keys[] = {
                "kms:ViaService",        "kms:GrantIsForAWSResource", "aws:SourceArn",
                "aws:SourceAccount",     "kms:EncryptionContextKeys", "kms:EncryptionContext",
                "kms:EncryptionContext:"
        };

        for (size_t i = 0; i < ELEMENTS(keys); i++)
                if (strcasecmp(keys[i], key) == 0)
                        return true;
        return is_context_key(key) || attestation_is_absent(r, key);
}

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

/* Whether what `wanted` fixes before its first and after its last wildcard leaves room for a path between `head`, the
 * ARN up to "role/", and the role's name. */
static bool path_may_match(enum match_kind match, const char *head, size_t n_head, const char *name,
                           const char *wanted) {
        int (*compare)(const char *, const char *, size_t) =
                match == MATCH_STRING_EQUALS_IGNORE_CASE ? strncasecmp : strncmp;
        bool wild = match == MATCH_STRING_LIKE || match == MATCH_ARN;
        size_t n = strlen(wanted), n_name = strlen(name), first = wild ? strcspn(wanted, "*?") : n, last = n;

        while (wild && first < n && last > 0 && !strchr("*?", wanted[last - 1]))
                last--;
        last = first < n ? n - last : n; /* how much is fixed at the end */
        return compare(wanted, head, MIN_OF(first, n_head)) == 0 &&
               compare(wanted + n - MIN_OF(last, n_name), name + n_name - MIN_OF(last, n_name), MIN_OF(last, n_name)) ==
                       0;
}

/* A role's ARN of which all but the path is known. */
static enum truth role_matches(enum match_kind match, const char *role, const char *wanted) {
        const char *slash = strrchr(role, '/');
        size_t n_head = (size_t) (slash - role) + 1;
        _cleanup_free_ char *deep = NULL;
        bool without, with;

        /* No pattern spells this path, so what matches both it and none has a wildcard that takes any. */
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

/* One value of the request against the condition's: any of them for the plain operators, none for the negated ones. */
static enum truth value_meets(const struct condition *c, const struct request_key *k, const char *value) {
        enum truth t = c->match == MATCH_OTHER ? TRUTH_UNKNOWN : TRUTH_NO;

        for (size_t i = 0; i < c->values.n; i++)
                t = MAX_OF(t, k->hides_path ? role_matches(c->match, value, c->values.items[i])
                                            : truth_of(text_matches(c->match, value, c->values.items[i])));
        return c->negated ? opposite(t) : t;
}

static bool meets_null(const struct condition *c, bool absent) {
        for (size_t i = 0; i < c->values.n; i++)
                if (absent == (strcasecmp(c->values.items[i], "true") == 0))
                        return true;
        return false;
}

bool met_without_key(const struct condition *c) {
        if (c->match == MATCH_NULL)
                return meets_null(c, true);
        return c->quantifier == QUANTIFIER_ALL || c->if_exists || (c->quantifier == QUANTIFIER_NONE && c->negated);
}

static bool has_variable(const struct strings *s) {
        for (size_t i = 0; i < s->n; i++)
                if (strstr(s->items[i], "${"))
                        return true;
        return false;
}

static enum truth meets(const struct condition *c, bool variables, const struct request *r,
                        const struct request_key *k) {
        enum truth all = TRUTH_YES, any = TRUTH_NO;

        if (!k && !known_absent(r, c->key))
                return TRUTH_UNKNOWN;
        if (c->match == MATCH_NULL)
                return truth_of(meets_null(c, !k));
        if (!k)
                return truth_of(met_without_key(c));
        if (variables && has_variable(&c->values))
                return TRUTH_UNKNOWN;
        for (size_t i = 0; i < k->n; i++) {
                enum truth t = value_meets(c, k, k->values[i]);

                all = MIN_OF(all, t);
                any = MAX_OF(any, t);
        }
        return c->quantifier == QUANTIFIER_ALL || (c->quantifier == QUANTIFIER_NONE && c->negated) ? all : any;
}

/* Statements */

static char *join(const struct request_key *k) {
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

static int note(struct statement_result *s, const char *element, const char *key, const struct strings *wanted,
                char *found, enum truth truth, struct error *e) {
        struct element_result *larger = reallocarray(s->elements, s->n + 1, sizeof *larger);

        if (!larger) {
                free(found);
                return fail_oom(e);
        }
        s->elements = larger;
        s->elements[s->n++] = (struct element_result) { element, key, wanted, found, truth };
        s->truth = MIN_OF(s->truth, truth);
        return 0;
}

/* How a Principal or NotPrincipal element lists who asks. Names of roles are unique in an account and KMS takes only
 * roles that exist, so a role named with a path is the session's. */
struct listed {
        bool account, role, session; /* role: or user */
        bool some_session;           /* of the role that asks, which session is not known */
};

static struct listed find_listed(const struct statement *s, const struct request *r) {
        bool any_session = strstr(r->principal, ":role/") != NULL;
        const char *role = r->role ?: r->principal, *name = any_session ? strrchr(r->principal, '/') : "";
        struct listed l = {};

        for (size_t i = 0; i < s->principals.n; i++) {
                const char *named = s->principals.items[i], *number = strstr(named, "::");
                const char *session = strstr(named, ":assumed-role/");
                bool ours = number && strncmp(number + 2, r->account, 12) == 0;

                l.account |= streq(named, r->account) || (ours && streq(number + 2 + 12, ":root"));
                l.role |= streq(named, role) || (r->role && same_role(named, role));
                l.session |= r->role && streq(named, r->principal);
                l.some_session |= any_session && ours && session && strncmp(session + 13, name, strlen(name)) == 0 &&
                                  session[13 + strlen(name)] == '/';
        }
        return l;
}

static enum truth principal_matches(const struct statement *s, const struct request *r, bool *ret_delegated) {
        const struct listed l = find_listed(s, r);

        *ret_delegated = !s->anyone && l.account && !l.role && !l.session;
        if (s->anyone || l.account || l.role || l.session)
                return TRUTH_YES;
        return l.some_session ? TRUTH_UNKNOWN : TRUTH_NO;
}

/* A Deny with NotPrincipal spares whom it lists together with everything they belong to: AWS may look at the account
 * first, then the role, then the session, and deny when one is missing (IAM user guide, "NotPrincipal"). */
static enum truth not_principal_matches(const struct statement *s, const struct request *r) {
        bool may_be_session = strstr(r->principal, ":role/") != NULL;
        const struct listed l = find_listed(s, r);

        if (s->anyone || (l.account && l.role && (r->role ? l.session : !may_be_session)))
                return TRUTH_NO;
        return l.account || l.role || l.session || l.some_session ? TRUTH_UNKNOWN : TRUTH_YES;
}

static enum truth resource_matches(const struct statement *s, bool variables, const struct request *r) {
        enum truth t = variables && has_variable(&s->resources) ? TRUTH_UNKNOWN : TRUTH_NO;

        for (size_t i = 0; i < s->resources.n; i++) {
                const char *pattern = s->resources.items[i];

                if (r->resource ? glob_matches(pattern, r->resource, false) : strspn(pattern, "*") == strlen(pattern))
                        t = TRUTH_YES;
                else if (!r->resource)
                        t = MAX_OF(t, TRUTH_UNKNOWN);
        }
        return s->not_resource ? opposite(t) : t;
}

static int judge(const struct statement *s, bool variables, const struct request *r, struct statement_result *ret,
                 bool *ret_delegated, struct error *e) {
        enum truth principal = s->not_principal ? not_principal_matches(s, r) : principal_matches(s, r, ret_delegated);
        enum truth action = truth_of(statement_covers_action(s, r->action));
        enum truth resource = resource_matches(s, variables, r);
        int k;

        *ret = (struct statement_result) { .statement = s, .truth = TRUTH_YES };
        k = note(ret, s->not_principal ? "NotPrincipal" : "Principal", NULL, s->anyone ? NULL : &s->principals,
                 strdup(r->principal), principal, e);
        if (k == 0)
                k = note(ret, s->not_action ? "NotAction" : "Action", NULL, &s->actions, strdup(r->action), action, e);
        if (k == 0)
                k = note(ret, s->not_resource ? "NotResource" : "Resource", NULL, &s->resources,
                         r->resource ? strdup(r->resource) : NULL, resource, e);
        for (size_t i = 0; i < s->n_conditions && k == 0; i++) {
                const struct condition *c = &s->conditions[i];
                const struct request_key *key = find_key(r, c->key);

                k = note(ret, c->operator_name, c->key, &c->values, key ? join(key) : NULL, meets(c, variables, r, key),
                         e);
        }
        return k;
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

int evaluate(const struct key_policy *policy, const struct request *request, struct evaluation *ret, struct error *e) {
        _cleanup_evaluation_ struct evaluation v = {};
        enum truth allow = TRUTH_NO, deny = TRUTH_NO;
        bool delegated = false, by_name = false;
        int r;

        v.statements = calloc(policy->n + 1, sizeof *v.statements);
        if (!v.statements)
                return fail_oom(e);
        for (size_t i = 0; i < policy->n; i++) {
                struct statement_result *s = &v.statements[v.n++];

                r = judge(&policy->statements[i], policy->variables, request, s, &delegated, e);
                if (r < 0)
                        return r;
                if (!policy->statements[i].allow) {
                        deny = MAX_OF(deny, s->truth);
                        continue;
                }
                allow = MAX_OF(allow, s->truth);
                by_name |= s->truth == TRUTH_YES && !delegated;
        }
        v.explicit_deny = deny == TRUTH_YES;
        if (deny == TRUTH_YES || allow == TRUTH_NO)
                v.decision = DECISION_DENIED;
        else
                v.decision = deny == TRUTH_UNKNOWN || allow == TRUTH_UNKNOWN ? DECISION_UNKNOWN : DECISION_ALLOWED;
        v.delegated = v.decision == DECISION_ALLOWED && !by_name;
        *ret = TAKE_STRUCT(v);
        return 0;
}
