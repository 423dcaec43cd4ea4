/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A model: its files with their paths and digests, the digest of the whole, and its manifest.
 *
 * Model digest: SHA-384 of the text with one line "sha256:<hex> <path>\n" per file (<hex>: the fs-verity digest),
 * sorted bytewise by path. PCR15 is extended with that text, hashed with the algorithm of each bank: a SHA-384 bank
 * that was zero then has SHA384(0^48 || model digest). Anybody can reproduce it: (cd model; find . -type f -printf
 * '%P\0' | LC_ALL=C sort -z | xargs -0 fsverity digest --) | sha384sum
 *
 * Manifest: JSON {"sealboot": 1, "name": text, "version": text, "digest": "sha384:<hex>", "files": [{"path": text,
 * "size": bytes, "digest": "sha256:<hex>", "object": text}]}. It is sealed as every file is, as `manifest.sealed`.
 * "object" is a key relative to the manifest's prefix. sealboot-manifest(5) describes how to write a manifest. */

#include "evidence/registers.h"
#include "sealed/message.h"
#include "sealed/verity.h"

enum {
        MODEL_DIGEST = SHA384_SIZE,
        MODEL_FILES_MAX = 10000,
        MODEL_PATH_MAX = 1024,
        MODEL_MANIFEST_MAX = 16 * 1024 * 1024,
};

#define MODEL_MANIFEST_OBJECT "manifest.sealed"

struct model_file {
        char *path;   /* relative, '/' between parts */
        char *object; /* key below the prefix; NULL: the file is in no manifest */
        uint64_t size;
        uint8_t digest[VERITY_DIGEST];
};

struct model {
        char *name, *version; /* NULL: there is no manifest */
        struct model_file *files;
        size_t n_files;
        uint8_t digest[MODEL_DIGEST]; /* the model digest: of a manifest, or set by model_digest() */
        char *text;                   /* the text that model_digest() hashed; NULL before */
        size_t text_size;
};

void model_free(struct model *m);
DEFINE_CLEANUP(struct model *, model_free, model_freep)
#define _cleanup_model_ _cleanup_(model_freep)

int model_new(struct model **ret, struct error *e);
/* Why a path must not name a file below a directory: it is absolute, leaves the directory, has parts that no file name
 * is. NULL: it may. */
const char *model_path_problem(const char *path);
/* Appends a file; path and object are copied. FAILURE_MANIFEST: a path or object is absolute, has an empty part, ".",
 * ".." or a control character, or is longer than MODEL_PATH_MAX; or there are more than MODEL_FILES_MAX files. *ret is
 * valid until the next call. */
int model_add(struct model *m, const char *subject, const char *path, const char *object, uint64_t size,
              struct model_file **ret, struct error *e);
/* Sorts the files bytewise by path. Refuses equal paths, and a path that is a directory of another path. */
int model_sort(struct model *m, const char *subject, struct error *e);

/* Sets m->digest and m->text. The files must be sorted, and have their digests. */
int model_digest(struct model *m, struct error *e);
/* PCR15 of the SHA-384 bank after one extend from zero. */
int model_pcr15(const uint8_t digest[static MODEL_DIGEST], uint8_t ret[static MODEL_DIGEST], struct error *e);

uint64_t model_size(const struct model *m);
/* How many directories the files are in. The files must be sorted. */
size_t model_directories(const struct model *m);

/* The encryption context says what an object is. Its sealer wrote it, and the operator cannot change it:
 *
 *   "sealboot" = "manifest-model"  the object belongs to a model with a manifest, and is no model of its own
 *   "file" = name                  the object is a model of one file, which has this name
 *   neither                        another program sealed it, or an old `sealboot seal`, which did not mark objects */
#define MODEL_MARK_CONTEXT "sealboot"
#define MODEL_MARK_MANIFEST "manifest-model"
#define MODEL_FILE_CONTEXT "file"
/* The file's name in a model of one file whose sealer gave none. The name of the object is not used: the operator
 * chooses it. */
#define MODEL_FILE_UNNAMED "model"

/* The file's name in the model that a single object is. FAILURE_CONTEXT: the object belongs to a model with a manifest,
 * or "file" is no safe file name. The caller frees *ret. */
int model_single_name(const struct message_header *h, const char *subject, char **ret, struct error *e);
/* Whether the sealer has marked the object as a model of one file. */
bool model_is_single(const struct message_header *h);
/* For the plaintext of an object without a mark: FAILURE_CONTEXT if it is a manifest. */
int model_refuse_manifest(const char *text, size_t n, const char *subject, struct error *e);

/* Parses a manifest and checks all of it, with its model digest. */
int manifest_parse(const char *text, size_t n, const char *subject, struct model **ret, struct error *e);

/* The name that `sealboot seal` gives to the object of file `index`. The agent fetches the first object by this name
 * before it can read the manifest. A manifest may give other names to its objects: then the boot takes longer. */
#define MODEL_OBJECT_FORMAT "%05zu.sealed"
