/* SPDX-License-Identifier: Apache-2.0 */
#include "evidence/turn.h"

#include <sys/socket.h>
#include <sys/un.h>

#include "evidence/tpm-internal.h"

enum { RETRY_MS = 10 };

int turn_take(const char *name, unsigned wait_ms, int *ret, struct error *e) {
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        int64_t deadline = monotonic_ms() + wait_ms;
        _cleanup_close_ int fd = -1;
        socklen_t size;
        int n;

        /* Abstract: the first byte is NUL. A longer name is cut, which can only make more callers take turns. */
        n = snprintf(address.sun_path + 1, sizeof address.sun_path - 1, "sealboot/%s", name);
        size = (socklen_t) (offsetof(struct sockaddr_un, sun_path) + 1 + MIN_OF((size_t) n, sizeof address.sun_path - 2));
        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd < 0)
                return fail(e, FAILURE_TPM, -errno, name, "cannot make a local socket: %m");
        while (bind(fd, (struct sockaddr *) &address, size) < 0) {
                if (errno != EADDRINUSE)
                        return fail(e, FAILURE_TPM, -errno, name, "cannot take the turn: %m");
                if (monotonic_ms() >= deadline)
                        return fail(e, FAILURE_TPM_BUSY, -EBUSY, name, "another attestation was going on for all of %u ms",
                                    wait_ms);
                sleep_ms(RETRY_MS);
        }
        *ret = fd;
        fd = -1;
        return 0;
}
