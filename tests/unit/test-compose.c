/* SPDX-License-Identifier: Apache-2.0 */

/* The policies that are written: of the key, of the instances' role, of the bucket. What they mean to KMS is tried in
 * test-keypolicy.c. */

#include "quotes.h"

#include "keypolicy/compose.h"

#define SIX(s) s s s s s s
#define A SIX("abababababababab")
#define B SIX("cdcdcdcdcdcdcdcd")
#define Z SIX("0000000000000000")
#define ALONE "518923b0f955d08da077c96aaba522b9decede61c599cea6c41889cfbea4ae4d50529d96fe4d1afdafb65e7f95bf23c4"
#define OFF "98441c7f7625d10058c47683aec486ce311c633235eb555593a7ee791121e3578ae72d04ecef661f272d59058b77af35"
#define OWNER "111122223333"
#define ADMIN "arn:aws:iam::" OWNER ":role/admin"
#define OPENER "arn:aws:iam::" OWNER ":user/owner"
#define ROLE "arn:aws:iam::444455556666:role/inference"
#define KEY "arn:aws:kms:us-east-1:" OWNER ":key/1234abcd"
#define RA "kms:RecipientAttestation:"
#define MEASURED(pcrs) "{'Measurements': {" pcrs "}}"
#define IMAGE MEASURED("'PCR2': '" ALONE "', 'PCR4': '" A "', 'PCR12': '" Z "'")
#define BOUND(four) \
        "'" RA "NitroTPMPCR2': '" ALONE "', '" RA "NitroTPMPCR4': '" four "', '" RA "NitroTPMPCR12': '" Z "'"

struct wanted {
        struct composition c;
        const char *principals[1], *admins[1], *sealers[1], *openers[1], *context[2];
};

/* With one principal and one administrator; the others are set by the test. */
static void want(struct wanted *w, const char *references) {
        _cleanup_free_ char *json = quoted(references);
        struct error e;

        *w = (struct wanted) {
                .principals = { ROLE }, .admins = { ADMIN }, .sealers = { ADMIN }, .openers = { OPENER }
        };
        assert_ok(references_parse(&w->c.images, json, strlen(json), "t", &e), &e);
        w->c.principals = (struct names) { w->principals, 1 };
        w->c.admins = (struct names) { w->admins, 1 };
}

static void assert_json(json_object *o, const char *expected) {
        _cleanup_free_ char *text = quoted(expected);
        _cleanup_json_ json_object *wanted = json_tokener_parse(text);

        assert_non_null(wanted);
        if (!json_object_equal(o, wanted))
                fail_msg("%s\nexpected\n%s", json_object_to_json_string_ext(o, JSON_C_TO_STRING_NOSLASHESCAPE),
                         json_object_to_json_string_ext(wanted, JSON_C_TO_STRING_NOSLASHESCAPE));
}

/* The statement of this Sid; NULL: there is none. */
static json_object *statement(json_object *policy, const char *sid) {
        json_object *statements, *found;

        assert_true(json_object_object_get_ex(policy, "Statement", &statements));
        for (size_t i = 0; i < json_object_array_length(statements); i++) {
                json_object *s = json_object_array_get_idx(statements, i);

                if (json_object_object_get_ex(s, "Sid", &found) && streq(json_object_get_string(found), sid))
                        return s;
        }
        return NULL;
}

/* The key's policy */

static void test_a_whole_policy(void **state _unused_) {
        _cleanup_json_ json_object *o = NULL;
        struct wanted w;
        struct error e;

        want(&w, IMAGE);
        assert_ok(compose_key_policy(&w.c, &o, &e), &e);
        assert_json(statement(o, "ReleaseToImage1"),
                    "{'Sid': 'ReleaseToImage1', 'Effect': 'Allow', 'Principal': {'AWS': '" ROLE
                    "'}, 'Action': 'kms:Decrypt', 'Resource': '*', 'Condition': {'StringEqualsIgnoreCase': {" BOUND(
                            A) "}}}");
        assert_json(statement(o, "DenyUnlessNitroTPMPCR4"),
                    "{'Sid': 'DenyUnlessNitroTPMPCR4', 'Effect': 'Deny', 'Principal': {'AWS': '*'}, 'Action': "
                    "'kms:Decrypt', "
                    "'Resource': '*', 'Condition': {'StringNotEqualsIgnoreCase': {'" RA "NitroTPMPCR4': '" A "'}}}");
        assert_json(statement(o, "DenyGrants"),
                    "{'Sid': 'DenyGrants', 'Effect': 'Deny', 'Principal': {'AWS': '*'}, 'Action': ['kms:CreateGrant', "
                    "'kms:ReEncryptFrom'], 'Resource': '*'}");
        assert_non_null(statement(o, "AdministerKey"));
        assert_null(statement(o, "SealModels"));
        assert_null(statement(o, "OpenModels"));
        references_done(&w.c.images);
}

