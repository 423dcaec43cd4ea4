/* SPDX-License-Identifier: Apache-2.0 */
#include "boot/stop.h"

#include <signal.h>

/* A thread of its own waits for the signals, so that the steps need not look for them. It never returns from a stop:
 * what must not be left behind is removed here, and memory goes with the process. */
static void *wait_for_stop(void *userdata) {
        struct boot *b = userdata;
        struct error e;
        sigset_t set;
        int which;

        sigemptyset(&set);
        sigaddset(&set, SIGTERM);
        sigaddset(&set, SIGINT);
        sigaddset(&set, SIGHUP);
        if (sigwait(&set, &which) != 0)
                return NULL;
        pthread_mutex_lock(&b->critical);
        fail(&e, FAILURE_STOPPED, -EINTR, b->source ?: "", "stopped by signal %d (%s) before the model was whole",
             which, strsignal(which));
        boot_failed(b, &e);
        if (b->handoff)
                handoff_discard(b->handoff);
        _exit((int) e.failure);
}

int boot_catch_stop(struct boot *b) {
        pthread_t thread;
        sigset_t set;
        int r;

        sigemptyset(&set);
        sigaddset(&set, SIGTERM);
        sigaddset(&set, SIGINT);
        sigaddset(&set, SIGHUP);
        r = pthread_sigmask(SIG_BLOCK, &set, NULL);
        if (r == 0)
                r = pthread_create(&thread, NULL, wait_for_stop, b);
        if (r == 0)
                r = pthread_detach(thread);
        return -r;
}
