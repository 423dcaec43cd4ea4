/* SPDX-License-Identifier: Apache-2.0 */

/* A key store of an owner's own: releases the data key of sealed models to attested instances as KMS does, from a
 * machine of the owner's. The agent's configuration names it ("key_store" in sealboot-agent(8)).
 *
 *     cc key-store.c $(pkg-config --cflags --libs sealboot-verify libmicrohttpd json-c libcrypto)
 *     head -c 32 /dev/urandom > secret
 *     ./a.out --key ARN --secret FILE --reference image.json --released FILE [--revoked FILE] [--root PEM]
 *             --certificate PEM --private-key PEM [--port 443] [--sealing-port 8080]
 *
 * It answers KMS's requests. Decrypt, over TLS on --port: the attestation document must be fresh, of an image in
 * --reference, and have a PCR15 of zeros; the answer is encrypted to the key in the document. GenerateDataKey, on
 * 127.0.0.1 and --sealing-port: `AWS_ENDPOINT_URL_KMS=http://127.0.0.1:8080 sealboot seal --key ARN ...` seals with it.
 *
 * ARN is the name of the key in sealed files, in the form that all of them have:
 * arn:aws:kms:REGION:000000000000:key/NAME. The key itself is the 32 bytes of --secret.
 *
 * --released has a line for each release. An instance gets a data key once: no other key pair of that instance gets it
 * again, until its line is removed. The same key pair may ask again, since an answer can be lost on the way.
 * --revoked is read at every request. Its lines are "pcr4 HEX", "key ARN" and "instance ID"; "#" begins a comment. A
 * line that is none of these refuses everybody: a revocation with a mistake in it must not be without effect. */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <json-c/json.h>
#include <microhttpd.h>
#include <openssl/cms.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>
#include <sealboot-verify.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
        KEY = 32,
        IV = 12,
        TAG = 16,
        BLOB = IV + KEY + TAG, /* a data key under the secret: AES-256-GCM */
        HASH = 32,
        HEX = 2 * HASH + 1,
        PCR = 48,
        REQUEST_MAX = 64 * 1024,
        DOCUMENT_SECONDS = 300, /* as long as KMS takes one */
};

struct store {
        const char *arn, *released, *revoked;
        unsigned char secret[KEY];
        struct sealboot_verifier *verifier;
        EVP_PKEY *signer; /* signs what names the recipient's key in the envelope; nobody checks it */
};

static void die(const char *format, ...) {
        va_list ap;

        va_start(ap, format);
        fputs("key-store: ", stderr);
        vfprintf(stderr, format, ap);
        fputc('\n', stderr);
        va_end(ap);
        exit(1);
}

static size_t read_file(const char *path, void *buffer, size_t room) {
        FILE *f = fopen(path, "rb");
        size_t n = f ? fread(buffer, 1, room, f) : 0;

        if (!f || ferror(f) || n == room)
                die("cannot read %s", path);
        fclose(f);
        return n;
}

static void hex(const unsigned char *data, size_t n, char *out) {
        for (size_t i = 0; i < n; i++)
                sprintf(out + 2 * i, "%02x", data[i]);
}

static void hash(const void *data, size_t n, char out[static HEX]) {
        unsigned char digest[HASH];

        if (EVP_Digest(data, n, digest, NULL, EVP_sha256(), NULL) != 1)
                die("SHA-256 failed");
        hex(digest, sizeof digest, out);
}

/* ---- answers */

/* As KMS refuses. The message is for the operator of the instance: it says which rule, and nothing of the owner's. */
static json_object *refuse(const char *type, const char *message) {
        json_object *o = json_object_new_object();

        json_object_object_add(o, "__type", json_object_new_string(type));
        json_object_object_add(o, "message", json_object_new_string(message));
        return o;
}

static json_object *deny(const char *message) {
        return refuse("AccessDeniedException", message);
}

static void add_base64(json_object *o, const char *name, const unsigned char *data, size_t n) {
        char *text = malloc(n / 3 * 4 + 5);

        if (!text)
                die("out of memory");
        EVP_EncodeBlock((unsigned char *) text, data, (int) n);
        json_object_object_add(o, name, json_object_new_string(text));
        OPENSSL_cleanse(text, strlen(text));
        free(text);
}

/* ---- requests, which are hostile */

static const char *text_of(json_object *o, const char *name) {
        json_object *v;

        return json_object_object_get_ex(o, name, &v) && json_object_is_type(v, json_type_string)
                       ? json_object_get_string(v)
                       : NULL;
}

