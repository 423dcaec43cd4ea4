/* SPDX-License-Identifier: Apache-2.0 */
#include "owner/seal.h"

#include "owner/digest.h"
#include "owner/frame-write.h"
#include "owner/message-write.h"

struct sealer {
        struct frame_cipher *cipher;
        struct verity_hash *hash;
        uint8_t *out;
        size_t room;
        uint8_t unit[VERITY_UNIT]; /* plaintext */
};

static uint64_t count_of(uint64_t n, uint64_t size) {
        return n / size + (n % size != 0);
}

uint64_t seal_part_bytes(uint64_t size, uint32_t frame_length) {
        uint64_t part = MAX_OF((uint64_t) SEAL_PART_BYTES, (uint64_t) frame_length);

        while (count_of(size, part) > SEAL_PARTS_MAX)
                part *= 2;
        return part;
}

uint64_t seal_parts(uint64_t size, uint32_t frame_length) {
        return MAX_OF(count_of(size, seal_part_bytes(size, frame_length)), UINT64_C(1));
}

int seal_file_open(const struct source *s, size_t index, const struct seal_key *key, struct seal_file *ret,
                   struct error *e) {
        int r;

        r = source_file_open(s, index, &ret->source, e);
        if (r < 0)
                return r;
        ret->size = s->model->files[index].size;
        if (count_of(ret->size, key->frame_length) >= MESSAGE_FINAL_MARK)
                return fail(e, FAILURE_IO, -EFBIG, ret->source.path,
                            "it has more than 2^32 - 2 frames of %u bytes: seal it with a larger --frame-length",
                            key->frame_length);
        r = message_header_new(key->context, key->n_context, &key->encrypted, 1, key->frame_length, key->data_key,
                               &ret->header, &ret->key, e);
        return r < 0 ? r : verity_tree_new(ret->size, &ret->tree, e);
}

int seal_file_digest(const struct seal_file *f, struct verity_hash *hash, uint8_t ret[static VERITY_DIGEST],
                     struct error *e) {
        int r;

        r = source_file_unchanged(&f->source, e);
        if (r < 0)
                return r;
        if (verity_tree_digest(f->tree, hash, ret) < 0)
                return fail(e, FAILURE_INTERNAL, -EIO, f->source.path, "hashing failed");
        return 0;
}

void seal_file_close(struct seal_file *f) {
        source_file_close(&f->source);
        message_header_free(f->header);
        secret_free(f->key);
        verity_tree_free(f->tree);
        *f = (struct seal_file) { .source.fd = -1 };
}

int sealer_new(struct sealer **ret, struct error *e) {
        _cleanup_(sealer_freep) struct sealer *s = calloc(1, sizeof *s);
        int r;

        if (!s)
                return fail_oom(e);
        r = frame_cipher_new(true, &s->cipher, e);
        if (r < 0)
                return r;
        r = verity_hash_new(&s->hash, e);
        if (r < 0)
                return r;
        *ret = TAKE(s);
        return 0;
}

void sealer_free(struct sealer *s) {
        if (!s)
                return;
        frame_cipher_free(s->cipher);
        verity_hash_free(s->hash);
        free(s->out);
        free(s);
}

struct verity_hash *sealer_hash(struct sealer *s) {
        return s->hash;
}

static int make_room(struct sealer *s, size_t room, struct error *e) {
        if (s->room >= room)
                return 0;
        free(s->out);
        s->room = 0;
        s->out = malloc(room);
        if (!s->out)
                return fail_oom(e);
        s->room = room;
        return 0;
}

/* Writes plaintext into frames, one after another. */
struct frame_writer {
        struct frame_cipher *cipher;
        uint8_t *out;
        size_t n;
        uint64_t size; /* of the file */
        uint32_t frame_length;
        uint32_t frame; /* from 0 */
        uint32_t left;  /* plaintext bytes it still takes; 0: none is open */
};

static int frame_open_next(struct frame_writer *w) {
        uint64_t left = w->size - (uint64_t) w->frame * w->frame_length;
        bool final = left <= w->frame_length;
        uint32_t n = final ? (uint32_t) left : w->frame_length;
        uint8_t iv[MESSAGE_IV_SIZE];

        w->n += frame_head(w->out + w->n, w->frame + 1, final, n);
        frame_iv(w->frame + 1, iv);
        w->left = n;
        return frame_begin(w->cipher, w->frame + 1, final, n, iv);
}

