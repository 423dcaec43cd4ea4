/* SPDX-License-Identifier: Apache-2.0 */

/* From the data keys to models whose every byte is authenticated and digested. They are still private. */

#include <fcntl.h>
#include <openssl/evp.h>

#include "basic/clock.h"
#include "basic/encode.h"
#include "boot/boot.h"
#include "sealed/input-set.h"

/* ---- a model with a manifest */

/* The file whose object boot_prefetch() began to fetch; NULL: no file of this manifest. */
static const struct model_file *find_begun(const struct model *m) {
        char object[32];

        snprintf(object, sizeof object, MODEL_OBJECT_FORMAT, (size_t) 0);
        for (size_t i = 0; i < m->n_files; i++)
                if (streq(m->files[i].object, object))
                        return &m->files[i];
        return NULL;
}

static int add_file(struct boot *b, struct boot_input *in, const struct model_file *f, size_t *ret_index,
                    struct error *e) {
        _cleanup_free_ char *key = NULL;

        if (asprintf(&key, "%s%s", in->place->key, f->object) < 0)
                return fail_oom(e);
        return unseal_add(b->sealed.pipeline, &in->unsealed, key, f, false, ret_index, e);
}

static int add_files(struct boot *b, struct boot_input *in, struct error *e) {
        const struct model *m = in->opening.model;
        const struct model_file *begun = in->begun ? find_begun(m) : NULL;
        int r;

        in->file_of = calloc(m->n_files, sizeof *in->file_of);
        if (!in->file_of)
                return fail_oom(e);
        for (size_t i = 0; i < m->n_files; i++) {
                if (&m->files[i] == begun) {
                        in->file_of[i] = in->first_file;
                        continue;
                }
                r = add_file(b, in, &m->files[i], &in->file_of[i], e);
                if (r < 0)
                        return r;
        }
        return 0;
}

/* Before other files are added, since an object that is not of this model must give its room back to those that are. */
static int settle_begun(struct boot *b, const struct boot_input *in, struct error *e) {
        if (!in->begun)
                return 0;
        return unseal_expect(b->sealed.pipeline, in->first_file, find_begun(in->opening.model), e);
}

/* All manifests are read before a file of one of them is added: a model that has no room is refused before that. */
static int read_manifest(struct boot *b, struct boot_input *in, struct error *e) {
        int r;

        if (!in->opening.manifest)
                return 0;
        r = opening_read_manifest(&in->opening, &in->accepted, e);
        if (r < 0)
                return r;
        r = room_check(&b->sealed.room, in->opening.model, in->subject, e);
        if (r < 0)
                return r;
        room_take(&b->sealed.room, in->opening.model);
        return settle_begun(b, in, e);
}

static int add_input(struct boot *b, struct boot_input *in, struct error *e) {
        int r = 0;

        in->unsealed.data_key = in->opening.data_key;
        in->unsealed.reference = in->opening.header;
        if (in->opening.manifest)
                return add_files(b, in, e);
        if (!in->begun)
                r = unseal_add(b->sealed.pipeline, &in->unsealed, in->place->key, NULL, false, &in->first_file, e);
        return r;
}

/* ---- a model that is a single object */

