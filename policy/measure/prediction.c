/* SPDX-License-Identifier: Apache-2.0 */
#include "measure/prediction.h"

#include <openssl/evp.h>
#include <stdarg.h>

void prediction_done(struct prediction *p) {
        for (size_t i = 0; i < p->n; i++) {
                free(p->events[i].what);
                free(p->events[i].why);
        }
        free(p->events);
        *p = (struct prediction) {};
}

DEFINE_CLEANUP(EVP_MD_CTX *, EVP_MD_CTX_free, evp_md_ctx_freep)

int sha384_of(const void *first, size_t n_first, const void *second, size_t n_second, uint8_t ret[static SHA384_SIZE],
              struct error *e) {
        _cleanup_(evp_md_ctx_freep) EVP_MD_CTX *context = EVP_MD_CTX_new();

        if (!context || EVP_DigestInit_ex(context, EVP_sha384(), NULL) != 1 ||
            (n_first > 0 && EVP_DigestUpdate(context, first, n_first) != 1) ||
            (n_second > 0 && EVP_DigestUpdate(context, second, n_second) != 1) ||
            EVP_DigestFinal_ex(context, ret, NULL) != 1)
                return fail(e, FAILURE_INTERNAL, -ENOMEM, "SHA-384", "OpenSSL cannot hash");
        return 0;
}

/* Takes `what`, also on failure; NULL: there was no memory for it. */
static int add(struct prediction *p, unsigned pcr, uint32_t type, const uint8_t digest[static SHA384_SIZE],
               const char *why, char *what, struct error *e) {
        _cleanup_free_ char *owned = what, *copy = strdup(why);
        struct predicted_event *larger;

        larger = reallocarray(p->events, p->n + 1, sizeof *larger);
        if (larger)
                p->events = larger;
        if (!owned || !copy || !larger)
                return fail_oom(e);
        p->events[p->n] = (struct predicted_event) { .pcr = pcr, .type = type, .what = TAKE(owned), .why = TAKE(copy) };
        memcpy(p->events[p->n++].digest, digest, SHA384_SIZE);
        return 0;
}

static char *text(const char *format, va_list ap) _printf_(1, 0);

static char *text(const char *format, va_list ap) {
        char *s;

        return vasprintf(&s, format, ap) < 0 ? NULL : s;
}

int prediction_add(struct prediction *p, unsigned pcr, uint32_t type, const uint8_t digest[static SHA384_SIZE],
                   const char *why, struct error *e, const char *format, ...) {
        char *what;
        va_list ap;

        va_start(ap, format);
        what = text(format, ap);
        va_end(ap);
        return add(p, pcr, type, digest, why, what, e);
}

int prediction_add_data(struct prediction *p, unsigned pcr, uint32_t type, const void *data, size_t size,
                        const char *why, struct error *e, const char *format, ...) {
        uint8_t digest[SHA384_SIZE];
        char *what;
        va_list ap;
        int r;

        r = sha384_of(data, size, NULL, 0, digest, e);
        if (r < 0)
                return r;
        va_start(ap, format);
        what = text(format, ap);
        va_end(ap);
        return add(p, pcr, type, digest, why, what, e);
}

int prediction_add_action(struct prediction *p, const char *action, const char *why, struct error *e) {
        return prediction_add_data(p, PCR_IMAGE, EV_EFI_ACTION, action, strlen(action), why, e, "\"%s\"", action);
}

int prediction_add_separator(struct prediction *p, unsigned pcr, const char *why, struct error *e) {
        return prediction_add_data(p, pcr, EV_SEPARATOR, "\0\0\0\0", 4, why, e, "00000000");
}

int prediction_extend(const struct prediction *p, struct reference *ret, struct error *e) {
        int r;

        for (size_t i = 0; i < p->n; i++) {
                const struct predicted_event *event = &p->events[i];
                uint8_t *pcr = ret->pcr[event->pcr];

                if (!reference_has(ret, event->pcr))
                        continue;
                r = sha384_of(pcr, SHA384_SIZE, event->digest, SHA384_SIZE, pcr, e);
                if (r < 0)
                        return r;
        }
        return 0;
}
