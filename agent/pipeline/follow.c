/* SPDX-License-Identifier: Apache-2.0 */
#include "pipeline/follow.h"

#include <fcntl.h>
#include <openssl/evp.h>

#include "basic/encode.h"
#include "sealed/content-address.h"

enum { STEP = 256 * 1024 };

DEFINE_CLEANUP(EVP_MD_CTX *, EVP_MD_CTX_free, md_ctx_freep)

static bool is_followed(const struct file *f) {
        uint8_t unused[CONTENT_ADDRESS_SIZE];

        return f->expected && f->state != FILE_DROPPED && content_address(f->expected->path, unused);
}

/* ---- what is authentic so far */

static bool has_frame(const struct file *f, uint32_t frame) {
        return f->authentic[frame / 8] & (1U << frame % 8);
}

static void set_frames(struct file *f, uint32_t first, uint32_t n) {
        uint32_t before = f->in_order;

        for (uint32_t i = first; i < first + n; i++)
                f->authentic[i / 8] |= (uint8_t) (1U << i % 8);
        while (f->in_order < f->geometry.n_frames && has_frame(f, f->in_order))
                f->in_order++;
        if (f->in_order > before)
                pthread_cond_broadcast(&f->job->changed);
}

int follow_frames_done(struct file *f, uint32_t first, uint32_t n, struct error *e) {
        int r = 0;

        if (!is_followed(f))
                return 0;
        pthread_mutex_lock(&f->job->lock);
        if (!f->authentic)
                f->authentic = calloc(f->geometry.n_frames / 8 + 1, 1);
        if (f->authentic)
                set_frames(f, first, n);
        else
                r = fail_oom(e);
        pthread_mutex_unlock(&f->job->lock);
        return r;
}

/* Waits until more than `hashed` bytes are authentic and in order, or all are, and returns how many. -ECANCELED: the
 * job has stopped. */
static int64_t wait_for_bytes(struct file *f, uint64_t hashed) {
        struct unseal *u = f->job;
        const struct message_geometry *g = &f->geometry;
        uint64_t there = 0;
        bool whole = false;

        pthread_mutex_lock(&u->lock);
        for (;;) {
                if (f->in_order > 0) {
                        whole = f->in_order == g->n_frames;
                        there = whole ? g->plaintext_size : (uint64_t) f->in_order * g->frame_length;
                }
                if (job_stopped(u) || whole || there > hashed)
                        break;
                pthread_cond_wait(&u->changed, &u->lock);
        }
        pthread_mutex_unlock(&u->lock);
        return job_stopped(u) ? -ECANCELED : (int64_t) there;
}

/* ---- hashing */

static int hash_up_to(EVP_MD_CTX *ctx, int fd, const struct file *f, uint64_t from, uint64_t to, uint8_t *buffer,
                      struct error *e) {
        while (from < to) {
                ssize_t n = pread(fd, buffer, (size_t) MIN_OF(to - from, (uint64_t) STEP), (off_t) from);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n <= 0)
                        return fail(e, FAILURE_IO, n < 0 ? -errno : -EIO, f->subject,
                                    "it cannot be read back from the directory of the model");
                if (job_stopped(f->job))
                        return -ECANCELED;
                if (EVP_DigestUpdate(ctx, buffer, (size_t) n) != 1)
                        return fail(e, FAILURE_INTERNAL, -EIO, f->subject, "SHA-256 failed");
                from += (uint64_t) n;
        }
        return 0;
}

static int hash_file(struct file *f, uint8_t *buffer, uint8_t ret[static CONTENT_ADDRESS_SIZE], struct error *e) {
        _cleanup_(md_ctx_freep) EVP_MD_CTX *ctx = EVP_MD_CTX_new();
        int64_t there = wait_for_bytes(f, 0);
        _cleanup_close_ int fd = -1;
        uint64_t hashed = 0;
        int r;

        if (there < 0)
                return (int) there;
        if (!ctx || EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) != 1)
                return fail_oom(e);
        /* The job closes its own descriptor when the file is complete. */
        fd = openat(f->job->options.directory_fd, f->name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0)
                return fail(e, FAILURE_IO, -errno, f->subject, "the unsealed file cannot be opened: %m");
        for (;;) {
                r = hash_up_to(ctx, fd, f, hashed, (uint64_t) there, buffer, e);
                if (r < 0)
                        return r;
                hashed = (uint64_t) there;
                if (hashed == f->geometry.plaintext_size)
                        break;
                there = wait_for_bytes(f, hashed);
                if (there < 0)
                        return (int) there;
        }
        return EVP_DigestFinal_ex(ctx, ret, NULL) == 1 ? 0
                                                       : fail(e, FAILURE_INTERNAL, -EIO, f->subject, "SHA-256 failed");
}

static int check_file(struct file *f, uint8_t *buffer, struct error *e) {
        uint8_t stated[CONTENT_ADDRESS_SIZE], found[CONTENT_ADDRESS_SIZE];
        char hex[2 * CONTENT_ADDRESS_SIZE + 1];
        int r;

        if (!is_followed(f) || !content_address(f->expected->path, stated))
                return 0;
        r = hash_file(f, buffer, found, e);
        if (r < 0 || memcmp(stated, found, sizeof found) == 0)
                return r;
        hex_encode(found, sizeof found, hex);
        fail(e, FAILURE_DIGEST, -EBADMSG, f->subject, "it has the SHA-256 %s, but its path is \"%s\"", hex,
             f->expected->path);
        fail_advice(e, "The file was damaged before it was sealed, or has a wrong name: make the store again, and seal "
                       "it again.");
        return -EBADMSG;
}

static void *follow(void *userdata) {
        _cleanup_free_ uint8_t *buffer = malloc(STEP);
        struct unseal *u = userdata;
        struct error e = {};
        int r = buffer ? 0 : fail_oom(&e);

        for (size_t i = 0; r == 0 && i < u->n_files; i++)
                r = check_file(u->files[i], buffer, &e);
        if (r < 0 && r != -ECANCELED)
                job_fail(u, r, &e);
        pthread_mutex_lock(&u->lock);
        u->following = false;
        pthread_cond_broadcast(&u->changed);
        pthread_mutex_unlock(&u->lock);
        return NULL;
}

int follow_start(struct unseal *u, struct error *e) {
        bool wanted = false;
        int r;

        pthread_mutex_lock(&u->lock);
        for (size_t i = 0; i < u->n_files && !wanted; i++)
                wanted = is_followed(u->files[i]);
        u->following = wanted;
        pthread_mutex_unlock(&u->lock);
        if (!wanted)
                return 0;
        r = pthread_create(&u->follower, NULL, follow, u);
        if (r > 0) {
                u->following = false;
                return fail(e, FAILURE_INTERNAL, -r, "", "no thread can be started: %s", strerror(r));
        }
        u->has_follower = true;
        return 0;
}

void follow_join(struct unseal *u) {
        if (u->has_follower)
                pthread_join(u->follower, NULL);
        u->has_follower = false;
}
