/* SPDX-License-Identifier: Apache-2.0 */
#include "gate/server.h"

#include <fcntl.h>
#include <json-c/json.h>
#include <microhttpd.h>
#include <stdatomic.h>
#include <strings.h>

#include "basic/clock.h"
#include "basic/file.h"
#include "basic/json.h"

enum {
        CONNECTIONS_MAX = 2000,
        CONNECTION_BYTES = 128 * 1024, /* a header of at most half of this: a certificate with a document inside */
        REPORT_MAX = 1024 * 1024,
        FLUSH_MS = 2000,
        FLUSH_STEP_MS = 10,
};

#define WELL_KNOWN "/.well-known/sealboot/"
#define JSON "application/json"
#define ADDRESS_HEADER "X-Sealboot-Address" /* nginx sends no header of the caller's under this name */

struct server {
        struct server_sources sources;
        struct MHD_Daemon *daemon;
        atomic_uint waiting; /* requests that wait for the NitroTPM, or whose answer is not sent yet */
};

/* One request and its answer. */
struct exchange {
        struct attester_question question; /* first: `queued` and `done` are given this */
        struct server *server;
        struct MHD_Connection *connection;
        bool waited;
};

/* A header of an answer; name NULL: none. */
struct answer_header {
        const char *name, *value;
};

/* ---- answers */

static enum MHD_Result answer(struct MHD_Connection *c, unsigned status, const char *type, const void *data, size_t n,
                              const struct answer_header headers[static 3]) {
        struct MHD_Response *response;
        enum MHD_Result ok;

        response = MHD_create_response_from_buffer(n, (void *) data, MHD_RESPMEM_MUST_COPY);
        if (!response)
                return MHD_NO;
        ok = MHD_add_response_header(response, "Cache-Control", "no-store");
        if (ok == MHD_YES && type)
                ok = MHD_add_response_header(response, "Content-Type", type);
        for (size_t i = 0; ok == MHD_YES && i < 3; i++)
                if (headers[i].name && headers[i].value[0])
                        ok = MHD_add_response_header(response, headers[i].name, headers[i].value);
        if (ok == MHD_YES)
                ok = MHD_queue_response(c, status, response);
        MHD_destroy_response(response);
        return ok;
}

static const struct answer_header no_headers[3];

static enum MHD_Result answer_error(struct MHD_Connection *c, unsigned status, const char *message, unsigned retry) {
        _cleanup_json_ json_object *o = json_object_new_object();
        json_object *inner = json_object_new_object();
        struct answer_header headers[3] = {};
        char seconds[16];
        const char *text;

        json_object_object_add(o, "error", inner);
        json_object_object_add(inner, "message", json_object_new_string(message));
        json_object_object_add(inner, "type", json_object_new_string("sealboot_gate"));
        json_object_object_add(inner, "code", json_object_new_int((int) status));
        snprintf(seconds, sizeof seconds, "%u", retry);
        if (retry > 0)
                headers[0] = (struct answer_header) { "Retry-After", seconds };
        text = json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN);
        return answer(c, status, JSON, text, strlen(text), headers);
}

/* ---- the document */

static void on_queued(struct attester_question *q) {
        struct exchange *x = (struct exchange *) q;

        x->waited = true;
        atomic_fetch_add(&x->server->waiting, 1);
        MHD_suspend_connection(x->connection);
}

static void on_done(struct attester_question *q) {
        MHD_resume_connection(((struct exchange *) q)->connection);
}

struct query {
        const char *nonce;
        bool bad;
};

static enum MHD_Result look_at_argument(void *userdata, enum MHD_ValueKind kind, const char *key, const char *value) {
        struct query *q = userdata;

        (void) kind;
        if (!streq(key, "nonce") || q->nonce || !value)
                q->bad = true;
        q->nonce = value ?: "";
        return MHD_YES;
}

static enum MHD_Result answer_document(struct exchange *x) {
        const struct attester_question *q = &x->question;

