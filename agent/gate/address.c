/* SPDX-License-Identifier: Apache-2.0 */
#include "gate/address.h"

#include <arpa/inet.h>

enum { NETWORK_BYTES = 8 };

struct address address_parse(const char *text) {
        struct address a = {};
        struct in6_addr six;
        struct in_addr four;

        if (text && inet_pton(AF_INET, text, &four) == 1) {
                a.bytes[10] = a.bytes[11] = 0xff;
                memcpy(a.bytes + 12, &four, sizeof four);
        } else if (text && inet_pton(AF_INET6, text, &six) == 1) {
                if (IN6_IS_ADDR_V4MAPPED(&six))
                        memcpy(a.bytes, &six, sizeof six);
                else
                        memcpy(a.bytes, &six, NETWORK_BYTES);
        }
        return a;
}
