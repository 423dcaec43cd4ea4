/* SPDX-License-Identifier: Apache-2.0 */

/* The evidence library's calls, one by one, for end-to-end tests:
 *
 *   evidence-tool zero TCTI PCR LOG
 *   evidence-tool measure TCTI PCR LOG FILE
 *   evidence-tool measure-sha384 TCTI PCR LOG HEX
 *
 * TCTI "" is the machine's own; LOG "" is none. Prints JSON; fails with the exit code of the failure. */

#include "basic/encode.h"
#include "basic/file.h"
#include "evidence/pcr.h"

enum { BUSY_WAIT_MS = 1000, TEXT_MAX = 1024 * 1024 };

static const struct measurement what = { .event_type = "sealboot-model", .description = "model test version 1" };

static void print(const struct pcr_changes *c) {
        for (size_t i = 0; i < c->n; i++) {
                const struct pcr_change *b = &c->banks[i];
                char before[2 * PCR_DIGEST_MAX + 1], digest[2 * PCR_DIGEST_MAX + 1], after[2 * PCR_DIGEST_MAX + 1];

                hex_encode(b->before, b->algorithm->size, before);
                hex_encode(b->digest, b->algorithm->size, digest);
                hex_encode(b->after, b->algorithm->size, after);
                printf("%s\"%s\": {\"before\": \"%s\", \"digest\": \"%s\", \"after\": \"%s\"}%s\n", i == 0 ? "{" : " ",
                       b->algorithm->name, before, digest, after, i + 1 < c->n ? "," : "}");
        }
}

static int run(int argc, char *argv[], struct error *e) {
        _cleanup_free_ uint8_t *text = NULL;
        _cleanup_tpm_ struct tpm *t = NULL;
        struct pcr_changes changes;
        const char *log;
        uint8_t digest[SHA384_SIZE];
        unsigned pcr;
        size_t n;
        int r;

        if (argc < 5)
                return fail(e, FAILURE_USAGE, -EINVAL, argv[0], "too few arguments");
        pcr = (unsigned) strtoul(argv[3], NULL, 10);
        log = argv[4][0] ? argv[4] : NULL;
        r = tpm_open(argv[2][0] ? argv[2] : NULL, BUSY_WAIT_MS, &t, e);
        if (r < 0)
                return r;
        if (streq(argv[1], "zero"))
                return tpm_pcr_require_zero(t, pcr, log, e);
        if (argc == 6 && streq(argv[1], "measure")) {
                r = file_read(argv[5], TEXT_MAX, FAILURE_IO, &text, &n, e);
                if (r < 0)
                        return r;
                r = tpm_pcr_measure(t, pcr, text, n, &what, log, &changes, e);
        } else if (argc == 6 && streq(argv[1], "measure-sha384") && hex_decode(argv[5], digest, sizeof digest) == 0)
                r = tpm_pcr_measure_sha384(t, pcr, digest, &what, log, &changes, e);
        else
                return fail(e, FAILURE_USAGE, -EINVAL, argv[1], "not understood");
        if (r == 0)
                print(&changes);
        return r;
}

int main(int argc, char *argv[]) {
        struct error e;

        tpm_quiet();
        if (run(argc, argv, &e) == 0)
                return 0;
        failure_print(stderr, "evidence-tool", &e);
        return (int) e.failure;
}
