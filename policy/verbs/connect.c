/* SPDX-License-Identifier: Apache-2.0 */

/* sealboot connect: a local endpoint of a model server that has proven itself. */

#include <signal.h>
#include <sys/resource.h>
#include <systemd/sd-daemon.h>

#include "basic/clock.h"
#include "basic/encode.h"
#include "basic/file.h"
#include "connect/local.h"
#include "evidence/tpm.h"
#include "verbs/command.h"
#include "verbs/verifier-options.h"
#include "verify/reference.h"

enum { MAX_AGE_SECONDS = 600, TOKEN_MAX = 8192, RENEW_SECONDS = 120, DESCRIPTORS = 16384 };

struct arguments {
        struct sealboot_verifier *v;
        size_t n_references;
        uint64_t max_age;
        const char *listen, *token_file, *certificate, *key;
        bool present, check, as_json;
};

static int add_reference(void *field, const struct option_row *row, char *path, struct error *e) {
        struct arguments *a = field;

        a->n_references++;
        return verifier_add_file(&a->v, row, path, e);
}

static int set_max_age(void *field, const struct option_row *row, char *text, struct error *e) {
        uint64_t *seconds = field;

        (void) row;
        if (decimal_parse(text, 24 * 3600, seconds) < 0 || *seconds == 0)
                return fail(e, FAILURE_USAGE, -EINVAL, "", "--max-age takes 1 to 86400 seconds, not '%s'", text);
        return 0;
}

static const struct option_row option_rows[] = {
        { 0, "reference", "FILE",
          "the image must have these reference measurements ('sealboot measure' writes them); several files or an "
          "array of sets: any one set, whole",
          OPTION_CALL_WHOLE(add_reference, 0) },
        { 0, "partial-reference", NULL, "accept a reference that does not cover the whole boot: see sealboot-verify(1)",
          OPTION_CALL(verifier_allow_partial_reference, struct arguments, v) },
        { 0, "model-digest", "DIGEST", "the model must be this one, by PCR15; several: any one",
          OPTION_CALL(verifier_add_digest, struct arguments, v) },
        { 0, "max-age", "SECONDS", "attest each instance anew when this long has passed (default 600)",
          OPTION_CALL(set_max_age, struct arguments, max_age) },
        { 0, "listen", "ADDRESS:PORT", "where to answer (default 127.0.0.1:8000)",
          OPTION_TEXT(struct arguments, listen) },
        { 0, "token-file", "FILE", "send the bearer token in this file with each request, in place of the client's own",
          OPTION_TEXT(struct arguments, token_file) },
        { 0, "cert", "PEM", "show the server this client certificate", OPTION_TEXT(struct arguments, certificate) },
        { 0, "key", "PEM", "the private key of --cert", OPTION_TEXT(struct arguments, key) },
        { 0, "present", NULL,
          "on an attested instance: show the server this instance's own attestation document, in a client certificate",
          OPTION_FLAG(struct arguments, present) },
        { 0, "root", "PEM", "another root certificate, for emulators",
          OPTION_CALL(verifier_add_file, struct arguments, v) },
        { 0, "check", NULL, "verify the server once, print each check, and end", OPTION_FLAG(struct arguments, check) },
        { 0, "json", NULL, "with --check: print the result as JSON", OPTION_FLAG(struct arguments, as_json) },
        OPTION_HELP,
        {},
};

static const struct command_line command_line = {
        .program = PROGRAM " connect",
        .usage = "Usage: sealboot connect --reference FILE... [OPTION...] https://HOST[:PORT]\n\n"
                 "Answer on a local address, for programs that know nothing of attestation, and pass their requests on "
                 "to a\n"
                 "model server: but only over TLS connections whose key an attested instance of the image holds. "
                 "Before an\n"
                 "instance has proven that, no byte of a request leaves this machine.",
        .rows = option_rows,
        .more = "http://127.0.0.1:8000/.well-known/sealboot/ shows which image and model answer, and how that was "
                "verified.\n\n"
                "Exit codes: 0 stopped by a signal, or with --check: verified; 72 the server's document is not "
                "authentic;\n"
                "73 authentic, but another image or model; 15 the server cannot be reached; 2 usage; 61 a file cannot "
                "be\n"
                "read; 20 to 24 with --present: no document of this instance.\n\n"
                "Example: sealboot connect --reference image.json --model-digest sha384:... https://model.example.com",
        .operands_min = 1,
        .operands_max = 1,
        .needed = "one server is needed, such as https://model.example.com",
};

