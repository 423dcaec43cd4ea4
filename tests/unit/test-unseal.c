/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "basic/file.h"
#include "owner/frame-write.h"
#include "owner/message-write.h"
#include "pipeline/part.h"

/* ---- objects to open */

struct sample {
        uint8_t *plaintext, *object;
        size_t plaintext_size, object_size;
        struct message_header *header;
        struct secret *data_key;
        uint8_t digest[VERITY_DIGEST];
};

static void reference_digest(const uint8_t *data, size_t n, uint8_t ret[static VERITY_DIGEST]) {
        _cleanup_(verity_hash_freep) struct verity_hash *hash = NULL;
        _cleanup_(verity_tree_freep) struct verity_tree *tree = NULL;
        uint8_t leaves[VERITY_BLOCK];
        struct error e;

        assert_ok(verity_hash_new(&hash, &e), &e);
        assert_ok(verity_tree_new(n, &tree, &e), &e);
        for (uint64_t u = 0; u < verity_tree_units(tree); u++) {
                size_t at = u * VERITY_UNIT, size = MIN_OF(n - at, (size_t) VERITY_UNIT);

                assert_int_equal(verity_leaves(hash, data + at, size, leaves), 0);
                assert_int_equal(verity_tree_set(tree, hash, u, leaves, (size + VERITY_BLOCK - 1) / VERITY_BLOCK), 0);
                assert_int_equal(verity_tree_settle(tree, hash, u), 0);
        }
        assert_int_equal(verity_tree_digest(tree, hash, ret), 0);
}

static void sample_make(struct sample *s, size_t n, uint32_t frame_length, bool empty_final) {
        static const uint8_t key[DATA_KEY_SIZE] = { 1, 2, 3 };
        const struct pair context[] = { { "version", "1" }, { "model", "m" } };
        const struct message_data_key edk = { (char *) "aws-kms", (char *) "arn:aws:kms:x", 13, (uint8_t *) "blob", 4 };
        _cleanup_(frame_cipher_freep) struct frame_cipher *cipher = NULL;
        _cleanup_secret_ struct secret *file_key = NULL;
        struct error e;
        size_t at = 0;
        ssize_t put;

        *s = (struct sample) { .plaintext_size = n, .plaintext = malloc(n + 1) };
        for (size_t i = 0; i < n; i++)
                s->plaintext[i] = (uint8_t) (i * 2654435761u >> 13);
        assert_int_equal(secret_copy(key, sizeof key, &s->data_key), 0);
        assert_ok(message_header_new(context, 2, &edk, 1, frame_length, s->data_key, &s->header, &file_key, &e), &e);
        assert_ok(frame_cipher_new(true, &cipher, &e), &e);
        assert_int_equal(frame_cipher_key(cipher, file_key, s->header->id), 0);
        s->object = malloc(s->header->size + n + (n / frame_length + 2) * MESSAGE_FINAL_EXTRA);
        memcpy(s->object, s->header->bytes, s->header->size);
        s->object_size = s->header->size;
        for (uint32_t seq = 1;; seq++) {
                bool final = n - at < frame_length || (n - at == frame_length && !empty_final);
                uint32_t length = final ? (uint32_t) (n - at) : frame_length;

                put = frame_seal(cipher, seq, final, s->plaintext + at, length, s->object + s->object_size);
                assert_true(put > 0);
                s->object_size += (size_t) put;
                at += length;
                if (final)
                        break;
        }
        if (!empty_final)
                assert_true(s->object_size == message_object_size(s->header->size, frame_length, n));
        reference_digest(s->plaintext, n, s->digest);
}

static void sample_free(struct sample *s) {
        free(s->plaintext);
        free(s->object);
        message_header_free(s->header);
        secret_free(s->data_key);
}

/* ---- a private directory */

static int make_directory(char path[static 32]) {
        int fd;

        snprintf(path, 32, "/dev/shm/test.XXXXXX");
        assert_non_null(mkdtemp(path));
        fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        assert_true(fd >= 0);
        return fd;
}

