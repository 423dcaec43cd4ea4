/* SPDX-License-Identifier: Apache-2.0 */

/* A TCP relay that lends a fast local server a slow network, for kernels without netem and fq:
 *
 *   bench-relay ADDRESS PORT TARGET_PORT ROUND_TRIP_US BYTES_PER_SECOND
 *
 * Listens on ADDRESS:PORT, connects to 127.0.0.1:TARGET_PORT for each connection, and says "ready". On SIGTERM it says
 * how many connections were open at once, and ends. It also ends with its parent. A limit of 0 is none.
 *
 * What it reads, it passes on half a round trip later, in both directions. A new connection costs one more round trip,
 * as TCP's handshake does. What the server sends is limited to BYTES_PER_SECOND on each connection, and while a
 * connection is new, to what TCP's slow start allows: ten segments, and as much again as the client has received, in
 * each round trip. Packets are not lost. */

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <netinet/tcp.h>

#define NS_PER_SECOND INT64_C(1000000000)
#define MIN_OF(a, b) ((a) < (b) ? (a) : (b))
#define MAX_OF(a, b) ((a) > (b) ? (a) : (b))

enum {
        CHUNKS = 4096,               /* on their way in one direction */
        ROOM = 512 * 1024,           /* for bytes on their way, beside those that the delay and the rate take */
        UP_ROOM = 64 * 1024,         /* requests are small */
        READ_MAX = 256 * 1024,       /* at once */
        STEP_US = 2000,              /* a connection at its limit sends what it may in this time in one piece, ... */
        STEP_MIN = 16 * 1024,        /* ... which has this size at least ... */
        STEP_MAX = 128 * 1024,       /* ... and this at most: each piece costs system calls and a wake-up */
        LATE_NS = 4 * 1000 * 1000,   /* a wake-up may be so late without loss */
        GATHER_LEAST_NS = 50 * 1000, /* more bytes arrive meanwhile, and fewer system calls bring them ... */
        GATHER_SHARE = 8,            /* ... for this part of the delay */
        GATHER_MOST_NS = 500 * 1000,
        FIRST_WINDOW = 10 * 1448, /* RFC 6928 */
        EVENTS = 256,
};

struct chunk {
        int64_t due_ns;
        size_t left;
};

/* One direction of a connection. */
struct way {
        int from, to;
        bool readable, writable, ended, closed;
        uint8_t *ring;
        size_t room, at, filled;
        struct chunk chunks[CHUNKS];
        size_t first, n;
        uint64_t rate;   /* bytes per second; 0: unlimited */
        int64_t next_ns; /* the limit forbids more until then */
        uint64_t passed;
};

struct connection {
        struct way up, down;
        int64_t opened_ns; /* for the client, whose handshake took a round trip */
        bool broken;
        struct connection *next;
};

static int64_t half_ns, gather_ns;
static uint64_t limit;
static int epoll_fd;
static unsigned n_open, most_open;
static volatile sig_atomic_t ended;

static int64_t now_ns(void) {
        struct timespec t;

        clock_gettime(CLOCK_MONOTONIC, &t);
        return t.tv_sec * NS_PER_SECOND + t.tv_nsec;
}

static void die(const char *what) {
        fprintf(stderr, "bench-relay: %s: %s\n", what, strerror(errno));
        exit(1);
}

/* ---- one direction */

/* False: the connection is broken. */
static bool take_in(struct way *w, int64_t due_ns) {
        while (w->readable && !w->ended && w->filled < w->room && w->n < CHUNKS) {
                size_t end = (w->at + w->filled) % w->room;
                size_t free_bytes = MIN_OF(w->room - w->filled, w->room - end);
                ssize_t n = read(w->from, w->ring + end, MIN_OF(free_bytes, (size_t) READ_MAX));

                if (n < 0 && errno != EAGAIN)
                        return false;
                w->readable = n > 0;
                w->ended = n == 0;
                if (n <= 0)
                        break;
                w->chunks[(w->first + w->n++) % CHUNKS] = (struct chunk) { due_ns, (size_t) n };
                w->filled += (size_t) n;
        }
        return true;
}

/* Bytes per second that the limit and slow start allow. */
static uint64_t rate_now(const struct way *w) {
        uint64_t window = FIRST_WINDOW + w->passed;

        if (half_ns == 0 || window > limit * (uint64_t) half_ns * 2 / (uint64_t) NS_PER_SECOND)
                return w->rate;
        return MAX_OF(window * (uint64_t) NS_PER_SECOND / (uint64_t) (2 * half_ns), UINT64_C(1));
}

