/* SPDX-License-Identifier: Apache-2.0 */

/* sealboot policy diff: how two key policies differ in meaning. */

#include "basic/utf8.h"
#include "keypolicy/diff.h"
#include "verbs/command.h"

struct arguments {
        bool json;
};

static const struct option_row option_rows[] = {
        OPTION_JSON(struct arguments, json),
        OPTION_HELP,
        {},
};

static const struct command_line command_line = {
        .program = PROGRAM " policy diff",
        .usage = "Usage: sealboot policy diff [OPTION...] BEFORE AFTER\n\n"
                 "Compare the meaning of two key policies: the order of statements and values, notation and Sids\n"
                 "do not matter. Takes policies as JSON, or as 'aws kms get-key-policy' prints them.",
        .rows = option_rows,
        .more = "Exit codes: 0 the same; 73 they differ; 74 not a key policy; 2 usage; 61 a file cannot be read.",
        .operands_min = 2,
        .operands_max = 2,
        .needed = "two policies are needed",
};

static json_object *lines_to_json(char **lines, size_t n) {
        json_object *o = json_object_new_array();

        for (size_t i = 0; i < n; i++)
                json_object_array_add(o, json_object_new_string(lines[i]));
        return o;
}

static int print_json(const struct changes *c, struct error *e) {
        _cleanup_json_ json_object *o = json_object_new_object();
        json_object *changes = json_object_new_array();

        json_object_object_add(o, "same", json_object_new_boolean(c->n == 0));
        for (size_t i = 0; i < c->n; i++) {
                const struct change *change = &c->items[i];
                json_object *one = json_object_new_object();

                json_object_object_add(one, "before", change->before ? json_object_new_string(change->before) : NULL);
                json_object_object_add(one, "after", change->after ? json_object_new_string(change->after) : NULL);
                json_object_object_add(one, "removed", lines_to_json(change->removed, change->n_removed));
                json_object_object_add(one, "added", lines_to_json(change->added, change->n_added));
                json_object_array_add(changes, one);
        }
        json_object_object_add(o, "changes", changes);
        return command_print_json(o, JSON_C_TO_STRING_PRETTY, e);
}

static void print_lines(const char *prefix, char **lines, size_t n) {
        for (size_t i = 0; i < n; i++) {
                fputs(prefix, stdout);
                utf8_print(stdout, lines[i]);
                putchar('\n');
        }
}

static void print_text(const struct changes *c) {
        for (size_t i = 0; i < c->n; i++) {
                const struct change *change = &c->items[i];

                utf8_print(stdout, change->before ?: change->after);
                printf("%s:\n", !change->after ? " is gone" : !change->before ? " is new" : " changes");
                print_lines("  - ", change->removed, change->n_removed);
                print_lines("  + ", change->added, change->n_added);
        }
        if (c->n == 0)
                puts("The policies mean the same.");
}

int policy_diff(int argc, char *argv[]) {
        _cleanup_key_policy_ struct key_policy before = {}, after = {};
        _cleanup_changes_ struct changes changes = {};
        struct arguments a = {};
        struct operands operands;
        struct error e;
        int code;

        if (!command_parse(&command_line, argc, argv, &a, &operands, &code))
                return code;
        if (key_policy_read(operands.items[0], &before, &e) < 0 || key_policy_read(operands.items[1], &after, &e) < 0 ||
            key_policy_compare(&before, &after, &changes, &e) < 0)
                return command_failed(&e);
        if (!a.json)
                print_text(&changes);
        else if (print_json(&changes, &e) < 0)
                return command_failed(&e);
        return changes.n == 0 ? 0 : FAILURE_MISMATCH;
}
