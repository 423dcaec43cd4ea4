/* SPDX-License-Identifier: Apache-2.0 */

/* The inputs of several parties: their configuration, their places in user data, and the text that is measured. */

#include "unit.h"

#include "basic/encode.h"
#include "configuration/config.h"
#include "sealed/input-set.h"

#define ARN "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
#define KEYS "\"keys\": [\"" ARN "\"]"
#define HEX16 "0123456789abcdef"
#define DIGEST "\"sha384:" HEX16 HEX16 HEX16 HEX16 HEX16 HEX16 "\""
#define INPUT(name, more) "{\"name\": \"" name "\", \"owner\": \"Acme\", " KEYS more "}"
#define A INPUT("a", "")

static int parse(const char *text, struct config **ret, struct error *e) {
        return config_parse(text, strlen(text), "agent.json", ret, e);
}

static struct config *configuration(const char *text) {
        struct config *c = NULL;
        struct error e = {};

        assert_ok(parse(text, &c, &e), &e);
        return c;
}

static void test_everything(void **state) {
        _cleanup_(config_freep) struct config *c =
                configuration("{\"inputs\": [{\"name\": \"base\", \"owner\": \"Acme \\u00e9\", " KEYS
                              ", \"encryption_context\": {\"model\": \"m\"}, \"model_digests\": [" DIGEST
                              "], \"model\": \"s3://bucket/base/\", \"directory\": \"models/base\"}, "
                              "{\"name\": \"adapter_1-x\", \"owner\": \"Globex\", " KEYS ", \"required\": false}]}");

        (void) state;
        assert_true(c->several);
        assert_int_equal(c->n_inputs, 2);
        assert_string_equal(c->inputs[0].name, "base");
        assert_string_equal(c->inputs[0].owner, "Acme \xc3\xa9");
        assert_string_equal(c->inputs[0].keys[0], ARN);
        assert_string_equal(c->inputs[0].context[0].value, "m");
        assert_int_equal(c->inputs[0].n_digests, 1);
        assert_string_equal(c->inputs[0].model, "s3://bucket/base/");
        assert_string_equal(c->inputs[0].directory, "models/base");
        assert_true(c->inputs[0].required);
        assert_string_equal(c->inputs[1].directory, "adapter_1-x");
        assert_false(c->inputs[1].required);
        assert_int_equal(c->inputs[1].n_digests + c->inputs[1].n_context, 0);
}

static void test_one_model_is_one_input(void **state) {
        _cleanup_(config_freep) struct config *c = configuration("{" KEYS "}");

        (void) state;
        assert_false(c->several);
        assert_int_equal(c->n_inputs, 1);
        assert_null(c->inputs[0].name);
        assert_null(c->inputs[0].directory);
        assert_true(c->inputs[0].required);
}

