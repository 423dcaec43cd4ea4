/* SPDX-License-Identifier: Apache-2.0 */

/* gate.json: what is taken, what is refused in which words, and the configuration of nginx that follows. */

#include "unit.h"

#include "basic/file.h"
#include "fixture.h"
#include "gate/nginx.h"

#define HEX16 "0123456789abcdef"
#define HEX64 HEX16 HEX16 HEX16 HEX16
#define HEX96 HEX64 HEX16 HEX16
#define ANYBODY "\"callers\": {\"anybody\": true}"
#define PATHS "\"paths\": {\"server\": \"ollama\"}"
#define UPSTREAM "\"upstream\": \"127.0.0.1:8080\""
#define CALLERS(text) "{\"callers\": {" text "}, " PATHS ", " UPSTREAM "}"
#define ALSO(text) "{" ANYBODY ", \"paths\": {\"also\": [" text "]}, " UPSTREAM "}"
#define MORE(text) "{" ANYBODY ", " PATHS ", " UPSTREAM ", " text "}"
#define TOKEN(name) "{\"name\": \"" name "\", \"sha256\": \"" HEX64 "\"}"
#define PEER(more) "\"peers\": [{\"name\": \"p\", \"references\": \"/p.json\"" more "}]"

static int parse(const char *text, struct gate_config **ret, struct error *e) {
        return gate_config_parse(text, strlen(text), "gate.json", ret, e);
}

static void test_everything(void **state) {
        static const char text[] =
                "{\"callers\": {\"anybody\": true, \"tokens\": [{\"name\": \"app\", \"sha256\": \"" HEX64
                "\", \"reads_requests\": true}], \"certificate_authorities\": [{\"name\": \"ca-1\", \"file\": "
                "\"/etc/ca.pem\"}], \"peers\": [{\"name\": \"peer\", \"references\": \"/etc/peer.json\", "
                "\"model_digests\": [\"sha384:" HEX96 "\"], \"max_age_seconds\": 60, \"root\": \"/etc/root.pem\"}]},"
                "\"paths\": {\"server\": \"vllm\", \"also\": [{\"path\": \"/own\", \"methods\": [\"GET\", \"POST\"]},"
                "{\"prefix\": \"/ui/\", \"methods\": [\"HEAD\"]}]}, \"upstream\": \"unix:/run/server.sock\","
                "\"port\": 8443, \"ipv6\": false, \"limits\": {\"body_bytes\": 1000, \"requests_per_minute\": 5,"
                "\"connections\": 6, \"attestations_per_minute\": 7, \"attestations_per_minute_and_address\": 8},"
                "\"report\": \"/r.json\", \"tcti\": \"device:/dev/tpm0\"}";
        _cleanup_gate_config_ struct gate_config *c = NULL;
        struct error e = {};

        (void) state;
        assert_ok(parse(text, &c, &e), &e);
        assert_int_equal(c->n_callers, 4);
        assert_int_equal(c->callers[0].kind, CALLER_TOKEN);
        assert_string_equal(c->callers[0].name, "app");
        assert_int_equal(c->callers[0].token[7], 0xef);
        assert_true(c->callers[0].reads_requests);
        assert_int_equal(c->callers[1].kind, CALLER_AUTHORITY);
        assert_string_equal(c->callers[1].file, "/etc/ca.pem");
        assert_false(c->callers[1].reads_requests);
        assert_int_equal(c->callers[2].kind, CALLER_PEER);
        assert_string_equal(c->callers[2].file, "/etc/peer.json");
        assert_string_equal(c->callers[2].root, "/etc/root.pem");
        assert_int_equal(c->callers[2].n_digests, 1);
        assert_int_equal(c->callers[2].digests[0][47], 0xef);
        assert_int_equal(c->callers[2].max_age_seconds, 60);
        assert_int_equal(c->callers[3].kind, CALLER_ANYBODY);
        assert_int_equal(allow_list_find(&c->paths, "/own")->methods, METHOD_GET | METHOD_POST);
        assert_int_equal(allow_list_find(&c->paths, "/ui/x")->methods, METHOD_HEAD);
        assert_non_null(allow_list_find(&c->paths, "/v1/models"));
        assert_string_equal(c->upstream_socket, "/run/server.sock");
        assert_int_equal(c->port, 8443);
        assert_false(c->ipv6);
        assert_int_equal(c->body_bytes, 1000);
        assert_int_equal(c->requests_per_minute, 5);
        assert_int_equal(c->connections, 6);
        assert_int_equal(c->attestations_per_minute, 7);
        assert_int_equal(c->attestations_per_minute_and_address, 8);
        assert_string_equal(c->report, "/r.json");
        assert_string_equal(c->tcti, "device:/dev/tpm0");
}

