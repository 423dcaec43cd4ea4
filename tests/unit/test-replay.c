/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include <openssl/evp.h>
#include <sys/stat.h>

#include "fixture.h"
#include "measure/event-types.h"
#include "measure/uefi.h"
#include "replay/comparison.h"
#include "replay/read.h"
#include "tree.h"

/* --- logs made by hand -------------------------------------------------------------------------------------------- */

struct event {
        unsigned pcr;
        uint32_t type;
        const char *text;
        const char *data; /* what the digest is of; NULL: there is no digest */
        enum text_is text_is;
};

static void add(struct event_log *l, const struct event *given, const char *bank) {
        struct log_event event = {
                .pcr = given->pcr,
                .type = given->type,
                .type_name = strdup(event_type_name(given->type)),
                .text = strdup(given->text),
                .text_is = given->text_is,
                .extended = given->type != EV_NO_ACTION,
        };
        struct error e = {};

        if (given->data) {
                event.digests[0].algorithm = pcr_algorithm_named(bank);
                EVP_Q_digest(NULL, bank, NULL, given->data, strlen(given->data), event.digests[0].value, NULL);
                event.n_digests = 1;
        }
        assert_ok(event_log_add(l, &event, "log", &e), &e);
}

/* Ends at an event without a text. */
static struct event_log log_of(const struct event *events, const char *bank) {
        struct event_log l = {};

        for (size_t i = 0; events[i].text; i++)
                add(&l, &events[i], bank);
        event_log_find_banks(&l);
        return l;
}

static const struct pcr_algorithm *sha384(void) {
        return pcr_algorithm_named("sha384");
}

static void value_of(const struct event *events, unsigned pcr, uint8_t ret[static PCR_DIGEST_MAX]) {
        _cleanup_event_log_ struct event_log l = log_of(events, "sha384");
        struct error e = {};
        struct replay r;

        assert_ok(replay_log(&l, sha384(), &r, &e), &e);
        memcpy(ret, r.pcr[pcr], PCR_DIGEST_MAX);
}

#define APPLICATION EV_EFI_BOOT_SERVICES_APPLICATION
#define CALLING \
        { PCR_IMAGE, EV_EFI_ACTION, "\"" UEFI_ACTION_CALLING "\"", UEFI_ACTION_CALLING, TEXT_MEASURED }
#define RETURNING \
        { PCR_IMAGE, EV_EFI_ACTION, "\"" UEFI_ACTION_RETURNING "\"", UEFI_ACTION_RETURNING, TEXT_MEASURED }
#define SEPARATOR(pcr) \
        { pcr, EV_SEPARATOR, "00000000 (4 bytes)", "sep", TEXT_MEASURED }
#define UKI(content) \
        { PCR_IMAGE, APPLICATION, "\\EFI\\BOOT\\BOOTX64.EFI", content, TEXT_UNCHECKED }
#define ADDON \
        { PCR_IMAGE, APPLICATION, "\\x.addon.efi", "addon", TEXT_UNCHECKED }
#define LINE(text) \
        { PCR_COMMAND_LINE, EV_IPL, text, text, TEXT_MEASURED }
#define DRIVER(content) \
        { PCR_DRIVERS, EV_EFI_BOOT_SERVICES_DRIVER, "driver PCI 03.0", content, TEXT_UNCHECKED }

/* --- reading ------------------------------------------------------------------------------------------------------ */

static void test_reads_either_kind_of_log(void **state _unused_) {
        static const char digests[] = "\"digests\":[]";
        static const char *const starts[] = { "{", "\x1e{", " {", "\n{", "\xef\xbb\xbf{" };
        struct error e = {};

        for (size_t i = 0; i < ELEMENTS(starts); i++) {
                _cleanup_event_log_ struct event_log l = {};
                _cleanup_free_ char *text = NULL;

                assert_true(asprintf(&text, "%s\"pcr\":4,%s}\n", starts[i], digests) > 0);
                assert_ok(event_log_parse(text, strlen(text), "t", &l, &e), &e);
                assert_int_equal(l.n, 1);
        }
        assert_refused(event_log_parse("\0\0\0\0", 4, "t", &(struct event_log) {}, &e), &e, FAILURE_EVENT_LOG,
                       "first event is cut short");
        assert_refused(event_log_parse("hello", 5, "t", &(struct event_log) {}, &e), &e, FAILURE_EVENT_LOG,
                       "first event is cut short");
        assert_refused(event_log_parse("", 0, "t", &(struct event_log) {}, &e), &e, FAILURE_EVENT_LOG,
                       "first event is cut short");
}

