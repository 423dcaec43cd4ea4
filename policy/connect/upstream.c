/* SPDX-License-Identifier: Apache-2.0 */
#include "connect/upstream.h"

#include <pthread.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include "basic/clock.h"
#include "connect/transfer.h"

enum {
        CHANNELS_MAX = 512,
        STREAMS_MAX = 64, /* of a channel on HTTP/2: nginx takes 128 */
        OPENING_MAX = 16, /* at a time */
        REFUSALS_MAX = 8, /* in a row: a balancer may lead to several instances that are not accepted */
        FAILURES_MAX = 3, /* in a row: no connection, no document */
        RETRY_MS = 200,
        TICK_MS = 1000,
        IDLE_SECONDS = 120,
        EVIDENCE_SECONDS = 240,
        PIPES_BYTES = 16 * 1024 * 1024, /* of all exchanges together, about */
        PIPE_MIN = 8 * 1024,
        PIPE_MAX = 256 * 1024,
        EVENTS = 256,
        /* Tags of epoll beside the channels' numbers. */
        TAG_WAKE = CHANNELS_MAX,
        TAG_CLIENT,
        TAG_ENDPOINT,
        FLUSH_MS = 1000, /* for the last answers, at the end */
};

struct upstream {
        struct channel_site site;
        int epoll, wake;
        pthread_t thread;

        pthread_mutex_t lock;
        pthread_cond_t changed;
        struct exchange *woken; /* under the lock */
        bool asleep;            /* under the lock, as the next ones: the thread waits for events */
        bool stop, started, first_done;
        struct error first;
        struct endpoint offered; /* run NULL: none, or taken */

        /* The thread's own. */
        struct endpoint endpoint; /* run NULL: none yet */
        bool endpoint_called;
        struct channel *channels[CHANNELS_MAX];
        size_t n_channels; /* all are below this index */
        struct exchange *waiting, **waiting_end;
        struct exchange **clients; /* by descriptor */
        size_t n_clients, n_exchanges;
        bool single; /* the server speaks HTTP/1.1 alone: one exchange for each channel */
        unsigned failures, refusals;
        unsigned http1_failures; /* in a row, of channels that were asked to be: the server may not speak it */
        struct error why;
        const char *code;
        int64_t retry_ns, tick_ns;
};

/* --- From other threads */

static void ring(struct upstream *u) {
        uint64_t one = 1;

        if (write(u->wake, &one, sizeof one) < 0) /* full: it rings already */
                return;
}

void upstream_wake(struct exchange *x, void *upstream) {
        struct upstream *u = upstream;

        pthread_mutex_lock(&u->lock);
        if (!x->woken) {
                x->woken = true;
                x->references++;
                x->next_woken = u->woken;
                u->woken = x;
                if (!x->next_woken && u->asleep)
                        ring(u);
        }
        pthread_mutex_unlock(&u->lock);
}

static bool is_stopped(struct upstream *u) {
        bool yes;

        pthread_mutex_lock(&u->lock);
        yes = u->stop;
        pthread_mutex_unlock(&u->lock);
        return yes;
}

void upstream_serve(struct upstream *u, const struct endpoint *endpoint) {
        pthread_mutex_lock(&u->lock);
        u->offered = *endpoint;
        ring(u);
        pthread_mutex_unlock(&u->lock);
}

void upstream_submit(struct upstream *u, struct exchange *x) {
        x->server = u;
        upstream_wake(x, u);
        /* Whoever saw the stop after this line sees the exchange, too. */
        if (is_stopped(u))
                exchange_fail(x, 503, "stopping", "sealboot connect is stopping");
}

/* --- Clients that leave while nothing is sent to them: their sockets tell */

/* The descriptor is libmicrohttpd's, which closes it after the client has left. So it is used while the client is
 * there.
 */
static bool has_client(const struct exchange *x) {
        return x->client && x->client_fd >= 0;
}

