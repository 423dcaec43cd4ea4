/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include "basic/encode.h"
#include "basic/file.h"
#include "basic/secret.h"
#include "owner/frame-write.h"
#include "owner/message-write.h"

/* One message, made by another implementation (HKDF and AES-GCM of python3-cryptography): data key 40..5f, message id
 * 00..1f, frame length 16, 40 bytes of plaintext. */
static const uint8_t start[] = { 0x02, 0x04, 0x78 };
static const uint8_t id[] = {
        0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09, 0x0a, 0x0b, 0x0c, 0x0d, 0x0e, 0x0f,
        0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18, 0x19, 0x1a, 0x1b, 0x1c, 0x1d, 0x1e, 0x1f,
};
#define CONTEXT "\0\x18\0\2\0\5model\0\1m\0\7version\0\0011"
#define DATA_KEYS "\0\1\0\7aws-kms\0\5arn:k\0\3\xaa\xbb\xcc"
#define FRAMED "\2\0\0\0\x10"
static const uint8_t commit[] = {
        0xc1, 0x84, 0xa4, 0xc2, 0x73, 0x7a, 0x5e, 0xf8, 0x33, 0xe4, 0x22, 0x92, 0xcf, 0x4c, 0x10, 0x59,
        0xfe, 0x91, 0xbf, 0x0c, 0x44, 0x7f, 0x11, 0x0b, 0xf7, 0x78, 0x58, 0x6c, 0xe5, 0x83, 0x80, 0x04,
};
static const uint8_t tag[] = {
        0xe2, 0x8a, 0x04, 0x3a, 0xf6, 0x5c, 0xe6, 0xda, 0xd5, 0x68, 0x50, 0x6c, 0x29, 0xa5, 0x81, 0x97,
};
static const uint8_t frame_1[] = {
        0x00, 0x00, 0x00, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x01,
        0x8e, 0xcb, 0x89, 0xae, 0x8a, 0x5f, 0x1f, 0x52, 0x42, 0xad, 0xce, 0x5b, 0x5a, 0x0e, 0xd2, 0x08,
        0xa7, 0xef, 0xb2, 0x30, 0x1d, 0x7e, 0x76, 0x1a, 0x58, 0xa2, 0xa0, 0xbc, 0xdf, 0xe1, 0xcd, 0xd1,
};
static const uint8_t frame_2[] = {
        0x00, 0x00, 0x00, 0x02, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x02,
        0xc5, 0xf6, 0x05, 0xb5, 0xc9, 0x9c, 0xf2, 0x44, 0x81, 0x43, 0xa9, 0xdc, 0x9b, 0x61, 0xdb, 0xee,
        0x50, 0xbe, 0x10, 0xc3, 0xcd, 0x78, 0x5d, 0xff, 0x24, 0x4e, 0xc4, 0xa1, 0x5e, 0x94, 0xfd, 0xe2,
};
static const uint8_t frame_3[] = {
        0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x03, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x00, 0x00, 0x00, 0x03, 0x00, 0x00, 0x00, 0x08, 0xc4, 0x61, 0x6a, 0x5e, 0x8e, 0xcd, 0xf1, 0x74,
        0xd6, 0x49, 0x91, 0xe7, 0xcc, 0xe9, 0x57, 0xf7, 0x14, 0x31, 0x12, 0x14, 0xb6, 0xae, 0xe1, 0xb8,
};
/* The two ways to end after 32 bytes: frame 2 as a full final frame, or frame 2 as it is and then this. */
static const uint8_t final_full[] = {
        0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x02, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x00, 0x00, 0x00, 0x00, 0x00, 0x02, 0x00, 0x00, 0x00, 0x10, 0xc5, 0xf6, 0x05, 0xb5,
        0xc9, 0x9c, 0xf2, 0x44, 0x81, 0x43, 0xa9, 0xdc, 0x9b, 0x61, 0xdb, 0xee, 0x1e, 0xff,
        0x39, 0x6b, 0xd7, 0x7d, 0xa4, 0x56, 0x18, 0x7b, 0x5f, 0x7c, 0xab, 0x3c, 0x2c, 0xb1,
};
static const uint8_t final_empty[] = {
        0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x03, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x00, 0x00, 0x00, 0x00, 0x00, 0x03, 0x00, 0x00, 0x00, 0x00, 0xcb, 0x6e, 0x59, 0xd1,
        0x69, 0xf8, 0x28, 0xe1, 0x5a, 0x3a, 0x68, 0x06, 0x7f, 0x21, 0x77, 0xea,
};
static const char plaintext[] = "Weights weights, weights: forty of them!";

