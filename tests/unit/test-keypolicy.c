/* SPDX-License-Identifier: Apache-2.0 */

/* Key policies: what is wrong with them, what KMS would say, and what is written. JSON is written with ' for ". */

#include "quotes.h"

#include "basic/encode.h"
#include "keypolicy/compose.h"
#include "keypolicy/condition-key.h"
#include "keypolicy/evaluate.h"
#include "keypolicy/lint.h"
#include "keypolicy/principal.h"

#define SIX(s) s s s s s s
#define A SIX("abababababababab")
#define B SIX("cdcdcdcdcdcdcdcd")
#define Z SIX("0000000000000000")
/* PCR2 where the firmware started no driver from outside: nothing but a separator. */
#define ALONE "518923b0f955d08da077c96aaba522b9decede61c599cea6c41889cfbea4ae4d50529d96fe4d1afdafb65e7f95bf23c4"
#define OFF "98441c7f7625d10058c47683aec486ce311c633235eb555593a7ee791121e3578ae72d04ecef661f272d59058b77af35"

#define OWNER "111122223333"
#define CONSUMER "444455556666"
#define ADMIN "arn:aws:iam::" OWNER ":role/admin"
#define ROLE "arn:aws:iam::" CONSUMER ":role/inference"
#define KEY_ID "AROAEXAMPLEEXAMPLE123"

#define RA "kms:RecipientAttestation:"
#define PCR2(value) "'" RA "NitroTPMPCR2': " value
#define PCR4(value) "'" RA "NitroTPMPCR4': " value
#define PCR7(value) "'" RA "NitroTPMPCR7': " value
#define PCR12(value) "'" RA "NitroTPMPCR12': " value
#define PCR15(value) "'" RA "NitroTPMPCR15': " value
#define IMAGE(value) "'" RA "ImageSha384': " value
#define MODEL "'kms:EncryptionContext:model': "
#define ONE(value) "'" value "'"
#define TWO(value, other) "['" value "', '" other "']"

#define SAYS(effect, who, action, more) \
        "{'Effect': '" effect "', 'Principal': " who ", 'Action': " action ", 'Resource': '*'" more "}"
#define AWS(who) "{'AWS': '" who "'}"
#define WHERE(conditions) ", 'Condition': {" conditions "}"
#define EQUALS(conditions) "'StringEqualsIgnoreCase': {" conditions "}"
#define NO_DRIVER PCR2(ONE(ALONE)) ", "
#define BOUND EQUALS(NO_DRIVER PCR4(ONE(A)) ", " PCR12(ONE(Z)))
#define GOOD SAYS("Allow", AWS(ROLE), "'kms:Decrypt'", WHERE(BOUND))
#define RELEASE(conditions) SAYS("Allow", AWS(ROLE), "'kms:Decrypt'", WHERE(conditions))
#define OPEN(action) SAYS("Allow", AWS(ROLE), action, "")
#define ALSO(who, action) GOOD ", " SAYS("Allow", AWS(who), action, "")
#define DENY(operator, key) SAYS("Deny", "'*'", "'kms:Decrypt'", WHERE("'" operator"': {" key "}"))
#define NOT "StringNotEquals"
#define DENY_DRIVERS DENY(NOT, PCR2(ONE(ALONE))) ", "
#define ADMINISTER SAYS("Allow", AWS(ADMIN), "['kms:PutKeyPolicy', 'kms:DescribeKey']", "")
#define POLICY(statements) "{'Version': '2012-10-17', 'Statement': [" ADMINISTER ", " statements "]}"

/* Condition keys and principals */

static void test_condition_keys(void **state _unused_) {
        static const struct {
                const char *key;
                enum attestation_key kind;
                unsigned pcr;
                bool unknown;
        } cases[] = {
                { RA "NitroTPMPCR0", ATTESTATION_NITROTPM, 0, false },
                { RA "NitroTPMPCR23", ATTESTATION_NITROTPM, 23, false },
                { "KMS:recipientattestation:nitrotpmpcr12", ATTESTATION_NITROTPM, 12, false },
                { RA "PCR31", ATTESTATION_ENCLAVE, 31, false },
                { RA "imagesha384", ATTESTATION_ENCLAVE, 0, false },
                { RA "NitroTPMPCR24", ATTESTATION_UNKNOWN, 0, true },
                { RA "NitroTPMPCR04", ATTESTATION_UNKNOWN, 0, true },
                { RA "NitroTPMPCR", ATTESTATION_UNKNOWN, 0, true },
                { RA "NitroTPMPCR4 ", ATTESTATION_UNKNOWN, 0, true },
                { RA "NitroTPMPCR-4", ATTESTATION_UNKNOWN, 0, true },
                { RA "NitroTPMPCR004", ATTESTATION_UNKNOWN, 0, true },
                { RA "NitroTPM_PCR4", ATTESTATION_UNKNOWN, 0, true },
                { RA "PCR32", ATTESTATION_UNKNOWN, 0, true },
                { RA "ImageSha256", ATTESTATION_UNKNOWN, 0, true },
                { RA, ATTESTATION_UNKNOWN, 0, true },
                { "kms:RecipientAttestation", ATTESTATION_UNKNOWN, 0, true },
                { "kms:RecipientAttestationPCR0", ATTESTATION_UNKNOWN, 0, true },
                { "RecipientAttestation:NitroTPMPCR4", ATTESTATION_UNKNOWN, 0, true },
                { "aws:recipientAttestation:PCR0", ATTESTATION_UNKNOWN, 0, true },
                { "nitro-enclaves:RecipientAttestation:ImageSha384", ATTESTATION_UNKNOWN, 0, true },
                { "aws:PrincipalTag/RecipientAttestation", ATTESTATION_NONE, 0, false },
                { "EncryptionContext:model", ATTESTATION_NONE, 0, true },
                { "aws:EncryptionContext:model", ATTESTATION_NONE, 0, true },
                { "kms:EncryptionContext:model", ATTESTATION_NONE, 0, false },
                { "kms:EncryptionContext", ATTESTATION_NONE, 0, true },
                { "kms:EncryptionContext:", ATTESTATION_NONE, 0, true },
                { "kms:EncryptionContextKey", ATTESTATION_NONE, 0, true },
                { "KMS:encryptioncontextkeys", ATTESTATION_NONE, 0, false },
                { "kms:ViaService", ATTESTATION_NONE, 0, false },
                { "kms:CalledVia", ATTESTATION_NONE, 0, true },
                { "aws:CalledVia", ATTESTATION_NONE, 0, false },
                { "s3:prefix", ATTESTATION_NONE, 0, false },
        };

        for (size_t i = 0; i < ELEMENTS(cases); i++) {
                unsigned pcr = 0;
                enum attestation_key kind = attestation_key(cases[i].key, &pcr);

                if (kind != cases[i].kind || pcr != cases[i].pcr ||
                    is_unknown_kms_key(cases[i].key) != cases[i].unknown)
                        fail_msg("%s: kind %d, PCR%u, unknown %d", cases[i].key, kind, pcr,
                                 is_unknown_kms_key(cases[i].key));
        }
}

