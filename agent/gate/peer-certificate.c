/* SPDX-License-Identifier: Apache-2.0 */
#include "gate/peer-certificate.h"

#include <openssl/err.h>
#include <openssl/pem.h>

#include "basic/encode.h"
#include "evidence/cbor.h"

#define SUBJECT "client certificate"

static inline void bio_freep(BIO **b) {
        BIO_free(*b);
}

static inline void x509_freep(X509 **x) {
        X509_free(*x);
}

/* "%0A" and the like become bytes; what nginx would have escaped does not stand there. */
static int unescape(const char *escaped, char **ret, size_t *ret_n, struct error *e) {
        size_t length = strlen(escaped), n = 0;
        _cleanup_free_ char *out = NULL;

        if (length > PEER_CERTIFICATE_MAX)
                return fail(e, FAILURE_DOCUMENT, -E2BIG, SUBJECT, "has more than %d characters", PEER_CERTIFICATE_MAX);
        out = malloc(length + 1);
        if (!out)
                return fail_oom(e);
        for (const char *p = escaped; *p; p++) {
                char hex[3] = {};

                if (*p != '%') {
                        out[n++] = *p;
                        continue;
                }
                memcpy(hex, p + 1, strnlen(p + 1, 2));
                if (strlen(hex) != 2 || hex_decode(hex, &out[n], 1) < 0 || out[n] == '\0')
                        return fail(e, FAILURE_DOCUMENT, -EBADMSG, SUBJECT, "is not escaped as nginx does");
                n++;
                p += 2;
        }
        out[n] = '\0';
        *ret = TAKE(out);
        *ret_n = n;
        return 0;
}

int peer_certificate_read(const char *escaped, X509 **ret, struct error *e) {
        _cleanup_(x509_freep) X509 *x = NULL, *second = NULL;
        _cleanup_(bio_freep) BIO *bio = NULL;
        _cleanup_free_ char *pem = NULL;
        size_t n;
        int r;

        r = unescape(escaped, &pem, &n, e);
        if (r < 0)
                return r;
        bio = BIO_new_mem_buf(pem, (int) n);
        if (!bio)
                return fail_oom(e);
        x = PEM_read_bio_X509(bio, NULL, NULL, NULL);
        if (x)
                second = PEM_read_bio_X509(bio, NULL, NULL, NULL);
        ERR_clear_error();
        if (!x || second)
                return fail(e, FAILURE_DOCUMENT, -EBADMSG, SUBJECT, x ? "is not alone" : "is not a certificate in PEM");
        *ret = TAKE(x);
        return 0;
}

/* The head of a DER octet string that holds the whole rest; its length in the shortest form. */
static int take_octet_string(struct reader *r) {
        uint8_t tag, first, more;
        size_t length;

        if (reader_u8(r, &tag) < 0 || tag != 0x04 || reader_u8(r, &first) < 0)
                return -EBADMSG;
        length = first;
        if (first > 0x80) {
                length = 0;
                if (first > 0x82)
                        return -EBADMSG;
                for (unsigned i = 0; i < (first & 0x7fu); i++) {
                        if (reader_u8(r, &more) < 0)
                                return -EBADMSG;
                        length = length << 8 | more;
                }
                if (length < 0x80 || (first == 0x82 && length < 0x100))
                        return -EBADMSG;
        }
        return first != 0x80 && length == reader_left(r) ? 0 : -EBADMSG;
}

int peer_extension_parse(const uint8_t *value, size_t n, const uint8_t **ret, size_t *ret_n, struct error *e) {
        struct reader r = reader_over(value, n);
        struct cbor_item type, document;
        size_t items;

        if (take_octet_string(&r) < 0)
                return fail(e, FAILURE_DOCUMENT, -EBADMSG, SUBJECT,
                            "extension " PEER_EXTENSION " is not an octet string");
        if (cbor_take_array(&r, &items) < 0 || items != 2 || cbor_take_kind(&r, CBOR_TEXT, &type) < 0 ||
            cbor_take_kind(&r, CBOR_BYTES, &document) < 0 || reader_left(&r) > 0)
                return fail(e, FAILURE_DOCUMENT, -EBADMSG, SUBJECT,
                            "extension " PEER_EXTENSION " is not a CBOR array of a media type and bytes");
        if (type.size != strlen(PEER_MEDIA_TYPE) || memcmp(type.data, PEER_MEDIA_TYPE, type.size) != 0)
                return fail(e, FAILURE_DOCUMENT, -EBADMSG, SUBJECT,
                            "extension " PEER_EXTENSION " holds another media type than " PEER_MEDIA_TYPE);
        *ret = document.data;
        *ret_n = document.size;
        return 0;
}

int peer_certificate_document(X509 *x, const uint8_t **ret, size_t *ret_n, struct error *e) {
        const ASN1_OCTET_STRING *value;
        ASN1_OBJECT *oid;
        int at;

        oid = OBJ_txt2obj(PEER_EXTENSION, 1);
        if (!oid)
                return fail_oom(e);
        at = X509_get_ext_by_OBJ(x, oid, -1);
        if (at >= 0 && X509_get_ext_by_OBJ(x, oid, at) >= 0)
                at = -2;
        ASN1_OBJECT_free(oid);
        if (at < 0)
                return fail(e, FAILURE_DOCUMENT, at == -2 ? -EBADMSG : -ENOENT, SUBJECT, "has %s extension %s",
                            at == -2 ? "more than one" : "no", PEER_EXTENSION);
        value = X509_EXTENSION_get_data(X509_get_ext(x, at));
        return peer_extension_parse(ASN1_STRING_get0_data(value), (size_t) ASN1_STRING_length(value), ret, ret_n, e);
}