enum { HEADER = 137, BODY = 121, CONTEXT_AT = 35, KEYS_AT = 61, FRAMED_AT = 84, TWO_FRAMES = HEADER + 48 + 56 };

struct bytes {
        uint8_t data[512];
        size_t n;
};

static void append(struct bytes *b, const void *data, size_t n) {
        assert_true(b->n + n <= sizeof b->data);
        memcpy(b->data + b->n, data, n);
        b->n += n;
}

#define APPEND(b, array) append(b, array, sizeof(array))
#define APPEND_TEXT(b, text) append(b, text, sizeof(text) - 1)

/* A header with its context, data keys and content type replaced: the structure is judged before any tag. */
static struct bytes header_of(const char *context, size_t n_context, const char *keys, size_t n_keys,
                              const char *framed, size_t n_framed) {
        struct bytes b = { .n = 0 };

        APPEND(&b, start);
        APPEND(&b, id);
        append(&b, context, n_context);
        append(&b, keys, n_keys);
        append(&b, framed, n_framed);
        APPEND(&b, commit);
        APPEND(&b, tag);
        return b;
}
#define HEADER_OF(context, keys, framed) \
        header_of(context, sizeof(context) - 1, keys, sizeof(keys) - 1, framed, sizeof(framed) - 1)

static struct bytes message(void) {
        struct bytes b = HEADER_OF(CONTEXT, DATA_KEYS, FRAMED);

        APPEND(&b, frame_1);
        APPEND(&b, frame_2);
        APPEND(&b, frame_3);
        return b;
}

static struct secret *data_key(void) {
        struct secret *key;

        assert_int_equal(secret_new(DATA_KEY_SIZE, &key), 0);
        for (unsigned i = 0; i < DATA_KEY_SIZE; i++)
                key->data[i] = (uint8_t) (0x40 + i);
        return key;
}

static int open_bytes(const struct bytes *b, bool any_iv, struct bytes *ret, struct error *e) {
        _cleanup_message_header_ struct message_header *h = NULL;
        _cleanup_secret_ struct secret *key = data_key();
        _cleanup_free_ uint8_t *out = NULL;
        size_t n;
        int r;

        r = message_header_parse(b->data, b->n, "object", &h, e);
        if (r == 0)
                r = message_open(h, b->data, b->n, key, any_iv, "object", &out, &n, e);
        if (r == 0 && ret) {
                ret->n = 0;
                append(ret, out, n);
        }
        return r;
}

static void test_header(void **state) {
        _cleanup_message_header_ struct message_header *h = NULL;
        struct bytes b = message();
        struct error e = { 0 };

        (void) state;
        assert_ok(message_header_parse(b.data, b.n, "object", &h, &e), &e);
        assert_memory_equal(h->id, id, sizeof id);
        assert_int_equal(h->n_context, 2);
        assert_string_equal(h->context[0].name, "model");
        assert_string_equal(message_header_context(h, "model"), "m");
        assert_string_equal(message_header_context(h, "version"), "1");
        assert_null(message_header_context(h, "absent"));
        assert_int_equal(h->n_data_keys, 1);
        assert_string_equal(h->data_keys[0].provider, "aws-kms");
        assert_string_equal(h->data_keys[0].info, "arn:k");
        assert_int_equal(h->data_keys[0].ciphertext_size, 3);
        assert_memory_equal(h->data_keys[0].ciphertext, "\xaa\xbb\xcc", 3);
        assert_int_equal(h->frame_length, 16);
        assert_memory_equal(h->commit_key, commit, sizeof commit);
        assert_int_equal(h->body_size, BODY);
        assert_int_equal(h->size, HEADER);
        assert_memory_equal(h->bytes, b.data, HEADER);
}

