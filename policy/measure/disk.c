/* SPDX-License-Identifier: Apache-2.0 */
#include "measure/disk.h"

#include <fcntl.h>
#include <strings.h>

#include "basic/reader.h"
#include "measure/pe.h"

enum {
        GPT_HEADER_SIZE = 92,
        GPT_ENTRIES_MAX = 1024,
        GPT_ENTRY_MAX = 4096,
        ADDONS_MAX = 64,
        ADDON_MAX = 4 * 1024 * 1024, /* a command line and a stub; addons that hold more are not predicted */
};

static int bad(const struct disk *disk, struct error *e, const char *reason) {
        fail(e, FAILURE_UKI, -EBADMSG, disk->subject, "%s", reason);
        fail_advice(e, DISK_ADVICE);
        return -EBADMSG;
}

static uint32_t crc32_of(const uint8_t *data, size_t n) {
        uint32_t crc = 0xffffffff;

        for (size_t i = 0; i < n; i++) {
                crc ^= data[i];
                for (unsigned bit = 0; bit < 8; bit++)
                        crc = crc >> 1 ^ (crc & 1 ? 0xedb88320 : 0);
        }
        return ~crc;
}

/* --- GUID partition table ----------------------------------------------------------------------------------------- */

struct gpt {
        uint64_t entries_lba;
        uint32_t n_entries, entry_size, entries_crc;
};

/* 1 and the header when there is one for this block size. */
static int read_gpt(const struct disk *disk, uint32_t block, struct gpt *ret, struct error *e) {
        uint8_t header[512];
        struct reader r = reader_over(header, sizeof header);
        uint32_t size, crc;
        uint64_t lba;

        if (disk_read(disk, block, header, sizeof header) < 0 || memcmp(header, "EFI PART", 8) != 0)
                return 0;
        if (reader_skip(&r, 12) < 0 || reader_le32(&r, &size) < 0 || reader_le32(&r, &crc) < 0 ||
            reader_skip(&r, 4) < 0 || reader_le64(&r, &lba) < 0 || reader_skip(&r, 40) < 0 ||
            reader_le64(&r, &ret->entries_lba) < 0 || reader_le32(&r, &ret->n_entries) < 0 ||
            reader_le32(&r, &ret->entry_size) < 0 || reader_le32(&r, &ret->entries_crc) < 0)
                return bad(disk, e, "the partition table's header is cut short");
        if (size < GPT_HEADER_SIZE || size > sizeof header || lba != 1)
                return bad(disk, e, "the partition table's header is not well-formed");
        memset(header + 16, 0, 4);
        if (crc32_of(header, size) != crc)
                return bad(disk, e, "the partition table's header has a wrong checksum");
        if (ret->n_entries == 0 || ret->n_entries > GPT_ENTRIES_MAX || ret->entry_size < 128 ||
            ret->entry_size > GPT_ENTRY_MAX || ret->entry_size % 8 != 0)
                return bad(disk, e, "the partition table's dimensions are out of range");
        return 1;
}

static int find_esp(const struct disk *disk, uint32_t block, const struct gpt *gpt, uint64_t *ret_start,
                    uint64_t *ret_size, struct error *e) {
        static const uint8_t esp[16] = { 0x28, 0x73, 0x2a, 0xc1, 0x1f, 0xf8, 0xd2, 0x11,
                                         0xba, 0x4b, 0x00, 0xa0, 0xc9, 0x3e, 0xc9, 0x3b };
        size_t n = (size_t) gpt->n_entries * gpt->entry_size;
        _cleanup_free_ uint8_t *table = malloc(n);
        uint64_t blocks = disk->size / block;
        bool found = false;

        if (!table)
                return fail_oom(e);
        if (gpt->entries_lba >= blocks || disk_read(disk, gpt->entries_lba * block, table, n) < 0)
                return bad(disk, e, "the partition table is cut short");
        if (crc32_of(table, n) != gpt->entries_crc)
                return bad(disk, e, "the partition table has a wrong checksum");
        for (size_t i = 0; i < gpt->n_entries; i++) {
                struct reader r = reader_over(table + i * gpt->entry_size, gpt->entry_size);
                uint64_t first, last;

                if (memcmp(r.data, esp, sizeof esp) != 0)
                        continue;
                if (reader_seek(&r, 32) < 0 || reader_le64(&r, &first) < 0 || reader_le64(&r, &last) < 0 ||
                    first > last || last >= blocks)
                        return bad(disk, e, "the EFI system partition reaches beyond the disk: it is cut short");
                if (found)
                        return bad(disk, e, "it has two EFI system partitions, and firmware may boot from either");
                found = true;
                *ret_start = first * block;
                *ret_size = (last - first + 1) * block;
        }
        return found ? 0 : bad(disk, e, "its partition table has no EFI system partition");
}

