/* SPDX-License-Identifier: Apache-2.0 */
#include "connect/channel.h"

#include <sys/epoll.h>

#include "aws/read-ahead.h"
#include "basic/clock.h"
#include "connect/transfer.h"

enum {
        TRANSFERS_MAX = 128,
        BUSY_TRIES = 6,
        ASK_AGAIN_MS = 5000,
        STREAMS_OF_LIBCURL = 200,
        SOCKETS_MAX = 8,
        DRAINS_MAX = 16
};

struct channel {
        const struct channel_site *site;
        uint32_t number;
        CURLM *multi;
        struct peer peer;
        enum channel_state state;
        bool multiplexed;
        uint8_t key[KEY_ID_SIZE];
        int64_t used_ns, evidence_ns;
        int64_t timer_ns; /* of libcurl; INT64_MAX: none */
        int sockets[SOCKETS_MAX];
        size_t n_sockets;
        bool more; /* to be read at once, without an event */

        struct transfer *transfers[TRANSFERS_MAX];
        size_t n_transfers;

        CURL *asking; /* the question under way; NULL: none */
        struct question question;
        unsigned busy_tries;
        int64_t ask_ns; /* when to ask again; INT64_MAX: not */
        struct curl_slist *authorization;
};

static int ask(struct channel *c, enum question_kind kind, struct error *e);

/* --- libcurl's sockets and timers */

static void remember_socket(struct channel *c, int fd, bool there) {
        size_t i = 0;

        while (i < c->n_sockets && c->sockets[i] != fd)
                i++;
        if (there && i == c->n_sockets && i < SOCKETS_MAX)
                c->sockets[c->n_sockets++] = fd;
        else if (!there && i < c->n_sockets)
                c->sockets[i] = c->sockets[--c->n_sockets];
}

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *userdata, void *known) {
        struct channel *c = userdata;
        struct epoll_event event = { .data.u64 = channel_tag(c->number, fd) };

        (void) easy;
        remember_socket(c, fd, what != CURL_POLL_REMOVE);
        if (what == CURL_POLL_REMOVE) {
                epoll_ctl(c->site->epoll, EPOLL_CTL_DEL, fd, NULL);
                curl_multi_assign(c->multi, fd, NULL);
                return 0;
        }
        event.events = (what & CURL_POLL_IN ? EPOLLIN : 0u) | (what & CURL_POLL_OUT ? EPOLLOUT : 0u);
        if (epoll_ctl(c->site->epoll, known ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &event) < 0 && errno == EEXIST)
                epoll_ctl(c->site->epoll, EPOLL_CTL_MOD, fd, &event);
        curl_multi_assign(c->multi, fd, c);
        return 0;
}

static int on_timer(CURLM *multi, long ms, void *userdata) {
        struct channel *c = userdata;

        (void) multi;
        c->timer_ns = ms < 0 ? INT64_MAX : clock_deadline_ns(ms);
        return 0;
}