static void test_actions_that_take_a_document(void **state _unused_) {
        static const char *const take[] = { "kms:Decrypt", "KMS:decrypt", "kms:GenerateDataKey",
                                            "kms:DeriveSharedSecret" };
        static const char *const do_not[] = { "kms:Encrypt",
                                              "kms:ReEncryptFrom",
                                              "kms:CreateGrant",
                                              "kms:PutKeyPolicy",
                                              "kms:GenerateDataKeyWithoutPlaintext",
                                              "kms:Decrypt*" };

        for (size_t i = 0; i < ELEMENTS(take); i++)
                assert_true(action_takes_document(take[i]));
        for (size_t i = 0; i < ELEMENTS(do_not); i++)
                assert_false(action_takes_document(do_not[i]));
}

static void test_accounts(void **state _unused_) {
        static const struct {
                const char *a, *b;
                bool share;
        } cases[] = {
                { ROLE, CONSUMER, true },
                { ROLE, "arn:aws:iam::" CONSUMER ":root", true },
                { ROLE, "arn:aws:iam::" CONSUMER ":user/x", true },
                { ROLE, "arn:aws:sts::" CONSUMER ":assumed-role/other/i", true },
                { ROLE, "arn:aws:sts::" CONSUMER ":federated-user/x", true },
                { CONSUMER, CONSUMER, true },
                { KEY_ID, KEY_ID, true },
                { ROLE, ADMIN, false },
                { ROLE, KEY_ID, false },
                { ROLE, "*", false },
                { KEY_ID, "AIDAEXAMPLEEXAMPLE123", false },
        };

        for (size_t i = 0; i < ELEMENTS(cases); i++) {
                assert_int_equal(principals_share_account(cases[i].a, cases[i].b), cases[i].share);
                assert_int_equal(principals_share_account(cases[i].b, cases[i].a), cases[i].share);
        }
}

/* Findings */

