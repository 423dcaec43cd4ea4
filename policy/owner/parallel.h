/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Threads that work on files in parts: on each part of each file once, begun in the order of their numbers, and on
 * parts of several files at the same time. SIGINT, SIGTERM and SIGHUP end the work like a failure, so that the caller
 * cleans up. */

#include <signal.h>

#include "basic/failure.h"
#include "owner/progress.h"

struct parallel_work {
        size_t n_files;
        unsigned n_threads; /* 0: one for each CPU */
        void *job;
        /* At least 1. */
        uint64_t (*parts)(void *job, size_t file);
        /* Before any part of the file, by one thread; after its last part, by one thread. Both may be NULL. */
        int (*begin)(void *job, size_t file, struct error *e);
        int (*end)(void *job, size_t file, void *thread, struct error *e);
        int (*part)(void *job, size_t file, uint64_t part, void *thread, struct error *e);
        /* What each thread owns. Both may be NULL. */
        int (*thread_new)(void *job, void **ret, struct error *e);
        void (*thread_free)(void *thread);
};

/* Returns when everything is done, or after the first failure once every thread has stopped: its errno and error. Files
 * that were begun and not ended are then the caller's to clean up. -EINTR (FAILURE_STOPPED) after a signal. */
int parallel_run(const struct parallel_work *work, struct progress *progress, struct error *e);

/* The signals that end work: those three, except ignored ones (by nohup, or for a shell's background job), which would
 * be queued if they were blocked. */
void parallel_signals(sigset_t *ret);

/* CPUs this process may run on. */
unsigned parallel_cpus(void);
