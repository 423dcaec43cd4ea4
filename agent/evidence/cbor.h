/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A strict reader for CBOR (RFC 8949) over the cursor of basic/reader.h, and a writer for the few items that we send.
 * libcbor is not used: its decoder accepts input that must be refused here, and version 0.8 refuses COSE's one-byte
 * tag 18.
 *
 * The reader accepts definite lengths, integers of up to 64 bits, byte and text strings, arrays, maps, tags, false,
 * true and null. It also accepts maps of indefinite length, because the payloads of AWS's own attestation documents are
 * such maps. Everything else is -EBADMSG: other indefinite lengths, floats, other simple values, reserved heads, and an
 * item that is longer than the input. Nothing here allocates memory. Strings are borrowed from the input. The count of
 * an array or map is the sender's claim, so that no memory may be sized by it: take the items one by one.
 *
 * Like the cursor's own reads, each call writes its output on success only, and on error leaves the cursor in its
 * place. */

#include "basic/reader.h"

enum cbor_kind {
        CBOR_UINT,  /* value */
        CBOR_NINT,  /* -1 - value */
        CBOR_BYTES, /* data, size */
        CBOR_TEXT,  /* data, size: UTF-8 without NUL, checked; not NUL-terminated */
        CBOR_ARRAY, /* value items follow */
        CBOR_MAP,   /* value pairs of items follow */
        CBOR_TAG,   /* value is the tag; one item follows */
        CBOR_BOOL,  /* value is 0 or 1 */
        CBOR_NULL,
};

struct cbor_item {
        enum cbor_kind kind;
        uint64_t value;
        const uint8_t *data;
        size_t size;
};

/* The next item: for an array, a map or a tag its head only. A map of indefinite length is left to cbor_take_map(). */
int cbor_take(struct reader *r, struct cbor_item *ret) _must_check_;
/* The next item, which must be of this kind. */
int cbor_take_kind(struct reader *r, enum cbor_kind kind, struct cbor_item *ret) _must_check_;
/* The count of an array or map, CBOR_OPEN for a map of indefinite length. A count that could not fit into the bytes
 * left is -EBADMSG. */
#define CBOR_OPEN SIZE_MAX
int cbor_take_array(struct reader *r, size_t *ret_n) _must_check_;
int cbor_take_map(struct reader *r, size_t *ret_n) _must_check_;
/* Whether another pair of the map follows, `left` being what cbor_take_map() gave; passes the break of an open map. */
bool cbor_map_more(struct reader *r, size_t *left) _must_check_;

/* Passes one whole item, with what it holds; at most 16 levels deep. */
int cbor_skip(struct reader *r) _must_check_;

/* For input that arrives in pieces: 0 when the first `n` bytes hold one whole item, whose length is then *ret; -EAGAIN
 * when more bytes are needed, *ret > n being how many at least; -EBADMSG when no continuation could be well-formed. */
int cbor_measure(const void *data, size_t n, size_t *ret) _must_check_;

/* A map whose keys are text, checked against a table: an unknown key, a key twice, a missing key, a wrong kind or size
 * is -EBADMSG, and *ret_wrong (may be NULL) then says in a word or two what: it borrows from the table or is static,
 * never from the input. */
struct cbor_field {
        const char *key;
        enum cbor_kind kind;
        bool required;
        bool nullable;   /* null counts as absent */
        size_t min, max; /* CBOR_BYTES, CBOR_TEXT: the inclusive range of the size */
        struct cbor_item
                *ret; /* left alone when the key is absent or null. An array or map is passed over: its `data` and
                       * `size` are then its whole encoding, head included, to be read by a cursor of its own. */
};

enum { CBOR_FIELDS_MAX = 32 };

/* The tag of a COSE_Sign1 message (RFC 9052, section 4.2), which attestation documents may have or not. */
enum { CBOR_TAG_COSE_SIGN1 = 18 };

int cbor_take_fields(struct reader *r, const struct cbor_field *fields, size_t n, const char **ret_wrong) _must_check_;

/* Writes into memory of the caller's: -ENOBUFS when it is too small, after which the writer's content is of no use.
 * Heads are the shortest. */
struct cbor_writer {
        uint8_t *data;
        size_t room;
        size_t size;
};

int cbor_put_map(struct cbor_writer *w, size_t n) _must_check_;
int cbor_put_text(struct cbor_writer *w, const char *text) _must_check_;
int cbor_put_bytes(struct cbor_writer *w, const void *data, size_t n) _must_check_;
int cbor_put_null(struct cbor_writer *w) _must_check_;
