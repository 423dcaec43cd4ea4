/* SPDX-License-Identifier: Apache-2.0 */

/* sealboot-agent: from a booted attestable AMI to a model in memory, top to bottom.
 *
 * It runs once per boot, before the inference server, and exits when the model is published: no key outlives it. */

#include "basic/environment.h"
#include "basic/options.h"
#include "basic/output.h"
#include "basic/secret.h"
#include "boot/boot.h"
#include "sealed/verity.h"

#define PROGRAM "sealboot-agent"

typedef int boot_step(struct boot *b, struct error *e);

static int boot(struct boot *b, struct error *e) {
        static boot_step *const steps[] = {
                boot_configure,       /* the measured configuration decides; user data may only name a model */
                boot_begin_recipient, /* a thread makes the RSA key pair, until boot_release() waits for it */
                boot_open_tpm,        /* PCR15 is zero: no model was loaded since power-on */
                boot_locate,          /* IMDSv2: which model, which Region, whose credentials */
                boot_await_service,   /* IMDSv2: an instance of a stopped warm pool waits here, without a model */
                boot_prefetch,        /* S3: the sealed header; ciphertext begins to arrive */
                boot_identify,        /* IMDSv2: which instance, while the RSA key pair is being made */
                boot_release,         /* NitroTPM attestation document -> KMS -> data key, for this key pair only */
                boot_unseal,          /* every frame is authenticated, every file digested, in private */
                boot_measure,         /* PCR15 = SHA384(0 || model digest): KMS policies may refuse a second release */
                boot_publish,         /* one rename makes the model visible */
        };

        for (size_t i = 0; i < ELEMENTS(steps); i++) {
                int r = steps[i](b, e);

                if (r < 0)
                        return r;
        }
        return 0;
}

struct arguments {
        const char *config, *tcti, *report, *root;
        bool check, clean_up;
};

static const struct option_row option_rows[] = {
        { 0, "config", "FILE", "measured configuration (default: " CONFIG_PATH ")",
          OPTION_TEXT(struct arguments, config) },
        { 0, "tcti", "TCTI", "TPM to use, as in tpm2-tools (default: the machine's)",
          OPTION_TEXT(struct arguments, tcti) },
        { 0, "report", "FILE", "where to write the boot report", OPTION_TEXT(struct arguments, report) },
        { 0, "check-config", NULL, "check the configuration and exit", OPTION_FLAG(struct arguments, check) },
        { 0, "clean-up", NULL, "remove what a run that was killed has left in the model directory, and exit",
          OPTION_FLAG(struct arguments, clean_up) },
        { 0, "root", "DIR",
          "with --check-config: the configuration, and the files that it names, are those of the image whose root "
          "directory is DIR",
          OPTION_TEXT(struct arguments, root) },
        OPTION_VERSION,
        OPTION_HELP,
        {},
};

static const struct command_line command_line = {
        .program = PROGRAM,
        .usage = "Usage: " PROGRAM " [OPTION...]\n\n"
                 "Unseal the model that this instance was launched with, measure it into PCR 15\n"
                 "and publish it to the inference server. Started by systemd; see " PROGRAM "(8).",
        .rows = option_rows,
        .more = "The exit code names the failure: see EXIT STATUS there.",
};

/* Returns the exit code. */
static int print_failure(const struct error *e) {
        failure_print(stderr, PROGRAM, e);
        return (int) e->failure;
}

/* `path` NULL: the default, below `root`. Returns the exit code. */
static int check_config(const char *path, const char *root) {
        _cleanup_(config_freep) struct config *c = NULL;
        _cleanup_free_ char *below = NULL;
        struct error e = { 0 };
        int r;

        if (asprintf(&below, "%s%s", path ? "" : root ?: "", path ?: CONFIG_PATH) < 0)
                r = fail_oom(&e);
        else
                r = config_load(below, root, &c, &e);
        if (r < 0)
                return print_failure(&e);
        printf("%s: valid\n", below);
        config_print_rest(c, stdout);
        return 0;
}

/* systemd runs this after the agent has ended: an agent that was killed cannot remove its plaintext itself. Returns the
 * exit code. */
static int clean_up(const char *path) {
        _cleanup_(config_freep) struct config *c = NULL;
        struct error e = { 0 };
        bool found = false;
        int r;

        r = config_load(path, NULL, &c, &e);
        if (r < 0)
                return print_failure(&e);
        r = handoff_clean_up(c->model_directory, &found, &e);
        if (r < 0)
                return print_failure(&e);
        if (found)
                fprintf(stderr, PROGRAM ": removed what a run that was killed had left in %s\n", c->model_directory);
        return 0;
}

static int parse_arguments(int argc, char *argv[], struct arguments *a, struct error *e) {
        struct operands none;
        int r;

        r = options_parse(&command_line, argc, argv, a, &none, e);
        if (r == 0 && a->root && !a->check && !a->clean_up)
                return fail(e, FAILURE_USAGE, -EINVAL, "", "--root is for --check-config");
        return r;
}

/* Does what the command line asks for instead of a boot, and returns its exit code. -1: it asks for a boot. */
static int other_task(int argc, char *argv[], struct arguments *a) {
        struct error e = { 0 };
        int r;

        r = parse_arguments(argc, argv, a, &e);
        if (r < 0) {
                options_complain(stderr, &command_line, &e);
                return (int) e.failure;
        }
        if (r == OPTIONS_HELP)
                options_help(stdout, &command_line);
        else if (r == OPTIONS_VERSION)
                printf(PROGRAM " " SEALBOOT_VERSION "\nhash engine: %s\n", verity_engine());
        else if (a->clean_up)
                return clean_up(a->config ?: CONFIG_PATH);
        else
                return a->check ? check_config(a->config, a->root) : -1;
        return 0;
}

/* Checks that all output was written, and returns the exit code. */
static int end_output(int code) {
        struct error e;

        if (output_end(&e) == 0)
                return code;
        failure_print(stderr, PROGRAM, &e);
        return code ?: (int) e.failure;
}

static int run(struct boot *b, struct error *e) {
        int r;

        tpm_quiet();
        r = secret_init();
        if (r < 0)
                return fail(e, FAILURE_INTERNAL, r, "locked memory", "it cannot be set up: %s (LimitMEMLOCK=)",
                            strerror(-r));
        r = boot_catch_stop(b);
        if (r < 0)
                return fail(e, FAILURE_INTERNAL, r, "signals", "they cannot be waited for: %s", strerror(-r));
        return boot(b, e);
}

int main(int argc, char *argv[]) {
        /* Static, since the thread that waits for SIGTERM outlives this function. */
        static struct boot b = { .critical = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP,
                                 .services.identifying = PTHREAD_MUTEX_INITIALIZER,
                                 .keeper.lock = PTHREAD_MUTEX_INITIALIZER };
        static const char *const environment[] = { "NOTIFY_SOCKET", NULL };
        struct arguments a = { 0 };
        struct error e = { 0 };
        int r;

        /* First, so that no variable reaches a library: the measured configuration alone decides. */
        if (environment_keep(environment) < 0 || output_begin() < 0)
                return FAILURE_INTERNAL;
        r = other_task(argc, argv, &a);
        if (r >= 0)
                return end_output(r);
        b.arguments.config_path = a.config ?: CONFIG_PATH;
        b.arguments.tcti = a.tcti;
        b.arguments.report_path = a.report;
        r = run(&b, &e) < 0 ? boot_failed(&b, &e) : boot_succeeded(&b);
        boot_done(&b);
        return r;
}
