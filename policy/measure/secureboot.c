/* SPDX-License-Identifier: Apache-2.0 */
#include "measure/secureboot.h"

#include <openssl/pkcs7.h>
#include <openssl/x509v3.h>

enum { SIGNATURES_MAX = 16 }; /* of one image; each is tried with every entry of db and dbx */

/* One Authenticode signature whose digest matches the image. */
struct signature {
        PKCS7 *pkcs7;
        const uint8_t *content; /* of SpcIndirectDataContent: what the signer's attributes cover */
        size_t content_size;
        enum esl_type hash_type;
        const uint8_t *digest; /* of the image, under the signature's hash; borrowed */
};

static void signature_done(struct signature *s) {
        PKCS7_free(s->pkcs7);
        *s = (struct signature) {};
}

DEFINE_CLEANUP(X509 *, X509_free, x509_freep)
DEFINE_CLEANUP(X509_STORE *, X509_STORE_free, x509_store_freep)
DEFINE_CLEANUP(BIO *, BIO_free_all, bio_freep)

static const struct {
        enum esl_type type, certificate_type;
        int nid;
} hashes[] = {
        { ESL_SHA256, ESL_X509_SHA256, NID_sha256 },
        { ESL_SHA384, ESL_X509_SHA384, NID_sha384 },
        { ESL_SHA512, ESL_X509_SHA512, NID_sha512 },
};

/* The digests of an image, each computed once, however many signatures are of it. */
struct digests {
        const struct pe *pe;
        bool known[ELEMENTS(hashes)];
        uint8_t values[ELEMENTS(hashes)][EVP_MAX_MD_SIZE];
};

static int digests_get(struct digests *d, size_t hash, const uint8_t **ret, struct error *e) {
        int k;

        if (!d->known[hash]) {
                k = pe_digest(d->pe, EVP_get_digestbynid(hashes[hash].nid), d->values[hash], e);
                if (k < 0)
                        return k;
                d->known[hash] = true;
        }
        *ret = d->values[hash];
        return 0;
}

/* One DER element with this tag; lengths are definite. */
static int der_element(struct reader *r, uint8_t tag, struct reader *ret) {
        uint8_t found, length;
        size_t n;

        if (reader_u8(r, &found) < 0 || found != tag || reader_u8(r, &length) < 0)
                return -EBADMSG;
        n = length;
        if (length & 0x80) {
                if ((length & 0x7f) == 0 || (length & 0x7f) > 4)
                        return -EBADMSG;
                n = 0;
                for (unsigned i = length & 0x7f; i > 0; i--) {
                        if (reader_u8(r, &length) < 0)
                                return -EBADMSG;
                        n = n << 8 | length;
                }
        }
        return reader_sub(r, n, ret);
}

static int hash_of_algorithm(const struct reader *oid, size_t *ret) {
        for (size_t i = 0; i < ELEMENTS(hashes); i++) {
                const ASN1_OBJECT *object = OBJ_nid2obj(hashes[i].nid);

                if (oid->size == OBJ_length(object) && memcmp(oid->data, OBJ_get0_data(object), oid->size) == 0) {
                        *ret = i;
                        return 0;
                }
        }
        return -ENOTSUP;
}

/* SpcIndirectDataContent ::= SEQUENCE { data SEQUENCE, messageDigest SEQUENCE { SEQUENCE { OID, ... }, OCTET STRING } }
 */
static int parse_content(struct signature *s, size_t *ret_hash, struct reader *ret_digest) {
        const ASN1_TYPE *other = s->pkcs7->d.sign->contents->d.other;
        struct reader whole, content, data, info, algorithm, oid;

        if (!other || other->type != V_ASN1_SEQUENCE)
                return -EBADMSG;
        whole = reader_over(other->value.sequence->data, (size_t) other->value.sequence->length);
        if (der_element(&whole, 0x30, &content) < 0)
                return -EBADMSG;
        s->content = content.data;
        s->content_size = content.size;
        if (der_element(&content, 0x30, &data) < 0 || der_element(&content, 0x30, &info) < 0 ||
            der_element(&info, 0x30, &algorithm) < 0 || der_element(&algorithm, 0x06, &oid) < 0 ||
            der_element(&info, 0x04, ret_digest) < 0)
                return -EBADMSG;
        return hash_of_algorithm(&oid, ret_hash);
}