/* How much goes out in one piece. */
static size_t step(const struct way *w, uint64_t rate) {
        size_t n = (size_t) (rate * STEP_US / 1000000);

        if (w->rate == 0)
                return SIZE_MAX;
        return MIN_OF(MAX_OF(n, (size_t) STEP_MIN), (size_t) STEP_MAX);
}

static void advance(struct way *w, size_t n) {
        w->at = (w->at + n) % w->room;
        w->filled -= n;
        w->passed += n;
        while (n > 0) {
                struct chunk *c = &w->chunks[w->first];
                size_t part = MIN_OF(n, c->left);

                c->left -= part;
                n -= part;
                if (c->left == 0) {
                        w->first = (w->first + 1) % CHUNKS;
                        w->n--;
                }
        }
}

/* Bytes at the front that are due, without a wrap of the ring: at most `most`. */
static size_t due_bytes(const struct way *w, int64_t now, size_t most) {
        size_t n = 0;

        for (size_t i = 0; i < w->n && n < most && w->chunks[(w->first + i) % CHUNKS].due_ns <= now; i++)
                n += w->chunks[(w->first + i) % CHUNKS].left;
        return MIN_OF(MIN_OF(n, most), w->room - w->at);
}

/* False: the connection is broken. */
static bool give_out(struct way *w, int64_t now) {
        while (w->writable && w->n > 0 && (w->rate == 0 || w->next_ns <= now)) {
                uint64_t rate = rate_now(w);
                size_t n = due_bytes(w, now, step(w, rate));
                ssize_t put = n > 0 ? send(w->to, w->ring + w->at, n, MSG_NOSIGNAL) : 0;

                if (n == 0)
                        break;
                w->writable = put == (ssize_t) n;
                if (put < 0 && errno != EAGAIN)
                        return false;
                if (put <= 0)
                        break;
                /* A wake-up that came late is made good. Time without bytes to send, or without room at the client, is
                 * not. */
                if (w->rate > 0)
                        w->next_ns = MAX_OF(MAX_OF(w->next_ns, w->chunks[w->first].due_ns), now - LATE_NS) +
                                     put * NS_PER_SECOND / (int64_t) rate;
                advance(w, (size_t) put);
        }
        if (w->ended && w->n == 0 && !w->closed) {
                w->closed = true;
                (void) shutdown(w->to, SHUT_WR);
        }
        return true;
}

/* When there is something to do without an event; INT64_MAX: never. */
static int64_t next_of(const struct way *w) {
        if (w->readable && !w->ended && w->filled < w->room && w->n < CHUNKS)
                return 0;
        if (w->n == 0 || !w->writable)
                return INT64_MAX;
        return MAX_OF(w->chunks[w->first].due_ns, w->rate > 0 ? w->next_ns : 0);
}

/* ---- connections */

static void way_open(struct way *w, int from, int to, uint64_t rate, size_t room) {
        *w = (struct way) { .from = from, .to = to, .writable = true, .rate = rate, .room = room };
        w->ring = malloc(room);
        if (!w->ring)
                die("malloc");
}

static int connect_to(int port) {
        struct sockaddr_in to = { .sin_family = AF_INET,
                                  .sin_port = htons((uint16_t) port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

        if (fd < 0 || connect(fd, (struct sockaddr *) &to, sizeof to) < 0)
                die("connect");
        if (fcntl(fd, F_SETFL, O_NONBLOCK) < 0)
                die("fcntl");
        return fd;
}

static void watch(int fd, struct connection *c, bool is_server) {
        /* Pointers to structures are even: the lowest bit tells the two descriptors apart. */
        struct epoll_event event = { .events = EPOLLIN | EPOLLOUT | EPOLLET,
                                     .data.u64 = (uint64_t) (uintptr_t) c | is_server };

        if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int) { 1 }, sizeof(int)) < 0 ||
            epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0)
                die("epoll_ctl");
}

static struct connection *connection_open(int client, int port, struct connection *next) {
        size_t bytes_on_way = (size_t) (limit * (uint64_t) half_ns / (uint64_t) NS_PER_SECOND);
        struct connection *c = calloc(1, sizeof *c);
        int server = connect_to(port);

        if (!c)
                die("calloc");
        way_open(&c->up, client, server, 0, UP_ROOM);
        way_open(&c->down, server, client, limit, 2 * bytes_on_way + ROOM);
        c->opened_ns = now_ns() + 2 * half_ns;
        c->next = next;
        n_open++;
        most_open = MAX_OF(most_open, n_open);
        watch(client, c, false);
        watch(server, c, true);
        return c;
}

