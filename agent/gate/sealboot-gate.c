/* SPDX-License-Identifier: Apache-2.0 */

/* The consumer's way in: proves to who asks that TLS ends in this image, and tells nginx who may call. */

#include "basic/environment.h"
#include "basic/options.h"
#include "basic/output.h"
#include "gate/gate-config.h"
#include "gate/nginx.h"

#define PROGRAM "sealboot-gate"

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
        int r;

        r = gate_config_load(path, &c, e);
        if (r < 0)
                return r;
        if (a->nginx)
                nginx_print(stdout, c, a->directory);
        else
                printf("%s: valid\n", path);
        return 0;
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
        return fail(e, FAILURE_USAGE, -EINVAL, "", "nothing to do");
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
