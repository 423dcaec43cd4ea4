/* SPDX-License-Identifier: Apache-2.0 */
#include "gate/tls-key.h"

#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>

#include "basic/file.h"
#include "basic/secret.h"
#include "verify/tls.h"

enum { PEM_MAX = 16 * 1024, MODE = 0640, YEARS = 10, SECONDS_OF_YEAR = 365 * 24 * 3600, SECONDS_OF_DAY = 24 * 3600 };

static inline void x509_freep(X509 **x) {
        X509_free(*x);
}

static inline void pkey_freep(EVP_PKEY **k) {
        EVP_PKEY_free(*k);
}

static inline void bio_freep(BIO **b) {
        BIO_free(*b);
}

static int user_data_of(const X509 *certificate, uint8_t ret[static SEALBOOT_TLS_USER_DATA_SIZE], struct error *e) {
        uint8_t key[SEALBOOT_TLS_KEY_MAX];
        int n;

        n = tls_certificate_key(certificate, key);
        if (n < 0)
                return fail(e, FAILURE_INTERNAL, n, "certificate", "its public key cannot be written");
        tls_user_data(key, (size_t) n, ret);
        return 0;
}

static bool add_extension(X509 *x, int nid, const char *value) {
        X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, NULL, nid, value);
        bool ok = extension && X509_add_ext(x, extension, -1) == 1;

        X509_EXTENSION_free(extension);
        return ok;
}

/* The clock may be set while the image runs, so the certificate is valid from a day before. */
static bool fill(X509 *x, EVP_PKEY *key) {
        X509_NAME *name = X509_get_subject_name(x);
        uint8_t serial[8];
        uint64_t number;

        if (RAND_bytes(serial, sizeof serial) != 1)
                return false;
        memcpy(&number, serial, sizeof number);
        return X509_set_version(x, 2) == 1 && ASN1_INTEGER_set_uint64(X509_get_serialNumber(x), number >> 1) == 1 &&
               X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const uint8_t *) "sealboot", -1, -1, 0) == 1 &&
               X509_set_issuer_name(x, name) == 1 && X509_gmtime_adj(X509_getm_notBefore(x), -SECONDS_OF_DAY) &&
               X509_gmtime_adj(X509_getm_notAfter(x), (long) YEARS * SECONDS_OF_YEAR) && X509_set_pubkey(x, key) == 1 &&
               add_extension(x, NID_basic_constraints, "critical,CA:FALSE") &&
               add_extension(x, NID_key_usage, "critical,digitalSignature") &&
               add_extension(x, NID_ext_key_usage, "serverAuth") &&
               add_extension(x, NID_subject_alt_name, "DNS:sealboot") && X509_sign(x, key, EVP_sha256()) > 0;
}

static int write_bio(BIO *b, const char *directory, const char *name, struct error *e) {
        char *data = NULL;
        long n = BIO_get_mem_data(b, &data);
        char path[1024];

        if (snprintf(path, sizeof path, "%s/%s", directory, name) >= (int) sizeof path)
                return fail(e, FAILURE_IO, -ENAMETOOLONG, directory, "the name is too long");
        return file_write(path, data, (size_t) n, MODE, e);
}

/* The certificate is written last: where it is, the key is. */
static int write_both(EVP_PKEY *key, X509 *x, const char *directory, struct error *e) {
        _cleanup_(bio_freep) BIO *secret = NULL, *public = BIO_new(BIO_s_mem());
        bool ok;
        int r;

        /* The text of the key is as secret as the key: what OpenSSL needs for it is in the locked heap. */
        secret_memory_begin();
        secret = BIO_new(BIO_s_secmem());
        ok = secret && PEM_write_bio_PrivateKey(secret, key, NULL, NULL, 0, NULL, NULL) == 1;
        secret_memory_end();
        if (!ok || !public || PEM_write_bio_X509(public, x) != 1)
                return fail(e, FAILURE_INTERNAL, -ENOMEM, "TLS key", SECRET_MEMORY_FULL);
        r = write_bio(secret, directory, "key.pem", e);
        return r < 0 ? r : write_bio(public, directory, "certificate.pem", e);
}

static int make(const char *directory, uint8_t ret_user_data[static SEALBOOT_TLS_USER_DATA_SIZE], struct error *e) {
        _cleanup_(x509_freep) X509 *x = X509_new();
        _cleanup_(pkey_freep) EVP_PKEY *key = NULL;
        bool ok;
        int r;

        secret_memory_begin();
        key = EVP_EC_gen("P-256");
        ok = x && key && fill(x, key);
        secret_memory_end();
        if (!ok)
                return fail(e, FAILURE_INTERNAL, -ENOMEM, "TLS key", SECRET_MEMORY_FULL);
        r = user_data_of(x, ret_user_data, e);
        return r < 0 ? r : write_both(key, x, directory, e);
}

/* The certificate of an earlier run of this boot: 1, or 0 where there is none. */
static int find(const char *directory, uint8_t ret_user_data[static SEALBOOT_TLS_USER_DATA_SIZE], struct error *e) {
        _cleanup_(bio_freep) BIO *bio = NULL;
        _cleanup_(x509_freep) X509 *x = NULL;
        _cleanup_free_ uint8_t *text = NULL;
        char path[1024];
        size_t n;
        int r;

        snprintf(path, sizeof path, "%s/certificate.pem", directory);
        if (access(path, F_OK) < 0 && errno == ENOENT)
                return 0;
        r = file_read(path, PEM_MAX, FAILURE_IO, &text, &n, e);
        if (r < 0)
                return r;
        bio = BIO_new_mem_buf(text, (int) n);
        x = bio ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;
        if (!x)
                return fail(e, FAILURE_IO, -EBADMSG, path, "holds no certificate");
        r = user_data_of(x, ret_user_data, e);
        return r < 0 ? r : 1;
}

int tls_key_make(const char *directory, uint8_t ret_user_data[static SEALBOOT_TLS_USER_DATA_SIZE], struct error *e) {
        int r;

        r = find(directory, ret_user_data, e);
        if (r == 0)
                r = make(directory, ret_user_data, e);
        return r < 0 ? r : 0;
}
