/* SPDX-License-Identifier: Apache-2.0 */

/* The model directory: nothing is visible before it is published, and nothing is left behind. */

#include "unit.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "handoff/directory.h"
#include "tree.h"

struct place {
        char root[32]; /* the model directory, on a tmpfs */
};

static int set_up(void **state) {
        struct place *p = calloc(1, sizeof *p);

        assert_non_null(p);
        snprintf(p->root, sizeof p->root, "/dev/shm/test-handoff.XXXXXX");
        assert_non_null(mkdtemp(p->root));
        *state = p;
        return 0;
}

static int tear_down(void **state) {
        struct place *p = *state;

        tree_remove(p->root);
        free(p);
        return 0;
}

static struct stat look(const struct place *p, const char *name) {
        _cleanup_free_ char *path = NULL;
        struct stat st = {};

        assert_true(asprintf(&path, "%s/%s", p->root, name) > 0);
        if (lstat(path, &st) < 0)
                assert_int_equal(errno, ENOENT);
        return st; /* st_mode is 0 if there is nothing */
}

#define assert_mode(p, name, mode) assert_int_equal(look(p, name).st_mode, mode)
#define assert_gone(p, name) assert_mode(p, name, 0)

static void make_directory(const struct place *p, const char *name, mode_t mode) {
        _cleanup_free_ char *path = NULL;

        assert_true(asprintf(&path, "%s/%s", p->root, name) > 0);
        assert_int_equal(mkdir(path, mode), 0);
}

static size_t count_entries(const struct place *p) {
        _cleanup_closedir_ DIR *d = opendir(p->root);
        size_t n = 0;

        assert_non_null(d);
        while (readdir(d))
                n++;
        return n - 2;
}

static struct handoff *begin(const struct place *p) {
        struct handoff *h = NULL;
        struct error e = {};

        assert_ok(handoff_new(p->root, &h, &e), &e);
        return h;
}

