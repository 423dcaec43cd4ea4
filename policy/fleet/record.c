/* SPDX-License-Identifier: Apache-2.0 */
#include "fleet/record.h"

#define WAITING_STAGE "warm-pool"

enum { TEXT_MAX = 4096, STAGE_NAME_MAX = 64 };

#define DAY_MS 86400e3
#define YEAR_9999_MS 253402300799e3

enum kind { TEXT, NUMBER };

struct known {
        const char *place; /* "failure.name" */
        enum kind kind;
        bool required;
        double min, max; /* of a number; the length of a text is at most TEXT_MAX */
        size_t offset;   /* into struct record or struct record_stage */
};

#define AT(member) offsetof(struct record, member)
#define IN_STAGE(member) offsetof(struct record_stage, member)

/* clang-format off */
static const struct known known[] = {
        { "sealboot",                  TEXT,   false, 0, 0,            AT(version) },
        { "identity.instance_id",      TEXT,   false, 0, 0,            AT(instance) },
        { "identity.instance_type",    TEXT,   false, 0, 0,            AT(type) },
        { "identity.image_id",         TEXT,   false, 0, 0,            AT(image) },
        { "identity.account",          TEXT,   false, 0, 0,            AT(account) },
        { "identity.region",           TEXT,   false, 0, 0,            AT(region) },
        { "model.name",                TEXT,   false, 0, 0,            AT(model) },
        { "model.version",             TEXT,   false, 0, 0,            AT(model_version) },
        { "model.digest",              TEXT,   false, 0, 0,            AT(model_digest) },
        { "model.source",              TEXT,   false, 0, 0,            AT(source) },
        { "model.bytes",               NUMBER, false, 0, 1e18,         AT(model_bytes) },
        { "key_arn",                   TEXT,   false, 0, 0,            AT(key_arn) },
        { "clock.realtime_ms",         NUMBER, true,  0, YEAR_9999_MS, AT(began_ms) },
        { "clock.since_boot_ms",       NUMBER, false, 0, 1e15,         AT(since_boot_ms) },
        { "duration_ms",               NUMBER, false, 0, 30 * DAY_MS,  AT(duration_ms) },
        { "server.after_ms",           NUMBER, false, 0, 30 * DAY_MS,  AT(server_ms) },
        { "transfer.retries",          NUMBER, false, 0, 1e15,         AT(retries) },
        { "resources.cpu_seconds",     NUMBER, false, 0, 1e12,         AT(cpu_seconds) },
        { "resources.peak_memory_kib", NUMBER, false, 0, 1e15,         AT(peak_memory_kib) },
        { "failure.exit_code",         NUMBER, false, 1, 255,          AT(failure.exit_code) },
        { "failure.name",              TEXT,   false, 0, 0,            AT(failure.name) },
        { "failure.title",             TEXT,   false, 0, 0,            AT(failure.title) },
        { "failure.subject",           TEXT,   false, 0, 0,            AT(failure.subject) },
        { "failure.reason",            TEXT,   false, 0, 0,            AT(failure.reason) },
        { "failure.advice",            TEXT,   false, 0, 0,            AT(failure.advice) },
        { "progress.doing",            TEXT,   false, 0, 0,            AT(progress.doing) },
        { "progress.at_ms",            NUMBER, false, 0, 30 * DAY_MS,  AT(progress.at_ms) },
        { "progress.bytes",            NUMBER, false, 0, 1e18,         AT(progress.bytes) },
        { "progress.total",            NUMBER, false, 0, 1e18,         AT(progress.total) },
};
static const struct known known_of_stage[] = {
        { "name",        TEXT,   true,  0, 0,           IN_STAGE(name) },
        { "began_ms",    NUMBER, true,  0, 30 * DAY_MS, IN_STAGE(began_ms) },
        { "duration_ms", NUMBER, false, 0, 30 * DAY_MS, IN_STAGE(duration_ms) },
        { "bytes",       NUMBER, false, 0, 1e18,        IN_STAGE(bytes) },
};
/* clang-format on */

/* 0; -ENOENT: there is none; -EINVAL: something on the way is no object. */
static int find(json_object *at, const char *place, json_object **ret) {
        char part[32];

        for (;;) {
                size_t n = strcspn(place, ".");

                snprintf(part, sizeof part, "%.*s", (int) n, place);
                if (!json_object_is_type(at, json_type_object))
                        return -EINVAL;
                if (!json_object_object_get_ex(at, part, &at))
                        return -ENOENT;
                if (!place[n])
                        break;
                place += n + 1;
        }
        *ret = at;
        return 0;
}

