/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What a caller may ask of the inference server: paths, each with its methods. What is not listed is refused. nginx
 * holds the list, since the configuration that it follows has one location for each row; the gate judges every request
 * by the same rows once more.
 *
 * A path is judged as its bytes stand. One that could be spelled in another way ("//", "/./", "%2e") is never listed,
 * and nginx refuses a request whose path it had to normalise. */

#include "basic/failure.h"

enum method {
        METHOD_GET = 1 << 0,
        METHOD_HEAD = 1 << 1,
        METHOD_POST = 1 << 2,
        METHOD_PUT = 1 << 3,
        METHOD_DELETE = 1 << 4,
        METHOD_PATCH = 1 << 5,
        METHOD_OPTIONS = 1 << 6,
};

enum { ALLOWED_PATH_MAX = 200, ALLOW_LIST_MAX = 200 };

struct allowed {
        char *path; /* a prefix ends with a slash */
        bool is_prefix;
        unsigned methods; /* of enum method */
};

/* Zero-initialise. */
struct allow_list {
        struct allowed *items;
        size_t n;
};

/* 0: no such method. */
unsigned method_named(const char *name);
/* "GET|POST", in a fixed order. */
enum { METHODS_TEXT_MAX = 64 };
void methods_text(unsigned methods, const char *separator, char ret[static METHODS_TEXT_MAX]);

/* Appends the ready-made list for "llama-server", "ollama" or "vllm": what its clients need, and neither metrics,
 * profiles, other callers' prompts, nor anything that changes, loads or sends models. -ENOENT when there is none. */
int allow_list_add_server(struct allow_list *l, const char *server, struct error *e);
/* FAILURE_CONFIG with the reason: not a path that can be listed, or listed already. */
int allow_list_add(struct allow_list *l, const char *path, bool is_prefix, unsigned methods, struct error *e);
/* The row for this path: the one that equals it, else the longest prefix. NULL: the path is not listed. */
const struct allowed *allow_list_find(const struct allow_list *l, const char *path);
void allow_list_done(struct allow_list *l);
#define _cleanup_allow_list_ _cleanup_(allow_list_done)
