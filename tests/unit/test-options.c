/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include "basic/options.h"

enum kind { KIND_NONE, KIND_FIRST, KIND_SECOND };

struct arguments {
        const char *text, *maybe;
        bool flag, on, maybe_given;
        enum kind kind;
        unsigned calls;
        struct {
                const char *text;
        } inner;
};

static int set_even(void *field, const struct option_row *row, char *value, struct error *e) {
        if (strlen(value) % 2 != 0)
                return fail(e, FAILURE_USAGE, -EINVAL, "", "--%s takes an even number of characters", row->name);
        if (streq(value, "gone"))
                return fail(e, FAILURE_IO, -ENOENT, value, "is not there");
        *(unsigned *) field += 1;
        return 0;
}

static int set_maybe(void *arguments, const struct option_row *row, char *value, struct error *e) {
        struct arguments *a = arguments;

        (void) row;
        (void) e;
        a->maybe_given = true;
        a->maybe = value;
        return 0;
}

static const struct option_row rows[] = {
        OPTION_HEADING("What:"),
        { 't', "text", "TEXT", "some text", OPTION_TEXT(struct arguments, text) },
        { 'f', "flag", NULL, "a flag", OPTION_FLAG(struct arguments, flag) },
        { 0, "inner-text", "TEXT", "the first line\nand the second", OPTION_TEXT(struct arguments, inner.text) },
        { 0, "inner-most-of-all-texts-there-are", "TEXT", "below", OPTION_TEXT(struct arguments, inner.text) },
        OPTION_HEADING("How:"),
        { 0, "no-on", NULL, "off", OPTION_NO_FLAG(struct arguments, on) },
        { 0, "hidden", NULL, NULL, OPTION_FLAG(struct arguments, on) },
        { '2', "second", NULL,
          "a text that is so long that it does not fit into one line of the help, but it goes on in a second line",
          OPTION_NUMBER(struct arguments, kind, KIND_SECOND) },
        { 'e', "even", "EVEN", "called", OPTION_CALL(set_even, struct arguments, calls) },
        { 'm', "maybe", "[HOW]", "with a value or without", OPTION_CALL_WHOLE(set_maybe, 0) },
        OPTION_VERSION,
        OPTION_HELP,
        {},
};

/* clang-format off */
static const struct command_line two = {
        .program = "test", .usage = "Usage: test", .rows = rows, .more = "More.", .operands_min = 1, .operands_max = 2,
        .needed = "one thing is needed, or two",
};
/* clang-format on */
static const struct command_line none = { .program = "test", .usage = "", .rows = rows, .more = "" };

enum { WORDS_MAX = 8 };

static int parse(const struct command_line *c, const char *const *words, struct arguments *ret,
                 struct operands *operands, struct error *e) {
        static char text[WORDS_MAX][64];
        static char *argv[WORDS_MAX + 2];
        int argc = 1;

        *ret = (struct arguments) { .on = true };
        *operands = (struct operands) {};
        argv[0] = (char *) "test";
        for (; words[argc - 1]; argc++) {
                snprintf(text[argc - 1], sizeof text[0], "%s", words[argc - 1]);
                argv[argc] = text[argc - 1];
        }
        argv[argc] = NULL;
        return options_parse(c, argc, argv, ret, operands, e);
}

static bool same(const char *a, const char *b) {
        return a && b ? streq(a, b) : a == b;
}

