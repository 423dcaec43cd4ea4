/* SPDX-License-Identifier: Apache-2.0 */
#include "verify/document.h"

#include <openssl/ecdsa.h>
#include <stdarg.h>

#include "evidence/cbor.h"

enum {
        COSE_HEADER_ALG = 1,
        COSE_ES384 = -35,
        ATTRIBUTE_MAX = 1024, /* certificates, public_key, user_data, nonce */
        MODULE_ID_MAX = 256,
};

static const uint64_t timestamp_max = 253402300799999; /* the last millisecond of the year 9999 */

struct parse {
        struct reader r;
        const char *where; /* what is being read, for errors */
        const char *source;
        struct error *e;
};

static int refuse(const struct parse *p, const char *format, ...) _printf_(2, 3);

static int refuse(const struct parse *p, const char *format, ...) {
        char reason[512];
        va_list ap;

        va_start(ap, format);
        vsnprintf(reason, sizeof reason, format, ap);
        va_end(ap);
        return fail(p->e, FAILURE_DOCUMENT, -EBADMSG, p->source, "%s %s", p->where, reason);
}

static const char *kind_name(enum cbor_kind kind) {
        /* clang-format off */
        static const char *const names[] = {
                [CBOR_UINT] = "an unsigned integer", [CBOR_NINT] = "a negative integer", [CBOR_BYTES] = "a byte string",
                [CBOR_TEXT] = "text", [CBOR_ARRAY] = "an array", [CBOR_MAP] = "a map", [CBOR_TAG] = "a tag",
                [CBOR_BOOL] = "a boolean", [CBOR_NULL] = "null",
        };
        /* clang-format on */

        return names[kind];
}

/* Why the CBOR reader would not take the item the cursor stands on. */
static int refuse_item(const struct parse *p) {
        uint8_t initial = reader_left(&p->r) > 0 ? p->r.data[p->r.offset] : 0;

        if (reader_left(&p->r) == 0)
                return refuse(p, "is cut short");
        if ((initial & 31) == 31)
                return refuse(p, initial == 0xff ? "ends before it is complete" : "holds an item of indefinite length");
        if ((initial & 31) > 27)
                return refuse(p, "holds a reserved CBOR head, 0x%02x", initial);
        if (initial >> 5 == 7)
                return refuse(p, "holds a CBOR float or simple value, 0x%02x", initial);
        return refuse(p,
                      initial >> 5 == 3 ? "is cut short in a text, or holds text that is not UTF-8" : "is cut short");
}

static size_t shortest_head(uint64_t n) {
        return n < 24 ? 1 : n <= UINT8_MAX ? 2 : n <= UINT16_MAX ? 3 : n <= UINT32_MAX ? 5 : 9;
}

/* The next item. A longer head than its value needs would be a second spelling of the same document. */
static int next(struct parse *p, struct cbor_item *ret) {
        size_t before = p->r.offset, head;
        uint64_t n;

        if (cbor_take(&p->r, ret) < 0)
                return refuse_item(p);
        head = p->r.offset - before - ret->size;
        n = ret->kind == CBOR_BYTES || ret->kind == CBOR_TEXT ? ret->size : ret->value;
        if (ret->kind < CBOR_BOOL && head != shortest_head(n))
                return refuse(p, "holds a number or length that is not in its shortest form");
        return 0;
}

static int next_kind(struct parse *p, enum cbor_kind kind, struct cbor_item *ret) {
        int r;

        r = next(p, ret);
        if (r < 0)
                return r;
        if (ret->kind != kind)
                return refuse(p, "is %s where %s belongs", kind_name(ret->kind), kind_name(kind));
        return 0;
}

static int next_bytes(struct parse *p, size_t min, size_t max, struct bytes *ret) {
        struct cbor_item item;
        int r;

        r = next_kind(p, CBOR_BYTES, &item);
        if (r != 0)
                return r;
        if (item.size < min || item.size > max)
                return min == max ? refuse(p, "is %zu bytes long, not %zu", item.size, min)
                                  : refuse(p, "is %zu bytes long, expected %zu to %zu", item.size, min, max);
        *ret = (struct bytes) { item.data, item.size };
        return 0;
}

static int at_end(const struct parse *p) {
        return reader_left(&p->r) == 0 ? 0 : refuse(p, "is followed by %zu more bytes", reader_left(&p->r));
}

/* Payload values, each read by the function its key names. */

