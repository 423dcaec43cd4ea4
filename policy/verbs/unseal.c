/* SPDX-License-Identifier: Apache-2.0 */

/* sealboot unseal: the owner opens a model again, with KMS's plain Decrypt, by the pipeline that the agent uses. */

#include <fcntl.h>
#include <signal.h>

#include "basic/encode.h"
#include "owner/digest.h"
#include "owner/kms-write.h"
#include "owner/landing.h"
#include "owner/parallel.h"
#include "owner/place.h"
#include "pipeline/unseal.h"
#include "sealed/candidates.h"
#include "sealed/frame.h"
#include "verbs/command.h"
#include "verbs/model-report.h"

struct arguments {
        const char *from, *to;
        const char **keys; /* room for as many as there are arguments */
        size_t n_keys;
        uint8_t digest[MODEL_DIGEST];
        bool has_digest, json, quiet;
        unsigned connections;
};

static int add_key(void *arguments, const struct option_row *row, char *value, struct error *e) {
        struct arguments *a = arguments;

        (void) row;
        (void) e;
        a->keys[a->n_keys++] = value;
        return 0;
}

static int set_digest(void *arguments, const struct option_row *row, char *value, struct error *e) {
        struct arguments *a = arguments;

        (void) row;
        if (command_digest(value, a->digest) < 0)
                return fail(e, FAILURE_USAGE, -EINVAL, "",
                            "--digest is sha384: and 96 hex digits, or these alone, not '%s'", value);
        a->has_digest = true;
        return 0;
}

static const struct option_row option_rows[] = {
        { 'k', "key", "ARN", "accept no other KMS key, or replica of it; repeatable", OPTION_CALL_WHOLE(add_key, 0) },
        { 'd', "digest", "DIGEST", "accept no other model: sha384:HEX, as 'sealboot seal' printed it",
          OPTION_CALL_WHOLE(set_digest, 0) },
        { 0, "connections", "N", "transfers at the same time",
          OPTION_CALL(command_connections, struct arguments, connections) },
        { 0, "json", NULL, "print the result as JSON", OPTION_FLAG(struct arguments, json) },
        { 'q', "quiet", NULL, "show no progress", OPTION_FLAG(struct arguments, quiet) },
        OPTION_HELP,
        {},
};

static const struct command_line command_line = {
        .program = PROGRAM " unseal",
        .usage = "Usage: sealboot unseal [OPTION...] s3://BUCKET/PREFIX/ | s3://BUCKET/OBJECT | DIRECTORY/ | FILE "
                 "TO-DIRECTORY\n\n"
                 "Open a sealed model, or a single sealed object, into a new directory. Asks KMS for the data key\n"
                 "with your own credentials, checks every frame and digest, and leaves nothing behind unless all\n"
                 "of it is right.",
        .rows = option_rows,
        .more = "Exit codes: 0; 2 usage; 3 stopped by a signal; 13-15 credentials, clock, network; 30-34 KMS;\n"
                "40-44 S3; 50-57 what is sealed is not right, or does not fit; 60 TO-DIRECTORY is there already;\n"
                "61 local files.\n\n"
                "Example: sealboot unseal s3://models/llama/3.1/ llama-3.1",
        .operands_min = 2,
        .operands_max = 2,
        .needed = "two arguments are needed: what to open, and a directory to put it",
};

struct command_unseal {
        const struct arguments *arguments;
        struct place place;
        struct owner *owner;
        char *subject; /* of the manifest or object */
        struct message_header *header;
        uint8_t *manifest;
        size_t manifest_size;
        struct secret *data_key;
        struct model *model; /* a single object's is made from the header */
        struct landing *landing;
        int source_fd;
        struct unseal *unseal;
        char **keys; /* of the objects; borrowed by unseal */
        struct progress progress;
        sigset_t signals;
};

static void command_unseal_done(struct command_unseal *c) {
        unseal_free(c->unseal);
        landing_free(c->landing);
        for (size_t i = 0; c->keys && i < c->model->n_files; i++)
                free(c->keys[i]);
        free(c->keys);
        model_free(c->model);
        secret_free(c->data_key);
        message_header_free(c->header);
        free(c->manifest);
        free(c->subject);
        closep(&c->source_fd);
        owner_free(c->owner);
        place_done(&c->place);
}

static int read_manifest(struct command_unseal *c, struct error *e) {
        uint64_t size;
        int r;

        r = place_read(&c->place, c->owner, MODEL_MANIFEST_OBJECT, MODEL_MANIFEST_MAX, &c->manifest, &c->manifest_size,
                       &size, e);
        if (r < 0)
                return place_advise(&c->place, r, e);
        if (c->manifest_size != size)
                return fail(e, FAILURE_MANIFEST, -EFBIG, c->subject, "has %llu bytes, more than any manifest",
                            (unsigned long long) size);
        return message_header_parse(c->manifest, c->manifest_size, c->subject, &c->header, e);
}

