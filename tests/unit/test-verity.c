/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include <openssl/evp.h>
#include <pthread.h>

#include "basic/encode.h"
#include "sealed/verity.h"

/* File contents that any language writes in a line: byte i is bits 13..20 of i * 2654435761. */
static uint8_t *content(uint64_t size) {
        uint8_t *data = malloc(size + 1);

        assert_non_null(data);
        for (uint64_t i = 0; i < size; i++)
                data[i] = (uint8_t) ((i * 2654435761u) >> 13);
        return data;
}

static int put_unit(struct verity_tree *t, struct verity_hash *h, const uint8_t *data, uint64_t size, uint64_t unit) {
        uint8_t leaves[VERITY_BLOCK];
        uint64_t offset = unit * VERITY_UNIT;
        size_t n = (size_t) MIN_OF((uint64_t) VERITY_UNIT, size - offset);

        if (verity_leaves(h, data + offset, n, leaves) < 0)
                return -EIO;
        if (verity_tree_set(t, h, unit, leaves, (n + VERITY_BLOCK - 1) / VERITY_BLOCK) < 0)
                return -EIO;
        return verity_tree_settle(t, h, unit);
}

static void digest_in_order(const uint8_t *data, uint64_t size, uint64_t first_step,
                            uint8_t ret[static VERITY_DIGEST]) {
        _cleanup_(verity_tree_freep) struct verity_tree *t = NULL;
        _cleanup_(verity_hash_freep) struct verity_hash *h = NULL;
        struct error e = { 0 };
        uint64_t n;

        assert_ok(verity_hash_new(&h, &e), &e);
        assert_ok(verity_tree_new(size, &t, &e), &e);
        n = verity_tree_units(t);
        /* A step that shares no factor with n visits every unit once: 1 is in order, n - 1 backwards. */
        for (uint64_t i = 0, unit = 0; i < n; i++, unit = (unit + first_step) % n)
                assert_int_equal(put_unit(t, h, data, size, unit), 0);
        assert_int_equal(verity_tree_digest(t, h, ret), 0);
}

/* Expected values: `fsverity digest` of fsverity-utils 1.5. */
static void test_known_digests(void **state) {
        static const struct {
                uint64_t size;
                const char *digest;
        } table[] = {
                { 0, "3d248ca542a24fc62d1c43b916eae5016878e2533c88238480b26128a1f1af95" },
                { 1, "b803429503d95915829b29fdbc8bbad142f3abfd11b1cadf5526582e685c0551" },
                { 4095, "da56d676cb8a13fce0a85fcfe7a433e4b0e16975b9d10f8ba455df8aa6c2237c" },
                { 4096, "fa92af10ee791a0e76ea19294552e736a9ebd0afc0b526264904e2aaf435e240" },
                { 4097, "ffcb950bbe83f4d44946a9e24126ef5f8d28671b35c514f1067ac6014d9d3840" },
                { 524287, "b8c1c812381b56c15012a4096a9544c098c0e190784377dcdf0a400db18ed6bf" },
                { 524288, "fa1f118a8a8eb6b0f44a9a2aa8c420334461f59aa9d1e385e8ed465cbe09c33f" },
                { 524289, "63b5c44df8459fbf185f81572d239aefe9a983a780da88fe09577df3a9250427" },
                { 1234567, "d6eaef1500bbcada8c9455105e5bdc069ee3a3c6a7ea443ae7ce1392f2b65c5f" },
                { 67108863, "2bbe3b6d9ae5f2e8ad876741d84ca648a5dd78040dd34154cfc999da870f4f71" },
                { 67108864, "43d6741049314c9877d73a284fc0fc43f581bf6afa712d580c6039236c2424ba" },
                { 67108865, "3a2801edd7d7bdbbda7c760a2e1cd68b609932f98c1c209917eda69535b0c441" },
        };

        (void) state;
        for (size_t i = 0; i < ELEMENTS(table); i++) {
                _cleanup_free_ uint8_t *data = content(table[i].size);
                uint64_t units = (table[i].size + VERITY_UNIT - 1) / VERITY_UNIT;
                uint8_t digest[VERITY_DIGEST];
                char hex[2 * VERITY_DIGEST + 1];

                digest_in_order(data, table[i].size, 1, digest);
                hex_encode(digest, sizeof digest, hex);
                assert_string_equal(hex, table[i].digest);
                /* Backwards, too, where that is cheap, and once across two groups. */
                if (units < 3 || (units >= 128 && i + 1 < ELEMENTS(table)))
                        continue;
                digest_in_order(data, table[i].size, units - 1, digest);
                hex_encode(digest, sizeof digest, hex);
                assert_string_equal(hex, table[i].digest);
        }
}

