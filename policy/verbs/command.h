/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What every verb of `sealboot` is: one cmd_<verb>() in its own file, with a table of its options, which returns the
 * exit code: 0, an enum failure, or what its man page documents beyond that. */

#include "basic/json.h"
#include "basic/options.h"
#include "evidence/registers.h"

#define PROGRAM "sealboot"

struct command {
        const char *verb;
        const char *synopsis;               /* "UKI.efi... [--event-log]" */
        const char *summary;                /* one line */
        int (*run)(int argc, char *argv[]); /* argv[0] is the verb */
};

int cmd_attest(int argc, char *argv[]);
int cmd_connect(int argc, char *argv[]);
int cmd_digest(int argc, char *argv[]);
int cmd_doctor(int argc, char *argv[]);
int cmd_inspect(int argc, char *argv[]);
int cmd_measure(int argc, char *argv[]);
int cmd_policy(int argc, char *argv[]);
int cmd_replay(int argc, char *argv[]);
int cmd_seal(int argc, char *argv[]);
int cmd_unseal(int argc, char *argv[]);
int cmd_verify(int argc, char *argv[]);

/* `sealboot policy check` and `sealboot policy diff`. */
int policy_check(int argc, char *argv[]);
int policy_diff(int argc, char *argv[]);

/* Rows that most verbs have. */
#define OPTION_JSON(type, field) \
        { 0, "json", NULL, "print the result as JSON", OPTION_FLAG(type, field) }

/* Prints the error block on standard error and returns its exit code. */
int command_failed(const struct error *e);
/* "sealboot VERB: ..." with a pointer to --help; returns FAILURE_USAGE. */
int command_usage(const char *verb, const char *format, ...) _printf_(2, 3);
/* 0, or an exit code after a message for a name that is in S3 or elsewhere, where only a local path makes sense. */
int command_local(const char *verb, const char *path, const char *why);
/* What to do about this failure in this verb, unless where it failed knew better. */
void command_advise(struct error *e, enum failure failure, const char *advice);
/* A model digest as `sealboot seal` and `digest` print it, sha384:HEX, or its hex digits alone: 0 or -EINVAL. */
int command_digest(const char *text, uint8_t ret[static SHA384_SIZE]);
/* The setter of --connections, 1 to 256, into an unsigned. */
int command_connections(void *field, const struct option_row *row, char *value, struct error *e);
/* The setter of --reference, into a struct references. */
int command_reference(void *field, const struct option_row *row, char *path, struct error *e);

/* Parses a verb's command line into `to`. False: the verb ends with *ret_code, and --help or what is wrong has been
 * printed. */
bool command_parse(const struct command_line *c, int argc, char *argv[], void *to, struct operands *ret, int *ret_code);
/* The same exit code and words for a fault of the command line that is found later. */
int command_misused(const struct command_line *c, const struct error *e);

/* Prints the result as JSON on standard output. `flags`: of json-c, for what a verb has always printed. */
int command_print_json(json_object *o, int flags, struct error *e);
