/* SPDX-License-Identifier: Apache-2.0 */

/* Records of every size, cut anywhere on their way, over TLS 1.2 and 1.3: no byte may stay in OpenSSL's buffer until
 * more arrive, because after the last byte of an answer nothing does. */

#include "unit.h"

#include <arpa/inet.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <unistd.h>

#include "basic/clock.h"
#include "pipeline/loop.h"

enum { ANSWERS = 60, ANSWER_MAX = 200000, RECORD_MAX = 16384, DEADLINE_MS = 20000 };

struct server {
        int fd, version;
        uint64_t random;
        uint8_t answer[ANSWER_MAX];
};

/* xorshift64: the same sizes in each run */
static unsigned draw(uint64_t *state, unsigned n) {
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        return (unsigned) (*state % n);
}

static SSL_CTX *server_context(int version) {
        SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
        EVP_PKEY *key = EVP_EC_gen("P-256");
        X509 *x = X509_new();

        assert_true(ctx && key && x);
        X509_gmtime_adj(X509_getm_notBefore(x), -60);
        X509_gmtime_adj(X509_getm_notAfter(x), 3600);
        assert_int_equal(X509_set_pubkey(x, key), 1);
        assert_true(X509_sign(x, key, EVP_sha256()) > 0);
        assert_int_equal(SSL_CTX_use_certificate(ctx, x), 1);
        assert_int_equal(SSL_CTX_use_PrivateKey(ctx, key), 1);
        SSL_CTX_set_min_proto_version(ctx, version);
        SSL_CTX_set_max_proto_version(ctx, version);
        EVP_PKEY_free(key);
        X509_free(x);
        return ctx;
}

/* Sends what OpenSSL has put into `out`, cut at any place. */
static void send_cut(struct server *s, int fd, BIO *out) {
        char *data;
        long n = BIO_get_mem_data(out, &data);

        for (long at = 0; at < n;) {
                unsigned size = 1 + draw(&s->random, draw(&s->random, 2) ? 90000 : 700);
                ssize_t sent = send(fd, data + at, MIN_OF((size_t) (n - at), (size_t) size), MSG_NOSIGNAL);

                assert_true(sent > 0);
                at += sent;
                if (draw(&s->random, 4) == 0)
                        usleep(draw(&s->random, 400));
        }
        (void) BIO_reset(out);
}

static void receive(int fd, BIO *in) {
        char buffer[4096];
        ssize_t n = recv(fd, buffer, sizeof buffer, 0);

        assert_true(n > 0);
        assert_int_equal(BIO_write(in, buffer, (int) n), n);
}

static void answer(struct server *s, SSL *ssl, size_t size) {
        char head[64];
        int n = snprintf(head, sizeof head, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n", size);

        /* A head in two records, and a body in records of all sizes. */
        assert_int_equal(SSL_write(ssl, head, 7), 7);
        assert_int_equal(SSL_write(ssl, head + 7, n - 7), n - 7);
        for (size_t at = 0; at < size;) {
                size_t record = 1 + draw(&s->random, draw(&s->random, 3) ? RECORD_MAX : 40);

                record = MIN_OF(size - at, record);
                assert_int_equal(SSL_write(ssl, s->answer + at, (int) record), record);
                at += record;
        }
}

static void *serve(void *userdata) {
        struct server *s = userdata;
        SSL_CTX *ctx = server_context(s->version);
        int fd = accept(s->fd, NULL, NULL);
        BIO *in = BIO_new(BIO_s_mem()), *out = BIO_new(BIO_s_mem());
        SSL *ssl = SSL_new(ctx);
        char request[4096];

        assert_true(fd >= 0 && in && out && ssl);
        SSL_set_bio(ssl, in, out);
        SSL_set_accept_state(ssl);
        BIO_set_mem_eof_return(in, -1);
        for (unsigned i = 0; i < ANSWERS;) {
                int n = SSL_read(ssl, request, sizeof request);

                if (n > 0) {
                        unsigned wanted;

                        assert_int_equal(sscanf(request, "GET /%u ", &wanted), 1);
                        answer(s, ssl, wanted);
                        i++;
                }
                send_cut(s, fd, out);
                if (n <= 0)
                        receive(fd, in);
        }
        SSL_free(ssl);
        SSL_CTX_free(ctx);
        return (void *) (intptr_t) fd; /* it stays open: the end of a connection would hide bytes left behind */
}

struct received {
        const struct server *server;
        size_t n;
};

static size_t on_body(char *data, size_t size, size_t n, void *userdata) {
        struct received *r = userdata;

        n *= size;
        if (r->n + n > ANSWER_MAX || memcmp(data, r->server->answer + r->n, n) != 0)
                return 0;
        r->n += n;
        return n;
}

static void get(struct loop *l, CURL *easy, unsigned port, unsigned size, const struct server *s) {
        struct received received = { .server = s };
        int64_t deadline = clock_deadline_ns(DEADLINE_MS);
        CURLcode code = CURLE_OK;
        char url[64], why[CURL_ERROR_SIZE] = "";

        snprintf(url, sizeof url, "https://127.0.0.1:%u/%u", port, size);
        curl_easy_reset(easy);
        curl_easy_setopt(easy, CURLOPT_URL, url);
        curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, why);
        curl_easy_setopt(easy, CURLOPT_PROXY, "");
        curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long) CURL_HTTP_VERSION_1_1);
        curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 0L);
        curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 0L);
        curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
        curl_easy_setopt(easy, CURLOPT_WRITEDATA, &received);
        assert_int_equal(loop_add(l, easy), 0);
        while (!loop_ended(l, &code)) {
                if (clock_has_passed(deadline))
                        fail_msg("an answer of %u bytes stopped after %zu", size, received.n);
                assert_int_equal(loop_run(l, 1000), 0);
        }
        loop_remove(l, easy);
        if (code != CURLE_OK)
                fail_msg("an answer of %u bytes: %s: %s", size, curl_easy_strerror(code), why);
        assert_int_equal(received.n, size);
}

