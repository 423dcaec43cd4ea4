/* SPDX-License-Identifier: Apache-2.0 */
#include "aws/read-ahead.h"

/* Four records. Larger buffers leave the second-level cache. */
enum { READ_AHEAD = 4 * (SSL3_RT_MAX_PLAIN_LENGTH + 256 + SSL3_RT_HEADER_LENGTH) };

static void count(int is_written, int version, int type, const void *data, size_t n, SSL *ssl, void *userdata) {
        struct read_ahead *r = userdata;

        (void) version;
        (void) data;
        (void) n;
        if (is_written || (type != SSL3_RT_HEADER && type != SSL3_RT_INNER_CONTENT_TYPE))
                return;
        r->records++;
        r->others |= ssl != r->expected;
}

void read_ahead_prepare(SSL_CTX *ctx, struct read_ahead *r) {
        SSL_CTX_set_read_ahead(ctx, 1);
        SSL_CTX_set_default_read_buffer_len(ctx, READ_AHEAD);
        SSL_CTX_set_msg_callback(ctx, count);
        SSL_CTX_set_msg_callback_arg(ctx, r);
}

SSL *tls_connection(CURL *easy) {
        struct curl_tlssessioninfo *info = NULL;

        if (curl_easy_getinfo(easy, CURLINFO_TLS_SSL_PTR, &info) != CURLE_OK || !info ||
            info->backend != CURLSSLBACKEND_OPENSSL)
                return NULL;
        return info->internals;
}

const SSL *read_ahead_left(CURL *easy) {
        SSL *ssl = tls_connection(easy);

        return ssl && SSL_has_pending(ssl) == 1 ? ssl : NULL;
}
