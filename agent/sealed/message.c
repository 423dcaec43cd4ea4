/* SPDX-License-Identifier: Apache-2.0 */
#include "sealed/message.h"

#include <openssl/crypto.h>

#include "basic/reader.h"
#include "basic/utf8.h"
#include "sealed/message-key.h"
#include "sealed/other-format.h"

enum { VERSION_1 = 0x01, CONTENT_SINGLE = 0x01 };

void message_header_free(struct message_header *h) {
        if (!h)
                return;
        pairs_free(h->context, h->n_context);
        for (size_t i = 0; i < h->n_data_keys; i++) {
                free(h->data_keys[i].provider);
                free(h->data_keys[i].info);
                free(h->data_keys[i].ciphertext);
        }
        free(h->data_keys);
        free(h->bytes);
        free(h);
}

/* ---- parsing: each function returns -EAGAIN if the input ends too early, and another error, with e filled, if no more
 * bytes could make it a header */

struct parse {
        struct reader r;
        const char *subject;
        struct error *e;
};

static int malformed(struct parse *p, const char *what) {
        return fail(p->e, FAILURE_SEALED_FORMAT, -EBADMSG, p->subject,
                    "it has a malformed message header, at byte %zu: %s", p->r.offset, what);
}

static int counted_bytes(struct parse *p, const uint8_t **ret, uint16_t *ret_n) {
        return reader_be16(&p->r, ret_n) < 0 || reader_bytes(&p->r, *ret_n, ret) < 0 ? -EAGAIN : 0;
}

/* Copies the bytes of a counted field, and puts a NUL after them. */
static int counted_copy(struct parse *p, char **ret, size_t *ret_n) {
        const uint8_t *bytes;
        uint16_t n;
        char *s;

        if (counted_bytes(p, &bytes, &n) < 0)
                return -EAGAIN;
        s = calloc(1, (size_t) n + 1);
        if (!s)
                return fail_oom(p->e);
        memcpy(s, bytes, n);
        *ret = s;
        *ret_n = n;
        return 0;
}

static int counted_text(struct parse *p, char **ret) {
        size_t n;
        int r;

        r = counted_copy(p, ret, &n);
        if (r < 0)
                return r;
        if (strlen(*ret) != n)
                return malformed(p, "a NUL character in text");
        if (!utf8_valid(*ret, n))
                return malformed(p, "text that is not UTF-8");
        return 0;
}

static int refuse_suite(struct parse *p, uint16_t suite) {
        const char *why;

        switch (suite) {
        case 0x0578:
                why = "it is signed: the signature needs a serial hash over the whole message before any byte may be "
                      "used";
                break;
        case 0x0014:
        case 0x0046:
        case 0x0078:
        case 0x0114:
        case 0x0146:
        case 0x0178:
        case 0x0214:
        case 0x0346:
        case 0x0378:
                why = "it has no key commitment: one ciphertext could open to different plaintexts under different "
                      "keys";
                break;
        default:
                why = "no such suite is known";
        }
        return fail(p->e, FAILURE_SUITE, -EOPNOTSUPP, p->subject, "it has algorithm suite 0x%04x instead of 0x%04x: %s",
                    suite, MESSAGE_SUITE, why);
}

static int parse_version(struct parse *p) {
        const char *what = other_format(p->r.data, p->r.size);
        uint8_t version;
        uint16_t suite;

        if (reader_u8(&p->r, &version) < 0)
                return -EAGAIN;
        if (version == VERSION_1) {
                uint8_t type;

                /* No suite of format 1 has key commitment. Many other files begin with 01, too. */
                if (reader_u8(&p->r, &type) < 0 || reader_be16(&p->r, &suite) < 0)
                        return -EAGAIN;
                if (type == 0x80)
                        return refuse_suite(p, suite);
        }
        if (version != MESSAGE_VERSION)
                return fail(p->e, FAILURE_SEALED_FORMAT, -EBADMSG, p->subject,
                            "it is not a sealed file: it starts with byte %02x instead of message format version "
                            "02%s%s",
                            version, what ? "; it is " : "", what ?: "");
        if (what)
                return fail(p->e, FAILURE_SEALED_FORMAT, -EBADMSG, p->subject, "it is %s", what);
        if (reader_be16(&p->r, &suite) < 0)
                return -EAGAIN;
        return suite == MESSAGE_SUITE ? 0 : refuse_suite(p, suite);
}

static int take_pair(struct parse *p, struct pair *ret) {
        _cleanup_free_ char *name = NULL, *value = NULL;
        int r;

        r = counted_text(p, &name);
        if (r < 0)
                return r;
        r = counted_text(p, &value);
        if (r < 0)
                return r;
        *ret = (struct pair) { TAKE(name), TAKE(value) };
        return 0;
}

