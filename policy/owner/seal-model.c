/* SPDX-License-Identifier: Apache-2.0 */
#include "owner/seal-model.h"

#include "owner/digest.h"
#include "owner/manifest-write.h"
#include "owner/message-write.h"
#include "owner/parallel.h"
#include "owner/s3-write.h"
#include "owner/sink.h"

/* An upload waits for the network most of the time, and one connection to S3 carries some 85 MB/s. */
enum { CONNECTIONS_PER_CPU = 4, CONNECTIONS_MIN = 8, CONNECTIONS_MAX = 64 };

struct sealing_file {
        struct seal_file file;
        struct sink_object *object; /* NULL: of one part, put at once */
        bool written;               /* may be at its place: is removed if the model fails */
};

struct sealing {
        struct seal_model *s;
        struct sink *sink;
        struct sealing_file *files;
};

static const char *object_name(const struct seal_model *s, size_t file) {
        return s->place->is_model ? s->source->model->files[file].object : NULL;
}

static uint64_t count_parts(void *userdata, size_t file) {
        const struct sealing *job = userdata;

        return seal_parts(job->s->source->model->files[file].size, job->s->key->frame_length);
}

static int begin_file(void *userdata, size_t file, struct error *e) {
        struct sealing *job = userdata;
        struct sealing_file *f = &job->files[file];
        uint64_t size;
        int r;

        r = seal_file_open(job->s->source, file, job->s->key, &f->file, e);
        if (r < 0 || count_parts(job, file) == 1)
                return r;
        size = message_object_size(f->file.header->size, job->s->key->frame_length, f->file.size);
        return sink_begin(job->sink, object_name(job->s, file), size, &f->object, e);
}

/* A file of one part. Once it was sent, it may be at its place, whatever the answer was. */
static int put_at_once(struct sealing *job, size_t file, const struct sealed_part *sealed, struct error *e) {
        struct sealing_file *f = &job->files[file];
        int r;

        r = source_file_unchanged(&f->file.source, e);
        if (r < 0)
                return r;
        f->written = true;
        return sink_put(job->sink, object_name(job->s, file), sealed->data, sealed->size, e);
}

static int write_part(void *userdata, size_t file, uint64_t part, void *thread, struct error *e) {
        struct sealing *job = userdata;
        struct sealing_file *f = &job->files[file];
        struct sealed_part sealed;
        int r;

        r = seal_part(thread, &f->file, part, &sealed, e);
        if (r < 0)
                return r;
        r = f->object ? sink_part(f->object, (unsigned) part + 1, sealed.offset, sealed.data, sealed.size, e)
                      : put_at_once(job, file, &sealed, e);
        if (r < 0)
                return r;
        progress_add(job->s->progress, sealed.plaintext);
        return 0;
}

/* A file that fails is closed by seal_model(), and removed by clean_up(). */
static int end_file(void *userdata, size_t file, void *thread, struct error *e) {
        struct sealing *job = userdata;
        struct sealing_file *f = &job->files[file];
        int r;

        r = seal_file_digest(&f->file, sealer_hash(thread), job->s->source->model->files[file].digest, e);
        if (r < 0)
                return r;
        if (f->object) {
                f->written = true;
                r = sink_complete(f->object, e);
                if (r < 0)
                        return r;
                sink_object_free(TAKE(f->object));
        }
        seal_file_close(&f->file);
        return 0;
}

static int thread_new(void *userdata, void **ret, struct error *e) {
        struct sealer *s;
        int r;

        (void) userdata;
        r = sealer_new(&s, e);
        if (r < 0)
                return r;
        *ret = s;
        return 0;
}

static void thread_free(void *thread) {
        sealer_free(thread);
}

static int name_objects(struct model *m, struct error *e) {
        for (size_t i = 0; i < m->n_files; i++)
                if (asprintf(&m->files[i].object, MODEL_OBJECT_FORMAT, i) < 0) {
                        m->files[i].object = NULL;
                        return fail_oom(e);
                }
        return 0;
}

static int write_manifest(struct sealing *job, struct error *e) {
        struct model *m = job->s->source->model;
        _cleanup_free_ uint8_t *sealed = NULL;
        _cleanup_free_ char *text = NULL;
        size_t n = 0;
        int r;

        m->name = strdup(job->s->name);
        m->version = strdup(job->s->version);
        if (!m->name || !m->version)
                return fail_oom(e);
        r = manifest_write(m, &text, e);
        if (r < 0)
                return r;
        r = seal_bytes(job->s->key, text, strlen(text), &sealed, &n, e);
        return r < 0 ? r : sink_put(job->sink, MODEL_MANIFEST_OBJECT, sealed, n, e);
}

