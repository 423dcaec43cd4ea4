/* SPDX-License-Identifier: Apache-2.0 */

/* What a model takes up, what limits it, and the words of each limit. */

#include "unit.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "pipeline/room.h"
#include "tree.h"

static void test_taken(void **state) {
        static const struct {
                uint64_t unit, size, taken;
        } table[] = {
                { 4096, 0, 0 },       { 4096, 1, 4096 },           { 4096, 4096, 4096 },
                { 4096, 4097, 8192 }, { 2 << 20, 60000, 2 << 20 }, { 65536, 65537, 131072 },
                { 0, 12345, 12345 },  { 1, 12345, 12345 },         { 4096, UINT64_MAX, UINT64_MAX },
        };

        (void) state;
        for (size_t i = 0; i < ELEMENTS(table); i++)
                assert_int_equal(room_taken(table[i].unit, table[i].size), table[i].taken);
}

static struct model *model_of(const char *const paths[], size_t n, uint64_t size) {
        struct model *m = NULL;
        struct error e = {};

        assert_ok(model_new(&m, &e), &e);
        for (size_t i = 0; i < n; i++)
                assert_ok(model_add(m, "test", paths[i], NULL, size, NULL, &e), &e);
        assert_ok(model_sort(m, "test", &e), &e);
        return m;
}

static void test_directories(void **state) {
        static const struct {
                const char *paths[6];
                size_t n, directories;
        } table[] = {
                { { "a" }, 1, 0 },
                { { "a/b" }, 1, 1 },
                { { "a/b/c/d" }, 1, 3 },
                { { "a/b", "a/c" }, 2, 1 },
                { { "a/b", "b/b", "c" }, 3, 2 },
                { { "a/b", "a.b", "a/c", "a-b/c", "a0" }, 5, 2 },
                { { "a/b/c", "a/b.c", "a/b-c/d", "ab/b/c", "a/bc" }, 5, 5 },
        };

        (void) state;
        for (size_t i = 0; i < ELEMENTS(table); i++) {
                _cleanup_model_ struct model *m = model_of(table[i].paths, table[i].n, 1);

                assert_int_equal(model_directories(m), table[i].directories);
        }
}

static void test_check(void **state) {
        static const char *const paths[] = { "a", "d/b", "d/c" };
        /* clang-format off */
        static const struct {
                struct room room;
                uint64_t size;
                const char *words, *advice; /* NULL: it fits */
        } table[] = {
                { { 12288, 4096, 4, 1 << 20, "x" }, 1, NULL, NULL },
                { { 12287, 4096, 4, 1 << 20, "x" }, 1,
                  "takes up 12288, and there is room for 12287: the limit is the tmpfs (size=)", NULL },
                { { 12288, 4096, 4, 1 << 20, "x" }, 4097, "has 12291 bytes and takes up 24576", NULL },
                { { 12288, 4096, 3, 1 << 20, "x" }, 1,
                  "3 files in 1 directories, and the tmpfs takes 3 more of both (nr_inodes=)", "nr_inodes=" },
                { { UINT64_MAX, 4096, UINT64_MAX, UINT64_MAX, "x" }, INT64_MAX / 3, NULL, NULL },
                /* What the kernel keeps of each file counts, too. */
                { { 1 << 20, 4096, 99, 12288, "the machine's memory (MemAvailable)" }, 1,
                  "the limit is the machine's memory (MemAvailable)", NULL },
                { { 1 << 20, 4096, 99, 12288 + 4096, "x" }, 1, NULL, NULL },
                { { 1 << 20, 4096, 99, 8192, "MemoryMax= of sealboot-agent.service" }, 1,
                  "room for 8192: the limit is MemoryMax= of sealboot-agent.service",
                  "raise MemoryMax= of sealboot-agent.service" },
                { { 1 << 20, 2 << 20, 99, UINT64_MAX, "x" }, 1, "has 3 bytes and takes up 6291456",
                  "huge=within_size" },
        };
        /* clang-format on */

        (void) state;
        for (size_t i = 0; i < ELEMENTS(table); i++) {
                _cleanup_model_ struct model *m = model_of(paths, ELEMENTS(paths), table[i].size);
                struct error e = {};

                if (!table[i].words)
                        assert_ok(room_check(&table[i].room, m, "s3://b/m/", &e), &e);
                else
                        assert_refused(room_check(&table[i].room, m, "s3://b/m/", &e), &e, FAILURE_SPACE,
                                       table[i].words);
                if (table[i].advice)
                        assert_non_null(strstr(e.advice, table[i].advice));
        }
}

