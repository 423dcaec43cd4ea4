/* SPDX-License-Identifier: Apache-2.0 */

/* A key policy's text, what of an Allow is left under the Deny statements, requests, and how a decision is explained.
 */

#include "quotes.h"

#include "keypolicy/explain.h"
#include "keypolicy/guard.h"

#define SIX(s) s s s s s s
#define A SIX("abababababababab")
#define OWNER "111122223333"
#define ROLE "arn:aws:iam::444455556666:role/inference"
#define SESSION "arn:aws:sts::444455556666:assumed-role/inference/i-1"
#define KEY "arn:aws:kms:us-east-1:" OWNER ":key/1234abcd"
#define RA "kms:RecipientAttestation:"

#define WITH(elements) "{'Statement': {" elements "}}"
#define ALL "'Effect': 'Allow', 'Principal': '*', 'Action': 'kms:*', 'Resource': '*'"
#define WHO(principal) "'Effect': 'Allow', 'Action': 'kms:*', 'Resource': '*', 'Principal': " principal
#define DOES(action) "'Effect': 'Allow', 'Principal': '*', 'Resource': '*', 'Action': " action
#define WHERE(condition) ALL ", 'Condition': " condition

/* Text */

static void test_policies_that_kms_takes(void **state _unused_) {
        static const struct {
                const char *text;
                size_t n_statements;
        } cases[] = {
                { WITH(ALL), 1 },
                { "{'Version': '2008-10-17', 'Id': 'x', 'Statement': [{" ALL "}, {" ALL "}]}", 2 },
                { "{'Version': '2012-10-17', 'Statement': [{'Sid': 'a', " ALL "}, {'Sid': 'b', " ALL "}]}", 2 },
                { "{'Statement': [{'Sid': '', " ALL "}, {'Sid': '', " ALL "}]}", 2 },
                { WITH(WHO("{'AWS': ['" OWNER "', '" ROLE "', 'arn:aws-cn:iam::" OWNER ":root']}")), 1 },
                { WITH(WHO("{'AWS': '" SESSION "'}")), 1 },
                { WITH(WHO("{'AWS': 'AROAEXAMPLEEXAMPLE123'}")), 1 },
                { WITH(WHO("{'Service': 'ec2.amazonaws.com', 'AWS': '*'}")), 1 },
                { WITH(DOES("['kms:Decrypt', 'KMS:GenerateDataKey*', '*']")), 1 },
                { WITH(WHERE("{'Bool': {'aws:SecureTransport': true}}")), 1 },
                { WITH(WHERE("{'NumericLessThan': {'kms:RotationPeriodInDays': 1.5}}")), 1 },
                { WITH(WHERE("{'ForAllValues:StringEqualsIfExists': {'a:b': ['x', 'y']}}")), 1 },
                { WITH("'Effect': 'Deny', 'NotPrincipal': {'AWS': '" ROLE
                       "'}, 'NotAction': 'kms:*', 'NotResource': 'r'"),
                  1 },
        };

        for (size_t i = 0; i < ELEMENTS(cases); i++) {
                _cleanup_key_policy_ struct key_policy policy = {};

                quoted_policy(cases[i].text, &policy);
                assert_int_equal(policy.n, cases[i].n_statements);
        }
}

