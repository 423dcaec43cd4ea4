/* SPDX-License-Identifier: Apache-2.0 */
#include "audit/audit-view.h"

#include "basic/encode.h"
#include "basic/utf8.h"

static void print_field(FILE *f, const char *name, const char *text) {
        if (!text || !text[0])
                return;
        fprintf(f, "    %-8s ", name);
        utf8_print(f, text);
        fputc('\n', f);
}

static void print_two(FILE *f, const char *name, const char *first, const char *between, const char *second) {
        if (!first[0] && !second[0])
                return;
        fprintf(f, "    %-8s ", name);
        utf8_print(f, first);
        fputs(first[0] && second[0] ? between : "", f);
        utf8_print(f, second);
        fputc('\n', f);
}

static void print_pcrs(FILE *f, const struct call *c) {
        for (unsigned pcr = 0; pcr < PCR_COUNT_MAX; pcr++) {
                char hex[2 * SHA384_SIZE + 1];

                if (!(c->present & UINT32_C(1) << pcr))
                        continue;
                hex_encode(c->pcr[pcr], SHA384_SIZE, hex);
                if (strspn(hex, "0") < 2 * SHA384_SIZE)
                        fprintf(f, "    PCR%-5u %s\n", pcr, hex);
        }
}

static void print_call(FILE *f, const struct judged *j) {
        const struct call *c = j->call;

        fprintf(f, "  %s  %s  %s: %s\n", c->time, c->operation, j->finding->name, j->finding->meaning);
        print_two(f, "error", c->error, ": ", c->error_words);
        print_two(f, "caller", c->caller, ", account ", strstr(c->caller, c->account) ? "" : c->account);
        print_two(f, "from", c->address, ", ", c->agent);
        print_field(f, "key", c->key);
        print_two(f, "model", c->model, " ", c->version);
        print_field(f, "instance", c->instance[0] ? c->instance : c->module_id);
        print_field(f, "image", j->image ? j->image->source : NULL);
        if (c->attested && !j->image)
                print_pcrs(f, c);
        print_field(f, "request", c->request_id);
}

static void print_level(FILE *f, const struct judgement *j, enum finding_level level, const char *title) {
        bool any = false;

        for (size_t i = 0; i < j->n; i++) {
                if (j->calls[i].finding->level != level)
                        continue;
                if (!any)
                        fprintf(f, "\n%s\n", title);
                any = true;
                print_call(f, &j->calls[i]);
        }
}

/* ---- groups of what is good */

static bool same_group(const struct judged *a, const struct judged *b) {
        return a->finding == b->finding && a->image == b->image && streq(a->call->operation, b->call->operation) &&
               streq(a->call->model, b->call->model) && streq(a->call->version, b->call->version);
}

static int compare_names(const void *a, const void *b) {
        return strcmp(*(const char *const *) a, *(const char *const *) b);
}

/* Sorts the names. */
static size_t count_different(const char **names, size_t n) {
        size_t different = 0;

        if (n > 0)
                qsort(names, n, sizeof *names, compare_names);
        for (size_t i = 0; i < n; i++)
                different += i == 0 || !streq(names[i], names[i - 1]);
        return different;
}

/* `names` has room for one of each call. */
static void print_group(FILE *f, const struct judgement *j, size_t first, const char **names) {
        const struct judged *of = &j->calls[first];
        const char *last = of->call->time;
        size_t calls = 0, named = 0, instances;

        for (size_t i = first; i < j->n; i++) {
                if (!same_group(of, &j->calls[i]))
                        continue;
                if (j->calls[i].call->instance[0])
                        names[named++] = j->calls[i].call->instance;
                calls++;
                last = j->calls[i].call->time;
        }
        instances = count_different(names, named);
        fprintf(f, "  %6zu %s", calls, of->call->operation);
        if (instances > 0)
                fprintf(f, " by %zu instance%s", instances, instances == 1 ? "" : "s");
        fprintf(f, ", %s to %s\n", of->call->time, last);
        print_field(f, "image", of->image ? of->image->source : NULL);
        print_field(f, "caller", of->image ? NULL : of->call->caller);
        print_two(f, "model", of->call->model, " ", of->call->version);
}

