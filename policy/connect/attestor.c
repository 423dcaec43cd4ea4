/* SPDX-License-Identifier: Apache-2.0 */
#include "connect/attestor.h"

#include "basic/clock.h"

enum { WAIT_FIRST_MS = 1000, WAIT_MAX_MS = 10000, BUSY_TRIES = 5 };

static void keep(struct attestor *a, const struct question *q, int r, const char *reason) {
        struct sealboot_verifier *v = a->verifier;
        bool authentic = sealboot_verifier_kind(v) != SEALBOOT_UNKNOWN;

        instances_judge(a->instances, q->key.id, reason, sealboot_verifier_timestamp(v), verdict_to_json(v, r),
                        authentic ? certificates_to_json(q->body, q->size) : NULL);
}

static void keep_connection(struct attestor *a, CURL *easy, const struct question *q) {
        char *address = NULL;
        long version = 0;

        curl_easy_getinfo(easy, CURLINFO_PRIMARY_IP, &address);
        curl_easy_getinfo(easy, CURLINFO_HTTP_VERSION, &version);
        instances_reached(a->instances, q->key.id, address ?: "",
                          version == CURL_HTTP_VERSION_2_0 ? "HTTP/2" : "HTTP/1.1");
}

enum attestor_answer attestor_judge(struct attestor *a, CURL *easy, const struct question *q, unsigned *ret_wait_ms,
                                    struct refusal *ret_refusal, struct error *e) {
        curl_off_t wait = 0;
        long status = 0;
        int r;

        curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
        if (status == 429 || status == 503) {
                curl_easy_getinfo(easy, CURLINFO_RETRY_AFTER, &wait);
                *ret_wait_ms = wait > 0 ? (unsigned) MIN_OF(wait * 1000, (curl_off_t) WAIT_MAX_MS) : WAIT_FIRST_MS;
                return ATTEST_BUSY;
        }
        if (status != 200) {
                fail(e, FAILURE_DOCUMENT, -EBADMSG, a->server->url, "gives no attestation document: HTTP status %ld%s",
                     status, status >= 300 && status < 400 ? ", which leads elsewhere" : "");
                *ret_refusal = (struct refusal) { .code = "not-authentic" };
                snprintf(ret_refusal->text, sizeof ret_refusal->text, "no attestation document: HTTP status %ld",
                         status);
                return ATTEST_FAILED;
        }
        r = sealboot_verify_tls(a->verifier, q->body, q->size, q->key.spki, q->key.spki_size, q->nonce,
                                sizeof q->nonce);
        if (r == -EINVAL || r == -ENOMEM) {
                fail(e, FAILURE_INTERNAL, r, "", "%s", sealboot_verifier_error(a->verifier));
                return ATTEST_FAILED;
        }
        if (r < 0)
                verdict_refusal(a->verifier, r, ret_refusal);
        keep(a, q, r, r < 0 ? ret_refusal->text : NULL);
        keep_connection(a, easy, q);
        if (r == 0)
                return ATTESTED;
        fail(e, verdict_code(r), r, a->server->url, "%s", ret_refusal->text);
        return ATTEST_REFUSED;
}

void attestor_report(struct attestor *a, CURL *easy, const struct question *q) {
        json_object *report;
        long status = 0;
        struct error e;

        curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
        if (status == 200 && q->body &&
            json_parse((const char *) q->body, q->size, FAILURE_DOCUMENT, "report", &report, &e) == 0)
                instances_report(a->instances, q->key.id, report);
}

static int check_once(struct attestor *a, struct peer *p, CURL *easy, unsigned *ret_wait_ms, bool *ret_document,
                      struct error *e) {
        _cleanup_(question_done) struct question q = { .kind = QUESTION_ATTEST };
        enum attestor_answer answer;
        struct refusal refusal;
        CURLcode code;
        int r;

        *ret_wait_ms = 0;
        r = question_prepare(easy, a->server, p, &q, e);
        if (r < 0)
                return r;
        code = curl_easy_perform(easy);
        if (code != CURLE_OK)
                return question_failed(&q, easy, code, a->server->url, e);
        answer = attestor_judge(a, easy, &q, ret_wait_ms, &refusal, e);
        *ret_document = answer == ATTESTED || answer == ATTEST_REFUSED;
        return answer == ATTESTED ? 0
               : answer == ATTEST_BUSY
                       ? fail(e, FAILURE_NETWORK, -EBUSY, a->server->url, "is busy attesting for others; try again")
               : answer == ATTEST_REFUSED ? (e->failure == FAILURE_MISMATCH ? -EKEYREJECTED : -EBADMSG)
                                          : -EIO;
}

int attestor_check(struct attestor *a, struct peer *p, bool *ret_document, struct error *e) {
        CURL *easy = curl_easy_init();
        unsigned wait_ms = 0;
        int r = -EBUSY;

        *ret_document = false;
        if (!easy)
                return fail_oom(e);
        p->asking = true;
        for (unsigned i = 0; i < BUSY_TRIES && r == -EBUSY; i++) {
                if (i > 0)
                        clock_sleep_ms(wait_ms);
                r = check_once(a, p, easy, &wait_ms, ret_document, e);
        }
        curl_easy_cleanup(easy);
        return r;
}
