/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Reading many TLS records with one receive. libcurl asks the kernel twice for each record of 16 KiB: for its header
 * and for its body. OpenSSL can take several at once ("read ahead"), but libcurl waits for the socket without looking
 * at what OpenSSL holds: whoever drives the transfer has to act on the connection again while that is a whole record.
 *
 *      do {
 *              before = read.records;
 *              curl_multi_socket_action(multi, fd, ...);
 *      } while (read.records != before && read_ahead_left(easy));
 *
 * libcurl also acts on transfers whose timers have expired, whichever connection it was told to act on; after a hundred
 * records of one transfer it sets such a timer, to go on later. So this goes for every connection that was read: see
 * `others`.
 *
 * Sources: libcurl's CURLINFO_TLS_SSL_PTR(3); OpenSSL's SSL_CTX_set_read_ahead(3), SSL_has_pending(3). */

#include <curl/curl.h>
#include <openssl/ssl.h>

#include "basic/macros.h"

/* What OpenSSL has read on the connections of one thread. */
struct read_ahead {
        /* Grows with each record that OpenSSL begins to read and, in TLS 1.3, has read to its end. In TLS 1.2 an action
         * may take a record to its end without a sign: there, go on until the second action that changes nothing. */
        uint64_t records;
        const SSL *expected; /* the connection that is acted on: set it before */
        bool others;         /* a record of another one was begun or, in TLS 1.3, read to its end; reset it yourself */
};

/* For a CURLOPT_SSL_CTX_FUNCTION, of a libcurl with OpenSSL. *r outlives the connections. */
void read_ahead_prepare(SSL_CTX *ctx, struct read_ahead *r);
/* The transfer's connection if OpenSSL holds bytes of it, perhaps less than a record; else NULL. */
const SSL *read_ahead_left(CURL *easy);
/* A transfer's connection, if it is one of OpenSSL's; else NULL. */
SSL *tls_connection(CURL *easy);