/* The bytes of a base64 text, malloc'ed; NULL: there is none, or it is malformed. */
static unsigned char *bytes_of(json_object *o, const char *name, size_t *ret) {
        const char *text = text_of(o, name);
        EVP_ENCODE_CTX *ctx = EVP_ENCODE_CTX_new();
        unsigned char *out = text ? malloc(strlen(text) + 64) : NULL;
        int n = 0, rest = 0;
        bool good;

        EVP_DecodeInit(ctx);
        good = out && EVP_DecodeUpdate(ctx, out, &n, (const unsigned char *) text, (int) strlen(text)) >= 0 &&
               EVP_DecodeFinal(ctx, out + n, &rest) == 1;
        EVP_ENCODE_CTX_free(ctx);
        if (!good) {
                free(out);
                return NULL;
        }
        *ret = (size_t) (n + rest);
        return out;
}

static int compare(const void *a, const void *b) {
        return strcmp(*(const char *const *) a, *(const char *const *) b);
}

static void put(FILE *f, const char *text) {
        unsigned n = (unsigned) strlen(text);

        fprintf(f, "%u:%s,", n, text);
}

/* What a blob is bound to: the key's name, and the encryption context with its keys sorted. NULL: it is none. */
static char *binding(const struct store *s, json_object *request, size_t *ret) {
        const char *names[64] = { NULL };
        json_object *context = NULL, *value;
        char *text = NULL;
        FILE *f = open_memstream(&text, ret);
        size_t n = 0;
        bool good = f != NULL;

        if (json_object_object_get_ex(request, "EncryptionContext", &context) &&
            !json_object_is_type(context, json_type_object))
                good = false;
        if (good && context) {
                json_object_object_foreach(context, name, each) {
                        good = good && n < 64 && json_object_is_type(each, json_type_string) &&
                               strlen(json_object_get_string(each)) == (size_t) json_object_get_string_len(each);
                        if (good)
                                names[n++] = name;
                }
                qsort(names, n, sizeof *names, compare);
        }
        if (f)
                put(f, s->arn);
        for (size_t i = 0; good && i < n; i++) {
                json_object_object_get_ex(context, names[i], &value);
                put(f, names[i]);
                put(f, json_object_get_string(value));
        }
        if (f && fclose(f) == 0 && good)
                return text;
        free(text);
        return NULL;
}

/* ---- data keys under the secret */

static bool seal(const struct store *s, const char *bound, size_t n, const unsigned char key[static KEY],
                 unsigned char blob[static BLOB]) {
        EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
        bool good;
        int m;

        good = c && RAND_bytes(blob, IV) == 1 && EVP_EncryptInit_ex(c, EVP_aes_256_gcm(), NULL, s->secret, blob) == 1 &&
               EVP_EncryptUpdate(c, NULL, &m, (const unsigned char *) bound, (int) n) == 1 &&
               EVP_EncryptUpdate(c, blob + IV, &m, key, KEY) == 1 && EVP_EncryptFinal_ex(c, blob + IV + KEY, &m) == 1 &&
               EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_GCM_GET_TAG, TAG, blob + IV + KEY) == 1;
        EVP_CIPHER_CTX_free(c);
        return good;
}

static bool unseal(const struct store *s, const char *bound, size_t n, const unsigned char blob[static BLOB],
                   unsigned char key[static KEY]) {
        EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
        unsigned char end[TAG];
        bool good;
        int m;

        good = c && EVP_DecryptInit_ex(c, EVP_aes_256_gcm(), NULL, s->secret, blob) == 1 &&
               EVP_DecryptUpdate(c, NULL, &m, (const unsigned char *) bound, (int) n) == 1 &&
               EVP_DecryptUpdate(c, key, &m, blob + IV, KEY) == 1 &&
               EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_GCM_SET_TAG, TAG, (void *) (blob + IV + KEY)) == 1 &&
               EVP_DecryptFinal_ex(c, end, &m) == 1;
        EVP_CIPHER_CTX_free(c);
        return good;
}

/* ---- the owner's rules */

/* "i-0123456789abcdef0" of "i-0123456789abcdef0-tpm...". */
static void instance_of(const char *module, char *out, size_t room) {
        size_t n = strncmp(module, "i-", 2) == 0 ? 2 + strcspn(module + 2, "-") : strlen(module);

        snprintf(out, room, "%.*s", (int) n, module);
        for (char *c = out; *c; c++)
                if (*c <= ' ' || *c > '~')
                        *c = '?';
}