static void put_object(int directory, const char *name, const void *data, size_t n) {
        int fd = openat(directory, name, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);

        assert_true(fd >= 0);
        assert_int_equal(write_all(fd, data, n), 0);
        close(fd);
}

static void expect_file(int directory, const char *name, const struct sample *s) {
        uint8_t *got = malloc(s->plaintext_size + 1);
        int fd = openat(directory, name, O_RDONLY | O_CLOEXEC);

        assert_true(fd >= 0);
        for (size_t n = 0; n < s->plaintext_size;) {
                ssize_t r = read(fd, got + n, s->plaintext_size - n);

                assert_true(r > 0);
                n += (size_t) r;
        }
        assert_int_equal(read(fd, got, 0), 0);
        assert_memory_equal(got, s->plaintext, s->plaintext_size);
        close(fd);
        free(got);
}

static void remove_directory(const char *path, int fd) {
        unlinkat(fd, "0", 0);
        unlinkat(fd, "object", 0);
        close(fd);
        assert_int_equal(rmdir(path), 0);
}

/* ---- shapes: sizes around every boundary, frame lengths that divide a unit and that do not */

static const struct {
        size_t size;
        uint32_t frame_length;
        bool empty_final;
} shapes[] = {
        { 0, 4096, false },
        { 1, 4096, false },
        { 4096, 4096, false },
        { 4096, 4096, true },
        { 4097, 4096, false },
        { 100, 1, false },
        { 100000, 7, false },
        { VERITY_UNIT, 65536, false },
        { VERITY_UNIT + 1, VERITY_UNIT, false },
        { 3 * VERITY_UNIT, VERITY_UNIT, true },
        { 20 * 1024 * 1024, 4096, false },
        { 20 * 1024 * 1024 + 123, 1000, false },
        { 20 * 1024 * 1024, 1024 * 1024, false },
        { 20 * 1024 * 1024, 1024 * 1024, true },
        { 20 * 1024 * 1024 + 5, 768 * 1024, false },
        { 40 * 1024 * 1024 + 77, 16 * 1024 * 1024, false },
        { 40 * 1024 * 1024, 13 * 1024 * 1024 + 1, false },
};

/* Without a data key, the job would wait for ever. */
static void test_a_wait_can_be_cancelled_and_the_keys_wiped(void **state) {
        char path[32];
        int fd = make_directory(path);
        atomic_bool cancelled = false;
        struct unseal_options o = {
                .source_fd = fd, .directory_fd = fd, .room = 1 << 30, .workers = 2, .cancelled = &cancelled
        };
        _cleanup_(unseal_freep) struct unseal *u = NULL;
        struct unseal_model model = { .bucket = NULL };
        struct sample s;
        struct error e;
        size_t index;

        (void) state;
        sample_make(&s, 5000, 4096, false);
        put_object(fd, "object", s.object, s.object_size);
        assert_ok(unseal_new(&o, &u, &e), &e);
        assert_ok(unseal_add(u, &model, "object", NULL, false, &index, &e), &e);
        model.data_key = s.data_key;
        model.reference = s.header;
        atomic_store(&cancelled, true);
        assert_int_equal(unseal_finish(u, NULL, NULL, &e), -ECANCELED);
        unseal_stop(u);
        sample_free(&s); /* with the data key: no worker uses it any more */
        remove_directory(path, fd);
}

static void test_local_source_opens_every_shape(void **state) {
        (void) state;
        for (size_t i = 0; i < ELEMENTS(shapes); i++) {
                char path[32];
                int fd = make_directory(path);
                struct unseal_options o = { .source_fd = fd, .directory_fd = fd, .room = 1 << 30, .workers = 3 };
                _cleanup_(unseal_freep) struct unseal *u = NULL;
                struct unseal_model model = { .bucket = NULL };
                uint8_t digest[VERITY_DIGEST];
                struct sample s;
                const char *name;
                uint64_t size;
                struct error e;
                size_t index;

                sample_make(&s, shapes[i].size, shapes[i].frame_length, shapes[i].empty_final);
                put_object(fd, "object", s.object, s.object_size);
                assert_ok(unseal_new(&o, &u, &e), &e);
                assert_ok(unseal_add(u, &model, "object", NULL, false, &index, &e), &e);
                model.data_key = s.data_key;
                model.reference = s.header;
                unseal_use_keys(u);
                assert_ok(unseal_finish(u, NULL, NULL, &e), &e);
                unseal_result(u, index, &name, &size, digest);
                assert_true(size == s.plaintext_size);
                assert_memory_equal(digest, s.digest, sizeof digest);
                expect_file(fd, name, &s);
                unseal_freep(&u);
                u = NULL;
                sample_free(&s);
                remove_directory(path, fd);
        }
}

