/* SPDX-License-Identifier: Apache-2.0 */
#include "audit/judgement.h"

enum { UNATTESTED, UNKNOWN_IMAGE, NOT_COMPARABLE, OTHER_INSTANCE, DENIED, CHANGED, OPENED, SEALED, ATTESTED };

/* clang-format off */
static const struct finding findings[] = {
        [UNATTESTED]     = { "unattested",     LEVEL_ALARM,
                             "key material was given out without an attestation document" },
        [UNKNOWN_IMAGE]  = { "unknown-image",  LEVEL_ALARM,
                             "the document is of an image that no reference describes" },
        [NOT_COMPARABLE] = { "not-comparable", LEVEL_ALARM,
                             "the record shows no PCR that a reference has, so that the image is not known" },
        [OTHER_INSTANCE] = { "other-instance", LEVEL_NOTICE,
                             "the document is of another instance than the credentials" },
        [DENIED]         = { "denied",         LEVEL_NOTICE, "KMS refused" },
        [CHANGED]        = { "key-changed",    LEVEL_NOTICE,
                             "compare the key's policy with the one that you wrote (sealboot policy diff), and look at "
                             "its grants (aws kms list-grants)" },
        [OPENED]         = { "opened",         LEVEL_NOTICE,
                             "an --opener was given key material without a document" },
        [SEALED]         = { "sealed",         LEVEL_GOOD,   "a --sealer made a data key" },
        [ATTESTED]       = { "attested",       LEVEL_GOOD,   "released to a known image" },
        {},
};
/* clang-format on */

const struct finding *finding_table(void) {
        return findings;
}

/* "arn:aws:sts::ACCOUNT:assumed-role/NAME/SESSION" is a session of "arn:aws:iam::ACCOUNT:role/PATH/NAME". */
static bool is_session_of(const char *caller, const char *role) {
        const char *sts = strstr(caller, ":sts::"), *iam = strstr(role, ":iam::");
        const char *assumed = strstr(caller, ":assumed-role/"), *of = strstr(role, ":role/"), *name;
        size_t n;

        if (!sts || !iam || !assumed || !of)
                return false;
        if (sts - caller != iam - role || strncmp(caller, role, (size_t) (sts - caller)) != 0) /* the partition */
                return false;
        if (assumed - sts != of - iam || strncmp(sts + 6, iam + 6, (size_t) (assumed - sts - 6)) != 0) /* the account */
                return false;
        name = strrchr(role, '/') + 1;
        assumed += strlen(":assumed-role/");
        n = strcspn(assumed, "/");
        return assumed[n] == '/' && strlen(name) == n && strncmp(assumed, name, n) == 0;
}

/* The account of an ARN is its fifth part. A record that names two accounts was not written by CloudTrail. */
static bool is_in_account(const char *arn, const char *account) {
        size_t n = strlen(account);

        for (unsigned part = 0; part < 4 && arn; part++) {
                arn = strchr(arn, ':');
                arn = arn ? arn + 1 : NULL;
        }
        return arn && strncmp(arn, account, n) == 0 && arn[n] == ':';
}

static bool is_one_of(const struct call *c, const char *const *list, size_t n) {
        if (c->account[0] && !is_in_account(c->caller, c->account))
                return false;
        for (size_t i = 0; i < n; i++)
                if (streq(c->caller, list[i]) || is_session_of(c->caller, list[i]))
                        return true;
        return false;
}

/* PCR4 (of an enclave PCR0) is the image itself. A reference without it may be of Secure Boot, whose PCR7 says whose
 * images start. */
static bool is_comparable(const struct reference *r, uint32_t both, unsigned image_pcr) {
        unsigned needed = reference_has(r, image_pcr) ? image_pcr : PCR_SECURE_BOOT;

        return (both & UINT32_C(1) << needed) != 0;
}

/* The image whose PCRs the record shows; of several the one with which most agree. *ret_comparable: some PCR could be
 * compared at all. */
static const struct reference *find_image(const struct call *c, const struct references *images, bool *ret_comparable) {
        const unsigned image_pcr = c->enclave ? 0 : PCR_IMAGE;
        const struct reference *best = NULL;
        unsigned best_agree = 0;

        *ret_comparable = false;
        for (size_t i = 0; i < images->n; i++) {
                const struct reference *r = &images->items[i];
                uint32_t both = r->present & c->present;
                unsigned agree = 0;

                if (reference_is_nitrotpm(r) == c->enclave || !is_comparable(r, both, image_pcr))
                        continue;
                *ret_comparable = true;
                for (unsigned pcr = 0; pcr < PCR_COUNT_MAX; pcr++) {
                        if (!(both & UINT32_C(1) << pcr))
                                continue;
                        agree = memcmp(r->pcr[pcr], c->pcr[pcr], SHA384_SIZE) == 0 ? agree + 1 : 0;
                        if (agree == 0)
                                break;
                }
                if (agree > best_agree) {
                        best = r;
                        best_agree = agree;
                }
        }
        return best;
}

/* On an instance, the name of a role's session is the id of the instance. */
static bool is_other_instance(const struct call *c) {
        const char *session = strrchr(c->caller, '/');

        return c->instance[0] && session && strncmp(session, "/i-", 3) == 0 && !streq(session + 1, c->instance);
}

static const struct finding *judge(const struct call *c, const struct accepted_uses *uses,
                                   const struct reference **ret_image) {
        bool comparable;

        *ret_image = c->attested ? find_image(c, uses->images, &comparable) : NULL;
        if (c->error[0])
                return &findings[DENIED];
        if (c->class == CALL_CHANGE)
                return &findings[CHANGED];
        if (!c->attested && is_one_of(c, uses->openers, uses->n_openers))
                return &findings[c->class == CALL_GENERATE ? SEALED : OPENED];
        if (!c->attested && c->class == CALL_GENERATE && is_one_of(c, uses->sealers, uses->n_sealers))
                return &findings[SEALED];
        if (!c->attested)
                return &findings[UNATTESTED];
        if (!comparable)
                return &findings[NOT_COMPARABLE];
        if (!*ret_image)
                return &findings[UNKNOWN_IMAGE];
        return &findings[is_other_instance(c) ? OTHER_INSTANCE : ATTESTED];
}

static bool is_of_interest(const struct call *c, const struct accepted_uses *uses) {
        for (size_t i = 0; i < uses->n_keys; i++)
                if (call_is_of_key(c, uses->keys[i]))
                        return true;
        return uses->n_keys == 0;
}

int judge_trail(const struct trail *t, const struct accepted_uses *uses, struct judgement *ret, struct error *e) {
        struct judgement j = { .calls = calloc(t->n + 1, sizeof *j.calls) };

        if (!j.calls)
                return fail_oom(e);
        for (enum finding_level level = LEVEL_ALARM; level <= LEVEL_GOOD; level++)
                for (size_t i = 0; i < t->n; i++) {
                        struct judged judged = { .call = &t->calls[i] };

                        if (!is_of_interest(judged.call, uses))
                                continue;
                        judged.finding = judge(judged.call, uses, &judged.image);
                        if (judged.finding->level != level)
                                continue;
                        j.calls[j.n++] = judged;
                        j.n_alarms += level == LEVEL_ALARM;
                        j.n_notices += level == LEVEL_NOTICE;
                }
        *ret = j;
        return 0;
}

void judgement_done(struct judgement *j) {
        free(j->calls);
        *j = (struct judgement) {};
}
