/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include "fixture.h"
#include "measure/disk.h"
#include "measure/pe.h"

/* The fuzzer's seed: a disk of 45 sectors with a FAT12 volume of one-sector clusters; /EFI/BOOT/BOOTX64.EFI of 702
 * bytes in clusters 2 and 3, one addon of 5 bytes in cluster 4, its directory in 5, /EFI/BOOT in 6, /EFI in 7. */
enum {
        GPT = 512,
        GPT_ENTRY = 1024,
        VOLUME = 2048,
        TABLE = VOLUME + 512,
        ROOT = VOLUME + 2 * 512,
        CLUSTERS = VOLUME + 3 * 512,
        VOLUME_ROOM = 37 * 512,
        ADDON_DIRECTORY = CLUSTERS + 3 * 512,
        BOOT_DIRECTORY = CLUSTERS + 4 * 512,
};

static uint32_t crc32_of(const uint8_t *data, size_t n) {
        uint32_t crc = 0xffffffff;

        for (size_t i = 0; i < n; i++) {
                crc ^= data[i];
                for (unsigned bit = 0; bit < 8; bit++)
                        crc = crc >> 1 ^ (crc & 1 ? 0xedb88320 : 0);
        }
        return ~crc;
}

static void put(uint8_t *disk, size_t at, uint64_t value, size_t n) {
        for (size_t i = 0; i < n; i++)
                disk[at + i] = (uint8_t) (value >> 8 * i);
}

/* So that a changed table is refused for what it says, not for its checksum. */
static void repair(uint8_t *disk) {
        put(disk, GPT + 88, crc32_of(disk + GPT_ENTRY, (size_t) 4 * 128), 4);
        put(disk, GPT + 16, 0, 4);
        put(disk, GPT + 16, crc32_of(disk + GPT, 92), 4);
}

static int find(const uint8_t *data, size_t n, struct disk_boot *ret, struct error *e) {
        return disk_find_boot(&(struct disk) { .fd = -1, .data = data, .size = n, .subject = "disk" }, NULL, ret, e);
}

static void test_finds(void **state _unused_) {
        _cleanup_disk_boot_ struct disk_boot boot = {};
        _cleanup_free_ uint8_t *disk = NULL;
        struct error e = {};
        size_t n;

        disk = read_fixture("fuzz/seeds/disk/gpt", &n);
        assert_ok(find(disk, n, &boot, &e), &e);
        assert_string_equal(boot.image.path, "disk:/EFI/BOOT/BOOTX64.EFI");
        assert_int_equal(boot.machine, PE_MACHINE_X64);
        assert_int_equal(boot.image.size, 702);
        assert_memory_equal(boot.image.data, "MZ", 2);
        assert_int_equal(boot.n_addons, 1);
        assert_string_equal(boot.addons[0].path, "disk:/EFI/BOOT/BOOTX64.EFI.extra.d/a.addon.efi");
        assert_memory_equal(boot.addons[0].data, "addon", 5);
}

