/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The gate's answers over HTTP, to nginx alone: it listens on a Unix socket that only nginx may connect to.
 *
 *     GET /.well-known/sealboot/attestation[?nonce=HEX]   the document, application/cbor
 *     GET /.well-known/sealboot/report                    the boot report
 *     GET /.well-known/sealboot/requests                  the log of requests
 *     GET /authorize                                      204, 401 or 403, from the headers X-Sealboot-Method,
 *                                                         X-Sealboot-Path, X-Sealboot-Certificate and Authorization
 */

#include "gate/attester.h"
#include "gate/callers.h"
#include "gate/request-log.h"

struct server;

/* What answers are made of; borrowed. */
struct server_sources {
        struct attester *attester;
        struct callers *callers;
        struct request_log *log;
        const char *report; /* file name */
};

/* Answers on this listening socket, which it then owns, in a thread of its own. FAILURE_GATE. */
int server_start(const struct server_sources *sources, int listening, struct server **ret, struct error *e);
/* Stops the attester first, which has the questions that connections wait for. */
void server_stop(struct server *s);
