/* SPDX-License-Identifier: Apache-2.0 */
#include "evidence/tpm.h"

#include <fcntl.h>
#include <tss2/tss2_tctildr.h>
#if HAVE_TSS2_RC
#include <tss2/tss2_rc.h>
#endif

#include "basic/clock.h"
#include "evidence/tpm-internal.h"

enum { BUSY_RETRY_MS = 20, PUT_OFF_RETRY_MS = 50 };

struct tpm {
        TSS2_TCTI_CONTEXT *tcti;
        ESYS_CONTEXT *esys;
        char *name;
        char *fallback;
        bool device; /* the name is a path */
        unsigned busy_wait_ms;
        void (*tell)(const char *why);
};

void tpm_quiet(void) {
        setenv("TSS2_LOG", "all+none", 0);
}

const char *tpm_name(const struct tpm *t) {
        return t->name;
}

const char *tpm_fallback(const struct tpm *t) {
        return t->fallback;
}

ESYS_CONTEXT *tpm_esys(struct tpm *t) {
        return t->esys;
}

unsigned tpm_busy_wait_ms(const struct tpm *t) {
        return t->busy_wait_ms;
}

void tpm_on_wait(struct tpm *t, void (*tell)(const char *why)) {
        t->tell = tell;
}

/* The warnings of TPM 2.0 part 2, section 6.6.3, after which the same command can succeed a moment later, and those
 * that look similar and are not. The layer does not matter: resource managers answer in the TPM's stead. */
static bool is_put_off(TSS2_RC rc) {
        static const struct {
                TSS2_RC rc;
                bool again;
        } warnings[] = {
                { TPM2_RC_YIELDED, true },        { TPM2_RC_TESTING, true },         { TPM2_RC_RETRY, true },
                { TPM2_RC_NV_RATE, true }, /* NV memory is written too often: passes within seconds */
                { TPM2_RC_NV_UNAVAILABLE, true }, { TPM2_RC_LOCKOUT, false }, /* ends after minutes or hours */
                { TPM2_RC_CANCELED, false },                                  /* another program cancelled it */
                { TPM2_RC_MEMORY, false }, /* objects of other programs fill the memory, and stay */
                { TPM2_RC_OBJECT_MEMORY, false }, { TPM2_RC_SESSION_MEMORY, false },
        };
        TSS2_RC layer = rc & TSS2_RC_LAYER_MASK;

        if (layer != TSS2_TPM_RC_LAYER && layer != TSS2_RESMGR_TPM_RC_LAYER)
                return false;
        for (size_t i = 0; i < ELEMENTS(warnings); i++)
                if (warnings[i].rc == (rc & ~TSS2_RC_LAYER_MASK))
                        return warnings[i].again;
        return false;
}

static const char *decoded(TSS2_RC rc) {
#if HAVE_TSS2_RC
        return Tss2_RC_Decode(rc);
#else
        return (rc & TSS2_RC_LAYER_MASK) == 0 ? "TPM error" : "TSS error";
#endif
}

bool tpm_again(struct tpm_patience *p, TSS2_RC rc) {
        if (!is_put_off(rc))
                return false;
        if (p->deadline_ns == 0) {
                p->deadline_ns = clock_deadline_ns(p->tpm->busy_wait_ms);
                if (p->tpm->tell)
                        p->tpm->tell(decoded(rc));
        }
        if (clock_has_passed(p->deadline_ns))
                return false;
        clock_sleep_ms(PUT_OFF_RETRY_MS);
        return true;
}

