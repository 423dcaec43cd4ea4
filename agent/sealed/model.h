/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What a model is, once opened: a set of files with paths and digests; its digest; and its manifest.
 *
 * Model digest: SHA-384 of the text with one line "sha256:<hex> <path>\n" per file (<hex>: the fs-verity digest),
 * sorted bytewise by path. PCR15 is extended with that text by the rules of each bank, so that a SHA-384 bank which was
 * zero holds SHA384(0^48 || model digest). Anybody can reproduce it: (cd model; find . -type f -printf '%P\0' |
 * LC_ALL=C sort -z | xargs -0 fsverity digest --) | sha384sum
 *
 * Manifest: JSON {"sealboot": 1, "name": text, "version": text, "digest": "sha384:<hex>", "files": [{"path": text,
 * "size": bytes, "digest": "sha256:<hex>", "object": text}]}. It is sealed like any file, as `manifest.sealed`;
 * "object" is a key relative to its prefix. sealboot-manifest(5) tells others how to write one. */

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
        char *object; /* key below the prefix; NULL when not from a manifest */
        uint64_t size;
        uint8_t digest[VERITY_DIGEST];
};

struct model {
        char *name, *version; /* NULL when not from a manifest */
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
/* Appends a file; path and object are copied. Refuses unsafe paths and objects (FAILURE_MANIFEST): absolute, empty
 * parts,
 * "." or "..", control characters, longer than MODEL_PATH_MAX, and more than MODEL_FILES_MAX files. *ret stays valid
 * until the next append. */
int model_add(struct model *m, const char *subject, const char *path, const char *object, uint64_t size,
              struct model_file **ret, struct error *e);
/* Sorts the files bytewise by path; refuses equal paths, and a path that is a directory of another. */
int model_sort(struct model *m, const char *subject, struct error *e);

/* Sets m->digest and m->text. The files must be sorted, and have their digests. */
int model_digest(struct model *m, struct error *e);
/* PCR15 of the SHA-384 bank after one extend from zero. */
int model_pcr15(const uint8_t digest[static MODEL_DIGEST], uint8_t ret[static MODEL_DIGEST], struct error *e);

uint64_t model_size(const struct model *m);
/* How many directories the files lie in; they must be sorted. */
size_t model_directories(const struct model *m);

/* What an object is, by its sealer's word in the encryption context, which the operator cannot change:
 *
 *   "sealboot" = "manifest-model"  it belongs to a model with a manifest, and is no model of its own
 *   "file" = name                  it is a model of one file, of this name
 *   neither                        sealed by another program, or as part of a model before there was the mark */
#define MODEL_MARK_CONTEXT "sealboot"
#define MODEL_MARK_MANIFEST "manifest-model"
#define MODEL_FILE_CONTEXT "file"
/* The file's name in a model of one file whose sealer gave none. Not the object's name: that one is the operator's
 * choice. */
#define MODEL_FILE_UNNAMED "model"

/* The file's name in the model that a single object is: FAILURE_CONTEXT when it is marked as no model of its own,
 * or "file" is no single safe name. The caller frees *ret. */
int model_single_name(const struct message_header *h, const char *subject, char **ret, struct error *e);
/* Whether the sealer said so: then the object needs no second look. */
bool model_is_single(const struct message_header *h);
/* FAILURE_CONTEXT when these bytes, which were sealed as an object of neither kind, are a manifest. */
int model_refuse_manifest(const char *text, size_t n, const char *subject, struct error *e);

/* Parses and checks everything a manifest says, its own model digest included. */
int manifest_parse(const char *text, size_t n, const char *subject, struct model **ret, struct error *e);
/* The caller frees *ret. */
int manifest_write(const struct model *m, char **ret, struct error *e);

/* The name that seal gives to the object of file `index`. The agent counts on it in one place: it starts fetching the
 * first object before it can read the manifest. A manifest may name objects otherwise; that costs time, nothing else.
 */
#define MODEL_OBJECT_FORMAT "%05zu.sealed"