static int read_header(struct command_unseal *c, struct error *e) {
        uint64_t size;
        int r;

        r = place_parse(c->arguments->from, &c->place, e);
        if (r == 0)
                r = place_subject(&c->place, c->place.is_model ? MODEL_MANIFEST_OBJECT : NULL, &c->subject, e);
        if (r == 0)
                r = owner_new(&c->owner, e);
        if (r < 0)
                return r;
        return c->place.is_model ? read_manifest(c, e)
                                 : place_read_header(&c->place, c->owner, NULL, &c->header, &size, e);
}

static int ask_kms(void *userdata, const struct kms_ciphertext *ciphertext, struct error *e) {
        struct command_unseal *c = userdata;

        return kms_decrypt(c->owner->kms, ciphertext, &c->data_key, e);
}

static int decrypt_key(struct command_unseal *c, struct error *e) {
        const struct arguments *a = c->arguments;
        _cleanup_key_candidates_ struct key_candidates candidates = {};
        int r;

        r = key_candidates_find(c->header, a->n_keys > 0 ? a->keys : NULL, a->n_keys, c->owner->region, &candidates, e);
        if (r < 0)
                return r;
        if (candidates.n == 0) {
                fail(e, FAILURE_KEY_NOT_PINNED, -ENOKEY, c->subject, "no encrypted data key in it is of %s",
                     a->n_keys > 0 ? "a key named by --key" : "AWS KMS");
                fail_advice(e, "'sealboot inspect' shows which keys it is sealed under.");
                return -ENOKEY;
        }
        r = key_candidates_try(&candidates, c->subject, ask_kms, NULL, c, e);
        if (r < 0)
                command_advise(e, FAILURE_KMS_DENIED,
                               "To open a model here, your identity needs kms:Decrypt on the key. A policy that "
                               "releases it to attested images alone refuses everybody else, the owner too.");
        return r;
}

static int check_digest(const struct command_unseal *c, struct error *e) {
        char hex[2 * MODEL_DIGEST + 1];

        if (!c->arguments->has_digest || memcmp(c->arguments->digest, c->model->digest, MODEL_DIGEST) == 0)
                return 0;
        hex_encode(c->model->digest, MODEL_DIGEST, hex);
        return fail(e, FAILURE_DIGEST, -EBADMSG, c->subject,
                    "its model digest is sha384:%s, not the one named by --digest", hex);
}

static int open_manifest(struct command_unseal *c, struct error *e) {
        _cleanup_free_ uint8_t *text = NULL;
        size_t n;
        int r;

        r = message_open(c->header, c->manifest, c->manifest_size, c->data_key, false, c->subject, &text, &n, e);
        if (r == 0)
                r = manifest_parse((const char *) text, n, c->subject, &c->model, e);
        return r < 0 ? r : check_digest(c, e);
}

static int describe_single(struct command_unseal *c, struct error *e) {
        _cleanup_free_ char *name = NULL;
        int r;

        r = model_new(&c->model, e);
        if (r == 0)
                r = model_single_name(c->header, c->subject, &name, e);
        return r < 0 ? r : model_add(c->model, c->subject, name, NULL, 0, NULL, e);
}

/* The directory that local objects are in, and what the object's name in it is. */
static int object_key(const struct command_unseal *c, size_t file, char **ret, struct error *e) {
        const char *object = c->model->files[file].object, *slash = strrchr(c->place.path, '/');

        if (c->place.bucket)
                return place_path(&c->place, object, ret, e);
        *ret = strdup(object ?: slash ? slash + 1 : c->place.path);
        return *ret ? 0 : fail_oom(e);
}

static int open_source(struct command_unseal *c, struct error *e) {
        const char *slash = strrchr(c->place.path, '/');
        _cleanup_free_ char *directory =
                slash ? strndup(c->place.path, (size_t) (slash - c->place.path) + 1) : strdup(".");

        if (!directory)
                return fail_oom(e);
        c->source_fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        return c->source_fd < 0 ? fail(e, FAILURE_IO, -errno, directory, "cannot open: %m") : 0;
}

static int start(struct command_unseal *c, struct error *e) {
        struct unseal_options options = { .bucket = c->place.bucket, .connections = c->arguments->connections };
        int r;

        /* From here on there is something to remove, so signals wait for show_progress(). Threads inherit this. */
        parallel_signals(&c->signals);
        sigprocmask(SIG_BLOCK, &c->signals, NULL);
        r = landing_new(c->arguments->to, &c->landing, e);
        if (r == 0)
                r = landing_room(c->landing, &options.room, e);
        if (r == 0)
                r = c->place.bucket ? owner_s3(c->owner, &options.s3, e) : open_source(c, e);
        if (r < 0)
                return r;
        options.directory_fd = landing_private_fd(c->landing);
        options.source_fd = c->source_fd;
        return unseal_new(&options, &c->unseal, e);
}

