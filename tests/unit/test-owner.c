/* SPDX-License-Identifier: Apache-2.0 */

/* What an owner's tools do on the owner's machine: places, files that make a model, sealed objects, a directory that a
 * model is opened into, credentials, and work by many threads. */

#include "unit.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>

#include "owner/bookkeeping.h"
#include "owner/environment.h"
#include "owner/landing.h"
#include "owner/parallel.h"
#include "owner/place.h"
#include "owner/sink.h"
#include "owner/source-file.h"
#include "tree.h"

/* An empty directory, which is the working directory until leave(). */
static void enter(char root[static 32]) {
        snprintf(root, 32, "/tmp/sealboot-owner-XXXXXX");
        assert_non_null(mkdtemp(root));
        assert_int_equal(chdir(root), 0);
}

static void leave(const char *root) {
        assert_int_equal(chdir("/"), 0);
        tree_remove(root);
}

static bool is_there(const char *path) {
        return access(path, F_OK) == 0;
}

static void assert_holds(const char *path, const char *text) {
        _cleanup_free_ uint8_t *data = NULL;
        struct error e = {};
        size_t n;

        assert_ok(file_read(path, 4096, FAILURE_IO, &data, &n, &e), &e);
        assert_int_equal(n, strlen(text));
        assert_memory_equal(data, text, n);
}

/* Places */

static void test_places(void **state _unused_) {
        static const struct {
                const char *text, *bucket, *path;
                bool is_model;
        } cases[] = {
                { "s3://bucket", "bucket", "", true },
                { "s3://bucket/", "bucket", "", true },
                { "s3://bucket/a/b/", "bucket", "a/b/", true },
                { "s3://bucket/a/b", "bucket", "a/b", false },
                { "s3://bucket/a b+c%20", "bucket", "a b+c%20", false },
                { "directory", NULL, "directory/", true },
                { "directory/", NULL, "directory/", true },
                { "new/", NULL, "new/", true },
                { "new", NULL, "new", false },
                { "file", NULL, "file", false },
                { "./s3:x", NULL, "./s3:x", false },
                { "/", NULL, "/", true },
        };
        char root[32];

        enter(root);
        assert_int_equal(mkdir("directory", 0777), 0);
        tree_write(root, "file", "x");
        for (size_t i = 0; i < ELEMENTS(cases); i++) {
                _cleanup_place_ struct place p = {};
                struct error e = {};

                assert_ok(place_parse(cases[i].text, &p, &e), &e);
                if (!streq(p.bucket ?: "", cases[i].bucket ?: "") || !streq(p.path, cases[i].path) ||
                    p.is_model != cases[i].is_model)
                        fail_msg("%s: bucket %s, path %s, model %d", cases[i].text, p.bucket ?: "-", p.path,
                                 p.is_model);
        }
        leave(root);
}

static void test_names_that_are_no_place(void **state _unused_) {
        static const struct {
                const char *text, *why;
        } cases[] = {
                { "", "the path is empty" },
                { "s3://", "is not the name of a bucket" },
                { "s3:///key", "is not the name of a bucket" },
                { "s3://UPPER/key", "is not the name of a bucket" },
                { "s3:bucket/key", "is neither s3://BUCKET/... nor a local path" },
                { "S3://bucket/key", "is neither s3://BUCKET/... nor a local path" },
                { "arn:aws:s3:::bucket/key", "is neither s3://BUCKET/... nor a local path" },
                { "https://bucket.s3.amazonaws.com/key", "is neither s3://BUCKET/... nor a local path" },
        };

        for (size_t i = 0; i < ELEMENTS(cases); i++) {
                struct place p = {};
                struct error e = {};

                assert_refused(place_parse(cases[i].text, &p, &e), &e, FAILURE_USAGE, cases[i].why);
                assert_null(p.bucket);
                assert_null(p.path);
        }
}

static void test_names_in_a_place(void **state _unused_) {
        static const struct {
                const char *place, *name, *path, *subject;
        } cases[] = {
                { "s3://bucket/a/", "manifest.sealed", "a/manifest.sealed", "s3://bucket/a/manifest.sealed" },
                { "s3://bucket", "o", "o", "s3://bucket/o" },
                { "s3://bucket/key", NULL, "key", "s3://bucket/key" },
                { "new/", "o", "new/o", "new/o" },
                { "file", NULL, "file", "file" },
        };

        for (size_t i = 0; i < ELEMENTS(cases); i++) {
                _cleanup_free_ char *path = NULL, *subject = NULL;
                _cleanup_place_ struct place p = {};
                struct error e = {};

                assert_ok(place_parse(cases[i].place, &p, &e), &e);
                assert_ok(place_path(&p, cases[i].name, &path, &e), &e);
                assert_ok(place_subject(&p, cases[i].name, &subject, &e), &e);
                assert_string_equal(path, cases[i].path);
                assert_string_equal(subject, cases[i].subject);
        }
}