static void test_reads_files(void **state _unused_) {
        char root[] = "/tmp/sealboot-replay-XXXXXX", path[64];
        _cleanup_event_log_ struct event_log l = {};
        struct error e = {};

        assert_non_null(mkdtemp(root));
        snprintf(path, sizeof path, "%s/log", root);
        assert_refused(event_log_read(path, &l, &e), &e, FAILURE_IO, "cannot be opened");
        assert_false(event_log_is_unfinished(path));
        tree_write(root, "log", "{\"pcr\":4,\"digests\":[]}\n");
        assert_ok(event_log_read(path, &l, &e), &e);
        assert_string_equal(l.events[0].log, path);
        assert_false(event_log_is_unfinished(path));
        assert_int_equal(chmod(path, 01600), 0);
        assert_true(event_log_is_unfinished(path));
        tree_remove(root);
}

static void test_one_log_follows_the_other(void **state _unused_) {
        static const struct event firmware[] = { CALLING, UKI("a"), {} }, userspace[] = { LINE("x"), {} };
        _cleanup_event_log_ struct event_log l = log_of(firmware, "sha256"), more = log_of(userspace, "sha384");
        const struct log_event *found[1];
        struct error e = {};

        assert_ok(event_log_append(&l, &more, &e), &e);
        assert_int_equal(l.n, 3);
        assert_int_equal(more.n, 0);
        assert_int_equal(l.n_banks, 2);
        assert_int_equal(l.events[2].number, 1);
        assert_int_equal(event_log_of_pcr(&l, PCR_IMAGE, found, 1), 2); /* counts beyond the room */
        assert_ptr_equal(found[0], &l.events[0]);
        assert_int_equal(event_log_of_pcr(&l, PCR_MODEL, found, 1), 0);
}

/* --- replaying ---------------------------------------------------------------------------------------------------- */

static void test_chooses_a_bank(void **state _unused_) {
        static const struct event two[] = { UKI("a"), UKI("b"), {} }, one[] = { UKI("a"), {} }, none[] = { {} };
        static const struct {
                const struct event *sha1, *sha256, *sha384;
                const char *asked, *chosen, *words;
        } cases[] = {
                { two, two, two, NULL, "sha384", NULL },
                { two, two, one, NULL, "sha384", NULL },
                { one, two, none, NULL, "sha256", NULL },
                { two, one, none, NULL, "sha1", NULL },
                { two, one, none, "sha256", "sha256", NULL },
                { two, one, none, "sha384", NULL, "no digests of bank sha384" },
                { two, one, none, "nonsense", NULL, "no digests of bank nonsense" },
                { none, none, none, NULL, NULL, "the logs are empty" },
        };

        for (size_t i = 0; i < ELEMENTS(cases); i++) {
                _cleanup_event_log_ struct event_log l = log_of(cases[i].sha1, "sha1"),
                                                     b = log_of(cases[i].sha256, "sha256"),
                                                     c = log_of(cases[i].sha384, "sha384");
                const struct pcr_algorithm *bank = NULL;
                struct error e = {};

                assert_ok(event_log_append(&l, &b, &e), &e);
                assert_ok(event_log_append(&l, &c, &e), &e);
                if (cases[i].chosen) {
                        assert_ok(replay_choose_bank(&l, cases[i].asked, &bank, &e), &e);
                        assert_string_equal(bank->name, cases[i].chosen);
                } else
                        assert_refused(replay_choose_bank(&l, cases[i].asked, &bank, &e), &e,
                                       cases[i].asked ? FAILURE_USAGE : FAILURE_EVENT_LOG, cases[i].words);
        }
}

