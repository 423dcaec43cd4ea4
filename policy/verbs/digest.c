/* SPDX-License-Identifier: Apache-2.0 */

/* sealboot digest: a model's digest, and the PCR15 of a machine that has loaded the model. */

#include "owner/digest.h"
#include "verbs/digest-inputs.h"
#include "verbs/layout.h"
#include "verbs/model-report.h"
#include "verbs/owner-options.h"

struct arguments {
        bool files, verbose, json, quiet, sha384;
        enum source_links links;
        enum source_files all;
        const char *name;
        struct layout layout;
        struct digest_inputs inputs;
};

static int set_measure(void *field, const struct option_row *row, char *value, struct error *e) {
        (void) row;
        if (!streq(value, "sha384") && !streq(value, "model"))
                return fail(e, FAILURE_USAGE, -EINVAL, "", "--measure is 'model' or 'sha384', not '%s'", value);
        *(bool *) field = streq(value, "sha384");
        return 0;
}

static const struct option_row option_rows[] = {
        OPTION_ALL(struct arguments, all, "take every file, bookkeeping too (above: without \\( to -prune -o)"),
        { 'f', "files", NULL, "print only the lines that the digest is taken of",
          OPTION_FLAG(struct arguments, files) },
        { 'v', "verbose", NULL, "print these lines before the digest", OPTION_FLAG(struct arguments, verbose) },
        { 0, "measure", "sha384",
          "take the plain SHA-384 of a single file, which images with \"measure\": \"sha384\" extend instead",
          OPTION_CALL(set_measure, struct arguments, sha384) },
        OPTION_LAYOUT(struct arguments, layout),
        { 0, "name", "NAME", "for --layout ollama: the name (default: that of FILE)",
          OPTION_TEXT(struct arguments, name) },
        { 0, "config", "FILE",
          "predict what the agent measures of several inputs: this is its measured configuration, whose \"inputs\" are "
          "given by --input",
          OPTION_TEXT(struct arguments, inputs.config) },
        { 0, "input", "NAME=PATH|NAME=sha384:HEX|NAME=absent",
          "with --config: the plain files of an input, its digest, or that an input that is not required is not there",
          OPTION_CALL(digest_inputs_add, struct arguments, inputs) },
        OPTION_DEREFERENCE(struct arguments, links),
        OPTION_JSON(struct arguments, json),
        OPTION_QUIET(struct arguments, quiet),
        OPTION_HELP,
        {},
};

static const struct command_line command_line = {
        .program = PROGRAM " digest",
        .usage = "Usage: sealboot digest [OPTION...] FILE|DIRECTORY\n"
                 "       sealboot digest [OPTION...] --config FILE [--input NAME=...]...\n\n"
                 "Compute a model's digest, and the PCR15 (SHA-384 bank) of a machine that has loaded it.\n\n"
                 "The digest is the SHA-384 of one line \"sha256:<fs-verity digest> <path>\" for each file, sorted by "
                 "path.\n"
                 "Anybody can check it without sealboot; the names are the bookkeeping of downloads, git and editors,\n"
                 "which is left out:\n"
                 "  (cd DIRECTORY; find -L . \\( -path '*/.cache/huggingface' -o -name .huggingface -o -name .hfd \\\n"
                 "     -o -name .msc -o -name .mdl -o -name .mv -o -name ._____temp -o -name .git \\\n"
                 "     -o -name .gitattributes -o -name .gitignore -o -name .gitmodules -o -name .lfsconfig \\\n"
                 "     -o -name .ipynb_checkpoints -o -name __pycache__ -o -name '*.swp' -o -name '*.swo' -o -name "
                 "'*~' \\\n"
                 "     -o -name .DS_Store -o -name '._*' -o -name Thumbs.db -o -name desktop.ini -o -name '.nfs*' \\\n"
                 "     -o -name lost+found \\) -prune \\\n"
                 "     -o -type f -printf '%P\\0' |\n"
                 "     LC_ALL=C sort -z | xargs -0 fsverity digest --) | sha384sum",
        .rows = option_rows,
        .more = "Exit codes: 0; 2 usage; 10 the configuration is not valid; 55 a file has a name that no manifest\n"
                "can hold; 56 the configuration does not allow an input's digest; 61 a file cannot be read, or\n"
                "changed meanwhile.\n\n"
                "Example: sealboot digest ~/models/llama-3.1-8b",
        .operands_min = 0,
        .operands_max = 1,
        .needed = "one file or directory is needed",
};

