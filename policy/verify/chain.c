/* SPDX-License-Identifier: Apache-2.0 */
#include "verify/chain.h"

#include <openssl/pem.h>
#include <openssl/sha.h>
#include <openssl/x509v3.h>
#include <time.h>

#include "basic/encode.h"

const uint8_t aws_nitro_root[ROOT_FINGERPRINT_SIZE] = {
        0x64, 0x1a, 0x03, 0x21, 0xa3, 0xe2, 0x44, 0xef, 0xe4, 0x56, 0x46, 0x31, 0x95, 0xd6, 0x06, 0x31,
        0x7e, 0xd7, 0xcd, 0xcc, 0x3c, 0x17, 0x56, 0xe0, 0x98, 0x93, 0xf3, 0xc6, 0x8f, 0x79, 0xbb, 0x5b,
};

DEFINE_CLEANUP(BIO *, BIO_free, BIO_freep)
DEFINE_CLEANUP(X509 *, X509_free, X509_freep)
DEFINE_CLEANUP(X509_STORE *, X509_STORE_free, X509_STORE_freep)
DEFINE_CLEANUP(X509_STORE_CTX *, X509_STORE_CTX_free, X509_STORE_CTX_freep)

static inline void x509_stack_freep(STACK_OF(X509) * *s) {
        sk_X509_free(*s);
}

void chain_done(struct chain *c) {
        for (size_t i = 0; i < c->n; i++)
                X509_free(c->certificate[i]);
        c->n = 0;
}

EVP_PKEY *chain_key(const struct chain *c) {
        return X509_get0_pubkey(c->certificate[0]);
}

/* "certificate 2 of 5 (CN)": enough to find it in openssl's output. */
static const char *name_of(const struct chain *c, size_t i, char buffer[static 192]) {
        char cn[128] = "no common name";

        X509_NAME_get_text_by_NID(X509_get_subject_name(c->certificate[i]), NID_commonName, cn, sizeof cn);
        snprintf(buffer, 192, "certificate %zu of %zu (%s)", i + 1, c->n, cn);
        return buffer;
}

static int refuse(const struct chain *c, size_t i, const char *source, const char *reason, struct error *e) {
        char name[192];

        return fail(e, FAILURE_DOCUMENT, -EBADMSG, source, "%s %s", name_of(c, i, name), reason);
}

static int load(struct chain *c, struct bytes der, const char *source, struct error *e) {
        const uint8_t *at = der.data;
        X509 *x;

        x = d2i_X509(NULL, &at, (long) der.size);
        if (!x || at != der.data + der.size) {
                X509_free(x);
                return fail(e, FAILURE_DOCUMENT, -EBADMSG, source,
                            "certificate %zu, counted from the leaf, is not one DER certificate", c->n + 1);
        }
        c->certificate[c->n++] = x;
        return 0;
}

static int load_all(struct chain *c, const struct document *d, const char *source, struct error *e) {
        int r;

        r = load(c, d->certificate, source, e);
        if (r < 0)
                return r;
        for (size_t i = d->n_cabundle; i-- > 0;) {
                r = load(c, d->cabundle[i], source, e);
                if (r < 0)
                        return r;
        }
        return 0;
}

static int check_root(const struct document *d, const char *source, const uint8_t root[static ROOT_FINGERPRINT_SIZE],
                      struct error *e) {
        char presented[2 * ROOT_FINGERPRINT_SIZE + 1], pinned[2 * ROOT_FINGERPRINT_SIZE + 1];
        uint8_t digest[SHA256_SIZE];

        SHA256(d->cabundle[0].data, d->cabundle[0].size, digest);
        if (memcmp(digest, root, sizeof digest) == 0)
                return 0;
        hex_encode(digest, sizeof digest, presented);
        hex_encode(root, ROOT_FINGERPRINT_SIZE, pinned);
        return fail(e, FAILURE_DOCUMENT, -EBADMSG, source,
                    "the root in the document (SHA-256 %s) is not the pinned root (%s)", presented, pinned);
}

static bool is_p384(EVP_PKEY *key) {
        char group[64];
        size_t n;

        return key && EVP_PKEY_is_a(key, "EC") && EVP_PKEY_get_group_name(key, group, sizeof group, &n) == 1 &&
               streq(group, SN_secp384r1);
}

