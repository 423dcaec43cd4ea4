/* SPDX-License-Identifier: Apache-2.0 */
#include "pipeline/loop.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "aws/http.h"
#include "aws/read-ahead.h"
#include "basic/clock.h"

enum {
        EVENTS_MAX = 64, /* of one wait; the others come with the next */
        /* The wait between the arrival of bytes and reading them: more bytes arrive, on more connections. Without it,
         * each read brings a few kilobytes, which costs a tenth to a fifth more CPU time. */
        GATHER_US = 200,
};

struct loop {
        CURLM *multi;
        int epoll_fd, wake_fd;
        CURL **easy; /* of each descriptor that libcurl watches, by its number; NULL: not watched */
        size_t n_easy;
        int64_t timer_ns; /* when libcurl wants to be called; 0: it does not */
        struct read_ahead read;
        bool has_tls_1_2; /* some connection, now or before */
        int error;        /* 0, or why a descriptor cannot be watched: a negative errno */
};

/* ---- what libcurl tells */

static int room_for(struct loop *l, size_t fd) {
        size_t n = MAX_OF(fd + 1, 2 * l->n_easy);
        CURL **larger;

        if (fd < l->n_easy)
                return 0;
        larger = realloc(l->easy, n * sizeof *larger);
        if (!larger)
                return -ENOMEM;
        memset(larger + l->n_easy, 0, (n - l->n_easy) * sizeof *larger);
        l->easy = larger;
        l->n_easy = n;
        return 0;
}

