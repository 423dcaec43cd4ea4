/* SPDX-License-Identifier: Apache-2.0 */

/* sealboot-agent: from a booted attestable AMI to a model in memory, top to bottom.
 *
 * It runs once per boot, before the inference server, and exits when the model is published: no key outlives it. */

#include <getopt.h>
#include <systemd/sd-daemon.h>

#include "basic/environment.h"
#include "basic/output.h"
#include "basic/secret.h"
#include "boot/stop.h"

#define PROGRAM "sealboot-agent"

static int boot(struct boot *b, struct error *e) {
        static int (*const steps[])(struct boot *b, struct error *e) = {
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
                for (size_t j = 0; j < DOCUMENT_PCR_SIZE; j++)
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

static int help(void) {
        printf("Usage: " PROGRAM " [OPTION...]\n\n"
               "Unseal the model that this instance was launched with, measure it into PCR 15\n"
               "and publish it to the inference server. Started by systemd; see %s(8).\n\n"
               "  --config FILE   measured configuration (default: " CONFIG_PATH ")\n"
               "  --tcti TCTI     TPM to use, as in tpm2-tools (default: the machine's)\n"
               "  --report FILE   where to write the boot report\n"
               "  --check-config  check the configuration and exit\n"
               "  --clean-up      remove what a run that was killed has left in the model directory, and exit\n"
               "  --root DIR      with --check-config: the configuration, and the files that it\n"
               "                  names, are those of the image whose root directory is DIR\n"
               "  --version       print the version and exit\n"
               "  --help          this text\n\n"
               "The exit code names the failure: see EXIT STATUS there.\n", PROGRAM);
        return 0;
}

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

/* An exit code, or -1: go on. */
static int parse_arguments(int argc, char *argv[], struct boot *b) {
        static const struct option options[] = {
                { "config", required_argument, NULL, 'c' },
                { "tcti", required_argument, NULL, 't' },
                { "report", required_argument, NULL, 'r' },
                { "check-config", no_argument, NULL, 'C' },
                { "clean-up", no_argument, NULL, 'U' },
                { "root", required_argument, NULL, 'R' },
                { "version", no_argument, NULL, 'V' },
                { "help", no_argument, NULL, 'h' },
                { 0 },
        };
        const char *config = NULL, *root = NULL;
        bool check = false, clean = false;
        int o;

        while ((o = getopt_long(argc, argv, "h", options, NULL)) >= 0)
                switch (o) {
                case 'c':
                        b->config_path = config = optarg;
                        break;
                case 't':
                        b->tcti = optarg;
                        break;
                case 'r':
                        b->report_path = optarg;
                        break;
                case 'C':
                        check = true;
                        break;
                case 'U':
                        clean = true;
                        break;
                case 'R':
                        root = optarg;
                        break;
                case 'V':
                        puts(PROGRAM " " SEALBOOT_VERSION);
                        return 0;
                case 'h':
                        return help();
                default:
                        return FAILURE_USAGE;
                }
        if (optind < argc) {
                fprintf(stderr, PROGRAM ": unexpected argument '%s'; see --help\n", argv[optind]);
                return FAILURE_USAGE;
        }
        if (clean)
                return clean_up(b->config_path);
        if (root && !check) {
                fprintf(stderr, PROGRAM ": --root is for --check-config; see --help\n");
                return FAILURE_USAGE;
        }
        return check ? check_config(config, root) : -1;
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
        static struct boot b = { .config_path = CONFIG_PATH, .critical = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP };
        static const char *const environment[] = { "NOTIFY_SOCKET", NULL };
        struct error e = { 0 };
        int r;

        /* First of all: what is not in the measured configuration must not reach a library. */
        r = environment_keep(environment);
        if (r == 0)
                r = output_begin();
        if (r < 0)
                return FAILURE_INTERNAL;
        r = parse_arguments(argc, argv, &b);
        if (r >= 0)
                return printed(r);
        tpm_quiet();
        r = secret_init();
        if (r < 0)
                r = fail(&e, FAILURE_INTERNAL, r, "locked memory", "cannot set it up: %s (LimitMEMLOCK=)", strerror(-r));
        else if ((r = boot_catch_stop(&b)) < 0)
                r = fail(&e, FAILURE_INTERNAL, r, "signals", "cannot wait for them: %s", strerror(-r));
        else
                r = boot(&b, &e);
        r = r < 0 ? boot_refused(&b, &e) : boot_succeeded(&b);
        boot_done(&b);
        return r;
}