static const struct judged {
        const char *what, *policy;
        const char *codes; /* in order, each with a space after it */
} judged[] = {
        { "one image, one role", POLICY(GOOD), "" },
        { "ForAnyValue fails without a value",
          POLICY(RELEASE("'ForAnyValue:StringEquals': {" NO_DRIVER PCR4(ONE(A)) ", " PCR12(ONE(Z)) "}")), "" },
        { "keys in another case",
          POLICY(RELEASE(EQUALS("'KMS:RECIPIENTATTESTATION:nitrotpmpcr2': '" ALONE
                                "', 'KMS:recipientattestation:NITROTPMPCR4': '" A "', " PCR12(ONE(Z))))),
          "" },
        { "an enclave's signer", POLICY(RELEASE(EQUALS("'" RA "PCR8': '" A "'"))), "" },
        { "without variables", "{'Version': '2008-10-17', 'Statement': [" GOOD "]}", "" },
        { "no version", "{'Statement': [" GOOD "]}", "" },
        { "no variable before 2012",
          "{'Version': '2008-10-17', 'Statement': [" RELEASE(
                  EQUALS(NO_DRIVER PCR4(ONE("${" RA "NitroTPMPCR4}")) ", " PCR12(ONE(Z)))) "]}",
          "never-matches " },

        /* A condition that does not demand what it names. */
        { "ForAllValues holds without a value",
          POLICY(RELEASE("'ForAllValues:StringEquals': {" NO_DRIVER PCR4(ONE(A)) ", " PCR12(ONE(Z)) "}")),
          "no-attestation " },
        { "IfExists", POLICY(RELEASE("'StringEqualsIfExists': {" NO_DRIVER PCR4(ONE(A)) ", " PCR12(ONE(Z)) "}")),
          "no-attestation " },
        { "IfExists for PCR12",
          POLICY(RELEASE(EQUALS(NO_DRIVER PCR4(ONE(A))) ", 'StringEqualsIfExists': {" PCR12(ONE(Z)) "}")),
          "pcr4-without-pcr12 " },
        { "Null for PCR12", POLICY(RELEASE(EQUALS(NO_DRIVER PCR4(ONE(A))) ", 'Null': {" PCR12(ONE("false")) "}")),
          "pcr4-without-pcr12 " },
        { "PCR4 and PCR12 alone", POLICY(RELEASE(EQUALS(PCR4(ONE(A)) ", " PCR12(ONE(Z))))), "pcr4-without-pcr2 " },
        { "PCR4 alone", POLICY(RELEASE(EQUALS(PCR4(ONE(A))))), "pcr4-without-pcr12 pcr4-without-pcr2 " },
        { "IfExists for PCR2",
          POLICY(RELEASE(EQUALS(PCR4(ONE(A)) ", " PCR12(ONE(Z))) ", 'StringEqualsIfExists': {" PCR2(ONE(ALONE)) "}")),
          "pcr4-without-pcr2 " },
        { "Null for PCR2",
          POLICY(RELEASE(EQUALS(PCR4(ONE(A)) ", " PCR12(ONE(Z))) ", 'Null': {" PCR2(ONE("false")) "}")),
          "pcr4-without-pcr2 " },
        { "not this driver",
          POLICY(RELEASE(EQUALS(PCR4(ONE(A)) ", " PCR12(ONE(Z))) ", 'StringNotEquals': {" PCR2(ONE(B)) "}")),
          "pcr4-without-pcr2 " },
        { "PCR2 of an enclave", POLICY(RELEASE(EQUALS("'" RA "PCR2': '" ALONE "', " PCR4(ONE(A)) ", " PCR12(ONE(Z))))),
          "pcr4-without-pcr2 " },
        { "some PCR7", POLICY(RELEASE(EQUALS(PCR4(ONE(A)) ", " PCR7(ONE(B)) ", " PCR12(ONE(Z))))),
          "pcr4-without-pcr2 " },
        { "PCR2 and no image", POLICY(RELEASE(EQUALS(NO_DRIVER PCR12(ONE(Z))))), "image-not-bound " },
        { "an option ROM", POLICY(RELEASE(EQUALS(PCR2(ONE(B)) ", " PCR4(ONE(A)) ", " PCR12(ONE(Z))))), "" },
        { "with and without an option ROM",
          POLICY(RELEASE(EQUALS(PCR2(TWO(ALONE, B)) ", " PCR4(ONE(A)) ", " PCR12(ONE(Z))))), "" },
        { "not this image", POLICY(RELEASE("'StringNotEquals': {" PCR4(ONE(A)) "}, " EQUALS(NO_DRIVER PCR12(ONE(Z))))),
          "image-not-bound " },
        { "any PCR4", POLICY(RELEASE("'StringLike': {" NO_DRIVER PCR4(ONE("*")) ", " PCR12(ONE(Z)) "}")),
          "loose-match " },
        { "any PCR2", POLICY(RELEASE("'StringLike': {" PCR2(ONE("*")) ", " PCR4(ONE(A)) ", " PCR12(ONE(Z)) "}")),
          "loose-match " },
        { "a pattern for PCR4", POLICY(RELEASE("'StringLike': {" NO_DRIVER PCR4(ONE("a*")) ", " PCR12(ONE(Z)) "}")),
          "loose-match " },
        { "a PCR as an ARN",
          POLICY(RELEASE("'ArnLike': {" NO_DRIVER PCR4(ONE("arn:*:*:*:*:*")) ", " PCR12(ONE(Z)) "}")), "loose-match " },
        { "PCR3 of an enclave alone", POLICY(RELEASE(EQUALS("'" RA "PCR3': '" A "'"))), "image-not-bound " },
        { "Secure Boot off", POLICY(RELEASE(EQUALS(NO_DRIVER PCR4(ONE(A)) ", " PCR7(ONE(OFF))))),
          "secure-boot-off pcr4-without-pcr12 " },
        { "Secure Boot off, and nothing but PCR4", POLICY(RELEASE(EQUALS(PCR4(ONE(A)) ", " PCR7(ONE(OFF))))),
          "secure-boot-off pcr4-without-pcr12 pcr4-without-pcr2 " },
        { "Secure Boot off, and no PCR2", POLICY(RELEASE(EQUALS(PCR4(ONE(A)) ", " PCR7(ONE(OFF)) ", " PCR12(ONE(Z))))),
          "pcr4-without-pcr2 " },
        { "a PCR that is always extended", POLICY(RELEASE(EQUALS(NO_DRIVER PCR4(ONE(Z)) ", " PCR12(ONE(Z))))),
          "never-measured " },
        { "PCR2 is extended even alone", POLICY(RELEASE(EQUALS(PCR2(ONE(Z)) ", " PCR4(ONE(A)) ", " PCR12(ONE(Z))))),
          "never-measured " },
        { "zeros among others", POLICY(RELEASE(EQUALS(NO_DRIVER PCR4(TWO(A, Z)) ", " PCR12(ONE(Z))))),
          "never-measured " },
        { "a second command line", POLICY(RELEASE(EQUALS(NO_DRIVER PCR4(ONE(A)) ", " PCR12(TWO(Z, B))))),
          "added-command-line " },
        { "one other command line", POLICY(RELEASE(EQUALS(NO_DRIVER PCR4(ONE(A)) ", " PCR12(ONE(B))))), "" },
        { "one-shot, and once more",
          POLICY(RELEASE(EQUALS(NO_DRIVER PCR4(ONE(A)) ", " PCR12(ONE(Z)) ", " PCR15(TWO(B, Z))))), "not-one-shot " },
        { "images that mix", POLICY(RELEASE(EQUALS(NO_DRIVER PCR4(TWO(A, B)) ", " PCR12(TWO(A, B))))),
          "mixed-images " },

        /* Names that KMS does not have. */
        { "PCR04", POLICY(RELEASE(EQUALS(NO_DRIVER "'" RA "NitroTPMPCR04': '" A "', " PCR12(ONE(Z))))),
          "unknown-key " },
        { "none but unknown", POLICY(RELEASE(EQUALS("'kms:RecipientAttestation': '" A "'"))), "unknown-key " },
        { "two unknown", POLICY(RELEASE(EQUALS("'" RA "PCR99': '" A "', '" RA "Image': '" A "'"))),
          "unknown-key unknown-key " },
        { "unknown, and no demand", POLICY(RELEASE("'StringEqualsIfExists': {'" RA "Image': '" A "'}")),
          "unknown-key no-attestation " },
        { "unknown in a Deny", POLICY(GOOD ", " DENY("Null", "'kms:RecipientAttestation': 'true'")), "unknown-key " },
        { "an encryption context without a name",
          POLICY(RELEASE(BOUND ", 'StringEquals': {'kms:EncryptionContext': 'm'}")), "unknown-key " },

        /* The encryption context. */
        { "a value", POLICY(RELEASE(BOUND ", 'StringEquals': {" MODEL "'m'}")), "" },
        { "a pattern that excludes some", POLICY(RELEASE(BOUND ", 'StringLike': {" MODEL "'llama-*'}")), "" },
        { "a presented PCR", POLICY(RELEASE(EQUALS(NO_DRIVER PCR4(ONE("${" RA "NitroTPMPCR4}")) ", " PCR12(ONE(Z))))),
          "policy-variable " },
        { "a tag of the caller", POLICY(RELEASE(BOUND ", 'StringEquals': {" MODEL "'${aws:PrincipalTag/model}'}")),
          "policy-variable " },
        { "a tag of the request",
          POLICY(RELEASE(BOUND ", 'StringEquals': {" MODEL "['m', '${aws:RequestTag/model}']}")), "policy-variable " },
        { "the caller's id, in a pattern", POLICY(RELEASE(BOUND ", 'StringLike': {" MODEL "'m-${aws:userid}'}")),
          "policy-variable " },
        { "a variable and its default",
          POLICY(RELEASE(BOUND ", 'StringEquals': {" MODEL "'${aws:PrincipalTag/m, `m`}'}")), "policy-variable " },
        { "a dollar that is one", POLICY(RELEASE(BOUND ", 'StringEquals': {" MODEL "'${$}{x}'}")), "" },
        { "a variable elsewhere",
          POLICY(RELEASE(BOUND ", 'StringEquals': {'aws:SourceVpc': '${aws:PrincipalTag/vpc}'}")), "" },
        { "any value", POLICY(RELEASE(BOUND ", 'StringLike': {" MODEL "'*'}")), "open-context " },
        { "any value but none", POLICY(RELEASE(BOUND ", 'StringLike': {" MODEL "['m', '?*']}")), "open-context " },
        { "if there is one", POLICY(RELEASE(BOUND ", 'StringEqualsIfExists': {" MODEL "'m'}")), "open-context " },
        { "all of none", POLICY(RELEASE(BOUND ", 'ForAllValues:StringEquals': {" MODEL "'m'}")), "open-context " },
        { "any value, and one", POLICY(RELEASE(BOUND ", 'StringLike': {" MODEL "'*'}, 'StringEquals': {" MODEL "'m'}")),
          "" },
        { "all but one", POLICY(RELEASE(BOUND ", 'StringNotEquals': {" MODEL "'secret'}")), "" },
        { "no further keys",
          POLICY(RELEASE(BOUND ", 'ForAllValues:StringEquals': {'kms:EncryptionContextKeys': ['model']}")), "" },

        /* Who seals. */
        { "the role seals", POLICY(ALSO(ROLE, "['kms:GenerateDataKey', 'kms:Encrypt']")), "self-sealing " },
        { "another role of the account", POLICY(ALSO("arn:aws:iam::" CONSUMER ":role/other", "'kms:Encrypt'")),
          "self-sealing " },
        { "a user of the account", POLICY(ALSO("arn:aws:iam::" CONSUMER ":user/u", "'kms:GenerateDataKey'")),
          "self-sealing " },
        { "the account", POLICY(ALSO(CONSUMER, "'kms:GenerateDataKey*'")), "self-sealing " },
        { "the account's root", POLICY(ALSO("arn:aws:iam::" CONSUMER ":root", "'kms:ReEncrypt*'")),
          "self-sealing no-attestation " },
        { "encryption again under this key", POLICY(ALSO(ROLE, "'kms:ReEncryptTo'")), "self-sealing " },
        { "a key that the caller does not see", POLICY(ALSO(ROLE, "'kms:GenerateDataKeyWithoutPlaintext'")), "" },
        { "the owner", POLICY(ALSO("arn:aws:iam::" OWNER ":role/release", "['kms:GenerateDataKey', 'kms:Encrypt']")),
          "" },
        { "the image makes data keys",
          POLICY(GOOD ", " SAYS("Allow", AWS(ROLE), "'kms:GenerateDataKey'", WHERE(BOUND))), "" },
        { "grants give sealing away too",
          POLICY(ALSO(ROLE, "'kms:CreateGrant'") ", " SAYS(
                  "Deny", "'*'", "['kms:Decrypt', 'kms:ReEncryptFrom']",
                  WHERE("'StringNotEquals': {" PCR2(ONE(
                          ALONE)) "}")) ", " SAYS("Deny", "'*'", "['kms:Decrypt', 'kms:ReEncryptFrom']",
                                                  WHERE("'StringNotEquals': {" PCR4(ONE(
                                                          A)) "}")) ", " SAYS("Deny", "'*'",
                                                                              "['kms:Decrypt', 'kms:ReEncryptFrom']",
                                                                              WHERE("'StringNotEquals': {" PCR12(
                                                                                      ONE(Z)) "}"))),
          "self-sealing " },
        { "nothing is released", POLICY(ALSO(ROLE, "'kms:Encrypt'") ", " SAYS("Deny", "'*'", "'kms:Decrypt'", "")),
          "" },
        { "grants that are denied",
          POLICY(ALSO(ROLE, "'kms:CreateGrant'") ", " SAYS("Deny", "'*'", "'kms:CreateGrant'", "")), "" },
        { "grants", POLICY(ALSO(ROLE, "'kms:CreateGrant'")), "self-sealing no-attestation " },

        /* Who administers. */
        { "the role", POLICY(ALSO(ROLE, "'kms:Put*'")), "self-administration " },
        { "the account", POLICY(ALSO(CONSUMER, "'kms:PutKeyPolicy'")), "self-administration " },
        { "the account's root", POLICY(ALSO("arn:aws:iam::" CONSUMER ":root", "'kms:PutKeyPolicy'")),
          "self-administration " },
        { "a user of the account", POLICY(ALSO("arn:aws:iam::" CONSUMER ":user/ops", "'kms:PutKeyPolicy'")),
          "self-administration " },
        { "another role of the account", POLICY(ALSO("arn:aws:iam::" CONSUMER ":role/ops", "'kms:PutKeyPolicy'")),
          "self-administration " },
        { "a session in the account",
          POLICY(ALSO("arn:aws:sts::" CONSUMER ":assumed-role/ops/i", "'kms:PutKeyPolicy'")), "self-administration " },
        { "all but",
          POLICY(GOOD ", {'Effect': 'Allow', 'Principal': {'AWS': '" CONSUMER
                      "'}, 'NotAction': ['kms:Decrypt', 'kms:ReEncrypt*', 'kms:CreateGrant', 'kms:GenerateDataKey', "
                      "'kms:Encrypt'],"
                      " 'Resource': '*'}"),
          "self-administration " },
        { "a role of an account that is released to",
          "{'Version': '2012-10-17', 'Statement': [" SAYS("Allow", AWS("arn:aws:iam::" CONSUMER ":role/ops"),
                                                          "'kms:PutKeyPolicy'",
                                                          "") ", " SAYS("Allow", AWS(CONSUMER), "'kms:Decrypt'",
                                                                        WHERE(BOUND)) "]}",
          "self-administration " },
        { "a replica", POLICY(ALSO(ROLE, "'kms:ReplicateKey'")), "self-administration " },
        { "another primary key", POLICY(ALSO(ROLE, "'kms:UpdatePrimaryRegion'")), "self-administration " },
        { "key material", POLICY(ALSO(ROLE, "['kms:ImportKeyMaterial', 'kms:DeleteImportedKeyMaterial']")),
          "self-administration " },
        { "looking", POLICY(ALSO(ROLE, "['kms:DescribeKey', 'kms:GetKeyPolicy', 'kms:ListGrants']")), "" },
        { "the same id",
          "{'Version': '2012-10-17', 'Statement': [" SAYS("Allow", AWS(KEY_ID), "'kms:PutKeyPolicy'",
                                                          "") ", " SAYS("Allow", AWS(KEY_ID), "'kms:Decrypt'",
                                                                        WHERE(BOUND)) "]}",
          "self-administration unique-id unique-id " },
        { "an id, and perhaps that of the role", POLICY(ALSO(KEY_ID, "'kms:PutKeyPolicy'")), "unique-id " },
        { "an id that seals", POLICY(ALSO("AIDAEXAMPLEEXAMPLE123", "'kms:GenerateDataKey'")), "unique-id " },
        { "an id that looks", POLICY(ALSO(KEY_ID, "'kms:DescribeKey'")), "" },

        /* Who else gets the key. */
        { "everyone", POLICY(SAYS("Allow", "'*'", "'kms:Decrypt'", WHERE(BOUND))), "wildcard-principal " },
        { "all actions but one",
          POLICY("{'Effect': 'Allow', 'Principal': {'AWS': '" ROLE
                 "'}, 'NotAction': ['kms:DeleteAlias'], 'Resource': '*'}"),
          "no-attestation " },
        { "all keys but one",
          POLICY("{'Effect': 'Allow', 'Principal': {'AWS': '" ROLE
                 "'}, 'Action': 'kms:Decrypt', 'NotResource': 'arn:aws:kms:us-east-1:" OWNER ":key/other'}"),
          "no-attestation " },
        { "a service", POLICY(SAYS("Allow", "{'Service': 'ec2.amazonaws.com'}", "'kms:Decrypt'", "")),
          "no-attestation " },
        { "by way of a service",
          POLICY(GOOD ", " RELEASE("'StringEquals': {'kms:ViaService': 's3.us-east-1.amazonaws.com'}")),
          "no-attestation " },

        /* A Deny that demands, or seems to. */
        { "three values",
          POLICY(OPEN("'kms:Decrypt'") ", " DENY_DRIVERS DENY(NOT, PCR4(ONE(A))) ", " DENY(NOT, PCR12(ONE(Z)))), "" },
        { "none for PCR2", POLICY(OPEN("'kms:Decrypt'") ", " DENY(NOT, PCR4(ONE(A))) ", " DENY(NOT, PCR12(ONE(Z)))),
          "pcr4-without-pcr2 " },
        { "none for PCR12", POLICY(OPEN("'kms:Decrypt'") ", " DENY_DRIVERS DENY(NOT, PCR4(ONE(A)))),
          "pcr4-without-pcr12 " },
        { "none for PCR4", POLICY(OPEN("'kms:Decrypt'") ", " DENY_DRIVERS DENY(NOT, PCR12(ONE(Z)))),
          "image-not-bound " },
        { "the Allow has the rest",
          POLICY(RELEASE(EQUALS(PCR4(ONE(A)) ", " PCR12(ONE(Z)))) ", " DENY(NOT, PCR2(ONE(ALONE)))), "" },
        { "a role is spared PCR2",
          POLICY(RELEASE(EQUALS(PCR4(ONE(A)) ", " PCR12(
                  ONE(Z)))) ", {'Effect': 'Deny', 'NotPrincipal': {'AWS': '" ROLE
                            "'}, 'Action': 'kms:Decrypt', 'Resource': '*', 'Condition': {'StringNotEquals': {" PCR2(
                                    ONE(ALONE)) "}}}"),
          "pcr4-without-pcr2 " },
        { "no boot leaves zeros in PCR2",
          POLICY(OPEN("'kms:Decrypt'") ", " DENY(NOT, PCR2(ONE(Z))) ", " DENY(NOT,
                                                                              PCR4(ONE(A))) ", " DENY(NOT,
                                                                                                      PCR12(ONE(Z)))),
          "never-measured " },
        { "a value besides",
          POLICY(OPEN("'kms:Decrypt'") ", " DENY_DRIVERS SAYS("Deny", "'*'", "'kms:Decrypt'",
                                                              WHERE("'StringNotEquals': {" PCR4(
                                                                      ONE(A)) ", 'aws:PrincipalArn': '" ROLE
                                                                              "'}")) ", " DENY(NOT, PCR12(ONE(Z)))),
          "image-not-bound " },
        { "NotPrincipal",
          POLICY(OPEN("'kms:Decrypt'") ", {'Effect': 'Deny', 'NotPrincipal': {'AWS': '" ROLE
                                       "'}, 'Action': 'kms:Decrypt', 'Resource': '*', 'Condition': {'StringNotEquals': "
                                       "{" PCR4(ONE(A)) "}}}, " DENY_DRIVERS DENY(NOT, PCR12(ONE(Z)))),
          "image-not-bound " },
        { "IfExists in a Deny",
          POLICY(OPEN("'kms:Decrypt'") ", " DENY("StringNotEqualsIfExists", PCR2(ONE(ALONE))) ", " DENY(
                  "StringNotEqualsIfExists", PCR4(ONE(A))) ", " DENY("StringNotEqualsIfExists", PCR12(ONE(Z)))),
          "no-attestation " },
        { "ForAnyValue in a Deny",
          POLICY(OPEN("'kms:Decrypt'") ", " DENY("ForAnyValue:StringNotEquals", PCR2(ONE(ALONE))) ", " DENY(
                  "ForAnyValue:StringNotEquals", PCR4(ONE(A))) ", " DENY("ForAnyValue:StringNotEquals", PCR12(ONE(Z)))),
          "no-attestation " },
        { "another key",
          POLICY(OPEN("'kms:Decrypt'") ", {'Effect': 'Deny', 'Principal': '*', 'Action': 'kms:Decrypt', 'Resource': "
                                       "'arn:aws:kms:us-east-1:" OWNER
                                       ":key/x', 'Condition': {'StringNotEquals': {" PCR4(ONE(A)) "}}}"),
          "no-attestation " },
        { "images that mix",
          POLICY(OPEN("'kms:Decrypt'") ", " DENY_DRIVERS DENY(NOT, PCR4(TWO(A, B))) ", " DENY(NOT, PCR12(TWO(A, B)))),
          "mixed-images " },
        { "a second image, and a second command line",
          POLICY(OPEN("'kms:Decrypt'") ", " DENY_DRIVERS DENY(NOT, PCR4(TWO(A, B))) ", " DENY(NOT, PCR12(TWO(Z, B)))),
          "added-command-line mixed-images " },
        { "images that the Allow keeps apart",
          POLICY(GOOD ", " DENY(NOT, PCR4(TWO(A, B))) ", " DENY(NOT, PCR12(TWO(B, Z)))), "" },
        { "grants are free",
          POLICY(OPEN("['kms:Decrypt', 'kms:CreateGrant']") ", " DENY_DRIVERS
                         DENY(NOT, PCR4(ONE(A))) ", " DENY(NOT, PCR12(ONE(Z)))),
          "no-attestation " },
        { "grants are denied",
          POLICY(OPEN("['kms:Decrypt', 'kms:CreateGrant']") ", " DENY_DRIVERS
                         DENY(NOT, PCR4(ONE(A))) ", " DENY(NOT, PCR12(ONE(Z))) ", " SAYS("Deny", "'*'",
                                                                                         "'kms:CreateGrant'", "")),
          "" },
        { "some document", POLICY(OPEN("'kms:Decrypt'") ", " DENY("Null", PCR4(ONE("true")) ", " IMAGE(ONE("true")))),
          "image-not-bound " },
        { "some document, where there is one", POLICY(OPEN("'kms:Decrypt'") ", " DENY("Null", PCR4(ONE("false")))),
          "no-attestation " },
        { "nothing at all",
          POLICY(OPEN("'kms:Decrypt'") ", " SAYS("Deny", "'*'", "'kms:*'",
                                                 WHERE("'Null': {'kms:RecipientAttestation': 'true'}"))),
          "unknown-key " },
};