static void test_a_log_without_digests_has_no_bank(void **state _unused_) {
        static const struct event events[] = { { PCR_IMAGE, APPLICATION, "x", NULL, TEXT_UNCHECKED }, {} };
        _cleanup_event_log_ struct event_log l = log_of(events, "sha384");
        const struct pcr_algorithm *bank;
        struct error e = {};

        assert_refused(replay_choose_bank(&l, NULL, &bank, &e), &e, FAILURE_EVENT_LOG,
                       "no digest of any PCR that can be computed");
}

/* --- lists of events ---------------------------------------------------------------------------------------------- */

static size_t expected_of(const struct event_log *l, struct expected_event *out) {
        for (size_t i = 0; i < l->n; i++)
                out[i] = (struct expected_event) { l->events[i].pcr, l->events[i].type,
                                                   log_event_digest(&l->events[i], sha384()), l->events[i].text };
        return l->n;
}

static void test_compares_lists(void **state _unused_) {
        static const struct event base[] = { CALLING, SEPARATOR(PCR_IMAGE), UKI("a"), {} };
        static const struct event blank[] = { CALLING, RETURNING, CALLING, SEPARATOR(PCR_IMAGE), UKI("a"), {} };
        static const struct event addon[] = { CALLING, SEPARATOR(PCR_IMAGE), UKI("a"), ADDON, {} };
        static const struct event other[] = { CALLING, SEPARATOR(PCR_IMAGE), UKI("b"), {} };
        static const struct event unknown[] = {
                CALLING, SEPARATOR(PCR_IMAGE), { PCR_IMAGE, APPLICATION, "x", NULL, TEXT_UNCHECKED }, {}
        };
        static const struct event altered[] = {
                CALLING, SEPARATOR(PCR_IMAGE), { PCR_IMAGE, EV_EFI_ACTION, "\"fine\"", "bad", TEXT_NOT_MEASURED }, {}
        };
        static const struct event line[] = { LINE("quiet"), {} }, lines[] = { LINE("quiet"), LINE("init=/bin/sh"), {} };
        static const struct event label[] = { { PCR_COMMAND_LINE, EV_IPL, "\"x.cred\"", "y", TEXT_UNCHECKED }, {} };
        static const struct event driver[] = { DRIVER("a"), {} }, driver_b[] = { DRIVER("b"), {} }, nothing[] = { {} };
        static const struct {
                const struct event *have, *want;
                unsigned pcr;
                size_t event; /* its number; 0: none */
                const char *words;
        } cases[] = {
                { base, base, PCR_IMAGE, 0, NULL },
                { nothing, nothing, PCR_IMAGE, 0, NULL },
                { base, other, PCR_MODEL, 0, NULL },
                { blank, base, PCR_IMAGE, 2, "another boot option was tried first" },
                { base, blank, PCR_IMAGE, 0, "fewer boot options were tried than expected" },
                { addon, base, PCR_IMAGE, 4, "an addon was loaded: \\x.addon.efi" },
                { base, addon, PCR_IMAGE, 0, "an event is missing: \\x.addon.efi" },
                { other, base, PCR_IMAGE, 3, "is another UKI, or another build of it" },
                { unknown, base, PCR_IMAGE, 3, "cannot be compared: the log has no sha384 digest" },
                { base, unknown, PCR_IMAGE, 3, "cannot be compared: the other log has no sha384 digest" },
                { altered, base, PCR_IMAGE, 3, "the log was altered" },
                { line, nothing, PCR_COMMAND_LINE, 1, "a command line was appended: quiet" },
                { lines, line, PCR_COMMAND_LINE, 2, "a command line was appended: init=/bin/sh" },
                { nothing, line, PCR_COMMAND_LINE, 0, "a command line was expected and is missing: quiet" },
                { label, nothing, PCR_COMMAND_LINE, 1, "the kernel's configuration was added to" },
                { label, line, PCR_COMMAND_LINE, 1, "the kernel's configuration was added to in another way" },
                { driver, nothing, PCR_DRIVERS, 1, "a UEFI driver from outside the firmware ran before the image" },
                { nothing, driver, PCR_DRIVERS, 0, "a UEFI driver from outside the firmware was expected" },
                { driver_b, driver, PCR_DRIVERS, 1, "another UEFI driver from outside the firmware ran" },
        };

        for (size_t i = 0; i < ELEMENTS(cases); i++) {
                _cleanup_event_log_ struct event_log have = log_of(cases[i].have, "sha384"),
                                                     want = log_of(cases[i].want, "sha384");
                struct expected_event expected[8];
                size_t n = expected_of(&want, expected);
                struct difference d;
                struct error e = {};

                assert_ok(compare_events(&have, sha384(), cases[i].pcr, expected, n, &d, &e), &e);
                assert_int_equal(d.equal, !cases[i].words);
                if (cases[i].words && !strstr(d.meaning, cases[i].words))
                        fail_msg("expected \"%s\", got \"%s\"", cases[i].words, d.meaning);
                assert_int_equal(d.event ? d.event->number : 0, cases[i].event);
        }
}

