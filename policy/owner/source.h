/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A model as it lies on its owner's disk: one file, or the files below a directory. Empty directories are no part of a
 * model, and neither is the bookkeeping of the programs that brought the files there: see source_bookkeeping(). */

#include <sys/stat.h>

#include "sealed/model.h"

struct source {
        char *path; /* as given, without trailing slashes */
        bool is_directory;
        struct model *model; /* paths and sizes; sorted. One file: its name is the path */
        char **left_out;     /* paths of bookkeeping, files or directories; sorted */
        size_t n_left_out;
};

enum source_links {
        SOURCE_LINKS_INSIDE, /* symbolic links whose target lies below the directory are followed, others refused */
        SOURCE_LINKS_ALL,    /* all are followed: a Hugging Face snapshot links to ../../blobs */
};

enum source_files {
        SOURCE_FILES_MODEL, /* without bookkeeping */
        SOURCE_FILES_ALL,
};

/* The names that are bookkeeping, at any depth, as a file or a directory: fnmatch(3) patterns of the last part, or of
 * the last two where a pattern has a slash. What they hold differs from one download of a model to the next. Manuals
 * state the same list. A single file that is named by the caller is never bookkeeping. */
const char *const *source_bookkeeping(size_t *ret_n);

/* Refuses what cannot be a model (FAILURE_IO): sockets and devices, directories that contain themselves, no file at
 * all; and names that a manifest cannot hold (FAILURE_MANIFEST). */
int source_scan(const char *path, enum source_links links, enum source_files files, struct source **ret,
                struct error *e);
void source_free(struct source *s);
DEFINE_CLEANUP(struct source *, source_free, source_freep)
#define _cleanup_source_ _cleanup_(source_freep)

/* An open file of a source, and what it was when opened. */
struct source_file {
        int fd; /* -1: not open */
        char *path;
        struct stat before;
};

/* Also refuses a file whose size is not the one that was scanned. */
int source_open(const struct source *s, size_t index, struct source_file *ret, struct error *e);
/* Exactly n bytes; a file that ends before has changed. */
int source_read(const struct source_file *f, uint64_t offset, void *data, size_t n, struct error *e);
/* FAILURE_IO when size or modification time are not what they were. */
int source_unchanged(const struct source_file *f, struct error *e);
void source_close(struct source_file *f);
