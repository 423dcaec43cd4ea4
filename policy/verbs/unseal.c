/* SPDX-License-Identifier: Apache-2.0 */

/* sealboot unseal: the owner opens a sealed model on a machine of his own. It asks KMS with plain Decrypt; the opening
 * and the pipeline are those of the agent. */

#include <fcntl.h>
#include <signal.h>

#include "owner/kms-write.h"
#include "owner/landing.h"
#include "owner/parallel.h"
#include "owner/place.h"
#include "owner/progress.h"
#include "pipeline/unseal.h"
#include "sealed/opening.h"
#include "verbs/command.h"
#include "verbs/model-report.h"

struct arguments {
        const char *from, *to;
        const char **keys; /* an array with room for every argument */
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
        struct accepted accepted; /* by --key and --digest */
        struct place place;
        struct owner *owner;
        char *subject;                 /* the manifest or the single object, for messages */
        struct message_header *header; /* of a single object */
        struct opening opening;
        struct landing *landing;
        int source_fd;
        struct unseal_model sealed;
        struct unseal *pipeline;
        struct progress progress;
        sigset_t signals;
};

static void command_unseal_done(struct command_unseal *c) {
        unseal_free(c->pipeline);
        landing_free(c->landing);
        opening_done(&c->opening);
        message_header_free(c->header);
        free(c->subject);
        closep(&c->source_fd);
        owner_free(c->owner);
        place_done(&c->place);
}

/* ---- the header, and the data key */

static int read_manifest(struct command_unseal *c, struct error *e) {
        _cleanup_free_ uint8_t *manifest = NULL;
        uint64_t size;
        size_t n;
        int r;

        r = place_read(&c->place, c->owner, MODEL_MANIFEST_OBJECT, MODEL_MANIFEST_MAX, &manifest, &n, &size, e);
        if (r < 0)
                return place_advise(&c->place, r, e);
        if (n != size)
                return fail(e, FAILURE_MANIFEST, -EFBIG, c->subject, "it has %llu bytes, more than any manifest",
                            (unsigned long long) size);
        return opening_begin_manifest(&c->opening, TAKE(manifest), n, c->subject, e);
}

static int read_header(struct command_unseal *c, struct error *e) {
        uint64_t size;
        int r;

        if (c->place.is_model)
                return read_manifest(c, e);
        r = place_read_header(&c->place, c->owner, NULL, &c->header, &size, e);
        if (r < 0)
                return r;
        opening_begin_single(&c->opening, c->header, c->subject);
        return 0;
}

static int find_sealed(struct command_unseal *c, struct error *e) {
        int r;

        r = place_parse(c->arguments->from, &c->place, e);
        if (r < 0)
                return r;
        r = place_subject(&c->place, c->place.is_model ? MODEL_MANIFEST_OBJECT : NULL, &c->subject, e);
        if (r < 0)
                return r;
        r = owner_new(&c->owner, e);
        if (r < 0)
                return r;
        return read_header(c, e);
}

static int match_keys(struct command_unseal *c, struct error *e) {
        const struct arguments *a = c->arguments;
        int r;

        c->accepted = (struct accepted) {
                .keys = a->n_keys > 0 ? a->keys : NULL,
                .n_keys = a->n_keys,
                .keys_name = "keys that --key names",
                .digests = &a->digest,
                .n_digests = a->has_digest,
                .digests_name = "--digest",
        };
        r = opening_accept(&c->opening, &c->accepted, c->owner->region, e);
        if (r < 0)
                command_advise(e, FAILURE_KEY_NOT_PINNED, "'sealboot inspect' shows which keys it is sealed under.");
        return r;
}

static int ask_kms(void *userdata, const struct kms_ciphertext *ciphertext, struct error *e) {
        struct command_unseal *c = userdata;

        return kms_decrypt(c->owner->kms, ciphertext, &c->opening.data_key, e);
}

static int decrypt_key(struct command_unseal *c, struct error *e) {
        int r;

        r = key_candidates_try(&c->opening.candidates, c->subject, ask_kms, NULL, c, e);
        if (r < 0)
                command_advise(e, FAILURE_KMS_DENIED,
                               "To open a model here, your identity needs kms:Decrypt on the key. A policy that "
                               "releases it to attested images alone refuses everybody else, the owner too.");
        return r;
}

static int open_header(struct command_unseal *c, struct error *e) {
        int r;

        r = find_sealed(c, e);
        if (r < 0)
                return r;
        r = match_keys(c, e);
        if (r < 0)
                return r;
        r = decrypt_key(c, e);
        if (r < 0 || !c->place.is_model)
                return r;
        return opening_read_manifest(&c->opening, &c->accepted, e);
}

/* ---- the files */

static int open_source(struct command_unseal *c, struct error *e) {
        const char *slash = strrchr(c->place.path, '/');
        _cleanup_free_ char *directory =
                slash ? strndup(c->place.path, (size_t) (slash - c->place.path) + 1) : strdup(".");

        if (!directory)
                return fail_oom(e);
        c->source_fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        return c->source_fd < 0 ? fail(e, FAILURE_IO, -errno, directory, "it cannot be opened: %m") : 0;
}

