/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "basic/macros.h"

/* Well-formed UTF-8 (RFC 3629: shortest forms, no surrogates, up to U+10FFFF) without NUL. */
bool utf8_valid(const void *text, size_t n);

/* The one filter for text of others that a terminal, a log or a status line shows. Printable text is well-formed and
 * has no character that steers a terminal, begins another line, or shows text in another order than it has: no control
 * characters (C0, DEL, C1), no line or paragraph separator, no bidirectional embedding, override or isolate. */
bool utf8_printable(const char *text);
/* In place: '?' replaces each character that is not printable, and each byte that is in no character. */
void utf8_make_printable(char *text);
/* Writes such text without changing it. */
void utf8_print(FILE *f, const char *text);
