/* SPDX-License-Identifier: Apache-2.0 */
#include "connect/local.h"

#include <arpa/inet.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <strings.h>

#include "basic/encode.h"
#include "connect/guard.h"
#include "connect/headers.h"
#include "connect/page.h"

enum {
        CONNECTIONS_MAX = 4096,
        CONNECTION_MEMORY = 24 * 1024, /* of which a request's head may fill two thirds */
        IDLE_SECONDS = 300,
        HELD_MAX = 32 * 1024, /* of a request that is sent when it is whole */
        BLOCK = 16 * 1024,
        LARGE_BLOCK = 64 * 1024, /* of an answer that is larger than this; a stream does not say how large it is */
};

#define PAGE "/.well-known/sealboot/"

/* A page of the server runs in the consumer's browser, which can reach every host: an image in an answer of the model,
 * whose address holds the prompt, would carry the prompt away. The policy lets a page load from, and send to, this
 * address alone. */
#define SERVER_SECURITY_POLICY \
        "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; object-src 'none'; base-uri 'self'; " \
        "form-action 'self'; frame-ancestors 'self'"

struct local {
        struct MHD_Daemon *daemon;
        struct upstream *upstream;
        struct instances *instances;
        const char *server;
        bool resumed; /* a connection has something to do that no event tells of */
};

/* One request of one connection. */
struct call {
        struct local *local;
        struct MHD_Connection *connection;
        char *target;
        bool begun;
        bool held; /* the exchange is submitted when its request is whole */
        struct exchange *x;
};

/* --- The address */

int listen_parse(const char *text, struct listen_address *ret, struct error *e) {
        const char *colon = strrchr(text, ':'), *host = text, *port = colon ? colon + 1 : text;
        size_t n = colon ? (size_t) (colon - text) : 0;
        struct in6_addr six;
        struct in_addr four;
        uint64_t number;

        *ret = (struct listen_address) { .loopback = true };
        if (n > 2 && host[0] == '[' && host[n - 1] == ']') {
                host++;
                n -= 2;
        }
        if (strlen(text) >= sizeof ret->text || n >= sizeof ret->host || decimal_parse(port, UINT16_MAX, &number) < 0)
                return fail(e, FAILURE_USAGE, -EINVAL, "",
                            "--listen takes ADDRESS:PORT, such as 127.0.0.1:8000, not '%s'", text);
        snprintf(ret->text, sizeof ret->text, "%s", text);
        if (n == 0)
                snprintf(ret->host, sizeof ret->host, "127.0.0.1");
        else
                snprintf(ret->host, sizeof ret->host, "%.*s", (int) n, host);
        ret->port = (uint16_t) number;
        if (inet_pton(AF_INET, ret->host, &four) == 1)
                ret->loopback = ntohl(four.s_addr) >> 24 == 127;
        else if (inet_pton(AF_INET6, ret->host, &six) == 1)
                ret->loopback = IN6_IS_ADDR_LOOPBACK(&six);
        else
                return fail(e, FAILURE_USAGE, -EINVAL, "", "--listen takes an IP address and a port, not '%s'", text);
        return 0;
}

int listen_open(const struct listen_address *a, int *ret_fd, uint16_t *ret_port, struct error *e) {
        union {
                struct sockaddr any;
                struct sockaddr_in four;
                struct sockaddr_in6 six;
        } address = { .four = { .sin_family = AF_INET, .sin_port = htons(a->port) } };
        socklen_t size = sizeof address.four;
        _cleanup_close_ int fd = -1;
        int on = 1;

        if (inet_pton(AF_INET, a->host, &address.four.sin_addr) != 1) {
                address.six = (struct sockaddr_in6) { .sin6_family = AF_INET6, .sin6_port = htons(a->port) };
                size = sizeof address.six;
                if (inet_pton(AF_INET6, a->host, &address.six.sin6_addr) != 1)
                        return fail(e, FAILURE_USAGE, -EINVAL, "", "'%s' is not an IP address", a->host);
        }
        fd = socket(address.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) < 0 ||
            bind(fd, &address.any, size) < 0 || listen(fd, 1024) < 0 || getsockname(fd, &address.any, &size) < 0) {
                int r = fail(e, FAILURE_NETWORK, -errno, a->text, "cannot listen there: %s", strerror(errno));

                fail_advice(e, "Another program may use the port: choose another one with --listen.");
                return r;
        }
        *ret_port = ntohs(address.any.sa_family == AF_INET ? address.four.sin_port : address.six.sin6_port);
        *ret_fd = TAKE_FD(fd);
        return 0;
}

