/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include <openssl/cms.h>
#include <openssl/core_names.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>

#include "basic/file.h"
#include "recipient/ber.h"
#include "recipient/recipient.h"
#include "recipient/rsa-key.h"

#define HEX_SHA256 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00
#define HEX_SHA1 0x30, 0x09, 0x06, 0x05, 0x2b, 0x0e, 0x03, 0x02, 0x1a, 0x05, 0x00
#define HEX_MGF1 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x08
#define HEX_OAEP 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x07
#define HEX_DATA 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x01
#define HEX_AES256_CBC 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x01, 0x2a

static const uint8_t secret_key[32] = "0123456789abcdef0123456789ABCDE";

struct buffer {
        uint8_t data[2048];
        size_t size;
};

static void put(struct buffer *b, const void *data, size_t n) {
        assert_true(n <= sizeof b->data - b->size);
        if (n > 0)
                memcpy(b->data + b->size, data, n);
        b->size += n;
}

static void put_header(struct buffer *b, uint8_t identifier, size_t n) {
        if (n < 0x80)
                put(b, (uint8_t[]) { identifier, (uint8_t) n }, 2);
        else
                put(b, (uint8_t[]) { identifier, 0x82, (uint8_t) (n >> 8), (uint8_t) n }, 4);
}

static void put_element(struct buffer *b, uint8_t identifier, const void *data, size_t n) {
        put_header(b, identifier, n);
        put(b, data, n);
}

/* Wraps what is in b already. */
static void wrap(struct buffer *b, uint8_t identifier, bool indefinite) {
        struct buffer inside = *b;

        b->size = 0;
        if (!indefinite) {
                put_element(b, identifier, inside.data, inside.size);
                return;
        }
        put(b, (uint8_t[]) { identifier, 0x80 }, 2);
        put(b, inside.data, inside.size);
        put(b, (uint8_t[]) { 0, 0 }, 2);
}

struct bytes {
        uint8_t data[96];
        size_t size;
};

#define BYTES(...) \
        { { __VA_ARGS__ }, sizeof((uint8_t[]) { __VA_ARGS__ }) }

/* A message part by part, so that a table can change one. Empty means: as KMS has it. */
struct shape {
        const char *words; /* NULL: it opens */
        bool definite;     /* lengths; KMS's are indefinite */
        size_t octets;     /* the content is [0] constructed of OCTET STRINGs of so many bytes; 0: [0] primitive */
        struct bytes version, recipient_version, recipient_id, key_algorithm, content_type, content_algorithm;
        struct bytes after_recipient, after_recipients, after_content, after_enveloped, at_end;
        size_t key_bytes;   /* of the encrypted key that are sent */
        size_t plaintext;   /* bytes encrypted, instead of 32 */
        int padding;        /* RSA's */
        const EVP_MD *oaep; /* what is really used */
        uint8_t flip_modulus, flip_key, flip_last;
        bool empty_octets;
};

static void encrypt_key(struct recipient *r, const struct shape *s, const uint8_t *content_key,
                        uint8_t out[static 256]) {
        uint8_t changed[512];
        const uint8_t *spki;
        size_t size, n = 256;
        EVP_PKEY_CTX *c;
        EVP_PKEY *key;

        recipient_public_key(r, &spki, &size);
        memcpy(changed, spki, size);
        changed[size / 2] ^= s->flip_modulus;
        spki = changed;
        key = d2i_PUBKEY(NULL, &spki, (long) size);
        c = EVP_PKEY_CTX_new(key, NULL);
        assert_true(c && EVP_PKEY_encrypt_init(c) == 1);
        assert_int_equal(EVP_PKEY_CTX_set_rsa_padding(c, s->padding ?: RSA_PKCS1_OAEP_PADDING), 1);
        if (!s->padding) {
                assert_int_equal(EVP_PKEY_CTX_set_rsa_oaep_md(c, s->oaep ?: EVP_sha256()), 1);
                assert_int_equal(EVP_PKEY_CTX_set_rsa_mgf1_md(c, s->oaep ?: EVP_sha256()), 1);
        }
        assert_int_equal(EVP_PKEY_encrypt(c, out, &n, content_key, 32), 1);
        EVP_PKEY_CTX_free(c);
        EVP_PKEY_free(key);
}

