/* SPDX-License-Identifier: Apache-2.0 */

/* A disk image with a partition table, whose checksums are put right first so that mutations get past them; and the
 * same bytes as a bare file system. */

#include "measure/disk.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint32_t crc32_of(const uint8_t *data, size_t n) {
        uint32_t crc = 0xffffffff;

        for (size_t i = 0; i < n; i++) {
                crc ^= data[i];
                for (unsigned bit = 0; bit < 8; bit++)
                        crc = crc >> 1 ^ (crc & 1 ? 0xedb88320 : 0);
        }
        return ~crc;
}

static void put_le32(uint8_t *p, uint32_t v) {
        for (unsigned i = 0; i < 4; i++)
                p[i] = (uint8_t) (v >> 8 * i);
}

static uint32_t get_le32(const uint8_t *p) {
        return (uint32_t) p[0] | (uint32_t) p[1] << 8 | (uint32_t) p[2] << 16 | (uint32_t) p[3] << 24;
}

static void repair(uint8_t *disk, size_t size) {
        size_t entries, n, header;

        if (size < 1024 || memcmp(disk + 512, "EFI PART", 8) != 0)
                return;
        entries = (size_t) get_le32(disk + 512 + 72) * 512;
        n = (size_t) get_le32(disk + 512 + 80) * get_le32(disk + 512 + 84);
        header = get_le32(disk + 512 + 12);
        if (n <= size && entries <= size - n)
                put_le32(disk + 512 + 88, crc32_of(disk + entries, n));
        if (header < 92 || header > 512)
                return;
        put_le32(disk + 512 + 16, 0);
        put_le32(disk + 512 + 16, crc32_of(disk + 512, header));
}

static void walk(const struct fat *fat, const struct fat_entry *directory, unsigned depth) {
        _cleanup_fat_directory_ struct fat_directory d = {};
        struct error e = {};

        if (fat_list(fat, directory, &d, &e) < 0)
                return;
        for (size_t i = 0; i < d.n && i < 16; i++) {
                _cleanup_free_ uint8_t *data = NULL;
                size_t n;

                if (d.entries[i].directory && depth < 3)
                        walk(fat, &d.entries[i], depth + 1);
                else if (fat_read(fat, &d.entries[i], 1 << 20, &data, &n, &e) == 0 && n != d.entries[i].size)
                        abort();
        }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_free_ uint8_t *copy = malloc(size + 1);
        struct disk disk = { .fd = -1, .data = copy, .size = size, .subject = "fuzz" };
        struct disk_boot boot = {};
        struct error e = {};
        struct fat fat;

        if (!copy)
                return 0;
        memcpy(copy, data, size);
        if (fat_open(&disk, 0, size, &fat, &e) == 0)
                walk(&fat, NULL, 0);
        repair(copy, size);
        if (disk_find_boot(&disk, NULL, &boot, &e) == 0)
                disk_boot_done(&boot);
        return 0;
}
