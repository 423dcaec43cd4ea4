/* SPDX-License-Identifier: Apache-2.0 */
#include "connect/transfer.h"

#include <strings.h>

#include "basic/encode.h"
#include "connect/headers.h"

enum {
        HEADERS_MAX = 128,
        HEADER_BYTES_MAX = 64 * 1024,
        UPLOAD_BUFFER = 16384,
        ATTEMPTS_MAX = 3,
        REFUSALS_MAX = 10,
        LIBCURL_MENDED = 0x080300
};

/* --- The answer */

static int add_location(struct transfer *t, const char *value) {
        const char *within = location_within(value, t->server);

        if (within)
                return answer_add(&t->answer, "Location", within);
        if (t->answer.status >= 300 && t->answer.status < 400)
                t->fault = "the server's answer leads to another host: a client that followed it would leave the "
                           "attested channel";
        return 0;
}

static int take_length(struct transfer *t, const char *value) {
        uint64_t length;

        if (decimal_parse(value, INT64_MAX, &length) < 0)
                return -EBADMSG;
        t->answer.length = (int64_t) length;
        return 0;
}

static int take_field(struct transfer *t, char *line) {
        char *name, *value;

        if (header_line_split(line, &name, &value) < 0)
                return -EBADMSG;
        if (t->answer.n_headers >= HEADERS_MAX)
                return -E2BIG;
        if (strcasecmp(name, "location") == 0)
                return add_location(t, value);
        if (strcasecmp(name, "content-length") == 0)
                return take_length(t, value);
        if (strcasecmp(name, "connection") == 0) {
                free(t->connection);
                t->connection = strdup(value);
                return 0;
        }
        return header_passes_down(name, NULL) ? answer_add(&t->answer, name, value) : 0;
}

/* What Connection names ends here, wherever it stood. */
static void drop_named(struct answer *a, const char *connection) {
        size_t kept = 0;

        for (size_t i = 0; i < a->n_headers; i++)
                if (header_passes_down(a->headers[i].name, connection) ||
                    strcasecmp(a->headers[i].name, "location") == 0)
                        a->headers[kept++] = a->headers[i];
                else {
                        free(a->headers[i].name);
                        free(a->headers[i].value);
                }
        a->n_headers = kept;
}

static int end_of_head(struct transfer *t) {
        if (t->answer.status < 200) /* 100 Continue, 103 Early Hints: the answer follows */
                return 0;
        if (t->fault)
                return -EPERM;
        drop_named(&t->answer, t->connection);
        exchange_begin_answer(t->x, &t->answer);
        t->gave = true;
        return 0;
}

static size_t on_header(char *data, size_t size, size_t n, void *userdata) {
        struct transfer *t = userdata;
        _cleanup_free_ char *line = NULL;
        int r;

        n *= size;
        if (t->x->answered) /* a trailer */
                return n;
        r = status_line_parse(data, n);
        if (r >= 0) {
                answer_done(&t->answer);
                t->answer = (struct answer) { .status = r, .length = -1 };
                return n;
        }
        line = strndup(data, n);
        if (!line || n > HEADER_BYTES_MAX || t->answer.status == 0)
                return 0;
        line[strcspn(line, "\r\n")] = '\0';
        r = line[0] == '\0' ? end_of_head(t) : take_field(t, line);
        if (r < 0 && !t->fault)
                t->fault = "the server's answer has a header that is not HTTP";
        return r < 0 ? 0 : n;
}

static size_t on_body(char *data, size_t size, size_t n, void *userdata) {
        struct transfer *t = userdata;
        int r;

        n *= size;
        r = exchange_give(t->x, data, n);
        t->gave = true;
        if (r == -EAGAIN) {
                t->paused = t->held = true;
                return CURL_WRITEFUNC_PAUSE;
        }
        return r < 0 ? 0 : n;
}

/* --- The request */

static size_t on_read(char *data, size_t size, size_t n, void *userdata) {
        struct transfer *t = userdata;
        ssize_t r = exchange_take(t->x, data, n * size);

        if (r == -EAGAIN) {
                t->paused = true;
                return CURL_READFUNC_PAUSE;
        }
        return r < 0 ? CURL_READFUNC_ABORT : (size_t) r;
}

/* libcurl has chosen the connection, and has not sent a byte of this request. */
static int before_request(void *userdata, char *ip, char *local_ip, int port, int local_port) {
        struct transfer *t = userdata;

        (void) ip;
        (void) local_ip;
        (void) port;
        (void) local_port;
        if (peer_key(t->easy, &t->key) < 0 || !instances_accept(t->instances, t->key.id)) {
                t->rejected = true;
                return CURL_PREREQFUNC_ABORT;
        }
        t->requested = true;
        return CURL_PREREQFUNC_OK;
}