static size_t encrypt_content(const struct shape *s, const uint8_t *content_key, const uint8_t *iv,
                              uint8_t out[static 128]) {
        static const uint8_t longer[64] = "0123456789abcdef0123456789ABCDEF0123";
        EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
        int n, more;

        assert_int_equal(EVP_EncryptInit_ex(c, EVP_aes_256_cbc(), NULL, content_key, iv), 1);
        assert_int_equal(EVP_EncryptUpdate(c, out, &n, s->plaintext ? longer : secret_key,
                                           s->plaintext ? (int) s->plaintext : 32),
                         1);
        assert_int_equal(EVP_EncryptFinal_ex(c, out + n, &more), 1);
        EVP_CIPHER_CTX_free(c);
        return (size_t) n + (size_t) more;
}

static void put_or(struct buffer *b, const struct bytes *replaced, const struct bytes *usual) {
        put(b, replaced->size ? replaced->data : usual->data, replaced->size ?: usual->size);
}

static void make_recipient(struct buffer *b, const struct shape *s, const uint8_t *encrypted_key) {
        static const struct bytes version = BYTES(0x02, 0x01, 0x02), id = BYTES(0x80, 0x02, 0xaa, 0xbb),
                                  oaep = BYTES(0x30, 0x3c, HEX_OAEP, 0x30, 0x2f, 0xa0, 0x0f, HEX_SHA256, 0xa1, 0x1c,
                                               0x30, 0x1a, HEX_MGF1, HEX_SHA256);

        put_or(b, &s->recipient_version, &version);
        put_or(b, &s->recipient_id, &id);
        put_or(b, &s->key_algorithm, &oaep);
        put_element(b, BER_OCTET_STRING, encrypted_key, s->key_bytes ?: 256);
        put(b, s->after_recipient.data, s->after_recipient.size);
        wrap(b, BER_SEQUENCE, false);
        put(b, s->after_recipients.data, s->after_recipients.size);
        wrap(b, BER_SET, false);
}

static void put_ciphertext(struct buffer *b, const struct shape *s, const uint8_t *data, size_t n) {
        struct buffer parts = { .size = 0 };

        if (s->octets == 0) {
                put_element(b, BER_CONTEXT, data, n);
                return;
        }
        for (size_t i = 0; i < n; i += s->octets)
                put_element(&parts, BER_OCTET_STRING, data + i, MIN_OF(s->octets, n - i));
        if (s->empty_octets)
                put_element(&parts, BER_OCTET_STRING, NULL, 0);
        wrap(&parts, BER_CONTEXT_CONSTRUCTED, !s->definite);
        put(b, parts.data, parts.size);
}

static void make_content(struct buffer *b, const struct shape *s, const uint8_t *iv, const uint8_t *ciphertext,
                         size_t n) {
        static const struct bytes data = BYTES(HEX_DATA);

        put_or(b, &s->content_type, &data);
        if (s->content_algorithm.size)
                put(b, s->content_algorithm.data, s->content_algorithm.size);
        else {
                put(b, (uint8_t[]) { 0x30, 0x1d, HEX_AES256_CBC, 0x04, 0x10 }, 15);
                put(b, iv, 16);
        }
        put_ciphertext(b, s, ciphertext, n);
        put(b, s->after_content.data, s->after_content.size);
        wrap(b, BER_SEQUENCE, !s->definite);
}

static void make(struct recipient *r, const struct shape *s, struct buffer *ret) {
        static const struct bytes version = BYTES(0x02, 0x01, 0x02);
        static const uint8_t enveloped[] = { 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x03 };
        struct buffer b = { .size = 0 }, recipient = { .size = 0 }, content = { .size = 0 };
        uint8_t content_key[32], iv[16], encrypted_key[256], ciphertext[128];
        size_t n;

        assert_int_equal(RAND_bytes(content_key, sizeof content_key), 1);
        assert_int_equal(RAND_bytes(iv, sizeof iv), 1);
        encrypt_key(r, s, content_key, encrypted_key);
        n = encrypt_content(s, content_key, iv, ciphertext);
        encrypted_key[255] ^= s->flip_key;
        ciphertext[n - 1] ^= s->flip_last;
        make_recipient(&recipient, s, encrypted_key);
        make_content(&content, s, iv, ciphertext, n);
        put_or(&b, &s->version, &version);
        put(&b, recipient.data, recipient.size);
        put(&b, content.data, content.size);
        put(&b, s->after_enveloped.data, s->after_enveloped.size);
        wrap(&b, BER_SEQUENCE, !s->definite);
        wrap(&b, BER_CONTEXT_CONSTRUCTED, !s->definite);
        *ret = (struct buffer) { .size = 0 };
        put(ret, enveloped, sizeof enveloped);
        put(ret, b.data, b.size);
        wrap(ret, BER_SEQUENCE, !s->definite);
        put(ret, s->at_end.data, s->at_end.size);
}

