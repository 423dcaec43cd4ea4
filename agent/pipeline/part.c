/* SPDX-License-Identifier: Apache-2.0 */
#include "pipeline/part.h"

#include <sys/mman.h>

#include "pipeline/follow.h"
#include "pipeline/room.h"

static int refuse(struct part *p, int r, const char *what) {
        return fail(&p->error, FAILURE_INTERNAL, r, p->file->subject, "%s failed: %s", what, strerror(-r));
}

int part_init(struct part *p, struct verity_hash *hash, struct error *e) {
        *p = (struct part) { .hash = hash };
        return frame_cipher_new(false, &p->cipher, e);
}

void part_done(struct part *p) {
        frame_cipher_free(p->cipher);
        free(p->data);
        free(p->header);
        free(p->raw);
        *p = (struct part) { 0 };
}

static uint64_t plaintext_offset(const struct file *f, uint32_t frame) {
        return frame == f->geometry.n_frames ? f->geometry.plaintext_size : (uint64_t) frame * f->geometry.frame_length;
}

static uint64_t unit_end(const struct file *f, uint64_t unit) {
        return MIN_OF((unit + 1) * VERITY_UNIT, f->geometry.plaintext_size);
}

/* Whether the unit is in this part alone. Then it is hashed from the chunk; a unit of several parts is hashed by the
 * part that completes it. */
static bool unit_is_ours(const struct part *p, uint64_t unit) {
        return unit * VERITY_UNIT >= plaintext_offset(p->file, p->first) &&
               unit_end(p->file, unit) <= plaintext_offset(p->file, p->end);
}

static void set_position(struct part *p, uint32_t frame) {
        p->frame = p->checkpoint = frame;
        p->position = p->hashed = p->flushed = plaintext_offset(p->file, frame);
}

static int open_frames(struct part *p, uint32_t first, uint32_t end) {
        p->first = first;
        p->end = end;
        p->n_raw = 0;
        if (end - first > p->room_raw) {
                struct raw_frame *larger = realloc(p->raw, (end - first) * sizeof *larger);

                if (!larger)
                        return fail_oom(&p->error);
                p->raw = larger;
                p->room_raw = end - first;
        }
        set_position(p, first);
        p->settled = (p->position + VERITY_UNIT - 1) / VERITY_UNIT;
        p->phase = first == end ? PART_FULL : PART_HEAD;
        return 0;
}

static int set_window(struct part *p, size_t window) {
        if (p->window == window)
                return 0;
        p->window = 0;
        free(p->data);
        p->data = aligned_alloc(window, window);
        if (!p->data)
                return fail_oom(&p->error);
        if (window == WINDOW_MAX)
                (void) madvise(p->data, window, MADV_HUGEPAGE);
        p->window = window;
        return 0;
}

int part_begin(struct part *p, struct file *file, uint32_t first, uint32_t end, size_t window) {
        int r;

        p->file = file;
        p->error.failure = FAILURE_NONE;
        p->n_small = 0;
        r = set_window(p, window);
        if (r < 0)
                return r;
        if (end > 0)
                return open_frames(p, first, end);
        p->phase = PART_HEADER;
        p->n_header = 0;
        if (!p->header)
                p->header = malloc(MESSAGE_HEADER_MAX);
        return p->header ? 0 : fail_oom(&p->error);
}

void part_range(const struct part *p, uint64_t *ret_first, uint64_t *ret_last) {
        const struct message_geometry *g = &p->file->geometry;

        if (p->phase == PART_HEADER) {
                *ret_first = 0;
                *ret_last = FIRST_BYTES - 1;
                return;
        }
        *ret_first = message_frame_offset(g, p->frame);
        *ret_last = (p->end == g->n_frames ? g->object_size : message_frame_offset(g, p->end)) - 1;
}

/* ---- the window */

/* Writes by the descriptor, not through a mapping: a write needs no page fault and no zeroed page, and a full tmpfs is
 * an error instead of a SIGBUS. It takes six tenths of the CPU time of a mapping, with huge pages and with 4 KiB pages
 * (tests/bench/README.md). */
static int write_window(struct part *p, const uint8_t *data, size_t n, uint64_t offset) {
        while (n > 0) {
                ssize_t put = pwrite(p->file->fd, data, n, (off_t) offset);

                if (put < 0 && errno == EINTR)
                        continue;
                if (put < 0) {
                        int r = -errno;

                        if (room_refused(p->file->fd, -r, p->file->subject,
                                         "it cannot be written to the directory of the model", &p->error) < 0)
                                return r;
                        return fail(&p->error, FAILURE_IO, r, p->file->subject,
                                    "it cannot be written to the directory of the model: %s", strerror(-r));
                }
                data += put;
                offset += (uint64_t) put;
                n -= (size_t) put;
        }
        return 0;
}