static void test_policies_that_kms_refuses(void **state _unused_) {
        static const struct {
                const char *text, *why;
        } cases[] = {
                { "[]", "is not an object" },
                { "{}", "has no statement" },
                { "{'Statement': []}", "has no statement" },
                { "{'Statement': 1}", "statement 1: it is not an object" },
                { "{'Statement': {" ALL "}, 'Extra': 1}", "\"Extra\" is not an element of a policy" },
                { "{'Version': '2013-10-17', 'Statement': {" ALL "}}", "Version is neither" },
                { "{'Version': 2012, 'Statement': {" ALL "}}", "Version is neither" },
                { WITH(ALL ", 'Extra': 1"), "statement 1: \"Extra\" is not an element of a policy" },
                { WITH("'Principal': '*', 'Action': 'kms:*', 'Resource': '*'"), "has no Effect" },
                { WITH("'Effect': 'Allow', 'Action': 'kms:*', 'Resource': '*'"), "has no Principal" },
                { WITH("'Effect': 'Allow', 'Principal': '*', 'Resource': '*'"), "has no Action" },
                { WITH("'Effect': 'Allow', 'Principal': '*', 'Action': 'kms:*'"), "has no Resource" },
                { WITH("'Effect': 'allow', 'Principal': '*', 'Action': 'kms:*', 'Resource': '*'"),
                  "neither Allow nor Deny" },
                { WITH(ALL ", 'NotAction': 'kms:*'"), "has both NotAction and its opposite" },
                { WITH("'Sid': 1, " ALL), "Sid is not text" },
                { "{'Statement': [{'Sid': 's', " ALL "}, {'Sid': 's', " ALL "}]}", "s: the Sid is not unique" },
                { WITH("'Effect': 'Allow', 'NotPrincipal': {'AWS': '" ROLE "'}, 'Action': 'kms:*', 'Resource': '*'"),
                  "NotPrincipal is only for Deny" },
                { WITH(WHO("'" ROLE "'")), "Principal is neither" },
                { WITH(WHO("{}")), "Principal is neither" },
                { WITH(WHO("{'Federated': 'x'}")), "\"Federated\" is not a kind of principal" },
                { WITH(WHO("{'AWS': []}")), "Principal is empty" },
                { WITH(WHO("{'AWS': 1}")), "Principal is not text" },
                { WITH(WHO("{'AWS': 'inference'}")), "\"inference\" is not a principal" },
                { WITH(WHO("{'AWS': 'arn:aws:iam::" OWNER ":role/*'}")), "is not a principal" },
                { WITH(WHO("{'AWS': 'arn:aws:iam::1:root'}")), "is not a principal" },
                { WITH(WHO("{'AWS': 'arn:aws:iam::" OWNER ":role/'}")), "is not a principal" },
                { WITH(WHO("{'AWS': 'arn:aws:iam::" OWNER ":group/g'}")), "is not a principal" },
                { WITH(DOES("'s3:GetObject'")), "\"s3:GetObject\" is not an action" },
                { WITH(DOES("'kms:'")), "is not an action of KMS" },
                { WITH(DOES("'kms:De crypt'")), "is not an action of KMS" },
                { WITH(DOES("{}")), "Action is not text" },
                { WITH("'Effect': 'Allow', 'Principal': '*', 'Action': 'kms:*', 'Resource': ''"), "Resource is empty" },
                { WITH(WHERE("[]")), "Condition is not an object" },
                { WITH(WHERE("{'StringEquals': {}}")), "the condition StringEquals is not an object" },
                { WITH(WHERE("{'StringEqual': {'a:b': 'c'}}")), "\"StringEqual\" is not a condition operator" },
                { WITH(WHERE("{'ForEachValue:StringEquals': {'a:b': 'c'}}")), "is not a condition operator" },
                { WITH(WHERE("{'NullIfExists': {'a:b': 'true'}}")), "is not a condition operator" },
                { WITH(WHERE("{'StringEquals': {'model': 'm'}}")), "\"model\" is not a condition key" },
                { WITH(WHERE("{'StringEquals': {'a:b': 1}}")), "a:b is not text" },
                { WITH(WHERE("{'StringEquals': {'a:b': []}}")), "a:b is empty" },
                { WITH(WHERE("{'StringEquals': {'a:b': 'x\\u0000y'}}")), "a:b holds a NUL character" },
                { WITH(WHERE("{'Bool': {'a:b': 'yes'}}")), "Bool of a:b takes true or false" },
        };

        for (size_t i = 0; i < ELEMENTS(cases); i++) {
                _cleanup_free_ char *text = quoted(cases[i].text);
                struct key_policy policy = {};
                struct error e = {};

                assert_refused(key_policy_parse(text, strlen(text), "t", &policy, &e), &e, FAILURE_POLICY,
                               cases[i].why);
                assert_int_equal(policy.n, 0);
        }
}

static void test_the_length_of_a_policy(void **state _unused_) {
        _cleanup_free_ char *text = calloc(1, KEY_POLICY_MAX + 2), *head = quoted(WITH(ALL));
        _cleanup_key_policy_ struct key_policy policy = {};
        struct key_policy none = {};
        struct error e = {};

        memset(text, ' ', KEY_POLICY_MAX + 1);
        memcpy(text, head, strlen(head));
        assert_ok(key_policy_parse(text, KEY_POLICY_MAX, "t", &policy, &e), &e);
        assert_refused(key_policy_parse(text, KEY_POLICY_MAX + 1, "t", &none, &e), &e, FAILURE_POLICY,
                       "longer than 32768");
}

