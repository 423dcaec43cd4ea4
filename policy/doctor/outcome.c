/* SPDX-License-Identifier: Apache-2.0 */
#include "doctor/examination.h"

#include <inttypes.h>

enum {
        CLOCK_SKEW_MAX_S = 240, /* AWS refuses signatures at 300 */
        GPU_CHECKS_MAX = 16,
};

int examine_outcome(struct examination *x) {
        const struct boot_report *b = &x->report;
        const char *id = b->failure.request_id ?: "";

        if (b->failure.name)
                return remark(x, "outcome", REMARK_PROBLEM, b->failure.advice, "%s: %s: %s%s%s",
                              b->failure.title ?: b->failure.name, b->failure.subject ?: "", b->failure.reason ?: "",
                              id[0] ? "; request id " : "", id);
        if (streq(b->outcome, "failed"))
                return remark(x, "outcome", REMARK_PROBLEM, "Look at the journal of sealboot-agent.",
                              "the boot failed, and the report does not say why");
        if (streq(b->outcome, "published"))
                return remark(x, "outcome", REMARK_GOOD, NULL, "the model was published");
        if (streq(b->outcome, "waiting"))
                return remark(x, "outcome", REMARK_GOOD, NULL,
                              "the instance waits in the warm pool of its Auto Scaling group, without a model");
        return remark(x, "outcome", REMARK_UNKNOWN,
                      "Look at the report again later; if nothing changes, at the journal of sealboot-agent.",
                      "the boot is still %s, or was cut off", b->outcome);
}

/* No check of this test is why a key was refused, but an operator who asks for one wants to know. */
int examine_gpus(struct examination *x) {
        static const char advice[] = "sealboot-gpu(8) says what each check looks at.";
        size_t n = x->report.gpu_checks ? json_object_array_length(x->report.gpu_checks) : 0, passed = 0;

        for (size_t i = 0; i < n && i < GPU_CHECKS_MAX; i++) {
                json_object *check = json_object_array_get_idx(x->report.gpu_checks, i), *result = NULL;
                const char *name = json_text_at(check, "name"), *text = json_text_at(check, "text");
                int r;

                if (name && json_object_object_get_ex(check, "passed", &result) &&
                    json_object_is_type(result, json_type_boolean) && json_object_get_boolean(result)) {
                        passed++;
                        continue;
                }
                r = remark(x, "gpus", REMARK_PROBLEM, advice, "the check %s of the GPUs failed: %s", name ?: "?",
                           text ?: "?");
                if (r < 0)
                        return r;
        }
        if (passed == 0 || passed < n)
                return 0;
        return remark(x, "gpus", REMARK_GOOD, NULL, "all %zu checks of the GPUs passed", n);
}

/* The document carries the hypervisor's time, which is right; the report carries the system clock's. */
int examine_clock(struct examination *x) {
        static const char advice[] = "Make chrony reach 169.254.169.123 (Amazon Time Sync) before the agent starts.";
        const struct boot_report *b = &x->report;
        int64_t skew = b->asked_s - b->document_s;

        if (b->failure.name && streq(b->failure.name, "clock"))
                return remark(x, "clock", REMARK_PROBLEM, advice, "AWS said that the clock of the instance is wrong");
        if (!b->has_times)
                return remark(x, "clock", REMARK_UNKNOWN, NULL,
                              "no attestation document was made, so there is no time to compare with");
        if (skew > CLOCK_SKEW_MAX_S || skew < -CLOCK_SKEW_MAX_S)
                return remark(x, "clock", REMARK_PROBLEM, advice,
                              "the clock of the instance %s by %" PRId64 " s against the NitroTPM's",
                              skew > 0 ? "leads" : "lags", skew > 0 ? skew : -skew);
        if (x->evidence->unsynchronized)
                return remark(x, "clock", REMARK_PROBLEM, advice, "the clock of this machine is not synchronized");
        return remark(x, "clock", REMARK_GOOD, NULL, "the clock of the instance is within %d s of the NitroTPM's",
                      CLOCK_SKEW_MAX_S);
}

int examine_identity(struct examination *x) {
        const struct boot_report *b = &x->report;
        const char *name = b->failure.name ?: "", *principal = x->diagnosis->principal;

        if (streq(name, "credentials") || streq(name, "imds"))
                return remark(x, "identity", REMARK_PROBLEM,
                              "Attach an instance profile with a role, and leave the metadata endpoint enabled.",
                              "the instance has no usable role credentials");
        if (!b->identity.instance && !principal[0])
                return remark(x, "identity", REMARK_UNKNOWN, NULL, "the report names neither instance nor role");
        return remark(x, "identity", principal[0] ? REMARK_GOOD : REMARK_UNKNOWN,
                      principal[0] ? NULL : "Name the instance's role with --principal.",
                      "instance %s of account %s in %s, %s%s", b->identity.instance ?: "?", b->identity.account ?: "?",
                      b->identity.region ?: "?", principal[0] ? "as " : "role not known", principal);
}