/* Returns the port. */
static unsigned listen_at(struct server *s) {
        struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        socklen_t length = sizeof address;

        s->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert_int_equal(bind(s->fd, (struct sockaddr *) &address, sizeof address), 0);
        assert_int_equal(listen(s->fd, SOMAXCONN), 0);
        assert_int_equal(getsockname(s->fd, (struct sockaddr *) &address, &length), 0);
        return ntohs(address.sin_port);
}

static void run(int version) {
        struct server *s = calloc(1, sizeof *s);
        CURL *easy = curl_easy_init();
        uint64_t random = 88172645463325252;
        struct error e = { 0 };
        struct loop *l;
        pthread_t thread;
        unsigned port;
        void *fd;

        assert_true(s && easy);
        *s = (struct server) { .version = version, .random = 42 };
        for (size_t i = 0; i < ANSWER_MAX; i++)
                s->answer[i] = (uint8_t) draw(&random, 256);
        port = listen_at(s);
        assert_int_equal(pthread_create(&thread, NULL, serve, s), 0);
        assert_int_equal(loop_new(4, &l, &e), 0);
        for (unsigned i = 0; i < ANSWERS; i++)
                get(l, easy, port, draw(&random, i % 3 ? 900 : ANSWER_MAX), s);
        assert_int_equal(pthread_join(thread, &fd), 0);
        curl_easy_cleanup(easy);
        loop_free(l);
        close((int) (intptr_t) fd);
        close(s->fd);
        free(s);
}

static void test_tls_1_3(void **state _unused_) {
        run(TLS1_3_VERSION);
}

static void test_tls_1_2(void **state _unused_) {
        run(TLS1_2_VERSION);
}

/* ---- many at once */

enum { MANY = 8, MANY_ROUNDS = 8, MANY_SIZE = 3000000, MANY_STALL_MS = 3000 };

struct many {
        struct server server;
        unsigned port;
        size_t received[MANY];
        CURL *easy[MANY];
};

/* Any handle may use any of the connections. */
static void *serve_many(void *userdata) {
        static const char head[] = "HTTP/1.1 200 OK\r\nContent-Length: 3000000\r\n\r\n";
        static const uint8_t body[RECORD_MAX];
        struct server *s = userdata;
        SSL_CTX *ctx = server_context(s->version);
        int fd = accept(s->fd, NULL, NULL);
        SSL *ssl = SSL_new(ctx);
        char request[4096];

        assert_true(fd >= 0 && ssl && SSL_set_fd(ssl, fd) == 1 && SSL_accept(ssl) == 1);
        while (SSL_read(ssl, request, sizeof request) > 0) {
                assert_int_equal(SSL_write(ssl, head, sizeof head - 1), sizeof head - 1);
                for (size_t at = 0, n; at < MANY_SIZE; at += n) {
                        n = MIN_OF((size_t) RECORD_MAX, MANY_SIZE - at);
                        assert_int_equal(SSL_write(ssl, body, (int) n), n);
                }
        }
        SSL_free(ssl);
        SSL_CTX_free(ctx);
        close(fd);
        return NULL;
}

/* Slow, so that more is there than libcurl takes at once: then it goes on when it acts on another connection. */
static size_t on_many(char *data, size_t size, size_t n, void *userdata) {
        size_t *received = userdata;

        (void) data;
        usleep(20);
        *received += size * n;
        return size * n;
}

