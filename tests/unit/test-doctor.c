/* SPDX-License-Identifier: Apache-2.0 */

/* Boot reports, and what the doctor makes of them: topics, states and words. JSON is written with ' for ". */

#include "quotes.h"

#include "basic/encode.h"
#include "doctor/boot-report.h"
#include "doctor/diagnosis.h"

#define SIX(s) s s s s s s
#define A SIX("abababababababab")
#define B SIX("cdcdcdcdcdcdcdcd")
#define Z SIX("0000000000000000")
#define ALONE "518923b0f955d08da077c96aaba522b9decede61c599cea6c41889cfbea4ae4d50529d96fe4d1afdafb65e7f95bf23c4"

#define OWNER "111122223333"
#define CONSUMER "444455556666"
#define ROLE "arn:aws:iam::" CONSUMER ":role/inference"
#define SESSION "arn:aws:sts::" CONSUMER ":assumed-role/inference/i-1"
#define KEY "arn:aws:kms:us-east-1:" OWNER ":key/1234abcd-12ab-34cd-56ef-1234567890ab"

#define PCRS(more) "'pcrs': {'2': '" ALONE "', '4': '" A "', '12': '" Z "'" more "}"
#define IDENTITY "'identity': {'instance_id': 'i-1', 'account': '" CONSUMER "', 'region': 'us-east-1'}"
#define TIMES(realtime) \
        "'clock': {'realtime_ms': " realtime "}, 'document': {'timestamp_ms': 1000000000}, " \
        "'stages': [{'name': 'attestation', 'began_ms': 2000.5}]"
#define FAILED(name, reason) \
        "'outcome': 'failed', 'failure': {'name': '" name "', 'title': 'T', 'subject': 'S', 'reason': '" reason "'}"
#define DENIED(why) \
        FAILED("kms-denied", "AccessDeniedException: User: " SESSION " is not authorized to perform: " \
                             "kms:Decrypt on resource: " KEY why)
#define REFUSED "{" DENIED("") ", 'key_arn': '" KEY "', " IDENTITY ", " PCRS("") ", " TIMES("999998000") "}"

#define ALLOW(who, conditions) \
        "{'Sid': 'A', 'Effect': 'Allow', 'Principal': {'AWS': '" who "'}, 'Action': 'kms:Decrypt', 'Resource': '*', " \
        "'Condition': {" conditions "}}"
#define PCR4_IS(value) "'StringEquals': {'kms:RecipientAttestation:NitroTPMPCR4': '" value "'}"
#define POLICY(statements) "{'Version': '2012-10-17', 'Statement': [" statements "]}"
#define DENY(conditions) \
        "{'Sid': 'D', 'Effect': 'Deny', 'Principal': '*', 'Action': 'kms:Decrypt', 'Resource': '*', 'Condition': " \
        "{" conditions "}}"
#define MEASURED(pcrs) "{'Measurements': {" pcrs "}}"
#define DESCRIBED(arn, state) "{'KeyMetadata': {'Arn': '" arn "', 'KeyState': '" state "'}}"

#define GPU_CHECK(name, passed) "{'name': '" name "', 'passed': " passed ", 'text': 'why'}"
#define FOUR(s) s s s s
#define SIXTEEN(s) FOUR(FOUR(s))

enum { TEXT_MAX = 8192, STATES_MAX = 160 };