static void watch_client(struct upstream *u, struct exchange *x) {
        struct epoll_event event = { .events = EPOLLRDHUP | EPOLLET,
                                     .data.u64 = channel_tag(TAG_CLIENT, x->client_fd) };
        size_t fd = (size_t) x->client_fd;

        if (x->client_fd < 0)
                return;
        if (fd >= u->n_clients) {
                size_t n = MAX_OF(fd + 1, 2 * u->n_clients);
                struct exchange **larger = reallocarray(u->clients, n, sizeof *larger);

                if (!larger)
                        return;
                memset(larger + u->n_clients, 0, (n - u->n_clients) * sizeof *larger);
                u->clients = larger;
                u->n_clients = n;
        }
        u->clients[fd] = x;
        if (!has_client(x))
                return;
        if (epoll_ctl(u->epoll, EPOLL_CTL_ADD, x->client_fd, &event) < 0 && errno == EEXIST)
                epoll_ctl(u->epoll, EPOLL_CTL_MOD, x->client_fd, &event);
}

static void unwatch_client(struct upstream *u, struct exchange *x) {
        size_t fd = (size_t) x->client_fd;

        if (x->client_fd < 0 || fd >= u->n_clients || u->clients[fd] != x)
                return;
        u->clients[fd] = NULL;
        if (!has_client(x))
                return;
        epoll_ctl(u->epoll, EPOLL_CTL_DEL, x->client_fd, NULL);
}

/* --- Exchanges */

static void enqueue(struct upstream *u, struct exchange *x) {
        x->stage = EXCHANGE_WAITING;
        x->next_waiting = NULL;
        *u->waiting_end = x;
        u->waiting_end = &x->next_waiting;
}

/* The one that `at` points to. */
static struct exchange *dequeue(struct upstream *u, struct exchange **at) {
        struct exchange *x = *at;

        *at = x->next_waiting;
        if (!*at)
                u->waiting_end = at;
        return x;
}

static void leave_queue(struct upstream *u, struct exchange *x) {
        struct exchange **at = &u->waiting;

        while (*at && *at != x)
                at = &(*at)->next_waiting;
        if (*at)
                dequeue(u, at);
}

static void be_done(struct upstream *u, struct exchange *x) {
        x->stage = EXCHANGE_DONE;
        unwatch_client(u, x);
        u->n_exchanges--;
        exchange_drop(x);
}

static void fail_waiting(struct upstream *u, int status, const char *code, const char *text) {
        while (u->waiting) {
                struct exchange *x = dequeue(u, &u->waiting);

                exchange_fail(x, status, code, text);
                be_done(u, x);
        }
}

/* --- Channels */

static bool takes_more(struct upstream *u, const struct channel *c) {
        size_t limit = channel_is_multiplexed(c) ? STREAMS_MAX : 1;

        return channel_state(c) == CHANNEL_READY && channel_busy(c) < limit && !channel_is_held(c) &&
               instances_accept(u->site.instances, channel_key(c));
}

static bool goes_alone(const struct upstream *u, const struct exchange *x) {
        return x->alone && !u->single && u->http1_failures < FAILURES_MAX;
}

/* The one with the least to do. */
static struct channel *choose(struct upstream *u, bool alone) {
        struct channel *best = NULL;

        for (size_t i = 0; i < u->n_channels; i++) {
                struct channel *c = u->channels[i];

                if (c && channel_is_http1(c) == alone && takes_more(u, c) &&
                    (!best || channel_busy(c) < channel_busy(best)))
                        best = c;
        }
        return best;
}

static void count_channels(const struct upstream *u, size_t *ret_opening, size_t *ret_ready, size_t *ret_all) {
        *ret_opening = *ret_ready = *ret_all = 0;
        for (size_t i = 0; i < u->n_channels; i++) {
                if (!u->channels[i])
                        continue;
                ++*ret_all;
                *ret_opening += channel_state(u->channels[i]) == CHANNEL_ASKING;
                *ret_ready += channel_state(u->channels[i]) == CHANNEL_READY &&
                              instances_accept(u->site.instances, channel_key(u->channels[i]));
        }
}

