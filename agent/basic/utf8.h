/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "basic/macros.h"

/* Well-formed UTF-8 (RFC 3629: shortest forms, no surrogates, up to U+10FFFF) without NUL. */
bool utf8_valid(const void *text, size_t n);

/* Well-formed, and without control characters (C0, DEL, C1): cannot steer a terminal, nor begin another line. */
bool utf8_printable(const char *text);
/* Makes it so, in place: every byte of what is not becomes '?'. */
void utf8_make_printable(char *text);