static const struct {
        const char *members, *words;
} bad[] = {
        /* the two forms */
        { "\"inputs\": [" A "], " KEYS, "\"keys\" and \"inputs\" exclude each other" },
        { "\"inputs\": [" A "], \"discovery\": true", "\"discovery\" and \"inputs\" exclude each other" },
        { "\"inputs\": [" A "], \"encryption_context\": {\"a\": \"b\"}", "\"encryption_context\" and \"inputs\"" },
        { "\"inputs\": [" A "], \"model_digests\": [" DIGEST "]", "\"model_digests\" and \"inputs\"" },
        { "\"inputs\": [" A "], \"model\": \"s3://bucket/m\"", "\"model\" and \"inputs\" exclude each other" },
        { "\"inputs\": [" A "], \"key_store\": {\"url\": \"https://k.example\", \"ca_bundle\": \"/ca\"}",
          "\"key_store\" and \"inputs\" exclude each other" },
        { "\"inputs\": [" A "], \"measure\": \"sha384\"", "is for one model" },
        /* the list */
        { "\"inputs\": []", "expected a list of 1 to 16 inputs" },
        { "\"inputs\": {}", "\"inputs\" must be a list of 1 to 16 inputs" },
        { "\"inputs\": [1]", "inputs[0] must be an object" },
        { "\"inputs\": [" A ", null]", "inputs[1] must be an object" },
        { "\"inputs\": [" A "," A "," A "," A "," A "," A "," A "," A "," A "," A "," A "," A "," A "," A "," A "," A
          "," A "]",
          "expected a list of 1 to 16 inputs" },
        { "\"inputs\": [" INPUT("a", ", \"required\": false") "]", "no input that is required" },
        /* names */
        { "\"inputs\": [{\"owner\": \"o\", " KEYS "}]", "\"inputs[0].name\" is missing" },
        { "\"inputs\": [{\"name\": \"a\", " KEYS "}]", "\"inputs[0].owner\" is missing" },
        { "\"inputs\": [{\"name\": \"a\", \"owner\": \"o\"}]", "\"inputs[0].keys\" is missing" },
        { "\"inputs\": [" A ", " A "]", "\"inputs[1].name\" is \"a\", as that of inputs[0]" },
        { "\"inputs\": [" INPUT("", "") "]", "\"inputs[0].name\" is \"\"" },
        { "\"inputs\": [" INPUT("A", "") "]", "\"A\" is not a name of small letters" },
        { "\"inputs\": [" INPUT("a b", "") "]", "is not a name of small letters" },
        { "\"inputs\": [" INPUT("a.b", "") "]", "is not a name of small letters" },
        { "\"inputs\": [" INPUT("..", "") "]", "is not a name of small letters" },
        { "\"inputs\": [" INPUT("-a", "") "]", "is not a name of small letters" },
        { "\"inputs\": [" INPUT("a/b", "") "]", "is not a name of small letters" },
        { "\"inputs\": [" INPUT("a\\n", "") "]", "is not a name of small letters" },
        { "\"inputs\": [" INPUT("a\\u0000", "") "]", "\"inputs[0].name\" holds a NUL" },
        { "\"inputs\": [" INPUT("a23456789012345678901234567890123", "") "]", "expected a name of 1 to 32" },
        { "\"inputs\": [{\"name\": \"a\", \"owner\": \"o\\nabsent b o\", " KEYS "}]", "control characters" },
        { "\"inputs\": [{\"name\": \"a\", \"owner\": \" o\", " KEYS "}]", "begins or ends with a space" },
        { "\"inputs\": [{\"name\": \"a\", \"owner\": \"o \", " KEYS "}]", "begins or ends with a space" },
        /* directories */
        { "\"inputs\": [" INPUT("a", ", \"directory\": \"/etc\"") "]", "\"/etc\" is refused: it is absolute" },
        { "\"inputs\": [" INPUT("a", ", \"directory\": \"..\"") "]", "a part \"..\"" },
        { "\"inputs\": [" INPUT("a", ", \"directory\": \"a/../../b\"") "]", "a part \"..\"" },
        { "\"inputs\": [" INPUT("a", ", \"directory\": \".\"") "]", "a part \".\"" },
        { "\"inputs\": [" INPUT("a", ", \"directory\": \"a/\"") "]", "an empty part" },
        { "\"inputs\": [" INPUT("a", ", \"directory\": \"a//b\"") "]", "an empty part" },
        { "\"inputs\": [" INPUT("a", ", \"directory\": \"\"") "]", "\"inputs[0].directory\" is \"\"" },
        { "\"inputs\": [" INPUT("a", ", \"directory\": \"\\u001b[2J\"") "]", "control character" },
        { "\"inputs\": [" A ", " INPUT("b", ", \"directory\": \"a\"") "]", "one is in the other" },
        { "\"inputs\": [" A ", " INPUT("b", ", \"directory\": \"a/b\"") "]", "one is in the other" },
        { "\"inputs\": [" INPUT("a", ", \"directory\": \"x/y/z\"") ", " INPUT("b", ", \"directory\": \"x/y\"") "]",
          "one is in the other" },
        /* what is accepted */
        { "\"inputs\": [" INPUT("a", ", \"discovery\": true") "]", "unknown key \"inputs[0].discovery\"" },
        { "\"inputs\": [" INPUT("a", ", \"measure\": \"model\"") "]", "unknown key \"inputs[0].measure\"" },
        { "\"inputs\": [{\"name\": \"a\", \"owner\": \"o\", \"keys\": [\"alias/x\"]}]",
          "\"inputs[0].keys[0]\" must be a KMS key ARN" },
        { "\"inputs\": [" A ", {\"name\": \"b\", \"owner\": \"o\", \"keys\": []}]", "\"inputs[1].keys\" is []" },
        { "\"inputs\": [" INPUT("a", ", \"encryption_context\": {\"\": \"x\"}") "]",
          "\"inputs[0].encryption_context\" has a pair whose key is empty" },
        { "\"inputs\": [" INPUT("a", ", \"encryption_context\": {\"m\": 1}") "]",
          "\"inputs[0].encryption_context.m\" must be text" },
        { "\"inputs\": [" INPUT("a", ", \"model\": \"bucket/x\"") "]", "\"inputs[0].model\": \"bucket/x\"" },
        { "\"inputs\": [" INPUT("a", ", \"required\": 1") "]", "\"inputs[0].required\" must be true or false" },
        { "\"inputs\": [" INPUT("a", ", \"model_digests\": [\"x\"]") "]", "\"inputs[0].model_digests[0]\" must be" },
        { "\"inputs\": [" INPUT("a", ", \"model_digests\": [" DIGEST ", " DIGEST "]") "]",
          "\"inputs[0].model_digests[1]\" is the digest \"inputs[0].model_digests[0]\"" },
        { "\"inputs\": [" INPUT("a", ", \"model_digests\": [" DIGEST
                                     "]") ", " INPUT("b", ", \"model_digests\": [" DIGEST "]") "]",
          "\"inputs[1].model_digests[0]\" is the digest \"inputs[0].model_digests[0]\"" },
        /* a key store */
        { "\"inputs\": [" INPUT("a", ", \"key_store\": \"https://k.example\"") "]", "must be an object with url" },
        { "\"inputs\": [" INPUT("a", ", \"key_store\": {}") "]", "\"inputs[0].key_store.url\" is missing" },
        { "\"inputs\": [" INPUT("a", ", \"key_store\": {\"url\": \"https://k.example\"}") "]",
          "\"inputs[0].key_store.ca_bundle\" is missing" },
        { "\"inputs\": [" INPUT("a", ", \"key_store\": {\"url\": \"http://k.example\", \"ca_bundle\": \"/c\"}") "]",
          "\"inputs[0].key_store.url\": \"http://k.example\" is not an https URL" },
        { "\"inputs\": [" INPUT("a", ", \"key_store\": {\"url\": \"https://k/x\", \"ca_bundle\": \"/c\"}") "]",
          "more than a scheme, a host and a port" },
        { "\"inputs\": [" INPUT("a", ", \"key_store\": {\"url\": \"https://u@k\", \"ca_bundle\": \"/c\"}") "]",
          "\"inputs[0].key_store.url\":" },
        { "\"inputs\": [" INPUT("a", ", \"key_store\": {\"url\": \"https://k\", \"ca_bundle\": \"c\"}") "]",
          "\"inputs[0].key_store.ca_bundle\": \"c\" is not an absolute path" },
        { "\"inputs\": [" INPUT("a", ", \"key_store\": {\"url\": \"https://k\", \"token\": \"x\"}") "]",
          "unknown key \"inputs[0].key_store.token\"" },
        { KEYS ", \"key_store\": {\"url\": \"https://k\"}", "\"key_store.ca_bundle\" is missing" },
};

