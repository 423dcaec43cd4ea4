/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "basic/macros.h"

/* Well-formed UTF-8 (RFC 3629: shortest forms, no surrogates, up to U+10FFFF) without NUL. */
bool utf8_valid(const void *text, size_t n);
