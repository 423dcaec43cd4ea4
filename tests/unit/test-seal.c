/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "owner/message-write.h"
#include "owner/progress.h"
#include "owner/s3-write.h"
#include "owner/seal.h"
#include "sealed/frame.h"

static struct secret *data_key(void) {
        struct secret *key;

        assert_int_equal(secret_new(DATA_KEY_SIZE, &key), 0);
        memset(key->data, 0x5a, key->size);
        return key;
}

static void test_parts_fit_s3(void **state) {
        static const uint64_t sizes[] = {
                0,
                1,
                (8 << 20) - 1,
                8 << 20,
                (8 << 20) + 1,
                UINT64_C(10000) * (8 << 20),
                UINT64_C(10000) * (8 << 20) + 1,
                UINT64_C(400) << 30,
                UINT64_C(5) << 40,
        };

        (void) state;
        for (size_t i = 0; i < ELEMENTS(sizes); i++)
                for (uint32_t frame = SEAL_FRAME_LENGTH_MIN; frame <= SEAL_FRAME_LENGTH_MAX; frame *= 2) {
                        uint64_t part = seal_part_bytes(sizes[i], frame), n = seal_parts(sizes[i], frame);

                        assert_true(n >= 1 && n <= S3_PARTS_MAX);
                        assert_true(part >= S3_PART_SMALLEST && part % frame == 0 && part % VERITY_UNIT == 0);
                        assert_true(n * part >= sizes[i] && (n - 1) * part <= sizes[i]);
                }
        assert_int_equal(seal_parts(0, 1 << 20), 1);
        assert_int_equal(seal_parts(8 << 20, 1 << 20), 1);
        assert_int_equal(seal_parts((8 << 20) + 1, 1 << 20), 2);
        /* 64 MiB for each thread is what a model of 640 GB costs. */
        assert_int_equal(seal_part_bytes(UINT64_C(640) * 1000 * 1000 * 1000, 1 << 20), 64 << 20);
}

/* A source of one file with that many bytes, each its position by some measure. */
static struct source *source_of(char directory[static 32], uint64_t size) {
        _cleanup_free_ uint8_t *data = malloc(size + 1);
        _cleanup_free_ char *path = NULL;
        struct source *source = NULL;
        struct error e = { 0 };
        int fd;

        assert_non_null(data);
        for (uint64_t i = 0; i < size; i++)
                data[i] = (uint8_t) (i * 7 + (i >> 12));
        snprintf(directory, 32, "/tmp/sealboot-test-XXXXXX");
        assert_non_null(mkdtemp(directory));
        assert_true(asprintf(&path, "%s/f", directory) > 0);
        fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
        assert_true(fd >= 0);
        assert_true(write(fd, data, size) == (ssize_t) size);
        close(fd);
        assert_ok(source_scan(directory, SOURCE_LINKS_INSIDE, SOURCE_FILES_MODEL, &source, &e), &e);
        return source;
}

static void source_gone(struct source *source, const char *directory) {
        _cleanup_free_ char *path = NULL;

        assert_true(asprintf(&path, "%s/f", directory) > 0);
        unlink(path);
        rmdir(directory);
        source_free(source);
}

/* Parts in any order, put where their offsets say, are one message that opens to the file. */
static void test_parts_make_a_message(void **state) {
        /* clang-format off */
        static const struct {
                uint64_t size;
                uint32_t frame_length;
        } table[] = {
                { 0, 4096 },           { 1, 4096 },             { 4096, 4096 },        { 4097, 4096 },
                { 524289, 65536 },     { 1 << 20, 1 << 20 },    { 8 << 20, 1 << 20 },  { (8 << 20) + 1, 1 << 20 },
                { (16 << 20) + 5, 4096 }, { (17 << 20), 16 << 20 }, { (32 << 20), 16 << 20 },
        };
        /* clang-format on */
        struct pair context = { "model", "m" };

        (void) state;
        for (size_t i = 0; i < ELEMENTS(table); i++) {
                _cleanup_secret_ struct secret *dk = data_key();
                struct seal_key key = { .data_key = dk,
                                        .context = &context,
                                        .n_context = 1,
                                        .frame_length = table[i].frame_length,
                                        .encrypted = { (char *) "aws-kms", (char *) "arn:k", 5, (uint8_t *) "\xaa",
                                                       1 } };
                char directory[32];
                struct source *source = source_of(directory, table[i].size);
                _cleanup_(sealer_freep) struct sealer *sealer = NULL;
                _cleanup_(source_file_close) struct source_file again = { .fd = -1 };
                _cleanup_free_ uint8_t *object = NULL, *out = NULL, *expected = NULL;
                struct seal_file f = { .source.fd = -1 };
                uint8_t digest[VERITY_DIGEST];
                struct error e = { 0 };
                uint64_t size, sum = 0;
                size_t n = 0;

                assert_ok(sealer_new(&sealer, &e), &e);
                assert_ok(seal_file_open(source, 0, &key, &f, &e), &e);
                size = message_object_size(f.header->size, table[i].frame_length, table[i].size);
                object = malloc(size);
                for (uint64_t part = seal_parts(table[i].size, table[i].frame_length); part-- > 0;) {
                        struct sealed_part sealed;

                        assert_ok(seal_part(sealer, &f, part, &sealed, &e), &e);
                        assert_true(sealed.offset + sealed.size <= size);
                        memcpy(object + sealed.offset, sealed.data, sealed.size);
                        sum += sealed.size;
                }
                assert_int_equal(sum, size);
                assert_ok(seal_file_digest(&f, sealer_hash(sealer), digest, &e), &e);
                assert_ok(message_open(f.header, object, size, dk, false, "object", &out, &n, &e), &e);
                assert_int_equal(n, table[i].size);
                expected = malloc(n + 1);
                assert_ok(source_file_open(source, 0, &again, &e), &e);
                assert_ok(source_file_read(&again, 0, expected, n, &e), &e);
                assert_memory_equal(out, expected, n);
                seal_file_close(&f);
                source_gone(source, directory);
        }
}

