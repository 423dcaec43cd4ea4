/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Inside the unseal pipeline: the job all workers share, and its files. */

#include <pthread.h>
#include <stdatomic.h>

#include "pipeline/tuning.h"
#include "pipeline/unseal.h"

enum {
        PART_BYTES = 8 * 1024 * 1024,
        /* A part keeps IV and tag of each frame that comes before the key: 28 bytes. */
        PART_FRAMES_MAX = 8192,
        /* The first request comes before the header is known: eight of our own frames, and a usual header. */
        FIRST_BYTES = 8 * (MESSAGE_FRAME_LENGTH + MESSAGE_FRAME_EXTRA) + 2048,
};

enum file_state {
        FILE_NEW,     /* nobody has asked for it yet */
        FILE_OPENING, /* its first part is under way, the header not read */
        FILE_OPEN,    /* geometry known, parts are handed out */
        FILE_DONE,
        FILE_DROPPED, /* speculative, and not wanted or not readable */
};

struct file {
        struct unseal *job;
        char *key, *subject; /* object key; "s3://bucket/key" for errors */
        char name[16];       /* in the private directory */
        int fd;
        int source_fd;                 /* local source only */
        _Atomic enum file_state state; /* changed under the job's lock; read anywhere */
        bool speculative;
        const struct model_file *expected;
        struct error error; /* why a speculative file was dropped */

        /* Set once, before the state becomes FILE_OPEN. */
        struct message_header *header;
        struct message_geometry geometry;
        char etag[128];
        struct verity_tree *tree;
        atomic_uint *straddled; /* for each unit that part boundaries cut: bytes authenticated so far */
        uint32_t part_frames;

        uint32_t next_frame;  /* the first that no part has; under the job's lock */
        uint32_t frames_done; /* under the job's lock */
        uint64_t populated;   /* bytes that have pages already, or need none; under the job's lock */
        uint64_t reserved;    /* of the job's room; under the job's lock */
        unsigned n_parts;     /* that workers have; under the job's lock */
        uint8_t digest[VERITY_DIGEST];
};

struct unseal {
        struct unseal_options options;
        pthread_mutex_t lock;
        pthread_cond_t changed;
        struct file **files;
        size_t n_files;
        size_t first_busy;  /* files before this one need no more parts */
        bool complete;      /* no more files will be added */
        uint64_t reserved;  /* of options.room */
        unsigned n_leaving; /* parts of dropped files that workers still have */
        const struct secret *data_key;
        const struct message_header *reference;
        struct error error; /* the first */
        int result;         /* of the job: 0 or the negative errno that goes with error */

        atomic_bool has_key, stop;
        atomic_uint_fast64_t bytes, fetched;
        atomic_uint retries;

        /* The S3 source's connections: in use, and not to be passed. */
        atomic_uint connections;
        unsigned max_connections, n_lanes;
        struct tuning tuning;

        pthread_t *threads;
        size_t n_threads;
        void (*wake)(struct unseal *u); /* wakes every worker */
        void **worker_state;            /* of the source: one for each thread */
};

/* Ends the job with this error unless it has ended already. */
void job_fail(struct unseal *u, int r, const struct error *e);
/* The same for what concerns one file: a speculative one that nobody expects is dropped instead. */
void job_file_fail(struct file *f, int r, const struct error *e);
/* It is none of the model's: its room is others', and so are its pages once no worker writes to it. Under the job's
 * lock. */
void job_file_drop(struct file *f);
static inline bool job_stopped(struct unseal *u) {
        return atomic_load_explicit(&u->stop, memory_order_relaxed);
}

/* The next part to fetch: frames [*ret_first, *ret_end) of *ret_file; of a file not opened yet, *ret_end is 0. False:
 * none now. */
bool job_take(struct unseal *u, struct file **ret_file, uint32_t *ret_first, uint32_t *ret_end);
/* The worker is through with a part it took, whatever came of it. NULL: none. */
void job_release(struct file *f);
/* True when there is nothing to take and never will be again. */
bool job_idle_forever(struct unseal *u);

/* The header was read: `size` is the object's, the first `covered` bytes of it are on their way. Makes the private file
 * and says which frames the first part has: [0, *ret_end), perhaps none. Takes ownership of the header on success. */
int job_open_file(struct file *f, struct message_header *header, uint64_t size, uint64_t covered, const char *etag,
                  uint32_t *ret_end, struct error *e);
/* The manifest's size is the header's. Under the job's lock. */
int job_check_size(const struct file *f, const struct model_file *expected, struct error *e);
/* Derives the file key, once the job has its data key. It is not kept: a model may have thousands of files, and locked
 * memory is scarce. */
int job_file_key(struct file *f, struct secret **ret, struct error *e);
/* `n` more frames are authenticated, written and hashed. Finishes the file with the last of them. */
int job_frames_done(struct file *f, struct verity_hash *hash, uint32_t n, struct error *e);

/* Gives the next piece of an open file its pages, for when there is nothing else to do. False: they all have them. */
bool job_populate(struct unseal *u);

/* The sources: each starts the threads that take parts and feed them. */
int fetch_s3_start(struct unseal *u, struct error *e);
int fetch_local_start(struct unseal *u, struct error *e);
void fetch_tune(struct unseal *u, double bytes_per_second);
void fetch_free(struct unseal *u);
/* How many threads the options ask for. */
unsigned fetch_workers(const struct unseal_options *o);