static void test_bad(void **state) {
        (void) state;
        for (size_t i = 0; i < ELEMENTS(bad); i++) {
                _cleanup_(config_freep) struct config *c = NULL;
                _cleanup_free_ char *text = NULL;
                struct error e = {};

                assert_true(asprintf(&text, "{%s}", bad[i].members) > 0);
                assert_refused(parse(text, &c, &e), &e, FAILURE_CONFIG, bad[i].words);
                assert_null(c);
        }
}

/* Names that are alike, and directories that only look like one another. */
static void test_good(void **state) {
        (void) state;
        for (size_t i = 0; i < 2; i++)
                config_free(configuration(i == 0 ? "{\"inputs\": [" A ", " INPUT("ab", "") ", " INPUT("0", "") "]}"
                                                 : "{\"inputs\": [" INPUT("a", ", \"directory\": \"x/y\"") ", " INPUT(
                                                           "b", ", \"directory\": \"x/y.z\"") "]}"));
}

/* ---- user data */

#define THREE \
        "{\"inputs\": [" INPUT("base", "") ", " INPUT("tuned", ", \"model\": \"s3://bucket/tuned\"") ", " INPUT( \
                "extra", \
                ", \"required\": false, \"model\": \"s3://bucket/extra/\"") ", " INPUT("last", \
                                                                                       ", \"required\": false") "]}"