static void find(const struct judged *j, struct findings *ret, char *codes, size_t size) {
        _cleanup_key_policy_ struct key_policy policy = {};
        struct error e;

        quoted_policy(j->policy, &policy);
        assert_ok(key_policy_lint(&policy, false, ret, &e), &e);
        codes[0] = '\0';
        for (size_t i = 0; i < ret->n; i++)
                snprintf(codes + strlen(codes), size - strlen(codes), "%s ", ret->items[i].code);
}

static void test_findings(void **state _unused_) {
        unsigned wrong = 0;

        for (size_t i = 0; i < ELEMENTS(judged); i++) {
                _cleanup_findings_ struct findings f = {};
                char codes[256];

                find(&judged[i], &f, codes, sizeof codes);
                if (streq(codes, judged[i].codes))
                        continue;
                print_error("%s: found [%s], expected [%s]\n", judged[i].what, codes, judged[i].codes);
                wrong++;
        }
        assert_int_equal(wrong, 0);
}

/* One sentence that says why, one that says what to do, and the same advice wherever the code is the same. */
static void test_findings_explain_themselves(void **state _unused_) {
        for (size_t i = 0; i < ELEMENTS(judged); i++) {
                _cleanup_findings_ struct findings f = {};
                char codes[256];

                find(&judged[i], &f, codes, sizeof codes);
                for (size_t k = 0; k < f.n; k++) {
                        const char *text = f.items[k].text, *advice = f.items[k].advice;

                        if (strlen(text) < 10 || text[strlen(text) - 1] == '.' || strlen(advice) < 10 ||
                            advice[strlen(advice) - 1] != '.')
                                fail_msg("%s: \"%s\", \"%s\"", f.items[k].code, text, advice);
                }
        }
}

