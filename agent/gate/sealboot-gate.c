/* SPDX-License-Identifier: Apache-2.0 */

/* The consumer's way in: proves to who asks that TLS ends in this image, and tells nginx who may call. */

#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <systemd/sd-daemon.h>

#include "basic/environment.h"
#include "basic/options.h"
#include "basic/output.h"
#include "basic/secret.h"
#include "evidence/tpm.h"
#include "gate/nginx.h"
#include "gate/server.h"
#include "gate/tls-key.h"

#define PROGRAM "sealboot-gate"

enum { ATTESTATIONS_BURST = 20 };

struct arguments {
        const char *root, *directory;
        bool check, nginx;
};

static const struct option_row option_rows[] = {
        { 0, "check-config", NULL, "check the configuration, and the files that it names, and exit",
          OPTION_FLAG(struct arguments, check) },
        { 0, "nginx-configuration", NULL, "print the configuration of nginx that follows, and exit",
          OPTION_FLAG(struct arguments, nginx) },
        { 0, "root", "DIR",
          "the configuration, and the files that it names, are those of the image whose root directory is DIR",
          OPTION_TEXT(struct arguments, root) },
        { 0, "directory", "DIR", "where key, certificate and sockets are (default: " GATE_DIRECTORY ")",
          OPTION_TEXT(struct arguments, directory) },
        OPTION_VERSION,
        OPTION_HELP,
        {},
};

static const struct command_line command_line = {
        .program = PROGRAM,
        .usage = "Usage: " PROGRAM " [OPTION...] [FILE]\n\n"
                 "Prove to consumers that their TLS connection ends in this image, and judge who\n"
                 "may call. FILE is the measured configuration (default: " GATE_CONFIG_PATH ").\n"
                 "Started by systemd; see " PROGRAM "(8).",
        .rows = option_rows,
        .more = "The exit code names the failure: see EXIT STATUS there.",
        .operands_max = 1,
        .needed = "at most one configuration can be given",
};

/* What is asked for of the configuration alone. */
static int print_task(const char *path, const struct arguments *a, struct error *e) {
        _cleanup_gate_config_ struct gate_config *c = NULL;
        _cleanup_callers_ struct callers *unused = NULL;
        int r;

        r = gate_config_load(path, &c, e);
        if (r == 0)
                r = callers_new(c, a->root, &unused, e);
        if (r < 0)
                return r;
        if (a->nginx)
                nginx_print(stdout, c, a->directory);
        else
                printf("%s: valid\n", path);
        return 0;
}

/* ---- the service */

/* What systemd hands over: a listening socket for nginx's questions, and one that nginx's log arrives at. */
static int take_sockets(int *ret_listening, int *ret_log, struct error *e) {
        int n = sd_listen_fds(1);

        *ret_listening = *ret_log = -1;
        for (int fd = SD_LISTEN_FDS_START; fd < SD_LISTEN_FDS_START + n; fd++) {
                if (sd_is_socket(fd, AF_UNIX, SOCK_STREAM, 1) > 0)
                        *ret_listening = fd;
                else if (sd_is_socket(fd, AF_UNIX, SOCK_DGRAM, -1) > 0)
                        *ret_log = fd;
        }
        if (*ret_listening < 0 || *ret_log < 0)
                return fail(e, FAILURE_GATE, -ENOTCONN, "", "systemd has not given it its two sockets");
        return 0;
}

/* Before there are threads: every thread holds these back, and catch_stop()'s descriptor tells of them. */
static int catch_stop(int *ret, struct error *e) {
        sigset_t set;

        sigemptyset(&set);
        sigaddset(&set, SIGTERM);
        sigaddset(&set, SIGINT);
        sigaddset(&set, SIGHUP);
        pthread_sigmask(SIG_BLOCK, &set, NULL);
        *ret = signalfd(-1, &set, SFD_CLOEXEC);
        return *ret < 0 ? fail(e, FAILURE_INTERNAL, -errno, "signals", "cannot wait for them: %m") : 0;
}

static void take_line(int fd, struct request_log *log) {
        char line[REQUEST_LINE_MAX + 1];
        struct request_entry entry;
        ssize_t n;

        n = recv(fd, line, sizeof line, MSG_DONTWAIT);
        if (n < 0)
                return;
        if (request_line_parse(line, (size_t) n, &entry, NULL) == 0)
                request_log_add(log, &entry);
        else
                request_log_count_refused(log);
}