static int read_back(struct part *p, uint8_t *data, size_t n, uint64_t offset) {
        while (n > 0) {
                ssize_t got = pread(p->file->fd, data, n, (off_t) offset);

                if (got < 0 && errno == EINTR)
                        continue;
                if (got <= 0)
                        return fail(&p->error, FAILURE_IO, got < 0 ? -errno : -EIO, p->file->subject,
                                    "it cannot be read back from the directory of the model");
                data += got;
                offset += (uint64_t) got;
                n -= (size_t) got;
        }
        return 0;
}

static uint8_t *place(const struct part *p, uint64_t offset) {
        return p->data + offset % p->window;
}

/* Hashes the leaves of [base, position), which is in the window, if they are of a unit that is in this part alone. A
 * settled unit is left alone: after a failed transfer its bytes may arrive again, and those are not authentic yet. */
static int hash_leaves(struct part *p, uint64_t base) {
        uint64_t unit = base / VERITY_UNIT;

        if (!unit_is_ours(p, unit) || unit < p->settled)
                return 0;
        if (verity_leaves(p->hash, place(p, base), p->position - base,
                          p->leaves + base % VERITY_UNIT / VERITY_BLOCK * VERITY_DIGEST) < 0)
                return refuse(p, -EIO, "SHA-256");
        if (p->position < unit_end(p->file, unit))
                return 0;
        if (verity_tree_set(p->file->tree, p->hash, unit, p->leaves,
                            (unit_end(p->file, unit) - unit * VERITY_UNIT + VERITY_BLOCK - 1) / VERITY_BLOCK) < 0)
                return refuse(p, -EIO, "SHA-256");
        return 0;
}

/* Hashes the chunk that ends at `position`, while it is in the second-level cache. */
static int hash_chunk(struct part *p) {
        uint64_t n = p->position - p->hashed;
        int r;

        if (!p->live || n == 0)
                return 0;
        r = hash_leaves(p, p->hashed - p->hashed % CHUNK);
        if (r < 0)
                return r;
        atomic_fetch_add_explicit(&p->file->job->bytes, n, memory_order_relaxed);
        p->hashed = p->position;
        return 0;
}

static int flush(struct part *p) {
        int r = write_window(p, place(p, p->flushed), p->position - p->flushed, p->flushed);

        if (r == 0)
                p->flushed = p->position;
        return r;
}

/* Settles the units whose last byte is authentic and hashed. */
static int settle(struct part *p) {
        uint64_t units = verity_tree_units(p->file->tree);

        for (; p->settled < units && unit_is_ours(p, p->settled) && unit_end(p->file, p->settled) <= p->hashed;
             p->settled++)
                if (verity_tree_settle(p->file->tree, p->hash, p->settled) < 0)
                        return refuse(p, -EIO, "SHA-256");
        return 0;
}

/* ---- frames */

static int take_key(struct part *p) {
        _cleanup_secret_ struct secret *key = NULL;
        int r;

        r = job_file_key(p->file, &key, &p->error);
        if (r < 0)
                return r;
        if (frame_cipher_key(p->cipher, key, p->file->header->id) < 0)
                return refuse(p, -EIO, "AES-256-GCM");
        p->keyed = p->file;
        return 0;
}

static int begin_frame(struct part *p) {
        uint32_t n = message_frame_plaintext(&p->file->geometry, p->frame);
        int r = p->keyed == p->file ? 0 : take_key(p);

        if (r < 0)
                return r;
        if (frame_begin(p->cipher, p->frame + 1, message_frame_is_final(&p->file->geometry, p->frame), n, p->iv) < 0)
                return refuse(p, -EIO, "AES-256-GCM");
        p->live = true;
        p->left = n;
        return 0;
}

static int end_frame(struct part *p, const uint8_t tag[static MESSAGE_TAG_SIZE]) {
        int r;

        r = frame_open(p->cipher, tag);
        if (r == -EBADMSG)
                return fail(&p->error, FAILURE_AUTHENTICATION, r, p->file->subject,
                            "it was altered: the tag of frame %u of %u does not verify", p->frame + 1,
                            p->file->geometry.n_frames);
        if (r < 0)
                return refuse(p, r, "AES-256-GCM");
        p->frame++;
        if (p->frame == p->end) {
                r = hash_chunk(p);
                if (r == 0)
                        r = flush(p);
        }
        if (r == 0)
                r = settle(p);
        /* The leaves of a unit can be hashed again only from its beginning. */
        if (p->position % VERITY_UNIT == 0)
                p->checkpoint = p->frame;
        return r;
}

