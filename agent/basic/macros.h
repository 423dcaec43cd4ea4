/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Conventions of all files: variables that free themselves (_cleanup_), and outputs (ret_*) that are written on success
 * alone. */

#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define _cleanup_(f) __attribute__((cleanup(f)))
#define _printf_(a, b) __attribute__((format(printf, a, b)))
#define _must_check_ __attribute__((warn_unused_result))
#define _unused_ __attribute__((unused))

#define ELEMENTS(a) (sizeof(a) / sizeof((a)[0]))
#define MIN_OF(a, b) ((a) < (b) ? (a) : (b))
#define MAX_OF(a, b) ((a) > (b) ? (a) : (b))

/* Takes ownership out of a _cleanup_ variable, and leaves it empty: `*ret = TAKE(pointer);`, and the same for a struct
 * that has a cleanup function and for a file descriptor. */
#define TAKE_AND_LEAVE(variable, empty) \
        ({ \
                __typeof__(variable) *_pv = &(variable), _v = *_pv; \
                *_pv = empty; \
                _v; \
        })
#define TAKE(p) TAKE_AND_LEAVE(p, NULL)
#define TAKE_STRUCT(s) TAKE_AND_LEAVE(s, ((__typeof__(s)) {}))
#define TAKE_FD(fd) TAKE_AND_LEAVE(fd, -1)

/* Defines <name>p(), which a _cleanup_ attribute can call, around a function that frees one pointer. */
#define DEFINE_CLEANUP(type, free_func, name) \
        static inline void name(type *p) { \
                if (*p) \
                        free_func(*p); \
        }

static inline void freep(void *p) {
        free(*(void **) p);
}

static inline void closep(int *fd) {
        if (*fd >= 0)
                close(*fd);
}

static inline void fclosep(FILE **f) {
        if (*f)
                fclose(*f);
}

static inline void closedirp(DIR **d) {
        if (*d)
                closedir(*d);
}

#define _cleanup_free_ _cleanup_(freep)
#define _cleanup_close_ _cleanup_(closep)
#define _cleanup_fclose_ _cleanup_(fclosep)
#define _cleanup_closedir_ _cleanup_(closedirp)

static inline bool streq(const char *a, const char *b) {
        return strcmp(a, b) == 0;
}
