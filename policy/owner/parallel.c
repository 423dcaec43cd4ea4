/* SPDX-License-Identifier: Apache-2.0 */
#include "owner/parallel.h"

#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>

enum { TICK_MS = 100, CPUS_MAX = 1024 };

enum file_state { FILE_NEW, FILE_BEGINNING, FILE_READY };

struct parallel_file {
        enum file_state state;
        uint64_t left; /* parts not done */
};

struct parallel {
        const struct parallel_work *work;
        pthread_mutex_t lock;
        pthread_cond_t changed;
        struct parallel_file *files;
        size_t next_file;
        uint64_t next_part;
        unsigned running; /* threads */
        int finished;     /* eventfd: a thread has stopped */
        int result;
        bool stop;
        struct error error;
};

unsigned parallel_cpus(void) {
        cpu_set_t set;

        if (sched_getaffinity(0, sizeof set, &set) < 0)
                return 1;
        return MIN_OF((unsigned) MAX_OF(CPU_COUNT(&set), 1), (unsigned) CPUS_MAX);
}

static void stop(struct parallel *p, int r, const struct error *e) {
        pthread_mutex_lock(&p->lock);
        if (!p->stop) {
                p->stop = true;
                p->result = r;
                p->error = *e;
        }
        pthread_cond_broadcast(&p->changed);
        pthread_mutex_unlock(&p->lock);
}

/* Takes the next part; false when none is left or the work has ended. The part's file is ready, unless this thread must
 * begin it. */
static bool take(struct parallel *p, size_t *ret_file, uint64_t *ret_part, bool *ret_begin) {
        bool taken = false;

        pthread_mutex_lock(&p->lock);
        if (!p->stop && p->next_file < p->work->n_files) {
                struct parallel_file *f = &p->files[p->next_file];

                taken = true;
                *ret_file = p->next_file;
                *ret_part = p->next_part++;
                *ret_begin = f->state == FILE_NEW;
                if (f->state == FILE_NEW) {
                        f->state = FILE_BEGINNING;
                        f->left = p->work->parts(p->work->job, p->next_file);
                }
                if (p->next_part == p->work->parts(p->work->job, p->next_file)) {
                        p->next_file++;
                        p->next_part = 0;
                }
                while (!*ret_begin && !p->stop && f->state == FILE_BEGINNING)
                        pthread_cond_wait(&p->changed, &p->lock);
                taken = !p->stop;
        }
        pthread_mutex_unlock(&p->lock);
        return taken;
}

static void ready(struct parallel *p, size_t file) {
        pthread_mutex_lock(&p->lock);
        p->files[file].state = FILE_READY;
        pthread_cond_broadcast(&p->changed);
        pthread_mutex_unlock(&p->lock);
}

static bool was_last(struct parallel *p, size_t file) {
        bool last;

        pthread_mutex_lock(&p->lock);
        last = --p->files[file].left == 0;
        pthread_mutex_unlock(&p->lock);
        return last;
}

static int one_part(struct parallel *p, size_t file, uint64_t part, bool begin, void *thread, struct error *e) {
        const struct parallel_work *w = p->work;
        int r;

        if (begin) {
                r = w->begin ? w->begin(w->job, file, e) : 0;
                if (r < 0)
                        return r;
                ready(p, file);
        }
        r = w->part(w->job, file, part, thread, e);
        if (r < 0 || !was_last(p, file) || !w->end)
                return r;
        return w->end(w->job, file, thread, e);
}

static void *run(void *userdata) {
        struct parallel *p = userdata;
        struct error e = { 0 };
        void *thread = NULL;
        uint64_t part;
        size_t file;
        bool begin;
        int r;

        r = p->work->thread_new ? p->work->thread_new(p->work->job, &thread, &e) : 0;
        while (r == 0 && take(p, &file, &part, &begin))
                r = one_part(p, file, part, begin, thread, &e);
        if (r < 0)
                stop(p, r, &e);
        if (thread)
                p->work->thread_free(thread);
        (void) !write(p->finished, &(uint64_t) { 1 }, sizeof(uint64_t));
        return NULL;
}

/* Shows progress until every thread has stopped. */
static void wait_for_threads(struct parallel *p, int signals, struct progress *progress) {
        struct pollfd fds[] = { { .fd = p->finished, .events = POLLIN }, { .fd = signals, .events = POLLIN } };

        while (p->running > 0) {
                struct signalfd_siginfo info;
                uint64_t n;

                if (poll(fds, ELEMENTS(fds), TICK_MS) < 0 && errno != EINTR)
                        return;
                if (fds[1].revents && read(signals, &info, sizeof info) == sizeof info) {
                        struct error e = { 0 };
                        int r = fail(&e, FAILURE_STOPPED, -EINTR, "", "it was stopped by signal %u (%s)",
                                     info.ssi_signo, strsignal((int) info.ssi_signo));

                        fail_advice(&e, "What was begun has been removed; run it again.");
                        stop(p, r, &e);
                }
                if (fds[0].revents && read(p->finished, &n, sizeof n) == sizeof n)
                        p->running -= (unsigned) n;
                progress_show(progress);
        }
}

static int run_threads(struct parallel *p, unsigned n, int signals, struct progress *progress, struct error *e) {
        _cleanup_free_ pthread_t *threads = calloc(n, sizeof *threads);
        unsigned started = 0;
        int r = 0;

        if (!threads)
                return fail_oom(e);
        for (; started < n && r == 0; started++) {
                r = pthread_create(&threads[started], NULL, run, p);
                if (r != 0)
                        break;
                p->running++;
        }
        if (r != 0) {
                struct error why = { 0 };

                stop(p, fail(&why, FAILURE_INTERNAL, -r, "", "a thread cannot be started: %s", strerror(r)), &why);
        }
        wait_for_threads(p, signals, progress);
        for (unsigned i = 0; i < started; i++)
                pthread_join(threads[i], NULL);
        if (p->result < 0)
                *e = p->error;
        return p->result;
}

void parallel_signals(sigset_t *ret) {
        static const int table[] = { SIGINT, SIGTERM, SIGHUP };

        sigemptyset(ret);
        for (size_t i = 0; i < ELEMENTS(table); i++) {
                struct sigaction action;

                if (sigaction(table[i], NULL, &action) == 0 && action.sa_handler != SIG_IGN)
                        sigaddset(ret, table[i]);
        }
}

int parallel_run(const struct parallel_work *work, struct progress *progress, struct error *e) {
        _cleanup_free_ struct parallel_file *files = calloc(work->n_files + 1, sizeof *files);
        _cleanup_close_ int finished = eventfd(0, EFD_CLOEXEC), signals = -1;
        struct parallel p = { .work = work,
                              .files = files,
                              .finished = finished,
                              .lock = PTHREAD_MUTEX_INITIALIZER,
                              .changed = PTHREAD_COND_INITIALIZER };
        sigset_t mask, before;
        int r;

        parallel_signals(&mask);
        signals = signalfd(-1, &mask, SFD_CLOEXEC);
        if (!files || finished < 0 || signals < 0)
                return fail_oom(e);
        /* Blocked before the threads start, which inherit the mask, so that only this thread receives signals. */
        pthread_sigmask(SIG_BLOCK, &mask, &before);
        r = run_threads(&p, work->n_threads ? work->n_threads : parallel_cpus(), signals, progress, e);
        pthread_sigmask(SIG_SETMASK, &before, NULL);
        return r;
}
