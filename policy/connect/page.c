/* SPDX-License-Identifier: Apache-2.0 */
#include "connect/page.h"

#include <inttypes.h>

#include "basic/clock.h"
#include "basic/encode.h"
#include "page/html.h"

/* --- JSON */

static void add_text(json_object *to, const char *key, const char *text) {
        json_object_object_add(to, key, text ? json_object_new_string(text) : NULL);
}

static void add_date(json_object *to, const char *key, int64_t seconds) {
        char text[DATE_TEXT_SIZE];

        date_text(seconds, text);
        add_text(to, key, text);
}

static const char *state_word(const struct instance *i, bool accepted) {
        return i->state == INSTANCE_REFUSED ? "refused" : accepted ? "attested" : "too old";
}

static int64_t document_age(const struct instance *i) {
        return MAX_OF(wall_clock_seconds() - i->signed_ms / 1000, (int64_t) 0);
}

/* json-c counts references without a lock, so what leaves the instances' lock is a copy. */
static json_object *copy_of(json_object *o) {
        json_object *copy = NULL;

        return o && json_object_deep_copy(o, &copy, NULL) == 0 ? copy : NULL;
}

static void add_instance(const struct instance *i, bool accepted, void *userdata) {
        json_object *o = json_object_new_object();
        char key[sizeof "sha256:" + 2 * KEY_ID_SIZE] = "sha256:";

        hex_encode(i->key, KEY_ID_SIZE, key + strlen(key));
        add_text(o, "key", key);
        add_text(o, "state", state_word(i, accepted));
        add_text(o, "reason", i->reason[0] ? i->reason : NULL);
        add_date(o, "first_seen", i->first_seen);
        add_date(o, "judged", i->judged);
        json_object_object_add(o, "document_age_seconds",
                               i->signed_ms > 0 ? json_object_new_int64(document_age(i)) : NULL);
        add_text(o, "address", i->address);
        add_text(o, "protocol", i->protocol);
        json_object_object_add(o, "requests", json_object_new_int64((int64_t) i->requests));
        json_object_object_add(o, "verdict", copy_of(i->verdict));
        json_object_object_add(o, "certificates", copy_of(i->certificates));
        json_object_object_add(o, "report", copy_of(i->report));
        json_object_array_add(userdata, o);
}

struct count {
        size_t accepted, all;
};

static void count_instance(const struct instance *i, bool accepted, void *userdata) {
        struct count *n = userdata;

        (void) i;
        n->all++;
        n->accepted += accepted;
}

char *page_json(struct instances *s, const char *server, size_t *ret_n) {
        json_object *o = json_object_new_object(), *list = json_object_new_array();
        struct count n = {};
        char *text;

        instances_each(s, count_instance, &n);
        instances_each(s, add_instance, list);
        add_text(o, "server", server);
        json_object_object_add(o, "verified", json_object_new_boolean(n.accepted > 0));
        json_object_object_add(o, "max_age_seconds", json_object_new_int64(instances_max_age(s)));
        json_object_object_add(o, "instances", list);
        text = strdup(json_object_to_json_string_ext(o, JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_NOSLASHESCAPE));
        json_object_put(o);
        *ret_n = text ? strlen(text) : 0;
        return text;
}

/* --- HTML */

static json_object *member(json_object *o, const char *key) {
        json_object *found = NULL;

        if (!o || !json_object_is_type(o, json_type_object) || !json_object_object_get_ex(o, key, &found))
                return NULL;
        return found;
}

/* A string, or nothing. */
static const char *text_of(json_object *o, const char *key) {
        json_object *found = member(o, key);

        return found && json_object_is_type(found, json_type_string) ? json_object_get_string(found) : "";
}

static double number_of(json_object *o, const char *key) {
        json_object *found = member(o, key);

        if (!found || (!json_object_is_type(found, json_type_int) && !json_object_is_type(found, json_type_double)))
                return 0;
        return json_object_get_double(found);
}

static json_object *list_of(json_object *o, const char *key, size_t *ret_n) {
        json_object *found = member(o, key);

        *ret_n = found && json_object_is_type(found, json_type_array) ? json_object_array_length(found) : 0;
        return found;
}