static void test_defaults(void **state) {
        _cleanup_gate_config_ struct gate_config *c = NULL;
        struct error e = {};

        (void) state;
        assert_ok(parse(CALLERS(PEER("")), &c, &e), &e);
        assert_int_equal(c->n_callers, 1);
        assert_null(c->callers[0].root);
        assert_int_equal(c->callers[0].n_digests, 0);
        assert_int_equal(c->callers[0].max_age_seconds, 3600);
        assert_null(c->upstream_socket);
        assert_int_equal(c->upstream_port, 8080);
        assert_int_equal(c->port, 443);
        assert_true(c->ipv6);
        assert_int_equal(c->body_bytes, 16 * 1024 * 1024);
        assert_int_equal(c->requests_per_minute, 0);
        assert_int_equal(c->connections, 1024);
        assert_int_equal(c->attestations_per_minute, 60);
        assert_int_equal(c->attestations_per_minute_and_address, 20);
        assert_string_equal(c->report, "/run/sealboot/report.json");
        assert_null(c->tcti);
}

static void test_what_is_refused(void **state) {
        /* clang-format off */
        static const struct {
                const char *text, *words;
        } table[] = {
                { "", "cut short" },
                { "[]", "the top level must be an object" },
                { "{}", "\"callers\" is missing" },
                { "{" PATHS ", " UPSTREAM "}", "\"callers\" is missing" },
                { "{" ANYBODY ", " UPSTREAM "}", "\"paths\" is missing" },
                { "{" ANYBODY ", " PATHS "}", "\"upstream\" is missing" },
                { "{" ANYBODY ", " ANYBODY ", " PATHS ", " UPSTREAM "}", "the same key twice" },
                { MORE("\"listen\": 1"), "unknown key \"listen\"" },
                { CALLERS(""), "names nobody" },
                { CALLERS("\"anybody\": false"), "names nobody" },
                { CALLERS("\"anybody\": 1"), "\"callers.anybody\" must be true or false" },
                { CALLERS("\"everybody\": true"), "unknown key \"callers.everybody\"" },
                { CALLERS("\"tokens\": []"), "expected a list of 1 to 500" },
                { CALLERS("\"tokens\": [1]"), "callers.tokens[0] must be an object" },
                { CALLERS("\"tokens\": [{\"name\": \"a\"}]"), "\"callers.tokens[0].sha256\" is missing" },
                { CALLERS("\"tokens\": [{\"sha256\": \"" HEX64 "\"}]"), "\"callers.tokens[0].name\" is missing" },
                { CALLERS("\"tokens\": [{\"name\": \"a\", \"sha256\": \"" HEX96 "\"}]"), "expected 64 hex digits" },
                { CALLERS("\"tokens\": [{\"name\": \"a\", \"sha256\": \"x" HEX16 HEX16 HEX16 "0123456789abcde\"}]"),
                  "is not 64 hex digits" },
                { CALLERS("\"tokens\": [{\"name\": \"a\", \"token\": \"secret\"}]"),
                  "unknown key \"callers.tokens[0].token\"" },
                { CALLERS("\"tokens\": [" TOKEN("a") ", " TOKEN("a") "]"), "another caller has the name \"a\"" },
                { CALLERS("\"tokens\": [" TOKEN("a") ", " TOKEN("b") "]"), "is the token of \"a\", too" },
                { CALLERS("\"tokens\": [" TOKEN("a b") "]"), "is not a name" },
                { CALLERS("\"tokens\": [" TOKEN("a\\nb") "]"), "is not a name" },
                { CALLERS("\"tokens\": [" TOKEN("anybody") "]"), "is not a name" },
                { CALLERS("\"tokens\": [" TOKEN("") "]"), "a name of 1 to 32 characters" },
                { CALLERS("\"tokens\": [" TOKEN(HEX16 HEX16 "x") "]"), "a name of 1 to 32 characters" },
                { CALLERS("\"certificate_authorities\": [{\"name\": \"a\", \"file\": \"ca.pem\"}]"),
                  "is not the absolute path of a file" },
                { CALLERS("\"certificate_authorities\": [{\"name\": \"a\", \"file\": \"/ca/\"}]"),
                  "is not the absolute path of a file" },
                { CALLERS("\"certificate_authorities\": [{\"name\": \"a\"}]"), "file\" is missing" },
                { CALLERS("\"peers\": [{\"name\": \"p\"}]"), "references\" is missing" },
                { CALLERS(PEER(", \"max_age_seconds\": 0")), "expected 1 to 10800" },
                { CALLERS(PEER(", \"max_age_seconds\": 10801")), "expected 1 to 10800" },
                { CALLERS(PEER(", \"model_digests\": []")), "expected a list of 1 to 1000" },
                { CALLERS(PEER(", \"model_digests\": [\"" HEX96 "\"]")), "must be sha384: and 96 hex digits" },
                { CALLERS(PEER(", \"model_digests\": [\"sha384:" HEX96 "\\u0000\"]")),
                  "must be sha384: and 96 hex digits" },
                { CALLERS(PEER(", \"root\": \"root.pem\"")), "is not the absolute path of a file" },
                { CALLERS(PEER(", \"reference\": {}")), "unknown key \"callers.peers[0].reference\"" },
                { "{" ANYBODY ", \"paths\": {}, " UPSTREAM "}", "lets nothing through" },
                { "{" ANYBODY ", \"paths\": {\"server\": \"tgi\"}, " UPSTREAM "}", "there is no list for \"tgi\"" },
                { ALSO("{}"), "\"paths.also[0].methods\" is missing" },
                { ALSO("{\"methods\": [\"GET\"]}"), "must have one of \"path\" and \"prefix\"" },
                { ALSO("{\"path\": \"/a\", \"prefix\": \"/a/\", \"methods\": [\"GET\"]}"), "must have one of" },
                { ALSO("{\"path\": \"/a\", \"methods\": []}"), "a list of 1 to 7 methods" },
                { ALSO("{\"path\": \"/a\", \"methods\": [\"get\"]}"), "is none of GET" },
                { ALSO("{\"path\": \"/a\", \"methods\": [\"CONNECT\"]}"), "is none of GET" },
                { ALSO("{\"path\": \"/a\", \"methods\": [\"GET\\u0000\"]}"), "is none of GET" },
                { MORE("\"port\": 0"), "expected 1 to 65535" },
                { MORE("\"port\": \"443\""), "must be 1 to 65535, not string" },
                { MORE("\"limits\": {\"body_bytes\": 0}"), "expected 1 to" },
                { MORE("\"limits\": {\"body\": 1}"), "unknown key \"limits.body\"" },
                { MORE("\"limits\": {\"attestations_per_minute\": 6001}"), "expected 1 to 6000" },
                { MORE("\"report\": \"report.json\""), "is not the absolute path of a file" },
                { MORE("\"tcti\": \"device:\\n\""), "has control characters" },
                { "{" ANYBODY ", " PATHS ", \"upstream\": \"127.0.0.1\"}", "expected unix:/PATH or 127.0.0.1:PORT" },
                { "{" ANYBODY ", " PATHS ", \"upstream\": \"127.0.0.1:0\"}", "expected unix:/PATH or 127.0.0.1:PORT" },
                { "{" ANYBODY ", " PATHS ", \"upstream\": \"127.0.0.1:65536\"}",
                  "expected unix:/PATH or 127.0.0.1:PORT" },
                { "{" ANYBODY ", " PATHS ", \"upstream\": \"127.0.0.1:80;\"}",
                  "expected unix:/PATH or 127.0.0.1:PORT" },
                { "{" ANYBODY ", " PATHS ", \"upstream\": \"10.0.0.1:80\"}", "expected unix:/PATH or 127.0.0.1:PORT" },
                { "{" ANYBODY ", " PATHS ", \"upstream\": \"http://127.0.0.1:80\"}",
                  "expected unix:/PATH or 127.0.0.1:PORT" },
                { "{" ANYBODY ", " PATHS ", \"upstream\": \"unix:run/x\"}", "is not the absolute path of a file" },
                { "{" ANYBODY ", " PATHS ", \"upstream\": \"unix:/run/x;}\"}", "has a character that is not" },
                { "{" ANYBODY ", " PATHS ", \"upstream\": \"unix:/run/x y\"}", "has a character that is not" },
        };
        /* clang-format on */

        (void) state;
        for (size_t i = 0; i < ELEMENTS(table); i++) {
                _cleanup_gate_config_ struct gate_config *c = NULL;
                struct error e = {};

                assert_refused(parse(table[i].text, &c, &e), &e, FAILURE_CONFIG, table[i].words);
                assert_null(c);
        }
}

