/* SPDX-License-Identifier: Apache-2.0 */
#include "report/report.h"

#include <pthread.h>
#include <sys/resource.h>
#include <syslog.h>
#include <systemd/sd-journal.h>

#include "basic/clock.h"
#include "basic/encode.h"
#include "basic/file.h"
#include "report/metrics.h"
#include "sealed/verity.h"

struct report {
        char *path;
        pthread_mutex_t lock; /* several threads write to the report */
        json_object *root, *stages;
        int64_t began_ms; /* by the time of day */
        int64_t began_ns, written_ns;
        bool ended; /* the outcome is in it */
};

enum { PROGRESS_PERIOD_MS = 1000 };

/* With three decimals: the clocks are not more precise. */
static json_object *number(double v) {
        char text[32];

        snprintf(text, sizeof text, "%.3f", v);
        return json_object_new_double_s(v, text);
}

static int write_out(struct report *r, struct error *e) {
        const char *text = json_object_to_json_string_ext(r->root, JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_SPACED |
                                                                           JSON_C_TO_STRING_NOSLASHESCAPE);

        r->written_ns = clock_ns();
        return text ? file_write(r->path, text, strlen(text), 0644, e) : fail_oom(e);
}

int report_new(const char *path, struct report **ret, struct error *e) {
        _cleanup_(report_freep) struct report *r = calloc(1, sizeof *r);
        int k;

        if (!r)
                return fail_oom(e);
        pthread_mutex_init(&r->lock, NULL);
        r->began_ns = clock_ns();
        r->began_ms = wall_clock_ms();
        r->path = strdup(path);
        r->root = json_object_new_object();
        if (!r->path || !r->root)
                return fail_oom(e);
        report_text(r, "sealboot", SEALBOOT_VERSION);
        report_text(r, "hash_engine", verity_engine());
        report_text(r, "outcome", "running");
        report_put(r, "clock.realtime_ms", json_object_new_int64(r->began_ms));
        report_put(r, "clock.since_boot_ms", json_object_new_int64(r->began_ns / NS_PER_MS));
        r->stages = json_object_new_array();
        report_put(r, "stages", r->stages);
        k = write_out(r, e);
        if (k < 0) {
                e->failure = FAILURE_PUBLISH;
                return k;
        }
        *ret = TAKE(r);
        return 0;
}

void report_free(struct report *r) {
        if (!r)
                return;
        json_object_put(r->root);
        pthread_mutex_destroy(&r->lock);
        free(r->path);
        free(r);
}

int64_t report_began_ms(const struct report *r) {
        return r->began_ms;
}

void report_begin(struct report *r, const char *name) {
        json_object *stage = json_object_new_object();

        json_object_object_add(stage, "name", json_object_new_string(name));
        pthread_mutex_lock(&r->lock);
        json_object_object_add(stage, "began_ms", number(clock_ms_since(r->began_ns)));
        json_object_array_add(r->stages, stage);
        json_object_object_del(r->root, "progress"); /* of the stage before */
        if (!r->ended)
                (void) write_out(r, NULL); /* report_new() has shown that the file can be written */
        pthread_mutex_unlock(&r->lock);
}

void report_progress(struct report *r, const char *doing, uint64_t bytes, uint64_t total) {
        json_object *progress;

        pthread_mutex_lock(&r->lock);
        if (!r->ended && clock_ms_since(r->written_ns) >= PROGRESS_PERIOD_MS) {
                progress = json_object_new_object();
                json_object_object_add(progress, "doing", json_object_new_string(doing));
                json_object_object_add(progress, "at_ms", number(clock_ms_since(r->began_ns)));
                if (total > 0) {
                        json_object_object_add(progress, "bytes", json_object_new_int64((int64_t) bytes));
                        json_object_object_add(progress, "total", json_object_new_int64((int64_t) total));
                }
                json_object_object_add(r->root, "progress", progress);
                (void) write_out(r, NULL);
        }
        pthread_mutex_unlock(&r->lock);
}

/* The stage of this name that has begun and not ended; NULL: none. */
static json_object *find_stage(const struct report *r, const char *name) {
        for (size_t i = json_object_array_length(r->stages); i > 0; i--) {
                json_object *stage = json_object_array_get_idx(r->stages, i - 1), *its;

                if (json_object_object_get_ex(stage, "name", &its) && streq(json_object_get_string(its), name))
                        return json_object_object_get_ex(stage, "duration_ms", NULL) ? NULL : stage;
        }
        return NULL;
}

