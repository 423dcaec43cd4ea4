/* SPDX-License-Identifier: Apache-2.0 */
#include "fleet/gather.h"

#include <sys/stat.h>

#include "basic/file.h"
#include "owner/parallel.h"
#include "owner/place.h"
#include "owner/s3-write.h"

enum {
        OBJECTS_MAX = 1000 * 1000,
        BATCH = 256, /* of reports whose texts are in memory at the same time */
};

/* ---- the collection */

static int add_bad(struct fleet *fleet, const char *origin, const char *reason, struct error *e) {
        struct bad_report *larger = reallocarray(fleet->bad, fleet->n_bad + 1, sizeof *larger);

        if (!larger)
                return fail_oom(e);
        fleet->bad = larger;
        larger[fleet->n_bad] = (struct bad_report) { strdup(origin), strdup(reason) };
        if (!larger[fleet->n_bad].origin || !larger[fleet->n_bad].reason) {
                free(larger[fleet->n_bad].origin);
                free(larger[fleet->n_bad].reason);
                return fail_oom(e);
        }
        fleet->n_bad++;
        return 0;
}

int fleet_add(struct fleet *fleet, const char *text, size_t n, const char *origin, struct error *e) {
        struct record *larger = reallocarray(fleet->records, fleet->n + 1, sizeof *larger);
        struct error why = {};
        int r;

        if (!larger)
                return fail_oom(e);
        fleet->records = larger;
        r = record_parse(text, n, origin, &larger[fleet->n], &why);
        if (r == -ENOMEM)
                return fail_oom(e);
        if (r < 0)
                return add_bad(fleet, origin, why.reason, e);
        return record_keep_known(&larger[fleet->n++], e);
}

void fleet_done(struct fleet *fleet) {
        for (size_t i = 0; i < fleet->n; i++)
                record_done(&fleet->records[i]);
        for (size_t i = 0; i < fleet->n_bad; i++) {
                free(fleet->bad[i].origin);
                free(fleet->bad[i].reason);
        }
        free(fleet->records);
        free(fleet->bad);
        *fleet = (struct fleet) {};
}

/* ---- names */

struct names {
        char **items;
        size_t n, room;
};

static void names_done(struct names *names) {
        for (size_t i = 0; i < names->n; i++)
                free(names->items[i]);
        free(names->items);
}

static bool is_report(const char *name) {
        size_t n = strlen(name);

        return n > 5 && streq(name + n - 5, ".json");
}

static int names_add(struct names *names, const char *name, struct error *e) {
        if (names->n == names->room) {
                size_t room = MAX_OF(2 * names->room, (size_t) 64);
                char **larger = reallocarray(names->items, room, sizeof *larger);

                if (!larger)
                        return fail_oom(e);
                names->items = larger;
                names->room = room;
        }
        names->items[names->n] = strdup(name);
        return names->items[names->n++] ? 0 : fail_oom(e);
}

static int compare_names(const void *a, const void *b) {
        return strcmp(*(char *const *) a, *(char *const *) b);
}

/* The names that are read: the last `limit` of them. */
static char **choose(struct names *names, size_t limit, struct fleet *fleet, size_t *ret_n) {
        if (names->n > 0)
                qsort(names->items, names->n, sizeof *names->items, compare_names);
        *ret_n = MIN_OF(names->n, limit);
        fleet->left_out = names->n - *ret_n;
        return names->items + fleet->left_out;
}

/* ---- a directory */

static int read_file(struct fleet *fleet, const char *directory, const char *name, struct error *e) {
        _cleanup_free_ uint8_t *text = NULL;
        _cleanup_free_ char *path = NULL;
        struct error why = {};
        struct stat st;
        size_t n;
        int r;

        if (asprintf(&path, "%s%s%s", directory, directory[strlen(directory) - 1] == '/' ? "" : "/", name) < 0) {
                path = NULL;
                return fail_oom(e);
        }
        /* A FIFO would be waited for. */
        if (lstat(path, &st) < 0 || !S_ISREG(st.st_mode))
                return add_bad(fleet, name, "it is no regular file", e);
        r = file_read(path, RECORD_MAX, FAILURE_IO, &text, &n, &why);
        if (r < 0)
                return r == -ENOMEM ? fail_oom(e) : add_bad(fleet, name, why.reason, e);
        return fleet_add(fleet, (char *) text, n, name, e);
}

static int gather_directory(const char *path, size_t limit, struct fleet *fleet, struct error *e) {
        _cleanup_closedir_ DIR *directory = opendir(path);
        _cleanup_(names_done) struct names names = {};
        const struct dirent *entry;
        char **chosen;
        size_t n;
        int r = 0;

        if (!directory)
                return fail(e, FAILURE_IO, -errno, path, "it is not a directory that can be read: %m");
        while (r == 0 && (entry = readdir(directory)))
                if (is_report(entry->d_name))
                        r = names_add(&names, entry->d_name, e);
        if (r < 0)
                return r;
        chosen = choose(&names, limit, fleet, &n);
        for (size_t i = 0; r == 0 && i < n; i++)
                r = read_file(fleet, path, chosen[i], e);
        return r;
}

