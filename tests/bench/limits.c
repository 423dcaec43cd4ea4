/* SPDX-License-Identifier: Apache-2.0 */

/* What this machine can do with each of the things an unseal must do, one at a time and with nothing around them.
 * Prints CPU seconds per GB (10^9 bytes) of one thread:
 *
 *   gcm BYTES            AES-256-GCM decryption, 1 MiB frames, from and to the cache
 *   digest BYTES [NAME]  SHA-256 of 4 KiB leaves by the fastest hash engine, or by the one of this name
 *   engines BYTES        (not a limit) a table of all engines that this CPU runs: the least of seven turns each
 *   pages BYTES DIR      writing a file on DIR (a tmpfs) from the cache, 128 KiB at a time
 *   discard BYTES URL CA ranged GETs of 8 MiB on 16 connections by libcurl, bytes thrown away
 *   key BYTES            one ephemeral RSA-2048 key, as every boot makes it, per so many bytes (mean of eight)
 *   writes BYTES DIR [THREADS]    (not a limit) a table: threads that fill one file on DIR, or one each: see writes()
 *   hold BYTES           (not a limit) keeps memory that others are about to use from going cold: see hold()
 *   open OBJECT DIR [NAME]        (not a limit) our pipeline over a local sealed object, one thread, this hash engine
 *   fetch OBJECT DIR ENDPOINT CA  (not a limit) the same over HTTPS, where the server has it as bench/object
 *   make OBJECT BYTES    seals one for it */

#include <curl/curl.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <poll.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>

#include "aws/s3.h"
#include "owner/frame-write.h"
#include "owner/message-write.h"
#include "pipeline/unseal.h"
#include "recipient/recipient.h"

enum {
        CHUNK = 128 * 1024,
        WINDOW = 16 * CHUNK,
        RECORD = 16 * 1024,
        CONNECTIONS = 16,
        RANGE = 8 * 1024 * 1024,
        KEYS = 8
};

static const uint8_t test_key[DATA_KEY_SIZE] = { 0x73, 0x65, 0x61, 0x6c };

