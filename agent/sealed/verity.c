/* SPDX-License-Identifier: Apache-2.0 */
#include "sealed/verity.h"

#include <endian.h>
#include <openssl/evp.h>
#include <stdatomic.h>
#include <sys/mman.h>

#include "sealed/leaves.h"

struct verity_hash {
        EVP_MD *md;
        EVP_MD_CTX *ctx;
        struct leaves *leaves; /* NULL: OpenSSL hashes one block after another */
};

static const char OPENSSL[] = "openssl";

static int openssl_new(struct verity_hash **ret, struct error *e) {
        _cleanup_(verity_hash_freep) struct verity_hash *h = calloc(1, sizeof *h);

        if (!h)
                return fail_oom(e);
        h->md = EVP_MD_fetch(NULL, "SHA256", NULL);
        h->ctx = EVP_MD_CTX_new();
        if (!h->md || !h->ctx || EVP_DigestInit_ex(h->ctx, h->md, NULL) != 1)
                return fail(e, FAILURE_INTERNAL, -EIO, "", "SHA-256 is not available in OpenSSL");
        *ret = TAKE(h);
        return 0;
}

int verity_hash_new_with(const char *engine, struct verity_hash **ret, struct error *e) {
        _cleanup_(verity_hash_freep) struct verity_hash *h = NULL;
        int r;

        r = openssl_new(&h, e);
        if (r < 0)
                return r;
        r = engine && streq(engine, OPENSSL) ? 0 : leaves_new(engine, &h->leaves);
        if (r == -ENOMEM)
                return fail_oom(e);
        if (r < 0 && engine)
                return fail(e, FAILURE_INTERNAL, r, engine, "this CPU or this build does not have this hash engine");
        *ret = TAKE(h);
        return 0;
}

int verity_hash_new(struct verity_hash **ret, struct error *e) {
        return verity_hash_new_with(NULL, ret, e);
}

const char *verity_hash_engine(const struct verity_hash *h) {
        return h->leaves ? leaves_engine(h->leaves) : OPENSSL;
}

const char *verity_engine(void) {
        _cleanup_(verity_hash_freep) struct verity_hash *h = NULL;

        return verity_hash_new(&h, NULL) < 0 ? "none" : verity_hash_engine(h);
}

const char *verity_engine_name(size_t number) {
        return number == 0 ? OPENSSL : leaves_engine_name(number - 1);
}

void verity_hash_free(struct verity_hash *h) {
        if (!h)
                return;
        leaves_free(h->leaves);
        EVP_MD_CTX_free(h->ctx);
        EVP_MD_free(h->md);
        free(h);
}

/* Hashes one block of n bytes, padded with zeros to 4096. EVP_DigestInit_ex() with NULL keeps the algorithm of the
 * context: it need not be looked up again. */
static int hash_block(struct verity_hash *h, const uint8_t *data, size_t n, uint8_t out[static VERITY_DIGEST]) {
        static const uint8_t zeros[VERITY_BLOCK];

        if (EVP_DigestInit_ex(h->ctx, NULL, NULL) != 1 || EVP_DigestUpdate(h->ctx, data, n) != 1 ||
            (n < VERITY_BLOCK && EVP_DigestUpdate(h->ctx, zeros, VERITY_BLOCK - n) != 1) ||
            EVP_DigestFinal_ex(h->ctx, out, NULL) != 1)
                return -EIO;
        return 0;
}

int verity_leaves(struct verity_hash *h, const uint8_t *data, size_t n, uint8_t *digests) {
        ssize_t done = h->leaves ? leaves_hash(h->leaves, data, n / VERITY_BLOCK, digests) : 0;

        if (done < 0)
                return -EIO;
        data += (size_t) done * VERITY_BLOCK;
        n -= (size_t) done * VERITY_BLOCK;
        digests += (size_t) done * VERITY_DIGEST;
        for (; n > 0; digests += VERITY_DIGEST) {
                size_t block = MIN_OF(n, (size_t) VERITY_BLOCK);

                if (hash_block(h, data, block, digests) < 0)
                        return -EIO;
                data += block;
                n -= block;
        }
        return 0;
}

/* A group is 128 units: 64 MiB of data. The digests of its units fill one page of a mapping, which gets its pages when
 * they are written to. The page goes back to the kernel as soon as the digest of the group is known. */
struct verity_tree {
        uint64_t size, n_units, n_groups;
        uint8_t *units;
        uint8_t *groups;
        atomic_uint *done; /* units settled, for each group */
        atomic_uint_fast64_t groups_done;
        uint8_t first_leaf[VERITY_DIGEST]; /* the root of a file of one block */
};

static uint64_t count_of(uint64_t n, uint64_t size) {
        return n / size + (n % size != 0);
}

