/* SPDX-License-Identifier: Apache-2.0 */
#include "connect/exchange.h"

#include <strings.h>

#include "basic/json.h"

enum { ROOM = 64 * 1024 };

int exchange_new(const char *method, const char *target, struct curl_slist *headers, int64_t length,
                 const struct exchange_hooks *hooks, void *client, struct exchange **ret, struct error *e) {
        struct exchange *x = calloc(1, sizeof *x);

        if (x) {
                x->method = strdup(method);
                x->target = strdup(target);
        }
        if (!x || !x->method || !x->target) {
                free(x ? x->method : NULL);
                free(x ? x->target : NULL);
                free(x);
                return fail_oom(e);
        }
        x->references = 2;
        x->hooks = hooks;
        x->client = client;
        x->headers = headers;
        x->length = length;
        x->client_fd = -1;
        x->room = ROOM;
        *ret = x;
        return 0;
}

void exchange_drop(struct exchange *x) {
        if (--x->references > 0)
                return;
        pipe_done(&x->up);
        pipe_done(&x->down);
        answer_done(&x->answer);
        curl_slist_free_all(x->headers);
        free(x->method);
        free(x->target);
        free(x);
}

int answer_add(struct answer *a, const char *name, const char *value) {
        struct header *larger = reallocarray(a->headers, a->n_headers + 1, sizeof *larger);
        struct header h;

        if (!larger)
                return -ENOMEM;
        a->headers = larger;
        h = (struct header) { strdup(name), strdup(value) };
        if (!h.name || !h.value) {
                free(h.name);
                free(h.value);
                return -ENOMEM;
        }
        a->headers[a->n_headers++] = h;
        return 0;
}

void answer_done(struct answer *a) {
        for (size_t i = 0; i < a->n_headers; i++) {
                free(a->headers[i].name);
                free(a->headers[i].value);
        }
        free(a->headers);
        *a = (struct answer) {};
}

/* --- Whom to tell */

static void suspend(struct exchange *x) {
        if (!x->client || x->client_waits)
                return;
        x->client_waits = true;
        x->hooks->suspend_client(x->client);
}

static void resume(struct exchange *x) {
        if (!x->client || !x->client_waits)
                return;
        x->client_waits = false;
        x->hooks->resume_client(x->client);
}

static void wake_server(struct exchange *x) {
        if (x->server)
                x->hooks->wake_server(x, x->server);
}

/* --- The client's side */

size_t exchange_put(struct exchange *x, const void *data, size_t n) {
        size_t taken;

        taken = x->end != EXCHANGE_OPEN ? n : MIN_OF(n, x->room - MIN_OF(x->room, x->up.size));
        /* An answer that came before the end of the request: the rest has no reader. */
        if (x->end == EXCHANGE_OPEN && pipe_put(&x->up, data, taken) < 0)
                taken = 0;
        if (taken < n) {
                x->up_full = true;
                suspend(x);
        }
        if (x->up_awaited) {
                x->up_awaited = false;
                wake_server(x);
        }
        return taken;
}

void exchange_end_request(struct exchange *x) {
        if (!x->up_ended) {
                x->up_ended = true;
                x->up_awaited = false;
                wake_server(x);
        }
}

bool exchange_answered(struct exchange *x) {
        if (!x->answered)
                suspend(x);
        return x->answered;
}

ssize_t exchange_read(struct exchange *x, void *to, size_t n) {
        ssize_t r;

        r = (ssize_t) pipe_take(&x->down, to, n);
        if (r == 0 && x->end == EXCHANGE_OPEN)
                suspend(x);
        else if (r == 0)
                r = x->end == EXCHANGE_WHOLE ? -ENODATA : -EPIPE;
        if (x->down_full && x->down.size <= x->room / 2) {
                x->down_full = false;
                wake_server(x);
        }
        return r;
}

void exchange_leave(struct exchange *x) {
        x->client = NULL;
        pipe_done(&x->down);
        wake_server(x);
}

/* --- The server's side */

void exchange_limit(struct exchange *x, size_t room) {
        x->room = room;
}

ssize_t exchange_take(struct exchange *x, void *to, size_t n) {
        ssize_t r;

        r = (ssize_t) pipe_take(&x->up, to, n);
        if (!x->client && x->end == EXCHANGE_OPEN)
                r = -ECANCELED;
        else if (r == 0 && !x->up_ended) {
                x->up_awaited = true;
                r = -EAGAIN;
        }
        if (r > 0)
                x->sent += (uint64_t) r;
        if (x->up_full && x->up.size <= x->room / 2) {
                x->up_full = false;
                resume(x);
        }
        return r;
}

void exchange_begin_answer(struct exchange *x, struct answer *answer) {
        if (!x->answered) {
                x->answer = TAKE_STRUCT(*answer);
                x->answered = true;
        }
        answer_done(answer);
}

int exchange_give(struct exchange *x, const void *data, size_t n) {
        int r;

        if (!x->client)
                r = -ECANCELED;
        else if (x->down.size > 0 && x->down.size + n > x->room) {
                x->down_full = true;
                r = -EAGAIN;
        } else
                r = pipe_put(&x->down, data, n);
        return r;
}

void exchange_deliver(struct exchange *x) {
        if (x->answered)
                resume(x);
}

void exchange_finish(struct exchange *x, enum exchange_end end) {
        if (x->end != EXCHANGE_OPEN || !x->answered)
                return;
        x->end = end;
        pipe_done(&x->up);
        x->up_full = false;
        resume(x);
}

/* {"error": {"message": ..., "type": "sealboot_connect", "code": ...}} */
static char *error_text(const char *code, const char *text) {
        _cleanup_json_ json_object *o = json_object_new_object();
        json_object *error = json_object_new_object();

        json_object_object_add(error, "message", json_object_new_string(text));
        json_object_object_add(error, "type", json_object_new_string("sealboot_connect"));
        json_object_object_add(error, "code", json_object_new_string(code));
        json_object_object_add(o, "error", error);
        return strdup(json_object_to_json_string_ext(o, JSON_C_TO_STRING_NOSLASHESCAPE));
}

void exchange_fail(struct exchange *x, int status, const char *code, const char *text) {
        struct answer a = { .status = status, .length = -1 };
        _cleanup_free_ char *body = error_text(code, text);

        if (!x->answered && body && answer_add(&a, "Content-Type", "application/json") == 0 &&
            pipe_put(&x->down, body, strlen(body)) == 0) {
                a.length = (int64_t) strlen(body);
                x->answer = TAKE_STRUCT(a);
                x->answered = true;
                exchange_finish(x, EXCHANGE_WHOLE);
        } else {
                x->answer.status = x->answered ? x->answer.status : status;
                x->answered = true;
                exchange_finish(x, EXCHANGE_BROKEN);
        }
        answer_done(&a);
}

void exchange_break(struct exchange *x) {
        x->answered = true; /* without a status: nobody will read it */
        exchange_finish(x, EXCHANGE_BROKEN);
}

void exchange_trim(struct exchange *x) {
        pipe_trim(&x->up);
        pipe_trim(&x->down);
}

bool exchange_left(struct exchange *x) {
        return !x->client;
}

bool exchange_can_send(struct exchange *x) {
        return x->up.size > 0 || x->up_ended;
}

bool exchange_can_receive(struct exchange *x) {
        return x->down.size <= x->room / 2;
}
