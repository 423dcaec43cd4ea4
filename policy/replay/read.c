/* SPDX-License-Identifier: Apache-2.0 */
#include "replay/read.h"

#include <sys/stat.h>

#include "basic/file.h"
#include "replay/cel.h"
#include "replay/eventlog.h"

enum { LOG_FILE_MAX = 4 * 1024 * 1024 }; /* firmware's have tens of kilobytes, and some hundred events */

/* CEL-JSON may start with a byte order mark (EF BB BF), an RS character or white space. A firmware log starts with the
 * number of a PCR, which is 0. */
static bool is_text(const char *data, size_t size) {
        return size > 0 && data[0] && strchr("\x1e{[ \t\r\n\xef", data[0]);
}

int event_log_parse(const void *data, size_t size, const char *subject, struct event_log *ret, struct error *e) {
        return is_text(data, size) ? cel_parse(data, size, subject, ret, e)
                                   : eventlog_parse(data, size, subject, ret, e);
}

int event_log_read(const char *path, struct event_log *ret, struct error *e) {
        _cleanup_free_ uint8_t *data = NULL;
        size_t n;
        int r;

        r = file_read(path, LOG_FILE_MAX, FAILURE_IO, &data, &n, e);
        return r < 0 ? r : event_log_parse(data, n, path, ret, e);
}

bool event_log_is_unfinished(const char *path) {
        struct stat st;

        return stat(path, &st) == 0 && (st.st_mode & S_ISVTX);
}
