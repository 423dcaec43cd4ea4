/* SPDX-License-Identifier: Apache-2.0 */

/* CloudTrail's records: what is refused of one, in which shapes they come, and how each call is judged. */

#include "quotes.h"

#include "audit/audit-view.h"
#include "basic/file.h"

#define FOUR "444444444444444444444444444444444444444444444444444444444444444444444444444444444444444444444444"
#define SEVEN "777777777777777777777777777777777777777777777777777777777777777777777777777777777777777777777777"
#define KEY "arn:aws:kms:us-west-2:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
#define ROLE "arn:aws:iam::111122223333:role/path/release"
#define SESSION "arn:aws:sts::111122223333:assumed-role/release/me"

#define HEAD "'eventSource': 'kms.amazonaws.com', 'eventTime': '2026-11-30T02:59:30Z', "
#define CALL(name, more) "{" HEAD "'eventName': '" name "', " more "}"
#define BY(arn) "'userIdentity': {'arn': '" arn "', 'accountId': '111122223333'}"
#define WITH(recipient) "'additionalEventData': {'recipient': {" recipient "}}"
#define MODULE "'attestationDocumentModuleId': 'i-123456789abcde123-tpm0000000000000000'"
#define PCR(n, value) "'attestationDocumentNitroTPMPCR" #n "': '" value "'"

static json_object *object(const char *text) {
        _cleanup_free_ char *json = quoted(text);
        json_object *o = NULL;
        struct error e = {};

        assert_ok(json_parse(json, strlen(json), FAILURE_USAGE, "", &o, &e), &e);
        return o;
}

static void test_bad_records(void **state _unused_) {
        static const struct {
                const char *text, *why;
        } table[] = {
                { "[]", "it is not an object" },
                { "{}", "it is not a CloudTrail record" },
                { "{'eventSource': 'kms.amazonaws.com'}", "it is not a CloudTrail record" },
                { "{'eventSource': 3, 'eventName': 'Decrypt'}", "\"eventSource\" is not string" },
                { "{'eventSource': 'kms.amazonaws.com', 'eventName': 'Decrypt'}", "\"eventTime\" is not a time" },
                { "{'eventSource': 'kms.amazonaws.com', 'eventName': 'Decrypt', 'eventTime': '2026-11-30 02:59:30Z'}",
                  "\"eventTime\" is not a time" },
                { CALL("Decrypt", "'requestParameters': []"), "\"requestParameters\" is not object but array" },
                { CALL("Decrypt", "'requestParameters': {'keyId': {}}"), "\"keyId\" is not string" },
                { CALL("Decrypt", "'requestParameters': {'keyId': 'a\\u0000b'}"), "has a NUL" },
                { CALL("Decrypt", "'requestParameters': {'encryptionContext': 'x'}"), "is not object but string" },
                { CALL("Decrypt", "'requestParameters': {'encryptionContext': {'model': 1}}"), "is not string" },
                { CALL("Decrypt", "'resources': {}"), "\"resources\" is not array" },
                { CALL("Decrypt", "'resources': ['x']"), "an entry of its \"resources\"" },
                { CALL("Decrypt", "'userIdentity': 'me'"), "\"userIdentity\" is not object" },
                { CALL("Decrypt", "'errorCode': 5"), "\"errorCode\" is not string" },
                { CALL("Decrypt", "'additionalEventData': 'x'"), "\"additionalEventData\" is not object" },
                { CALL("Decrypt", "'additionalEventData': {'recipient': true}"), "\"recipient\" is not object" },
                { CALL("Decrypt", WITH("'attestationDocumentModuleId': 3")), "ModuleId\" is not string" },
                { CALL("Decrypt", WITH(PCR(4, "44"))), "is not a PCR of 96 hex digits" },
                { CALL("Decrypt", WITH(PCR(04, FOUR))), "is not a PCR of 96 hex digits" },
                { CALL("Decrypt", WITH(PCR(32, FOUR))), "is not a PCR of 96 hex digits" },
                { CALL("Decrypt", WITH("'attestationDocumentNitroTPMPCR4': null")), "is not a PCR of 96 hex digits" },
        };

        for (size_t i = 0; i < ELEMENTS(table); i++) {
                _cleanup_json_ json_object *o = object(table[i].text);
                struct call call;
                struct error e = {};

                assert_refused(call_parse(o, &call, &e), &e, FAILURE_USAGE, table[i].why);
        }
}

