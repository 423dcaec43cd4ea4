/* SPDX-License-Identifier: Apache-2.0 */
#include "replay/check.h"

#include <openssl/evp.h>

#include "basic/reader.h"
#include "measure/event-types.h"

enum { PADDING_MAX = 8 };

static bool is_of(const struct log_digest *digest, const void *data, size_t n) {
        uint8_t value[PCR_DIGEST_MAX];
        size_t size;

        return EVP_Q_digest(NULL, digest->algorithm->name, NULL, data, n, value, &size) == 1 &&
               size == digest->algorithm->size && memcmp(value, digest->value, size) == 0;
}

static bool all_are_of(const struct log_event *event, const void *data, size_t n) {
        for (size_t i = 0; i < event->n_digests; i++)
                if (!is_of(&event->digests[i], data, n))
                        return false;
        return true;
}

static bool is_variable(uint32_t type) {
        return type == EV_EFI_VARIABLE_DRIVER_CONFIG || type == EV_EFI_VARIABLE_BOOT || type == EV_EFI_VARIABLE_BOOT2 ||
               type == EV_EFI_VARIABLE_AUTHORITY;
}

/* Firmware without EV_EFI_VARIABLE_BOOT2 measures the value of Boot#### without its name. Shims log the variable with
 * some bytes of padding behind it, and measure it with some of them. */
static bool is_of_variable(const struct log_event *event, const void *data, size_t n) {
        struct reader r = reader_over(data, n), value;
        uint64_t name, size;

        if (!is_variable(event->type) || reader_skip(&r, 16) < 0 || reader_le64(&r, &name) < 0 ||
            reader_le64(&r, &size) < 0 || name > n || size > n || reader_skip(&r, 2 * (size_t) name) < 0 ||
            reader_sub(&r, (size_t) size, &value) < 0)
                return false;
        if (event->type == EV_EFI_VARIABLE_BOOT && all_are_of(event, value.data, value.size))
                return true;
        for (size_t end = r.offset; end < n && end < r.offset + PADDING_MAX; end++)
                if (all_are_of(event, data, end))
                        return true;
        return false;
}

static bool digest_is_of_data(uint32_t type) {
        return type == EV_SEPARATOR || type == EV_ACTION || type == EV_EFI_ACTION || type == EV_EFI_GPT_EVENT ||
               is_variable(type);
}

void event_check(struct log_event *event, const void *data, size_t n) {
        if (!event->extended || event->n_digests == 0)
                event->text_is = TEXT_UNCHECKED;
        else if (all_are_of(event, data, n) || is_of_variable(event, data, n))
                event->text_is = TEXT_MEASURED;
        else
                event->text_is = digest_is_of_data(event->type) ? TEXT_NOT_MEASURED : TEXT_UNCHECKED;
}