static void test_everything_that_can_be_asked_for(void **state _unused_) {
        _cleanup_json_ json_object *o = NULL;
        struct wanted w;
        struct error e;

        want(&w, "[" IMAGE ", " MEASURED("'PCR2': '" ALONE "', 'PCR4': '" B "', 'PCR12': '" Z "'") "]");
        w.c.sealers = (struct names) { w.sealers, 1 };
        w.c.openers = (struct names) { w.openers, 1 };
        w.context[0] = "model=llama";
        w.context[1] = "version=a=b";
        w.c.context = (struct names) { w.context, 2 };
        w.c.one_shot = true;
        assert_ok(compose_key_policy(&w.c, &o, &e), &e);
        assert_json(statement(o, "ReleaseToImage2"),
                    "{'Sid': 'ReleaseToImage2', 'Effect': 'Allow', 'Principal': {'AWS': '" ROLE
                    "'}, 'Action': 'kms:Decrypt', 'Resource': '*', 'Condition': {'StringEqualsIgnoreCase': {" BOUND(
                            B) ", '" RA "NitroTPMPCR15': '" Z
                               "'}, 'StringEquals': {'kms:EncryptionContext:model': 'llama', "
                               "'kms:EncryptionContext:version': 'a=b'}}}");
        assert_json(statement(o, "OpenModels"),
                    "{'Sid': 'OpenModels', 'Effect': 'Allow', 'Principal': {'AWS': '" OPENER
                    "'}, 'Action': 'kms:Decrypt', 'Resource': '*', 'Condition': {'StringEquals': "
                    "{'kms:EncryptionContext:model': 'llama', 'kms:EncryptionContext:version': 'a=b'}}}");
        assert_json(statement(o, "DenyUnlessNitroTPMPCR4"),
                    "{'Sid': 'DenyUnlessNitroTPMPCR4', 'Effect': 'Deny', 'Principal': {'AWS': '*'}, 'Action': "
                    "'kms:Decrypt', "
                    "'Resource': '*', 'Condition': {'StringNotEqualsIgnoreCase': {'" RA "NitroTPMPCR4': ['" A "', '" B
                    "']}, 'ArnNotEquals': {'aws:PrincipalArn': '" OPENER "'}}}");
        assert_json(statement(o, "SealModels"),
                    "{'Sid': 'SealModels', 'Effect': 'Allow', 'Principal': {'AWS': '" ADMIN
                    "'}, 'Action': ['kms:DescribeKey', 'kms:Encrypt', 'kms:GenerateDataKey'], 'Resource': '*'}");
        references_done(&w.c.images);
}

static void test_an_enclave(void **state _unused_) {
        _cleanup_json_ json_object *o = NULL;
        struct wanted w;
        struct error e;

        want(&w, MEASURED("'PCR0': '" A "', 'PCR8': '" B "'"));
        w.c.allow_unattested = true;
        assert_ok(compose_key_policy(&w.c, &o, &e), &e);
        assert_json(statement(o, "ReleaseToImage1"),
                    "{'Sid': 'ReleaseToImage1', 'Effect': 'Allow', 'Principal': {'AWS': '" ROLE
                    "'}, 'Action': 'kms:Decrypt', 'Resource': '*', 'Condition': {'StringEqualsIgnoreCase': {'" RA
                    "ImageSha384': '" A "', '" RA "PCR8': '" B "'}}}");
        assert_null(statement(o, "DenyGrants"));
        references_done(&w.c.images);
}