static void test_reading_a_local_place(void **state _unused_) {
        _cleanup_place_ struct place p = {}, none = {};
        _cleanup_free_ uint8_t *head = NULL, *nothing = NULL;
        struct error e = {};
        uint64_t size;
        char root[32], two[2];
        bool there;
        size_t n;

        enter(root);
        tree_write(root, "object", "0123456789");
        assert_ok(place_parse("object", &p, &e), &e);
        assert_ok(place_read(&p, NULL, NULL, 4, &head, &n, &size, &e), &e);
        assert_int_equal(n, 4);
        assert_int_equal(size, 10);
        assert_memory_equal(head, "0123", 4);
        assert_ok(place_read_at(&p, NULL, NULL, 8, two, 2, &e), &e);
        assert_memory_equal(two, "89", 2);
        assert_refused(place_read_at(&p, NULL, NULL, 9, two, 2, &e), &e, FAILURE_IO, "shorter");
        assert_ok(place_exists(&p, NULL, NULL, &there, &e), &e);
        assert_true(there);
        assert_ok(place_parse("new/", &none, &e), &e);
        assert_ok(place_exists(&none, NULL, "object", &there, &e), &e);
        assert_false(there);
        assert_refused(place_read(&none, NULL, "object", 4, &nothing, &n, &size, &e), &e, FAILURE_IO,
                       "it cannot be opened");
        leave(root);
}

static void test_a_bucket_without_its_scheme(void **state _unused_) {
        static const struct {
                const char *text, *advice; /* "": none */
        } cases[] = {
                { "models/llama", "give it as s3://models/llama" },
                { "./models/llama", "" },
                { "there/llama", "" },
                { "Models/llama", "" },
        };
        char root[32];

        enter(root);
        assert_int_equal(mkdir("there", 0777), 0);
        for (size_t i = 0; i < ELEMENTS(cases); i++) {
                _cleanup_place_ struct place p = {};
                _cleanup_free_ uint8_t *data = NULL;
                struct error e = {};
                uint64_t size;
                size_t n;

                assert_ok(place_parse(cases[i].text, &p, &e), &e);
                assert_true(place_advise(&p, place_read(&p, NULL, NULL, 1, &data, &n, &size, &e), &e) < 0);
                assert_non_null(strstr(e.advice, cases[i].advice));
                assert_int_equal(!e.advice[0], !cases[i].advice[0]);
        }
        leave(root);
}

/* Sources */

static void test_bookkeeping(void **state _unused_) {
        static const char *const yes[] = {
                ".git", "a/b/.git", ".cache/huggingface", "a/.cache/huggingface", "x~",          "a/x.swp",
                "._x",  ".nfs0001", "__pycache__",        "lost+found",           "a/.DS_Store", "._____temp"
        };
        static const char *const no[] = { "model",        ".cache",        "huggingface",       "a.cache/huggingface",
                                          ".cache/other", ".gitlab",       "x.swp.safetensors", ".git/config",
                                          "~x",           "__pycache__.py" };

        for (size_t i = 0; i < ELEMENTS(yes); i++)
                if (!bookkeeping_matches(yes[i]))
                        fail_msg("%s is not bookkeeping", yes[i]);
        for (size_t i = 0; i < ELEMENTS(no); i++)
                if (bookkeeping_matches(no[i]))
                        fail_msg("%s is bookkeeping", no[i]);
}

/* "PATH SIZE " of each file, and "-PATH " of what was left out. */
static void list_source(const struct source *s, char *ret, size_t size) {
        ret[0] = '\0';
        for (size_t i = 0; i < s->model->n_files; i++)
                snprintf(ret + strlen(ret), size - strlen(ret), "%s %llu ", s->model->files[i].path,
                         (unsigned long long) s->model->files[i].size);
        for (size_t i = 0; i < s->n_left_out; i++)
                snprintf(ret + strlen(ret), size - strlen(ret), "-%s ", s->left_out[i]);
}

