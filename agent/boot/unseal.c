/* SPDX-License-Identifier: Apache-2.0 */

/* From the data key to a model whose every byte is authenticated and digested. It is still private. */

#include <fcntl.h>
#include <openssl/evp.h>

#include "basic/clock.h"
#include "basic/encode.h"
#include "boot/boot.h"

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

static int add_file(struct boot *b, const struct model_file *f, size_t *ret_index, struct error *e) {
        _cleanup_free_ char *key = NULL;

        if (asprintf(&key, "%s%s", b->sealed.launch.key, f->object) < 0)
                return fail_oom(e);
        return unseal_add(b->sealed.pipeline, key, f, false, ret_index, e);
}

static int add_files(struct boot *b, struct error *e) {
        const struct model *m = b->sealed.opening.model;
        const struct model_file *begun = find_begun(m);
        int r;

        b->result.file_of = calloc(m->n_files, sizeof *b->result.file_of);
        if (!b->result.file_of)
                return fail_oom(e);
        /* First, since an object that is not of this model must give its room back to those that are. */
        r = unseal_expect(b->sealed.pipeline, b->sealed.first_file, begun, e);
        if (r < 0)
                return r;
        for (size_t i = 0; i < m->n_files; i++) {
                if (&m->files[i] == begun) {
                        b->result.file_of[i] = b->sealed.first_file;
                        continue;
                }
                r = add_file(b, &m->files[i], &b->result.file_of[i], e);
                if (r < 0)
                        return r;
        }
        return 0;
}

static int read_manifest(struct boot *b, struct error *e) {
        struct opening *o = &b->sealed.opening;
        int r;

        r = opening_read_manifest(o, &b->sealed.accepted, e);
        if (r < 0)
                return r;
        r = room_check(&b->sealed.room, o->model, b->sealed.source, e);
        if (r < 0)
                return r;
        return add_files(b, e);
}

/* ---- a model that is a single object */

