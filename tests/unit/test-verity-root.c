/* SPDX-License-Identifier: Apache-2.0 */

/* machine/verity-root: what the first process of the initrd takes for its root. (Opening it takes a kernel: tests/vm.)
 */

#include <fcntl.h>
#include <sys/stat.h>

#include "machine/module-name.h"
#include "machine/verity-root.h"
#include "unit.h"

#define TABLE "1 @ @ 4096 4096 16 17 sha256 aa bb 1 panic_on_corruption"

struct files {
        char directory[64], description[96], superblock[96], device[96];
};

static void write_file(const char *path, const void *data, size_t n) {
        FILE *f = fopen(path, "we");

        assert_non_null(f);
        assert_int_equal(fwrite(data, 1, n, f), n);
        assert_int_equal(fclose(f), 0);
}

static void setup(struct files *f, const char *text, size_t superblock_size) {
        uint8_t block[VERITY_SUPERBLOCK_SIZE + 1] = "verity\0\0";

        strcpy(f->directory, "/tmp/verity-root-XXXXXX");
        assert_non_null(mkdtemp(f->directory));
        snprintf(f->description, sizeof f->description, "%s/root.verity", f->directory);
        snprintf(f->superblock, sizeof f->superblock, "%s/root.superblock", f->directory);
        snprintf(f->device, sizeof f->device, "%s/device", f->directory);
        for (size_t i = 8; i < sizeof block; i++)
                block[i] = (uint8_t) i;
        write_file(f->description, text, strlen(text));
        write_file(f->superblock, block, superblock_size);
}

static void teardown(struct files *f) {
        unlink(f->description);
        unlink(f->superblock);
        unlink(f->device);
        rmdir(f->directory);
}

static void reads_what_the_build_writes(void **state) {
        _cleanup_(verity_root_done) struct verity_root v = { 0 };
        char table[128], small[40];
        struct files f;

        (void) state;
        setup(&f, "65536\n" TABLE "\n", VERITY_SUPERBLOCK_SIZE);
        assert_int_equal(verity_root_read(&v, f.description, f.superblock), 0);
        assert_int_equal(v.offset, 65536);
        assert_int_equal(v.sectors, 16 * 8);
        assert_int_equal(verity_root_table(&v, 254, 2, table, sizeof table), 0);
        assert_string_equal(table, "1 254:2 254:2 4096 4096 16 17 sha256 aa bb 1 panic_on_corruption");
        assert_int_equal(verity_root_table(&v, 254, 2, small, sizeof small), -ENOBUFS);
        assert_int_equal(verity_root_table(&v, 254, 2, table,
                                           strlen("1 254:2 254:2 4096 4096 16 17 sha256 aa bb 1 panic_on_corruption")),
                         -ENOBUFS);
        teardown(&f);
}

static void refuses_what_the_build_does_not_write(void **state) {
        static const char *const bad[] = {
                "",
                "\n",
                "65536\n",
                "65536",
                "65536\n\n",
                "x\n" TABLE "\n",
                "-1\n" TABLE "\n",
                "+1\n" TABLE "\n",
                " 1\n" TABLE "\n",
                "99999999999999999999999\n" TABLE "\n",
                "65536\n" TABLE,
                "65536\n" TABLE "\nmore\n",
                "65536 \n" TABLE "\n",
                "65536\n1 8:1 8:1 4096 4096 16 17 sha256 aa bb 0\n",
                "65536\n1 @ @ 4096 4096 0 17 sha256 aa bb\n",
                "65536\n1 @ @ 100 4096 16 17 sha256 aa bb\n",
                "65536\n1 @ @ 0 4096 16 17 sha256 aa bb\n",
                "65536\n1 @ @ 131072 4096 16 17 sha256 aa bb\n",
                "65536\n1 @ @ 4096 4096 18446744073709551615 17 sha256 aa bb\n",
                "65536\n1 @ @ 4096 4096 16\n",
                "65536\n0 @ @ 4096 4096 16 17 sha256 aa bb\n",
        };

        (void) state;
        for (size_t i = 0; i < ELEMENTS(bad); i++) {
                struct verity_root v = { 0 };
                struct files f;

                setup(&f, bad[i], VERITY_SUPERBLOCK_SIZE);
                assert_int_equal(verity_root_read(&v, f.description, f.superblock), -EBADMSG);
                assert_null(v.table);
                teardown(&f);
        }
}