static const struct diagnosed {
        const char *what, *report;
        const char *policy, *reference, *key, *principal;
        bool unsynchronized;
        const char *topic;  /* the one that the case is about */
        const char *states; /* of that topic's remarks: "problem ok " */
        const char *words;  /* in one of its texts or advices */
} cases[] = {
        /* What happened. */
        { "published", "{'outcome': 'published'}", .topic = "outcome", .states = "ok ", .words = "was published" },
        { "a failure with all its words",
          "{'outcome': 'failed', 'failure': {'name': 'n', 'title': 'T', 'subject': 'S', 'reason': 'R', 'advice': 'Do "
          "it.', "
          "'request_id': 'i'}}",
          .topic = "outcome", .states = "problem ", .words = "T: S: R; request id i | Do it." },
        { "a failure with a name alone", "{'outcome': 'failed', 'failure': {'name': 'imds'}}", .topic = "outcome",
          .states = "problem ", .words = "imds: : " },
        { "a failure without a name", "{'outcome': 'failed', 'failure': {'title': 'T'}}", .topic = "outcome",
          .states = "problem ", .words = "does not say why" },
        { "a failure of another type", "{'outcome': 'failed', 'failure': 'n'}", .topic = "outcome",
          .states = "problem ", .words = "does not say why" },
        { "not yet over", "{'outcome': 'running'}", .topic = "outcome", .states = "unknown ",
          .words = "still running, or was cut off" },

        /* The self-test of a GPU image. */
        { "no self-test", "{'outcome': 'published'}", .topic = "gpus", .states = "" },
        { "a self-test without checks", "{'outcome': 'published', 'gpu_test': []}", .topic = "gpus", .states = "" },
        { "a self-test that is text", "{'outcome': 'published', 'gpu_test': 'PASS'}", .topic = "gpus", .states = "" },
        { "every check passed",
          "{'outcome': 'published', 'gpu_test': [" GPU_CHECK("gpus", "true") ", " GPU_CHECK("cuda", "true") "]}",
          .topic = "gpus", .states = "ok ", .words = "all 2 checks of the GPUs passed" },
        { "one check failed",
          "{'outcome': 'published', 'gpu_test': [" GPU_CHECK("gpus", "true") ", " GPU_CHECK("cuda", "false") "]}",
          .topic = "gpus", .states = "problem ",
          .words = "the check cuda of the GPUs failed: why | sealboot-gpu(8) says what each check looks at." },
        { "a boot that failed, too", "{" FAILED("imds", "r") ", 'gpu_test': [" GPU_CHECK("cuda", "false") "]}",
          .topic = "gpus", .states = "problem " },
        { "checks that say nothing",
          "{'outcome': 'published', 'gpu_test': [3, {}, {'passed': true}, {'name': 'a', 'passed': 'true'}]}",
          .topic = "gpus", .states = "problem problem problem problem ", .words = "the check a of the GPUs failed: ?" },
        { "more checks than there are",
          "{'outcome': 'published', 'gpu_test': [1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20]}", .topic = "gpus",
          .states = SIXTEEN("problem ") },

        /* The clock: the document is from second 1000000, and was asked for 2 seconds after the boot began. */
        { "clocks that agree", "{'outcome': 'published', " TIMES("999998000") "}", .topic = "clock", .states = "ok " },
        { "at the limit", "{'outcome': 'published', " TIMES("1000238000") "}", .topic = "clock", .states = "ok " },
        { "a clock that leads", "{'outcome': 'published', " TIMES("1000239000") "}", .topic = "clock",
          .states = "problem ", .words = "leads by 241 s" },
        { "a clock that lags", "{'outcome': 'published', " TIMES("999757000") "}", .topic = "clock",
          .states = "problem ", .words = "lags by 241 s" },
        { "AWS said so", "{" FAILED("clock", "r") "}", .topic = "clock", .states = "problem ", .words = "AWS said" },
        { "no document", "{'outcome': 'published', 'clock': {'realtime_ms': 1}}", .topic = "clock",
          .states = "unknown ", .words = "no attestation document was made" },
        { "the last stage of that name counts",
          "{'outcome': 'published', 'clock': {'realtime_ms': 0}, 'document': {'timestamp_ms': 400000}, 'stages': "
          "[{'name': 'attestation', 'began_ms': 0}, {'name': 'attestation', 'began_ms': 400000}, {'name': 'key'}]}",
          .topic = "clock", .states = "ok " },
        { "a boot of a day",
          "{'outcome': 'published', 'clock': {'realtime_ms': 0}, 'document': {'timestamp_ms': 0}, 'stages': [{'name': "
          "'attestation', 'began_ms': 86400000}]}",
          .topic = "clock", .states = "unknown " },
        { "a time that is text",
          "{'outcome': 'published', 'clock': {'realtime_ms': '0'}, 'document': {'timestamp_ms': 0}}", .topic = "clock",
          .states = "unknown " },
        { "the kernel knows that its clock is not set", "{'outcome': 'published', " TIMES("999998000") "}",
          .unsynchronized = true, .topic = "clock", .states = "problem ", .words = "not synchronized" },

        /* The identity. */
        { "KMS named the caller", REFUSED, .topic = "identity", .states = "ok ",
          .words = "instance i-1 of account " CONSUMER " in us-east-1, as " SESSION },
        { "the option names the caller", "{'outcome': 'published', " IDENTITY "}", .principal = ROLE,
          .topic = "identity", .states = "ok ", .words = "as " ROLE },
        { "nobody named the caller", "{'outcome': 'published', " IDENTITY "}", .topic = "identity",
          .states = "unknown ", .words = "role not known | Name the instance's role with --principal." },
        { "KMS named no principal", "{" FAILED("kms-denied", "User: arn:aws:iam is not") ", " IDENTITY "}",
          .topic = "identity", .states = "unknown ", .words = "role not known" },
        { "no identity", "{'outcome': 'published'}", .topic = "identity", .states = "unknown ",
          .words = "neither instance nor role" },
        { "no credentials", "{" FAILED("credentials", "r") ", " IDENTITY "}", .topic = "identity", .states = "problem ",
          .words = "no usable role credentials" },
        { "no metadata", "{" FAILED("imds", "r") "}", .topic = "identity", .states = "problem " },

        /* The key. */
        { "an enabled key", REFUSED, .key = DESCRIBED(KEY, "Enabled"), .topic = "key", .states = "ok " },
        { "the inner object alone", REFUSED, .key = "{'Arn': '" KEY "', 'KeyState': 'Enabled'}", .topic = "key",
          .states = "ok " },
        { "a disabled key", REFUSED, .key = DESCRIBED(KEY, "Disabled"), .topic = "key", .states = "problem ",
          .words = KEY " is Disabled" },
        { "another key", REFUSED, .key = DESCRIBED(KEY "0", "Enabled"), .topic = "key", .states = "unknown ",
          .words = "but the description is of " KEY "0" },
        { "a state without an ARN", REFUSED, .key = "{'KeyState': 'Enabled'}", .topic = "key", .states = "unknown ",
          .words = "its state was not given" },
        { "KMS does not use it", "{" FAILED("kms-key", "r") ", 'key_arn': '" KEY "'}", .topic = "key",
          .states = "problem ", .words = "KMS will not use the key " KEY },
        { "no key", "{'outcome': 'published'}", .topic = "key", .states = "unknown ", .words = "no key was named" },
        { "a key of another Region",
          "{'outcome': 'failed', 'key_arn': '" KEY "', 'identity': {'region': 'eu-north-1'}}",
          .key = DESCRIBED(KEY, "Enabled"), .topic = "key", .states = "problem ", .words = "is not in eu-north-1" },
        { "a Region that begins alike",
          "{'outcome': 'failed', 'key_arn': '" KEY "', 'identity': {'region': 'us-east'}}", .topic = "key",
          .states = "problem " },
        { "a multi-Region key of another Region",
          "{'outcome': 'failed', 'key_arn': 'arn:aws:kms:eu-west-1:" OWNER ":key/mrk-1', 'identity': {'region': "
          "'us-east-1'}}",
          .topic = "key", .states = "unknown " },
        { "what is no ARN", "{'outcome': 'failed', 'key_arn': 'k', 'identity': {'region': 'us-east-1'}}",
          .topic = "key", .states = "problem " },

        /* The PCRs. */
        { "none were presented", "{'outcome': 'failed'}", .topic = "pcrs", .states = "unknown ",
          .words = "before PCRs were presented" },
        { "the image that was meant", REFUSED, .reference = MEASURED("'PCR4': '" A "', 'PCR12': '" Z "'"),
          .topic = "pcrs", .states = "ok " },
        { "another image", REFUSED, .reference = MEASURED("'PCR4': '" B "', 'PCR12': '" Z "'"), .topic = "pcrs",
          .states = "problem ", .words = "PCR4 is " A ", and t expects " B ": another image was booted" },
        { "one remark for each PCR", REFUSED,
          .reference = MEASURED("'PCR2': '" A "', 'PCR4': '" B "', 'PCR12': '" Z "'"), .topic = "pcrs",
          .states = "problem problem ", .words = "a UEFI driver from outside the firmware ran" },
        { "the closest of several references", REFUSED,
          .reference = "[" MEASURED("'PCR4': '" B "', 'PCR12': '" A "'") ", " MEASURED("'PCR4': '" A "', 'PCR12': '" B
                                                                                       "'") "]",
          .topic = "pcrs", .states = "problem ", .words = "PCR12 is " Z ", and t" },
        { "a PCR that the document lacks", REFUSED,
          .reference = MEASURED("'PCR4': '" A "', 'PCR7': '" B "', 'PCR12': '" Z "'"), .topic = "pcrs",
          .states = "problem ", .words = "PCR7 is nothing, and t expects" },
        { "no reference", REFUSED, .topic = "pcrs", .states = "unknown ", .words = "no reference measurements" },
        { "a driver needs no reference", "{'outcome': 'failed', 'pcrs': {'2': '" A "'}}", .topic = "pcrs",
          .states = "unknown unknown ", .words = "PCR2 is not that of firmware alone" },
        { "a driver beside a reference without PCR2",
          "{'outcome': 'failed', 'pcrs': {'2': '" B "', '4': '" A "', '12': '" Z "'}}",
          .reference = MEASURED("'PCR4': '" A "', 'PCR12': '" Z "'"), .topic = "pcrs", .states = "unknown ok " },
        { "no firmware at all", "{'outcome': 'failed', 'pcrs': {'2': '" Z "', '4': '" A "', '12': '" Z "'}}",
          .reference = MEASURED("'PCR4': '" A "', 'PCR12': '" Z "'"), .topic = "pcrs", .states = "ok " },
        { "a command line without a reference", "{'outcome': 'failed', 'pcrs': {'12': '" A "'}}", .topic = "pcrs",
          .states = "unknown ", .words = "PCR12 is not zero: something was added" },
        { "a second model", "{'outcome': 'failed', 'pcrs': {'15': '" A "'}}", .topic = "pcrs",
          .states = "problem unknown ", .words = "PCR15 was not zero" },

        /* The key policy. */
        { "it was not given", REFUSED, .topic = "policy", .states = "unknown ", .words = "--policy" },
        { "nothing was presented", "{'outcome': 'failed'}", .policy = POLICY(ALLOW(ROLE, "")), .principal = ROLE,
          .topic = "policy", .states = "unknown ", .words = "before the key was asked for" },
        { "the caller is not known", "{'outcome': 'failed', " PCRS("") "}", .policy = POLICY(ALLOW(ROLE, "")),
          .topic = "policy", .states = "unknown ", .words = "--principal" },
        { "it allows", REFUSED, .policy = POLICY(ALLOW(ROLE, PCR4_IS(A))), .topic = "policy", .states = "ok ",
          .words = "releases the key to what was presented" },
        { "it allows the account", REFUSED, .policy = POLICY(ALLOW(CONSUMER, "")), .topic = "policy", .states = "ok ",
          .words = ", if the IAM policies of the account do" },
        { "it wants another PCR4", REFUSED, .policy = POLICY(ALLOW(ROLE, PCR4_IS(B))), .topic = "policy",
          .states = "problem problem ",
          .words =
                  "A does not apply: StringEquals kms:RecipientAttestation:NitroTPMPCR4 wants " B " and found " A "." },
        { "two conditions that are not met", REFUSED,
          .policy = POLICY(ALLOW(ROLE, PCR4_IS(B) ", 'StringLike': {'kms:EncryptionContext:model': ['a', 'b*']}")),
          .topic = "policy", .states = "problem problem ",
          .words = " and found " A "; StringLike kms:EncryptionContext:model wants a or b* and found nothing." },
        { "the encryption context of the report",
          "{" DENIED("") ", " PCRS("") ", 'encryption_context': {'model': 'b1', 'n': 1}}",
          .policy = POLICY(ALLOW(ROLE, "'StringLike': {'kms:EncryptionContext:model': 'b*'}")), .topic = "policy",
          .states = "ok " },
        { "it is for another role", REFUSED, .policy = POLICY(ALLOW("arn:aws:iam::" CONSUMER ":role/other", "")),
          .topic = "policy", .states = "problem problem ", .words = "name the instance's role in the policy" },
        { "a role that was deleted", REFUSED, .policy = POLICY(ALLOW("AROAEXAMPLEEXAMPLE123", "")), .topic = "policy",
          .states = "problem problem problem ", .words = "A names AROAEXAMPLEEXAMPLE123" },
        { "an explicit Deny", REFUSED,
          .policy = POLICY(ALLOW(ROLE, "") ", " DENY(PCR4_IS(A) ", 'Null': {'kms:ViaService': 'true'}")),
          .topic = "policy", .states = "problem problem ",
          .words = "D denies it outright, because kms:RecipientAttestation:NitroTPMPCR4 is " A
                   " and kms:ViaService is absent | An explicit Deny" },
        { "a Deny of other images", REFUSED,
          .policy = POLICY(ALLOW(ROLE, "") ", " DENY(
                  "'StringNotEqualsIgnoreCase': {'kms:RecipientAttestation:NitroTPMPCR4': '" B "'}")),
          .topic = "policy", .states = "problem problem ", .words = " is " A " | Boot the image the policy names" },
        { "a condition that the report does not tell", REFUSED,
          .policy = POLICY(ALLOW(ROLE, "'StringEquals': {'aws:SourceVpce': 'v'}")), .topic = "policy",
          .states = "unknown ", .words = "conditions that the report does not tell" },

        /* Other policies. */
        { "the key policy allows what KMS refused", REFUSED, .policy = POLICY(ALLOW(ROLE, "")), .topic = "permissions",
          .states = "problem ", .words = "belongs to another account" },
        { "the key's account is the caller's",
          "{" DENIED("") ", 'key_arn': '" KEY "', 'identity': {'account': '" OWNER "'}, " PCRS("") "}",
          .policy = POLICY(ALLOW(ROLE, "")), .topic = "permissions", .states = "problem ",
          .words = "refused, so the refusal comes from elsewhere" },
        { "nothing is known of other policies", REFUSED, .topic = "permissions", .states = "" },
        { "no identity policy allows it",
          "{" DENIED(" because no identity-based policy allows the kms:Decrypt action") "}", .topic = "permissions",
          .states = "problem ", .words = "KMS says that it was an identity-based policy that refused" },
        { "an endpoint policy denies it", "{" DENIED(" with an explicit deny in a VPC endpoint policy") "}",
          .topic = "permissions", .states = "problem ",
          .words = "KMS says that it was a VPC endpoint policy that refused" },
        { "another key policy was in force",
          "{" DENIED(" because no resource-based policy allows the kms:Decrypt action") ", " PCRS("") "}",
          .policy = POLICY(ALLOW(ROLE, "")), .topic = "permissions", .states = "problem ",
          .words = "not the key policy that was in force" },
        { "the key policy's own remarks suffice",
          "{" DENIED(" because no resource-based policy allows the kms:Decrypt action") ", " PCRS("") "}",
          .policy = POLICY(ALLOW(ROLE, PCR4_IS(B))), .topic = "permissions", .states = "" },
        { "KMS did not take the document", "{" FAILED("kms-denied", "ValidationException: the document") "}",
          .policy = POLICY(ALLOW(ROLE, "")), .principal = ROLE, .topic = "permissions", .states = "" },
};

