/* SPDX-License-Identifier: Apache-2.0 */
#include "replay/eventlog.h"

#include "basic/reader.h"
#include "measure/event-types.h"
#include "replay/check.h"
#include "replay/describe.h"

enum {
        ALGORITHMS_MAX = 16,
        FILLING_MIN = 16, /* what an event has at least: fewer bytes are the beginning of one that is cut short */
};

struct algorithm {
        uint16_t id, size;
        const struct pcr_algorithm *known; /* NULL: its digests are passed over */
};

struct format {
        struct algorithm algorithms[ALGORITHMS_MAX];
        uint32_t n;
};

static int cut_short(const char *subject, const struct reader *r, size_t number, struct error *e) {
        return fail(e, FAILURE_EVENT_LOG, -EBADMSG, subject, "event %zu, which starts at byte %zu, is cut short",
                    number, r->offset);
}

static int parse_algorithms(struct reader *r, const char *subject, struct format *f, struct error *e) {
        if (reader_le32(r, &f->n) < 0 || f->n == 0 || f->n > ALGORITHMS_MAX)
                return fail(e, FAILURE_EVENT_LOG, -EBADMSG, subject, "it names no digest algorithms, or more than %d",
                            ALGORITHMS_MAX);
        for (size_t i = 0; i < f->n; i++) {
                struct algorithm *a = &f->algorithms[i];

                if (reader_le16(r, &a->id) < 0 || reader_le16(r, &a->size) < 0)
                        return fail(e, FAILURE_EVENT_LOG, -EBADMSG, subject,
                                    "its list of digest algorithms is cut short");
                a->known = pcr_algorithm(a->id);
                if (a->size == 0 || (a->known && a->known->size != a->size))
                        return fail(e, FAILURE_EVENT_LOG, -EBADMSG, subject,
                                    "it says that digests of algorithm 0x%04x have %u bytes", a->id, a->size);
                for (size_t j = 0; j < i; j++)
                        if (f->algorithms[j].id == a->id)
                                return fail(e, FAILURE_EVENT_LOG, -EBADMSG, subject,
                                            "it names digest algorithm 0x%04x twice", a->id);
        }
        return 0;
}

/* The first event, in the old format, which tells how to read the others. */
static int parse_header(struct reader *r, const char *subject, struct format *f, struct error *e) {
        static const char signature[16] = "Spec ID Event03";
        uint32_t pcr, type, size;
        uint8_t vendor, found[16];
        struct reader event;
        int k;

        if (reader_le32(r, &pcr) < 0 || reader_le32(r, &type) < 0 || reader_skip(r, SHA1_SIZE) < 0 ||
            reader_le32(r, &size) < 0 || reader_sub(r, size, &event) < 0)
                return fail(e, FAILURE_EVENT_LOG, -EBADMSG, subject, "its first event is cut short");
        if (pcr != 0 || type != EV_NO_ACTION || reader_copy(&event, found, sizeof found) < 0 ||
            memcmp(found, signature, sizeof found) != 0) {
                fail(e, FAILURE_EVENT_LOG, -EBADMSG, subject,
                     "it is not a crypto-agile event log: it does not start with \"%s\"", signature);
                fail_advice(e, "A log with SHA-1 digests only cannot be compared with the SHA-384 bank; give "
                               "/sys/kernel/security/tpm0/binary_bios_measurements of a TPM 2.0.");
                return -EBADMSG;
        }
        /* Platform class, minor and major version, errata, size of UINTN. */
        if (reader_skip(&event, 8) < 0)
                return fail(e, FAILURE_EVENT_LOG, -EBADMSG, subject, "its first event is cut short");
        k = parse_algorithms(&event, subject, f, e);
        if (k < 0)
                return k;
        if (reader_u8(&event, &vendor) < 0 || reader_left(&event) != vendor)
                return fail(e, FAILURE_EVENT_LOG, -EBADMSG, subject, "its first event has a wrong size");
        return 0;
}

