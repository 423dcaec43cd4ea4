/* SPDX-License-Identifier: Apache-2.0 */
#include "sealed/candidates.h"

#include "aws/key-arn.h"
#include "basic/utf8.h"

void key_candidates_done(struct key_candidates *c) {
        for (size_t i = 0; i < c->n; i++)
                free(c->items[i].arn);
        *c = (struct key_candidates) {};
}

static bool is_listed(const struct key_candidates *c, const char *arn, const struct message_data_key *key) {
        for (size_t i = 0; i < c->n; i++)
                if (streq(c->items[i].arn, arn) && c->items[i].key->ciphertext_size == key->ciphertext_size &&
                    memcmp(c->items[i].key->ciphertext, key->ciphertext, key->ciphertext_size) == 0)
                        return true;
        return false;
}

static int add(struct key_candidates *c, const char *arn, const struct message_data_key *key) {
        char *copy;

        if (is_listed(c, arn, key))
                return 0;
        if (c->n == KEY_CANDIDATES_MAX) {
                c->left_out++;
                return 0;
        }
        copy = strdup(arn);
        if (!copy)
                return -ENOMEM;
        c->items[c->n++] = (struct key_candidate) { copy, key };
        return 0;
}

/* Adds each ARN that the key may be asked for by. */
static int add_key(struct key_candidates *c, const struct message_data_key *key, const char *const *allowed,
                   size_t n_allowed, const char *region) {
        _cleanup_free_ char *near = NULL;
        bool matched = !allowed;
        int r;

        for (size_t i = 0; allowed && i < n_allowed; i++)
                matched |= key_arn_related(allowed[i], key->info);
        if (!matched)
                return 0;
        /* No replica is in another partition. */
        if (region && key_arn_is_multi_region(key->info) && key_arn_may_be_in(key->info, region)) {
                r = key_arn_in_region(key->info, region, &near);
                if (r < 0)
                        return r;
                r = add(c, near, key);
                if (r < 0)
                        return r;
        }
        for (size_t i = 0; allowed && i < n_allowed; i++) {
                if (!key_arn_related(allowed[i], key->info))
                        continue;
                r = add(c, allowed[i], key);
                if (r < 0)
                        return r;
        }
        return add(c, key->info, key);
}

/* Whether this is a key of AWS KMS whose name is an ARN. */
static bool is_kms_key(const struct message_data_key *key) {
        return streq(key->provider, "aws-kms") && strlen(key->info) == key->info_size && key_arn_valid(key->info);
}

int key_candidates_find(const struct message_header *h, const char *const *allowed, size_t n_allowed,
                        const char *region, struct key_candidates *ret, struct error *e) {
        _cleanup_key_candidates_ struct key_candidates c = { .context = h->context, .n_context = h->n_context };

        for (size_t i = 0; i < h->n_data_keys; i++)
                if (is_kms_key(&h->data_keys[i]) && add_key(&c, &h->data_keys[i], allowed, n_allowed, region) < 0)
                        return fail_oom(e);
        *ret = TAKE_STRUCT(c);
        return 0;
}

/* Whether the failure may be of this key alone, so that asking another key makes sense. */
static bool is_of_one_key(enum failure failure) {
        switch (failure) {
        case FAILURE_KMS_DENIED:
        case FAILURE_KMS_KEY:
        case FAILURE_KMS_CIPHERTEXT:
        case FAILURE_KMS_UNAVAILABLE:
        case FAILURE_KMS_ANSWER:
        case FAILURE_NETWORK: /* each Region has its own endpoint */
                return true;
        default:
                return false;
        }
}

/* One error of all: the reason has an equal share of room for each key. */
static void summarize(const struct key_candidates *c, const char *subject, const struct error *errors,
                      struct error *e) {
        char left_out[64] = "";
        size_t used, share;

        if (!e)
                return;
        if (c->left_out > 0)
                snprintf(left_out, sizeof left_out, "; %zu more were not asked", c->left_out);
        *e = errors[0];
        snprintf(e->subject, sizeof e->subject, "%s", subject);
        used = (size_t) snprintf(e->reason, sizeof e->reason, "none of the %zu KMS keys that may open it does", c->n);
        share = (sizeof e->reason - used - sizeof left_out) / c->n;
        for (size_t i = 0; i < c->n; i++)
                used += MIN_OF((size_t) snprintf(e->reason + used, share, "%s %s: %s", i == 0 ? ":" : ";",
                                                 c->items[i].arn, errors[i].reason),
                               share - 1);
        snprintf(e->reason + used, sizeof e->reason - used, "%s", left_out);
        utf8_make_printable(e->reason);
        fail_advice(e, "One of these keys is enough. Of the first: %s",
                    errors[0].advice[0] ? errors[0].advice : failure_info(errors[0].failure)->advice);
}

int key_candidates_try(const struct key_candidates *c, const char *subject, key_candidate_ask ask,
                       key_candidate_refused refused, void *userdata, struct error *e) {
        _cleanup_free_ struct error *errors = calloc(c->n + 1, sizeof *errors);
        int r = -ENOKEY, first = 0;

        if (!errors)
                return fail_oom(e);
        if (c->n == 0)
                return fail(e, FAILURE_KEY_NOT_PINNED, -ENOKEY, subject,
                            "it has no encrypted data key that may be used");
        for (size_t i = 0; i < c->n; i++) {
                /* clang-format off */
                const struct kms_ciphertext ciphertext = {
                        .key_arn = c->items[i].arn, .blob = c->items[i].key->ciphertext,
                        .size = c->items[i].key->ciphertext_size, .context = c->context, .n_context = c->n_context,
                };
                /* clang-format on */

                r = ask(userdata, &ciphertext, &errors[i]);
                if (r == 0)
                        return 0;
                first = first ?: r;
                if (c->n == 1 || !is_of_one_key(errors[i].failure)) {
                        if (e)
                                *e = errors[i];
                        return r;
                }
                if (refused)
                        refused(userdata, &ciphertext, &errors[i]);
        }
        summarize(c, subject, errors, e);
        return first;
}
