/* SPDX-License-Identifier: Apache-2.0 */
#include "verbs/command.h"

#include <stdarg.h>

#include "basic/encode.h"
#include "owner/remote-name.h"
#include "verbs/desk-words.h"
#include "verify/reference.h"

int command_failed(const struct error *e) {
        const struct desk_words *words = desk_words(e->failure);
        const struct failure_info *info = failure_info(e->failure);
        const char *advice = e->advice[0] ? e->advice : words->advice ?: info->advice;

        if (e->failure == FAILURE_IO && !e->advice[0] && is_remote(e->subject))
                advice = "Only local files are read here: download it first (`aws s3 cp`).";
        failure_print_words(stderr, PROGRAM, e, words->title ?: info->title, advice);
        return (int) e->failure;
}

void command_advise(struct error *e, enum failure failure, const char *advice) {
        if (e->failure == failure && !e->advice[0])
                fail_advice(e, "%s", advice);
}

int command_local(const char *verb, const char *path, const char *why) {
        return is_remote(path) ? command_usage(verb, "'%s' is not a local path. %s", path, why) : 0;
}

int command_usage(const char *verb, const char *format, ...) {
        va_list ap;

        fprintf(stderr, PROGRAM " %s: ", verb);
        va_start(ap, format);
        vfprintf(stderr, format, ap);
        va_end(ap);
        fprintf(stderr, "\nTry '" PROGRAM " %s --help'.\n", verb);
        return FAILURE_USAGE;
}

int command_digest(const char *text, uint8_t ret[static SHA384_SIZE]) {
        static const char prefix[] = "sha384:";

        return hex_decode(strncmp(text, prefix, strlen(prefix)) == 0 ? text + strlen(prefix) : text, ret, SHA384_SIZE);
}

int command_connections(void *field, const struct option_row *row, char *value, struct error *e) {
        enum { CONNECTIONS_MAX = 256 };
        uint64_t n;

        if (decimal_parse(value, CONNECTIONS_MAX, &n) < 0 || n < 1)
                return fail(e, FAILURE_USAGE, -EINVAL, "", "--%s is a number from 1 to %d, not '%s'", row->name,
                            CONNECTIONS_MAX, value);
        *(unsigned *) field = (unsigned) n;
        return 0;
}

int command_reference(void *field, const struct option_row *row, char *path, struct error *e) {
        (void) row;
        return references_read(field, path, e);
}

int command_misused(const struct command_line *c, const struct error *e) {
        if (e->failure != FAILURE_USAGE)
                return command_failed(e);
        options_complain(stderr, c, e);
        return FAILURE_USAGE;
}

bool command_parse(const struct command_line *c, int argc, char *argv[], void *to, struct operands *ret,
                   int *ret_code) {
        struct error e = {};
        int r;

        r = options_parse(c, argc, argv, to, ret, &e);
        if (r == 0)
                return true;
        if (r > 0)
                options_help(stdout, c);
        *ret_code = r > 0 ? 0 : command_misused(c, &e);
        return false;
}

int command_print_json(json_object *o, int flags, struct error *e) {
        const char *text = o ? json_object_to_json_string_ext(o, flags | JSON_C_TO_STRING_NOSLASHESCAPE) : NULL;

        if (!text)
                return fail_oom(e);
        puts(text);
        return 0;
}
