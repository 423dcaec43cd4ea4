/* SPDX-License-Identifier: Apache-2.0 */
#include "basic/options.h"

#include <getopt.h>

/* getopt_long() returns a letter, or NAMED and the row's number. */
enum { ROWS_MAX = 48, NAMED = 0x100 };

enum { LABEL_MAX = 64, LABEL_COLUMN_MAX = 32, WIDTH = 110 };

int option_text(void *field, const struct option_row *row, char *value, struct error *e) {
        (void) row;
        (void) e;
        *(const char **) field = value;
        return 0;
}

int option_flag(void *field, const struct option_row *row, char *value, struct error *e) {
        (void) value;
        (void) e;
        *(bool *) field = row->number;
        return 0;
}

int option_number(void *field, const struct option_row *row, char *value, struct error *e) {
        (void) value;
        (void) e;
        *(int *) field = row->number;
        return 0;
}

static bool row_is_last(const struct option_row *row) {
        return !row->name && !row->help;
}

static int value_kind(const struct option_row *row) {
        return !row->value ? no_argument : row->value[0] == '[' ? optional_argument : required_argument;
}

struct getopt_tables {
        struct option names[ROWS_MAX + 1];
        char letters[1 + 3 * ROWS_MAX + 1];
};

/* With ':' first, getopt_long() tells a missing value from an unknown option. */
static int make_tables(const struct option_row *rows, struct getopt_tables *ret, struct error *e) {
        struct option *name = ret->names;
        char *letter = ret->letters;

        *letter++ = ':';
        for (const struct option_row *row = rows; !row_is_last(row); row++) {
                if (row - rows >= ROWS_MAX)
                        return fail(e, FAILURE_INTERNAL, -E2BIG, "", "the table of options has more than %d rows",
                                    ROWS_MAX);
                if (!row->name)
                        continue;
                *name++ = (struct option) { row->name, value_kind(row), NULL, NAMED + (int) (row - rows) };
                if (!row->letter)
                        continue;
                *letter++ = row->letter;
                /* One for required_argument, two for optional_argument: their numbers. */
                for (int colons = value_kind(row); colons > 0; colons--)
                        *letter++ = ':';
        }
        *name = (struct option) {};
        *letter = '\0';
        return 0;
}

/* NULL for a letter that no row has. */
static const struct option_row *find_row(const struct option_row *rows, int c) {
        if (c >= NAMED)
                return &rows[c - NAMED];
        for (const struct option_row *row = rows; !row_is_last(row); row++)
                if (row->name && row->letter == (char) c)
                        return row;
        return NULL;
}

/* getopt_long() does not tell an unknown name from an ambiguous one. */
static int refuse_name(const struct option_row *rows, const char *word, struct error *e) {
        size_t n = strcspn(word, "="), used = 0, matching = 0;
        char names[128] = "";

        for (const struct option_row *row = rows; n > 2 && !row_is_last(row); row++) {
                if (!row->name || strncmp(row->name, word + 2, n - 2) != 0)
                        continue;
                matching++;
                if (used < sizeof names)
                        used += (size_t) snprintf(names + used, sizeof names - used, "%s--%s", used > 0 ? ", " : "",
                                                  row->name);
        }
        if (matching > 1)
                return fail(e, FAILURE_USAGE, -EINVAL, "", "option '%s' is ambiguous: %s", word, names);
        return fail(e, FAILURE_USAGE, -EINVAL, "", "unrecognized option '%s'", word);
}

/* The error for an option that getopt_long() refuses: `c` is what it returned, `word` the argument at which it stopped.
 */
static int refuse(const struct option_row *rows, int c, const char *word, struct error *e) {
        const struct option_row *row = optopt ? find_row(rows, optopt) : NULL;

        if (row && c == ':')
                return fail(e, FAILURE_USAGE, -EINVAL, "", "option '--%s' needs a value: %s", row->name, row->value);
        if (row)
                return fail(e, FAILURE_USAGE, -EINVAL, "", "option '--%s' takes no value", row->name);
        if (optopt)
                return fail(e, FAILURE_USAGE, -EINVAL, "", "unrecognized option '-%c'", optopt);
        return refuse_name(rows, word, e);
}