static double cpu_seconds(void) {
        struct rusage u;

        getrusage(RUSAGE_SELF, &u);
        return (double) (u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
               (double) (u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static int limit_gcm(uint64_t bytes) {
        static uint8_t in[RECORD], out[CHUNK], key[32], iv[12];
        EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
        int n;

        if (!c || EVP_DecryptInit_ex(c, EVP_aes_256_gcm(), NULL, key, iv) != 1)
                return -EIO;
        for (uint64_t i = 0; i < bytes; i += RECORD)
                if ((i % MESSAGE_FRAME_LENGTH == 0 && EVP_DecryptInit_ex(c, NULL, NULL, NULL, iv) != 1) ||
                    EVP_DecryptUpdate(c, out + i % CHUNK, &n, in, RECORD) != 1)
                        return -EIO;
        EVP_CIPHER_CTX_free(c);
        return 0;
}

static int limit_digest(uint64_t bytes, const char *engine) {
        static uint8_t data[CHUNK], digests[VERITY_BLOCK];
        struct verity_hash *h;
        struct error e;
        int r = verity_hash_new_with(engine, &h, &e);

        if (r < 0)
                return r;
        for (uint64_t i = 0; i < bytes; i += CHUNK)
                if (verity_leaves(h, data, CHUNK, digests) < 0)
                        return -EIO;
        verity_hash_free(h);
        return 0;
}

/* All engines take turns, so that all see the same minutes of the machine. */
static int engines(uint64_t bytes) {
        enum { TURNS = 7, ENGINES = 16 };
        double best[ENGINES] = { 0 }, before, seconds;
        const char *name;
        int r;

        for (unsigned turn = 0; turn < TURNS; turn++)
                for (size_t i = 0; i < ENGINES && (name = verity_engine_name(i)); i++) {
                        before = cpu_seconds();
                        r = limit_digest(bytes, name);
                        if (r < 0 && r != -EOPNOTSUPP)
                                return r;
                        seconds = r < 0 ? 0 : (cpu_seconds() - before) / (double) bytes * 1e9;
                        best[i] = turn == 0 || seconds < best[i] ? seconds : best[i];
                }
        for (size_t i = 0; i < ENGINES && (name = verity_engine_name(i)); i++)
                if (best[i] > 0)
                        printf("%-10s %.3f%s\n", name, best[i], streq(name, verity_engine()) ? "  taken" : "");
        return 0;
}

static int limit_pages(uint64_t bytes, const char *directory) {
        static uint8_t data[WINDOW];
        int fd = open(directory, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

        if (fd < 0 || ftruncate(fd, (off_t) bytes) < 0)
                return -errno;
        for (uint64_t i = 0; i < bytes; i += WINDOW)
                if (pwrite(fd, data, WINDOW, (off_t) i) != WINDOW)
                        return -errno;
        close(fd);
        return 0;
}

static size_t discard(char *data, size_t size, size_t n, void *userdata) {
        (void) data;
        (void) userdata;
        return size * n;
}

static void next_range(CURLM *m, CURL *easy, uint64_t *at, uint64_t bytes) {
        char range[64];

        if (*at >= bytes)
                return;
        snprintf(range, sizeof range, "%llu-%llu", (unsigned long long) *at,
                 (unsigned long long) MIN_OF(*at + RANGE, bytes) - 1);
        *at += RANGE;
        curl_easy_setopt(easy, CURLOPT_RANGE, range);
        curl_multi_add_handle(m, easy);
}

static int limit_discard(uint64_t bytes, const char *url, const char *ca) {
        CURLM *m = curl_multi_init();
        uint64_t at = 0;
        int running = 1, left, failures = 0;

        for (int i = 0; i < CONNECTIONS; i++) {
                CURL *easy = curl_easy_init();

                curl_easy_setopt(easy, CURLOPT_URL, url);
                curl_easy_setopt(easy, CURLOPT_CAINFO, ca);
                curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long) CURL_HTTP_VERSION_1_1);
                curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, 256L * 1024);
                curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, discard);
                next_range(m, easy, &at, bytes);
        }
        while (running > 0) {
                CURLMsg *msg;

                curl_multi_perform(m, &running);
                while ((msg = curl_multi_info_read(m, &left))) {
                        CURL *easy = msg->easy_handle;

                        failures += msg->data.result != CURLE_OK;
                        curl_multi_remove_handle(m, easy);
                        next_range(m, easy, &at, bytes);
                        running += at < bytes;
                }
                curl_multi_poll(m, NULL, 0, 100, NULL);
                curl_multi_perform(m, &running);
        }
        return failures > 0 ? -EIO : 0;
}

static int limit_key(void) {
        for (int i = 0; i < KEYS; i++) {
                struct recipient *r;
                struct error e;

                if (recipient_new(&r, &e) < 0)
                        return -EIO;
                recipient_free(r);
        }
        return 0;
}

/* ---- writes to one file, and to several */

/* The kernel lets one write at a time into a file (the inode's lock); a page fault takes no such lock. What of a
 * thread's time is the wait for others is the difference between wall and CPU time, if nothing else keeps the CPUs
 * busy; a wait that sleeps is a voluntary switch, one that spins is CPU time. */

enum { WRITERS_MAX = 64, WRITES_TURNS = 7 };

struct writer {
        pthread_t thread;
        pthread_barrier_t *start;
        int fd, error;
        bool mapped;
        size_t piece;
        uint64_t first, step, end; /* offsets of its pieces */
        double wall, cpu;
        long switches;
};

struct way_to_write {
        const char *name;
        size_t piece;
        bool one_file, mapped, reused;
};

