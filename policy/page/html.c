/* SPDX-License-Identifier: Apache-2.0 */
#include "page/html.h"

#include "basic/utf8.h"

void html_text(FILE *f, const char *text) {
        _cleanup_free_ char *printable = strdup(text);

        if (!printable)
                return;
        utf8_make_printable(printable);
        for (const char *c = printable; *c; c++)
                switch (*c) {
                case '&':
                        fputs("&amp;", f);
                        break;
                case '<':
                        fputs("&lt;", f);
                        break;
                case '>':
                        fputs("&gt;", f);
                        break;
                case '"':
                        fputs("&quot;", f);
                        break;
                case '\'':
                        fputs("&#39;", f);
                        break;
                default:
                        fputc(*c, f);
                }
}

/* Colours have a contrast of at least 4.5 to the background in both schemes. */
static const char style[] =
        ":root{color-scheme:light dark;--fg:#1c2024;--bg:#fff;--dim:#59636e;--line:#d5dae0;--soft:#f4f6f8;"
        "--ok:#17703f;--bad:#b3261e;--run:#8a5a00;--bar:#3566ad;--bar-soft:#a9c1e4}\n"
        "@media(prefers-color-scheme:dark){:root{--fg:#e4e7ea;--bg:#14171a;--dim:#9aa4ae;--line:#343b42;--soft:#1d2226;"
        "--ok:#4cc38a;--bad:#ff8077;--run:#e2b340;--bar:#6ea2e6;--bar-soft:#35507a}}\n"
        "*{box-sizing:border-box}"
        "body{font:15px/1.5 system-ui,sans-serif;max-width:76rem;margin:2rem auto;padding:0 1rem;color:var(--fg);"
        "background:var(--bg)}\n"
        "h1{font-size:1.5rem;margin:0 0 .3rem;overflow-wrap:anywhere}h2{font-size:1.15rem;margin:2.2rem 0 .5rem}"
        "p{margin:.3rem 0}.dim{color:var(--dim)}.ok{color:var(--ok)}.bad{color:var(--bad)}.run{color:var(--run)}\n"
        ".tiles{display:flex;flex-wrap:wrap;gap:.8rem;margin:1rem 0}.tile{background:var(--soft);border:1px solid "
        "var(--line);border-radius:.4rem;padding:.5rem 1rem;min-width:7.5rem}.tile b{display:block;font-size:1.5rem;"
        "line-height:1.3}\n"
        ".scroll{overflow-x:auto}table{border-collapse:collapse;width:100%}"
        "th,td{padding:.25rem .8rem .25rem 0;vertical-align:top;text-align:left;border-bottom:1px solid var(--line)}"
        "th{font-weight:600}thead th{color:var(--dim);font-weight:400;white-space:nowrap}"
        "td.number,th.number{text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums}"
        "td.name,th.name{white-space:nowrap}td.text{overflow-wrap:anywhere;min-width:14rem}"
        "td.bar{width:45%;min-width:12rem;padding-right:0}\n"
        "table.facts th{width:11rem;font-weight:400;color:var(--dim)}table.facts td{overflow-wrap:anywhere}"
        "svg{display:block}svg.bar{width:100%;height:1rem;margin:.25rem 0}svg.chart{min-width:640px;width:100%;"
        "height:auto}svg text{fill:var(--dim);font:12px system-ui,sans-serif}svg .axis{stroke:var(--line)}"
        "svg .soft{fill:var(--bar-soft)}svg .full{fill:var(--bar)}svg .dot{fill:var(--bar);fill-opacity:.65}"
        "svg .fault{stroke:var(--bad);stroke-width:2;fill:none}svg .mark{fill:var(--fg)}\n"
        "@media print{body{margin:0}}\n";

void html_begin(FILE *f, const char *title) {
        fputs("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
              "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n"
              "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src "
              "'unsafe-inline'\">\n"
              "<title>",
              f);
        html_text(f, title);
        fprintf(f, "</title>\n<style>\n%s</style>\n</head>\n<body>\n", style);
}

void html_end(FILE *f) {
        fputs("</body>\n</html>\n", f);
}

void html_row(FILE *f, const char *name, const char *value) {
        if (!value || !value[0])
                return;
        fputs("<tr><th>", f);
        html_text(f, name);
        fputs("</th><td>", f);
        html_text(f, value);
        fputs("</td></tr>\n", f);
}
