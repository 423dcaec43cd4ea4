/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Whom limits count as one asker: an IPv4 address, or the network of 64 bits that an IPv6 address is in, all of which
 * one machine may have. nginx counts in the same way (nginx.c). */

#include "basic/macros.h"

struct address {
        uint8_t bytes[16]; /* IPv4 as ::ffff:a.b.c.d; all zero: not known, which counts as one, too */
};

/* As nginx writes $remote_addr. Whatever is not an address is not known; text may be NULL. */
struct address address_parse(const char *text);

static inline bool address_equal(const struct address *a, const struct address *b) {
        return memcmp(a->bytes, b->bytes, sizeof a->bytes) == 0;
}