struct write_cost {
        double gb_per_s, cpu, waited; /* CPU s/GB; share of the threads' time */
        double switches;              /* voluntary, per thousand pieces */
};

static double thread_seconds(clockid_t clock) {
        struct timespec t;

        clock_gettime(clock, &t);
        return (double) t.tv_sec + (double) t.tv_nsec / 1e9;
}

static long voluntary_switches(void) {
        struct rusage u;

        getrusage(RUSAGE_THREAD, &u);
        return u.ru_nvcsw;
}

static int put_piece(const struct writer *w, const uint8_t *data, uint64_t offset) {
        uint8_t *p;

        if (!w->mapped)
                return pwrite(w->fd, data, w->piece, (off_t) offset) == (ssize_t) w->piece ? 0 : -EIO;
        p = mmap(NULL, w->piece, PROT_READ | PROT_WRITE, MAP_SHARED, w->fd, (off_t) offset);
        if (p == MAP_FAILED)
                return -errno;
        if (madvise(p, w->piece, MADV_POPULATE_WRITE) < 0)
                return -errno;
        for (size_t at = 0; at < w->piece; at += CHUNK)
                memcpy(p + at, data, CHUNK);
        return munmap(p, w->piece) < 0 ? -errno : 0;
}

static void *write_pieces(void *userdata) {
        struct writer *w = userdata;
        uint8_t *data = aligned_alloc(4096, w->mapped ? CHUNK : w->piece);
        double wall, cpu;

        w->error = data ? 0 : -ENOMEM;
        if (data)
                memset(data, 1, w->mapped ? CHUNK : w->piece);
        pthread_barrier_wait(w->start);
        wall = thread_seconds(CLOCK_MONOTONIC);
        cpu = thread_seconds(CLOCK_THREAD_CPUTIME_ID);
        w->switches = -voluntary_switches();
        for (uint64_t at = w->first; at < w->end && w->error == 0; at += w->step)
                w->error = put_piece(w, data, at);
        w->switches += voluntary_switches();
        w->cpu = thread_seconds(CLOCK_THREAD_CPUTIME_ID) - cpu;
        w->wall = thread_seconds(CLOCK_MONOTONIC) - wall;
        free(data);
        return NULL;
}