static void test_refuses(void **state _unused_) {
        static const struct {
                size_t at, n;
                uint64_t value;
                const char *words;
        } cases[] = {
                { GPT, 1, 0, "no GUID partition table" },
                { GPT + 12, 4, 91, "header is not well-formed" },
                { GPT + 12, 4, 513, "header is not well-formed" },
                { GPT + 24, 8, 2, "header is not well-formed" },
                { GPT + 56, 1, 0xff, "" }, /* the disk's GUID: nothing depends on it */
                { GPT + 80, 4, 0, "dimensions are out of range" },
                { GPT + 80, 4, 1025, "dimensions are out of range" },
                { GPT + 84, 4, 64, "dimensions are out of range" },
                { GPT + 84, 4, 132, "dimensions are out of range" },
                { GPT + 84, 4, 8192, "dimensions are out of range" },
                { GPT + 72, 8, 45, "partition table is cut short" },
                { GPT + 72, 8, UINT64_MAX, "partition table is cut short" },
                { GPT + 72, 8, 3, "wrong checksum" },
                { GPT_ENTRY, 1, 0, "no EFI system partition" },
                { GPT_ENTRY + 32, 8, 1000, "reaches beyond the disk" },
                { GPT_ENTRY + 40, 8, 45, "reaches beyond the disk" },
                { GPT_ENTRY + 40, 8, UINT64_MAX, "reaches beyond the disk" },
                { GPT_ENTRY + 40, 8, 20, "larger than the partition" },
                { VOLUME + 510, 2, 0, "is not a FAT file system" },
                { VOLUME + 11, 2, 0, "is not a FAT file system" },
                { VOLUME + 11, 2, 513, "is not a FAT file system" },
                { VOLUME + 11, 2, 8192, "is not a FAT file system" },
                { VOLUME + 13, 1, 0, "is not a FAT file system" },
                { VOLUME + 13, 1, 3, "is not a FAT file system" },
                { VOLUME + 14, 2, 0, "is not a FAT file system" },
                { VOLUME + 16, 1, 0, "is not a FAT file system" },
                { VOLUME + 16, 1, 255, "has no room for files" },
                { VOLUME + 17, 2, 0, "tables do not fit" },
                { VOLUME + 17, 2, 0xffff, "has no room for files" },
                { VOLUME + 19, 2, 0, "has no room for files" },
                { VOLUME + 19, 2, 1000, "larger than the partition" },
                { VOLUME + 22, 2, 0, "larger than the partition" },
                { ROOT, 1, 'X', "no /EFI/BOOT" },
                { ROOT, 1, 0xe5, "no /EFI/BOOT" },
                { ROOT + 11, 1, 0x20, "no /EFI/BOOT" },
                { ROOT + 26, 2, 1, "leaves the volume" },
                { ROOT + 26, 2, 0xffff, "leaves the volume" },
                { ROOT + 26, 2, 30, "ends in a free one" },
                { BOOT_DIRECTORY, 1, 'X', "no /EFI/BOOT/BOOTX64.EFI or BOOTAA64.EFI" },
                { BOOT_DIRECTORY + 11, 1, 0x10, "no /EFI/BOOT/BOOTX64.EFI or BOOTAA64.EFI" },
                { BOOT_DIRECTORY + 26, 2, 2000, "leaves the volume" },
                { BOOT_DIRECTORY + 28, 4, 1025, "shorter than its directory entry says" },
                { BOOT_DIRECTORY + 28, 4, 0xffffffff, "is larger than" },
                { TABLE + 3, 2, 0xf002, "" }, /* clusters 2 -> 2: the size ends before the loop is followed for ever */
                { TABLE + 3, 2, 0xf000, "ends in a free one" },
                { TABLE + 3, 2, 0xfff0, "leaves the volume" },
        };

        for (size_t i = 0; i < ELEMENTS(cases); i++) {
                _cleanup_disk_boot_ struct disk_boot boot = {};
                _cleanup_free_ uint8_t *disk = NULL;
                struct error e = {};
                size_t n;

                disk = read_fixture("fuzz/seeds/disk/gpt", &n);
                put(disk, cases[i].at, cases[i].value, cases[i].n);
                if (cases[i].at < GPT + 72 || cases[i].at >= GPT + 76)
                        repair(disk);
                else {
                        put(disk, GPT + 16, 0, 4);
                        put(disk, GPT + 16, crc32_of(disk + GPT, 92), 4);
                }
                if (!cases[i].words[0])
                        assert_ok(find(disk, n, &boot, &e), &e);
                else
                        assert_refused(find(disk, n, &boot, &e), &e, FAILURE_UKI, cases[i].words);
        }
}

