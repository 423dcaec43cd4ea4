/* SPDX-License-Identifier: Apache-2.0 */

/* Prints the journal's message catalog, which `journalctl -x` shows beside entries: systemd's catalog format. The
 * failures' texts are those of their table, so the build makes the catalog. */

#include "report/report.h"

struct message {
        const char *id, *subject, *body;
};

static const struct message messages[] = {
        { REPORT_STAGE_MESSAGE_ID, "A stage of the boot has ended",
          "The stage @SEALBOOT_STAGE@ of sealboot-agent took @SEALBOOT_DURATION_USEC@ microseconds. `sealboot status` "
          "shows all stages." },
        { REPORT_PUBLISHED_MESSAGE_ID, "The model is published",
          "The model is measured into PCR15 and published to the inference server. The boot took "
          "@SEALBOOT_DURATION_USEC@ microseconds." },
        { REPORT_WAIT_MESSAGE_ID, "The instance waits in a warm pool",
          "No model is loaded before Auto Scaling puts the instance into service. Its lifecycle state is "
          "@SEALBOOT_LIFECYCLE_STATE@." },
        { REPORT_LIFECYCLE_MESSAGE_ID, "Auto Scaling was told how the boot ended",
          "The lifecycle hook @SEALBOOT_LIFECYCLE_HOOK@ of the group @SEALBOOT_LIFECYCLE_GROUP@ was completed with "
          "@SEALBOOT_LIFECYCLE_RESULT@." },
        { REPORT_SERVER_MESSAGE_ID, "The inference server is ready",
          "The inference server answers, @SEALBOOT_DURATION_USEC@ microseconds after the agent began." },
};

static void print(const char *id, const char *subject, const char *manual, const char *body) {
        printf("-- %s\nSubject: %s\nDefined-By: sealboot\nDocumentation: man:%s\n\n%s\n\n", id, subject, manual, body);
}

int main(void) {
        size_t n;
        const struct failure_info *table = failure_table(&n);

        for (size_t i = 0; i < ELEMENTS(messages); i++)
                print(messages[i].id, messages[i].subject, "sealboot-agent(8)", messages[i].body);
        for (size_t i = 1; i < n; i++) {
                char body[2048];

                snprintf(body, sizeof body, "On: @SEALBOOT_SUBJECT@\nWhy: @SEALBOOT_REASON@\n\n%s\n\nExit code %d, %s.",
                         table[i].advice, (int) table[i].failure, table[i].name);
                print(table[i].message_id, table[i].title, "sealboot-agent(8)", body);
        }
        return fflush(stdout) == 0 ? 0 : 1;
}
