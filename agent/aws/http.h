/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* One HTTP/1.1 client for all of AWS, on libcurl: TLS >= 1.2 with the peer verified, no redirects, no proxy and nothing
 * else from the environment, http and https only, bounded answers, one DNS and TLS session cache for all threads.
 *
 * A struct http_call is one attempt on one easy handle. Two ways to run it:
 * - http_perform() blocks: it prepares, transfers and judges until the judge is content or the retry policy gives up;
 * - http_prepare() readies an easy handle for the caller's own curl_multi, and http_judge() says what its result means.
 */

#include <curl/curl.h>
#include <stdatomic.h>

#include "aws/retry.h"
#include "basic/failure.h"
#include "basic/pair.h"

struct http;
struct http_call;

struct http_options {
        const char *ca_bundle;       /* PEM file; NULL: the system's */
        const char *user_agent;      /* NULL: "sealboot" */
        unsigned connect_timeout_ms; /* name, TCP and TLS together; 0: 5000 */
        unsigned low_speed_bytes;    /* a transfer below this rate (bytes/s; 0: 1024) ... */
        unsigned low_speed_seconds;  /* ... for this long (0: 15) is a network fault */
        /* Called before http_perform() waits to try again, and by http_tell_retry(), from that thread; may be NULL. */
        void (*on_retry)(void *userdata, const struct error *why, unsigned wait_ms);
        void *userdata;
        /* How long http_perform() tries again where no server has answered yet and the connection is refused, the
         * name unknown or the network unreachable; 0: as long as after any other fault. For programs that a person
         * waits for, who may have mistyped the endpoint. A boot sets 0: its network may not be up yet. */
        unsigned unreachable_ms;
        /* Once another thread has set it, http_perform() ends with -ECANCELED: at the latest after a second. NULL: it
         * cannot be cancelled. */
        const atomic_bool *cancelled;
};

/* Initialises libcurl, so the first call comes before threads. May be used from any thread afterwards. -ENOENT with
 * FAILURE_CONFIG when the CA bundle cannot be read. Free it after every call and every easy handle it prepared. */
int http_new(const struct http_options *o, struct http **ret, struct error *e);
void http_free(struct http *http);
DEFINE_CLEANUP(struct http *, http_free, http_freep)
/* Whether libcurl does TLS by OpenSSL itself, whose objects it then shows (CURLOPT_SSL_CTX_FUNCTION). */
bool http_tls_is_openssl(void);

struct http_request {
        const char *method; /* GET, HEAD, PUT, POST, DELETE */
        const char *url;    /* http or https, path and query already encoded: they are sent as they are */
        const struct pair *headers;
        size_t n_headers;
        const void *body; /* borrowed until the call is freed; PUT and POST always send one, if empty */
        size_t body_size;
        size_t max_answer;      /* bytes of answer body kept; more is an error */
        bool secret_answer;     /* let TLS, too, wipe what it decrypted */
        bool own_connection;    /* none that another request used, and none that another will use */
        unsigned timeout_ms;    /* for the whole transfer; 0: the low-speed limit alone */
        const char *subject;    /* for errors: "s3://bucket/key" */
        enum failure malformed; /* what an answer that is too large or not HTTP is called */
};

enum http_verdict {
        HTTP_OK,
        HTTP_RETRY,   /* the same again, after a wait */
        HTTP_REFRESH, /* again with fresh credentials */
        HTTP_FINAL,   /* trying again cannot help */
};

/* Resets `easy` and sets everything up for the request, with the answer's body kept in the call. To stream it instead,
 * set CURLOPT_WRITEFUNCTION and CURLOPT_WRITEDATA afterwards, and any other option (CURLOPT_PRIVATE) too. The call
 * borrows `easy` until http_call_free(), which resets it again: take the handle out of its curl_multi first. */
int http_prepare(struct http *http, CURL *easy, const struct http_request *request, struct http_call **ret,
                 struct error *e);

/* HTTP_OK: a whole answer arrived, of whatever status. Otherwise e is filled: FAILURE_NETWORK, FAILURE_CLOCK for a
 * certificate that is not valid yet, the request's `malformed`. When a write callback of the caller's refused the bytes
 * the verdict is HTTP_FINAL, and an e that the callback has filled stays: give each attempt an e of its own. */
enum http_verdict http_judge(struct http_call *call, CURLcode code, struct error *e);

void http_call_free(struct http_call *call);
DEFINE_CLEANUP(struct http_call *, http_call_free, http_call_freep)
#define _cleanup_http_call_ _cleanup_(http_call_freep)

/* All of these may be asked from the first byte a write callback gets: the headers are complete by then. */
long http_call_status(const struct http_call *call);                          /* 0: no answer yet */
const char *http_call_header(const struct http_call *call, const char *name); /* NULL: absent, or sent more than once */
const char *http_call_request_id(const struct http_call *call); /* "" when the answer has none, or no printable one */
const char *http_call_subject(const struct http_call *call);
/* The kept body, NUL-terminated; may be changed in place (secrets are taken out of it) and is wiped when freed. */
char *http_call_text(struct http_call *call, size_t *ret_n);
/* Keeps `n` more bytes of the body; a streaming write callback hands the body of an error answer to it. -EFBIG,
 * -ENOMEM. */
int http_call_body(struct http_call *call, const void *data, size_t n);
/* Gives the call something that it frees at its own end. */
void http_call_attach(struct http_call *call, void *context, void (*context_free)(void *context));
void *http_call_context(const struct http_call *call);

/* Fills e as fail() does, on the call's subject and with its request id; returns the verdict for `return`. */
enum http_verdict http_verdict_fail(struct http_call *call, enum http_verdict verdict, struct error *e,
                                    enum failure failure, const char *format, ...) _printf_(5, 6);

/* Makes curl_easy_perform() end early, too, once http_options.cancelled is set. After http_prepare(). */
void http_make_cancellable(const struct http *http, CURL *easy);

/* For a caller with an event loop of its own: calls http_options.on_retry. */
void http_tell_retry(const struct http *http, const struct error *why, unsigned wait_ms);

struct http_exchange {
        /* Makes one attempt ready; `refresh` asks for fresh credentials. A failure ends the exchange. After
         * -EKEYEXPIRED (there are no fresh credentials) the error is that of the attempt before. */
        int (*prepare)(void *userdata, CURL *easy, bool refresh, struct http_call **ret, struct error *e);
        /* Judges one attempt; fills e unless HTTP_OK. NULL: http_judge() and a 2xx status. */
        enum http_verdict (*judge)(void *userdata, struct http_call *call, CURLcode code, struct error *e);
        void *userdata;
};

/* Runs the exchange to its end. *ret is the call that was judged HTTP_OK. -ETIMEDOUT when the policy gave up, -EIO when
 * the judge called it final, -ECANCELED, or what prepare returned; e is the last attempt's, with the tally. Keeps
 * connections open. */
int http_perform(struct http *http, const struct http_exchange *exchange, const struct retry_policy *policy,
                 struct http_call **ret, struct error *e);
