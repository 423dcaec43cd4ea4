/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What this program knows of the instances it has seen: as a page that a browser shows without script, and as JSON.
 * Most of it is text of others. */

#include "connect/instances.h"

#define PAGE_SECURITY_POLICY \
        "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

/* malloc'ed; NULL: out of memory. */
char *page_html(struct instances *s, const char *server, size_t *ret_n);
char *page_json(struct instances *s, const char *server, size_t *ret_n);
