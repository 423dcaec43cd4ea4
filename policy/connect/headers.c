/* SPDX-License-Identifier: Apache-2.0 */
#include "connect/headers.h"

#include <strings.h>

/* Those of one connection, and those that this program or a library of its makes anew. */
static const char *const of_each_hop[] = {
        "connection", "keep-alive",        "proxy-connection", "proxy-authenticate", "proxy-authorization", "te",
        "trailer",    "transfer-encoding", "upgrade",          "http2-settings",     "content-length",      NULL,
};

/* Host is the server's own. A server behind the channel sees requests of no other origin: guard.h has refused them.
 * Browsers keep one set of cookies for all ports of an address: a cookie here comes from another program of this
 * machine, and may be a login there. */
static const char *const not_up[] = { "host", "expect", "origin", "referer", "sec-fetch-site", "cookie", NULL };

/* What would lead a browser around the channel, tell others of it, or reach beyond it into what else the browser keeps
 * for this machine. Location is looked at by itself. */
static const char *const not_down[] = {
        "location",
        "refresh",
        "alt-svc",
        "strict-transport-security",
        "clear-site-data",
        "report-to",
        "reporting-endpoints",
        "nel",
        "service-worker-allowed",
        "set-cookie",
        /* local.c sets its own. One of the server could name an address for reports. */
        "content-security-policy",
        "content-security-policy-report-only",
        NULL,
};

static bool is_one_of(const char *name, const char *const names[]) {
        for (; *names; names++)
                if (strcasecmp(name, *names) == 0)
                        return true;
        return false;
}

static bool is_listed(const char *name, const char *list) {
        size_t n = strlen(name), part;

        while (list && *list) {
                list += strspn(list, ", \t");
                part = strcspn(list, ", \t");
                if (part == n && strncasecmp(list, name, n) == 0)
                        return true;
                list += part;
        }
        return false;
}

bool header_passes_up(const char *name, const char *connection) {
        return !is_one_of(name, of_each_hop) && !is_one_of(name, not_up) && !is_listed(name, connection);
}

bool header_passes_down(const char *name, const char *connection) {
        static const char cors[] = "access-control-";

        return !is_one_of(name, of_each_hop) && !is_one_of(name, not_down) && !is_listed(name, connection) &&
               strncasecmp(name, cors, strlen(cors)) != 0;
}

static const char token[] = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";

bool header_is_valid(const char *name, const char *value) {
        if (name[0] == '\0' || name[strspn(name, token)] != '\0')
                return false;
        for (; *value; value++)
                if (((unsigned char) *value < ' ' && *value != '\t') || *value == 0x7f)
                        return false;
        return true;
}

bool method_is_valid(const char *method) {
        enum { METHOD_MAX = 32 };
        size_t n = strspn(method, "ABCDEFGHIJKLMNOPQRSTUVWXYZ-");

        return n > 0 && n <= METHOD_MAX && method[n] == '\0' && !streq(method, "CONNECT") && !streq(method, "TRACE");
}

bool target_is_valid(const char *target) {
        if (target[0] != '/')
                return false;
        for (; *target; target++)
                if ((unsigned char) *target <= ' ' || *target == 0x7f || *target == '#')
                        return false;
        return true;
}

const char *location_within(const char *location, const char *server) {
        size_t n = strlen(server), scheme;

        /* Browsers pass over spaces and control characters, and read a backslash as a slash. */
        for (const char *c = location; *c; c++)
                if ((unsigned char) *c <= ' ' || *c == 0x7f || *c == '\\')
                        return NULL;
        if (strncasecmp(location, server, n) == 0 && location[n] == '/')
                location += n;
        if (location[0] == '/')
                return location[1] == '/' ? NULL : location;
        scheme = strcspn(location, ":/?#");
        return location[scheme] == ':' ? NULL : location;
}

int status_line_parse(const char *line, size_t n) {
        static const char protocol[] = "HTTP/";
        size_t at = strlen(protocol);
        int status = 0;

        if (n < at || memcmp(line, protocol, at) != 0)
                return -EBADMSG;
        while (at < n && line[at] != ' ')
                at++;
        if (n < at + 4)
                return -EBADMSG;
        for (size_t i = at + 1; i < at + 4; i++) {
                if (line[i] < '0' || line[i] > '9')
                        return -EBADMSG;
                status = 10 * status + (line[i] - '0');
        }
        if (status < 100 || (n > at + 4 && !strchr(" \r\n", line[at + 4])))
                return -EBADMSG;
        return status;
}

int header_line_split(char *line, char **ret_name, char **ret_value) {
        char *colon = strchr(line, ':'), *value;
        size_t n;

        if (!colon)
                return -EBADMSG;
        *colon = '\0';
        value = colon + 1 + strspn(colon + 1, " \t");
        n = strlen(value);
        while (n > 0 && strchr(" \t\r\n", value[n - 1]))
                n--;
        value[n] = '\0';
        if (!header_is_valid(line, value))
                return -EBADMSG;
        *ret_name = line;
        *ret_value = value;
        return 0;
}