static void test_wildcards(void **state _unused_) {
        static const struct {
                const char *pattern, *text;
                bool ignore_case, matches;
        } cases[] = {
                { "", "", false, true },          { "", "a", false, false },      { "*", "", false, true },
                { "*", "anything", false, true }, { "?", "", false, false },      { "?", "a", false, true },
                { "a*c", "abbc", false, true },   { "a*c", "abb", false, false }, { "a*b*c", "aXbYbZc", false, true },
                { "**", "x", false, true },       { "a?c", "abc", false, true },  { "ABC", "abc", false, false },
                { "A*C", "abc", true, true },     { "[a]", "a", false, false },   { "*a", "ba", false, true },
                { "*aab", "aaab", false, true },  { "a\\*", "a*", false, false },
        };

        for (size_t i = 0; i < ELEMENTS(cases); i++)
                if (glob_matches(cases[i].pattern, cases[i].text, cases[i].ignore_case) != cases[i].matches)
                        fail_msg("%s %s", cases[i].pattern, cases[i].text);
}

/* Guards */

#define ALLOW(action, conditions) \
        "{'Effect': 'Allow', 'Principal': {'AWS': '" ROLE "'}, 'Action': " action \
        ", 'Resource': '*', 'Condition': {" conditions "}}"
#define DENY(action, conditions) \
        "{'Effect': 'Deny', 'Principal': '*', 'Action': " action ", 'Resource': '*', 'Condition': {" conditions "}}"
#define PCR4(operator) "'" operator"': {'" RA "NitroTPMPCR4': '" A "'}"
#define NO_DOCUMENT "'Null': {'" RA "NitroTPMPCR4': 'true'}"
#define TWO(statement, other) "{'Statement': [" statement ", " other "]}"

/* What is left of the first statement. */
static void test_guards(void **state _unused_) {
        static const struct {
                const char *what, *policy;
                enum use use;
                bool used, attested, demands_document;
                size_t n_conditions;
        } cases[] = {
                { "alone", TWO(ALLOW("'kms:Decrypt'", ""), ALLOW("'kms:Encrypt'", "")), USE_RELEASE, true, false, false,
                  0 },
                { "another use", TWO(ALLOW("'kms:Decrypt'", ""), ALLOW("'kms:Encrypt'", "")), USE_SEAL, false, false,
                  false, 0 },
                { "a grant gives every use away", TWO(ALLOW("'kms:CreateGrant'", ""), ALLOW("'kms:Encrypt'", "")),
                  USE_SEAL, true, false, false, 0 },
                { "its own condition", TWO(ALLOW("'kms:Decrypt'", PCR4("StringEquals")), ALLOW("'kms:Encrypt'", "")),
                  USE_RELEASE, true, true, false, 1 },
                { "a Deny of other values",
                  TWO(ALLOW("'kms:Decrypt'", ""), DENY("'kms:Decrypt'", PCR4("StringNotEquals"))), USE_RELEASE, true,
                  true, false, 1 },
                { "a Deny of this value", TWO(ALLOW("'kms:Decrypt'", ""), DENY("'kms:Decrypt'", PCR4("StringEquals"))),
                  USE_RELEASE, true, false, false, 0 },
                { "a Deny without a document", TWO(ALLOW("'kms:Decrypt'", ""), DENY("'kms:Decrypt'", NO_DOCUMENT)),
                  USE_RELEASE, true, false, true, 0 },
                { "a Deny of another action",
                  TWO(ALLOW("'kms:Decrypt'", ""), DENY("'kms:Encrypt'", PCR4("StringNotEquals"))), USE_RELEASE, true,
                  false, false, 0 },
                { "a Deny of one of two actions",
                  TWO(ALLOW("'kms:*'", ""), DENY("'kms:Decrypt'", PCR4("StringNotEquals"))), USE_RELEASE, true, false,
                  false, 0 },
                { "a Deny with a second condition",
                  TWO(ALLOW("'kms:Decrypt'", ""),
                      DENY("'kms:Decrypt'", PCR4("StringNotEquals") ", 'Bool': {'aws:SecureTransport': 'true'}")),
                  USE_RELEASE, true, false, false, 0 },
                { "a Deny with IfExists",
                  TWO(ALLOW("'kms:Decrypt'", ""), DENY("'kms:Decrypt'", PCR4("StringNotEqualsIfExists"))), USE_RELEASE,
                  true, false, false, 0 },
                { "a Deny for one caller",
                  TWO(ALLOW("'kms:Decrypt'", ""),
                      "{'Effect': 'Deny', 'Principal': {'AWS': '" ROLE "'}, 'Action': 'kms:Decrypt', 'Resource': '*'}"),
                  USE_RELEASE, true, false, false, 0 },
                { "a Deny of one key",
                  TWO(ALLOW("'kms:Decrypt'", ""),
                      "{'Effect': 'Deny', 'Principal': '*', 'Action': 'kms:Decrypt', 'Resource': '" KEY "'}"),
                  USE_RELEASE, true, false, false, 0 },
                { "a Deny that always applies",
                  TWO(ALLOW("['kms:Decrypt', 'kms:ReEncryptFrom']", ""),
                      "{'Effect': 'Deny', 'Principal': '*', 'Action': ['kms:Decrypt', 'kms:ReEncryptFrom'], "
                      "'Resource': '*'}"),
                  USE_RELEASE, false, false, false, 0 },
                { "a condition that is never met",
                  TWO(ALLOW("'kms:Decrypt'", "'StringEquals': {'" RA "NitroTPMPCR99': 'x'}"),
                      ALLOW("'kms:Encrypt'", "")),
                  USE_RELEASE, false, false, false, 1 },
        };

        for (size_t i = 0; i < ELEMENTS(cases); i++) {
                _cleanup_key_policy_ struct key_policy policy = {};
                _cleanup_guarded_ struct guarded g = {};

                quoted_policy(cases[i].policy, &policy);
                assert_int_equal(guarded_init(&policy, &policy.statements[0], cases[i].use, &g), 0);
                if (g.used != cases[i].used || guarded_is_attested(&g) != cases[i].attested ||
                    g.demands_document != cases[i].demands_document || g.n != cases[i].n_conditions)
                        fail_msg("%s: used %d, attested %d, demands %d, %zu conditions", cases[i].what, g.used,
                                 guarded_is_attested(&g), g.demands_document, g.n);
        }
}