static void test_a_call(void **state _unused_) {
        _cleanup_json_ json_object *o =
                object(CALL("Decrypt", "'requestParameters': {'keyId': 'alias/x', 'encryptionContext': {'model': "
                                       "'llama', 'version': '3'}}, "
                                       "'responseElements': null, 'errorCode': null, 'resources': [{'ARN': '" KEY
                                       "'}], " BY(SESSION) ", " WITH(MODULE ", " PCR(4, FOUR) ", 'somethingNew': {}")));
        _cleanup_json_ json_object *enclave = object(
                CALL("GenerateRandom",
                     WITH("'attestationDocumentModuleId': 'i-1-enc2', 'attestationDocumentEnclaveImageDigest': '" FOUR
                          "', 'attestationDocumentEnclavePCR3': '" SEVEN "'")));
        struct error e = {};
        struct call c;

        assert_int_equal(call_parse(o, &c, &e), 1);
        assert_string_equal(c.key, KEY);
        assert_string_equal(c.model, "llama");
        assert_string_equal(c.caller, SESSION);
        assert_string_equal(c.error, "");
        assert_string_equal(c.instance, "i-123456789abcde123");
        assert_true(c.attested && !c.enclave && c.present == 1u << 4 && c.pcr[4][0] == 0x44);
        assert_int_equal(call_parse(enclave, &c, &e), 1);
        assert_true(c.enclave && c.present == (1u << 0 | 1u << 3));
        assert_string_equal(c.instance, "i-1");
}

#define OTHER "arn:aws:kms:us-west-2:111122223333:key/ffffabcd-12ab-34cd-56ef-1234567890ab"
#define MRK(region) "arn:aws:kms:" region ":111122223333:key/mrk-1234abcd12ab34cd56ef1234567890ab"
#define ASKED(name, key) CALL(name, "'requestParameters': {'keyId': '" key "'}")
#define USED(name, parameter, arns) CALL(name, "'requestParameters': {" parameter "}, 'resources': [" arns "]")
#define ARN(arn) "{'ARN': '" arn "', 'type': 'AWS::KMS::Key'}"

/* How a request names its key must not hide it: every spelling that KMS takes, and what only "resources" tells. */
static void test_keys(void **state _unused_) {
        static const struct {
                const char *record, *key;
                bool is;
        } table[] = {
                { ASKED("Decrypt", KEY), KEY, true },
                { ASKED("Decrypt", "1234abcd-12ab-34cd-56ef-1234567890ab"), KEY, true },
                { ASKED("Decrypt", ""), KEY, true },
                { ASKED("Decrypt", "alias/llama"), KEY, true },
                { ASKED("Decrypt", "arn:aws:kms:us-west-2:111122223333:alias/llama"), KEY, true },
                { ASKED("Decrypt", OTHER), KEY, false },
                { ASKED("Decrypt", "ffffabcd-12ab-34cd-56ef-1234567890ab"), KEY, false },
                { ASKED("Decrypt", "arn:aws:kms:eu-west-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"), KEY,
                  false },
                { ASKED("Decrypt", MRK("eu-west-1")), MRK("us-west-2"), true },
                { USED("Decrypt", "", ARN(KEY)), KEY, true },
                { USED("Decrypt", "", ARN(OTHER)), KEY, false },
                { USED("Decrypt", "'keyId': 'arn:aws:kms:us-west-2:111122223333:alias/llama'", ARN(KEY)), KEY, true },
                { USED("Decrypt", "'keyId': 'arn:aws:kms:us-west-2:111122223333:alias/llama'", ARN(OTHER)), KEY,
                  false },
                { USED("Decrypt", "'keyId': 'alias/llama'", ARN("arn:aws:s3:::a/key/b") ", " ARN(KEY)), KEY, true },
                { USED("ReEncrypt", "", ARN(OTHER) ", " ARN(KEY)), KEY, true },
                { USED("ReEncrypt", "'destinationKeyId': '" OTHER "'", ARN(KEY) ", " ARN(OTHER)), KEY, true },
                { USED("ReEncrypt", "'sourceKeyId': '" OTHER "'", ARN(KEY) ", " ARN(OTHER)), KEY, false },
                { USED("CreateGrant", "'keyId': 'alias/llama'", ARN(MRK("eu-west-1"))), MRK("us-west-2"), true },
        };

        for (size_t i = 0; i < ELEMENTS(table); i++) {
                _cleanup_json_ json_object *o = object(table[i].record);
                struct error e = {};
                struct call c;

                assert_int_equal(call_parse(o, &c, &e), 1);
                if (call_is_of_key(&c, table[i].key) != table[i].is)
                        fail_msg("%s", table[i].record);
        }
}

