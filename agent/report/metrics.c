/* SPDX-License-Identifier: Apache-2.0 */
#include "report/metrics.h"

#include <float.h>
#include <math.h> /* isfinite */

#include "basic/macros.h"
#include "basic/utf8.h"

enum { STAGES_MAX = 256 };

/* One number of the report, and the gauge that it becomes. */
struct gauge {
        const char *place, *name, *help;
        double factor; /* from the report's unit to the base unit */
};

static const struct gauge gauges[] = {
        { "clock.realtime_ms", "sealboot_boot_start_time_seconds", "When the agent started, since 1970.", 1e-3 },
        { "clock.since_boot_ms", "sealboot_boot_kernel_seconds", "From the start of the kernel to that of the agent.",
          1e-3 },
        { "duration_ms", "sealboot_boot_duration_seconds", "From the start of the agent to the outcome.", 1e-3 },
        { "failure.exit_code", "sealboot_boot_exit_code", "Exit code of the agent if the boot failed.", 1 },
        { "model.bytes", "sealboot_model_bytes", "Size of the model.", 1 },
        { "transfer.bytes", "sealboot_transfer_bytes", "Bytes that the boot fetched from S3.", 1 },
        { "transfer.retries", "sealboot_transfer_retries", "Ranges that the boot fetched again.", 1 },
        { "kms.attempts", "sealboot_kms_attempts", "Requests to KMS.", 1 },
        { "resources.cpu_seconds", "sealboot_agent_cpu_seconds", "CPU time of the agent.", 1 },
        { "resources.peak_memory_kib", "sealboot_agent_peak_memory_bytes", "Memory of the agent beside the model.",
          1024 },
};

static json_object *member(json_object *at, const char *place) {
        char part[32];

        for (;;) {
                size_t n = strcspn(place, ".");

                snprintf(part, sizeof part, "%.*s", (int) n, place);
                if (!json_object_is_type(at, json_type_object) || !json_object_object_get_ex(at, part, &at))
                        return NULL;
                if (!place[n])
                        return at;
                place += n + 1;
        }
}

static bool number_at(json_object *o, const char *place, double *ret) {
        json_object *v = member(o, place);
        char text[400]; /* the largest double has 309 digits */

        if (!json_object_is_type(v, json_type_int) && !json_object_is_type(v, json_type_double))
                return false;
        /* Three decimals, as in the file: then the agent's metrics and those made of the file are the same. */
        snprintf(text, sizeof text, "%.3f", json_object_get_double(v));
        *ret = strtod(text, NULL);
        return isfinite(*ret);
}

static const char *text_at(json_object *o, const char *place) {
        json_object *v = member(o, place);

        return json_object_is_type(v, json_type_string) ? json_object_get_string(v) : "";
}

static void head(FILE *f, const char *name, const char *help) {
        fprintf(f, "# HELP %s %s\n# TYPE %s gauge\n", name, help, name);
}

/* The longest value is cut: a label is not the place for a page of text. */
static void label(FILE *f, const char *name, const char *value) {
        char text[128];

        snprintf(text, sizeof text, "%s", value);
        utf8_make_printable(text);
        fprintf(f, "%s=\"", name);
        for (const char *c = text; *c; c++)
                fprintf(f, *c == '"' || *c == '\\' ? "\\%c" : "%c", *c);
        fputc('"', f);
}

static void put_info(FILE *f, json_object *report) {
        static const struct {
                const char *label, *place;
        } labels[] = {
                { "version", "sealboot" },
                { "outcome", "outcome" },
                { "failure", "failure.name" },
                { "model", "model.name" },
                { "model_version", "model.version" },
                { "model_digest", "model.digest" },
                { "instance_id", "identity.instance_id" },
                { "instance_type", "identity.instance_type" },
                { "image_id", "identity.image_id" },
        };

        head(f, "sealboot_boot_info", "What booted, and how it ended; the value is always 1.");
        fputs("sealboot_boot_info{", f);
        for (size_t i = 0; i < ELEMENTS(labels); i++) {
                fputs(i > 0 ? "," : "", f);
                label(f, labels[i].label, text_at(report, labels[i].place));
        }
        fputs("} 1\n", f);
        head(f, "sealboot_boot_published", "1 if the model is published, 0 if it is not.");
        fprintf(f, "sealboot_boot_published %d\n", streq(text_at(report, "outcome"), "published"));
}

/* The time of all stages of this name, which may have been tried several times; negative: the name was met before. */
static double stage_seconds(json_object *stages, size_t at, const char *name) {
        double sum = 0, ms;

        for (size_t i = 0; i < json_object_array_length(stages) && i < STAGES_MAX; i++) {
                json_object *stage = json_object_array_get_idx(stages, i);

                if (!streq(text_at(stage, "name"), name))
                        continue;
                if (i < at)
                        return -1;
                sum += number_at(stage, "duration_ms", &ms) && ms > 0 ? ms / 1000 : 0;
        }
        return sum;
}

static void put_stages(FILE *f, json_object *report) {
        static const char name[] = "sealboot_boot_stage_duration_seconds";
        json_object *stages = member(report, "stages");

        if (!json_object_is_type(stages, json_type_array))
                return;
        head(f, name, "How long each stage took. Stages overlap.");
        for (size_t i = 0; i < json_object_array_length(stages) && i < STAGES_MAX; i++) {
                const char *stage = text_at(json_object_array_get_idx(stages, i), "name");
                double seconds = stage_seconds(stages, i, stage);

                if (!stage[0] || strlen(stage) > 64 || seconds < 0)
                        continue;
                fprintf(f, "%s{", name);
                label(f, "stage", stage);
                fprintf(f, "} %.9g\n", seconds);
        }
}

char *metrics_of_report(json_object *report) {
        char *text = NULL;
        size_t n;
        FILE *f = open_memstream(&text, &n);

        if (!f)
                return NULL;
        put_info(f, report);
        for (size_t i = 0; i < ELEMENTS(gauges); i++) {
                double value;

                if (!number_at(report, gauges[i].place, &value))
                        continue;
                head(f, gauges[i].name, gauges[i].help);
                fprintf(f, "%s %.*g\n", gauges[i].name, DBL_DIG, value * gauges[i].factor);
        }
        put_stages(f, report);
        if (fclose(f) == 0)
                return text;
        free(text);
        return NULL;
}