static void test_the_narrowest_condition_counts(void **state _unused_) {
        _cleanup_key_policy_ struct key_policy policy = {};
        _cleanup_guarded_ struct guarded g = {};

        quoted_policy(TWO(ALLOW("'kms:Decrypt'", "'StringEquals': {'" RA "NitroTPMPCR4': ['a', 'b']}"),
                          DENY("'kms:Decrypt'", PCR4("StringNotEquals"))),
                      &policy);
        assert_int_equal(guarded_init(&policy, &policy.statements[0], USE_RELEASE, &g), 0);
        assert_int_equal(g.n, 2);
        assert_int_equal(guarded_find(&g, RA "NITROTPMPCR4")->values.n, 1);
        assert_null(guarded_find(&g, RA "NitroTPMPCR7"));
}

/* Requests */

static void test_callers(void **state _unused_) {
        static const struct {
                const char *principal, *role; /* role: "": none */
        } good[] = {
                { ROLE, "" },
                { SESSION, ROLE },
                { "arn:aws:iam::" OWNER ":user/team/u", "" },
                { "arn:aws-cn:sts::" OWNER ":assumed-role/r/s", "arn:aws-cn:iam::" OWNER ":role/r" },
        };
        static const char *const bad[] = {
                "",
                "inference",
                OWNER,
                "arn:aws:iam::" OWNER ":",
                "arn:aws:iam::1:role/r",
                "arn:aws:s3:::bucket",
                "arn:aws:sts::" OWNER ":assumed-role/r",
                "arn:gcp:iam::" OWNER ":role/r",
        };
        struct error e = {};

        for (size_t i = 0; i < ELEMENTS(good); i++) {
                _cleanup_request_ struct request q = {};

                assert_ok(request_init(&q, good[i].principal, "kms:Decrypt", KEY, &e), &e);
                assert_string_equal(q.role ?: "", good[i].role);
                assert_string_equal(request_find(&q, "AWS:principalarn")->values[0],
                                    good[i].role[0] ? good[i].role : good[i].principal);
        }
        for (size_t i = 0; i < ELEMENTS(bad); i++) {
                _cleanup_request_ struct request q = {};

                assert_refused(request_init(&q, bad[i], "kms:Decrypt", KEY, &e), &e, FAILURE_USAGE,
                               "is not the ARN of");
        }
}

