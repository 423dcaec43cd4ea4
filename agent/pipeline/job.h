/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Inside the unseal pipeline: the job that all workers share, and its files. */

#include <pthread.h>
#include <stdatomic.h>

#include "pipeline/tuning.h"
#include "pipeline/unseal.h"

enum {
        PART_BYTES = 8 * 1024 * 1024,
        /* A part keeps the IV and tag of each frame that arrives before the data key: 28 bytes. */
        PART_FRAMES_MAX = 8192,
        /* The header is not known at the first request, so it asks for a usual header and eight frames of
         * `sealboot seal`. */
        FIRST_BYTES = 8 * (MESSAGE_FRAME_LENGTH + MESSAGE_FRAME_EXTRA) + 2048,
};

enum file_state {
        FILE_NEW,     /* no worker has taken it yet */
        FILE_OPENING, /* a worker has its first part; the header is not read yet */
        FILE_OPEN,    /* the geometry is known, and workers take parts */
        FILE_DONE,
        FILE_DROPPED, /* speculative, and not of the model or not readable */
};

struct file {
        struct unseal *job;
        const struct unseal_model *model;
        char *key, *subject; /* object key; "s3://bucket/key" for errors */
        char name[16];       /* in the private directory */
        int fd;
        int source_fd;                 /* local source only */
        _Atomic enum file_state state; /* changed under the job's lock; read without it, too */
        bool speculative;
        const struct model_file *expected;
        struct error error; /* why a speculative file was dropped */

        /* Set once, before the state becomes FILE_OPEN. */
        struct message_header *header;
        struct message_geometry geometry;
        char etag[128];
        struct verity_tree *tree;
        atomic_uint *straddled; /* for each unit that lies in several parts: bytes authenticated so far */
        uint32_t part_frames;

        uint32_t next_frame;  /* the first frame that is in no part yet; under the job's lock */
        uint32_t frames_done; /* under the job's lock */
        uint64_t populated;   /* bytes before here have pages, or cannot get them early; under the job's lock */
        uint64_t reserved;    /* bytes of the job's room; under the job's lock */
        unsigned n_parts;     /* how many parts workers have; under the job's lock */
        /* Only where the path states the file's SHA-256 (follow.h); both under the job's lock. */
        uint8_t *authentic; /* a bit for each frame */
        uint32_t in_order;  /* the frames before this one are authentic */
        uint8_t digest[VERITY_DIGEST];
};

struct unseal {
        struct unseal_options options;
        pthread_mutex_t lock;
        pthread_cond_t changed;
        struct file **files;
        size_t n_files;
        size_t first_busy;  /* no file before this one has parts to take */
        bool complete;      /* no more files will be added */
        uint64_t reserved;  /* bytes of options.room */
        unsigned n_leaving; /* how many parts of dropped files workers still have */
        struct error error; /* the first failure */
        int result;         /* 0, or the negative errno of `error` */

        atomic_bool has_key, stop;
        atomic_uint_fast64_t bytes, fetched;
        atomic_uint retries;

        /* Of the S3 source: how many connections are used now, and how many may be. */
        atomic_uint connections;
        unsigned max_connections, n_lanes;
        struct tuning tuning;

        pthread_t follower; /* follow.h */
        bool has_follower;  /* it is not joined yet */
        bool following;     /* it has files to check; under the job's lock */
        pthread_t *threads;
        size_t n_threads;
        bool joined;
        void (*wake)(struct unseal *u); /* wakes every worker */
        void **worker_state;            /* what the source has for each thread */
};

/* Ends the job with this error, unless it has ended already. */
void job_fail(struct unseal *u, int r, const struct error *e);
/* As job_fail(), for an error of one file. A speculative file that is not expected is dropped instead. */
void job_file_fail(struct file *f, int r, const struct error *e);
/* The file is not of the model: gives its room back, and its pages as soon as no worker writes to it. Under the job's
 * lock. */
void job_file_drop(struct file *f);
static inline bool job_stopped(struct unseal *u) {
        return atomic_load_explicit(&u->stop, memory_order_relaxed);
}

/* Takes the next part to fetch: frames [*ret_first, *ret_end) of *ret_file. If the file is not open yet, *ret_end is 0.
 * False: there is none now. */
bool job_take(struct unseal *u, struct file **ret_file, uint32_t *ret_first, uint32_t *ret_end);
/* The worker is done with a part of this file, successfully or not. Does nothing with NULL. */
void job_release(struct file *f);
/* Whether there is no part to take, and there never will be one. */
bool job_idle_forever(struct unseal *u);

/* Opens a file whose header was read. `size`: of the object; its first `covered` bytes were asked for already. Makes
 * the private file. *ret_end: the first part has the frames [0, *ret_end), perhaps none. Takes ownership of the header
 * on success. */
int job_open_file(struct file *f, struct message_header *header, uint64_t size, uint64_t covered, const char *etag,
                  uint32_t *ret_end, struct error *e);
/* FAILURE_DIGEST unless the file has the size that is expected. Under the job's lock. */
int job_check_size(const struct file *f, const struct model_file *expected, struct error *e);
/* Derives the file key; the model must have its data key. The key is not kept: a model may have thousands of files, and
 * locked memory is scarce. */
int job_file_key(struct file *f, struct secret **ret, struct error *e);
/* `n` more frames are authenticated, written and hashed. The last of them finishes the file. */
int job_frames_done(struct file *f, struct verity_hash *hash, uint32_t n, struct error *e);

/* Makes the kernel allocate the next pages of an open file, when there is nothing else to do. False: there are none. */
bool job_populate(struct unseal *u);

/* The sources: each starts the threads that take parts and feed them. */
int fetch_s3_start(struct unseal *u, struct error *e);
int fetch_local_start(struct unseal *u, struct error *e);
void fetch_tune(struct unseal *u, double bytes_per_second);
void fetch_free(struct unseal *u);
/* How many threads the options ask for. */
unsigned fetch_workers(const struct unseal_options *o);
