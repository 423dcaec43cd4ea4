/* SPDX-License-Identifier: Apache-2.0 */

/* SIGTERM, SIGINT, SIGHUP: the boot is given up. */

#include <signal.h>

#include "basic/clock.h"
#include "boot/boot.h"

static void fill_stop_signals(sigset_t *set) {
        sigemptyset(set);
        sigaddset(set, SIGTERM);
        sigaddset(set, SIGINT);
        sigaddset(set, SIGHUP);
}

/* What the agent waits for, when a stop is no failure: nothing of the model is to be removed. NULL: it does not only
 * wait. */
static const char *idle_reason(struct boot *b) {
        if (atomic_load(&b->lifecycle.idle))
                return "while the instance was in the warm pool";
        return atomic_load(&b->awaiting_server) ? "while it waited for the inference server" : NULL;
}

/* Takes `critical`. While the agent only waits, the process ends here instead. */
static void await_turn(struct boot *b) {
        const char *idle;

        while (!(idle = idle_reason(b)) && pthread_mutex_trylock(&b->critical) != 0)
                clock_sleep_ms(50);
        if (!idle)
                return;
        printf("sealboot-agent: stopped %s\n", idle);
        fflush(stdout);
        _exit(0);
}

/* A thread of its own waits for the signals, so that no step has to look for them. A signal ends the process here:
 * plaintext is removed, and memory goes with the process at once. */
static void *wait_for_stop(void *userdata) {
        struct boot *b = userdata;
        struct error e;
        sigset_t set;
        int which;

        fill_stop_signals(&set);
        if (sigwait(&set, &which) != 0)
                return NULL;
        await_turn(b);
        fail(&e, FAILURE_STOPPED, -EINTR, boot_subject(b),
             "it was stopped by signal %d (%s) before the model was complete", which, strsignal(which));
        boot_report_failure(b, &e);
        if (b->handoff)
                handoff_discard(b->handoff);
        _exit((int) e.failure);
}

int boot_catch_stop(struct boot *b) {
        pthread_t thread;
        sigset_t set;
        int r;

        fill_stop_signals(&set);
        r = pthread_sigmask(SIG_BLOCK, &set, NULL);
        if (r == 0)
                r = pthread_create(&thread, NULL, wait_for_stop, b);
        if (r == 0)
                r = pthread_detach(thread);
        return -r;
}
