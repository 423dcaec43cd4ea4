/* SPDX-License-Identifier: Apache-2.0 */

/* The interface of the pipeline: what the thread that began a job does with it. */

#include "pipeline/unseal.h"

#include "basic/clock.h"
#include "pipeline/follow.h"

enum { TICK_MS = 250 };

static void file_free(struct file *f) {
        if (!f)
                return;
        free(f->key);
        free(f->subject);
        if (f->fd >= 0)
                close(f->fd);
        if (f->source_fd >= 0)
                close(f->source_fd);
        message_header_free(f->header);
        verity_tree_free(f->tree);
        free(f->straddled);
        free(f->authentic);
        free(f);
}

int unseal_new(const struct unseal_options *o, struct unseal **ret, struct error *e) {
        struct unseal *u = calloc(1, sizeof *u);
        int r;

        if (!u)
                return fail_oom(e);
        u->options = *o;
        pthread_mutex_init(&u->lock, NULL);
        clock_condition_init(&u->changed);
        r = o->s3 ? fetch_s3_start(u, e) : fetch_local_start(u, e);
        if (r < 0) {
                unseal_free(u);
                return r;
        }
        *ret = u;
        return 0;
}

void unseal_stop(struct unseal *u) {
        if (!u || u->joined)
                return;
        atomic_store(&u->stop, true);
        if (u->wake) {
                pthread_mutex_lock(&u->lock);
                pthread_cond_broadcast(&u->changed);
                u->wake(u);
                pthread_mutex_unlock(&u->lock);
        }
        for (size_t i = 0; i < u->n_threads; i++)
                pthread_join(u->threads[i], NULL);
        follow_join(u);
        u->joined = true;
}

void unseal_free(struct unseal *u) {
        if (!u)
                return;
        unseal_stop(u);
        fetch_free(u);
        for (size_t i = 0; i < u->n_files; i++)
                file_free(u->files[i]);
        free(u->files);
        pthread_cond_destroy(&u->changed);
        pthread_mutex_destroy(&u->lock);
        free(u);
}

static int file_new(struct unseal *u, const struct unseal_model *model, const char *key,
                    const struct model_file *expected, bool speculative, struct file **ret, struct error *e) {
        struct file *f = calloc(1, sizeof *f);

        if (!f)
                return fail_oom(e);
        *f = (struct file) {
                .job = u, .model = model, .fd = -1, .source_fd = -1, .expected = expected, .speculative = speculative
        };
        f->key = strdup(key);
        if (u->options.s3 ? asprintf(&f->subject, "%ss3://%s/%s", model->label ?: "", model->bucket, key) < 0
                          : !(f->subject = strdup(key)))
                f->subject = NULL;
        if (!f->key || !f->subject) {
                file_free(f);
                return fail_oom(e);
        }
        *ret = f;
        return 0;
}

int unseal_add(struct unseal *u, const struct unseal_model *model, const char *key, const struct model_file *expected,
               bool speculative, size_t *ret_index, struct error *e) {
        struct file *f, **larger;
        int r;

        r = file_new(u, model, key, expected, speculative, &f, e);
        if (r < 0)
                return r;
        pthread_mutex_lock(&u->lock);
        larger = realloc(u->files, (u->n_files + 1) * sizeof *larger);
        if (larger) {
                u->files = larger;
                snprintf(f->name, sizeof f->name, "%zu", u->n_files);
                *ret_index = u->n_files;
                u->files[u->n_files++] = f;
        }
        pthread_mutex_unlock(&u->lock);
        if (!larger) {
                file_free(f);
                return fail_oom(e);
        }
        u->wake(u);
        return 0;
}

int unseal_expect(struct unseal *u, size_t index, const struct model_file *expected, struct error *e) {
        struct file *f;
        int r = 0;

        pthread_mutex_lock(&u->lock);
        f = u->files[index];
        if (!expected)
                job_file_drop(f);
        else if (f->state == FILE_DROPPED) {
                *e = f->error;
                r = -EBADMSG;
        } else if (f->header)
                r = job_check_size(f, expected, e);
        f->expected = expected;
        pthread_mutex_unlock(&u->lock);
        u->wake(u);
        return r;
}

