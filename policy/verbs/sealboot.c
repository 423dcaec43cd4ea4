/* SPDX-License-Identifier: Apache-2.0 */

/* sealboot: the program for owners, builders and auditors. A table of verbs; each verb has a file of its own. */

#include "basic/output.h"
#include "basic/secret.h"
#include "sealed/verity.h"
#include "verbs/command.h"

static const struct command commands[] = {
        { "attest", "[OPTION...]", "ask the NitroTPM for an attestation document", cmd_attest },
        { "audit", "--reference FILE CLOUDTRAIL.json...", "say who was given a model's key, by CloudTrail", cmd_audit },
        { "connect", "--reference FILE https://HOST", "pass requests on to a model server that has proven itself",
          cmd_connect },
        { "digest", "FILE|DIRECTORY", "compute a model's digest and the PCR15 it leads to", cmd_digest },
        { "doctor", "[OPTION...] [REPORT]", "explain a refused boot", cmd_doctor },
        { "fleet", "s3://BUCKET/PREFIX/|DIRECTORY", "show what the boots of a fleet have in common", cmd_fleet },
        { "inspect", "OBJECT", "show what a sealed object says of itself, without a key", cmd_inspect },
        { "measure", "UKI.efi...", "predict PCR2, 3, 4, 7 and 12 of an image", cmd_measure },
        { "policy", "[check|diff] [OPTION...]", "write, check and compare key policies", cmd_policy },
        { "replay", "[LOG...]", "replay event logs, and find where a boot departs from what was expected", cmd_replay },
        { "seal", "--key KEY FILE|DIRECTORY DESTINATION", "encrypt a model under a KMS key and upload it", cmd_seal },
        { "status", "[OPTION...] [REPORT]", "show how far a boot is, or how it went", cmd_status },
        { "unseal", "MODEL TO-DIRECTORY", "open a sealed model with your own credentials", cmd_unseal },
        { "verify", "DOCUMENT [OPTION...]", "check an attestation document", cmd_verify },
        {},
};

static void help(FILE *f) {
        fprintf(f, "Usage: " PROGRAM " VERB [OPTION...]\n\n"
                   "Seal models for attestable AMIs, and check what runs there.\n\n");
        for (const struct command *c = commands; c->verb; c++)
                fprintf(f, "  %-10s %s\n", c->verb, c->summary);
        fprintf(f, "\n'" PROGRAM " VERB --help' explains a verb; 'man sealboot-VERB' is its manual.\n");
}

static int run(int argc, char *argv[]) {
        int r;

        if (argc < 2 || streq(argv[1], "--help") || streq(argv[1], "-h") || streq(argv[1], "help")) {
                help(argc < 2 ? stderr : stdout);
                return argc < 2 ? FAILURE_USAGE : 0;
        }
        if (streq(argv[1], "--version")) {
                printf(PROGRAM " " SEALBOOT_VERSION "\nhash engine: %s\n", verity_engine());
                return 0;
        }
        r = secret_init();
        if (r < 0) {
                fprintf(stderr, PROGRAM ": cannot set up locked memory: %s (raise RLIMIT_MEMLOCK)\n", strerror(-r));
                return FAILURE_INTERNAL;
        }
        for (const struct command *c = commands; c->verb; c++)
                if (streq(c->verb, argv[1]))
                        return c->run(argc - 1, argv + 1);
        fprintf(stderr, PROGRAM ": there is no verb '%s'\nTry '" PROGRAM " --help'.\n", argv[1]);
        return FAILURE_USAGE;
}

int main(int argc, char *argv[]) {
        struct error e;
        int code, r;

        r = output_begin();
        if (r < 0) {
                fprintf(stderr, PROGRAM ": cannot set up the standard streams: %s\n", strerror(-r));
                return FAILURE_INTERNAL;
        }
        code = run(argc, argv);
        /* The exit code of a verb that failed, or has findings, has precedence. */
        if (output_end(&e) < 0) {
                r = command_failed(&e);
                code = code ?: r;
        }
        return code;
}
