/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Attestation documents from a NitroTPM (AWS's nitro-tpm-attest; EC2 User Guide, "NitroTPM Attestation Document").
 *
 * The request travels in an NV index: define (owner hierarchy, AUTHREAD|AUTHWRITE, 8192 bytes, random auth; NO_DA too
 * where the TPM is locked against dictionary attacks), write the CBOR request, send vendor command 0x20000001 with the
 * index as auth handle and NV index, read the CBOR answer, undefine. */

#include "evidence/tpm.h"

enum {
        ATTESTATION_FIELD_MAX = 1024,
        ATTESTATION_INDEX_BYTES = 8192,
        ATTESTATION_INDEX_FIRST = 0x018b0070, /* ours: eight in the owner's range */
        ATTESTATION_INDICES = 8,
        ATTESTATION_COMMAND = 0x20000001,
};

/* Each field is at most 1024 bytes; NULL leaves it out. */
struct attestation_request {
        const void *user_data, *nonce, *public_key; /* public_key: DER SubjectPublicKeyInfo, for KMS */
        size_t user_data_size, nonce_size, public_key_size;
};

/* A fresh document: COSE_Sign1 as the NitroTPM gave it, not verified, malloc'ed.
 *
 * Callers on one machine take turns, within the busy wait of tpm_open(); then FAILURE_TPM_BUSY. An index in our range
 * was therefore left behind by a client that was killed, and is removed first. The index is undefined again on every
 * path. Until then signals such as SIGHUP, SIGINT and SIGTERM are held back in the calling thread; a program with
 * several threads blocks them in the others itself. Where /dev/tpmrm0 does not pass the vendor command on, /dev/tpm0 is
 * used.
 *
 * FAILURE_ATTESTATION when the answer is an error (quoted) or no document, or when the TPM is no NitroTPM;
 * FAILURE_USAGE when a field is too long; FAILURE_TPM. */
int nitrotpm_attest(struct tpm *t, const struct attestation_request *request, uint8_t **ret_document, size_t *ret_size,
                    struct error *e);

/* Removes every index of our range. Call this only where no other client can be at work. */
int nitrotpm_clear_leftover(struct tpm *t, size_t *ret_cleared, struct error *e);

/* The CBOR of request and answer, for tests and fuzzing. The answer is one item; what follows it is padding. */
enum { ATTESTATION_REQUEST_MAX = 3 * (ATTESTATION_FIELD_MAX + 3) + 64 };
int nitrotpm_encode_request(const struct attestation_request *request, uint8_t out[static ATTESTATION_REQUEST_MAX],
                            size_t *ret_size, struct error *e);
/* *ret_document borrows from `answer`. */
int nitrotpm_decode_answer(const uint8_t *answer, size_t size, const char *subject, const uint8_t **ret_document,
                           size_t *ret_size, struct error *e);