static void test_paths_that_cannot_be_listed(void **state) {
        static const struct {
                const char *path;
                bool is_prefix;
                const char *words;
        } table[] = {
                { "", false, "does not begin with a slash" },
                { "v1", false, "does not begin with a slash" },
                { "//v1", false, "has an empty segment" },
                { "/v1//models", false, "has an empty segment" },
                { "/v1/../slots", false, "the segment . or .." },
                { "/v1/..", false, "the segment . or .." },
                { "/./v1", false, "the segment . or .." },
                { "/v1/%2e", false, "has a character" },
                { "/v1;x", false, "has a character" },
                { "/v1 x", false, "has a character" },
                { "/v1\n", false, "has a character" },
                { "/v1$uri", false, "has a character" },
                { "/v1?a=b", false, "has a character" },
                { "/v1{", false, "has a character" },
                { "/v1\xc3\xa9", false, "has a character" },
                { "/authorize", false, "belongs to the gate" },
                { "/_sealboot_authorize", false, "belongs to the gate" },
                { "/.well-known/sealboot/requests", false, "belongs to the gate" },
                { "/.well-known/", true, "covers paths that belong to the gate" },
                { "/", true, "would let every path through" },
                { "/ui", true, "does not end with a slash" },
        };
        _cleanup_allow_list_ struct allow_list l = {};
        char long_path[300] = "/";
        struct error e = {};

        (void) state;
        for (size_t i = 0; i < ELEMENTS(table); i++)
                assert_refused(allow_list_add(&l, table[i].path, table[i].is_prefix, METHOD_GET, &e), &e,
                               FAILURE_CONFIG, table[i].words);
        memset(long_path + 1, 'a', sizeof long_path - 2);
        assert_refused(allow_list_add(&l, long_path, false, METHOD_GET, &e), &e, FAILURE_CONFIG, "is longer than 200");
        assert_ok(allow_list_add(&l, "/a", false, METHOD_GET, &e), &e);
        assert_refused(allow_list_add(&l, "/a", false, METHOD_POST, &e), &e, FAILURE_CONFIG, "is listed twice");
        assert_int_equal(l.n, 1);
}