static int start_pipeline(struct command_unseal *c, struct error *e) {
        struct unseal_options options = { .connections = c->arguments->connections };
        int r;

        /* From here on there is plaintext to remove: signals are blocked, and show_progress() looks for them. Threads
         * inherit this. */
        parallel_signals(&c->signals);
        sigprocmask(SIG_BLOCK, &c->signals, NULL);
        r = landing_new(c->arguments->to, &c->landing, e);
        if (r < 0)
                return r;
        r = landing_room(c->landing, &options.room, e);
        if (r < 0)
                return r;
        r = c->place.bucket ? owner_s3(c->owner, &options.s3, e) : open_source(c, e);
        if (r < 0)
                return r;
        options.directory_fd = landing_private_fd(c->landing);
        options.source_fd = c->source_fd;
        c->sealed.bucket = c->place.bucket;
        return unseal_new(&options, &c->pipeline, e);
}

/* Adds the object `name` of a model with a manifest, or the single object (NULL). */
static int add_object(struct command_unseal *c, const char *name, const struct model_file *expected, struct error *e) {
        const char *slash = strrchr(c->place.path, '/');
        _cleanup_free_ char *key = NULL;
        size_t unused;
        int r;

        if (!c->place.bucket) /* source_fd is the directory that the objects are in */
                return unseal_add(c->pipeline, &c->sealed,
                                  name
                                          ?: slash ? slash + 1
                                                   : c->place.path,
                                  expected, false, &unused, e);
        r = place_path(&c->place, name, &key, e);
        if (r < 0)
                return r;
        return unseal_add(c->pipeline, &c->sealed, key, expected, false, &unused, e);
}

static int add_objects(struct command_unseal *c, struct error *e) {
        const struct model *m = c->opening.model;
        int r;

        if (!c->place.is_model)
                return add_object(c, NULL, NULL, e);
        for (size_t i = 0; i < m->n_files; i++) {
                r = add_object(c, m->files[i].object, &m->files[i], e);
                if (r < 0)
                        return r;
        }
        return 0;
}

/* Called while workers run. Signals are blocked in all threads: a signal is taken here, removes the plaintext and ends
 * the program. */
static void show_progress(void *userdata, const struct unseal_progress *p) {
        struct command_unseal *c = userdata;
        int which;

        which = sigtimedwait(&c->signals, NULL, &(struct timespec) {});
        if (which > 0) {
                struct error e = {};

                fail(&e, FAILURE_STOPPED, -EINTR, c->subject, "it was stopped by signal %d (%s)", which,
                     strsignal(which));
                fail_advice(&e, "Nothing was left behind; run it again.");
                landing_free(c->landing);
                _exit(command_failed(&e));
        }
        atomic_store(&c->progress.done, p->bytes);
        c->progress.total = p->total;
        progress_show(&c->progress);
}

static int run_pipeline(struct command_unseal *c, struct error *e) {
        int r;

        r = start_pipeline(c, e);
        if (r < 0)
                return r;
        r = add_objects(c, e);
        if (r < 0)
                return r;
        c->sealed.data_key = c->opening.data_key;
        c->sealed.reference = c->opening.header;
        unseal_use_keys(c->pipeline);
        progress_begin(&c->progress, "unsealing", c->opening.model ? model_size(c->opening.model) : 0,
                       c->arguments->quiet ? PROGRESS_QUIET : PROGRESS_AUTO);
        r = unseal_finish(c->pipeline, show_progress, c, e);
        progress_end(&c->progress);
        return r;
}

/* ---- the model */

static int describe_single(struct command_unseal *c, struct error *e) {
        uint8_t digest[VERITY_DIGEST];
        const char *unused;
        uint64_t size;
        int r;

        unseal_result(c->pipeline, 0, &unused, &size, digest);
        r = opening_describe_single(&c->opening, size, digest, e);
        if (r < 0)
                return r;
        r = model_digest(c->opening.model, e);
        if (r < 0)
                return r;
        return accepted_digest(&c->accepted, c->opening.model->digest, c->subject, e);
}

static int place_files(struct command_unseal *c, struct error *e) {
        const struct model *m = c->opening.model;

        for (size_t i = 0; i < m->n_files; i++) {
                uint8_t unused[VERITY_DIGEST];
                const char *private_name;
                uint64_t size;
                int r;

                unseal_result(c->pipeline, i, &private_name, &size, unused);
                r = landing_place(c->landing, private_name, m->files[i].path, e);
                if (r < 0)
                        return r;
        }
        return landing_publish(c->landing, e);
}

static int unseal(struct command_unseal *c, struct error *e) {
        int r;

        r = open_header(c, e);
        if (r < 0)
                return r;
        r = run_pipeline(c, e);
        if (r < 0)
                return r;
        if (!c->place.is_model) {
                r = describe_single(c, e);
                if (r < 0)
                        return r;
        }
        return place_files(c, e);
}

static int print_result(const struct command_unseal *c, struct error *e) {
        _cleanup_json_ json_object *o = NULL;
        const struct model *m = c->opening.model;
        uint64_t size = model_size(m);
        double seconds = progress_seconds(&c->progress);
        char bytes[16], rate[16];
        int r;

        if (c->arguments->json) {
                r = model_to_json(m, &o, e);
                return r < 0 ? r : model_print_json(o, e);
        }
        printf("opened  %zu file%s, %s in %.1f s (%s/s)\nto      %s\n", m->n_files, m->n_files == 1 ? "" : "s",
               format_bytes(size, bytes), seconds, format_bytes((uint64_t) ((double) size / seconds), rate),
               c->arguments->to);
        return measured_print(stdout, m->digest, e);
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
