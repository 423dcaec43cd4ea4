/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* How much a model may take up on the model tmpfs, counted as the kernel counts it, and who would refuse more:
 *
 *   size= of the tmpfs        ENOSPC   whole pages of each file; huge=always rounds every file up to a huge page
 *   nr_inodes= of the tmpfs   ENOSPC   one for each file and each directory
 *   the machine's memory      the OOM killer; ENOMEM where it finds nothing to kill
 *   MemoryMax= of a cgroup    the same, of the unit or a slice above it
 *
 * All are looked at before the first byte is fetched: who is killed for want of memory cannot say so. */

#include "sealed/model.h"

struct room {
        uint64_t size;   /* bytes that the tmpfs has left; UINT64_MAX: it has no limit */
        uint64_t unit;   /* bytes: each file takes a multiple of it */
        uint64_t inodes; /* that the tmpfs has left; UINT64_MAX: it has no limit */
        uint64_t memory; /* bytes that the machine or the control group has left; UINT64_MAX: not known */
        char limit[160]; /* who limits the memory: "the machine", or the control group and its MemoryMax= */
};

/* `directory_fd` is a directory on the tmpfs where a file can be made. FAILURE_PUBLISH. */
int room_measure(int directory_fd, const char *path, struct room *ret, struct error *e);

/* What a file of this size takes up. `unit` 0: what it is. */
uint64_t room_taken(uint64_t unit, uint64_t size);
/* The bytes that files may take up in all, and who says so. */
uint64_t room_bytes(const struct room *r);
const char *room_limit(const struct room *r);

/* FAILURE_SPACE, with the limit that is met and what to do about it, unless a model fits whose manifest is known. */
int room_check(const struct room *r, const struct model *m, const char *subject, struct error *e);

/* Fills e with FAILURE_SPACE and the words for a refusal that came all the same: errno `error` of making or writing a
 * file on the file system of `fd`; returns -error. `doing` is "write to the directory of the model". 0: it is no
 * refusal of room, and e is left alone. */
int room_refused(int fd, int error, const char *subject, const char *doing, struct error *e);

/* The least that the control group of the line "0::/PATH" in `text` (as /proc/self/cgroup has it) and those above it
 * leave, which are directories below `root`; *ret_name is the one that leaves it. UINT64_MAX: there is no limit, and
 * *ret_name stays as it is. For tests. */
uint64_t room_of_cgroup(const char *root, const char *text, char *ret_name, size_t name_size);