static void test_find(void **state) {
        _cleanup_allow_list_ struct allow_list l = {};
        struct error e = {};

        (void) state;
        assert_ok(allow_list_add(&l, "/ui/", true, METHOD_GET, &e), &e);
        assert_ok(allow_list_add(&l, "/ui/api/", true, METHOD_POST, &e), &e);
        assert_ok(allow_list_add(&l, "/ui/api/exact", false, METHOD_PUT, &e), &e);
        assert_int_equal(allow_list_find(&l, "/ui/")->methods, METHOD_GET);
        assert_int_equal(allow_list_find(&l, "/ui/x")->methods, METHOD_GET);
        assert_int_equal(allow_list_find(&l, "/ui/api/x")->methods, METHOD_POST);
        assert_int_equal(allow_list_find(&l, "/ui/api/exact")->methods, METHOD_PUT);
        assert_null(allow_list_find(&l, "/ui"));
        assert_null(allow_list_find(&l, ""));
        assert_null(allow_list_find(&l, "/"));
        assert_null(allow_list_find(&l, "/UI/"));
        assert_null(allow_list_find(&l, "/ui/../slots"));
        assert_null(allow_list_find(&l, "/ui//slots"));
}

/* What no ready-made list may ever hold. */
static void test_ready_made_lists(void **state) {
        static const char *const servers[] = { "llama-server", "ollama", "vllm" };
        static const char *const forbidden[] = {
                "/slots",
                "/slots/0",
                "/metrics",
                "/lora-adapters",
                "/debug/pprof/",
                "/api/push",
                "/api/pull",
                "/api/create",
                "/api/copy",
                "/api/delete",
                "/api/blobs/x",
                "/api/me",
                "/scale_elastic_ep",
                "/sleep",
                "/wake_up",
                "/docs",
                "/openapi.json",
                "/reset_prefix_cache",
                "/load",
                "/models/load",
                "/v1/responses/1",
                "/start_profile",
                "/cors-proxy",
                "/tools",
                "/invocations",
                "/v1/load_lora_adapter",
                "/authorize",
                "/models/unload",
                "/api/ps",
        };

        (void) state;
        for (size_t i = 0; i < ELEMENTS(servers); i++) {
                _cleanup_allow_list_ struct allow_list l = {};
                struct error e = {};

                assert_ok(allow_list_add_server(&l, servers[i], &e), &e);
                for (size_t k = 0; k < ELEMENTS(forbidden); k++)
                        if (allow_list_find(&l, forbidden[k]))
                                fail_msg("%s lets %s through", servers[i], forbidden[k]);
                assert_int_equal(allow_list_find(&l, "/v1/chat/completions")->methods, METHOD_POST);
                assert_int_equal(allow_list_find(&l, "/v1/models")->methods, METHOD_GET);
        }
}