/* OpenSSL sets every key usage bit when the extension is absent. Here an absent extension allows nothing. */
static bool may(X509 *x, uint32_t usage) {
        return X509_get_extension_flags(x) & EXFLAG_KUSAGE && X509_get_key_usage(x) & usage;
}

static int check_certificate(const struct chain *c, size_t i, const char *source, struct error *e) {
        X509 *x = c->certificate[i];
        uint32_t flags = X509_get_extension_flags(x);

        if (flags & EXFLAG_INVALID)
                return refuse(c, i, source, "has an extension that is malformed", e);
        if (X509_get_version(x) != X509_VERSION_3)
                return refuse(c, i, source, "is not of X.509 version 3", e);
        if (X509_get_signature_nid(x) != NID_ecdsa_with_SHA384)
                return refuse(c, i, source, "is not signed with ecdsa-with-SHA384", e);
        if (!is_p384(X509_get0_pubkey(x)))
                return refuse(c, i, source, "has a key that is not on the curve P-384", e);
        if (!(flags & EXFLAG_BCONS))
                return refuse(c, i, source, "does not say whether it is a CA (no basicConstraints)", e);
        if (i == 0 && flags & EXFLAG_CA)
                return refuse(c, i, source, "signed the document, but is a CA", e);
        if (i == 0 && !may(x, KU_DIGITAL_SIGNATURE))
                return refuse(c, i, source, "signed the document, but its key usage does not allow that", e);
        if (i > 0 && !(flags & EXFLAG_CA))
                return refuse(c, i, source, "issued another one, but is not a CA (CA bit missing)", e);
        if (i > 0 && !may(x, KU_KEY_CERT_SIGN))
                return refuse(c, i, source, "issued another one, but its key usage does not allow that", e);
        if (i > 0 && X509_get_pathlen(x) >= 0 && (size_t) X509_get_pathlen(x) < i - 1)
                return refuse(c, i, source, "has more CAs below it than its path length allows", e);
        return 0;
}

static int check_link(const struct chain *c, size_t i, const char *source, struct error *e) {
        X509 *x = c->certificate[i], *issuer = c->certificate[i + 1];

        if (X509_NAME_cmp(X509_get_issuer_name(x), X509_get_subject_name(issuer)) != 0)
                return refuse(c, i, source, "was not issued by the next one: the chain is out of order, or has a gap",
                              e);
        if (X509_verify(x, X509_get0_pubkey(issuer)) != 1)
                return refuse(c, i, source, "has a signature that its issuer's key does not verify", e);
        return 0;
}

/* OpenSSL's own checks find what those above do not look for: unknown critical extensions, name constraints, proxies.
 */
static int check_rfc5280(const struct chain *c, const char *source, struct error *e) {
        _cleanup_(X509_STORE_freep) X509_STORE *store = X509_STORE_new();
        _cleanup_(X509_STORE_CTX_freep) X509_STORE_CTX *ctx = X509_STORE_CTX_new();
        _cleanup_(x509_stack_freep) STACK_OF(X509) *between = sk_X509_new_null();

        if (!store || !ctx || !between || X509_STORE_add_cert(store, c->certificate[c->n - 1]) != 1)
                return fail_oom(e);
        for (size_t i = 1; i + 1 < c->n; i++)
                if (sk_X509_push(between, c->certificate[i]) <= 0)
                        return fail_oom(e);
        if (X509_STORE_set_flags(store, X509_V_FLAG_NO_CHECK_TIME | X509_V_FLAG_PARTIAL_CHAIN) != 1 ||
            X509_STORE_CTX_init(ctx, store, c->certificate[0], between) != 1)
                return fail_oom(e);
        if (X509_verify_cert(ctx) != 1)
                return fail(e, FAILURE_DOCUMENT, -EBADMSG, source, "the certificate chain does not verify: %s",
                            X509_verify_cert_error_string(X509_STORE_CTX_get_error(ctx)));
        return 0;
}

/* Each certificate by itself, then each with its issuer. */
static int check_certificates(const struct chain *c, const char *source, struct error *e) {
        int r;

        for (size_t i = 0; i < c->n; i++) {
                r = check_certificate(c, i, source, e);
                if (r < 0)
                        return r;
        }
        for (size_t i = 0; i + 1 < c->n; i++) {
                r = check_link(c, i, source, e);
                if (r < 0)
                        return r;
        }
        return 0;
}

