/* SPDX-License-Identifier: Apache-2.0 */
#include "owner/ollama-store.h"

#include <ftw.h>
#include <json-c/json.h>
#include <limits.h>
#include <sys/stat.h>

#include "basic/encode.h"
#include "basic/file.h"
#include "basic/json.h"
#include "basic/reader.h"
#include "basic/utf8.h"
#include "owner/digest.h"
#include "owner/source-file.h"
#include "sealed/content-address.h"

#define MANIFEST_TYPE "application/vnd.docker.distribution.manifest.v2+json"
#define CONFIG_TYPE "application/vnd.docker.container.image.v1+json"
#define LAYER_TYPE(kind) "application/vnd.ollama.image." kind

enum { NAME_MAX_LENGTH = 80, GGUF_HEAD = 256, GGUF_STRING = 8, OPEN_FILES = 8 };

struct ollama_store {
        char *path;
        json_object *layers, *layer_digests;
};

/* ---- the GGUF file */

/* The first key of a GGUF file is "general.architecture" by convention; where it is not, *ret is "". Ollama shows this
 * name, and reads the file itself for everything else. */
static void read_architecture(struct reader *r, char ret[static NAME_MAX_LENGTH + 1]) {
        static const char wanted[] = "general.architecture";
        const uint8_t *key, *value;
        uint64_t n;
        uint32_t type;

        ret[0] = '\0';
        /* the numbers of tensors and of metadata, then the first key */
        if (reader_skip(r, 2 * sizeof(uint64_t)) < 0 || reader_le64(r, &n) < 0 || n != strlen(wanted) ||
            reader_bytes(r, n, &key) < 0 || memcmp(key, wanted, n) != 0 || reader_le32(r, &type) < 0 ||
            type != GGUF_STRING || reader_le64(r, &n) < 0 || n > NAME_MAX_LENGTH || reader_bytes(r, n, &value) < 0 ||
            memchr(value, '\0', n) || !utf8_valid((const char *) value, n))
                return;
        memcpy(ret, value, n);
        ret[n] = '\0';
}

static int read_gguf(const struct source *s, char ret_architecture[static NAME_MAX_LENGTH + 1], struct error *e) {
        _cleanup_(source_file_close) struct source_file f = { .fd = -1 };
        size_t n = (size_t) MIN_OF(s->model->files[0].size, (uint64_t) GGUF_HEAD);
        struct reader r;
        uint8_t head[GGUF_HEAD];
        const uint8_t *magic;
        uint32_t version;
        int result;

        result = source_file_open(s, 0, &f, e);
        if (result == 0)
                result = source_file_read(&f, 0, head, n, e);
        if (result < 0)
                return result;
        r = reader_over(head, n);
        if (reader_bytes(&r, 4, &magic) < 0 || memcmp(magic, "GGUF", 4) != 0 || reader_le32(&r, &version) < 0 ||
            version < 2 || version > 3) {
                fail(e, FAILURE_IO, -EINVAL, f.path, "it is not a GGUF file of version 2 or 3");
                fail_advice(e, "Ollama's store is made of one GGUF file. A directory that is such a store already is "
                               "sealed as it is, without --layout.");
                return -EINVAL;
        }
        read_architecture(&r, ret_architecture);
        return 0;
}

/* ---- the directory */

static int remove_entry(const char *path, const struct stat *st _unused_, int type _unused_, struct FTW *ftw _unused_) {
        return remove(path);
}

void ollama_store_free(struct ollama_store *s) {
        if (!s)
                return;
        if (s->path)
                (void) nftw(s->path, remove_entry, OPEN_FILES, FTW_DEPTH | FTW_PHYS);
        free(s->path);
        json_object_put(s->layers);
        json_object_put(s->layer_digests);
        free(s);
}

const char *ollama_store_path(const struct ollama_store *s) {
        return s->path;
}

static int make_directories(struct ollama_store *s, const char *name, struct error *e) {
        const char *const below[] = { "blobs", "manifests", "manifests/registry.ollama.ai",
                                      "manifests/registry.ollama.ai/library", NULL };
        const char *parent = getenv("TMPDIR");
        _cleanup_free_ char *path = NULL, *directory = NULL;

        if (asprintf(&path, "%s/sealboot-ollama.XXXXXX", parent && parent[0] ? parent : "/tmp") < 0)
                return fail_oom(e);
        if (!mkdtemp(path))
                return fail(e, FAILURE_IO, -errno, path, "no temporary directory can be made: %m");
        s->path = TAKE(path);
        for (size_t i = 0; below[i]; i++) {
                _cleanup_free_ char *one = NULL;

                if (asprintf(&one, "%s/%s", s->path, below[i]) < 0)
                        return fail_oom(e);
                if (mkdir(one, 0700) < 0)
                        return fail(e, FAILURE_IO, -errno, one, "the directory cannot be made: %m");
        }
        if (asprintf(&directory, "%s/manifests/registry.ollama.ai/library/%s", s->path, name) < 0)
                return fail_oom(e);
        return mkdir(directory, 0700) < 0 ? fail(e, FAILURE_IO, -errno, directory, "the directory cannot be made: %m")
                                          : 0;
}