static int take_module_id(struct parse *p, struct document *d, void *at) {
        struct cbor_item item;
        int r;

        (void) d;
        r = next_kind(p, CBOR_TEXT, &item);
        if (r < 0)
                return r;
        if (item.size < 1 || item.size > MODULE_ID_MAX)
                return refuse(p, "is %zu bytes long, expected 1 to %d", item.size, MODULE_ID_MAX);
        *(struct bytes *) at = (struct bytes) { item.data, item.size };
        return 0;
}

static int take_digest(struct parse *p, struct document *d, void *at) {
        struct cbor_item item;
        int r;

        (void) d;
        (void) at;
        r = next_kind(p, CBOR_TEXT, &item);
        if (r < 0)
                return r;
        if (item.size != 6 || memcmp(item.data, "SHA384", 6) != 0)
                return refuse(p, "is \"%.*s\", expected \"SHA384\"", (int) MIN_OF(item.size, 32u),
                              (const char *) item.data);
        return 0;
}

static int take_timestamp(struct parse *p, struct document *d, void *at) {
        struct cbor_item item;
        int r;

        (void) at;
        r = next_kind(p, CBOR_UINT, &item);
        if (r < 0)
                return r;
        if (item.value == 0 || item.value > timestamp_max)
                return refuse(p, "is %llu, which is no time in milliseconds", (unsigned long long) item.value);
        d->timestamp = item.value;
        return 0;
}

static int take_pcrs(struct parse *p, struct document *d, enum document_kind kind) {
        unsigned limit = kind == DOCUMENT_NITROTPM ? PCR_COUNT : ENCLAVE_PCR_COUNT;
        struct cbor_item map, index;
        struct bytes value = { .data = NULL };
        int r;

        r = next_kind(p, CBOR_MAP, &map);
        if (r < 0)
                return r;
        if (map.value < 1 || map.value > limit)
                return refuse(p, "holds %llu PCRs, expected 1 to %u", (unsigned long long) map.value, limit);
        for (uint64_t i = 0; i < map.value; i++) {
                r = next_kind(p, CBOR_UINT, &index);
                if (r != 0)
                        return r;
                if (index.value >= limit)
                        return refuse(p, "holds PCR%llu, which does not exist", (unsigned long long) index.value);
                if (d->pcr[index.value])
                        return refuse(p, "holds PCR%llu twice", (unsigned long long) index.value);
                r = next_bytes(p, SHA384_SIZE, SHA384_SIZE, &value);
                if (r != 0)
                        return r;
                d->pcr[index.value] = value.data;
        }
        d->kind = kind;
        return 0;
}

static int take_nitrotpm_pcrs(struct parse *p, struct document *d, void *at) {
        (void) at;
        return take_pcrs(p, d, DOCUMENT_NITROTPM);
}

static int take_enclave_pcrs(struct parse *p, struct document *d, void *at) {
        (void) at;
        return take_pcrs(p, d, DOCUMENT_ENCLAVE);
}

static int take_certificate(struct parse *p, struct document *d, void *at) {
        (void) d;
        return next_bytes(p, 1, ATTRIBUTE_MAX, at);
}

static int take_cabundle(struct parse *p, struct document *d, void *at) {
        struct cbor_item array;
        int r;

        (void) at;
        r = next_kind(p, CBOR_ARRAY, &array);
        if (r < 0)
                return r;
        if (array.value < 1 || array.value > DOCUMENT_CABUNDLE_MAX)
                return refuse(p, "holds %llu certificates, expected 1 to %d", (unsigned long long) array.value,
                              DOCUMENT_CABUNDLE_MAX);
        for (uint64_t i = 0; i < array.value; i++) {
                r = next_bytes(p, 1, ATTRIBUTE_MAX, &d->cabundle[i]);
                if (r < 0)
                        return r;
        }
        d->n_cabundle = (size_t) array.value;
        return 0;
}

static int take_attribute(struct parse *p, struct document *d, void *at) {
        struct cbor_item null;

        (void) d;
        if (cbor_take_kind(&p->r, CBOR_NULL, &null) == 0)
                return 0;
        return next_bytes(p, 0, ATTRIBUTE_MAX, at);
}

static const struct {
        const char *key;
        int (*take)(struct parse *p, struct document *d, void *at);
        size_t offset;
        bool required;
} fields[] = {
        { "module_id", take_module_id, offsetof(struct document, module_id), true },
        { "digest", take_digest, 0, true },
        { "timestamp", take_timestamp, 0, true },
        { "nitrotpm_pcrs", take_nitrotpm_pcrs, 0, false },
        { "pcrs", take_enclave_pcrs, 0, false },
        { "certificate", take_certificate, offsetof(struct document, certificate), true },
        { "cabundle", take_cabundle, 0, true },
        { "public_key", take_attribute, offsetof(struct document, public_key), false },
        { "user_data", take_attribute, offsetof(struct document, user_data), false },
        { "nonce", take_attribute, offsetof(struct document, nonce), false },
};
enum { FIELD_NITROTPM_PCRS = 3, FIELD_PCRS = 4 };

