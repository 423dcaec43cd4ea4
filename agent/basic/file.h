/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Whole files. */

#include "basic/failure.h"

/* Reads a whole file of at most `max` bytes into malloc'ed memory with a NUL after it (not counted). "-" reads standard
 * input. Fills e with `failure` and returns -errno; -EFBIG when it is larger. */
int file_read(const char *path, size_t max, enum failure failure, uint8_t **ret, size_t *ret_n, struct error *e);

/* Writes a temporary file beside `path` and renames it, so that a reader sees the old file or the new one, whole. */
int file_write(const char *path, const void *data, size_t n, unsigned mode, struct error *e);

/* Writes all n bytes; -errno. */
int write_all(int fd, const void *data, size_t n);
