/* SPDX-License-Identifier: Apache-2.0 */

/* sealboot measure: which PCR2, PCR3, PCR4, PCR7 and PCR12 an image will produce, and why. */

#include "basic/encode.h"
#include "measure/inputs.h"
#include "measure/stub.h"
#include "verbs/command.h"

struct arguments {
        struct inputs inputs;
        bool events, json;
};

static void arguments_done(struct arguments *a) {
        inputs_done(&a->inputs);
}

static const struct option_row option_rows[] = {
        INPUT_ROWS(struct arguments, inputs),
        OPTION_HEADING("Output:"),
        { 0, "event-log", NULL, "every event with its digest and why it is there",
          OPTION_FLAG(struct arguments, events) },
        { 0, "json", NULL,
          "print the result as JSON, as nitro-tpm-pcr-compute does, and PCR2, 3: for `sealboot policy`",
          OPTION_FLAG(struct arguments, json) },
        OPTION_HELP,
        {},
};

static const struct command_line command_line = {
        .program = PROGRAM " measure",
        .usage = "Usage: sealboot measure [OPTION...] UKI.efi...\n"
                 "       sealboot measure [OPTION...] --disk IMAGE\n\n"
                 "Predicts PCR2, 3, 4, 12 and, where Secure Boot's key lists are given, 7 (SHA-384 bank) of a boot.\n"
                 "Several images are given in the order they are loaded.",
        .rows = option_rows,
        .more = "Exit codes: 0; 2 usage; 61 a file cannot be read; 70 the image cannot be measured or would not\n"
                "start.\n\n"
                "Examples:\n"
                "  sealboot measure --json image.efi > reference.json\n"
                "  sealboot measure --event-log --PK PK.esl --KEK KEK.esl --db db.esl --dbx dbx.esl --disk image.raw",
        .operands_max = OPERANDS_ANY,
};

static int event_to_json(const struct predicted_event *event, json_object *array) {
        json_object *o = json_object_new_object();
        char digest[2 * SHA384_SIZE + 1];

        if (!o || json_object_array_add(array, o) < 0) {
                json_object_put(o);
                return -ENOMEM;
        }
        hex_encode(event->digest, SHA384_SIZE, digest);
        json_object_object_add(o, "PCR", json_object_new_int((int) event->pcr));
        json_object_object_add(o, "Type", json_object_new_string(event_type_name(event->type)));
        json_object_object_add(o, "Digest", json_object_new_string(digest));
        json_object_object_add(o, "What", json_object_new_string(event->what));
        json_object_object_add(o, "Why", json_object_new_string(event->why));
        return 0;
}

static int print_json(const struct prediction *p, const struct reference *reference, bool events, struct error *e) {
        _cleanup_json_ json_object *o = NULL;
        json_object *array;
        int k;

        k = reference_to_json(reference, &o, e);
        if (k < 0)
                return k;
        if (events) {
                array = json_object_new_array();
                if (!array || json_object_object_add(o, "Events", array) < 0)
                        return fail_oom(e);
                for (size_t i = 0; i < p->n; i++)
                        if (event_to_json(&p->events[i], array) < 0)
                                return fail_oom(e);
        }
        puts(json_object_to_json_string_ext(o, JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_NOSLASHESCAPE));
        return 0;
}

/* Why the values are these, as far as the image does not say. */
static void print_notes(const struct predicted_boot *boot) {
        puts(boot->pcr2 ? "\nPCR2 is the value given, of the option ROMs that an instance type loads; PCR3 is"
                        : "\nPCR2 and PCR3 are those of a boot without a UEFI driver from outside the firmware:");
        puts(boot->pcr2 ? "that of a boot without configuration of a UEFI driver from outside the firmware."
                        : "a separator alone. Give --pcr2 for an instance type that loads option ROMs.");
        if (!boot->keys)
                puts("PCR7 is not predicted: give Secure Boot's key lists, or --secure-boot=off.");
        if (!boot->keys || !boot->keys->enabled)
                puts("Without Secure Boot, PCR4 proves the image only together with PCR2 (drivers that could change "
                     "it\n"
                     "in memory) and PCR12 (an appended command line).");
}

