/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include <openssl/evp.h>

#include "basic/encode.h"
#include "fixture.h"
#include "measure/event-types.h"
#include "replay/cel.h"
#include "replay/check.h"
#include "replay/eventlog.h"
#include "replay/replay.h"

/* A header for one algorithm, SHA-256, and one event. */
#define ZERO4 "\0\0\0\0"
#define ZERO20 ZERO4 ZERO4 ZERO4 ZERO4 ZERO4
#define SPEC "Spec ID Event03\0" ZERO4 "\0\2\0\2"
#define START ZERO4 "\3\0\0\0" ZERO20
#define ONE "\1\0\0\0"
#define SHA256 "\x0b\0\x20\0"
#define HEADER2 \
        START "\x25\0\0\0" SPEC "\2\0\0\0" SHA256 "\x0c\0\x30\0" \
              "\0"
#define HEADER START "\x21\0\0\0" SPEC ONE SHA256 "\0"
#define ACTION \
        "\4\0\0\0" \
        "\7\0\0\x80"
#define D32 "0123456789abcdef0123456789abcdef"
#define EVENT \
        ACTION ONE "\x0b\0" D32 "\2\0\0\0" \
                   "hi"

struct input {
        const char *bytes;
        size_t size;
};
#define BYTES(literal) \
        { literal, sizeof literal - 1 }

static void test_refuses(void **state _unused_) {
        static const struct {
                struct input input;
                const char *words;
        } cases[] = {
                { BYTES(""), "its first event is cut short" },
                { BYTES(START "\x22\0\0\0" SPEC ONE SHA256 "\0"), "first event is cut short" },
                { BYTES("\1\0\0\0"
                        "\3\0\0\0" ZERO20 "\x21\0\0\0" SPEC ONE SHA256 "\0"),
                  "not a crypto-agile" },
                { BYTES(ZERO4 "\4\0\0\0" ZERO20 "\x21\0\0\0" SPEC ONE SHA256 "\0"), "not a crypto-agile" },
                { BYTES(START "\x10\0\0\0"
                              "Spec ID Event02\0"),
                  "not a crypto-agile" },
                { BYTES(START "\x18\0\0\0" SPEC), "names no digest algorithms" },
                { BYTES(START "\x1c\0\0\0" SPEC ZERO4), "names no digest algorithms" },
                { BYTES(START "\x1c\0\0\0" SPEC "\xff\xff\xff\xff"), "names no digest algorithms, or more" },
                { BYTES(START "\x1c\0\0\0" SPEC ONE), "list of digest algorithms is cut short" },
                { BYTES(START "\x21\0\0\0" SPEC ONE "\x0b\0\x21\0"
                              "\0"),
                  "0x000b have 33 bytes" },
                { BYTES(START "\x21\0\0\0" SPEC ONE "\x77\0\0\0"
                              "\0"),
                  "0x0077 have 0 bytes" },
                { BYTES(START "\x21\0\0\0" SPEC ONE "\x77\0\x20\0"
                              "\0"),
                  "no digests of an algorithm we know" },
                { BYTES(START "\x25\0\0\0" SPEC "\2\0\0\0" SHA256 SHA256 "\0"), "0x000b twice" },
                { BYTES(START "\x21\0\0\0" SPEC ONE SHA256 "\1"), "first event has a wrong size" },
                { BYTES(START "\x20\0\0\0" SPEC ONE SHA256), "first event has a wrong size" },
                { BYTES(HEADER ACTION "\2\0\0\0"
                                      "\x0b\0" D32 "\x0b\0" D32 ZERO4),
                  "header does not list, or one twice" },
                { BYTES(HEADER2 ACTION "\2\0\0\0"
                                       "\x0b\0" D32 "\x0b\0" D32 ZERO4),
                  "header does not list, or one twice" },
                { BYTES(HEADER ACTION ONE "\x0c\0" D32 ZERO4), "header does not list" },
                { BYTES(HEADER ACTION "\2\0\0\0"
                                      "\x0b\0" D32),
                  "header does not list" },
                { BYTES(HEADER EVENT ZERO4 ZERO4 ZERO4 "\0\0\0"), "event 2, which starts at byte" },
                { BYTES(HEADER EVENT "\0"
                                     "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"),
                  "event 2, which" },
                { BYTES(HEADER "\x18\0\0\0"
                               "\7\0\0\x80"
                               "\1\0\0\0"
                               "\x0b\0" D32 ZERO4),
                  "is for PCR24" },
                { BYTES(HEADER EVENT ACTION ONE "\x0b\0" D32 "\xff\xff\xff\xff"), "event 2, which starts at byte" },
                { BYTES(HEADER EVENT "\0"), "event 2, which starts at byte" },
        };

        for (size_t i = 0; i < ELEMENTS(cases); i++) {
                struct event_log l = {};
                struct error e = {};

                assert_refused(eventlog_parse(cases[i].input.bytes, cases[i].input.size, "t", &l, &e), &e,
                               FAILURE_EVENT_LOG, cases[i].words);
                assert_null(l.events);
        }
}

