/* SPDX-License-Identifier: Apache-2.0 */
#include "fleet/pcr15.h"

#include <ctype.h>

#include "basic/encode.h"
#include "basic/file.h"
#include "basic/utf8.h"
#include "page/html.h"
#include "replay/read.h"
#include "replay/replay.h"

enum { EVENTS_SHOWN_MAX = 64 };

static const char kernel_view[] = "/sys/class/tpm/tpm0/pcr-sha384/15";

/* Hex digits and a line feed. */
static void read_kernel_view(struct pcr15 *p) {
        _cleanup_free_ uint8_t *text = NULL;
        size_t n;

        if (file_read(kernel_view, 256, FAILURE_IO, &text, &n, NULL) < 0)
                return;
        while (n > 0 && isspace(text[n - 1]))
                text[--n] = 0;
        p->has_tpm = hex_decode((char *) text, p->tpm, SHA384_SIZE) == 0;
}

/* Records of the log without a SHA-384 digest leave the value unknown. */
static int find_value(struct pcr15 *p, struct error *e) {
        const struct pcr_algorithm *bank = pcr_algorithm_named("sha384");
        struct replay replay;
        int r;

        r = replay_log(&p->log, bank, &replay, e);
        if (r < 0)
                return r;
        p->has_value = (replay.unknown & UINT32_C(1) << PCR_MODEL) == 0;
        memcpy(p->value, replay.pcr[PCR_MODEL], SHA384_SIZE);
        return 0;
}

int pcr15_read(const char *path, bool required, bool here, struct pcr15 *ret, struct error *e) {
        _cleanup_pcr15_ struct pcr15 p = {};
        int r;

        if (here)
                read_kernel_view(&p);
        if (!path)
                p.why_not = "no measurement log was given";
        else if (!required && access(path, R_OK) < 0)
                p.why_not = errno == EACCES ? "only root and the user sealboot may read the measurement log"
                                            : "there is no measurement log yet";
        if (!p.why_not) {
                r = event_log_read(path, &p.log, e);
                if (r < 0)
                        return r;
                r = find_value(&p, e);
                if (r < 0)
                        return r;
        }
        p.differs = p.has_value && p.has_tpm && memcmp(p.value, p.tpm, SHA384_SIZE) != 0;
        *ret = TAKE_STRUCT(p);
        return 0;
}

void pcr15_done(struct pcr15 *p) {
        event_log_done(&p->log);
        *p = (struct pcr15) {};
}

static size_t events_of(const struct pcr15 *p, const struct log_event *events[static EVENTS_SHOWN_MAX]) {
        size_t n = event_log_of_pcr(&p->log, PCR_MODEL, events, EVENTS_SHOWN_MAX);

        return MIN_OF(n, (size_t) EVENTS_SHOWN_MAX);
}

static void digest_text(const struct log_event *event, char ret[static 2 * SHA384_SIZE + 1]) {
        const uint8_t *digest = log_event_digest(event, pcr_algorithm_named("sha384"));

        ret[0] = '\0';
        if (digest)
                hex_encode(digest, SHA384_SIZE, ret);
}

static const char *verdict(const struct pcr15 *p) {
        return p->differs ? "differs from what the TPM has" : p->has_tpm && p->has_value ? "agrees with the TPM" : "";
}

void pcr15_print(FILE *f, const struct pcr15 *p) {
        const struct log_event *events[EVENTS_SHOWN_MAX];
        char hex[2 * SHA384_SIZE + 1];
        size_t n = events_of(p, events);

        fprintf(f, "\nPCR15 (SHA-384)\n");
        if (p->why_not)
                fprintf(f, "  %s\n", p->why_not);
        else if (n == 0)
                fprintf(f, "  nothing is measured\n");
        for (size_t i = 0; i < n; i++) {
                digest_text(events[i], hex);
                fputs("  ", f);
                utf8_print(f, events[i]->type_name ?: "");
                fputs(": ", f);
                utf8_print(f, events[i]->text ?: "");
                fprintf(f, "\n    digest %s\n", hex[0] ? hex : "of another bank");
        }
        if (p->has_value) {
                hex_encode(p->value, SHA384_SIZE, hex);
                fprintf(f, "  value    %s%s%s\n", hex, verdict(p)[0] ? ", which " : "", verdict(p));
        }
        if (p->has_tpm && (p->differs || !p->has_value)) {
                hex_encode(p->tpm, SHA384_SIZE, hex);
                fprintf(f, "  the TPM  %s\n", hex);
        }
}

void pcr15_draw(FILE *f, const struct pcr15 *p) {
        const struct log_event *events[EVENTS_SHOWN_MAX];
        char hex[2 * SHA384_SIZE + 1];
        size_t n = events_of(p, events);

        if (p->why_not && !p->has_tpm)
                return;
        fputs("<h2>PCR15 (SHA-384)</h2>\n<table class=\"facts\">\n", f);
        for (size_t i = 0; i < n; i++) {
                digest_text(events[i], hex);
                html_row(f, events[i]->type_name ?: "", events[i]->text);
                html_row(f, "digest", hex);
        }
        if (p->has_value) {
                hex_encode(p->value, SHA384_SIZE, hex);
                html_row(f, "value", hex);
        }
        if (p->has_tpm) {
                hex_encode(p->tpm, SHA384_SIZE, hex);
                html_row(f, "TPM", hex);
        }
        html_row(f, "so the log", verdict(p));
        fputs("</table>\n", f);
}

json_object *pcr15_json(const struct pcr15 *p) {
        json_object *o = json_object_new_object(), *list = json_object_new_array();
        const struct log_event *events[EVENTS_SHOWN_MAX];
        char hex[2 * SHA384_SIZE + 1];
        size_t n = events_of(p, events);

        for (size_t i = 0; i < n; i++) {
                json_object *event = json_object_new_object();

                digest_text(events[i], hex);
                json_object_object_add(event, "type", json_object_new_string(events[i]->type_name ?: ""));
                json_object_object_add(event, "text", json_object_new_string(events[i]->text ?: ""));
                json_object_object_add(event, "digest", hex[0] ? json_object_new_string(hex) : NULL);
                json_object_array_add(list, event);
        }
        json_object_object_add(o, "events", p->why_not ? (json_object_put(list), NULL) : list);
        hex_encode(p->value, SHA384_SIZE, hex);
        json_object_object_add(o, "value", p->has_value ? json_object_new_string(hex) : NULL);
        hex_encode(p->tpm, SHA384_SIZE, hex);
        json_object_object_add(o, "tpm", p->has_tpm ? json_object_new_string(hex) : NULL);
        json_object_object_add(o, "agrees", p->has_value && p->has_tpm ? json_object_new_boolean(!p->differs) : NULL);
        return o;
}