/* ---- shapes */

static void test_shapes(void **state _unused_) {
        static const char record[] = CALL("Decrypt", "'eventID': 'a'"), other[] = CALL("Encrypt", "'x': 1");
        static const struct {
                const char *before, *after;
                size_t records, calls;
        } table[] = {
                { "{'Records': [%s, ", "]}", 2, 1 },
                { "[%s, ", "]", 2, 1 },
                { "%s\n", "\n", 2, 1 },
                { "{'detail-type': 'AWS API Call via CloudTrail', 'detail': %s}\n", "", 2, 1 },
        };
        struct error e = {};

        for (size_t i = 0; i < ELEMENTS(table); i++) {
                _cleanup_free_ char *text = NULL, *json = NULL;
                _cleanup_trail_ struct trail t = {};
                char format[256];

                snprintf(format, sizeof format, "%s%%s%s", table[i].before, table[i].after);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
                assert_true(asprintf(&text, format, record, other) > 0);
#pragma GCC diagnostic pop
                json = quoted(text);
                assert_ok(trail_parse(&t, json, strlen(json), "t.json", &e), &e);
                assert_int_equal(t.n_records, table[i].records);
                assert_int_equal(t.n, table[i].calls);
                assert_int_equal(t.n_bad, 0);
        }
}

static void test_records_as_text(void **state _unused_) {
        static const char inner[] =
                "\"{\\\"eventSource\\\": \\\"kms.amazonaws.com\\\", \\\"eventName\\\": \\\"Decrypt\\\", "
                "\\\"eventTime\\\": \\\"2026-11-30T02:59:30Z\\\"}\"";
        static const char *const forms[] = {
                "{\"Events\": [{\"EventId\": \"x\", \"CloudTrailEvent\": %s}, {\"EventId\": 1}, {\"CloudTrailEvent\": "
                "\"{\"}]}",
                "{\"QueryResultRows\": [[{\"eventTime\": \"x\"}, {\"eventJson\": %s}], [], [{\"eventJson\": \"[\"}]]}",
        };

        for (size_t i = 0; i < ELEMENTS(forms); i++) {
                _cleanup_trail_ struct trail t = {};
                _cleanup_free_ char *text = NULL;
                struct error e = {};

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
                assert_true(asprintf(&text, forms[i], inner) > 0);
#pragma GCC diagnostic pop
                assert_ok(trail_parse(&t, text, strlen(text), "t.json", &e), &e);
                assert_int_equal(t.n, 1);
                assert_int_equal(t.n_bad, 2);
                assert_string_equal(t.bad[0].origin, "t.json, record 2");
        }
}

static void test_no_trail(void **state _unused_) {
        static const struct {
                const char *text, *why;
        } table[] = {
                { "", "it is not valid JSON" },
                { "{}", "it has none of the forms" },
                { "{\"Records\": {}}", "it has none of the forms" },
                { "{\"Events\": 3}", "it has none of the forms" },
                { "{\"eventSource\": \"a\"}\n{\"eventSource\"", "it is not valid JSON" },
        };

        for (size_t i = 0; i < ELEMENTS(table); i++) {
                _cleanup_trail_ struct trail t = {};
                struct error e = {};

                assert_refused(trail_parse(&t, table[i].text, strlen(table[i].text), "t.json", &e), &e, FAILURE_USAGE,
                               table[i].why);
        }
}

/* ---- judgement */

