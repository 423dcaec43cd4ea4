/* SPDX-License-Identifier: Apache-2.0 */

/* From the data key to a model whose every byte is authenticated and digested, still private. */

#include <fcntl.h>
#include <openssl/evp.h>

#include "basic/clock.h"
#include "basic/encode.h"
#include "boot/boot.h"
#include "sealed/frame.h"

/* ---- which files */

static int open_manifest(struct boot *b, struct error *e) {
        _cleanup_free_ uint8_t *text = NULL;
        size_t n;
        int r;

        r = message_open(b->manifest_header, b->manifest, b->manifest_size, b->data_key, b->config->allow_any_iv,
                         b->source, &text, &n, e);
        if (r == 0)
                r = manifest_parse((char *) text, n, b->source, &b->model, e);
        /* The manifest is authentic, so a model that must not be loaded is known before its first byte is opened. */
        if (r == 0 && b->config->measure == MEASURE_MODEL)
                r = config_accept_digest(b->config, b->model->digest, b->source, e);
        return r < 0 ? r : room_check(&b->room, b->model, b->source, e);
}

/* The file that boot_prefetch() guessed to be there; NULL: it is not. */
static const struct model_file *find_begun(const struct model *m) {
        char object[32];

        snprintf(object, sizeof object, MODEL_OBJECT_FORMAT, (size_t) 0);
        for (size_t i = 0; i < m->n_files; i++)
                if (streq(m->files[i].object, object))
                        return &m->files[i];
        return NULL;
}

static int add_files(struct boot *b, struct error *e) {
        const struct model_file *begun = find_begun(b->model);
        int r;

        b->file_of = calloc(b->model->n_files, sizeof *b->file_of);
        if (!b->file_of)
                return fail_oom(e);
        /* First: if it is none of the model's, what it takes up must be free for those that are. */
        r = unseal_expect(b->unseal, b->first_file, begun, e);
        for (size_t i = 0; r == 0 && i < b->model->n_files; i++) {
                const struct model_file *f = &b->model->files[i];
                _cleanup_free_ char *key = NULL;

                if (f == begun)
                        b->file_of[i] = b->first_file;
                else if (asprintf(&key, "%s%s", b->launch.key, f->object) < 0)
                        r = fail_oom(e);
                else
                        r = unseal_add(b->unseal, key, f, false, &b->file_of[i], e);
        }
        return r;
}

