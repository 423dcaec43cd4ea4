/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* How the keys of a configuration are read: one table for each object gives its keys, what each value must be, and
 * where it is stored. Inside agent/configuration. */

#include "configuration/config.h"
#include "configuration/value.h"

/* The configuration being read, and where in it. */
struct reading {
        struct config *c;
        struct input *input; /* whose keys are read; in the form for one model, the only one */
        const char *subject; /* the file */
        const char *where;   /* "", or "endpoints." inside that object */
        struct error *e;
};

/* An error about the file; the reason names the key. */
#define BAD(r, ...) fail((r)->e, FAILURE_CONFIG, -EINVAL, (r)->subject, __VA_ARGS__)

/* One key: what json_fields() checks of it, and the function that stores its value. */
struct setting {
        const char *key;
        enum json_type type;
        int64_t min, max;
        const char *expected;
        int (*take)(const struct setting *s, json_object *o, const struct reading *r); /* `o` NULL: the key is absent */
        size_t offset;                                     /* of the member that setting_text() and its like store into,
                                                            * in struct config, or ... */
        bool of_input;                                     /* ... in struct input */
        int (*check)(const char *text, struct error *why); /* setting_text(): one of value.h, or NULL */
        const char *absent;                                /* setting_text(): the default, or NULL */
};

enum { SETTINGS_MAX = 32 };

/* Stores the values of an object that holds only keys of the table, in the order of the table. Keys that are absent are
 * stored, too: they may have a default. `object`: its path in the file, for errors. */
int settings_take(const struct setting *table, size_t n, json_object *o, const char *object, const struct reading *r);

int setting_text(const struct setting *s, json_object *o, const struct reading *r);
int setting_flag(const struct setting *s, json_object *o, const struct reading *r);
int setting_number(const struct setting *s, json_object *o, const struct reading *r);
int setting_seconds(const struct setting *s, json_object *o, const struct reading *r);

/* Of an input: what is accepted of its model. */
int setting_keys(const struct setting *s, json_object *o, const struct reading *r);
int setting_context(const struct setting *s, json_object *o, const struct reading *r);
int setting_digests(const struct setting *s, json_object *o, const struct reading *r);
int setting_key_store(const struct setting *s, json_object *o, const struct reading *r);
/* The list of inputs, and what they must be together. */
int setting_inputs(const struct setting *s, json_object *o, const struct reading *r);

/* clang-format off */
#define SETTING(name, type, min, max, expected, take, ...) \
        { #name, type, min, max, expected, take, __VA_ARGS__ }
/* A key has the name of its member. */
#define IN_CONFIG(name) .offset = offsetof(struct config, name), .of_input = false
#define IN_INPUT(name) .offset = offsetof(struct input, name), .of_input = true
#define SETTING_FLAG(name, in) \
        SETTING(name, json_type_boolean, 0, 0, "true or false", setting_flag, in(name))
#define SETTING_NUMBER(name, most) \
        SETTING(name, json_type_int, 1, most, "1 to " #most, setting_number, IN_CONFIG(name))
#define SETTING_TEXT(name, in, most, expected, check_) \
        SETTING(name, json_type_string, 1, most, expected, setting_text, in(name), .check = check_)
#define SETTING_TEXT_OR(name, in, absent_, most, expected, check_) \
        SETTING(name, json_type_string, 1, most, expected, setting_text, in(name), .check = check_, .absent = absent_)
#define SETTING_LIST(name, most, expected, take) \
        SETTING(name, json_type_array, 1, most, expected, take, .offset = 0)
#define SETTING_OBJECT(name, expected, take) \
        SETTING(name, json_type_object, 0, 0, expected, take, .offset = 0)
/* clang-format on */
