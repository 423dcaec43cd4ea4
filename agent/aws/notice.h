/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the metadata service announces about the instance: the state that Auto Scaling moves it to, and the interruption
 * of a Spot instance. The operator or the network may have made these texts, so a program may act on them only by doing
 * less. Sources: Amazon EC2 Auto Scaling User Guide, "Retrieve the target lifecycle state through instance metadata";
 * EC2 User Guide, "Spot Instance interruption notices". */

#include "basic/clock.h"
#include "basic/failure.h"

enum lifecycle_state {
        LIFECYCLE_NONE, /* the instance is in no Auto Scaling group, or Auto Scaling has not said yet */
        LIFECYCLE_IN_SERVICE,
        LIFECYCLE_STANDBY,
        LIFECYCLE_DETACHED,
        LIFECYCLE_TERMINATED,
        LIFECYCLE_WARMED_RUNNING,
        LIFECYCLE_WARMED_STOPPED,
        LIFECYCLE_WARMED_HIBERNATED,
        LIFECYCLE_WARMED_TERMINATED,
        LIFECYCLE_STATES,
};

/* "Warmed:Stopped", as AWS writes it; "none" for LIFECYCLE_NONE. */
const char *lifecycle_state_name(enum lifecycle_state state);
/* Takes AWS's spelling alone. -EBADMSG, FAILURE_IMDS. */
int lifecycle_state_parse(const char *text, size_t n, const char *subject, enum lifecycle_state *ret, struct error *e);

struct interruption {
        const char *action; /* "terminate", "stop" or "hibernate"; NULL: none is announced */
        char time[DATE_TEXT_SIZE];
};

/* {"action": "terminate", "time": "2026-11-21T14:00:00Z"}. -EBADMSG, FAILURE_IMDS. */
int interruption_parse(const char *text, size_t n, const char *subject, struct interruption *ret, struct error *e);