static void test_reads(void **state _unused_) {
        static const char log[] = HEADER EVENT;
        _cleanup_event_log_ struct event_log l = {};
        struct error e = {};

        assert_ok(eventlog_parse(log, sizeof log - 1, "t", &l, &e), &e);
        assert_int_equal(l.n, 1);
        assert_int_equal(l.n_banks, 1);
        assert_string_equal(l.banks[0]->name, "sha256");
        assert_int_equal(l.events[0].pcr, 4);
        assert_int_equal(l.events[0].type, EV_EFI_ACTION);
        assert_string_equal(l.events[0].type_name, "EV_EFI_ACTION");
        assert_string_equal(l.events[0].text, "\"hi\"");
        assert_memory_equal(log_event_digest(&l.events[0], l.banks[0]), D32, 32);
        assert_null(log_event_digest(&l.events[0], pcr_algorithm_named("sha384")));
}

/* The header lists the algorithms that can appear. What an event lacks makes its PCR unknown in that bank, and no
 * other. */
static void test_fewer_digests_than_the_header_lists(void **state _unused_) {
        static const char log[] = HEADER2 EVENT "\5\0\0\0"
                                                "\7\0\0\x80" ONE "\x0c\0" D32 "0123456789abcdef"
                                                "\2\0\0\0"
                                                "hi"
                                                "\6\0\0\0"
                                                "\7\0\0\x80" ZERO4 ZERO4;
        static const struct {
                const char *bank;
                uint32_t unknown;
                size_t lacking;
        } cases[] = { { "sha256", 1 << 5 | 1 << 6, 2 }, { "sha384", 1 << 4 | 1 << 6, 2 } };
        _cleanup_event_log_ struct event_log l = {};
        struct error e = {};

        assert_ok(eventlog_parse(log, sizeof log - 1, "t", &l, &e), &e);
        assert_int_equal(l.n, 3);
        assert_int_equal(l.n_banks, 2);
        for (size_t i = 0; i < ELEMENTS(cases); i++) {
                struct replay r;

                assert_string_equal(l.banks[i]->name, cases[i].bank);
                assert_int_equal(event_log_lacking(&l, l.banks[i]), cases[i].lacking);
                replay_start(&r, l.banks[i], 0);
                for (size_t j = 0; j < l.n; j++)
                        assert_ok(replay_event(&r, &l.events[j], &e), &e);
                assert_int_equal(r.unknown, cases[i].unknown);
        }
}

/* A copy of all the memory that firmware keeps the log in has more than the log. */
static void test_filling_behind_the_log(void **state _unused_) {
        static const char *const fillings[] = { ZERO20,
                                                "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff" };

        for (size_t i = 0; i < ELEMENTS(fillings); i++) {
                char log[sizeof(HEADER EVENT) - 1 + 16] = HEADER EVENT;
                _cleanup_event_log_ struct event_log l = {};
                struct error e = {};

                memcpy(log + sizeof log - 16, fillings[i], 16);
                assert_ok(eventlog_parse(log, sizeof log, "t", &l, &e), &e);
                assert_int_equal(l.n, 1);
        }
}