/* NULL stays NULL. */
static json_object *parse(const char *text) {
        _cleanup_free_ char *json = text ? quoted(text) : NULL;
        json_object *o = NULL;
        struct error e;

        if (json)
                assert_ok(json_parse(json, strlen(json), FAILURE_USAGE, "t", &o, &e), &e);
        return o;
}

/* The remarks on one topic: "ok problem ", and "TEXT | ADVICE" line by line. */
static void collect(const struct diagnosis *d, const char *topic, char states[static STATES_MAX],
                    char text[static TEXT_MAX]) {
        static const char *const words[] = {
                [REMARK_GOOD] = "ok", [REMARK_PROBLEM] = "problem", [REMARK_UNKNOWN] = "unknown"
        };

        states[0] = text[0] = '\0';
        for (size_t i = 0; i < d->n; i++) {
                const struct remark *r = &d->remarks[i];

                if (!streq(r->topic, topic))
                        continue;
                snprintf(states + strlen(states), STATES_MAX - strlen(states), "%s ", words[r->state]);
                snprintf(text + strlen(text), TEXT_MAX - strlen(text), "%s | %s\n", r->text, r->advice ?: "");
        }
}

static void examine(const struct diagnosed *c, struct diagnosis *ret, struct key_policy *policy) {
        _cleanup_json_ json_object *report = parse(c->report), *key = parse(c->key);
        _cleanup_free_ char *measured = c->reference ? quoted(c->reference) : NULL;
        _cleanup_references_ struct references references = {};
        struct error e;

        if (c->policy)
                quoted_policy(c->policy, policy);
        if (measured)
                assert_ok(references_parse(&references, measured, strlen(measured), "t", &e), &e);
        const struct evidence evidence = {
                .report = report,
                .policy = c->policy ? policy : NULL,
                .references = &references,
                .key = key,
                .unsynchronized = c->unsynchronized,
                .principal = c->principal,
        };
        assert_ok(diagnose(&evidence, ret, &e), &e);
}