static int take_field(struct parse *p, struct document *d, unsigned *seen) {
        struct parse value = *p;
        struct cbor_item key;
        char where[64];
        int r;

        r = next_kind(p, CBOR_TEXT, &key);
        if (r < 0)
                return r;
        for (size_t i = 0; i < ELEMENTS(fields); i++) {
                if (key.size != strlen(fields[i].key) || memcmp(key.data, fields[i].key, key.size) != 0)
                        continue;
                if (*seen & 1u << i)
                        return refuse(p, "has the key \"%s\" twice", fields[i].key);
                *seen |= 1u << i;
                if (*seen & 1u << FIELD_NITROTPM_PCRS && *seen & 1u << FIELD_PCRS)
                        return refuse(p, "has both \"nitrotpm_pcrs\" and \"pcrs\"");
                snprintf(where, sizeof where, "the payload's %s", fields[i].key);
                value.r = p->r;
                value.where = where;
                r = fields[i].take(&value, d, (uint8_t *) d + fields[i].offset);
                p->r = value.r;
                return r;
        }
        return refuse(p, "has the unknown key \"%.*s\"", (int) MIN_OF(key.size, 64u), (const char *) key.data);
}

static int parse_payload(struct parse *p, struct document *d) {
        unsigned seen = 0;
        size_t pairs;
        int r;

        if (cbor_take_map(&p->r, &pairs) < 0)
                return refuse(p, "is not a map");
        if (p->r.offset > 1)
                return refuse(p, "holds a number or length that is not in its shortest form");
        while (cbor_map_more(&p->r, &pairs)) {
                r = take_field(p, d, &seen);
                if (r < 0)
                        return r;
        }
        r = at_end(p);
        if (r < 0)
                return r;
        for (size_t i = 0; i < ELEMENTS(fields); i++)
                if (fields[i].required && !(seen & 1u << i))
                        return refuse(p, "has no \"%s\"", fields[i].key);
        if (!(seen & (1u << FIELD_NITROTPM_PCRS | 1u << FIELD_PCRS)))
                return refuse(p, "has neither \"nitrotpm_pcrs\" nor \"pcrs\"");
        return 0;
}

/* {1: -35} and nothing else: any further parameter could change what the signature means. */
static int parse_protected(struct parse *p) {
        struct cbor_item map, label, alg;
        int r;

        r = next_kind(p, CBOR_MAP, &map);
        if (r < 0)
                return r;
        if (map.value != 1)
                return refuse(p, "has %llu parameters, expected the algorithm alone", (unsigned long long) map.value);
        r = next_kind(p, CBOR_UINT, &label);
        if (r < 0)
                return r;
        if (label.value != COSE_HEADER_ALG)
                return refuse(p, "has parameter %llu where the algorithm (1) belongs",
                              (unsigned long long) label.value);
        r = next(p, &alg);
        if (r < 0)
                return r;
        if (alg.kind != CBOR_NINT || alg.value > INT64_MAX)
                return refuse(p, "names its algorithm by %s, expected ES384 (-35)", kind_name(alg.kind));
        if (-1 - (int64_t) alg.value != COSE_ES384)
                return refuse(p, "names algorithm %lld, expected ES384 (-35)", -1 - (long long) alg.value);
        return at_end(p);
}

static int parse_message(struct parse *p, struct document *d) {
        struct cbor_item item;
        int r;

        r = next(p, &item);
        if (r < 0)
                return r;
        if (item.kind == CBOR_TAG) {
                if (item.value != CBOR_TAG_COSE_SIGN1)
                        return refuse(p, "has CBOR tag %llu, expected 18 (COSE_Sign1) or none",
                                      (unsigned long long) item.value);
                r = next(p, &item);
                if (r < 0)
                        return r;
        }
        if (item.kind != CBOR_ARRAY || item.value != 4)
                return refuse(p, "is not a COSE_Sign1 array of four");
        p->where = "the protected header";
        r = next_bytes(p, 1, 64, &d->protected);
        if (r < 0)
                return r;
        p->where = "the unprotected header";
        r = next_kind(p, CBOR_MAP, &item);
        if (r < 0)
                return r;
        if (item.value != 0)
                return refuse(p, "is not empty");
        p->where = "the payload";
        r = next_bytes(p, 1, DOCUMENT_MAX, &d->payload);
        if (r < 0)
                return r;
        p->where = "the signature";
        r = next_bytes(p, DOCUMENT_SIGNATURE_SIZE, DOCUMENT_SIGNATURE_SIZE, &d->signature);
        if (r < 0)
                return r;
        p->where = "the message";
        return at_end(p);
}