static const char *take_text(json_object *v, void *field) {
        const char *text = json_text(v);

        if (!text || !json_object_is_type(v, json_type_string))
                return "it is no text";
        if (strlen(text) != (size_t) json_object_get_string_len(v))
                return "it has a NUL character";
        if (strlen(text) > TEXT_MAX)
                return "it is longer than 4096 bytes";
        *(const char **) field = text;
        return NULL;
}

static const char *take_number(json_object *v, const struct known *k, void *field) {
        double number = json_object_get_double(v);

        if (!json_object_is_type(v, json_type_int) && !json_object_is_type(v, json_type_double))
                return "it is no number";
        if (!(number >= k->min && number <= k->max)) /* false for a NaN */
                return "it is out of range";
        *(double *) field = number;
        return NULL;
}

/* `where`: "" or "stages[3]." */
static int take(json_object *o, const struct known *table, size_t n, void *to, const char *where, const char *origin,
                struct error *e) {
        for (const struct known *k = table; k < table + n; k++) {
                void *field = (uint8_t *) to + k->offset;
                json_object *v = NULL;
                const char *wrong;
                int r;

                if (k->kind == TEXT)
                        *(const char **) field = "";
                r = find(o, k->place, &v);
                if (r == -ENOENT && !k->required)
                        continue;
                if (r < 0)
                        wrong = r == -ENOENT ? "it is missing" : "it is not in an object";
                else
                        wrong = k->kind == TEXT ? take_text(v, field) : take_number(v, k, field);
                if (wrong)
                        return fail(e, FAILURE_USAGE, -EINVAL, origin, "\"%s%s\": %s", where, k->place, wrong);
        }
        return 0;
}

static int take_stages(struct record *r, struct error *e) {
        json_object *stages = NULL;

        if (find(r->json, "stages", &stages) < 0)
                return 0;
        if (!json_object_is_type(stages, json_type_array) || json_object_array_length(stages) > RECORD_STAGES_MAX)
                return fail(e, FAILURE_USAGE, -EINVAL, r->origin, "\"stages\" is not a list of at most %d",
                            RECORD_STAGES_MAX);
        r->stages = calloc(json_object_array_length(stages) + 1, sizeof *r->stages);
        if (!r->stages)
                return fail_oom(e);
        r->n_stages = 0;
        for (size_t i = 0; i < json_object_array_length(stages); i++) {
                struct record_stage *stage = &r->stages[i];
                char where[32];
                int k;

                snprintf(where, sizeof where, "stages[%zu].", i);
                stage->duration_ms = -1;
                k = take(json_object_array_get_idx(stages, i), known_of_stage, ELEMENTS(known_of_stage), stage, where,
                         r->origin, e);
                if (k < 0)
                        return k;
                if (!stage->name[0] || strlen(stage->name) > STAGE_NAME_MAX)
                        return fail(e, FAILURE_USAGE, -EINVAL, r->origin, "\"%sname\" is not of 1 to %d bytes", where,
                                    STAGE_NAME_MAX);
                stage->ended = stage->duration_ms >= 0;
                stage->duration_ms = MAX_OF(stage->duration_ms, 0.0);
                r->n_stages++;
        }
        return 0;
}

static const char *const outcome_words[] = {
        [RECORD_RUNNING] = "running",
        [RECORD_WAITING] = "waiting",
        [RECORD_PUBLISHED] = "published",
        [RECORD_FAILED] = "failed",
};

const char *record_outcome_word(enum record_outcome outcome) {
        return outcome_words[outcome];
}

static int take_outcome(struct record *r, struct error *e) {
        json_object *v = NULL;
        const char *word = "";

        if (find(r->json, "outcome", &v) == 0 && json_object_is_type(v, json_type_string))
                word = json_text(v) ?: "";
        for (size_t i = 0; i < ELEMENTS(outcome_words); i++)
                if (streq(word, outcome_words[i])) {
                        r->outcome = (enum record_outcome) i;
                        return 0;
                }
        return fail(e, FAILURE_USAGE, -EINVAL, r->origin,
                    "its \"outcome\" is not running, waiting, published or failed: it is not the report of a "
                    "sealboot-agent");
}