/* Nothing extended: every bank of the header leads to zeros. */
static void test_header_alone(void **state _unused_) {
        _cleanup_event_log_ struct event_log l = {};
        struct error e = {};

        assert_ok(eventlog_parse(HEADER2, sizeof(HEADER2) - 1, "t", &l, &e), &e);
        assert_int_equal(l.n, 0);
        assert_int_equal(l.n_banks, 2);
}

static void test_startup_locality(void **state _unused_) {
        static const char log[] = HEADER ZERO4 "\3\0\0\0"
                                               "\1\0\0\0"
                                               "\x0b\0" D32 "\x11\0\0\0"
                                               "StartupLocality\0"
                                               "\3";
        _cleanup_event_log_ struct event_log l = {};
        struct error e = {};
        struct replay r;

        assert_ok(eventlog_parse(log, sizeof log - 1, "t", &l, &e), &e);
        assert_false(l.events[0].extended);
        replay_start(&r, l.banks[0], l.locality);
        assert_ok(replay_event(&r, &l.events[0], &e), &e);
        assert_int_equal(r.pcr[0][31], 3);
        assert_int_equal(r.pcr[0][0], 0);
        assert_int_equal(r.pcr[17][0], 0xff);
        assert_int_equal(r.touched, 0);
}

/* UEFI_VARIABLE_DATA: a GUID, one character of name, two bytes of value. */
#define VARIABLE \
        "0123456789abcdef" \
        "\1\0\0\0\0\0\0\0" \
        "\2\0\0\0\0\0\0\0" \
        "X\0" \
        "no"

/* What an event says is vouched for where its digest is of it; firmware and shim differ in which bytes those are. */
static void test_checks_words_against_digests(void **state _unused_) {
        static const struct {
                uint32_t type;
                struct input said, measured;
                enum text_is expected;
        } cases[] = {
                { EV_SEPARATOR, BYTES("\0\0\0\0"), BYTES("\0\0\0\0"), TEXT_MEASURED },
                { EV_SEPARATOR, BYTES("\0\0\0\0"), BYTES("\1\0\0\0"), TEXT_NOT_MEASURED },
                { EV_EFI_ACTION, BYTES("on"), BYTES("on"), TEXT_MEASURED },
                { EV_EFI_ACTION, BYTES("on"), BYTES("off"), TEXT_NOT_MEASURED },
                { EV_EFI_GPT_EVENT, BYTES("a"), BYTES("b"), TEXT_NOT_MEASURED },
                { EV_IPL, BYTES("a"), BYTES("a"), TEXT_MEASURED },
                { EV_IPL, BYTES(".linux"), BYTES("a kernel"), TEXT_UNCHECKED },
                { EV_EFI_BOOT_SERVICES_APPLICATION, BYTES("a path"), BYTES("an image"), TEXT_UNCHECKED },
                { EV_NO_ACTION, BYTES("a"), BYTES("b"), TEXT_UNCHECKED },
                { EV_EFI_VARIABLE_DRIVER_CONFIG, BYTES(VARIABLE), BYTES(VARIABLE), TEXT_MEASURED },
                { EV_EFI_VARIABLE_DRIVER_CONFIG, BYTES(VARIABLE), BYTES("no"), TEXT_NOT_MEASURED },
                { EV_EFI_VARIABLE_BOOT, BYTES(VARIABLE), BYTES("no"), TEXT_MEASURED },
                { EV_EFI_VARIABLE_BOOT2, BYTES(VARIABLE), BYTES("no"), TEXT_NOT_MEASURED },
                { EV_EFI_VARIABLE_AUTHORITY, BYTES(VARIABLE "\0\0\0\0\0\0"), BYTES(VARIABLE "\0\0\0\0\0"),
                  TEXT_MEASURED },
                { EV_EFI_VARIABLE_AUTHORITY, BYTES(VARIABLE "\0\0\0\0\0\0"), BYTES(VARIABLE), TEXT_MEASURED },
                { EV_EFI_VARIABLE_AUTHORITY, BYTES(VARIABLE "\0\0"), BYTES("0123456789abcdef"), TEXT_NOT_MEASURED },
                { EV_EFI_VARIABLE_AUTHORITY, BYTES("0123456789abcdef"), BYTES("x"), TEXT_NOT_MEASURED },
                { EV_EFI_VARIABLE_AUTHORITY,
                  BYTES("0123456789abcdef"
                        "\xff\xff\xff\xff\xff\xff\xff\xff" ZERO4 ZERO4),
                  BYTES("x"), TEXT_NOT_MEASURED },
        };

        for (size_t i = 0; i < ELEMENTS(cases); i++) {
                struct log_event event = {
                        .type = cases[i].type,
                        .extended = cases[i].type != EV_NO_ACTION,
                        .n_digests = 2,
                };

                for (size_t j = 0; j < 2; j++) {
                        event.digests[j].algorithm = pcr_algorithm_named(j ? "sha384" : "sha256");
                        EVP_Q_digest(NULL, event.digests[j].algorithm->name, NULL, cases[i].measured.bytes,
                                     cases[i].measured.size, event.digests[j].value, NULL);
                }
                event_check(&event, cases[i].said.bytes, cases[i].said.size);
                assert_int_equal(event.text_is, cases[i].expected);
                event.digests[1].value[47] ^= 1; /* one bank that differs is enough */
                event_check(&event, cases[i].said.bytes, cases[i].said.size);
                assert_int_not_equal(event.text_is, TEXT_MEASURED);
        }
}

