/* SPDX-License-Identifier: Apache-2.0 */
#include "basic/encode.h"
#include "doctor/examination.h"
#include "replay/compare.h"

static bool is_zero(const uint8_t pcr[static SHA384_SIZE]) {
        static const uint8_t zeros[SHA384_SIZE];

        return memcmp(pcr, zeros, sizeof zeros) == 0;
}

/* Whether the boot measured something into this PCR. */
static bool is_extended(const struct boot_report *b, unsigned pcr) {
        return boot_report_has_pcr(b, pcr) && !is_zero(b->pcr[pcr]);
}

static const char *meaning_of(unsigned pcr) {
        switch (pcr) {
        case 0:
        case 1:
                return "the firmware or its configuration is another; these change without the image";
        case PCR_DRIVERS:
                return "a UEFI driver from outside the firmware ran, or another one than expected: an option ROM, or "
                       "what the EFI variables DriverOrder and Driver#### name";
        case PCR_DRIVER_CONFIGURATION:
                return "a UEFI driver from outside the firmware was configured";
        case PCR_IMAGE:
                return "another image was booted, another boot option was tried first, or an addon was loaded";
        case PCR_SECURE_BOOT:
                return "Secure Boot is in another state, has other keys, or another key authorised the image";
        case PCR_COMMAND_LINE:
                return "something was added to the image's command line, or credentials or addons were passed";
        case PCR_MODEL:
                return "something was measured before the key was asked for";
        default:
                return "what was measured there is not what was expected";
        }
}

/* The first event that differs. -ENODATA: there is no log, or the log does not tell. */
static int find_event(const struct event_log *log, unsigned pcr, const uint8_t *expected, struct difference *ret) {
        const struct pcr_algorithm *bank = NULL;
        struct error unused;

        for (size_t i = 0; log && i < log->n_banks; i++)
                if (streq(log->banks[i]->name, "sha384"))
                        bank = log->banks[i];
        if (!bank || compare_value(log, bank, pcr, expected, VALUE_EXPECTED, ret, &unused) < 0 || ret->equal)
                return -ENODATA;
        return 0;
}

static int remark_difference(struct examination *x, const struct reference *r, unsigned pcr) {
        static const char give_log[] = "Give the instance's event log with --event-log to find the first event that "
                                       "differs, or compare it with `sealboot replay`.";
        char found[2 * SHA384_SIZE + 1] = "nothing", wanted[2 * SHA384_SIZE + 1];
        const struct event_log *log = x->evidence->log;
        struct difference difference = {};
        bool by_log;

        if (boot_report_has_pcr(&x->report, pcr))
                hex_encode(x->report.pcr[pcr], SHA384_SIZE, found);
        hex_encode(r->pcr[pcr], SHA384_SIZE, wanted);
        by_log = find_event(log, pcr, r->pcr[pcr], &difference) == 0;
        return remark(x, "pcrs", REMARK_PROBLEM, log ? NULL : give_log, "PCR%u is %s, and %s expects %s: %s", pcr,
                      found, r->source, wanted, by_log ? difference.meaning : meaning_of(pcr));
}

/* The PCRs that the document lacks, or has with another value. */
static uint32_t find_differing(const struct boot_report *b, const struct reference *r) {
        uint32_t pcrs = 0;

        for (unsigned i = 0; i < PCR_COUNT_MAX; i++)
                if (reference_has(r, i) &&
                    (!boot_report_has_pcr(b, i) || memcmp(b->pcr[i], r->pcr[i], SHA384_SIZE) != 0))
                        pcrs |= UINT32_C(1) << i;
        return pcrs;
}

/* The reference that differs in the fewest PCRs; NULL: none was given. */
static const struct reference *find_closest(const struct boot_report *b, const struct references *all) {
        const struct reference *best = NULL;
        int fewest = 0;

        for (size_t i = 0; all && i < all->n; i++) {
                int n = __builtin_popcount(find_differing(b, &all->items[i]));

                if (best && n >= fewest)
                        continue;
                best = &all->items[i];
                fewest = n;
        }
        return best;
}

/* Without drivers from outside, all firmware leaves the same PCR2, so that this needs no reference. Zeros are no
 * firmware's value: an emulator started that TPM. */
static int examine_drivers(struct examination *x, const struct reference *r) {
        const struct boot_report *b = &x->report;
        uint8_t alone[SHA384_SIZE];

        reference_firmware_alone(alone);
        if ((r && reference_has(r, PCR_DRIVERS)) || !is_extended(b, PCR_DRIVERS) ||
            memcmp(b->pcr[PCR_DRIVERS], alone, sizeof alone) == 0)
                return 0;
        return remark(x, "pcrs", REMARK_UNKNOWN,
                      "If the instance type loads option ROMs, measure the image with `sealboot measure --pcr2` and "
                      "give that with --reference. Otherwise look at DriverOrder in the AMI's UEFI data; `sealboot "
                      "replay` names the driver.",
                      "PCR2 is not that of firmware alone: a UEFI driver from outside the firmware ran");
}

static int examine_without_reference(struct examination *x) {
        static const char advice[] = "Give the image's reference measurements with --reference.";

        if (is_extended(&x->report, PCR_COMMAND_LINE))
                return remark(x, "pcrs", REMARK_UNKNOWN, advice, "PCR12 is not zero: %s", meaning_of(PCR_COMMAND_LINE));
        return remark(x, "pcrs", REMARK_UNKNOWN, advice, "there are no reference measurements to compare with");
}

static int compare_with(struct examination *x, const struct reference *reference) {
        uint32_t differing = find_differing(&x->report, reference);
        int r;

        if (differing == 0)
                return remark(x, "pcrs", REMARK_GOOD, NULL, "the PCRs that were presented are those of %s",
                              reference->source);
        for (unsigned i = 0; i < PCR_COUNT_MAX; i++) {
                r = differing & UINT32_C(1) << i ? remark_difference(x, reference, i) : 0;
                if (r < 0)
                        return r;
        }
        return 0;
}

int examine_pcrs(struct examination *x) {
        const struct reference *reference = find_closest(&x->report, x->evidence->references);
        int r;

        if (!x->report.present)
                return remark(x, "pcrs", REMARK_UNKNOWN, NULL, "the boot ended before PCRs were presented");
        if (is_extended(&x->report, PCR_MODEL)) {
                r = remark(x, "pcrs", REMARK_PROBLEM,
                           "Reboot: a model can be loaded once per boot. If it happens on a first start, mask the "
                           "services that extend PCR15 (systemd-pcrmachine, systemd-pcrfs*).",
                           "PCR15 was not zero when the key was asked for, so a one-shot policy refuses");
                if (r < 0)
                        return r;
        }
        r = examine_drivers(x, reference);
        if (r < 0)
                return r;
        return reference ? compare_with(x, reference) : examine_without_reference(x);
}
