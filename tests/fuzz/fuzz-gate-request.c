/* SPDX-License-Identifier: Apache-2.0 */

/* What reaches the gate while it runs. The first byte says as what the rest is read: a line of nginx's log, a nonce,
 * the extension of a peer's certificate, a certificate as nginx escapes it, or the headers of a request to be judged,
 * one per line. */

#include <json-c/json.h>

#include "basic/json.h"
#include "gate/attester.h"
#include "gate/callers.h"
#include "gate/peer-certificate.h"
#include "gate/request-log.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A line that is accepted is JSON again, of the same entry. */
static void fuzz_line(const char *text, size_t n) {
        _cleanup_(request_log_freep) struct request_log *log = NULL;
        _cleanup_json_ json_object *o = NULL;
        _cleanup_free_ char *printed = NULL;
        struct request_entry entry;
        struct error e = {};
        size_t size;

        if (request_line_parse(text, n, &entry, &e) < 0) {
                if (!e.reason[0])
                        abort();
                return;
        }
        if (request_log_new(1, &log) < 0)
                return;
        request_log_add(log, &entry);
        if (request_log_json(log, &printed, &size) == 0 && json_parse(printed, size, FAILURE_IO, "log", &o, &e) < 0)
                abort();
}

static void fuzz_nonce(const char *text) {
        struct attester_question q = {};

        if (attester_nonce_parse(text, &q) < 0 ? q.nonce_size != 0 : q.nonce_size < 8 || q.nonce_size > 64)
                abort();
}

static void fuzz_extension(const uint8_t *data, size_t size) {
        const uint8_t *document = NULL;
        struct error e = {};
        size_t n = 0;

        if (peer_extension_parse(data, size, &document, &n, &e) < 0) {
                if (!e.reason[0])
                        abort();
        } else if (document < data || document + n != data + size)
                abort();
}

static void fuzz_certificate(const char *text) {
        const uint8_t *document;
        struct error e = {};
        X509 *x = NULL;
        size_t n;

        if (peer_certificate_read(text, &x, &e) == 0)
                (void) !peer_certificate_document(x, &document, &n, &e);
        X509_free(x);
}

static struct callers *callers_of_all_kinds(void) {
        static const char text[] = "{\"callers\": {\"tokens\": [{\"name\": \"a\", \"sha256\": "
                                   "\"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08\"}]},"
                                   "\"paths\": {\"server\": \"llama-server\"}, \"upstream\": \"127.0.0.1:1\"}";
        static struct gate_config *c;
        struct callers *l = NULL;

        if (!c && gate_config_parse(text, strlen(text), "fuzz", &c, NULL) < 0)
                abort();
        if (callers_new(c, NULL, &l, NULL) < 0)
                abort();
        return l;
}

/* Whoever may call has a name, whoever may not has a reason, and both can stand in a header. */
static void fuzz_judgement(char *text) {
        static struct callers *callers;
        struct caller_question q = {};
        struct caller_answer a;

        if (!callers)
                callers = callers_of_all_kinds();
        q.method = strsep(&text, "\n");
        q.path = strsep(&text, "\n");
        q.authorization = strsep(&text, "\n");
        q.address = strsep(&text, "\n");
        q.certificate = text;
        callers_judge(callers, &q, &a);
        if (a.verdict == CALLER_MAY ? !streq(a.name, "a") || !strstr(q.authorization, "test") : !a.reason[0])
                abort();
        for (const char *p = a.reason; *p; p++)
                if (*p < ' ' || *p > '~' || *p == '"' || *p == '\\')
                        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_free_ char *text = NULL;

        if (size == 0)
                return 0;
        text = strndup((const char *) data + 1, size - 1);
        if (!text)
                return 0;
        switch (data[0]) {
        case 'l':
                fuzz_line((const char *) data + 1, size - 1);
                break;
        case 'n':
                fuzz_nonce(text);
                break;
        case 'e':
                fuzz_extension(data + 1, size - 1);
                break;
        case 'c':
                fuzz_certificate(text);
                break;
        case 'j':
                fuzz_judgement(text);
                break;
        default:
                break;
        }
        return 0;
}