/* Instances wait in a warm pool for hours. That says nothing of how fast they boot. */
static void leave_out_waiting(struct record *r) {
        double waited = 0;

        for (size_t i = 0; i < r->n_stages; i++)
                if (streq(r->stages[i].name, WAITING_STAGE))
                        waited += r->stages[i].duration_ms;
        r->work_ms = MAX_OF(r->duration_ms - waited, 0.0);
        r->server_ms = r->server_ms > 0 ? MAX_OF(r->server_ms - waited, 0.0) : 0;
}

int record_parse(const char *text, size_t n, const char *origin, struct record *ret, struct error *e) {
        _cleanup_record_ struct record r = { .origin = strdup(origin) };
        int k;

        if (!r.origin)
                return fail_oom(e);
        k = json_parse(text, n, FAILURE_USAGE, origin, &r.json, e);
        if (k < 0)
                return k;
        k = take_outcome(&r, e);
        if (k < 0)
                return k;
        k = take(r.json, known, ELEMENTS(known), &r, "", origin, e);
        if (k < 0)
                return k;
        k = take_stages(&r, e);
        if (k < 0)
                return k;
        leave_out_waiting(&r);
        if (r.outcome == RECORD_FAILED && (!r.failure.name[0] || r.failure.exit_code <= 0))
                return fail(e, FAILURE_USAGE, -EINVAL, origin, "it failed, and names no failure");
        *ret = TAKE_STRUCT(r);
        return 0;
}

/* Copies the texts of a record or a stage, and returns how long they are; `to` NULL: does not copy. */
static size_t copy_texts(void *of, const struct known *table, size_t n, char *to) {
        size_t used = 0, size;

        for (const struct known *k = table; k < table + n; k++) {
                const char **text = (const char **) (void *) ((uint8_t *) of + k->offset);

                if (k->kind != TEXT)
                        continue;
                size = strlen(*text) + 1;
                if (to)
                        *text = memcpy(to + used, *text, size);
                used += size;
        }
        return used;
}

static size_t copy_all(struct record *r, char *to) {
        size_t used = copy_texts(r, known, ELEMENTS(known), to);

        for (size_t i = 0; i < r->n_stages; i++)
                used += copy_texts(&r->stages[i], known_of_stage, ELEMENTS(known_of_stage), to ? to + used : NULL);
        return used;
}

int record_keep_known(struct record *r, struct error *e) {
        r->texts = malloc(copy_all(r, NULL));
        if (!r->texts)
                return fail_oom(e);
        copy_all(r, r->texts);
        json_object_put(TAKE(r->json));
        return 0;
}

void record_done(struct record *r) {
        json_object_put(r->json);
        free(r->texts);
        free(r->origin);
        free(r->stages);
        *r = (struct record) {};
}

size_t record_longest_stage(const struct record *r) {
        size_t longest = r->n_stages;

        for (size_t i = 0; i < r->n_stages; i++) {
                /* "key-release" holds the attempts, each an attestation and a request. */
                if (streq(r->stages[i].name, "key-release") || streq(r->stages[i].name, WAITING_STAGE))
                        continue;
                if (longest == r->n_stages || r->stages[i].duration_ms > r->stages[longest].duration_ms)
                        longest = i;
        }
        return longest;
}

void duration_text(double ms, char ret[static DURATION_TEXT_SIZE]) {
        int64_t seconds = (int64_t) (ms / 1000 + .5), minutes = (int64_t) (ms / 60e3 + .5);

        if (ms < 10)
                snprintf(ret, DURATION_TEXT_SIZE, "%.1f ms", ms);
        else if (ms < 999.5)
                snprintf(ret, DURATION_TEXT_SIZE, "%.0f ms", ms);
        else if (ms < 9995)
                snprintf(ret, DURATION_TEXT_SIZE, "%.2f s", ms / 1000);
        else if (ms < 99950)
                snprintf(ret, DURATION_TEXT_SIZE, "%.1f s", ms / 1000);
        else if (seconds < 3600)
                snprintf(ret, DURATION_TEXT_SIZE, "%d min %02d s", (int) (seconds / 60), (int) (seconds % 60));
        else
                snprintf(ret, DURATION_TEXT_SIZE, "%d h %02d min", (int) (minutes / 60), (int) (minutes % 60));
}
