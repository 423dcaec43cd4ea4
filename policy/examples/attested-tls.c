/* SPDX-License-Identifier: Apache-2.0 */

/* A client that asks nothing of a server before the server has proven which image it booted: it takes the attestation
 * document over the TLS connection that it then uses.
 *
 *     cc attested-tls.c $(pkg-config --cflags --libs sealboot-verify libssl libcrypto)
 *     ./a.out HOST:PORT REFERENCE.json /v1/models [ROOT.pem]  */

#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <sealboot-verify.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static size_t read_file(const char *path, char *buffer, size_t room) {
        FILE *f = fopen(path, "rb");
        size_t n = f ? fread(buffer, 1, room, f) : 0;

        if (!f || ferror(f) || n == room) {
                fprintf(stderr, "cannot read %s\n", path);
                exit(1);
        }
        fclose(f);
        return n;
}

static BIO *connect_tls(SSL_CTX *ctx, const char *where) {
        BIO *bio = BIO_new_ssl_connect(ctx);

        /* The certificate is self-signed, and only its key means anything. TLS 1.3 without resumption and early data:
         * each connection shows the key that the document then names. */
        SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION);
        SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET);
        if (!bio || !BIO_set_conn_hostname(bio, where) || BIO_do_handshake(bio) != 1) {
                fprintf(stderr, "no TLS 1.3 connection to %s\n", where);
                exit(1);
        }
        return bio;
}

/* The whole answer until the server closes, or the body of `length` bytes; returns where the body begins. */
static char *ask(BIO *bio, const char *host, const char *path, int last, char *answer, size_t room, size_t *ret) {
        size_t n = 0, wanted = room;
        char *body = NULL;
        int got;

        BIO_printf(bio, "GET %s HTTP/1.1\r\nHost: %s\r\n%s\r\n", path, host, last ? "Connection: close\r\n" : "");
        while (n < wanted && n < room - 1 && (got = BIO_read(bio, answer + n, (int) (room - 1 - n))) > 0) {
                n += (size_t) got;
                answer[n] = '\0';
                if (body || !(body = strstr(answer, "\r\n\r\n")))
                        continue;
                body += 4;
                for (char *line = strstr(answer, "\r\n"); line && line < body; line = strstr(line + 2, "\r\n"))
                        if (OPENSSL_strncasecmp(line + 2, "content-length:", 15) == 0)
                                wanted = (size_t) (body - answer) + strtoul(line + 17, NULL, 10);
        }
        if (!body || strncmp(answer, "HTTP/1.1 200 ", 13) != 0) {
                fprintf(stderr, "%s: no answer\n", path);
                exit(1);
        }
        *ret = (size_t) (answer + n - body);
        return body;
}

static int attest(struct sealboot_verifier *v, BIO *bio, const char *host) {
        static char answer[65536];
        unsigned char nonce[32], key[SEALBOOT_TLS_KEY_MAX], *certificate = NULL;
        char path[128] = "/.well-known/sealboot/attestation?nonce=";
        size_t size, key_size;
        SSL *ssl = NULL;
        X509 *peer;
        int n, r;

        BIO_get_ssl(bio, &ssl);
        peer = SSL_get1_peer_certificate(ssl);
        n = peer ? i2d_X509(peer, &certificate) : -1;
        if (n < 0 || RAND_bytes(nonce, sizeof nonce) != 1 ||
            sealboot_tls_certificate_key(certificate, (size_t) n, key, &key_size) < 0)
                return -1;
        for (size_t i = 0; i < sizeof nonce; i++)
                sprintf(path + strlen(path), "%02x", nonce[i]);
        certificate = (unsigned char *) ask(bio, host, path, 0, answer, sizeof answer, &size);
        r = sealboot_verify_tls(v, certificate, size, key, key_size, nonce, sizeof nonce);
        X509_free(peer);
        return r;
}

int main(int argc, char *argv[]) {
        static char reference[65536], root[65536], answer[65536];
        struct sealboot_verifier *v = sealboot_verifier_new();
        SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
        size_t size;
        BIO *bio;
        int r;

        if (!v || !ctx || argc < 4)
                return 1;
        size = read_file(argv[2], reference, sizeof reference);
        r = sealboot_verifier_add_reference(v, reference, size, argv[2]);
        if (r == 0)
                r = sealboot_verifier_require_whole_reference(v, 1);
        if (r == 0 && argc > 4) {
                size = read_file(argv[4], root, sizeof root);
                r = sealboot_verifier_set_root(v, root, size);
        }
        bio = connect_tls(ctx, argv[1]);
        if (r == 0)
                r = attest(v, bio, argv[1]);
        if (r == 0)
                printf("%s\n", ask(bio, argv[1], argv[3], 1, answer, sizeof answer, &size));
        else
                fprintf(stderr, "refused: %s\n", sealboot_verifier_error(v));
        BIO_free_all(bio);
        SSL_CTX_free(ctx);
        sealboot_verifier_free(v);
        return r == 0 ? 0 : 1;
}
