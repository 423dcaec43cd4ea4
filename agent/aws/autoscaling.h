/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* EC2 Auto Scaling's lifecycle hooks, which hold an instance in Pending:Wait or Warmed:Pending:Wait.
 * CompleteLifecycleAction lets the instance go on, or be terminated; RecordLifecycleActionHeartbeat starts the hook's
 * timeout anew. Source: Amazon EC2 Auto Scaling API Reference (Query protocol, 2011-01-01). */

#include "aws/service.h"

struct lifecycle_hook {
        const char *group, *name; /* AutoScalingGroupName, LifecycleHookName */
        const char *instance_id;
};

/* Sends CONTINUE, or ABANDON when not `proceed`. Tries for half a minute, as verdict.c says; among others while Auto
 * Scaling does not know yet that the instance waits. FAILURE_LIFECYCLE. */
int autoscaling_complete(const struct service_access *access, const struct lifecycle_hook *hook, bool proceed,
                         struct error *e);
/* One attempt alone. FAILURE_LIFECYCLE, or the failure of the connection. */
int autoscaling_heartbeat(const struct service_access *access, const struct lifecycle_hook *hook, struct error *e);

/* Judges an answer whose status is not 200; fills e. */
enum http_verdict autoscaling_judge_error(const struct service_answer *answer, struct error *e);
