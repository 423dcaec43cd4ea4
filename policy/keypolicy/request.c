/* SPDX-License-Identifier: Apache-2.0 */
#include "keypolicy/request.h"

#include <strings.h>

#include "aws/key-arn.h"
#include "basic/encode.h"
#include "keypolicy/condition-key.h"

void request_done(struct request *q) {
        for (size_t i = 0; i < q->n; i++) {
                for (size_t k = 0; k < q->keys[i].n; k++)
                        free(q->keys[i].values[k]);
                free(q->keys[i].values);
                free(q->keys[i].name);
        }
        free(q->keys);
        free(q->principal);
        free(q->role);
        *q = (struct request) {};
}

/* Condition keys */

static struct request_key *find_key(const struct request *q, const char *name) {
        for (size_t i = 0; i < q->n; i++)
                if (strcasecmp(q->keys[i].name, name) == 0)
                        return &q->keys[i];
        return NULL;
}

const struct request_key *request_find(const struct request *q, const char *name) {
        return find_key(q, name);
}

static struct request_key *new_key(struct request *q, const char *name) {
        struct request_key *larger = reallocarray(q->keys, q->n + 1, sizeof *larger);
        char *copy = strdup(name);

        if (larger)
                q->keys = larger;
        if (!larger || !copy) {
                free(copy);
                return NULL;
        }
        q->keys[q->n] = (struct request_key) { .name = copy };
        return &q->keys[q->n++];
}

