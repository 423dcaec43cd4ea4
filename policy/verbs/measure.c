/* SPDX-License-Identifier: Apache-2.0 */

/* sealboot measure: which PCR2, PCR3, PCR4, PCR7 and PCR12 an image will produce, and why. */

#include "basic/encode.h"
#include "measure/inputs.h"
#include "verbs/command.h"

static void help(FILE *f) {
        fprintf(f,
                "Usage: " PROGRAM " measure [OPTION...] UKI.efi...\n"
                "       " PROGRAM " measure [OPTION...] --disk=IMAGE\n\n"
                "Predicts PCR2, 3, 4, 12 and, where Secure Boot's key lists are given, 7 (SHA-384 bank) of a boot.\n"
                "Several images are given in the order they are loaded.\n\n"
                "%s"
                "Output:\n"
                "      --event-log              every event with its digest and why it is there\n"
                "      --json                   the JSON of nitro-tpm-pcr-compute, and PCR2, 3: for `sealboot policy`\n"
                "  -h, --help                   this text\n\n"
                "Exit codes: 0; 2 usage; 61 a file cannot be read; 70 the image cannot be measured or would not start.\n\n"
                "Examples:\n"
                "  " PROGRAM " measure --json image.efi > reference.json\n"
                "  " PROGRAM " measure --event-log --PK=PK.esl --KEK=KEK.esl --db=db.esl --dbx=dbx.esl --disk=image.raw\n",
                input_help);
}

static int event_to_json(const struct predicted_event *event, json_object *array) {
        json_object *o = json_object_new_object();
        char digest[2 * REFERENCE_SIZE + 1];

        if (!o || json_object_array_add(array, o) < 0) {
                json_object_put(o);
                return -ENOMEM;
        }
        hex_encode(event->digest, REFERENCE_SIZE, digest);
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
static void print_notes(const struct boot *boot) {
        puts(boot->pcr2 ? "\nPCR2 is the value given, of the option ROMs that an instance type loads; PCR3 is"
                        : "\nPCR2 and PCR3 are those of a boot without a UEFI driver from outside the firmware:");
        puts(boot->pcr2 ? "that of a boot without configuration of a UEFI driver from outside the firmware."
                        : "a separator alone. Give --pcr2 for an instance type that loads option ROMs.");
        if (!boot->keys)
                puts("PCR7 is not predicted: give Secure Boot's key lists, or --secure-boot=off.");
        if (!boot->keys || !boot->keys->enabled)
                puts("Without Secure Boot, PCR4 proves the image only together with PCR2 (drivers that could change it\n"
                     "in memory) and PCR12 (an appended command line).");
}

static void print_text(const struct prediction *p, const struct reference *reference, const struct boot *boot,
                       bool events) {
        char hex[2 * REFERENCE_SIZE + 1];

        for (size_t i = 0; events && i < p->n; i++) {
                const struct predicted_event *event = &p->events[i];

                hex_encode(event->digest, REFERENCE_SIZE, hex);
                printf("PCR%-2u  %s\n       %s\n       %s\n       %s\n\n", event->pcr, event_type_name(event->type), hex,
                       event->what, event->why);
        }
        for (unsigned pcr = 0; pcr < REFERENCE_PCRS; pcr++) {
                if (!reference_has(reference, pcr))
                        continue;
                hex_encode(reference->pcr[pcr], REFERENCE_SIZE, hex);
                printf("PCR%-2u  %s\n", pcr, hex);
        }
        print_notes(boot);
}

int cmd_measure(int argc, char *argv[]) {
        enum { OPTION_EVENT_LOG = INPUT_END, OPTION_JSON };
        static const struct option options[] = {
                INPUT_LONG_OPTIONS,
                { "event-log", no_argument, NULL, OPTION_EVENT_LOG },
                { "json", no_argument, NULL, OPTION_JSON },
                { "help", no_argument, NULL, 'h' },
                {},
        };
        _cleanup_prediction_ struct prediction prediction = {};
        _cleanup_inputs_ struct inputs inputs = {};
        struct reference reference = {};
        bool events = false, json = false;
        struct error e;
        int c, k;

        while ((c = getopt_long(argc, argv, "h", options, NULL)) >= 0) {
                if (c == 'h')
                        return help(stdout), 0;
                if (c == '?')
                        return command_usage("measure", "the option is not known, or lacks its value");
                if (c == OPTION_EVENT_LOG)
                        events = true;
                else if (c == OPTION_JSON)
                        json = true;
                else if (inputs_option(&inputs, c, optarg, &e) < 0)
                        return command_failed(&e);
        }
        for (; optind < argc; optind++)
                if (inputs_add_image(&inputs, argv[optind], &e) < 0)
                        return command_failed(&e);
        if (!inputs.disk && inputs.n_image_paths == 0)
                return command_usage("measure", "name a UKI, or a disk with --disk");
        k = inputs_load(&inputs, &e);
        if (k == 0)
                k = predict(&inputs.boot, &prediction, &e);
        if (k == 0)
                k = prediction_replay(&prediction, &inputs.boot, &reference, &e);
        if (k == 0 && inputs.boot.keys)
                reference.secure_boot = inputs.boot.keys->enabled ? SECURE_BOOT_ON : SECURE_BOOT_OFF;
        if (k == 0 && json)
                k = print_json(&prediction, &reference, events, &e);
        if (k < 0)
                return command_failed(&e);
        if (!json)
                print_text(&prediction, &reference, &inputs.boot, events);
        return 0;
}
