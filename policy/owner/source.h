/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A model on its owner's disk: one file, or the files below a directory. Empty directories are no part of a model, and
 * neither is bookkeeping (bookkeeping.h), unless the caller names such a file itself. */

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

/* Refuses what cannot be a model (FAILURE_IO): sockets and devices, directories that contain themselves, no file at
 * all; and names that a manifest cannot hold (FAILURE_MANIFEST). */
int source_scan(const char *path, enum source_links links, enum source_files files, struct source **ret,
                struct error *e);
void source_free(struct source *s);
DEFINE_CLEANUP(struct source *, source_free, source_freep)
#define _cleanup_source_ _cleanup_(source_freep)
