/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The verbs of `sealboot`. Each is a function cmd_<verb>() in a file of its own, with a table of its options. It
 * returns the exit code: 0, an enum failure, or another value that its man page documents. */

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
int cmd_audit(int argc, char *argv[]);
int cmd_connect(int argc, char *argv[]);
int cmd_digest(int argc, char *argv[]);
int cmd_doctor(int argc, char *argv[]);
int cmd_fleet(int argc, char *argv[]);
int cmd_inspect(int argc, char *argv[]);
int cmd_measure(int argc, char *argv[]);
int cmd_policy(int argc, char *argv[]);
int cmd_replay(int argc, char *argv[]);
int cmd_seal(int argc, char *argv[]);
int cmd_status(int argc, char *argv[]);
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
/* Refuses a name in S3 or elsewhere, where only a local path makes sense: 0, or the exit code after a message. */
int command_local(const char *verb, const char *path, const char *why);
/* Sets this verb's advice for this failure, unless the error has advice of its own. */
void command_advise(struct error *e, enum failure failure, const char *advice);
/* A model digest as `sealboot seal` and `digest` print it, sha384:HEX, or its hex digits alone: 0 or -EINVAL. */
int command_digest(const char *text, uint8_t ret[static SHA384_SIZE]);
/* The setter of --connections, 1 to 256, into an unsigned. */
int command_connections(void *field, const struct option_row *row, char *value, struct error *e);
/* The setter of --reference, into a struct references. */
int command_reference(void *field, const struct option_row *row, char *path, struct error *e);

/* Parses a verb's command line into `to`. False: --help or an error has been printed, and the verb ends with *ret_code.
 */
bool command_parse(const struct command_line *c, int argc, char *argv[], void *to, struct operands *ret, int *ret_code);
/* Reports a fault of the command line that is found later in the same way; returns the exit code. */
int command_misused(const struct command_line *c, const struct error *e);

/* Prints the result as JSON on standard output. `flags`: json-c's, for the layout of this verb. */
int command_print_json(json_object *o, int flags, struct error *e);