/* A log cut between two events is a shorter log; cut anywhere else it is refused. */
static void test_truncated_at_every_byte(void **state _unused_) {
        _cleanup_event_log_ struct event_log whole = {};
        _cleanup_free_ uint8_t *data = NULL;
        struct error e = {};
        size_t n, accepted = 0;

        data = read_fixture("fixtures/measure/debian13-sb-addon.log", &n);
        assert_ok(eventlog_parse(data, n, "t", &whole, &e), &e);
        for (size_t i = 0; i <= n; i++) {
                _cleanup_event_log_ struct event_log l = {};
                _cleanup_free_ uint8_t *exact = malloc(i + 1);

                memcpy(exact, data, i);
                if (eventlog_parse(exact, i, "t", &l, &e) == 0)
                        assert_int_equal(l.n, accepted++);
                else
                        assert_int_equal(e.failure, FAILURE_EVENT_LOG);
        }
        assert_int_equal(accepted, whole.n + 1);
}

/* --- CEL ---------------------------------------------------------------------------------------------------------- */

#define HEX64 "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
#define DIGEST "{\"hashAlg\":\"sha256\",\"digest\":\"" HEX64 "\"}"
#define DIGESTS "\"digests\":[" DIGEST "]"
#define CONTENT "\"content_type\":\"systemd\",\"content\":{\"string\":\"x\"}"
#define FIRMWARE "\"content_type\":\"pcclient_std\",\"content\":"
#define RECORD(pcr) "{\"pcr\":" pcr "," DIGESTS "," CONTENT "}"

