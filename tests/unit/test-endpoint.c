/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include "aws/endpoint.h"
#include "basic/file.h"
#include "basic/json.h"

enum { FIPS = 1, DUALSTACK = 2 };

/* What the SDKs' endpoint rule sets give for the three services. */
static void test_hosts(void **state) {
        static const struct {
                const char *prefix, *service, *region;
                unsigned flags;
                const char *host; /* NULL: there is none */
        } table[] = {
                { NULL, "kms", "us-east-1", 0, "kms.us-east-1.amazonaws.com" },
                { NULL, "kms", "us-east-1", FIPS, "kms-fips.us-east-1.amazonaws.com" },
                { NULL, "kms", "us-east-1", DUALSTACK, "kms.us-east-1.api.aws" },
                { NULL, "kms", "us-east-1", FIPS | DUALSTACK, "kms-fips.us-east-1.api.aws" },
                { NULL, "kms", "mx-central-1", 0, "kms.mx-central-1.amazonaws.com" },
                { NULL, "kms", "cn-north-1", 0, "kms.cn-north-1.amazonaws.com.cn" },
                { NULL, "kms", "cn-northwest-1", DUALSTACK, "kms.cn-northwest-1.api.amazonwebservices.com.cn" },
                { NULL, "kms", "us-gov-west-1", FIPS, "kms-fips.us-gov-west-1.amazonaws.com" },
                { NULL, "kms", "us-iso-east-1", 0, "kms.us-iso-east-1.c2s.ic.gov" },
                { NULL, "kms", "us-isob-east-1", 0, "kms.us-isob-east-1.sc2s.sgov.gov" },
                { NULL, "kms", "us-isob-east-1", DUALSTACK, "kms.us-isob-east-1.api.aws.scloud" },
                { NULL, "kms", "eu-isoe-west-1", 0, "kms.eu-isoe-west-1.cloud.adc-e.uk" },
                { NULL, "kms", "us-isof-south-1", 0, "kms.us-isof-south-1.csp.hci.ic.gov" },
                { NULL, "kms", "eusc-de-east-1", 0, "kms.eusc-de-east-1.amazonaws.eu" },
                { NULL, "kms", "eusc-de-east-1", FIPS | DUALSTACK, "kms-fips.eusc-de-east-1.api.amazonwebservices.eu" },
                { NULL, "kms", "xx-unknown-1", 0, "kms.xx-unknown-1.amazonaws.com" },
                { "bucket", "s3", "eu-west-1", 0, "bucket.s3.eu-west-1.amazonaws.com" },
                { "bucket", "s3", "eu-west-1", DUALSTACK, "bucket.s3.dualstack.eu-west-1.amazonaws.com" },
                { "bucket", "s3", "us-gov-east-1", FIPS, "bucket.s3-fips.us-gov-east-1.amazonaws.com" },
                { "bucket", "s3", "us-east-1", FIPS | DUALSTACK, "bucket.s3-fips.dualstack.us-east-1.amazonaws.com" },
                { "bucket", "s3", "eusc-de-east-1", DUALSTACK, "bucket.s3.dualstack.eusc-de-east-1.amazonaws.eu" },
                { NULL, "s3", "cn-north-1", DUALSTACK, "s3.dualstack.cn-north-1.amazonaws.com.cn" },
                { NULL, "s3", "cn-north-1", FIPS, NULL },
                { NULL, "autoscaling", "us-east-2", FIPS, "autoscaling-fips.us-east-2.amazonaws.com" },
                { NULL, "autoscaling", "us-gov-west-1", FIPS, "autoscaling.us-gov-west-1.amazonaws.com" },
                { NULL, "autoscaling", "us-gov-west-1", FIPS | DUALSTACK, "autoscaling-fips.us-gov-west-1.api.aws" },
        };

        (void) state;
        for (size_t i = 0; i < ELEMENTS(table); i++) {
                const struct endpoint_choice choice = { .use_fips = table[i].flags & FIPS,
                                                        .use_dualstack = table[i].flags & DUALSTACK };
                _cleanup_endpoint_ struct endpoint endpoint = {};
                struct error e = {};
                int r;

                r = endpoint_aws(table[i].prefix, table[i].service, table[i].region, &choice, &endpoint, &e);
                if (!table[i].host) {
                        assert_refused(r, &e, FAILURE_CONFIG, "aws-cn");
                        continue;
                }
                assert_ok(r, &e);
                assert_string_equal(endpoint.host, table[i].host);
                assert_memory_equal(endpoint.origin, "https://", 8);
                assert_string_equal(endpoint.origin + 8, table[i].host);
        }
}

static const char *text_of(json_object *o, const char *key) {
        json_object *member = NULL;

        return json_object_object_get_ex(o, key, &member) ? json_object_get_string(member) : NULL;
}

/* Against the table that an installed botocore has: an old one knows fewer partitions, and not all of their
 * dual-stack names. */
static void test_partitions_of_the_sdks(void **state) {
        _cleanup_free_ uint8_t *text = NULL;
        _cleanup_json_ json_object *o = NULL;
        json_object *list, *outputs, *regions;
        struct error e = {};
        size_t n;

        (void) state;
        if (file_read("/usr/lib/python3/dist-packages/botocore/data/partitions.json", 1 << 20, FAILURE_IO, &text, &n,
                      &e) < 0)
                skip();
        assert_ok(json_parse((const char *) text, n, FAILURE_IO, "partitions.json", &o, &e), &e);
        assert_true(json_object_object_get_ex(o, "partitions", &list));
        assert_true(json_object_array_length(list) >= 5);
        for (size_t i = 0; i < json_object_array_length(list); i++) {
                json_object *partition = json_object_array_get_idx(list, i);

                assert_true(json_object_object_get_ex(partition, "outputs", &outputs));
                assert_true(json_object_object_get_ex(partition, "regions", &regions));
                json_object_object_foreach(regions, region, unused) {
                        const struct partition *ours = partition_of(region);

                        (void) unused;
                        if (strstr(region, "-global")) /* no Region, but a name for all */
                                continue;
                        assert_string_equal(ours->name, text_of(partition, "id"));
                        assert_string_equal(ours->suffix, text_of(outputs, "dnsSuffix"));
                        if (streq(text_of(outputs, "supportsDualStack"), "true"))
                                assert_string_equal(ours->dualstack_suffix, text_of(outputs, "dualStackDnsSuffix"));
                }
        }
}

static void test_regions(void **state) {
        (void) state;
        assert_true(region_valid("us-east-1"));
        assert_true(region_valid("eusc-de-east-1"));
        assert_false(region_valid(""));
        assert_false(region_valid("us-east-1.evil.example"));
        assert_false(region_valid("US-EAST-1"));
        assert_false(region_valid("-us"));
        assert_false(region_valid("us-"));
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_hosts),
                cmocka_unit_test(test_partitions_of_the_sdks),
                cmocka_unit_test(test_regions),
        };

        return cmocka_run_group_tests_name("endpoint", tests, NULL, NULL);
}