static void test_header_cut_at_every_byte(void **state) {
        struct bytes b = message();

        (void) state;
        for (size_t n = 0; n < HEADER; n++) {
                /* An exact-size copy, so that a read past the end is one that valgrind and ASan see. */
                _cleanup_free_ uint8_t *copy = malloc(n + 1);
                struct message_header *h = NULL;
                struct error e = { 0 };

                memcpy(copy, b.data, n);
                assert_int_equal(message_header_parse(copy, n, "object", &h, &e), -EAGAIN);
                assert_int_equal(e.failure, FAILURE_SEALED_FORMAT);
                assert_null(h);
        }
}

static void test_header_without_context(void **state) {
        struct bytes b = HEADER_OF("\0\0", DATA_KEYS, FRAMED);
        _cleanup_message_header_ struct message_header *h = NULL;
        struct error e = { 0 };

        (void) state;
        assert_ok(message_header_parse(b.data, b.n, "object", &h, &e), &e);
        assert_int_equal(h->n_context, 0);
}

static void test_suites_are_refused_with_their_reason(void **state) {
        static const struct {
                uint8_t bytes[4];
                const char *reason;
        } table[] = {
                { { 2, 0x05, 0x78 }, "0x0578 instead of 0x0478: it is signed" },
                { { 2, 0x03, 0x78 }, "0x0378 instead of 0x0478: it has no key commitment" },
                { { 2, 0x04, 0x79 }, "0x0479 instead of 0x0478: no such suite" },
                { { 1, 0x80, 0x00, 0x14 }, "0x0014 instead of 0x0478: it has no key commitment" },
                { { 1, 0x80, 0x00, 0x46 }, "0x0046 instead of 0x0478: it has no key commitment" },
                { { 1, 0x80, 0x00, 0x78 }, "0x0078 instead of 0x0478: it has no key commitment" },
                { { 1, 0x80, 0x01, 0x14 }, "0x0114 instead of 0x0478: it has no key commitment" },
                { { 1, 0x80, 0x01, 0x46 }, "0x0146 instead of 0x0478: it has no key commitment" },
                { { 1, 0x80, 0x01, 0x78 }, "0x0178 instead of 0x0478: it has no key commitment" },
                { { 1, 0x80, 0x02, 0x14 }, "0x0214 instead of 0x0478: it has no key commitment" },
                { { 1, 0x80, 0x03, 0x46 }, "0x0346 instead of 0x0478: it has no key commitment" },
                { { 1, 0x80, 0x03, 0x78 }, "0x0378 instead of 0x0478: it has no key commitment" },
        };

        (void) state;
        for (size_t i = 0; i < ELEMENTS(table); i++) {
                struct message_header *h = NULL;
                struct error e = { 0 };

                assert_refused(message_header_parse(table[i].bytes, sizeof table[i].bytes, "object", &h, &e), &e,
                               FAILURE_SUITE, table[i].reason);
        }
}

static void test_not_a_message(void **state) {
        static const char *const table[] = { "GGUF", "{\"a\"", "\x03\x04\x78\x01", "\x01\x7f\x03\x78" };

        (void) state;
        for (size_t i = 0; i < ELEMENTS(table); i++) {
                struct message_header *h = NULL;
                struct error e = { 0 };

                assert_refused(message_header_parse((const uint8_t *) table[i], 4, "object", &h, &e), &e,
                               FAILURE_SEALED_FORMAT, "is not a sealed file");
        }
}

