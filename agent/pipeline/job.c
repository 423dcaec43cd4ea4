/* SPDX-License-Identifier: Apache-2.0 */
#include "pipeline/job.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "pipeline/room.h"

enum { POPULATE_STEP = 4 * 1024 * 1024 }; /* while it is mapped, it counts as memory of this process */

/* ---- failing */

static void fail_locked(struct unseal *u, int r, const struct error *e) {
        if (u->result == 0) {
                u->result = r;
                u->error = *e;
        }
        atomic_store(&u->stop, true);
        pthread_cond_broadcast(&u->changed);
        u->wake(u);
}

void job_fail(struct unseal *u, int r, const struct error *e) {
        pthread_mutex_lock(&u->lock);
        fail_locked(u, r, e);
        pthread_mutex_unlock(&u->lock);
}

void job_file_fail(struct file *f, int r, const struct error *e) {
        struct unseal *u = f->job;

        pthread_mutex_lock(&u->lock);
        if (f->speculative && !f->expected) {
                job_file_drop(f);
                f->error = *e;
                pthread_cond_broadcast(&u->changed);
        } else
                fail_locked(u, r, e);
        pthread_mutex_unlock(&u->lock);
}

void job_file_drop(struct file *f) {
        struct unseal *u = f->job;

        u->n_leaving += f->state != FILE_DROPPED ? f->n_parts : 0;
        f->state = FILE_DROPPED;
        u->reserved -= f->reserved;
        f->reserved = 0;
        u->wake(u);
        if (f->n_parts > 0 || f->fd < 0)
                return;
        /* If this fails, the pages stay until the job closes the file. */
        if (ftruncate(f->fd, 0) == 0) {
                close(f->fd);
                f->fd = -1;
        }
}

/* ---- handing out parts */

static bool wants_parts(const struct file *f) {
        return f->state == FILE_NEW || f->state == FILE_OPENING ||
               (f->state == FILE_OPEN && f->next_frame < f->geometry.n_frames);
}

bool job_take(struct unseal *u, struct file **ret_file, uint32_t *ret_first, uint32_t *ret_end) {
        bool found = false;

        pthread_mutex_lock(&u->lock);
        while (u->first_busy < u->n_files && !wants_parts(u->files[u->first_busy]))
                u->first_busy++;
        /* While workers still write to a dropped file, the other files may need its pages: hand nothing out. */
        for (size_t i = u->first_busy; i < u->n_files && !found && u->n_leaving == 0; i++) {
                struct file *f = u->files[i];

                if (f->state == FILE_NEW) {
                        f->state = FILE_OPENING;
                        *ret_first = *ret_end = 0;
                        found = true;
                } else if (f->state == FILE_OPEN && f->next_frame < f->geometry.n_frames) {
                        *ret_first = f->next_frame;
                        *ret_end = f->geometry.n_frames - f->next_frame > f->part_frames
                                           ? f->next_frame + f->part_frames
                                           : f->geometry.n_frames;
                        f->next_frame = *ret_end;
                        found = true;
                }
                if (found) {
                        f->n_parts++;
                        *ret_file = f;
                }
        }
        pthread_mutex_unlock(&u->lock);
        return found;
}

void job_release(struct file *f) {
        if (!f)
                return;
        pthread_mutex_lock(&f->job->lock);
        f->n_parts--;
        if (f->state == FILE_DROPPED) {
                f->job->n_leaving--;
                job_file_drop(f); /* again, for what the file got since it was dropped */
        }
        pthread_mutex_unlock(&f->job->lock);
}

bool job_idle_forever(struct unseal *u) {
        bool idle;

        pthread_mutex_lock(&u->lock);
        idle = u->complete;
        for (size_t i = u->first_busy; idle && i < u->n_files; i++)
                idle = !wants_parts(u->files[i]);
        pthread_mutex_unlock(&u->lock);
        return idle;
}

/* ---- pages before they are needed */

static void *map_unpopulated(struct unseal *u, size_t *ret_size) {
        for (size_t i = 0; i < u->n_files; i++) {
                struct file *f = u->files[i];
                uint64_t at = f->populated, size;
                void *p;

                if (f->state != FILE_OPEN || at == f->geometry.plaintext_size)
                        continue;
                size = MIN_OF(f->geometry.plaintext_size - at, (uint64_t) POPULATE_STEP);
                p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, f->fd, (off_t) at);
                f->populated = p == MAP_FAILED ? f->geometry.plaintext_size : at + size;
                if (p == MAP_FAILED)
                        continue;
                *ret_size = size;
                return p;
        }
        return NULL;
}

