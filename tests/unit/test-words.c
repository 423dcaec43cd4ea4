/* SPDX-License-Identifier: Apache-2.0 */

/* What people read: whose words they are, what an object is called that is no sealed file, and what a name stands for.
 */

#include "unit.h"

#include <strings.h>

#include "owner/remote-name.h"
#include "sealed/message.h"
#include "sealed/other-format.h"
#include "verbs/desk-words.h"

/* Of failures that only the agent has, and has no words of the desk's for. */
static bool is_of_the_agent_alone(enum failure failure) {
        static const enum failure list[] = { FAILURE_NONE,    FAILURE_LAUNCH,    FAILURE_IMDS,    FAILURE_PCR_NOT_ZERO,
                                             FAILURE_MEASURE, FAILURE_LIFECYCLE, FAILURE_RETIRED, FAILURE_HIBERNATION };

        for (size_t i = 0; i < ELEMENTS(list); i++)
                if (list[i] == failure)
                        return true;
        return false;
}

static void test_the_desk_is_no_instance(void **state) {
        static const char *const agents_words[] = { "user data",       "user-data",      "measured configuration",
                                                    "image recipe",    "verity",         "instance profile",
                                                    "the role",        "tmpfs",          "chrony",
                                                    "rebuild",         "this boot",      "published",
                                                    "TimeoutStartSec", "this instance ", "VPC endpoint" };
        const struct failure_info *table;
        size_t n;

        (void) state;
        table = failure_table(&n);
        for (size_t i = 0; i < n; i++) {
                const struct desk_words *words = desk_words(table[i].failure);
                const char *title = words->title ?: table[i].title, *advice = words->advice ?: table[i].advice;

                assert_true(words->failure == FAILURE_NONE || words->failure == table[i].failure);
                for (size_t j = 0; j < ELEMENTS(agents_words) && !is_of_the_agent_alone(table[i].failure); j++)
                        if (strcasestr(title, agents_words[j]) ||
                            (strcasestr(advice, agents_words[j]) && table[i].failure != FAILURE_ATTESTATION))
                                fail_msg("%s: \"%s\" is of the agent: %s / %s", table[i].name, agents_words[j], title,
                                         advice);
        }
}

/* `sealboot inspect` prints these, too. */
static void test_no_tool_refers_to_itself(void **state) {
        (void) state;
        assert_null(strstr(desk_words(FAILURE_SEALED_FORMAT)->advice, "inspect"));
        assert_null(strstr(desk_words(FAILURE_KMS_DENIED)->advice, "policy check"));
}