static void test_judgement(void **state _unused_) {
        static const struct {
                const char *record, *finding;
        } table[] = {
                { CALL("Decrypt", WITH(MODULE ", " PCR(4, FOUR))), "attested" },
                { CALL("Decrypt", WITH(MODULE ", " PCR(4, FOUR) ", " PCR(7, SEVEN))), "attested" },
                { CALL("Decrypt", WITH(MODULE ", " PCR(4, FOUR) ", " PCR(7, FOUR))), "unknown-image" },
                { CALL("Decrypt", WITH(MODULE ", " PCR(4, SEVEN))), "unknown-image" },
                { CALL("Decrypt", WITH(MODULE ", " PCR(7, SEVEN))), "not-comparable" },
                { CALL("Decrypt", WITH(MODULE)), "not-comparable" },
                { CALL("Decrypt", WITH("'attestationDocumentEnclaveImageDigest': '" FOUR "'")), "not-comparable" },
                { CALL("Decrypt", BY(SESSION)), "opened" },
                { CALL("Decrypt", BY("arn:aws:sts::111122223333:assumed-role/other/me")), "unattested" },
                { CALL("Decrypt", BY("arn:aws:sts::999922223333:assumed-role/release/me")), "unattested" },
                { CALL("Decrypt", BY("arn:aws:sts::111122223333:assumed-role/release2/me")), "unattested" },
                { CALL("Decrypt", "'userIdentity': null"), "unattested" },
                { CALL("Decrypt", BY(SESSION) ", 'additionalEventData': {'recipient': null}"), "opened" },
                { CALL("Decrypt", "'userIdentity': {'arn': '" SESSION "', 'accountId': '999922223333'}"),
                  "unattested" },
                { CALL("ReEncrypt", BY(SESSION)), "opened" },
                { CALL("DeriveSharedSecret", "'x': 1"), "unattested" },
                { CALL("GenerateDataKey", BY("arn:aws:iam::111122223333:user/Sealer")), "sealed" },
                { CALL("GenerateDataKeyPair", BY("arn:aws:iam::111122223333:user/Mallory")), "unattested" },
                { CALL("Decrypt", BY("arn:aws:iam::111122223333:user/Sealer")), "unattested" },
                { CALL("Decrypt", "'errorCode': 'AccessDenied'"), "denied" },
                { CALL("Decrypt", "'errorCode': 'AccessDenied', " WITH(MODULE ", " PCR(4, SEVEN))), "denied" },
                { CALL("PutKeyPolicy", BY(SESSION)), "key-changed" },
                { CALL("Decrypt", BY("arn:aws:sts::111122223333:assumed-role/x/i-0ffffffffffffffff") ", " WITH(
                                          MODULE ", " PCR(4, FOUR))),
                  "other-instance" },
                { CALL("Decrypt", BY("arn:aws:sts::111122223333:assumed-role/x/i-123456789abcde123") ", " WITH(
                                          MODULE ", " PCR(4, FOUR))),
                  "attested" },
        };
        struct reference image = { .source = (char *) "image.json", .present = 1u << 4 | 1u << 7 | 1u << 12 };
        const struct references images = { &image, 1 };
        const char *openers[] = { ROLE }, *sealers[] = { "arn:aws:iam::111122223333:user/Sealer" };
        const struct accepted_uses uses = {
                .images = &images, .openers = openers, .n_openers = 1, .sealers = sealers, .n_sealers = 1
        };

        memset(image.pcr[4], 0x44, SHA384_SIZE);
        memset(image.pcr[7], 0x77, SHA384_SIZE);
        for (size_t i = 0; i < ELEMENTS(table); i++) {
                _cleanup_free_ char *json = quoted(table[i].record);
                _cleanup_judgement_ struct judgement j = {};
                _cleanup_trail_ struct trail t = {};
                struct error e = {};

                assert_ok(trail_parse(&t, json, strlen(json), "t.json", &e), &e);
                assert_ok(judge_trail(&t, &uses, &j, &e), &e);
                assert_int_equal(j.n, 1);
                if (!streq(j.calls[0].finding->name, table[i].finding))
                        fail_msg("%s: %s, expected %s", json, j.calls[0].finding->name, table[i].finding);
                assert_int_equal(j.n_alarms, j.calls[0].finding->level == LEVEL_ALARM);
        }
}

