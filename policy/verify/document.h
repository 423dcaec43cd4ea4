/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The attestation document of a NitroTPM or a Nitro Enclave, as a schema: COSE_Sign1 (RFC 9052, section 4.2) around a
 * CBOR map (AWS, "Cryptographic attestation", and the published nitro_enclaves documents).
 *
 *     [18(]  [ h'a1013822' = {1: -35}, {}, payload, signature (r || s, 96 bytes) ]  [)]
 *
 *     payload: { module_id, digest "SHA384", timestamp (ms), nitrotpm_pcrs | pcrs: {index: 48 bytes},
 *                certificate (DER), cabundle [root, ..., issuing] (DER),
 *                public_key, user_data, nonce: bytes | null }
 *
 * Two readers must never read two different documents from the same bytes. Therefore every length is definite and in
 * its shortest form, every key is known and occurs once, every value has the right type and size, and nothing follows.
 * There is one exception, because AWS sends it: the payload map may be of indefinite length.
 *
 * Parsing proves nothing. Before chain.h and document_signature() have succeeded, every value is what the sender wrote.
 */

#include <openssl/evp.h>

#include "basic/failure.h"
#include "evidence/registers.h"

enum {
        DOCUMENT_MAX = 32 * 1024,
        DOCUMENT_CABUNDLE_MAX = 8,
        DOCUMENT_SIGNATURE_SIZE = 96,
};

enum document_kind {
        DOCUMENT_NITROTPM, /* nitrotpm_pcrs: TPM PCRs, SHA-384 bank */
        DOCUMENT_ENCLAVE,  /* pcrs: 0 image, 1 kernel, 2 application, 3 role, 4 instance id, 8 signer */
};

/* Borrowed bytes. data is NULL when the document does not have the field, or has null in it; an empty field is not
 * NULL. */
struct bytes {
        const uint8_t *data;
        size_t size;
};

struct document {
        enum document_kind kind;
        struct bytes protected, payload, signature;
        struct bytes module_id;            /* UTF-8, not terminated */
        uint64_t timestamp;                /* milliseconds since 1970 */
        const uint8_t *pcr[PCR_COUNT_MAX]; /* SHA384_SIZE bytes each; NULL: not in the document */
        struct bytes certificate;
        struct bytes cabundle[DOCUMENT_CABUNDLE_MAX]; /* root first */
        size_t n_cabundle;
        struct bytes public_key, user_data, nonce;
};

/* Borrows from `data` for as long as *ret is used. FAILURE_DOCUMENT, -EBADMSG. */
int document_parse(const void *data, size_t size, const char *source, struct document *ret, struct error *e);

/* Verifies the ES384 signature over Sig_structure ["Signature1", protected, h'', payload] with this P-384 key. */
int document_signature(const struct document *d, const char *source, EVP_PKEY *key, struct error *e);