static void row(FILE *f, const char *name, const char *value) {
        if (value[0] == '\0')
                return;
        fputs("<tr><th>", f);
        html_text(f, name);
        fputs("</th><td>", f);
        html_text(f, value);
        fputs("</td></tr>\n", f);
}

static void row_date(FILE *f, const char *name, int64_t seconds) {
        char text[DATE_TEXT_SIZE];

        date_text(seconds, text);
        row(f, name, text);
}

static void show_checks(FILE *f, json_object *verdict) {
        size_t n;
        json_object *checks = list_of(verdict, "checks", &n);

        if (n > 0)
                fputs("<h3>Checks</h3>\n<table class=\"checks\">\n", f);
        for (size_t i = 0; i < n; i++) {
                json_object *check = json_object_array_get_idx(checks, i);
                const char *result = text_of(check, "result");

                fprintf(f, "<tr class=\"%s\"><th>",
                        streq(result, "failed")   ? "bad"
                        : streq(result, "passed") ? "good"
                                                  : "");
                html_text(f, text_of(check, "name"));
                fputs("</th><td>", f);
                html_text(f, result);
                fputs("</td><td>", f);
                html_text(f, text_of(check, "detail"));
                fputs("</td></tr>\n", f);
        }
        fputs(n > 0 ? "</table>\n" : "", f);
}

static void show_pcrs(FILE *f, json_object *verdict) {
        json_object *pcrs = member(member(verdict, "document"), "pcrs");
        char index[16];

        if (!pcrs || !json_object_is_type(pcrs, json_type_object))
                return;
        fputs("<h3>PCRs</h3>\n<table>\n", f);
        for (unsigned i = 0; i < 32; i++) {
                const char *value;

                snprintf(index, sizeof index, "%u", i);
                value = text_of(pcrs, index);
                snprintf(index, sizeof index, "PCR%u", i);
                if (strspn(value, "0") != strlen(value))
                        row(f, index, value);
        }
        fputs("</table>\n<p>Those not listed are zero.</p>\n", f);
}

static void show_certificates(FILE *f, json_object *certificates) {
        size_t n = certificates && json_object_is_type(certificates, json_type_array)
                           ? json_object_array_length(certificates)
                           : 0;

        if (n > 0)
                fputs("<h3>Certificates of the "
                      "document</h3>\n<table>\n<tr><th>Subject</th><th>Valid</th><th>SHA-256</th></tr>\n",
                      f);
        for (size_t i = 0; i < n; i++) {
                json_object *c = json_object_array_get_idx(certificates, i);

                fputs("<tr><td>", f);
                html_text(f, text_of(c, "subject"));
                fputs("</td><td>", f);
                html_text(f, text_of(c, "not_before"));
                fputs(" to ", f);
                html_text(f, text_of(c, "not_after"));
                fputs("</td><td>", f);
                html_text(f, text_of(c, "sha256"));
                fputs("</td></tr>\n", f);
        }
        fputs(n > 0 ? "</table>\n" : "", f);
}

static double within(double value, double max) {
        return value >= 0 && value <= max ? value : value > max ? max : 0; /* not a number: 0 */
}

static void show_stage(FILE *f, json_object *stage, double whole) {
        double began = within(number_of(stage, "began_ms"), whole);
        double duration = within(number_of(stage, "duration_ms"), whole - began);

        fputs("<tr><th>", f);
        html_text(f, text_of(stage, "name"));
        fprintf(f,
                "</th><td>%.0f ms</td><td class=\"bar\"><div "
                "style=\"margin-left:%.2f%%;width:%.2f%%\"></div></td></tr>\n",
                duration, 100 * began / whole, 100 * duration / whole);
}

static void show_report(FILE *f, json_object *report) {
        json_object *model = member(report, "model");
        double whole = number_of(report, "duration_ms");
        size_t n;
        json_object *stages = list_of(report, "stages", &n);

        if (!report)
                return;
        fputs("<h3>Boot</h3>\n<p>As the instance tells it.</p>\n<table>\n", f);
        row(f, "Outcome", text_of(report, "outcome"));
        row(f, "Model", text_of(model, "name"));
        row(f, "Version", text_of(model, "version"));
        row(f, "Digest", text_of(model, "digest"));
        fputs("</table>\n", f);
        if (!(whole > 0) || whole > 1e12)
                return;
        fprintf(f, "<table class=\"time\">\n<caption>%.0f ms</caption>\n", whole);
        for (size_t i = 0; i < n && i < 64; i++)
                show_stage(f, json_object_array_get_idx(stages, i), whole);
        fputs("</table>\n", f);
}