/* Opens the unsealed bytes of a model's only file. */
static int open_unsealed(struct boot *b, struct error *e) {
        uint8_t unused[VERITY_DIGEST];
        const char *name;
        uint64_t size;
        int fd;

        unseal_result(b->sealed.pipeline, b->result.file_of[0], &name, &size, unused);
        fd = openat(handoff_private_fd(b->handoff), name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
        return fd < 0 ? fail(e, FAILURE_IO, -errno, b->sealed.source, "the unsealed file cannot be opened: %m") : fd;
}

/* Old versions of `sealboot seal` did not mark the objects of a model with a manifest. The manifest of such a model
 * looks like a single object until it is open; refuse it. Its other objects cannot be told from single objects: they
 * get the name MODEL_FILE_UNNAMED, which the operator does not choose. */
static int refuse_manifest(struct boot *b, struct error *e) {
        const struct opening *o = &b->sealed.opening;
        _cleanup_free_ char *text = NULL;
        _cleanup_close_ int fd = -1;
        size_t n = o->model->files[0].size;

        if (model_is_single(o->header) || o->model->files[0].size > MODEL_MANIFEST_MAX)
                return 0;
        fd = open_unsealed(b, e);
        if (fd < 0)
                return fd;
        text = malloc(n + 1);
        if (!text)
                return fail_oom(e);
        if (pread(fd, text, n, 0) != (ssize_t) n)
                return fail(e, FAILURE_IO, -EIO, b->sealed.source, "the unsealed file cannot be read: %m");
        text[n] = '\0';
        return model_refuse_manifest(text, n, b->sealed.source, e);
}

static int describe_single(struct boot *b, struct error *e) {
        uint8_t digest[VERITY_DIGEST];
        const char *unused;
        uint64_t size;
        int r;

        unseal_result(b->sealed.pipeline, b->sealed.first_file, &unused, &size, digest);
        r = opening_describe_single(&b->sealed.opening, size, digest, e);
        if (r < 0)
                return r;
        b->result.file_of = calloc(1, sizeof *b->result.file_of);
        if (!b->result.file_of)
                return fail_oom(e);
        b->result.file_of[0] = b->sealed.first_file;
        return refuse_manifest(b, e);
}

/* ---- the digest to measure */

DEFINE_CLEANUP(EVP_MD_CTX *, EVP_MD_CTX_free, md_ctx_freep)

/* AWS's sample application measures the plain SHA-384 of its only file. This pass is serial: more CPUs do not make it
 * faster. */
static int digest_plain(struct boot *b, struct error *e) {
        enum { STEP = 1024 * 1024, STEPS_SHOWN = 1024 };
        _cleanup_(md_ctx_freep) EVP_MD_CTX *ctx = EVP_MD_CTX_new();
        _cleanup_free_ uint8_t *buffer = malloc(STEP);
        struct model *m = b->sealed.opening.model;
        _cleanup_close_ int fd = -1;
        ssize_t n;

        if (m->n_files != 1)
                return fail(e, FAILURE_CONFIG, -EINVAL, b->sealed.source,
                            "it has %zu files, and \"measure\": \"sha384\" is for models of one file", m->n_files);
        fd = open_unsealed(b, e);
        if (fd < 0)
                return fd;
        if (!ctx || !buffer || EVP_DigestInit_ex(ctx, EVP_sha384(), NULL) != 1)
                return fail_oom(e);
        for (size_t i = 0; (n = read(fd, buffer, STEP)) > 0; i++) {
                if (i % STEPS_SHOWN == 0)
                        boot_status("Hashing: %.1f of %.1f GB", (double) i * STEP / 1e9, (double) model_size(m) / 1e9);
                if (EVP_DigestUpdate(ctx, buffer, (size_t) n) != 1)
                        return fail(e, FAILURE_INTERNAL, -EIO, "", "SHA-384 failed");
        }
        if (n < 0 || EVP_DigestFinal_ex(ctx, m->digest, NULL) != 1)
                return fail(e, FAILURE_IO, -EIO, b->sealed.source, "the unsealed file cannot be read: %m");
        return 0;
}

static int digest(struct boot *b, struct error *e) {
        struct model *m = b->sealed.opening.model;
        int r;

        if (b->config->measure == MEASURE_MODEL)
                return m->text ? 0 : model_digest(m, e); /* of a manifest, the digest is known and was checked */
        report_begin(b->report, "sha384");
        r = digest_plain(b, e);
        report_end(b->report, "sha384", model_size(m));
        return r;
}

static void report_model(struct boot *b) {
        const struct model *m = b->sealed.opening.model;
        json_object *files = json_object_new_array();

        if (m->name) {
                report_text(b->report, "model.name", m->name);
                report_text(b->report, "model.version", m->version);
        }
        report_put(b->report, "model.bytes", json_object_new_int64((int64_t) model_size(m)));
        report_hex(b->report, "model.digest", "sha384:", m->digest, MODEL_DIGEST);
        report_put(b->report, "model.files", files);
        for (size_t i = 0; i < m->n_files; i++) {
                json_object *f = json_object_new_object();
                char text[8 + 2 * VERITY_DIGEST] = "sha256:";

                hex_encode(m->files[i].digest, VERITY_DIGEST, text + strlen(text));
                json_object_object_add(f, "path", json_object_new_string(m->files[i].path));
                json_object_object_add(f, "size", json_object_new_int64((int64_t) m->files[i].size));
                json_object_object_add(f, "digest", json_object_new_string(text));
                json_object_array_add(files, f);
        }
}

/* ---- the transfer */

struct transfer {
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
        boot_status("Unsealing: %.1f of %.1f GB (%u%%) at %.2f GB/s", (double) p->bytes / 1e9, (double) p->total / 1e9,
                    percent, seconds > 0 ? (double) p->bytes / 1e9 / seconds : 0);
}

static int unseal(struct boot *b, struct error *e) {
        struct transfer t = { .began_ns = clock_ns() };
        const struct opening *o = &b->sealed.opening;
        int r;

        if (o->manifest) {
                r = read_manifest(b, e);
                if (r < 0)
                        return r;
        }
        unseal_set_key(b->sealed.pipeline, o->data_key, o->header);
        return unseal_finish(b->sealed.pipeline, show_progress, &t, e);
}

static void report_transfer(struct boot *b) {
        struct unseal_progress p;

        unseal_get_progress(b->sealed.pipeline, &p);
        report_put(b->report, "transfer.bytes", json_object_new_int64((int64_t) p.fetched));
        report_put(b->report, "transfer.retries", json_object_new_int64(p.retries));
        report_end(b->report, "unseal", p.bytes);
}

int boot_unseal(struct boot *b, struct error *e) {
        struct opening *o = &b->sealed.opening;
        int r;

        boot_status("Unsealing %s", b->sealed.source);
        report_begin(b->report, "unseal");
        r = unseal(b, e);
        report_transfer(b);
        if (r < 0)
                return r;
        if (!o->manifest) {
                r = describe_single(b, e);
                if (r < 0)
                        return r;
        }
        r = digest(b, e);
        if (r < 0)
                return r;
        r = accepted_digest(&b->sealed.accepted, o->model->digest, b->sealed.source, e);
        if (r < 0)
                return r;
        report_model(b);
        return 0;
}