/* Collects nginx's log until the service is stopped. */
static int collect(int stop, int fd, struct request_log *log, struct error *e) {
        struct pollfd wait[] = { { .fd = stop, .events = POLLIN }, { .fd = fd, .events = POLLIN } };

        while (wait[0].revents == 0) {
                if (poll(wait, ELEMENTS(wait), -1) < 0 && errno != EINTR)
                        return fail(e, FAILURE_INTERNAL, -errno, "", "cannot wait: %m");
                if (wait[1].revents)
                        take_line(fd, log);
        }
        return 0;
}

static int make_attester(const struct gate_config *c, const uint8_t user_data[static SEALBOOT_TLS_USER_DATA_SIZE],
                         struct attester **ret, struct error *e) {
        unsigned all = c->attestations_per_minute, each = c->attestations_per_minute_and_address;
        struct share *share;
        int r = share_new(all, MIN_OF(all, (unsigned) ATTESTATIONS_BURST), each < all, &share, e);

        return r < 0 ? r : attester_new(c->tcti, user_data, SEALBOOT_TLS_USER_DATA_SIZE, share, ret, e);
}

static int serve_with(const struct gate_config *c, struct callers *callers, const struct arguments *a,
                      struct error *e) {
        _cleanup_(request_log_freep) struct request_log *log = NULL;
        _cleanup_(attester_freep) struct attester *attester = NULL;
        uint8_t user_data[SEALBOOT_TLS_USER_DATA_SIZE];
        _cleanup_close_ int stop = -1;
        struct server *server = NULL;
        int listening, log_socket, r;

        if (request_log_new(REQUEST_LOG_ENTRIES, &log) < 0)
                return fail_oom(e);
        r = take_sockets(&listening, &log_socket, e);
        if (r == 0)
                r = catch_stop(&stop, e);
        if (r == 0)
                r = tls_key_make(a->directory, user_data, e);
        if (r == 0)
                r = make_attester(c, user_data, &attester, e);
        if (r == 0)
                r = server_start(&(struct server_sources) { attester, callers, log, c->report }, listening, &server, e);
        if (r < 0)
                return r;
        sd_notify(0, "READY=1\nSTATUS=Answering nginx");
        r = collect(stop, log_socket, log, e);
        sd_notify(0, "STOPPING=1");
        server_stop(server);
        return r;
}

static int serve(const char *path, const struct arguments *a, struct error *e) {
        _cleanup_gate_config_ struct gate_config *c = NULL;
        _cleanup_callers_ struct callers *callers = NULL;
        int r;

        /* Before anything else that uses OpenSSL. */
        r = secret_init();
        if (r < 0)
                return fail(e, FAILURE_INTERNAL, r, "locked memory", "cannot set it up: %s (LimitMEMLOCK=)",
                            strerror(-r));
        tpm_quiet();
        r = gate_config_load(path, &c, e);
        if (r == 0)
                r = callers_new(c, NULL, &callers, e);
        return r < 0 ? r : serve_with(c, callers, a, e);
}

static int run(int argc, char *argv[], struct error *e) {
        struct arguments a = { .directory = GATE_DIRECTORY };
        _cleanup_free_ char *path = NULL;
        struct operands operands;
        int r;

        r = options_parse(&command_line, argc, argv, &a, &operands, e);
        if (r == OPTIONS_HELP)
                options_help(stdout, &command_line);
        else if (r == OPTIONS_VERSION)
                puts(PROGRAM " " SEALBOOT_VERSION);
        if (r != 0)
                return r < 0 ? r : 0;
        if (asprintf(&path, "%s%s", operands.n ? "" : a.root ?: "", operands.n ? operands.items[0] : GATE_CONFIG_PATH) <
            0)
                return fail_oom(e);
        if (a.check || a.nginx)
                return print_task(path, &a, e);
        if (a.root)
                return fail(e, FAILURE_USAGE, -EINVAL, "", "--root is for --check-config and --nginx-configuration");
        return serve(path, &a, e);
}

int main(int argc, char *argv[]) {
        static const char *const environment[] = { "NOTIFY_SOCKET", "LISTEN_FDS", "LISTEN_PID", NULL };
        struct error e = {};
        int r;

        r = environment_keep(environment);
        if (r == 0)
                r = output_begin();
        if (r < 0)
                return FAILURE_INTERNAL;
        r = run(argc, argv, &e);
        if (r == 0)
                r = output_end(&e);
        if (r < 0 && e.failure == FAILURE_USAGE)
                options_complain(stderr, &command_line, &e);
        else if (r < 0)
                failure_print(stderr, PROGRAM, &e);
        return r < 0 ? (int) e.failure : 0;
}
