/* SPDX-License-Identifier: Apache-2.0 */

/* sealboot fleet: what the boot reports of many instances have in common. */

#include "basic/encode.h"
#include "basic/file.h"
#include "fleet/fleet-view.h"
#include "verbs/command.h"

enum { LIMIT_DEFAULT = 10000, LIMIT_MAX = 1000 * 1000, CONNECTIONS_DEFAULT = 16 };

struct arguments {
        const char *html;
        uint64_t limit;
        unsigned connections;
        bool json;
};

static int set_limit(void *field, const struct option_row *row, char *value, struct error *e) {
        if (decimal_parse(value, LIMIT_MAX, field) < 0 || *(uint64_t *) field < 1)
                return fail(e, FAILURE_USAGE, -EINVAL, "", "--%s is a number from 1 to %d, not '%s'", row->name,
                            LIMIT_MAX, value);
        return 0;
}

static const struct option_row option_rows[] = {
        { 0, "html", "FILE", "write a page for a browser: one file, without script",
          OPTION_TEXT(struct arguments, html) },
        { 0, "limit", "N", "read the newest N reports (default: 10000)",
          OPTION_CALL(set_limit, struct arguments, limit) },
        { 0, "connections", "N", "connections to S3 (default: 16)",
          OPTION_CALL(command_connections, struct arguments, connections) },
        OPTION_JSON(struct arguments, json),
        OPTION_HELP,
        {},
};

static const struct command_line command_line = {
        .program = PROGRAM " fleet",
        .usage = "Usage: sealboot fleet [OPTION...] s3://BUCKET/PREFIX/ | DIRECTORY\n\n"
                 "Show what the boots of a fleet have in common: how long each stage takes, why boots fail, which\n"
                 "were slowest. The reports are those that the agents store when \"report_to\" is configured.\n"
                 "Nothing in them is authenticated.",
        .rows = option_rows,
        .more = "Exit codes: 0; 2 usage; 13-15 credentials, clock, network; 40-44 S3, 41 also without any report;\n"
                "61 local files, also without any report.\n\n"
                "Example: sealboot fleet --html fleet.html s3://operations/reports/",
        .operands_min = 1,
        .operands_max = 1,
        .needed = "one bucket's prefix or directory is needed",
};

static int write_page(const char *path, const char *place, const struct fleet *fleet, const struct statistics *s,
                      struct error *e) {
        _cleanup_free_ char *page = NULL;
        size_t n;

        page = fleet_html(place, fleet, s, &n);
        return page ? file_write(path, page, n, 0644, e) : fail_oom(e);
}

static int show(const struct arguments *a, const char *place, struct error *e) {
        _cleanup_fleet_ struct fleet fleet = {};
        _cleanup_statistics_ struct statistics s = {};
        _cleanup_json_ json_object *o = NULL;
        int r;

        r = fleet_gather(place, a->limit, a->connections, &fleet, e);
        if (r < 0)
                return r;
        if (fleet.n + fleet.n_bad == 0)
                return fail(e, strncmp(place, "s3://", 5) == 0 ? FAILURE_S3_NOT_FOUND : FAILURE_IO, -ENOENT, place,
                            "there is no boot report: no name there ends in .json");
        r = statistics_make(&fleet, &s, e);
        if (r < 0)
                return r;
        r = a->html ? write_page(a->html, place, &fleet, &s, e) : 0;
        if (r < 0)
                return r;
        if (!a->json) {
                fleet_print(stdout, &fleet, &s);
                return 0;
        }
        o = fleet_json(place, &fleet, &s);
        return command_print_json(o, JSON_C_TO_STRING_PRETTY, e);
}

int cmd_fleet(int argc, char *argv[]) {
        struct arguments a = { .limit = LIMIT_DEFAULT, .connections = CONNECTIONS_DEFAULT };
        struct operands operands;
        struct error e = {};
        int code;

        if (!command_parse(&command_line, argc, argv, &a, &operands, &code))
                return code;
        return show(&a, operands.items[0], &e) < 0 ? command_failed(&e) : 0;
}