static int set_up(void **state) {
        struct recipient *r;
        struct error e;

        if (secret_init() < 0)
                return -1;
        assert_ok(recipient_new(&r, &e), &e);
        *state = r;
        return 0;
}

static int tear_down(void **state) {
        recipient_free(*state);
        return 0;
}

static const struct shape shapes[] = {
        { .words = NULL },
        { .words = NULL, .octets = 48 },
        { .words = NULL, .octets = 16 },
        { .words = NULL, .octets = 1 },
        { .words = NULL, .octets = 48, .empty_octets = true },
        { .words = NULL, .definite = true },
        { .words = NULL, .definite = true, .octets = 48 },
        /* SHA-256 without NULL; the default label written out */
        { .words = NULL,
          .key_algorithm = BYTES(0x30, 0x38, HEX_OAEP, 0x30, 0x2b, 0xa0, 0x0d, 0x30, 0x0b, 0x06, 0x09, 0x60, 0x86, 0x48,
                                 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0xa1, 0x1a, 0x30, 0x18, HEX_MGF1, 0x30, 0x0b, 0x06,
                                 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01) },
        { .words = NULL,
          .key_algorithm = BYTES(0x30, 0x4d, HEX_OAEP, 0x30, 0x40, 0xa0, 0x0f, HEX_SHA256, 0xa1, 0x1c, 0x30, 0x1a,
                                 HEX_MGF1, HEX_SHA256, 0xa2, 0x0f, 0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7,
                                 0x0d, 0x01, 0x01, 0x09, 0x04, 0x00) },

        { .words = "EnvelopedData is not of version 2", .version = BYTES(0x02, 0x01, 0x00) },
        { .words = "EnvelopedData is not of version 2", .version = BYTES(0x02, 0x02, 0x00, 0x02) },
        { .words = "KeyTransRecipientInfo is not of version 2", .recipient_version = BYTES(0x02, 0x01, 0x00) },
        { .words = "subject key identifier", .recipient_id = BYTES(0x30, 0x00) }, /* issuer and serial number */
        { .words = "subject key identifier", .recipient_id = BYTES(0x80, 0x00) },
        { .words = "more than one recipient", .after_recipients = BYTES(0x30, 0x00) },
        { .words = "encrypted key is not", .after_recipient = BYTES(0x05, 0x00) },
        { .words = "encrypted key is not", .key_bytes = 255 },
        { .words = "encrypted key is not", .key_bytes = 128 },

        /* PKCS #1 v1.5, declared */
        { .words = "RSAES-OAEP with SHA-256",
          .padding = RSA_PKCS1_PADDING,
          .key_algorithm =
                  BYTES(0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00) },
        /* OAEP's defaults are SHA-1; SHA-1 named; only one of both hashes SHA-256; a label */
        { .words = "RSAES-OAEP with SHA-256", .key_algorithm = BYTES(0x30, 0x0d, HEX_OAEP, 0x30, 0x00) },
        { .words = "RSAES-OAEP with SHA-256",
          .key_algorithm = BYTES(0x30, 0x38, HEX_OAEP, 0x30, 0x2b, 0xa0, 0x0b, HEX_SHA1, 0xa1, 0x1c, 0x30, 0x1a,
                                 HEX_MGF1, HEX_SHA256) },
        { .words = "RSAES-OAEP with SHA-256",
          .key_algorithm = BYTES(0x30, 0x38, HEX_OAEP, 0x30, 0x2b, 0xa0, 0x0f, HEX_SHA256, 0xa1, 0x18, 0x30, 0x16,
                                 HEX_MGF1, HEX_SHA1) },
        { .words = "RSAES-OAEP with SHA-256",
          .key_algorithm = BYTES(0x30, 0x1e, HEX_OAEP, 0x30, 0x11, 0xa0, 0x0f, HEX_SHA256) },
        { .words = "RSAES-OAEP with SHA-256",
          .key_algorithm = BYTES(0x30, 0x4e, HEX_OAEP, 0x30, 0x41, 0xa0, 0x0f, HEX_SHA256, 0xa1, 0x1c, 0x30, 0x1a,
                                 HEX_MGF1, HEX_SHA256, 0xa2, 0x10, 0x30, 0x0e, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7,
                                 0x0d, 0x01, 0x01, 0x09, 0x04, 0x01, 'x') },

        { .words = "content of type data",
          .content_type = BYTES(0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x02) },
        /* AES-128-CBC, AES-256-GCM, an IV of 12 bytes */
        { .words = "AES-256-CBC",
          .content_algorithm = BYTES(0x30, 0x1d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x01, 0x02, 0x04,
                                     0x10, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16) },
        { .words = "AES-256-CBC",
          .content_algorithm = BYTES(0x30, 0x1d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x01, 0x2e, 0x04,
                                     0x10, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16) },
        { .words = "AES-256-CBC",
          .content_algorithm = BYTES(0x30, 0x19, HEX_AES256_CBC, 0x04, 0x0c, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12) },
        { .words = "not that of 32 bytes", .plaintext = 31 },
        { .words = "not that of 32 bytes", .plaintext = 48 },
        { .words = "not that of 32 bytes", .plaintext = 16, .octets = 8 },
        { .words = "follows the encrypted content", .after_content = BYTES(0x05, 0x00) },
        { .words = "follows the encrypted content", .after_enveloped = BYTES(0xa1, 0x00) }, /* unprotectedAttrs */
        { .words = "follows the EnvelopedData", .at_end = BYTES(0x00) },

        /* What only the key can tell is one error: another boot's key, a damaged one, PKCS #1 v1.5 under OAEP's name,
         * damaged padding, and more than 32 bytes of plaintext, whose ciphertext has the right length. */
        { .words = "does not open with", .flip_modulus = 1 },
        { .words = "does not open with", .flip_key = 1 },
        { .words = "does not open with", .padding = RSA_PKCS1_PADDING },
        { .words = "does not open with", .flip_last = 1 },
        { .words = "does not open with", .plaintext = 33 },
        { .words = "does not open with", .plaintext = 47 },
};

