/* SPDX-License-Identifier: Apache-2.0 */

/* The measured configuration and the launch parameters: what is taken, and what is refused in which words. */

#include "unit.h"

#include "basic/file.h"
#include "configuration/config.h"
#include "tree.h"

#define ARN "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
#define KEYS "\"keys\": [\"" ARN "\"]"
#define HEX16 "0123456789abcdef"
#define HEX96 HEX16 HEX16 HEX16 HEX16 HEX16 HEX16

static int parse(const char *text, struct config **ret, struct error *e) {
        return config_parse(text, strlen(text), "agent.json", ret, e);
}

static void test_everything(void **state) {
        static const char text[] =
                "{" KEYS ", \"encryption_context\": {\"model\": \"m\", \"stage\": \"\"},"
                "\"model_digests\": [\"sha384:" HEX96 "\"], \"model\": \"s3://bucket/prefix/\","
                "\"measure\": \"sha384\", \"region\": \"eu-central-1\","
                "\"endpoints\": {\"imds\": \"http://[fd00:ec2::254]\", \"kms\": \"https://kms.example\","
                "\"s3\": \"https://s3.example:8443/\", \"autoscaling\": \"http://127.0.0.1:1\"},"
                "\"ca_bundle\": \"/etc/ca.pem\","
                "\"tcti\": \"device:/dev/tpmrm0\", \"model_directory\": \"/run/m\", \"measurement_log\": \"/run/log\","
                "\"report\": \"/run/report\", \"lifecycle_hook\": {\"group\": \"g h\", \"name\": \"load-model_1/x\"},"
                "\"ready\": {\"upstream\": \"unix:/run/s\", \"health\": \"/health?x=1\", \"warm_up\": {\"path\": "
                "\"/a\","
                "\"body\": {\"model\": \"m/1\", \"n\": [1]}}, \"seconds\": 7200}, \"keep\": \"until-ready\","
                "\"workers\": 3, \"connections\": 1024, \"kms_deadline_seconds\": 3600, \"heartbeat_seconds\": 7, "
                "\"allow_any_iv\": true}";
        _cleanup_(config_freep) struct config *c = NULL;
        struct error e = {};

        (void) state;
        assert_ok(parse(text, &c, &e), &e);
        assert_int_equal(c->inputs[0].n_keys, 1);
        assert_string_equal(c->inputs[0].keys[0], ARN);
        assert_false(c->inputs[0].discovery);
        assert_int_equal(c->inputs[0].n_context, 2);
        assert_string_equal(c->inputs[0].context[0].name, "model");
        assert_string_equal(c->inputs[0].context[1].value, "");
        assert_int_equal(c->inputs[0].n_digests, 1);
        assert_int_equal(c->inputs[0].digests[0][7], 0xef);
        assert_string_equal(c->inputs[0].model, "s3://bucket/prefix/");
        assert_int_equal(c->measure, MEASURE_SHA384);
        assert_string_equal(c->region, "eu-central-1");
        assert_string_equal(c->endpoint_imds, "http://[fd00:ec2::254]");
        assert_string_equal(c->endpoint_kms, "https://kms.example");
        assert_string_equal(c->endpoint_s3, "https://s3.example:8443/");
        assert_string_equal(c->endpoint_autoscaling, "http://127.0.0.1:1");
        assert_string_equal(c->ca_bundle, "/etc/ca.pem");
        assert_string_equal(c->tcti, "device:/dev/tpmrm0");
        assert_string_equal(c->model_directory, "/run/m");
        assert_string_equal(c->measurement_log, "/run/log");
        assert_string_equal(c->report, "/run/report");
        assert_string_equal(c->hook_group, "g h");
        assert_string_equal(c->hook_name, "load-model_1/x");
        assert_string_equal(c->ready.socket, "/run/s");
        assert_string_equal(c->ready.health, "/health?x=1");
        assert_string_equal(c->ready.warm_up_path, "/a");
        assert_string_equal(c->ready.warm_up_body, "{\"model\":\"m/1\",\"n\":[1]}");
        assert_int_equal(c->ready.seconds, 7200);
        assert_int_equal(c->keep, KEEP_UNTIL_READY);
        assert_int_equal(c->workers, 3);
        assert_int_equal(c->connections, 1024);
        assert_int_equal(c->kms_deadline_ms, 3600 * 1000);
        assert_int_equal(c->heartbeat_ms, 7000);
        assert_true(c->allow_any_iv);
}