int chain_build(const struct document *d, const char *source, const uint8_t root[static ROOT_FINGERPRINT_SIZE],
                struct chain *ret, struct error *e) {
        _cleanup_chain_ struct chain c = {};
        int r;

        r = check_root(d, source, root, e);
        if (r < 0)
                return r;
        r = load_all(&c, d, source, e);
        if (r < 0)
                return r;
        r = check_certificates(&c, source, e);
        if (r < 0)
                return r;
        r = check_rfc5280(&c, source, e);
        if (r < 0)
                return r;
        *ret = c;
        c.n = 0;
        return 0;
}

static const char *time_text(const ASN1_TIME *t, char buffer[static 32]) {
        struct tm tm;

        if (ASN1_TIME_to_tm(t, &tm) != 1 || strftime(buffer, 32, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
                snprintf(buffer, 32, "no valid time");
        return buffer;
}

int chain_valid_at(const struct chain *c, const char *source, int64_t at, struct error *e) {
        char name[192], limit[32], now[32];
        time_t t = (time_t) at;
        struct tm tm;

        if (!gmtime_r(&t, &tm) || strftime(now, sizeof now, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
                return fail(e, FAILURE_USAGE, -EINVAL, source, "%lld is not a time", (long long) at);
        for (size_t i = 0; i < c->n; i++) {
                const ASN1_TIME *from = X509_get0_notBefore(c->certificate[i]),
                                *to = X509_get0_notAfter(c->certificate[i]);
                int after_from = ASN1_TIME_cmp_time_t(from, t), before_to = ASN1_TIME_cmp_time_t(to, t);

                if (after_from == -2 || before_to == -2)
                        return refuse(c, i, source, "has a malformed validity", e);
                if (after_from > 0) {
                        fail(e, FAILURE_DOCUMENT, -EKEYEXPIRED, source,
                             "%s is not yet valid: it starts at %s and the clock says %s", name_of(c, i, name),
                             time_text(from, limit), now);
                        fail_advice(e, "Set the clock of this machine: these certificates are not backdated. For an "
                                       "old document use its own time (--at document).");
                        return -EKEYEXPIRED;
                }
                if (before_to < 0) {
                        fail(e, FAILURE_DOCUMENT, -EKEYEXPIRED, source, "%s has expired: it ended at %s and it is %s",
                             name_of(c, i, name), time_text(to, limit), now);
                        fail_advice(e, "Ask for a fresh document; to look at an old one as of when it was signed, use "
                                       "its own time (--at document).");
                        return -EKEYEXPIRED;
                }
        }
        return 0;
}

int document_authenticate(const struct document *d, const char *source,
                          const uint8_t root[static ROOT_FINGERPRINT_SIZE], int64_t at, struct error *e) {
        _cleanup_chain_ struct chain c = {};
        int r;

        r = chain_build(d, source, root, &c, e);
        if (r < 0)
                return r;
        r = chain_valid_at(&c, source, at, e);
        return r < 0 ? r : document_signature(d, source, chain_key(&c), e);
}

int root_from_pem(const char *pem, size_t size, const char *source, uint8_t ret[static ROOT_FINGERPRINT_SIZE],
                  struct error *e) {
        _cleanup_(BIO_freep) BIO *bio = size <= INT32_MAX ? BIO_new_mem_buf(pem, (int) size) : NULL;
        _cleanup_(X509_freep) X509 *x = NULL, *second = NULL;
        unsigned n;

        if (!bio)
                return fail_oom(e);
        x = PEM_read_bio_X509(bio, NULL, NULL, NULL);
        if (!x)
                return fail(e, FAILURE_USAGE, -EINVAL, source, "it holds no certificate in PEM");
        second = PEM_read_bio_X509(bio, NULL, NULL, NULL);
        if (second)
                return fail(e, FAILURE_USAGE, -EINVAL, source,
                            "it holds more than one certificate; give the root alone");
        if (X509_digest(x, EVP_sha256(), ret, &n) != 1 || n != ROOT_FINGERPRINT_SIZE)
                return fail_oom(e);
        return 0;
}
