/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Findings: what makes a key policy protect less than it seems to. `sealboot policy` refuses to write a policy that has
 * any of these, and `sealboot policy check` lists them in any policy.
 *
 * What an Allow releases also counts as attested where a Deny for everyone demands it (guard.h). Callers are judged by
 * their account (principal.h). */
/* clang-format off */
/*   wildcard-principal    an Allow for everyone
 *   no-attestation        an Allow that releases plaintext (Decrypt, ReEncryptFrom, or CreateGrant, which gives them
 *                         away) without requiring an attestation document
 *   self-administration   an account that the key is released to may rewrite the policy, or get around it
 *   self-sealing          an account that the key is released to may seal: its own models pass for the owner's
 *   unique-id             a principal named by its unique id, which may be one that is named by its ARN
 *   image-not-bound       attestation is required, but of no image in particular
 *   pcr4-without-pcr12    a command line appended at boot is not covered (GHSA-xrv8-2pf5-f3q7)
 *   pcr4-without-pcr2     a UEFI driver from outside the firmware, which can change the measured image, is not covered
 *   secure-boot-off       PCR7 is bound to the value that says that Secure Boot is off
 *   firmware-pcr          NitroTPM PCR0 or PCR1: AWS's firmware, which changes under the image
 *   never-measured        one of NitroTPM PCR0 to PCR7 is zeros, which no boot leaves there
 *   mixed-images          several values for more than one PCR: they may be combined across images
 *   added-command-line    PCR12 is zeros or another value: the same image, also with a longer command line
 *   not-one-shot          PCR15 is zeros or another value: the key is released again after a model was loaded
 *   loose-match           a PCR is matched by pattern
 *   policy-variable       a value that the request or its caller fills in: "${kms:...}", "${aws:PrincipalTag/...}"
 *   open-context          a condition on the encryption context that any value, or none, meets
 *   debug-enclave         an enclave image of zeros, or no more than a signer of zeros: debug mode
 *   never-matches         a PCR value that is not 96 lower-case hex digits, under an operator that minds case
 *   unknown-key           a condition key that KMS does not have, so that no request carries it */
/* clang-format on */

#include "keypolicy/key-policy.h"

struct finding {
        const char *code;
        const char *statement; /* its name, borrowed from the policy */
        char *text;            /* the reason: a sentence without its full stop */
        const char *advice;    /* what to do; static, the same for all findings of one code */
};

struct findings {
        struct finding *items;
        size_t n;
};

/* Whether this value of PCR7, in hex, is one that says that Secure Boot is off. */
bool is_secure_boot_off(const char *pcr7);

/* secure_boot: PCR7, where it is bound, is the value of Secure Boot on, and so stands in for PCR12 and PCR2. */
int key_policy_lint(const struct key_policy *policy, bool secure_boot, struct findings *ret, struct error *e);
void findings_done(struct findings *f);
#define _cleanup_findings_ _cleanup_(findings_done)