void report_end(struct report *r, const char *name, uint64_t bytes) {
        json_object *stage, *began;
        double ms = 0;

        pthread_mutex_lock(&r->lock);
        stage = find_stage(r, name);
        if (stage && json_object_object_get_ex(stage, "began_ms", &began)) {
                ms = clock_ms_since(r->began_ns) - json_object_get_double(began);
                json_object_object_add(stage, "duration_ms", number(ms));
        }
        if (stage && bytes > 0) {
                json_object_object_add(stage, "bytes", json_object_new_int64((int64_t) bytes));
                json_object_object_add(stage, "gb_per_s", number((double) bytes / 1e6 / ms));
        }
        pthread_mutex_unlock(&r->lock);
        if (!stage)
                return;
        sd_journal_send("MESSAGE=%s took %.1f ms", name, ms, "PRIORITY=%i", LOG_INFO,
                        "MESSAGE_ID=" REPORT_STAGE_MESSAGE_ID, "SEALBOOT_STAGE=%s", name, "SEALBOOT_DURATION_USEC=%.0f",
                        ms * 1000, "SEALBOOT_BYTES=%llu", (unsigned long long) bytes, NULL);
}

void report_put(struct report *r, const char *place, json_object *value) {
        _cleanup_free_ char *path = strdup(place);
        json_object *at = r->root;
        char *rest = path, *part;

        if (!path)
                return;
        pthread_mutex_lock(&r->lock);
        part = strsep(&rest, ".");
        for (; rest; part = strsep(&rest, ".")) {
                json_object *next;

                if (!json_object_object_get_ex(at, part, &next)) {
                        next = json_object_new_object();
                        json_object_object_add(at, part, next);
                }
                at = next;
        }
        json_object_object_add(at, part, value);
        pthread_mutex_unlock(&r->lock);
}

void report_text(struct report *r, const char *place, const char *text) {
        report_put(r, place, json_object_new_string(text));
}

void report_hex(struct report *r, const char *place, const char *prefix, const uint8_t *data, size_t n) {
        char text[256];

        snprintf(text, sizeof text, "%s", prefix);
        if (strlen(text) + 2 * n >= sizeof text)
                return;
        hex_encode(data, n, text + strlen(text));
        report_text(r, place, text);
}

static void put_failure(struct report *r, const struct error *f) {
        const struct failure_info *info = failure_info(f->failure);

        report_text(r, "failure.name", info->name);
        report_put(r, "failure.exit_code", json_object_new_int((int) info->failure));
        report_text(r, "failure.title", info->title);
        report_text(r, "failure.subject", f->subject);
        report_text(r, "failure.reason", f->reason);
        report_text(r, "failure.advice", f->advice[0] ? f->advice : info->advice);
        report_text(r, "failure.request_id", f->request_id);
}

static void journal_failure(const struct error *f) {
        const struct failure_info *info = failure_info(f->failure);

        sd_journal_send("MESSAGE=%s: %s: %s", info->title, f->subject, f->reason, "PRIORITY=%i", LOG_ERR,
                        "MESSAGE_ID=%s", info->message_id, "SEALBOOT_FAILURE=%s", info->name, "SEALBOOT_EXIT_CODE=%i",
                        (int) info->failure, "SEALBOOT_SUBJECT=%s", f->subject, "SEALBOOT_REASON=%s", f->reason,
                        "SEALBOOT_REQUEST_ID=%s", f->request_id, "SEALBOOT_ADVICE=%s",
                        f->advice[0] ? f->advice : info->advice, NULL);
}

static void journal_success(const struct report *r, const char *what, const char *message_id) {
        double ms = clock_ms_since(r->began_ns);

        sd_journal_send("MESSAGE=%s after %.1f ms", what, ms, "PRIORITY=%i", LOG_NOTICE, "MESSAGE_ID=%s", message_id,
                        "SEALBOOT_DURATION_USEC=%.0f", ms * 1000, NULL);
}

/* VmHWM, since ru_maxrss would include the memory of the process before its exec. */
static int peak_memory_kib(int64_t *ret) {
        _cleanup_fclose_ FILE *f = fopen("/proc/self/status", "re");
        long long kib;
        char line[128];

        while (f && fgets(line, sizeof line, f))
                if (sscanf(line, "VmHWM: %lld kB", &kib) == 1) {
                        *ret = kib;
                        return 0;
                }
        return -ENODATA;
}

int report_write(struct report *r, struct error *e) {
        int k;

        pthread_mutex_lock(&r->lock);
        k = write_out(r, e);
        pthread_mutex_unlock(&r->lock);
        return k;
}

