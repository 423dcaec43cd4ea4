/* SPDX-License-Identifier: Apache-2.0 */
#include "connect/question.h"

#include <openssl/rand.h>

#include "basic/encode.h"

#define WELL_KNOWN "/.well-known/sealboot/"

enum { TIMEOUT_MS = 45000 };

static size_t take(char *data, size_t size, size_t n, void *userdata) {
        struct question *q = userdata;
        uint8_t *larger;

        n *= size;
        if (n > QUESTION_BODY_MAX - q->size)
                return 0;
        larger = realloc(q->body, q->size + n + 1);
        if (!larger)
                return 0;
        q->body = larger;
        memcpy(q->body + q->size, data, n);
        q->size += n;
        q->body[q->size] = '\0';
        return n;
}

/* libcurl has a connection, and has sent nothing on it for this transfer. */
static int look_at_key(void *userdata, char *ip, char *local_ip, int port, int local_port) {
        struct question *q = userdata;

        (void) ip;
        (void) local_ip;
        (void) port;
        (void) local_port;
        if (peer_key(q->easy, &q->key) < 0 || (q->proven_only && !instances_accept(q->instances, q->key.id)))
                return CURL_PREREQFUNC_ABORT;
        q->asked = true;
        return CURL_PREREQFUNC_OK;
}

int question_prepare(CURL *easy, const struct server *server, struct peer *p, struct question *q, struct error *e) {
        char target[sizeof WELL_KNOWN + 64 + 2 * QUESTION_NONCE_SIZE] = WELL_KNOWN "attestation";
        CURLcode r;

        q->easy = easy;
        q->instances = p->instances;
        if (q->kind == QUESTION_REPORT)
                snprintf(target, sizeof target, WELL_KNOWN "report");
        if (q->kind == QUESTION_ATTEST) {
                char nonce[2 * QUESTION_NONCE_SIZE + 1];

                if (RAND_bytes(q->nonce, sizeof q->nonce) != 1)
                        return fail(e, FAILURE_INTERNAL, -EIO, "", "OpenSSL's random generator failed");
                hex_encode(q->nonce, sizeof q->nonce, nonce);
                snprintf(target, sizeof target, WELL_KNOWN "attestation?nonce=%s", nonce);
        }
        if (peer_prepare(easy, server, p, target) < 0)
                return fail_oom(e);
        r = CURLE_OK;
#define SET(option, value) r = r ?: curl_easy_setopt(easy, option, value)
        SET(CURLOPT_TIMEOUT_MS, (long) TIMEOUT_MS);
        SET(CURLOPT_ERRORBUFFER, q->error);
        SET(CURLOPT_WRITEFUNCTION, take);
        SET(CURLOPT_WRITEDATA, q);
        SET(CURLOPT_PREREQFUNCTION, look_at_key);
        SET(CURLOPT_PREREQDATA, q);
        SET(CURLOPT_HTTPHEADER, q->headers);
        SET(CURLOPT_USERAGENT, "sealboot-connect/" SEALBOOT_VERSION);
#undef SET
        return r == CURLE_OK ? 0 : fail_oom(e);
}

void question_done(struct question *q) {
        free(q->body);
        *q = (struct question) {};
}

int question_failed(const struct question *q, CURL *easy, CURLcode code, const char *subject, struct error *e) {
        const char *why = q->error[0] ? q->error : curl_easy_strerror(code);
        long status = 0;

        curl_easy_getinfo(easy, CURLINFO_HTTP_CONNECTCODE, &status);
        if (status >= 300)
                return fail(e, FAILURE_NETWORK, -EIO, subject, "the proxy refused with HTTP status %ld", status);
        if (code == CURLE_ABORTED_BY_CALLBACK)
                return fail(e, FAILURE_NETWORK, -EIO, subject, "the connection is not TLS 1.3 with a key of its own");
        if (code == CURLE_SSL_CONNECT_ERROR)
                return fail(e, FAILURE_NETWORK, -EIO, subject, "no TLS 1.3 connection: %s", why);
        return fail(e, FAILURE_NETWORK, -EIO, subject, "%s", why);
}
