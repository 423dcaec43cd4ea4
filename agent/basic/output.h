/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Standard output of a program: output that is lost is an error. stdio reports a failed write only when it is asked,
 * and a pipe that its reader has closed ends a program by a signal. */

#include "basic/failure.h"

/* Call first in main(). Writing to a closed pipe becomes an error instead of a signal. A standard stream that the
 * caller has closed is opened in a way that fails when it is used: otherwise a file that is opened later gets its
 * number, and receives what is printed. 0 or a negative errno. */
int output_begin(void);

/* Call last. Closes standard output; FAILURE_IO unless all that was printed has been written. */
int output_end(struct error *e);
