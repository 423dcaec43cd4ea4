/* SPDX-License-Identifier: Apache-2.0 */
#include "sealed/model.h"

#include <openssl/evp.h>

#include "basic/encode.h"
#include "basic/json.h"

void model_free(struct model *m) {
        if (!m)
                return;
        for (size_t i = 0; i < m->n_files; i++) {
                free(m->files[i].path);
                free(m->files[i].object);
        }
        free(m->files);
        free(m->name);
        free(m->version);
        free(m->text);
        free(m);
}

int model_new(struct model **ret, struct error *e) {
        *ret = calloc(1, sizeof **ret);
        return *ret ? 0 : fail_oom(e);
}

const char *model_path_problem(const char *path) {
        if (!path[0])
                return "it is empty";
        if (path[0] == '/')
                return "it is absolute";
        if (strlen(path) > MODEL_PATH_MAX)
                return "it is too long";
        for (const unsigned char *c = (const unsigned char *) path; *c; c++)
                if (*c < 0x20 || *c == 0x7f)
                        return "it has a control character";
        for (const char *part = path;; part++) {
                size_t n = strcspn(part, "/");

                if (n == 0)
                        return "it has an empty part";
                if (n > 255)
                        return "a part of it is longer than a file name may be";
                if (strncmp(part, "..", MAX_OF(n, (size_t) 2)) == 0)
                        return "it has a part \"..\"";
                if (n == 1 && part[0] == '.')
                        return "it has a part \".\"";
                part += n;
                if (!*part)
                        return NULL;
        }
}

int model_add(struct model *m, const char *subject, const char *path, const char *object, uint64_t size,
              struct model_file **ret, struct error *e) {
        const char *problem = model_path_problem(path), *object_problem = object ? model_path_problem(object) : NULL;
        struct model_file f = { .size = size };

        if (problem)
                return fail(e, FAILURE_MANIFEST, -EINVAL, subject, "it has the path \"%.200s\", which is refused: %s",
                            path, problem);
        if (object_problem)
                return fail(e, FAILURE_MANIFEST, -EINVAL, subject, "it has the object \"%.200s\", which is refused: %s",
                            object, object_problem);
        if (m->n_files >= MODEL_FILES_MAX)
                return fail(e, FAILURE_MANIFEST, -E2BIG, subject, "it has more than %d files", MODEL_FILES_MAX);
        /* The array always has room for the next power of two: it is doubled when n_files reaches one. */
        if ((m->n_files & (m->n_files - 1)) == 0) {
                struct model_file *larger = realloc(m->files, MAX_OF(2 * m->n_files, (size_t) 1) * sizeof *larger);

                if (!larger)
                        return fail_oom(e);
                m->files = larger;
        }
        f.path = strdup(path);
        f.object = object ? strdup(object) : NULL;
        if (!f.path || (object && !f.object)) {
                free(f.path);
                free(f.object);
                return fail_oom(e);
        }
        m->files[m->n_files++] = f;
        if (ret)
                *ret = &m->files[m->n_files - 1];
        return 0;
}

static int compare_paths(const void *a, const void *b) {
        return strcmp(((const struct model_file *) a)->path, ((const struct model_file *) b)->path);
}

/* "a" and "a/b" cannot both be files. Other paths may be sorted between them ("a.b"), so each directory is looked up.
 */
static bool is_directory_of_another(const struct model *m, const struct model_file *f) {
        char parent[MODEL_PATH_MAX + 1];
        char *slash;

        snprintf(parent, sizeof parent, "%s", f->path);
        while ((slash = strrchr(parent, '/'))) {
                struct model_file key = { .path = parent };

                *slash = '\0';
                if (bsearch(&key, m->files, m->n_files, sizeof *m->files, compare_paths))
                        return true;
        }
        return false;
}

int model_sort(struct model *m, const char *subject, struct error *e) {
        if (m->n_files == 0)
                return 0;
        qsort(m->files, m->n_files, sizeof *m->files, compare_paths);
        for (size_t i = 1; i < m->n_files; i++)
                if (streq(m->files[i - 1].path, m->files[i].path))
                        return fail(e, FAILURE_MANIFEST, -EINVAL, subject, "it lists the path \"%.200s\" twice",
                                    m->files[i].path);
        for (size_t i = 0; i < m->n_files; i++)
                if (is_directory_of_another(m, &m->files[i]))
                        return fail(e, FAILURE_MANIFEST, -EINVAL, subject,
                                    "it has the path \"%.200s\", of which a directory is a file, too",
                                    m->files[i].path);
        return 0;
}

