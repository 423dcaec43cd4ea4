/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Reads FAT12, FAT16 and FAT32 file systems (Microsoft, "FAT: General Overview of On-Disk Format", 1.03), as much as an
 * EFI system partition needs: directories with long names, and whole files. Nothing is trusted: every offset is checked
 * against the volume, every chain of clusters is bounded by their number. */

#include "basic/failure.h"

/* What holds the bytes: a file (fd >= 0) or memory. */
struct disk {
        int fd;
        const uint8_t *data;
        uint64_t size;
        const char *subject; /* for messages */
};

/* Exactly n bytes at `offset`, or -EBADMSG beyond the end, or the error of pread(2). */
int disk_read(const struct disk *d, uint64_t offset, void *out, size_t n) _must_check_;

#define DISK_ADVICE \
        "The disk image is damaged, cut short, or not raw: build it again, or convert it with `qemu-img convert -O " \
        "raw`."

struct fat {
        const struct disk *disk;
        uint64_t start; /* of the volume, all offsets in bytes from the start of the disk */
        uint64_t table, root, data;
        uint32_t root_size; /* bytes of FAT12's and FAT16's fixed root directory; 0: it is the chain at root_cluster */
        uint32_t root_cluster;
        uint32_t cluster_size; /* bytes */
        uint32_t n_clusters;   /* numbered from 2 */
        unsigned bits;         /* 12, 16 or 32 */
};

struct fat_entry {
        char name[256]; /* the long name where there is one; characters beyond ASCII are '?' */
        bool directory;
        uint32_t cluster, size;
};

struct fat_directory {
        struct fat_entry *entries;
        size_t n;
};

void fat_directory_done(struct fat_directory *d);
#define _cleanup_fat_directory_ _cleanup_(fat_directory_done)

/* All of them: FAILURE_UKI for what is not well-formed. */
int fat_open(const struct disk *disk, uint64_t start, uint64_t size, struct fat *ret, struct error *e);
int fat_list(const struct fat *fat, const struct fat_entry *directory, struct fat_directory *ret, struct error *e);
/* One name (case-insensitively, as FAT has it) in a directory; NULL as directory is the root. 0, or -ENOENT without an
 * error. */
int fat_find(const struct fat *fat, const struct fat_entry *directory, const char *name, struct fat_entry *ret,
             struct error *e);
int fat_read(const struct fat *fat, const struct fat_entry *file, size_t max, uint8_t **ret, size_t *ret_n,
             struct error *e);