static void test_the_unknown_key_is_named(void **state _unused_) {
        static const struct judged one = { "", POLICY(RELEASE(EQUALS("'" RA "NitroTPM_PCR4': '" A "'"))), "" };
        _cleanup_findings_ struct findings f = {};
        char codes[256];

        find(&one, &f, codes, sizeof codes);
        assert_int_equal(f.n, 1);
        assert_non_null(strstr(f.items[0].text, RA "NitroTPM_PCR4"));
        assert_non_null(strstr(f.items[0].text, "never true"));
}

/* Evaluation */

/* A request with PCR2 of no driver from outside, PCR4 = A, PCR12 = zeros and PCR15 = zeros, from the instance. */
static void ask(const struct key_policy *policy, const char *principal, const char *action, bool attested,
                struct evaluation *ret) {
        static const uint8_t none[SHA384_SIZE];
        uint8_t two[SHA384_SIZE], four[SHA384_SIZE];
        const struct document d = { .kind = DOCUMENT_NITROTPM,
                                    .pcr = { [2] = two, [4] = four, [12] = none, [15] = none } };
        _cleanup_request_ struct request request = {};
        struct error e;

        reference_firmware_alone(two);
        memset(four, 0xab, sizeof four);
        assert_ok(request_init(&request, principal, action, "arn:aws:kms:us-east-1:" OWNER ":key/1", &e), &e);
        assert_ok(request_add_context(&request, "model", "m", &e), &e);
        if (attested)
                assert_ok(request_add_document(&request, &d, &e), &e);
        assert_ok(evaluate(policy, &request, ret, &e), &e);
        for (size_t i = 0; i < ret->n; i++) /* they borrow from the request */
                for (size_t k = 0; k < ret->statements[i].n; k++)
                        assert_true(ret->statements[i].elements[k].truth <= TRUTH_YES);
}