static int watch(struct loop *l, CURL *easy, int fd, int what) {
        struct epoll_event event = {
                .events = (what & CURL_POLL_IN ? EPOLLIN : 0U) | (what & CURL_POLL_OUT ? EPOLLOUT : 0U), .data.fd = fd
        };
        int r = room_for(l, (size_t) fd);

        if (r < 0)
                return r;
        if (epoll_ctl(l->epoll_fd, l->easy[fd] ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &event) < 0)
                return -errno;
        l->easy[fd] = easy;
        return 0;
}

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *userdata, void *socket_data) {
        struct loop *l = userdata;
        int r;

        (void) socket_data;
        if (what != CURL_POLL_REMOVE) {
                r = watch(l, easy, fd, what);
                l->error = l->error ?: r;
        } else if ((size_t) fd < l->n_easy && l->easy[fd]) {
                /* It fails for a descriptor that is closed already, which the kernel has forgotten. */
                (void) epoll_ctl(l->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
                l->easy[fd] = NULL;
        }
        return 0;
}

static int on_timer(CURLM *multi, long timeout_ms, void *userdata) {
        struct loop *l = userdata;

        (void) multi;
        l->timer_ns = timeout_ms < 0 ? 0 : clock_ns() + timeout_ms * (int64_t) NS_PER_MS;
        return 0;
}

/* ---- reading ahead */

static CURLcode on_tls(CURL *easy, void *ctx, void *userdata) {
        struct loop *l = userdata;

        (void) easy;
        read_ahead_prepare(ctx, &l->read);
        return CURLE_OK;
}

/* Of a descriptor that libcurl watches: its connection, and the same if OpenSSL holds bytes of it. Else NULL. */
static const SSL *connection(const struct loop *l, size_t fd) {
        return fd < l->n_easy && l->easy[fd] ? tls_connection(l->easy[fd]) : NULL;
}

static const SSL *left(const struct loop *l, size_t fd) {
        return fd < l->n_easy && l->easy[fd] ? read_ahead_left(l->easy[fd]) : NULL;
}

/* What OpenSSL holds is less than a record when an action sees neither a record's header nor, in TLS 1.3, its end. In
 * TLS 1.2 there is no sign of the end: the action may have taken a record whose header came earlier. */
static int act(struct loop *l, int fd, int what) {
        unsigned idle = 0;
        const SSL *ssl;
        int running;

        do {
                uint64_t before = l->read.records;

                l->read.expected = connection(l, (size_t) fd);
                if (curl_multi_socket_action(l->multi, fd, what, &running) != CURLM_OK)
                        return -EIO;
                what = CURL_CSELECT_IN;
                idle = l->read.records != before ? 0 : idle + 1;
                ssl = left(l, (size_t) fd);
                l->has_tls_1_2 |= ssl && SSL_version(ssl) < TLS1_3_VERSION;
        } while (ssl && idle < (SSL_version(ssl) >= TLS1_3_VERSION ? 1U : 2U));
        return 0;
}

/* An action on one connection may read others. In TLS 1.2, it may do so without a sign. */
static int act_on_others(struct loop *l) {
        int r = 0;

        if (!l->read.others && !l->has_tls_1_2)
                return 0;
        l->read.others = false;
        for (size_t fd = 0; fd < l->n_easy && r == 0; fd++)
                if (left(l, fd))
                        r = act(l, (int) fd, CURL_CSELECT_IN);
        return r;
}

/* ---- the loop */

static int wait_for(struct loop *l, int sleep_ms, struct epoll_event events[static EVENTS_MAX]) {
        int64_t left_ns = l->timer_ns > 0 ? MAX_OF(l->timer_ns - clock_ns(), INT64_C(0)) : INT64_MAX;
        int n;

        if (l->read.others)
                sleep_ms = 0;
        else if (left_ns / NS_PER_MS < sleep_ms)
                sleep_ms = (int) ((left_ns + NS_PER_MS - 1) / NS_PER_MS);
        n = epoll_wait(l->epoll_fd, events, EVENTS_MAX, sleep_ms);
        if (n > 0 && sleep_ms > 0) {
                (void) nanosleep(&(struct timespec) { .tv_nsec = GATHER_US * 1000 }, NULL);
                n = epoll_wait(l->epoll_fd, events, EVENTS_MAX, 0);
        }
        return n < 0 && errno != EINTR ? -errno : MAX_OF(n, 0);
}

static int take_event(struct loop *l, const struct epoll_event *event) {
        int fd = event->data.fd, what = 0;
        uint64_t count;

        if (fd == l->wake_fd)
                return read(fd, &count, sizeof count) < 0 && errno != EAGAIN ? -errno : 0;
        if (event->events & EPOLLIN)
                what |= CURL_CSELECT_IN;
        if (event->events & EPOLLOUT)
                what |= CURL_CSELECT_OUT;
        if (event->events & (EPOLLERR | EPOLLHUP))
                what |= CURL_CSELECT_ERR;
        return act(l, fd, what);
}

/* libcurl's own timer: it begins transfers, and reads answers that are there already. */
static int take_timer(struct loop *l) {
        int running;

        if (l->timer_ns == 0 || l->timer_ns > clock_ns())
                return 0;
        l->timer_ns = 0;
        l->read.expected = NULL;
        return curl_multi_socket_action(l->multi, CURL_SOCKET_TIMEOUT, 0, &running) == CURLM_OK ? 0 : -EIO;
}

int loop_run(struct loop *l, int sleep_ms) {
        struct epoll_event events[EVENTS_MAX];
        int n = wait_for(l, sleep_ms, events), r = MIN_OF(n, 0);

        for (int i = 0; i < n && r == 0; i++)
                r = take_event(l, &events[i]);
        if (r == 0)
                r = take_timer(l);
        if (r == 0)
                r = act_on_others(l);
        return r < 0 ? r : l->error;
}

CURL *loop_ended(struct loop *l, CURLcode *ret_code) {
        CURLMsg *m;
        int left;

        while ((m = curl_multi_info_read(l->multi, &left)))
                if (m->msg == CURLMSG_DONE) {
                        *ret_code = m->data.result;
                        return m->easy_handle;
                }
        return NULL;
}

int loop_add(struct loop *l, CURL *easy) {
        if (http_tls_is_openssl() && (curl_easy_setopt(easy, CURLOPT_SSL_CTX_FUNCTION, on_tls) != CURLE_OK ||
                                      curl_easy_setopt(easy, CURLOPT_SSL_CTX_DATA, l) != CURLE_OK))
                return -EIO;
        return curl_multi_add_handle(l->multi, easy) == CURLM_OK ? 0 : -EIO;
}

void loop_remove(struct loop *l, CURL *easy) {
        curl_multi_remove_handle(l->multi, easy);
}

void loop_wake(struct loop *l) {
        /* It fails only where the counter is full: then the loop is woken already. */
        (void) !write(l->wake_fd, &(uint64_t) { 1 }, sizeof(uint64_t));
}

/* ---- setting up and taking down */

void loop_free(struct loop *l) {
        if (!l)
                return;
        curl_multi_cleanup(l->multi); /* it closes connections, and tells on_socket() */
        if (l->epoll_fd >= 0)
                close(l->epoll_fd);
        if (l->wake_fd >= 0)
                close(l->wake_fd);
        free(l->easy);
        free(l);
}

static int set_up(struct loop *l, size_t connections) {
        struct epoll_event event = { .events = EPOLLIN };

        l->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
        l->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        event.data.fd = l->wake_fd;
        if (l->epoll_fd < 0 || l->wake_fd < 0 || epoll_ctl(l->epoll_fd, EPOLL_CTL_ADD, l->wake_fd, &event) < 0)
                return -errno;
        l->multi = curl_multi_init();
        if (!l->multi || curl_multi_setopt(l->multi, CURLMOPT_MAXCONNECTS, (long) connections) != CURLM_OK ||
            curl_multi_setopt(l->multi, CURLMOPT_SOCKETFUNCTION, on_socket) != CURLM_OK ||
            curl_multi_setopt(l->multi, CURLMOPT_SOCKETDATA, l) != CURLM_OK ||
            curl_multi_setopt(l->multi, CURLMOPT_TIMERFUNCTION, on_timer) != CURLM_OK ||
            curl_multi_setopt(l->multi, CURLMOPT_TIMERDATA, l) != CURLM_OK)
                return -ENOMEM;
        return 0;
}

int loop_new(size_t connections, struct loop **ret, struct error *e) {
        _cleanup_(loop_freep) struct loop *l = calloc(1, sizeof *l);
        int r;

        if (!l)
                return fail_oom(e);
        l->epoll_fd = l->wake_fd = -1;
        r = set_up(l, connections);
        if (r < 0)
                return fail(e, FAILURE_INTERNAL, r, "", "no transfer can be watched: %s", strerror(-r));
        *ret = TAKE(l);
        return 0;
}
