/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* EFI signature lists (UEFI 2.10, 32.4.1): what PK, KEK, db and dbx hold. A variable is any number of
 * EFI_SIGNATURE_LISTs, each any number of EFI_SIGNATURE_DATA of one type and size. */

#include "basic/failure.h"
#include "basic/reader.h"

enum esl_type {
        ESL_OTHER, /* a type that authorises nothing here */
        ESL_X509,
        ESL_SHA256,
        ESL_SHA384,
        ESL_SHA512,
        ESL_X509_SHA256, /* the hash of a certificate's TBSCertificate; only dbx holds these three */
        ESL_X509_SHA384,
        ESL_X509_SHA512,
};

struct esl_entry {
        enum esl_type type;
        const uint8_t
                *signature; /* the whole EFI_SIGNATURE_DATA, owner and data: what firmware measures as the authority */
        size_t signature_size;
        const uint8_t *data; /* behind the owner's GUID: a certificate or a hash */
        size_t data_size;
};

/* Borrows the bytes it was parsed from; owns the array. */
struct esl {
        const uint8_t *bytes; /* of the lists, as the variable holds them */
        size_t size;
        struct esl_entry *entries;
        size_t n;
};

/* Fails with FAILURE_USAGE, naming `subject`. No bytes are no entries. On failure ret is untouched. A file of efivarfs,
 * which has the variable's four attribute bytes in front of the lists, is read without them. */
int esl_parse(const void *data, size_t size, const char *subject, struct esl *ret, struct error *e);
void esl_done(struct esl *esl);
#define _cleanup_esl_ _cleanup_(esl_done)

/* 32, 48 or 64 for the hash types (X509_* included), 0 otherwise. */
size_t esl_hash_size(enum esl_type type);
