/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include "basic/encode.h"
#include "owner/manifest-write.h"

#define ONES "1111111111111111111111111111111111111111111111111111111111111111"
#define TWOS "2222222222222222222222222222222222222222222222222222222222222222"
/* printf 'sha256:%s a.gguf\nsha256:%s b/c\n' 11..11 22..22 | sha384sum, and sha384sum of 48 zero bytes and that. */
#define DIGEST "5367dc37f1a4bc44bf86e1907147a1d8a784fb00cfeb36697fa8b7c7c8277731d237e51da38e031c967497cd3996c19b"
#define PCR15 "05ff2e1d8646a741bddc5119fe9c3fefa7e214fba9eabd3a97bc8e42d8cbc5f753b21e44ab8a8f0d22caee1c518afb7f"

#define FILE_A "{\"path\": \"a.gguf\", \"size\": 5, \"digest\": \"sha256:" ONES "\", \"object\": \"00000.sealed\"}"
#define FILE_C "{\"path\": \"b/c\", \"size\": 0, \"digest\": \"sha256:" TWOS "\", \"object\": \"00001.sealed\"}"
#define MANIFEST(files) \
        "{\"sealboot\": 1, \"name\": \"m\", \"version\": \"1\", \"digest\": \"sha384:" DIGEST "\", \"files\": [" files \
        "]}"

static void test_paths(void **state) {
        static const struct {
                const char *path, *reason; /* NULL: accepted */
        } table[] = {
                { "model.gguf", NULL },
                { "a/b/c", NULL },
                { "..a", NULL },
                { "a..", NULL },
                { "a/..b/...", NULL },
                { ".hidden/.gitattributes", NULL },
                { "with space+plus%percent", NULL },
                { "modèle-日本.bin", NULL },
                { "-rf", NULL },
                { "", "it is empty" },
                { "/etc/passwd", "it is absolute" },
                { "/", "it is absolute" },
                { "..", "part \"..\"" },
                { "../a", "part \"..\"" },
                { "a/../b", "part \"..\"" },
                { "a/..", "part \"..\"" },
                { ".", "part \".\"" },
                { "./a", "part \".\"" },
                { "a/./b", "part \".\"" },
                { "a/.", "part \".\"" },
                { "a//b", "empty part" },
                { "a/", "empty part" },
                { "a\nb", "control character" },
                { "a\x1b[2J", "control character" },
                { "a\x7f", "control character" },
        };

        (void) state;
        for (size_t i = 0; i < ELEMENTS(table); i++) {
                _cleanup_model_ struct model *m = NULL;
                struct error e = { 0 };

                assert_ok(model_new(&m, &e), &e);
                if (table[i].reason)
                        assert_refused(model_add(m, "manifest", table[i].path, NULL, 1, NULL, &e), &e, FAILURE_MANIFEST,
                                       table[i].reason);
                else
                        assert_ok(model_add(m, "manifest", table[i].path, NULL, 1, NULL, &e), &e);
                assert_int_equal(m->n_files, table[i].reason ? 0 : 1);
        }
}

static void test_path_lengths(void **state) {
        _cleanup_model_ struct model *m = NULL;
        char path[MODEL_PATH_MAX + 2];
        struct error e = { 0 };

        (void) state;
        assert_ok(model_new(&m, &e), &e);
        for (size_t i = 0; i < sizeof path; i++)
                path[i] = i % 256 == 255 ? '/' : 'x';
        path[MODEL_PATH_MAX + 1] = '\0';
        assert_refused(model_add(m, "manifest", path, NULL, 1, NULL, &e), &e, FAILURE_MANIFEST, "too long");
        path[MODEL_PATH_MAX - 1] = '\0'; /* would end in a slash */
        assert_ok(model_add(m, "manifest", path, NULL, 1, NULL, &e), &e);
        memset(path, 'x', 256);
        path[256] = '\0';
        assert_refused(model_add(m, "manifest", path, NULL, 1, NULL, &e), &e, FAILURE_MANIFEST,
                       "longer than a file name");
        path[255] = '\0';
        assert_ok(model_add(m, "manifest", path, NULL, 1, NULL, &e), &e);
}

