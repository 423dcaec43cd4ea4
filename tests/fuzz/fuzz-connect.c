/* SPDX-License-Identifier: Apache-2.0 */

/* What a server or a web page may send to `sealboot connect`: header lines, where an answer leads, who asks, and the
 * report that the page shows. The first byte says which. */

#include <strings.h>

#include "connect/guard.h"
#include "connect/headers.h"
#include "connect/page.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void lines(char *text) {
        char *name, *value;

        if (status_line_parse(text, strlen(text)) > 999)
                abort();
        if (header_line_split(text, &name, &value) < 0)
                return;
        if (!header_is_valid(name, value) || strpbrk(name, ":\r\n ") || strpbrk(value, "\r\n"))
                abort();
        header_passes_up(name, value);
        header_passes_down(name, value);
}

/* As a browser reads it: a slash may be a backslash, and tabs and ends of lines count for nothing. */
static void location(const char *text) {
        const char *within = location_within(text, "https://model.example");

        if (!within)
                return;
        if ((within[0] == '/' && within[1] == '/') || strpbrk(within, "\\\t\r\n ") ||
            (strchr(within, ':') && strcspn(within, ":") < strcspn(within, "/?#")))
                abort();
}

static void guard(const char *text) {
        const struct guard_headers h = { .host = "127.0.0.1:8000", .origin = text };

        if (!guard_refuses(&h) && strcasecmp(text, "http://127.0.0.1:8000") != 0)
                abort();
        if (guard_accepts_host(text) && strpbrk(text, "@/\\ "))
                abort();
        if (target_is_valid(text) && text[0] != '/')
                abort();
        method_is_valid(text);
}

/* No markup comes from the report: as many tags as a page without it would have of its own kind. */
static void page(const char *text, size_t size) {
        static const uint8_t key[KEY_ID_SIZE];
        static const char *const own[] = { "!",        "/",     "html", "head", "meta", "title", "style",
                                           "body",     "h1",    "h2",   "h3",   "p>",   "p ",    "a ",
                                           "section ", "table", "tr",   "th",   "td",   "div ",  "caption" };
        struct instances *s;
        json_object *o;
        struct error e;
        char *html;
        size_t n;

        if (instances_new(60, &s, &e) < 0)
                abort();
        instances_judge(s, key, NULL, 1, json_parse(text, size, FAILURE_USAGE, "fuzz", &o, &e) == 0 ? o : NULL,
                        json_parse(text, size, FAILURE_USAGE, "fuzz", &o, &e) == 0 ? o : NULL);
        if (json_parse(text, size, FAILURE_USAGE, "fuzz", &o, &e) == 0)
                instances_report(s, key, o);
        html = page_html(s, text, &n);
        for (const char *tag = html; (tag = strchr(tag, '<')); tag++) {
                bool known = false;

                for (size_t i = 0; i < ELEMENTS(own) && !known; i++)
                        known = strncmp(tag + 1, own[i], strlen(own[i])) == 0;
                if (!known)
                        abort();
        }
        free(html);
        free(page_json(s, text, &n));
        instances_free(s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        char *text;

        if (size < 1)
                return 0;
        text = strndup((const char *) data + 1, size - 1);
        switch (data[0] % 4) {
        case 0:
                lines(text);
                break;
        case 1:
                location(text);
                break;
        case 2:
                guard(text);
                break;
        default:
                page(text, strlen(text));
        }
        free(text);
        return 0;
}
