/* SPDX-License-Identifier: Apache-2.0 */

/* What two key policies mean differently. */

#include "quotes.h"

#include "keypolicy/diff.h"

#define OWNER "111122223333"
#define ROLE "arn:aws:iam::444455556666:role/inference"
#define DOCUMENT(version, statements) "{'Version': '" version "', 'Statement': [" statements "]}"
#define POLICY(statements) DOCUMENT("2012-10-17", statements)
#define S(sid, who, action, more) \
        "{'Sid': '" sid "', 'Effect': 'Allow', 'Principal': " who ", 'Action': " action ", 'Resource': '*'" more "}"
#define AWS(who) "{'AWS': " who "}"
#define WHERE(condition) ", 'Condition': {" condition "}"

/* "BEFORE>AFTER: -REMOVED +ADDED ;" for each change. */
static void list_changes(const struct changes *c, char *ret, size_t size) {
        ret[0] = '\0';
        for (size_t i = 0; i < c->n; i++) {
                const struct change *change = &c->items[i];

                snprintf(ret + strlen(ret), size - strlen(ret), "%s>%s: ", change->before ?: "", change->after ?: "");
                for (size_t k = 0; k < change->n_removed; k++)
                        snprintf(ret + strlen(ret), size - strlen(ret), "-%s ", change->removed[k]);
                for (size_t k = 0; k < change->n_added; k++)
                        snprintf(ret + strlen(ret), size - strlen(ret), "+%s ", change->added[k]);
                snprintf(ret + strlen(ret), size - strlen(ret), ";");
        }
}

