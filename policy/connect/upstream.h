/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The thread that does all the work: it owns all channels, gives each exchange to one, opens more when they are full,
 * and has keys attested anew before they are too old. It also serves the local endpoint: between two threads, each
 * would wake the other for every piece of an answer, which costs more than the piece.
 *
 * A channel that could not be proven is tried again: behind a balancer the next connection may end in another instance.
 * When nothing is left and several tries in a row have failed, the requests that wait are answered with the reason. */

#include "connect/channel.h"

struct upstream;

/* The local endpoint, as the thread sees it. All are called by the thread. */
struct endpoint {
        int epoll;                    /* readable when there is something to do */
        void (*run)(void *owner);     /* does what there is to do, and never waits */
        int (*wait_ms)(void *owner);  /* when to call run() again without an event; -1: never */
        void (*quiesce)(void *owner); /* no more connections */
        void *owner;
};

/* What the site of the channels needs; its callbacks, its owner and epoll are filled in here. Borrowed. */
int upstream_new(const struct channel_site *site, struct upstream **ret, struct error *e);
/* Waits until the first key is attested. Otherwise e says why not. */
int upstream_wait(struct upstream *u, struct error *e);
/* From then on, the thread serves it, until upstream_stop(). */
void upstream_serve(struct upstream *u, const struct endpoint *endpoint);
/* Takes one of the exchange's references. Called by the thread. */
void upstream_submit(struct upstream *u, struct exchange *x);
/* The hook of exchange_hooks. */
void upstream_wake(struct exchange *x, void *upstream);
/* Answers what is under way with an error, takes no more, and ends the thread. */
void upstream_stop(struct upstream *u);
/* After upstream_stop(), when no exchange is left. */
void upstream_free(struct upstream *u);