/* ---- blobs */

static const char *to_text(json_object *o) {
        return json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE);
}

/* {"mediaType": ..., "digest": "sha256:HEX", "size": n}, as manifests list a blob. */
static json_object *describe(const char *type, const char *hex, uint64_t size) {
        json_object *o = json_object_new_object();
        char digest[8 + 2 * CONTENT_ADDRESS_SIZE];

        snprintf(digest, sizeof digest, "sha256:%s", hex);
        json_object_object_add(o, "mediaType", json_object_new_string(type));
        json_object_object_add(o, "digest", json_object_new_string(digest));
        json_object_object_add(o, "size", json_object_new_int64((int64_t) size));
        return o;
}

static int blob_path(const struct ollama_store *s, const char *hex, char **ret, struct error *e) {
        return asprintf(ret, "%s/blobs/sha256-%s", s->path, hex) < 0 ? fail_oom(e) : 0;
}

static int write_blob(const struct ollama_store *s, const char *type, const void *data, size_t n, json_object **ret,
                      struct error *e) {
        uint8_t digest[CONTENT_ADDRESS_SIZE];
        char hex[2 * CONTENT_ADDRESS_SIZE + 1];
        _cleanup_free_ char *path = NULL;
        int r;

        if (EVP_Digest(data, n, digest, NULL, EVP_sha256(), NULL) != 1)
                return fail_oom(e);
        hex_encode(digest, sizeof digest, hex);
        r = blob_path(s, hex, &path, e);
        if (r == 0)
                r = file_write(path, data, n, 0600, e);
        if (r < 0)
                return r;
        *ret = describe(type, hex, n);
        return 0;
}

/* Takes the layer. */
static void add_layer(struct ollama_store *s, json_object *layer) {
        json_object *digest;

        json_object_object_get_ex(layer, "digest", &digest);
        json_object_array_add(s->layer_digests, json_object_get(digest));
        json_object_array_add(s->layers, layer);
}

static int add_weights(struct ollama_store *s, const struct source *gguf, const uint8_t digest[CONTENT_ADDRESS_SIZE],
                       struct error *e) {
        char hex[2 * CONTENT_ADDRESS_SIZE + 1], resolved[PATH_MAX];
        _cleanup_free_ char *path = NULL;
        int r;

        if (!realpath(gguf->path, resolved))
                return fail(e, FAILURE_IO, -errno, gguf->path, "its path cannot be resolved: %m");
        hex_encode(digest, CONTENT_ADDRESS_SIZE, hex);
        r = blob_path(s, hex, &path, e);
        if (r < 0)
                return r;
        if (symlink(resolved, path) < 0)
                return fail(e, FAILURE_IO, -errno, path, "the link to the weights cannot be made: %m");
        add_layer(s, describe(LAYER_TYPE("model"), hex, gguf->model->files[0].size));
        return 0;
}

static int add_template(struct ollama_store *s, const char *file, struct error *e) {
        _cleanup_free_ uint8_t *text = NULL;
        json_object *layer;
        size_t n;
        int r;

        r = file_read(file, OLLAMA_TEMPLATE_MAX, FAILURE_IO, &text, &n, e);
        if (r < 0)
                return r;
        if (n == 0 || !utf8_valid((char *) text, n))
                return fail(e, FAILURE_IO, -EILSEQ, file, "a template is UTF-8 text, and not empty");
        r = write_blob(s, LAYER_TYPE("template"), text, n, &layer, e);
        if (r == 0)
                add_layer(s, layer);
        return r;
}

/* ---- parameters */

/* A number, true or false as such, anything else as text. */
static json_object *to_value(const char *text) {
        json_object *o = NULL;

        if (streq(text, "true") || streq(text, "false"))
                return json_object_new_boolean(text[0] == 't');
        if (text[0] && strspn(text, "+-.0123456789eE") == strlen(text) && (o = json_tokener_parse(text)) &&
            (json_object_is_type(o, json_type_int) || json_object_is_type(o, json_type_double)))
                return o;
        json_object_put(o);
        return json_object_new_string(text);
}

/* "stop" is a list, and may be given several times. */
static int put_parameter(json_object *o, const struct pair *p, struct error *e) {
        json_object *there = NULL;
        bool is_list = streq(p->name, "stop");

        json_object_object_get_ex(o, p->name, &there);
        if (there && !is_list)
                return fail(e, FAILURE_USAGE, -EEXIST, p->name, "it is given twice");
        if (!is_list) {
                json_object_object_add(o, p->name, to_value(p->value));
                return 0;
        }
        if (!there) {
                there = json_object_new_array();
                json_object_object_add(o, p->name, there);
        }
        json_object_array_add(there, json_object_new_string(p->value));
        return 0;
}