static int new_multi(struct channel *c) {
        c->multi = curl_multi_init();
        if (!c->multi)
                return -ENOMEM;
        curl_multi_setopt(c->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
        curl_multi_setopt(c->multi, CURLMOPT_SOCKETDATA, c);
        curl_multi_setopt(c->multi, CURLMOPT_TIMERFUNCTION, on_timer);
        curl_multi_setopt(c->multi, CURLMOPT_TIMERDATA, c);
        curl_multi_setopt(c->multi, CURLMOPT_PIPELINING, (long) CURLPIPE_MULTIPLEX);
        curl_multi_setopt(c->multi, CURLMOPT_MAX_CONCURRENT_STREAMS, (long) STREAMS_OF_LIBCURL);
        return 0;
}

/* --- Exchanges */

static void remove_transfer(struct channel *c, struct transfer *t) {
        for (size_t i = 0; i < c->n_transfers; i++)
                if (c->transfers[i] == t) {
                        c->transfers[i] = c->transfers[--c->n_transfers];
                        break;
                }
        t->x->transfer = NULL;
        curl_multi_remove_handle(c->multi, t->easy);
        c->used_ns = clock_ns();
}

static void tell_failure(const struct transfer *t, CURLcode code) {
        char text[sizeof t->error + 64];

        if (t->fault)
                snprintf(text, sizeof text, "%s", t->fault);
        else
                snprintf(text, sizeof text, "the connection to the server ended before its answer: %s",
                         t->error[0] ? t->error : curl_easy_strerror(code));
        exchange_fail(t->x, 502, t->fault ? "bad-answer" : "unreachable", text);
}

static void end_transfer(struct channel *c, struct transfer *t, CURLcode code) {
        struct exchange *x = t->x;
        bool again = false;

        if (t->requested) {
                memcpy(c->key, t->key.id, sizeof c->key);
                instances_count(c->site->instances, t->key.id);
        }
        remove_transfer(c, t);
        if (code == CURLE_OK && x->answered)
                exchange_finish(x, EXCHANGE_WHOLE);
        else if (!exchange_left(x) && transfer_may_repeat(t, code))
                again = true;
        else if (x->answered)
                exchange_finish(x, EXCHANGE_BROKEN);
        else
                tell_failure(t, code);
        if (code != CURLE_OK && !t->fault && !exchange_left(x) && c->state == CHANNEL_READY)
                c->state = CHANNEL_CLOSED; /* the owner opens another, which is attested or known */
        transfer_free(t);
        c->site->ended(c, x, again, c->site->owner);
}

void channel_send(struct channel *c, struct exchange *x) {
        struct transfer *t;

        x->attempts++;
        if (c->n_transfers >= TRANSFERS_MAX || transfer_new(x, c->site->server, &c->peer, c->site->token, &t) < 0) {
                exchange_fail(x, 500, "failed", "out of memory");
                c->site->ended(c, x, false, c->site->owner);
                return;
        }
        x->transfer = t;
        c->transfers[c->n_transfers++] = t;
        c->used_ns = clock_ns();
        curl_multi_add_handle(c->multi, t->easy);
}

void channel_abort(struct channel *c, struct exchange *x) {
        struct transfer *t = x->transfer;

        if (!t)
                return;
        remove_transfer(c, t);
        transfer_free(t);
        c->site->ended(c, x, false, c->site->owner);
}

/* libcurl has read all that was at hand. */
static void deliver(struct channel *c) {
        for (size_t i = 0; i < c->n_transfers; i++) {
                struct transfer *t = c->transfers[i];

                if (t->gave)
                        exchange_deliver(t->x);
                t->gave = false;
        }
}

void channel_wake(struct channel *c, struct exchange *x) {
        struct transfer *t = x->transfer;

        if (!t)
                return;
        if (exchange_left(x))
                channel_abort(c, x);
        else
                transfer_continue(t);
        deliver(c);
}

void channel_trim(struct channel *c) {
        for (size_t i = 0; i < c->n_transfers; i++)
                exchange_trim(c->transfers[i]->x);
}

/* --- Questions */

static void end_question(struct channel *c) {
        curl_multi_remove_handle(c->multi, c->asking);
        curl_easy_cleanup(c->asking);
        c->asking = NULL;
}

static void fail_channel(struct channel *c, const struct error *e, const char *code) {
        bool first = c->state == CHANNEL_ASKING;

        c->state = CHANNEL_CLOSED;
        if (first)
                c->site->failed(c, e, code, c->site->owner);
}

void channel_cut(struct channel *c, const struct error *e) {
        while (c->n_transfers > 0) {
                struct transfer *t = c->transfers[c->n_transfers - 1];

                remove_transfer(c, t);
                exchange_fail(t->x, 502, "refused", e->reason);
                c->site->ended(c, t->x, false, c->site->owner);
                transfer_free(t);
        }
}

static void prove(struct channel *c) {
        bool first = c->state == CHANNEL_ASKING;
        long version = 0;
        struct error e;

        curl_easy_getinfo(c->asking, CURLINFO_HTTP_VERSION, &version);
        c->multiplexed = version == CURL_HTTP_VERSION_2_0;
        memcpy(c->key, c->question.key.id, sizeof c->key);
        c->ask_ns = INT64_MAX;
        c->busy_tries = 0;
        end_question(c);
        c->peer.asking = false;
        if (first)
                c->state = CHANNEL_READY;
        if (instances_lack_report(c->site->instances, c->key))
                ask(c, QUESTION_REPORT, &e);
        c->site->proven(c, c->site->owner);
}

static void ask_or_fail(struct channel *c, enum question_kind kind) {
        struct error e;

        if (ask(c, kind, &e) < 0)
                fail_channel(c, &e, "failed");
}

static void end_greeting(struct channel *c) {
        char reason[INSTANCE_REASON_MAX];
        struct error e;

        if (instances_accept(c->site->instances, c->question.key.id))
                prove(c);
        else if (instances_refused(c->site->instances, c->question.key.id, reason, sizeof reason)) {
                end_question(c);
                fail(&e, FAILURE_MISMATCH, -EKEYREJECTED, c->site->server->url, "%s", reason);
                fail_channel(c, &e, "refused");
        } else {
                end_question(c);
                ask_or_fail(c, QUESTION_ATTEST);
        }
}

static void end_attestation(struct channel *c) {
        struct refusal refusal = { .code = "failed" };
        enum attestor_answer answer;
        unsigned wait_ms = 0;
        struct error e;

        answer = attestor_judge(c->site->attestor, c->asking, &c->question, &wait_ms, &refusal, &e);
        if (answer == ATTESTED) {
                prove(c);
                return;
        }
        end_question(c);
        if (answer == ATTEST_BUSY && (++c->busy_tries < BUSY_TRIES || c->state == CHANNEL_READY))
                c->ask_ns = clock_deadline_ns(wait_ms);
        else if (answer == ATTEST_REFUSED) {
                fail_channel(c, &e, refusal.code);
                channel_cut(c, &e); /* what it still sends has no reader */
        } else if (c->state == CHANNEL_READY)
                c->ask_ns = clock_deadline_ns(ASK_AGAIN_MS);
        else {
                if (answer == ATTEST_BUSY)
                        fail(&e, FAILURE_NETWORK, -EBUSY, c->site->server->url, "is busy attesting for others");
                fail_channel(c, &e, answer == ATTEST_BUSY ? "busy" : refusal.code);
        }
}

static void end_asking(struct channel *c, CURLcode code) {
        struct error e;

        if (c->question.kind == QUESTION_REPORT) {
                if (code == CURLE_OK)
                        attestor_report(c->site->attestor, c->asking, &c->question);
                end_question(c);
                c->site->proven(c, c->site->owner);
        } else if (code != CURLE_OK) {
                question_failed(&c->question, c->asking, code, c->site->server->url, &e);
                end_question(c);
                c->ask_ns = c->state == CHANNEL_READY ? clock_deadline_ns(ASK_AGAIN_MS) : INT64_MAX;
                if (c->state == CHANNEL_ASKING)
                        fail_channel(c, &e, "unreachable");
        } else if (c->question.kind == QUESTION_GREET)
                end_greeting(c);
        else
                end_attestation(c);
}

static int ask(struct channel *c, enum question_kind kind, struct error *e) {
        int r;

        question_done(&c->question);
        c->question.kind = kind;
        c->question.proven_only = kind == QUESTION_REPORT;
        c->question.headers = kind == QUESTION_REPORT ? c->authorization : NULL;
        c->asking = curl_easy_init();
        if (!c->asking)
                return fail_oom(e);
        r = question_prepare(c->asking, c->site->server, &c->peer, &c->question, e);
        if (r < 0) {
                curl_easy_cleanup(c->asking);
                c->asking = NULL;
                return r;
        }
        curl_multi_add_handle(c->multi, c->asking);
        return 0;
}

void channel_attest(struct channel *c) {
        struct error e;

        if (c->asking || c->state == CHANNEL_CLOSED)
                return;
        c->ask_ns = ask(c, QUESTION_ATTEST, &e) < 0 ? clock_deadline_ns(ASK_AGAIN_MS) : INT64_MAX;
}

/* --- The channel */

int channel_new(const struct channel_site *site, uint32_t number, bool http1, struct channel **ret, struct error *e) {
        struct channel *c = calloc(1, sizeof *c);
        _cleanup_free_ char *line = NULL;
        int r;

        if (!c)
                return fail_oom(e);
        c->site = site;
        c->number = number;
        c->peer = (struct peer) { .identity = site->identity,
                                  .instances = site->instances,
                                  .asking = true,
                                  .http1 = http1,
                                  .reads_ahead = true };
        c->timer_ns = c->ask_ns = INT64_MAX;
        c->used_ns = clock_ns();
        c->evidence_ns = identity_made_ns(site->identity);
        r = new_multi(c) < 0 ? fail_oom(e) : 0;
        if (r == 0 && site->token) {
                if (asprintf(&line, "Authorization: Bearer %s", (const char *) site->token->data) < 0)
                        line = NULL;
                c->authorization = line ? curl_slist_append(NULL, line) : NULL;
                if (line)
                        explicit_bzero(line, strlen(line));
        }
        if (r == 0)
                r = ask(c, instances_accepted(site->instances) > 0 ? QUESTION_GREET : QUESTION_ATTEST, e);
        if (r < 0) {
                channel_free(c);
                return r;
        }
        *ret = c;
        return 0;
}

void channel_free(struct channel *c) {
        if (c->asking)
                end_question(c);
        curl_multi_cleanup(c->multi);
        question_done(&c->question);
        curl_slist_free_all(c->authorization);
        free(c);
}

void channel_close(struct channel *c) {
        c->state = CHANNEL_CLOSED;
}

static void take_ends(struct channel *c) {
        CURLMsg *message;
        CURLcode code;
        CURL *easy;
        int left;

        while ((message = curl_multi_info_read(c->multi, &left))) {
                struct transfer *t = NULL;

                if (message->msg != CURLMSG_DONE)
                        continue;
                easy = message->easy_handle; /* the message does not outlive the handle's removal */
                code = message->data.result;
                if (easy == c->asking) {
                        end_asking(c, code);
                        continue;
                }
                curl_easy_getinfo(easy, CURLINFO_PRIVATE, (char **) &t);
                end_transfer(c, t, code);
        }
}

static bool has_more(const struct channel *c) {
        if (c->asking && read_ahead_left(c->asking))
                return true;
        for (size_t i = 0; i < c->n_transfers; i++)
                if (read_ahead_left(c->transfers[i]->easy))
                        return true;
        return false;
}

/* What was read ahead. */
static void drain(struct channel *c) {
        uint64_t before = c->peer.read.records - 1;
        int running;

        for (unsigned n = 0; before != c->peer.read.records && has_more(c); n++) {
                c->more = n == DRAINS_MAX; /* others have their turn */
                if (c->more)
                        return;
                before = c->peer.read.records;
                for (size_t i = 0; i < c->n_sockets; i++)
                        curl_multi_socket_action(c->multi, c->sockets[i], CURL_CSELECT_IN, &running);
        }
        c->more = false;
}

static void act(struct channel *c, int fd, int what) {
        int running;

        curl_multi_socket_action(c->multi, fd, what, &running);
        drain(c);
        take_ends(c);
        deliver(c);
}

void channel_event(struct channel *c, int fd, uint32_t events) {
        act(c, fd,
            (events & EPOLLIN ? CURL_CSELECT_IN : 0) | (events & EPOLLOUT ? CURL_CSELECT_OUT : 0) |
                    (events & (EPOLLERR | EPOLLHUP) ? CURL_CSELECT_ERR : 0));
}

int64_t channel_deadline_ns(const struct channel *c) {
        return c->more ? 0 : MIN_OF(c->timer_ns, c->ask_ns);
}

void channel_time(struct channel *c) {
        if (c->more || clock_has_passed(c->timer_ns)) {
                c->timer_ns = INT64_MAX;
                act(c, CURL_SOCKET_TIMEOUT, 0);
        }
        if (c->ask_ns != INT64_MAX && clock_has_passed(c->ask_ns)) {
                c->ask_ns = INT64_MAX;
                if (c->state == CHANNEL_READY)
                        channel_attest(c);
                else if (c->state == CHANNEL_ASKING && !c->asking)
                        ask_or_fail(c, QUESTION_ATTEST);
        }
}

enum channel_state channel_state(const struct channel *c) {
        return c->state;
}

bool channel_is_multiplexed(const struct channel *c) {
        return c->multiplexed;
}

bool channel_is_http1(const struct channel *c) {
        return c->peer.http1;
}

size_t channel_busy(const struct channel *c) {
        return c->n_transfers + (c->asking && !c->multiplexed);
}

bool channel_is_held(const struct channel *c) {
        for (size_t i = 0; i < c->n_transfers; i++)
                if (c->transfers[i]->held)
                        return true;
        return false;
}

int64_t channel_used_ns(const struct channel *c) {
        return c->used_ns;
}

const uint8_t *channel_key(const struct channel *c) {
        return c->key;
}

bool channel_is_asking(const struct channel *c) {
        return c->asking && c->question.kind != QUESTION_REPORT;
}

int64_t channel_evidence_ns(const struct channel *c) {
        return c->evidence_ns;
}
