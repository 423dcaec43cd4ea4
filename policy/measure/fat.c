/* SPDX-License-Identifier: Apache-2.0 */
#include "measure/fat.h"

#include <ctype.h>
#include <strings.h>

#include "basic/reader.h"

enum {
        BOOT_SECTOR = 512,
        ENTRY_SIZE = 32,
        ENTRIES_MAX = 65536,
        LONG_NAME_PARTS = 20, /* of 13 characters: 255 and a NUL */
        ATTRIBUTE_VOLUME = 0x08,
        ATTRIBUTE_DIRECTORY = 0x10,
        ATTRIBUTE_LONG_NAME = 0x0f,
        DELETED = 0xe5,
};

int disk_read(const struct disk *d, uint64_t offset, void *out, size_t n) {
        if (n > d->size || offset > d->size - n)
                return -EBADMSG;
        if (d->fd < 0) {
                memcpy(out, d->data + offset, n);
                return 0;
        }
        for (size_t done = 0; done < n;) {
                ssize_t got = pread(d->fd, (uint8_t *) out + done, n - done, (off_t) (offset + done));

                if (got < 0 && errno == EINTR)
                        continue;
                if (got <= 0)
                        return got < 0 ? -errno : -EBADMSG;
                done += (size_t) got;
        }
        return 0;
}

void fat_directory_done(struct fat_directory *d) {
        free(d->entries);
        *d = (struct fat_directory) {};
}

static int bad(const struct fat *fat, struct error *e, const char *reason) {
        fail(e, FAILURE_UKI, -EBADMSG, fat->disk->subject, "the EFI system partition %s", reason);
        fail_advice(e, DISK_ADVICE);
        return -EBADMSG;
}

/* --- the volume --------------------------------------------------------------------------------------------------- */

struct parameters {
        uint16_t bytes_per_sector, reserved, root_entries, sectors_16, table_16;
        uint8_t sectors_per_cluster, tables;
        uint32_t sectors_32, table_32, root_cluster;
};

static bool is_power_of_two(uint32_t v) {
        return v != 0 && (v & (v - 1)) == 0;
}

static int read_parameters(const struct fat *fat, struct parameters *p, struct error *e) {
        uint8_t sector[BOOT_SECTOR];
        struct reader r = reader_over(sector, sizeof sector);

        if (disk_read(fat->disk, fat->start, sector, sizeof sector) < 0)
                return bad(fat, e, "cannot be read");
        if (reader_skip(&r, 11) < 0 || reader_le16(&r, &p->bytes_per_sector) < 0 ||
            reader_u8(&r, &p->sectors_per_cluster) < 0 || reader_le16(&r, &p->reserved) < 0 ||
            reader_u8(&r, &p->tables) < 0 || reader_le16(&r, &p->root_entries) < 0 ||
            reader_le16(&r, &p->sectors_16) < 0 || reader_skip(&r, 1) < 0 || reader_le16(&r, &p->table_16) < 0 ||
            reader_skip(&r, 8) < 0 || reader_le32(&r, &p->sectors_32) < 0 || reader_le32(&r, &p->table_32) < 0 ||
            reader_skip(&r, 4) < 0 || reader_le32(&r, &p->root_cluster) < 0)
                return bad(fat, e, "has a boot sector that is cut short");
        if (sector[510] != 0x55 || sector[511] != 0xaa || p->bytes_per_sector < 512 || p->bytes_per_sector > 4096 ||
            !is_power_of_two(p->bytes_per_sector) || !is_power_of_two(p->sectors_per_cluster) || p->reserved == 0 ||
            p->tables == 0)
                return bad(fat, e, "is not a FAT file system");
        return 0;
}

int fat_open(const struct disk *disk, uint64_t start, uint64_t size, struct fat *ret, struct error *e) {
        struct fat fat = { .disk = disk, .start = start };
        struct parameters p = {};
        uint64_t sectors, table, before;
        int k;

        k = read_parameters(&fat, &p, e);
        if (k < 0)
                return k;
        sectors = p.sectors_16 ?: p.sectors_32;
        table = p.table_16 ?: p.table_32;
        fat.root_size = (uint32_t) p.root_entries * ENTRY_SIZE;
        before = p.reserved + p.tables * table + (fat.root_size + p.bytes_per_sector - 1) / p.bytes_per_sector;
        if (sectors * p.bytes_per_sector > size || table == 0 || before >= sectors)
                return bad(&fat, e,
                           "has a FAT file system that is larger than the partition, or has no room for files");
        fat.cluster_size = (uint32_t) p.bytes_per_sector * p.sectors_per_cluster;
        fat.n_clusters = (uint32_t) ((sectors - before) / p.sectors_per_cluster);
        fat.bits = fat.n_clusters < 4085 ? 12 : fat.n_clusters < 65525 ? 16 : 32;
        fat.table = start + (uint64_t) p.reserved * p.bytes_per_sector;
        fat.root = fat.table + p.tables * table * p.bytes_per_sector;
        fat.data = start + before * p.bytes_per_sector;
        fat.root_cluster = p.root_cluster;
        if ((fat.bits == 32) != (fat.root_size == 0) || (fat.bits != 32 && p.table_16 == 0) ||
            ((uint64_t) fat.n_clusters + 2) * fat.bits > table * p.bytes_per_sector * 8)
                return bad(&fat, e, "has a FAT file system whose tables do not fit its size");
        *ret = fat;
        return 0;
}