static void test_defaults(void **state) {
        _cleanup_(config_freep) struct config *c = NULL;
        struct error e = {};

        (void) state;
        assert_ok(parse("{\"discovery\": true}", &c, &e), &e);
        assert_true(c->inputs[0].discovery);
        assert_int_equal(c->inputs[0].n_keys + c->inputs[0].n_context + c->inputs[0].n_digests, 0);
        assert_int_equal(c->measure, MEASURE_MODEL);
        assert_null(c->inputs[0].model);
        assert_null(c->region);
        assert_null(c->endpoint_s3);
        assert_null(c->ca_bundle);
        assert_null(c->tcti);
        assert_null(c->hook_name);
        assert_string_equal(c->model_directory, "/run/sealboot/model");
        assert_string_equal(c->measurement_log, "/run/log/systemd/tpm2-measure.log");
        assert_string_equal(c->report, "/run/sealboot/report.json");
        assert_int_equal(c->workers + c->connections, 0);
        assert_int_equal(c->kms_deadline_ms, 60 * 1000);
        assert_int_equal(c->heartbeat_ms, 30 * 1000);
        assert_false(c->allow_any_iv);
}

/* Values that a boot can use, one at a time. */
static void test_good(void **state) {
        static const char *const good[] = {
                "\"region\": \"us-gov-west-1\"",
                "\"region\": \"eusc-de-east-1\"",
                "\"model\": \"s3://bucket\"",
                "\"model\": \"s3://b.u-c.ket/a/../b\"",
                "\"model\": \"s3://bucket/\\u00e9\"",
                "\"endpoints\": {}",
                "\"endpoints\": {\"s3\": \"https://s3.dualstack.us-east-1.amazonaws.com\"}",
                "\"endpoints\": {\"kms\": \"https://vpce-1-2.kms.us-east-1.vpce.amazonaws.com:443/\"}",
                "\"tcti\": \"device\"",
                "\"tcti\": \"swtpm:host=127.0.0.1,port=2321\"",
                "\"tcti\": \"swtpm:path=/run/tpm.socket\"",
                "\"tcti\": \"swtpm\"",
                "\"tcti\": \"cmd:ssh tpm tpm2_send\"",
                "\"tcti\": \"libtss2-tcti-own.so.0:any,thing\"",
                "\"measurement_log\": \"/a\"",
                "\"encryption_context\": {}",
                "\"encryption_context\": {\"a=b\": \"\\u00e9\"}",
                "\"workers\": 1, \"kms_deadline_seconds\": 1",
        };

        (void) state;
        for (size_t i = 0; i < ELEMENTS(good); i++) {
                _cleanup_(config_freep) struct config *c = NULL;
                _cleanup_free_ char *text = NULL;
                struct error e = {};

                assert_true(asprintf(&text, "{" KEYS ", %s}", good[i]) > 0);
                assert_ok(parse(text, &c, &e), &e);
        }
}

