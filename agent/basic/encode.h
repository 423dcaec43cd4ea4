/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Hex, base64 (RFC 4648) and decimal numbers, strict: no whitespace, no missing or surplus padding, no other alphabet.
 */

#include "basic/macros.h"

/* Writes 2 * n lower-case digits and a NUL. */
void hex_encode(const void *data, size_t n, char *out);
/* Exactly n bytes from exactly 2 * n digits of either case; -EINVAL otherwise. */
int hex_decode(const char *text, void *out, size_t n) _must_check_;

/* Digits alone, without the signs, spaces and wrap-around that strtoull() takes, and no leading zeros: a number up to
 * `max`. decimal_read() moves the cursor behind it; decimal_parse() wants nothing to follow. -EINVAL. */
int decimal_read(const char **cursor, uint64_t max, uint64_t *ret) _must_check_;
int decimal_parse(const char *text, uint64_t max, uint64_t *ret) _must_check_;

/* A malloc'ed NUL-terminated string; -ENOMEM. */
int base64_encode(const void *data, size_t n, char **ret) _must_check_;
/* malloc'ed bytes (never NULL on success, even when empty); -EINVAL, -ENOMEM. */
int base64_decode(const char *text, size_t length, uint8_t **ret, size_t *ret_n) _must_check_;