/* As the pipeline makes a file. */
static void unseal_file(const struct handoff *h, const char *name) {
        _cleanup_close_ int fd = openat(handoff_private_fd(h), name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

        assert_true(fd >= 0);
        assert_int_equal(write_all(fd, name, strlen(name)), 0);
}

static void test_publish(void **state) {
        struct place *p = *state;
        _cleanup_(handoff_freep) struct handoff *h = NULL;
        mode_t before = umask(077); /* takes the group's rights away from everything that is made */
        _cleanup_free_ char *path = NULL;
        const char *published = NULL;
        struct error e = {};

        h = begin(p);
        assert_mode(p, ".unsealing", S_IFDIR | 0700);
        assert_mode(p, ".publishing", S_IFDIR | 0700);
        unseal_file(h, "0");
        unseal_file(h, "1");
        assert_ok(handoff_place(h, "0", "model.gguf", &e), &e);
        assert_ok(handoff_place(h, "1", "a/b/c", &e), &e);
        assert_gone(p, HANDOFF_PUBLISHED);
        assert_mode(p, ".publishing", S_IFDIR | 0700);
        assert_ok(handoff_publish(h, &published, &e), &e);
        umask(before);

        assert_true(asprintf(&path, "%s/" HANDOFF_PUBLISHED, p->root) > 0);
        assert_string_equal(published, path);
        assert_mode(p, HANDOFF_PUBLISHED, S_IFDIR | 0750);
        assert_mode(p, HANDOFF_PUBLISHED "/model.gguf", S_IFREG | 0440);
        assert_mode(p, HANDOFF_PUBLISHED "/a", S_IFDIR | 0750);
        assert_mode(p, HANDOFF_PUBLISHED "/a/b", S_IFDIR | 0750);
        assert_mode(p, HANDOFF_PUBLISHED "/a/b/c", S_IFREG | 0440);
        /* The end of the boot removes what is private, and nothing else. */
        handoff_free(TAKE(h));
        assert_int_equal(count_entries(p), 1);
        assert_mode(p, HANDOFF_PUBLISHED "/a/b/c", S_IFREG | 0440);
}

static void test_second_publish_is_refused(void **state) {
        struct place *p = *state;
        _cleanup_(handoff_freep) struct handoff *h = NULL;
        const char *published = NULL;
        struct error e = {};

        h = begin(p);
        unseal_file(h, "0");
        assert_ok(handoff_place(h, "0", "model", &e), &e);
        /* Somebody else has put a directory there since handoff_new() looked. */
        make_directory(p, HANDOFF_PUBLISHED, 0755);
        tree_write(p->root, HANDOFF_PUBLISHED "/theirs", "");
        assert_refused(handoff_publish(h, &published, &e), &e, FAILURE_PUBLISH,
                       "it cannot be published: Directory not empty");
        assert_null(published);
        assert_gone(p, HANDOFF_PUBLISHED "/model");
        handoff_free(TAKE(h));
        assert_int_equal(count_entries(p), 1);
        assert_refused(handoff_new(p->root, &h, &e), &e, FAILURE_PUBLISH, "has a published model already");
        assert_int_equal(count_entries(p), 1);
}

static void test_dangling_link_is_a_published_model(void **state) {
        struct place *p = *state;
        _cleanup_free_ char *path = NULL;
        struct handoff *h = NULL;
        struct error e = {};

        assert_true(asprintf(&path, "%s/" HANDOFF_PUBLISHED, p->root) > 0);
        assert_int_equal(symlink("nowhere", path), 0);
        assert_refused(handoff_new(p->root, &h, &e), &e, FAILURE_PUBLISH, "has a published model already");
}

/* Each way a file cannot get its name. */
static void test_place_refusals(void **state) {
        struct place *p = *state;
        _cleanup_(handoff_freep) struct handoff *h = begin(p);
        _cleanup_free_ char *long_path = calloc(1, 5001);
        struct error e = {};

        assert_non_null(long_path);
        memset(long_path, 'a', 5000);
        unseal_file(h, "0");
        unseal_file(h, "1");
        assert_ok(handoff_place(h, "0", "a", &e), &e);
        assert_refused(handoff_place(h, "1", "a/b", &e), &e, FAILURE_PUBLISH, "Not a directory");
        assert_refused(handoff_place(h, "1", long_path, &e), &e, FAILURE_PUBLISH, "too long");
        memset(long_path, 'a', 300);
        memcpy(long_path + 300, "/b", sizeof "/b");
        assert_refused(handoff_place(h, "1", long_path, &e), &e, FAILURE_PUBLISH, "File name too long");
        assert_refused(handoff_place(h, "2", "b", &e), &e, FAILURE_PUBLISH, "No such file or directory");
        /* A file that was placed stays in its place, and a file that was not stays private. */
        assert_mode(p, ".publishing/a", S_IFREG | 0440);
        assert_mode(p, ".unsealing/1", S_IFREG | 0440);
}

/* What a killed run leaves: trees, and links out of them, which must not be followed. */
static void leave_something(const struct place *p) {
        _cleanup_free_ char *link = NULL;

        make_directory(p, "outside", 0755);
        tree_write(p->root, "outside/precious", "");
        make_directory(p, ".unsealing", 0700);
        tree_write(p->root, ".unsealing/0", "plaintext");
        make_directory(p, ".publishing", 0700);
        make_directory(p, ".publishing/a", 0750);
        make_directory(p, ".publishing/a/b", 0750);
        tree_write(p->root, ".publishing/a/b/c", "plaintext");
        assert_true(asprintf(&link, "%s/.publishing/a/link", p->root) > 0);
        assert_int_equal(symlink("../../outside", link), 0);
}

static void test_new_run_removes_leftovers(void **state) {
        struct place *p = *state;
        _cleanup_(handoff_freep) struct handoff *h = NULL;

        leave_something(p);
        h = begin(p);
        assert_gone(p, ".unsealing/0");
        assert_gone(p, ".publishing/a");
        assert_mode(p, "outside/precious", S_IFREG | 0644);
}

static void test_clean_up(void **state) {
        struct place *p = *state;
        struct error e = {};
        bool found = true;

        assert_ok(handoff_clean_up(p->root, &found, &e), &e);
        assert_false(found);
        leave_something(p);
        make_directory(p, HANDOFF_PUBLISHED, 0750);
        tree_write(p->root, HANDOFF_PUBLISHED "/model", "");
        assert_ok(handoff_clean_up(p->root, &found, &e), &e);
        assert_true(found);
        assert_int_equal(count_entries(p), 2); /* "outside" and what is published */
        assert_mode(p, HANDOFF_PUBLISHED "/model", S_IFREG | 0644);
        assert_mode(p, "outside/precious", S_IFREG | 0644);
        /* A machine that never booted a model has no directory to clean. */
        assert_ok(handoff_clean_up("/dev/shm/there is no such directory", &found, &e), &e);
        assert_false(found);
        assert_refused(handoff_clean_up("/dev/null", &found, &e), &e, FAILURE_PUBLISH, "Not a directory");
}

static void test_link_in_place_of_a_private_directory(void **state) {
        struct place *p = *state;
        _cleanup_(handoff_freep) struct handoff *h = NULL;
        _cleanup_free_ char *link = NULL;

        make_directory(p, "outside", 0755);
        tree_write(p->root, "outside/precious", "");
        assert_true(asprintf(&link, "%s/.unsealing", p->root) > 0);
        assert_int_equal(symlink("outside", link), 0);
        h = begin(p);
        assert_mode(p, ".unsealing", S_IFDIR | 0700);
        unseal_file(h, "0");
        assert_gone(p, "outside/0");
        assert_mode(p, "outside/precious", S_IFREG | 0644);
}

static void test_discard(void **state) {
        struct place *p = *state;
        _cleanup_(handoff_freep) struct handoff *h = begin(p);
        struct error e = {};

        unseal_file(h, "0");
        unseal_file(h, "1");
        assert_ok(handoff_place(h, "0", "a/b", &e), &e);
        handoff_discard(h);
        assert_int_equal(count_entries(p), 0);
        /* A worker that still runs cannot make another file. */
        assert_int_equal(openat(handoff_private_fd(h), "2", O_WRONLY | O_CREAT | O_CLOEXEC, 0600), -1);
        assert_int_equal(errno, ENOENT);
        assert_refused(handoff_place(h, "1", "c", &e), &e, FAILURE_PUBLISH, "No such file or directory");
        handoff_discard(h);
}

static void test_places_that_are_refused(void **state) {
        struct place *p = *state;
        _cleanup_free_ char *file = NULL;
        struct handoff *h = NULL;
        struct error e = {};

        assert_true(asprintf(&file, "%s/file", p->root) > 0);
        tree_write(p->root, "file", "");
        assert_refused(handoff_new("/dev/shm/there is no such directory", &h, &e), &e, FAILURE_PUBLISH,
                       "the model directory cannot be opened: No such file or directory");
        assert_refused(handoff_new(file, &h, &e), &e, FAILURE_PUBLISH, "Not a directory");
        assert_refused(handoff_new("/proc", &h, &e), &e, FAILURE_PUBLISH, "tmpfs");
        assert_string_equal(e.subject, "/proc");
        assert_null(h);
}

/* A directory that another user owns, as its rights say; root, whom no rights hold back, becomes another user. */
static void test_directory_of_another_user(void **state) {
        struct place *p = *state;
        bool root = geteuid() == 0;
        struct handoff *h = NULL;
        struct error e = {};
        bool found;
        int r;

        assert_int_equal(chmod(p->root, 0555), 0);
        if (root && seteuid(65534) < 0)
                skip(); /* a user namespace without that user */
        r = handoff_new(p->root, &h, &e);
        if (root)
                assert_int_equal(seteuid(0), 0);
        assert_refused(r, &e, FAILURE_PUBLISH, ".unsealing cannot be made there: Permission denied");

        assert_int_equal(chmod(p->root, 0755), 0);
        leave_something(p);
        assert_int_equal(chmod(p->root, 0555), 0);
        if (root)
                assert_int_equal(seteuid(65534), 0);
        r = handoff_clean_up(p->root, &found, &e);
        if (root)
                assert_int_equal(seteuid(0), 0);
        assert_int_equal(chmod(p->root, 0755), 0);
        assert_refused(r, &e, FAILURE_PUBLISH, ".unsealing of a killed run cannot be removed");
}

static void test_room(void **state) {
        struct place *p = *state;
        _cleanup_(handoff_freep) struct handoff *h = begin(p);
        struct room room = {};
        struct error e = {};

        assert_ok(handoff_room(h, &room, &e), &e);
        assert_true(room.unit > 0);
        assert_true(room_bytes(&room) > 0);
}

int main(void) {
#define IN_A_PLACE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
        static const struct CMUnitTest tests[] = {
                IN_A_PLACE(test_publish),
                IN_A_PLACE(test_second_publish_is_refused),
                IN_A_PLACE(test_dangling_link_is_a_published_model),
                IN_A_PLACE(test_place_refusals),
                IN_A_PLACE(test_new_run_removes_leftovers),
                IN_A_PLACE(test_clean_up),
                IN_A_PLACE(test_link_in_place_of_a_private_directory),
                IN_A_PLACE(test_discard),
                IN_A_PLACE(test_places_that_are_refused),
                IN_A_PLACE(test_directory_of_another_user),
                IN_A_PLACE(test_room),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