static bool is_indirect_data(const ASN1_OBJECT *type) {
        /* 1.3.6.1.4.1.311.2.1.4 */
        static const uint8_t oid[] = { 0x2b, 0x06, 0x01, 0x04, 0x01, 0x82, 0x37, 0x02, 0x01, 0x04 };

        return type && OBJ_length(type) == sizeof oid && memcmp(OBJ_get0_data(type), oid, sizeof oid) == 0;
}

/* 0 and a signature; -EBADMSG for a signature that is not of this image. Firmware ignores such a signature as well. */
static int signature_open(struct digests *digests, const uint8_t *der, size_t size, struct signature *ret,
                          struct error *e) {
        _cleanup_(signature_done) struct signature s = {};
        struct reader claimed;
        size_t hash;
        int k;

        s.pkcs7 = d2i_PKCS7(NULL, &der, (long) size);
        if (!s.pkcs7 || !PKCS7_type_is_signed(s.pkcs7) || !s.pkcs7->d.sign || !s.pkcs7->d.sign->contents ||
            !is_indirect_data(s.pkcs7->d.sign->contents->type))
                return -EBADMSG;
        if (parse_content(&s, &hash, &claimed) < 0)
                return -EBADMSG;
        s.hash_type = hashes[hash].type;
        k = digests_get(digests, hash, &s.digest, e);
        if (k < 0)
                return k;
        if (claimed.size != esl_hash_size(s.hash_type) || memcmp(claimed.data, s.digest, claimed.size) != 0)
                return -EBADMSG;
        *ret = TAKE_STRUCT(s);
        return 0;
}

static X509 *certificate(const struct esl_entry *entry) {
        const uint8_t *der = entry->data;

        return entry->type == ESL_X509 ? d2i_X509(NULL, &der, (long) entry->data_size) : NULL;
}

/* PKCS7_verify() makes a copy of a plain memory BIO and, in OpenSSL 3.0, leaks it when the signature names an unknown
 * digest; it takes any other BIO as it is. */
static BIO *content_of(const struct signature *s) {
        BIO *memory = BIO_new_mem_buf(s->content, (int) s->content_size), *buffer = BIO_new(BIO_f_buffer());

        if (memory && buffer)
                return BIO_push(buffer, memory);
        BIO_free(memory);
        BIO_free(buffer);
        return NULL;
}

static bool chains_to(const struct signature *s, X509 *anchor) {
        _cleanup_(x509_store_freep) X509_STORE *store = X509_STORE_new();
        _cleanup_(bio_freep) BIO *content = content_of(s);

        return store && content && X509_STORE_add_cert(store, anchor) == 1 &&
               X509_STORE_set_flags(store, X509_V_FLAG_PARTIAL_CHAIN | X509_V_FLAG_NO_CHECK_TIME) == 1 &&
               X509_STORE_set_purpose(store, X509_PURPOSE_ANY) == 1 &&
               PKCS7_verify(s->pkcs7, NULL, store, content, NULL, PKCS7_BINARY) == 1;
}

/* Whether an entry of dbx holds the hash of this certificate's to-be-signed part. The entry's revocation time is
 * ignored: firmware still accepts a signature with a trusted time stamp from before that time, but a policy should not
 * rely on it. */
static bool certificate_hash_listed(X509 *x, const struct esl *dbx) {
        uint8_t *tbs = NULL, digest[EVP_MAX_MD_SIZE];
        int size = i2d_re_X509_tbs(x, &tbs);
        bool listed = false;

        for (size_t h = 0; h < ELEMENTS(hashes) && size > 0; h++) {
                size_t n = esl_hash_size(hashes[h].type);

                if (EVP_Digest(tbs, (size_t) size, digest, NULL, EVP_get_digestbynid(hashes[h].nid), NULL) != 1)
                        continue;
                for (size_t i = 0; i < dbx->n; i++)
                        if (dbx->entries[i].type == hashes[h].certificate_type &&
                            memcmp(dbx->entries[i].data, digest, n) == 0)
                                listed = true;
        }
        OPENSSL_free(tbs);
        return listed;
}

static const struct esl_entry *find_hash(const struct esl *esl, enum esl_type type, const uint8_t *digest) {
        for (size_t i = 0; i < esl->n; i++)
                if (esl->entries[i].type == type && memcmp(esl->entries[i].data, digest, esl_hash_size(type)) == 0)
                        return &esl->entries[i];
        return NULL;
}

