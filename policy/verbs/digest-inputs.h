/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* `sealboot digest --config`: the digest of several inputs, as the agent measures them with this configuration. */

#include "configuration/config.h"
#include "owner/source.h"
#include "verbs/command.h"

struct digest_inputs {
        const char *config;
        const char *given[INPUTS_MAX]; /* "NAME=PATH", "NAME=sha384:HEX" or "NAME=absent" */
        size_t n_given;
};

/* The setter of --input. */
int digest_inputs_add(void *field, const struct option_row *row, char *text, struct error *e);

struct digest_inputs_options {
        enum source_links links;
        enum source_files all;
        bool files, verbose, json, quiet;
};
int digest_inputs_print(const struct digest_inputs *d, const struct digest_inputs_options *o, struct error *e);
