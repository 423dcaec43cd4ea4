/* SPDX-License-Identifier: Apache-2.0 */

/* sealboot seal: from plain files to a sealed model, with one call to KMS. */

#include "basic/encode.h"
#include "basic/utf8.h"
#include "owner/digest.h"
#include "owner/kms-write.h"
#include "owner/remote-name.h"
#include "owner/seal-model.h"
#include "verbs/layout.h"
#include "verbs/model-report.h"
#include "verbs/owner-options.h"

enum { CONTEXT_MAX = 32, TEXT_MAX = 256 };

struct arguments {
        const char *key, *name, *version, *from, *to;
        struct pair context[CONTEXT_MAX + 3]; /* and three that are added: model, version, and the mark or file */
        size_t n_context;
        uint32_t frame_length;
        unsigned connections;
        enum source_links links;
        enum source_files files;
        struct layout layout;
        bool force, json, quiet;
};

static int add_context(void *arguments, const struct option_row *row, char *text, struct error *e) {
        static const char *const ours[] = { "model", "version", MODEL_FILE_CONTEXT, MODEL_MARK_CONTEXT };
        struct arguments *a = arguments;
        char *equals = strchr(text, '=');

        (void) row;
        if (!equals || equals == text)
                return fail(e, FAILURE_USAGE, -EINVAL, "", "--context takes NAME=VALUE, not '%s'", text);
        if (!utf8_valid(text, strlen(text)))
                return fail(e, FAILURE_USAGE, -EINVAL, "", "--context takes UTF-8 text");
        *equals = '\0';
        for (size_t i = 0; i < ELEMENTS(ours); i++)
                if (streq(text, ours[i]))
                        return fail(e, FAILURE_USAGE, -EINVAL, "",
                                    "'%s' is added to the encryption context automatically%s", text,
                                    i < 2 ? ": use --name and --version" : "");
        if (strncmp(text, "aws-crypto-", strlen("aws-crypto-")) == 0)
                return fail(e, FAILURE_USAGE, -EINVAL, "",
                            "it names that start with 'aws-crypto-' belong to the AWS Encryption SDK");
        for (size_t i = 0; i < a->n_context; i++)
                if (streq(a->context[i].name, text))
                        return fail(e, FAILURE_USAGE, -EINVAL, "", "'%s' is given twice", text);
        if (a->n_context >= CONTEXT_MAX)
                return fail(e, FAILURE_USAGE, -EINVAL, "", "--context is given more than %d times", CONTEXT_MAX);
        a->context[a->n_context++] = (struct pair) { text, equals + 1 };
        return 0;
}

static int set_frame_length(void *field, const struct option_row *row, char *value, struct error *e) {
        uint64_t n;

        (void) row;
        if (decimal_parse(value, SEAL_FRAME_LENGTH_MAX, &n) < 0 || n < SEAL_FRAME_LENGTH_MIN || (n & (n - 1)) != 0)
                return fail(e, FAILURE_USAGE, -EINVAL, "",
                            "--frame-length is a power of two from 4096 to 16777216, not '%s'", value);
        *(uint32_t *) field = (uint32_t) n;
        return 0;
}

/* A name or a version. */
static int set_text(void *field, const struct option_row *row, char *value, struct error *e) {
        if (!value[0] || strlen(value) > TEXT_MAX || !utf8_valid(value, strlen(value)))
                return fail(e, FAILURE_USAGE, -EINVAL, "", "--%s takes 1 to %d bytes of UTF-8 text", row->name,
                            TEXT_MAX);
        *(const char **) field = value;
        return 0;
}

static const struct option_row option_rows[] = {
        { 'k', "key", "KEY", "the KMS key: ARN, id, alias/NAME or alias ARN", OPTION_TEXT(struct arguments, key) },
        { 'n', "name", "NAME", "the model's name (default: that of FILE or DIRECTORY)",
          OPTION_CALL(set_text, struct arguments, name) },
        { 'V', "version", "VERSION", "the model's version (default: 1)",
          OPTION_CALL(set_text, struct arguments, version) },
        { 'c', "context", "NAME=VALUE",
          "add to the encryption context, which key policies can require and CloudTrail shows; repeatable. Always in "
          "it are \"model\" (the name), \"version\", and for a model with a manifest \"sealboot\", for a single object "
          "\"file\" (the file's name)",
          OPTION_CALL_WHOLE(add_context, 0) },
        { 0, "frame-length", "BYTES", "a power of two from 4096 to 16777216 (default: 1048576)",
          OPTION_CALL(set_frame_length, struct arguments, frame_length) },
        { 0, "connections", "N", "number of uploads at the same time (default: 4 for each CPU, 8 to 64)",
          OPTION_CALL(command_connections, struct arguments, connections) },
        OPTION_DEREFERENCE(struct arguments, links),
        OPTION_ALL(struct arguments, files,
                   "take every file. Without it the bookkeeping of downloads, git and editors is left out: "
                   ".cache/huggingface "
                   ".huggingface .hfd .msc .mdl .mv ._____temp .git .gitattributes .gitignore .gitmodules .lfsconfig "
                   ".ipynb_checkpoints __pycache__ *.swp *.swo *~ .DS_Store ._* Thumbs.db desktop.ini .nfs* "
                   "lost+found; "
                   "pointers of Git LFS and unfinished downloads are refused"),
        OPTION_LAYOUT(struct arguments, layout),
        { 0, "force", NULL, "replace a sealed model or object at the destination",
          OPTION_FLAG(struct arguments, force) },
        OPTION_JSON(struct arguments, json),
        OPTION_QUIET(struct arguments, quiet),
        OPTION_HELP,
        {},
};