static int add_parameters(struct ollama_store *s, const struct pair *parameters, size_t n, struct error *e) {
        _cleanup_json_ json_object *o = json_object_new_object();
        json_object *layer;
        int r;

        for (size_t i = 0; i < n; i++) {
                r = put_parameter(o, &parameters[i], e);
                if (r < 0)
                        return r;
        }
        if (!json_object_object_get_ex(o, "use_mmap", NULL))
                json_object_object_add(o, "use_mmap", json_object_new_boolean(true));
        r = write_blob(s, LAYER_TYPE("params"), to_text(o), strlen(to_text(o)), &layer, e);
        if (r == 0)
                add_layer(s, layer);
        return r;
}

/* ---- description and manifest */

static int write_config(const struct ollama_store *s, const char *architecture, json_object **ret, struct error *e) {
        _cleanup_json_ json_object *o = json_object_new_object();
        json_object *families = json_object_new_array(), *rootfs = json_object_new_object();

        if (architecture[0])
                json_object_array_add(families, json_object_new_string(architecture));
        json_object_object_add(o, "model_format", json_object_new_string("gguf"));
        json_object_object_add(o, "model_family", json_object_new_string(architecture));
        json_object_object_add(o, "model_families", families);
        json_object_object_add(o, "model_type", json_object_new_string(""));
        json_object_object_add(o, "file_type", json_object_new_string(""));
        /* Ollama writes these two for every machine. */
        json_object_object_add(o, "architecture", json_object_new_string("amd64"));
        json_object_object_add(o, "os", json_object_new_string("linux"));
        json_object_object_add(rootfs, "type", json_object_new_string("layers"));
        json_object_object_add(rootfs, "diff_ids", json_object_get(s->layer_digests));
        json_object_object_add(o, "rootfs", rootfs);
        return write_blob(s, CONFIG_TYPE, to_text(o), strlen(to_text(o)), ret, e);
}

static int write_manifest(const struct ollama_store *s, const char *name, const char *architecture, struct error *e) {
        _cleanup_json_ json_object *o = json_object_new_object();
        _cleanup_free_ char *path = NULL;
        json_object *config;
        int r;

        r = write_config(s, architecture, &config, e);
        if (r < 0)
                return r;
        json_object_object_add(o, "schemaVersion", json_object_new_int(2));
        json_object_object_add(o, "mediaType", json_object_new_string(MANIFEST_TYPE));
        json_object_object_add(o, "config", config);
        json_object_object_add(o, "layers", json_object_get(s->layers));
        if (asprintf(&path, "%s/manifests/registry.ollama.ai/library/%s/latest", s->path, name) < 0)
                return fail_oom(e);
        return file_write(path, to_text(o), strlen(to_text(o)), 0600, e);
}

/* Of what Ollama takes as the name of a model: no host, namespace or tag. */
static int check_name(const char *name, struct error *e) {
        static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-";
        size_t n = strlen(name);

        if (n > 0 && n <= NAME_MAX_LENGTH && name[0] != '.' && name[0] != '-' && strspn(name, plain) == n)
                return 0;
        fail(e, FAILURE_USAGE, -EINVAL, name, "it is not a name that Ollama takes");
        fail_advice(e, "Give a name of at most 80 letters, digits, '_', '.' and '-' that begins with a letter, a digit "
                       "or '_': --name.");
        return -EINVAL;
}

static int fill(struct ollama_store *s, const struct ollama_options *o, const uint8_t digest[CONTENT_ADDRESS_SIZE],
                const char *architecture, struct error *e) {
        int r;

        r = make_directories(s, o->name, e);
        if (r == 0)
                r = add_weights(s, o->gguf, digest, e);
        if (r == 0 && o->template)
                r = add_template(s, o->template, e);
        if (r == 0)
                r = add_parameters(s, o->parameters, o->n_parameters, e);
        return r < 0 ? r : write_manifest(s, o->name, architecture, e);
}

int ollama_store_new(const struct ollama_options *o, struct progress *progress, struct ollama_store **ret,
                     struct error *e) {
        _cleanup_(ollama_store_freep) struct ollama_store *s = calloc(1, sizeof *s);
        uint8_t digest[CONTENT_ADDRESS_SIZE];
        char architecture[NAME_MAX_LENGTH + 1];
        int r;

        if (!s)
                return fail_oom(e);
        s->layers = json_object_new_array();
        s->layer_digests = json_object_new_array();
        r = check_name(o->name, e);
        if (r == 0)
                r = read_gguf(o->gguf, architecture, e);
        /* Before the directory exists, since a signal may end the program meanwhile. */
        if (r == 0)
                r = digest_file(o->gguf, 0, EVP_sha256(), progress, digest, e);
        if (r == 0)
                r = fill(s, o, digest, architecture, e);
        if (r < 0)
                return r;
        *ret = TAKE(s);
        return 0;
}
