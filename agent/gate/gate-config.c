/* SPDX-License-Identifier: Apache-2.0 */
#include "gate/gate-config.h"

#include "basic/encode.h"
#include "basic/file.h"
#include "basic/json.h"
#include "basic/utf8.h"

enum { GATE_CONFIG_MAX = 256 * 1024, FIELDS_MAX = 8, MAX_AGE_DEFAULT = 3600, CONNECTIONS_DEFAULT = 1024 };

static void caller_done(struct gate_caller *c) {
        free(c->name);
        free(c->file);
        free(c->root);
        free(c->digests);
}

void gate_config_free(struct gate_config *c) {
        if (!c)
                return;
        for (size_t i = 0; i < c->n_callers; i++)
                caller_done(&c->callers[i]);
        free(c->callers);
        allow_list_done(&c->paths);
        free(c->upstream_socket);
        free(c->report);
        free(c->tcti);
        free(c);
}

/* The configuration being read. Every complaint names the file and the key. */
struct reading {
        struct gate_config *c;
        const char *subject;
        struct error *e;
};

#define BAD(r, ...) fail((r)->e, FAILURE_CONFIG, -EINVAL, (r)->subject, __VA_ARGS__)
#define FIELDS(r, object, fields, where) \
        json_fields(object, fields, ELEMENTS(fields), FAILURE_CONFIG, (r)->subject, where, (r)->e)

/* A text that is whole: one cut at an embedded NUL would read differently elsewhere. "": it is none. */
static const char *whole_text(json_object *o) {
        if (!json_object_is_type(o, json_type_string) || strlen(json_text(o)) != (size_t) json_object_get_string_len(o))
                return "";
        return json_text(o);
}

static int copy(const struct reading *r, const char *text, char **ret) {
        *ret = text ? strdup(text) : NULL;
        return !text || *ret ? 0 : fail_oom(r->e);
}

/* An absolute path whose characters mean themselves in nginx's configuration, too. */
static int take_path(const struct reading *r, const char *where, const char *text, char **ret) {
        static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._~-:@+,=";

        if (text && (text[0] != '/' || text[1] == '\0' || text[strlen(text) - 1] == '/'))
                return BAD(r, "\"%s\": \"%.200s\" is not the absolute path of a file", where, text);
        if (text && text[strspn(text, plain)])
                return BAD(r,
                           "\"%s\": \"%.200s\" has a character that is not a letter, a digit or one of "
                           "/ . _ ~ - : @ + , =",
                           where, text);
        return copy(r, text, ret);
}

/* ---- who may call */

static int take_name(const struct reading *r, const char *where, const char *text, char **ret) {
        static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
        const struct gate_config *c = r->c;

        if (text[strspn(text, plain)] || streq(text, "anybody"))
                return BAD(r, "\"%s.name\": \"%.100s\" is not a name: letters, digits and . _ -, and not anybody",
                           where, text);
        for (size_t i = 0; i < c->n_callers; i++)
                if (streq(c->callers[i].name, text))
                        return BAD(r, "\"%s.name\": another caller has the name \"%s\"", where, text);
        return copy(r, text, ret);
}

static int take_token(const struct reading *r, const char *where, json_object *o, struct gate_caller *ret) {
        json_object *name = NULL, *sha256 = NULL, *reads = NULL;
        const struct json_field fields[] = {
                { "name", json_type_string, true, 1, CALLER_NAME_MAX, "a name of 1 to 32 characters", &name },
                { "sha256", json_type_string, true, 64, 64, "64 hex digits", &sha256 },
                { "reads_requests", json_type_boolean, false, 0, 0, "true or false", &reads },
        };
        const struct gate_config *c = r->c;
        int k;

        k = FIELDS(r, o, fields, where);
        if (k == 0)
                k = take_name(r, where, json_text(name), &ret->name);
        if (k < 0)
                return k;
        if (hex_decode(json_text(sha256), ret->token, sizeof ret->token) < 0)
                return BAD(r, "\"%s.sha256\" is not 64 hex digits", where);
        for (size_t i = 0; i < c->n_callers; i++)
                if (c->callers[i].kind == CALLER_TOKEN && memcmp(c->callers[i].token, ret->token, 32) == 0)
                        return BAD(r, "\"%s.sha256\" is the token of \"%s\", too", where, c->callers[i].name);
        ret->reads_requests = json_boolean(reads, false);
        return 0;
}

