/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Drives the transfers of one thread by libcurl's multi_socket interface: a connection costs time only when it has
 * something to read. With OpenSSL, each receive takes many TLS records ("read ahead"), where libcurl by itself takes
 * two receives for a record of 16 KiB. libcurl does not look at what OpenSSL has read ahead, so the loop does: it acts
 * on a connection again until OpenSSL has no whole record left. Sources: libcurl's curl_multi_socket_action(3),
 * CURLINFO_TLS_SSL_PTR(3); OpenSSL's SSL_CTX_set_read_ahead(3), SSL_has_pending(3). */

#include <curl/curl.h>

#include "basic/failure.h"

struct loop;

/* Keeps up to `connections` open for later transfers. */
int loop_new(size_t connections, struct loop **ret, struct error *e);
void loop_free(struct loop *l); /* after the last easy handle was taken out */
DEFINE_CLEANUP(struct loop *, loop_free, loop_freep)

/* Begins the transfer of a handle that is ready. Negative: libcurl or the kernel refused. */
int loop_add(struct loop *l, CURL *easy);
void loop_remove(struct loop *l, CURL *easy);
/* Waits until bytes arrive, loop_wake() is called, or `sleep_ms` have passed, and lets libcurl act. Then
 * loop_ended() returns the handles whose transfer has ended, one after another; NULL: no more. */
int loop_run(struct loop *l, int sleep_ms);
CURL *loop_ended(struct loop *l, CURLcode *ret_code);
/* From any thread: ends the wait of loop_run(), or of the next one. */
void loop_wake(struct loop *l);