/* Whether to go on waiting, for what the workers do. */
static bool waits(const struct unseal *u) {
        return u->result == 0 && !(u->options.cancelled && atomic_load(u->options.cancelled));
}

/* Of a wait that has ended, one way or another. */
static int result_of(const struct unseal *u, struct error *e) {
        if (u->result == 0 && !waits(u))
                return fail(e, FAILURE_INTERNAL, -ECANCELED, "", "unsealing was given up");
        if (u->result < 0)
                *e = u->error;
        return u->result;
}

int unseal_wait_header(struct unseal *u, size_t index, const struct message_header **ret, struct error *e) {
        int r;

        pthread_mutex_lock(&u->lock);
        while (waits(u) && !u->files[index]->header && u->files[index]->state != FILE_DROPPED) {
                struct timespec tick = clock_condition_deadline(TICK_MS);

                pthread_cond_timedwait(&u->changed, &u->lock, &tick);
        }
        r = result_of(u, e);
        if (r == 0 && u->files[index]->state == FILE_DROPPED) {
                *e = u->files[index]->error;
                r = -EBADMSG;
        } else if (r == 0)
                *ret = u->files[index]->header;
        pthread_mutex_unlock(&u->lock);
        return r;
}

void unseal_use_keys(struct unseal *u) {
        pthread_mutex_lock(&u->lock);
        atomic_store_explicit(&u->has_key, true, memory_order_release);
        pthread_cond_broadcast(&u->changed);
        pthread_mutex_unlock(&u->lock);
        u->wake(u);
}

void unseal_get_progress(struct unseal *u, struct unseal_progress *ret) {
        *ret = (struct unseal_progress) {
                .bytes = atomic_load(&u->bytes),
                .fetched = atomic_load(&u->fetched),
                .retries = atomic_load(&u->retries),
        };
        pthread_mutex_lock(&u->lock);
        for (size_t i = 0; i < u->n_files; i++) {
                const struct file *f = u->files[i];

                if (f->state != FILE_DROPPED)
                        ret->total += f->expected ? f->expected->size : f->header ? f->geometry.plaintext_size : 0;
        }
        pthread_mutex_unlock(&u->lock);
}

static bool all_done(const struct unseal *u) {
        if (u->following)
                return false;
        for (size_t i = u->n_files; i > 0; i--)
                if (u->files[i - 1]->state != FILE_DONE && u->files[i - 1]->state != FILE_DROPPED)
                        return false;
        return true;
}

int unseal_finish(struct unseal *u, void (*progress)(void *userdata, const struct unseal_progress *p), void *userdata,
                  struct error *e) {
        uint64_t fetched = atomic_load(&u->fetched);
        struct timespec tick = clock_condition_deadline(TICK_MS);
        int64_t since = clock_ns(), now;
        int r;

        r = follow_start(u, e);
        if (r < 0)
                return r;
        pthread_mutex_lock(&u->lock);
        u->complete = true;
        u->wake(u);
        while (waits(u) && !all_done(u)) {
                struct unseal_progress p;

                if (pthread_cond_timedwait(&u->changed, &u->lock, &tick) != ETIMEDOUT)
                        continue;
                pthread_mutex_unlock(&u->lock);
                unseal_get_progress(u, &p);
                /* A busy machine ends the wait late. */
                now = clock_ns();
                fetch_tune(u, (double) (p.fetched - fetched) * NS_PER_SECOND / (double) (now - since));
                fetched = p.fetched;
                since = now;
                if (progress)
                        progress(userdata, &p);
                tick = clock_condition_deadline(TICK_MS);
                pthread_mutex_lock(&u->lock);
        }
        r = result_of(u, e);
        pthread_mutex_unlock(&u->lock);
        return r;
}

void unseal_result(struct unseal *u, size_t index, const char **ret_name, uint64_t *ret_size,
                   uint8_t ret_digest[static VERITY_DIGEST]) {
        const struct file *f = u->files[index];

        *ret_name = f->name;
        *ret_size = f->geometry.plaintext_size;
        memcpy(ret_digest, f->digest, VERITY_DIGEST);
}
