/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include "aws/key-arn.h"
#include "sealed/candidates.h"

#define ACCOUNT "111122223333"
#define KEY(region, id) "arn:aws:kms:" region ":" ACCOUNT ":key/" id
#define FIRST KEY("us-east-1", "1234abcd-12ab-34cd-56ef-1234567890ab")
#define SECOND KEY("eu-west-1", "5678abcd-12ab-34cd-56ef-1234567890ab")
#define MULTI "mrk-1234abcd12ab34cd56ef1234567890ab"

static void test_arns(void **state) {
        static const struct {
                const char *arn;
                bool valid;
                const char *region; /* NULL: it is no ARN of KMS's */
        } table[] = {
                { FIRST, true, "us-east-1" },
                { KEY("us-east-1", MULTI), true, "us-east-1" },
                { "arn:aws-cn:kms:cn-north-1:" ACCOUNT ":key/a", true, "cn-north-1" },
                { "arn:aws-us-gov:kms:us-gov-west-1:" ACCOUNT ":key/a", true, "us-gov-west-1" },
                { "arn:aws-iso:kms:us-iso-east-1:" ACCOUNT ":key/a", true, "us-iso-east-1" },
                { "arn:aws-iso-b:kms:us-isob-east-1:" ACCOUNT ":key/a", true, "us-isob-east-1" },
                { "arn:aws-iso-e:kms:eu-isoe-west-1:" ACCOUNT ":key/a", true, "eu-isoe-west-1" },
                { "arn:aws-iso-f:kms:us-isof-south-1:" ACCOUNT ":key/a", true, "us-isof-south-1" },
                { "arn:aws-eusc:kms:eusc-de-east-1:" ACCOUNT ":key/a", true, "eusc-de-east-1" },
                { "arn:aws:kms:us-east-1:" ACCOUNT ":alias/a", false, "us-east-1" },
                { "arn:aws:kms:us-east-1:1234:key/a", false, "us-east-1" },
                { KEY("us-east-1", ""), false, "us-east-1" },
                { KEY("us-east-1", "*"), false, "us-east-1" },
                { KEY("us-east-1", "a b"), false, "us-east-1" },
                { KEY("us-east-1", "a:b"), false, "us-east-1" },
                { "arn:awsome:kms:us-east-1:" ACCOUNT ":key/a", false, NULL },
                { "arn:aws.evil:kms:us-east-1:" ACCOUNT ":key/a", false, NULL },
                { "arn:aws:s3:us-east-1:" ACCOUNT ":key/a", false, NULL },
                { "arn:aws:kms:us-east-1.evil.example:" ACCOUNT ":key/a", false, NULL },
                { "arn:aws:kms::" ACCOUNT ":key/a", false, NULL },
                { "arn:aws:kms:us-east-1", false, NULL },
                { "arn:aws:kms:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa:" ACCOUNT ":key/a", false, NULL },
                { "alias/a", false, NULL },
                { "", false, NULL },
        };

        (void) state;
        for (size_t i = 0; i < ELEMENTS(table); i++) {
                _cleanup_free_ char *region = NULL;

                if (key_arn_valid(table[i].arn) != table[i].valid)
                        fail_msg("%s", table[i].arn);
                assert_int_equal(key_arn_region(table[i].arn, &region), table[i].region ? 0 : -EINVAL);
                if (table[i].region)
                        assert_string_equal(region, table[i].region);
        }
}

static void test_related(void **state) {
        static const struct {
                const char *a, *b;
                bool related;
        } table[] = {
                { FIRST, FIRST, true },
                { FIRST, SECOND, false },
                /* An id that is not a multi-Region key's names another key in another Region. */
                { FIRST, KEY("eu-west-1", "1234abcd-12ab-34cd-56ef-1234567890ab"), false },
                { KEY("us-east-1", MULTI), KEY("us-east-1", MULTI), true },
                { KEY("us-east-1", MULTI), KEY("eu-west-1", MULTI), true },
                { KEY("us-east-1", MULTI), KEY("eu-west-1", MULTI "0"), false },
                { KEY("us-east-1", MULTI), "arn:aws:kms:eu-west-1:999999999999:key/" MULTI, false },
                { KEY("us-east-1", MULTI), "arn:aws-us-gov:kms:us-gov-west-1:" ACCOUNT ":key/" MULTI, false },
                { KEY("us-east-1", MULTI), "arn:aws:kms:us-east-1:" ACCOUNT ":alias/" MULTI, false },
                { KEY("us-east-1", MULTI), "", false },
        };
        _cleanup_free_ char *arn = NULL;

        (void) state;
        for (size_t i = 0; i < ELEMENTS(table); i++)
                if (key_arn_related(table[i].a, table[i].b) != table[i].related ||
                    key_arn_related(table[i].b, table[i].a) != table[i].related)
                        fail_msg("%s and %s", table[i].a, table[i].b);
        assert_int_equal(key_arn_in_region(KEY("us-east-1", MULTI), "ap-south-2", &arn), 0);
        assert_string_equal(arn, KEY("ap-south-2", MULTI));
}

