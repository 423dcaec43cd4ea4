/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the texts of a configuration must be. Each is checked by the code that uses the value at boot, where there is
 * such code. All are not empty. A text that will not do gives -EINVAL, with the reason in `why`; its subject is not
 * meant to be shown. */

#include "basic/failure.h"

int value_endpoint(const char *text, struct error *why); /* a URL of a scheme, a host and a port */
int value_https(const char *text, struct error *why);    /* the same, of the scheme https */
int value_model(const char *text, struct error *why);    /* an s3:// URI */
int value_prefix(const char *text, struct error *why);   /* an s3:// URI of a bucket, or that ends in a slash */
int value_region(const char *text, struct error *why);
int value_path(const char *text, struct error *why);       /* an absolute path */
int value_file(const char *text, struct error *why);       /* one that does not end in a slash */
int value_tcti(const char *text, struct error *why);       /* "device:/dev/tpmrm0", "swtpm:host=127.0.0.1,port=2321" */
int value_relative(const char *text, struct error *why);   /* a path below a directory that it does not leave */
int value_input_name(const char *text, struct error *why); /* small letters, digits, - and _ */
int value_owner(const char *text, struct error *why);      /* words that a message can show */
