/* SPDX-License-Identifier: Apache-2.0 */
#include "evidence/cbor.h"

#include "basic/utf8.h"

enum {
        LEVELS_MAX = 16,
        OPEN_MAP = 0xbf,
        BREAK = 0xff,
};

/* Whether the next byte is this one, which then has been passed. */
static bool pass_byte(struct reader *r, uint8_t byte) {
        if (reader_left(r) == 0 || r->data[r->offset] != byte)
                return false;
        r->offset++;
        return true;
}

/* The initial byte and the argument after it (RFC 8949, section 3). 0, -EAGAIN with the bytes wanted from the cursor's
 * place on, or -EBADMSG. */
static int take_head(struct reader *r, uint8_t *ret_major, uint64_t *ret_argument, size_t *ret_wanted) {
        uint8_t initial, info, byte;
        size_t extra;

        *ret_wanted = 1;
        if (reader_u8(r, &initial) < 0)
                return -EAGAIN;
        info = initial & 31;
        if (info > 27)
                return -EBADMSG;
        extra = info < 24 ? 0 : (size_t) 1 << (info - 24);
        *ret_wanted = 1 + extra;
        if (reader_left(r) < extra)
                return -EAGAIN;
        *ret_major = initial >> 5;
        *ret_argument = extra > 0 ? 0 : info;
        for (size_t i = 0; i < extra; i++) {
                if (reader_u8(r, &byte) < 0)
                        return -EBADMSG;
                *ret_argument = *ret_argument << 8 | byte;
        }
        /* false, true and null are all we know of major type 7, and they have no argument. */
        return *ret_major == 7 && (extra > 0 || info < 20 || info > 22) ? -EBADMSG : 0;
}

static int take_string(struct reader *r, struct cbor_item *item, size_t *ret_wanted) {
        if (item->value > SIZE_MAX - r->size)
                return -EBADMSG;
        item->size = (size_t) item->value;
        item->value = 0;
        *ret_wanted += item->size;
        if (reader_bytes(r, item->size, &item->data) < 0)
                return -EAGAIN;
        return item->kind == CBOR_TEXT && !utf8_valid(item->data, item->size) ? -EBADMSG : 0;
}

/* As take_head(), for an item with its string. */
static int take(struct reader *r, struct cbor_item *ret, size_t *ret_wanted) {
        static const enum cbor_kind kinds[] = { CBOR_UINT,  CBOR_NINT, CBOR_BYTES, CBOR_TEXT,
                                                CBOR_ARRAY, CBOR_MAP,  CBOR_TAG,   CBOR_BOOL };
        struct cbor_item item = { .data = NULL };
        struct reader at = *r;
        uint8_t major;
        int k;

        k = take_head(&at, &major, &item.value, ret_wanted);
        if (k < 0)
                return k;
        item.kind = kinds[major];
        if (major == 7) {
                item.kind = item.value == 22 ? CBOR_NULL : CBOR_BOOL;
                item.value = item.value == 21;
        }
        if (item.kind == CBOR_BYTES || item.kind == CBOR_TEXT) {
                k = take_string(&at, &item, ret_wanted);
                if (k < 0)
                        return k;
        }
        *r = at;
        *ret = item;
        return 0;
}

int cbor_take(struct reader *r, struct cbor_item *ret) {
        size_t wanted;

        return take(r, ret, &wanted) < 0 ? -EBADMSG : 0;
}

int cbor_take_kind(struct reader *r, enum cbor_kind kind, struct cbor_item *ret) {
        struct reader at = *r;
        struct cbor_item item;

        if (cbor_take(&at, &item) < 0 || item.kind != kind)
                return -EBADMSG;
        *r = at;
        *ret = item;
        return 0;
}

static int take_count(struct reader *r, enum cbor_kind kind, size_t least, size_t *ret_n) {
        struct reader at = *r;
        struct cbor_item item;

        if (cbor_take_kind(&at, kind, &item) < 0 || item.value > reader_left(&at) / least)
                return -EBADMSG;
        *r = at;
        *ret_n = (size_t) item.value;
        return 0;
}

int cbor_take_array(struct reader *r, size_t *ret_n) {
        return take_count(r, CBOR_ARRAY, 1, ret_n);
}

int cbor_take_map(struct reader *r, size_t *ret_n) {
        if (pass_byte(r, OPEN_MAP)) {
                *ret_n = CBOR_OPEN;
                return 0;
        }
        return take_count(r, CBOR_MAP, 2, ret_n);
}

bool cbor_map_more(struct reader *r, size_t *left) {
        if (*left == CBOR_OPEN)
                return !pass_byte(r, BREAK);
        if (*left == 0)
                return false;
        (*left)--;
        return true;
}

/* The level of a walk: how many items are still to come, or in an open map, whether the next one is a value. */
struct level {
        uint64_t pending;
        bool open;
};

static void count_item(struct level *l) {
        if (l->open)
                l->pending ^= 1;
        else
                l->pending--;
}

/* Beside the current item, every other one still to come takes a byte at least, as does the end of each open map. */
static int add_pending(const struct level *levels, const struct level *current, size_t *wanted) {
        for (const struct level *l = levels; l <= current; l++) {
                uint64_t more = l->pending + (l->open ? 1 : 0) - (l == current ? 1 : 0);

                if (more > SIZE_MAX / 2 - MIN_OF(*wanted, SIZE_MAX / 2))
                        return -EBADMSG;
                *wanted += (size_t) more;
        }
        return -EAGAIN;
}

static uint64_t children(const struct cbor_item *item) {
        if (item->kind == CBOR_ARRAY || item->kind == CBOR_MAP)
                return item->value;
        return item->kind == CBOR_TAG ? 1 : 0;
}

