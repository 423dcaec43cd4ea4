/* SPDX-License-Identifier: Apache-2.0 */
#include "owner/digest.h"

#include "basic/encode.h"
#include "owner/parallel.h"
#include "owner/source-file.h"
#include "sealed/content-address.h"

enum { PART = 16 * VERITY_UNIT };

DEFINE_CLEANUP(EVP_MD_CTX *, EVP_MD_CTX_free, md_ctx_freep)

struct open_file {
        struct source_file file;
        struct verity_tree *tree;
};

struct job {
        struct source *source;
        struct progress *progress;
        struct open_file *files;
};

struct worker {
        struct verity_hash *hash;
        uint8_t unit[VERITY_UNIT];
};

static uint64_t count_parts(void *userdata, size_t file) {
        const struct job *job = userdata;

        return MAX_OF((job->source->model->files[file].size + PART - 1) / PART, UINT64_C(1));
}

static int begin_file(void *userdata, size_t file, struct error *e) {
        struct job *job = userdata;
        struct open_file *f = &job->files[file];
        int r;

        r = source_file_open(job->source, file, &f->file, e);
        return r < 0 ? r : verity_tree_new(job->source->model->files[file].size, &f->tree, e);
}

static void close_file(struct open_file *f) {
        source_file_close(&f->file);
        verity_tree_free(f->tree);
        f->tree = NULL;
}

int digest_unit(struct verity_hash *hash, struct verity_tree *tree, uint64_t unit, const uint8_t *data, size_t n) {
        uint8_t leaves[VERITY_BLOCK];

        if (verity_leaves(hash, data, n, leaves) < 0 ||
            verity_tree_set(tree, hash, unit, leaves, (n + VERITY_BLOCK - 1) / VERITY_BLOCK) < 0)
                return -EIO;
        return verity_tree_settle(tree, hash, unit);
}

static int hash_part(void *userdata, size_t file, uint64_t part, void *thread, struct error *e) {
        struct job *job = userdata;
        struct worker *w = thread;
        struct open_file *f = &job->files[file];
        uint64_t size = job->source->model->files[file].size, end = MIN_OF((part + 1) * PART, size);
        int r;

        for (uint64_t at = part * PART; at < end; at += VERITY_UNIT) {
                size_t n = (size_t) MIN_OF(end - at, (uint64_t) VERITY_UNIT);

                r = source_file_read(&f->file, at, w->unit, n, e);
                if (r < 0)
                        return r;
                if (digest_unit(w->hash, f->tree, at / VERITY_UNIT, w->unit, n) < 0)
                        return fail(e, FAILURE_INTERNAL, -EIO, f->file.path, "hashing failed");
                progress_add(job->progress, n);
        }
        return 0;
}

static int end_file(void *userdata, size_t file, void *thread, struct error *e) {
        struct job *job = userdata;
        struct worker *w = thread;
        struct open_file *f = &job->files[file];
        int r;

        r = source_file_unchanged(&f->file, e);
        if (r < 0)
                return r;
        if (verity_tree_digest(f->tree, w->hash, job->source->model->files[file].digest) < 0)
                return fail(e, FAILURE_INTERNAL, -EIO, f->file.path, "hashing failed");
        close_file(f);
        return 0;
}

static void worker_free(void *thread) {
        struct worker *w = thread;

        verity_hash_free(w->hash);
        free(w);
}

static int worker_new(void *userdata, void **ret, struct error *e) {
        struct worker *w = calloc(1, sizeof *w);
        int r;

        (void) userdata;
        if (!w)
                return fail_oom(e);
        r = verity_hash_new(&w->hash, e);
        if (r < 0) {
                worker_free(w);
                return r;
        }
        *ret = w;
        return 0;
}

int digest_source(struct source *s, unsigned n_threads, struct progress *progress, struct error *e) {
        _cleanup_free_ struct open_file *files = calloc(s->model->n_files, sizeof *files);
        struct job job = { s, progress, files };
        /* clang-format off */
        const struct parallel_work work = {
                .n_files = s->model->n_files, .n_threads = n_threads, .job = &job,
                .parts = count_parts, .begin = begin_file, .part = hash_part, .end = end_file,
                .thread_new = worker_new, .thread_free = worker_free,
        };
        /* clang-format on */
        int r;

        if (!files)
                return fail_oom(e);
        for (size_t i = 0; i < s->model->n_files; i++)
                files[i].file.fd = -1;
        r = parallel_run(&work, progress, e);
        for (size_t i = 0; i < s->model->n_files; i++)
                close_file(&files[i]);
        return r < 0 ? r : model_digest(s->model, e);
}

int digest_file(const struct source *s, size_t index, const EVP_MD *algorithm, struct progress *progress, uint8_t *ret,
                struct error *e) {
        _cleanup_(md_ctx_freep) EVP_MD_CTX *ctx = EVP_MD_CTX_new();
        _cleanup_free_ uint8_t *buffer = malloc(VERITY_UNIT);
        _cleanup_(source_file_close) struct source_file f = { .fd = -1 };
        uint64_t size = s->model->files[index].size;
        int r;

        if (!ctx || !buffer || EVP_DigestInit_ex(ctx, algorithm, NULL) != 1)
                return fail_oom(e);
        r = source_file_open(s, index, &f, e);
        if (r < 0)
                return r;
        for (uint64_t at = 0; at < size; at += VERITY_UNIT) {
                size_t n = (size_t) MIN_OF(size - at, (uint64_t) VERITY_UNIT);

                r = source_file_read(&f, at, buffer, n, e);
                if (r < 0)
                        return r;
                if (EVP_DigestUpdate(ctx, buffer, n) != 1)
                        return fail(e, FAILURE_INTERNAL, -EIO, f.path, "hashing failed");
                progress_add(progress, n);
                progress_show(progress);
        }
        if (EVP_DigestFinal_ex(ctx, ret, NULL) != 1)
                return fail(e, FAILURE_INTERNAL, -EIO, f.path, "hashing failed");
        return source_file_unchanged(&f, e);
}

int digest_sha384(const struct source *s, struct progress *progress, uint8_t ret[static MODEL_DIGEST],
                  struct error *e) {
        return digest_file(s, 0, EVP_sha384(), progress, ret, e);
}

int digest_check_addresses(const struct source *s, struct progress *progress, struct error *e) {
        for (size_t i = 0; i < s->model->n_files; i++) {
                uint8_t stated[CONTENT_ADDRESS_SIZE], found[CONTENT_ADDRESS_SIZE];
                const char *path = s->model->files[i].path;
                char hex[2 * CONTENT_ADDRESS_SIZE + 1];
                int r;

                if (!content_address(path, stated))
                        continue;
                r = digest_file(s, i, EVP_sha256(), progress, found, e);
                if (r < 0)
                        return r;
                if (memcmp(stated, found, sizeof found) == 0)
                        continue;
                hex_encode(found, sizeof found, hex);
                fail(e, FAILURE_DIGEST, -EBADMSG, path, "it has the SHA-256 %s, and not the one of its name", hex);
                fail_advice(e, "The file is damaged: download it again. No instance would load it.");
                return -EBADMSG;
        }
        return 0;
}

uint64_t digest_addressed_bytes(const struct source *s) {
        uint8_t unused[CONTENT_ADDRESS_SIZE];
        uint64_t n = 0;

        for (size_t i = 0; i < s->model->n_files; i++)
                if (content_address(s->model->files[i].path, unused))
                        n += s->model->files[i].size;
        return n;
}
