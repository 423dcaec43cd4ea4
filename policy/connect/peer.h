/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The TLS rules of every connection to the server: TLS 1.3, no session is resumed, nothing is sent early, no
 * certificate authority is asked. What counts is the key, and whether it has been attested. It is looked at twice: in
 * the handshake, and again before each request, on the connection that libcurl has chosen for it. */

#include <curl/curl.h>

#include "aws/read-ahead.h"
#include "connect/identity.h"
#include "connect/instances.h"
#include "verify/sealboot-verify.h"

/* One address, as libcurl and people write it: "https://host" or "https://host:port". */
struct server {
        char url[512];
};
/* FAILURE_USAGE: another scheme, a path, a user. Also for a proxy of the environment that would be reached by TLS,
 * whose certificate would be taken for the server's. */
int server_parse(const char *text, struct server *ret, struct error *e);

struct peer_key {
        uint8_t id[KEY_ID_SIZE]; /* SHA-256 of: */
        uint8_t spki[SEALBOOT_TLS_KEY_MAX];
        size_t spki_size;
};

struct peer {
        struct identity *identity;
        struct instances *instances;
        /* Any key may answer: questions for evidence go over its connections, and nothing else. */
        bool asking;
        bool http1; /* and not HTTP/2, whatever the server offers */
        /* TLS records are read ahead: whoever sets this looks at what is left (aws/read-ahead.h). */
        bool reads_ahead;
        struct read_ahead read;
};

/* Sets what all transfers have in common. Borrows `p` for as long as connections of this handle are open. */
int peer_prepare(CURL *easy, const struct server *server, struct peer *p, const char *target);
/* The key of the connection that this transfer has. -EPROTO: there is none, or it is not TLS 1.3, or was resumed. */
int peer_key(CURL *easy, struct peer_key *ret);
