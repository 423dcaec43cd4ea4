/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What downloads, clones, editors and file systems leave beside a model's files. It differs from one download of a
 * model to the next, so it is no part of the model. */

#include <sys/stat.h>

#include "basic/failure.h"

/* Whether a path below the model's directory is bookkeeping, as a file or a directory, at any depth. Manuals and
 * `sealboot digest --help` state the same list of names. */
bool bookkeeping_matches(const char *relative);

/* Refuses a file that an unfinished download or clone leaves in the place of another one: no instance could use such a
 * model. FAILURE_IO. */
int bookkeeping_check_file(const char *path, const struct stat *st, struct error *e);

/* Refuses models--OWNER--NAME of a Hugging Face cache, which has every file in blobs/, and again, by links, below
 * snapshots/. FAILURE_IO. */
int bookkeeping_check_directory(const char *directory, struct error *e);