/* Opens the unsealed bytes of a model's only file. */
static int open_unsealed(struct boot *b, const struct boot_input *in, struct error *e) {
        uint8_t unused[VERITY_DIGEST];
        const char *name;
        uint64_t size;
        int fd;

        unseal_result(b->sealed.pipeline, in->file_of[0], &name, &size, unused);
        fd = openat(handoff_private_fd(b->handoff), name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
        return fd < 0 ? fail(e, FAILURE_IO, -errno, in->subject, "the unsealed file cannot be opened: %m") : fd;
}

/* Old versions of `sealboot seal` did not mark the objects of a model with a manifest. The manifest of such a model
 * looks like a single object until it is open; refuse it. Its other objects cannot be told from single objects: they
 * get the name MODEL_FILE_UNNAMED, which the operator does not choose. */
static int refuse_manifest(struct boot *b, const struct boot_input *in, struct error *e) {
        const struct opening *o = &in->opening;
        _cleanup_free_ char *text = NULL;
        _cleanup_close_ int fd = -1;
        size_t n = o->model->files[0].size;

        if (model_is_single(o->header) || o->model->files[0].size > MODEL_MANIFEST_MAX)
                return 0;
        fd = open_unsealed(b, in, e);
        if (fd < 0)
                return fd;
        text = malloc(n + 1);
        if (!text)
                return fail_oom(e);
        if (pread(fd, text, n, 0) != (ssize_t) n)
                return fail(e, FAILURE_IO, -EIO, in->subject, "the unsealed file cannot be read: %m");
        text[n] = '\0';
        return model_refuse_manifest(text, n, in->subject, e);
}

static int describe_single(struct boot *b, struct boot_input *in, struct error *e) {
        uint8_t digest[VERITY_DIGEST];
        const char *unused;
        uint64_t size;
        int r;

        unseal_result(b->sealed.pipeline, in->first_file, &unused, &size, digest);
        r = opening_describe_single(&in->opening, size, digest, e);
        if (r < 0)
                return r;
        in->file_of = calloc(1, sizeof *in->file_of);
        if (!in->file_of)
                return fail_oom(e);
        in->file_of[0] = in->first_file;
        return refuse_manifest(b, in, e);
}

/* ---- the digest to measure */

DEFINE_CLEANUP(EVP_MD_CTX *, EVP_MD_CTX_free, md_ctx_freep)

/* AWS's sample application measures the plain SHA-384 of its only file. This pass is serial: more CPUs do not make it
 * faster. */
static int digest_plain(struct boot *b, struct boot_input *in, struct error *e) {
        enum { STEP = 1024 * 1024, STEPS_SHOWN = 1024 };
        _cleanup_(md_ctx_freep) EVP_MD_CTX *ctx = EVP_MD_CTX_new();
        _cleanup_free_ uint8_t *buffer = malloc(STEP);
        struct model *m = in->opening.model;
        _cleanup_close_ int fd = -1;
        ssize_t n;

        if (m->n_files != 1)
                return fail(e, FAILURE_CONFIG, -EINVAL, in->subject,
                            "it has %zu files, and \"measure\": \"sha384\" is for models of one file", m->n_files);
        fd = open_unsealed(b, in, e);
        if (fd < 0)
                return fd;
        if (!ctx || !buffer || EVP_DigestInit_ex(ctx, EVP_sha384(), NULL) != 1)
                return fail_oom(e);
        for (size_t i = 0; (n = read(fd, buffer, STEP)) > 0; i++) {
                if (atomic_load(&b->cancelled))
                        return fail(e, FAILURE_INTERNAL, -ECANCELED, in->subject, "hashing was given up");
                if (i % STEPS_SHOWN == 0)
                        boot_status("Hashing: %.1f of %.1f GB", (double) i * STEP / 1e9, (double) model_size(m) / 1e9);
                if (EVP_DigestUpdate(ctx, buffer, (size_t) n) != 1)
                        return fail(e, FAILURE_INTERNAL, -EIO, "", "SHA-384 failed");
        }
        if (n < 0 || EVP_DigestFinal_ex(ctx, m->digest, NULL) != 1)
                return fail(e, FAILURE_IO, -EIO, in->subject, "the unsealed file cannot be read: %m");
        return 0;
}

static int digest(struct boot *b, struct boot_input *in, struct error *e) {
        struct model *m = in->opening.model;
        int r;

        if (b->config->measure == MEASURE_MODEL)
                return m->text ? 0 : model_digest(m, e); /* of a manifest, the digest is known and was checked */
        report_begin(b->report, "sha384");
        r = digest_plain(b, in, e);
        report_end(b->report, "sha384", model_size(m));
        return r;
}

static json_object *describe_file(const struct model_file *f) {
        json_object *o = json_object_new_object();
        char text[8 + 2 * VERITY_DIGEST] = "sha256:";

        hex_encode(f->digest, VERITY_DIGEST, text + strlen(text));
        json_object_object_add(o, "path", json_object_new_string(f->path));
        json_object_object_add(o, "size", json_object_new_int64((int64_t) f->size));
        json_object_object_add(o, "digest", json_object_new_string(text));
        return o;
}

static json_object *digest_text(const uint8_t digest[static MODEL_DIGEST]) {
        char text[8 + 2 * MODEL_DIGEST] = "sha384:";

        hex_encode(digest, MODEL_DIGEST, text + strlen(text));
        return json_object_new_string(text);
}

static void report_model(struct boot *b, const struct boot_input *in) {
        const struct model *m = in->opening.model;
        json_object *files = json_object_new_array();

        if (m->name) {
                boot_report_text(b, in, "model.name", m->name);
                boot_report_text(b, in, "model.version", m->version);
        }
        boot_report_put(b, in, "model.bytes", json_object_new_int64((int64_t) model_size(m)));
        boot_report_put(b, in, "model.digest", digest_text(m->digest));
        boot_report_put(b, in, "model.files", files);
        for (size_t i = 0; i < m->n_files; i++)
                json_object_array_add(files, describe_file(&m->files[i]));
}

/* ---- the transfer */

struct transfer {
        struct report *report;
        int64_t began_ns;
        uint64_t shown; /* bytes, in the last message */
};

static void show_progress(void *userdata, const struct unseal_progress *p) {
        struct transfer *t = userdata;
        unsigned percent = p->total > 0 ? (unsigned) (100.0 * (double) p->bytes / (double) p->total) : 0;
        double seconds = clock_seconds_since(t->began_ns);

        /* Extend systemd's timeout only if bytes arrived. */
        if (p->bytes <= t->shown)
                return;
        t->shown = p->bytes;
        report_progress(t->report, "unsealing", p->bytes, p->total);
        boot_status("Unsealing: %.1f of %.1f GB (%u%%) at %.2f GB/s", (double) p->bytes / 1e9, (double) p->total / 1e9,
                    percent, seconds > 0 ? (double) p->bytes / 1e9 / seconds : 0);
}

static int unseal(struct boot *b, struct error *e) {
        struct transfer t = { .report = b->report, .began_ns = clock_ns() };
        int r;

        r = boot_each_input(b, read_manifest, e);
        if (r < 0)
                return r;
        r = boot_each_input(b, add_input, e);
        if (r < 0)
                return r;
        unseal_use_keys(b->sealed.pipeline);
        return unseal_finish(b->sealed.pipeline, show_progress, &t, e);
}

static void report_transfer(struct boot *b) {
        struct unseal_progress p;

        unseal_get_progress(b->sealed.pipeline, &p);
        report_put(b->report, "transfer.bytes", json_object_new_int64((int64_t) p.fetched));
        report_put(b->report, "transfer.retries", json_object_new_int64(p.retries));
        report_end(b->report, "unseal", p.bytes);
}

/* ---- what was unsealed */

static int accept_model(struct boot *b, struct boot_input *in, struct error *e) {
        int r;

        if (!in->opening.manifest) {
                r = describe_single(b, in, e);
                if (r < 0)
                        return r;
        }
        r = digest(b, in, e);
        if (r < 0)
                return r;
        r = accepted_digest(&in->accepted, in->opening.model->digest, in->subject, e);
        if (r < 0)
                return r;
        report_model(b, in);
        return 0;
}

/* Of several inputs: what is measured of all of them. */
static int describe_set(struct boot *b, struct error *e) {
        char names[INPUTS_MAX * (INPUT_NAME_MAX + 2) + 1] = "";
        struct input_state states[INPUTS_MAX];
        struct boot_sealed *s = &b->sealed;
        uint64_t bytes = 0;
        int r;

        for (size_t i = 0; i < s->n_inputs; i++) {
                const struct boot_input *in = &s->inputs[i];
                const struct model *m = in->opening.model;

                states[i] = (struct input_state) { in->asked->name, in->asked->owner, m ? m->digest : NULL };
                bytes += m ? model_size(m) : 0;
                if (m)
                        snprintf(names + strlen(names), sizeof names - strlen(names), "%s%s", names[0] ? ", " : "",
                                 in->asked->name);
                boot_report_put(b, in, "present", json_object_new_boolean(m != NULL));
                boot_report_text(b, in, "owner", in->asked->owner);
        }
        r = input_set_text(states, s->n_inputs, &s->set_text, &s->set_text_size, s->set_digest, e);
        if (r < 0)
                return r;
        report_text(b->report, "model.name", names);
        report_put(b->report, "model.bytes", json_object_new_int64((int64_t) bytes));
        report_put(b->report, "model.digest", digest_text(s->set_digest));
        return 0;
}

int boot_unseal(struct boot *b, struct error *e) {
        int r;

        boot_status("Unsealing %s", boot_subject(b));
        report_begin(b->report, "unseal");
        r = unseal(b, e);
        report_transfer(b);
        if (r < 0)
                return r;
        r = boot_each_input(b, accept_model, e);
        if (r < 0 || !b->config->several)
                return r;
        return describe_set(b, e);
}