int verity_tree_new(uint64_t size, struct verity_tree **ret, struct error *e) {
        _cleanup_(verity_tree_freep) struct verity_tree *t = calloc(1, sizeof *t);
        void *units;

        if (!t)
                return fail_oom(e);
        t->size = size;
        t->n_units = count_of(size, VERITY_UNIT);
        t->n_groups = count_of(t->n_units, VERITY_FANOUT);
        t->groups = calloc(t->n_groups + 1, VERITY_DIGEST);
        t->done = calloc(t->n_groups + 1, sizeof *t->done);
        if (!t->groups || !t->done)
                return fail_oom(e);
        if (t->n_groups > 0) {
                units = mmap(NULL, t->n_groups * VERITY_BLOCK, PROT_READ | PROT_WRITE,
                             MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
                if (units == MAP_FAILED)
                        return fail_oom(e);
                t->units = units;
        }
        *ret = TAKE(t);
        return 0;
}

void verity_tree_free(struct verity_tree *t) {
        if (!t)
                return;
        if (t->units)
                munmap(t->units, t->n_groups * VERITY_BLOCK);
        free(t->groups);
        free(t->done);
        free(t);
}

uint64_t verity_tree_units(const struct verity_tree *t) {
        return t->n_units;
}

static int close_group(struct verity_tree *t, struct verity_hash *h, uint64_t group, size_t n_units) {
        uint8_t *page = t->units + group * VERITY_BLOCK;

        if (hash_block(h, page, n_units * VERITY_DIGEST, t->groups + group * VERITY_DIGEST) < 0)
                return -EIO;
        /* If there is one group only, root_hash() may still read its page. */
        if (t->n_groups > 1)
                (void) madvise(page, VERITY_BLOCK, MADV_DONTNEED); /* larger pages stay */
        return 0;
}

int verity_tree_set(struct verity_tree *t, struct verity_hash *h, uint64_t unit, const uint8_t *leaves,
                    size_t n_leaves) {
        if (unit == 0)
                memcpy(t->first_leaf, leaves, VERITY_DIGEST);
        return hash_block(h, leaves, n_leaves * VERITY_DIGEST, t->units + unit * VERITY_DIGEST);
}

int verity_tree_settle(struct verity_tree *t, struct verity_hash *h, uint64_t unit) {
        uint64_t group = unit / VERITY_FANOUT;
        uint64_t in_group = MIN_OF((uint64_t) VERITY_FANOUT, t->n_units - group * VERITY_FANOUT);

        if (atomic_fetch_add(&t->done[group], 1) + 1 < in_group)
                return 0;
        if (close_group(t, h, group, in_group) < 0)
                return -EIO;
        atomic_fetch_add(&t->groups_done, 1);
        return 0;
}

/* Hashes the levels above the groups, in place: each round turns 128 digests into one. */
static int fold(struct verity_tree *t, struct verity_hash *h, uint8_t root[static VERITY_DIGEST]) {
        uint64_t n = t->n_groups;

        while (n > 1) {
                uint64_t blocks = count_of(n, VERITY_FANOUT);

                for (uint64_t i = 0; i < blocks; i++) {
                        uint64_t first = i * VERITY_FANOUT;
                        uint8_t digest[VERITY_DIGEST];

                        if (hash_block(h, t->groups + first * VERITY_DIGEST,
                                       MIN_OF((uint64_t) VERITY_FANOUT, n - first) * VERITY_DIGEST, digest) < 0)
                                return -EIO;
                        memcpy(t->groups + i * VERITY_DIGEST, digest, VERITY_DIGEST);
                }
                n = blocks;
        }
        memcpy(root, t->groups, VERITY_DIGEST);
        return 0;
}

static int root_hash(struct verity_tree *t, struct verity_hash *h, uint8_t root[static VERITY_DIGEST]) {
        if (t->size == 0)
                memset(root, 0, VERITY_DIGEST);
        else if (t->size <= VERITY_BLOCK)
                memcpy(root, t->first_leaf, VERITY_DIGEST);
        else if (t->n_units == 1)
                memcpy(root, t->units, VERITY_DIGEST);
        else
                return fold(t, h, root);
        return 0;
}

/* struct fsverity_descriptor: version, algorithm, log2 of the block size, salt length, 4 reserved bytes, data size
 * (le64), root hash (64), salt (32), 144 reserved bytes. */
int verity_tree_digest(struct verity_tree *t, struct verity_hash *h, uint8_t ret[static VERITY_DIGEST]) {
        uint8_t descriptor[256] = { 1, 1, 12, 0 };

        if (atomic_load(&t->groups_done) != t->n_groups)
                return -EAGAIN;
        memcpy(descriptor + 8, &(uint64_t) { htole64(t->size) }, 8);
        if (root_hash(t, h, descriptor + 16) < 0 || EVP_DigestInit_ex(h->ctx, NULL, NULL) != 1 ||
            EVP_DigestUpdate(h->ctx, descriptor, sizeof descriptor) != 1 || EVP_DigestFinal_ex(h->ctx, ret, NULL) != 1)
                return -EIO;
        return 0;
}