static void test_remarks(void **state _unused_) {
        unsigned wrong = 0;

        for (size_t i = 0; i < ELEMENTS(cases); i++) {
                _cleanup_key_policy_ struct key_policy policy = {};
                _cleanup_diagnosis_ struct diagnosis d = {};
                char states[STATES_MAX], text[TEXT_MAX];

                examine(&cases[i], &d, &policy);
                collect(&d, cases[i].topic, states, text);
                if (streq(states, cases[i].states) && strstr(text, cases[i].words ?: ""))
                        continue;
                print_error("%s: %s is [%s], expected [%s] with \"%s\":\n%s", cases[i].what, cases[i].topic, states,
                            cases[i].states, cases[i].words ?: "", text);
                wrong++;
        }
        assert_int_equal(wrong, 0);
}

/* Every diagnosis has these topics, in this order; whoever reads it from above finds the first cause first. */
static void test_topics(void **state _unused_) {
        static const char *const topics[] = { "outcome", "clock", "identity", "key", "pcrs", "policy" };

        for (size_t i = 0; i < ELEMENTS(cases); i++) {
                _cleanup_key_policy_ struct key_policy policy = {};
                _cleanup_diagnosis_ struct diagnosis d = {};
                size_t topic = 0;

                examine(&cases[i], &d, &policy);
                assert_true(d.n > 0);
                assert_string_equal(d.remarks[0].topic, topics[0]);
                for (size_t k = 1; k < d.n; k++) {
                        if (streq(d.remarks[k].topic, topics[topic]))
                                continue;
                        if (++topic < ELEMENTS(topics))
                                assert_string_equal(d.remarks[k].topic, topics[topic]);
                        else
                                assert_true(streq(d.remarks[k].topic, "permissions") ||
                                            streq(d.remarks[k].topic, "gpus"));
                        topic = MIN_OF(topic, ELEMENTS(topics) - 1);
                }
                assert_int_equal(topic, ELEMENTS(topics) - 1);
        }
}

