/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* How much a model may take up on the model tmpfs, counted as the kernel counts it, and who would refuse more:
 *
 *   size= of the tmpfs        ENOSPC   whole pages of each file; huge=always rounds every file up to a huge page
 *   nr_inodes= of the tmpfs   ENOSPC   one for each file and each directory
 *   the machine's memory      the OOM killer; ENOMEM where it finds nothing to kill
 *   MemoryMax= of a cgroup    the same, of the unit or a slice above it
 *
 * All are looked at before the first byte is fetched: a process that is killed for lack of memory cannot report it. */

#include "sealed/model.h"

struct room {
        uint64_t size;   /* bytes that the tmpfs has left; UINT64_MAX: it has no limit */
        uint64_t unit;   /* bytes: each file takes a multiple of it */
        uint64_t inodes; /* inodes that the tmpfs has left; UINT64_MAX: it has no limit */
        uint64_t memory; /* bytes that the machine or the control group has left; UINT64_MAX: not known */
        char limit[160]; /* what limits the memory: the machine, or MemoryMax= of a control group */
};

/* `directory_fd` is a directory on the tmpfs where a file can be made. FAILURE_PUBLISH. */
int room_measure(int directory_fd, const char *path, struct room *ret, struct error *e);

/* The bytes that a file of this size takes up: a multiple of `unit`. `unit` 0: its size. */
uint64_t room_taken(uint64_t unit, uint64_t size);
/* The bytes that all files together may take up, and the limit that allows no more. */
uint64_t room_bytes(const struct room *r);
const char *room_limit(const struct room *r);

/* FAILURE_SPACE if the model of a manifest does not fit, with the limit and the advice what to do. */
int room_check(const struct room *r, const struct model *m, const char *subject, struct error *e);

/* Takes what the model needs off the room that there is for others. Call after room_check(). */
void room_take(struct room *r, const struct model *m);

/* For a file that could not be made or written although room_check() found room: `error` is the errno, `fd` is on the
 * file system, `sentence` is "it cannot be written to the directory of the model". If room is the reason, fills e with
 * FAILURE_SPACE and returns -error. Else returns 0, and leaves e alone. */
int room_refused(int fd, int error, const char *subject, const char *sentence, struct error *e);

/* The bytes of memory that a control group and those above it leave: the least of them, and in *ret_name the group of
 * that limit. `text` has the line "0::/PATH", as /proc/self/cgroup; the groups are directories below `root`.
 * UINT64_MAX: there is no limit, and *ret_name is not changed. For tests. */
uint64_t room_of_cgroup(const char *root, const char *text, char *ret_name, size_t name_size);