/* The unsealed bytes of a model's only file. */
static int open_unsealed(struct boot *b, struct error *e) {
        uint8_t unused[VERITY_DIGEST];
        const char *name;
        uint64_t size;
        int fd;

        unseal_result(b->unseal, b->file_of[0], &name, &size, unused);
        fd = openat(handoff_private_fd(b->handoff), name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
        return fd < 0 ? fail(e, FAILURE_IO, -errno, b->source, "cannot open the unsealed file: %m") : fd;
}

/* Models that were sealed before their objects were marked have a manifest that looks like any single object,
 * until it is open. Of their other objects nothing tells; so those get no name of the operator's choice. */
static int refuse_manifest(struct boot *b, struct error *e) {
        _cleanup_free_ char *text = NULL;
        _cleanup_close_ int fd = -1;
        size_t n = b->model->files[0].size;

        if (model_is_single(b->header) || b->model->files[0].size > MODEL_MANIFEST_MAX)
                return 0;
        fd = open_unsealed(b, e);
        if (fd < 0)
                return fd;
        text = malloc(n + 1);
        if (!text)
                return fail_oom(e);
        if (pread(fd, text, n, 0) != (ssize_t) n)
                return fail(e, FAILURE_IO, -EIO, b->source, "cannot read the unsealed file: %m");
        text[n] = '\0';
        return model_refuse_manifest(text, n, b->source, e);
}

static int describe_single(struct boot *b, struct error *e) {
        struct model_file *f;
        const char *unused;
        uint64_t size;
        uint8_t digest[VERITY_DIGEST];
        int r;

        unseal_result(b->unseal, b->first_file, &unused, &size, digest);
        r = model_new(&b->model, e);
        if (r == 0)
                r = model_add(b->model, b->source, b->single_name, NULL, size, &f, e);
        if (r != 0)
                return r;
        memcpy(f->digest, digest, sizeof f->digest);
        b->file_of = calloc(1, sizeof *b->file_of);
        if (!b->file_of)
                return fail_oom(e);
        b->file_of[0] = b->first_file;
        return refuse_manifest(b, e);
}

/* ---- what they are, as one */

static int digest_model(struct boot *b, struct error *e) {
        _cleanup_free_ char *text = NULL;
        size_t n;
        int r;

        r = model_text(b->model, &text, &n, e);
        return r < 0 ? r : model_digest(text, n, b->model->digest, e);
}

DEFINE_CLEANUP(EVP_MD_CTX *, EVP_MD_CTX_free, md_ctx_freep)

/* AWS's sample application measures the plain SHA-384 of its one file: a serial pass that no number of cores makes
 * faster. */
static int digest_plain(struct boot *b, struct error *e) {
        enum { STEP = 1024 * 1024, TOLD = 1024 };
        _cleanup_(md_ctx_freep) EVP_MD_CTX *ctx = EVP_MD_CTX_new();
        _cleanup_free_ uint8_t *buffer = malloc(STEP);
        _cleanup_close_ int fd = -1;
        ssize_t n;

        if (b->model->n_files != 1)
                return fail(e, FAILURE_CONFIG, -EINVAL, b->source,
                            "\"measure\": \"sha384\" is for models of one file; this one has %zu", b->model->n_files);
        fd = open_unsealed(b, e);
        if (fd < 0)
                return fd;
        if (!ctx || !buffer || EVP_DigestInit_ex(ctx, EVP_sha384(), NULL) != 1)
                return fail_oom(e);
        for (size_t i = 0; (n = read(fd, buffer, STEP)) > 0; i++) {
                if (i % TOLD == 0)
                        boot_status("Hashing: %.1f of %.1f GB", (double) i * STEP / 1e9,
                                    (double) model_size(b->model) / 1e9);
                if (EVP_DigestUpdate(ctx, buffer, (size_t) n) != 1)
                        return fail(e, FAILURE_INTERNAL, -EIO, "", "SHA-384 failed");
        }
        if (n < 0 || EVP_DigestFinal_ex(ctx, b->model->digest, NULL) != 1)
                return fail(e, FAILURE_IO, -EIO, b->source, "cannot read the unsealed file: %m");
        return 0;
}

static void report_model(struct boot *b) {
        json_object *files = json_object_new_array();

        if (b->model->name) {
                report_text(b->report, "model.name", b->model->name);
                report_text(b->report, "model.version", b->model->version);
        }
        report_put(b->report, "model.bytes", json_object_new_int64((int64_t) model_size(b->model)));
        report_hex(b->report, "model.digest", "sha384:", b->model->digest, MODEL_DIGEST);
        report_put(b->report, "model.files", files);
        for (size_t i = 0; i < b->model->n_files; i++) {
                json_object *f = json_object_new_object();
                char text[8 + 2 * VERITY_DIGEST] = "sha256:";

                hex_encode(b->model->files[i].digest, VERITY_DIGEST, text + strlen(text));
                json_object_object_add(f, "path", json_object_new_string(b->model->files[i].path));
                json_object_object_add(f, "size", json_object_new_int64((int64_t) b->model->files[i].size));
                json_object_object_add(f, "digest", json_object_new_string(text));
                json_object_array_add(files, f);
        }
}

/* ---- the way there */

static void progress(void *userdata, const struct unseal_progress *p) {
        struct boot *b = userdata;
        unsigned percent = p->total > 0 ? (unsigned) (100.0 * (double) p->bytes / (double) p->total) : 0;
        double seconds = clock_seconds_since(b->unseal_began_ns);

        /* The service manager waits for who gets on, and for nobody else. */
        if (p->bytes <= b->unsealed)
                return;
        b->unsealed = p->bytes;
        boot_status("Unsealing: %.1f of %.1f GB (%u%%) at %.2f GB/s", (double) p->bytes / 1e9, (double) p->total / 1e9,
                    percent, seconds > 0 ? (double) p->bytes / 1e9 / seconds : 0);
}

static void report_transfer(struct boot *b) {
        struct unseal_progress p;

        unseal_get_progress(b->unseal, &p);
        report_put(b->report, "transfer.bytes", json_object_new_int64((int64_t) p.fetched));
        report_put(b->report, "transfer.retries", json_object_new_int64(p.retries));
        report_end(b->report, "unseal", p.bytes);
}

int boot_unseal(struct boot *b, struct error *e) {
        int r = 0;

        boot_status("Unsealing %s", b->source);
        report_begin(b->report, "unseal");
        b->unseal_began_ns = clock_ns();
        if (b->manifest)
                r = open_manifest(b, e);
        if (r == 0 && b->manifest)
                r = add_files(b, e);
        if (r == 0) {
                unseal_set_key(b->unseal, b->data_key, b->header);
                r = unseal_finish(b->unseal, progress, b, e);
        }
        report_transfer(b);
        if (r == 0 && !b->manifest)
                r = describe_single(b, e);
        if (r == 0 && b->config->measure == MEASURE_SHA384) {
                report_begin(b->report, "sha384");
                r = digest_plain(b, e);
                report_end(b->report, "sha384", model_size(b->model));
        } else if (r == 0)
                r = digest_model(b, e);
        if (r == 0)
                r = config_accept_digest(b->config, b->model->digest, b->source, e);
        if (r == 0)
                report_model(b);
        return r;
}