/* One sentence without a full stop, and advice in whole sentences. */
static void test_remarks_are_sentences(void **state _unused_) {
        for (size_t i = 0; i < ELEMENTS(cases); i++) {
                _cleanup_key_policy_ struct key_policy policy = {};
                _cleanup_diagnosis_ struct diagnosis d = {};

                examine(&cases[i], &d, &policy);
                for (size_t k = 0; k < d.n; k++) {
                        const char *advice = d.remarks[k].advice;

                        if (!d.remarks[k].text[0] || (advice && advice[strlen(advice) - 1] != '.'))
                                fail_msg("%s: \"%s\", \"%s\"", cases[i].what, d.remarks[k].text, advice ?: "");
                }
        }
}

static void test_the_decision_is_kept(void **state _unused_) {
        static const struct {
                const char *policy;
                bool evaluated;
                enum decision decision;
        } decisions[] = {
                { NULL, false, DECISION_DENIED },
                { POLICY(ALLOW(ROLE, PCR4_IS(A))), true, DECISION_ALLOWED },
                { POLICY(ALLOW(ROLE, PCR4_IS(B))), true, DECISION_DENIED },
                { POLICY(ALLOW(ROLE, "'StringEquals': {'aws:SourceVpce': 'v'}")), true, DECISION_UNKNOWN },
        };

        for (size_t i = 0; i < ELEMENTS(decisions); i++) {
                const struct diagnosed c = { .report = REFUSED, .policy = decisions[i].policy };
                _cleanup_key_policy_ struct key_policy policy = {};
                _cleanup_diagnosis_ struct diagnosis d = {};

                examine(&c, &d, &policy);
                assert_int_equal(d.evaluated, decisions[i].evaluated);
                assert_int_equal(d.evaluation.decision, decisions[i].decision);
                assert_string_equal(d.principal, SESSION);
        }
}