/* --- What the options name */

/* A bearer token (RFC 6750, section 2.1), without the line's end that editors leave. */
static int read_token(const char *path, struct secret **ret, struct error *e) {
        _cleanup_free_ uint8_t *text = NULL;
        size_t n, size;
        int r;

        r = file_read(path, TOKEN_MAX, FAILURE_IO, &text, &size, e);
        if (r < 0)
                return r;
        n = size;
        while (n > 0 && strchr(" \t\r\n", text[n - 1]))
                n--;
        for (size_t i = 0; i < n && r == 0; i++)
                if (text[i] <= ' ' || text[i] >= 0x7f)
                        r = -EINVAL;
        if (r < 0 || n == 0)
                r = fail(e, FAILURE_IO, -EINVAL, path, "is not a bearer token: one line of printable characters");
        else if (secret_copy(text, n, ret) < 0)
                r = fail_oom(e);
        explicit_bzero(text, size);
        return r;
}

static int take_identity(const struct arguments *a, struct identity **ret, struct error *e) {
        if (!a->present)
                return identity_of_files(a->certificate, a->key, ret, e);
        tpm_quiet();
        return identity_of_instance(getenv("TPM2TOOLS_TCTI"), ret, e);
}

static int check_arguments(const struct arguments *a, struct error *e) {
        if (a->n_references == 0)
                return fail(e, FAILURE_USAGE, -EINVAL, "",
                            "--reference is needed: without one, any instance of anybody would be accepted");
        if (!a->certificate != !a->key)
                return fail(e, FAILURE_USAGE, -EINVAL, "", "--cert and --key belong together");
        if (a->certificate && a->present)
                return fail(e, FAILURE_USAGE, -EINVAL, "", "--cert and --present exclude each other");
        if (a->as_json && !a->check)
                return fail(e, FAILURE_USAGE, -EINVAL, "", "--json needs --check");
        return 0;
}

/* --- --check */

static int check(const struct arguments *a, struct attestor *attestor, struct identity *identity, struct error *e) {
        struct peer peer = { .identity = identity, .instances = attestor->instances };
        bool document;
        int r;

        r = attestor_check(attestor, &peer, &document, e);
        if (!document)
                return r;
        if (a->as_json) {
                _cleanup_json_ json_object *o = verdict_to_json(a->v, r);

                puts(json_object_to_json_string_ext(o, JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_NOSLASHESCAPE));
        } else
                verdict_print(stdout, a->v, attestor->server->url, r);
        if (r < 0) {
                fflush(stdout);
                fprintf(stderr, PROGRAM " connect: refused: %s\n", e->reason);
        }
        return verdict_code(r);
}

/* --- The endpoint */

/* A thousand streams are a thousand sockets. */
static void allow_descriptors(void) {
        struct rlimit limit;

        if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur >= DESCRIPTORS)
                return;
        limit.rlim_cur = limit.rlim_max == RLIM_INFINITY ? DESCRIPTORS : MIN_OF(limit.rlim_max, (rlim_t) DESCRIPTORS);
        setrlimit(RLIMIT_NOFILE, &limit);
}

static void catch_signals(sigset_t *ret) {
        sigemptyset(ret);
        sigaddset(ret, SIGINT);
        sigaddset(ret, SIGTERM);
        sigaddset(ret, SIGHUP);
        sigprocmask(SIG_BLOCK, ret, NULL);
}

/* Until a signal says so; meanwhile own evidence is renewed. */
static void wait_for_end(const sigset_t *signals, struct identity *identity) {
        const struct timespec second = { .tv_sec = 1 };
        int64_t tried_ns = clock_ns();
        struct error e;

        while (sigtimedwait(signals, NULL, &second) < 0) {
                int64_t made_ns = identity_made_ns(identity);

                if (made_ns == INT64_MAX || clock_seconds_since(MAX_OF(made_ns, tried_ns)) < RENEW_SECONDS)
                        continue;
                tried_ns = clock_ns();
                if (identity_renew(identity, &e) < 0)
                        fprintf(stderr, PROGRAM " connect: own evidence: %s: %s\n", e.subject, e.reason);
        }
}