static void test_scanning(void **state _unused_) {
        static const struct {
                const char *path;
                enum source_links links;
                enum source_files files;
                const char *list;
        } cases[] = {
                { "model", SOURCE_LINKS_INSIDE, SOURCE_FILES_MODEL, "a 1 b/c 2 b/link 1 -.git -b/x~ " },
                { "model//", SOURCE_LINKS_INSIDE, SOURCE_FILES_ALL, ".git/HEAD 3 a 1 b/c 2 b/link 1 b/x~ 0 " },
                { "model/a", SOURCE_LINKS_INSIDE, SOURCE_FILES_MODEL, "a 1 " },
                { "model/b/x~", SOURCE_LINKS_INSIDE, SOURCE_FILES_MODEL, "x~ 0 " },
                { "outside", SOURCE_LINKS_ALL, SOURCE_FILES_MODEL, "out 1 " },
        };
        char root[32];

        enter(root);
        for (const char *const *d =
                     (const char *const[]) { "model", "model/b", "model/.git", "model/empty", "outside", NULL };
             *d; d++)
                assert_int_equal(mkdir(*d, 0777), 0);
        tree_write(root, "model/a", "1");
        tree_write(root, "model/b/c", "22");
        tree_write(root, "model/b/x~", "");
        tree_write(root, "model/.git/HEAD", "333");
        assert_int_equal(symlink("../a", "model/b/link"), 0);
        assert_int_equal(symlink("../model/a", "outside/out"), 0);
        for (size_t i = 0; i < ELEMENTS(cases); i++) {
                _cleanup_source_ struct source *s = NULL;
                struct error e = {};
                char list[512];

                assert_ok(source_scan(cases[i].path, cases[i].links, cases[i].files, &s, &e), &e);
                list_source(s, list, sizeof list);
                if (!streq(list, cases[i].list))
                        fail_msg("%s: [%s]", cases[i].path, list);
        }
        leave(root);
}

static void test_what_is_no_source(void **state _unused_) {
        static const struct {
                const char *path;
                enum source_links links;
                enum source_files files;
                enum failure failure;
                const char *why;
        } cases[] = {
                { "missing", SOURCE_LINKS_ALL, SOURCE_FILES_ALL, FAILURE_IO, "it cannot be read" },
                { "empty", SOURCE_LINKS_ALL, SOURCE_FILES_ALL, FAILURE_IO, "has no file in it" },
                { "clone", SOURCE_LINKS_ALL, SOURCE_FILES_MODEL, FAILURE_IO, "has no file in it but bookkeeping" },
                { "fifo", SOURCE_LINKS_ALL, SOURCE_FILES_ALL, FAILURE_IO, "neither a file nor a directory" },
                { "loop", SOURCE_LINKS_INSIDE, SOURCE_FILES_ALL, FAILURE_IO, "a directory that contains itself" },
                { "dangling", SOURCE_LINKS_INSIDE, SOURCE_FILES_ALL, FAILURE_IO,
                  "the symbolic link cannot be resolved" },
                { "dangling", SOURCE_LINKS_ALL, SOURCE_FILES_ALL, FAILURE_IO, "the symbolic link cannot be followed" },
                { "leads-out", SOURCE_LINKS_INSIDE, SOURCE_FILES_ALL, FAILURE_IO,
                  "leads out of the model's directory" },
                { "unfinished", SOURCE_LINKS_ALL, SOURCE_FILES_MODEL, FAILURE_IO, "a download keeps until" },
                { "pointer", SOURCE_LINKS_ALL, SOURCE_FILES_MODEL, FAILURE_IO, "is a pointer of Git LFS" },
                { "pointer/weights", SOURCE_LINKS_ALL, SOURCE_FILES_MODEL, FAILURE_IO, "is a pointer of Git LFS" },
                { "cache", SOURCE_LINKS_ALL, SOURCE_FILES_MODEL, FAILURE_IO, "has each file twice" },
                { "latin", SOURCE_LINKS_ALL, SOURCE_FILES_ALL, FAILURE_MANIFEST, "is not UTF-8" },
        };
        static const char *const directories[] = {
                "empty",      "clone",           "clone/.git", "special",     "loop",
                "loop/below", "dangling",        "leads-out",  "unfinished",  "pointer",
                "cache",      "cache/snapshots", "cache/refs", "cache/blobs", "latin",
        };
        char root[32];

        enter(root);
        for (size_t i = 0; i < ELEMENTS(directories); i++)
                assert_int_equal(mkdir(directories[i], 0777), 0);
        tree_write(root, "clone/.git/HEAD", "x");
        tree_write(root, "unfinished/a.incomplete", "x");
        tree_write(root, "pointer/weights", "version https://git-lfs.github.com/spec/v1\noid sha256:0\n");
        tree_write(root, "cache/blobs/x", "x");
        tree_write(root, "latin/\xe9", "x");
        assert_int_equal(mkfifo("fifo", 0600), 0);
        assert_int_equal(symlink("../below", "loop/below/again"), 0);
        assert_int_equal(symlink("nowhere", "dangling/link"), 0);
        assert_int_equal(symlink("../clone", "leads-out/link"), 0);
        for (size_t i = 0; i < ELEMENTS(cases); i++) {
                struct source *s = NULL;
                struct error e = {};

                assert_refused(source_scan(cases[i].path, cases[i].links, cases[i].files, &s, &e), &e, cases[i].failure,
                               cases[i].why);
                assert_null(s);
        }
        leave(root);
}