/* NULL: nothing of this is revoked. */
static const char *revoked(const struct store *s, const char *instance, const char *pcr4) {
        char line[512], kind[16], what[256], more[2];
        const char *reason = NULL;
        FILE *f = s->revoked ? fopen(s->revoked, "re") : NULL;

        if (s->revoked && !f)
                return "the list of revocations cannot be read";
        while (f && !reason && fgets(line, sizeof line, f)) {
                int n;

                line[strcspn(line, "#\n")] = '\0';
                n = sscanf(line, "%15s %255s %1s", kind, what, more);
                if (n <= 0)
                        continue;
                if (n == 2 && strcmp(kind, "pcr4") == 0)
                        reason = strcasecmp(what, pcr4) == 0 ? "this image is revoked" : NULL;
                else if (n == 2 && strcmp(kind, "key") == 0)
                        reason = strcmp(what, s->arn) == 0 ? "this key is revoked" : NULL;
                else if (n == 2 && strcmp(kind, "instance") == 0)
                        reason = strcmp(what, instance) == 0 ? "this instance is revoked" : NULL;
                else
                        reason = "the list of revocations has a line that is none";
        }
        if (f)
                fclose(f);
        return reason;
}

/* Notes the release of this data key to this instance and key pair, on the disk, before there is an answer. False: the
 * instance has got the data key already, with another key pair, or the release cannot be noted. */
static bool release_once(const struct store *s, const char *data_key, const char *instance, const char *pair) {
        char line[512], its_key[HEX], its_instance[256], its_pair[HEX];
        FILE *f = fopen(s->released, "a+e");
        bool known = false, other = false, whole = true, good;

        while (f && fgets(line, sizeof line, f)) {
                whole = strchr(line, '\n') != NULL;
                if (sscanf(line, "%64s %255s %64s", its_key, its_instance, its_pair) != 3 ||
                    strcmp(its_key, data_key) != 0 || strcmp(its_instance, instance) != 0)
                        continue;
                known = strcmp(its_pair, pair) == 0;
                other = other || !known;
        }
        good = f && !other;
        if (good && !known)
                good = fprintf(f, "%s%s %s %s\n", whole ? "" : "\n", data_key, instance, pair) > 0 && fflush(f) == 0 &&
                       fdatasync(fileno(f)) == 0;
        if (f && fclose(f) != 0)
                good = false;
        return good;
}

/* The key that a document names; NULL: it is no RSA key of 2048 bits, which is what a Recipient has. */
static EVP_PKEY *recipient_key(const unsigned char *der, size_t size) {
        EVP_PKEY *key = d2i_PUBKEY(NULL, &der, (long) size);

        if (key && EVP_PKEY_is_a(key, "RSA") && EVP_PKEY_get_bits(key) == 2048)
                return key;
        EVP_PKEY_free(key);
        return NULL;
}

/* NULL: the document is of a machine that may have the data key; else why not. */
static const char *judge(const struct store *s, const unsigned char *document, size_t n, const char *data_key,
                         EVP_PKEY **ret_key) {
        static const unsigned char zeros[PCR];
        char instance[256], pcr4[2 * PCR + 1], pair[HEX];
        struct sealboot_verifier *v = s->verifier;
        const unsigned char *image, *model, *der;
        const char *reason;
        size_t size;

        if (sealboot_verifier_run(v, document, n) < 0) {
                fprintf(stderr, "key-store: refused: %s\n", sealboot_verifier_error(v));
                return "the attestation document does not meet the owner's references";
        }
        instance_of(sealboot_verifier_module_id(v), instance, sizeof instance);
        image = sealboot_verifier_pcr(v, 4);
        model = sealboot_verifier_pcr(v, 15);
        if (!image || !model)
                return "the attestation document lacks PCR4 or PCR15";
        hex(image, PCR, pcr4);
        der = sealboot_verifier_public_key(v, &size);
        *ret_key = der ? recipient_key(der, size) : NULL;
        reason = revoked(s, instance, pcr4);
        if (!reason && memcmp(model, zeros, PCR) != 0)
                reason = "PCR15 is not zero: a model is loaded already";
        if (!reason && !*ret_key)
                reason = "the attestation document names no RSA key of 2048 bits";
        if (!reason) {
                hash(der, size, pair);
                if (!release_once(s, data_key, instance, pair))
                        reason = "this data key was released to this instance already";
        }
        fprintf(stderr, "key-store: %s: %s\n", instance, reason ?: "released");
        return reason;
}

