/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Standard output of a program: what does not arrive is an error, and never silence. stdio keeps a failed write to
 * itself until somebody asks, and a pipe that its reader has closed ends a program without a word. */

#include "basic/failure.h"

/* First of all in main(). A closed pipe becomes an error of the write, where it would be a signal. A standard stream
 * that the caller has closed stays without use: its number must not go to a file that is opened later, which would then
 * receive what is printed. 0 or a negative errno. */
int output_begin(void);

/* Last of all: whether everything that was printed has arrived. Closes standard output. FAILURE_IO. */
int output_end(struct error *e);
