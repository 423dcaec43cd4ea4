/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* One request and its answer, between the side that talks to the client and the side that talks to the server. Both
 * directions are pipes with a limit: whoever fills one waits until the other side has taken from it, so that a slow
 * reader slows its sender, and memory stays small. Nobody waits inside a call: each call says whether to wait, and the
 * hooks then say when to go on. Both sides are one thread: upstream.h. */

#include <curl/curl.h>

#include "basic/failure.h"
#include "connect/pipe.h"

struct channel;
struct exchange;

/* Called in the middle of the exchange's work. They must not call into the exchange. */
struct exchange_hooks {
        void (*suspend_client)(void *client); /* it waits */
        void (*resume_client)(void *client);
        void (*wake_server)(struct exchange *x, void *server);
};

struct header {
        char *name, *value;
};

struct answer {
        int status;
        struct header *headers;
        size_t n_headers;
        int64_t length; /* -1: not known */
};

enum exchange_end {
        EXCHANGE_OPEN,
        EXCHANGE_WHOLE,
        EXCHANGE_BROKEN, /* the answer ends in the middle */
};

enum exchange_stage {
        EXCHANGE_NEW,
        EXCHANGE_WAITING, /* for a channel */
        EXCHANGE_RUNNING,
        EXCHANGE_DONE,
};

struct exchange {
        unsigned references;
        const struct exchange_hooks *hooks;
        void *client; /* NULL: it has left */
        void *server;

        /* The request's head does not change. */
        char *method, *target;
        struct curl_slist *headers;
        int64_t length; /* of the body; 0: there is none; -1: not known */
        int client_fd;

        struct pipe up;
        uint64_t sent; /* bytes of the body that the server's side has taken */
        bool up_ended, up_awaited, up_full;

        struct answer answer;
        bool answered;
        struct pipe down;
        enum exchange_end end;
        bool down_full, client_waits;
        size_t room; /* the limit of each pipe */

        /* The server's side alone. */
        enum exchange_stage stage;
        bool alone; /* it shares its connection with no other */
        void *transfer;
        struct channel *channel;
        struct exchange *next_waiting, *next_woken;
        bool woken; /* it is in the list of next_woken */
        unsigned attempts;
};

/* Takes the headers over. One reference for each side. */
int exchange_new(const char *method, const char *target, struct curl_slist *headers, int64_t length,
                 const struct exchange_hooks *hooks, void *client, struct exchange **ret, struct error *e);
void exchange_drop(struct exchange *x);

/* --- The client's side */

/* Takes what there is room for, and returns how much; when it is not all, the client has been suspended. */
size_t exchange_put(struct exchange *x, const void *data, size_t n);
void exchange_end_request(struct exchange *x);
/* Whether the answer's head is there, which then stays as it is; otherwise the client has been suspended. */
bool exchange_answered(struct exchange *x);
/* How many bytes; 0: none yet, the client has been suspended; -ENODATA: the end; -EPIPE: the answer is broken. */
ssize_t exchange_read(struct exchange *x, void *to, size_t n);
/* The client has left, or was served. */
void exchange_leave(struct exchange *x);

/* --- The server's side */

/* How much each pipe holds at most. */
void exchange_limit(struct exchange *x, size_t room);

/* How many bytes; 0: the end of the body; -EAGAIN: none yet; -ECANCELED: the client has left. */
ssize_t exchange_take(struct exchange *x, void *to, size_t n);
/* Takes the answer over. */
void exchange_begin_answer(struct exchange *x, struct answer *answer);
/* 0; -EAGAIN: full, nothing was taken; -ECANCELED: the client has left; -ENOMEM. */
int exchange_give(struct exchange *x, const void *data, size_t n);
/* Tells the client of what has come since. Call it when nothing more is at hand: telling is what costs most, since the
 * client's side looks at its sockets each time. */
void exchange_deliver(struct exchange *x);
/* Whole or broken. Without an answer, or after the end, it does nothing. */
void exchange_finish(struct exchange *x, enum exchange_end end);
/* Answers in the server's place, with a JSON text that clients of OpenAI's API show; or breaks the answer off. */
void exchange_fail(struct exchange *x, int status, const char *code, const char *text);
/* Call it now and then: memory of pipes that are not in use is freed. */
void exchange_trim(struct exchange *x);
bool exchange_left(struct exchange *x);
/* The client is gone, though its side does not know yet: breaks the answer off. */
void exchange_break(struct exchange *x);
/* Whether a paused direction can go on. */
bool exchange_can_send(struct exchange *x);
bool exchange_can_receive(struct exchange *x);

int answer_add(struct answer *a, const char *name, const char *value);
void answer_done(struct answer *a);