/* What each operator makes of a key that is equal, of one that is not, and of none. */
static void test_operators(void **state _unused_) {
        static const struct {
                const char *operator, * same, *other; /* the value that the request has, and one that it does not
                        have */
                bool met_by_same, met_by_other, met_by_none;
        } cases[] = {
                { "StringEquals", "m", "n", true, false, false },
                { "StringEqualsIgnoreCase", "M", "n", true, false, false },
                { "StringLike", "?", "n*", true, false, false },
                { "StringNotEquals", "m", "n", false, true, true },
                { "StringNotEqualsIgnoreCase", "M", "n", false, true, true },
                { "StringNotLike", "m*", "n*", false, true, true },
                { "StringEqualsIfExists", "m", "n", true, false, true },
                { "StringNotEqualsIfExists", "m", "n", false, true, true },
                { "ForAnyValue:StringEquals", "m", "n", true, false, false },
                { "ForAnyValue:StringNotEquals", "m", "n", false, true, false },
                { "ForAllValues:StringEquals", "m", "n", true, false, true },
                { "ForAllValues:StringNotEquals", "m", "n", false, true, true },
                { "Null", "false", "true", true, false, false }, /* of a key that is there */
        };

        for (size_t i = 0; i < ELEMENTS(cases); i++) {
                const struct {
                        const char *key, *value;
                        bool met;
                } asked[] = {
                        { "kms:EncryptionContext:model", cases[i].same, cases[i].met_by_same },
                        { "kms:EncryptionContext:model", cases[i].other, cases[i].met_by_other },
                        { "kms:EncryptionContext:tenant", cases[i].same, cases[i].met_by_none },
                        { RA "NitroTPMPCR7", cases[i].same, cases[i].met_by_none },
                        { RA "PCR0", cases[i].same, cases[i].met_by_none },
                        { RA "NitroTPM_PCR4", cases[i].same, cases[i].met_by_none },
                        { "kms:RecipientAttestation", cases[i].same, cases[i].met_by_none },
                };

                for (size_t k = 0; k < ELEMENTS(asked); k++) {
                        _cleanup_key_policy_ struct key_policy policy = {};
                        _cleanup_evaluation_ struct evaluation v = {};
                        _cleanup_free_ char *text = NULL;

                        assert_true(asprintf(&text,
                                             "{'Version': '2012-10-17', 'Statement': [{'Effect': 'Allow', 'Principal': "
                                             "{'AWS': '" ROLE "'}, 'Action': 'kms:Decrypt', 'Resource': '*', "
                                             "'Condition': {'%s': {'%s': '%s'}}}]}",
                                             cases[i].operator, asked[k].key, asked[k].value) > 0);
                        quoted_policy(text, &policy);
                        ask(&policy, ROLE, "kms:Decrypt", true, &v);
                        if (v.decision != (asked[k].met ? DECISION_ALLOWED : DECISION_DENIED))
                                fail_msg("%s %s %s: %s", cases[i].operator, asked[k].key, asked[k].value,
                                         decision_name(v.decision));
                }
        }
}

/* A reference tells no more than it holds; but a NitroTPM has no key of an enclave, and nobody one that KMS does
 * not know. */
static void test_what_a_reference_leaves_open(void **state _unused_) {
        static const struct {
                const char *key;
                enum decision decision;
        } cases[] = {
                { RA "NitroTPMPCR7", DECISION_UNKNOWN },
                { RA "PCR0", DECISION_ALLOWED },
                { RA "ImageSha384", DECISION_ALLOWED },
                { RA "NitroTPMPCR04", DECISION_ALLOWED },
        };
        struct reference reference = {};
        uint8_t four[SHA384_SIZE];

        memset(four, 0xab, sizeof four);
        reference_set(&reference, 4, four);
        for (size_t i = 0; i < ELEMENTS(cases); i++) {
                _cleanup_key_policy_ struct key_policy policy = {};
                _cleanup_evaluation_ struct evaluation v = {};
                _cleanup_request_ struct request request = {};
                _cleanup_free_ char *text = NULL;
                struct error e;

                assert_true(asprintf(&text,
                                     "{'Statement': [{'Effect': 'Allow', 'Principal': {'AWS': '" ROLE
                                     "'}, 'Action': 'kms:Decrypt', 'Resource': '*', 'Condition': {'Null': {'%s': "
                                     "'true'}}}]}",
                                     cases[i].key) > 0);
                quoted_policy(text, &policy);
                assert_ok(request_init(&request, ROLE, "kms:Decrypt", NULL, &e), &e);
                assert_ok(request_add_reference(&request, &reference, &e), &e);
                assert_ok(evaluate(&policy, &request, &v, &e), &e);
                if (v.decision != cases[i].decision)
                        fail_msg("%s: %s", cases[i].key, decision_name(v.decision));
                if (cases[i].decision == DECISION_ALLOWED)
                        assert_int_equal(request_set(&request, cases[i].key, A, &e), -EINVAL);
                else
                        assert_ok(request_set(&request, cases[i].key, A, &e), &e);
        }
}