        if (q->result == 0)
                return answer(x->connection, MHD_HTTP_OK, "application/cbor", q->document, q->document_size,
                              no_headers);
        if (q->result != -ESHUTDOWN)
                failure_print(stderr, "sealboot-gate", &q->error);
        return answer_error(x->connection, MHD_HTTP_SERVICE_UNAVAILABLE, failure_info(q->error.failure)->title, 5);
}

static enum MHD_Result give_attestation(struct server *s, struct exchange *x) {
        struct query query = {};
        unsigned seconds = 1;
        int r;

        if (x->waited)
                return answer_document(x);
        MHD_get_connection_values(x->connection, MHD_GET_ARGUMENT_KIND, look_at_argument, &query);
        if (query.bad || (query.nonce && attester_nonce_parse(query.nonce, &x->question) < 0))
                return answer_error(x->connection, MHD_HTTP_BAD_REQUEST,
                                    "the query may be nonce=, once, with 16 to 128 hex digits", 0);
        x->question.address =
                address_parse(MHD_lookup_connection_value(x->connection, MHD_HEADER_KIND, ADDRESS_HEADER));
        r = attester_ask(s->sources.attester, &x->question, &seconds);
        if (r == 1)
                return answer_document(x);
        if (r == 0)
                return MHD_YES; /* suspended */
        if (r == -EAGAIN)
                return answer_error(x->connection, MHD_HTTP_TOO_MANY_REQUESTS, "too many documents were asked for",
                                    seconds);
        return answer_error(x->connection, MHD_HTTP_SERVICE_UNAVAILABLE, "too many wait for a document", 5);
}

/* ---- report and requests */

static enum MHD_Result give_report(struct server *s, struct exchange *x) {
        _cleanup_free_ uint8_t *text = NULL;
        struct error e = {};
        size_t n;

        if (file_read(s->sources.report, REPORT_MAX, FAILURE_IO, &text, &n, &e) < 0)
                return answer_error(x->connection, MHD_HTTP_NOT_FOUND, "there is no boot report", 0);
        return answer(x->connection, MHD_HTTP_OK, JSON, text, n, no_headers);
}

static enum MHD_Result give_requests(struct server *s, struct exchange *x) {
        _cleanup_free_ char *text = NULL;
        size_t n;

        if (request_log_json(s->sources.log, &text, &n) < 0)
                return MHD_NO;
        return answer(x->connection, MHD_HTTP_OK, JSON, text, n, no_headers);
}

/* ---- the judgement for nginx */

/* nginx sends each of these headers once. One that is there twice is not believed. */
static const struct {
        const char *name;
        size_t offset;
} told[] = {
        { "Authorization", offsetof(struct caller_question, authorization) },
        { "X-Sealboot-Certificate", offsetof(struct caller_question, certificate) },
        { "X-Sealboot-Method", offsetof(struct caller_question, method) },
        { "X-Sealboot-Path", offsetof(struct caller_question, path) },
        { ADDRESS_HEADER, offsetof(struct caller_question, address) },
};

struct headers {
        struct caller_question question;
        bool twice;
};

static enum MHD_Result look_at_header(void *userdata, enum MHD_ValueKind kind, const char *key, const char *value) {
        struct headers *h = userdata;

        (void) kind;
        for (size_t i = 0; i < ELEMENTS(told); i++) {
                const char **to = (void *) ((uint8_t *) &h->question + told[i].offset);

                if (strcasecmp(told[i].name, key) != 0)
                        continue;
                if (*to)
                        h->twice = true;
                *to = value ?: "";
        }
        return MHD_YES;
}

static enum MHD_Result authorize(struct server *s, struct exchange *x) {
        struct headers h = {};
        struct caller_answer a;
        char retry[16] = "";