/* The header lists the algorithms that can appear; an event may have digests for some of them only. */
static int parse_digests(struct reader *r, const struct format *f, struct log_event *event) {
        uint32_t n, seen = 0;

        if (reader_le32(r, &n) < 0)
                return -EBADMSG;
        if (n > f->n)
                return -EINVAL;
        for (uint32_t i = 0; i < n; i++) {
                const uint8_t *value;
                uint16_t id;
                size_t a = 0;

                if (reader_le16(r, &id) < 0)
                        return -EBADMSG;
                while (a < f->n && f->algorithms[a].id != id)
                        a++;
                if (a == f->n || (seen & UINT32_C(1) << a))
                        return -EINVAL;
                seen |= UINT32_C(1) << a;
                if (reader_bytes(r, f->algorithms[a].size, &value) < 0)
                        return -EBADMSG;
                if (!f->algorithms[a].known || event->n_digests >= PCR_BANKS_MAX)
                        continue;
                event->digests[event->n_digests].algorithm = f->algorithms[a].known;
                memcpy(event->digests[event->n_digests++].value, value, f->algorithms[a].size);
        }
        return 0;
}

static bool any_known(const struct format *f) {
        for (size_t i = 0; i < f->n; i++)
                if (f->algorithms[i].known)
                        return true;
        return false;
}

static void add_banks_of_header(const struct format *f, struct event_log *l) {
        for (size_t i = 0; i < f->n; i++)
                if (f->algorithms[i].known && l->n_banks < PCR_BANKS_MAX)
                        l->banks[l->n_banks++] = f->algorithms[i].known;
}

/* "StartupLocality\0" and the locality the TPM was started from, which is what PCR0 then holds. */
static void note_locality(struct event_log *l, const uint8_t *data, size_t n) {
        static const char signature[16] = "StartupLocality";

        if (n == sizeof signature + 1 && memcmp(data, signature, sizeof signature) == 0)
                l->locality = data[sizeof signature];
}

static char *name_of_type(uint32_t type) {
        const char *name = event_type_name(type);
        char *text;

        if (name)
                return strdup(name);
        return asprintf(&text, "0x%08x", type) < 0 ? NULL : text;
}

static int parse_event(struct reader *r, const char *subject, const struct format *f, struct event_log *l,
                       struct error *e) {
        struct reader start = *r;
        struct log_event event = {};
        const uint8_t *data;
        uint32_t pcr, size;
        int k;

        if (reader_le32(r, &pcr) < 0 || reader_le32(r, &event.type) < 0)
                return cut_short(subject, &start, l->n + 1, e);
        k = parse_digests(r, f, &event);
        if (k == -EINVAL)
                return fail(e, FAILURE_EVENT_LOG, k, subject,
                            "event %zu, which starts at byte %zu, has digests that the log's header does not list, or "
                            "one twice",
                            l->n + 1, start.offset);
        if (k < 0 || reader_le32(r, &size) < 0 || reader_bytes(r, size, &data) < 0)
                return cut_short(subject, &start, l->n + 1, e);
        event.pcr = pcr;
        event.extended = event.type != EV_NO_ACTION;
        if (event.extended && pcr >= PCR_COUNT)
                return fail(e, FAILURE_EVENT_LOG, -EBADMSG, subject,
                            "event %zu, which starts at byte %zu, is for PCR%u", l->n + 1, start.offset, pcr);
        if (!event.extended && pcr == 0)
                note_locality(l, data, size);
        event.type_name = name_of_type(event.type);
        event.text = describe_event(event.type, data, size);
        event_check(&event, data, size);
        return event_log_add(l, &event, subject, e);
}

/* What is left of the memory that firmware keeps the log in, where somebody copied all of it: zeros, or flash's ones.
 */
static size_t filling_start(const uint8_t *data, size_t size) {
        size_t start = size;

        while (start > 0 && data[start - 1] == data[size - 1] && (data[size - 1] == 0 || data[size - 1] == 0xff))
                start--;
        return start;
}

int eventlog_parse(const void *data, size_t size, const char *subject, struct event_log *ret, struct error *e) {
        _cleanup_event_log_ struct event_log l = {};
        struct reader r = reader_over(data, size);
        size_t filling = filling_start(data, size);
        struct format f = {};
        int k;

        k = parse_header(&r, subject, &f, e);
        if (k == 0 && !any_known(&f))
                k = fail(e, FAILURE_EVENT_LOG, -EBADMSG, subject, "it has no digests of an algorithm we know");
        while (k == 0 && reader_left(&r) > 0 && (r.offset < filling || reader_left(&r) < FILLING_MIN))
                k = parse_event(&r, subject, &f, &l, e);
        if (k < 0)
                return k;
        event_log_find_banks(&l);
        if (l.n_banks == 0) /* nothing was extended: zeros, in any bank */
                add_banks_of_header(&f, &l);
        *ret = TAKE_STRUCT(l);
        return 0;
}