/* --- Answers of our own */

static enum MHD_Result send_text(struct MHD_Connection *c, unsigned status, const char *type, char *text, size_t n) {
        struct MHD_Response *response = MHD_create_response_from_buffer(n, text, MHD_RESPMEM_MUST_FREE);
        enum MHD_Result r;

        if (!response) {
                free(text);
                return MHD_NO;
        }
        MHD_add_response_header(response, "Content-Type", type);
        MHD_add_response_header(response, "Content-Security-Policy", PAGE_SECURITY_POLICY);
        MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
        MHD_add_response_header(response, "Referrer-Policy", "no-referrer");
        MHD_add_response_header(response, "Cross-Origin-Resource-Policy", "same-origin");
        MHD_add_response_header(response, "Cache-Control", "no-store");
        if (status == MHD_HTTP_FORBIDDEN || status == MHD_HTTP_BAD_REQUEST)
                MHD_add_response_header(response, "Connection", "close");
        r = MHD_queue_response(c, status, response);
        MHD_destroy_response(response);
        return r;
}

static enum MHD_Result refuse(struct MHD_Connection *c, unsigned status, const char *why) {
        char *text;
        int n = asprintf(&text, "sealboot connect: %s.\n", why);

        return n < 0 ? MHD_NO : send_text(c, status, "text/plain; charset=utf-8", text, (size_t) n);
}

static const char *field(struct MHD_Connection *c, const char *name) {
        return MHD_lookup_connection_value(c, MHD_HEADER_KIND, name);
}

static bool wants_json(struct MHD_Connection *c, const char *target) {
        const char *accept = field(c, "Accept"), *query = strchr(target, '?');

        return (query && streq(query, "?json")) || (accept && strcasestr(accept, "application/json"));
}

static enum MHD_Result send_page(struct local *l, struct MHD_Connection *c, const char *method, const char *target) {
        bool json = wants_json(c, target);
        char *text;
        size_t n;

        if (!streq(method, "GET") && !streq(method, "HEAD"))
                return refuse(c, MHD_HTTP_METHOD_NOT_ALLOWED, "this page is only read");
        text = json ? page_json(l->instances, l->server, &n) : page_html(l->instances, l->server, &n);
        return text ? send_text(c, MHD_HTTP_OK, json ? "application/json" : "text/html; charset=utf-8", text, n)
                    : MHD_NO;
}

static bool is_page(const char *target) {
        size_t n = strcspn(target, "?");

        return (n == strlen(PAGE) || n == strlen(PAGE) - 1) && strncmp(target, PAGE, n) == 0;
}

/* --- Who asks */

struct guard_count {
        struct guard_headers headers;
        unsigned hosts, origins, sites;
};

static enum MHD_Result look_at_field(void *userdata, enum MHD_ValueKind kind, const char *name, const char *value) {
        struct guard_count *g = userdata;

        (void) kind;
        if (strcasecmp(name, "Host") == 0) {
                g->headers.host = value ?: "";
                g->hosts++;
        } else if (strcasecmp(name, "Origin") == 0) {
                g->headers.origin = value ?: "";
                g->origins++;
        } else if (strcasecmp(name, "Sec-Fetch-Site") == 0) {
                g->headers.fetch_site = value ?: "";
                g->sites++;
        } else if (strcasecmp(name, "Service-Worker") == 0)
                g->headers.worker = true;
        return MHD_YES;
}

static const char *why_not(struct MHD_Connection *c, const char *method, const char *target) {
        struct guard_count g = {};
        const char *why;

        MHD_get_connection_values(c, MHD_HEADER_KIND, look_at_field, &g);
        g.headers.repeated = g.hosts > 1 || g.origins > 1 || g.sites > 1;
        why = guard_refuses(&g.headers);
        if (!why && !method_is_valid(method))
                why = "the method is not passed on";
        if (!why && !target_is_valid(target))
                why = "the target is not a path: this is no proxy for other servers";
        return why;
}

/* --- Exchanges */

static void suspend_client(void *client) {
        struct call *call = client;

        MHD_suspend_connection(call->connection);
}

static void resume_client(void *client) {
        struct call *call = client;

        MHD_resume_connection(call->connection);
        call->local->resumed = true;
}