/* ---- the envelope: CMS to a bare RSA key, as KMS makes it */

/* CMS takes a certificate for a recipient, and names it by the key's identifier alone. */
static X509 *name_key(const struct store *s, EVP_PKEY *key) {
        ASN1_OCTET_STRING *identifier = ASN1_OCTET_STRING_new();
        unsigned char digest[EVP_MAX_MD_SIZE];
        X509 *x = X509_new();
        unsigned n = 0;
        bool good;

        good = x && identifier && X509_set_version(x, X509_VERSION_3) == 1 &&
               ASN1_INTEGER_set(X509_get_serialNumber(x), 1) == 1 && X509_gmtime_adj(X509_getm_notBefore(x), 0) &&
               X509_gmtime_adj(X509_getm_notAfter(x), 60) && X509_set_pubkey(x, key) == 1 &&
               X509_pubkey_digest(x, EVP_sha256(), digest, &n) == 1 &&
               ASN1_OCTET_STRING_set(identifier, digest, (int) n) == 1 &&
               X509_add1_ext_i2d(x, NID_subject_key_identifier, identifier, 0, X509V3_ADD_DEFAULT) == 1 &&
               X509_sign(x, s->signer, EVP_sha256()) > 0;
        ASN1_OCTET_STRING_free(identifier);
        if (good)
                return x;
        X509_free(x);
        return NULL;
}

static int envelop(const struct store *s, EVP_PKEY *key, const unsigned char data_key[static KEY],
                   unsigned char **ret) {
        X509 *x = name_key(s, key);
        BIO *in = BIO_new_mem_buf(data_key, KEY);
        CMS_ContentInfo *cms = CMS_encrypt(NULL, in, EVP_aes_256_cbc(), CMS_BINARY | CMS_PARTIAL);
        CMS_RecipientInfo *to = x && cms ? CMS_add1_recipient_cert(cms, x, CMS_USE_KEYID | CMS_KEY_PARAM) : NULL;
        EVP_PKEY_CTX *ctx = to ? CMS_RecipientInfo_get0_pkey_ctx(to) : NULL;
        int n = -1;

        if (ctx && EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_OAEP_PADDING) == 1 &&
            EVP_PKEY_CTX_set_rsa_oaep_md(ctx, EVP_sha256()) == 1 &&
            EVP_PKEY_CTX_set_rsa_mgf1_md(ctx, EVP_sha256()) == 1 && CMS_final(cms, in, NULL, CMS_BINARY) == 1)
                n = i2d_CMS_ContentInfo(cms, ret);
        CMS_ContentInfo_free(cms);
        BIO_free(in);
        X509_free(x);
        return n;
}

/* ---- the operations */

/* For a document that is accepted: the data key, for the machine's key pair alone. */
static json_object *release(const struct store *s, const unsigned char *document, size_t n, const char *name,
                            const unsigned char data_key[static KEY]) {
        unsigned char *envelope = NULL;
        EVP_PKEY *key = NULL;
        const char *reason;
        json_object *o;
        int length;

        reason = judge(s, document, n, name, &key);
        length = reason ? -1 : envelop(s, key, data_key, &envelope);
        EVP_PKEY_free(key);
        if (reason)
                return deny(reason);
        if (length < 0)
                return refuse("KMSInternalException", "the data key could not be encrypted");
        o = json_object_new_object();
        json_object_object_add(o, "KeyId", json_object_new_string(s->arn));
        json_object_object_add(o, "EncryptionAlgorithm", json_object_new_string("SYMMETRIC_DEFAULT"));
        add_base64(o, "CiphertextForRecipient", envelope, (size_t) length);
        OPENSSL_free(envelope);
        return o;
}

static json_object *decrypt(const struct store *s, json_object *request, const char *bound, size_t n_bound) {
        unsigned char data_key[KEY], *blob, *document = NULL;
        json_object *recipient = NULL, *o;
        size_t n_blob = 0, n = 0;
        char name[HEX];

        blob = bytes_of(request, "CiphertextBlob", &n_blob);
        if (json_object_object_get_ex(request, "Recipient", &recipient) &&
            strcmp(text_of(recipient, "KeyEncryptionAlgorithm") ?: "", "RSAES_OAEP_SHA_256") == 0)
                document = bytes_of(recipient, "AttestationDocument", &n);
        if (!document)
                o = deny("a data key is released to a Recipient with an attestation document only");
        else if (!blob || n_blob != BLOB || !unseal(s, bound, n_bound, blob, data_key))
                o = refuse("InvalidCiphertextException",
                           "the ciphertext, the key or the encryption context is another");
        else {
                hash(blob, n_blob, name);
                o = release(s, document, n, name, data_key);
        }
        OPENSSL_cleanse(data_key, sizeof data_key);
        free(document);
        free(blob);
        return o;
}

