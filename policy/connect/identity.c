/* SPDX-License-Identifier: Apache-2.0 */
#include "connect/identity.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <pthread.h>

#include "basic/clock.h"
#include "evidence/cbor.h"
#include "evidence/nitrotpm.h"
#include "verify/document.h"
#include "verify/tls.h"

#define WRAPPER_OID "2.23.133.5.4.9"
#define WRAPPER_TYPE "application/cose; cose-type=\"cose-sign1\""

enum { BUSY_WAIT_MS = 10000, LIFETIME_SECONDS = 24 * 3600, CLOCK_DIFFERENCE_SECONDS = 300 };

struct identity {
        pthread_mutex_t lock;
        X509 *certificate; /* NULL: nothing is shown */
        STACK_OF(X509) * chain;
        EVP_PKEY *key;
        bool evidence;
        char *tcti;
        int64_t made_ns;
};

static int new_identity(struct identity **ret, struct error *e) {
        struct identity *i = calloc(1, sizeof *i);

        if (!i)
                return fail_oom(e);
        pthread_mutex_init(&i->lock, NULL);
        i->made_ns = INT64_MAX;
        *ret = i;
        return 0;
}

void identity_free(struct identity *i) {
        if (!i)
                return;
        X509_free(i->certificate);
        sk_X509_pop_free(i->chain, X509_free);
        EVP_PKEY_free(i->key);
        free(i->tcti);
        pthread_mutex_destroy(&i->lock);
        free(i);
}

/* The first certificate is the one shown; others are its chain. */
static int read_certificates(struct identity *i, const char *path, struct error *e) {
        BIO *bio = BIO_new_file(path, "r");
        X509 *x;

        if (!bio)
                return fail(e, FAILURE_IO, -EIO, path, "cannot be opened: %s", strerror(errno));
        i->chain = sk_X509_new_null();
        while (i->chain && (x = PEM_read_bio_X509(bio, NULL, NULL, NULL)))
                if (!i->certificate)
                        i->certificate = x;
                else if (sk_X509_push(i->chain, x) == 0)
                        X509_free(x);
        BIO_free(bio);
        ERR_clear_error();
        return i->certificate ? 0 : fail(e, FAILURE_IO, -EBADMSG, path, "holds no certificate in PEM");
}

/* Asks nobody for a password: a service has no terminal. */
static int no_password(char *buffer, int size, int writing, void *userdata) {
        (void) buffer;
        (void) size;
        (void) writing;
        (void) userdata;
        return -1;
}

static int read_key(struct identity *i, const char *path, struct error *e) {
        BIO *bio = BIO_new_file(path, "r");

        if (!bio)
                return fail(e, FAILURE_IO, -EIO, path, "cannot be opened: %s", strerror(errno));
        i->key = PEM_read_bio_PrivateKey(bio, NULL, no_password, NULL);
        BIO_free(bio);
        ERR_clear_error();
        return i->key ? 0 : fail(e, FAILURE_IO, -EBADMSG, path, "holds no private key in PEM without a password");
}

int identity_of_files(const char *certificate, const char *key, struct identity **ret, struct error *e) {
        _cleanup_(identity_freep) struct identity *i = NULL;
        int r;

        r = new_identity(&i, e);
        if (r == 0 && certificate)
                r = read_certificates(i, certificate, e);
        if (r == 0 && key)
                r = read_key(i, key, e);
        if (r < 0)
                return r;
        if (i->certificate && X509_check_private_key(i->certificate, i->key) != 1) {
                ERR_clear_error();
                return fail(e, FAILURE_IO, -EINVAL, key, "is not the key of the certificate in %s", certificate);
        }
        *ret = TAKE(i);
        return 0;
}

/* DER of an OCTET STRING that holds the wrapper, as an extension of `certificate`. */
static int add_document(X509 *certificate, const uint8_t *document, size_t size) {
        uint8_t wrapper[DOCUMENT_MAX + 128] = { 0x82 }; /* an array of two */
        struct cbor_writer w = { .data = wrapper + 1, .room = sizeof wrapper - 1 };
        ASN1_OCTET_STRING *inner = ASN1_OCTET_STRING_new(), *outer = ASN1_OCTET_STRING_new();
        ASN1_OBJECT *oid = OBJ_txt2obj(WRAPPER_OID, 1);
        X509_EXTENSION *extension = NULL;
        uint8_t *der = NULL;
        int n = -1, r = -EIO;

        if (cbor_put_text(&w, WRAPPER_TYPE) == 0 && cbor_put_bytes(&w, document, size) == 0 && inner && outer && oid &&
            ASN1_OCTET_STRING_set(inner, wrapper, (int) w.size + 1) == 1)
                n = i2d_ASN1_OCTET_STRING(inner, &der);
        if (n > 0 && ASN1_OCTET_STRING_set(outer, der, n) == 1)
                extension = X509_EXTENSION_create_by_OBJ(NULL, oid, 0, outer);
        if (extension && X509_add_ext(certificate, extension, -1) == 1)
                r = 0;
        X509_EXTENSION_free(extension);
        OPENSSL_free(der);
        ASN1_OBJECT_free(oid);
        ASN1_OCTET_STRING_free(inner);
        ASN1_OCTET_STRING_free(outer);
        return r;
}