int request_add(struct request *q, const char *key, const char *value, struct error *e) {
        struct request_key *k = find_key(q, key) ?: new_key(q, key);
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

int request_add_context(struct request *q, const char *name, const char *value, struct error *e) {
        _cleanup_free_ char *key = NULL;
        int r;

        if (asprintf(&key, CONTEXT_KEY "%s", name) < 0)
                return fail_oom(e);
        r = request_add(q, key, value, e);
        return r < 0 ? r : request_add(q, "kms:EncryptionContextKeys", name, e);
}

/* Attestation */

static int add_pcr(struct request *q, unsigned pcr, const uint8_t value[static SHA384_SIZE], struct error *e) {
        char key[ATTESTATION_KEY_SIZE], hex[2 * SHA384_SIZE + 1];
        int r;

        hex_encode(value, SHA384_SIZE, hex);
        attestation_key_name(q->nitrotpm, pcr, key);
        r = request_add(q, key, hex, e);
        if (r < 0 || q->nitrotpm || pcr != ENCLAVE_PCR_IMAGE)
                return r;
        return request_add(q, ATTESTATION_KEY "ImageSha384", hex, e);
}

int request_add_document(struct request *q, const struct document *d, struct error *e) {
        int r;

        q->nitrotpm = d->kind == DOCUMENT_NITROTPM;
        if (!action_takes_document(q->action))
                return 0;
        for (unsigned i = 0; i < PCR_COUNT_MAX; i++) {
                r = d->pcr[i] ? add_pcr(q, i, d->pcr[i], e) : 0;
                if (r < 0)
                        return r;
        }
        return 0;
}

int request_add_reference(struct request *q, const struct reference *reference, struct error *e) {
        static const uint8_t zeros[SHA384_SIZE];
        int r;

        q->nitrotpm = reference_is_nitrotpm(reference);
        if (!action_takes_document(q->action))
                return 0;
        q->partial = true;
        if (q->nitrotpm && !reference_has(reference, PCR_MODEL)) {
                r = add_pcr(q, PCR_MODEL, zeros, e);
                if (r < 0)
                        return r;
        }
        for (unsigned i = 0; i < PCR_COUNT_MAX; i++) {
                r = reference_has(reference, i) ? add_pcr(q, i, reference->pcr[i], e) : 0;
                if (r < 0)
                        return r;
        }
        return 0;
}

/* Whether the request certainly has no value for this attestation key: KMS has no key of this name, the key is of the
 * other kind of document, or the whole document is known and has no such PCR. */
static bool lacks_attestation(const struct request *q, const char *key) {
        enum attestation_key kind = attestation_key(key, NULL);

        if (kind == ATTESTATION_NONE || kind == ATTESTATION_UNKNOWN)
                return kind == ATTESTATION_UNKNOWN;
        return !q->partial || q->nitrotpm != (kind == ATTESTATION_NITROTPM);
}

bool request_lacks(const struct request *q, const char *key) {
        /* KMS leaves these out of a direct call. */
        static const char *const keys[] = {
                "kms:ViaService",        "kms:GrantIsForAWSResource", "aws:SourceArn",
                "aws:SourceAccount",     "kms:EncryptionContextKeys", "kms:EncryptionContext",
                "kms:EncryptionContext:"
        };

        for (size_t i = 0; i < ELEMENTS(keys); i++)
                if (strcasecmp(keys[i], key) == 0)
                        return true;
        return is_context_key(key) || lacks_attestation(q, key);
}

/* The caller */

/* arn:aws:sts::ACCOUNT:assumed-role/NAME/SESSION comes from arn:aws:iam::ACCOUNT:role/NAME, less the role's path. */
static int find_role(struct request *q, const char *resource, struct error *e) {
        const char *arn = q->principal, *name = strchr(resource, '/') + 1, *slash = strchr(name, '/');
        int partition = (int) (strstr(arn, ":sts:") - arn);

        if (!slash)
                return fail(e, FAILURE_USAGE, -EINVAL, arn, "it is not the ARN of a role session");
        if (asprintf(&q->role, "%.*s:iam::%s:role/%.*s", partition, arn, q->account, (int) (slash - name), name) < 0) {
                q->role = NULL;
                return fail_oom(e);
        }
        return 0;
}

static int fill_principal(struct request *q, const char *principal, struct error *e) {
        const char *account = strstr(principal, "::"), *resource = account ? strchr(account + 2, ':') : NULL;
        bool session = strstr(principal, ":sts::") && resource && strncmp(resource + 1, "assumed-role/", 13) == 0;

        if (strncmp(principal, "arn:aws", 7) != 0 || !resource || resource - account - 2 != 12 || !resource[1])
                return fail(e, FAILURE_USAGE, -EINVAL, principal,
                            "it is not the ARN of an IAM role, role session or user");
        snprintf(q->account, sizeof q->account, "%s", account + 2);
        q->principal = strdup(principal);
        if (!q->principal)
                return fail_oom(e);
        return session ? find_role(q, resource + 1, e) : 0;
}

int request_init(struct request *q, const char *principal, const char *action, const char *resource, struct error *e) {
        bool user = strstr(principal, ":user/") != NULL;
        int r;

        if (resource && !key_arn_valid(resource))
                return fail(e, FAILURE_USAGE, -EINVAL, resource, "it is not the ARN of a KMS key");
        q->action = action;
        q->resource = resource;
        r = fill_principal(q, principal, e);
        if (r < 0)
                return r;
        const struct {
                const char *key, *value;
        } filled[] = {
                { "kms:CallerAccount", q->account },
                { "kms:KeySpec", "SYMMETRIC_DEFAULT" },
                { "kms:KeyUsage", "ENCRYPT_DECRYPT" },
                { "kms:EncryptionAlgorithm", "SYMMETRIC_DEFAULT" },
                { "aws:PrincipalArn", q->role ?: q->principal },
                { "aws:PrincipalAccount", q->account },
                { "aws:PrincipalType", user ? "User" : "AssumedRole" },
                { "aws:SecureTransport", "true" },
        };
        for (size_t i = 0; i < ELEMENTS(filled); i++) {
                r = request_add(q, filled[i].key, filled[i].value, e);
                if (r < 0)
                        return r;
        }
        find_key(q, "aws:PrincipalArn")->hides_path = q->role;
        return 0;
}

bool is_same_role(const char *a, const char *b) {
        const char *slash = strstr(a, ":role/"), *name = strrchr(a, '/'), *other = strrchr(b, '/');

        return streq(a, b) ||
               (slash && name && other && strncmp(a, b, (size_t) (slash - a) + 6) == 0 && streq(name, other));
}

/* Completes the ARN of a session's role by the role's path. */
static int set_role(struct request *q, struct request_key *k, const char *arn, struct error *e) {
        char *copy;

        if (!is_same_role(arn, q->role))
                return fail(e, FAILURE_USAGE, -EINVAL, arn, "it is not the ARN of the role behind %s", q->principal);
        copy = strdup(arn);
        if (!copy)
                return fail_oom(e);
        free(k->values[0]);
        k->values[0] = copy;
        k->hides_path = false;
        return 0;
}

int request_set(struct request *q, const char *key, const char *value, struct error *e) {
        struct request_key *k = find_key(q, key);
        int r;

        if (k && k->hides_path)
                return set_role(q, k, value, e);
        if (strncasecmp(key, "kms:EncryptionContext", 21) == 0)
                return fail(e, FAILURE_USAGE, -EINVAL, key, "it is given by the encryption context (--context)");
        if (attestation_key(key, NULL) == ATTESTATION_UNKNOWN)
                return fail(e, FAILURE_USAGE, -EINVAL, key, "it is not a condition key of KMS: no request carries it");
        if ((k && !k->set) || lacks_attestation(q, key))
                return fail(e, FAILURE_USAGE, -EINVAL, key,
                            "it is known from the request: only keys that are not known here can be set");
        r = request_add(q, key, value, e);
        if (r < 0)
                return r;
        find_key(q, key)->set = true;
        return 0;
}