static void test_keys(void **state) {
        static const struct {
                const char *arn;
                bool good;
        } table[] = {
                { ARN, true },
                { "arn:aws:kms:us-east-1:111122223333:key/mrk-1234abcd12ab34cd56ef1234567890ab", true },
                { "arn:aws-cn:kms:cn-north-1:111122223333:key/x", true },
                { "arn:aws-us-gov:kms:us-gov-east-1:111122223333:key/x", true },
                { "arn:aws-eusc:kms:eusc-de-east-1:111122223333:key/x", true },
                { "arn:aws-iso-b:kms:us-isob-east-1:111122223333:key/x", true },
                { "arn:aws-new:kms:us-east-1:111122223333:key/x", true },
                { "", false },
                { "alias/x", false },
                { "1234abcd-12ab-34cd-56ef-1234567890ab", false },
                { "arn:aws:kms:us-east-1:111122223333:alias/x", false },
                { "arn:aws:kms:us-east-1:111122223333:key/", false },
                { "arn:aws:kms:us-east-1:111122223333:key/*", false },
                { "arn:aws:kms:us-east-1:111122223333:key/x y", false },
                { "arn:aws:kms:us-east-1:111122223333:key/x:y", false },
                { "arn:aws:kms:us-east-1:111122223333:key/x/y", false },
                { "arn:aws:kms:us-east-1:111122223333", false },
                { "arn:aws:kms:us-east-1:11112222333:key/x", false },
                { "arn:aws:kms:us-east-1:1111222233334:key/x", false },
                { "arn:aws:kms:us-east-1:11112222333a:key/x", false },
                { "arn:aws:kms::111122223333:key/x", false },
                { "arn:aws:kms:US-EAST-1:111122223333:key/x", false },
                { "arn:aws:kms:us-east-1 :111122223333:key/x", false },
                { "arn:aws:s3:us-east-1:111122223333:key/x", false },
                { "arn:awsx:kms:us-east-1:111122223333:key/x", false },
                { "arn:azure:kms:us-east-1:111122223333:key/x", false },
                { "arn::kms:us-east-1:111122223333:key/x", false },
                { "urn:aws:kms:us-east-1:111122223333:key/x", false },
                { " " ARN, false },
                { ARN "\\u0000", false },
                { ARN "\\n", false },
        };

        (void) state;
        for (size_t i = 0; i < ELEMENTS(table); i++) {
                _cleanup_(config_freep) struct config *c = NULL;
                _cleanup_free_ char *text = NULL;
                struct error e = {};

                assert_true(asprintf(&text, "{\"keys\": [\"%s\"]}", table[i].arn) > 0);
                if (table[i].good)
                        assert_ok(parse(text, &c, &e), &e);
                else
                        assert_refused(parse(text, &c, &e), &e, FAILURE_CONFIG, "\"keys[0]\" must be a KMS key ARN");
        }
}