static void test_what_is_no_report(void **state _unused_) {
        static const struct {
                const char *report, *why;
        } bad[] = {
                { "{}", "has no \"outcome\"" },
                { "[]", "has no \"outcome\"" },
                { "{'outcome': 1}", "has no \"outcome\"" },
                { "{'outcome': null}", "has no \"outcome\"" },
                { "{'outcome': 'failed', 'pcrs': {'4': ''}}", "PCR4 is not 96 hex digits" },
                { "{'outcome': 'failed', 'pcrs': {'4': 'ab'}}", "PCR4 is not 96 hex digits" },
                { "{'outcome': 'failed', 'pcrs': {'31': 'g" Z "'}}", "PCR31 is not 96 hex digits" },
                { "{'outcome': 'failed', 'pcrs': {'0': '" Z "0'}}", "PCR0 is not 96 hex digits" },
        };

        for (size_t i = 0; i < ELEMENTS(bad); i++) {
                _cleanup_json_ json_object *report = parse(bad[i].report);
                const struct evidence evidence = { .report = report };
                struct diagnosis d = {};
                struct error e = {};

                assert_refused(diagnose(&evidence, &d, &e), &e, FAILURE_USAGE, bad[i].why);
                assert_int_equal(d.n, 0);
        }
}

/* A principal that the caller of the program gives is an error; one that the report quotes is a remark. */
static void test_a_principal_that_is_none(void **state _unused_) {
        _cleanup_key_policy_ struct key_policy policy = {};
        _cleanup_json_ json_object *report = parse(REFUSED);
        struct diagnosis d = {};
        struct error e = {};

        quoted_policy(POLICY(ALLOW(ROLE, "")), &policy);
        const struct evidence evidence = { .report = report, .policy = &policy, .principal = "inference" };
        assert_refused(diagnose(&evidence, &d, &e), &e, FAILURE_USAGE, "is not the ARN of an IAM role");
}

