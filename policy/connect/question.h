/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the client asks of the server about the server itself: its attestation document, with a nonce or without, and
 * its boot report. Each is one small GET. */

#include "connect/peer.h"

enum question_kind {
        QUESTION_ATTEST, /* with a nonce: proves the key of the connection that answers */
        QUESTION_GREET,  /* without: shows the key, at the cost of no TPM command */
        QUESTION_REPORT,
};

enum { QUESTION_NONCE_SIZE = 32, QUESTION_BODY_MAX = 256 * 1024 };

struct question {
        enum question_kind kind;
        uint8_t nonce[QUESTION_NONCE_SIZE];
        struct peer_key key;              /* of the connection that carries it */
        bool asked;                       /* the question went out: `key` is set */
        bool proven_only;                 /* goes to an accepted key alone */
        const struct curl_slist *headers; /* more header lines, borrowed; NULL: none */
        struct instances *instances;
        CURL *easy;
        uint8_t *body;
        size_t size;
        char error[CURL_ERROR_SIZE];
};

/* Zero-initialise, and set `kind`. Borrows `q` and `p` until the transfer has ended. */
int question_prepare(CURL *easy, const struct server *server, struct peer *p, struct question *q, struct error *e);
void question_done(struct question *q);

/* Why there is no answer: FAILURE_NETWORK, with libcurl's own words. */
int question_failed(const struct question *q, CURL *easy, CURLcode code, const char *subject, struct error *e);