static void test_cel_accepts(void **state _unused_) {
        static const struct {
                const char *text;
                size_t n;
        } cases[] = {
                { "", 0 },
                { "\n\n", 0 },
                { RECORD("11"), 1 },
                { "\x1e" RECORD("11") "\n\x1e" RECORD("15") "\n", 2 },
                { RECORD("11") "\n" RECORD("15") "\n", 2 },
                { "[" RECORD("11") "," RECORD("15") "]", 2 },
                { " \n[]", 0 },
                { "[ ] \n", 0 },
                { "[ " RECORD("11") " ,\n" RECORD("15") " ]\n", 2 },
                { "[{\"pcr\":4," DIGESTS ",\"content_type\":\"a]\\\",}\",\"content\":{\"x\":[{},[]]}}]", 1 },
                { "{\"recnum\":0,\"pcr\":0," DIGESTS "," CONTENT "}\n{\"recnum\":7,\"pcr\":23," DIGESTS "," CONTENT "}",
                  2 },
                { "{\"pcr\":4," DIGESTS "," FIRMWARE "{\"event_type\":13,\"event_data\":\"6869\"}}", 1 },
                { "{\"pcr\":4,\"digests\":[{\"hashAlg\":\"sm3\",\"digest\":\"x\"}," DIGEST "]," CONTENT "}", 1 },
                { "{\"pcr\":4,\"digests\":[{\"hashAlg\":\"SHA256\",\"digest\":\"" HEX64 "\"}]," CONTENT "}", 1 },
                { "\xef\xbb\xbf" RECORD("11") "\r\n" RECORD("15") "\r\n", 2 },
                { "\xef\xbb\xbf\x1e" RECORD("11") "\r\n\x1e" RECORD("15") "\r\n", 2 },
                { "{\n \"pcr\": 4,\n" DIGESTS ",\n" CONTENT "\n}\n{\n\"pcr\": 5," DIGESTS "}\n", 2 },
                { "{\"pcr\":4," DIGESTS "}", 1 },
                { "{\"pcr\":4," DIGESTS ",\"content_type\":\"systemd\"}", 1 },
                { "{\"pcr\":4," DIGESTS ",\"content_type\":\"new\",\"content\":[\"x\"]}", 1 },
                { "{\"pcr\":4," DIGESTS "," FIRMWARE "{\"event_type\":\"EV_IPL\",\"event_data\":\"6869\"}}", 1 },
                { RECORD("11") "\n{\"nv_index\":25166881," DIGESTS "," CONTENT "}\n{\"rtmr\":2," DIGESTS "}\n", 3 },
                { "[" RECORD("11") ",{\"nv_index\":\"01800421\"," DIGESTS "," CONTENT "}]", 2 },
        };

        for (size_t i = 0; i < ELEMENTS(cases); i++) {
                _cleanup_event_log_ struct event_log l = {};
                struct error e = {};

                assert_ok(cel_parse(cases[i].text, strlen(cases[i].text), "t", &l, &e), &e);
                assert_int_equal(l.n, cases[i].n);
                if (l.n > 0) {
                        assert_int_equal(l.n_banks, 1);
                        assert_non_null(log_event_digest(&l.events[0], pcr_algorithm_named("sha256")));
                }
        }
}

static void test_cel_refuses(void **state _unused_) {
        static const struct {
                const char *text, *words;
        } cases[] = {
                { "{", "record 1: it is not valid JSON" },
                { "nonsense", "record 1: it is not valid JSON" },
                { "[" RECORD("11") ","
                                   "1]",
                  "record 2: it is not valid JSON" },
                { "[" RECORD("11") ",[]]", "record 2 is not an object" },
                { "[" RECORD("11") ",]", "record 2: it is not valid JSON" },
                { "[,]", "record 1: it is not valid JSON" },
                { "[" RECORD("11") " " RECORD("12") "]", "record 1: it is not valid JSON" },
                { "[", "array of records is cut short" },
                { "[" RECORD("11") ",", "array of records is cut short" },
                { "[" RECORD("11"), "array of records is cut short" },
                { "[{\"pcr\":\"]", "array of records is cut short" },
                { "[" RECORD("11") "}", "array of records is cut short" },
                { "[" RECORD("11") "],", "something follows its array" },
                { RECORD("11") RECORD("11"), "record 1: it is not valid JSON" },
                { RECORD("11") "\n" RECORD("24"), "record 2 names no PCR" },
                { RECORD("-1"), "names no PCR" },
                { RECORD("\"4\""), "names no PCR" },
                { "{" CONTENT "}", "names no PCR" },
                { "{\"nv_index\":25166881," CONTENT "}", "names no PCR" },
                { "{\"nv_index\":25166881,\"digests\":{}}", "\"digests\"" },
                { "{\"pcr\":4," CONTENT "}", "\"digests\"" },
                { "{\"pcr\":4,\"digests\":{}," CONTENT "}", "\"digests\"" },
                { "{\"pcr\":4,\"digests\":[{\"hashAlg\":\"sha256\"}]," CONTENT "}", "\"digests\"" },
                { "{\"pcr\":4,\"digests\":[{\"hashAlg\":\"sha384\",\"digest\":\"" HEX64 "\"}]," CONTENT "}",
                  "\"digests\"" },
                { "{\"pcr\":4,\"digests\":[" DIGEST "," DIGEST "]," CONTENT "}", "\"digests\"" },
                { "{\"pcr\":4," DIGESTS "," FIRMWARE "{\"event_type\":13,\"event_data\":\"686\"}}", "\"content\"" },
                { RECORD("4,\"recnum\":1") "\n" RECORD("4,\"recnum\":1"), "does not count up" },
                { "{\"recnum\":-1,\"pcr\":4," DIGESTS "," CONTENT "}", "does not count up" },
                { "{\"pcr\":4,\"pcr\":5," DIGESTS "," CONTENT "}", "same key twice" },
        };

        for (size_t i = 0; i < ELEMENTS(cases); i++) {
                struct event_log l = {};
                struct error e = {};

                assert_refused(cel_parse(cases[i].text, strlen(cases[i].text), "t", &l, &e), &e, FAILURE_EVENT_LOG,
                               cases[i].words);
                assert_null(l.events);
        }
}

