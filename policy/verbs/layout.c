/* SPDX-License-Identifier: Apache-2.0 */
#include "verbs/layout.h"

#include "basic/utf8.h"

int layout_set(void *field, const struct option_row *row, char *value, struct error *e) {
        struct layout *l = field;

        (void) row;
        l->ollama = true;
        return streq(value, "ollama") ? 0
                                      : fail(e, FAILURE_USAGE, -EINVAL, "", "--layout is 'ollama', not '%s'", value);
}

int layout_set_template(void *field, const struct option_row *row, char *value, struct error *e) {
        struct layout *l = field;

        (void) row;
        (void) e;
        l->template = value;
        return 0;
}

int layout_add_parameter(void *field, const struct option_row *row, char *value, struct error *e) {
        struct layout *l = field;
        char *equals = strchr(value, '=');

        (void) row;
        if (!equals || strspn(value, "abcdefghijklmnopqrstuvwxyz_0123456789") != (size_t) (equals - value) ||
            equals == value || !utf8_valid(equals + 1, strlen(equals + 1)))
                return fail(e, FAILURE_USAGE, -EINVAL, "",
                            "--parameter takes NAME=VALUE, with a name of a-z, 0-9 and '_', not '%s'", value);
        if (l->n_parameters >= OLLAMA_PARAMETERS_MAX)
                return fail(e, FAILURE_USAGE, -EINVAL, "", "--parameter is given more than %d times",
                            OLLAMA_PARAMETERS_MAX);
        *equals = '\0';
        l->parameters[l->n_parameters++] = (struct pair) { value, equals + 1 };
        return 0;
}

int layout_apply(const struct layout *l, const char *verb, const char *name, enum progress_mode mode,
                 struct source **source, struct ollama_store **ret, struct error *e) {
        struct ollama_options o = { *source, name, l->template, l->parameters, l->n_parameters };
        struct source *files = NULL;
        struct progress progress;
        int r;

        if (!l->ollama)
                return l->template || l->n_parameters > 0
                               ? fail(e, FAILURE_USAGE, -EINVAL, "", "--%s is for --layout ollama",
                                      l->template ? "template" : "parameter")
                               : 0;
        if ((*source)->is_directory) {
                fail(e, FAILURE_USAGE, -EINVAL, (*source)->path, "it is a directory, and --layout ollama takes a file");
                fail_advice(e, "Name the GGUF file. A directory that is Ollama's store already is sealed as it is, "
                               "without --layout.");
                return -EINVAL;
        }
        progress_begin(&progress, "hashing", model_size((*source)->model), mode);
        r = ollama_store_new(&o, &progress, ret, e);
        progress_end(&progress);
        if (r == 0)
                r = source_scan(ollama_store_path(*ret), SOURCE_LINKS_ALL, SOURCE_FILES_ALL, &files, e);
        if (r < 0)
                return r;
        if (!l->template)
                fprintf(stderr, PROGRAM " %s: there is no --template: Ollama gives prompts to the model as they are\n",
                        verb);
        source_free(*source);
        *source = files;
        return 0;
}