static const char *detail_of(json_object *verdict, const char *name) {
        size_t n;
        json_object *checks = list_of(verdict, "checks", &n);

        for (size_t i = 0; i < n; i++)
                if (streq(text_of(json_object_array_get_idx(checks, i), "name"), name))
                        return text_of(json_object_array_get_idx(checks, i), "detail");
        return "";
}

static void show_instance(const struct instance *i, bool accepted, void *userdata) {
        char key[2 * KEY_ID_SIZE + 1], number[32];
        FILE *f = userdata;

        hex_encode(i->key, KEY_ID_SIZE, key);
        fprintf(f, "<section class=\"%s\">\n<h2>", accepted ? "good" : "bad");
        html_text(f, state_word(i, accepted));
        fputs(": ", f);
        html_text(f, i->reason[0] ? i->reason : text_of(member(i->verdict, "document"), "module_id"));
        fputs("</h2>\n<table>\n", f);
        row(f, "Image", detail_of(i->verdict, "pcrs"));
        row(f, "Model", detail_of(i->verdict, "model"));
        row(f, "TLS key (SHA-256)", key);
        row(f, "Address", i->address);
        row(f, "Protocol", i->protocol);
        snprintf(number, sizeof number, "%" PRIu64, i->requests);
        row(f, "Requests", number);
        row_date(f, "First seen", i->first_seen);
        row_date(f, "Attested", i->judged);
        snprintf(number, sizeof number, "%" PRId64 " s", document_age(i));
        row(f, "Age of the document", i->signed_ms > 0 ? number : "");
        fputs("</table>\n", f);
        show_report(f, i->report);
        show_checks(f, i->verdict);
        show_pcrs(f, i->verdict);
        show_certificates(f, i->certificates);
        fputs("</section>\n", f);
}

static const char head[] =
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
        "<meta name=\"viewport\" content=\"width=device-width\">\n<title>sealboot connect</title>\n<style>\n"
        "body{font:15px/1.5 system-ui,sans-serif;max-width:72rem;margin:2rem auto;padding:0 "
        "1rem;color:#222;background:#fff}\n"
        "section{border-left:4px solid #b00;padding:0 1rem;margin:2rem 0}section.good{border-color:#080}\n"
        "table{border-collapse:collapse;width:100%}th{text-align:left;font-weight:600;white-space:nowrap}\n"
        "th,td{padding:.15rem .8rem .15rem 0;vertical-align:top;overflow-wrap:anywhere}\n"
        ".checks td:nth-of-type(1){overflow-wrap:normal;white-space:nowrap}\n"
        "tr.good td:nth-of-type(1){color:#080}tr.bad td:nth-of-type(1){color:#b00;font-weight:600}\n"
        ".bar{width:60%}.bar div{background:#68a;height:.8em;min-width:2px}caption{text-align:left}\n"
        ".verdict{font-size:1.3rem}\n</style>\n</head>\n<body>\n";

char *page_html(struct instances *s, const char *server, size_t *ret_n) {
        struct count n = {};
        char *text = NULL;
        FILE *f = open_memstream(&text, ret_n);

        if (!f)
                return NULL;
        instances_each(s, count_instance, &n);
        fputs(head, f);
        fputs("<h1>", f);
        html_text(f, server);
        fputs("</h1>\n<p class=\"verdict\">", f);
        fprintf(f,
                n.accepted > 0 ? "Verified: requests go to %zu attested instance%s, and to no other."
                               : "Not verified: no request is passed on.",
                n.accepted, n.accepted == 1 ? "" : "s");
        fprintf(f,
                "</p>\n<p>Each instance is attested anew after at most %" PRId64 " s. This page as <a "
                "href=\"?json\">JSON</a>. <a href=\"/\">The server's own page</a>, through the attested "
                "channel.</p>\n",
                instances_max_age(s));
        instances_each(s, show_instance, f);
        fputs("</body>\n</html>\n", f);
        if (fclose(f) != 0) {
                free(text);
                return NULL;
        }
        return text;
}