/* ---- parts by hand: pieces of any size, the key at any moment, transfers that break at any byte */

static void no_wake(struct unseal *u) {
        (void) u;
}

struct hand {
        struct unseal u;
        struct file f, *files[1];
        struct unseal_model model;
        struct verity_hash *hash;
        struct part part;
        size_t window;
};

static void hand_begin(struct hand *h, const struct sample *s, int directory) {
        struct error e;

        *h = (struct hand) {
                .u = { .options = { .directory_fd = directory, .room = 1 << 30 }, .n_files = 1, .wake = no_wake },
                .window = CHUNK,
        };
        pthread_mutex_init(&h->u.lock, NULL);
        pthread_cond_init(&h->u.changed, NULL);
        h->model = (struct unseal_model) { .data_key = s->data_key, .reference = s->header };
        h->f = (struct file) {
                .job = &h->u, .model = &h->model, .subject = (char *) "object", .name = "0", .fd = -1, .source_fd = -1
        };
        h->files[0] = &h->f;
        h->u.files = h->files;
        assert_ok(verity_hash_new(&h->hash, &e), &e);
        assert_ok(part_init(&h->part, h->hash, &e), &e);
}

static void hand_end(struct hand *h) {
        part_done(&h->part);
        verity_hash_free(h->hash);
        message_header_free(h->f.header);
        verity_tree_free(h->f.tree);
        free(h->f.straddled);
        if (h->f.fd >= 0)
                close(h->f.fd);
}

/* Feeds the whole object; after `key_at` bytes the key is there; each transfer breaks after `breaks` bytes. */
static int hand_feed(struct hand *h, const struct sample *s, size_t piece, size_t key_at, size_t breaks) {
        struct file *f;
        uint32_t first, end;
        size_t fed = 0;

        while (job_take(&h->u, &f, &first, &end)) {
                int r = part_begin(&h->part, f, first, end, h->window);

                while (r == 0 && !part_full(&h->part)) {
                        uint64_t at, last;
                        size_t moved = 0;

                        part_range(&h->part, &at, &last);
                        last = MIN_OF(last, s->object_size - 1);
                        while (r == 0 && at <= last && moved < breaks && !part_full(&h->part)) {
                                size_t n = MIN_OF(piece, last + 1 - at);

                                r = part_feed(&h->part, s->object + at, n, s->object_size, last + 1, NULL);
                                at += n;
                                fed += n;
                                moved += n;
                                if (fed >= key_at)
                                        atomic_store(&h->u.has_key, true);
                        }
                        if (r == 0 && !part_full(&h->part)) {
                                if (at > last)
                                        return -ENODATA;
                                part_rewind(&h->part);
                        }
                        breaks = MIN_OF(SIZE_MAX / 2, breaks) * 2;
                }
                atomic_store(&h->u.has_key, h->part.n_raw > 0 || fed >= key_at || atomic_load(&h->u.has_key));
                if (r == 0)
                        r = part_finish(&h->part);
                if (r < 0)
                        return r;
        }
        return 0;
}