static void test_places(void **state) {
        _cleanup_(config_freep) struct config *c = configuration(THREE);
        static const struct {
                const char *inputs, *keys[4];
        } table[] = {
                { "{\"base\": \"s3://other/b/\"}", { "b/", "tuned", "extra/", NULL } },
                { "{\"base\": \"s3://other/b\", \"extra\": null, \"last\": null}", { "b", "tuned", NULL, NULL } },
                { "{\"last\": \"s3://other/l\", \"tuned\": \"s3://other/t/\", \"base\": \"s3://other\"}",
                  { "", "t/", "extra/", "l" } },
        };

        (void) state;
        assert_true(launch_needs_user_data(c));
        for (size_t i = 0; i < ELEMENTS(table); i++) {
                _cleanup_(launch_done) struct launch l = {};
                _cleanup_free_ char *text = NULL;
                struct error e = {};

                assert_true(asprintf(&text, "{\"sealboot\": {\"inputs\": %s}}", table[i].inputs) > 0);
                assert_ok(launch_parse(text, strlen(text), c, &l, &e), &e);
                for (size_t k = 0; k < 4; k++) {
                        assert_int_equal(!l.places[k].bucket, !table[i].keys[k]);
                        if (table[i].keys[k])
                                assert_string_equal(l.places[k].key, table[i].keys[k]);
                }
        }
}

static void test_bad_places(void **state) {
        _cleanup_(config_freep) struct config *c = configuration(THREE), *one = configuration("{" KEYS "}");
        static const struct {
                bool one;
                const char *ours, *words;
        } table[] = {
                { false, "{}", "no place for the input base of Acme" },
                { false, "{\"inputs\": {}}", "no place for the input base of Acme" },
                { false, "{\"inputs\": []}", "\"sealboot.inputs\" must be an object" },
                { false, "{\"inputs\": {\"base\": null}}", "is null, but the measured configuration requires" },
                { false, "{\"inputs\": {\"base\": \"s3://bkt/x\", \"tuned\": null}}", "requires this input of Acme" },
                { false, "{\"inputs\": {\"base\": 1}}", "\"sealboot.inputs.base\" must be an s3:// URI" },
                { false, "{\"inputs\": {\"base\": \"s3://bkt/x\", \"extra\": false}}", "or null for none" },
                { false, "{\"inputs\": {\"base\": \"\"}}", "must be an s3:// URI" },
                { false, "{\"inputs\": {\"base\": \"s3://bkt/x\\u0000y\"}}", "must be an s3:// URI" },
                { false, "{\"inputs\": {\"base\": \"https://bkt/x\"}}", "is not of the form" },
                { false, "{\"inputs\": {\"base\": \"s3://bkt/x\", \"other\": null}}", "\"sealboot.inputs.other\"" },
                { false, "{\"inputs\": {\"base\": {\"model\": \"s3://bkt/x\", \"keys\": []}}}",
                  "must be an s3:// URI" },
                { false, "{\"model\": \"s3://bkt/x\"}", "\"sealboot.model\" is for an image that loads one model" },
                { true, "{\"inputs\": {\"base\": \"s3://bkt/x\"}}", "this one loads one model" },
        };

        (void) state;
        for (size_t i = 0; i < ELEMENTS(table); i++) {
                _cleanup_(launch_done) struct launch l = {};
                _cleanup_free_ char *text = NULL;
                struct error e = {};

                assert_true(asprintf(&text, "{\"sealboot\": %s}", table[i].ours) > 0);
                assert_refused(launch_parse(text, strlen(text), table[i].one ? one : c, &l, &e), &e, FAILURE_LAUNCH,
                               table[i].words);
                assert_null(l.places[0].bucket);
        }
}

/* ---- what is measured */

static void test_text(void **state) {
        static const uint8_t digest[MODEL_DIGEST] = { 0xab };
        static const struct input_state inputs[] = { { "base", "Acme Corp", digest },
                                                     { "extra", "Globex", NULL },
                                                     { "copy", "Acme Corp", digest } };
        _cleanup_free_ char *text = NULL, *wanted = NULL;
        uint8_t set[MODEL_DIGEST], other[MODEL_DIGEST];
        char hex[2 * MODEL_DIGEST + 1];
        struct error e = {};
        size_t n;

        (void) state;
        assert_ok(input_set_text(inputs, 3, &text, &n, set, &e), &e);
        hex_encode(digest, MODEL_DIGEST, hex);
        assert_true(asprintf(&wanted, "sha384:%s base Acme Corp\nabsent extra Globex\nsha384:%s copy Acme Corp\n", hex,
                             hex) > 0);
        assert_string_equal(text, wanted);
        assert_int_equal(n, strlen(wanted));
        free(TAKE(text));
        assert_ok(input_set_text(inputs, 2, &text, &n, other, &e), &e);
        assert_memory_not_equal(set, other, MODEL_DIGEST);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_everything), cmocka_unit_test(test_one_model_is_one_input),
                cmocka_unit_test(test_bad),        cmocka_unit_test(test_good),
                cmocka_unit_test(test_places),     cmocka_unit_test(test_bad_places),
                cmocka_unit_test(test_text),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