static int add_files(struct command_unseal *c, struct error *e) {
        size_t index;
        int r = 0;

        c->keys = calloc(c->model->n_files, sizeof *c->keys);
        if (!c->keys)
                return fail_oom(e);
        for (size_t i = 0; r == 0 && i < c->model->n_files; i++) {
                r = object_key(c, i, &c->keys[i], e);
                if (r == 0)
                        r = unseal_add(c->unseal, c->keys[i], c->place.is_model ? &c->model->files[i] : NULL, false,
                                       &index, e);
        }
        return r;
}

/* Called while workers run, and signals are held back from them and from us: a stop takes plaintext away, and ends the
 * program. */
static void show_progress(void *userdata, const struct unseal_progress *p) {
        struct command_unseal *c = userdata;
        int which;

        which = sigtimedwait(&c->signals, NULL, &(struct timespec) {});
        if (which > 0) {
                struct error e = {};

                fail(&e, FAILURE_STOPPED, -EINTR, c->subject, "stopped by signal %d (%s)", which, strsignal(which));
                fail_advice(&e, "Nothing was left behind; run it again.");
                landing_free(c->landing);
                _exit(command_failed(&e));
        }
        atomic_store(&c->progress.done, p->bytes);
        c->progress.total = p->total;
        progress_show(&c->progress);
}

static int place_files(struct command_unseal *c, struct error *e) {
        int r = 0;

        for (size_t i = 0; r == 0 && i < c->model->n_files; i++) {
                struct model_file *f = &c->model->files[i];
                const char *private_name;

                unseal_result(c->unseal, i, &private_name, &f->size, f->digest);
                r = landing_place(c->landing, private_name, f->path, e);
        }
        if (r == 0)
                r = model_digest(c->model, e);
        if (r == 0)
                r = check_digest(c, e);
        return r < 0 ? r : landing_publish(c->landing, e);
}

static int unseal(struct command_unseal *c, struct error *e) {
        int r;

        r = read_header(c, e);
        /* What a single object says of itself is known before KMS is asked. */
        if (r == 0 && !c->place.is_model)
                r = describe_single(c, e);
        if (r == 0)
                r = decrypt_key(c, e);
        if (r == 0 && c->place.is_model)
                r = open_manifest(c, e);
        if (r == 0)
                r = start(c, e);
        if (r == 0)
                r = add_files(c, e);
        if (r < 0)
                return r;
        unseal_set_key(c->unseal, c->data_key, c->header);
        progress_begin(&c->progress, "unsealing", model_size(c->model),
                       c->arguments->quiet ? PROGRESS_QUIET : PROGRESS_AUTO);
        r = unseal_finish(c->unseal, show_progress, c, e);
        progress_end(&c->progress);
        return r < 0 ? r : place_files(c, e);
}

static int print_result(const struct command_unseal *c, struct error *e) {
        _cleanup_json_ json_object *o = NULL;
        uint64_t size = model_size(c->model);
        double seconds = progress_seconds(&c->progress);
        char bytes[16], rate[16];
        int r;

        if (c->arguments->json) {
                r = model_to_json(c->model, &o, e);
                return r < 0 ? r : json_print(stdout, o, e);
        }
        printf("opened  %zu file%s, %s in %.1f s (%s/s)\nto      %s\n", c->model->n_files,
               c->model->n_files == 1 ? "" : "s", format_bytes(size, bytes), seconds,
               format_bytes((uint64_t) ((double) size / seconds), rate), c->arguments->to);
        return measured_print(stdout, c->model->digest, e);
}

int cmd_unseal(int argc, char *argv[]) {
        _cleanup_free_ const char **keys = calloc((size_t) argc, sizeof *keys);
        struct arguments a = { .keys = keys };
        _cleanup_(command_unseal_done) struct command_unseal c = { .arguments = &a, .source_fd = -1 };
        struct operands operands;
        struct error e = {};
        int code, r;

        if (!keys)
                return command_failed((fail_oom(&e), &e));
        if (!command_parse(&command_line, argc, argv, &a, &operands, &code))
                return code;
        a.from = operands.items[0];
        a.to = operands.items[1];
        code = command_local("unseal", a.to, "A model is opened into a local directory.");
        if (code != 0)
                return code;
        r = unseal(&c, &e);
        if (r == 0)
                r = print_result(&c, &e);
        return r < 0 ? command_failed(&e) : 0;
}
