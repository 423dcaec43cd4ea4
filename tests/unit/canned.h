/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* An HTTP server on a loopback port that gives prepared replies, one a connection, in order, and keeps the requests. */

#include <arpa/inet.h>
#include <pthread.h>
#include <sys/socket.h>
#include <time.h>

#include "basic/macros.h"

struct canned_reply {
        const char *status;  /* "200 OK"; NULL: `raw` instead */
        const char *headers; /* "Name: value\r\n..." or NULL; Content-Length is added */
        const char *body;
        const char *raw; /* sent as it is; "" just hangs up */
        unsigned delay_ms;
};

enum { CANNED_MAX = 24 };

struct canned {
        int fd;
        char url[64];
        pthread_t thread;
        const struct canned_reply *replies;
        size_t n_replies;
        char *requests[CANNED_MAX]; /* head and body */
        size_t n_requests;
};

/* Reads a head, then as much body as it announces. */
static inline char *canned_read(int fd) {
        char *text = calloc(1, 128 * 1024), *end = NULL, *length;
        size_t n = 0, wanted = SIZE_MAX;

        while (text && n < wanted && n < 128 * 1024 - 1) {
                ssize_t got = read(fd, text + n, 128 * 1024 - 1 - n);

                if (got <= 0)
                        break;
                n += (size_t) got;
                if (!end && (end = strstr(text, "\r\n\r\n"))) {
                        length = strcasestr(text, "\r\ncontent-length:");
                        wanted = (size_t) (end + 4 - text) +
                                 (length && length < end ? strtoul(length + 17, NULL, 10) : 0);
                }
        }
        return text;
}

static inline void canned_reply(int fd, const struct canned_reply *reply) {
        _cleanup_free_ char *text = NULL;
        const char *out = reply->raw;

        nanosleep(&(struct timespec) { reply->delay_ms / 1000, (long) (reply->delay_ms % 1000) * 1000000 }, NULL);
        if (reply->status) {
                if (asprintf(&text, "HTTP/1.1 %s\r\nContent-Length: %zu\r\nConnection: close\r\n%s\r\n%s",
                             reply->status, strlen(reply->body ?: ""), reply->headers ?: "", reply->body ?: "") < 0)
                        abort();
                out = text;
        }
        if (send(fd, out, strlen(out), MSG_NOSIGNAL) < 0)
                return;
        shutdown(fd, SHUT_WR);
}

static inline void *canned_serve(void *userdata) {
        struct canned *c = userdata;

        while (c->n_requests < MIN_OF(c->n_replies, (size_t) CANNED_MAX)) {
                _cleanup_close_ int fd = accept4(c->fd, NULL, NULL, SOCK_CLOEXEC);

                if (fd < 0)
                        break;
                c->requests[c->n_requests] = canned_read(fd);
                canned_reply(fd, &c->replies[c->n_requests++]);
        }
        return NULL;
}

static inline void canned_start(struct canned *c, const struct canned_reply *replies, size_t n) {
        struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        socklen_t length = sizeof a;

        *c = (struct canned) { .replies = replies, .n_replies = n };
        c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (c->fd < 0 || bind(c->fd, (struct sockaddr *) &a, sizeof a) < 0 || listen(c->fd, 16) < 0 ||
            getsockname(c->fd, (struct sockaddr *) &a, &length) < 0)
                abort();
        snprintf(c->url, sizeof c->url, "http://127.0.0.1:%u", (unsigned) ntohs(a.sin_port));
        if (pthread_create(&c->thread, NULL, canned_serve, c) != 0)
                abort();
}

/* Returns how many requests came; their texts stay until canned_done(). */
static inline size_t canned_stop(struct canned *c) {
        shutdown(c->fd, SHUT_RDWR);
        pthread_join(c->thread, NULL);
        close(c->fd);
        return c->n_requests;
}

static inline void canned_done(struct canned *c) {
        for (size_t i = 0; i < c->n_requests; i++)
                free(c->requests[i]);
}