static int print_sha384(const struct arguments *a, const struct source *s, struct progress *progress, struct error *e) {
        _cleanup_json_ json_object *o = NULL;
        uint8_t digest[MODEL_DIGEST];
        int r;

        r = digest_sha384(s, progress, digest, e);
        progress_end(progress);
        if (r < 0)
                return r;
        if (!a->json)
                return measured_print(stdout, digest, e);
        r = measured_to_json(digest, &o, e);
        return r < 0 ? r : model_print_json(o, e);
}

static int print_model_json(const struct source *s, struct error *e) {
        _cleanup_json_ json_object *o = NULL;
        int r;

        r = model_to_json(s->model, &o, e);
        if (r < 0)
                return r;
        r = left_out_to_json(s, o, e);
        return r < 0 ? r : model_print_json(o, e);
}

static int print_model(const struct arguments *a, struct source *s, struct progress *progress, struct error *e) {
        int r;

        r = digest_source(s, 0, progress, e);
        progress_end(progress);
        if (r < 0)
                return r;
        if (a->json)
                return print_model_json(s, e);
        if (a->files || a->verbose)
                fputs(s->model->text, stdout);
        return a->files ? 0 : measured_print(stdout, s->model->digest, e);
}

/* 0, or an exit code. */
static int check_arguments(const struct arguments *a, const char *path) {
        if (a->json + a->files + a->verbose > 1)
                return command_usage("digest", "give only one of --json, --files and --verbose");
        if (a->inputs.n_given > 0 && !a->inputs.config)
                return command_usage("digest", "--input is for --config");
        if (a->inputs.config && (path || a->sha384 || a->layout.ollama))
                return command_usage("digest", "--config stands in the place of %s",
                                     path        ? path
                                     : a->sha384 ? "--measure sha384"
                                                 : "--layout");
        if (a->inputs.config)
                return 0;
        if (!path)
                return command_usage("digest", "%s", command_line.needed);
        return command_local("digest", path,
                             "The digest is taken of the plain files. Of a sealed model, 'sealboot seal' printed it, "
                             "and 'sealboot unseal' prints it.");
}

static int lay_out(const struct arguments *a, const char *path, struct source **s, struct ollama_store **ret,
                   struct error *e) {
        _cleanup_free_ char *resolved = realpath(path, NULL);

        if (!resolved)
                return fail(e, FAILURE_IO, -errno, path, "its path cannot be resolved: %m");
        if (a->name && !a->layout.ollama)
                return fail(e, FAILURE_USAGE, -EINVAL, "", "--name is for --layout ollama");
        return layout_apply(&a->layout, "digest", a->name ?: basename(resolved),
                            a->quiet ? PROGRESS_QUIET : PROGRESS_AUTO, s, ret, e);
}

/* Returns the exit code. */
static int print_inputs(const struct arguments *a) {
        const struct digest_inputs_options o = {
                .links = a->links,
                .all = a->all,
                .files = a->files,
                .verbose = a->verbose,
                .json = a->json,
                .quiet = a->quiet,
        };
        struct error e = {};
        int r;

        r = digest_inputs_print(&a->inputs, &o, &e);
        if (r < 0 && e.failure == FAILURE_USAGE)
                return command_misused(&command_line, &e);
        return r < 0 ? command_failed(&e) : 0;
}

int cmd_digest(int argc, char *argv[]) {
        _cleanup_(ollama_store_freep) struct ollama_store *store = NULL;
        _cleanup_source_ struct source *s = NULL;
        struct arguments a = {};
        struct operands operands;
        struct progress progress;
        struct error e = {};
        int code, r;

        if (!command_parse(&command_line, argc, argv, &a, &operands, &code))
                return code;
        code = check_arguments(&a, operands.items[0]);
        if (code != 0)
                return code;
        if (a.inputs.config)
                return print_inputs(&a);
        r = source_scan(operands.items[0], a.links, a.all, &s, &e);
        if (r < 0)
                return command_failed(&e);
        left_out_print("digest", s);
        r = lay_out(&a, operands.items[0], &s, &store, &e);
        if (r < 0)
                return command_failed(&e);
        if (a.sha384 && s->is_directory)
                return command_usage("digest", "--measure sha384 is for a single file; %s is a directory",
                                     operands.items[0]);
        progress_begin(&progress, "hashing", model_size(s->model), a.quiet ? PROGRESS_QUIET : PROGRESS_AUTO);
        r = a.sha384 ? print_sha384(&a, s, &progress, &e) : print_model(&a, s, &progress, &e);
        return r < 0 ? command_failed(&e) : 0;
}
