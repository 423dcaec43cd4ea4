/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the three files of http.h share: http.c makes clients and requests, http-answer.c keeps and judges answers,
 * http-perform.c runs exchanges. */

#include <malloc.h>
#include <openssl/crypto.h>
#include <pthread.h>

#include "aws/http.h"

enum { HTTP_IDLE_MAX = 16, HTTP_REACHED_MAX = 8 };

struct http {
        char *ca_bundle;
        char *user_agent;
        struct http_options options;
        bool is_openssl; /* libcurl uses OpenSSL for TLS */
        CURLSH *share;
        pthread_mutex_t share_locks[CURL_LOCK_DATA_LAST];
        /* Handles of http_perform(), kept for their open connections. */
        pthread_mutex_t idle_lock;
        CURL *idle[HTTP_IDLE_MAX];
        size_t n_idle;
        uint64_t reached[HTTP_REACHED_MAX]; /* origins that answered once; under idle_lock, too */
        size_t n_reached;
};

struct buffer {
        char *data;
        size_t size, room;
};

struct http_call {
        CURL *easy; /* borrowed; NULL once http_perform() is done with it */
        struct curl_slist *lines;
        char *subject;
        enum failure malformed;
        long status;
        bool complete;    /* the headers of the final answer are */
        const char *flaw; /* why the head is refused: "headers that are malformed"; NULL: it is not */
        bool too_large;
        struct buffer headers; /* name NUL value NUL, again and again */
        struct buffer body;
        size_t max_body;
        void *context;
        void (*context_free)(void *context);
        char curl_error[CURL_ERROR_SIZE];
};

static inline void wipe_free(void *data) {
        if (data)
                OPENSSL_cleanse(data, malloc_usable_size(data));
        free(data);
}

/* libcurl's callbacks for the lines of an answer's head and for its body; `userdata` is the call. */
size_t http_call_on_header(char *data, size_t one, size_t n, void *userdata);
size_t http_call_on_body(char *data, size_t one, size_t n, void *userdata);
/* With the host, which not all of libcurl's texts for errors name. */
const char *http_call_url(const struct http_call *call);
