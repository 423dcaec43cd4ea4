/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Reading many TLS records with one receive. libcurl asks the kernel twice for each record of 16 KiB: for its header
 * and for its body. OpenSSL can take several at once ("read ahead"), but libcurl waits for the socket without looking
 * at what OpenSSL holds: whoever drives the transfer has to act on the connection again while that is a whole record.
 *
 *      do {
 *              before = records;
 *              curl_multi_socket_action(multi, fd, ...);
 *      } while (records != before && read_ahead_left(easy));
 *
 * Sources: libcurl's CURLINFO_TLS_SSL_PTR(3); OpenSSL's SSL_CTX_set_read_ahead(3), SSL_has_pending(3). */

#include <curl/curl.h>
#include <openssl/ssl.h>

#include "basic/macros.h"

/* For a CURLOPT_SSL_CTX_FUNCTION, of a libcurl with OpenSSL. *records grows with each record that OpenSSL begins to
 * read and, in TLS 1.3, has read to its end; it outlives the connections. In TLS 1.2 an action may take a record to its
 * end without a sign: there, go on until the second action that changes nothing. */
void read_ahead_prepare(SSL_CTX *ctx, uint64_t *records);
/* The transfer's connection if OpenSSL holds bytes of it, perhaps less than a record; else NULL. */
const SSL *read_ahead_left(CURL *easy);
/* A transfer's connection, if it is one of OpenSSL's; else NULL. */
SSL *tls_connection(CURL *easy);
