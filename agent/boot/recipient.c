/* SPDX-License-Identifier: Apache-2.0 */

/* The key pair that KMS encrypts the data key to: made by a thread of its own, while other steps run. */

#include "boot/boot.h"

static void *make_recipient(void *userdata) {
        struct boot *b = userdata;

        report_begin(b->report, "recipient-key");
        b->recipient.result = recipient_new(&b->recipient.key, &b->recipient.error);
        report_end(b->report, "recipient-key", 0);
        return NULL;
}

int boot_begin_recipient(struct boot *b, struct error *e) {
        int r;

        r = pthread_create(&b->recipient.thread, NULL, make_recipient, b);
        if (r != 0)
                return fail(e, FAILURE_INTERNAL, -r, "", "no thread can be started: %s", strerror(r));
        b->recipient.started = true;
        return 0;
}

void boot_forget_recipient(struct boot *b) {
        (void) boot_join_recipient(b, NULL);
        recipient_free(TAKE(b->recipient.key));
}

int boot_join_recipient(struct boot *b, struct error *e) {
        if (b->recipient.started)
                pthread_join(b->recipient.thread, NULL);
        b->recipient.started = false;
        if (b->recipient.result < 0 && e)
                *e = b->recipient.error;
        return b->recipient.result;
}
