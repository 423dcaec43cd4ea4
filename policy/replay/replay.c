/* SPDX-License-Identifier: Apache-2.0 */
#include "replay/replay.h"

#include <openssl/evp.h>

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
