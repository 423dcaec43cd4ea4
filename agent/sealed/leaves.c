/* SPDX-License-Identifier: Apache-2.0 */
#include "sealed/leaves.h"

#include "sealed/engine.h"

/* The fastest first, but for what slower() says: tests/bench/README.md has the measurements. */
static const struct engine *const engines[] = {
#if HAVE_IPSEC_MB
        &engine_library,
#endif
#ifdef __x86_64__
        &engine_avx512,
        &engine_sha_ni,
        &engine_avx2,
#endif
#ifdef __aarch64__
        &engine_armv8,
#endif
        NULL,
};

struct leaves {
        const struct engine *engine;
        void *state;
};

const char *leaves_engine_name(size_t number) {
        return number < ELEMENTS(engines) && engines[number] ? engines[number]->name : NULL;
}

/* On Intel's CPUs our engine takes 0.87 of the library's time. On AMD's, they have not been compared. */
static bool slower(const struct engine *e) {
#if HAVE_IPSEC_MB
        return e == &engine_library && __builtin_cpu_is("intel");
#else
        (void) e;
        return false;
#endif
}

int leaves_new(const char *engine, struct leaves **ret) {
        struct leaves *l = calloc(1, sizeof *l);
        int r = -EOPNOTSUPP;

        if (!l)
                return -ENOMEM;
        for (const struct engine *const *e = engines; *e && r == -EOPNOTSUPP; e++) {
                if (engine ? !streq(engine, (*e)->name) : slower(*e))
                        continue;
                l->engine = *e;
                r = l->engine->start(&l->state);
        }
        if (r < 0) {
                free(l);
                return r;
        }
        *ret = l;
        return 0;
}

void leaves_free(struct leaves *l) {
        if (!l)
                return;
        if (l->engine->end)
                l->engine->end(l->state);
        free(l);
}

const char *leaves_engine(const struct leaves *l) {
        return l->engine->name;
}

ssize_t leaves_hash(struct leaves *l, const uint8_t *data, size_t n, uint8_t *digests) {
        n -= n % l->engine->lanes;
        return n > 0 && l->engine->hash(l->state, data, n, digests) < 0 ? -EIO : (ssize_t) n;
}