static json_object *generate(const struct store *s, const char *bound, size_t n_bound) {
        unsigned char data_key[KEY], blob[BLOB];
        json_object *o;

        if (RAND_bytes(data_key, KEY) != 1 || !seal(s, bound, n_bound, data_key, blob))
                return refuse("KMSInternalException", "no data key could be made");
        o = json_object_new_object();
        json_object_object_add(o, "KeyId", json_object_new_string(s->arn));
        add_base64(o, "CiphertextBlob", blob, sizeof blob);
        add_base64(o, "Plaintext", data_key, sizeof data_key);
        OPENSSL_cleanse(data_key, sizeof data_key);
        return o;
}

/* `target`: the header X-Amz-Target; `sealing`: the request came to the port for the owner. */
static json_object *answer(const struct store *s, bool sealing, const char *target, const char *body) {
        json_object *request = json_tokener_parse(body), *o;
        size_t n = 0;
        char *bound = json_object_is_type(request, json_type_object) ? binding(s, request, &n) : NULL;

        if (!bound)
                o = refuse("ValidationException", "the request is malformed");
        else if (strcmp(text_of(request, "KeyId") ?: "", s->arn) != 0)
                o = refuse("NotFoundException", "there is no such key");
        else if (!sealing && strcmp(target, "TrentService.Decrypt") == 0)
                o = decrypt(s, request, bound, n);
        else if (sealing && strcmp(target, "TrentService.GenerateDataKey") == 0)
                o = generate(s, bound, n);
        else
                o = deny("this operation is not offered here");
        free(bound);
        json_object_put(request);
        return o;
}

/* ---- HTTP */

struct door {
        const struct store *store;
        bool sealing;
};

struct request {
        char body[REQUEST_MAX + 1];
        size_t n;
};

static enum MHD_Result reply(struct MHD_Connection *connection, const struct door *door, struct request *r) {
        const char *target = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "X-Amz-Target");
        json_object *o = r->n > REQUEST_MAX ? refuse("ValidationException", "the request is too long")
                                            : answer(door->store, door->sealing, target ?: "", r->body);
        const char *text = json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE);
        unsigned status = json_object_object_get_ex(o, "__type", NULL) ? MHD_HTTP_BAD_REQUEST : MHD_HTTP_OK;
        struct MHD_Response *response =
                MHD_create_response_from_buffer(strlen(text), (void *) text, MHD_RESPMEM_MUST_COPY);
        enum MHD_Result result;

        MHD_add_response_header(response, "Content-Type", "application/x-amz-json-1.1");
        result = MHD_queue_response(connection, status, response);
        MHD_destroy_response(response);
        json_object_put(o);
        return result;
}

static enum MHD_Result serve(void *userdata, struct MHD_Connection *connection, const char *url, const char *method,
                             const char *version, const char *data, size_t *n, void **state) {
        struct request *r = *state;

        (void) url;
        (void) version;
        if (strcmp(method, "POST") != 0)
                return MHD_NO;
        if (!r) {
                *state = calloc(1, sizeof *r);
                return *state ? MHD_YES : MHD_NO;
        }
        if (*n == 0)
                return reply(connection, userdata, r);
        if (r->n + *n <= REQUEST_MAX)
                memcpy(r->body + r->n, data, *n);
        r->n = r->n + *n <= REQUEST_MAX ? r->n + *n : REQUEST_MAX + 1; /* longer: said at its end */
        *n = 0;
        return MHD_YES;
}

static void forget(void *userdata, struct MHD_Connection *connection, void **state,
                   enum MHD_RequestTerminationCode why) {
        (void) userdata;
        (void) connection;
        (void) why;
        free(*state);
}

/* ---- the program */

struct arguments {
        const char *secret, *reference, *root, *certificate, *private_key;
        unsigned short port, sealing_port;
};