static void test_remote_names(void **state) {
        static const struct {
                const char *name, *advice; /* NULL: a local path, or s3:// as it should be */
        } cases[] = {
                { "s3://models/llama/", NULL },
                { "s3://models", NULL },
                { "s3://arn/llama/", NULL },
                { "models/llama/", NULL },
                { "/srv/https:/x", NULL },
                { "./arn:aws:s3:::models/", NULL },
                { "./s3:x", NULL },
                { "arn", NULL },
                { "", NULL },
                { "-", NULL },
                { "a b://c", NULL },
                { "://c", NULL },
                { "notes on .amazonaws.com", NULL },
                { "dir/x.s3.eu-west-1.amazonaws.com", NULL },
                { "arn:aws:s3:::models", "s3://models." },
                { "arn:aws:s3:::models/llama/", "s3://models/llama/." },
                { "ARN:aws-cn:s3:::models/llama/", "s3://models/llama/." },
                { "arn:aws:s3:us-east-1:111122223333:accesspoint/ap/llama/", "alias" },
                { "arn:aws:s3:us-east-1:111122223333:accesspoint:ap", "alias" },
                { "arn:aws:s3::111122223333:accesspoint/m.mrap", "alias" },
                { "arn:aws:s3-outposts:us-east-1:111122223333:outpost/o/accesspoint/a", "alias" },
                { "arn:aws:kms:us-east-1:111122223333:key/1", "That is an ARN" },
                { "arn:", "That is an ARN" },
                { "s3://arn:aws:s3:us-east-1:111122223333:accesspoint/ap/llama/", "alias" },
                { "s3://arn:aws:s3:::models/x", "s3://models/x." },
                { "S3://models/llama/", "s3://models/llama/." },
                { "s3a://models/x", "s3://models/x." },
                { "s3n://models/x", "s3://models/x." },
                { "s3:models/x", "s3://models/x." },
                { "s3:/models/x", "s3://models/x." },
                { "https://models.s3.us-east-1.amazonaws.com/llama/", "s3://models/llama/." },
                { "https://models.s3.amazonaws.com/llama/?X-Amz-Date=1", "s3://models/llama/." },
                { "http://my.models.s3-eu-west-1.amazonaws.com/x", "s3://my.models/x." },
                { "https://s3.eu-west-1.amazonaws.com/models/x", "s3://models/x." },
                { "https://s3.cn-north-1.amazonaws.com.cn/models/x", "s3://models/x." },
                { "https://s3.amazonaws.com", "s3://BUCKET/KEY." },
                { "models.s3.amazonaws.com/x", "s3://models/x." },
                { "https://console.aws.amazon.com/s3/buckets/models", "Of URLs only s3:// is understood" },
                { "https://s3.console.aws.amazon.com/s3/buckets/models?region=eu-west-1&prefix=llama/3%2B1/"
                  "&showversions=false",
                  "s3://models/llama/3+1/." },
                { "https://eu-west-1.console.aws.amazon.com/s3/object/models?prefix=llama/x", "s3://models/llama/x." },
                { "https://models.s3.eusc-de-east-1.amazonaws.eu/x", "s3://models/x." },
                { "models.s3.us-iso-east-1.c2s.ic.gov/x", "s3://models/x." },
                { "models.s3.us-isob-east-1.sc2s.sgov.gov/x", "s3://models/x." },
                { "https://models.s3.eu-isoe-west-1.cloud.adc-e.uk/x", "s3://models/x." },
                { "https://models.s3.us-east-1.amazonaws.com:443/x", "s3://models/x." },
                { "https://models.s3.amazonaws.com/a%20b/%e4%ff%", "s3://models/a b/" },
                { "https://models.s3.amazonaws.com/a%00b%zz", "s3://models/a%00b%zz." },
                { "https://ap-111122223333.s3-accesspoint.us-east-1.amazonaws.com/x", "alias" },
                { "s3://models.s3.us-east-1.amazonaws.com/x", "s3://models/x." },
                { "s3://s3.us-east-1.amazonaws.com/models/x", "s3://models/x." },
                { "arn:aws:s3express:us-east-1:111122223333:bucket/b--use1-az4--x-s3", "directory bucket" },
                { " s3://models/x", "spaces or quotes" },
                { "\"s3://models/x\"", "spaces or quotes" },
                { "s3//models/x", "s3://models/x." },
                { "models.example.com/amazonaws.eu", NULL },
                { "gs://models/x", "Of URLs only s3:// is understood" },
                { "file:///srv/models", "the path alone" },
        };

        (void) state;
        for (size_t i = 0; i < ELEMENTS(cases); i++) {
                char advice[REMOTE_NAME_ADVICE_MAX] = "";
                bool remote = remote_name(cases[i].name, advice);

                if (remote != (cases[i].advice != NULL) || (remote && !strstr(advice, cases[i].advice)))
                        fail_msg("\"%s\": \"%s\" instead of \"%s\"", cases[i].name, advice, cases[i].advice ?: "");
                assert_int_equal(is_remote(cases[i].name), remote || strncmp(cases[i].name, "s3://", 5) == 0);
        }
}

/* However long a name is, what is said of it fits. */
static void test_long_names(void **state) {
        static const char *const beginnings[] = { "arn:aws:s3:::",
                                                  "s3:",
                                                  "S3://",
                                                  "https://a.s3.amazonaws.com/",
                                                  "https://",
                                                  "s3://arn:aws:s3:::",
                                                  "https://s3.amazonaws.com/",
                                                  "https://console.aws.amazon.com/s3/buckets/x?prefix=",
                                                  "s3//",
                                                  " s3:" };
        char name[5000], advice[REMOTE_NAME_ADVICE_MAX];

        (void) state;
        for (size_t i = 0; i < ELEMENTS(beginnings); i++) {
                memset(name, 'x', sizeof name - 1);
                name[sizeof name - 1] = 0;
                memcpy(name, beginnings[i], strlen(beginnings[i]));
                assert_true(remote_name(name, advice));
                assert_true(strlen(advice) < sizeof advice);
        }
}