static void test_keys_that_a_request_names(void **state _unused_) {
        static const char *const bad[] = { "alias/k", "1234abcd", "arn:aws:kms:us-east-1:" OWNER ":alias/k",
                                           "arn:aws:kms:us-east-1:" OWNER ":key/",
                                           "arn:aws:s3:us-east-1:" OWNER ":key/1" };

        for (size_t i = 0; i < ELEMENTS(bad); i++) {
                _cleanup_request_ struct request q = {};
                struct error e = {};

                assert_refused(request_init(&q, ROLE, "kms:Decrypt", bad[i], &e), &e, FAILURE_USAGE,
                               "is not the ARN of a KMS key");
        }
}

static void test_what_can_be_set(void **state _unused_) {
        static const struct {
                const char *key, *value, *why; /* NULL: it can */
        } cases[] = {
                { "aws:SourceVpce", "vpce-1", NULL },
                { "aws:sourcevpce", "vpce-2", NULL }, /* a second value */
                { "aws:PrincipalArn", "arn:aws:iam::444455556666:role/team/inference", NULL },
                { "aws:PrincipalArn", ROLE, "is known from the request" }, /* once */
                { "aws:PrincipalAccount", OWNER, "is known from the request" },
                { "kms:EncryptionContext:model", "m", "is given by the encryption context" },
                { RA "NitroTPMPCR4", A, "is known from the request" },
                { RA "NitroTPMPCR99", A, "is not a condition key of KMS" },
        };
        const struct document d = { .kind = DOCUMENT_NITROTPM };
        _cleanup_request_ struct request q = {};
        struct error e = {};

        assert_ok(request_init(&q, SESSION, "kms:Decrypt", KEY, &e), &e);
        assert_ok(request_add_document(&q, &d, &e), &e);
        assert_refused(request_set(&q, "aws:PrincipalArn", "arn:aws:iam::444455556666:role/other", &e), &e,
                       FAILURE_USAGE, "is not the ARN of the role behind");
        for (size_t i = 0; i < ELEMENTS(cases); i++)
                if (cases[i].why)
                        assert_refused(request_set(&q, cases[i].key, cases[i].value, &e), &e, FAILURE_USAGE,
                                       cases[i].why);
                else
                        assert_ok(request_set(&q, cases[i].key, cases[i].value, &e), &e);
        assert_int_equal(request_find(&q, "aws:SourceVpce")->n, 2);
        assert_true(request_lacks(&q, "kms:ViaService"));
        assert_true(request_lacks(&q, RA "PCR0"));
        assert_false(request_lacks(&q, "aws:SourceIp"));
}

/* Explanations */

/* What explain_evaluation() prints for a request of the session. */
static char *explain(const char *text, bool json) {
        _cleanup_key_policy_ struct key_policy policy = {};
        _cleanup_evaluation_ struct evaluation v = {};
        _cleanup_request_ struct request q = {};
        _cleanup_json_ json_object *o = NULL;
        char *said = NULL;
        struct error e = {};
        size_t size;
        FILE *f;

        quoted_policy(text, &policy);
        assert_ok(request_init(&q, SESSION, "kms:Decrypt", KEY, &e), &e);
        assert_ok(request_add_context(&q, "model", "m", &e), &e);
        assert_ok(evaluate(&policy, &q, &v, &e), &e);
        f = open_memstream(&said, &size);
        assert_non_null(f);
        if (json) {
                o = explain_evaluation_json(&v);
                fputs(json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE), f);
        } else
                explain_evaluation(f, &v, SESSION, "kms:Decrypt");
        assert_int_equal(fclose(f), 0);
        return said;
}

#define SID(sid, effect, who, more) \
        "{'Sid': '" sid "', 'Effect': '" effect "', 'Principal': " who \
        ", 'Action': 'kms:Decrypt', 'Resource': '*'" more "}"
#define MODEL(value) ", 'Condition': {'StringEquals': {'kms:EncryptionContext:model': " value "}}"