/* By PCR11, which section of the image differs. */
static void test_names_the_sections_that_differ(void **state _unused_) {
#define SECTION(name, content) \
        { PCR_SECTIONS, EV_IPL, "\"" name "\"", name, TEXT_UNCHECKED }, { \
                PCR_SECTIONS, EV_IPL, "\"" name "\"", content, TEXT_UNCHECKED \
        }
        static const struct event want[] = { UKI("a"), SECTION(".linux", "1"), SECTION(".initrd", "2"), {} };
        static const struct {
                struct event have[6];
                const char *words;
        } cases[] = {
                { { UKI("b"), SECTION(".linux", "1"), SECTION(".initrd", "3") },
                  "; by PCR11 the .initrd section differs" },
                { { UKI("b"), SECTION(".linux", "9"), SECTION(".initrd", "3") },
                  "; by PCR11 the .linux, .initrd sections differ" },
                { { UKI("b"), SECTION(".linux", "1"), SECTION(".initrd", "2") },
                  "so the stub differs, or a section it does not measure" },
                { { UKI("b") }, "another build of it" },
        };
        _cleanup_event_log_ struct event_log good = log_of(want, "sha384");
        struct expected_event expected[8];
        size_t n = expected_of(&good, expected);

        for (size_t i = 0; i < ELEMENTS(cases); i++) {
                _cleanup_event_log_ struct event_log l = log_of(cases[i].have, "sha384");
                struct error e = {};
                struct difference d;
                size_t length;

                assert_ok(compare_events(&l, sha384(), PCR_IMAGE, expected, n, &d, &e), &e);
                length = strlen(d.meaning);
                if (length < strlen(cases[i].words) ||
                    !streq(d.meaning + length - strlen(cases[i].words), cases[i].words))
                        fail_msg("expected \"%s\", got \"%s\"", cases[i].words, d.meaning);
        }
#undef SECTION
}

/* --- values ------------------------------------------------------------------------------------------------------- */

