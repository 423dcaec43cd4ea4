/* SPDX-License-Identifier: Apache-2.0 */

/* The local source: sealed objects in a directory, for an owner who unseals a model. It waits for the data key, and
 * then reads parts as the S3 source does. */

#include <fcntl.h>
#include <sys/stat.h>

#include "basic/clock.h"
#include "pipeline/part.h"

enum { READ_BYTES = 256 * 1024 };

static int open_source(struct file *f, uint64_t *ret_size, struct error *e) {
        struct stat st;

        if (f->source_fd < 0)
                f->source_fd = openat(f->job->options.source_fd, f->key, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        if (f->source_fd < 0)
                return fail(e, FAILURE_IO, -errno, f->subject, "it cannot be opened: %m");
        if (fstat(f->source_fd, &st) < 0 || !S_ISREG(st.st_mode))
                return fail(e, FAILURE_IO, -EINVAL, f->subject, "it is not a regular file");
        *ret_size = (uint64_t) st.st_size;
        return 0;
}

static int read_part(struct part *p, uint8_t *buffer) {
        uint64_t size = 0, at, last;
        int r;

        r = open_source(p->file, &size, &p->error);
        if (r < 0)
                return r;
        part_range(p, &at, &last);
        if (size == 0)
                return fail(&p->error, FAILURE_SEALED_FORMAT, -EBADMSG, p->file->subject, "it is empty");
        last = MIN_OF(last, size - 1);
        while (!part_full(p) && at <= last && !job_stopped(p->file->job)) {
                ssize_t got =
                        pread(p->file->source_fd, buffer, MIN_OF((uint64_t) READ_BYTES, last + 1 - at), (off_t) at);

                if (got < 0 && errno == EINTR)
                        continue;
                if (got < 0)
                        return fail(&p->error, FAILURE_IO, -errno, p->file->subject, "it cannot be read: %m");
                if (got == 0)
                        break;
                atomic_fetch_add_explicit(&p->file->job->fetched, (uint64_t) got, memory_order_relaxed);
                r = part_feed(p, buffer, (size_t) got, size, last + 1, NULL);
                if (r < 0)
                        return r;
                at += (uint64_t) got;
        }
        if (!part_full(p))
                return fail(&p->error, FAILURE_SEALED_FORMAT, -EBADMSG, p->file->subject,
                            "it is truncated: it ends inside %s",
                            p->phase == PART_HEADER ? "the message header" : "a frame");
        return part_finish(p);
}

/* Waits until there is a part, and the data key to open it with. False: there will be no more parts. */
static bool wait_for_part(struct unseal *u, struct file **ret_file, uint32_t *ret_first, uint32_t *ret_end) {
        while (!job_stopped(u)) {
                if (atomic_load_explicit(&u->has_key, memory_order_acquire)) {
                        if (job_take(u, ret_file, ret_first, ret_end))
                                return true;
                        if (job_idle_forever(u))
                                return false;
                }
                pthread_mutex_lock(&u->lock);
                if (!job_stopped(u)) {
                        /* A wake-up may come before the wait begins: do not wait long. */
                        struct timespec until = clock_condition_deadline(20);

                        pthread_cond_timedwait(&u->changed, &u->lock, &until);
                }
                pthread_mutex_unlock(&u->lock);
        }
        return false;
}

static void *run(void *userdata) {
        struct unseal *u = userdata;
        _cleanup_(verity_hash_freep) struct verity_hash *hash = NULL;
        _cleanup_free_ uint8_t *buffer = malloc(READ_BYTES);
        struct part part = { 0 };
        struct error e = { 0 };
        uint32_t first, end;
        struct file *f;
        int r;

        r = buffer ? verity_hash_new_with(u->options.engine, &hash, &e) : fail_oom(&e);
        if (r == 0)
                r = part_init(&part, hash, &e);
        if (r < 0)
                job_fail(u, r, &e);
        while (r == 0 && wait_for_part(u, &f, &first, &end)) {
                r = part_begin(&part, f, first, end, WINDOW_MAX);
                if (r == 0)
                        r = read_part(&part, buffer);
                if (r < 0 && !job_stopped(u))
                        job_fail(u, r, &part.error);
                job_release(f);
        }
        part_done(&part);
        return NULL;
}

static void wake(struct unseal *u) {
        pthread_cond_broadcast(&u->changed);
}

int fetch_local_start(struct unseal *u, struct error *e) {
        unsigned workers = fetch_workers(&u->options);

        u->wake = wake;
        u->threads = calloc(workers, sizeof *u->threads);
        if (!u->threads)
                return fail_oom(e);
        for (; u->n_threads < workers; u->n_threads++) {
                int r = pthread_create(&u->threads[u->n_threads], NULL, run, u);

                if (r != 0)
                        return fail(e, FAILURE_INTERNAL, -r, "", "no thread can be started: %s", strerror(r));
        }
        return 0;
}
