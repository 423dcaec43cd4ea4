/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The server's side: a thread that owns all channels, gives each exchange to one, opens more when they are full, and
 * has keys attested anew before they are too old.
 *
 * A channel that could not be proven is tried again: behind a balancer the next connection may end in another instance.
 * When nothing is left and several tries in a row have failed, the requests that wait are answered with the reason. */

#include "connect/channel.h"

struct upstream;

/* What the site of the channels needs; its callbacks, its owner and epoll are filled in here. Borrowed. */
int upstream_new(const struct channel_site *site, struct upstream **ret, struct error *e);
/* Waits until the first key is attested. Otherwise e says why not. */
int upstream_wait(struct upstream *u, struct error *e);
/* Takes one of the exchange's references. From any thread. */
void upstream_submit(struct upstream *u, struct exchange *x);
/* The hook of exchange_hooks. */
void upstream_wake(struct exchange *x, void *upstream);
/* Answers what is under way with an error, and takes no more. */
void upstream_stop(struct upstream *u);
/* After upstream_stop(), when no exchange is left. */
void upstream_free(struct upstream *u);
