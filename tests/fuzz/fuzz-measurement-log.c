/* SPDX-License-Identifier: Apache-2.0 */

/* A measurement log that anyone may have written to: the explanation is bounded text. */

#include <sys/mman.h>

#include "basic/file.h"
#include "evidence/measurement-log.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_close_ int fd = memfd_create("log", MFD_CLOEXEC);
        char path[64], text[512];

        if (fd < 0 || write_all(fd, data, size) < 0)
                return 0;
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        memset(text, 'x', sizeof text);
        if ((measurement_log_explain(path, 15, text, sizeof text) > 0) != (strnlen(text, sizeof text) > 0))
                abort();
        if (strnlen(text, sizeof text) == sizeof text)
                abort();
        return 0;
}