static void test_explains_values(void **state _unused_) {
        static const struct event base[] = { CALLING, SEPARATOR(PCR_IMAGE), UKI("a"), {} };
        static const struct event blank[] = { CALLING, RETURNING, CALLING, SEPARATOR(PCR_IMAGE), UKI("a"), {} };
        static const struct event addon[] = { CALLING, SEPARATOR(PCR_IMAGE), UKI("a"), ADDON, {} };
        static const struct event other[] = { CALLING, SEPARATOR(PCR_IMAGE), UKI("b"), {} };
        static const struct event driver[] = { DRIVER("a"), {} }, driver_b[] = { DRIVER("b"), {} }, nothing[] = { {} };
        static const struct event model[] = { { PCR_MODEL, EV_IPL, "m", "m", TEXT_MEASURED }, {} };
        static const struct event model_b[] = { { PCR_MODEL, EV_IPL, "n", "n", TEXT_MEASURED }, {} };
        static const struct {
                const struct event *have, *leads_to;
                unsigned pcr;
                enum value_kind kind;
                size_t event;
                const char *words;
        } cases[] = {
                { base, base, PCR_IMAGE, VALUE_EXPECTED, 0, NULL },
                { base, base, PCR_IMAGE, VALUE_MEASURED, 0, NULL },
                { base, other, PCR_MODEL, VALUE_EXPECTED, 0, NULL },
                { blank, base, PCR_IMAGE, VALUE_EXPECTED, 2, "another boot option was tried first" },
                { base, blank, PCR_IMAGE, VALUE_EXPECTED, 0, "fewer boot options were tried than expected: there, 1" },
                { addon, base, PCR_IMAGE, VALUE_EXPECTED, 4, "an addon was loaded" },
                { addon, base, PCR_IMAGE, VALUE_MEASURED, 4, "the log tells of it, but it was not measured: an addon" },
                { base, addon, PCR_IMAGE, VALUE_MEASURED, 0, "the log does not lead to this value" },
                { base, other, PCR_IMAGE, VALUE_EXPECTED, 3, "an image differs, this one or a later one" },
                { driver, nothing, PCR_DRIVERS, VALUE_EXPECTED, 1, "a UEFI driver from outside the firmware ran" },
                { driver, driver_b, PCR_DRIVERS, VALUE_EXPECTED, 1, "a UEFI driver from outside the firmware differs" },
                { nothing, driver, PCR_DRIVERS, VALUE_EXPECTED, 0, "nothing was measured" },
                { model, model_b, PCR_MODEL, VALUE_EXPECTED, 1, "what was measured differs, from this event on" },
        };

        for (size_t i = 0; i < ELEMENTS(cases); i++) {
                _cleanup_event_log_ struct event_log l = log_of(cases[i].have, "sha384");
                uint8_t value[PCR_DIGEST_MAX];
                struct difference d;
                struct error e = {};

                value_of(cases[i].leads_to, cases[i].pcr, value);
                assert_ok(compare_value(&l, sha384(), cases[i].pcr, value, cases[i].kind, &d, &e), &e);
                assert_int_equal(d.equal, !cases[i].words);
                if (cases[i].words && !strstr(d.meaning, cases[i].words))
                        fail_msg("expected \"%s\", got \"%s\"", cases[i].words, d.meaning);
                assert_int_equal(d.event ? d.event->number : 0, cases[i].event);
        }
}

/* An event without a digest makes the value unknown, and too many events make the search too long. */
static void test_values_that_cannot_be_explained(void **state _unused_) {
        static const struct event unknown[] = { { PCR_IMAGE, APPLICATION, "x", NULL, TEXT_UNCHECKED }, {} };
        _cleanup_event_log_ struct event_log l = log_of(unknown, "sha384"), many = {};
        const uint8_t value[PCR_DIGEST_MAX] = { 1 };
        struct difference d;
        struct error e = {};

        assert_ok(compare_value(&l, sha384(), PCR_IMAGE, value, VALUE_EXPECTED, &d, &e), &e);
        assert_string_equal(d.meaning, "the log lacks sha384 digests for this PCR");
        for (size_t i = 0; i <= 64; i++)
                add(&many, &(struct event) UKI("a"), "sha384");
        assert_ok(compare_value(&many, sha384(), PCR_IMAGE, value, VALUE_EXPECTED, &d, &e), &e);
        assert_non_null(strstr(d.meaning, "too many events"));
}

