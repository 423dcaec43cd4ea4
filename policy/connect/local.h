/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The local endpoint: plain HTTP/1.1 for programs of this machine. It checks where each request comes from, answers the
 * page of page.h itself, and hands everything else to the upstream. */

#include "connect/upstream.h"

struct local;

struct listen_address {
        char text[64]; /* as it was given */
        char host[48];
        uint16_t port;
        bool loopback;
};
/* "127.0.0.1:8000", "[::1]:8000", ":8000" (127.0.0.1) or a port alone. FAILURE_USAGE. */
int listen_parse(const char *text, struct listen_address *ret, struct error *e);

/* A listening socket; *port is the real one where 0 was asked for. FAILURE_NETWORK. */
int listen_open(const struct listen_address *a, int *ret_fd, uint16_t *ret_port, struct error *e);

/* Takes `fd` over. Begins to answer, in the upstream's thread. */
int local_new(int fd, struct upstream *u, struct instances *s, const char *server, struct local **ret, struct error *e);
/* After upstream_stop(). */
void local_free(struct local *l);