struct wrapped {
        const char *provider, *arn;
};

/* Each data key's ciphertext is its number. */
static void make_header(const struct wrapped *keys, size_t n, struct message_data_key *data_keys, uint8_t *numbers,
                        struct message_header *ret) {
        static char model[] = "model", m[] = "m";
        static struct pair context[] = { { model, m } };

        for (size_t i = 0; i < n; i++) {
                numbers[i] = (uint8_t) i;
                data_keys[i] = (struct message_data_key) { (char *) keys[i].provider, (char *) keys[i].arn,
                                                           strlen(keys[i].arn), &numbers[i], 1 };
        }
        *ret = (struct message_header) { .context = context, .n_context = 1, .data_keys = data_keys, .n_data_keys = n };
}

static void test_candidates(void **state) {
        static const struct {
                struct wrapped keys[4];
                size_t n_keys;
                const char *allowed[3];
                const char *region;
                const char *found; /* ARNs in their order, with a space behind each */
        } table[] = {
                { { { "aws-kms", FIRST }, { "aws-kms", SECOND } },
                  2,
                  { FIRST, SECOND },
                  "us-east-1",
                  FIRST " " SECOND " " },
                { { { "aws-kms", FIRST }, { "aws-kms", SECOND } }, 2, { SECOND, FIRST }, NULL, FIRST " " SECOND " " },
                { { { "aws-kms", FIRST }, { "aws-kms", SECOND } }, 2, { SECOND }, NULL, SECOND " " },
                { { { "aws-kms", KEY("us-east-1", MULTI) } },
                  1,
                  { KEY("us-east-1", MULTI) },
                  "cn-north-1",
                  KEY("us-east-1", MULTI) " " },
                { { { "aws-kms", FIRST }, { "raw", SECOND } }, 2, { SECOND }, NULL, "" },
                { { { "aws-kms", FIRST }, { "aws-kms", SECOND } }, 2, { NULL }, "eu-west-1", FIRST " " SECOND " " },
                { { { "aws-kms", "arn:aws:kms:us-east-1:" ACCOUNT ":alias/a" } }, 1, { NULL }, NULL, "" },
                /* The own Region's replica first, then the one that is pinned, then the one that the message names.
                 */
                { { { "aws-kms", KEY("us-east-1", MULTI) } },
                  1,
                  { KEY("eu-west-1", MULTI) },
                  "eu-north-1",
                  KEY("eu-north-1", MULTI) " " KEY("eu-west-1", MULTI) " " KEY("us-east-1", MULTI) " " },
                { { { "aws-kms", KEY("us-east-1", MULTI) } },
                  1,
                  { KEY("us-east-1", MULTI) },
                  "us-east-1",
                  KEY("us-east-1", MULTI) " " },
                { { { "aws-kms", KEY("us-east-1", MULTI) } },
                  1,
                  { NULL },
                  "eu-north-1",
                  KEY("eu-north-1", MULTI) " " KEY("us-east-1", MULTI) " " },
                { { { "aws-kms", KEY("us-east-1", MULTI) } },
                  1,
                  { "arn:aws:kms:us-east-1:999999999999:key/" MULTI },
                  "us-east-1",
                  "" },
                /* A key of one Region stays in it. */
                { { { "aws-kms", FIRST } }, 1, { FIRST }, "eu-west-1", FIRST " " },
        };

        (void) state;
        for (size_t i = 0; i < ELEMENTS(table); i++) {
                _cleanup_key_candidates_ struct key_candidates c = {};
                struct message_data_key data_keys[4];
                struct message_header header;
                char found[2048] = "";
                uint8_t numbers[4];
                struct error e = {};
                size_t n = 0;

                while (n < 3 && table[i].allowed[n])
                        n++;
                make_header(table[i].keys, table[i].n_keys, data_keys, numbers, &header);
                assert_ok(key_candidates_find(&header, n > 0 ? table[i].allowed : NULL, n, table[i].region, &c, &e),
                          &e);
                for (size_t k = 0, used = 0; k < c.n && used < sizeof found; k++)
                        used += (size_t) snprintf(found + used, sizeof found - used, "%s ", c.items[k].arn);
                assert_string_equal(found, table[i].found);
                assert_int_equal(c.n_context, 1);
        }
}

struct answers {
        const enum failure *failures; /* NONE: opened */
        size_t asked, refused;
};

static int answer(void *userdata, const struct kms_ciphertext *ciphertext, struct error *e) {
        struct answers *a = userdata;
        enum failure failure = a->failures[a->asked++];

        if (failure == FAILURE_NONE)
                return 0;
        fail(e, failure, -EIO, ciphertext->key_arn, "said %d", (int) failure);
        return -EIO;
}