static void test_parts_survive_pieces_late_keys_and_breaks(void **state) {
        static const size_t pieces[] = { 1000, 16384, 1 << 20 }, keys[] = { 0, 100000, 9000000, SIZE_MAX };
        static const size_t breaks[] = { SIZE_MAX, 70000, 3000000 };

        (void) state;
        for (size_t i = 0; i < ELEMENTS(shapes); i++) {
                struct sample s;

                sample_make(&s, shapes[i].size, shapes[i].frame_length, shapes[i].empty_final);
                for (size_t j = 0; j < ELEMENTS(pieces) * ELEMENTS(keys) * ELEMENTS(breaks); j++) {
                        char path[32];
                        int fd = make_directory(path);
                        struct hand h;

                        if (s.plaintext_size > 10 * 1024 * 1024 && j % 5 != i % 5) {
                                remove_directory(path, fd);
                                continue;
                        }
                        hand_begin(&h, &s, fd);
                        h.window = CHUNK << j % 5;
                        assert_ok(hand_feed(&h, &s, pieces[j % 3], keys[j / 3 % 4], breaks[j / 12]), &h.part.error);
                        assert_int_equal(h.f.state, FILE_DONE);
                        assert_memory_equal(h.f.digest, s.digest, VERITY_DIGEST);
                        expect_file(fd, "0", &s);
                        assert_true(atomic_load(&h.u.bytes) == s.plaintext_size);
                        hand_end(&h);
                        remove_directory(path, fd);
                }
                sample_free(&s);
        }
}

static void feed_bytes(struct part *p, const struct sample *s, uint64_t at, uint64_t end) {
        assert_ok(part_feed(p, s->object + at, end - at, s->object_size, end, NULL), &p->error);
}

static void feed_whole(struct part *p, const struct sample *s) {
        uint64_t at, last;

        part_range(p, &at, &last);
        feed_bytes(p, s, at, MIN_OF(last + 1, (uint64_t) s->object_size));
        assert_true(part_full(p));
        assert_ok(part_finish(p), &p->error);
}

/* Where frames do not end with units, a broken transfer is fed bytes again that were authentic. What comes instead,
 * before its tag does, must not reach the tree: the group it belongs to may be folded away meanwhile. */
static void test_authentic_bytes_cannot_be_taken_back(void **state) {
        enum { FRAME = VERITY_UNIT / 4 * 5, FRAMES = 120, GROUP_END = VERITY_FANOUT * 4 / 5 };
        uint32_t held_first = 0, held_end = 0, first, end;
        struct part late;
        struct sample s;
        char path[32];
        int fd = make_directory(path);
        struct error e;
        struct file *f;
        struct hand h;

        (void) state;
        sample_make(&s, (size_t) FRAME * FRAMES, FRAME, false);
        hand_begin(&h, &s, fd);
        atomic_store(&h.u.has_key, true);
        assert_ok(part_init(&late, h.hash, &e), &e);
        while (job_take(&h.u, &f, &first, &end)) {
                bool is_late = first <= GROUP_END - 4 && end > GROUP_END;
                uint64_t at, last;

                if (held_end == 0 && end > 0) {
                        held_first = first;
                        held_end = end;
                        continue;
                }
                assert_int_equal(part_begin(is_late ? &late : &h.part, f, first, end, WINDOW_MAX), 0);
                if (!is_late) {
                        feed_whole(&h.part, &s);
                        continue;
                }
                part_range(&late, &at, &last);
                feed_bytes(&late, &s, at, at + 7 * (FRAME + MESSAGE_FRAME_EXTRA));
                part_rewind(&late);
                part_range(&late, &at, &last);
                s.object[at + MESSAGE_FRAME_HEAD + 1000] ^= 1;
                feed_bytes(&late, &s, at, at + MESSAGE_FRAME_HEAD + FRAME);
                s.object[at + MESSAGE_FRAME_HEAD + 1000] ^= 1;
                assert_int_equal(part_begin(&h.part, f, held_first, held_end, WINDOW_MAX), 0);
                feed_whole(&h.part, &s);
                part_rewind(&late);
                feed_whole(&late, &s);
        }
        assert_true(late.end > 0);
        assert_int_equal(h.f.state, FILE_DONE);
        assert_memory_equal(h.f.digest, s.digest, VERITY_DIGEST);
        part_done(&late);
        hand_end(&h);
        remove_directory(path, fd);
        sample_free(&s);
}

/* ---- refusals */