/* The value of Secure Boot off is found in a log of Secure Boot on, whichever entry of db authorised the image. */
static void test_finds_a_secure_boot_setting(void **state _unused_) {
        _cleanup_event_log_ struct event_log l = {};
        _cleanup_free_ uint8_t *data = NULL;
        struct difference d;
        struct error e = {};
        struct replay off;
        size_t n;

        data = read_fixture("fixtures/measure/debian13-sb.log", &n);
        assert_ok(event_log_parse(data, n, "log", &l, &e), &e);
        replay_start(&off, sha384(), l.locality);
        for (size_t i = 0; i < l.n; i++) {
                struct log_event *event = &l.events[i];
                struct log_event changed = *event;
                uint8_t variable[UEFI_VARIABLE_HEAD_MAX + 1];
                size_t size;

                if (event->type == EV_EFI_VARIABLE_AUTHORITY)
                        continue;
                if (event->pcr == PCR_SECURE_BOOT && strstr(event->text, "SecureBoot")) {
                        size = uefi_variable_head("SecureBoot", 1, variable);
                        variable[size++] = 0;
                        for (size_t j = 0; j < changed.n_digests; j++)
                                EVP_Q_digest(NULL, changed.digests[j].algorithm->name, NULL, variable, size,
                                             changed.digests[j].value, NULL);
                }
                assert_ok(replay_event(&off, &changed, &e), &e);
        }
        assert_ok(compare_value(&l, sha384(), PCR_SECURE_BOOT, off.pcr[PCR_SECURE_BOOT], VALUE_EXPECTED, &d, &e), &e);
        assert_false(d.equal);
        assert_string_equal(d.meaning, "Secure Boot is on");
}

/* --- everything that a log is compared with ----------------------------------------------------------------------- */

static const struct event boot_events[] = { CALLING, SEPARATOR(PCR_IMAGE), UKI("a"), LINE("quiet"), {} };

static void replayed_of(const struct event *events, const char *bank, struct replayed *ret) {
        struct error e = {};

        *ret = (struct replayed) { .log = log_of(events, bank), .pcrs = PCRS_ALL };
        assert_ok(replay_log(&ret->log, pcr_algorithm_named(bank), &ret->replay, &e), &e);
}

static void test_the_nearest_reference_is_compared(void **state _unused_) {
        struct reference sets[3] = { { .source = (char *) "far" },
                                     { .source = (char *) "near" },
                                     { .source = (char *) "elsewhere" } };
        const struct references all = { sets, ELEMENTS(sets) };
        static const uint8_t zeros[SHA384_SIZE];
        _cleanup_(comparisons_done) struct comparisons c = {};
        _cleanup_(replayed_done) struct replayed r;
        struct error e = {};

        replayed_of(boot_events, "sha384", &r);
        reference_set(&sets[0], PCR_IMAGE, zeros);
        reference_set(&sets[0], PCR_COMMAND_LINE, zeros);
        reference_set(&sets[1], PCR_IMAGE, r.replay.pcr[PCR_IMAGE]);
        reference_set(&sets[1], PCR_COMMAND_LINE, zeros);
        reference_set(&sets[2], 24, zeros);
        assert_ok(compare_with_references(&c, &r, &all, &e), &e);
        assert_int_equal(c.n, 2);
        assert_string_equal(c.items[0].with, "reference near");
        assert_true(c.items[0].difference.equal);
        assert_false(c.items[1].difference.equal);
        assert_memory_equal(c.items[1].value, zeros, sizeof zeros);
        assert_false(comparisons_all_equal(&c));

        comparisons_done(&c);
        r.pcrs = 1 << PCR_MODEL; /* none of the sets has it: nothing is compared */
        assert_ok(compare_with_references(&c, &r, &all, &e), &e);
        assert_int_equal(c.n, 0);
}

static void test_what_cannot_be_compared_is_refused(void **state _unused_) {
        static const uint8_t zeros[SHA384_SIZE];
        _cleanup_(comparisons_done) struct comparisons c = {};
        _cleanup_(replayed_done) struct replayed r, other;
        struct reference enclave = {};
        struct error e = {};

        replayed_of(boot_events, "sha384", &r);
        replayed_of(boot_events, "sha256", &other);
        reference_set(&enclave, 24, zeros);
        assert_refused(compare_with_reference(&c, &r, "given", &enclave, &e), &e, FAILURE_USAGE,
                       "holds PCR24, which no TPM has");
        assert_refused(compare_with_reference(&c, &other, "given", &enclave, &e), &e, FAILURE_USAGE,
                       "its values are of the SHA-384 bank, and the logs are replayed in sha256");
        assert_refused(compare_with_document(&c, &r, "d", &(struct document) { .kind = DOCUMENT_ENCLAVE }, &e), &e,
                       FAILURE_DOCUMENT, "is the document of a Nitro Enclave");
        assert_int_equal(c.n, 0);
}