static int take_authority(const struct reading *r, const char *where, json_object *o, struct gate_caller *ret) {
        json_object *name = NULL, *file = NULL, *reads = NULL;
        const struct json_field fields[] = {
                { "name", json_type_string, true, 1, CALLER_NAME_MAX, "a name of 1 to 32 characters", &name },
                { "file", json_type_string, true, 1, 1024, "an absolute path", &file },
                { "reads_requests", json_type_boolean, false, 0, 0, "true or false", &reads },
        };
        int k;

        k = FIELDS(r, o, fields, where);
        if (k == 0)
                k = take_name(r, where, json_text(name), &ret->name);
        if (k == 0)
                k = take_path(r, where, json_text(file), &ret->file);
        ret->reads_requests = json_boolean(reads, false);
        return k;
}

static int take_digests(const struct reading *r, const char *where, json_object *o, struct gate_caller *ret) {
        static const char prefix[] = "sha384:";
        size_t n = o ? json_object_array_length(o) : 0;

        ret->digests = calloc(n + 1, sizeof *ret->digests);
        if (!ret->digests)
                return fail_oom(r->e);
        for (; ret->n_digests < n; ret->n_digests++) {
                json_object *item = json_object_array_get_idx(o, ret->n_digests);
                const char *text = whole_text(item);

                if (strncmp(text, prefix, strlen(prefix)) != 0 ||
                    hex_decode(text + strlen(prefix), ret->digests[ret->n_digests], PEER_DIGEST_SIZE) < 0)
                        return BAD(r, "\"%s.model_digests[%zu]\" must be sha384: and 96 hex digits", where,
                                   ret->n_digests);
        }
        return 0;
}

static int take_peer(const struct reading *r, const char *where, json_object *o, struct gate_caller *ret) {
        json_object *name = NULL, *file = NULL, *digests = NULL, *age = NULL, *root = NULL, *reads = NULL;
        const struct json_field fields[] = {
                { "name", json_type_string, true, 1, CALLER_NAME_MAX, "a name of 1 to 32 characters", &name },
                { "references", json_type_string, true, 1, 1024, "an absolute path", &file },
                { "model_digests", json_type_array, false, 1, 1000, "a list of 1 to 1000 model digests", &digests },
                { "max_age_seconds", json_type_int, false, 1, 10800, "1 to 10800", &age },
                { "root", json_type_string, false, 1, 1024, "an absolute path", &root },
                { "reads_requests", json_type_boolean, false, 0, 0, "true or false", &reads },
        };
        int k;

        k = FIELDS(r, o, fields, where);
        if (k == 0)
                k = take_name(r, where, json_text(name), &ret->name);
        if (k == 0)
                k = take_path(r, where, json_text(file), &ret->file);
        if (k == 0)
                k = take_path(r, where, json_text(root), &ret->root);
        if (k == 0)
                k = take_digests(r, where, digests, ret);
        ret->max_age_seconds = (unsigned) json_integer(age, MAX_AGE_DEFAULT);
        ret->reads_requests = json_boolean(reads, false);
        return k;
}

static const struct {
        const char *key;
        enum caller_kind kind;
        int (*take)(const struct reading *r, const char *where, json_object *o, struct gate_caller *ret);
} kinds[] = {
        { "tokens", CALLER_TOKEN, take_token },
        { "certificate_authorities", CALLER_AUTHORITY, take_authority },
        { "peers", CALLER_PEER, take_peer },
};

static int add_callers(const struct reading *r, size_t kind, json_object *list) {
        struct gate_config *c = r->c;

        for (size_t i = 0; i < json_object_array_length(list); i++) {
                struct gate_caller caller = { .kind = kinds[kind].kind };
                char where[64];
                int k;

                snprintf(where, sizeof where, "callers.%s[%zu]", kinds[kind].key, i);
                if (c->n_callers + 1 >= CALLERS_MAX)
                        return BAD(r, "\"callers\" has more than %d", CALLERS_MAX - 1);
                k = kinds[kind].take(r, where, json_object_array_get_idx(list, i), &caller);
                if (k < 0) {
                        caller_done(&caller);
                        return k;
                }
                c->callers[c->n_callers++] = caller;
        }
        return 0;
}

