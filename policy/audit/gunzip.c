/* SPDX-License-Identifier: Apache-2.0 */
#include "audit/gunzip.h"

#if HAVE_ZLIB
#include <zlib.h>
#endif

bool is_gzip(const uint8_t *data, size_t n) {
        return n >= 2 && data[0] == 0x1f && data[1] == 0x8b;
}

#if HAVE_ZLIB

struct output {
        uint8_t *data;
        size_t n, room, max;
};

/* Makes room for at least one more byte, and for the NUL. -EFBIG when the limit is reached. */
static int grow(struct output *o) {
        size_t room = MIN_OF(MAX_OF(2 * o->room, (size_t) 64 * 1024), o->max);
        uint8_t *larger;

        if (o->n < o->room)
                return 0;
        if (room <= o->room)
                return -EFBIG;
        larger = realloc(o->data, room + 1);
        if (!larger)
                return -ENOMEM;
        o->data = larger;
        o->room = room;
        return 0;
}

/* 0 after the last member; -EBADMSG for a file that is damaged or cut short. */
static int inflate_all(z_stream *z, struct output *o) {
        for (;;) {
                int r = grow(o), status;

                if (r < 0)
                        return r;
                z->next_out = o->data + o->n;
                z->avail_out = (uInt) MIN_OF(o->room - o->n, (size_t) 1 << 30);
                status = inflate(z, Z_NO_FLUSH);
                o->n = (size_t) (z->next_out - o->data);
                if (status == Z_STREAM_END && z->avail_in == 0)
                        return 0;
                if (status == Z_STREAM_END && inflateReset(z) == Z_OK)
                        continue;
                if (status != Z_OK && !(status == Z_BUF_ERROR && z->avail_out == 0))
                        return -EBADMSG;
        }
}

int gunzip(const uint8_t *data, size_t n, size_t max, const char *subject, uint8_t **ret, size_t *ret_n,
           struct error *e) {
        z_stream z = { .next_in = (Bytef *) data, .avail_in = (uInt) n };
        struct output o = { .max = max };
        int r;

        if (n > UINT32_MAX || inflateInit2(&z, 16 + MAX_WBITS) != Z_OK)
                return fail(e, FAILURE_INTERNAL, -ENOMEM, subject, "it cannot be decompressed");
        r = inflate_all(&z, &o);
        inflateEnd(&z);
        if (r < 0) {
                free(o.data);
                return fail(e, FAILURE_USAGE, r, subject,
                            r == -EFBIG ? "it is larger than %zu bytes when it is decompressed"
                                        : "it is a damaged gzip file (limit: %zu bytes)",
                            max);
        }
        o.data[o.n] = 0;
        *ret = o.data;
        *ret_n = o.n;
        return 0;
}

#else

int gunzip(const uint8_t *data, size_t n, size_t max, const char *subject, uint8_t **ret, size_t *ret_n,
           struct error *e) {
        (void) data;
        (void) n;
        (void) max;
        (void) ret;
        (void) ret_n;
        return fail(e, FAILURE_USAGE, -EOPNOTSUPP, subject,
                    "it is compressed, and this sealboot was built without zlib: decompress it first (gunzip)");
}

#endif