static int open_esp(const struct disk *disk, struct fat *ret, struct error *e) {
        uint32_t blocks[] = { 512, 4096 };
        uint64_t start, size;

        for (size_t i = 0; i < ELEMENTS(blocks); i++) {
                struct gpt gpt;
                int k = read_gpt(disk, blocks[i], &gpt, e);

                if (k == 0)
                        continue;
                if (k < 0)
                        return k;
                k = find_esp(disk, blocks[i], &gpt, &start, &size, e);
                return k < 0 ? k : fat_open(disk, start, size, ret, e);
        }
        fail(e, FAILURE_UKI, -EBADMSG, disk->subject, "it has no GUID partition table");
        fail_advice(e, "Give a raw disk image (convert others first: qemu-img convert -O raw), or the UKI itself.");
        return -EBADMSG;
}

/* --- files -------------------------------------------------------------------------------------------------------- */

static void disk_file_done(struct disk_file *f) {
        free(f->path);
        free(f->data);
        *f = (struct disk_file) {};
}

void disk_boot_done(struct disk_boot *b) {
        disk_file_done(&b->image);
        for (size_t i = 0; i < b->n_addons; i++)
                disk_file_done(&b->addons[i]);
        free(b->addons);
        *b = (struct disk_boot) {};
}

static int read_file(const struct fat *fat, const char *directory, const struct fat_entry *entry, size_t max,
                     struct disk_file *ret, struct error *e) {
        int k;

        k = fat_read(fat, entry, max, &ret->data, &ret->size, e);
        if (k < 0)
                return k;
        if (asprintf(&ret->path, "%s:%s/%s", fat->disk->subject, directory, entry->name) < 0) {
                ret->path = NULL;
                disk_file_done(ret);
                return fail_oom(e);
        }
        return 0;
}

static int walk(const struct fat *fat, const char *const names[], size_t n, struct fat_entry *ret, struct error *e) {
        struct fat_entry at = {};
        int k;

        for (size_t i = 0; i < n; i++) {
                struct fat_entry next;

                k = fat_find(fat, i == 0 ? NULL : &at, names[i], &next, e);
                if (k < 0)
                        return k;
                if (!next.directory)
                        return -ENOENT;
                at = next;
        }
        *ret = at;
        return 0;
}

/* The stub ignores names that start with a dot, and names with characters beyond ASCII. */
static bool has_suffix(const struct fat_entry *entry, const char *suffix) {
        size_t n = strlen(entry->name), m = strlen(suffix);

        return !entry->directory && entry->name[0] != '.' && n > m && strcasecmp(entry->name + n - m, suffix) == 0 &&
               !strchr(entry->name, '?');
}

static int by_name(const void *a, const void *b) {
        return strcmp(((const struct fat_entry *) a)->name, ((const struct fat_entry *) b)->name);
}

static int add_addon(const struct fat *fat, const char *path, const struct fat_entry *entry, struct disk_boot *b,
                     struct error *e) {
        uint64_t left = (uint64_t) fat->n_clusters * fat->cluster_size - b->image.size;
        struct disk_file *larger;
        int k;

        if (b->n_addons >= ADDONS_MAX)
                return bad(fat->disk, e, "it has more than 64 addons");
        for (size_t i = 0; i < b->n_addons; i++)
                left -= b->addons[i].size;
        if (entry->size > left)
                return bad(fat->disk, e, "its files are together larger than the EFI system partition");
        larger = reallocarray(b->addons, b->n_addons + 1, sizeof *larger);
        if (!larger)
                return fail_oom(e);
        b->addons = larger;
        b->addons[b->n_addons] = (struct disk_file) {};
        k = read_file(fat, path, entry, ADDON_MAX, &b->addons[b->n_addons], e);
        if (k < 0)
                return k;
        b->n_addons++;
        return 0;
}

/* A directory in which the stub looks for companions of the image. */
struct companions {
        const char *path;
        bool addons;
        const char *unpredicted[3]; /* suffixes, NULL-terminated */
};

static int add_companion(const struct fat *fat, const struct companions *c, const struct fat_entry *entry,
                         struct disk_boot *b, struct error *e) {
        char subject[sizeof e->subject];

        for (size_t i = 0; c->unpredicted[i]; i++) {
                if (!has_suffix(entry, c->unpredicted[i]))
                        continue;
                snprintf(subject, sizeof subject, "%s:%s/%s", fat->disk->subject, c->path, entry->name);
                fail(e, FAILURE_UKI, -ENOTSUP, subject,
                     "systemd's stub measures it and hands it to the image; which values PCR12 and PCR13 then have is "
                     "not predicted");
                fail_advice(e, "Take it off the EFI system partition, and build what it brings into the image.");
                return -ENOTSUP;
        }
        return c->addons && has_suffix(entry, ".addon.efi") ? add_addon(fat, c->path, entry, b, e) : 0;
}

static int add_companions(const struct fat *fat, const struct companions *c, const struct fat_entry *directory,
                          struct disk_boot *b, struct error *e) {
        _cleanup_fat_directory_ struct fat_directory d = {};
        int k;

        k = fat_list(fat, directory, &d, e);
        if (k < 0)
                return k;
        if (d.n > 0)
                qsort(d.entries, d.n, sizeof *d.entries, by_name);
        for (size_t i = 0; i < d.n; i++) {
                k = add_companion(fat, c, &d.entries[i], b, e);
                if (k < 0)
                        return k;
        }
        return 0;
}