static void test_changes(void **state _unused_) {
        static const struct {
                const char *what, *before, *after, *changes;
        } cases[] = {
                { "the same", POLICY(S("A", "'*'", "'kms:Decrypt'", "")), POLICY(S("A", "'*'", "'kms:Decrypt'", "")),
                  "" },
                { "another Sid", POLICY(S("A", "'*'", "'kms:Decrypt'", "")), POLICY(S("B", "'*'", "'kms:Decrypt'", "")),
                  "" },
                { "one value or an array", POLICY(S("A", AWS("'*'"), "'kms:Decrypt'", "")),
                  POLICY(S("A", AWS("['*']"), "['kms:Decrypt']", "")), "" },
                { "a value twice", POLICY(S("A", "'*'", "'kms:Decrypt'", "")),
                  POLICY(S("A", "'*'", "['kms:Decrypt', 'kms:Decrypt']", "")), "" },
                { "the order of values", POLICY(S("A", "'*'", "['kms:Decrypt', 'kms:Encrypt']", "")),
                  POLICY(S("A", "'*'", "['kms:Encrypt', 'kms:Decrypt']", "")), "" },
                { "the order of statements",
                  POLICY(S("A", "'*'", "'kms:Decrypt'", "") ", " S("B", "'*'", "'kms:Encrypt'", "")),
                  POLICY(S("B", "'*'", "'kms:Encrypt'", "") ", " S("A", "'*'", "'kms:Decrypt'", "")), "" },
                { "the case of actions and condition keys",
                  POLICY(S("A", "'*'", "'kms:Decrypt'", WHERE("'StringEquals': {'kms:ViaService': 'x'}"))),
                  POLICY(S("A", "'*'", "'KMS:decrypt'", WHERE("'StringEquals': {'KMS:viaservice': 'x'}"))), "" },
                { "an account and its root", POLICY(S("A", AWS("'" OWNER "'"), "'kms:Decrypt'", "")),
                  POLICY(S("A", AWS("'arn:aws:iam::" OWNER ":root'"), "'kms:Decrypt'", "")), "" },
                { "an account of another partition",
                  POLICY(S("A", AWS("['" OWNER "', 'arn:aws-cn:iam::444455556666:role/r']"), "'kms:Decrypt'", "")),
                  POLICY(S("A", AWS("['arn:aws-cn:iam::" OWNER ":root', 'arn:aws-cn:iam::444455556666:role/r']"),
                           "'kms:Decrypt'", "")),
                  "" },
                { "case under an operator that ignores it",
                  POLICY(S("A", "'*'", "'kms:Decrypt'", WHERE("'StringEqualsIgnoreCase': {'a:b': 'AB'}"))),
                  POLICY(S("A", "'*'", "'kms:Decrypt'", WHERE("'StringEqualsIgnoreCase': {'a:b': 'ab'}"))), "" },
                { "case under one that does not",
                  POLICY(S("A", "'*'", "'kms:Decrypt'", WHERE("'StringEquals': {'a:b': 'AB'}"))),
                  POLICY(S("A", "'*'", "'kms:Decrypt'", WHERE("'StringEquals': {'a:b': 'ab'}"))),
                  "A>A: -Condition StringEquals a:b = AB +Condition StringEquals a:b = ab ;" },
                { "another Version without variables", DOCUMENT("2008-10-17", S("A", "'*'", "'kms:Decrypt'", "")),
                  POLICY(S("A", "'*'", "'kms:Decrypt'", "")), "" },
                { "another Version with variables",
                  DOCUMENT("2008-10-17", S("A", "'*'", "'kms:Decrypt'", WHERE("'StringEquals': {'a:b': '${c:d}'}"))),
                  POLICY(S("A", "'*'", "'kms:Decrypt'", WHERE("'StringEquals': {'a:b': '${c:d}'}"))),
                  "A>A: -Version 2008-10-17 +Version 2012-10-17 ;" },
                { "an action more", POLICY(S("A", "'*'", "'kms:Decrypt'", "")),
                  POLICY(S("A", "'*'", "['kms:Decrypt', 'kms:Encrypt']", "")), "A>A: +Action kms:encrypt ;" },
                { "Allow and Deny", POLICY(S("A", "'*'", "'kms:Decrypt'", "")),
                  POLICY("{'Sid': 'A', 'Effect': 'Deny', 'Principal': '*', 'Action': 'kms:Decrypt', 'Resource': '*'}"),
                  "A>A: -Effect Allow +Effect Deny ;" },
                { "Action and NotAction", POLICY(S("A", "'*'", "'kms:Decrypt'", "")),
                  POLICY("{'Sid': 'A', 'Effect': 'Allow', 'Principal': '*', 'NotAction': 'kms:Decrypt', 'Resource': "
                         "'*'}"),
                  "A>A: -Action kms:decrypt +NotAction kms:decrypt ;" },
                { "a service", POLICY(S("A", "{'Service': 'a.amazonaws.com'}", "'kms:Decrypt'", "")),
                  POLICY(S("A", "{'Service': 'b.amazonaws.com'}", "'kms:Decrypt'", "")),
                  "A>A: -Principal service a.amazonaws.com +Principal service b.amazonaws.com ;" },
                { "alternatives share a line",
                  POLICY(S("A", "'*'", "'kms:Decrypt'", WHERE("'StringEquals': {'a:b': ['y', 'x']}"))),
                  POLICY(S("A", "'*'", "'kms:Decrypt'", WHERE("'StringEquals': {'a:b': 'x'}"))),
                  "A>A: -Condition StringEquals a:b = x | y +Condition StringEquals a:b = x ;" },
                { "a value that is no word", POLICY(S("A", "'*'", "'kms:Decrypt'", "")),
                  POLICY(S("A", "'*'", "'kms:Decrypt'",
                           WHERE("'StringEquals': {'a:b': ['x | y', '', 'c=d', '\\u001b[2J']}"))),
                  "A>A: +Condition StringEquals a:b = \"\" | \"\\u001b[2J\" | \"c=d\" | \"x | y\" ;" },
                { "a statement that is gone",
                  POLICY(S("A", "'*'", "'kms:Decrypt'", "") ", " S("B", "'*'", "'kms:Encrypt'", "")),
                  POLICY(S("A", "'*'", "'kms:Decrypt'", "")),
                  "B>: -Action kms:encrypt -Effect Allow -Principal * -Resource * ;" },
                { "a statement that is new, without a Sid", POLICY(S("A", "'*'", "'kms:Decrypt'", "")),
                  POLICY(S("A", "'*'", "'kms:Decrypt'", "") ", {'Effect': 'Deny', 'NotPrincipal': {'AWS': '" ROLE
                                                            "'}, 'Action': '*', 'NotResource': 'x'}"),
                  ">statement 2: +Action * +Effect Deny +NotPrincipal " ROLE " +NotResource x ;" },
                { "equal ones pair before those of one Sid",
                  POLICY(S("A", "'*'", "'kms:Decrypt'", "") ", " S("B", "'*'", "'kms:Encrypt'", "")),
                  POLICY(S("B", "'*'", "'kms:Decrypt'", "") ", " S("A", "'*'", "'kms:Encrypt'", "")), "" },
                { "one of two equal ones is gone",
                  POLICY(S("A", "'*'", "'kms:Decrypt'", "") ", " S("B", "'*'", "'kms:Decrypt'", "")),
                  POLICY(S("A", "'*'", "'kms:Decrypt'", "")),
                  "B>: -Action kms:decrypt -Effect Allow -Principal * -Resource * ;" },
        };
        unsigned wrong = 0;

        for (size_t i = 0; i < ELEMENTS(cases); i++) {
                _cleanup_key_policy_ struct key_policy before = {}, after = {};
                _cleanup_changes_ struct changes changes = {};
                struct error e = {};
                char list[1024];

                quoted_policy(cases[i].before, &before);
                quoted_policy(cases[i].after, &after);
                assert_ok(key_policy_compare(&before, &after, &changes, &e), &e);
                list_changes(&changes, list, sizeof list);
                if (streq(list, cases[i].changes))
                        continue;
                print_error("%s: [%s], expected [%s]\n", cases[i].what, list, cases[i].changes);
                wrong++;
        }
        assert_int_equal(wrong, 0);
}

int main(void) {
        const struct CMUnitTest tests[] = { cmocka_unit_test(test_changes) };

        return cmocka_run_group_tests_name("policy-diff", tests, NULL, NULL);
}