static int parse_context(struct parse *p, struct message_header *h) {
        size_t whole = p->r.size;
        uint16_t size, n;
        int r;

        if (reader_be16(&p->r, &size) < 0)
                return -EAGAIN;
        if (size == 0)
                return 0;
        if (reader_left(&p->r) < size)
                return -EAGAIN;
        /* The section is complete: if bytes are missing in it, no more input can help. */
        p->r.size = p->r.offset + size;
        if (reader_be16(&p->r, &n) < 0 || n == 0)
                return malformed(p, "an encryption context without entries");
        h->context = calloc(n, sizeof *h->context);
        if (!h->context)
                return fail_oom(p->e);
        for (size_t i = 0; i < n; i++) {
                r = take_pair(p, &h->context[i]);
                if (r == -EAGAIN)
                        return malformed(p, "an encryption context entry longer than the context");
                if (r < 0)
                        return r;
                h->n_context++;
                if (i > 0 && strcmp(h->context[i - 1].name, h->context[i].name) >= 0)
                        return malformed(p, "encryption context keys that are not in ascending order");
        }
        if (reader_left(&p->r) > 0)
                return malformed(p, "bytes after the encryption context's last entry");
        p->r.size = whole;
        return 0;
}

static int parse_data_keys(struct parse *p, struct message_header *h) {
        uint16_t n;
        int r;

        if (reader_be16(&p->r, &n) < 0)
                return -EAGAIN;
        if (n == 0)
                return malformed(p, "no encrypted data key");
        h->data_keys = calloc(n, sizeof *h->data_keys);
        if (!h->data_keys)
                return fail_oom(p->e);
        for (size_t i = 0; i < n; i++) {
                struct message_data_key *k = &h->data_keys[i];
                char *ciphertext;

                h->n_data_keys++;
                r = counted_text(p, &k->provider);
                if (r < 0)
                        return r;
                r = counted_copy(p, &k->info, &k->info_size);
                if (r < 0)
                        return r;
                r = counted_copy(p, &ciphertext, &k->ciphertext_size);
                if (r < 0)
                        return r;
                k->ciphertext = (uint8_t *) ciphertext;
        }
        return 0;
}

static int parse_rest(struct parse *p, struct message_header *h) {
        uint8_t content;

        if (reader_u8(&p->r, &content) < 0)
                return -EAGAIN;
        if (content == CONTENT_SINGLE)
                return fail(p->e, FAILURE_SUITE, -EOPNOTSUPP, p->subject,
                            "it has a body that is not framed: nothing of it could be authenticated before its last "
                            "byte; "
                            "seal "
                            "it with a frame length");
        if (content != MESSAGE_FRAMED)
                return malformed(p, "an unknown content type");
        if (reader_be32(&p->r, &h->frame_length) < 0)
                return -EAGAIN;
        if (h->frame_length == 0)
                return malformed(p, "a frame length of zero");
        if (reader_copy(&p->r, h->commit_key, sizeof h->commit_key) < 0)
                return -EAGAIN;
        h->body_size = p->r.offset;
        if (reader_copy(&p->r, h->tag, sizeof h->tag) < 0)
                return -EAGAIN;
        h->size = p->r.offset;
        return 0;
}

static int parse_header(struct parse *p, struct message_header *h) {
        int r;

        r = parse_version(p);
        if (r < 0)
                return r;
        if (reader_copy(&p->r, h->id, sizeof h->id) < 0)
                return -EAGAIN;
        r = parse_context(p, h);
        if (r < 0)
                return r;
        r = parse_data_keys(p, h);
        if (r < 0)
                return r;
        return parse_rest(p, h);
}

static int keep_bytes(struct message_header *h, const uint8_t *data, struct error *e) {
        h->bytes = malloc(h->size);
        if (!h->bytes)
                return fail_oom(e);
        memcpy(h->bytes, data, h->size);
        return 0;
}

int message_header_parse(const uint8_t *data, size_t size, const char *subject, struct message_header **ret,
                         struct error *e) {
        struct parse p = { reader_over(data, MIN_OF(size, (size_t) MESSAGE_HEADER_MAX)), subject, e };
        _cleanup_message_header_ struct message_header *h = NULL;
        int r;

        h = calloc(1, sizeof *h);
        if (!h)
                return fail_oom(e);
        r = parse_header(&p, h);
        if (r == -EAGAIN && size >= MESSAGE_HEADER_MAX)
                return malformed(&p, "longer than any header may be");
        if (r == -EAGAIN)
                return fail(e, FAILURE_SEALED_FORMAT, -EAGAIN, subject,
                            "it is truncated inside the message header, after %zu bytes", size);
        if (r < 0)
                return r;
        r = keep_bytes(h, data, e);
        if (r < 0)
                return r;
        *ret = TAKE(h);
        return 0;
}

