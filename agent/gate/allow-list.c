/* SPDX-License-Identifier: Apache-2.0 */
#include "gate/allow-list.h"

static const struct {
        const char *name;
        enum method method;
} methods[] = {
        { "GET", METHOD_GET },       { "HEAD", METHOD_HEAD },   { "POST", METHOD_POST },       { "PUT", METHOD_PUT },
        { "DELETE", METHOD_DELETE }, { "PATCH", METHOD_PATCH }, { "OPTIONS", METHOD_OPTIONS },
};

unsigned method_named(const char *name) {
        for (size_t i = 0; i < ELEMENTS(methods); i++)
                if (streq(methods[i].name, name))
                        return methods[i].method;
        return 0;
}

void methods_text(unsigned wanted, const char *separator, char ret[static METHODS_TEXT_MAX]) {
        size_t n = 0;

        ret[0] = '\0';
        for (size_t i = 0; i < ELEMENTS(methods); i++)
                if (wanted & methods[i].method)
                        n += (size_t) snprintf(ret + n, METHODS_TEXT_MAX - n, "%s%s", n ? separator : "",
                                               methods[i].name);
}

/* ---- ready-made lists */

struct ready {
        const char *path; /* with a slash at its end: a prefix, but for "/" */
        unsigned methods;
};

/* clang-format off */
/* Left out: /slots (others' prompts), /metrics, POST /props, /lora-adapters, /models/load and /models/unload, /tools
 * and /cors-proxy (a way out of the instance). */
static const struct ready llama_server[] = {
        { "/",                    METHOD_GET | METHOD_HEAD }, /* its own user interface */
        { "/index.html",          METHOD_GET },
        { "/bundle.js",           METHOD_GET },
        { "/bundle.css",          METHOD_GET },
        { "/simplechat.js",       METHOD_GET }, /* Debian builds the older interface */
        { "/simplechat.css",      METHOD_GET },
        { "/datautils.mjs",       METHOD_GET },
        { "/ui.mjs",              METHOD_GET },
        { "/favicon.ico",         METHOD_GET },
        { "/favicon.svg",         METHOD_GET },
        { "/_app/",               METHOD_GET },
        { "/health",              METHOD_GET },
        { "/v1/health",           METHOD_GET },
        { "/props",               METHOD_GET },
        { "/models",              METHOD_GET },
        { "/v1/models",           METHOD_GET },
        { "/completion",          METHOD_POST },
        { "/completions",         METHOD_POST },
        { "/v1/completions",      METHOD_POST },
        { "/chat/completions",    METHOD_POST },
        { "/v1/chat/completions", METHOD_POST },
        { "/v1/responses",        METHOD_POST },
        { "/v1/messages",         METHOD_POST },
        { "/v1/messages/count_tokens", METHOD_POST },
        { "/embedding",           METHOD_POST },
        { "/embeddings",          METHOD_POST },
        { "/v1/embeddings",       METHOD_POST },
        { "/rerank",              METHOD_POST },
        { "/v1/rerank",           METHOD_POST },
        { "/infill",              METHOD_POST },
        { "/tokenize",            METHOD_POST },
        { "/detokenize",          METHOD_POST },
        { "/apply-template",      METHOD_POST },
};

/* Left out: /api/push, /api/pull, /api/create, /api/copy, /api/delete, /api/blobs/, /api/ps, /api/me, /debug/pprof/. */
static const struct ready ollama[] = {
        { "/",                    METHOD_GET | METHOD_HEAD },
        { "/api/version",         METHOD_GET },
        { "/api/tags",            METHOD_GET },
        { "/api/show",            METHOD_POST },
        { "/api/generate",        METHOD_POST },
        { "/api/chat",            METHOD_POST },
        { "/api/embed",           METHOD_POST },
        { "/api/embeddings",      METHOD_POST },
        { "/v1/models",           METHOD_GET },
        { "/v1/completions",      METHOD_POST },
        { "/v1/chat/completions", METHOD_POST },
        { "/v1/responses",        METHOD_POST },
        { "/v1/messages",         METHOD_POST },
        { "/v1/embeddings",       METHOD_POST },
};

/* Left out: /metrics, /load, /docs, /openapi.json, /invocations, /v1/responses/ID (others' answers), and what
 * administers: /scale_elastic_ep, /sleep, /wake_up, /reset_prefix_cache, /start_profile, /v1/load_lora_adapter, ... */
static const struct ready vllm[] = {
        { "/health",              METHOD_GET },
        { "/ping",                METHOD_GET },
        { "/version",             METHOD_GET },
        { "/v1/models",           METHOD_GET },
        { "/v1/completions",      METHOD_POST },
        { "/v1/chat/completions", METHOD_POST },
        { "/v1/responses",        METHOD_POST },
        { "/v1/messages",         METHOD_POST },
        { "/v1/embeddings",       METHOD_POST },
        { "/v1/score",            METHOD_POST },
        { "/v1/rerank",           METHOD_POST },
        { "/rerank",              METHOD_POST },
        { "/score",               METHOD_POST },
        { "/pooling",             METHOD_POST },
        { "/classify",            METHOD_POST },
        { "/v1/audio/transcriptions", METHOD_POST },
        { "/v1/audio/translations",   METHOD_POST },
        { "/tokenize",            METHOD_POST },
        { "/detokenize",          METHOD_POST },
};