static void parse(int argc, char *argv[], struct store *s, struct arguments *a) {
        static const struct option options[] = {
                { "key", required_argument, NULL, 'k' },
                { "secret", required_argument, NULL, 's' },
                { "reference", required_argument, NULL, 'r' },
                { "released", required_argument, NULL, 'l' },
                { "revoked", required_argument, NULL, 'v' },
                { "root", required_argument, NULL, 'o' },
                { "certificate", required_argument, NULL, 'c' },
                { "private-key", required_argument, NULL, 'p' },
                { "port", required_argument, NULL, 't' },
                { "sealing-port", required_argument, NULL, 'e' },
                { NULL, 0, NULL, 0 },
        };
        int c;

        while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
                const char **text = c == 'k'   ? &s->arn
                                    : c == 's' ? &a->secret
                                    : c == 'r' ? &a->reference
                                    : c == 'l' ? &s->released
                                    : c == 'v' ? &s->revoked
                                    : c == 'o' ? &a->root
                                    : c == 'c' ? &a->certificate
                                    : c == 'p' ? &a->private_key
                                               : NULL;

                if (text)
                        *text = optarg;
                else if (c == 't' || c == 'e')
                        *(c == 't' ? &a->port : &a->sealing_port) = (unsigned short) strtoul(optarg, NULL, 10);
                else
                        exit(2);
        }
        if (!s->arn || !a->secret || !a->reference || !s->released || !a->certificate || !a->private_key)
                die("--key, --secret, --reference, --released, --certificate and --private-key are needed");
}

static void prepare(struct store *s, const struct arguments *a) {
        static char text[65536];
        struct sealboot_verifier *v = sealboot_verifier_new();
        unsigned char secret[KEY + 2];
        size_t n;

        if (read_file(a->secret, secret, sizeof secret) != KEY)
                die("%s does not have %d bytes", a->secret, KEY);
        memcpy(s->secret, secret, KEY);
        n = read_file(a->reference, text, sizeof text);
        if (!v || sealboot_verifier_add_reference(v, text, n, a->reference) < 0 ||
            sealboot_verifier_require_whole_reference(v, 1) < 0 ||
            sealboot_verifier_set_max_age(v, DOCUMENT_SECONDS) < 0)
                die("%s", v ? sealboot_verifier_error(v) : "out of memory");
        if (a->root && sealboot_verifier_set_root(v, text, read_file(a->root, text, sizeof text)) < 0)
                die("%s", sealboot_verifier_error(v));
        s->verifier = v;
        s->signer = EVP_EC_gen("P-256");
        if (!s->signer)
                die("no key could be made");
}

int main(int argc, char *argv[]) {
        static char certificate[65536], private_key[65536];
        static struct store store;
        struct door doors[] = { { &store, false }, { &store, true } };
        struct arguments a = { .port = 443 };
        struct sockaddr_in loopback = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
        struct MHD_Daemon *open, *sealing = NULL;
        sigset_t end;
        int which;

        parse(argc, argv, &store, &a);
        prepare(&store, &a);
        certificate[read_file(a.certificate, certificate, sizeof certificate - 1)] = '\0';
        private_key[read_file(a.private_key, private_key, sizeof private_key - 1)] = '\0';
        sigemptyset(&end);
        sigaddset(&end, SIGINT);
        sigaddset(&end, SIGTERM);
        sigprocmask(SIG_BLOCK, &end, NULL);
        /* One thread serves each door: a verifier belongs to one thread, and releases are noted one after another. */
        open = MHD_start_daemon(MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_TLS, a.port, NULL, NULL, serve, &doors[0],
                                MHD_OPTION_HTTPS_MEM_CERT, certificate, MHD_OPTION_HTTPS_MEM_KEY, private_key,
                                MHD_OPTION_CONNECTION_TIMEOUT, 10u, MHD_OPTION_NOTIFY_COMPLETED, forget, NULL,
                                MHD_OPTION_END);
        loopback.sin_port = htons(a.sealing_port);
        if (a.sealing_port)
                sealing = MHD_start_daemon(MHD_USE_INTERNAL_POLLING_THREAD, a.sealing_port, NULL, NULL, serve,
                                           &doors[1], MHD_OPTION_SOCK_ADDR, &loopback, MHD_OPTION_NOTIFY_COMPLETED,
                                           forget, NULL, MHD_OPTION_END);
        if (!open || (a.sealing_port && !sealing))
                die("cannot listen: %s", strerror(errno));
        fprintf(stderr, "key-store: ready\n");
        sigwait(&end, &which);
        MHD_stop_daemon(open);
        if (sealing)
                MHD_stop_daemon(sealing);
        sealboot_verifier_free(store.verifier);
        EVP_PKEY_free(store.signer);
        OPENSSL_cleanse(store.secret, sizeof store.secret);
        return 0;
}