        MHD_get_connection_values(x->connection, MHD_HEADER_KIND, look_at_header, &h);
        if (h.twice)
                return answer_error(x->connection, MHD_HTTP_FORBIDDEN, "a header is there twice", 0);
        callers_judge(s->sources.callers, &h.question, &a);
        if (a.verdict == CALLER_TOO_OFTEN)
                snprintf(retry, sizeof retry, "%u", a.retry_after);
        if (a.verdict == CALLER_MAY)
                return answer(x->connection, MHD_HTTP_NO_CONTENT, NULL, "", 0,
                              (const struct answer_header[3]) { { "X-Sealboot-Caller", a.name } });
        return answer(x->connection, a.verdict == CALLER_UNKNOWN ? MHD_HTTP_UNAUTHORIZED : MHD_HTTP_FORBIDDEN, NULL, "",
                      0,
                      (const struct answer_header[3]) {
                              { "X-Sealboot-Reason", a.reason },
                              { "X-Sealboot-Retry", retry },
                              a.verdict == CALLER_UNKNOWN
                                      ? (struct answer_header) { "WWW-Authenticate", "Bearer realm=\"sealboot\"" }
                                      : (struct answer_header) { "X-Sealboot-Caller", a.name },
                      });
}

/* ---- requests */

static const struct {
        const char *path;
        enum MHD_Result (*give)(struct server *s, struct exchange *x);
} routes[] = {
        { "/authorize", authorize },
        { WELL_KNOWN "attestation", give_attestation },
        { WELL_KNOWN "report", give_report },
        { WELL_KNOWN "requests", give_requests },
};

/* Is called once with the header alone, then until the body is there, which is of no use, and when a wait is over. */
static enum MHD_Result on_request(void *userdata, struct MHD_Connection *connection, const char *url,
                                  const char *method, const char *version, const char *body, size_t *body_size,
                                  void **state) {
        struct exchange *x = *state;

        (void) version;
        (void) body;
        if (!x) {
                x = calloc(1, sizeof *x);
                if (!x)
                        return MHD_NO;
                *x = (struct exchange) { .question = { .queued = on_queued, .done = on_done },
                                         .server = userdata,
                                         .connection = connection };
                *state = x;
                return MHD_YES;
        }
        if (*body_size > 0) {
                *body_size = 0;
                return MHD_YES;
        }
        if (!streq(method, MHD_HTTP_METHOD_GET))
                return answer_error(connection, MHD_HTTP_METHOD_NOT_ALLOWED, "only GET is understood", 0);
        for (size_t i = 0; i < ELEMENTS(routes); i++)
                if (streq(routes[i].path, url))
                        return routes[i].give(userdata, x);
        return answer_error(connection, MHD_HTTP_NOT_FOUND, "there is nothing here", 0);
}

static void on_completed(void *userdata, struct MHD_Connection *connection, void **state,
                         enum MHD_RequestTerminationCode why) {
        struct exchange *x = *state;

        (void) userdata;
        (void) connection;
        (void) why;
        if (!x)
                return;
        if (x->waited)
                atomic_fetch_sub(&x->server->waiting, 1);
        free(x->question.document);
        free(x);
        *state = NULL;
}

int server_start(const struct server_sources *sources, int listening, struct server **ret, struct error *e) {
        struct server *s = calloc(1, sizeof *s);

        if (!s)
                return fail_oom(e);
        s->sources = *sources;
        if (fcntl(listening, F_SETFL, fcntl(listening, F_GETFL) | O_NONBLOCK) == 0)
                s->daemon = MHD_start_daemon(MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ITC, 0,
                                             NULL, NULL, on_request, s, MHD_OPTION_LISTEN_SOCKET, listening,
                                             MHD_OPTION_CONNECTION_LIMIT, (unsigned) CONNECTIONS_MAX,
                                             MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t) CONNECTION_BYTES,
                                             MHD_OPTION_NOTIFY_COMPLETED, on_completed, NULL, MHD_OPTION_END);
        if (!s->daemon) {
                free(s);
                return fail(e, FAILURE_GATE, -EIO, "", "cannot answer HTTP on the socket");
        }
        *ret = s;
        return 0;
}

void server_stop(struct server *s) {
        if (!s)
                return;
        attester_stop(s->sources.attester);
        /* Whoever waited has an answer by now, which is still to be sent. */
        for (unsigned ms = 0; ms < FLUSH_MS && atomic_load(&s->waiting) > 0; ms += FLUSH_STEP_MS)
                clock_sleep_ms(FLUSH_STEP_MS);
        MHD_stop_daemon(s->daemon);
        free(s);
}