static void tell_first(struct upstream *u, const struct error *e) {
        pthread_mutex_lock(&u->lock);
        if (!u->first_done) {
                u->first_done = true;
                if (e)
                        u->first = *e;
                pthread_cond_broadcast(&u->changed);
        }
        pthread_mutex_unlock(&u->lock);
}

static void open_one(struct upstream *u, bool http1) {
        struct error e;

        for (uint32_t i = 0; i < CHANNELS_MAX; i++)
                if (!u->channels[i]) {
                        u->n_channels = MAX_OF(u->n_channels, (size_t) i + 1);
                        if (channel_new(&u->site, i, http1, &u->channels[i], &e) < 0) {
                                u->why = e;
                                u->code = "failed";
                                u->failures++;
                        }
                        return;
                }
}

/* Nobody is left who could serve: says why, and begins anew with the next request. */
static void give_up(struct upstream *u) {
        tell_first(u, &u->why);
        fail_waiting(u, 502, u->code, u->why.reason);
        u->failures = u->refusals = 0;
        u->retry_ns = 0;
}

/* As many as the requests that wait need: of HTTP/1.1 because they go alone, or of the others. */
static void open_some(struct upstream *u, bool http1) {
        size_t opening = 0, all = 0, wanted = 0;

        for (size_t i = 0; i < u->n_channels; i++) {
                const struct channel *c = u->channels[i];

                all += c != NULL;
                opening += c && channel_state(c) == CHANNEL_ASKING && channel_is_http1(c) == http1;
        }
        for (const struct exchange *x = u->waiting; x; x = x->next_waiting)
                wanted += goes_alone(u, x) == http1;
        if (!http1 && !u->single)
                wanted = (wanted + STREAMS_MAX - 1) / STREAMS_MAX;
        if (!http1 && !u->first_done)
                wanted = MAX_OF(wanted, (size_t) 1);
        for (wanted = MIN_OF(wanted, (size_t) OPENING_MAX); opening < wanted && all < CHANNELS_MAX; opening++, all++)
                open_one(u, http1);
}

static void open_channels(struct upstream *u) {
        size_t opening, ready, all;

        count_channels(u, &opening, &ready, &all);
        if (u->failures >= FAILURES_MAX || u->refusals >= REFUSALS_MAX) {
                if (opening == 0 && ready == 0)
                        give_up(u);
                return;
        }
        if (!clock_has_passed(u->retry_ns))
                return;
        open_some(u, false);
        open_some(u, true);
}

static void schedule(struct upstream *u) {
        struct exchange **at = &u->waiting;
        bool full[2] = {};

        while (*at && !(full[false] && full[true])) {
                bool alone = goes_alone(u, *at);
                struct channel *c = full[alone] ? NULL : choose(u, alone);
                struct exchange *x;

                if (!c) {
                        full[alone] = true;
                        at = &(*at)->next_waiting;
                        continue;
                }
                x = dequeue(u, at);
                x->stage = EXCHANGE_RUNNING;
                x->channel = c;
                channel_send(c, x);
        }
        open_channels(u);
}

static void on_proven(struct channel *c, void *owner) {
        struct upstream *u = owner;

        if (channel_is_http1(c))
                u->http1_failures = 0;
        else
                u->single = !channel_is_multiplexed(c);
        u->failures = u->refusals = 0;
        u->retry_ns = 0;
        tell_first(u, NULL);
}

static void on_failed(struct channel *c, const struct error *e, const char *code, void *owner) {
        struct upstream *u = owner;

        u->http1_failures += channel_is_http1(c) && e->failure == FAILURE_NETWORK;
        u->why = *e;
        u->code = code;
        if (e->failure == FAILURE_NETWORK) {
                u->failures++;
                u->retry_ns = clock_deadline_ns(RETRY_MS * u->failures);
        } else
                u->refusals++;
        fprintf(stderr, "sealboot connect: %s: %s\n", u->site.server->url, e->reason);
}