static void print_text(const struct prediction *p, const struct reference *reference, const struct predicted_boot *boot,
                       bool events) {
        char hex[2 * SHA384_SIZE + 1];

        for (size_t i = 0; events && i < p->n; i++) {
                const struct predicted_event *event = &p->events[i];

                hex_encode(event->digest, SHA384_SIZE, hex);
                printf("PCR%-2u  %s\n       %s\n       %s\n       %s\n\n", event->pcr, event_type_name(event->type),
                       hex, event->what, event->why);
        }
        for (unsigned pcr = 0; pcr < PCR_COUNT_MAX; pcr++) {
                if (!reference_has(reference, pcr))
                        continue;
                hex_encode(reference->pcr[pcr], SHA384_SIZE, hex);
                printf("PCR%-2u  %s\n", pcr, hex);
        }
        print_notes(boot);
}

static bool has_word(const char *text, size_t n, const char *word) {
        static const char between[] = " \t\r\n";
        size_t length = strlen(word);

        for (size_t at = 0; at + length <= n; at++)
                if (memcmp(text + at, word, length) == 0 && (at == 0 || strchr(between, text[at - 1])) &&
                    (at + length == n || !text[at + length] || strchr(between, text[at + length])))
                        return true;
        return false;
}

/* systemd before 258 adds the EFI variable SystemdOptions to the command line, which the operator of an instance may
 * set: unless Secure Boot is on, or the kernel gives no access to variables. The images of kiwi/ and nix/ have that
 * word, but for those whose modules Secure Boot has to vouch for. */
static void warn_of_variables(const struct predicted_boot *boot) {
        const struct pe *uki = &boot->images[boot->n_images - 1].pe;
        const char *text;
        size_t n;

        if ((boot->keys && boot->keys->enabled) || !stub_section_text(uki, ".cmdline", &text, &n) ||
            has_word(text, n, "efi=noruntime"))
                return;
        fputs(PROGRAM " measure: warning: the command line lacks efi=noruntime. With Secure Boot off, an EFI variable "
                      "may\nchange what systemd does, and none of these PCRs tells: give Secure Boot's key lists, so "
                      "that PCR7 is bound,\nor add the word.\n",
              stderr);
}

static int measure(struct arguments *a, struct error *e) {
        _cleanup_prediction_ struct prediction prediction = {};
        const struct predicted_boot *boot = &a->inputs.boot;
        struct reference reference = {};
        int k;

        k = inputs_load(&a->inputs, e);
        if (k < 0)
                return k;
        k = predict(boot, &prediction, e);
        if (k < 0)
                return k;
        k = prediction_replay(&prediction, boot, &reference, e);
        if (k < 0)
                return k;
        warn_of_variables(boot);
        if (boot->keys)
                reference.secure_boot = boot->keys->enabled ? SECURE_BOOT_ON : SECURE_BOOT_OFF;
        if (a->json)
                return print_json(&prediction, &reference, a->events, e);
        print_text(&prediction, &reference, boot, a->events);
        return 0;
}

int cmd_measure(int argc, char *argv[]) {
        _cleanup_(arguments_done) struct arguments a = {};
        struct operands images;
        struct error e;
        int code;

        if (!command_parse(&command_line, argc, argv, &a, &images, &code))
                return code;
        for (size_t i = 0; i < images.n; i++)
                if (inputs_add_image(&a.inputs, images.items[i], &e) < 0)
                        return command_failed(&e);
        if (!a.inputs.disk && a.inputs.n_image_paths == 0)
                return command_usage("measure", "name a UKI, or a disk with --disk");
        return measure(&a, &e) < 0 ? command_failed(&e) : 0;
}