static void test_explanations(void **state _unused_) {
        static const struct {
                const char *policy, *text; /* after the line's beginning */
        } cases[] = {
                { "{'Statement': " SID("S", "Allow", "{'AWS': '" ROLE "'}", "") "}",
                  "ALLOWED\n\nS (Allow) applies\n  met      Principal\n  met      Action\n  met      Resource\n" },
                { "{'Statement': " SID("S", "Allow", "{'AWS': '444455556666'}", MODEL("'m'")) "}",
                  "ALLOWED to the caller's account: its IAM policies decide\n\nS (Allow) applies\n  met      "
                  "Principal\n"
                  "  met      Action\n  met      Resource\n  met      StringEquals kms:EncryptionContext:model\n" },
                { "{'Statement': " SID("S", "Allow", "'*'", MODEL("['a', 'b']")) "}",
                  "DENIED: no statement allows it\n\nS (Allow) does not apply\n  met      Principal\n  met      "
                  "Action\n"
                  "  met      Resource\n  NOT MET  StringEquals kms:EncryptionContext:model\n"
                  "             wanted  a, or b\n             found   m\n" },
                { "{'Statement': [" SID("S", "Allow", "'*'", "") ", " SID("D", "Deny", "'*'", "") "]}",
                  "DENIED by a statement that says Deny\n\nS (Allow) applies\n  met      Principal\n  met      Action\n"
                  "  met      Resource\n\nD (Deny) applies\n  met      Principal\n  met      Action\n  met      "
                  "Resource\n" },
                { "{'Statement': " SID("S", "Allow", "'*'",
                                       ", 'Condition': {'IpAddress': {'aws:SourceIp': '::/0'}}") "}",
                  "UNDECIDED: it depends on condition keys that are not known here (see --set and --key)\n\nS (Allow) "
                  "may apply\n"
                  "  met      Principal\n  met      Action\n  met      Resource\n  unknown  IpAddress aws:SourceIp\n"
                  "             wanted  ::/0\n             found   nothing\n" },
                /* A statement for another caller tells why it is none; a Deny that does not apply tells nothing. */
                { "{'Statement': [" SID("S", "Allow", "{'AWS': '" OWNER "'}", "") ", " SID("D", "Deny", "'*'",
                                                                                           MODEL("'x'")) "]}",
                  "DENIED: no statement allows it\n\nS (Allow) does not apply\n  NOT MET  Principal\n             "
                  "wanted  " OWNER "\n             found   " SESSION "\n  met      Action\n  met      Resource\n" },
                { "{'Statement': " SID("S", "Allow", "{'Service': 'ec2.amazonaws.com'}", "") "}",
                  "DENIED: no statement allows it\n\nS (Allow) does not apply\n  NOT MET  Principal\n             "
                  "wanted  a service\n"
                  "             found   " SESSION "\n  met      Action\n  met      Resource\n" },
                { "{'Statement': {'Sid': 'x\\u001b[2J', 'Effect': 'Allow', 'Principal': '*', 'Action': 'kms:Encrypt', "
                  "'Resource': '*'}}",
                  "DENIED: no statement allows it\n" },
        };

        for (size_t i = 0; i < ELEMENTS(cases); i++) {
                _cleanup_free_ char *said = explain(cases[i].policy, false);
                static const char begin[] = "kms:Decrypt for " SESSION ": ";

                assert_true(strncmp(said, begin, strlen(begin)) == 0);
                assert_string_equal(said + strlen(begin), cases[i].text);
        }
}

static void test_explanations_in_json(void **state _unused_) {
        _cleanup_free_ char *said =
                explain("{'Statement': " SID("S", "Allow", "'*'",
                                             ", 'Condition': {'IpAddress': {'aws:SourceIp': '::/0'}}") "}",
                        true);
        _cleanup_free_ char *wanted = quoted(
                "{'decision':'unknown','explicit_deny':false,'delegated':false,'statements':[{'statement':'S','effect':"
                "'Allow',"
                "'applies':'unknown','elements':[{'element':'Principal','key':null,'met':'yes','wanted':['*'],'found':"
                "'" SESSION "'},{'element':'Action','key':null,'met':'yes','wanted':['kms:Decrypt'],'found':'kms:"
                "Decrypt'},{'element':"
                "'Resource','key':null,'met':'yes','wanted':['*'],'found':'" KEY
                "'},{'element':'IpAddress','key':'aws:SourceIp','met':'unknown','wanted':['::/0'],'found':null}]}]}");

        assert_string_equal(said, wanted);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_policies_that_kms_takes),
                cmocka_unit_test(test_policies_that_kms_refuses),
                cmocka_unit_test(test_the_length_of_a_policy),
                cmocka_unit_test(test_wildcards),
                cmocka_unit_test(test_guards),
                cmocka_unit_test(test_the_narrowest_condition_counts),
                cmocka_unit_test(test_callers),
                cmocka_unit_test(test_keys_that_a_request_names),
                cmocka_unit_test(test_what_can_be_set),
                cmocka_unit_test(test_explanations),
                cmocka_unit_test(test_explanations_in_json),
        };

        return cmocka_run_group_tests_name("key-policy", tests, NULL, NULL);
}