static void on_ended(struct channel *c, struct exchange *x, bool again, void *owner) {
        struct upstream *u = owner;

        (void) c;
        x->channel = NULL;
        if (again)
                enqueue(u, x);
        else
                be_done(u, x);
}

/* --- The thread */

static void begin_exchange(struct upstream *u, struct exchange *x) {
        u->n_exchanges++;
        exchange_limit(x, MAX_OF((size_t) PIPE_MIN, MIN_OF((size_t) PIPE_MAX, PIPES_BYTES / u->n_exchanges)));
        x->alone = transfer_goes_alone(x);
        watch_client(u, x);
        enqueue(u, x);
}

static void see_exchange(struct upstream *u, struct exchange *x) {
        switch (x->stage) {
        case EXCHANGE_NEW:
                begin_exchange(u, x);
                break;
        case EXCHANGE_WAITING:
                if (exchange_left(x)) {
                        leave_queue(u, x);
                        be_done(u, x);
                }
                break;
        case EXCHANGE_RUNNING:
                channel_wake(x->channel, x);
                break;
        case EXCHANGE_DONE:
                break;
        }
}

static struct exchange *take_woken(struct upstream *u) {
        struct exchange *x;

        pthread_mutex_lock(&u->lock);
        x = u->woken;
        if (x) {
                u->woken = x->next_woken;
                x->woken = false;
        }
        pthread_mutex_unlock(&u->lock);
        return x;
}

static void see_woken(struct upstream *u) {
        struct exchange *x;

        while ((x = take_woken(u))) {
                see_exchange(u, x);
                exchange_drop(x);
        }
}

/* The client's socket has an end. With more behind it unread, as of a next request, the client is still there. */
static void see_client(struct upstream *u, int fd) {
        struct exchange *x = (size_t) fd < u->n_clients ? u->clients[fd] : NULL;
        bool ended;
        char byte;

        if (!x || !has_client(x))
                return;
        ended = recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
        if (!ended)
                return;
        exchange_break(x);
        if (x->stage == EXCHANGE_RUNNING)
                channel_abort(x->channel, x);
        else if (x->stage == EXCHANGE_WAITING) {
                leave_queue(u, x);
                be_done(u, x);
        }
}

static void see_event(struct upstream *u, const struct epoll_event *event) {
        uint32_t number = (uint32_t) (event->data.u64 >> 32);
        int fd = (int) (uint32_t) event->data.u64;
        uint64_t count;

        if (number == TAG_WAKE) {
                if (read(u->wake, &count, sizeof count) < 0)
                        return;
        } else if (number == TAG_ENDPOINT)
                u->endpoint_called = true;
        else if (number == TAG_CLIENT)
                see_client(u, fd);
        else if (u->channels[number])
                channel_event(u->channels[number], fd, event->events);
}

static bool is_asked_for(const struct upstream *u, const uint8_t key[static KEY_ID_SIZE]) {
        for (size_t i = 0; i < u->n_channels; i++)
                if (u->channels[i] && channel_is_asking(u->channels[i]) &&
                    memcmp(channel_key(u->channels[i]), key, KEY_ID_SIZE) == 0)
                        return true;
        return false;
}

/* Whoever holds this key was refused on another channel: what this one still sends and receives ends, too. */
static void cut_refused(struct upstream *u, struct channel *c) {
        char reason[INSTANCE_REASON_MAX];
        struct error e;

        if (!instances_refused(u->site.instances, channel_key(c), reason, sizeof reason))
                return;
        fail(&e, FAILURE_MISMATCH, -EKEYREJECTED, u->site.server->url, "%s", reason);
        channel_close(c);
        channel_cut(c, &e);
}