static void print_groups(FILE *f, const struct judgement *j) {
        size_t good = j->n_alarms + j->n_notices;
        _cleanup_free_ const char **names = calloc(j->n + 1, sizeof *names);

        if (good < j->n)
                fputs("\nas it should be\n", f);
        for (size_t i = good; names && i < j->n; i++) {
                bool seen = false;

                for (size_t k = good; k < i && !seen; k++)
                        seen = same_group(&j->calls[k], &j->calls[i]);
                if (!seen)
                        print_group(f, j, i, names);
        }
}

void audit_print(FILE *f, const struct trail *t, const struct judgement *j, bool all) {
        fprintf(f, "%zu alarm%s, %zu notice%s, %zu bad record%s; %zu calls of interest in %zu records", j->n_alarms,
                j->n_alarms == 1 ? "" : "s", j->n_notices, j->n_notices == 1 ? "" : "s", t->n_bad,
                t->n_bad == 1 ? "" : "s", j->n, t->n_records);
        if (t->n > 0)
                fprintf(f, ", %s to %s", t->calls[0].time, t->calls[t->n - 1].time);
        fputc('\n', f);
        print_level(f, j, LEVEL_ALARM, "ALARMS");
        if (t->n_bad > 0)
                fputs("\nBAD RECORDS\n", f);
        for (size_t i = 0; i < t->n_bad; i++) {
                fputs("  ", f);
                utf8_print(f, t->bad[i].origin);
                fputs(": ", f);
                utf8_print(f, t->bad[i].reason);
                fputc('\n', f);
        }
        print_level(f, j, LEVEL_NOTICE, "notices");
        if (all)
                print_level(f, j, LEVEL_GOOD, "as it should be");
        else
                print_groups(f, j);
}

/* ---- JSON */

static json_object *pcrs_json(const struct call *c) {
        json_object *o = json_object_new_object();

        for (unsigned pcr = 0; pcr < PCR_COUNT_MAX; pcr++) {
                char hex[2 * SHA384_SIZE + 1], name[16];

                if (!(c->present & UINT32_C(1) << pcr))
                        continue;
                hex_encode(c->pcr[pcr], SHA384_SIZE, hex);
                snprintf(name, sizeof name, "%u", pcr);
                json_object_object_add(o, name, json_object_new_string(hex));
        }
        return o;
}

static json_object *call_json(const struct judged *j) {
        static const char *const levels[] = { "alarm", "notice", "good" };
        const struct call *c = j->call;
        json_object *o = json_object_new_object();

        json_add_text(o, "level", levels[j->finding->level]);
        json_add_text(o, "finding", j->finding->name);
        json_add_text(o, "time", c->time);
        json_add_text(o, "operation", c->operation);
        json_add_text(o, "caller", c->caller);
        json_add_text(o, "account", c->account);
        json_add_text(o, "address", c->address);
        json_add_text(o, "user_agent", c->agent);
        json_add_text(o, "key", c->key);
        json_add_text(o, "model", c->model);
        json_add_text(o, "version", c->version);
        json_object_object_add(o, "encryption_context", json_object_get(c->context));
        json_add_text(o, "error", c->error);
        json_add_text(o, "error_message", c->error_words);
        json_object_object_add(o, "attested", json_object_new_boolean(c->attested));
        json_add_text(o, "module_id", c->module_id);
        json_add_text(o, "instance_id", c->instance);
        json_add_text(o, "image", j->image ? j->image->source : NULL);
        json_object_object_add(o, "pcrs", c->attested ? pcrs_json(c) : NULL);
        json_add_text(o, "request_id", c->request_id);
        json_add_text(o, "event_id", c->event_id);
        return o;
}

json_object *audit_json(const struct trail *t, const struct judgement *j) {
        json_object *o = json_object_new_object(), *calls = json_object_new_array(), *bad = json_object_new_array();

        json_object_object_add(o, "alarms", json_object_new_int64((int64_t) j->n_alarms));
        json_object_object_add(o, "notices", json_object_new_int64((int64_t) j->n_notices));
        json_object_object_add(o, "records", json_object_new_int64((int64_t) t->n_records));
        for (size_t i = 0; i < j->n; i++)
                json_object_array_add(calls, call_json(&j->calls[i]));
        json_object_object_add(o, "calls", calls);
        for (size_t i = 0; i < t->n_bad; i++) {
                json_object *one = json_object_new_object();

                json_add_text(one, "record", t->bad[i].origin);
                json_add_text(one, "reason", t->bad[i].reason);
                json_object_array_add(bad, one);
        }
        json_object_object_add(o, "bad", bad);
        return o;
}