/* The tree built level by level, as the kernel's documentation tells it, to check the streaming one on sizes that
 * nobody chose. */
static void plain_digest(const uint8_t *data, uint64_t size, uint8_t ret[static VERITY_DIGEST]) {
        _cleanup_free_ uint8_t *level = malloc(size + VERITY_BLOCK);
        uint8_t descriptor[256] = { 1, 1, 12 };
        uint64_t n = size, blocks = 0;

        assert_non_null(level);
        memcpy(level, data, size);
        while (blocks != 1) {
                blocks = (n + VERITY_BLOCK - 1) / VERITY_BLOCK;
                memset(level + n, 0, blocks * VERITY_BLOCK - n);
                for (uint64_t i = 0; i < blocks; i++) {
                        uint8_t digest[VERITY_DIGEST];

                        assert_int_equal(EVP_Digest(level + i * VERITY_BLOCK, VERITY_BLOCK, digest, NULL, EVP_sha256(),
                                                    NULL),
                                         1);
                        memcpy(level + i * VERITY_DIGEST, digest, VERITY_DIGEST);
                }
                n = blocks * VERITY_DIGEST;
        }
        for (unsigned i = 0; i < 8; i++)
                descriptor[8 + i] = (uint8_t) (size >> 8 * i);
        memcpy(descriptor + 16, level, VERITY_DIGEST);
        assert_int_equal(EVP_Digest(descriptor, sizeof descriptor, ret, NULL, EVP_sha256(), NULL), 1);
}

static void test_random_sizes(void **state) {
        _cleanup_free_ uint8_t *data = content(80 << 20);
        unsigned seed = 20260801;

        (void) state;
        for (unsigned i = 0; i < 25; i++) {
                /* Every magnitude alike, up to two groups of 64 MiB. */
                uint64_t size = 1 + (((uint64_t) rand_r(&seed) << 31 | (uint64_t) rand_r(&seed)) %
                                     ((uint64_t) 1 << (rand_r(&seed) % 24 + 3)));
                uint8_t digest[VERITY_DIGEST], expected[VERITY_DIGEST];

                digest_in_order(data, size, 1, digest);
                plain_digest(data, size, expected);
                if (memcmp(digest, expected, sizeof digest) != 0)
                        fail_msg("wrong digest for %llu bytes", (unsigned long long) size);
        }
}

enum { THREADS = 4 };

struct lane {
        struct verity_tree *tree;
        const uint8_t *data;
        uint64_t size, first;
};

static void *put_lane(void *userdata) {
        struct lane *lane = userdata;
        _cleanup_(verity_hash_freep) struct verity_hash *h = NULL;
        int r;

        r = verity_hash_new(&h, NULL);
        for (uint64_t unit = lane->first; r == 0 && unit < verity_tree_units(lane->tree); unit += THREADS)
                r = put_unit(lane->tree, h, lane->data, lane->size, unit);
        return r == 0 ? lane : NULL;
}

