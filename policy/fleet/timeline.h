/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "fleet/statistics.h"

/* The boots over time, as a drawing: when each began, and how long it took. */
void timeline_draw(FILE *f, const struct fleet *fleet, const struct statistics *s);