static int sorted(const char *const *paths, size_t n, struct model **ret, struct error *e) {
        _cleanup_model_ struct model *m = NULL;
        int r;

        r = model_new(&m, e);
        if (r < 0)
                return r;
        for (size_t i = 0; i < n; i++) {
                r = model_add(m, "manifest", paths[i], NULL, 1, NULL, e);
                if (r < 0)
                        return r;
        }
        r = model_sort(m, "manifest", e);
        if (r < 0)
                return r;
        if (!m)
                return -ENOMEM;
        if (ret)
                *ret = TAKE(m);
        return 0;
}
#define SORTED(ret, e, ...) \
        sorted((const char *const[]) { __VA_ARGS__ }, sizeof((const char *const[]) { __VA_ARGS__ }) / sizeof(char *), \
               ret, e)

static void test_sorting(void **state) {
        static const char *const expected[] = { "A", "B/x", "a", "a-b", "a.b/c", "b/c", "b/c-d", "\xc3\xa9" };
        _cleanup_model_ struct model *m = NULL;
        struct error e = { 0 };

        (void) state;
        /* Bytewise, as LC_ALL=C sort does; never by locale, and UTF-8 after ASCII. */
        assert_ok(SORTED(&m, &e, "\xc3\xa9", "b/c-d", "a.b/c", "a", "a-b", "b/c", "B/x", "A"), &e);
        for (size_t i = 0; i < ELEMENTS(expected); i++)
                assert_string_equal(m->files[i].path, expected[i]);
        assert_int_equal(model_size(m), ELEMENTS(expected));
        assert_refused(SORTED(NULL, &e, "a", "b", "a"), &e, FAILURE_MANIFEST, "lists the path \"a\" twice");
        assert_refused(SORTED(NULL, &e, "a/b", "a"), &e, FAILURE_MANIFEST, "\"a/b\", of which a directory is a file");
        /* '-' and '.' sort between "a" and "a/b". */
        assert_refused(SORTED(NULL, &e, "a/b/c", "a.b", "a-b", "a"), &e, FAILURE_MANIFEST,
                       "\"a/b/c\", of which a directory is a file");
}

static void test_too_many_files(void **state) {
        _cleanup_model_ struct model *m = NULL;
        struct error e = { 0 };
        char path[16];

        (void) state;
        assert_ok(model_new(&m, &e), &e);
        for (unsigned i = 0; i < MODEL_FILES_MAX; i++) {
                snprintf(path, sizeof path, "%u", i);
                assert_ok(model_add(m, "manifest", path, path, i, NULL, &e), &e);
        }
        assert_refused(model_add(m, "manifest", "one more", NULL, 1, NULL, &e), &e, FAILURE_MANIFEST,
                       "more than 10000 files");
        assert_ok(model_sort(m, "manifest", &e), &e);
        assert_int_equal(model_size(m), (uint64_t) MODEL_FILES_MAX * (MODEL_FILES_MAX - 1) / 2);
}

static void test_digest_is_that_of_the_one_liner(void **state) {
        _cleanup_model_ struct model *m = NULL;
        uint8_t pcr[MODEL_DIGEST];
        char hex[2 * MODEL_DIGEST + 1];
        struct error e = { 0 };

        (void) state;
        assert_ok(SORTED(&m, &e, "b/c", "a.gguf"), &e);
        memset(m->files[0].digest, 0x11, VERITY_DIGEST);
        memset(m->files[1].digest, 0x22, VERITY_DIGEST);
        assert_ok(model_digest(m, &e), &e);
        assert_string_equal(m->text, "sha256:" ONES " a.gguf\nsha256:" TWOS " b/c\n");
        assert_int_equal(m->text_size, strlen(m->text));
        hex_encode(m->digest, MODEL_DIGEST, hex);
        assert_string_equal(hex, DIGEST);
        assert_ok(model_pcr15(m->digest, pcr, &e), &e);
        hex_encode(pcr, sizeof pcr, hex);
        assert_string_equal(hex, PCR15);
}