static void prepare_many(struct many *m, unsigned i) {
        char url[64];

        snprintf(url, sizeof url, "https://127.0.0.1:%u/", m->port);
        m->easy[i] = curl_easy_init();
        curl_easy_setopt(m->easy[i], CURLOPT_URL, url);
        curl_easy_setopt(m->easy[i], CURLOPT_PROXY, "");
        curl_easy_setopt(m->easy[i], CURLOPT_HTTP_VERSION, (long) CURL_HTTP_VERSION_1_1);
        curl_easy_setopt(m->easy[i], CURLOPT_SSL_VERIFYPEER, 0L);
        curl_easy_setopt(m->easy[i], CURLOPT_SSL_VERIFYHOST, 0L);
        curl_easy_setopt(m->easy[i], CURLOPT_BUFFERSIZE, 256L * 1024);
        curl_easy_setopt(m->easy[i], CURLOPT_WRITEFUNCTION, on_many);
        curl_easy_setopt(m->easy[i], CURLOPT_WRITEDATA, &m->received[i]);
}

static size_t received_by_many(const struct many *m) {
        size_t n = 0;

        for (unsigned i = 0; i < MANY; i++)
                n += m->received[i];
        return n;
}

/* An answer for each handle, at the same time: no later transfer gives libcurl a reason to look at an earlier one. */
static void get_many(struct many *m, struct loop *l) {
        unsigned n = MANY;
        CURLcode code;
        CURL *easy;

        for (unsigned i = 0; i < MANY; i++)
                assert_int_equal(loop_add(l, m->easy[i]), 0);
        while (n > 0) {
                size_t before = received_by_many(m);
                int64_t began = clock_ns();

                assert_int_equal(loop_run(l, MANY_STALL_MS), 0);
                if (clock_ns() - began >= MANY_STALL_MS * NS_PER_MS && received_by_many(m) == before)
                        fail_msg("nothing happened for %d ms, and %u answers are not whole", MANY_STALL_MS, n);
                while ((easy = loop_ended(l, &code))) {
                        assert_int_equal(code, CURLE_OK);
                        loop_remove(l, easy);
                        n--;
                }
        }
}

/* libcurl acts on more connections than the one it was asked to act on. What OpenSSL has read ahead of those must not
 * stay there either. */
static void run_many(int version) {
        struct many *m = calloc(1, sizeof *m);
        pthread_t threads[MANY];
        struct error e = { 0 };
        struct loop *l;

        assert_non_null(m);
        m->server.version = version;
        m->port = listen_at(&m->server);
        assert_int_equal(loop_new(MANY, &l, &e), 0);
        for (unsigned i = 0; i < MANY; i++) {
                assert_int_equal(pthread_create(&threads[i], NULL, serve_many, &m->server), 0);
                prepare_many(m, i);
        }
        for (unsigned i = 0; i < MANY_ROUNDS; i++)
                get_many(m, l);
        loop_free(l); /* closes the connections */
        for (unsigned i = 0; i < MANY; i++) {
                assert_int_equal(pthread_join(threads[i], NULL), 0);
                assert_int_equal(m->received[i], (size_t) MANY_ROUNDS * MANY_SIZE);
                curl_easy_cleanup(m->easy[i]);
        }
        close(m->server.fd);
        free(m);
}

static void test_many_tls_1_3(void **state _unused_) {
        run_many(TLS1_3_VERSION);
}

static void test_many_tls_1_2(void **state _unused_) {
        run_many(TLS1_2_VERSION);
}

static void *wake(void *userdata) {
        usleep(20000);
        loop_wake(userdata);
        return NULL;
}

static void test_wake(void **state _unused_) {
        struct error e = { 0 };
        struct loop *l;
        pthread_t thread;
        int64_t began;

        assert_int_equal(loop_new(1, &l, &e), 0);
        began = clock_ns();
        assert_int_equal(pthread_create(&thread, NULL, wake, l), 0);
        assert_int_equal(loop_run(l, 60000), 0);
        assert_true(clock_ns() - began < 30 * NS_PER_SECOND);
        assert_int_equal(pthread_join(thread, NULL), 0);
        loop_wake(l); /* before the wait: it ends at once */
        assert_int_equal(loop_run(l, 60000), 0);
        assert_true(clock_ns() - began < 30 * NS_PER_SECOND);
        loop_free(l);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_tls_1_3),      cmocka_unit_test(test_tls_1_2),
                cmocka_unit_test(test_many_tls_1_3), cmocka_unit_test(test_many_tls_1_2),
                cmocka_unit_test(test_wake),
        };

        curl_global_init(CURL_GLOBAL_DEFAULT);
        return cmocka_run_group_tests(tests, NULL, NULL);
}