static void test_malformed_headers(void **state) {
        const struct {
                struct bytes header;
                enum failure failure;
                const char *reason;
        } table[] = {
                { HEADER_OF("\0\x18\0\2\0\7version\0\0011\0\5model\0\1m", DATA_KEYS, FRAMED), FAILURE_SEALED_FORMAT,
                  "not in ascending order" },
                { HEADER_OF("\0\x0e\0\2\0\1a\0\1x\0\1a\0\1y", DATA_KEYS, FRAMED), FAILURE_SEALED_FORMAT,
                  "not in ascending order" },
                { HEADER_OF("\0\x09\0\1\0\2a\0\0\1x", DATA_KEYS, FRAMED), FAILURE_SEALED_FORMAT,
                  "at byte 43: a NUL character" },
                { HEADER_OF("\0\x08\0\1\0\1a\0\1\xff", DATA_KEYS, FRAMED), FAILURE_SEALED_FORMAT, "not UTF-8" },
                { HEADER_OF("\0\x02\0\0", DATA_KEYS, FRAMED), FAILURE_SEALED_FORMAT, "without entries" },
                { HEADER_OF("\0\1\0", DATA_KEYS, FRAMED), FAILURE_SEALED_FORMAT, "without entries" },
                { HEADER_OF("\0\x08\0\1\0\1a\0\x09x", DATA_KEYS, FRAMED), FAILURE_SEALED_FORMAT,
                  "longer than the context" },
                { HEADER_OF("\0\x08\0\2\0\1a\0\1x", DATA_KEYS, FRAMED), FAILURE_SEALED_FORMAT,
                  "longer than the context" },
                { HEADER_OF("\0\x09\0\1\0\1a\0\1xz", DATA_KEYS, FRAMED), FAILURE_SEALED_FORMAT,
                  "at byte 45: bytes after" },
                { HEADER_OF(CONTEXT, "\0\0", FRAMED), FAILURE_SEALED_FORMAT, "no encrypted data key" },
                { HEADER_OF(CONTEXT, "\0\1\0\2k\0\0\0\0\0", FRAMED), FAILURE_SEALED_FORMAT, "a NUL character" },
                { HEADER_OF(CONTEXT, DATA_KEYS, "\1\0\0\0\0"), FAILURE_SUITE, "not framed" },
                { HEADER_OF(CONTEXT, DATA_KEYS, "\3\0\0\0\x10"), FAILURE_SEALED_FORMAT, "unknown content type" },
                { HEADER_OF(CONTEXT, DATA_KEYS, "\2\0\0\0\0"), FAILURE_SEALED_FORMAT, "frame length of zero" },
        };

        (void) state;
        for (size_t i = 0; i < ELEMENTS(table); i++) {
                struct message_header *h = NULL;
                struct error e = { 0 };

                assert_refused(message_header_parse(table[i].header.data, table[i].header.n, "object", &h, &e), &e,
                               table[i].failure, table[i].reason);
                assert_null(h);
        }
}

/* A hostile header that never ends is refused at the cap, and one with many keys that does end is not. */
static void test_header_cap(void **state) {
        size_t size = 2 * MESSAGE_HEADER_MAX;
        _cleanup_free_ uint8_t *data = calloc(1, size);
        struct bytes b = HEADER_OF(CONTEXT, "\xff\xff", "");
        struct message_header *h = NULL;
        struct error e = { 0 };

        (void) state;
        memcpy(data, b.data, KEYS_AT + 2);
        assert_int_equal(message_header_parse(data, MESSAGE_HEADER_MAX - 1, "object", &h, &e), -EAGAIN);
        assert_refused(message_header_parse(data, MESSAGE_HEADER_MAX, "object", &h, &e), &e, FAILURE_SEALED_FORMAT,
                       "longer than any header");
        assert_refused(message_header_parse(data, size, "object", &h, &e), &e, FAILURE_SEALED_FORMAT,
                       "longer than any header");
}

static void test_open(void **state) {
        struct bytes b = message(), out = { .n = 0 };
        struct error e = { 0 };

        (void) state;
        assert_ok(open_bytes(&b, false, &out, &e), &e);
        assert_int_equal(out.n, 40);
        assert_memory_equal(out.data, plaintext, 40);
}

static void test_exact_multiple_ends_either_way(void **state) {
        struct bytes b = HEADER_OF(CONTEXT, DATA_KEYS, FRAMED), out = { .n = 0 };
        struct error e = { 0 };

        (void) state;
        APPEND(&b, frame_1);
        APPEND(&b, final_full);
        assert_int_equal(b.n, TWO_FRAMES);
        assert_ok(open_bytes(&b, false, &out, &e), &e);
        assert_int_equal(out.n, 32);
        assert_memory_equal(out.data, plaintext, 32);

        b.n = HEADER + sizeof frame_1;
        APPEND(&b, frame_2);
        APPEND(&b, final_empty);
        assert_ok(open_bytes(&b, false, &out, &e), &e);
        assert_int_equal(out.n, 32);
        assert_memory_equal(out.data, plaintext, 32);
}

/* Whatever single bit is turned over, nothing is put out: by the header's tag, the commitment, the structure or a
 * frame's tag. */