static void test_name_of_a_single_object(void **state) {
        static const struct {
                struct pair context[2];
                const char *name, *words; /* one of them */
                bool single;
        } table[] = {
                { { { "model", "m" } }, MODEL_FILE_UNNAMED, NULL, false },
                { { { "file", "said.sealed" } }, "said.sealed", NULL, true },
                { { { "file", "" } }, NULL, "name: it is empty", true },
                { { { "file", ".." } }, NULL, "name: it has a part \"..\"", true },
                { { { "file", "../b" } }, NULL, "name: it has a slash", true },
                { { { "file", "b/c" } }, NULL, "name: it has a slash", true },
                { { { "file", "a\nb" } }, NULL, "name: it has a control character", true },
                { { { "sealboot", "manifest-model" } }, NULL, "one object of a model", false },
                /* A mark of a sealboot to come is none that a single object has. */
                { { { "sealboot", "other" } }, NULL, "\"sealboot\" = \"other\"", false },
                { { { "file", "a" }, { "sealboot", "manifest-model" } }, NULL, "one object of a model", true },
        };

        (void) state;
        for (size_t i = 0; i < ELEMENTS(table); i++) {
                struct message_header h = { .context = (struct pair *) table[i].context,
                                            .n_context = table[i].context[1].name ? 2 : 1 };
                _cleanup_free_ char *name = NULL;
                struct error e = { 0 };

                assert_int_equal(model_is_single(&h), table[i].single);
                if (table[i].name) {
                        assert_ok(model_single_name(&h, "object", &name, &e), &e);
                        assert_string_equal(name, table[i].name);
                } else
                        assert_refused(model_single_name(&h, "object", &name, &e), &e, FAILURE_CONTEXT, table[i].words);
        }
}

static int parse(const char *text, struct model **ret, struct error *e) {
        return manifest_parse(text, strlen(text), "manifest", ret, e);
}

static void test_manifest(void **state) {
        _cleanup_model_ struct model *m = NULL, *again = NULL;
        _cleanup_free_ char *text = NULL;
        struct error e = { 0 };

        (void) state;
        /* Listed in any order, used in path order. */
        assert_ok(parse(MANIFEST(FILE_C ", " FILE_A), &m, &e), &e);
        assert_string_equal(m->name, "m");
        assert_string_equal(m->version, "1");
        assert_int_equal(m->n_files, 2);
        assert_string_equal(m->files[0].path, "a.gguf");
        assert_string_equal(m->files[0].object, "00000.sealed");
        assert_int_equal(m->files[0].size, 5);
        assert_int_equal(m->files[0].digest[31], 0x11);
        assert_int_equal(model_size(m), 5);
        assert_ok(manifest_write(m, &text, &e), &e);
        assert_ok(parse(text, &again, &e), &e);
        assert_memory_equal(again->digest, m->digest, MODEL_DIGEST);
        assert_string_equal(again->files[1].path, "b/c");
}

#define FILE_WITH(path, size, digest, object) \
        "{\"path\": " path ", \"size\": " size ", \"digest\": " digest ", \"object\": " object "}"
#define GOOD_DIGEST "\"sha256:" TWOS "\""
#define WITH(path, size, digest, object) MANIFEST(FILE_A ", " FILE_WITH(path, size, digest, object))