static void test_shapes(void **state) {
        for (size_t i = 0; i < ELEMENTS(shapes); i++) {
                _cleanup_secret_ struct secret *key = NULL;
                struct buffer cms;
                struct error e;

                make(*state, &shapes[i], &cms);
                if (shapes[i].words) {
                        assert_refused(recipient_open(*state, cms.data, cms.size, &key, &e), &e, FAILURE_KMS_ANSWER,
                                       shapes[i].words);
                        assert_null(key);
                        continue;
                }
                assert_ok(recipient_open(*state, cms.data, cms.size, &key, &e), &e);
                assert_int_equal(key->size, 32);
                assert_memory_equal(key->data, secret_key, 32);
        }
}

static void test_oaep_with_sha1_does_not_open(void **state) {
        const struct shape s = { .oaep = EVP_sha1() };
        struct secret *key = NULL;
        struct buffer cms;
        struct error e;

        make(*state, &s, &cms);
        assert_refused(recipient_open(*state, cms.data, cms.size, &key, &e), &e, FAILURE_KMS_ANSWER,
                       "does not open with");
}

static void test_every_truncation_is_refused(void **state) {
        for (size_t i = 0; i < 7; i++) {
                struct buffer cms;

                make(*state, &shapes[i], &cms);
                for (size_t n = 0; n < cms.size; n++) {
                        struct enveloped_key k;
                        struct error e;

                        assert_int_equal(enveloped_key_parse(cms.data, n, &k, &e), -EBADMSG);
                        assert_int_equal(e.failure, FAILURE_KMS_ANSWER);
                }
        }
}

/* A self-signed certificate for the recipient's public key, as CMS_add1_recipient() wants one. */
static X509 *certify(struct recipient *r) {
        EVP_PKEY *signer = EVP_EC_gen("P-256"), *subject;
        X509 *x = X509_new();
        X509_EXTENSION *id;
        const uint8_t *spki;
        size_t n;
        X509V3_CTX ctx;

        recipient_public_key(r, &spki, &n);
        subject = d2i_PUBKEY(NULL, &spki, (long) n);
        X509_set_version(x, 2);
        X509_gmtime_adj(X509_getm_notBefore(x), 0);
        X509_gmtime_adj(X509_getm_notAfter(x), 3600);
        X509_set_pubkey(x, subject);
        X509V3_set_ctx(&ctx, NULL, x, NULL, NULL, 0);
        id = X509V3_EXT_conf_nid(NULL, &ctx, NID_subject_key_identifier, "hash");
        X509_add_ext(x, id, -1);
        X509_EXTENSION_free(id);
        assert_true(X509_sign(x, signer, EVP_sha256()) > 0);
        EVP_PKEY_free(signer);
        EVP_PKEY_free(subject);
        return x;
}