static void test_what_is_not_written(void **state _unused_) {
        static const struct {
                const char *what, *references;
                const char *context[2];
                bool one_shot, secure_boot, no_principal, no_admin;
                enum failure failure;
                const char *why;
        } cases[] = {
                { "no image", "[]", .failure = FAILURE_USAGE, .why = "no --reference was given" },
                { "no principal", IMAGE, .no_principal = true, .failure = FAILURE_USAGE,
                  .why = "no --principal was given" },
                { "no administrator", IMAGE, .no_admin = true, .failure = FAILURE_USAGE,
                  .why = "no --admin was given" },
                { "no pair", IMAGE, { "model" }, .failure = FAILURE_USAGE, .why = "is not NAME=VALUE" },
                { "no name", IMAGE, { "=x" }, .failure = FAILURE_USAGE, .why = "is not NAME=VALUE" },
                { "no value", IMAGE, { "model=" }, .failure = FAILURE_USAGE, .why = "is not NAME=VALUE" },
                { "a name twice", IMAGE, { "a=1", "a=2" }, .failure = FAILURE_USAGE, .why = "is listed twice" },
                { "a policy variable",
                  IMAGE,
                  { "a=${aws:userid}" },
                  .failure = FAILURE_POLICY,
                  .why = "would replace" },
                { "PCR4 alone", MEASURED("'PCR4': '" A "'"), .failure = FAILURE_POLICY, .why = "pcr4-without-pcr12" },
                { "no PCR2", MEASURED("'PCR4': '" A "', 'PCR12': '" Z "'"), .failure = FAILURE_POLICY,
                  .why = "pcr4-without-pcr2" },
                { "PCR7 alone", MEASURED("'PCR7': '" A "'"), .failure = FAILURE_POLICY, .why = "image-not-bound" },
                { "PCR7 of Secure Boot off", MEASURED("'PCR4': '" A "', 'PCR7': '" OFF "', 'PCR12': '" Z "'"),
                  .failure = FAILURE_POLICY, .why = "pcr4-without-pcr2" },
                { "Secure Boot off, and the option", "{'Measurements': {'PCR7': '" OFF "'}, 'SecureBoot': false}",
                  .secure_boot = true, .failure = FAILURE_POLICY, .why = "secure-boot-off" },
                { "a firmware PCR", MEASURED("'PCR0': '" A "', 'PCR2': '" ALONE "', 'PCR4': '" A "', 'PCR12': '" Z "'"),
                  .failure = FAILURE_POLICY, .why = "firmware-pcr" },
                { "one-shot of an enclave", MEASURED("'PCR0': '" A "'"), .one_shot = true, .failure = FAILURE_USAGE,
                  .why = "has no PCR15" },
                { "one-shot after a model",
                  MEASURED("'PCR2': '" ALONE "', 'PCR4': '" A "', 'PCR12': '" Z "', 'PCR15': '" B "'"),
                  .one_shot = true, .failure = FAILURE_USAGE, .why = "binds PCR15 to a model" },
        };

        for (size_t i = 0; i < ELEMENTS(cases); i++) {
                json_object *o = NULL;
                struct error e = {};
                struct wanted w;

                if (streq(cases[i].references, "[]")) {
                        want(&w, IMAGE);
                        references_done(&w.c.images);
                } else
                        want(&w, cases[i].references);
                while (w.c.context.n < 2 && cases[i].context[w.c.context.n]) {
                        w.context[w.c.context.n] = cases[i].context[w.c.context.n];
                        w.c.context.n++;
                }
                w.c.context.items = w.context;
                w.c.one_shot = cases[i].one_shot;
                w.c.secure_boot = cases[i].secure_boot;
                w.c.principals.n = !cases[i].no_principal;
                w.c.admins.n = !cases[i].no_admin;
                print_message("%s\n", cases[i].what);
                assert_refused(compose_key_policy(&w.c, &o, &e), &e, cases[i].failure, cases[i].why);
                assert_null(o);
                references_done(&w.c.images);
        }
}

static void test_when_secure_boot_is_needed(void **state _unused_) {
        static const struct {
                const char *reference;
                bool needs;
        } cases[] = {
                { IMAGE, false },
                { MEASURED("'PCR7': '" A "'"), true },
                { MEASURED("'PCR2': '" ALONE "', 'PCR4': '" A "', 'PCR7': '" B "'"), true },
                { MEASURED("'PCR2': '" ALONE "', 'PCR4': '" A "', 'PCR7': '" B "', 'PCR12': '" Z "'"), false },
                { MEASURED("'PCR0': '" A "', 'PCR8': '" B "'"), false },
        };

        for (size_t i = 0; i < ELEMENTS(cases); i++) {
                struct wanted w;

                want(&w, cases[i].reference);
                assert_int_equal(reference_needs_secure_boot(&w.c.images.items[0]), cases[i].needs);
                references_done(&w.c.images);
        }
}

/* The role's and the bucket's */