static const struct exchange_hooks hooks = { suspend_client, resume_client, upstream_wake };

struct header_copy {
        const char *connection;
        struct curl_slist *list;
        bool failed;
};

static enum MHD_Result copy_field(void *userdata, enum MHD_ValueKind kind, const char *name, const char *value) {
        struct header_copy *copy = userdata;
        struct curl_slist *longer = NULL;
        char *line;

        (void) kind;
        value = value ?: "";
        if (!header_is_valid(name, value)) {
                copy->failed = true;
                return MHD_NO;
        }
        if (!header_passes_up(name, copy->connection))
                return MHD_YES;
        /* libcurl's way to write an empty value. */
        if (asprintf(&line, value[0] ? "%s: %s" : "%s;%s", name, value) >= 0) {
                longer = curl_slist_append(copy->list, line);
                free(line);
        }
        copy->failed = !longer;
        copy->list = longer ?: copy->list;
        return longer ? MHD_YES : MHD_NO;
}

static int body_length(struct MHD_Connection *c, int64_t *ret) {
        const char *length = field(c, "Content-Length");
        uint64_t n = 0;

        if (field(c, "Transfer-Encoding"))
                *ret = -1;
        else if (length && decimal_parse(length, INT64_MAX, &n) < 0)
                return -EBADMSG;
        else
                *ret = (int64_t) n;
        return 0;
}

static enum MHD_Result begin(struct local *l, struct MHD_Connection *c, struct call *call, const char *method) {
        struct header_copy copy = { .connection = field(c, "Connection") };
        const union MHD_ConnectionInfo *info;
        const char *why = why_not(c, method, call->target);
        int64_t length;
        struct error e;

        if (why)
                return refuse(c, MHD_HTTP_FORBIDDEN, why);
        if (is_page(call->target))
                return send_page(l, c, method, call->target);
        MHD_get_connection_values(c, MHD_HEADER_KIND, copy_field, &copy);
        if (copy.failed || body_length(c, &length) < 0) {
                curl_slist_free_all(copy.list);
                return refuse(c, MHD_HTTP_BAD_REQUEST, "a header of the request is not HTTP");
        }
        if (exchange_new(method, call->target, copy.list, length, &hooks, call, &call->x, &e) < 0) {
                curl_slist_free_all(copy.list);
                return MHD_NO;
        }
        info = MHD_get_connection_info(c, MHD_CONNECTION_INFO_CONNECTION_FD);
        if (info)
                call->x->client_fd = info->connect_fd;
        call->held = length > 0 && length <= HELD_MAX;
        if (!call->held)
                upstream_submit(l->upstream, call->x);
        return MHD_YES;
}

/* A small request is sent in one piece: see transfer_goes_alone(). */
static void release(struct local *l, struct call *call) {
        if (call->held)
                upstream_submit(l->upstream, call->x);
        call->held = false;
}

static ssize_t read_answer(void *userdata, uint64_t position, char *to, size_t n) {
        ssize_t r = exchange_read(userdata, to, n);

        (void) position;
        return r == -ENODATA ? MHD_CONTENT_READER_END_OF_STREAM : r < 0 ? MHD_CONTENT_READER_END_WITH_ERROR : r;
}

/* The exchange stays for as long as its call, which ends after the response. */
static void leave_answer(void *userdata) {
        (void) userdata;
}

static bool has_no_body(const char *method, int status) {
        return streq(method, "HEAD") || status == 204 || status == 304;
}

static enum MHD_Result send_answer(struct MHD_Connection *c, struct exchange *x) {
        const struct answer *a = &x->answer;
        uint64_t length = a->length < 0 ? MHD_SIZE_UNKNOWN : (uint64_t) a->length;
        struct MHD_Response *response;
        enum MHD_Result r;

        if (a->status == 0) /* the client has gone */
                return MHD_NO;
        if ((has_no_body(x->method, a->status) && a->length <= 0) || length == 0)
                response = MHD_create_response_from_buffer(0, (void *) "", MHD_RESPMEM_PERSISTENT);
        else
                response = MHD_create_response_from_callback(length, a->length > LARGE_BLOCK ? LARGE_BLOCK : BLOCK,
                                                             read_answer, x, leave_answer);
        if (!response)
                return MHD_NO;
        for (size_t i = 0; i < a->n_headers; i++)
                MHD_add_response_header(response, a->headers[i].name, a->headers[i].value);
        r = MHD_add_response_header(response, "Content-Security-Policy", SERVER_SECURITY_POLICY);
        if (r == MHD_YES)
                r = MHD_queue_response(c, (unsigned) a->status, response);
        MHD_destroy_response(response);
        return r;
}

