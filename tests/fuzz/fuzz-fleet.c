/* SPDX-License-Identifier: Apache-2.0 */

/* A boot report among others, by an instance that may say anything, through all that is shown of a fleet and of one
 * boot: nothing of it reaches a terminal or a page unfiltered. */

#include "fleet/boot-view.h"
#include "fleet/fleet-view.h"
#include "fleet/pcr15.h"
#include "report/metrics.h"
#include "printable.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char good[] =
        "{\"outcome\": \"published\", \"clock\": {\"realtime_ms\": 1796000000000}, \"duration_ms\": 10, \"stages\": "
        "[{\"name\": \"kms\", \"began_ms\": 1, \"duration_ms\": 2}]}";

static void show(const struct fleet *fleet, const struct statistics *s) {
        char *text = NULL;
        size_t n = 0;
        FILE *f = open_memstream(&text, &n);

        fleet_print(f, fleet, s);
        for (size_t i = 0; i < fleet->n; i++)
                boot_print_stages(f, &fleet->records[i]);
        fclose(f);
        expect_printable(text);
        f = open_memstream(&text, &n);
        for (size_t i = 0; i < fleet->n; i++) {
                boot_draw_stages(f, &fleet->records[i]);
                boot_draw_facts(f, &fleet->records[i]);
        }
        fclose(f);
        expect_printable(text);
        text = fleet_html("fuzz", fleet, s, &n);
        if (strstr(text, "<script"))
                abort();
        expect_printable(text);
        json_object_put(fleet_json("fuzz", fleet, s));
}

/* `sealboot status --prometheus`, which needs the whole report. */
static void show_metrics(const uint8_t *data, size_t size) {
        _cleanup_record_ struct record r = {};

        if (record_parse((const char *) data, size, "", &r, NULL) == 0)
                expect_printable(metrics_of_report(r.json));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_statistics_ struct statistics s = {};
        _cleanup_fleet_ struct fleet fleet = {};
        struct error e = {};

        if (fleet_add(&fleet, (const char *) data, size, "of others.json", &e) < 0 ||
            fleet_add(&fleet, good, strlen(good), "good.json", &e) < 0 || fleet.n == 0 || fleet.n + fleet.n_bad != 2)
                abort();
        if (statistics_make(&fleet, &s, &e) < 0)
                abort();
        show(&fleet, &s);
        show_metrics(data, size);
        return 0;
}