static int new_file(const char *directory, uint64_t size) {
        int fd = open(directory, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

        return fd < 0 || ftruncate(fd, (off_t) size) < 0 ? -errno : fd;
}

static int run_writers(struct writer *w, unsigned n, const struct way_to_write *how, uint64_t bytes, int *fds) {
        pthread_barrier_t start;

        pthread_barrier_init(&start, NULL, n);
        for (unsigned i = 0; i < n; i++) {
                w[i] = (struct writer) { .start = &start, .mapped = how->mapped, .piece = how->piece };
                w[i].fd = fds[how->one_file ? 0 : i];
                w[i].first = how->one_file ? i * how->piece : 0;
                w[i].step = how->one_file ? n * how->piece : how->piece;
                w[i].end = how->one_file ? bytes : bytes / n;
                if (pthread_create(&w[i].thread, NULL, write_pieces, &w[i]) != 0)
                        return -EAGAIN;
        }
        for (unsigned i = 0; i < n; i++)
                pthread_join(w[i].thread, NULL);
        pthread_barrier_destroy(&start);
        return 0;
}

/* One turn, into new files, or again into files that are full already. */
static int write_once(const struct way_to_write *how, unsigned n, uint64_t bytes, const char *directory,
                      struct write_cost *ret) {
        unsigned n_files = how->one_file ? 1 : n;
        struct writer w[WRITERS_MAX];
        double wall = 0, all = 0;
        int fds[WRITERS_MAX], r = 0;

        for (unsigned i = 0; i < n_files; i++) {
                fds[i] = new_file(directory, bytes / n_files);
                if (fds[i] < 0)
                        return fds[i];
        }
        for (unsigned pass = how->reused ? 0 : 1; pass < 2 && r == 0; pass++)
                r = run_writers(w, n, how, bytes, fds);
        *ret = (struct write_cost) { 0 };
        for (unsigned i = 0; i < n && r == 0; i++) {
                r = w[i].error;
                wall = MAX_OF(wall, w[i].wall);
                all += w[i].wall;
                ret->cpu += w[i].cpu;
                ret->switches += (double) w[i].switches;
        }
        for (unsigned i = 0; i < n_files; i++)
                close(fds[i]);
        ret->gb_per_s = (double) bytes / 1e9 / wall;
        ret->waited = 1 - ret->cpu / all;
        ret->cpu *= 1e9 / (double) bytes;
        ret->switches *= 1000 * (double) how->piece / (double) bytes;
        return r;
}

static int compare_doubles(const void *a, const void *b) {
        return (*(const double *) a > *(const double *) b) - (*(const double *) a < *(const double *) b);
}

static double median_of(double values[static WRITES_TURNS]) {
        qsort(values, WRITES_TURNS, sizeof *values, compare_doubles);
        return values[WRITES_TURNS / 2];
}

static void show_writes(const struct way_to_write *how, unsigned n, const struct write_cost *turns) {
        double rate[WRITES_TURNS], cpu[WRITES_TURNS], waited[WRITES_TURNS], switches[WRITES_TURNS];

        for (unsigned i = 0; i < WRITES_TURNS; i++) {
                rate[i] = turns[i].gb_per_s;
                cpu[i] = turns[i].cpu;
                waited[i] = turns[i].waited;
                switches[i] = turns[i].switches;
        }
        printf("%-38s %2u %9.2f %9.3f %7.0f%% %9.1f\n", how->name, n, median_of(rate), median_of(cpu),
               100 * median_of(waited), median_of(switches));
}

/* Medians of seven turns. All ways take turns, with one thread and with `n`. */
static int writes(uint64_t bytes, const char *directory, unsigned n) {
        static const struct way_to_write ways[] = {
                { "write 128 KiB, one file", CHUNK, true, false, false },
                { "write 128 KiB, a file each", CHUNK, false, false, false },
                { "write 128 KiB again, one file", CHUNK, true, false, true },
                { "write 128 KiB again, a file each", CHUNK, false, false, true },
                { "write 2 MiB, one file", WINDOW, true, false, false },
                { "populate and copy 2 MiB, one file", WINDOW, true, true, false },
                { "populate and copy 2 MiB, a file each", WINDOW, false, true, false },
        };
        static struct write_cost costs[ELEMENTS(ways)][2][WRITES_TURNS];
        uint64_t unit = (uint64_t) n * WINDOW;
        int r;

        bytes -= bytes % unit;
        if (n == 0 || n > WRITERS_MAX || bytes == 0)
                return -EINVAL;
        for (unsigned turn = 0; turn < WRITES_TURNS; turn++)
                for (size_t i = 0; i < ELEMENTS(ways); i++)
                        for (unsigned many = 0; many < 2; many++) {
                                r = write_once(&ways[i], many ? n : 1, bytes, directory, &costs[i][many][turn]);
                                if (r < 0)
                                        return r;
                        }
        printf("%-38s %2s %9s %9s %8s %9s\n", "", "threads", "GB/s", "CPU s/GB", "waits", "switches");
        for (size_t i = 0; i < ELEMENTS(ways); i++)
                for (unsigned many = 0; many < 2; many++)
                        show_writes(&ways[i], many ? n : 1, costs[i][many]);
        return 0;
}

/* ---- memory that is warm */

static uint64_t free_bytes(void) {
        unsigned long long kib = 0;
        FILE *f = fopen("/proc/meminfo", "re");
        char line[128];

        while (f && fgets(line, sizeof line, f) && sscanf(line, "MemFree: %llu kB", &kib) != 1)
                ;
        if (f)
                fclose(f);
        return kib * 1024;
}

/* Many virtual machines give memory that is not in use back to their host, seconds after it was freed, and pay for it
 * when it is used again: ten times what clearing a page costs, at random. So memory is touched and kept, and freed just
 * ahead of what is being measured, until standard input ends. Says "ready". */
static int hold(uint64_t bytes) {
        enum { STEP = 32 * 1024 * 1024, AHEAD = 160 * 1024 * 1024, POLL_MS = 1 };
        uint8_t *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        uint64_t wanted, at = 0;

        if (p == MAP_FAILED)
                return -errno;
        (void) madvise(p, bytes, MADV_HUGEPAGE);
        memset(p, 1, bytes);
        wanted = free_bytes() + AHEAD; /* what was freed last is what the next one gets */
        for (bool ready = false;; ready = true) {
                for (; at < bytes && free_bytes() < wanted; at += STEP)
                        munmap(p + at, MIN_OF((uint64_t) STEP, bytes - at));
                if (!ready)
                        puts("ready");
                fflush(stdout);
                if (poll(&(struct pollfd) { .fd = STDIN_FILENO, .events = POLLIN }, 1, POLL_MS) != 0)
                        return 0;
        }
}

/* ---- our own pipeline, without a network: what the check of instructions counts */

static struct message_header *test_header(struct secret **ret_data_key, struct secret **ret_file_key) {
        const struct message_data_key key = { (char *) "aws-kms",
                                              (char *) "arn:aws:kms:us-east-1:111122223333:key/bench", 44,
                                              (uint8_t *) "x", 1 };
        struct message_header *h;
        struct error e;

        if (secret_copy(test_key, sizeof test_key, ret_data_key) < 0 ||
            message_header_new(NULL, 0, &key, 1, MESSAGE_FRAME_LENGTH, *ret_data_key, &h, ret_file_key, &e) < 0)
                return NULL;
        return h;
}

static int make(const char *path, uint64_t bytes) {
        static uint8_t plaintext[MESSAGE_FRAME_LENGTH], frame[MESSAGE_FRAME_LENGTH + MESSAGE_FINAL_EXTRA];
        struct secret *data_key, *file_key;
        struct message_header *h = test_header(&data_key, &file_key);
        FILE *f = fopen(path, "we");
        struct frame_cipher *c;
        struct error e;

        if (!h || !f || frame_cipher_new(true, &c, &e) < 0 || frame_cipher_key(c, file_key, h->id) < 0 ||
            fwrite(h->bytes, h->size, 1, f) != 1)
                return -EIO;
        for (uint64_t at = 0; at < bytes; at += MESSAGE_FRAME_LENGTH) {
                bool final = at + MESSAGE_FRAME_LENGTH >= bytes;
                ssize_t n = frame_seal(c, (uint32_t) (at / MESSAGE_FRAME_LENGTH) + 1, final, plaintext,
                                       final ? (uint32_t) (bytes - at) : MESSAGE_FRAME_LENGTH, frame);

                if (n < 0 || fwrite(frame, (size_t) n, 1, f) != 1)
                        return -EIO;
        }
        return fclose(f) == 0 ? 0 : -errno;
}

static int read_header(const char *path, struct message_header **ret, struct error *e) {
        static uint8_t start[MESSAGE_HEADER_MAX];
        _cleanup_fclose_ FILE *f = fopen(path, "re");
        size_t n = f ? fread(start, 1, sizeof start, f) : 0;

        return message_header_parse(start, n, path, ret, e);
}

/* `path` is the object: of `model`'s bucket, or a local one. `header` is its header. */
static int open_object(const struct unseal_options *o, struct unseal_model *model, const char *path,
                       struct message_header *header, struct error *e) {
        _cleanup_(unseal_freep) struct unseal *u = NULL;
        struct secret *data_key;
        size_t index;
        int r;

        if (secret_copy(test_key, sizeof test_key, &data_key) < 0)
                return -ENOMEM;
        r = unseal_new(o, &u, e);
        if (r == 0)
                r = unseal_add(u, model, path, NULL, false, &index, e);
        if (r < 0)
                return r;
        model->data_key = data_key;
        model->reference = header;
        unseal_use_keys(u);
        r = unseal_finish(u, NULL, NULL, e);
        return r < 0 ? r : unlinkat(o->directory_fd, "0", 0);
}

static int open_local(struct unseal_options *o, const char *path, struct error *e) {
        struct unseal_model model = { .bucket = NULL };
        struct message_header *header = NULL;
        int r;

        r = read_header(path, &header, e);
        return r < 0 ? r : open_object(o, &model, path, header, e);
}

static int fetch(struct unseal_options *o, const char *path, const char *endpoint, const char *ca, struct error *e) {
        const struct http_options options = { .ca_bundle = ca, .low_speed_seconds = 60 };
        struct service_access access = { .endpoint.url = endpoint, .region = "us-east-1" };
        struct unseal_model model = { .bucket = "bench" };
        struct message_header *header = NULL;
        int r;

        r = http_new(&options, &access.http, e);
        if (r == 0)
                r = s3_new(&access, &o->s3, e);
        if (r == 0)
                r = read_header(path, &header, e);
        return r < 0 ? r : open_object(o, &model, "object", header, e);
}

/* `open` and `fetch`. */
static int unseal(int argc, char *argv[]) {
        struct unseal_options o = { .source_fd = AT_FDCWD,
                                    .directory_fd = open(argv[3], O_RDONLY | O_DIRECTORY | O_CLOEXEC),
                                    .room = UINT64_MAX,
                                    .workers = 1 };
        struct error e = { 0 };
        int r;

        if (streq(argv[1], "open")) {
                o.engine = argc > 4 ? argv[4] : NULL;
                r = open_local(&o, argv[2], &e);
        } else
                r = fetch(&o, argv[2], argv[4], argv[5], &e);
        if (r < 0)
                fprintf(stderr, "%s: %s\n", e.subject, e.reason);
        return r;
}

int main(int argc, char *argv[]) {
        const char *what = argc > 2 ? argv[1] : "";
        uint64_t bytes = argc > 2 ? strtoull(argv[2], NULL, 10) : 0;
        double before;
        int r = -EINVAL;

        if (secret_init() < 0)
                return 1;
        before = cpu_seconds();
        if (streq(what, "gcm"))
                r = limit_gcm(bytes);
        else if (streq(what, "digest"))
                r = limit_digest(bytes, argc > 3 ? argv[3] : NULL);
        else if (streq(what, "pages") && argc > 3)
                r = limit_pages(bytes, argv[3]);
        else if (streq(what, "discard") && argc > 4)
                r = limit_discard(bytes, argv[3], argv[4]);
        else if (streq(what, "key")) {
                r = limit_key();
                bytes *= KEYS;
        } else if (streq(what, "engines"))
                return engines(bytes) < 0;
        else if (streq(what, "writes") && argc > 3) {
                r = writes(bytes, argv[3], argc > 4 ? (unsigned) strtoul(argv[4], NULL, 10) : 2);
                if (r == 0)
                        return 0;
        } else if (streq(what, "hold"))
                return hold(bytes) < 0;
        else if (streq(what, "make") && argc > 3)
                return make(argv[2], strtoull(argv[3], NULL, 10)) < 0;
        else if ((streq(what, "open") && argc > 3) || (streq(what, "fetch") && argc > 5))
                return unseal(argc, argv) < 0;
        if (r < 0) {
                fprintf(stderr, "%s: %s\n", what, strerror(-r));
                return 1;
        }
        printf("%.4f\n", (cpu_seconds() - before) / (double) bytes * 1e9);
        return 0;
}