static int build_text(const struct model *m, char **ret, size_t *ret_n, struct error *e) {
        _cleanup_free_ char *text = NULL;
        size_t size = 0;
        FILE *f = open_memstream(&text, &size);
        bool failed;

        if (!f)
                return fail_oom(e);
        for (size_t i = 0; i < m->n_files; i++) {
                char hex[2 * VERITY_DIGEST + 1];

                hex_encode(m->files[i].digest, VERITY_DIGEST, hex);
                fprintf(f, "sha256:%s %s\n", hex, m->files[i].path);
        }
        failed = ferror(f);
        if (fclose(f) != 0 || failed)
                return fail_oom(e);
        *ret = TAKE(text);
        *ret_n = size;
        return 0;
}

static int sha384(const void *data, size_t n, uint8_t ret[static MODEL_DIGEST], struct error *e) {
        if (EVP_Digest(data, n, ret, NULL, EVP_sha384(), NULL) != 1)
                return fail(e, FAILURE_INTERNAL, -EIO, "", "SHA-384 is not available in OpenSSL");
        return 0;
}

int model_digest(struct model *m, struct error *e) {
        _cleanup_free_ char *text = NULL;
        size_t n;
        int r;

        r = build_text(m, &text, &n, e);
        if (r < 0)
                return r;
        r = sha384(text, n, m->digest, e);
        if (r < 0)
                return r;
        free(m->text);
        m->text = TAKE(text);
        m->text_size = n;
        return 0;
}

int model_pcr15(const uint8_t digest[static MODEL_DIGEST], uint8_t ret[static MODEL_DIGEST], struct error *e) {
        uint8_t both[2 * MODEL_DIGEST] = { 0 };

        memcpy(both + MODEL_DIGEST, digest, MODEL_DIGEST);
        return sha384(both, sizeof both, ret, e);
}

uint64_t model_size(const struct model *m) {
        uint64_t sum = 0;

        for (size_t i = 0; i < m->n_files; i++)
                sum += m->files[i].size;
        return sum;
}

/* In bytewise order, the files of one directory follow each other. */
size_t model_directories(const struct model *m) {
        size_t n = 0;

        for (size_t i = 0; i < m->n_files; i++) {
                const char *path = m->files[i].path;

                for (const char *slash = strchr(path, '/'); slash; slash = strchr(slash + 1, '/'))
                        n += i == 0 || strncmp(m->files[i - 1].path, path, (size_t) (slash - path) + 1) != 0;
        }
        return n;
}

/* ---- a single object */

static const char single_advice[] = "Name the model by its prefix, with a slash at the end, as in s3://BUCKET/PREFIX/.";

bool model_is_single(const struct message_header *h) {
        return message_header_context(h, MODEL_FILE_CONTEXT) != NULL;
}

int model_single_name(const struct message_header *h, const char *subject, char **ret, struct error *e) {
        const char *mark = message_header_context(h, MODEL_MARK_CONTEXT);
        const char *name = message_header_context(h, MODEL_FILE_CONTEXT) ?: MODEL_FILE_UNNAMED;
        const char *problem = strchr(name, '/') ? "it has a slash" : model_path_problem(name);

        if (mark) {
                fail(e, FAILURE_CONTEXT, -EINVAL, subject,
                     "it has \"" MODEL_MARK_CONTEXT "\" = \"%.100s\" in its encryption context: it is one object of a "
                     "model with a manifest, not a model of its own",
                     mark);
                fail_advice(e, single_advice);
                return -EINVAL;
        }
        if (problem)
                return fail(e, FAILURE_CONTEXT, -EINVAL, subject,
                            "it has \"" MODEL_FILE_CONTEXT
                            "\" = \"%.200s\" in its encryption context, which is no file name: %s",
                            name, problem);
        *ret = strdup(name);
        return *ret ? 0 : fail_oom(e);
}

int model_refuse_manifest(const char *text, size_t n, const char *subject, struct error *e) {
        _cleanup_model_ struct model *m = NULL;

        if (manifest_parse(text, n, subject, &m, NULL) < 0 || !m)
                return 0;
        fail(e, FAILURE_CONTEXT, -EINVAL, subject,
             "it has no \"" MODEL_FILE_CONTEXT
             "\" in its encryption context, and is the manifest of the model \"%.100s\" "
             "version \"%.100s\", not a model of its own",
             m->name, m->version);
        fail_advice(e, single_advice);
        return -EINVAL;
}

/* ---- the manifest */

static int parse_digest(const char *text, const char *prefix, uint8_t *out, size_t n, const char *subject,
                        const char *where, struct error *e) {
        if (strncmp(text, prefix, strlen(prefix)) != 0 || hex_decode(text + strlen(prefix), out, n) < 0)
                return fail(e, FAILURE_MANIFEST, -EINVAL, subject, "\"%s\" must be %s and %zu hex digits", where,
                            prefix, 2 * n);
        return 0;
}

