/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* JSON by json-c, made strict for hostile input: strict syntax, bounded depth, and nothing after the value. Objects are
 * checked against a table, so that the error for an unknown key or a wrong type names the key. */

#include <json-c/json.h>

#include "basic/failure.h"

static inline void json_putp(json_object **o) {
        if (*o)
                json_object_put(*o);
}
#define _cleanup_json_ _cleanup_(json_putp)

/* Parses `size` bytes as one JSON object or array. Text with a NUL, comments, trailing bytes, duplicate keys in one
 * object, or more than 16 levels is refused. `subject` names the source in the error. The caller owns *ret. */
int json_parse(const char *text, size_t size, enum failure failure, const char *subject, json_object **ret,
               struct error *e);

struct json_field {
        const char *key;
        enum json_type type;
        bool required;
        int64_t min, max;     /* json_type_int: the inclusive range; strings and arrays: the range of their length */
        const char *expected; /* in words, for the error: "a KMS key ARN", "1 to 256" */
        json_object **ret;    /* borrowed from the object; left alone when the key is absent */
};

/* Checks that `object` is a JSON object that holds only the keys of `fields`, each of its type and range, and every
 * required one. `where` is the path of the object inside the document ("", "s3", "files[3]"): errors name it. */
int json_fields(json_object *object, const struct json_field *fields, size_t n, enum failure failure,
                const char *subject, const char *where, struct error *e);

/* Strings borrowed from a checked field; NULL or the default when the field was absent. */
const char *json_text(json_object *o);
int64_t json_integer(json_object *o, int64_t absent);
bool json_boolean(json_object *o, bool absent);
/* Adds a text to an object; null where it is NULL or empty. */
void json_add_text(json_object *to, const char *key, const char *text);