/* Keys that are in use are attested anew before they are too old, and unused channels are closed. */
static void care_for(struct upstream *u, struct channel *c) {
        struct instances *s = u->site.instances;
        double idle = clock_seconds_since(channel_used_ns(c)),
               limit = (double) MAX_OF(instances_max_age(s), IDLE_SECONDS);
        bool accepted = instances_accept(s, channel_key(c)), free_now = channel_busy(c) == 0, old, unused;

        if (channel_state(c) != CHANNEL_READY)
                return;
        old = channel_evidence_ns(c) != INT64_MAX && clock_seconds_since(channel_evidence_ns(c)) > EVIDENCE_SECONDS;
        unused = free_now && (!accepted || idle > limit || (!channel_is_multiplexed(c) && idle > IDLE_SECONDS));
        if (old || unused)
                channel_close(c); /* the next one proves itself, and is shown the newest evidence */
        else if ((!accepted || instances_due(s, channel_key(c))) && (free_now || channel_is_multiplexed(c)) &&
                 !is_asked_for(u, channel_key(c)))
                channel_attest(c);
}

static void sweep(struct upstream *u) {
        for (size_t i = 0; i < u->n_channels; i++)
                if (u->channels[i] && channel_state(u->channels[i]) == CHANNEL_CLOSED &&
                    channel_busy(u->channels[i]) == 0) {
                        channel_free(u->channels[i]);
                        u->channels[i] = NULL;
                }
        while (u->n_channels > 0 && !u->channels[u->n_channels - 1])
                u->n_channels--;
}

static void tick(struct upstream *u) {
        size_t opening, ready, all;

        if (!clock_has_passed(u->tick_ns))
                return;
        u->tick_ns = clock_deadline_ns(TICK_MS);
        for (size_t i = 0; i < u->n_channels; i++)
                if (u->channels[i]) {
                        cut_refused(u, u->channels[i]);
                        care_for(u, u->channels[i]);
                        channel_trim(u->channels[i]);
                }
        count_channels(u, &opening, &ready, &all);
        if (ready > 0) /* others serve, and the instances that failed may have come back */
                u->failures = u->refusals = 0;
}

static int next_wait_ms(const struct upstream *u) {
        int wait_ms = u->endpoint.run ? u->endpoint.wait_ms(u->endpoint.owner) : -1;
        int64_t next = u->tick_ns, left;

        if (wait_ms == 0)
                return 0;
        for (size_t i = 0; i < u->n_channels; i++)
                if (u->channels[i])
                        next = MIN_OF(next, channel_deadline_ns(u->channels[i]));
        if (u->waiting && u->retry_ns > 0)
                next = MIN_OF(next, MAX_OF(u->retry_ns, clock_ns() + NS_PER_MS));
        left = next - clock_ns();
        left = left <= 0 ? 0 : MIN_OF((left + NS_PER_MS - 1) / NS_PER_MS, (int64_t) TICK_MS);
        return wait_ms < 0 ? (int) left : MIN_OF((int) left, wait_ms);
}

static void take_endpoint(struct upstream *u) {
        struct epoll_event event = { .events = EPOLLIN, .data.u64 = channel_tag(TAG_ENDPOINT, 0) };

        pthread_mutex_lock(&u->lock);
        if (u->offered.run) {
                u->endpoint = u->offered;
                u->offered.run = NULL;
                u->endpoint_called = true;
                epoll_ctl(u->epoll, EPOLL_CTL_ADD, u->endpoint.epoll, &event);
        }
        pthread_mutex_unlock(&u->lock);
}

static void run_endpoint(struct upstream *u) {
        if (!u->endpoint.run || (!u->endpoint_called && u->endpoint.wait_ms(u->endpoint.owner) != 0))
                return;
        u->endpoint_called = false;
        u->endpoint.run(u->endpoint.owner);
}

/* What wakes the thread up finds it asleep, or has come before. */
static int wait_for_events(struct upstream *u, struct epoll_event events[static EVENTS]) {
        int wait_ms = next_wait_ms(u), n;

        pthread_mutex_lock(&u->lock);
        u->asleep = !u->woken && !u->stop && !u->offered.run;
        if (!u->asleep)
                wait_ms = 0;
        pthread_mutex_unlock(&u->lock);
        n = epoll_wait(u->epoll, events, EVENTS, wait_ms);
        pthread_mutex_lock(&u->lock);
        u->asleep = false;
        pthread_mutex_unlock(&u->lock);
        return n;
}