static const struct command_line command_line = {
        .program = PROGRAM " seal",
        .usage = "Usage: sealboot seal --key KEY [OPTION...] FILE|DIRECTORY s3://BUCKET/PREFIX/\n"
                 "       sealboot seal --key KEY [OPTION...] FILE s3://BUCKET/OBJECT\n\n"
                 "Encrypt a model under an AWS KMS key and upload it, in the message format of the AWS Encryption\n"
                 "SDK. A destination that ends in '/' becomes a model: one object for each file, and a manifest,\n"
                 "which is written last. Any other destination becomes a single object. A destination can also be\n"
                 "a local path.",
        .rows = option_rows,
        .more = "Prints the model's digest, and the PCR15 (SHA-384 bank) that a machine which loads it attests to.\n"
                "On failure nothing is left at the destination. Exit codes: 0; 2 usage; 10 environment;\n"
                "13-15 credentials, clock, network; 30-34 KMS; 40-44 S3; 55 names that no manifest can hold;\n"
                "56 a file of Ollama's store that is not what its name says; "
                "60 the destination exists; 61 local files.\n\n"
                "Example: sealboot seal --key alias/models --name llama --version 3.1 ~/models/llama \\\n"
                "         s3://models/llama/3.1/",
        .operands_max = OPERANDS_ANY, /* counted below: the key is asked for first */
};

/* 0, or an exit code. */
static int check_arguments(struct arguments *a, const struct operands *operands) {
        if (!a->key)
                return command_usage("seal", "--key is needed: the KMS key to seal under");
        if (operands->n != 2)
                return command_usage("seal", "two arguments are needed: what to seal, and where to");
        a->from = operands->items[0];
        a->to = operands->items[1];
        return command_local("seal", a->from, "A model is sealed from a local file or directory: download it first.");
}

/* What is sealed, where to, and under which key. */
struct command_seal {
        struct arguments *arguments;
        struct ollama_store *store; /* NULL: the files are sealed as they are */
        struct source *source;
        struct place place;
        struct owner *owner;
        char *name; /* resolved, of the model */
        struct kms_data_key key;
        struct progress progress;
};

static void command_seal_done(struct command_seal *c) {
        source_free(c->source);
        ollama_store_free(c->store);
        place_done(&c->place);
        owner_free(c->owner);
        free(c->name);
        kms_data_key_done(&c->key);
}

/* The resolved path names the model: "." and "/" are no names. */
static int name_model(struct command_seal *c, struct error *e) {
        _cleanup_free_ char *resolved = realpath(c->source->path, NULL);

        if (!resolved)
                return fail(e, FAILURE_IO, -errno, c->source->path, "its path cannot be resolved: %m");
        c->name = strdup(c->arguments->name ?: basename(resolved));
        if (!c->name)
                return fail_oom(e);
        if (!c->name[0] || strlen(c->name) > TEXT_MAX || !utf8_valid(c->name, strlen(c->name))) {
                fail(e, FAILURE_USAGE, -EINVAL, c->source->path, "its name cannot be the model's");
                fail_advice(e, "Give the model a name: --name.");
                return -EINVAL;
        }
        return 0;
}

/* A local destination of a directory is a directory. In S3 a slash at the end decides, and is not guessed. */
static int parse_destination(struct command_seal *c, struct error *e) {
        struct arguments *a = c->arguments;
        bool is_s3 = is_remote(a->to);
        _cleanup_free_ char *to = NULL;
        int r;

        if (asprintf(&to, "%s%s", a->to, c->source->is_directory && !is_s3 ? "/" : "") < 0)
                return fail_oom(e);
        r = place_parse(to, &c->place, e);
        if (r < 0 || c->place.is_model || !c->source->is_directory)
                return r;
        fail(e, FAILURE_USAGE, -EINVAL, a->to, "it is a single object, and %s is %s", a->from,
             c->store ? "made into several files" : "a directory");
        fail_advice(e, "Let the destination end in '/': it becomes a prefix.");
        return -EINVAL;
}

/* Of a store that the owner brings. The store that --layout makes has the names that its files need. */
static int check_addresses(const struct command_seal *c, struct error *e) {
        struct progress progress;
        int r;

        progress_begin(&progress, "hashing", digest_addressed_bytes(c->source),
                       c->arguments->quiet ? PROGRESS_QUIET : PROGRESS_AUTO);
        r = digest_check_addresses(c->source, &progress, e);
        progress_end(&progress);
        return r;
}