/* Sinks */

static void test_objects_are_whole_or_not_there(void **state _unused_) {
        _cleanup_(sink_freep) struct sink *sink = NULL;
        _cleanup_place_ struct place p = {};
        struct sink_object *o = NULL;
        struct error e = {};
        struct stat st;
        char root[32];

        enter(root);
        assert_ok(place_parse("new/", &p, &e), &e);
        assert_ok(sink_new(&p, NULL, &sink, &e), &e);
        assert_ok(sink_put(sink, "small", "abc", 3, &e), &e);
        assert_holds("new/small", "abc");
        assert_ok(sink_begin(sink, "large", 6, &o, &e), &e);
        assert_ok(sink_part(o, 2, 3, "def", 3, &e), &e);
        assert_ok(sink_part(o, 1, 0, "abc", 3, &e), &e);
        assert_false(is_there("new/large"));
        assert_ok(sink_complete(o, &e), &e);
        sink_object_free(o);
        assert_holds("new/large", "abcdef");
        assert_int_equal(stat("new/large", &st), 0);
        assert_int_equal(st.st_mode & 0777, 0644);
        assert_ok(sink_begin(sink, "given up", 1, &o, &e), &e);
        sink_object_free(o);
        assert_ok(sink_remove(sink, "small", &e), &e);
        assert_ok(sink_remove(sink, "small", &e), &e);
        assert_ok(sink_remove(sink, "large", &e), &e);
        /* Nothing is left in the directory, so the sink removes what it made. */
        sink_free(TAKE(sink));
        assert_false(is_there("new"));
        leave(root);
}

static void test_a_directory_that_was_there_stays(void **state _unused_) {
        struct place p = {}, below = {};
        struct sink *sink = NULL;
        struct error e = {};
        char root[32];

        enter(root);
        assert_int_equal(mkdir("old", 0777), 0);
        assert_ok(place_parse("old", &p, &e), &e);
        assert_ok(sink_new(&p, NULL, &sink, &e), &e);
        sink_free(sink);
        assert_true(is_there("old"));
        assert_ok(place_parse("missing/new/", &below, &e), &e);
        assert_refused(sink_new(&below, NULL, &sink, &e), &e, FAILURE_IO, "the directory cannot be made");
        place_done(&p);
        place_done(&below);
        leave(root);
}

/* Landings */