int tpm_fail(struct error *e, enum failure failure, const struct tpm *t, const char *command, TSS2_RC rc) {
        if (is_put_off(rc)) {
                fail(e, failure, -EIO, t->name, "%s was put off for all of %u ms: %s (0x%08x)", command,
                     t->busy_wait_ms, decoded(rc), rc);
                fail_advice(e, "The TPM works, but was busy: start again. If this persists, another program keeps it "
                               "busy, or writes its NV memory again and again.");
                return -EIO;
        }
        fail(e, failure, -EIO, t->name, "%s: %s (0x%08x)", command, decoded(rc), rc);
        if ((rc & TSS2_RC_LAYER_MASK) == TSS2_TCTI_RC_LAYER)
                fail_advice(e, "The TPM did not refuse the command: the connection to it broke. Look at the kernel's "
                               "log, or at what the TCTI names.");
        return -EIO;
}

static void disconnect(struct tpm *t) {
        Esys_Finalize(&t->esys);
        Tss2_TctiLdr_Finalize(&t->tcti);
}

void tpm_close(struct tpm *t) {
        if (!t)
                return;
        disconnect(t);
        free(t->name);
        free(t->fallback);
        free(t);
}

static int tpm_new(const char *name, bool device, unsigned busy_wait_ms, struct tpm **ret) {
        _cleanup_tpm_ struct tpm *t = NULL;

        t = malloc(sizeof *t);
        if (!t)
                return -ENOMEM;
        *t = (struct tpm) { .name = strdup(name), .device = device, .busy_wait_ms = busy_wait_ms };
        if (!t->name)
                return -ENOMEM;
        *ret = TAKE(t);
        return 0;
}

static bool is_absent(int r) {
        return r == -ENOENT || r == -ENODEV || r == -ENXIO || r == -ENOTDIR;
}

/* Opens the device only for the errno, which the TCTI does not pass on. */
static int probe(const char *path) {
        _cleanup_close_ int fd = -1;

        fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
        return fd < 0 ? -errno : 0;
}

/* -errno from the device, or -EIO with *ret_rc from the TCTI. */
static int connect_device(struct tpm *t, TSS2_RC *ret_rc) {
        int64_t deadline_ns = clock_deadline_ns(t->busy_wait_ms);
        _cleanup_free_ char *conf = NULL;
        int r;

        if (asprintf(&conf, "device:%s", t->name) < 0)
                return -ENOMEM;
        for (;;) {
                r = probe(t->name);
                if (r == 0) {
                        *ret_rc = Tss2_TctiLdr_Initialize(conf, &t->tcti);
                        if (*ret_rc == TSS2_RC_SUCCESS)
                                return 0;
                        /* Another process may have opened the device between probe() and the TCTI. */
                        r = probe(t->name);
                        if (r == 0)
                                return -EIO;
                }
                if (r != -EBUSY || clock_has_passed(deadline_ns))
                        return r;
                clock_sleep_ms(BUSY_RETRY_MS);
        }
}

static int device_error(const struct tpm *t, int r, TSS2_RC rc, struct error *e) {
        if (r == -ENOMEM)
                return fail_oom(e);
        if (r == -EBUSY)
                return fail(e, FAILURE_TPM_BUSY, r, t->name, "another process held it for all of %u ms",
                            t->busy_wait_ms);
        if (r == -EIO)
                return tpm_fail(e, FAILURE_TPM, t, "cannot talk to the device", rc);
        errno = -r;
        fail(e, is_absent(r) ? FAILURE_TPM_ABSENT : FAILURE_TPM, r, t->name, "cannot open: %m");
        if (r == -EACCES)
                fail_advice(e, "Run as root or as a member of the group that owns the device (often tss).");
        return r;
}

static int connect_other(struct tpm *t, struct error *e) {
        TSS2_RC rc;

        rc = Tss2_TctiLdr_Initialize(t->name, &t->tcti);
        if (rc == TSS2_RC_SUCCESS)
                return 0;
        if (rc == TSS2_TCTI_RC_IO_ERROR || rc == TSS2_TCTI_RC_NO_CONNECTION) {
                fail(e, FAILURE_TPM_ABSENT, -ECONNREFUSED, t->name, "nothing answers there: %s (0x%08x)", decoded(rc),
                     rc);
                fail_advice(e, "Check the TCTI string, and that what it names is running.");
                return -ECONNREFUSED;
        }
        tpm_fail(e, FAILURE_TPM, t, "cannot load this TCTI", rc);
        fail_advice(e, "A TCTI string is a module's name, a colon and its configuration, as in device:/dev/tpmrm0 or "
                       "swtpm:host=127.0.0.1,port=2321.");
        return -EIO;
}

