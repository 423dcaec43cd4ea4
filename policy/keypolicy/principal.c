/* SPDX-License-Identifier: Apache-2.0 */
#include "keypolicy/principal.h"

enum { ACCOUNT_DIGITS = 12 };

const char *principal_account(const char *principal) {
        const char *account = strstr(principal, "::");

        account = account ? account + 2 : principal;
        return strspn(account, "0123456789") == ACCOUNT_DIGITS ? account : NULL;
}

bool principals_share_account(const char *a, const char *b) {
        const char *account = principal_account(a), *other = principal_account(b);

        return account && other ? strncmp(account, other, ACCOUNT_DIGITS) == 0 : streq(a, b);
}