static int add_line(struct curl_slist **list, const char *line) {
        struct curl_slist *longer = curl_slist_append(*list, line);

        if (!longer)
                return -ENOMEM;
        *list = longer;
        return 0;
}

static int add_headers(struct transfer *t, const struct secret *token) {
        static const char authorization[] = "authorization:", accept[] = "accept:";
        _cleanup_free_ char *line = NULL;
        bool has_accept = false;

        for (const struct curl_slist *h = t->x->headers; h; h = h->next) {
                if (token && strncasecmp(h->data, authorization, strlen(authorization)) == 0)
                        continue;
                has_accept = has_accept || strncasecmp(h->data, accept, strlen(accept)) == 0;
                if (add_line(&t->headers, h->data) < 0)
                        return -ENOMEM;
        }
        if (token && (asprintf(&line, "Authorization: Bearer %s", (const char *) token->data) < 0 ||
                      add_line(&t->headers, line) < 0))
                return -ENOMEM;
        if (line)
                explicit_bzero(line, strlen(line));
        /* What libcurl would add of its own. */
        return !has_accept && add_line(&t->headers, "Accept:") < 0 ? -ENOMEM : add_line(&t->headers, "Expect:");
}

static bool always_has_length(const char *method) {
        return streq(method, "POST") || streq(method, "PUT") || streq(method, "PATCH");
}

static int set_options(struct transfer *t) {
        const struct exchange *x = t->x;
        bool body = x->length != 0 || always_has_length(x->method);
        CURLcode r = CURLE_OK;

#define SET(option, value) r = r ?: curl_easy_setopt(t->easy, option, value)
        SET(CURLOPT_HTTPHEADER, t->headers);
        if (streq(x->method, "HEAD"))
                SET(CURLOPT_NOBODY, 1L);
        else if (body) {
                SET(CURLOPT_UPLOAD, 1L);
                SET(CURLOPT_UPLOAD_BUFFERSIZE, (long) UPLOAD_BUFFER);
                SET(CURLOPT_INFILESIZE_LARGE, (curl_off_t) x->length);
                SET(CURLOPT_READFUNCTION, on_read);
                SET(CURLOPT_READDATA, t);
        }
        if (!streq(x->method, "HEAD"))
                SET(CURLOPT_CUSTOMREQUEST, x->method);
        SET(CURLOPT_PIPEWAIT, 1L);
        SET(CURLOPT_ERRORBUFFER, t->error);
        SET(CURLOPT_HEADERFUNCTION, on_header);
        SET(CURLOPT_HEADERDATA, t);
        SET(CURLOPT_WRITEFUNCTION, on_body);
        SET(CURLOPT_WRITEDATA, t);
        SET(CURLOPT_PREREQFUNCTION, before_request);
        SET(CURLOPT_PREREQDATA, t);
        SET(CURLOPT_PRIVATE, t);
#undef SET
        return r == CURLE_OK ? 0 : -ENOMEM;
}

bool transfer_goes_alone(const struct exchange *x) {
        return curl_version_info(CURLVERSION_NOW)->version_num < LIBCURL_MENDED &&
               (x->length < 0 || x->length > UPLOAD_BUFFER);
}

int transfer_new(struct exchange *x, const struct server *server, struct peer *p, const struct secret *token,
                 struct transfer **ret) {
        struct transfer *t = calloc(1, sizeof *t);
        int r = -ENOMEM;

        if (!t)
                return -ENOMEM;
        t->x = x;
        t->instances = p->instances;
        t->server = server->url;
        t->easy = curl_easy_init();
        if (t->easy)
                r = add_headers(t, token);
        if (r == 0)
                r = peer_prepare(t->easy, server, p, x->target);
        if (r == 0)
                r = set_options(t);
        if (r < 0) {
                transfer_free(t);
                return r;
        }
        *ret = t;
        return 0;
}

void transfer_free(struct transfer *t) {
        curl_easy_cleanup(t->easy);
        curl_slist_free_all(t->headers);
        answer_done(&t->answer);
        free(t->connection);
        free(t);
}

void transfer_continue(struct transfer *t) {
        if (!t->paused)
                return;
        t->paused = t->held = false; /* a callback that still has to wait sets it again */
        curl_easy_pause(t->easy, CURLPAUSE_CONT);
}

bool transfer_may_repeat(const struct transfer *t, CURLcode code) {
        const struct exchange *x = t->x;
        /* The server had closed an idle connection, libcurl opened another one for the same request, and that ended at
         * an instance that is refused. Behind a balancer, the next one may be accepted. */
        unsigned max = code == CURLE_PEER_FAILED_VERIFICATION ? REFUSALS_MAX : ATTEMPTS_MAX;

        if (x->answered || x->sent > 0 || t->fault)
                return false;
        if (!t->requested)
                return true;
        return x->attempts < max && x->length == 0 && (streq(x->method, "GET") || streq(x->method, "HEAD"));
}