bool message_header_same_context(const struct message_header *a, const struct message_header *b) {
        if (a->n_context != b->n_context)
                return false;
        for (size_t i = 0; i < a->n_context; i++)
                if (!streq(a->context[i].name, b->context[i].name) || !streq(a->context[i].value, b->context[i].value))
                        return false;
        return true;
}

bool message_header_same_key(const struct message_header *a, const struct message_header *b) {
        if (!message_header_same_context(a, b) || a->n_data_keys != b->n_data_keys)
                return false;
        for (size_t i = 0; i < a->n_data_keys; i++) {
                const struct message_data_key *x = &a->data_keys[i], *y = &b->data_keys[i];

                if (!streq(x->provider, y->provider) || x->info_size != y->info_size ||
                    memcmp(x->info, y->info, x->info_size) != 0 || x->ciphertext_size != y->ciphertext_size ||
                    memcmp(x->ciphertext, y->ciphertext, x->ciphertext_size) != 0)
                        return false;
        }
        return true;
}

const char *message_header_context(const struct message_header *h, const char *key) {
        for (size_t i = 0; i < h->n_context; i++)
                if (streq(h->context[i].name, key))
                        return h->context[i].value;
        return NULL;
}

/* ---- keys */

static int check_tag(const struct message_header *h, const struct secret *key) {
        _cleanup_(cipher_ctx_freep) EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
        uint8_t none[1];
        int n;

        if (!ctx || message_header_cipher(ctx, false, key, h->bytes, h->body_size) < 0 ||
            EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, MESSAGE_TAG_SIZE, (void *) h->tag) != 1)
                return -EIO;
        return EVP_CipherFinal_ex(ctx, none, &n) == 1 ? 0 : -EBADMSG;
}

int message_file_key(const struct message_header *h, const struct secret *data_key, const char *subject,
                     struct secret **ret, struct error *e) {
        _cleanup_secret_ struct secret *key = NULL;
        uint8_t commit[MESSAGE_KEY_SIZE];
        int r;

        r = message_keys_derive(h->id, data_key, &key, commit, e);
        if (r < 0)
                return r;
        if (CRYPTO_memcmp(commit, h->commit_key, sizeof commit) != 0)
                return fail(e, FAILURE_AUTHENTICATION, -EBADMSG, subject,
                            "it does not match its key commitment: it was sealed under another data key, or its header "
                            "was altered");
        r = check_tag(h, key);
        if (r == -EBADMSG)
                return fail(e, FAILURE_AUTHENTICATION, r, subject,
                            "it was altered: the tag of the message header does not verify");
        if (r < 0)
                return fail(e, FAILURE_INTERNAL, r, subject, "AES-256-GCM: " SECRET_MEMORY_FULL);
        *ret = TAKE(key);
        return 0;
}

/* ---- geometry */

int message_geometry(const struct message_header *h, uint64_t object_size, const char *subject,
                     struct message_geometry *ret, struct error *e) {
        uint64_t stride = (uint64_t) h->frame_length + MESSAGE_FRAME_EXTRA, body, regular, rest;

        if (object_size < h->size + MESSAGE_FINAL_EXTRA)
                return fail(e, FAILURE_SEALED_FORMAT, -EBADMSG, subject,
                            "it is truncated: %llu bytes cannot hold the header and a final frame",
                            (unsigned long long) object_size);
        body = object_size - h->size - MESSAGE_FINAL_EXTRA;
        regular = body / stride;
        rest = body % stride;
        if (rest > h->frame_length)
                return fail(e, FAILURE_SEALED_FORMAT, -EBADMSG, subject,
                            "it has %llu bytes, which no sequence of %u-byte frames has: truncated, or with trailing "
                            "bytes",
                            (unsigned long long) object_size, h->frame_length);
        /* FFFFFFFF marks the final frame, so it cannot be the sequence number of a frame. */
        if (regular + 1 >= MESSAGE_FINAL_MARK)
                return fail(e, FAILURE_SEALED_FORMAT, -EBADMSG, subject,
                            "it has more frames than there are sequence numbers");
        *ret = (struct message_geometry) {
                .object_size = object_size,
                .header_size = h->size,
                .plaintext_size = regular * h->frame_length + rest,
                .frame_length = h->frame_length,
                .n_frames = (uint32_t) regular + 1,
                .final_length = (uint32_t) rest,
        };
        return 0;
}

uint64_t message_frame_offset(const struct message_geometry *g, uint32_t index) {
        return g->header_size + (uint64_t) index * ((uint64_t) g->frame_length + MESSAGE_FRAME_EXTRA);
}

uint32_t message_frame_plaintext(const struct message_geometry *g, uint32_t index) {
        return message_frame_is_final(g, index) ? g->final_length : g->frame_length;
}