static void test_accepted(void **state) {
        static const struct {
                const char *words[WORDS_MAX];
                struct arguments wanted;
                const char *operands[3];
        } table[] = {
                { { "a" }, { .on = true }, { "a" } },
                { { "a", "b" }, { .on = true }, { "a", "b" } },
                { { "--text", "x", "a" }, { .text = "x", .on = true }, { "a" } },
                { { "--text=x", "a" }, { .text = "x", .on = true }, { "a" } },
                { { "--text=", "a" }, { .text = "", .on = true }, { "a" } },
                { { "-t", "x", "a" }, { .text = "x", .on = true }, { "a" } },
                { { "-ftx", "a" }, { .text = "x", .flag = true, .on = true }, { "a" } },
                { { "-t", "x", "-t", "y", "a" }, { .text = "y", .on = true }, { "a" } },
                { { "--text", "--flag", "a" }, { .text = "--flag", .on = true }, { "a" } },
                { { "--te", "x", "a" }, { .text = "x", .on = true }, { "a" } },         /* shortened */
                { { "a", "--flag", "b" }, { .flag = true, .on = true }, { "a", "b" } }, /* operands anywhere */
                { { "--", "--flag", "-x" }, { .on = true }, { "--flag", "-x" } },
                { { "-" }, { .on = true }, { "-" } },
                { { "--inner-text", "x", "a" }, { .inner.text = "x", .on = true }, { "a" } },
                { { "--no-on", "a" }, { .on = false }, { "a" } },
                { { "--no-on", "--hidden", "a" }, { .on = true }, { "a" } },
                { { "-2", "a" }, { .kind = KIND_SECOND, .on = true }, { "a" } },
                { { "--even=ab", "-e", "", "a" }, { .calls = 2, .on = true }, { "a" } },
                { { "--maybe", "a" }, { .maybe_given = true, .on = true }, { "a" } },
                { { "--maybe=x", "a" }, { .maybe_given = true, .maybe = "x", .on = true }, { "a" } },
                { { "-m", "a" }, { .maybe_given = true, .on = true }, { "a" } },
                { { "-mx", "a" }, { .maybe_given = true, .maybe = "x", .on = true }, { "a" } },
        };

        (void) state;
        for (size_t i = 0; i < ELEMENTS(table); i++) {
                const struct arguments *w = &table[i].wanted;
                struct operands operands;
                struct arguments a;
                struct error e = {};

                assert_ok(parse(&two, table[i].words, &a, &operands, &e), &e);
                if (!same(a.text, w->text) || !same(a.maybe, w->maybe) || !same(a.inner.text, w->inner.text) ||
                    a.flag != w->flag || a.on != w->on || a.maybe_given != w->maybe_given || a.kind != w->kind ||
                    a.calls != w->calls)
                        fail_msg("row %zu: not what was given", i);
                for (size_t k = 0; k <= operands.n; k++)
                        if (!same(operands.items[k], table[i].operands[k]))
                                fail_msg("row %zu: operand %zu is %s", i, k, operands.items[k]);
        }
}

static void test_refused(void **state) {
        static const struct {
                const char *words[WORDS_MAX];
                enum failure failure;
                const char *said;
        } table[] = {
                { { NULL }, FAILURE_USAGE, "one thing is needed, or two" },
                { { "a", "b", "c" }, FAILURE_USAGE, "one thing is needed, or two" },
                { { "--frob", "a" }, FAILURE_USAGE, "unrecognized option '--frob'" },
                { { "--frob=x", "a" }, FAILURE_USAGE, "unrecognized option '--frob=x'" },
                { { "a", "--frob" }, FAILURE_USAGE, "unrecognized option '--frob'" },
                { { "--textual", "a" }, FAILURE_USAGE, "unrecognized option '--textual'" },
                { { "-x", "a" }, FAILURE_USAGE, "unrecognized option '-x'" },
                { { "-fx", "a" }, FAILURE_USAGE, "unrecognized option '-x'" },
                { { "-:", "a" }, FAILURE_USAGE, "unrecognized option '-:'" },
                { { "-\033", "a" }, FAILURE_USAGE, "unrecognized option '-?'" }, /* does not steer the terminal */
                { { "--\033[2J", "a" }, FAILURE_USAGE, "unrecognized option '--?[2J'" },
                { { "a", "--text" }, FAILURE_USAGE, "option '--text' needs a value: TEXT" },
                { { "a", "-t" }, FAILURE_USAGE, "option '--text' needs a value: TEXT" },
                { { "a", "-ft" }, FAILURE_USAGE, "option '--text' needs a value: TEXT" },
                { { "--flag=x", "a" }, FAILURE_USAGE, "option '--flag' takes no value" },
                { { "--help=x", "a" }, FAILURE_USAGE, "option '--help' takes no value" },
                { { "--inner", "a" },
                  FAILURE_USAGE,
                  "option '--inner' is ambiguous: --inner-text, --inner-most-of-all-texts-there-are" },
                { { "--even", "odd", "a" }, FAILURE_USAGE, "--even takes an even number" },
                { { "--even", "gone", "a" }, FAILURE_IO, "is not there" },
                { { "--frob", "--help" }, FAILURE_USAGE, "unrecognized option '--frob'" }, /* the first word counts */
        };

        (void) state;
        for (size_t i = 0; i < ELEMENTS(table); i++) {
                struct operands operands;
                struct arguments a;
                struct error e = {};

                assert_refused(parse(&two, table[i].words, &a, &operands, &e), &e, table[i].failure, table[i].said);
                assert_null(operands.items);
        }
}