static const struct {
        const char *member, *words;
} bad[] = {
        { "\"keyz\": []", "unknown key \"keyz\"" },
        { "\"discovery\": true", "exclude each other" },
        { "\"discovery\": \"false\"", "must be true or false, not string" },
        { "\"region\": null", "\"region\" must be an AWS Region, not null" },
        { "\"region\": \"\"", "\"region\" is \"\", expected an AWS Region" },
        { "\"region\": \"US-EAST-1\"", "\"region\": \"US-EAST-1\" is not the name of a Region" },
        { "\"region\": \"eu-west-1 \"", "\"eu-west-1 \" is not the name of a Region" },
        { "\"region\": \"eu_west_1\"", "is not the name of a Region" },
        { "\"region\": \"-eu-west-1\"", "is not the name of a Region" },
        { "\"region\": \"a.example/\"", "is not the name of a Region" },
        { "\"region\": \"eu-west-1a\"", "looks like an Availability Zone" },
        { "\"region\": \"us-west-2-lax-1b\"", "looks like an Availability Zone" },
        { "\"region\": \"fips-us-gov-west-1\"", "a setting of their own" },
        { "\"use_fips_endpoint\": true, \"region\": \"cn-north-1\"", "\"use_fips_endpoint\": S3 has none" },
        { "\"model\": \"s3://bucket--use1-az4--x-s3/x\"", "directory bucket" },
        { "\"model\": \"s3://mfzwi23gnjvgw.mrap/x\"", "multi-Region access point" },
        { "\"endpoints\": {\"s3\": \"https://host:0\"}", "\"endpoints.s3\":" },
        { "\"report\": \"/m\", \"model_directory\": \"/m\"", "\"report\" is \"model_directory\"" },
        { "\"measurement_log\": \"/m\", \"model_directory\": \"/m\"", "\"measurement_log\" is \"model_directory\"" },
        { "\"lifecycle_hook\": {\"group\": \"a\\n\", \"name\": \"n\"}", "expected the name of an Auto Scaling group" },
        { "\"lifecycle_hook\": {\"group\": \"a:b\", \"name\": \"n\"}", "expected the name of an Auto Scaling group" },
        { "\"region\": \"eu-west-1\\u0000x\"", "\"region\" holds a NUL character" },
        { "\"model\": \"bucket/x\"", "\"model\": \"bucket/x\": it is not of the form s3://bucket/key" },
        { "\"model\": \"https://bucket.s3.amazonaws.com/x/\"", "is not of the form s3://bucket/key" },
        { "\"model\": \"s3:///x\"", "\"\" is not the name of a bucket" },
        { "\"model\": \"s3://Bad_Bucket/x/\"", "\"Bad_Bucket\" is not the name of a bucket" },
        { "\"model\": \"s3://bucket/a\\nb\"", "control characters" },
        { "\"endpoints\": []", "\"endpoints\" must be an object" },
        { "\"endpoints\": {\"sts\": \"https://x\"}", "unknown key \"endpoints.sts\"" },
        { "\"endpoints\": {\"s3\": 1}", "\"endpoints.s3\" must be an http or https URL, not int" },
        { "\"endpoints\": {\"s3\": \"\"}", "\"endpoints.s3\"" },
        { "\"endpoints\": {\"s3\": \"s3.amazonaws.com\"}", "\"endpoints.s3\":" },
        { "\"endpoints\": {\"s3\": \"file:///etc/\"}", "\"endpoints.s3\":" },
        { "\"endpoints\": {\"s3\": \"https://\"}", "\"endpoints.s3\":" },
        { "\"endpoints\": {\"s3\": \"https://s3.example/bucket\"}", "more than a scheme, a host and a port" },
        { "\"endpoints\": {\"imds\": \"http://169.254.169.254/latest\"}", "\"endpoints.imds\":" },
        { "\"endpoints\": {\"kms\": \"https://user:pw@kms.example\"}", "\"endpoints.kms\":" },
        { "\"endpoints\": {\"kms\": \"https://kms.example:99999\"}", "\"endpoints.kms\":" },
        { "\"endpoints\": {\"kms\": \"https://kms.example?x\"}", "\"endpoints.kms\":" },
        { "\"endpoints\": {\"autoscaling\": \"https://a b\"}", "\"endpoints.autoscaling\":" },
        { "\"ca_bundle\": \"ca.pem\"", "\"ca_bundle\": \"ca.pem\" is not an absolute path" },
        { "\"ca_bundle\": \"/etc/ca/\"", "is the name of a directory" },
        { "\"model_directory\": \"model\"", "not an absolute path" },
        { "\"model_directory\": \"/run/\\u001b[2J\"", "control characters" },
        { "\"report\": \"/run/sealboot/\"", "\"report\": \"/run/sealboot/\" is the name of a directory" },
        { "\"measurement_log\": \"log\"", "\"measurement_log\": \"log\" is not an absolute path" },
        { "\"report\": \"/x\", \"measurement_log\": \"/x\"", "are the same file" },
        { "\"tcti\": \":x\"", "no module's name" },
        { "\"tcti\": \"device:\"", "names no device" },
        { "\"tcti\": \"device:tpmrm0\"", "names no device" },
        { "\"tcti\": \"swtpm:127.0.0.1:2321\"", "is not NAME=VALUE" },
        { "\"tcti\": \"swtpm:host=127.0.0.1,port=0\"", "\"0\" is not a port" },
        { "\"tcti\": \"mssim:host=127.0.0.1,port=65536\"", "\"65536\" is not a port" },
        { "\"tcti\": \"swtpm:host=,port=1\"", "is not NAME=VALUE" },
        { "\"tcti\": \"swtpm:hosts=x\"", "none of host, port, path" },
        { "\"tcti\": \"device:/dev/tpm\\u0007\"", "control characters" },
        { "\"model_digests\": []", "\"model_digests\" is []" },
        { "\"model_digests\": [\"" HEX96 "\"]", "\"model_digests[0]\" must be sha384:" },
        { "\"model_digests\": [\"sha384:" HEX96 "\", \"sha384:" HEX96 "0\"]", "\"model_digests[1]\"" },
        { "\"model_digests\": [\"sha384:" HEX96 "\\u0000\"]", "\"model_digests[0]\"" },
        { "\"model_digests\": [\"sha256:" HEX96 "\"]", "\"model_digests[0]\"" },
        { "\"model_digests\": [null]", "\"model_digests[0]\"" },
        { "\"measure\": \"md5\"", "\"measure\" is \"md5\"" },
        { "\"encryption_context\": {\"model\": 1}", "\"encryption_context.model\" must be text" },
        { "\"encryption_context\": {\"model\": \"a\\u0000b\"}", "\"encryption_context.model\" must be text" },
        { "\"encryption_context\": {\"\": \"x\"}", "key is empty" },
        { "\"encryption_context\": {\"aws-crypto-public-key\": \"x\"}", "belong to the AWS Encryption SDK" },
        { "\"encryption_context\": {\"a\": \"b\", \"a\": \"b\"}", "same key twice" },
        { "\"lifecycle_hook\": {\"group\": \"g\"}", "\"lifecycle_hook.name\" is missing" },
        { "\"lifecycle_hook\": {\"group\": \"\", \"name\": \"n\"}", "\"lifecycle_hook.group\"" },
        { "\"lifecycle_hook\": {\"group\": \"g\", \"name\": \"a b\"}", "expected the name of a lifecycle hook" },
        { "\"ready\": {\"health\": \"/h\"}", "\"ready.upstream\" is missing" },
        { "\"ready\": {\"upstream\": \"unix:/s\"}", "\"ready.health\" is missing" },
        { "\"ready\": {\"upstream\": \"127.0.0.1:80\", \"health\": \"/\"}", "expected unix: and the path" },
        { "\"ready\": {\"upstream\": \"unix:s\", \"health\": \"/\"}", "expected unix: and the path" },
        { "\"ready\": {\"upstream\": \"unix:\", \"health\": \"/\"}", "expected unix: and the path" },
        { "\"ready\": {\"upstream\": \"unix:/" HEX96 HEX16 "\", \"health\": \"/\"}", "at most 107 bytes" },
        { "\"ready\": {\"upstream\": \"unix:/s\", \"health\": \"h\"}", "\"ready.health\" must be a path" },
        { "\"ready\": {\"upstream\": \"unix:/s\", \"health\": \"/a b\"}", "\"ready.health\" must be a path" },
        { "\"ready\": {\"upstream\": \"unix:/s\", \"health\": \"/a\\r\\nX: y\"}", "\"ready.health\" must be" },
        { "\"ready\": {\"upstream\": \"unix:/s\", \"health\": \"/\", \"seconds\": 0}", "expected 1 to 7200" },
        { "\"ready\": {\"upstream\": \"unix:/s\", \"health\": \"/\", \"warm_up\": {\"path\": \"/\"}}",
          "\"ready.warm_up.body\" is missing" },
        { "\"ready\": {\"upstream\": \"unix:/s\", \"health\": \"/\", \"warm_up\": {\"path\": \"x\", \"body\": {}}}",
          "\"ready.warm_up.path\" must be a path" },
        { "\"ready\": {\"upstream\": \"unix:/s\", \"health\": \"/\", \"warm_up\": {\"path\": \"/\", \"body\": \"x\"}}",
          "\"ready.warm_up.body\" must be a JSON object" },
        { "\"ready\": {\"upstream\": \"unix:/s\", \"health\": \"/\", \"x\": 1}", "unknown key \"ready.x\"" },
        { "\"keep\": \"never\"", "\"keep\" is \"never\"" },
        { "\"keep\": \"until-ready\"", "\"until-ready\" needs \"ready\"" },
        { "\"workers\": 0", "\"workers\" is 0, expected 1 to 1024" },
        { "\"workers\": -1", "expected 1 to 1024" },
        { "\"workers\": 1025", "expected 1 to 1024" },
        { "\"connections\": 2.5", "not double" },
        { "\"connections\": 4294967297", "expected 1 to 1024" },
        { "\"connections\": 9223372036854775807", "expected 1 to 1024" },
        { "\"kms_deadline_seconds\": 3601", "expected 1 to 3600" },
        { "\"heartbeat_seconds\": 0", "expected 1 to 3600" },
        { "\"heartbeat_seconds\": 0.5", "must be 1 to 3600" },
        { "\"kms_deadline_seconds\": \"60\"", "must be 1 to 3600, not string" },
};

