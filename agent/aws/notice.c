/* SPDX-License-Identifier: Apache-2.0 */
#include "aws/notice.h"

#include "aws/answer.h"

/* clang-format off */
static const char *const names[LIFECYCLE_STATES] = {
        [LIFECYCLE_NONE]              = "none",
        [LIFECYCLE_IN_SERVICE]        = "InService",
        [LIFECYCLE_STANDBY]           = "Standby",
        [LIFECYCLE_DETACHED]          = "Detached",
        [LIFECYCLE_TERMINATED]        = "Terminated",
        [LIFECYCLE_WARMED_RUNNING]    = "Warmed:Running",
        [LIFECYCLE_WARMED_STOPPED]    = "Warmed:Stopped",
        [LIFECYCLE_WARMED_HIBERNATED] = "Warmed:Hibernated",
        [LIFECYCLE_WARMED_TERMINATED] = "Warmed:Terminated",
};
/* clang-format on */

const char *lifecycle_state_name(enum lifecycle_state state) {
        return names[state];
}

int lifecycle_state_parse(const char *text, size_t n, const char *subject, enum lifecycle_state *ret, struct error *e) {
        for (enum lifecycle_state s = LIFECYCLE_NONE + 1; s < LIFECYCLE_STATES; s++)
                if (strlen(names[s]) == n && memcmp(names[s], text, n) == 0) {
                        *ret = s;
                        return 0;
                }
        fail(e, FAILURE_IMDS, -EBADMSG, subject, "\"%.80s\" is not a lifecycle state that this version knows", text);
        fail_advice(e,
                    "It knows InService, Standby, Detached, Terminated, and Warmed: with Running, Stopped, Hibernated "
                    "or Terminated. If Auto Scaling has a new state, use a newer sealboot.");
        return -EBADMSG;
}

static const char *find_action(const char *text) {
        static const char *const actions[] = { "terminate", "stop", "hibernate" };

        for (size_t i = 0; text && i < ELEMENTS(actions); i++)
                if (streq(text, actions[i]))
                        return actions[i];
        return NULL;
}

int interruption_parse(const char *text, size_t n, const char *subject, struct interruption *ret, struct error *e) {
        _cleanup_json_ json_object *o = NULL;
        struct interruption out = {};
        const char *when;
        int64_t seconds;
        int r;

        r = json_parse(text, n, FAILURE_IMDS, subject, &o, e);
        if (r < 0)
                return r;
        out.action = find_action(answer_text(o, "action"));
        if (!out.action)
                return fail(e, FAILURE_IMDS, -EBADMSG, subject, "its \"action\" is not terminate, stop or hibernate");
        when = answer_text(o, "time");
        if (!when || answer_time(when, &seconds) < 0)
                return fail(e, FAILURE_IMDS, -EBADMSG, subject, "it lacks a well-formed \"time\"");
        date_text(seconds, out.time);
        *ret = out;
        return 0;
}