/* `data` may be the bytes' own place in the window. */
static int move_bytes(struct part *p, const uint8_t *data, size_t n) {
        uint8_t *to = place(p, p->position);
        int r = 0;

        if (p->live && frame_update(p->cipher, to, data, n) < 0)
                return refuse(p, -EIO, "AES-256-GCM");
        if (!p->live)
                memcpy(to, data, n);
        p->position += n;
        p->left -= (uint32_t) n;
        if (p->position % CHUNK == 0)
                r = hash_chunk(p);
        return r == 0 && p->position % p->window == 0 ? flush(p) : r;
}

static size_t next_move(const struct part *p) {
        return MIN_OF((size_t) p->left, CHUNK - (size_t) (p->position % CHUNK));
}

/* Decrypts the frames that arrived before the data key: the file has their ciphertext. */
static int decrypt_raw(struct part *p) {
        uint32_t n = p->n_raw;
        int r;

        p->live = false;
        r = flush(p);
        if (r < 0)
                return r;
        set_position(p, p->first);
        for (uint32_t i = 0; i < n; i++) {
                memcpy(p->iv, p->raw[i].iv, sizeof p->iv);
                r = begin_frame(p);
                while (r == 0 && p->left > 0) {
                        uint8_t *at = place(p, p->position);

                        r = read_back(p, at, next_move(p), p->position);
                        if (r == 0)
                                r = move_bytes(p, at, next_move(p));
                }
                if (r == 0)
                        r = end_frame(p, p->raw[i].tag);
                if (r < 0)
                        return r;
        }
        p->n_raw = 0;
        return 0;
}

/* ---- feeding: each function takes some of the bytes, and returns how many, or a negative errno */

static ssize_t feed_header(struct part *p, const uint8_t *data, size_t n, uint64_t object_size, uint64_t covered,
                           const char *etag) {
        size_t before = p->n_header, take = MIN_OF(n, MESSAGE_HEADER_MAX - p->n_header), used;
        _cleanup_message_header_ struct message_header *h = NULL;
        uint32_t end;
        int r;

        memcpy(p->header + p->n_header, data, take);
        p->n_header += take;
        r = message_header_parse(p->header, p->n_header, p->file->subject, &h, &p->error);
        if (r == -EAGAIN && p->n_header < object_size)
                return (ssize_t) take;
        if (r < 0)
                return r;
        used = h->size - before;
        r = job_open_file(p->file, h, object_size, covered, etag, &end, &p->error);
        if (r < 0)
                return r;
        TAKE(h); /* the file has it now */
        r = open_frames(p, 0, end);
        return r < 0 ? r : (ssize_t) used;
}

static size_t collect(struct part *p, const uint8_t *data, size_t n, size_t wanted) {
        size_t take = MIN_OF(n, wanted - p->n_small);

        memcpy(p->small + p->n_small, data, take);
        p->n_small += take;
        return take;
}

static ssize_t feed_head(struct part *p, const uint8_t *data, size_t n) {
        const struct message_geometry *g = &p->file->geometry;
        size_t wanted = message_frame_is_final(g, p->frame) ? MESSAGE_FINAL_HEAD : MESSAGE_FRAME_HEAD;
        size_t take = collect(p, data, n, wanted);
        uint8_t iv[MESSAGE_IV_SIZE];
        int r;

        if (p->n_small < wanted)
                return (ssize_t) take;
        p->n_small = 0;
        r = frame_head_check(g, p->frame, p->small, p->file->job->options.any_iv, iv, p->file->subject, &p->error);
        if (r < 0)
                return r;
        p->live = atomic_load_explicit(&p->file->job->has_key, memory_order_acquire);
        if (p->live && p->n_raw > 0)
                r = decrypt_raw(p);
        memcpy(p->iv, iv, sizeof iv);
        p->left = message_frame_plaintext(g, p->frame);
        if (r == 0 && p->live)
                r = begin_frame(p);
        if (r < 0)
                return r;
        p->phase = p->left > 0 ? PART_BODY : PART_TAG;
        return (ssize_t) take;
}

static ssize_t feed_body(struct part *p, const uint8_t *data, size_t n) {
        size_t take = MIN_OF(n, next_move(p));
        int r;

        r = move_bytes(p, data, take);
        if (r < 0)
                return r;
        if (p->left == 0)
                p->phase = PART_TAG;
        return (ssize_t) take;
}