/* However the brackets are arranged, memory is bounded by what real records need. */
static void test_cel_bounds_a_record(void **state _unused_) {
        static const struct { const char *before, *after; } forms[] = { { "[", "]" }, { "", "" }, { "\x1e", "" } };
        enum { LIMIT = 256 * 1024 };

        for (size_t i = 0; i < ELEMENTS(forms); i++)
                for (size_t size = LIMIT; size <= LIMIT + 1; size++) {
                        _cleanup_free_ char *record = malloc(size + 1), *text = NULL;
                        struct event_log l = {};
                        struct error e = {};

                        memset(record, ' ', size);
                        record[0] = '{';
                        record[size - 1] = '}';
                        record[size] = 0;
                        assert_true(asprintf(&text, "%s%s%s", forms[i].before, record, forms[i].after) > 0);
                        assert_refused(cel_parse(text, strlen(text), "t", &l, &e), &e, FAILURE_EVENT_LOG,
                                       size > LIMIT ? "record 1 is larger than 256 KiB" : "record 1 names no PCR");
                }
}

/* What is well-formed and not known is kept, extends nothing that can be computed, and makes no other PCR unknown. */
static void test_cel_records_of_other_kinds(void **state _unused_) {
        static const struct {
                const char *record, *type, *text;
                bool elsewhere;
                uint32_t unknown;
        } cases[] = {
                { "{\"nv_index\":25166881," DIGESTS
                  ",\"content_type\":\"systemd\",\"content\":{\"nvIndexName\":\"hardware\","
                  "\"string\":\"nvpcr:hardware\",\"eventType\":\"nvpcr-init\"}}",
                  "systemd nvpcr-init", "NV index 0x01800421 hardware: nvpcr:hardware", true, 0 },
                { "{\"nv_index\":\"01800421\"," DIGESTS "}", "unknown content", "NV index 01800421: ", true, 0 },
                { "{\"rtmr\":2," DIGESTS "}", "unknown content", "no PCR: ", true, 0 },
                { "{\"pcr\":4," DIGESTS ",\"content_type\":\"new\",\"content\":5}", "new", "", false, 0 },
                { "{\"pcr\":4," DIGESTS "," FIRMWARE "{\"event_type\":13,\"event_data\":\"6869\"}}", "EV_IPL", "\"hi\"",
                  false, 0 },
                { "{\"pcr\":4," DIGESTS "," FIRMWARE "{\"event_type\":\"EV_IPL\"}}", "EV_IPL", "\"\"", false, 0 },
                { "{\"pcr\":4," DIGESTS "," FIRMWARE "{\"event_type\":\"EV_NEW\"}}", "unknown event type", " (0 bytes)",
                  false, 1 << 4 },
                { "{\"pcr\":4," DIGESTS "," FIRMWARE "{}}", "unknown event type", " (0 bytes)", false, 1 << 4 },
                { "{\"pcr\":4,\"digests\":[]," CONTENT "}", "systemd", "x", false, 1 << 4 },
                { "{\"pcr\":4,\"digests\":[{\"hashAlg\":\"sm3_256\",\"digest\":\"00\"}]," CONTENT "}", "systemd", "x",
                  false, 1 << 4 },
        };

        for (size_t i = 0; i < ELEMENTS(cases); i++) {
                _cleanup_free_ char *text = NULL;
                _cleanup_event_log_ struct event_log l = {};
                struct error e = {};
                struct replay r;

                assert_true(asprintf(&text, "%s\n%s\n", cases[i].record, RECORD("15")) > 0);
                assert_ok(cel_parse(text, strlen(text), "t", &l, &e), &e);
                assert_int_equal(l.n, 2);
                assert_string_equal(l.events[0].type_name, cases[i].type);
                assert_string_equal(l.events[0].text, cases[i].text);
                assert_int_equal(l.events[0].elsewhere, cases[i].elsewhere);
                assert_int_equal(l.n_banks, 1);
                replay_start(&r, l.banks[0], 0);
                for (size_t j = 0; j < l.n; j++)
                        assert_ok(replay_event(&r, &l.events[j], &e), &e);
                assert_int_equal(r.unknown, cases[i].unknown);
                assert_int_equal(r.touched, 1 << 15 | (cases[i].elsewhere ? 0 : 1 << 4));
        }
}