static void count_refused(void *userdata, const struct kms_ciphertext *ciphertext, const struct error *e) {
        struct answers *a = userdata;

        (void) ciphertext;
        (void) e;
        a->refused++;
}

static void test_trying(void **state) {
        static const struct wrapped keys[] = { { "aws-kms", FIRST },
                                               { "aws-kms", SECOND },
                                               { "aws-kms", KEY("us-east-1", "c") } };
        static const struct {
                enum failure failures[3];
                size_t asked;
                enum failure failure;
                const char *words[3];
        } table[] = {
                { { FAILURE_NONE }, 1, FAILURE_NONE, {} },
                { { FAILURE_KMS_KEY, FAILURE_NONE }, 2, FAILURE_NONE, {} },
                { { FAILURE_KMS_DENIED, FAILURE_KMS_UNAVAILABLE, FAILURE_NONE }, 3, FAILURE_NONE, {} },
                { { FAILURE_NETWORK, FAILURE_KMS_CIPHERTEXT, FAILURE_NONE }, 3, FAILURE_NONE, {} },
                { { FAILURE_KMS_KEY, FAILURE_KMS_DENIED, FAILURE_KMS_CIPHERTEXT },
                  3,
                  FAILURE_KMS_KEY,
                  { FIRST ": said 31", SECOND ": said 30", "key/c: said 32" } },
                /* These would be the same for every key. */
                { { FAILURE_KMS_KEY, FAILURE_CREDENTIALS }, 2, FAILURE_CREDENTIALS, { "said 13" } },
                { { FAILURE_CLOCK }, 1, FAILURE_CLOCK, { "said 14" } },
                { { FAILURE_ATTESTATION }, 1, FAILURE_ATTESTATION, { "said 24" } },
                { { FAILURE_TPM }, 1, FAILURE_TPM, { "said 22" } },
        };
        struct message_data_key data_keys[3];
        struct message_header header;
        uint8_t numbers[3];

        (void) state;
        make_header(keys, 3, data_keys, numbers, &header);
        for (size_t i = 0; i < ELEMENTS(table); i++) {
                _cleanup_key_candidates_ struct key_candidates c = {};
                struct answers a = { .failures = table[i].failures };
                struct error e = {};
                int r;

                assert_ok(key_candidates_find(&header, NULL, 0, NULL, &c, &e), &e);
                r = key_candidates_try(&c, "s3://b/k", answer, count_refused, &a, &e);
                assert_int_equal(r == 0, table[i].failure == FAILURE_NONE);
                assert_int_equal(a.asked, table[i].asked);
                assert_int_equal(e.failure, table[i].failure);
                for (size_t k = 0; k < 3 && table[i].words[k]; k++)
                        if (!strstr(e.reason, table[i].words[k]))
                                fail_msg("%s", e.reason);
        }
}

/* However many a hostile header has, each is named in as much room as there is. */
static void test_many(void **state) {
        enum { MANY = KEY_CANDIDATES_MAX + 5 };
        static const enum failure failures[MANY] = { [0 ... MANY - 1] = FAILURE_KMS_KEY };
        _cleanup_key_candidates_ struct key_candidates c = {};
        struct answers a = { .failures = failures };
        struct message_data_key data_keys[MANY];
        struct wrapped keys[MANY];
        struct message_header header;
        uint8_t numbers[MANY];
        struct error e = {};

        (void) state;
        for (size_t i = 0; i < MANY; i++)
                keys[i] = (struct wrapped) { "aws-kms", FIRST };
        make_header(keys, MANY, data_keys, numbers, &header);
        assert_ok(key_candidates_find(&header, NULL, 0, NULL, &c, &e), &e);
        assert_int_equal(c.n, KEY_CANDIDATES_MAX);
        assert_int_equal(c.left_out, 5);
        assert_refused(key_candidates_try(&c, "s3://b/k", answer, count_refused, &a, &e), &e, FAILURE_KMS_KEY,
                       "; 5 more were not asked");
        assert_int_equal(a.asked, KEY_CANDIDATES_MAX);
        assert_int_equal(a.refused, KEY_CANDIDATES_MAX);
        assert_string_equal(e.subject, "s3://b/k");
        /* The same ciphertext under the same key is one candidate. */
        for (size_t i = 0; i < MANY; i++)
                numbers[i] = 0;
        key_candidates_done(&c);
        assert_ok(key_candidates_find(&header, NULL, 0, NULL, &c, &e), &e);
        assert_int_equal(c.n, 1);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_arns),   cmocka_unit_test(test_related), cmocka_unit_test(test_candidates),
                cmocka_unit_test(test_trying), cmocka_unit_test(test_many),
        };

        return cmocka_run_group_tests_name("candidates", tests, NULL, NULL);
}
