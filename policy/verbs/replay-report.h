/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What `sealboot replay` prints. */

#include "replay/comparison.h"

/* A log that says other things than were measured is not that of a good boot, wherever its digests lead. */
bool replay_is_as_expected(const struct replayed *r, const struct comparisons *c);

void replay_print_text(const struct replayed *r, const struct comparisons *c);
int replay_print_json(const struct replayed *r, const struct comparisons *c, struct error *e);
