/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* One boot, for people: as a waterfall of its stages on a terminal and in a page. */

#include "fleet/record.h"

/* Which stages took how long, each with a bar at its place in the boot. */
void boot_print_stages(FILE *f, const struct record *r);
void boot_draw_stages(FILE *f, const struct record *r);
/* Rows of a table: instance, image, model, times. */
void boot_draw_facts(FILE *f, const struct record *r);