void report_wait(struct report *r, const char *state) {
        report_text(r, "outcome", "waiting");
        sd_journal_send("MESSAGE=the instance waits in the warm pool, without a model", "PRIORITY=%i", LOG_NOTICE,
                        "MESSAGE_ID=" REPORT_WAIT_MESSAGE_ID, "SEALBOOT_LIFECYCLE_STATE=%s", state, NULL);
        (void) report_write(r, NULL); /* report_new() has shown that the file can be written */
}

void report_lifecycle(struct report *r, const char *result, const char *group, const char *hook, const char *reason) {
        report_text(r, "lifecycle.result", result);
        if (reason[0])
                report_text(r, "lifecycle.reason", reason);
        sd_journal_send("MESSAGE=told Auto Scaling %s%s%s", result, reason[0] ? ": " : "", reason, "PRIORITY=%i",
                        LOG_NOTICE, "MESSAGE_ID=" REPORT_LIFECYCLE_MESSAGE_ID, "SEALBOOT_LIFECYCLE_RESULT=%s", result,
                        "SEALBOOT_LIFECYCLE_GROUP=%s", group, "SEALBOOT_LIFECYCLE_HOOK=%s", hook, "SEALBOOT_REASON=%s",
                        reason, NULL);
}

/* Metrics are for those who collect them: no boot fails for want of them. */
static void write_metrics(struct report *r) {
        static const char json[] = ".json";
        size_t length = strlen(r->path), stem = length;
        _cleanup_free_ char *path = NULL, *text = NULL;

        if (length > strlen(json) && streq(r->path + length - strlen(json), json))
                stem = length - strlen(json);
        pthread_mutex_lock(&r->lock);
        text = metrics_of_report(r->root);
        pthread_mutex_unlock(&r->lock);
        if (!text || asprintf(&path, "%.*s.prom", (int) stem, r->path) < 0) {
                path = NULL;
                return;
        }
        (void) file_write(path, text, strlen(text), 0644, NULL);
}

/* At "model.files", and at "inputs.NAME.model.files" where there are several. */
static void leave_out_files(json_object *of) {
        json_object *model, *inputs;

        if (json_object_object_get_ex(of, "model", &model))
                json_object_object_del(model, "files");
        if (!json_object_object_get_ex(of, "inputs", &inputs))
                return;
        json_object_object_foreach(inputs, name, input) {
                (void) name;
                if (json_object_object_get_ex(input, "model", &model))
                        json_object_object_del(model, "files");
        }
}

char *report_outline(struct report *r) {
        const char *text = NULL;
        json_object *copy = NULL;
        char *outline;

        pthread_mutex_lock(&r->lock);
        if (json_object_deep_copy(r->root, &copy, NULL) == 0) {
                leave_out_files(copy);
                text = json_object_to_json_string_ext(copy, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE);
        }
        outline = text ? strdup(text) : NULL;
        json_object_put(copy);
        pthread_mutex_unlock(&r->lock);
        return outline;
}

/* From here on, no progress is written over the outcome. */
static void end(struct report *r) {
        pthread_mutex_lock(&r->lock);
        r->ended = true;
        json_object_object_del(r->root, "progress");
        pthread_mutex_unlock(&r->lock);
}

int report_close(struct report *r, const struct error *failure, struct error *e) {
        struct rusage usage;
        int64_t peak;

        end(r);
        report_text(r, "outcome", failure ? "failed" : "published");
        report_put(r, "duration_ms", number(clock_ms_since(r->began_ns)));
        if (peak_memory_kib(&peak) == 0)
                report_put(r, "resources.peak_memory_kib", json_object_new_int64(peak));
        if (getrusage(RUSAGE_SELF, &usage) == 0)
                report_put(r, "resources.cpu_seconds",
                           number((double) (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
                                  (double) (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6));
        if (failure)
                put_failure(r, failure);
        if (failure)
                journal_failure(failure);
        else
                journal_success(r, "the model is published", REPORT_PUBLISHED_MESSAGE_ID);
        write_metrics(r);
        return report_write(r, e);
}

void report_server(struct report *r, const struct error *failure) {
        report_put(r, "server.ready", json_object_new_boolean(!failure));
        if (failure) {
                report_text(r, "server.reason", failure->reason);
                journal_failure(failure);
        } else {
                report_put(r, "server.after_ms", number(clock_ms_since(r->began_ns)));
                journal_success(r, "the inference server is ready", REPORT_SERVER_MESSAGE_ID);
        }
        (void) report_write(r, NULL); /* report_new() has shown that the file can be written */
}