static enum MHD_Result answer(void *userdata, struct MHD_Connection *c, const char *url, const char *method,
                              const char *version, const char *data, size_t *size, void **state) {
        struct local *l = userdata;
        struct call *call = *state;

        (void) url;
        (void) version;
        if (!call || !call->target)
                return MHD_NO;
        if (!call->begun) {
                call->begun = true;
                return begin(l, c, call, method);
        }
        if (!call->x)
                return MHD_NO;
        if (*size > 0) {
                *size -= exchange_put(call->x, data, *size);
                if (*size > 0) /* less room than the request needs */
                        release(l, call);
                return MHD_YES;
        }
        exchange_end_request(call->x);
        release(l, call);
        return exchange_answered(call->x) ? send_answer(c, call->x) : MHD_YES;
}

/* MHD decodes the path for the handler; the server gets what the client has written. */
static void *begin_call(void *userdata, const char *target, struct MHD_Connection *c) {
        struct call *call = calloc(1, sizeof *call);

        if (!call)
                return NULL;
        *call = (struct call) { .local = userdata, .connection = c, .target = strdup(target) };
        return call;
}

static void end_call(void *userdata, struct MHD_Connection *c, void **state, enum MHD_RequestTerminationCode why) {
        struct call *call = *state;

        (void) userdata;
        (void) c;
        (void) why;
        if (!call)
                return;
        if (call->x) {
                exchange_leave(call->x);
                exchange_drop(call->x);
                if (call->held) /* the server's side never saw it */
                        exchange_drop(call->x);
        }
        free(call->target);
        free(call);
        *state = NULL;
}

/* --- The upstream's thread */

static void run(void *owner) {
        struct local *l = owner;

        l->resumed = false;
        MHD_run(l->daemon);
}

static int wait_ms(void *owner) {
        struct local *l = owner;
        MHD_UNSIGNED_LONG_LONG ms;

        if (l->resumed)
                return 0;
        if (MHD_get_timeout(l->daemon, &ms) != MHD_YES)
                return -1;
        return (int) MIN_OF(ms, (MHD_UNSIGNED_LONG_LONG) INT_MAX);
}

static void quiesce(void *owner) {
        int fd = MHD_quiesce_daemon(((struct local *) owner)->daemon);

        if (fd >= 0)
                close(fd);
}

static struct MHD_Daemon *start_daemon(struct local *l, int fd) {
        return MHD_start_daemon(MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME, 0, NULL, NULL, answer, l,
                                MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_CONNECTION_LIMIT, (unsigned) CONNECTIONS_MAX,
                                MHD_OPTION_CONNECTION_TIMEOUT, (unsigned) IDLE_SECONDS,
                                MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t) CONNECTION_MEMORY,
                                MHD_OPTION_URI_LOG_CALLBACK, begin_call, l, MHD_OPTION_NOTIFY_COMPLETED, end_call, NULL,
                                MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_END);
}

int local_new(int fd, struct upstream *u, struct instances *s, const char *server, struct local **ret,
              struct error *e) {
        const union MHD_DaemonInfo *info = NULL;
        struct local *l = calloc(1, sizeof *l);

        if (!l) {
                close(fd);
                return fail_oom(e);
        }
        *l = (struct local) { .upstream = u, .instances = s, .server = server };
        l->daemon = start_daemon(l, fd);
        if (l->daemon)
                info = MHD_get_daemon_info(l->daemon, MHD_DAEMON_INFO_EPOLL_FD);
        if (!info) {
                if (l->daemon)
                        MHD_stop_daemon(l->daemon);
                else
                        close(fd);
                free(l);
                return fail(e, FAILURE_INTERNAL, -EIO, "", "libmicrohttpd does not start: %s", strerror(errno));
        }
        upstream_serve(u, &(struct endpoint) { info->epoll_fd, run, wait_ms, quiesce, l });
        *ret = l;
        return 0;
}

void local_free(struct local *l) {
        if (!l)
                return;
        MHD_stop_daemon(l->daemon);
        free(l);
}