static void test_objects(void **state _unused_) {
        static const struct {
                const char *key, *bucket, *prefix, *resource;
        } cases[] = {
                { KEY, "models", "llama/3.1/", "'arn:aws:s3:::models/llama/3.1/*'" },
                { KEY, "models", "", "'arn:aws:s3:::models/*'" },
                { KEY, "models", NULL, "'arn:aws:s3:::models/*'" },
                { KEY, "models", "a.sealed", "['arn:aws:s3:::models/a.sealed/*', 'arn:aws:s3:::models/a.sealed']" },
                { "arn:aws-cn:kms:cn-north-1:" OWNER ":key/1", "models", "", "'arn:aws-cn:s3:::models/*'" },
        };

        for (size_t i = 0; i < ELEMENTS(cases); i++) {
                const struct composition c = { .key = cases[i].key,
                                               .bucket = cases[i].bucket,
                                               .prefix = cases[i].prefix };
                _cleanup_json_ json_object *o = NULL;
                _cleanup_free_ char *wanted = NULL;
                struct error e;

                assert_ok(compose_role_policy(&c, &o, &e), &e);
                assert_true(asprintf(&wanted,
                                     "{'Version': '2012-10-17', 'Statement': [{'Sid': 'UnsealModels', 'Effect': "
                                     "'Allow', 'Action': "
                                     "'kms:Decrypt', 'Resource': '%s'}, {'Sid': 'ReadSealedModels', 'Effect': 'Allow', "
                                     "'Action': "
                                     "'s3:GetObject', 'Resource': %s}]}",
                                     cases[i].key, cases[i].resource) > 0);
                assert_json(o, wanted);
        }
}

static void test_the_bucket(void **state _unused_) {
        const char *role = ROLE;
        const struct composition c = { .principals = { &role, 1 }, .bucket = "models", .prefix = "llama/" };
        _cleanup_json_ json_object *o = NULL;
        struct error e;

        assert_ok(compose_bucket_policy(&c, &o, &e), &e);
        assert_json(
                o,
                "{'Version': '2012-10-17', 'Statement': [{'Sid': 'ReadSealedModels', 'Effect': 'Allow', 'Principal': "
                "{'AWS': '" ROLE
                "'}, 'Action': 's3:GetObject', 'Resource': 'arn:aws:s3:::models/llama/*'}, {'Sid': 'DenyPlainHttp', "
                "'Effect': 'Deny', 'Principal': {'AWS': '*'}, 'Action': 's3:*', 'Resource': "
                "'arn:aws:s3:::models/llama/*', 'Condition': {'Bool': {'aws:SecureTransport': 'false'}}}]}");
}

static void test_what_the_others_need(void **state _unused_) {
        const char *role = ROLE, *wild = "arn:aws:iam::444455556666:role/*";
        const struct {
                int (*compose)(const struct composition *c, json_object **ret, struct error *e);
                struct composition c;
                enum failure failure;
                const char *why;
        } cases[] = {
                { compose_role_policy, { .bucket = "b" }, FAILURE_USAGE, "no --key was given" },
                { compose_role_policy,
                  { .bucket = "b", .key = "arn:aws:kms:us-east-1:" OWNER ":alias/k" },
                  FAILURE_USAGE,
                  "is not the ARN of a KMS key" },
                { compose_role_policy,
                  { .bucket = "b", .key = "arn:aws:kms:us-east-1:" OWNER ":key/*" },
                  FAILURE_USAGE,
                  "is not the ARN of a KMS key" },
                { compose_role_policy, { .key = KEY }, FAILURE_USAGE, "no --model" },
                { compose_role_policy, { .key = KEY, .bucket = "b", .prefix = "a*" }, FAILURE_USAGE, "wildcard" },
                { compose_role_policy, { .key = KEY, .bucket = "b", .prefix = "${x}/" }, FAILURE_USAGE, "wildcard" },
                { compose_bucket_policy, { .bucket = "b" }, FAILURE_USAGE, "no --principal was given" },
                { compose_bucket_policy, { .principals = { &role, 1 } }, FAILURE_USAGE, "no --model" },
                { compose_bucket_policy,
                  { .principals = { &wild, 1 }, .bucket = "b" },
                  FAILURE_POLICY,
                  "wildcard principal" },
        };

        for (size_t i = 0; i < ELEMENTS(cases); i++) {
                json_object *o = NULL;
                struct error e = {};

                assert_refused(cases[i].compose(&cases[i].c, &o, &e), &e, cases[i].failure, cases[i].why);
                assert_null(o);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_a_whole_policy),
                cmocka_unit_test(test_everything_that_can_be_asked_for),
                cmocka_unit_test(test_an_enclave),
                cmocka_unit_test(test_what_is_not_written),
                cmocka_unit_test(test_when_secure_boot_is_needed),
                cmocka_unit_test(test_objects),
                cmocka_unit_test(test_the_bucket),
                cmocka_unit_test(test_what_the_others_need),
        };

        return cmocka_run_group_tests_name("compose", tests, NULL, NULL);
}