/* ---- a bucket */

struct fetched {
        uint8_t *text;
        size_t n;
        char *why; /* NULL: it was fetched */
};

struct fetching {
        struct s3 *s3;
        const char *bucket;
        char **keys; /* of this batch, as the next two */
        size_t n;
        struct fetched fetched[BATCH];
};

static uint64_t one_part(void *job, size_t file) {
        (void) job;
        (void) file;
        return 1;
}

/* An object that is too large, or gone since the listing, is a bad report. Another failure is not of this object. */
static int fetch(void *job, size_t file, uint64_t part, void *thread, struct error *e) {
        struct fetching *f = job;
        struct fetched *to = &f->fetched[file];
        struct error why = {};
        int r;

        (void) part;
        (void) thread;
        r = s3_get(f->s3, f->bucket, f->keys[file], RECORD_MAX, &to->text, &to->n, NULL, &why);
        if (r == 0)
                return 0;
        if (why.failure != FAILURE_S3_NOT_FOUND && why.failure != FAILURE_S3_ANSWER) {
                *e = why;
                return r;
        }
        to->why = strdup(why.reason);
        return to->why ? 0 : fail_oom(e);
}

static void fetching_done(struct fetching *f) {
        for (size_t i = 0; i < f->n; i++) {
                free(f->fetched[i].text);
                free(f->fetched[i].why);
                f->fetched[i] = (struct fetched) {};
        }
}

static int fetch_batch(struct fetching *f, unsigned connections, struct progress *progress, struct fleet *fleet,
                       struct error *e) {
        int r;

        r = parallel_run(&(struct parallel_work) { .n_files = f->n,
                                                   .n_threads = connections,
                                                   .job = f,
                                                   .parts = one_part,
                                                   .part = fetch },
                         progress, e);
        for (size_t i = 0; r == 0 && i < f->n; i++) {
                const struct fetched *t = &f->fetched[i];

                r = t->why ? add_bad(fleet, f->keys[i], t->why, e)
                           : fleet_add(fleet, (char *) t->text, t->n, f->keys[i], e);
        }
        return r;
}

static int fetch_all(struct s3 *s3, const char *bucket, char **keys, size_t n, unsigned connections,
                     struct fleet *fleet, struct error *e) {
        struct progress progress = {};
        int r = 0;

        progress_begin(&progress, "reading", 0, PROGRESS_QUIET);
        for (size_t at = 0; r == 0 && at < n; at += BATCH) {
                _cleanup_(fetching_done) struct fetching f = { .s3 = s3, .bucket = bucket, .keys = keys + at };

                f.n = MIN_OF(n - at, (size_t) BATCH);
                r = fetch_batch(&f, connections, &progress, fleet, e);
        }
        progress_end(&progress);
        return r;
}

static int list_names(struct s3 *s3, const struct place *p, struct names *names, struct error *e) {
        _cleanup_(s3_list_done) struct s3_list list = {};
        int r;

        r = s3_list(s3, p->bucket, p->path, OBJECTS_MAX, &list, e);
        for (size_t i = 0; r == 0 && i < list.n; i++)
                if (is_report(list.entries[i].key))
                        r = names_add(names, list.entries[i].key, e);
        return r;
}

static int gather_bucket(const struct place *p, size_t limit, unsigned connections, struct fleet *fleet,
                         struct error *e) {
        _cleanup_(names_done) struct names names = {};
        _cleanup_owner_ struct owner *owner = NULL;
        struct s3 *s3;
        char **keys;
        size_t n;
        int r;

        r = owner_new(&owner, e);
        if (r < 0)
                return r;
        r = owner_s3(owner, &s3, e);
        if (r < 0)
                return r;
        r = list_names(s3, p, &names, e);
        if (r < 0)
                return r;
        keys = choose(&names, limit, fleet, &n);
        return fetch_all(s3, p->bucket, keys, n, connections, fleet, e);
}

int fleet_gather(const char *place, size_t limit, unsigned connections, struct fleet *ret, struct error *e) {
        _cleanup_fleet_ struct fleet fleet = {};
        _cleanup_place_ struct place p = {};
        int r;

        r = place_parse(place, &p, e);
        if (r < 0)
                return r;
        r = p.bucket ? gather_bucket(&p, limit, connections, &fleet, e) : gather_directory(p.path, limit, &fleet, e);
        if (r < 0)
                return place_advise(&p, r, e);
        *ret = TAKE_STRUCT(fleet);
        return 0;
}