/* OpenSSL's own CMS, DER and streamed BER. */
static void test_openssl_cms_opens(void **state) {
        X509 *x = certify(*state);

        for (unsigned streamed = 0; streamed < 2; streamed++) {
                _cleanup_secret_ struct secret *key = NULL;
                BIO *in = BIO_new_mem_buf(secret_key, 32), *out = BIO_new(BIO_s_mem());
                unsigned flags = CMS_BINARY | CMS_PARTIAL | (streamed ? CMS_STREAM : 0);
                CMS_ContentInfo *cms = CMS_encrypt(NULL, NULL, EVP_aes_256_cbc(), flags);
                CMS_RecipientInfo *info = CMS_add1_recipient_cert(cms, x, CMS_USE_KEYID | CMS_KEY_PARAM);
                EVP_PKEY_CTX *c = CMS_RecipientInfo_get0_pkey_ctx(info);
                struct error e;
                uint8_t *data;
                long n;

                assert_int_equal(EVP_PKEY_CTX_set_rsa_padding(c, RSA_PKCS1_OAEP_PADDING), 1);
                assert_int_equal(EVP_PKEY_CTX_set_rsa_oaep_md(c, EVP_sha256()), 1);
                assert_int_equal(EVP_PKEY_CTX_set_rsa_mgf1_md(c, EVP_sha256()), 1);
                if (streamed)
                        assert_int_equal(i2d_CMS_bio_stream(out, cms, in, (int) flags), 1);
                else {
                        assert_int_equal(CMS_final(cms, in, NULL, flags), 1);
                        assert_int_equal(i2d_CMS_bio(out, cms), 1);
                }
                n = BIO_get_mem_data(out, (char **) &data);
                assert_ok(recipient_open(*state, data, (size_t) n, &key, &e), &e);
                assert_memory_equal(key->data, secret_key, 32);
                BIO_free(in);
                BIO_free(out);
                CMS_ContentInfo_free(cms);
        }
        X509_free(x);
}

/* What KMS itself sent, where the shared data is at hand. */
static void test_real_answers_are_understood(void **state) {
        static const struct {
                const char *name, *words;
        } answers[] = {
                { "kms-octet-strings.ber", "does not open with" },
                { "kms-primitive.ber", "not that of 32 bytes" }, /* of a shorter plaintext; all before it is right */
        };
        const char *root = getenv("SEALBOOT_SOURCE_ROOT");
        unsigned found = 0;

        (void) state;
        for (size_t i = 0; i < ELEMENTS(answers); i++) {
                _cleanup_free_ uint8_t *cms = NULL;
                char path[1024];
                struct error e;
                size_t n;

                snprintf(path, sizeof path, "%s/../shared/data/cms/%s", root ?: ".", answers[i].name);
                if (file_read(path, 4096, FAILURE_IO, &cms, &n, NULL) < 0)
                        continue;
                assert_refused(recipient_open(*state, cms, n, &(struct secret *) { NULL }, &e), &e, FAILURE_KMS_ANSWER,
                               answers[i].words);
                found++;
        }
        if (found == 0)
                skip();
}

static void test_public_key_is_spki(void **state) {
        const uint8_t *spki;
        EVP_PKEY *key;
        size_t n;

        recipient_public_key(*state, &spki, &n);
        assert_int_equal(n, 294);
        key = d2i_PUBKEY(NULL, &spki, (long) n);
        assert_non_null(key);
        assert_int_equal(EVP_PKEY_get_bits(key), 2048);
        EVP_PKEY_free(key);
}

static bool has_exponent(EVP_PKEY *key, unsigned long wanted) {
        BIGNUM *e = NULL;
        bool has = EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_RSA_E, &e) == 1 && BN_is_word(e, wanted);

        BN_free(e);
        return has;
}

