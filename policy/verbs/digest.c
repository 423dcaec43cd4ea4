/* SPDX-License-Identifier: Apache-2.0 */

/* sealboot digest: what a model will measure as, before or after it is sealed. */

#include <getopt.h>

#include "owner/digest.h"
#include "verbs/command.h"
#include "verbs/model-report.h"

static void help(void) {
        puts("Usage: sealboot digest [OPTION...] FILE|DIRECTORY\n\n"
             "Compute a model's digest, and the PCR15 (SHA-384 bank) of a machine that has loaded it.\n\n"
             "The digest is the SHA-384 of one line \"sha256:<fs-verity digest> <path>\" for each file, sorted by path.\n"
             "Anybody can check it without sealboot; the names are the bookkeeping of downloads, git and editors,\n"
             "which is left out:\n"
             "  (cd DIRECTORY; find -L . \\( -path '*/.cache/huggingface' -o -name .huggingface -o -name .hfd \\\n"
             "     -o -name .msc -o -name .mdl -o -name .mv -o -name ._____temp -o -name .git \\\n"
             "     -o -name .gitattributes -o -name .gitignore -o -name .gitmodules -o -name .lfsconfig \\\n"
             "     -o -name .ipynb_checkpoints -o -name __pycache__ -o -name '*.swp' -o -name '*.swo' -o -name '*~' \\\n"
             "     -o -name .DS_Store -o -name '._*' -o -name Thumbs.db -o -name desktop.ini -o -name '.nfs*' \\\n"
             "     -o -name lost+found \\) -prune \\\n"
             "     -o -type f -printf '%P\\0' |\n"
             "     LC_ALL=C sort -z | xargs -0 fsverity digest --) | sha384sum\n\n"
             "  -a, --all              take every file, bookkeeping too (above: without \\( to -prune -o)\n"
             "  -f, --files            print only those lines, as the digest is taken of them\n"
             "  -v, --verbose          print them before the digest\n"
             "      --measure sha384   of a single file, what images with \"measure\": \"sha384\" extend instead: its SHA-384\n"
             "  -L, --dereference      follow symbolic links out of the directory, too (Hugging Face snapshots have them)\n"
             "      --json             print the result as JSON\n"
             "  -q, --quiet            show no progress\n"
             "  -h, --help             show this text\n\n"
             "Exit codes: 0; 2 usage; 55 a file has a name that no manifest can hold; 61 a file cannot be read, or\n"
             "changed meanwhile.\n\n"
             "Example: sealboot digest ~/models/llama-3.1-8b");
}

struct arguments {
        const char *path;
        bool files, verbose, json, quiet, sha384;
        enum source_links links;
        enum source_files all;
};

/* 0, or an exit code; -1 after --help. */
static int parse_arguments(int argc, char *argv[], struct arguments *a) {
        enum { MEASURE = 256, JSON };
        static const struct option options[] = {
                { "files", no_argument, NULL, 'f' },       { "verbose", no_argument, NULL, 'v' },
                { "measure", required_argument, NULL, MEASURE }, { "dereference", no_argument, NULL, 'L' },
                { "all", no_argument, NULL, 'a' },
                { "json", no_argument, NULL, JSON },       { "quiet", no_argument, NULL, 'q' },
                { "help", no_argument, NULL, 'h' },        {},
        };
        int c;

        while ((c = getopt_long(argc, argv, "fvLaqh", options, NULL)) >= 0)
                switch (c) {
                case 'f':
                        a->files = true;
                        break;
                case 'v':
                        a->verbose = true;
                        break;
                case MEASURE:
                        if (!streq(optarg, "sha384") && !streq(optarg, "model"))
                                return command_usage("digest", "--measure is 'model' or 'sha384', not '%s'", optarg);
                        a->sha384 = streq(optarg, "sha384");
                        break;
                case 'L':
                        a->links = SOURCE_LINKS_ALL;
                        break;
                case 'a':
                        a->all = SOURCE_FILES_ALL;
                        break;
                case JSON:
                        a->json = true;
                        break;
                case 'q':
                        a->quiet = true;
                        break;
                case 'h':
                        help();
                        return -1;
                default:
                        return command_usage("digest", "what is wrong is said above");
                }
        if (argc - optind != 1)
                return command_usage("digest", "one file or directory is needed");
        a->path = argv[optind];
        if (a->json + a->files + a->verbose > 1)
                return command_usage("digest", "--json, --files and --verbose exclude each other");
        return command_local("digest", a->path,
                             "The digest is taken of the plain files. Of a sealed model, 'sealboot seal' printed it, and "
                             "'sealboot unseal' prints it.");
}

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
        return r < 0 ? r : json_print(stdout, o, e);
}

static int print_model(const struct arguments *a, struct source *s, struct progress *progress, struct error *e) {
        _cleanup_json_ json_object *o = NULL;
        _cleanup_free_ char *text = NULL;
        size_t n;
        int r;

        r = digest_source(s, 0, progress, e);
        progress_end(progress);
        if (r == 0 && a->json) {
                r = model_to_json(s->model, &o, e);
                if (r == 0)
                        r = left_out_to_json(s, o, e);
                return r < 0 ? r : json_print(stdout, o, e);
        }
        if (r == 0)
                r = model_text(s->model, &text, &n, e);
        if (r < 0)
                return r;
        if (a->files || a->verbose)
                fputs(text, stdout);
        return a->files ? 0 : measured_print(stdout, s->model->digest, e);
}

int cmd_digest(int argc, char *argv[]) {
        _cleanup_source_ struct source *s = NULL;
        struct arguments a = {};
        struct progress progress;
        struct error e = {};
        int r;

        r = parse_arguments(argc, argv, &a);
        if (r != 0)
                return MAX_OF(r, 0);
        r = source_scan(a.path, a.links, a.all, &s, &e);
        if (r < 0)
                return command_failed(&e);
        left_out_print("digest", s);
        if (a.sha384 && s->is_directory)
                return command_usage("digest", "--measure sha384 is for a single file; %s is a directory", a.path);
        progress_begin(&progress, "hashing", model_size(s->model), a.quiet ? PROGRESS_QUIET : PROGRESS_AUTO);
        r = a.sha384 ? print_sha384(&a, s, &progress, &e) : print_model(&a, s, &progress, &e);
        return r < 0 ? command_failed(&e) : 0;
}