/* Models of several inputs share the room, and are looked at one after another. */
static void test_take(void **state) {
        static const char *const paths[] = { "a", "d/b", "d/c" };
        struct room room = { 20480, 4096, 9, 20480 + 2 * 4096, "x" };
        _cleanup_model_ struct model *m = model_of(paths, ELEMENTS(paths), 1);
        struct room endless = { UINT64_MAX, 4096, UINT64_MAX, UINT64_MAX, "x" };
        struct error e = {};

        (void) state;
        assert_ok(room_check(&room, m, "s3://b/m/", &e), &e);
        room_take(&room, m);
        assert_true(room.size == 8192 && room.inodes == 5 && room.memory == 12288);
        assert_refused(room_check(&room, m, "s3://b/n/", &e), &e, FAILURE_SPACE, "there is room for 8192");
        room_take(&endless, m);
        assert_true(endless.size == UINT64_MAX && endless.inodes == UINT64_MAX && endless.memory == UINT64_MAX);
}

/* ---- control groups, as cgroup2 shows them */

static void test_cgroup(void **state) {
        char root[] = "/tmp/sealboot-room-XXXXXX", path[512], name[64] = "none";
        static const char *const directories[] = { "system.slice", "system.slice/agent.service", "free.slice" };

        (void) state;
        assert_non_null(mkdtemp(root));
        for (size_t i = 0; i < ELEMENTS(directories); i++) {
                snprintf(path, sizeof path, "%s/%s", root, directories[i]);
                assert_int_equal(mkdir(path, 0755), 0);
        }
        tree_write(root, "system.slice/memory.max", "1000000\n");
        tree_write(root, "system.slice/memory.current", "400000\n");
        tree_write(root, "system.slice/memory.stat",
                   "anon 100000\nfile 300000\nkernel 0\nshmem 200000\nfile_mapped 5\n");
        tree_write(root, "system.slice/agent.service/memory.max", "max\n");
        tree_write(root, "system.slice/agent.service/memory.current", "300000\n");
        tree_write(root, "free.slice/memory.max", "max\n");
        tree_write(root, "free.slice/memory.current", "1\n");

        /* The slice's limit counts for the service: less what is used, but for what the kernel can give back. */
        assert_int_equal(room_of_cgroup(root, "0::/system.slice/agent.service\n", name, sizeof name), 700000);
        assert_string_equal(name, "system.slice");
        tree_write(root, "system.slice/agent.service/memory.max", "350000\n");
        assert_int_equal(room_of_cgroup(root, "1:cpu:/x\n0::/system.slice/agent.service\n", name, sizeof name), 50000);
        assert_string_equal(name, "agent.service");
        tree_write(root, "system.slice/agent.service/memory.current", "350001\n");
        assert_int_equal(room_of_cgroup(root, "0::/system.slice/agent.service", name, sizeof name), 0);

        snprintf(name, sizeof name, "none");
        assert_true(room_of_cgroup(root, "0::/free.slice\n", name, sizeof name) == UINT64_MAX);
        assert_true(room_of_cgroup(root, "0::/\n", name, sizeof name) == UINT64_MAX);
        assert_true(room_of_cgroup(root, "0::/not/there\n", name, sizeof name) == UINT64_MAX);
        assert_true(room_of_cgroup(root, "0::/../system.slice\n", name, sizeof name) == UINT64_MAX);
        assert_true(room_of_cgroup(root, "4:memory:/system.slice\n", name, sizeof name) == UINT64_MAX);
        assert_true(room_of_cgroup(root, "", name, sizeof name) == UINT64_MAX);
        assert_string_equal(name, "none");
        tree_remove(root);
}