/* While the data key is awaited there is time: a page that is allocated and cleared now makes a later write cheaper. If
 * it fails, that write reports it. */
bool job_populate(struct unseal *u) {
        size_t size;
        void *p;

        pthread_mutex_lock(&u->lock);
        p = map_unpopulated(u, &size);
        pthread_mutex_unlock(&u->lock);
        if (!p)
                return false;
        (void) madvise(p, size, MADV_POPULATE_WRITE);
        munmap(p, size);
        return true;
}

/* ---- a file's life */

int job_check_size(const struct file *f, const struct model_file *expected, struct error *e) {
        uint64_t size = f->geometry.plaintext_size;

        if (!expected || expected->size == size)
                return 0;
        return fail(e, FAILURE_DIGEST, -EBADMSG, f->subject,
                    "it holds %llu bytes, but the manifest says %llu for \"%s\"", (unsigned long long) size,
                    (unsigned long long) expected->size, expected->path);
}

static int reserve_locked(struct file *f, uint64_t size, struct error *e) {
        struct unseal *u = f->job;
        uint64_t free_bytes = u->options.room - u->reserved, taken = room_taken(u->options.unit, size);
        int r;

        r = job_check_size(f, f->expected, e);
        if (r < 0)
                return r;
        if (taken > free_bytes)
                return fail(e, FAILURE_SPACE, -ENOSPC, f->subject,
                            "it needs %llu bytes and takes up %llu, but %llu of %llu are left for the model%s%s",
                            (unsigned long long) size, (unsigned long long) taken, (unsigned long long) free_bytes,
                            (unsigned long long) u->options.room, u->options.limit ? ": the limit is " : "",
                            u->options.limit ?: "");
        f->reserved = taken;
        u->reserved += taken;
        return 0;
}

static int reserve(struct file *f, uint64_t size, struct error *e) {
        int r;

        pthread_mutex_lock(&f->job->lock);
        r = reserve_locked(f, size, e);
        pthread_mutex_unlock(&f->job->lock);
        return r;
}

