/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* --layout: the files that an inference server expects, made of the owner's file when it is sealed or digested. */

#include "owner/ollama-store.h"
#include "verbs/command.h"

struct layout {
        bool ollama;
        const char *template;
        struct pair parameters[OLLAMA_PARAMETERS_MAX];
        size_t n_parameters;
};

#define OPTION_LAYOUT(type, field) \
        { 0, "layout", "ollama", \
          "make FILE, a GGUF file, into the directory that Ollama keeps a model in; its clients ask for the model by " \
          "--name", \
          OPTION_CALL(layout_set, type, field) }, \
                { 0, "template", "FILE", \
                  "for --layout ollama: how messages become a prompt, in Go's template language, as in Ollama's " \
                  "TEMPLATE", \
                  OPTION_CALL(layout_set_template, type, field) }, \
        { \
                0, "parameter", "NAME=VALUE", \
                        "for --layout ollama: a parameter, as in Ollama's PARAMETER; repeatable. use_mmap is true " \
                        "unless this says otherwise", \
                        OPTION_CALL(layout_add_parameter, type, field) \
        }

int layout_set(void *field, const struct option_row *row, char *value, struct error *e);
int layout_set_template(void *field, const struct option_row *row, char *value, struct error *e);
int layout_add_parameter(void *field, const struct option_row *row, char *value, struct error *e);

/* Replaces *source by the files of the layout, if there is one. They are removed with *ret, which stays NULL without a
 * layout. */
int layout_apply(const struct layout *l, const char *verb, const char *name, enum progress_mode mode,
                 struct source **source, struct ollama_store **ret, struct error *e);
