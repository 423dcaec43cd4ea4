/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Command lines: one table gives what is accepted and what --help shows.
 *
 *     static const struct option_row rows[] = {
 *             { 'k', "key", "KEY", "the KMS key: ARN, id or alias", OPTION_TEXT(struct arguments, key) },
 *             { 0, "json", NULL, "print the result as JSON", OPTION_FLAG(struct arguments, json) },
 *             OPTION_HELP,
 *             {},
 *     };
 *
 * Names can be shortened as long as they are unambiguous, operands can stand anywhere, and "--" ends the options. */

#include "basic/failure.h"

struct option_row;

/* Stores one option. `field` is the field that the row names; `value` is NULL where none is taken or given, and is
 * otherwise borrowed from argv. 0 or a negative errno; FAILURE_USAGE for a value that is not valid. */
typedef int (*option_setter)(void *field, const struct option_row *row, char *value, struct error *e);

struct option_row {
        char letter;       /* 'k' for -k; 0: the option has a name alone */
        const char *name;  /* NULL: `help` is a heading of --help */
        const char *value; /* "KEY"; "[TCTI]" where it can be left out; NULL: the option takes no value */
        const char *help;  /* is wrapped; '\n' ends a line. NULL: --help does not show the option */
        option_setter set; /* NULL: options_parse() returns `number` */
        size_t offset;     /* of the field */
        int number;        /* for the setter */
};

#define OPTION_FIELD(type, field, wanted) \
        (offsetof(type, field) + \
         0 * sizeof(char[__builtin_types_compatible_p(__typeof__(((type *) NULL)->field), wanted) ? 1 : -1]))

/* The last columns of a row. They set a const char * to the value, a bool to true or false, an enum or an int to a
 * number, or they call a setter for a field or for the whole structure. */
#define OPTION_TEXT(type, field) option_text, OPTION_FIELD(type, field, const char *), 0
#define OPTION_FLAG(type, field) option_flag, OPTION_FIELD(type, field, bool), true
#define OPTION_NO_FLAG(type, field) option_flag, OPTION_FIELD(type, field, bool), false
#define OPTION_NUMBER(type, field, number) \
        option_number, \
                offsetof(type, field) + 0 * sizeof(char[sizeof(((type *) NULL)->field) == sizeof(int) ? 1 : -1]), \
                number
#define OPTION_CALL(setter, type, field) setter, offsetof(type, field), 0
#define OPTION_CALL_WHOLE(setter, number) setter, 0, number
#define OPTION_HEADING(text) \
        { 0, NULL, NULL, text, NULL, 0, 0 }
#define OPTION_HELP \
        { 'h', "help", NULL, "show this text", NULL, 0, OPTIONS_HELP }
#define OPTION_VERSION \
        { 0, "version", NULL, "print the version and exit", NULL, 0, OPTIONS_VERSION }

int option_text(void *field, const struct option_row *row, char *value, struct error *e);
int option_number(void *field, const struct option_row *row, char *value, struct error *e);
int option_flag(void *field, const struct option_row *row, char *value, struct error *e);

enum { OPTIONS_HELP = 1, OPTIONS_VERSION = 2 };

enum { OPERANDS_ANY = 1 << 16 };

struct command_line {
        const char *program;           /* "sealboot seal": messages begin with it */
        const char *usage;             /* the text of --help before the options */
        const struct option_row *rows; /* an empty row ends them */
        const char *more;              /* the text of --help behind the options */
        size_t operands_min, operands_max;
        const char *needed; /* "one document is needed": the message for too few or too many operands */
};

/* The arguments that are not options, as pointers into argv; NULL ends them. */
struct operands {
        char **items;
        size_t n;
};

/* 0, or OPTIONS_HELP or OPTIONS_VERSION as soon as that is asked for, or a negative errno: FAILURE_USAGE, or what a
 * setter says. Reorders argv. */
int options_parse(const struct command_line *c, int argc, char *argv[], void *to, struct operands *ret,
                  struct error *e);

/* The text of --help. */
void options_help(FILE *f, const struct command_line *c);
/* For FAILURE_USAGE: "PROGRAM: reason", the advice, and how to get help. */
void options_complain(FILE *f, const struct command_line *c, const struct error *e);
