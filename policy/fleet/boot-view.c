/* SPDX-License-Identifier: Apache-2.0 */
#include "fleet/boot-view.h"

#include "basic/clock.h"
#include "basic/utf8.h"
#include "owner/progress.h"
#include "page/html.h"

enum { BAR_COLUMNS = 40 };

/* How long the boot is: what it says, or the end of its last stage. */
static double whole_of(const struct record *r) {
        double whole = MAX_OF(r->duration_ms, r->progress.at_ms);

        for (size_t i = 0; i < r->n_stages; i++)
                whole = MAX_OF(whole, r->stages[i].began_ms + r->stages[i].duration_ms);
        return whole > 0 ? whole : 1;
}

/* Until when a stage lasts: one that has not ended lasts until now. */
static double end_of(const struct record *r, const struct record_stage *s, double whole) {
        if (s->ended)
                return s->began_ms + s->duration_ms;
        return r->outcome <= RECORD_WAITING ? whole : s->began_ms;
}

/* "12.3 GB at 1.23 GB/s"; "" for a stage that moves no data. */
static void rate_text(const struct record_stage *s, char *ret, size_t size) {
        char bytes[16];

        ret[0] = '\0';
        if (s->bytes > 0 && s->duration_ms > 0)
                snprintf(ret, size, "%s at %.2f GB/s", format_bytes((uint64_t) s->bytes, bytes),
                         s->bytes / 1e6 / s->duration_ms);
}

static void print_name(FILE *f, const char *name, int width) {
        char text[64];

        snprintf(text, sizeof text, "%s", name);
        utf8_make_printable(text);
        fprintf(f, "  %-*s", width, text);
}

static void print_bar(FILE *f, double from, double to) {
        int begin = (int) (from * BAR_COLUMNS), end = (int) (to * BAR_COLUMNS + .999);

        begin = MIN_OF(MAX_OF(begin, 0), BAR_COLUMNS - 1);
        end = MIN_OF(MAX_OF(end, begin + 1), BAR_COLUMNS);
        fputs("  |", f);
        for (int i = 0; i < BAR_COLUMNS; i++)
                fputc(i >= begin && i < end ? '#' : ' ', f);
        fputc('|', f);
}

void boot_print_stages(FILE *f, const struct record *r) {
        double whole = whole_of(r);
        char text[DURATION_TEXT_SIZE], rate[64];

        for (size_t i = 0; i < r->n_stages; i++) {
                const struct record_stage *s = &r->stages[i];
                double end = end_of(r, s, whole);

                print_name(f, s->name, 14);
                duration_text(end - s->began_ms, text);
                fprintf(f, " %11s", s->ended || r->outcome <= RECORD_WAITING ? text : "not ended");
                print_bar(f, s->began_ms / whole, end / whole);
                rate_text(s, rate, sizeof rate);
                fprintf(f, "%s%s\n",
                        s->ended                       ? (rate[0] ? " " : "")
                        : r->outcome <= RECORD_WAITING ? " running"
                                                       : "",
                        rate);
        }
}

static void draw_bar(FILE *f, double from, double to) {
        double x = 1000 * from, width = MAX_OF(1000 * (to - from), 2.0);

        fprintf(f,
                "<td class=\"bar\"><svg class=\"bar\" viewBox=\"0 0 1000 16\" preserveAspectRatio=\"none\" "
                "aria-hidden=\"true\"><rect class=\"full\" x=\"%.1f\" y=\"0\" width=\"%.1f\" "
                "height=\"16\"/></svg></td>",
                MIN_OF(x, 998.0), MIN_OF(width, 1000 - MIN_OF(x, 998.0)));
}

void boot_draw_stages(FILE *f, const struct record *r) {
        double whole = whole_of(r);
        char text[DURATION_TEXT_SIZE], rate[64];

        if (r->n_stages == 0)
                return;
        fputs("<div class=\"scroll\"><table><thead><tr><th class=\"name\">Stage</th><th class=\"number\">Began "
              "after</th>"
              "<th class=\"number\">Took</th><th>In the boot</th><th></th></tr></thead><tbody>\n",
              f);
        for (size_t i = 0; i < r->n_stages; i++) {
                const struct record_stage *s = &r->stages[i];
                double end = end_of(r, s, whole);

                fputs("<tr><td class=\"name\">", f);
                html_text(f, s->name);
                duration_text(s->began_ms, text);
                fprintf(f, "</td><td class=\"number\">%s</td>", text);
                duration_text(end - s->began_ms, text);
                fprintf(f, "<td class=\"number\">%s</td>",
                        s->ended || r->outcome <= RECORD_WAITING ? text : "not ended");
                draw_bar(f, s->began_ms / whole, end / whole);
                rate_text(s, rate, sizeof rate);
                fprintf(f, "<td class=\"number\">%s</td></tr>\n", rate);
        }
        fputs("</tbody></table></div>\n", f);
}

void boot_draw_facts(FILE *f, const struct record *r) {
        char text[DURATION_TEXT_SIZE], date[DATE_TEXT_SIZE], bytes[16];

        fputs("<table class=\"facts\">\n", f);
        date_text((int64_t) (r->began_ms / 1000), date);
        html_row(f, "Began", date);
        duration_text(r->since_boot_ms, text);
        html_row(f, "Since kernel start", r->since_boot_ms > 0 ? text : "");
        html_row(f, "Instance", r->instance);
        html_row(f, "Type", r->type);
        html_row(f, "Image", r->image);
        html_row(f, "Account", r->account);
        html_row(f, "Region", r->region);
        html_row(f, "Model", r->model);
        html_row(f, "Version", r->model_version);
        html_row(f, "Size", r->model_bytes > 0 ? format_bytes((uint64_t) r->model_bytes, bytes) : "");
        html_row(f, "Digest", r->model_digest);
        html_row(f, "Source", r->source);
        html_row(f, "KMS key", r->key_arn);
        html_row(f, "sealboot", r->version);
        fputs("</table>\n", f);
}