static int take_callers(const struct reading *r, json_object *o) {
        json_object *anybody = NULL, *lists[ELEMENTS(kinds)] = {};
        const struct json_field fields[] = {
                { "anybody", json_type_boolean, false, 0, 0, "true or false", &anybody },
                { "tokens", json_type_array, false, 1, 500, "a list of 1 to 500 objects", &lists[0] },
                { "certificate_authorities", json_type_array, false, 1, 100, "a list of 1 to 100 objects", &lists[1] },
                { "peers", json_type_array, false, 1, 100, "a list of 1 to 100 objects", &lists[2] },
        };
        struct gate_config *c = r->c;
        int k;

        c->callers = calloc(CALLERS_MAX, sizeof *c->callers);
        if (!c->callers)
                return fail_oom(r->e);
        k = FIELDS(r, o, fields, "callers");
        for (size_t i = 0; k == 0 && i < ELEMENTS(kinds); i++)
                k = lists[i] ? add_callers(r, i, lists[i]) : 0;
        if (k < 0)
                return k;
        if (json_boolean(anybody, false)) {
                c->callers[c->n_callers] = (struct gate_caller) { .kind = CALLER_ANYBODY, .name = strdup("anybody") };
                return c->callers[c->n_callers++].name ? 0 : fail_oom(r->e);
        }
        if (c->n_callers == 0)
                return BAD(r, "\"callers\" names nobody: give tokens, certificate_authorities or peers, or say "
                              "\"anybody\": "
                              "true");
        return 0;
}

/* ---- what they may ask for */

static int take_methods(const struct reading *r, const char *where, json_object *list, unsigned *ret) {
        *ret = 0;
        for (size_t i = 0; i < json_object_array_length(list); i++) {
                json_object *o = json_object_array_get_idx(list, i);
                unsigned method = method_named(whole_text(o));

                if (method == 0)
                        return BAD(r, "\"%s.methods[%zu]\" is none of GET, HEAD, POST, PUT, DELETE, PATCH and OPTIONS",
                                   where, i);
                *ret |= method;
        }
        return 0;
}

static int add_path(const struct reading *r, const char *where, json_object *o) {
        json_object *path = NULL, *prefix = NULL, *methods = NULL;
        const struct json_field fields[] = {
                { "path", json_type_string, false, 1, ALLOWED_PATH_MAX, "a path of 1 to 200 characters", &path },
                { "prefix", json_type_string, false, 1, ALLOWED_PATH_MAX, "a path of 1 to 200 characters", &prefix },
                { "methods", json_type_array, true, 1, 7, "a list of 1 to 7 methods", &methods },
        };
        struct error why = {};
        unsigned wanted;
        int k;

        k = FIELDS(r, o, fields, where);
        if (k < 0)
                return k;
        if (!path == !prefix)
                return BAD(r, "\"%s\" must have one of \"path\" and \"prefix\"", where);
        k = take_methods(r, where, methods, &wanted);
        if (k < 0)
                return k;
        k = allow_list_add(&r->c->paths, json_text(path ?: prefix), prefix, wanted, &why);
        return k < 0 ? BAD(r, "\"%s\": %s", where, why.reason) : 0;
}

static int take_paths(const struct reading *r, json_object *o) {
        json_object *server = NULL, *also = NULL;
        const struct json_field fields[] = {
                { "server", json_type_string, false, 1, 64, "\"llama-server\", \"ollama\" or \"vllm\"", &server },
                { "also", json_type_array, false, 1, 150, "a list of 1 to 150 objects", &also },
        };
        struct error why = {};
        int k;

        k = FIELDS(r, o, fields, "paths");
        if (k < 0)
                return k;
        if (server && allow_list_add_server(&r->c->paths, json_text(server), &why) < 0)
                return BAD(r, "\"paths.server\": %s", why.reason);
        for (size_t i = 0; also && i < json_object_array_length(also); i++) {
                char where[64];

                snprintf(where, sizeof where, "paths.also[%zu]", i);
                k = add_path(r, where, json_object_array_get_idx(also, i));
                if (k < 0)
                        return k;
        }
        return r->c->paths.n > 0 ? 0 : BAD(r, "\"paths\" lets nothing through: give \"server\" or \"also\"");
}

/* ---- the rest */

