/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A channel to the server: one set of connections of libcurl's, usually one connection, which has shown its key and was
 * attested before it carries a request. The first transfer of a channel is a question for evidence, so that the
 * connection that showed a new key is the one that is attested, and is then used: behind a balancer another connection
 * would show another key.
 *
 * Each request is held back once more on the connection that libcurl has chosen for it: libcurl may have opened it
 * anew. Where its key is not accepted, nothing is sent, and the request goes back to its owner.
 *
 * All functions are for one thread. */

#include "basic/secret.h"
#include "connect/attestor.h"
#include "connect/exchange.h"

struct channel;

struct channel_site {
        const struct server *server;
        struct instances *instances;
        struct identity *identity;
        struct attestor *attestor;
        const struct secret *token; /* NULL: the client's own Authorization goes through */
        int epoll;                  /* events carry channel_tag() */

        /* What the owner hears. The channel is proven, and may have room. */
        void (*proven)(struct channel *c, void *owner);
        /* It could not be proven: e says why, `code` is the refusal's. */
        void (*failed)(struct channel *c, const struct error *e, const char *code, void *owner);
        /* An exchange has ended; or must go over another channel, because nothing of it was sent over this one. */
        void (*ended)(struct channel *c, struct exchange *x, bool again, void *owner);
        void *owner;
};

enum channel_state {
        CHANNEL_ASKING,
        CHANNEL_READY,
        CHANNEL_CLOSED, /* takes no more requests; free it when channel_busy() is 0 */
};

/* `number` becomes part of the tag of its epoll events. http1: not HTTP/2. Begins to connect. */
int channel_new(const struct channel_site *site, uint32_t number, bool http1, struct channel **ret, struct error *e);
void channel_free(struct channel *c);

enum channel_state channel_state(const struct channel *c);
bool channel_is_multiplexed(const struct channel *c); /* HTTP/2 */
bool channel_is_http1(const struct channel *c);       /* was asked to be */
/* Exchanges under way; and, on HTTP/1.1, the question under way, which has the connection. */
size_t channel_busy(const struct channel *c);
/* Whether a client does not take its answer as fast as it comes. On HTTP/2 libcurl announces a window of megabytes for
 * each stream, and other streams of the connection make it read, and keep, what the slow client has no room for. So
 * such a channel gets no more streams. */
bool channel_is_held(const struct channel *c);
int64_t channel_used_ns(const struct channel *c);
const uint8_t *channel_key(const struct channel *c);
bool channel_is_asking(const struct channel *c);      /* for evidence, at first or anew */
int64_t channel_evidence_ns(const struct channel *c); /* the age of what this side showed, as identity_made_ns() */

/* Takes the exchange, and ends it or gives it back by `ended`. */
void channel_send(struct channel *c, struct exchange *x);
/* Asks for evidence anew; streams go on. */
void channel_attest(struct channel *c);
void channel_close(struct channel *c);
/* Call it once a second: memory that is not in use is freed. */
void channel_trim(struct channel *c);
/* The exchange's pipes have changed, or its client has left. */
void channel_wake(struct channel *c, struct exchange *x);
/* Ends this exchange, or all of them, with that error. */
void channel_abort(struct channel *c, struct exchange *x);
void channel_cut(struct channel *c, const struct error *e);

static inline uint64_t channel_tag(uint32_t number, int fd) {
        return (uint64_t) number << 32 | (uint32_t) fd;
}
void channel_event(struct channel *c, int fd, uint32_t events);
/* When channel_time() wants to be called, by clock_ns(). */
int64_t channel_deadline_ns(const struct channel *c);
void channel_time(struct channel *c);