static void test_bad(void **state) {
        (void) state;
        for (size_t i = 0; i < ELEMENTS(bad); i++) {
                _cleanup_(config_freep) struct config *c = NULL;
                _cleanup_free_ char *text = NULL;
                struct error e = {};

                assert_true(asprintf(&text, "{" KEYS ", %s}", bad[i].member) > 0);
                assert_refused(parse(text, &c, &e), &e, FAILURE_CONFIG, bad[i].words);
                assert_string_equal(e.subject, "agent.json");
                assert_null(c);
        }
}

/* A key that is in no partition: a message cannot name it, so the boot would refuse every model. */
static void test_keys_of_another_partition(void **state) {
        static const char *const arns[] = {
                "arn:aws:kms:cn-north-1:111122223333:key/x",
                "arn:aws:kms:us-gov-west-1:111122223333:key/x",
                "arn:aws-us-gov:kms:us-east-1:111122223333:key/x",
                "arn:aws-cn:kms:us-iso-east-1:111122223333:key/x",
        };

        (void) state;
        for (size_t i = 0; i < ELEMENTS(arns); i++) {
                _cleanup_(config_freep) struct config *c = NULL;
                _cleanup_free_ char *text = NULL;
                struct error e = {};

                assert_true(asprintf(&text, "{\"keys\": [\"%s\"]}", arns[i]) > 0);
                assert_refused(parse(text, &c, &e), &e, FAILURE_CONFIG, "is not in the partition");
        }
}

