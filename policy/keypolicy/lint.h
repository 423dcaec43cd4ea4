/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What makes a key policy protect less than it seems to. `sealboot policy` refuses to write a policy that has any of these,
 * and `sealboot policy check` lists them in anyone's.
 *
 * What an Allow releases counts as attested too where a Deny for everyone demands it.
 *
 *   wildcard-principal    an Allow for everyone
 *   no-attestation        an Allow that releases plaintext (Decrypt, ReEncryptFrom, or CreateGrant, which gives them away)
 *                         without requiring an attestation document
 *   self-administration   who is released to, or its account, may rewrite the policy, or replicate the key under another
 *   image-not-bound       attestation is required, but of no image in particular
 *   pcr4-without-pcr12    a command line appended at boot is not covered (GHSA-xrv8-2pf5-f3q7)
 *   pcr4-without-pcr2     a UEFI driver from outside the firmware, which can change the measured image, is not covered
 *   secure-boot-off       PCR7 is bound to the value that says that Secure Boot is off
 *   firmware-pcr          NitroTPM PCR0 or PCR1: AWS's firmware, which changes under the image
 *   mixed-images          several values for more than one PCR: they may be combined across images
 *   loose-match           a PCR is matched by pattern
 *   policy-variable       a value that the request itself fills in: "${kms:RecipientAttestation:NitroTPMPCR4}"
 *   debug-enclave         an enclave image of zeros, or no more than a signer of zeros: debug mode
 *   never-matches         a PCR value that is not 96 lower-case hex digits, under an operator that minds */

#include "keypolicy/key-policy.h"

struct finding {
        const char *code;
        const char *statement; /* its name, borrowed from the policy */
        const char *text;      /* static */
};

struct findings {
        struct finding *items;
        size_t n;
};

/* secure_boot: PCR7, where it is bound, is the value of Secure Boot on, and so stands in for PCR12 and PCR2. */
int key_policy_lint(const struct key_policy *policy, bool secure_boot, struct findings *ret, struct error *e);

static inline void findings_done(struct findings *f) {
        free(f->items);
}
#define _cleanup_findings_ _cleanup_(findings_done)