static bool signature_forbidden(const struct signature *s, const struct esl *dbx) {
        const STACK_OF(X509) *certificates = s->pkcs7->d.sign->cert;

        for (size_t i = 0; i < dbx->n; i++) {
                _cleanup_(x509_freep) X509 *x = certificate(&dbx->entries[i]);

                if (x && chains_to(s, x))
                        return true;
        }
        for (int i = 0; i < sk_X509_num(certificates); i++)
                if (certificate_hash_listed(sk_X509_value(certificates, i), dbx))
                        return true;
        return false;
}

static const struct esl_entry *signature_authority(const struct signature *s, const struct esl *db,
                                                   const struct esl *dbx) {
        for (size_t i = 0; i < db->n; i++) {
                _cleanup_(x509_freep) X509 *x = certificate(&db->entries[i]);

                if (x && !certificate_hash_listed(x, dbx) && chains_to(s, x))
                        return &db->entries[i];
        }
        return find_hash(db, s->hash_type, s->digest);
}

static int unsigned_authority(const struct pe *pe, const struct esl *db, const struct esl *dbx,
                              const struct esl_entry **ret, bool *ret_forbidden, struct error *e) {
        uint8_t digest[EVP_MAX_MD_SIZE];

        for (size_t i = 0; i < ELEMENTS(hashes); i++) {
                int k = pe_digest(pe, EVP_get_digestbynid(hashes[i].nid), digest, e);

                if (k < 0)
                        return k;
                if (find_hash(dbx, hashes[i].type, digest))
                        *ret_forbidden = true;
                if (!*ret)
                        *ret = find_hash(db, hashes[i].type, digest);
        }
        return 0;
}

static int signed_authority(const struct pe *pe, const struct esl *db, const struct esl *dbx,
                            const struct esl_entry **ret, bool *ret_forbidden, struct error *e) {
        struct digests digests = { .pe = pe };
        size_t offset = 0, size, n = 0;
        const uint8_t *der;
        int k;

        while ((k = pe_next_signature(pe, &offset, &der, &size, e)) > 0) {
                _cleanup_(signature_done) struct signature s = {};

                if (++n > SIGNATURES_MAX) {
                        fail(e, FAILURE_UKI, -E2BIG, pe->subject, "it has more than %d signatures", SIGNATURES_MAX);
                        fail_advice(e,
                                    "Sign it anew, without those it does not need (sbattach --remove takes them off).");
                        return -E2BIG;
                }
                k = signature_open(&digests, der, size, &s, e);
                if (k == -EBADMSG)
                        continue;
                if (k < 0)
                        return k;
                if (find_hash(dbx, s.hash_type, s.digest) || signature_forbidden(&s, dbx))
                        *ret_forbidden = true;
                if (!*ret)
                        *ret = signature_authority(&s, db, dbx);
        }
        return k;
}

int secureboot_authority(const struct pe *pe, const struct esl *db, const struct esl *dbx, const struct esl_entry **ret,
                         struct error *e) {
        const struct esl_entry *authority = NULL;
        bool forbidden = false;
        int k;

        k = pe->certificates_size ? signed_authority(pe, db, dbx, &authority, &forbidden, e)
                                  : unsigned_authority(pe, db, dbx, &authority, &forbidden, e);
        if (k < 0)
                return k;
        if (forbidden) {
                fail(e, FAILURE_UKI, -EKEYREJECTED, pe->subject,
                     "dbx forbids it: with Secure Boot on it will not start");
                fail_advice(e, "Sign the image with a key that is not revoked, or give the dbx the instances really "
                               "have.");
                return -EKEYREJECTED;
        }
        if (!authority) {
                fail(e, FAILURE_UKI, -EKEYREJECTED, pe->subject, "%s: with Secure Boot on it will not start",
                     pe->certificates_size
                             ? "none of its signatures chains to an entry of db, nor does db hold its hash"
                             : "it is not signed, and db does not hold its hash");
                fail_advice(e, "Sign the image with a key whose certificate is in db (sbsign), or give the db it was "
                               "signed for.");
                return -EKEYREJECTED;
        }
        *ret = authority;
        return 0;
}