static const struct {
        const char *name;
        const struct ready *rows;
        size_t n;
} servers[] = {
        { "llama-server", llama_server, ELEMENTS(llama_server) },
        { "ollama",       ollama,       ELEMENTS(ollama) },
        { "vllm",         vllm,         ELEMENTS(vllm) },
};
/* clang-format on */

int allow_list_add_server(struct allow_list *l, const char *server, struct error *e) {
        for (size_t i = 0; i < ELEMENTS(servers); i++) {
                if (!streq(servers[i].name, server))
                        continue;
                for (size_t k = 0; k < servers[i].n; k++) {
                        const struct ready *row = &servers[i].rows[k];
                        size_t length = strlen(row->path);
                        int r;

                        r = allow_list_add(l, row->path, length > 1 && row->path[length - 1] == '/', row->methods, e);
                        if (r < 0)
                                return r;
                }
                return 0;
        }
        return fail(e, FAILURE_CONFIG, -ENOENT, "paths",
                    "there is no list for \"%.64s\"; there are llama-server, "
                    "ollama and vllm",
                    server);
}

/* ---- one path */

static bool begins(const char *text, const char *with) {
        return strncmp(text, with, strlen(with)) == 0;
}

/* A segment "." or ".." is gone after nginx has normalised the path, and so is an empty one. */
static bool has_odd_segment(const char *path) {
        for (const char *p = path; p; p = strchr(p + 1, '/')) {
                size_t n = strcspn(p + 1, "/");

                if ((n == 0 && p[1] == '/') || (n == 1 && p[1] == '.') || (n == 2 && p[1] == '.' && p[2] == '.'))
                        return true;
        }
        return false;
}

/* The characters are those that mean themselves in a URL and in nginx's configuration. */
static const char *path_fault(const char *path, bool is_prefix) {
        static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._~-:@+,=";
        size_t n = strlen(path);

        if (path[0] != '/')
                return "does not begin with a slash";
        if (n > ALLOWED_PATH_MAX)
                return "is longer than 200 characters";
        if (path[strspn(path, plain)])
                return "has a character that is not a letter, a digit or one of / . _ ~ - : @ + , =";
        if (has_odd_segment(path))
                return "has an empty segment, or the segment . or ..";
        if (begins(path, "/.well-known/sealboot") || begins(path, "/_sealboot") || streq(path, "/authorize"))
                return "belongs to the gate";
        if (is_prefix && n == 1)
                return "would let every path through";
        if (is_prefix && path[n - 1] != '/')
                return "does not end with a slash, as a prefix must";
        if (is_prefix && begins("/.well-known/sealboot/", path))
                return "covers paths that belong to the gate";
        return NULL;
}

int allow_list_add(struct allow_list *l, const char *path, bool is_prefix, unsigned wanted, struct error *e) {
        const char *fault = path_fault(path, is_prefix);
        struct allowed *larger;

        if (fault)
                return fail(e, FAILURE_CONFIG, -EINVAL, "paths", "\"%.220s\" %s", path, fault);
        for (size_t i = 0; i < l->n; i++)
                if (streq(l->items[i].path, path) && l->items[i].is_prefix == is_prefix)
                        return fail(e, FAILURE_CONFIG, -EEXIST, "paths", "\"%s\" is listed twice", path);
        if (l->n >= ALLOW_LIST_MAX)
                return fail(e, FAILURE_CONFIG, -E2BIG, "paths", "there are more than %d", ALLOW_LIST_MAX);
        larger = reallocarray(l->items, l->n + 1, sizeof *larger);
        if (!larger)
                return fail_oom(e);
        l->items = larger;
        larger[l->n] = (struct allowed) { strdup(path), is_prefix, wanted };
        if (!larger[l->n].path)
                return fail_oom(e);
        l->n++;
        return 0;
}

const struct allowed *allow_list_find(const struct allow_list *l, const char *path) {
        const struct allowed *longest = NULL;

        for (size_t i = 0; i < l->n; i++) {
                const struct allowed *a = &l->items[i];

                if (!a->is_prefix && streq(a->path, path))
                        return a;
                if (a->is_prefix && begins(path, a->path) && (!longest || strlen(a->path) > strlen(longest->path)))
                        longest = a;
        }
        return longest && !has_odd_segment(path) ? longest : NULL;
}

void allow_list_done(struct allow_list *l) {
        for (size_t i = 0; i < l->n; i++)
                free(l->items[i].path);
        free(l->items);
        *l = (struct allow_list) {};
}