static int parse_file(struct model *m, json_object *o, size_t index, const char *subject, struct error *e) {
        json_object *path = NULL, *size = NULL, *digest = NULL, *object = NULL;
        const struct json_field fields[] = {
                { "path", json_type_string, true, 1, MODEL_PATH_MAX, "a relative path of at most 1024 bytes", &path },
                { "size", json_type_int, true, 0, INT64_MAX, "a number of bytes", &size },
                { "digest", json_type_string, true, 0, 0, "sha256: and 64 hex digits", &digest },
                { "object", json_type_string, true, 1, 1024, "an object key below the prefix", &object },
        };
        struct model_file *f;
        char where[48];
        int r;

        snprintf(where, sizeof where, "files[%zu]", index);
        r = json_fields(o, fields, ELEMENTS(fields), FAILURE_MANIFEST, subject, where, e);
        if (r < 0)
                return r;
        r = model_add(m, subject, json_text(path), json_text(object), (uint64_t) json_integer(size, 0), &f, e);
        if (r < 0)
                return r;
        snprintf(where, sizeof where, "files[%zu].digest", index);
        return parse_digest(json_text(digest), "sha256:", f->digest, VERITY_DIGEST, subject, where, e);
}

/* An object is fetched once, for one file: no two files may have the same object. */
static int compare_objects(const void *a, const void *b) {
        return strcmp(*(const char *const *) a, *(const char *const *) b);
}

static int check_objects(const struct model *m, const char *subject, struct error *e) {
        _cleanup_free_ const char **objects = calloc(m->n_files + 1, sizeof *objects);

        if (!objects)
                return fail_oom(e);
        for (size_t i = 0; i < m->n_files; i++)
                objects[i] = m->files[i].object;
        qsort(objects, m->n_files, sizeof *objects, compare_objects);
        for (size_t i = 1; i < m->n_files; i++)
                if (streq(objects[i - 1], objects[i]))
                        return fail(e, FAILURE_MANIFEST, -EINVAL, subject, "it lists the object \"%.200s\" twice",
                                    objects[i]);
        return 0;
}

static int check_sum(const struct model *m, const char *subject, struct error *e) {
        uint64_t sum = 0;

        for (size_t i = 0; i < m->n_files; i++)
                if (__builtin_add_overflow(sum, m->files[i].size, &sum) || sum > INT64_MAX)
                        return fail(e, FAILURE_MANIFEST, -EINVAL, subject,
                                    "it has file sizes that add up to more than any memory");
        return 0;
}

static int check_digest(struct model *m, const uint8_t claimed[static MODEL_DIGEST], const char *subject,
                        struct error *e) {
        int r;

        r = model_digest(m, e);
        if (r < 0)
                return r;
        if (memcmp(claimed, m->digest, MODEL_DIGEST) != 0)
                return fail(e, FAILURE_MANIFEST, -EINVAL, subject,
                            "it has a model digest that is not that of the files it lists");
        return 0;
}

static int check_files(struct model *m, const char *subject, struct error *e) {
        int r;

        r = check_objects(m, subject, e);
        if (r < 0)
                return r;
        r = check_sum(m, subject, e);
        if (r < 0)
                return r;
        return model_sort(m, subject, e);
}

int manifest_parse(const char *text, size_t n, const char *subject, struct model **ret, struct error *e) {
        json_object *format = NULL, *name = NULL, *version = NULL, *digest = NULL, *files = NULL;
        const struct json_field fields[] = {
                { "sealboot", json_type_int, true, 1, 1, "1, the manifest format", &format },
                { "name", json_type_string, true, 1, 256, "text of 1 to 256 bytes", &name },
                { "version", json_type_string, true, 1, 256, "text of 1 to 256 bytes", &version },
                { "digest", json_type_string, true, 0, 0, "sha384: and 96 hex digits", &digest },
                { "files", json_type_array, true, 1, MODEL_FILES_MAX, "a list of 1 to 10000 files", &files },
        };
        _cleanup_model_ struct model *m = NULL;
        _cleanup_json_ json_object *o = NULL;
        uint8_t claimed[MODEL_DIGEST];
        int r;

        r = json_parse(text, n, FAILURE_MANIFEST, subject, &o, e);
        if (r < 0)
                return r;
        r = json_fields(o, fields, ELEMENTS(fields), FAILURE_MANIFEST, subject, "", e);
        if (r < 0)
                return r;
        r = model_new(&m, e);
        if (r < 0)
                return r;
        m->name = strdup(json_text(name));
        m->version = strdup(json_text(version));
        if (!m->name || !m->version)
                return fail_oom(e);
        r = parse_digest(json_text(digest), "sha384:", claimed, MODEL_DIGEST, subject, "digest", e);
        if (r < 0)
                return r;
        for (size_t i = 0; i < json_object_array_length(files); i++) {
                r = parse_file(m, json_object_array_get_idx(files, i), i, subject, e);
                if (r < 0)
                        return r;
        }
        r = check_files(m, subject, e);
        if (r < 0)
                return r;
        r = check_digest(m, claimed, subject, e);
        if (r < 0)
                return r;
        *ret = TAKE(m);
        return 0;
}
