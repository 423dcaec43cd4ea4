/* SPDX-License-Identifier: Apache-2.0 */
#include "connect/peer.h"

#include <openssl/err.h>
#include <openssl/sha.h>
#include <openssl/ssl.h>
#include <strings.h>

#include "aws/read-ahead.h"
#include "connect/headers.h"
#include "verify/tls.h"

enum {
        CONNECT_TIMEOUT_MS = 10000,
        KEEPALIVE_IDLE_SECONDS = 30,
        KEEPALIVE_INTERVAL_SECONDS = 10,
        BUFFER_SIZE = 16384,
};

/* libcurl reads these, and lower case first. */
static const char *const proxies[] = { "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY" };

static int check_proxies(struct error *e) {
        for (size_t i = 0; i < ELEMENTS(proxies); i++) {
                const char *value = getenv(proxies[i]);

                if (value && strncasecmp(value, "https://", 8) == 0)
                        return fail(e, FAILURE_USAGE, -EINVAL, "",
                                    "%s names a proxy that is reached by TLS; only http:// and socks5h:// proxies are "
                                    "supported: the TLS to the server goes through them unopened",
                                    proxies[i]);
        }
        return 0;
}

static int take_part(CURLU *u, CURLUPart part, char **ret) {
        *ret = NULL;
        return curl_url_get(u, part, ret, 0) == CURLUE_OK ? 0 : -ENOENT;
}

static int parse(CURLU *u, const char *text, struct server *ret) {
        char *scheme = NULL, *host = NULL, *port = NULL, *path = NULL, *other = NULL;
        int n = -1;

        if (curl_url_set(u, CURLUPART_URL, text, 0) != CURLUE_OK)
                return -EINVAL;
        if (take_part(u, CURLUPART_SCHEME, &scheme) == 0 && take_part(u, CURLUPART_HOST, &host) == 0 &&
            take_part(u, CURLUPART_PATH, &path) == 0 && streq(scheme, "https") && streq(path, "/") &&
            take_part(u, CURLUPART_USER, &other) < 0 && take_part(u, CURLUPART_QUERY, &other) < 0 &&
            take_part(u, CURLUPART_FRAGMENT, &other) < 0) {
                take_part(u, CURLUPART_PORT, &port);
                n = snprintf(ret->url, sizeof ret->url, "https://%s%s%s", host, port ? ":" : "", port ?: "");
        }
        curl_free(scheme);
        curl_free(host);
        curl_free(port);
        curl_free(path);
        curl_free(other);
        return n > 0 && (size_t) n < sizeof ret->url ? 0 : -EINVAL;
}

int server_parse(const char *text, struct server *ret, struct error *e) {
        CURLU *u = curl_url();
        int r;

        if (!u)
                return fail_oom(e);
        r = parse(u, text, ret);
        curl_url_cleanup(u);
        if (r < 0 && strncasecmp(text, "http://", 7) == 0)
                return fail(e, FAILURE_USAGE, -EINVAL, "",
                            "'%s' is plain HTTP, which cannot be attested: everybody on the way reads it", text);
        if (r < 0)
                return fail(e, FAILURE_USAGE, -EINVAL, "",
                            "'%s' is not a server: give https://HOST or https://HOST:PORT, and nothing behind it",
                            text);
        return check_proxies(e);
}

static int key_of(const X509 *certificate, struct peer_key *ret) {
        int n = certificate ? tls_certificate_key(certificate, ret->spki) : -EINVAL;

        if (n < 0)
                return -EPROTO;
        ret->spki_size = (size_t) n;
        SHA256(ret->spki, ret->spki_size, ret->id);
        return 0;
}

/* OpenSSL's question, in each handshake, whether the certificate will do: 1 or 0. */
static int accept_certificate(X509_STORE_CTX *store, void *userdata) {
        const struct peer *p = userdata;
        struct peer_key key;

        if (key_of(X509_STORE_CTX_get0_cert(store), &key) == 0 &&
            (p->asking || instances_accept(p->instances, key.id))) {
                X509_STORE_CTX_set_error(store, X509_V_OK);
                return 1;
        }
        X509_STORE_CTX_set_error(store, X509_V_ERR_APPLICATION_VERIFICATION);
        return 0;
}

static CURLcode prepare_context(CURL *easy, void *context, void *userdata) {
        struct peer *p = userdata;
        SSL_CTX *ctx = context;

        (void) easy;
        SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
        SSL_CTX_set_cert_verify_callback(ctx, accept_certificate, p);
        SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
        SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET | SSL_OP_NO_COMPRESSION);
        SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS);
        if (p->reads_ahead)
                read_ahead_prepare(ctx, &p->read);
        if (SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION) != 1 || identity_use(p->identity, ctx) < 0) {
                ERR_clear_error();
                return CURLE_SSL_CERTPROBLEM;
        }
        return CURLE_OK;
}

int peer_prepare(CURL *easy, const struct server *server, struct peer *p, const char *target) {
        char *url;
        CURLcode r;

        if (asprintf(&url, "%s%s", server->url, target) < 0)
                return -ENOMEM;
        r = curl_easy_setopt(easy, CURLOPT_URL, url);
        free(url);
#define SET(option, value) r = r ?: curl_easy_setopt(easy, option, value)
        SET(CURLOPT_PATH_AS_IS, 1L);
#if CURL_AT_LEAST_VERSION(7, 85, 0)
        SET(CURLOPT_PROTOCOLS_STR, "https");
#else
        SET(CURLOPT_PROTOCOLS, (long) CURLPROTO_HTTPS);
#endif
        SET(CURLOPT_FOLLOWLOCATION, 0L);
        SET(CURLOPT_HTTP_VERSION, p->http1 ? (long) CURL_HTTP_VERSION_1_1 : (long) CURL_HTTP_VERSION_2TLS);
        SET(CURLOPT_NOSIGNAL, 1L);
        SET(CURLOPT_CONNECTTIMEOUT_MS, (long) CONNECT_TIMEOUT_MS);
        SET(CURLOPT_TCP_KEEPALIVE, 1L);
        SET(CURLOPT_TCP_KEEPIDLE, (long) KEEPALIVE_IDLE_SECONDS);
        SET(CURLOPT_TCP_KEEPINTVL, (long) KEEPALIVE_INTERVAL_SECONDS);
        SET(CURLOPT_BUFFERSIZE, (long) BUFFER_SIZE);
        /* A proxy's answer to CONNECT is not the server's. */
        SET(CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
        SET(CURLOPT_SSLVERSION, (long) CURL_SSLVERSION_TLSv1_3);
        SET(CURLOPT_SSL_SESSIONID_CACHE, 0L);
        SET(CURLOPT_SSL_VERIFYPEER, 0L); /* no authority is asked: accept_certificate() decides */
        SET(CURLOPT_SSL_VERIFYHOST, 0L);
        SET(CURLOPT_SSL_CTX_FUNCTION, prepare_context);
        SET(CURLOPT_SSL_CTX_DATA, p);
#undef SET
        return r == CURLE_OK ? 0 : -ENOMEM;
}

int peer_key(CURL *easy, struct peer_key *ret) {
        SSL *ssl = tls_connection(easy);
        X509 *certificate;
        int r;

        if (!ssl || SSL_version(ssl) != TLS1_3_VERSION || SSL_session_reused(ssl) || !SSL_is_init_finished(ssl))
                return -EPROTO;
        certificate = SSL_get1_peer_certificate(ssl);
        r = key_of(certificate, ret);
        X509_free(certificate);
        return r;
}