static void expect_refusal(const struct sample *s, size_t key_at, enum failure failure, const char *words) {
        char path[32];
        int fd = make_directory(path);
        struct hand h;

        hand_begin(&h, s, fd);
        assert_refused(hand_feed(&h, s, 16384, key_at, SIZE_MAX), &h.part.error, failure, words);
        assert_int_not_equal(h.f.state, FILE_DONE);
        hand_end(&h);
        remove_directory(path, fd);
}

static void test_every_flipped_byte_is_refused(void **state) {
        struct sample s;

        (void) state;
        sample_make(&s, 1000, 300, false);
        for (size_t i = 0; i < s.object_size; i++)
                for (size_t key_at = 0; key_at < SIZE_MAX / 2; key_at += SIZE_MAX / 2) {
                        char path[32];
                        int fd = make_directory(path);
                        struct hand h;

                        s.object[i] ^= 0x40;
                        hand_begin(&h, &s, fd);
                        if (hand_feed(&h, &s, 16384, key_at, SIZE_MAX) == 0)
                                fail_msg("byte %zu may be anything", i);
                        assert_int_not_equal(h.f.state, FILE_DONE);
                        hand_end(&h);
                        remove_directory(path, fd);
                        s.object[i] ^= 0x40;
                }
        sample_free(&s);
}

static void test_every_truncation_is_refused(void **state) {
        struct sample s;
        size_t whole;

        (void) state;
        sample_make(&s, 1000, 300, false);
        whole = s.object_size;
        for (s.object_size = 1; s.object_size < whole; s.object_size++) {
                char path[32];
                int fd = make_directory(path);
                struct hand h;

                hand_begin(&h, &s, fd);
                if (hand_feed(&h, &s, 16384, 0, SIZE_MAX) == 0)
                        fail_msg("truncated to %zu bytes, it opens", s.object_size);
                assert_int_not_equal(h.f.state, FILE_DONE);
                hand_end(&h);
                remove_directory(path, fd);
        }
        sample_free(&s);
}

static void test_moved_frames_are_refused(void **state) {
        struct sample s;
        uint8_t frame[332], *body;

        (void) state;
        sample_make(&s, 1000, 300, false);
        body = s.object + s.header->size;
        memcpy(frame, body, sizeof frame);
        memmove(body, body + 332, 332);
        memcpy(body + 332, frame, sizeof frame);
        expect_refusal(&s, 0, FAILURE_SEALED_FORMAT, "has frame 2 at position 1");
        expect_refusal(&s, SIZE_MAX, FAILURE_SEALED_FORMAT, "has frame 2 at position 1");
        sample_free(&s);
}

static void test_trailing_bytes_are_refused(void **state) {
        struct sample s;

        (void) state;
        sample_make(&s, 1000, 300, false);
        s.object = realloc(s.object, s.object_size + 1);
        s.object[s.object_size++] = 0;
        expect_refusal(&s, 0, FAILURE_SEALED_FORMAT, "trailing bytes");
        sample_free(&s);
}

static void test_room_is_kept_to(void **state) {
        struct sample s;
        char path[32];
        int fd = make_directory(path);
        struct hand h;

        (void) state;
        sample_make(&s, 100000, 4096, false);
        hand_begin(&h, &s, fd);
        h.u.options.room = 99999;
        assert_refused(hand_feed(&h, &s, 16384, 0, SIZE_MAX), &h.part.error, FAILURE_SPACE, "needs 100000 bytes");
        assert_int_equal(h.f.fd, -1);
        hand_end(&h);
        remove_directory(path, fd);
        sample_free(&s);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_local_source_opens_every_shape),
                cmocka_unit_test(test_a_wait_can_be_cancelled_and_the_keys_wiped),
                cmocka_unit_test(test_parts_survive_pieces_late_keys_and_breaks),
                cmocka_unit_test(test_authentic_bytes_cannot_be_taken_back),
                cmocka_unit_test(test_every_flipped_byte_is_refused),
                cmocka_unit_test(test_every_truncation_is_refused),
                cmocka_unit_test(test_moved_frames_are_refused),
                cmocka_unit_test(test_trailing_bytes_are_refused),
                cmocka_unit_test(test_room_is_kept_to),
        };

        return secret_init() < 0 ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
