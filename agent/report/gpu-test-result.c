/* SPDX-License-Identifier: Apache-2.0 */

/* The result of a GPU image's self-test, which another program wrote. */

#include "basic/file.h"
#include "report/report.h"

enum { RESULT_MAX = 8192, CHECKS_MAX = 16 };

/* A line "gpu-test: PASS NAME: TEXT", or FAIL; NULL: it is another. */
static json_object *check_of(char *line) {
        static const char pass[] = "gpu-test: PASS ", fail[] = "gpu-test: FAIL ";
        bool passed = strncmp(line, pass, strlen(pass)) == 0;
        char *name = line + strlen(pass), *text;
        json_object *check;

        if (!passed && strncmp(line, fail, strlen(fail)) != 0)
                return NULL;
        text = strstr(name, ": ");
        if (!text)
                return NULL;
        *text = '\0';
        check = json_object_new_object();
        json_object_object_add(check, "name", json_object_new_string(name));
        json_object_object_add(check, "passed", json_object_new_boolean(passed));
        json_object_object_add(check, "text", json_object_new_string(text + strlen(": ")));
        return check;
}

void report_gpu_test(struct report *r, const char *path) {
        _cleanup_free_ uint8_t *data = NULL;
        json_object *checks, *check;
        char *rest, *line;
        size_t n, count = 0;

        if (file_read(path, RESULT_MAX, FAILURE_IO, &data, &n, NULL) < 0)
                return;
        /* JSON is UTF-8: the program writes ASCII, but quotes the messages of libraries. */
        for (size_t i = 0; i < n; i++)
                if (data[i] != '\n' && (data[i] < ' ' || data[i] > '~'))
                        data[i] = '?';
        checks = json_object_new_array();
        rest = (char *) data;
        while ((line = strsep(&rest, "\n")) && count < CHECKS_MAX) {
                check = check_of(line);
                if (!check)
                        continue;
                json_object_array_add(checks, check);
                count++;
        }
        report_put(r, "gpu_test", checks);
}