/* A context that is longer than a message's header can say. */
static void test_long_context(void **state) {
        _cleanup_(config_freep) struct config *c = NULL;
        _cleanup_free_ char *text = NULL;
        struct error e = {};

        (void) state;
        assert_true(asprintf(&text, "{" KEYS ", \"encryption_context\": {\"a\": \"%040000d\", \"b\": \"%040000d\"}}", 0,
                             0) > 0);
        assert_refused(parse(text, &c, &e), &e, FAILURE_CONFIG, "longer than the 65535 bytes");
}

static void test_no_keys(void **state) {
        static const char *const texts[] = { "{}", "{\"discovery\": false}" };

        (void) state;
        for (size_t i = 0; i < ELEMENTS(texts); i++) {
                _cleanup_(config_freep) struct config *c = NULL;
                struct error e = {};

                assert_refused(parse(texts[i], &c, &e), &e, FAILURE_CONFIG, "\"keys\" is missing");
        }
}

/* ---- the files that it names */

static void test_ca_bundle(void **state) {
        static const char begin[] = "-----BEGIN CERTIFICATE-----\n", end[] = "-----END CERTIFICATE-----\n";
        char root[] = "/tmp/sealboot-config-XXXXXX";
        _cleanup_free_ uint8_t *pem = NULL;
        _cleanup_free_ char *path = NULL, *broken = NULL, *link = NULL, *source = NULL;
        struct error e = {};
        size_t n;

        (void) state;
        assert_non_null(mkdtemp(root));
        assert_true(asprintf(&source, "%s/tests/fixtures/attestation/root.pem", getenv("SEALBOOT_SOURCE_ROOT")) > 0);
        assert_ok(file_read(source, 65536, FAILURE_IO, &pem, &n, &e), &e);
        assert_true(asprintf(&broken, "%s%sAAAA\n%s", (char *) pem, begin, end) > 0);
        tree_write(root, "good.pem", (char *) pem);
        tree_write(root, "broken.pem", broken);
        tree_write(root, "empty.pem", "");
        tree_write(root, "key.pem", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n");
        assert_true(asprintf(&link, "%s/link.pem", root) > 0 && asprintf(&path, "%s/good.pem", root) > 0);
        assert_int_equal(symlink("/good.pem", link), 0); /* absolute: in the image it leads to the image's file */

        assert_ok(config_check_bundle(path, NULL, &e), &e);
        assert_ok(config_check_bundle("/good.pem", root, &e), &e);
        assert_ok(config_check_bundle("/link.pem", root, &e), &e);
        assert_refused(config_check_bundle("/good.pem", NULL, &e), &e, FAILURE_CONFIG, "cannot be opened");
        assert_refused(config_check_bundle("/none.pem", root, &e), &e, FAILURE_CONFIG, root);
        assert_refused(config_check_bundle("/empty.pem", root, &e), &e, FAILURE_CONFIG, "holds no certificate");
        assert_refused(config_check_bundle("/key.pem", root, &e), &e, FAILURE_CONFIG, "ca_bundle");
        assert_refused(config_check_bundle("/broken.pem", root, &e), &e, FAILURE_CONFIG, "not a certificate");
        tree_remove(root);
}

/* ---- launch parameters */

static struct config *configuration(const char *member) {
        struct config *c = NULL;
        char text[512];
        struct error e = {};

        snprintf(text, sizeof text, "{" KEYS "%s}", member);
        assert_ok(parse(text, &c, &e), &e);
        return c;
}

static void test_launch(void **state) {
        static const char members[] = ", \"model\": \"s3://bucket/default\","
                                      "\"lifecycle_hook\": {\"group\": \"g\", \"name\": \"n\"}";
        _cleanup_(config_freep) struct config *c = configuration(members);
        static const struct {
                const char *text, *bucket, *key;
                bool is_prefix;
                const char *hook;
        } table[] = {
                { NULL, "bucket", "default", false, "n" },
                { "", "bucket", "default", false, "n" },
                { " \r\n", "bucket", "default", false, "n" },
                { "{}", "bucket", "default", false, "n" },
                { "{\"others\": [1]}", "bucket", "default", false, "n" },
                { "{\"sealboot\": {}}", "bucket", "default", false, "n" },
                { "{\"sealboot\": {\"model\": \"s3://other/a/b/\"}}", "other", "a/b/", true, "n" },
                { "{\"sealboot\": {\"model\": \"s3://other\"}}", "other", "", true, "n" },
                { "{\"sealboot\": {\"lifecycle_hook\": {\"group\": \"x\", \"name\": \"y\"}}}", "bucket", "default",
                  false, "y" },
        };

        (void) state;
        for (size_t i = 0; i < ELEMENTS(table); i++) {
                _cleanup_(launch_done) struct launch l = {};
                struct error e = {};

                assert_ok(launch_parse(table[i].text, strlen(table[i].text ?: ""), c, &l, &e), &e);
                assert_string_equal(l.places[0].bucket, table[i].bucket);
                assert_string_equal(l.places[0].key, table[i].key);
                assert_int_equal(l.places[0].is_prefix, table[i].is_prefix);
                assert_string_equal(l.hook_name, table[i].hook);
        }
}

static void test_launch_refused(void **state) {
        _cleanup_(config_freep) struct config *c = configuration("");
        static const struct {
                const char *text, *words;
        } table[] = {
                { "", "names no model" },
                { "\n", "names no model" },
                { "model", "JSON" },
                { "#!/bin/sh\n", "not JSON but a script" },
                { "#cloud-config\nruncmd: []\n", "cloud-init" },
                { "Content-Type: multipart/mixed; boundary=\"x\"\n", "cloud-init" },
                { "eyJzZWFsYm9vdCI6IHt9fQo=", "encoded once more" },
                { "\x1f\x8b\x08", "gzip" },
                { "[]", "must be a JSON object" },
                { "{}", "names no model" },
                { "{\"sealboot\": []}", "sealboot must be an object" },
                { "{\"sealboot\": {\"keys\": []}}", "unknown key \"sealboot.keys\"" },
                { "{\"sealboot\": {\"model\": 1}}", "\"sealboot.model\" must be an s3:// URI" },
                { "{\"sealboot\": {\"model\": \"\"}}", "\"sealboot.model\"" },
                { "{\"sealboot\": {\"model\": \"https://x/y\"}}", "is not of the form" },
                { "{\"sealboot\": {\"model\": \"s3://x/y\\u0000z\"}}", "NUL" },
                { "{\"sealboot\": {\"model\": \"s3://bucket/\\u001b[2J\"}}", "control characters" },
                { "{\"sealboot\": {\"lifecycle_hook\": {\"group\": \"x\"}}}",
                  "\"sealboot.lifecycle_hook.name\" is missing" },
                { "{\"sealboot\": {\"lifecycle_hook\": {\"group\": \"x\", \"name\": \"y z\"}}}", "lifecycle hook" },
                { "{\"sealboot\": {}, \"sealboot\": {}}", "same key twice" },
        };

        (void) state;
        for (size_t i = 0; i < ELEMENTS(table); i++) {
                _cleanup_(launch_done) struct launch l = {};
                struct error e = {};

                assert_refused(launch_parse(table[i].text, strlen(table[i].text), c, &l, &e), &e, FAILURE_LAUNCH,
                               table[i].words);
                assert_null(l.places[0].bucket);
                assert_null(l.hook_name);
        }
}

int main(void) {
        /* clang-format off */
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_everything),   cmocka_unit_test(test_defaults),
                cmocka_unit_test(test_good),         cmocka_unit_test(test_keys),
                cmocka_unit_test(test_keys_of_another_partition),
                cmocka_unit_test(test_bad),          cmocka_unit_test(test_long_context),
                cmocka_unit_test(test_no_keys),      cmocka_unit_test(test_ca_bundle),
                cmocka_unit_test(test_launch),       cmocka_unit_test(test_launch_refused),
        };
        /* clang-format on */

        return cmocka_run_group_tests(tests, NULL, NULL);
}