static void test_every_bit_counts(void **state) {
        struct bytes b = message();

        (void) state;
        for (size_t bit = 0; bit < 8 * b.n; bit++) {
                struct error e = { 0 };

                b.data[bit / 8] ^= (uint8_t) (1 << bit % 8);
                if (open_bytes(&b, true, NULL, &e) == 0)
                        fail_msg("bit %zu of byte %zu was turned over and nobody noticed", bit % 8, bit / 8);
                b.data[bit / 8] ^= (uint8_t) (1 << bit % 8);
        }
}

static void test_altered_headers_fail_as_such(void **state) {
        static const struct {
                size_t at;
                const char *reason;
        } table[] = {
                { FRAMED_AT + 5, "does not match its key commitment" },            /* the commitment itself */
                { 3, "does not match its key commitment" },                        /* message id: other keys come out */
                { BODY, "was altered: the tag of the message header" },            /* its tag */
                { CONTEXT_AT + 13, "was altered: the tag of the message header" }, /* "m" */
                { KEYS_AT + 20, "was altered: the tag of the message header" },    /* the data key's ciphertext */
        };

        (void) state;
        for (size_t i = 0; i < ELEMENTS(table); i++) {
                struct bytes b = message();
                struct error e = { 0 };

                b.data[table[i].at] ^= 1;
                assert_refused(open_bytes(&b, false, NULL, &e), &e, FAILURE_AUTHENTICATION, table[i].reason);
        }
}

static void test_frames_out_of_place(void **state) {
        struct bytes b = HEADER_OF(CONTEXT, DATA_KEYS, FRAMED);
        struct error e = { 0 };

        (void) state;
        APPEND(&b, frame_2);
        APPEND(&b, frame_1);
        APPEND(&b, frame_3);
        assert_refused(open_bytes(&b, false, NULL, &e), &e, FAILURE_SEALED_FORMAT,
                       "frame 2 at position 1: frames were moved");

        b.n = HEADER; /* a frame lost */
        APPEND(&b, frame_1);
        APPEND(&b, frame_3);
        assert_refused(open_bytes(&b, false, NULL, &e), &e, FAILURE_SEALED_FORMAT,
                       "frame 3 at position 2: frames were moved");

        b.n = HEADER; /* moved, with a number that fits its new place */
        APPEND(&b, frame_2);
        APPEND(&b, frame_2);
        APPEND(&b, frame_3);
        b.data[HEADER + 3] = b.data[HEADER + 15] = 1;
        assert_refused(open_bytes(&b, false, NULL, &e), &e, FAILURE_AUTHENTICATION,
                       "was altered: the tag of frame 1 of 3");

        b.n = HEADER; /* a final frame where another follows: the size puts the head of the last one elsewhere */
        APPEND(&b, frame_1);
        APPEND(&b, final_full);
        APPEND(&b, frame_3);
        assert_refused(open_bytes(&b, false, NULL, &e), &e, FAILURE_SEALED_FORMAT, "has a final frame");

        b.n = HEADER; /* a final frame in the place of a regular one */
        APPEND(&b, frame_1);
        append(&b, final_full, 48);
        APPEND(&b, frame_3);
        assert_refused(open_bytes(&b, false, NULL, &e), &e, FAILURE_SEALED_FORMAT,
                       "has a final frame at position 2 of 3");
}

static void test_iv_must_be_the_sequence_number(void **state) {
        struct bytes b = message();
        struct error e = { 0 };

        (void) state;
        b.data[HEADER + 4] = 0x80;
        assert_refused(open_bytes(&b, false, NULL, &e), &e, FAILURE_SEALED_FORMAT,
                       "an IV in frame 1 that is not its sequence number");
        assert_refused(open_bytes(&b, true, NULL, &e), &e, FAILURE_AUTHENTICATION,
                       "was altered: the tag of frame 1 of 3");
}

static void test_truncated_or_trailing(void **state) {
        struct bytes whole = message();

        (void) state;
        for (size_t n = HEADER; n < whole.n + 64; n++) {
                struct bytes b = whole;
                struct error e = { 0 };

                if (n == whole.n)
                        continue;
                b.n = n;
                if (open_bytes(&b, false, NULL, &e) == 0 || e.failure != FAILURE_SEALED_FORMAT)
                        fail_msg("%zu of %zu bytes: %s: %s", n, whole.n, failure_info(e.failure)->name, e.reason);
        }
}