static int frame_finish(struct frame_writer *w) {
        w->frame++;
        w->n += MESSAGE_TAG_SIZE;
        return frame_close(w->cipher, w->out + w->n - MESSAGE_TAG_SIZE);
}

static int frame_write(struct frame_writer *w, const uint8_t *data, size_t n) {
        while (n > 0) {
                size_t step;

                if (w->left == 0 && frame_open_next(w) < 0)
                        return -EIO;
                step = MIN_OF(n, (size_t) w->left);
                if (frame_update(w->cipher, w->out + w->n, data, step) < 0)
                        return -EIO;
                w->n += step;
                w->left -= (uint32_t) step;
                data += step;
                n -= step;
                if (w->left == 0 && frame_finish(w) < 0)
                        return -EIO;
        }
        return 0;
}

/* Hashes and encrypts the file's bytes from `start` to `end`. */
static int seal_range(struct sealer *s, struct seal_file *f, uint64_t start, uint64_t end, struct frame_writer *w,
                      struct error *e) {
        int r;

        for (uint64_t at = start; at < end; at += VERITY_UNIT) {
                size_t n = (size_t) MIN_OF(end - at, (uint64_t) VERITY_UNIT);

                r = source_file_read(&f->source, at, s->unit, n, e);
                if (r < 0)
                        return r;
                if (digest_unit(s->hash, f->tree, at / VERITY_UNIT, s->unit, n) < 0 || frame_write(w, s->unit, n) < 0)
                        return fail(e, FAILURE_INTERNAL, -EIO, f->source.path, "encryption failed");
        }
        /* An empty file is one empty final frame. */
        if (f->size == 0 && (frame_open_next(w) < 0 || frame_finish(w) < 0))
                return fail(e, FAILURE_INTERNAL, -EIO, f->source.path, "encryption failed");
        return 0;
}

int seal_part(struct sealer *s, struct seal_file *f, uint64_t index, struct sealed_part *ret, struct error *e) {
        uint32_t frame_length = f->header->frame_length;
        uint64_t part = seal_part_bytes(f->size, frame_length), start = index * part,
                 end = MIN_OF(start + part, f->size);
        uint64_t frames = MAX_OF(count_of(end - start, frame_length), UINT64_C(1));
        struct frame_writer w = { .cipher = s->cipher,
                                  .size = f->size,
                                  .frame_length = frame_length,
                                  .frame = (uint32_t) (start / frame_length) };
        int r;

        r = make_room(s, f->header->size + (end - start) + frames * MESSAGE_FRAME_EXTRA + MESSAGE_FINAL_EXTRA, e);
        if (r < 0)
                return r;
        w.out = s->out;
        if (frame_cipher_key(s->cipher, f->key, f->header->id) < 0)
                return fail(e, FAILURE_INTERNAL, -EIO, f->source.path, "encryption failed");
        if (index == 0) {
                memcpy(w.out, f->header->bytes, f->header->size);
                w.n = f->header->size;
        }
        r = seal_range(s, f, start, end, &w, e);
        if (r < 0)
                return r;
        *ret = (struct sealed_part) {
                .data = s->out,
                .size = w.n,
                .offset = index == 0 ? 0 : f->header->size + start + start / frame_length * MESSAGE_FRAME_EXTRA,
                .plaintext = end - start,
        };
        return 0;
}

int seal_bytes(const struct seal_key *key, const void *data, size_t n, uint8_t **ret, size_t *ret_n, struct error *e) {
        _cleanup_message_header_ struct message_header *header = NULL;
        _cleanup_(frame_cipher_freep) struct frame_cipher *cipher = NULL;
        struct frame_writer w = { .size = n, .frame_length = key->frame_length };
        _cleanup_secret_ struct secret *file_key = NULL;
        _cleanup_free_ uint8_t *out = NULL;
        int r;

        r = message_header_new(key->context, key->n_context, &key->encrypted, 1, key->frame_length, key->data_key,
                               &header, &file_key, e);
        if (r < 0)
                return r;
        r = frame_cipher_new(true, &cipher, e);
        if (r < 0)
                return r;
        out = malloc(message_object_size(header->size, key->frame_length, n));
        if (!out)
                return fail_oom(e);
        memcpy(out, header->bytes, header->size);
        w.out = out;
        w.n = header->size;
        w.cipher = cipher;
        if (frame_cipher_key(cipher, file_key, header->id) < 0 || frame_write(&w, data, n) < 0)
                return fail(e, FAILURE_INTERNAL, -EIO, "manifest", "encryption failed");
        *ret = TAKE(out);
        *ret_n = w.n;
        return 0;
}