static void test_compares_with_documents_tpms_and_logs(void **state _unused_) {
        static const struct event appended[] = {
                CALLING, SEPARATOR(PCR_IMAGE), UKI("a"), LINE("quiet"), LINE("x"), {}
        };
        _cleanup_event_log_ struct event_log good = log_of(boot_events, "sha384");
        _cleanup_(comparisons_done) struct comparisons c = {};
        _cleanup_(replayed_done) struct replayed r;
        struct document document = { .kind = DOCUMENT_NITROTPM };
        struct error e = {};

        replayed_of(appended, "sha384", &r);
        document.pcr[PCR_IMAGE] = r.replay.pcr[PCR_IMAGE];
        document.pcr[24] = r.replay.pcr[0]; /* no TPM has it */
        assert_ok(compare_with_document(&c, &r, "d.cbor", &document, &e), &e);
        assert_int_equal(c.n, 1);
        assert_string_equal(c.items[0].with, "document d.cbor");
        assert_ok(compare_with_tpm(&c, &r, "/dev/tpm0", r.replay.pcr, &e), &e);
        assert_int_equal(c.n, 1 + PCR_COUNT);
        assert_true(comparisons_all_equal(&c));

        assert_ok(compare_with_log(&c, &r, "good.log", &good, &e), &e);
        assert_int_equal(c.n, 1 + PCR_COUNT + 2); /* the PCRs that either log touches */
        assert_false(comparisons_all_equal(&c));
        assert_int_equal(c.items[c.n - 1].pcr, PCR_COMMAND_LINE);
        assert_string_equal(c.items[c.n - 1].difference.meaning, "a command line was appended: x");
        assert_false(c.items[c.n - 1].has_value);

        comparisons_done(&c);
        r.pcrs = 1 << PCR_MODEL; /* a PCR that was named is compared, although neither log touches it */
        assert_ok(compare_with_log(&c, &r, "good.log", &good, &e), &e);
        assert_int_equal(c.n, 1);
        assert_true(c.items[0].difference.equal);
}

static void test_counts_altered_events_of_the_pcrs_asked_for(void **state _unused_) {
        static const struct event events[] = { { PCR_IMAGE, EV_EFI_ACTION, "a", "b", TEXT_NOT_MEASURED },
                                               { PCR_MODEL, EV_EFI_ACTION, "a", "b", TEXT_NOT_MEASURED },
                                               UKI("a"),
                                               {} };
        _cleanup_(replayed_done) struct replayed r;

        replayed_of(events, "sha384", &r);
        assert_int_equal(replayed_altered(&r), 2);
        r.pcrs = 1 << PCR_MODEL;
        assert_int_equal(replayed_altered(&r), 1);
        assert_true(replayed_wants(&r, PCR_MODEL));
        assert_false(replayed_wants(&r, PCR_IMAGE));
        assert_false(replayed_wants(&r, 32 + PCR_MODEL));
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_reads_either_kind_of_log),
                cmocka_unit_test(test_reads_files),
                cmocka_unit_test(test_one_log_follows_the_other),
                cmocka_unit_test(test_chooses_a_bank),
                cmocka_unit_test(test_a_log_without_digests_has_no_bank),
                cmocka_unit_test(test_compares_lists),
                cmocka_unit_test(test_names_the_sections_that_differ),
                cmocka_unit_test(test_explains_values),
                cmocka_unit_test(test_values_that_cannot_be_explained),
                cmocka_unit_test(test_finds_a_secure_boot_setting),
                cmocka_unit_test(test_the_nearest_reference_is_compared),
                cmocka_unit_test(test_what_cannot_be_compared_is_refused),
                cmocka_unit_test(test_compares_with_documents_tpms_and_logs),
                cmocka_unit_test(test_counts_altered_events_of_the_pcrs_asked_for),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