static int serve(const struct arguments *a, const struct channel_site *site, struct error *e) {
        struct listen_address address;
        struct upstream *u = NULL;
        struct local *local = NULL;
        sigset_t signals;
        uint16_t port = 0;
        int fd = -1, r;

        r = listen_parse(a->listen ?: "127.0.0.1:8000", &address, e);
        if (r == 0)
                r = listen_open(&address, &fd, &port, e);
        if (r < 0)
                return r;
        catch_signals(&signals);
        r = upstream_new(site, &u, e);
        if (r == 0)
                r = upstream_wait(u, e);
        if (r == 0)
                r = local_new(TAKE_FD(fd), u, site->instances, site->server->url, &local, e);
        if (r == 0) {
                if (!address.loopback)
                        fprintf(stderr,
                                PROGRAM " connect: warning: other machines can reach %s, and it asks for no "
                                        "password\n",
                                address.text);
                printf("%s is verified. Listening on http://%s%s%s:%u\n", site->server->url,
                       strchr(address.host, ':') ? "[" : "", address.host, strchr(address.host, ':') ? "]" : "", port);
                fflush(stdout);
                sd_notify(0, "READY=1");
                wait_for_end(&signals, site->identity);
        }
        if (u)
                upstream_stop(u);
        local_free(local);
        upstream_free(u);
        if (fd >= 0)
                close(fd);
        return r;
}

static int run(const struct arguments *a, const char *text, struct error *e) {
        _cleanup_(instances_freep) struct instances *instances = NULL;
        _cleanup_(identity_freep) struct identity *identity = NULL;
        _cleanup_secret_ struct secret *token = NULL;
        struct attestor attestor = { .verifier = a->v };
        struct channel_site site = { .attestor = &attestor };
        struct server server;
        int r;

        r = server_parse(text, &server, e);
        if (r == 0)
                r = instances_new((int64_t) a->max_age, &instances, e);
        if (r == 0 && a->token_file)
                r = read_token(a->token_file, &token, e);
        if (r == 0)
                r = take_identity(a, &identity, e);
        if (r < 0)
                return r;
        attestor.instances = site.instances = instances;
        attestor.server = site.server = &server;
        site.identity = identity;
        site.token = token;
        if (a->check)
                return check(a, &attestor, identity, e);
        return serve(a, &site, e);
}

/* The words of other verbs are about AWS. */
static int failed(struct error *e) {
        static const struct {
                enum failure failure;
                const char *title, *advice;
        } words[] = {
                { FAILURE_NETWORK, "the server could not be reached",
                  "Check the server's address, HTTPS_PROXY, and the firewall between this machine and it." },
                { FAILURE_DOCUMENT, "the server has not proven what it is",
                  "Nothing was sent to it. Ask its operator, and check this machine's clock; `sealboot connect "
                  "--check` "
                  "shows each check." },
                { FAILURE_MISMATCH, "the server is not what was asked for",
                  "Nothing was sent to it. If its image or model was changed on purpose, get the new reference and "
                  "model "
                  "digest from whom you trust; `sealboot connect --check` shows each check." },
        };

        for (size_t i = 0; i < ELEMENTS(words); i++)
                if (e->failure == words[i].failure) {
                        failure_print_words(stderr, PROGRAM, e, words[i].title,
                                            e->advice[0] ? e->advice : words[i].advice);
                        return (int) e->failure;
                }
        return command_misused(&command_line, e);
}

int cmd_connect(int argc, char *argv[]) {
        _cleanup_verifier_ struct sealboot_verifier *v = sealboot_verifier_new();
        struct arguments a = { .v = v, .max_age = MAX_AGE_SECONDS };
        struct operands operands;
        struct error e = {};
        int code, r;

        if (!v) {
                fail_oom(&e);
                return command_failed(&e);
        }
        sealboot_verifier_require_whole_reference(v, 1);
        if (!command_parse(&command_line, argc, argv, &a, &operands, &code))
                return code;
        if (check_arguments(&a, &e) < 0)
                return command_misused(&command_line, &e);
        if (sealboot_verifier_set_max_age(v, (int64_t) a.max_age) < 0 || curl_global_init(CURL_GLOBAL_DEFAULT) != 0) {
                fail_oom(&e);
                return command_failed(&e);
        }
        allow_descriptors();
        r = run(&a, operands.items[0], &e);
        return r < 0 ? failed(&e) : r;
}