/* OpenSSL's own check of a whole key: the primes, their product, and every number that is computed from them. */
static void test_keys_are_sound(void **state) {
        EVP_PKEY *keys[4] = { NULL };

        (void) state;
        for (size_t i = 0; i < ELEMENTS(keys); i++) {
                EVP_PKEY_CTX *c;

                assert_int_equal(rsa_key_new(&keys[i]), 0);
                assert_int_equal(EVP_PKEY_get_bits(keys[i]), 2048);
                assert_true(has_exponent(keys[i], 65537));
                c = EVP_PKEY_CTX_new(keys[i], NULL);
                assert_int_equal(EVP_PKEY_check(c), 1);
                EVP_PKEY_CTX_free(c);
                for (size_t other = 0; other < i; other++)
                        assert_int_equal(EVP_PKEY_eq(keys[i], keys[other]), 0);
        }
        for (size_t i = 0; i < ELEMENTS(keys); i++)
                EVP_PKEY_free(keys[i]);
}

static void test_ber(void **state) {
        static const struct {
                struct bytes input;
                uint8_t identifier;
                int r;
                size_t size, left;
        } table[] = {
                { BYTES(0x04, 0x00), 0x04, 0, 0, 0 },
                { BYTES(0x04, 0x01, 9, 7), 0x04, 0, 1, 1 },
                { BYTES(0x04, 0x81, 0x01, 9), 0x04, 0, 1, 0 }, /* a longer length than needed is BER */
                { BYTES(0x30, 0x80, 0x00, 0x00), 0x30, 0, 0, 0 },
                { BYTES(0x30, 0x80, 0x30, 0x80, 0x00, 0x00, 0x00, 0x00, 5), 0x30, 0, 4, 1 },
                { BYTES(0x30, 0x80, 0x04, 0x02, 0x00, 0x00, 0x00, 0x00), 0x30, 0, 4, 0 },
                { BYTES(0x04, 0x01), 0x04, -EBADMSG, 0, 0 },
                { BYTES(0x04), 0x04, -EBADMSG, 0, 0 },
                { BYTES(0x05, 0x00), 0x04, -EBADMSG, 0, 0 },
                { BYTES(0x04, 0x80, 0x00, 0x00), 0x04, -EBADMSG, 0, 0 }, /* primitive, indefinite */
                { BYTES(0x1f, 0x01, 0x00), 0x1f, -EBADMSG, 0, 0 },       /* a tag of more bytes */
                { BYTES(0x04, 0x85, 0, 0, 0, 0, 1, 9), 0x04, -EBADMSG, 0, 0 },
                { BYTES(0x04, 0xff), 0x04, -EBADMSG, 0, 0 },
                { BYTES(0x04, 0x84, 0xff, 0xff, 0xff, 0xff), 0x04, -EBADMSG, 0, 0 },
                { BYTES(0x30, 0x80, 0x00, 0x01, 0x00), 0x30, -EBADMSG, 0, 0 }, /* an end with contents */
                { BYTES(0x30, 0x80, 0x30, 0x80, 0x00, 0x00), 0x30, -EBADMSG, 0, 0 },
                { BYTES(0x30, 0x80, 0x30, 0x80, 0x30, 0x80, 0x30, 0x80, 0x30, 0x80, 0x30, 0x80, 0x30, 0x80, 0x30, 0x80,
                        0x30, 0x80, 0x30, 0x80, 0x30, 0x80, 0x30, 0x80, 0x30, 0x80, 0x30, 0x80, 0x30, 0x80, 0x30, 0x80,
                        0x30, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
                        0, 0, 0, 0, 0, 0),
                  0x30, -EBADMSG, 0, 0 },
        };

        (void) state;
        for (size_t i = 0; i < ELEMENTS(table); i++) {
                struct reader r = reader_over(table[i].input.data, table[i].input.size), inside;

                assert_int_equal(ber_take(&r, table[i].identifier, &inside), table[i].r);
                if (table[i].r < 0) {
                        assert_int_equal(r.offset, 0);
                        continue;
                }
                assert_int_equal(inside.size, table[i].size);
                assert_int_equal(reader_left(&r), table[i].left);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_ber),
                cmocka_unit_test(test_public_key_is_spki),
                cmocka_unit_test(test_keys_are_sound),
                cmocka_unit_test(test_shapes),
                cmocka_unit_test(test_oaep_with_sha1_does_not_open),
                cmocka_unit_test(test_every_truncation_is_refused),
                cmocka_unit_test(test_openssl_cms_opens),
                cmocka_unit_test(test_real_answers_are_understood),
        };

        return cmocka_run_group_tests(tests, set_up, tear_down);
}
