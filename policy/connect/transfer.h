/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* One exchange on one easy handle of libcurl's: its request line, header fields and callbacks. */

#include "basic/secret.h"
#include "connect/exchange.h"
#include "connect/peer.h"

/* Whether the request must not share its connection. libcurl before 8.3 loses an answer on HTTP/2 that comes before it
 * has sent the last of the request, such as "401" without reading a large prompt, when it reads that answer on behalf
 * of another stream. A request that it sends in one piece is as good as safe. */
bool transfer_goes_alone(const struct exchange *x);

struct transfer {
        CURL *easy;
        struct exchange *x;
        struct instances *instances;
        const char *server;
        struct curl_slist *headers;
        struct answer answer; /* while its head arrives */
        char *connection;     /* the Connection field of the answer */
        struct peer_key key;
        bool requested; /* libcurl has begun to send */
        bool rejected;  /* the connection's key was not accepted */
        bool paused;
        bool held;         /* the client does not take its answer as fast as the server sends it */
        bool gave;         /* the exchange has something that its client was not told of */
        const char *fault; /* of the answer */
        char error[CURL_ERROR_SIZE];
};

int transfer_new(struct exchange *x, const struct server *server, struct peer *p, const struct secret *token,
                 struct transfer **ret);
void transfer_free(struct transfer *t);
/* After a pause, when its exchange can go on. */
void transfer_continue(struct transfer *t);
/* Whether the same request may be sent once more, after this end. */
bool transfer_may_repeat(const struct transfer *t, CURLcode code);
