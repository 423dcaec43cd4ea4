/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Drives the transfers of one thread by libcurl's multi_socket interface: a connection costs time only when it has
 * something to read. TLS records are read ahead (aws/read-ahead.h). Source: libcurl's curl_multi_socket_action(3). */

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