static void test_geometry(void **state) {
        static const struct {
                uint32_t frame_length;
                uint64_t size; /* beside the header */
                int r;
                uint64_t plaintext;
                uint32_t n_frames, final_length;
        } table[] = {
                { 16, 0, -EBADMSG, 0, 0, 0 },
                { 16, 39, -EBADMSG, 0, 0, 0 },
                { 16, 40, 0, 0, 1, 0 },
                { 16, 41, 0, 1, 1, 1 },
                { 16, 56, 0, 16, 1, 16 }, /* one full final frame */
                { 16, 57, -EBADMSG, 0, 0, 0 },
                { 16, 87, -EBADMSG, 0, 0, 0 },
                { 16, 88, 0, 16, 2, 0 }, /* a frame and an empty final one */
                { 16, 89, 0, 17, 2, 1 },
                { 1, 40 + 33 * 1000, 0, 1000, 1001, 0 },
                { 1, 40 + 33 * 1000 + 1, 0, 1001, 1001, 1 },
                { 1, 40 + 33 * 1000 + 2, -EBADMSG, 0, 0, 0 },
                { 4096, 40 + 4128ULL * 1000000, 0, 4096000000, 1000001, 0 },
                { 1 << 20, 40 + ((1ULL << 20) + 32) * 409600 + 5, 0, (409600ULL << 20) + 5, 409601, 5 },
                { UINT32_MAX, 40 + (UINT32_MAX + 32ULL) + 7, 0, UINT32_MAX + 7ULL, 2, 7 },
                /* The last sequence number there is; one more would read as the mark of a final frame. */
                { 1, 40 + 33 * 0xfffffffdULL, 0, 0xfffffffd, 0xfffffffe, 0 },
                { 1, 40 + 33 * 0xfffffffeULL, -EBADMSG, 0, 0, 0 },
                { 1, UINT64_MAX - HEADER, -EBADMSG, 0, 0, 0 },
        };
        struct bytes b = message();
        _cleanup_message_header_ struct message_header *h = NULL;
        struct error e = { 0 };

        (void) state;
        assert_ok(message_header_parse(b.data, b.n, "object", &h, &e), &e);
        for (size_t i = 0; i < ELEMENTS(table); i++) {
                struct message_geometry g;

                h->frame_length = table[i].frame_length;
                assert_int_equal(message_geometry(h, HEADER + table[i].size, "object", &g, &e), table[i].r);
                if (table[i].r < 0)
                        continue;
                assert_int_equal(g.plaintext_size, table[i].plaintext);
                assert_int_equal(g.n_frames, table[i].n_frames);
                assert_int_equal(g.final_length, table[i].final_length);
                assert_int_equal(message_frame_plaintext(&g, g.n_frames - 1), table[i].final_length);
                assert_int_equal(message_frame_offset(&g, g.n_frames - 1) + MESSAGE_FINAL_EXTRA + g.final_length,
                                 g.object_size);
        }
        h->frame_length = 16;
        assert_refused(message_geometry(h, HEADER - 1, "object", &(struct message_geometry) { 0 }, &e), &e,
                       FAILURE_SEALED_FORMAT, "truncated");
}

static void test_object_size_is_the_geometry_backwards(void **state) {
        struct bytes b = message();
        _cleanup_message_header_ struct message_header *h = NULL;
        struct error e = { 0 };

        (void) state;
        assert_ok(message_header_parse(b.data, b.n, "object", &h, &e), &e);
        for (uint64_t n = 0; n < 100; n++) {
                struct message_geometry g;

                assert_ok(message_geometry(h, message_object_size(HEADER, 16, n), "object", &g, &e), &e);
                assert_int_equal(g.plaintext_size, n);
                assert_int_equal(g.n_frames, n == 0 ? 1 : (n + 15) / 16);
        }
}