/* --- chains of clusters ------------------------------------------------------------------------------------------- */

/* The cluster behind this one; 0 at the end of the chain. */
static int next_cluster(const struct fat *fat, uint32_t cluster, uint32_t *ret, struct error *e) {
        uint64_t bit = (uint64_t) cluster * fat->bits;
        uint8_t raw[4] = {};
        uint32_t v, last;

        if (disk_read(fat->disk, fat->table + bit / 8, raw, fat->bits == 32 ? 4 : 2) < 0)
                return bad(fat, e, "has a file allocation table that cannot be read");
        v = (uint32_t) raw[0] | (uint32_t) raw[1] << 8 | (uint32_t) raw[2] << 16 | (uint32_t) raw[3] << 24;
        if (fat->bits == 12)
                v = bit % 8 ? v >> 4 : v & 0xfff;
        last = fat->bits == 12 ? 0xff8 : fat->bits == 16 ? 0xfff8 : 0xffffff8;
        v &= 0xfffffff;
        *ret = v >= last ? 0 : v;
        return v < last && v < 2 ? bad(fat, e, "has a file whose chain of clusters ends in a free one") : 0;
}

/* Reads the chain from `cluster` on, up to `max` bytes; a chain that ends earlier ends the data. */
static int read_chain(const struct fat *fat, uint32_t cluster, size_t max, uint8_t **ret, size_t *ret_n,
                      struct error *e) {
        _cleanup_free_ uint8_t *buffer = NULL;
        size_t n = 0, room = 0;
        int k;

        for (uint32_t seen = 0; cluster != 0 && n < max; seen++) {
                size_t step = MIN_OF((size_t) fat->cluster_size, max - n);

                if (cluster < 2 || cluster - 2 >= fat->n_clusters || seen >= fat->n_clusters)
                        return bad(fat, e, "has a chain of clusters that leaves the volume or never ends");
                if (!buffer || n + step > room) {
                        uint8_t *larger;

                        room = MIN_OF(max, MAX_OF(2 * room, MAX_OF(step, (size_t) 1 << 16)));
                        larger = realloc(buffer, room);
                        if (!larger)
                                return fail_oom(e);
                        buffer = larger;
                }
                if (disk_read(fat->disk, fat->data + (uint64_t) (cluster - 2) * fat->cluster_size, buffer + n, step) <
                    0)
                        return bad(fat, e, "has a file outside the image: it is cut short");
                n += step;
                k = next_cluster(fat, cluster, &cluster, e);
                if (k < 0)
                        return k;
        }
        *ret = TAKE(buffer);
        *ret_n = n;
        return 0;
}

int fat_read(const struct fat *fat, const struct fat_entry *file, size_t max, uint8_t **ret, size_t *ret_n,
             struct error *e) {
        _cleanup_free_ uint8_t *data = NULL;
        size_t n = 0;
        int k;

        if (file->size > max)
                return fail(e, FAILURE_UKI, -EFBIG, fat->disk->subject, "%s is larger than %zu bytes", file->name, max);
        k = read_chain(fat, file->size ? file->cluster : 0, file->size, &data, &n, e);
        if (k < 0)
                return k;
        if (n != file->size)
                return fail(e, FAILURE_UKI, -EBADMSG, fat->disk->subject, "%s is shorter than its directory entry says",
                            file->name);
        *ret = TAKE(data);
        *ret_n = n;
        return 0;
}

/* --- directories -------------------------------------------------------------------------------------------------- */

struct long_name {
        uint16_t text[13 * LONG_NAME_PARTS];
        unsigned expected; /* the number of the next part; parts come last first */
        uint8_t checksum;
        bool complete;
};

static uint8_t short_checksum(const uint8_t short_name[static 11]) {
        uint8_t sum = 0;

        for (unsigned i = 0; i < 11; i++)
                sum = (uint8_t) ((sum << 7 | sum >> 1) + short_name[i]);
        return sum;
}