/* Composition */

#define USER "arn:aws:iam::" OWNER ":user/owner"
#define MEASURED(pcrs) "{'Measurements': {'PCR2': '" ALONE "', " pcrs "}}"
#define MEASURED_IMAGE MEASURED("'PCR4': '" A "', 'PCR12': '" Z "'")

struct written {
        struct references images;
        struct composition c;
        const char *principals[1], *admins[1], *sealers[1], *openers[1];
};

static void compose_for(struct written *w, const char *references) {
        _cleanup_free_ char *json = quoted(references);
        struct error e;

        assert_ok(references_parse(&w->images, json, strlen(json), "t", &e), &e);
        w->principals[0] = ROLE;
        w->admins[0] = ADMIN;
        w->sealers[0] = ADMIN;
        w->c = (struct composition) { .images = w->images,
                                      .principals = { w->principals, 1 },
                                      .admins = { w->admins, 1 },
                                      .sealers = { w->sealers, 1 } };
}

/* The policy that is written, and a second one with a statement besides that allows everything to the owner's
 * account and the role: what is denied there is denied by the Deny statements. */
static void write_policy(const struct written *w, struct key_policy *ret, struct key_policy *ret_opened) {
        static const char everything[] =
                "{\"Effect\": \"Allow\", \"Principal\": {\"AWS\": [\"" OWNER "\", \"" ADMIN "\", \"" USER "\", \"" ROLE
                "\"]}, \"Action\": \"kms:*\", \"Resource\": \"*\"}";
        _cleanup_json_ json_object *o = NULL;
        json_object *statements;
        const char *text;
        struct error e;

        assert_ok(compose_key_policy(&w->c, &o, &e), &e);
        text = json_object_to_json_string(o);
        assert_ok(key_policy_parse(text, strlen(text), "t", ret, &e), &e);
        assert_true(json_object_object_get_ex(o, "Statement", &statements));
        json_object_array_add(statements, json_tokener_parse(everything));
        text = json_object_to_json_string(o);
        assert_ok(key_policy_parse(text, strlen(text), "t", ret_opened, &e), &e);
}

static void test_denies_what_is_not_attested(void **state _unused_) {
        static const struct {
                const char *principal, *action;
                bool attested, denied;
        } cases[] = {
                { ROLE, "kms:Decrypt", true, false },           { ROLE, "kms:Decrypt", false, true },
                { ADMIN, "kms:Decrypt", true, false },          { ADMIN, "kms:Decrypt", false, true },
                { USER, "kms:Decrypt", false, true },           { ADMIN, "kms:ReEncryptFrom", true, true },
                { ADMIN, "kms:ReEncryptFrom", false, true },    { ADMIN, "kms:CreateGrant", true, true },
                { ADMIN, "kms:CreateGrant", false, true },      { ROLE, "kms:CreateGrant", true, true },
                { ADMIN, "kms:GenerateDataKey", false, false }, { ADMIN, "kms:Encrypt", false, false },
                { ADMIN, "kms:PutKeyPolicy", false, false },    { ADMIN, "kms:ScheduleKeyDeletion", false, false },
        };
        _cleanup_key_policy_ struct key_policy policy = {}, opened = {};
        struct written w = {};

        compose_for(&w, MEASURED_IMAGE);
        w.c.one_shot = true;
        write_policy(&w, &policy, &opened);
        for (size_t i = 0; i < ELEMENTS(cases); i++) {
                _cleanup_evaluation_ struct evaluation v = {};

                ask(&opened, cases[i].principal, cases[i].action, cases[i].attested, &v);
                if (v.explicit_deny != cases[i].denied || (v.decision == DECISION_ALLOWED) == cases[i].denied)
                        fail_msg("%s %s %d: %s", cases[i].principal, cases[i].action, cases[i].attested,
                                 decision_name(v.decision));
        }
        references_done(&w.images);
}

/* One PCR differs, as PCR2 does after a driver from outside the firmware ran: the Deny of that PCR applies, and no
 * other. */
static void test_denies_by_each_pcr(void **state _unused_) {
        static const unsigned bound[] = { 2, 3, 4, 7, 12, 15 };
        _cleanup_key_policy_ struct key_policy policy = {}, opened = {};
        uint8_t other[SHA384_SIZE];
        struct written w = {};

        compose_for(&w, MEASURED("'PCR3': '" ALONE "', 'PCR4': '" A "', 'PCR7': '" B "', 'PCR12': '" Z "'"));
        w.c.one_shot = true;
        write_policy(&w, &policy, &opened);
        memset(other, 0x77, sizeof other);
        for (size_t i = 0; i < ELEMENTS(bound); i++) {
                _cleanup_evaluation_ struct evaluation v = {};
                _cleanup_request_ struct request request = {};
                struct document d = { .kind = DOCUMENT_NITROTPM };
                char wanted[64], denied[256] = "";
                struct error e;

                for (size_t k = 0; k < ELEMENTS(bound); k++) /* the reference has zeros where it has no PCR15 */
                        d.pcr[bound[k]] = k == i ? other : w.images.items[0].pcr[bound[k]];
                assert_ok(request_init(&request, ADMIN, "kms:Decrypt", NULL, &e), &e);
                assert_ok(request_add_document(&request, &d, &e), &e);
                assert_ok(evaluate(&opened, &request, &v, &e), &e);
                for (size_t k = 0; k < v.n; k++)
                        if (!v.statements[k].statement->allow && v.statements[k].truth == TRUTH_YES)
                                snprintf(denied + strlen(denied), sizeof denied - strlen(denied), "%s ",
                                         v.statements[k].statement->name);
                snprintf(wanted, sizeof wanted, "DenyUnlessNitroTPMPCR%u ", bound[i]);
                assert_string_equal(denied, wanted);
                assert_true(v.explicit_deny);
        }
        references_done(&w.images);
}