/* A directory whose chain never ends is not read for ever. */
static void test_endless_directory(void **state _unused_) {
        struct disk_boot boot = {};
        _cleanup_free_ uint8_t *disk = NULL;
        struct error e = {};
        size_t n;

        disk = read_fixture("fuzz/seeds/disk/gpt", &n);
        for (size_t at = CLUSTERS + 5 * 512; at < CLUSTERS + 6 * 512; at++) /* /EFI: full of deleted entries */
                disk[at] = 0xe5;
        put(disk, TABLE + 7 * 3 / 2, (disk[TABLE + 10] & 0xf) | 7 << 4, 2);
        assert_refused(find(disk, n, &boot, &e), &e, FAILURE_UKI, "never ends");
}

/* Entries that share clusters could otherwise make a small disk fill the memory. */
static void test_files_that_overlap(void **state _unused_) {
        _cleanup_free_ uint8_t *disk = NULL;
        struct error e = {};
        size_t n;

        disk = read_fixture("fuzz/seeds/disk/gpt", &n);
        put(disk, TABLE + 3, 0xf002, 2); /* the image's cluster is followed by itself */
        for (uint64_t addon = 5; addon <= 6; addon++) {
                _cleanup_disk_boot_ struct disk_boot boot = {};

                put(disk, ADDON_DIRECTORY + 32 + 28, addon, 4);
                put(disk, BOOT_DIRECTORY + 28, VOLUME_ROOM - 5, 4);
                if (addon == 5)
                        assert_ok(find(disk, n, &boot, &e), &e);
                else
                        assert_refused(find(disk, n, &boot, &e), &e, FAILURE_UKI, "are together larger");
        }
        put(disk, BOOT_DIRECTORY + 28, 702, 4);
        put(disk, ADDON_DIRECTORY + 32 + 28, VOLUME_ROOM, 4);
        assert_refused(find(disk, n, &(struct disk_boot) {}, &e), &e, FAILURE_UKI, "are together larger");
}

/* What the stub would measure and we do not predict. */
static void test_companions(void **state _unused_) {
        _cleanup_free_ uint8_t *disk = NULL;
        struct error e = {};
        size_t n;

        disk = read_fixture("fuzz/seeds/disk/gpt", &n);
        for (size_t i = 0; i < 3; i++) /* a.addon.efi becomes a.addon.raw */
                disk[ADDON_DIRECTORY + 20 + 2 * i] = (uint8_t) "Raw"[i];
        assert_refused(find(disk, n, &(struct disk_boot) {}, &e), &e, FAILURE_UKI, "is not predicted");
        assert_string_equal(e.subject, "disk:/EFI/BOOT/BOOTX64.EFI.extra.d/a.addon.Raw");
}

static void test_two_system_partitions(void **state _unused_) {
        struct disk_boot boot = {};
        _cleanup_free_ uint8_t *disk = NULL;
        struct error e = {};
        size_t n;

        disk = read_fixture("fuzz/seeds/disk/gpt", &n);
        memcpy(disk + GPT_ENTRY + 128, disk + GPT_ENTRY, 128);
        repair(disk);
        assert_refused(find(disk, n, &boot, &e), &e, FAILURE_UKI, "two EFI system partitions");
}

static void test_truncation(void **state _unused_) {
        _cleanup_free_ uint8_t *disk = NULL;
        size_t n;

        disk = read_fixture("fuzz/seeds/disk/gpt", &n);
        for (size_t i = 0; i < n - 512; i += 16) { /* what lies behind the partition is not read */
                _cleanup_free_ uint8_t *exact = malloc(i + 1);
                struct disk_boot boot = {};
                struct error e = {};

                memcpy(exact, disk, i);
                assert_true(find(exact, i, &boot, &e) < 0);
                assert_int_equal(e.failure, FAILURE_UKI);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_finds),
                cmocka_unit_test(test_refuses),
                cmocka_unit_test(test_endless_directory),
                cmocka_unit_test(test_files_that_overlap),
                cmocka_unit_test(test_companions),
                cmocka_unit_test(test_two_system_partitions),
                cmocka_unit_test(test_truncation),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
