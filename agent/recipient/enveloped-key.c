/* SPDX-License-Identifier: Apache-2.0 */

/* Parses KMS's CiphertextForRecipient in the order of its schema: RFC 5652 section 6 (EnvelopedData), RFC 4055
 * section 4.1 (RSAES-OAEP). */

#include "recipient/ber.h"
#include "recipient/recipient.h"

enum { RSA_BYTES = 256, IV_BYTES = 16, KEY_IDENTIFIER_MAX = 64 };

static const uint8_t oid_data[] = { 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x01 };
static const uint8_t oid_enveloped_data[] = { 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x03 };
static const uint8_t oid_rsaes_oaep[] = { 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x07 };
static const uint8_t oid_mgf1[] = { 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x08 };
static const uint8_t oid_p_specified[] = { 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x09 };
static const uint8_t oid_sha256[] = { 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01 };
static const uint8_t oid_aes256_cbc[] = { 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x01, 0x2a };
static const uint8_t two[] = { 2 };

static int malformed(struct error *e, const char *part) {
        return fail(e, FAILURE_KMS_ANSWER, -EBADMSG, "CiphertextForRecipient", "%s", part);
}

static int take_version_2(struct reader *r) {
        return ber_expect(r, BER_INTEGER, two, sizeof two);
}

/* AlgorithmIdentifier of SHA-256: parameters NULL or absent. */
static int take_sha256(struct reader *r) {
        struct reader algorithm;

        if (ber_take(r, BER_SEQUENCE, &algorithm) < 0 ||
            ber_expect(&algorithm, BER_OBJECT, oid_sha256, sizeof oid_sha256) < 0)
                return -EBADMSG;
        if (reader_left(&algorithm) > 0 && ber_expect(&algorithm, BER_NULL, NULL, 0) < 0)
                return -EBADMSG;
        return ber_end(&algorithm);
}

static int take_mgf1_sha256(struct reader *r) {
        struct reader algorithm;

        if (ber_take(r, BER_SEQUENCE, &algorithm) < 0 ||
            ber_expect(&algorithm, BER_OBJECT, oid_mgf1, sizeof oid_mgf1) < 0 || take_sha256(&algorithm) < 0)
                return -EBADMSG;
        return ber_end(&algorithm);
}

/* pSourceAlgorithm with its default, the empty label. */
static int take_empty_label(struct reader *r) {
        struct reader tagged, algorithm;

        if (ber_take(r, BER_CONTEXT_CONSTRUCTED | 2, &tagged) < 0 || ber_take(&tagged, BER_SEQUENCE, &algorithm) < 0 ||
            ber_expect(&algorithm, BER_OBJECT, oid_p_specified, sizeof oid_p_specified) < 0 ||
            ber_expect(&algorithm, BER_OCTET_STRING, NULL, 0) < 0 || ber_end(&algorithm) < 0)
                return -EBADMSG;
        return ber_end(&tagged);
}

static int take_oaep_sha256(struct reader *r) {
        struct reader algorithm, parameters, hash, mask;

        if (ber_take(r, BER_SEQUENCE, &algorithm) < 0 ||
            ber_expect(&algorithm, BER_OBJECT, oid_rsaes_oaep, sizeof oid_rsaes_oaep) < 0 ||
            ber_take(&algorithm, BER_SEQUENCE, &parameters) < 0 || ber_end(&algorithm) < 0)
                return -EBADMSG;
        if (ber_take(&parameters, BER_CONTEXT_CONSTRUCTED | 0, &hash) < 0 || take_sha256(&hash) < 0 ||
            ber_end(&hash) < 0 || ber_take(&parameters, BER_CONTEXT_CONSTRUCTED | 1, &mask) < 0 ||
            take_mgf1_sha256(&mask) < 0 || ber_end(&mask) < 0)
                return -EBADMSG;
        if (reader_left(&parameters) > 0 && take_empty_label(&parameters) < 0)
                return -EBADMSG;
        return ber_end(&parameters);
}