static void test_manifests_refused(void **state) {
        static const struct {
                const char *text, *reason;
        } table[] = {
                { "", "cut short" },
                { "{", "cut short" },
                { "[]", "must be an object" },
                { "{}", "\"sealboot\" is missing" },
                { MANIFEST(FILE_A ", " FILE_C) "{}", "not valid JSON" },
                { MANIFEST(""), "expected a list of 1 to 10000 files" },
                { MANIFEST("5"), "files[0] must be an object" },
                { MANIFEST(FILE_A), "a model digest that is not that of the files" },
                { "{\"sealboot\": 2, \"name\": \"m\", \"version\": \"1\", \"digest\": \"sha384:" DIGEST
                  "\", \"files\": [" FILE_A "]}",
                  "\"sealboot\" is 2" },
                { "{\"sealboot\": 1, \"name\": \"\", \"version\": \"1\", \"digest\": \"sha384:" DIGEST
                  "\", \"files\": [" FILE_A "]}",
                  "\"name\" is" },
                { "{\"sealboot\": 1, \"name\": \"m\", \"version\": 1, \"digest\": \"sha384:" DIGEST
                  "\", \"files\": [" FILE_A "]}",
                  "\"version\" must be" },
                { "{\"sealboot\": 1, \"name\": \"m\", \"version\": \"1\", \"digest\": \"sha256:" DIGEST
                  "\", \"files\": [" FILE_A "]}",
                  "\"digest\" must be sha384:" },
                { "{\"sealboot\": 1, \"name\": \"m\", \"version\": \"1\", \"digest\": \"sha384:" DIGEST
                  "00\", \"files\": [" FILE_A "]}",
                  "\"digest\" must be sha384:" },
                { "{\"sealboot\": 1, \"name\": \"m\", \"name\": \"n\", \"version\": \"1\", \"digest\": \"sha384:" DIGEST
                  "\", \"files\": [" FILE_A "]}",
                  "same key twice" },
                { "{\"sealboot\": 1, \"name\": \"m\", \"version\": \"1\", \"key\": \"\", \"digest\": \"sha384:" DIGEST
                  "\", \"files\": [" FILE_A "]}",
                  "unknown key \"key\"" },
                { WITH("\"../c\"", "0", GOOD_DIGEST, "\"o\""), "part \"..\"" },
                { WITH("\"/c\"", "0", GOOD_DIGEST, "\"o\""), "absolute" },
                { WITH("\"b//c\"", "0", GOOD_DIGEST, "\"o\""), "empty part" },
                { WITH("\"b/./c\"", "0", GOOD_DIGEST, "\"o\""), "part \".\"" },
                { WITH("\"b\\nsha256:\"", "0", GOOD_DIGEST, "\"o\""), "control character" },
                { WITH("\"b\\u0000c\"", "0", GOOD_DIGEST, "\"o\""), "NUL" },
                { WITH("\"b\xff\"", "0", GOOD_DIGEST, "\"o\""), "not valid JSON" },
                { WITH("\"a.gguf\"", "0", GOOD_DIGEST, "\"o\""), "lists the path \"a.gguf\" twice" },
                { WITH("\"a.gguf/b\"", "0", GOOD_DIGEST, "\"o\""), "is a file, too" },
                { WITH("\"b/c\"", "-1", GOOD_DIGEST, "\"o\""), "\"files[1].size\" is -1" },
                { WITH("\"b/c\"", "1.5", GOOD_DIGEST, "\"o\""), "\"files[1].size\" must be" },
                { WITH("\"b/c\"", "9223372036854775807", GOOD_DIGEST, "\"o\""), "more than any memory" },
                { WITH("\"b/c\"", "0", "\"sha256:22\"", "\"o\""), "\"files[1].digest\" must be sha256:" },
                { WITH("\"b/c\"", "0", "\"sha384:" TWOS "\"", "\"o\""), "\"files[1].digest\" must be sha256:" },
                { WITH("\"b/c\"", "0", "\"sha256:g" TWOS "\"", "\"o\""), "\"files[1].digest\" must be sha256:" },
                { WITH("\"b/c\"", "0", GOOD_DIGEST, "\"00000.sealed\""), "lists the object \"00000.sealed\" twice" },
                { WITH("\"b/c\"", "0", GOOD_DIGEST, "\"\""), "\"files[1].object\" is" },
                { WITH("\"b/c\"", "0", GOOD_DIGEST, "\"../o\""),
                  "the object \"../o\", which is refused: it has a part \"..\"" },
                { WITH("\"b/c\"", "0", GOOD_DIGEST, "\"/o\""), "the object \"/o\", which is refused: it is absolute" },
        };

        (void) state;
        for (size_t i = 0; i < ELEMENTS(table); i++) {
                struct model *m = NULL;
                struct error e = { 0 };

                assert_refused(parse(table[i].text, &m, &e), &e, FAILURE_MANIFEST, table[i].reason);
                assert_null(m);
        }
}

static void test_manifest_with_too_many_files(void **state) {
        _cleanup_free_ char *text = NULL;
        struct model *m = NULL;
        struct error e = { 0 };
        size_t n;
        FILE *f;

        (void) state;
        f = open_memstream(&text, &n);
        assert_non_null(f);
        fputs("{\"sealboot\": 1, \"name\": \"m\", \"version\": \"1\", \"digest\": \"sha384:" DIGEST "\", \"files\": [",
              f);
        for (unsigned i = 0; i <= MODEL_FILES_MAX; i++)
                fprintf(f, "%s{\"path\": \"%u\", \"size\": 0, \"digest\": " GOOD_DIGEST ", \"object\": \"%u\"}",
                        i ? "," : "", i, i);
        fputs("]}", f);
        assert_int_equal(fclose(f), 0);
        assert_refused(parse(text, &m, &e), &e, FAILURE_MANIFEST, "expected a list of 1 to 10000 files");
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_paths),
                cmocka_unit_test(test_path_lengths),
                cmocka_unit_test(test_sorting),
                cmocka_unit_test(test_too_many_files),
                cmocka_unit_test(test_digest_is_that_of_the_one_liner),
                cmocka_unit_test(test_name_of_a_single_object),
                cmocka_unit_test(test_manifest),
                cmocka_unit_test(test_manifests_refused),
                cmocka_unit_test(test_manifest_with_too_many_files),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