static int take_upstream(const struct reading *r, const char *text) {
        static const char socket[] = "unix:", loopback[] = "127.0.0.1:";
        uint64_t port;

        if (strncmp(text, socket, strlen(socket)) == 0)
                return take_path(r, "upstream", text + strlen(socket), &r->c->upstream_socket);
        if (strncmp(text, loopback, strlen(loopback)) != 0 ||
            decimal_parse(text + strlen(loopback), UINT16_MAX, &port) < 0 || port == 0)
                return BAD(r, "\"upstream\" is \"%.200s\", expected unix:/PATH or 127.0.0.1:PORT", text);
        r->c->upstream_port = (unsigned) port;
        return 0;
}

static int take_limits(const struct reading *r, json_object *o) {
        json_object *body = NULL, *requests = NULL, *connections = NULL, *all = NULL, *each = NULL;
        const struct json_field fields[] = {
                { "body_bytes", json_type_int, false, 1, (int64_t) 1 << 40, "1 to 1099511627776", &body },
                { "requests_per_minute", json_type_int, false, 1, 1000000, "1 to 1000000", &requests },
                { "connections", json_type_int, false, 1, 65535, "1 to 65535", &connections },
                { "attestations_per_minute", json_type_int, false, 1, 6000, "1 to 6000", &all },
                { "attestations_per_minute_and_address", json_type_int, false, 1, 6000, "1 to 6000", &each },
        };
        struct gate_config *c = r->c;
        int k;

        k = o ? FIELDS(r, o, fields, "limits") : 0;
        c->body_bytes = json_integer(body, 16 * 1024 * 1024);
        c->requests_per_minute = (unsigned) json_integer(requests, 0);
        c->connections = (unsigned) json_integer(connections, CONNECTIONS_DEFAULT);
        c->attestations_per_minute = (unsigned) json_integer(all, 60);
        c->attestations_per_minute_and_address = (unsigned) json_integer(each, 20);
        return k;
}

static int take_all(const struct reading *r, json_object *o) {
        json_object *callers = NULL, *paths = NULL, *upstream = NULL, *port = NULL, *ipv6 = NULL, *limits = NULL,
                    *report = NULL, *tcti = NULL;
        const struct json_field fields[] = {
                { "callers", json_type_object, true, 0, 0, "an object that says who may call", &callers },
                { "paths", json_type_object, true, 0, 0, "an object that says what may be asked for", &paths },
                { "upstream", json_type_string, true, 1, 200, "unix:/PATH or 127.0.0.1:PORT", &upstream },
                { "port", json_type_int, false, 1, 65535, "1 to 65535", &port },
                { "ipv6", json_type_boolean, false, 0, 0, "true or false", &ipv6 },
                { "limits", json_type_object, false, 0, 0, "an object", &limits },
                { "report", json_type_string, false, 1, 1024, "an absolute path", &report },
                { "tcti", json_type_string, false, 1, 1024, "a TCTI string", &tcti },
        };
        int k;

        k = FIELDS(r, o, fields, "");
        if (k == 0)
                k = take_callers(r, callers);
        if (k == 0)
                k = take_paths(r, paths);
        if (k == 0)
                k = take_upstream(r, json_text(upstream));
        if (k == 0)
                k = take_limits(r, limits);
        if (k == 0)
                k = take_path(r, "report", report ? json_text(report) : "/run/sealboot/report.json", &r->c->report);
        if (k == 0 && tcti && !utf8_printable(json_text(tcti)))
                return BAD(r, "\"tcti\" has control characters");
        if (k == 0)
                k = copy(r, json_text(tcti), &r->c->tcti);
        r->c->port = (unsigned) json_integer(port, 443);
        r->c->ipv6 = json_boolean(ipv6, true);
        return k;
}

int gate_config_parse(const char *text, size_t n, const char *subject, struct gate_config **ret, struct error *e) {
        _cleanup_gate_config_ struct gate_config *c = calloc(1, sizeof *c);
        const struct reading reading = { .c = c, .subject = subject, .e = e };
        _cleanup_json_ json_object *o = NULL;
        int r;

        if (!c)
                return fail_oom(e);
        r = json_parse(text, n, FAILURE_CONFIG, subject, &o, e);
        if (r == 0)
                r = take_all(&reading, o);
        if (r < 0)
                return r;
        *ret = TAKE(c);
        return 0;
}

int gate_config_load(const char *path, struct gate_config **ret, struct error *e) {
        _cleanup_free_ uint8_t *text = NULL;
        size_t n;
        int r;

        r = file_read(path, GATE_CONFIG_MAX, FAILURE_CONFIG, &text, &n, e);
        return r < 0 ? r : gate_config_parse((char *) text, n, path, ret, e);
}