static void test_nginx(void **state) {
        static const char text[] =
                "{\"callers\": {\"anybody\": true}, \"paths\": {\"also\": [{\"path\": \"/v1/a\", "
                "\"methods\": [\"POST\", \"GET\"]}, {\"prefix\": \"/ui/\", \"methods\": [\"GET\"]}]},"
                "\"upstream\": \"unix:/run/s.sock\", \"port\": 4443}";
        static const char *const wanted[] = {
                "listen 4443 ssl http2 default_server;",
                "listen [::]:4443 ssl http2 default_server ipv6only=on;",
                "ssl_protocols TLSv1.3;",
                "ssl_certificate_key /d/key.pem;",
                "location = /v1/a {",
                "if ($request_method !~ \"^(GET|POST)$\")",
                "proxy_pass http://sealboot_server/v1/a;",
                "location /ui/ {",
                "location = /ui {",
                "server unix:/run/s.sock;",
                "server unix:/d/gate.sock;",
                "client_max_body_size 16777216;",
                "ssl_verify_client off;",
        };
        _cleanup_gate_config_ struct gate_config *c = NULL;
        _cleanup_free_ char *printed = NULL;
        struct error e = {};
        size_t size;
        FILE *f;

        (void) state;
        assert_ok(parse(text, &c, &e), &e);
        f = open_memstream(&printed, &size);
        assert_non_null(f);
        nginx_print(f, c, "/d");
        assert_int_equal(fclose(f), 0);
        for (size_t i = 0; i < ELEMENTS(wanted); i++)
                if (!strstr(printed, wanted[i]))
                        fail_msg("nginx's configuration lacks: %s", wanted[i]);
        assert_non_null(strstr(printed, "limit_conn addresses 1024;"));
}

static void test_example_is_valid(void **state) {
        _cleanup_gate_config_ struct gate_config *c = NULL;
        _cleanup_free_ uint8_t *text = NULL;
        struct error e = {};
        size_t n;

        (void) state;
        text = read_fixture("../units/gate.json.example", &n);
        assert_ok(gate_config_parse((char *) text, n, "gate.json.example", &c, &e), &e);
        assert_int_equal(c->n_callers, 1);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_everything),
                cmocka_unit_test(test_defaults),
                cmocka_unit_test(test_what_is_refused),
                cmocka_unit_test(test_paths_that_cannot_be_listed),
                cmocka_unit_test(test_find),
                cmocka_unit_test(test_ready_made_lists),
                cmocka_unit_test(test_nginx),
                cmocka_unit_test(test_example_is_valid),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
