/* SPDX-License-Identifier: Apache-2.0 */
#include "doctor/diagnosis.h"

#include "doctor/examination.h"

void diagnosis_done(struct diagnosis *d) {
        for (size_t i = 0; i < d->n; i++) {
                free(d->remarks[i].text);
                free(d->remarks[i].advice);
        }
        free(d->remarks);
        evaluation_done(&d->evaluation);
        *d = (struct diagnosis) {};
}

/* KMS names the caller in its refusal: "... User: arn:aws:sts::... is not authorized to perform ..." Text that is no
 * principal is dropped, and the remarks then ask for --principal. */
static void find_principal(struct examination *x) {
        const char *reason = x->report.failure.reason ?: "", *user = strstr(reason, "User: arn:aws");
        _cleanup_request_ struct request request = {};
        struct diagnosis *d = x->diagnosis;

        if (x->evidence->principal) {
                snprintf(d->principal, sizeof d->principal, "%s", x->evidence->principal);
                return;
        }
        if (!user)
                return;
        user += strlen("User: ");
        snprintf(d->principal, sizeof d->principal, "%.*s", (int) strcspn(user, " "), user);
        if (request_init(&request, d->principal, "kms:Decrypt", NULL, NULL) < 0)
                d->principal[0] = '\0';
}

/* KMS also reports a document that it does not take as kms-denied: no policy refused then. */
static void find_denial(struct examination *x) {
        const char *name = x->report.failure.name, *reason = x->report.failure.reason;

        if (!name || !streq(name, "kms-denied") || !reason)
                return;
        x->denied = denial_parse(reason, &x->denial) || strstr(reason, "AccessDenied");
}

int diagnose(const struct evidence *evidence, struct diagnosis *ret, struct error *e) {
        static int (*const steps[])(struct examination * x) = {
                examine_outcome, examine_clock,  examine_identity,    examine_key,
                examine_pcrs,    examine_policy, examine_permissions, examine_gpus,
        };
        _cleanup_diagnosis_ struct diagnosis d = {};
        struct examination x = { .evidence = evidence, .diagnosis = &d, .e = e };
        int r;

        r = boot_report_parse(evidence->report, &x.report, e);
        if (r < 0)
                return r;
        find_principal(&x);
        find_denial(&x);
        for (size_t i = 0; i < ELEMENTS(steps); i++) {
                r = steps[i](&x);
                if (r < 0)
                        return r;
        }
        *ret = TAKE_STRUCT(d);
        return 0;
}