static int create_private(struct file *f, uint64_t size, struct error *e) {
        int r;

        f->fd = openat(f->job->options.directory_fd, f->name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
        if (f->fd < 0) {
                r = -errno;
                if (room_refused(f->job->options.directory_fd, -r, f->subject,
                                 "no file can be made in the directory of the model", e) < 0)
                        return r;
                return fail(e, FAILURE_PUBLISH, r, f->name, "no file can be made in the directory of the model: %s",
                            strerror(-r));
        }
        /* The size is set first: with huge=within_size, tmpfs chooses the size of a page by it. */
        if (ftruncate(f->fd, (off_t) size) < 0)
                return fail(e, FAILURE_SPACE, -errno, f->name, "it cannot get room for %llu bytes: %m",
                            (unsigned long long) size);
        return 0;
}

/* Makes a part end where a hash unit ends, if whole frames allow it. */
static uint32_t align_frames(uint32_t frame_length, uint32_t n) {
        uint32_t per_unit;

        if (frame_length == 0 || VERITY_UNIT % frame_length != 0)
                return n;
        per_unit = MAX_OF(VERITY_UNIT / frame_length, UINT32_C(1));
        return n > per_unit ? n - n % per_unit : n;
}

static uint32_t frames_covered(const struct message_geometry *g, uint64_t covered) {
        uint64_t n;

        if (covered >= g->object_size && g->n_frames <= PART_FRAMES_MAX)
                return g->n_frames;
        if (covered <= g->header_size)
                return 0;
        n = (covered - g->header_size) / ((uint64_t) g->frame_length + MESSAGE_FRAME_EXTRA);
        n = MIN_OF(n, MIN_OF((uint64_t) g->n_frames - 1, (uint64_t) PART_FRAMES_MAX));
        return align_frames(g->frame_length, (uint32_t) n);
}

static int prepare(struct file *f, struct error *e) {
        uint64_t size = f->geometry.plaintext_size, frames;
        int r;

        r = reserve(f, size, e);
        if (r < 0)
                return r;
        r = create_private(f, size, e);
        if (r < 0)
                return r;
        r = verity_tree_new(size, &f->tree, e);
        if (r < 0)
                return r;
        f->straddled = calloc(verity_tree_units(f->tree) + 1, sizeof *f->straddled);
        if (!f->straddled)
                return fail_oom(e);
        frames = PART_BYTES / ((uint64_t) f->geometry.frame_length + MESSAGE_FRAME_EXTRA);
        frames = MAX_OF(MIN_OF(frames, (uint64_t) PART_FRAMES_MAX), UINT64_C(1));
        f->part_frames = align_frames(f->geometry.frame_length, (uint32_t) frames);
        return 0;
}

int job_open_file(struct file *f, struct message_header *header, uint64_t size, uint64_t covered, const char *etag,
                  uint32_t *ret_end, struct error *e) {
        struct unseal *u = f->job;
        uint32_t end;
        int r;

        r = message_geometry(header, size, f->subject, &f->geometry, e);
        if (r < 0)
                return r;
        r = prepare(f, e);
        if (r < 0)
                return r;
        snprintf(f->etag, sizeof f->etag, "%s", etag ?: "");
        end = frames_covered(&f->geometry, covered);
        pthread_mutex_lock(&u->lock);
        /* Meanwhile unseal_expect() may have said what is expected, or dropped the file. */
        r = job_check_size(f, f->expected, e);
        if (r == 0) {
                f->header = header;
                f->next_frame = end;
        }
        if (r == 0 && f->state == FILE_OPENING)
                f->state = FILE_OPEN;
        pthread_cond_broadcast(&u->changed);
        pthread_mutex_unlock(&u->lock);
        u->wake(u);
        *ret_end = end;
        return r;
}

/* All files of a model must have one data key, so that a boot asks KMS once. */
static int fail_mixed(const struct file *f, struct error *e) {
        if (message_header_same_context(f->header, f->model->reference)) {
                fail(e, FAILURE_CONTEXT, -EBADMSG, f->subject,
                     "it has the encryption context of the model, but is sealed under another data key (the encrypted "
                     "data key in its header is not the one in the header that the model began with): files of "
                     "different seals were mixed");
                fail_advice(e,
                            "All files of a model must be sealed under one data key: seal the directory in one run of "
                            "`sealboot seal`, or, with an AWS Encryption SDK, through one caching materials manager.");
        } else {
                fail(e, FAILURE_CONTEXT, -EBADMSG, f->subject,
                     "it has another encryption context than the header that the model began with: files of different "
                     "seals "
                     "were mixed");
                fail_advice(e, "Seal the whole model again, in one run, under a prefix of its own.");
        }
        return -EBADMSG;
}

int job_file_key(struct file *f, struct secret **ret, struct error *e) {
        if (!message_header_same_key(f->header, f->model->reference))
                return fail_mixed(f, e);
        return message_file_key(f->header, f->model->data_key, f->subject, ret, e);
}

static int finish_file(struct file *f, struct verity_hash *hash, struct error *e) {
        if (verity_tree_digest(f->tree, hash, f->digest) < 0)
                return fail(e, FAILURE_INTERNAL, -EIO, f->subject, "it has an incomplete fs-verity tree");
        if (f->expected && memcmp(f->digest, f->expected->digest, VERITY_DIGEST) != 0)
                return fail(e, FAILURE_DIGEST, -EBADMSG, f->subject,
                            "it has another digest than the manifest has for \"%s\"", f->expected->path);
        verity_tree_free(TAKE(f->tree));
        free(TAKE(f->straddled));
        return 0;
}

int job_frames_done(struct file *f, struct verity_hash *hash, uint32_t n, struct error *e) {
        struct unseal *u = f->job;
        bool last;
        int r;

        pthread_mutex_lock(&u->lock);
        f->frames_done += n;
        last = f->frames_done == f->geometry.n_frames;
        pthread_mutex_unlock(&u->lock);
        if (!last)
                return 0;
        r = finish_file(f, hash, e);
        if (r < 0)
                return r;
        pthread_mutex_lock(&u->lock);
        if (f->state == FILE_OPEN) {
                f->state = FILE_DONE;
                close(f->fd);
                f->fd = -1;
        }
        pthread_cond_broadcast(&u->changed);
        pthread_mutex_unlock(&u->lock);
        return 0;
}