static bool connection_over(const struct connection *c) {
        return c->broken || (c->up.closed && c->down.closed);
}

static void connection_close(struct connection *c) {
        n_open--;
        close(c->up.from);
        close(c->up.to);
        free(c->up.ring);
        free(c->down.ring);
        free(c);
}

static void connection_note(struct epoll_event *event) {
        struct connection *c = (struct connection *) (uintptr_t) (event->data.u64 & ~UINT64_C(1));
        struct way *in = event->data.u64 & 1 ? &c->down : &c->up, *out = event->data.u64 & 1 ? &c->up : &c->down;

        if (event->events & (EPOLLIN | EPOLLHUP | EPOLLERR | EPOLLRDHUP))
                in->readable = true;
        if (event->events & EPOLLOUT)
                out->writable = true;
}

static void connection_run(struct connection *c) {
        int64_t now = now_ns();

        c->broken = c->broken || !take_in(&c->up, MAX_OF(now, c->opened_ns) + half_ns) ||
                    !take_in(&c->down, now + half_ns) || !give_out(&c->up, now) || !give_out(&c->down, now);
}

/* Runs all, and closes those that are over. Returns the time until which nothing happens without an event. */
static int64_t run_all(struct connection **first) {
        int64_t next = INT64_MAX;

        for (struct connection **p = first; *p;) {
                struct connection *c = *p;

                connection_run(c);
                if (connection_over(c)) {
                        *p = c->next;
                        connection_close(c);
                        continue;
                }
                next = MIN_OF(next, MIN_OF(next_of(&c->up), next_of(&c->down)));
                p = &c->next;
        }
        return next;
}

/* ---- the relay */

static int listen_on(const char *address, int port) {
        struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons((uint16_t) port) };
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

        if (fd < 0 || inet_pton(AF_INET, address, &at.sin_addr) != 1 ||
            setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int) { 1 }, sizeof(int)) < 0 ||
            bind(fd, (struct sockaddr *) &at, sizeof at) < 0 || listen(fd, 1024) < 0)
                die("listen");
        return fd;
}

static int wait_until(int64_t until_ns, struct epoll_event events[static EVENTS]) {
        int64_t now = now_ns(), left = until_ns == INT64_MAX ? NS_PER_SECOND : MAX_OF(until_ns - now, INT64_C(0));
        struct timespec timeout = { .tv_sec = left / NS_PER_SECOND, .tv_nsec = left % NS_PER_SECOND };
        int n;

        (void) nanosleep(&(struct timespec) { .tv_nsec = gather_ns }, NULL);
        n = epoll_pwait2(epoll_fd, events, EVENTS, &timeout, NULL);
        if (n < 0 && errno != EINTR)
                die("epoll_pwait2");
        return MAX_OF(n, 0);
}

static void relay(int listener, int port) {
        struct epoll_event events[EVENTS], event = { .events = EPOLLIN };
        struct connection *first = NULL;
        int64_t until = INT64_MAX;
        int n, client;

        if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listener, &event) < 0)
                die("epoll_ctl");
        while (!ended) {
                n = wait_until(until, events);
                for (int i = 0; i < n; i++)
                        if (events[i].data.u64 != 0)
                                connection_note(&events[i]);
                        else
                                while ((client = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0)
                                        first = connection_open(client, port, first);
                until = run_all(&first);
        }
}

static void on_term(int signal) {
        (void) signal;
        ended = 1;
}

int main(int argc, char *argv[]) {
        int listener;

        if (argc != 6) {
                fprintf(stderr, "usage: bench-relay ADDRESS PORT TARGET_PORT ROUND_TRIP_US BYTES_PER_SECOND\n");
                return 2;
        }
        half_ns = strtoll(argv[4], NULL, 10) * 1000 / 2;
        gather_ns = MIN_OF(MAX_OF(half_ns / GATHER_SHARE, (int64_t) GATHER_LEAST_NS), (int64_t) GATHER_MOST_NS);
        limit = strtoull(argv[5], NULL, 10);
        /* Without it, the kernel may wake us 50 us late. */
        if (prctl(PR_SET_TIMERSLACK, 1) < 0 || prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
                die("prctl");
        if (sigaction(SIGTERM, &(struct sigaction) { .sa_handler = on_term }, NULL) < 0)
                die("sigaction");
        epoll_fd = epoll_create1(EPOLL_CLOEXEC);
        if (epoll_fd < 0)
                die("epoll_create1");
        listener = listen_on(argv[1], atoi(argv[2]));
        puts("ready");
        fflush(stdout);
        relay(listener, atoi(argv[3]));
        printf("%u\n", most_open);
        return 0;
}