/* In two files, and in the trails of two accounts: the record that names the caller stays. */
static void test_twice(void **state _unused_) {
        static const char *const records[] = {
                CALL("Decrypt", "'eventID': '1', 'sharedEventID': 's', 'userIdentity': {'principalId': 'AROA:x', "
                                "'accountId': '111122223333'}"),
                CALL("Decrypt", "'eventID': '2', 'sharedEventID': 's', " BY(SESSION)),
                CALL("Decrypt", "'eventID': '3'"),
                CALL("Decrypt", "'eventID': '3'"),
                CALL("Decrypt", "'x': 1"),
                CALL("Decrypt", "'x': 1"),
        };
        _cleanup_trail_ struct trail t = {};
        struct error e = {};
        bool found = false;

        for (size_t i = 0; i < ELEMENTS(records); i++) {
                _cleanup_free_ char *json = quoted(records[i]);

                assert_ok(trail_parse(&t, json, strlen(json), "t.json", &e), &e);
        }
        trail_sort(&t);
        assert_int_equal(t.n, 4); /* s, 3, and two without an id */
        for (size_t i = 0; i < t.n; i++)
                found |= streq(t.calls[i].caller, SESSION);
        assert_true(found);
}

/* A second file, of the operator's, that denies what the owner's trail says of the same call. */
static void test_contradiction(void **state _unused_) {
#define OF_OWNER "'eventID': '1', 'sharedEventID': 's', 'userIdentity': {'principalId': 'AROA:x', 'accountId': '9'}"
        static const char owners[] = CALL("Decrypt", OF_OWNER);
        static const char *const others[] = {
                CALL("Decrypt", OF_OWNER ", 'errorCode': 'AccessDenied'"),
                CALL("Decrypt", OF_OWNER ", 'requestParameters': {'keyId': '" OTHER "'}"),
                CALL("Decrypt", OF_OWNER ", " WITH(MODULE ", " PCR(4, FOUR))),
                CALL("Decrypt", "'eventID': '2', 'sharedEventID': 's', " BY(SESSION)),
                CALL("Decrypt",
                     "'eventID': '2', 'sharedEventID': 's', 'userIdentity': {'arn': '" SESSION "', 'accountId': '9'}"),
                CALL("GenerateRandom", OF_OWNER ", " WITH(MODULE)),
        };
        struct reference image = { .source = (char *) "image.json", .present = 1u << 4 };
        const char *openers[] = { ROLE }, *keys[] = { KEY };
        const struct accepted_uses uses = { .images = &(const struct references) { &image, 1 },
                                            .keys = keys,
                                            .n_keys = 1,
                                            .openers = openers,
                                            .n_openers = 1 };

        memset(image.pcr[4], 0x44, SHA384_SIZE);
        for (size_t i = 0; i < 2 * ELEMENTS(others); i++) {
                _cleanup_free_ char *mine = quoted(owners), *other = quoted(others[i / 2]);
                const char *const order[] = { i % 2 ? mine : other, i % 2 ? other : mine };
                _cleanup_judgement_ struct judgement j = {};
                _cleanup_trail_ struct trail t = {};
                struct error e = {};

                for (size_t k = 0; k < 2; k++)
                        assert_ok(trail_parse(&t, order[k], strlen(order[k]), "t.json", &e), &e);
                trail_sort(&t);
                assert_ok(judge_trail(&t, &uses, &j, &e), &e);
                if (j.n_alarms == 0 || !streq(j.calls[0].finding->name, "unattested"))
                        fail_msg("%s hides the release", other);
        }
#undef OF_OWNER
}

static void test_findings_are_documented(void **state _unused_) {
        _cleanup_free_ char *path = NULL;
        _cleanup_free_ uint8_t *page = NULL;
        struct error e = {};
        size_t n;

        assert_true(asprintf(&path, "%s/policy/man/sealboot-audit.1", getenv("SEALBOOT_SOURCE_ROOT")) > 0);
        assert_ok(file_read(path, 1 << 20, FAILURE_IO, &page, &n, &e), &e);
        for (const struct finding *f = finding_table(); f->name; f++) {
                char row[64];

                snprintf(row, sizeof row, "\n.It %s\n%s", f->name,
                         f->level == LEVEL_ALARM    ? "Alarm:"
                         : f->level == LEVEL_NOTICE ? "Notice:"
                                                    : "As it should be:");
                if (!strstr((char *) page, row))
                        fail_msg("the manual lacks:%s", row);
        }
}

int main(void) {
        static const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_bad_records),
                cmocka_unit_test(test_a_call),
                cmocka_unit_test(test_keys),
                cmocka_unit_test(test_shapes),
                cmocka_unit_test(test_records_as_text),
                cmocka_unit_test(test_no_trail),
                cmocka_unit_test(test_judgement),
                cmocka_unit_test(test_twice),
                cmocka_unit_test(test_contradiction),
                cmocka_unit_test(test_findings_are_documented),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