static void test_threads_share_a_tree(void **state) {
        const uint64_t size = 67108865;
        _cleanup_(verity_tree_freep) struct verity_tree *t = NULL;
        _cleanup_(verity_hash_freep) struct verity_hash *h = NULL;
        _cleanup_free_ uint8_t *data = content(size);
        uint8_t digest[VERITY_DIGEST], expected[VERITY_DIGEST];
        struct lane lanes[THREADS];
        pthread_t threads[THREADS];
        struct error e = { 0 };

        (void) state;
        assert_ok(verity_hash_new(&h, &e), &e);
        assert_ok(verity_tree_new(size, &t, &e), &e);
        for (unsigned i = 0; i < THREADS; i++) {
                lanes[i] = (struct lane) { t, data, size, i };
                assert_int_equal(pthread_create(&threads[i], NULL, put_lane, &lanes[i]), 0);
        }
        for (unsigned i = 0; i < THREADS; i++) {
                void *done;

                assert_int_equal(pthread_join(threads[i], &done), 0);
                assert_non_null(done);
        }
        assert_int_equal(verity_tree_digest(t, h, digest), 0);
        plain_digest(data, size, expected);
        assert_memory_equal(digest, expected, sizeof digest);
}

/* Hashes random ranges by both. What is written beyond the digests of a range would differ, too. */
static void compare(struct verity_hash *engine, struct verity_hash *openssl) {
        enum { SIZE = 40 * VERITY_BLOCK };
        static uint8_t data[SIZE], a[VERITY_BLOCK], b[VERITY_BLOCK];

        for (size_t i = 0; i < SIZE; i++)
                data[i] = (uint8_t) random();
        for (unsigned i = 0; i < 1000; i++) {
                size_t at = (size_t) random() % SIZE, n = (size_t) random() % (SIZE - at + 1);
                /* On the heap, so that the sanitizer sees what is read behind it. */
                _cleanup_free_ uint8_t *copy = malloc(n + 1);

                assert_non_null(copy);
                memcpy(copy + 1, data + at, n);
                memset(a, 1, sizeof a);
                memset(b, 1, sizeof b);
                assert_int_equal(verity_leaves(engine, copy + 1, n, a), 0);
                assert_int_equal(verity_leaves(openssl, copy + 1, n, b), 0);
                assert_memory_equal(a, b, sizeof a);
        }
}

/* Our own engine is faster there. */
static bool is_intel(void) {
#ifdef __x86_64__
        return __builtin_cpu_is("intel");
#else
        return false;
#endif
}

/* Each engine of this build that this CPU can run gives OpenSSL's digests. tests/engines has the other ones. */
static void test_engines_agree(void **state) {
        _cleanup_(verity_hash_freep) struct verity_hash *openssl = NULL;
        const char *name, *fastest = NULL;
        struct error e;

        (void) state;
        assert_ok(verity_hash_new_with("openssl", &openssl, &e), &e);
        srandom(20);
        for (size_t i = 1; (name = verity_engine_name(i)); i++) {
                _cleanup_(verity_hash_freep) struct verity_hash *engine = NULL;
                int r = verity_hash_new_with(name, &engine, &e);

                if (r == -EOPNOTSUPP) {
                        print_message("this CPU does not run %s\n", name);
                        continue;
                }
                assert_ok(r, &e);
                assert_string_equal(verity_hash_engine(engine), name);
                if (!fastest || (streq(fastest, "ipsec-mb") && is_intel()))
                        fastest = name;
                compare(engine, openssl);
        }
        assert_string_equal(verity_engine(), fastest ?: "openssl");
}

static void test_unknown_engine(void **state) {
        struct verity_hash *h = NULL;
        struct error e = { 0 };

        (void) state;
        assert_refused(verity_hash_new_with("abacus", &h, &e), &e, FAILURE_INTERNAL, "does not have this hash engine");
        assert_null(h);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_known_digests),        cmocka_unit_test(test_random_sizes),
                cmocka_unit_test(test_engines_agree),        cmocka_unit_test(test_unknown_engine),
                cmocka_unit_test(test_threads_share_a_tree),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