static void refuses_another_superblock(void **state) {
        char longer[2048];
        struct verity_root v = { 0 };
        struct files f;

        (void) state;
        setup(&f, "65536\n" TABLE "\n", VERITY_SUPERBLOCK_SIZE - 1);
        assert_int_equal(verity_root_read(&v, f.description, f.superblock), -EBADMSG);
        write_file(f.superblock, longer, 0);
        assert_int_equal(verity_root_read(&v, f.description, f.superblock), -EBADMSG);
        memset(longer, 'x', sizeof longer);
        write_file(f.superblock, longer, VERITY_SUPERBLOCK_SIZE);
        assert_int_equal(verity_root_read(&v, f.description, f.superblock), -EBADMSG);
        teardown(&f);
        /* a table that is cut at the buffer's end has no newline there */
        setup(&f, "65536\n" TABLE, VERITY_SUPERBLOCK_SIZE);
        memcpy(longer, "65536\n" TABLE, strlen("65536\n" TABLE));
        longer[sizeof longer - 1] = '\n';
        write_file(f.description, longer, sizeof longer);
        assert_int_equal(verity_root_read(&v, f.description, f.superblock), -EBADMSG);
        unlink(f.superblock);
        assert_int_equal(verity_root_read(&v, f.description, f.superblock), -ENOENT);
        teardown(&f);
}

static void knows_its_root_by_every_byte_of_the_superblock(void **state) {
        _cleanup_(verity_root_done) struct verity_root v = { 0 };
        uint8_t disk[1536] = { 0 };
        char mapped[32];
        struct files f;

        (void) state;
        setup(&f, "1024\n" TABLE "\n", VERITY_SUPERBLOCK_SIZE);
        assert_int_equal(verity_root_read(&v, f.description, f.superblock), 0);
        assert_false(verity_root_is(&v, f.device)); /* is not there */
        memcpy(disk + 1024, v.superblock, sizeof v.superblock);
        write_file(f.device, disk, sizeof disk);
        assert_true(verity_root_is(&v, f.device));
        for (size_t i = 0; i < sizeof v.superblock; i++) {
                disk[1024 + i] ^= 1;
                write_file(f.device, disk, sizeof disk);
                assert_false(verity_root_is(&v, f.device));
                disk[1024 + i] ^= 1;
        }
        write_file(f.device, disk, sizeof disk - 1); /* cut */
        assert_false(verity_root_is(&v, f.device));
        assert_int_equal(verity_root_open(&v, f.device, mapped, sizeof mapped), -ENOTBLK);
        teardown(&f);
}

static void loads_what_the_build_named_alone(void **state) {
        static const char *const modules[] = { "00-nvme.ko", "10-dm-verity.ko", "99-x.ko" };
        static const char *const others[] = { "",          ".",           "..",     "x.raw",  "00-x.raw",
                                              "00-x.cred", "00-x.ko.raw", "00-.ko", "0-x.ko", "000-x.ko",
                                              "x.ko",      "-00-x.ko",    "00x.ko", "00-x",   "00-x.kO" };

        (void) state;
        for (size_t i = 0; i < ELEMENTS(modules); i++)
                assert_true(is_module_name(modules[i]));
        for (size_t i = 0; i < ELEMENTS(others); i++)
                assert_false(is_module_name(others[i]));
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(reads_what_the_build_writes),
                cmocka_unit_test(loads_what_the_build_named_alone),
                cmocka_unit_test(refuses_what_the_build_does_not_write),
                cmocka_unit_test(refuses_another_superblock),
                cmocka_unit_test(knows_its_root_by_every_byte_of_the_superblock),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
