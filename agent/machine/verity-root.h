/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The image's root: which partition it is, and how it is opened under dm-verity. Functions return 0 or a negative
 * errno. */

#include "basic/macros.h"

enum {
        VERITY_SUPERBLOCK_SIZE = 512,
        VERITY_TABLE_MAX = 1024,
};

struct verity_root {
        uint64_t offset;  /* bytes from the partition's start to the superblock */
        uint64_t sectors; /* of the data, 512 bytes each */
        char *table;      /* dm-verity's table, with @ for each device */
        uint8_t superblock[VERITY_SUPERBLOCK_SIZE];
};

/* Reads what the build wrote: the text "OFFSET\nTABLE\n" and the superblock, whose number of blocks must be the
 * table's. -EBADMSG: they are not as the build writes them. */
int verity_root_read(struct verity_root *ret, const char *description, const char *superblock);
void verity_root_done(struct verity_root *v);

/* Whether this device has the image's superblock, byte for byte. */
bool verity_root_is(const struct verity_root *v, const char *device);

/* The table with MAJOR:MINOR in the place of each @. -ENOBUFS: it does not fit. */
int verity_root_table(const struct verity_root *v, unsigned major, unsigned minor, char *ret, size_t size);

/* Opens the device read-only under dm-verity; ret is the path of the mapped device. Each block is compared with its
 * hash when it is read. */
int verity_root_open(const struct verity_root *v, const char *device, char *ret, size_t size);
