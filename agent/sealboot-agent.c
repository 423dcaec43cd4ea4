/* SPDX-License-Identifier: Apache-2.0 */

/* sealboot-agent: from a booted attestable AMI to a model in memory, top to bottom.
 *
 * It runs once per boot, before the inference server, and exits when the model is published: no key outlives it. */

#include <systemd/sd-daemon.h>

#include "basic/environment.h"
#include "basic/options.h"
#include "basic/output.h"
#include "basic/secret.h"
#include "boot/stop.h"

#define PROGRAM "sealboot-agent"

typedef int boot_step(struct boot *b, struct error *e);

static int boot(struct boot *b, struct error *e) {
        static boot_step *const steps[] = {
                boot_configure, /* the measured configuration decides; user data may only name a model */
                boot_begin_key, /* an ephemeral RSA key, made while TPM and metadata service answer */
                boot_open_tpm,  /* PCR15 is zero: no model was loaded since power-on */
                boot_locate,    /* IMDSv2: which model, which Region, whose credentials */
                boot_prefetch,  /* S3: the sealed header; ciphertext begins to arrive */
                boot_release,   /* NitroTPM attestation document -> KMS -> data key, for this key pair only */
                boot_unseal,    /* every frame authenticated, every file digested, in private */
                boot_measure,   /* PCR15 = SHA384(0 || model digest): KMS policies may refuse a second release */
                boot_publish,   /* one rename */
        };

        for (size_t i = 0; i < ELEMENTS(steps); i++) {
                int r = steps[i](b, e);

                if (r < 0)
                        return r;
        }
        return 0;
}

static void print_presented_pcrs(FILE *f, const struct boot *b) {
        static const unsigned shown[] = { 2, 4, 7, 12, 15 };

        fprintf(f, "  presented PCRs (SHA-384):\n");
        for (size_t i = 0; i < ELEMENTS(shown); i++) {
                fprintf(f, "    PCR%-2u ", shown[i]);
                for (size_t j = 0; j < SHA384_SIZE; j++)
                        fprintf(f, "%02x", b->claims.pcrs[shown[i]][j]);
                fputc('\n', f);
        }
}

static void tell_failure(const struct error *e) {
        sd_notifyf(0, "STATUS=%s: %s\nERRNO=%d\nEXTEND_TIMEOUT_USEC=%llu", failure_info(e->failure)->title, e->reason,
                   EPROTO, BOOT_SILENCE_SECONDS * 1000000ULL);
}

void boot_failed(struct boot *b, const struct error *failure) {
        failure_print(stderr, PROGRAM, failure);
        if (b->presented && failure->failure == FAILURE_KMS_DENIED && kms_denial_is_of_key_policy(failure->reason))
                print_presented_pcrs(stderr, b);
        if (b->report)
                report_close(b->report, failure, NULL);
        tell_failure(failure);
}

/* Both return the exit code. */
static int boot_refused(struct boot *b, const struct error *e) {
        boot_end(b);
        boot_failed(b, e);
        boot_forget(b);
        boot_complete_hook(b, false);
        tell_failure(e); /* what was told of the hook's attempts is not the outcome */
        return (int) e->failure;
}

static int boot_succeeded(struct boot *b) {
        struct error e = { 0 };

        boot_forget(b);
        /* The model is measured and published: a report that cannot be written is worth a line, not a failed boot. */
        if (report_close(b->report, NULL, &e) < 0)
                failure_print(stderr, PROGRAM, &e);
        sd_notifyf(0, "READY=1\nSTATUS=Model published at %s", b->published);
        printf(PROGRAM ": %s is published at %s\n", b->source, b->published);
        fflush(stdout);
        boot_complete_hook(b, true);
        sd_notifyf(0, "STATUS=Model published at %s", b->published);
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

/* `path` NULL: the default, below the root. */
static int check_config(const char *path, const char *root) {
        _cleanup_(config_freep) struct config *c = NULL;
        _cleanup_free_ char *below = NULL;
        struct error e = { 0 };
        int r;

        r = asprintf(&below, "%s%s", path ? "" : root ?: "", path ?: CONFIG_PATH) < 0 ? fail_oom(&e) : 0;
        if (r == 0)
                r = config_load(below, root, &c, &e);
        if (r == 0) {
                printf("%s: valid\n", below);
                config_print_rest(c, stdout);
        }
        if (r < 0)
                failure_print(stderr, PROGRAM, &e);
        return r < 0 ? (int) e.failure : 0;
}

/* systemd runs this after every end of the agent: one that was killed cannot remove its plaintext itself. */
static int clean_up(const char *path) {
        _cleanup_(config_freep) struct config *c = NULL;
        struct error e = { 0 };
        bool found = false;
        int r;

        r = config_load(path, NULL, &c, &e);
        if (r == 0)
                r = handoff_clean_up(c->model_directory, &found, &e);
        if (r < 0) {
                failure_print(stderr, PROGRAM, &e);
                return (int) e.failure;
        }
        if (found)
                fprintf(stderr, PROGRAM ": removed what a run that was killed had left in %s\n", c->model_directory);
        return 0;
}

/* 0 or a negative errno, which options_complain() explains. */
static int parse_arguments(int argc, char *argv[], struct arguments *a, struct error *e) {
        struct operands none;
        int r;

        r = options_parse(&command_line, argc, argv, a, &none, e);
        if (r == 0 && a->root && !a->check && !a->clean_up)
                return fail(e, FAILURE_USAGE, -EINVAL, "", "--root is for --check-config");
        return r;
}

/* What is asked for instead of a boot: its exit code, or -1: a boot. */
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
                puts(PROGRAM " " SEALBOOT_VERSION);
        else if (a->clean_up)
                return clean_up(a->config ?: CONFIG_PATH);
        else
                return a->check ? check_config(a->config, a->root) : -1;
        return 0;
}

/* What was printed instead of a boot is what was asked for: the exit code. */
static int printed(int code) {
        struct error e;

        if (output_end(&e) == 0)
                return code;
        failure_print(stderr, PROGRAM, &e);
        return code ?: (int) e.failure;
}

int main(int argc, char *argv[]) {
        /* Static, since the thread that waits for a stop outlives this function. */
        static struct boot b = { .critical = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP };
        static const char *const environment[] = { "NOTIFY_SOCKET", NULL };
        struct arguments a = { 0 };
        struct error e = { 0 };
        int r;

        /* First of all: what is not in the measured configuration must not reach a library. */
        r = environment_keep(environment);
        if (r == 0)
                r = output_begin();
        if (r < 0)
                return FAILURE_INTERNAL;
        r = other_task(argc, argv, &a);
        if (r >= 0)
                return printed(r);
        b.config_path = a.config ?: CONFIG_PATH;
        b.tcti = a.tcti;
        b.report_path = a.report;
        tpm_quiet();
        r = secret_init();
        if (r < 0)
                r = fail(&e, FAILURE_INTERNAL, r, "locked memory", "cannot set it up: %s (LimitMEMLOCK=)",
                         strerror(-r));
        else if ((r = boot_catch_stop(&b)) < 0)
                r = fail(&e, FAILURE_INTERNAL, r, "signals", "cannot wait for them: %s", strerror(-r));
        else
                r = boot(&b, &e);
        r = r < 0 ? boot_refused(&b, &e) : boot_succeeded(&b);
        boot_done(&b);
        return r;
}
