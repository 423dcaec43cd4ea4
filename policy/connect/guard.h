/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Who may use the local endpoint: programs of this machine, and pages that the endpoint itself has served. A browser
 * also runs pages of strangers here. They reach 127.0.0.1 in two ways: directly (the browser then names their origin,
 * or that the request crosses sites), or by a name of their own that they resolve to 127.0.0.1 (DNS rebinding: the Host
 * header then has that name). */

#include "basic/macros.h"

struct guard_headers {
        const char *host;       /* NULL: the request has none */
        const char *origin;     /* likewise */
        const char *fetch_site; /* Sec-Fetch-Site */
        bool worker;            /* Service-Worker is there: the browser would install the answer as one */
        bool repeated;          /* one of these is there twice */
};

/* NULL: the request may pass. Otherwise why not, in words. */
const char *guard_refuses(const struct guard_headers *h);

/* What Host may be: an address or a name that no DNS server decides over, and perhaps a port. */
bool guard_accepts_host(const char *host);
