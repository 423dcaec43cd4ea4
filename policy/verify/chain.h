/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The certificates of an attestation document: certificate, then cabundle backwards, up to a pinned root (AWS,
 * "Verifying the root of trust"; RFC 5280, section 6). The path is the one that the document presents: no certificate
 * is searched for, and none is put into another place.
 *
 * Every key is on P-384, and every signature is ecdsa-with-SHA384. Every issuer is marked as a CA (basicConstraints,
 * keyCertSign) and keeps its path length; the leaf is no CA. Revocation lists are not read: AWS publishes none for the
 * last two certificates, which are valid for hours. */

#include <openssl/x509.h>

#include "verify/document.h"

enum { ROOT_FINGERPRINT_SIZE = SHA256_SIZE };

/* SHA-256 of the DER of the AWS Nitro root G1, which signs for NitroTPM and Nitro Enclaves alike. */
extern const uint8_t aws_nitro_root[ROOT_FINGERPRINT_SIZE];

enum { CHAIN_MAX = DOCUMENT_CABUNDLE_MAX + 1 };

/* Zero-initialise. */
struct chain {
        X509 *certificate[CHAIN_MAX]; /* leaf first, root last */
        size_t n;
};

/* Builds and verifies the chain without regard to the time. FAILURE_DOCUMENT, -EBADMSG. */
int chain_build(const struct document *d, const char *source, const uint8_t root[static ROOT_FINGERPRINT_SIZE],
                struct chain *ret, struct error *e);

/* Every certificate is within its validity at this time (seconds since 1970). FAILURE_DOCUMENT, -EKEYEXPIRED. */
int chain_valid_at(const struct chain *c, const char *source, int64_t at, struct error *e);

/* Verifies chain, validity at this time, and signature. */
int document_authenticate(const struct document *d, const char *source,
                          const uint8_t root[static ROOT_FINGERPRINT_SIZE], int64_t at, struct error *e);

/* The leaf's key, borrowed. */
EVP_PKEY *chain_key(const struct chain *c);

void chain_done(struct chain *c);
#define _cleanup_chain_ _cleanup_(chain_done)

/* The fingerprint of the one certificate in this PEM text. FAILURE_USAGE. */
int root_from_pem(const char *pem, size_t size, const char *source, uint8_t ret[static ROOT_FINGERPRINT_SIZE],
                  struct error *e);
