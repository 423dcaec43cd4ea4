/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A fleet's statistics, for a terminal, for programs, and as a page for a browser. */

#include "fleet/statistics.h"

void fleet_print(FILE *f, const struct fleet *fleet, const struct statistics *s);
/* NULL: out of memory. */
json_object *fleet_json(const char *place, const struct fleet *fleet, const struct statistics *s);
/* A page of its own, malloc'ed; NULL: out of memory. */
char *fleet_html(const char *place, const struct fleet *fleet, const struct statistics *s, size_t *ret_n);

/* The last part of a file's name or a key. */
const char *origin_name(const char *origin);