static int prepare(struct command_seal *c, struct error *e) {
        struct arguments *a = c->arguments;
        int r;

        r = source_scan(a->from, a->links, a->files, &c->source, e);
        if (r < 0)
                return r;
        left_out_print("seal", c->source);
        r = name_model(c, e);
        if (r == 0)
                r = layout_apply(&a->layout, "seal", c->name, a->quiet ? PROGRESS_QUIET : PROGRESS_AUTO, &c->source,
                                 &c->store, e);
        if (r < 0)
                return r;
        r = parse_destination(c, e);
        if (r < 0)
                return r;
        r = owner_new(&c->owner, e);
        if (r < 0)
                return r;
        r = a->force ? 0 : seal_model_check(&c->place, c->owner, e);
        return r < 0 || c->store ? r : check_addresses(c, e);
}

static int generate_key(struct command_seal *c, struct error *e) {
        struct arguments *a = c->arguments;
        int r;

        a->context[a->n_context++] = (struct pair) { "model", c->name };
        a->context[a->n_context++] = (struct pair) { "version", a->version };
        a->context[a->n_context++] = c->place.is_model
                                             ? (struct pair) { MODEL_MARK_CONTEXT, MODEL_MARK_MANIFEST }
                                             : (struct pair) { MODEL_FILE_CONTEXT, c->source->model->files[0].path };
        r = kms_generate_data_key(c->owner->kms, a->key, a->context, a->n_context, &c->key, e);
        if (r < 0)
                command_advise(e, FAILURE_KMS_DENIED,
                               "To seal, your identity needs kms:GenerateDataKey on the key; `sealboot policy "
                               "--sealer` writes a key policy that allows it.");
        return r;
}

static int seal(struct command_seal *c, struct error *e) {
        struct arguments *a = c->arguments;
        struct seal_key key = {
                .data_key = c->key.plaintext,
                .context = a->context,
                .n_context = a->n_context,
                .frame_length = a->frame_length,
                .encrypted = { .provider = (char *) "aws-kms",
                               .info = c->key.key_arn,
                               .info_size = strlen(c->key.key_arn),
                               .ciphertext = c->key.blob,
                               .ciphertext_size = c->key.size },
        };
        struct seal_model s = { .source = c->source,
                                .name = c->name,
                                .version = a->version,
                                .place = &c->place,
                                .owner = c->owner,
                                .key = &key,
                                .connections = a->connections,
                                .progress = &c->progress };
        int r;

        progress_begin(&c->progress, "sealing", model_size(c->source->model),
                       a->quiet ? PROGRESS_QUIET : PROGRESS_AUTO);
        r = seal_model(&s, a->force, e);
        progress_end(&c->progress);
        return r;
}

static int print_json(const struct command_seal *c, struct error *e) {
        const struct arguments *a = c->arguments;
        _cleanup_json_ json_object *o = NULL;
        json_object *context;
        int r;

        r = model_to_json(c->source->model, &o, e);
        if (r < 0)
                return r;
        context = json_object_new_object();
        for (size_t i = 0; i < a->n_context; i++)
                json_object_object_add(context, a->context[i].name, json_object_new_string(a->context[i].value));
        json_object_object_add(o, "encryption_context", context);
        json_object_object_add(o, "key", json_object_new_string(c->key.key_arn));
        json_object_object_add(o, "destination", json_object_new_string(a->to));
        r = left_out_to_json(c->source, o, e);
        return r < 0 ? r : model_print_json(o, e);
}

static int print_text(const struct command_seal *c, struct error *e) {
        uint64_t size = model_size(c->source->model);
        double seconds = progress_seconds(&c->progress);
        size_t n = c->source->model->n_files;
        char bytes[16], rate[16];

        printf("sealed  %zu file%s, %s in %.1f s (%s/s)\nto      %s%s\nkey     %s\n", n, n == 1 ? "" : "s",
               format_bytes(size, bytes), seconds, format_bytes((uint64_t) ((double) size / seconds), rate),
               c->arguments->to,
               c->place.bucket     ? ""
               : c->place.is_model ? " (a local directory)"
                                   : " (a local file)",
               c->key.key_arn);
        return measured_print(stdout, c->source->model->digest, e);
}

int cmd_seal(int argc, char *argv[]) {
        struct arguments a = { .version = "1", .frame_length = MESSAGE_FRAME_LENGTH };
        _cleanup_(command_seal_done) struct command_seal c = { .arguments = &a };
        struct error e = {};
        struct operands operands;
        int code;

        if (!command_parse(&command_line, argc, argv, &a, &operands, &code))
                return code;
        code = check_arguments(&a, &operands);
        if (code != 0)
                return code;
        if (prepare(&c, &e) < 0 || generate_key(&c, &e) < 0 || seal(&c, &e) < 0 ||
            (a.json ? print_json(&c, &e) : print_text(&c, &e)) < 0)
                return command_failed(&e);
        return 0;
}