static int take_recipient(struct reader *r, struct enveloped_key *k, struct error *e) {
        struct reader recipients, recipient, field;

        if (ber_take(r, BER_SET, &recipients) < 0 || ber_take(&recipients, BER_SEQUENCE, &recipient) < 0)
                return malformed(e, "there is no KeyTransRecipientInfo");
        if (ber_end(&recipients) < 0)
                return malformed(e, "there is more than one recipient");
        if (take_version_2(&recipient) < 0)
                return malformed(e, "the KeyTransRecipientInfo is not of version 2");
        if (ber_take(&recipient, BER_CONTEXT | 0, &field) < 0 || field.size == 0 || field.size > KEY_IDENTIFIER_MAX)
                return malformed(e, "the recipient is not named by a subject key identifier");
        k->key_identifier = field.data;
        k->key_identifier_size = field.size;
        if (take_oaep_sha256(&recipient) < 0)
                return malformed(e, "the key is not encrypted by RSAES-OAEP with SHA-256 and MGF1-SHA-256");
        if (ber_take(&recipient, BER_OCTET_STRING, &field) < 0 || field.size != RSA_BYTES || ber_end(&recipient) < 0)
                return malformed(e, "the encrypted key is not that of an RSA-2048 key");
        k->encrypted_key = field.data;
        return 0;
}

static int append(struct enveloped_key *k, size_t *used, const struct reader *part) {
        if (part->size > sizeof k->ciphertext - *used)
                return -EBADMSG;
        if (part->size > 0)
                memcpy(k->ciphertext + *used, part->data, part->size);
        *used += part->size;
        return 0;
}

/* [0] IMPLICIT OCTET STRING in both of KMS's shapes: primitive, or constructed of OCTET STRINGs. */
static int take_ciphertext(struct reader *r, struct enveloped_key *k) {
        struct reader content, part;
        uint8_t identifier;
        size_t used = 0;

        if (ber_peek(r, &identifier) < 0)
                return -EBADMSG;
        if (identifier == (BER_CONTEXT | 0)) {
                if (ber_take(r, identifier, &content) < 0 || append(k, &used, &content) < 0)
                        return -EBADMSG;
        } else {
                if (ber_take(r, BER_CONTEXT_CONSTRUCTED | 0, &content) < 0)
                        return -EBADMSG;
                while (reader_left(&content) > 0)
                        if (ber_take(&content, BER_OCTET_STRING, &part) < 0 || append(k, &used, &part) < 0)
                                return -EBADMSG;
        }
        return used == sizeof k->ciphertext ? 0 : -EBADMSG;
}

static int take_content(struct reader *r, struct enveloped_key *k, struct error *e) {
        struct reader content, algorithm, iv;

        if (ber_take(r, BER_SEQUENCE, &content) < 0 || ber_expect(&content, BER_OBJECT, oid_data, sizeof oid_data) < 0)
                return malformed(e, "there is no encrypted content of type data");
        if (ber_take(&content, BER_SEQUENCE, &algorithm) < 0 ||
            ber_expect(&algorithm, BER_OBJECT, oid_aes256_cbc, sizeof oid_aes256_cbc) < 0 ||
            ber_take(&algorithm, BER_OCTET_STRING, &iv) < 0 || iv.size != IV_BYTES || ber_end(&algorithm) < 0)
                return malformed(e, "the content is not encrypted by AES-256-CBC");
        k->iv = iv.data;
        if (take_ciphertext(&content, k) < 0)
                return malformed(e, "the encrypted content is not that of 32 bytes");
        return ber_end(&content) < 0 ? malformed(e, "something follows the encrypted content") : 0;
}

int enveloped_key_parse(const uint8_t *cms, size_t n, struct enveloped_key *ret, struct error *e) {
        struct reader r = reader_over(cms, n), info, tagged, enveloped;
        struct enveloped_key k = { .iv = NULL };
        int q;

        if (ber_take(&r, BER_SEQUENCE, &info) < 0 ||
            ber_expect(&info, BER_OBJECT, oid_enveloped_data, sizeof oid_enveloped_data) < 0 ||
            ber_take(&info, BER_CONTEXT_CONSTRUCTED | 0, &tagged) < 0 ||
            ber_take(&tagged, BER_SEQUENCE, &enveloped) < 0)
                return malformed(e, "it is not CMS EnvelopedData");
        if (ber_end(&r) < 0 || ber_end(&info) < 0 || ber_end(&tagged) < 0)
                return malformed(e, "something follows the EnvelopedData");
        if (take_version_2(&enveloped) < 0)
                return malformed(e, "the EnvelopedData is not of version 2");
        q = take_recipient(&enveloped, &k, e);
        if (q < 0)
                return q;
        q = take_content(&enveloped, &k, e);
        if (q < 0)
                return q;
        if (ber_end(&enveloped) < 0)
                return malformed(e, "something follows the encrypted content");
        *ret = k;
        return 0;
}
