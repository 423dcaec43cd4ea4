/* SPDX-License-Identifier: Apache-2.0 */

/* gate.json. What is accepted gives a configuration of nginx in which no value of gate.json has become a directive: it
 * has as many braces as its locations need, whatever the values are. */

#include "gate/nginx.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_printed(const struct gate_config *c) {
        _cleanup_free_ char *text = NULL;
        size_t size, open = 0, closed = 0;
        FILE *f = open_memstream(&text, &size);

        if (!f)
                return;
        nginx_print(f, c, "/d");
        fclose(f);
        for (size_t i = 0; i < size; i++) {
                open += text[i] == '{';
                closed += text[i] == '}';
                if (text[i] == '\0' || (unsigned char) text[i] > 0x7e || (text[i] < ' ' && text[i] != '\n'))
                        abort();
        }
        if (open != closed)
                abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_gate_config_ struct gate_config *c = NULL;
        struct error e = {};

        if (gate_config_parse((const char *) data, size, "fuzz", &c, &e) < 0) {
                if (e.failure == FAILURE_NONE || !e.reason[0] || c)
                        abort();
                return 0;
        }
        if (c->n_callers == 0 || c->paths.n == 0 || !c->upstream_socket == !c->upstream_port || c->port == 0)
                abort();
        check_printed(c);
        return 0;
}