static ssize_t feed_tag(struct part *p, const uint8_t *data, size_t n) {
        size_t take = collect(p, data, n, MESSAGE_TAG_SIZE);
        int r = 0;

        if (p->n_small < MESSAGE_TAG_SIZE)
                return (ssize_t) take;
        p->n_small = 0;
        if (p->live)
                r = end_frame(p, p->small);
        else {
                struct raw_frame *raw = &p->raw[p->n_raw++];

                memcpy(raw->iv, p->iv, sizeof raw->iv);
                memcpy(raw->tag, p->small, sizeof raw->tag);
                p->frame++;
        }
        if (r < 0)
                return r;
        p->phase = p->frame == p->end ? PART_FULL : PART_HEAD;
        return (ssize_t) take;
}

int part_feed(struct part *p, const uint8_t *data, size_t n, uint64_t object_size, uint64_t covered, const char *etag) {
        while (n > 0 && p->phase != PART_FULL) {
                ssize_t took = p->phase == PART_HEADER ? feed_header(p, data, n, object_size, covered, etag)
                               : p->phase == PART_HEAD ? feed_head(p, data, n)
                               : p->phase == PART_BODY ? feed_body(p, data, n)
                                                       : feed_tag(p, data, n);

                if (took < 0)
                        return (int) took;
                data += took;
                n -= (size_t) took;
        }
        return 0;
}

/* ---- the end */

static int hash_straddled(struct part *p, uint64_t unit) {
        uint64_t start = unit * VERITY_UNIT, end = unit_end(p->file, unit);
        int r;

        for (uint64_t at = start; at < end; at += CHUNK) {
                size_t n = MIN_OF((uint64_t) CHUNK, end - at);

                r = read_back(p, p->data, n, at);
                if (r < 0)
                        return r;
                if (verity_leaves(p->hash, p->data, n, p->leaves + (at - start) / VERITY_BLOCK * VERITY_DIGEST) < 0)
                        return refuse(p, -EIO, "SHA-256");
        }
        if (verity_tree_set(p->file->tree, p->hash, unit, p->leaves, (end - start + VERITY_BLOCK - 1) / VERITY_BLOCK) <
                    0 ||
            verity_tree_settle(p->file->tree, p->hash, unit) < 0)
                return refuse(p, -EIO, "SHA-256");
        return 0;
}

/* For a unit of several parts: each part adds its share, and the part that completes the unit reads it back and hashes
 * it.
 */
static int count_straddled(struct part *p, uint64_t unit, uint64_t start, uint64_t end) {
        uint64_t unit_start = unit * VERITY_UNIT;
        unsigned share = (unsigned) (MIN_OF(end, unit_end(p->file, unit)) - MAX_OF(start, unit_start));

        if (atomic_fetch_add(&p->file->straddled[unit], share) + share == unit_end(p->file, unit) - unit_start)
                return hash_straddled(p, unit);
        return 0;
}

int part_finish(struct part *p) {
        uint64_t start, end, first, last;
        int r = 0;

        if (p->n_raw > 0)
                r = decrypt_raw(p);
        if (r < 0 || p->first == p->end)
                return r;
        start = plaintext_offset(p->file, p->first);
        end = plaintext_offset(p->file, p->end);
        if (end > start) {
                first = start / VERITY_UNIT;
                last = (end - 1) / VERITY_UNIT;
                if (!unit_is_ours(p, first))
                        r = count_straddled(p, first, start, end);
                if (r == 0 && last != first && !unit_is_ours(p, last))
                        r = count_straddled(p, last, start, end);
        }
        if (r == 0)
                r = job_frames_done(p->file, p->hash, p->end - p->first, &p->error);
        if (r == 0)
                r = follow_frames_done(p->file, p->first, p->end - p->first, &p->error);
        return r;
}

void part_rewind(struct part *p) {
        uint64_t flushed;

        p->error.failure = FAILURE_NONE;
        p->n_small = 0;
        if (p->phase == PART_HEADER)
                p->n_header = 0;
        if (p->phase == PART_HEADER || p->phase == PART_FULL)
                return;
        p->phase = PART_HEAD;
        if (p->n_raw > 0) {
                /* Complete frames are kept as ciphertext: only the frame that was cut off must arrive again. */
                p->position = plaintext_offset(p->file, p->frame);
                p->flushed = MIN_OF(p->flushed, p->position);
        } else {
                if (p->live)
                        atomic_fetch_sub_explicit(&p->file->job->bytes,
                                                  p->hashed - plaintext_offset(p->file, p->checkpoint),
                                                  memory_order_relaxed);
                flushed = p->flushed;
                set_position(p, p->checkpoint);
                /* Authentic bytes before the checkpoint are still in the window. */
                p->flushed = MIN_OF(flushed, p->position);
        }
}

uint64_t part_reached(const struct part *p) {
        return p->phase == PART_HEADER ? 0 : (uint64_t) p->frame + 1;
}