static int connect_tcti(struct tpm *t, struct error *e) {
        TSS2_RC rc = TSS2_RC_SUCCESS;
        int r;

        if (!t->device)
                return connect_other(t, e);
        r = connect_device(t, &rc);
        return r < 0 ? device_error(t, r, rc, e) : 0;
}

static int connect_tpm(struct tpm *t, struct error *e) {
        TSS2_RC rc;
        int r;

        r = connect_tcti(t, e);
        if (r < 0)
                return r;
        rc = Esys_Initialize(&t->esys, t->tcti, NULL);
        return rc == TSS2_RC_SUCCESS ? 0 : tpm_fail(e, FAILURE_TPM, t, "Esys_Initialize", rc);
}

int tpm_reconnect(struct tpm *t, struct error *e) {
        disconnect(t);
        return connect_tpm(t, e);
}

int tpm_open_device(const char *const devices[], unsigned busy_wait_ms, struct tpm **ret, struct error *e) {
        char names[256] = "";
        size_t n = 0;

        for (size_t i = 0; devices[i]; i++) {
                _cleanup_tpm_ struct tpm *t = NULL;
                int r;

                if (tpm_new(devices[i], true, busy_wait_ms, &t) < 0)
                        return fail_oom(e);
                if (devices[i + 1]) {
                        t->fallback = strdup(devices[i + 1]);
                        if (!t->fallback)
                                return fail_oom(e);
                }
                r = connect_tpm(t, e);
                if (r == 0)
                        *ret = TAKE(t);
                if (!is_absent(r))
                        return r;
                n += (size_t) snprintf(names + n, sizeof names - n, "%s%s", i > 0 ? ", " : "", devices[i]);
                n = MIN_OF(n, sizeof names - 1);
        }
        return fail(e, FAILURE_TPM_ABSENT, -ENOENT, names, "there is no such device");
}

int tpm_open(const char *tcti, unsigned busy_wait_ms, struct tpm **ret, struct error *e) {
        static const char *const machine[] = { "/dev/tpmrm0", "/dev/tpm0", NULL };
        _cleanup_tpm_ struct tpm *t = NULL;
        int r;

        if (!tcti || !tcti[0] || streq(tcti, "device"))
                return tpm_open_device(machine, busy_wait_ms, ret, e);
        if (strncmp(tcti, "device:", 7) == 0)
                return tpm_open_device((const char *const[]) { tcti + 7, NULL }, busy_wait_ms, ret, e);
        if (tpm_new(tcti, false, busy_wait_ms, &t) < 0)
                return fail_oom(e);
        r = connect_tpm(t, e);
        if (r < 0)
                return r;
        *ret = TAKE(t);
        return 0;
}

int tpm_property(struct tpm *t, TPM2_PT property, uint32_t absent, uint32_t *ret, struct error *e) {
        _cleanup_esys_ TPMS_CAPABILITY_DATA *data = NULL;
        const TPML_TAGGED_TPM_PROPERTY *list;
        TSS2_RC rc;

        TPM_PATIENTLY(t, rc,
                      Esys_GetCapability(t->esys, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, TPM2_CAP_TPM_PROPERTIES,
                                         property, 1, NULL, &data));
        if (rc != TSS2_RC_SUCCESS)
                return tpm_fail(e, FAILURE_TPM, t, "TPM2_GetCapability", rc);
        list = &data->data.tpmProperties;
        /* A TPM that lacks the property answers with the next one it has. */
        *ret = list->count > 0 && list->tpmProperty[0].property == property ? list->tpmProperty[0].value : absent;
        return 0;
}