static void test_no_operands(void **state) {
        static const char *const words[] = { "--flag", "x", NULL };
        struct operands operands;
        struct arguments a;
        struct error e = {};

        (void) state;
        assert_ok(parse(&none, &words[2], &a, &operands, &e), &e);
        assert_int_equal(operands.n, 0);
        assert_refused(parse(&none, words, &a, &operands, &e), &e, FAILURE_USAGE, "'x' is one argument too many");
}

static void test_asked(void **state) {
        static const char *const help[] = { "--flag", "-h", "--frob", NULL };
        static const char *const version[] = { "--version", "--help", NULL };
        struct operands operands;
        struct arguments a;
        struct error e = {};

        (void) state;
        assert_int_equal(parse(&two, help, &a, &operands, &e), OPTIONS_HELP);
        assert_int_equal(parse(&two, version, &a, &operands, &e), OPTIONS_VERSION);
}

static void test_too_many_rows(void **state) {
        static struct option_row many[64];
        const struct command_line c = { .program = "test", .usage = "", .rows = many, .more = "" };
        static const char *const nothing[] = { NULL };
        struct operands operands;
        struct arguments a;
        struct error e = {};

        (void) state;
        for (size_t i = 0; i < ELEMENTS(many) - 1; i++)
                many[i] = (struct option_row) { 0, "name", NULL, "help", OPTION_FLAG(struct arguments, flag) };
        assert_refused(parse(&c, nothing, &a, &operands, &e), &e, FAILURE_INTERNAL, "more than 48 rows");
}

static char *printed(void (*print)(FILE *f, const struct error *e), const struct error *e) {
        char *text = NULL;
        size_t n = 0;
        FILE *f = open_memstream(&text, &n);

        assert_non_null(f);
        print(f, e);
        assert_int_equal(fclose(f), 0);
        return text;
}

static void print_help(FILE *f, const struct error *e) {
        (void) e;
        options_help(f, &two);
}

static void print_complaint(FILE *f, const struct error *e) {
        options_complain(f, &two, e);
}

static void test_help(void **state) {
        static const char wanted[] = "Usage: test\n\n"
                                     "What:\n"
                                     "  -t, --text TEXT        some text\n"
                                     "  -f, --flag             a flag\n"
                                     "      --inner-text TEXT  the first line\n"
                                     "                         and the second\n"
                                     "      --inner-most-of-all-texts-there-are TEXT\n"
                                     "                         below\n"
                                     "\n"
                                     "How:\n"
                                     "      --no-on            off\n"
                                     "  -2, --second           a text that is so long that it does not fit into one "
                                     "line of the help, but it goes on\n"
                                     "                         in a second line\n"
                                     "  -e, --even EVEN        called\n"
                                     "  -m, --maybe[=HOW]      with a value or without\n"
                                     "      --version          print the version and exit\n"
                                     "  -h, --help             show this text\n"
                                     "\n"
                                     "More.\n";
        _cleanup_free_ char *text = printed(print_help, NULL);

        (void) state;
        assert_string_equal(text, wanted);
}

static void test_complaints(void **state) {
        struct error e = {};

        (void) state;
        fail(&e, FAILURE_USAGE, -EINVAL, "", "something is wrong");
        _cleanup_free_ char *plain = printed(print_complaint, &e);
        assert_string_equal(plain, "test: something is wrong\nTry 'test --help'.\n");
        fail(&e, FAILURE_USAGE, -EINVAL, "image.json", "is not right");
        fail_advice(&e, "Give another.");
        _cleanup_free_ char *whole = printed(print_complaint, &e);
        assert_string_equal(whole, "test: image.json: is not right\nGive another.\nTry 'test --help'.\n");
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_accepted),   cmocka_unit_test(test_refused),
                cmocka_unit_test(test_asked),      cmocka_unit_test(test_no_operands),
                cmocka_unit_test(test_help),       cmocka_unit_test(test_too_many_rows),
                cmocka_unit_test(test_complaints),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