/* What we write, we read; and it is the other implementation's bytes when it has the same id and key. */
static void test_sealing(void **state) {
        struct pair context[] = { { "version", "1" }, { "model", "m" } };
        struct message_data_key key = { (char *) "aws-kms", (char *) "arn:k", 5, (uint8_t *) "\xaa\xbb\xcc", 3 };
        _cleanup_message_header_ struct message_header *h = NULL, *again = NULL, *theirs = NULL;
        _cleanup_secret_ struct secret *dk = data_key(), *file_key = NULL, *file_key_again = NULL, *their_key = NULL;
        _cleanup_(frame_cipher_freep) struct frame_cipher *cipher = NULL;
        struct bytes b = message(), out = { .n = 0 };
        struct error e = { 0 };

        (void) state;
        assert_ok(message_header_new(context, 2, &key, 1, 16, dk, &h, &file_key, &e), &e);
        assert_ok(message_header_new(context, 2, &key, 1, 16, dk, &again, &file_key_again, &e), &e);
        assert_int_equal(h->size, HEADER);
        assert_memory_equal(h->bytes + CONTEXT_AT, b.data + CONTEXT_AT, FRAMED_AT + 5 - CONTEXT_AT);
        assert_memory_not_equal(h->id, again->id, MESSAGE_ID_SIZE);
        assert_memory_not_equal(file_key->data, file_key_again->data, MESSAGE_KEY_SIZE);
        assert_true(message_header_same_key(h, again));

        assert_ok(message_header_parse(b.data, b.n, "object", &theirs, &e), &e);
        assert_true(message_header_same_key(h, theirs));
        assert_ok(message_file_key(theirs, dk, "object", &their_key, &e), &e);
        assert_ok(frame_cipher_new(true, &cipher, &e), &e);
        assert_int_equal(frame_cipher_key(cipher, their_key, theirs->id), 0);
        out.n += (size_t) frame_seal(cipher, 1, false, plaintext, 16, out.data + out.n);
        out.n += (size_t) frame_seal(cipher, 2, false, plaintext + 16, 16, out.data + out.n);
        out.n += (size_t) frame_seal(cipher, 3, true, plaintext + 32, 8, out.data + out.n);
        assert_int_equal(out.n, b.n - HEADER);
        assert_memory_equal(out.data, b.data + HEADER, out.n);
}

static void test_sealing_refuses(void **state) {
        struct pair twice[] = { { "a", "x" }, { "a", "y" } };
        struct message_data_key key = { (char *) "aws-kms", (char *) "arn:k", 5, (uint8_t *) "\xaa\xbb\xcc", 3 };
        _cleanup_secret_ struct secret *dk = data_key(), *file_key = NULL, *half = NULL;
        _cleanup_free_ char *huge = malloc(70000);
        struct message_header *h = NULL;
        struct error e = { 0 };

        (void) state;
        assert_refused(message_header_new(twice, 2, &key, 1, 16, dk, &h, &file_key, &e), &e, FAILURE_SEALED_FORMAT,
                       "not in ascending order");
        assert_refused(message_header_new(twice, 1, &key, 1, 0, dk, &h, &file_key, &e), &e, FAILURE_SEALED_FORMAT,
                       "frame length of zero");
        memset(huge, 'x', 69999);
        huge[69999] = '\0';
        twice[0].value = huge;
        assert_refused(message_header_new(twice, 1, &key, 1, 16, dk, &h, &file_key, &e), &e, FAILURE_CONTEXT,
                       "at most 65535");
        key.info = huge;
        key.info_size = 69999;
        assert_refused(message_header_new(NULL, 0, &key, 1, 16, dk, &h, &file_key, &e), &e, FAILURE_SEALED_FORMAT,
                       "does not fit");
        key.info_size = 5;
        assert_int_equal(secret_new(16, &half), 0);
        assert_refused(message_header_new(NULL, 0, &key, 1, 16, half, &h, &file_key, &e), &e, FAILURE_SEALED_FORMAT,
                       "16 bytes instead of 32");
}

static void test_same_key(void **state) {
        static const struct {
                size_t at;
                bool same;
        } table[] = {
                { 3, true },                /* the message id differs for every file */
                { BODY, true },             /* and so does the tag */
                { CONTEXT_AT + 13, false }, /* a context value */
                { CONTEXT_AT + 20, false }, /* a context key */
                { KEYS_AT + 4, false },     /* provider */
                { KEYS_AT + 15, false },    /* key ARN */
                { KEYS_AT + 20, false },    /* ciphertext */
        };
        struct bytes b = message();
        _cleanup_message_header_ struct message_header *h = NULL;
        struct error e = { 0 };

        (void) state;
        assert_ok(message_header_parse(b.data, b.n, "object", &h, &e), &e);
        for (size_t i = 0; i < ELEMENTS(table); i++) {
                _cleanup_message_header_ struct message_header *other = NULL;

                b.data[table[i].at] ^= 1;
                assert_ok(message_header_parse(b.data, b.n, "object", &other, &e), &e);
                assert_int_equal(message_header_same_key(h, other), table[i].same);
                b.data[table[i].at] ^= 1;
        }
}