/* Members of other types, PCRs that there are not, and unknown members count as not there. */
static void test_reports_of_other_shapes(void **state _unused_) {
        static const char *const reports[] = {
                "{'outcome': '', 'failure': [], 'identity': 1, 'key_arn': {}, 'encryption_context': 'x'}",
                "{'outcome': 'x', 'pcrs': []}",
                "{'outcome': 'x', 'pcrs': {'32': 'x', '-1': 'x', '04': 'x', '4': 4, '': 'x'}}",
                "{'outcome': 'x', 'stages': [1, null, {'name': 2}, {'name': 'attestation', 'began_ms': 'soon'}]}",
        };

        for (size_t i = 0; i < ELEMENTS(reports); i++) {
                _cleanup_json_ json_object *json = parse(reports[i]);
                struct boot_report b;
                struct error e = {};

                assert_ok(boot_report_parse(json, &b, &e), &e);
                assert_null(b.failure.name);
                assert_null(b.identity.region);
                assert_null(b.key_arn);
                assert_null(b.encryption_context);
                assert_int_equal(b.present, 0);
                assert_false(b.has_times);
        }
}

static void test_pcrs_of_a_report(void **state _unused_) {
        _cleanup_json_ json_object *json = parse("{'outcome': 'x', 'pcrs': {'0': '" A "', '31': '" B "'}}");
        uint8_t a[SHA384_SIZE], b[SHA384_SIZE];
        struct boot_report report;
        struct error e = {};

        assert_ok(boot_report_parse(json, &report, &e), &e);
        assert_int_equal(hex_decode(A, a, sizeof a), 0);
        assert_int_equal(hex_decode(B, b, sizeof b), 0);
        assert_true(boot_report_has_pcr(&report, 0) && boot_report_has_pcr(&report, 31));
        assert_false(boot_report_has_pcr(&report, 1));
        assert_memory_equal(report.pcr[0], a, sizeof a);
        assert_memory_equal(report.pcr[31], b, sizeof b);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_remarks),
                cmocka_unit_test(test_topics),
                cmocka_unit_test(test_remarks_are_sentences),
                cmocka_unit_test(test_the_decision_is_kept),
                cmocka_unit_test(test_what_is_no_report),
                cmocka_unit_test(test_a_principal_that_is_none),
                cmocka_unit_test(test_reports_of_other_shapes),
                cmocka_unit_test(test_pcrs_of_a_report),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
