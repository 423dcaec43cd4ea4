/* SPDX-License-Identifier: Apache-2.0 */
#include "replay/replay.h"

#include <openssl/evp.h>

static const struct pcr_algorithm *bank_named(const struct event_log *log, const char *name) {
        for (size_t i = 0; i < log->n_banks; i++)
                if (streq(log->banks[i]->name, name))
                        return log->banks[i];
        return NULL;
}

/* NULL when the log has none. */
static const struct pcr_algorithm *fullest_bank(const struct event_log *log) {
        const struct pcr_algorithm *best = NULL;

        for (size_t i = 0; i < log->n_banks; i++)
                if (!best || event_log_lacking(log, log->banks[i]) < event_log_lacking(log, best))
                        best = log->banks[i];
        return best;
}

int replay_choose_bank(const struct event_log *log, const char *name, const struct pcr_algorithm **ret,
                       struct error *e) {
        const struct pcr_algorithm *bank = bank_named(log, name ?: "sha384");

        if (!bank && name)
                return fail(e, FAILURE_USAGE, -ENOENT, "--bank", "the logs have no digests of bank %s", name);
        bank = bank ?: fullest_bank(log);
        if (!bank)
                return fail(e, FAILURE_EVENT_LOG, -ENOENT, "",
                            log->n ? "the logs have no digest of any PCR that can be computed" : "the logs are empty");
        *ret = bank;
        return 0;
}

void replay_start(struct replay *r, const struct pcr_algorithm *bank, unsigned locality) {
        *r = (struct replay) { .bank = bank };
        for (unsigned pcr = PCR_DRTM_FIRST; pcr <= PCR_DRTM_LAST; pcr++)
                memset(r->pcr[pcr], 0xff, bank->size);
        r->pcr[0][bank->size - 1] = (uint8_t) locality;
}

int pcr_extend(const struct pcr_algorithm *bank, uint8_t *value, const uint8_t *digest, struct error *e) {
        uint8_t both[2 * PCR_DIGEST_MAX];
        size_t n;

        memcpy(both, value, bank->size);
        memcpy(both + bank->size, digest, bank->size);
        if (EVP_Q_digest(NULL, bank->name, NULL, both, 2 * bank->size, value, &n) != 1 || n != bank->size)
                return fail(e, FAILURE_INTERNAL, -EIO, bank->name, "OpenSSL cannot hash");
        return 0;
}

int replay_event(struct replay *r, const struct log_event *event, struct error *e) {
        const uint8_t *digest = log_event_digest(event, r->bank);

        if (!event->extended)
                return 0;
        r->touched |= UINT32_C(1) << event->pcr;
        if (!digest) {
                r->unknown |= UINT32_C(1) << event->pcr;
                return 0;
        }
        return pcr_extend(r->bank, r->pcr[event->pcr], digest, e);
}

int replay_log(const struct event_log *log, const struct pcr_algorithm *bank, struct replay *ret, struct error *e) {
        int r;

        replay_start(ret, bank, log->locality);
        for (size_t i = 0; i < log->n; i++) {
                r = replay_event(ret, &log->events[i], e);
                if (r < 0)
                        return r;
        }
        return 0;
}