/* $SEALBOOT_SHARED, or shared/ beside the source tree. */
static void shared_directory(char *out, size_t n) {
        const char *shared = getenv("SEALBOOT_SHARED"), *root = getenv("SEALBOOT_SOURCE_ROOT");

        snprintf(out, n, "%s%s", shared ? shared : root ? root : ".", shared ? "" : "/../shared");
}

static void read_vector(const char *directory, const char *name, uint8_t **ret, size_t *ret_n) {
        struct error e = { 0 };
        char path[512];

        snprintf(path, sizeof path, "%s/data/esdk/%s", directory, name);
        assert_ok(file_read(path, 1 << 20, FAILURE_IO, ret, ret_n, &e), &e);
}

/* AWS's own known answers, kept outside the source tree: three frames each, with IVs that are not the sequence numbers.
 */
static void test_vectors(void **state) {
        _cleanup_free_ uint8_t *keys = NULL, *expected = NULL;
        char shared[256], path[512];
        size_t n_keys, n_expected;
        unsigned opened = 0, signed_ = 0;
        char *save = NULL;

        (void) state;
        shared_directory(shared, sizeof shared);
        snprintf(path, sizeof path, "%s/data/esdk/data-keys.txt", shared);
        if (access(path, R_OK) < 0) {
                print_message("skipped: there is no %s\n", path);
                skip();
        }
        read_vector(shared, "data-keys.txt", &keys, &n_keys);
        read_vector(shared, "plaintext", &expected, &n_expected);
        for (char *line = strtok_r((char *) keys, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
                _cleanup_message_header_ struct message_header *h = NULL;
                _cleanup_free_ uint8_t *object = NULL, *out = NULL;
                _cleanup_secret_ struct secret *key = NULL;
                char name[64], file[80], hex[65];
                struct error e = { 0 };
                size_t size, n;

                assert_int_equal(sscanf(line, "%54s %64s", name, hex), 2);
                snprintf(file, sizeof file, "%s.message", name);
                read_vector(shared, file, &object, &size);
                if (strstr(name, "0578")) {
                        assert_refused(message_header_parse(object, size, name, &h, &e), &e, FAILURE_SUITE,
                                       "it is signed");
                        signed_++;
                        continue;
                }
                assert_int_equal(secret_new(DATA_KEY_SIZE, &key), 0);
                assert_int_equal(hex_decode(hex, key->data, key->size), 0);
                assert_ok(message_header_parse(object, size, name, &h, &e), &e);
                assert_ok(message_open(h, object, size, key, true, name, &out, &n, &e), &e);
                assert_int_equal(n, n_expected);
                assert_memory_equal(out, expected, n);
                opened++;
        }
        assert_int_equal(opened, 3);
        assert_int_equal(signed_, 3);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_header),
                cmocka_unit_test(test_header_cut_at_every_byte),
                cmocka_unit_test(test_header_without_context),
                cmocka_unit_test(test_suites_are_refused_with_their_reason),
                cmocka_unit_test(test_not_a_message),
                cmocka_unit_test(test_malformed_headers),
                cmocka_unit_test(test_header_cap),
                cmocka_unit_test(test_open),
                cmocka_unit_test(test_exact_multiple_ends_either_way),
                cmocka_unit_test(test_every_bit_counts),
                cmocka_unit_test(test_altered_headers_fail_as_such),
                cmocka_unit_test(test_frames_out_of_place),
                cmocka_unit_test(test_iv_must_be_the_sequence_number),
                cmocka_unit_test(test_truncated_or_trailing),
                cmocka_unit_test(test_geometry),
                cmocka_unit_test(test_object_size_is_the_geometry_backwards),
                cmocka_unit_test(test_sealing),
                cmocka_unit_test(test_sealing_refuses),
                cmocka_unit_test(test_same_key),
                cmocka_unit_test(test_vectors),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
