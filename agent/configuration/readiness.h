/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the agent asks of the inference server before it tells Auto Scaling that the instance can serve: the server's
 * own health, and then, if configured, one request that makes it load the model and answer. */

#include "basic/json.h"

struct readiness {
        char *socket; /* the Unix socket that requests come in by; NULL: the agent waits for no server */
        char *health; /* a path, which is answered with status 200 when the server is ready */
        char *warm_up_path, *warm_up_body; /* NULL: no such request */
        unsigned seconds;                  /* how long to wait for both */
};

/* {"upstream": "unix:PATH", "health": path, "warm_up": {"path": path, "body": object}, "seconds": n}; `object` may be
 * NULL. */
int readiness_parse(json_object *object, const char *subject, const char *where, struct readiness *ret,
                    struct error *e);
void readiness_done(struct readiness *r);
