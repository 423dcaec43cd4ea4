/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Reads a file of a source, and notices if it changes meanwhile. */

#include <sys/stat.h>

#include "owner/source.h"

struct source_file {
        int fd; /* -1: not open */
        char *path;
        struct stat before; /* when it was opened */
};

/* Refuses a file whose size is not the one that was scanned. */
int source_file_open(const struct source *s, size_t index, struct source_file *ret, struct error *e);
/* Exactly n bytes; a file that ends before has changed. */
int source_file_read(const struct source_file *f, uint64_t offset, void *data, size_t n, struct error *e);
/* FAILURE_IO when size or modification time are not the same as at source_file_open(). */
int source_file_unchanged(const struct source_file *f, struct error *e);
void source_file_close(struct source_file *f);