static int add_usage(X509 *certificate, int nid, const char *value) {
        X509V3_CTX ctx;
        X509_EXTENSION *extension;
        int r;

        X509V3_set_ctx_nodb(&ctx);
        X509V3_set_ctx(&ctx, certificate, certificate, NULL, NULL, 0);
        extension = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
        r = extension && X509_add_ext(certificate, extension, -1) == 1 ? 0 : -EIO;
        X509_EXTENSION_free(extension);
        return r;
}

static int fill_certificate(X509 *x, EVP_PKEY *key, const uint8_t *document, size_t size) {
        X509_NAME *name = X509_get_subject_name(x);
        uint64_t serial;

        if (RAND_bytes((unsigned char *) &serial, sizeof serial) != 1 || X509_set_version(x, X509_VERSION_3) != 1 ||
            ASN1_INTEGER_set_uint64(X509_get_serialNumber(x), serial >> 1 | 1) != 1 ||
            !X509_gmtime_adj(X509_getm_notBefore(x), -CLOCK_DIFFERENCE_SECONDS) ||
            !X509_gmtime_adj(X509_getm_notAfter(x), LIFETIME_SECONDS) || X509_set_pubkey(x, key) != 1 ||
            X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const uint8_t *) "sealboot connect", -1, -1, 0) !=
                    1 ||
            X509_set_issuer_name(x, name) != 1)
                return -EIO;
        if (add_usage(x, NID_key_usage, "critical,digitalSignature") < 0 ||
            add_usage(x, NID_ext_key_usage, "clientAuth") < 0 || add_document(x, document, size) < 0)
                return -EIO;
        return X509_sign(x, key, EVP_sha256()) > 0 ? 0 : -EIO;
}

static int attest_key(const char *tcti, EVP_PKEY *key, uint8_t **ret, size_t *ret_size, struct error *e) {
        _cleanup_tpm_ struct tpm *t = NULL;
        uint8_t user_data[SEALBOOT_TLS_USER_DATA_SIZE], *spki = NULL;
        struct attestation_request q = { .user_data = user_data, .user_data_size = sizeof user_data };
        int n, r;

        n = i2d_PUBKEY(key, &spki);
        if (n <= 0)
                return fail_oom(e);
        tls_user_data(spki, (size_t) n, user_data);
        OPENSSL_free(spki);
        r = tpm_open(tcti, BUSY_WAIT_MS, &t, e);
        return r < 0 ? r : nitrotpm_attest(t, &q, ret, ret_size, e);
}

int identity_renew(struct identity *i, struct error *e) {
        _cleanup_free_ uint8_t *document = NULL;
        EVP_PKEY *key;
        X509 *x;
        size_t size;
        int r;

        if (!i->evidence)
                return 0;
        key = EVP_EC_gen("P-256");
        x = X509_new();
        r = key && x ? attest_key(i->tcti, key, &document, &size, e) : fail_oom(e);
        if (r == 0 && fill_certificate(x, key, document, size) < 0)
                r = fail(e, FAILURE_INTERNAL, -EIO, "own evidence", "OpenSSL made no certificate");
        ERR_clear_error();
        if (r == 0) {
                pthread_mutex_lock(&i->lock);
                EVP_PKEY_free(i->key);
                X509_free(i->certificate);
                i->key = TAKE(key);
                i->certificate = TAKE(x);
                i->made_ns = clock_ns();
                pthread_mutex_unlock(&i->lock);
        }
        EVP_PKEY_free(key);
        X509_free(x);
        return r;
}

int identity_of_instance(const char *tcti, struct identity **ret, struct error *e) {
        _cleanup_(identity_freep) struct identity *i = NULL;
        int r;

        r = new_identity(&i, e);
        if (r < 0)
                return r;
        i->evidence = true;
        if (tcti && !(i->tcti = strdup(tcti)))
                return fail_oom(e);
        r = identity_renew(i, e);
        if (r == 0)
                *ret = TAKE(i);
        return r;
}

int64_t identity_made_ns(struct identity *i) {
        int64_t made;

        pthread_mutex_lock(&i->lock);
        made = i->made_ns;
        pthread_mutex_unlock(&i->lock);
        return made;
}

int identity_use(struct identity *i, SSL_CTX *ctx) {
        int r = 0;

        pthread_mutex_lock(&i->lock);
        if (i->certificate &&
            (SSL_CTX_use_certificate(ctx, i->certificate) != 1 || SSL_CTX_use_PrivateKey(ctx, i->key) != 1 ||
             (i->chain && SSL_CTX_set1_chain(ctx, i->chain) != 1)))
                r = -EIO;
        pthread_mutex_unlock(&i->lock);
        return r;
}
