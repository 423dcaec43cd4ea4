/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "basic/failure.h"

bool is_gzip(const uint8_t *data, size_t n);

/* A gzip file, of one member or several, into malloc'ed memory of at most `max` bytes with a NUL after it.
 * FAILURE_USAGE when it is damaged, larger, or this build has no zlib. */
int gunzip(const uint8_t *data, size_t n, size_t max, const char *subject, uint8_t **ret, size_t *ret_n,
           struct error *e);
