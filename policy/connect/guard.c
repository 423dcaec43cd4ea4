/* SPDX-License-Identifier: Apache-2.0 */
#include "connect/guard.h"

#include <arpa/inet.h>
#include <strings.h>

enum { HOST_MAX = 255 };

static bool is_port(const char *text) {
        size_t n = strspn(text, "0123456789");

        return n > 0 && n <= 5 && text[n] == '\0';
}

static bool is_address(int family, const char *text, size_t n) {
        char address[INET6_ADDRSTRLEN], binary[sizeof(struct in6_addr)];

        if (n >= sizeof address)
                return false;
        memcpy(address, text, n);
        address[n] = '\0';
        return inet_pton(family, address, binary) == 1;
}

/* "localhost" and names below it are loopback addresses in browsers and resolvers, whatever DNS says (RFC 6761). */
static bool is_localhost(const char *text, size_t n) {
        static const char name[] = "localhost";
        size_t length = strlen(name);

        if (n == length)
                return strncasecmp(text, name, n) == 0;
        return n > length + 1 && text[n - length - 1] == '.' && strncasecmp(text + n - length, name, length) == 0;
}

bool guard_accepts_host(const char *host) {
        size_t n = strcspn(host, host[0] == '[' ? "]" : ":");
        const char *after = host + n + (host[0] == '[');

        if (strlen(host) > HOST_MAX || (host[0] == '[' && host[n] != ']'))
                return false;
        if (*after != '\0' && (*after != ':' || !is_port(after + 1)))
                return false;
        if (host[0] == '[')
                return is_address(AF_INET6, host + 1, n - 1);
        return is_address(AF_INET, host, n) || is_localhost(host, n);
}

const char *guard_refuses(const struct guard_headers *h) {
        static const char scheme[] = "http://";

        if (h->repeated)
                return "a header that says where the request comes from is there twice";
        if (!h->host)
                return "the request has no Host header";
        if (!guard_accepts_host(h->host))
                return "the Host header is neither an address nor localhost: a web page may have pointed a name of its "
                       "own at this machine. Use http://127.0.0.1 and the port";
        if (h->origin &&
            (strncmp(h->origin, scheme, strlen(scheme)) != 0 || strcasecmp(h->origin + strlen(scheme), h->host) != 0))
                return "a web page of another origin sent the request";
        if (h->fetch_site && !streq(h->fetch_site, "same-origin") && !streq(h->fetch_site, "none"))
                return "a page of another site sent the request. To open it in a browser, type the address";
        /* A service worker stays in the browser, and would see the prompts to the next server on this address. */
        if (h->worker)
                return "service workers are not passed on: they would outlive this server";
        return NULL;
}
