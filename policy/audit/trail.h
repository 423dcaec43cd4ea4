/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The calls of CloudTrail's records, in the shapes in which the records are found:
 *
 *   {"Records": [record, ...]}                        the files that a trail stores in S3, .json.gz or .json
 *   {"Events": [{"CloudTrailEvent": "text"}, ...]}    aws cloudtrail lookup-events
 *   {"QueryResultRows": [[{"eventJson": "text"}]]}    aws cloudtrail get-query-results (CloudTrail Lake)
 *   {"detail": record}                                EventBridge
 *   record, [record, ...], and one of these a line
 */

#include "audit/call.h"

struct bad_call {
        char *origin, *reason; /* "trail.json.gz, record 3" */
};

/* Zero-initialise. */
struct trail {
        struct call *calls; /* in the order of their times; each once */
        size_t n;
        struct bad_call *bad;
        size_t n_bad;
        size_t n_records, n_twice;
        json_object **records; /* which the calls borrow from */
        size_t n_kept;
};

/* FAILURE_IO when the file cannot be read; FAILURE_USAGE when it is none of these shapes. A bad record is no error. */
int trail_read(struct trail *t, const char *path, struct error *e);
int trail_parse(struct trail *t, const char *text, size_t n, const char *origin, struct error *e);
/* All files. One that cannot be understood is bad, like a record: otherwise one strange request in it, which every
 * caller can make, would keep the others from being judged. It is an error when no record is found in any file. */
int trail_read_all(struct trail *t, char *const *paths, size_t n, struct error *e);
/* After the last file: sorts, and drops what is there twice: a call between accounts is in the trails of both. Records
 * of one call that contradict each other all stay. */
void trail_sort(struct trail *t);
void trail_done(struct trail *t);
#define _cleanup_trail_ _cleanup_(trail_done)