static void land(const char *destination, struct landing **ret) {
        struct error e = {};
        int fd;

        assert_ok(landing_new(destination, ret, &e), &e);
        fd = openat(landing_private_fd(*ret), "0", O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
        assert_int_equal(write(fd, "abc", 3), 3);
        close(fd);
}

static void test_a_model_lands_in_one_step(void **state _unused_) {
        static const char *const destinations[] = { "new", "new//", "empty" };
        char root[32];

        enter(root);
        for (size_t i = 0; i < ELEMENTS(destinations); i++) {
                struct landing *l = NULL;
                struct error e = {};
                struct stat st;
                uint64_t room;
                char path[64];

                assert_int_equal(mkdir("empty", 0777), 0);
                snprintf(path, sizeof path, "%s/a/b/weights", destinations[i]);
                land(destinations[i], &l);
                assert_ok(landing_room(l, &room, &e), &e);
                assert_true(room > 0);
                assert_ok(landing_place(l, "0", "a/b/weights", &e), &e);
                assert_false(is_there(path));
                assert_ok(landing_publish(l, &e), &e);
                landing_free(l);
                assert_holds(path, "abc");
                assert_int_equal(stat(path, &st), 0);
                assert_int_equal(st.st_mode & 0777, 0644);
                leave(root);
                assert_int_equal(mkdir(root, 0700), 0);
                assert_int_equal(chdir(root), 0);
        }
        leave(root);
}

static void test_what_does_not_land_is_removed(void **state _unused_) {
        struct landing *l = NULL;
        struct error e = {};
        char root[32];

        enter(root);
        land("new", &l);
        assert_ok(landing_place(l, "0", "a/weights", &e), &e);
        landing_free(l);
        assert_false(is_there("new"));
        /* Neither is its directory: rmdir() refuses one that is not empty. */
        assert_int_equal(chdir("/"), 0);
        assert_int_equal(rmdir(root), 0);
}

static void test_destinations_that_are_taken(void **state _unused_) {
        struct landing *l = NULL;
        struct error e = {};
        char root[32];

        enter(root);
        assert_int_equal(mkdir("full", 0777), 0);
        tree_write(root, "full/x", "x");
        assert_refused(landing_new("full", &l, &e), &e, FAILURE_PUBLISH, "exists, and is not");
        assert_refused(landing_new("full/x", &l, &e), &e, FAILURE_PUBLISH, "exists, and is not");
        assert_refused(landing_new("missing/new", &l, &e), &e, FAILURE_IO, "beside it");
        /* A directory that is filled meanwhile is not replaced. */
        land("raced", &l);
        assert_int_equal(mkdir("raced", 0777), 0);
        tree_write(root, "raced/x", "theirs");
        assert_ok(landing_place(l, "0", "x", &e), &e);
        assert_refused(landing_publish(l, &e), &e, FAILURE_PUBLISH, "the model cannot be moved to its place");
        landing_free(l);
        assert_holds("raced/x", "theirs");
        leave(root);
}

/* Credentials */

static void clear_environment(void) {
        static const char *const names[] = { "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY",       "AWS_SESSION_TOKEN",
                                             "AWS_PROFILE",       "AWS_SHARED_CREDENTIALS_FILE", "HOME" };

        for (size_t i = 0; i < ELEMENTS(names); i++)
                unsetenv(names[i]);
}

static void test_environment(void **state _unused_) {
        _cleanup_(credential_source_freep) struct credential_source *source = NULL;
        _cleanup_credentials_ struct credentials *c = NULL;
        struct error e = {};

        clear_environment();
        assert_refused(credentials_from_environment(&source, &e), &e, FAILURE_CREDENTIALS, "HOME is not either");
        setenv("AWS_ACCESS_KEY_ID", "AKID", 1);
        assert_refused(credentials_from_environment(&source, &e), &e, FAILURE_CREDENTIALS,
                       "AWS_SECRET_ACCESS_KEY is not");
        setenv("AWS_SECRET_ACCESS_KEY", "key", 1);
        setenv("AWS_SESSION_TOKEN", "", 1);
        assert_ok(credentials_from_environment(&source, &e), &e);
        assert_ok(credentials_get(source, false, &c, &e), &e);
        assert_string_equal(c->access_key_id, "AKID");
        /* There are no others: asking again and again cannot help. */
        assert_int_equal(credentials_get(source, true, &c, &e), -EKEYEXPIRED);
        assert_null(c->session_token);
        clear_environment();
}

static void test_profile(void **state _unused_) {
        static const char text[] =
                "# comment = x\n[default]\naws_access_key_id=AKDEFAULT\naws_secret_access_key = s1\n\n"
                "[ work ]\r\naws_access_key_id = AKWORK\r\n  aws_secret_access_key =  s/2=+ \r\naws_session_token = "
                "tok\r\n"
                "[sso]\nsso_session = corp\n"
                "[bare]\naws_access_key_id = AKBARE\naws_secret_access_key = s3\naws_session_token =\n"
                "[hollow]\naws_access_key_id =\naws_secret_access_key = \t\r\n";
        _cleanup_(credential_source_freep) struct credential_source *source = NULL, *other = NULL, *third = NULL;
        _cleanup_credentials_ struct credentials *a = NULL, *b = NULL, *c = NULL;
        struct credential_source *none = NULL;
        struct error e = {};
        char path[] = "/tmp/sealboot-credentials-XXXXXX";
        int fd = mkstemp(path);

        clear_environment();
        assert_true(write(fd, text, strlen(text)) == (ssize_t) strlen(text));
        close(fd);
        setenv("AWS_SHARED_CREDENTIALS_FILE", path, 1);
        assert_ok(credentials_from_environment(&source, &e), &e);
        assert_ok(credentials_get(source, false, &a, &e), &e);
        assert_string_equal(a->access_key_id, "AKDEFAULT");
        assert_null(a->session_token);
        setenv("AWS_PROFILE", "work", 1);
        assert_ok(credentials_from_environment(&other, &e), &e);
        assert_ok(credentials_get(other, false, &b, &e), &e);
        assert_string_equal(b->access_key_id, "AKWORK");
        assert_string_equal((char *) b->secret_access_key->data, "s/2=+");
        assert_string_equal((char *) b->session_token->data, "tok");
        setenv("AWS_PROFILE", "bare", 1);
        assert_ok(credentials_from_environment(&third, &e), &e);
        assert_ok(credentials_get(third, false, &c, &e), &e);
        assert_string_equal(c->access_key_id, "AKBARE");
        assert_null(c->session_token);
        setenv("AWS_PROFILE", "hollow", 1);
        assert_refused(credentials_from_environment(&none, &e), &e, FAILURE_CREDENTIALS,
                       "profile \"hollow\" has no aws_access_key_id");
        setenv("AWS_PROFILE", "sso", 1);
        assert_refused(credentials_from_environment(&none, &e), &e, FAILURE_CREDENTIALS,
                       "profile \"sso\" has no aws_access_key_id");
        unlink(path);
        assert_refused(credentials_from_environment(&none, &e), &e, FAILURE_CREDENTIALS, "cannot be opened");
        clear_environment();
}

/* What the SDKs accept, and what they take from elsewhere. */
static void test_spellings_of_a_profile(void **state _unused_) {
        static const struct {
                const char *text, *id, *why; /* either the access key id, or why there is none */
        } cases[] = {
                { "[default]\naws_access_key_id: A\naws_secret_access_key: s\n", "A", NULL },
                { "\xef\xbb\xbf[default]\nAWS_ACCESS_KEY_ID=A\nAws_Secret_Access_Key=s\n", "A", NULL },
                { "[default]\naws_access_key_id = \"A\"\naws_secret_access_key = 's'\n", "A", NULL },
                { "[default]\naws_access_key_id = A # mine\naws_secret_access_key = s ; too\n", "A", NULL },
                { "[profile default]\naws_access_key_id=A\naws_secret_access_key=s\n", "A", NULL },
                { "[\"default\"]\naws_access_key_id=A\naws_secret_access_key=s", "A", NULL },
                { "[default]\ns3 =\n  aws_access_key_id = B\naws_access_key_id=A\naws_secret_access_key=s\n", "A",
                  NULL },
                { "[default]\naws_access_key_id=A\n[other]\naws_secret_access_key=s\n", NULL,
                  "has no aws_access_key_id" },
                { "[default]\nrole_arn = r\n", NULL, ", but role_arn" },
                { "[default]\naws_access_key_id\naws_secret_access_key=s\n", NULL, "has no aws_access_key_id" },
                { "[defaults]\naws_access_key_id=A\naws_secret_access_key=s\n", NULL, "the file has no such profile" },
                { "", NULL, "the file has no such profile" },
                { "]\n[\n=\n:\n[default", NULL, "the file has no such profile" },
        };
        char root[32];

        enter(root);
        clear_environment();
        setenv("HOME", root, 1);
        assert_int_equal(mkdir(".aws", 0700), 0);
        for (size_t i = 0; i < ELEMENTS(cases); i++) {
                _cleanup_(credential_source_freep) struct credential_source *source = NULL;
                _cleanup_credentials_ struct credentials *c = NULL;
                struct error e = {};

                tree_write(root, ".aws/credentials", cases[i].text);
                if (cases[i].why) {
                        assert_refused(credentials_from_environment(&source, &e), &e, FAILURE_CREDENTIALS,
                                       cases[i].why);
                        continue;
                }
                assert_ok(credentials_from_environment(&source, &e), &e);
                assert_ok(credentials_get(source, false, &c, &e), &e);
                assert_string_equal(c->access_key_id, cases[i].id);
                assert_string_equal((char *) c->secret_access_key->data, "s");
        }
        clear_environment();
        leave(root);
}

static void test_the_second_file(void **state _unused_) {
        _cleanup_(credential_source_freep) struct credential_source *source = NULL, *none = NULL;
        _cleanup_credentials_ struct credentials *c = NULL;
        struct error e = {};
        char root[32];

        enter(root);
        clear_environment();
        setenv("HOME", root, 1);
        setenv("AWS_CONFIG_FILE", "~/config", 1);
        assert_int_equal(mkdir(".aws", 0700), 0);
        tree_write(root, ".aws/credentials", "[other]\n");
        tree_write(root, "config",
                   "[default]\naws_access_key_id=A\naws_secret_access_key=s\n[profile w]\nsso_session=x\n");
        assert_ok(credentials_from_environment(&source, &e), &e);
        assert_ok(credentials_get(source, false, &c, &e), &e);
        assert_string_equal(c->access_key_id, "A");
        setenv("AWS_PROFILE", "w", 1);
        assert_refused(credentials_from_environment(&none, &e), &e, FAILURE_CREDENTIALS, "has sso_session, which");
        assert_non_null(strstr(e.subject, ".aws/credentials"));
        unsetenv("AWS_CONFIG_FILE");
        clear_environment();
        leave(root);
}

static void test_keys_with_space(void **state _unused_) {
        static const char *const bad[] = { "A\n", " A", "A ", "A\tB" };

        for (size_t i = 0; i < ELEMENTS(bad); i++) {
                struct credential_source *source = NULL;
                struct error e = {};

                clear_environment();
                setenv("AWS_ACCESS_KEY_ID", bad[i], 1);
                setenv("AWS_SECRET_ACCESS_KEY", "s", 1);
                assert_refused(credentials_from_environment(&source, &e), &e, FAILURE_CREDENTIALS,
                               "AWS_ACCESS_KEY_ID has a space");
                setenv("AWS_ACCESS_KEY_ID", "A", 1);
                setenv("AWS_SECRET_ACCESS_KEY", bad[i], 1);
                assert_refused(credentials_from_environment(&source, &e), &e, FAILURE_CREDENTIALS,
                               "AWS_SECRET_ACCESS_KEY has a space");
        }
        clear_environment();
}

/* Threads */

enum { WORK_FILES = 5, WORK_PARTS_MAX = 40 };

struct work {
        atomic_uint begun[WORK_FILES], ended[WORK_FILES], parts[WORK_FILES][WORK_PARTS_MAX], threads;
        atomic_bool early, late; /* a part before its file began, or after it ended */
        size_t fails_at;         /* the file; WORK_FILES: none */
        int signal;              /* sent by a part; 0: none */
        unsigned pause_us;       /* of the parts after that one */
};

static uint64_t work_parts(void *userdata _unused_, size_t file) {
        return file == 0 ? 1 : file * 10;
}

static int work_begin(void *userdata, size_t file, struct error *e _unused_) {
        struct work *w = userdata;

        atomic_fetch_add(&w->begun[file], 1);
        return 0;
}

static int work_part(void *userdata, size_t file, uint64_t part, void *thread, struct error *e) {
        struct work *w = userdata;

        assert_ptr_equal(thread, w);
        if (atomic_load(&w->begun[file]) != 1)
                atomic_store(&w->early, true);
        if (atomic_load(&w->ended[file]) != 0)
                atomic_store(&w->late, true);
        atomic_fetch_add(&w->parts[file][part], 1);
        if (w->signal && file == 2 && part == 3)
                kill(getpid(), w->signal);
        if (file > 2)
                usleep(w->pause_us);
        return file == w->fails_at && part == 7 ? fail(e, FAILURE_IO, -EIO, "file", "part 7 failed") : 0;
}

static int work_end(void *userdata, size_t file, void *thread _unused_, struct error *e _unused_) {
        struct work *w = userdata;

        atomic_fetch_add(&w->ended[file], 1);
        return 0;
}

static int work_thread_new(void *userdata, void **ret, struct error *e _unused_) {
        struct work *w = userdata;

        atomic_fetch_add(&w->threads, 1);
        *ret = w;
        return 0;
}

static void work_thread_free(void *thread) {
        struct work *w = thread;

        atomic_fetch_sub(&w->threads, 1);
}

static int run_work(struct work *w, unsigned n_threads, struct error *e) {
        const struct parallel_work work = {
                .n_files = WORK_FILES,
                .n_threads = n_threads,
                .job = w,
                .parts = work_parts,
                .begin = work_begin,
                .part = work_part,
                .end = work_end,
                .thread_new = work_thread_new,
                .thread_free = work_thread_free,
        };
        struct progress progress;
        int r;

        progress_begin(&progress, "working", 1, PROGRESS_QUIET);
        r = parallel_run(&work, &progress, e);
        assert_int_equal(atomic_load(&w->threads), 0);
        return r;
}

static void test_every_part_once(void **state _unused_) {
        for (unsigned n_threads = 0; n_threads <= 8; n_threads++) {
                struct work w = { .fails_at = WORK_FILES };
                struct error e = {};

                assert_ok(run_work(&w, n_threads, &e), &e);
                for (size_t file = 0; file < WORK_FILES; file++) {
                        assert_int_equal(w.begun[file], 1);
                        assert_int_equal(w.ended[file], 1);
                        for (size_t part = 0; part < WORK_PARTS_MAX; part++)
                                assert_int_equal(w.parts[file][part], part < work_parts(&w, file));
                }
                assert_false(w.early || w.late);
        }
}

static void test_the_first_failure_ends_the_work(void **state _unused_) {
        for (unsigned n_threads = 1; n_threads <= 4; n_threads++) {
                struct work w = { .fails_at = 2 };
                struct error e = {};

                assert_refused(run_work(&w, n_threads, &e), &e, FAILURE_IO, "part 7 failed");
                assert_int_equal(w.ended[2], 0);
                if (n_threads == 1) /* others may be at later parts already */
                        assert_int_equal(w.begun[3], 0);
        }
}

static void ignore_it(int signal _unused_) {
}

static void test_signals_end_the_work(void **state _unused_) {
        static const int signals[] = { SIGINT, SIGTERM, SIGHUP };

        for (size_t i = 0; i < ELEMENTS(signals); i++) {
                struct work w = { .fails_at = WORK_FILES, .signal = signals[i], .pause_us = 30000 };
                struct sigaction before;
                sigset_t mask;
                struct error e = {};

                /* If the signal were not held back, its handler would hide it. */
                assert_int_equal(sigaction(signals[i], &(struct sigaction) { .sa_handler = ignore_it }, &before), 0);
                assert_refused(run_work(&w, 2, &e), &e, FAILURE_STOPPED, "stopped by signal");
                assert_int_equal(w.ended[WORK_FILES - 1], 0);
                /* What is ignored ends nothing, so that nohup works. */
                assert_int_equal(sigaction(signals[i], &(struct sigaction) { .sa_handler = SIG_IGN }, NULL), 0);
                parallel_signals(&mask);
                assert_false(sigismember(&mask, signals[i]));
                w = (struct work) { .fails_at = WORK_FILES, .signal = signals[i] };
                assert_ok(run_work(&w, 2, &e), &e);
                sigaction(signals[i], &before, NULL);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_places),
                cmocka_unit_test(test_names_that_are_no_place),
                cmocka_unit_test(test_names_in_a_place),
                cmocka_unit_test(test_reading_a_local_place),
                cmocka_unit_test(test_a_bucket_without_its_scheme),
                cmocka_unit_test(test_bookkeeping),
                cmocka_unit_test(test_scanning),
                cmocka_unit_test(test_what_is_no_source),
                cmocka_unit_test(test_objects_are_whole_or_not_there),
                cmocka_unit_test(test_a_directory_that_was_there_stays),
                cmocka_unit_test(test_a_model_lands_in_one_step),
                cmocka_unit_test(test_what_does_not_land_is_removed),
                cmocka_unit_test(test_destinations_that_are_taken),
                cmocka_unit_test(test_environment),
                cmocka_unit_test(test_profile),
                cmocka_unit_test(test_spellings_of_a_profile),
                cmocka_unit_test(test_the_second_file),
                cmocka_unit_test(test_keys_with_space),
                cmocka_unit_test(test_every_part_once),
                cmocka_unit_test(test_the_first_failure_ends_the_work),
                cmocka_unit_test(test_signals_end_the_work),
        };

        return cmocka_run_group_tests_name("owner", tests, NULL, NULL);
}