static void test_changes_are_seen(void **state) {
        char directory[32];
        struct source *source = source_of(directory, 1000);
        struct source_file f = { .fd = -1 };
        _cleanup_free_ char *path = NULL;
        struct error e = { 0 };
        uint8_t byte;

        (void) state;
        assert_true(asprintf(&path, "%s/f", directory) > 0);
        assert_ok(source_file_open(source, 0, &f, &e), &e);
        assert_ok(source_file_unchanged(&f, &e), &e);
        assert_int_equal(utimensat(AT_FDCWD, path, (struct timespec[]) { { 1, 0 }, { 1, 1 } }, 0), 0);
        assert_refused(source_file_unchanged(&f, &e), &e, FAILURE_IO, "was changed while it was read");
        assert_int_equal(truncate(path, 10), 0);
        assert_refused(source_file_read(&f, 10, &byte, 1, &e), &e, FAILURE_IO, "shorter");
        source_file_close(&f);
        assert_refused(source_file_open(source, 0, &f, &e), &e, FAILURE_IO, "has changed since the model was scanned");
        source_gone(source, directory);
}

static void test_seal_bytes(void **state) {
        _cleanup_secret_ struct secret *dk = data_key();
        struct seal_key key = { .data_key = dk,
                                .frame_length = 4096,
                                .encrypted = { (char *) "aws-kms", (char *) "arn:k", 5, (uint8_t *) "\xaa", 1 } };
        static const size_t sizes[] = { 1, 4095, 4096, 4097, 8192, 100000 };
        _cleanup_free_ uint8_t *data = calloc(1, 100000);

        (void) state;
        for (size_t i = 0; i < ELEMENTS(sizes); i++) {
                _cleanup_message_header_ struct message_header *h = NULL;
                _cleanup_free_ uint8_t *sealed = NULL, *out = NULL;
                struct error e = { 0 };
                size_t size, n;

                assert_ok(seal_bytes(&key, data, sizes[i], &sealed, &size, &e), &e);
                assert_ok(message_header_parse(sealed, size, "object", &h, &e), &e);
                assert_int_equal(size, message_object_size(h->size, 4096, sizes[i]));
                assert_ok(message_open(h, sealed, size, dk, false, "object", &out, &n, &e), &e);
                assert_int_equal(n, sizes[i]);
                assert_memory_equal(out, data, n);
        }
}

static void test_bytes_for_people(void **state) {
        static const struct {
                uint64_t n;
                const char *text;
        } table[] = {
                { 0, "0 B" },          { 999, "999 B" },          { 1000, "1.00 kB" },       { 9994, "9.99 kB" },
                { 9996, "10.0 kB" },   { 99949, "99.9 kB" },      { 99960, "100 kB" },       { 999499, "999 kB" },
                { 999500, "1.00 MB" }, { 8030000000, "8.03 GB" }, { UINT64_MAX, "18.4 EB" },
        };

        (void) state;
        for (size_t i = 0; i < ELEMENTS(table); i++) {
                char text[16];

                assert_string_equal(format_bytes(table[i].n, text), table[i].text);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_parts_fit_s3),     cmocka_unit_test(test_parts_make_a_message),
                cmocka_unit_test(test_changes_are_seen), cmocka_unit_test(test_seal_bytes),
                cmocka_unit_test(test_bytes_for_people),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