/* Those of any image. */
static int find_global_companions(const struct fat *fat, struct disk_boot *b, struct error *e) {
        static const struct companions global[] = {
                { "/loader/addons", .addons = true },
                { "/loader/credentials", .unpredicted = { ".cred" } },
                { "/loader/extensions", .unpredicted = { ".raw" } },
        };
        struct fat_entry directory;
        int k;

        for (size_t i = 0; i < ELEMENTS(global); i++) {
                k = walk(fat, (const char *const[]) { "loader", global[i].path + strlen("/loader/") }, 2, &directory,
                         e);
                if (k == -ENOENT)
                        continue;
                if (k < 0)
                        return k;
                k = add_companions(fat, &global[i], &directory, b, e);
                if (k < 0)
                        return k;
        }
        return 0;
}

/* Those of this image alone. */
static int find_own_companions(const struct fat *fat, const struct fat_entry *boot, const char *image,
                               struct disk_boot *b, struct error *e) {
        struct fat_entry directory;
        char path[sizeof directory.name + 32];
        int k;

        snprintf(path, sizeof path, "/EFI/BOOT/%s.extra.d", image);
        k = fat_find(fat, boot, path + strlen("/EFI/BOOT/"), &directory, e);
        if (k == -ENOENT || (k == 0 && !directory.directory))
                return 0;
        if (k < 0)
                return k;
        return add_companions(fat, &(struct companions) { path, true, { ".cred", ".raw" } }, &directory, b, e);
}

static int choose_image(const struct fat *fat, const struct fat_entry *boot, const char *name, struct fat_entry *ret,
                        uint16_t *ret_machine, struct error *e) {
        static const char *const names[] = { "BOOTX64.EFI", "BOOTAA64.EFI" };
        static const uint16_t machines[] = { PE_MACHINE_X64, PE_MACHINE_ARM64 };
        bool found = false;

        for (size_t i = 0; i < ELEMENTS(names); i++) {
                struct fat_entry entry;
                int k;

                if (name && !streq(name, names[i]))
                        continue;
                k = fat_find(fat, boot, names[i], &entry, e);
                if (k == -ENOENT || (k == 0 && entry.directory))
                        continue;
                if (k < 0)
                        return k;
                if (found) {
                        fail(e, FAILURE_UKI, -EINVAL, fat->disk->subject, "it boots on x86-64 and on arm64");
                        fail_advice(e, "Say which one to measure: --arch=x64 or --arch=aa64.");
                        return -EINVAL;
                }
                found = true;
                *ret = entry;
                *ret_machine = machines[i];
                snprintf(ret->name, sizeof ret->name, "%s", names[i]);
        }
        if (found)
                return 0;
        fail(e, FAILURE_UKI, -ENOENT, fat->disk->subject, "its EFI system partition has no /EFI/BOOT/%s",
             name ?: "BOOTX64.EFI or BOOTAA64.EFI");
        fail_advice(e, "A disk that boots by way of boot entries cannot be measured by itself: give the images in load "
                       "order instead.");
        return -ENOENT;
}

int disk_find_boot(const struct disk *disk, const char *name, struct disk_boot *ret, struct error *e) {
        _cleanup_disk_boot_ struct disk_boot b = {};
        struct fat_entry boot, image;
        struct fat fat;
        int k;

        k = open_esp(disk, &fat, e);
        if (k < 0)
                return k;
        k = walk(&fat, (const char *const[]) { "EFI", "BOOT" }, 2, &boot, e);
        if (k == -ENOENT)
                return fail(e, FAILURE_UKI, k, disk->subject, "its EFI system partition has no /EFI/BOOT");
        if (k < 0)
                return k;
        k = choose_image(&fat, &boot, name, &image, &b.machine, e);
        if (k < 0)
                return k;
        k = read_file(&fat, "/EFI/BOOT", &image, PE_FILE_MAX, &b.image, e);
        if (k < 0)
                return k;
        k = find_global_companions(&fat, &b, e);
        if (k < 0)
                return k;
        k = find_own_companions(&fat, &boot, image.name, &b, e);
        if (k < 0)
                return k;
        *ret = TAKE_STRUCT(b);
        return 0;
}

int disk_open_boot(const char *path, const char *name, struct disk_boot *ret, struct error *e) {
        _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
        off_t size;

        if (fd < 0)
                return fail(e, FAILURE_IO, -errno, path, "cannot open: %m");
        size = lseek(fd, 0, SEEK_END); /* a block device has a size too */
        if (size < 0)
                return fail(e, FAILURE_IO, -errno, path, "it is neither a file nor a disk: %m");
        return disk_find_boot(&(struct disk) { .fd = fd, .size = (uint64_t) size, .subject = path }, name, ret, e);
}
