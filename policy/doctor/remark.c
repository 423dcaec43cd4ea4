/* SPDX-License-Identifier: Apache-2.0 */
#include "doctor/examination.h"

#include <stdarg.h>

int remark(struct examination *x, const char *topic, enum remark_state state, const char *advice, const char *format,
           ...) {
        struct diagnosis *d = x->diagnosis;
        struct remark *larger = reallocarray(d->remarks, d->n + 1, sizeof *larger), *added;
        va_list ap;
        int n;

        if (!larger)
                return fail_oom(x->e);
        d->remarks = larger;
        added = &d->remarks[d->n];
        *added = (struct remark) { .topic = topic, .state = state };
        va_start(ap, format);
        n = vasprintf(&added->text, format, ap);
        va_end(ap);
        if (n < 0)
                return fail_oom(x->e);
        d->n++;
        if (!advice || !advice[0])
                return 0;
        added->advice = strdup(advice);
        return added->advice ? 0 : fail_oom(x->e);
}
