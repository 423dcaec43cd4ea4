/* SPDX-License-Identifier: Apache-2.0 */
#include "keypolicy/condition-key.h"

#include <strings.h>

#include "evidence/registers.h"

#define FAMILY "kms:RecipientAttestation"

static bool starts_with(const char *text, const char *prefix) {
        return strncasecmp(text, prefix, strlen(prefix)) == 0;
}

static bool is_listed(const char *text, const char *const *list, size_t n) {
        for (size_t i = 0; i < n; i++)
                if (strcasecmp(list[i], text) == 0)
                        return true;
        return false;
}

/* The number of a PCR as KMS spells it: decimal, without a leading zero. */
static bool take_number(const char *digits, unsigned limit, unsigned *ret) {
        size_t n = strlen(digits);
        unsigned number = 0;

        if (n < 1 || n > 2 || strspn(digits, "0123456789") != n || (n > 1 && digits[0] == '0'))
                return false;
        for (size_t i = 0; i < n; i++)
                number = 10 * number + (unsigned) (digits[i] - '0');
        if (number >= limit)
                return false;
        *ret = number;
        return true;
}

/* "RecipientAttestation:NitroTPMPCR4", or the same with another service's prefix: no request has such a key. */
static bool lacks_prefix(const char *key, const char *family) {
        const char *colon = strchr(key, ':');

        return !starts_with(key, "kms:") && (starts_with(key, family) || (colon && starts_with(colon + 1, family)));
}

enum attestation_key attestation_key(const char *key, unsigned *ret_pcr) {
        const char *name = key + strlen(FAMILY);
        unsigned pcr = 0;
        enum attestation_key kind = ATTESTATION_UNKNOWN;

        if (!starts_with(key, FAMILY))
                return lacks_prefix(key, "RecipientAttestation") ? ATTESTATION_UNKNOWN : ATTESTATION_NONE;
        if (starts_with(name, ":NitroTPMPCR") && take_number(name + strlen(":NitroTPMPCR"), PCR_COUNT, &pcr))
                kind = ATTESTATION_NITROTPM;
        else if (strcasecmp(name, ":ImageSha384") == 0 ||
                 (starts_with(name, ":PCR") && take_number(name + strlen(":PCR"), ENCLAVE_PCR_COUNT, &pcr)))
                kind = ATTESTATION_ENCLAVE;
        if (ret_pcr)
                *ret_pcr = pcr;
        return kind;
}

bool is_attestation_key(const char *key) {
        enum attestation_key kind = attestation_key(key, NULL);

        return kind == ATTESTATION_NITROTPM || kind == ATTESTATION_ENCLAVE;
}

void attestation_key_name(bool nitrotpm, unsigned pcr, char ret[static ATTESTATION_KEY_SIZE]) {
        snprintf(ret, ATTESTATION_KEY_SIZE, ATTESTATION_KEY "%sPCR%u", nitrotpm ? "NitroTPM" : "", pcr);
}

bool is_context_key(const char *key) {
        return starts_with(key, CONTEXT_KEY) && key[strlen(CONTEXT_KEY)];
}

bool is_unknown_kms_key(const char *key) {
        /* clang-format off */
        static const char *const keys[] = {
                "kms:BypassPolicyLockoutSafetyCheck", "kms:CallerAccount", "kms:CustomerMasterKeySpec",
                "kms:CustomerMasterKeyUsage", "kms:DataKeyPairSpec", "kms:EncryptionAlgorithm",
                "kms:EncryptionContextKeys", "kms:ExpirationModel", "kms:GrantConstraintType",
                "kms:GrantIsForAWSResource", "kms:GrantOperations", "kms:GranteePrincipal",
                "kms:KeyAgreementAlgorithm", "kms:KeyOrigin", "kms:KeySpec", "kms:KeyUsage", "kms:MacAlgorithm",
                "kms:MessageType", "kms:MultiRegion", "kms:MultiRegionKeyType", "kms:PrimaryRegion",
                "kms:ReEncryptOnSameKey", "kms:ReplicaRegion", "kms:RequestAlias", "kms:ResourceAliases",
                "kms:RetiringPrincipal", "kms:RotationPeriodInDays", "kms:ScheduleKeyDeletionPendingWindowInDays",
                "kms:SigningAlgorithm", "kms:ValidTo", "kms:ViaService", "kms:WrappingAlgorithm",
                "kms:WrappingKeySpec",
        };
        /* clang-format on */
        enum attestation_key kind = attestation_key(key, NULL);

        if (kind != ATTESTATION_NONE)
                return kind == ATTESTATION_UNKNOWN;
        if (lacks_prefix(key, "EncryptionContext:"))
                return true;
        return starts_with(key, "kms:") && !is_context_key(key) && !is_listed(key, keys, ELEMENTS(keys));
}

bool action_takes_document(const char *action) {
        static const char *const actions[] = { "kms:Decrypt", "kms:DeriveSharedSecret", "kms:GenerateDataKey",
                                               "kms:GenerateDataKeyPair", "kms:GenerateRandom" };

        return is_listed(action, actions, ELEMENTS(actions));
}
