/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The directory that Ollama keeps a model in, made of a GGUF file without Ollama and without a copy of the weights:
 *
 *   manifests/registry.ollama.ai/library/NAME/latest   the manifest: lists the layers
 *   blobs/sha256-HEX                                   the layers: weights, template, parameters; and a description
 *
 * Equal input gives equal bytes. Format: Docker's image manifest, version 2, with Ollama's own media types. */

#include "basic/pair.h"
#include "owner/progress.h"
#include "owner/source.h"

enum { OLLAMA_PARAMETERS_MAX = 32, OLLAMA_TEMPLATE_MAX = 1024 * 1024 };

struct ollama_options {
        const struct source *gguf; /* the weights: one file */
        const char *name;          /* clients ask for the model by this name */
        const char *template;      /* a file: how messages become a prompt, in Go's template language; NULL: none */
        const struct pair *parameters;
        size_t n_parameters;
};

struct ollama_store;

/* Makes the store in a temporary directory. There the weights are a symbolic link. "use_mmap" is true unless the
 * parameters say otherwise: where it is not set, Ollama on a CPU reads the weights into memory of its own. FAILURE_IO:
 * not a GGUF file, or not readable; FAILURE_USAGE: a name or a parameter that Ollama would not take. */
int ollama_store_new(const struct ollama_options *o, struct progress *progress, struct ollama_store **ret,
                     struct error *e);
const char *ollama_store_path(const struct ollama_store *s);
/* Removes the directory. */
void ollama_store_free(struct ollama_store *s);
DEFINE_CLEANUP(struct ollama_store *, ollama_store_free, ollama_store_freep)