/* ---- refusals that come all the same */

static void test_refused(void **state) {
        _cleanup_close_ int fd = open("/dev/shm", O_RDONLY | O_DIRECTORY | O_CLOEXEC), disk = -1;
        static const struct {
                int error;
                const char *words;
        } table[] = {
                { ENOMEM, "no memory left, of the machine or of a control group (MemoryMax=)" },
                { EDQUOT, "the quota of the tmpfs is used up" },
                { ENOSPC, "vm.overcommit_memory=2" }, /* there is room there */
        };
        struct error e = {};

        (void) state;
        for (size_t i = 0; i < ELEMENTS(table); i++) {
                assert_refused(room_refused(fd, table[i].error, "s3://b/k",
                                            "it cannot be written to the directory of the model", &e),
                               &e, FAILURE_SPACE, table[i].words);
                assert_string_equal(e.subject, "s3://b/k");
        }
        e = (struct error) {};
        assert_int_equal(room_refused(fd, EIO, "s3://b/k", "write", &e), 0);
        assert_int_equal(e.failure, FAILURE_NONE);
        /* An owner unseals onto a disk: no word of mount options. */
        disk = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        assert_refused(room_refused(disk, ENOSPC, "s3://b/k", "it cannot be written there", &e), &e, FAILURE_SPACE,
                       "it cannot be written there: No space left on device");
        assert_non_null(strstr(e.advice, "Make room on the file system"));
}

/* A tmpfs of our own, filled: first its inodes, then its pages. */
static void test_full_tmpfs(void **state) {
        char place[] = "/tmp/sealboot-room-XXXXXX", path[64], page[4096] = { 0 };
        _cleanup_close_ int file = -1, directory = -1;
        struct error e = {};
        struct room room;

        (void) state;
        if (geteuid() != 0 || unshare(CLONE_NEWNS) < 0 || mount("none", "/", "none", MS_REC | MS_PRIVATE, NULL) < 0)
                skip();
        assert_non_null(mkdtemp(place));
        if (mount("tmpfs", place, "tmpfs", 0, "size=64k,nr_inodes=3") < 0)
                skip();
        directory = open(place, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        assert_ok(room_measure(directory, place, &room, &e), &e);
        assert_int_equal(room.size, 65536);
        assert_int_equal(room.unit, 4096);
        assert_int_equal(room.inodes, 2);
        assert_true(room.memory > 65536);
        for (unsigned i = 0; i < 2; i++) {
                snprintf(path, sizeof path, "%s/%u", place, i);
                closep(&file);
                file = open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);
                assert_true(file >= 0);
        }
        snprintf(path, sizeof path, "%s/2", place);
        assert_int_equal(open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600), -1);
        assert_refused(room_refused(directory, errno, "s3://b/k", "make a file", &e), &e, FAILURE_SPACE,
                       "(nr_inodes=)");
        assert_refused(room_measure(directory, place, &room, &e), &e, FAILURE_SPACE, "(nr_inodes=)");
        snprintf(path, sizeof path, "%s/0", place);
        assert_int_equal(unlink(path), 0);
        while (write(file, page, sizeof page) == (ssize_t) sizeof page)
                ;
        assert_refused(room_refused(file, errno, "s3://b/k", "write", &e), &e, FAILURE_SPACE,
                       "the tmpfs is full (size=)");
        assert_ok(room_measure(directory, place, &room, &e), &e);
        assert_int_equal(room.size, 0);
        assert_string_equal(room_limit(&room), "the tmpfs (size=)");
        closep(&file);
        file = -1;
        umount2(place, MNT_DETACH);
        rmdir(place);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_taken),      cmocka_unit_test(test_directories), cmocka_unit_test(test_check),
                cmocka_unit_test(test_take),       cmocka_unit_test(test_cgroup),      cmocka_unit_test(test_refused),
                cmocka_unit_test(test_full_tmpfs),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