static void test_what_may_be_a_bucket(void **state) {
        static const struct {
                const char *path;
                bool may;
        } cases[] = {
                { "no-such-bucket-of-mine/llama/", true },
                { "no-such-bucket-of-mine", true },
                { "ab/x", false },
                { "/tmp/x", false },
                { "./models/x", false },
                { "../models/x", false },
                { "~/models/x", false },
                { "Models/x", false },
                { "", false },
                { "-q-/x", false },
                { "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx/x", false },
        };

        (void) state;
        for (size_t i = 0; i < ELEMENTS(cases); i++)
                assert_int_equal(may_be_bucket(cases[i].path), cases[i].may);
}

#define FFFD "\xef\xbf\xbd"

static void test_other_formats(void **state) {
        static const struct {
                const char *bytes;
                size_t n;
                const char *words;
        } cases[] = {
#define BYTES(literal) literal, sizeof literal - 1
                { BYTES("AgR4AAAA"), "it is the base64 text of a sealed file" },
                { BYTES("\"AgR4AAAA\""), "the base64 text of a sealed file, in quotes" },
                { BYTES("0204780000"), "it is the hexadecimal text of a sealed file" },
                { BYTES("\x1f\x8b\x08"), "it is gzip-compressed" },
                { BYTES("\x28\xb5\x2f\xfd"), "it is zstd-compressed" },
                { BYTES("GGUF\3\0\0\0"), "it is a GGUF model that is not sealed" },
                { BYTES("\x40\0\0\0\0\0\0\0{\"__metadata__\":"), "it is a safetensors file that is not sealed" },
                { BYTES("4000;chunk-signature=0123"), "the chunks of its upload (aws-chunked)" },
                { BYTES("4000\r\n\2\4\x78\0\0"), "the chunks of its upload (aws-chunked)" },
                { BYTES("version https://git-lfs.github.com/spec/v1\n"), "a pointer of Git LFS" },
                { BYTES("\2\4\x78" FFFD "." FFFD FFFD "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"), "was stored as text" },
                { BYTES("\x77"), "starts with byte 77 instead of message format version 02" },
                { BYTES("1"), "starts with byte 31 instead of message format version 02" },
                { BYTES("\2\4\x78" FFFD FFFD), "is truncated inside the message header" },
                { BYTES(""), "is truncated inside the message header" },
#undef BYTES
        };

        (void) state;
        for (size_t i = 0; i < ELEMENTS(cases); i++) {
                _cleanup_free_ uint8_t *exact =
                        malloc(cases[i].n + 1); /* so that a sanitizer sees a read beyond the end */
                struct message_header *h = NULL;
                struct error e = {};

                memcpy(exact, cases[i].bytes, cases[i].n);
                exact = realloc(exact, cases[i].n ?: 1);
                assert_refused(message_header_parse(exact, cases[i].n, "t", &h, &e), &e, FAILURE_SEALED_FORMAT,
                               cases[i].words);
        }
        assert_null(other_format((const uint8_t *) "\2\4\x78", 3));
}

/* A message's id is random, so one sealed file in 65536 has the mark of a safetensors file in it. */
static void test_random_bytes_are_no_other_format(void **state) {
        uint8_t start[300] = { 2, 4, 0x78 };

        (void) state;
        memcpy(start + 8, "{\"", 2);
        memcpy(start + 257, "ustar", 5);
        assert_null(other_format(start, sizeof start));
        start[0] = 0x40;
        assert_non_null(other_format(start, sizeof start));
}

int main(void) {
        /* clang-format off */
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_the_desk_is_no_instance), cmocka_unit_test(test_no_tool_refers_to_itself),
                cmocka_unit_test(test_remote_names),            cmocka_unit_test(test_long_names),
                cmocka_unit_test(test_what_may_be_a_bucket),    cmocka_unit_test(test_other_formats),
                cmocka_unit_test(test_random_bytes_are_no_other_format),
        };
        /* clang-format on */

        return cmocka_run_group_tests(tests, NULL, NULL);
}