/* A PCR whose events all have a digest of a bank is known in it. */
static void test_cel_common_banks(void **state _unused_) {
        static const char text[] =
                "{\"pcr\":4,\"digests\":[{\"hashAlg\":\"sha1\",\"digest\":"
                "\"0011223344556677889900112233445566778899\"}," DIGEST "]," CONTENT "}\n" RECORD("4");
        _cleanup_event_log_ struct event_log l = {};
        struct error e = {};
        struct replay r;

        assert_ok(cel_parse(text, strlen(text), "t", &l, &e), &e);
        assert_int_equal(l.n_banks, 2);
        assert_int_equal(event_log_lacking(&l, pcr_algorithm_named("sha1")), 1);
        assert_int_equal(event_log_lacking(&l, pcr_algorithm_named("sha256")), 0);
        replay_start(&r, pcr_algorithm_named("sha1"), 0);
        for (size_t i = 0; i < l.n; i++)
                assert_ok(replay_event(&r, &l.events[i], &e), &e);
        assert_int_equal(r.unknown, 1 << 4);
}

/* Texts are hostile: they reach a terminal. */
static void test_texts_are_printable(void **state _unused_) {
        static const char text[] = "{\"pcr\":4," DIGESTS ","
                                   "\"content_type\":\"\\u001b]0;\",\"content\":{\"string\":\"a\\u001b[2Jb\\nc\"}}";
        _cleanup_event_log_ struct event_log l = {};
        struct error e = {};

        assert_ok(cel_parse(text, strlen(text), "t", &l, &e), &e);
        assert_string_equal(l.events[0].text, "a?[2Jb?c");
        assert_string_equal(l.events[0].type_name, "?]0;");
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_refuses),
                cmocka_unit_test(test_reads),
                cmocka_unit_test(test_fewer_digests_than_the_header_lists),
                cmocka_unit_test(test_filling_behind_the_log),
                cmocka_unit_test(test_header_alone),
                cmocka_unit_test(test_startup_locality),
                cmocka_unit_test(test_checks_words_against_digests),
                cmocka_unit_test(test_truncated_at_every_byte),
                cmocka_unit_test(test_cel_accepts),
                cmocka_unit_test(test_cel_refuses),
                cmocka_unit_test(test_cel_bounds_a_record),
                cmocka_unit_test(test_cel_records_of_other_kinds),
                cmocka_unit_test(test_cel_common_banks),
                cmocka_unit_test(test_texts_are_printable),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