static void end_all(struct upstream *u) {
        struct error e;

        see_woken(u);
        fail(&e, FAILURE_STOPPED, -ECANCELED, "", "sealboot connect is stopping");
        fail_waiting(u, 503, "stopping", e.reason);
        for (size_t i = 0; i < u->n_channels; i++)
                if (u->channels[i]) {
                        channel_cut(u->channels[i], &e);
                        channel_free(u->channels[i]);
                        u->channels[i] = NULL;
                }
}

/* The last answers are on their way for as long as the endpoint has something to do at once. */
static void flush_endpoint(struct upstream *u) {
        int64_t end_ns = clock_deadline_ns(FLUSH_MS);

        if (!u->endpoint.run)
                return;
        do
                u->endpoint.run(u->endpoint.owner);
        while (u->endpoint.wait_ms(u->endpoint.owner) == 0 && !clock_has_passed(end_ns));
}

static void *run(void *userdata) {
        struct upstream *u = userdata;
        struct epoll_event events[EVENTS];

        while (!is_stopped(u)) {
                int n = wait_for_events(u, events);

                for (int i = 0; i < n; i++)
                        see_event(u, &events[i]);
                take_endpoint(u);
                run_endpoint(u);
                see_woken(u);
                schedule(u);
                for (size_t i = 0; i < u->n_channels; i++)
                        if (u->channels[i] && clock_has_passed(channel_deadline_ns(u->channels[i])))
                                channel_time(u->channels[i]);
                tick(u);
                sweep(u);
        }
        take_endpoint(u);
        if (u->endpoint.run)
                u->endpoint.quiesce(u->endpoint.owner);
        end_all(u);
        flush_endpoint(u);
        return NULL;
}

int upstream_new(const struct channel_site *site, struct upstream **ret, struct error *e) {
        struct epoll_event event = { .events = EPOLLIN, .data.u64 = channel_tag(TAG_WAKE, 0) };
        struct upstream *u = calloc(1, sizeof *u);

        if (!u)
                return fail_oom(e);
        u->site = *site;
        u->site.proven = on_proven;
        u->site.failed = on_failed;
        u->site.ended = on_ended;
        u->site.owner = u;
        u->waiting_end = &u->waiting;
        pthread_mutex_init(&u->lock, NULL);
        pthread_cond_init(&u->changed, NULL);
        u->epoll = u->site.epoll = epoll_create1(EPOLL_CLOEXEC);
        u->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (u->epoll < 0 || u->wake < 0 || epoll_ctl(u->epoll, EPOLL_CTL_ADD, u->wake, &event) < 0 ||
            pthread_create(&u->thread, NULL, run, u) != 0) {
                upstream_free(u);
                return fail(e, FAILURE_INTERNAL, -EAGAIN, "", "cannot start a thread: %s", strerror(errno));
        }
        u->started = true;
        *ret = u;
        return 0;
}

int upstream_wait(struct upstream *u, struct error *e) {
        int r = 0;

        pthread_mutex_lock(&u->lock);
        while (!u->first_done)
                pthread_cond_wait(&u->changed, &u->lock);
        if (u->first.failure != FAILURE_NONE) {
                *e = u->first;
                r = -EIO;
        }
        pthread_mutex_unlock(&u->lock);
        return r;
}

void upstream_stop(struct upstream *u) {
        pthread_mutex_lock(&u->lock);
        u->stop = true;
        ring(u);
        pthread_mutex_unlock(&u->lock);
        if (u->started)
                pthread_join(u->thread, NULL);
        u->started = false;
}

void upstream_free(struct upstream *u) {
        struct exchange *x;

        if (!u)
                return;
        while ((x = take_woken(u)))
                exchange_drop(x);
        if (u->epoll >= 0)
                close(u->epoll);
        if (u->wake >= 0)
                close(u->wake);
        free(u->clients);
        pthread_mutex_destroy(&u->lock);
        pthread_cond_destroy(&u->changed);
        free(u);
}