static int check_operands(const struct command_line *c, const struct operands *operands, struct error *e) {
        if (operands->n >= c->operands_min && operands->n <= c->operands_max)
                return 0;
        if (c->needed)
                return fail(e, FAILURE_USAGE, -EINVAL, "", "%s", c->needed);
        return fail(e, FAILURE_USAGE, -EINVAL, "", "'%s' is one argument too many", operands->items[c->operands_max]);
}

int options_parse(const struct command_line *c, int argc, char *argv[], void *to, struct operands *ret,
                  struct error *e) {
        struct getopt_tables tables = {};
        struct operands operands;
        int r, option;

        r = make_tables(c->rows, &tables, e);
        if (r < 0)
                return r;
        optind = 0; /* glibc's way to begin anew */
        opterr = 0;
        while ((option = getopt_long(argc, argv, tables.letters, tables.names, NULL)) >= 0) {
                const struct option_row *row = option == ':' || option == '?' ? NULL : find_row(c->rows, option);

                if (!row)
                        return refuse(c->rows, option, argv[optind - 1], e);
                if (!row->set)
                        return row->number;
                r = row->set((char *) to + row->offset, row, optarg, e);
                if (r < 0)
                        return r;
        }
        operands = (struct operands) { argv + optind, (size_t) (argc - optind) };
        r = check_operands(c, &operands, e);
        if (r < 0)
                return r;
        *ret = operands;
        return 0;
}

static int make_label(const struct option_row *row, char ret[static LABEL_MAX]) {
        char letter[] = { ' ', ' ', ' ', ' ', '\0' };

        if (row->letter)
                memcpy(letter, (char[]) { '-', row->letter, ',', ' ' }, 4);
        return snprintf(ret, LABEL_MAX, "  %s--%s%s%s", letter, row->name,
                        value_kind(row) == required_argument   ? " "
                        : value_kind(row) == optional_argument ? "[="
                                                               : "",
                        row->value ? row->value + (row->value[0] == '[') : "");
}

/* In lines of at most WIDTH, from this column on; the cursor is there. */
static void print_wrapped(FILE *f, const char *text, int column) {
        int at = column;

        while (*text) {
                int n = (int) strcspn(text, " \n");

                if (at > column && at + 1 + n > WIDTH) {
                        fprintf(f, "\n%*s", column, "");
                        at = column;
                }
                if (at > column)
                        fputc(' ', f);
                fprintf(f, "%.*s", n, text);
                at += n + (at > column);
                text += n;
                if (*text == '\n') {
                        fprintf(f, "\n%*s", column, "");
                        at = column;
                }
                text += *text != '\0';
        }
        fputc('\n', f);
}

static void print_rows(FILE *f, const struct option_row *rows) {
        char label[LABEL_MAX];
        int column = 0;

        for (const struct option_row *row = rows; !row_is_last(row); row++)
                if (row->name && row->help && make_label(row, label) + 2 <= LABEL_COLUMN_MAX)
                        column = MAX_OF(column, make_label(row, label) + 2);
        for (const struct option_row *row = rows; !row_is_last(row); row++) {
                if (!row->name)
                        fprintf(f, "%s%s\n", row > rows ? "\n" : "", row->help);
                if (!row->name || !row->help)
                        continue;
                if (make_label(row, label) + 2 > column)
                        fprintf(f, "%s\n%*s", label, column, "");
                else
                        fprintf(f, "%-*s", column, label);
                print_wrapped(f, row->help, column);
        }
}

void options_help(FILE *f, const struct command_line *c) {
        fprintf(f, "%s\n\n", c->usage);
        print_rows(f, c->rows);
        fprintf(f, "\n%s\n", c->more);
}

void options_complain(FILE *f, const struct command_line *c, const struct error *e) {
        fprintf(f, "%s: %s%s%s\n", c->program, e->subject, e->subject[0] ? ": " : "", e->reason);
        if (e->advice[0])
                fprintf(f, "%s\n", e->advice);
        fprintf(f, "Try '%s --help'.\n", c->program);
}