static void long_name_part(struct long_name *l, const uint8_t *entry) {
        static const uint8_t offsets[13] = { 1, 3, 5, 7, 9, 14, 16, 18, 20, 22, 24, 28, 30 };
        unsigned number = entry[0] & 0x3f;

        if (entry[0] & 0x40)
                *l = (struct long_name) { .expected = number, .checksum = entry[13] };
        if (number == 0 || number > LONG_NAME_PARTS || number != l->expected || entry[13] != l->checksum) {
                *l = (struct long_name) {};
                return;
        }
        for (unsigned i = 0; i < 13; i++)
                l->text[13 * (number - 1) + i] = (uint16_t) (entry[offsets[i]] | entry[offsets[i] + 1] << 8);
        l->expected--;
        l->complete = l->expected == 0;
}

static void name_of(const struct long_name *l, const uint8_t *entry, char out[static 256]) {
        size_t n = 0;

        if (l->complete && short_checksum(entry) == l->checksum) {
                for (; n < 255 && l->text[n] != 0 && l->text[n] != 0xffff; n++)
                        out[n] = l->text[n] >= ' ' && l->text[n] < 0x7f ? (char) l->text[n] : '?';
        } else {
                for (unsigned i = 0; i < 11; i++) {
                        if (entry[i] == ' ')
                                continue;
                        if (i >= 8 && (n == 0 || !memchr(out, '.', n)))
                                out[n++] = '.';
                        out[n++] = isprint(entry[i]) ? (char) entry[i] : '?';
                }
        }
        out[n] = 0;
}

static int add_entry(const struct fat *fat, struct fat_directory *d, const struct long_name *l, const uint8_t *raw,
                     struct error *e) {
        struct fat_entry *larger;

        if (d->n >= ENTRIES_MAX)
                return bad(fat, e, "has a directory with too many entries");
        if ((d->n & (d->n - 1)) == 0) {
                larger = reallocarray(d->entries, d->n ? 2 * d->n : 1, sizeof *larger);
                if (!larger)
                        return fail_oom(e);
                d->entries = larger;
        }
        d->entries[d->n] = (struct fat_entry) {
                .directory = raw[11] & ATTRIBUTE_DIRECTORY,
                .cluster = (fat->bits == 32 ? (uint32_t) raw[20] << 16 | (uint32_t) raw[21] << 24 : 0) |
                           (uint32_t) raw[26] | (uint32_t) raw[27] << 8,
                .size = (uint32_t) raw[28] | (uint32_t) raw[29] << 8 | (uint32_t) raw[30] << 16 |
                        (uint32_t) raw[31] << 24,
        };
        name_of(l, raw, d->entries[d->n++].name);
        return 0;
}

static int parse_directory(const struct fat *fat, const uint8_t *data, size_t n, struct fat_directory *d,
                           struct error *e) {
        struct long_name l = {};
        int k;

        for (size_t at = 0; at + ENTRY_SIZE <= n && data[at] != 0; at += ENTRY_SIZE) {
                const uint8_t *raw = data + at;

                if (raw[0] == DELETED) {
                        l = (struct long_name) {};
                        continue;
                }
                if ((raw[11] & 0x3f) == ATTRIBUTE_LONG_NAME) {
                        long_name_part(&l, raw);
                        continue;
                }
                if (!(raw[11] & ATTRIBUTE_VOLUME)) {
                        k = add_entry(fat, d, &l, raw, e);
                        if (k < 0)
                                return k;
                }
                l = (struct long_name) {};
        }
        return 0;
}

int fat_list(const struct fat *fat, const struct fat_entry *directory, struct fat_directory *ret, struct error *e) {
        _cleanup_fat_directory_ struct fat_directory d = {};
        _cleanup_free_ uint8_t *data = NULL;
        size_t n = 0;
        int k;

        if (!directory && fat->bits != 32) {
                n = fat->root_size;
                data = malloc(n);
                if (!data)
                        return fail_oom(e);
                k = disk_read(fat->disk, fat->root, data, n);
                if (k < 0)
                        return bad(fat, e, "has a root directory that cannot be read");
        } else {
                k = read_chain(fat, directory ? directory->cluster : fat->root_cluster,
                               (size_t) ENTRIES_MAX * ENTRY_SIZE, &data, &n, e);
                if (k < 0)
                        return k;
        }
        k = parse_directory(fat, data, n, &d, e);
        if (k < 0)
                return k;
        *ret = TAKE_STRUCT(d);
        return 0;
}

int fat_find(const struct fat *fat, const struct fat_entry *directory, const char *name, struct fat_entry *ret,
             struct error *e) {
        _cleanup_fat_directory_ struct fat_directory d = {};
        int k;

        k = fat_list(fat, directory, &d, e);
        if (k < 0)
                return k;
        for (size_t i = 0; i < d.n; i++)
                if (strcasecmp(d.entries[i].name, name) == 0) {
                        *ret = d.entries[i];
                        return 0;
                }
        return -ENOENT;
}