static void test_denies_no_more_than_is_asked(void **state _unused_) {
        static const struct {
                bool opener, allow_unattested;
                enum decision unattested, grant;
        } cases[] = {
                { false, false, DECISION_DENIED, DECISION_DENIED },
                { true, false, DECISION_ALLOWED, DECISION_DENIED },
                { false, true, DECISION_ALLOWED, DECISION_ALLOWED },
        };

        for (size_t i = 0; i < ELEMENTS(cases); i++) {
                _cleanup_key_policy_ struct key_policy policy = {}, opened = {};
                _cleanup_evaluation_ struct evaluation user = {}, admin = {}, grant = {};
                struct written w = {};

                compose_for(&w, MEASURED_IMAGE);
                w.openers[0] = USER;
                w.c.openers = (struct names) { w.openers, cases[i].opener };
                w.c.allow_unattested = cases[i].allow_unattested;
                write_policy(&w, &policy, &opened);
                ask(&opened, USER, "kms:Decrypt", false, &user);
                ask(&opened, ADMIN, "kms:Decrypt", false, &admin);
                ask(&opened, USER, "kms:CreateGrant", false, &grant);
                assert_int_equal(user.decision, cases[i].unattested);
                assert_int_equal(admin.decision, cases[i].allow_unattested ? DECISION_ALLOWED : DECISION_DENIED);
                assert_int_equal(grant.decision, cases[i].grant);
                references_done(&w.images);
        }
}

/* Of several images, some of which do not bind what others do, each passes every Deny, and no other does. */
static void test_denies_for_several_images(void **state _unused_) {
        static const struct {
                const char *references;
                bool secure_boot;
        } sets[] = {
                { "[" MEASURED_IMAGE ", " MEASURED("'PCR4': '" B "', 'PCR12': '" B "'") "]", false },
                { "[" MEASURED_IMAGE ", {'Measurements': {'PCR0': '" B "', 'PCR1': '" A "'}}]", false },
                { "[" MEASURED("'PCR4': '" A "', 'PCR7': '" A "', 'PCR12': '" Z "'") ", " MEASURED(
                          "'PCR4': '" B "', 'PCR12': '" Z "'") ", {'Measurements': {'PCR8': '" B "'}}]",
                  false },
                { "[" MEASURED_IMAGE ", {'Measurements': {'PCR7': '" B "'}}]", true },
                { "[" MEASURED_IMAGE ", {'Measurements': {'PCR4': '" B "', 'PCR7': '" B "', 'PCR12': '" Z
                  "'}, 'SecureBoot': true}]",
                  false },
                { "[" MEASURED_IMAGE ", {'Measurements': {'PCR2': '" B "', 'PCR4': '" A "', 'PCR12': '" Z "'}}]",
                  false },
        };

        for (size_t i = 0; i < ELEMENTS(sets); i++) {
                _cleanup_key_policy_ struct key_policy policy = {}, opened = {};
                struct written w = {};
                uint8_t other[SHA384_SIZE];

                compose_for(&w, sets[i].references);
                w.c.secure_boot = sets[i].secure_boot;
                write_policy(&w, &policy, &opened);
                memset(other, 0x77, sizeof other);
                for (size_t k = 0; k < 2 * w.images.n; k++) {
                        struct reference image = w.images.items[k / 2];
                        _cleanup_evaluation_ struct evaluation v = {};
                        _cleanup_request_ struct request request = {};
                        bool changed = k % 2;
                        struct document d = { .kind = reference_is_nitrotpm(&image) ? DOCUMENT_NITROTPM
                                                                                    : DOCUMENT_ENCLAVE };
                        struct error e;

                        for (unsigned pcr = 0; pcr < PCR_COUNT_MAX; pcr++)
                                if (reference_has(&image, pcr))
                                        d.pcr[pcr] = changed ? other : image.pcr[pcr];
                        assert_ok(request_init(&request, ROLE, "kms:Decrypt", NULL, &e), &e);
                        assert_ok(request_add_document(&request, &d, &e), &e);
                        assert_ok(evaluate(changed ? &opened : &policy, &request, &v, &e), &e);
                        if (v.decision != (changed ? DECISION_DENIED : DECISION_ALLOWED) || v.explicit_deny != changed)
                                fail_msg("set %zu, image %zu%s: %s", i, k / 2, changed ? ", changed" : "",
                                         decision_name(v.decision));
                }
                references_done(&w.images);
        }
}

static void test_refuses_to_write(void **state _unused_) {
        static const struct {
                const char *principal, *admin, *sealer, *opener;
                enum failure failure;
                const char *why;
        } cases[] = {
                { ROLE, "arn:aws:iam::" CONSUMER ":role/ops", ADMIN, USER, FAILURE_POLICY, "self-administration" },
                { ROLE, "arn:aws:iam::" CONSUMER ":user/ops", ADMIN, USER, FAILURE_POLICY, "self-administration" },
                { CONSUMER, "arn:aws:iam::" CONSUMER ":role/ops", ADMIN, USER, FAILURE_POLICY, "self-administration" },
                { ROLE, ADMIN, ROLE, USER, FAILURE_POLICY, "self-sealing" },
                { ROLE, ADMIN, "arn:aws:iam::" CONSUMER ":role/ops", USER, FAILURE_POLICY, "self-sealing" },
                { ROLE, KEY_ID, ADMIN, USER, FAILURE_POLICY, "unique-id" },
                { KEY_ID, ADMIN, ADMIN, USER, FAILURE_POLICY, "unique-id" },
                { ROLE, ADMIN, ADMIN, "arn:aws:iam::" CONSUMER ":user/ops", FAILURE_POLICY, "outside the image" },
                { ROLE, ADMIN, ADMIN, OWNER, FAILURE_USAGE, "as an opener must be" },
                { ROLE, ADMIN, ADMIN, "arn:aws:iam::" OWNER ":root", FAILURE_USAGE, "as an opener must be" },
                { ROLE, ADMIN, ADMIN, "arn:aws:sts::" OWNER ":assumed-role/o/i", FAILURE_USAGE,
                  "as an opener must be" },
                { ROLE, ADMIN, ADMIN, "arn:aws:iam::" OWNER ":role/*", FAILURE_POLICY, "wildcard opener" },
        };

        for (size_t i = 0; i < ELEMENTS(cases); i++) {
                _cleanup_json_ json_object *o = NULL;
                struct written w = {};
                struct error e;

                compose_for(&w, MEASURED_IMAGE);
                w.principals[0] = cases[i].principal;
                w.admins[0] = cases[i].admin;
                w.sealers[0] = cases[i].sealer;
                w.openers[0] = cases[i].opener;
                w.c.openers = (struct names) { w.openers, 1 };
                assert_refused(compose_key_policy(&w.c, &o, &e), &e, cases[i].failure, cases[i].why);
                assert_null(o);
                references_done(&w.images);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_condition_keys),
                cmocka_unit_test(test_actions_that_take_a_document),
                cmocka_unit_test(test_accounts),
                cmocka_unit_test(test_findings),
                cmocka_unit_test(test_findings_explain_themselves),
                cmocka_unit_test(test_the_unknown_key_is_named),
                cmocka_unit_test(test_operators),
                cmocka_unit_test(test_what_a_reference_leaves_open),
                cmocka_unit_test(test_denies_what_is_not_attested),
                cmocka_unit_test(test_denies_by_each_pcr),
                cmocka_unit_test(test_denies_no_more_than_is_asked),
                cmocka_unit_test(test_denies_for_several_images),
                cmocka_unit_test(test_refuses_to_write),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
