/* SPDX-License-Identifier: Apache-2.0 */

/* What the service manager is told while the boot goes on. */

#include <stdarg.h>
#include <systemd/sd-daemon.h>

#include "basic/utf8.h"
#include "boot/boot.h"

void boot_status(const char *format, ...) {
        char text[256];
        va_list ap;

        va_start(ap, format);
        vsnprintf(text, sizeof text, format, ap);
        va_end(ap);
        utf8_make_printable(text); /* a line break would begin another field of the message */
        sd_notifyf(0, "STATUS=%s\nEXTEND_TIMEOUT_USEC=%llu", text, BOOT_SILENCE_SECONDS * 1000000ULL);
}