int document_parse(const void *data, size_t size, const char *source, struct document *ret, struct error *e) {
        struct parse p = { .r = reader_over(data, size), .where = "the message", .source = source, .e = e };
        struct document d = { .kind = DOCUMENT_NITROTPM };
        int r;

        if (size > DOCUMENT_MAX)
                return refuse(&p, "is larger than %d bytes", DOCUMENT_MAX);
        r = parse_message(&p, &d);
        if (r < 0)
                return r;
        p.r = reader_over(d.protected.data, d.protected.size);
        p.where = "the protected header";
        r = parse_protected(&p);
        if (r < 0)
                return r;
        p.r = reader_over(d.payload.data, d.payload.size);
        p.where = "the payload";
        r = parse_payload(&p, &d);
        if (r < 0)
                return r;
        *ret = d;
        return 0;
}

DEFINE_CLEANUP(EVP_MD_CTX *, EVP_MD_CTX_free, EVP_MD_CTX_freep)
DEFINE_CLEANUP(ECDSA_SIG *, ECDSA_SIG_free, ECDSA_SIG_freep)

/* COSE carries r || s; OpenSSL wants the DER of SEQUENCE { r, s }. */
static int signature_to_der(struct bytes signature, uint8_t **ret, size_t *ret_n) {
        _cleanup_(ECDSA_SIG_freep) ECDSA_SIG *sig = ECDSA_SIG_new();
        size_t half = signature.size / 2;
        uint8_t *der = NULL;
        BIGNUM *r, *s;
        int n;

        r = BN_bin2bn(signature.data, (int) half, NULL);
        s = BN_bin2bn(signature.data + half, (int) half, NULL);
        if (!sig || !r || !s || ECDSA_SIG_set0(sig, r, s) != 1) {
                BN_free(r);
                BN_free(s);
                return -ENOMEM;
        }
        n = i2d_ECDSA_SIG(sig, &der);
        if (n < 0)
                return -ENOMEM;
        *ret = der;
        *ret_n = (size_t) n;
        return 0;
}

/* The head of a byte string, in its shortest form. */
static size_t bytes_head(size_t n, uint8_t head[static 3]) {
        if (n < 24) {
                head[0] = (uint8_t) (0x40 | n);
                return 1;
        }
        if (n <= UINT8_MAX) {
                head[0] = 0x58;
                head[1] = (uint8_t) n;
                return 2;
        }
        head[0] = 0x59;
        head[1] = (uint8_t) (n >> 8);
        head[2] = (uint8_t) n;
        return 3;
}

static int digest_sig_structure(EVP_MD_CTX *ctx, const struct document *d) {
        static const uint8_t prefix[] = { 0x84, 0x6a, 'S', 'i', 'g', 'n', 'a', 't', 'u', 'r', 'e', '1' };
        static const uint8_t external_aad = 0x40;
        uint8_t head[3];

        if (EVP_DigestVerifyUpdate(ctx, prefix, sizeof prefix) != 1 ||
            EVP_DigestVerifyUpdate(ctx, head, bytes_head(d->protected.size, head)) != 1 ||
            EVP_DigestVerifyUpdate(ctx, d->protected.data, d->protected.size) != 1 ||
            EVP_DigestVerifyUpdate(ctx, &external_aad, 1) != 1 ||
            EVP_DigestVerifyUpdate(ctx, head, bytes_head(d->payload.size, head)) != 1 ||
            EVP_DigestVerifyUpdate(ctx, d->payload.data, d->payload.size) != 1)
                return -ENOMEM;
        return 0;
}

int document_signature(const struct document *d, const char *source, EVP_PKEY *key, struct error *e) {
        _cleanup_(EVP_MD_CTX_freep) EVP_MD_CTX *ctx = EVP_MD_CTX_new();
        _cleanup_free_ uint8_t *der = NULL;
        size_t n;

        if (!ctx || EVP_DigestVerifyInit(ctx, NULL, EVP_sha384(), NULL, key) != 1 || digest_sig_structure(ctx, d) < 0 ||
            signature_to_der(d->signature, &der, &n) < 0)
                return fail_oom(e);
        if (EVP_DigestVerifyFinal(ctx, der, n) != 1)
                return fail(e, FAILURE_DOCUMENT, -EBADMSG, source,
                            "the signature does not verify: the document was altered, or another key signed it");
        return 0;
}
