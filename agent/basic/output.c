/* SPDX-License-Identifier: Apache-2.0 */
#include "basic/output.h"

#include <fcntl.h>
#include <signal.h>

int output_begin(void) {
        if (signal(SIGPIPE, SIG_IGN) == SIG_ERR)
                return -errno;
        for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
                int held;

                if (fcntl(fd, F_GETFD) >= 0)
                        continue;
                /* Opened in the wrong direction, so that reading or writing fails with EBADF, as on a closed stream.
                 * open() takes the lowest free number, which is this one: those below are open. */
                held = open("/dev/null", (fd == STDIN_FILENO ? O_WRONLY : O_RDONLY) | O_NOCTTY);
                if (held < 0)
                        return -errno;
        }
        return 0;
}

int output_end(struct error *e) {
        bool failed = ferror(stdout);
        int r;

        errno = 0;
        if (fclose(stdout) == 0 && !failed)
                return 0;
        r = errno > 0 ? -errno : -EIO; /* the errno of an earlier write is lost */
        fail(e, FAILURE_IO, r, "standard output", "not all of the output could be written%s%s", errno > 0 ? ": " : "",
             errno > 0 ? strerror(errno) : "");
        fail_advice(e, "The output is incomplete. Write it where there is room, and read a pipe to its end.");
        return r;
}