/* Removes as much as possible: the error to report is the one before. */
static void clean_up(struct sealing *job) {
        struct seal_model *s = job->s;
        struct error unused = {};

        if (s->place->is_model)
                (void) sink_remove(job->sink, MODEL_MANIFEST_OBJECT, &unused);
        for (size_t i = 0; i < s->source->model->n_files; i++) {
                sink_object_free(TAKE(job->files[i].object));
                if (job->files[i].written)
                        (void) sink_remove(job->sink, object_name(s, i), &unused);
        }
}

static unsigned choose_connections(const struct seal_model *s) {
        unsigned cpus = parallel_cpus();

        if (s->connections > 0)
                return s->connections;
        if (!s->place->bucket)
                return cpus;
        return MIN_OF(MAX_OF(cpus * CONNECTIONS_PER_CPU, (unsigned) CONNECTIONS_MIN), (unsigned) CONNECTIONS_MAX);
}

static int run(struct sealing *job, struct error *e) {
        struct seal_model *s = job->s;
        /* clang-format off */
        const struct parallel_work work = {
                .n_files = s->source->model->n_files, .n_threads = choose_connections(s), .job = job,
                .parts = count_parts, .begin = begin_file, .part = write_part, .end = end_file,
                .thread_new = thread_new, .thread_free = thread_free,
        };
        /* clang-format on */
        int r;

        r = parallel_run(&work, s->progress, e);
        if (r < 0)
                return r;
        r = model_digest(s->source->model, e);
        if (r < 0)
                return r;
        return s->place->is_model ? write_manifest(job, e) : 0;
}

/* Removes a model's manifest first, and then every object that it can have named. */
static int remove_old(const struct seal_model *s, struct sink *sink, struct error *e) {
        int r;

        if (!s->place->is_model)
                return sink_remove(sink, NULL, e);
        r = sink_remove(sink, MODEL_MANIFEST_OBJECT, e);
        if (r < 0)
                return r;
        for (size_t i = 0; i < MODEL_FILES_MAX; i++) {
                char name[32];
                bool there;

                snprintf(name, sizeof name, MODEL_OBJECT_FORMAT, i);
                r = place_exists(s->place, s->owner, name, &there, e);
                if (r < 0 || !there)
                        return r;
                r = sink_remove(sink, name, e);
                if (r < 0)
                        return r;
        }
        return 0;
}

int seal_model_check(const struct place *place, struct owner *owner, struct error *e) {
        const char *name = place->is_model ? MODEL_MANIFEST_OBJECT : NULL;
        _cleanup_free_ char *subject = NULL;
        bool there = false;
        int r;

        r = place_subject(place, name, &subject, e);
        if (r < 0)
                return r;
        r = place_exists(place, owner, name, &there, e);
        if (r < 0 || !there)
                return r;
        fail(e, FAILURE_PUBLISH, -EEXIST, subject, "there is a sealed %s at this place already",
             place->is_model ? "model" : "object");
        fail_advice(e, "Seal each version under a prefix of its own; instances may be loading this one. --force "
                       "replaces it.");
        return -EEXIST;
}

int seal_model(struct seal_model *s, bool replace, struct error *e) {
        _cleanup_free_ struct sealing_file *files = calloc(s->source->model->n_files, sizeof *files);
        _cleanup_(sink_freep) struct sink *sink = NULL;
        struct sealing job = { .s = s, .files = files };
        int r;

        if (!files)
                return fail_oom(e);
        for (size_t i = 0; i < s->source->model->n_files; i++)
                files[i].file.source.fd = -1;
        r = name_objects(s->source->model, e);
        if (r < 0)
                return r;
        r = sink_new(s->place, s->owner, &sink, e);
        if (r < 0)
                return r;
        r = replace ? remove_old(s, sink, e) : 0;
        if (r < 0)
                return r;
        job.sink = sink;
        r = run(&job, e);
        if (r < 0)
                clean_up(&job);
        for (size_t i = 0; i < s->source->model->n_files; i++)
                seal_file_close(&files[i].file);
        return r;
}
