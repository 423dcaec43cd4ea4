/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A limit for all addresses together, of which no address has more than its share: a third of it is kept for addresses
 * that have had nothing for a minute, and each has one of that third a minute. So a few addresses that ask as often as
 * they may do not keep the others out; to do that takes as many addresses as the third has tokens. Not for use by two
 * threads at once. */

#include "basic/failure.h"
#include "gate/address.h"

struct share;

/* reserved: false where addresses tell nothing, as behind a load balancer that hides them. */
int share_new(uint32_t per_minute, uint32_t burst, bool reserved, struct share **ret, struct error *e);
void share_free(struct share *s);
DEFINE_CLEANUP(struct share *, share_free, share_freep)

/* As bucket_take(). */
unsigned share_take(struct share *s, const struct address *a, uint64_t now_ms);