/* Walks one item without recursion. */
static int walk(struct reader *r, size_t *ret_wanted) {
        struct level levels[LEVELS_MAX] = { { .pending = 1 } }, *l = levels;

        for (;;) {
                struct level inner = { .open = false };
                struct cbor_item item;
                int k;

                while (l->pending == 0 && (!l->open || pass_byte(r, BREAK))) {
                        if (l == levels)
                                return 0;
                        l--;
                }
                if (pass_byte(r, OPEN_MAP))
                        inner.open = true;
                else {
                        k = take(r, &item, ret_wanted);
                        if (k == -EAGAIN)
                                return add_pending(levels, l, ret_wanted);
                        if (k < 0)
                                return k;
                        inner.pending = children(&item);
                        if (inner.pending > SIZE_MAX / 2)
                                return -EBADMSG;
                        if (item.kind == CBOR_MAP)
                                inner.pending *= 2;
                }
                count_item(l);
                if (inner.pending == 0 && !inner.open)
                        continue;
                if (++l == levels + LEVELS_MAX)
                        return -EBADMSG;
                *l = inner;
        }
}

int cbor_skip(struct reader *r) {
        struct reader at = *r;
        size_t wanted;

        if (walk(&at, &wanted) < 0)
                return -EBADMSG;
        *r = at;
        return 0;
}

int cbor_measure(const void *data, size_t n, size_t *ret) {
        struct reader r = reader_over(data, n);
        size_t wanted;
        int k;

        k = walk(&r, &wanted);
        if (k == 0)
                *ret = r.offset;
        if (k == -EAGAIN)
                *ret = r.offset + wanted;
        return k;
}

/* An array or a map, whose items are passed over. */
static int take_whole(struct reader *r, const struct cbor_field *f) {
        struct reader head = *r;
        struct cbor_item item;
        size_t start = r->offset, n;

        if (f->nullable && cbor_take_kind(r, CBOR_NULL, &item) == 0)
                return 0;
        if ((f->kind == CBOR_MAP ? cbor_take_map(&head, &n) : cbor_take_array(&head, &n)) < 0 || cbor_skip(r) < 0)
                return -EBADMSG;
        *f->ret =
                (struct cbor_item) { .kind = f->kind, .value = n, .data = r->data + start, .size = r->offset - start };
        return 0;
}

static int take_value(struct reader *r, const struct cbor_field *f) {
        struct cbor_item item;

        if (f->kind == CBOR_ARRAY || f->kind == CBOR_MAP)
                return take_whole(r, f);
        if (cbor_take(r, &item) < 0)
                return -EBADMSG;
        if (item.kind == CBOR_NULL && f->nullable)
                return 0;
        if (item.kind != f->kind)
                return -EBADMSG;
        if ((item.kind == CBOR_BYTES || item.kind == CBOR_TEXT) && (item.size < f->min || item.size > f->max))
                return -EBADMSG;
        *f->ret = item;
        return 0;
}

static int wrong(const char **ret_wrong, const char *what) {
        if (ret_wrong)
                *ret_wrong = what;
        return -EBADMSG;
}

int cbor_take_fields(struct reader *r, const struct cbor_field *fields, size_t n, const char **ret_wrong) {
        struct reader at = *r;
        uint32_t seen = 0;
        size_t pairs;

        if (n > CBOR_FIELDS_MAX || cbor_take_map(&at, &pairs) < 0)
                return wrong(ret_wrong, "not a map");
        while (cbor_map_more(&at, &pairs)) {
                struct cbor_item key;
                size_t f = 0;

                if (cbor_take_kind(&at, CBOR_TEXT, &key) < 0)
                        return wrong(ret_wrong, "a key that is not text");
                while (f < n && (strlen(fields[f].key) != key.size || memcmp(fields[f].key, key.data, key.size) != 0))
                        f++;
                if (f == n)
                        return wrong(ret_wrong, "an unknown key");
                if (seen & UINT32_C(1) << f)
                        return wrong(ret_wrong, fields[f].key);
                seen |= UINT32_C(1) << f;
                if (take_value(&at, &fields[f]) < 0)
                        return wrong(ret_wrong, fields[f].key);
        }
        for (size_t f = 0; f < n; f++)
                if (fields[f].required && !(seen & UINT32_C(1) << f))
                        return wrong(ret_wrong, fields[f].key);
        *r = at;
        return 0;
}

/* The shortest head for an argument. */
static int put_head(struct cbor_writer *w, uint8_t major, uint64_t argument) {
        unsigned log2 = argument <= UINT8_MAX ? 0 : argument <= UINT16_MAX ? 1 : argument <= UINT32_MAX ? 2 : 3;
        size_t extra = argument < 24 ? 0 : (size_t) 1 << log2;

        if (w->room - w->size < 1 + extra)
                return -ENOBUFS;
        w->data[w->size++] = (uint8_t) (major << 5 | (extra > 0 ? 24 + log2 : argument));
        while (extra-- > 0)
                w->data[w->size++] = (uint8_t) (argument >> 8 * extra);
        return 0;
}

static int put_string(struct cbor_writer *w, uint8_t major, const void *data, size_t n) {
        if (put_head(w, major, n) < 0 || w->room - w->size < n)
                return -ENOBUFS;
        if (n > 0)
                memcpy(w->data + w->size, data, n);
        w->size += n;
        return 0;
}

int cbor_put_map(struct cbor_writer *w, size_t n) {
        return put_head(w, 5, n);
}

int cbor_put_text(struct cbor_writer *w, const char *text) {
        return put_string(w, 3, text, strlen(text));
}

int cbor_put_bytes(struct cbor_writer *w, const void *data, size_t n) {
        return put_string(w, 2, data, n);
}

int cbor_put_null(struct cbor_writer *w) {
        return put_head(w, 7, 22);
}
