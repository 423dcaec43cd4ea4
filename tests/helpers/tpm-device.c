/* SPDX-License-Identifier: Apache-2.0 */

/* Preloaded into a program, gives it the TPM device nodes that a test wants: TPM_DEVICE_tpm0 and TPM_DEVICE_tpmrm0 are
 * each "ERRNO:COUNT:SOCKET": opening fails with ERRNO the first COUNT times (-1: always), and then gives a connection
 * to the Unix socket, where the test's emulator speaks as the device would. Without the variable there is no such
 * device. */

/* With these the C library's headers would make open() another name, or wrap it. */
#undef _FILE_OFFSET_BITS
#undef _FORTIFY_SOURCE

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* NOLINTBEGIN(readability-redundant-declaration): glibc declares them with attributes that ours cannot have */
int open(const char *path, int flags, ...);
int open64(const char *path, int flags, ...);
int access(const char *path, int mode);
/* NOLINTEND(readability-redundant-declaration) */

static unsigned opened[2];

/* 0 for tpm0, 1 for tpmrm0. */
static int device_of(const char *path) {
        return strcmp(path, "/dev/tpm0") == 0 ? 0 : strcmp(path, "/dev/tpmrm0") == 0 ? 1 : -1;
}

static const char *wanted(int device) {
        return getenv(device == 0 ? "TPM_DEVICE_tpm0" : "TPM_DEVICE_tpmrm0");
}

static int open_device(int device, int flags) {
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        const char *text = wanted(device);
        int error, count, fd;

        if (!text || sscanf(text, "%d:%d:%107s", &error, &count, address.sun_path) < 2) {
                errno = ENOENT;
                return -1;
        }
        if (count < 0 || opened[device]++ < (unsigned) count) {
                errno = error;
                return -1;
        }
        fd = socket(AF_UNIX, SOCK_STREAM | (flags & O_CLOEXEC ? SOCK_CLOEXEC : 0), 0);
        if (fd < 0 || connect(fd, (struct sockaddr *) &address, sizeof address) < 0)
                return -1;
        if (flags & O_NONBLOCK)
                fcntl(fd, F_SETFL, O_NONBLOCK);
        return fd;
}

int access(const char *path, int mode) {
        int (*real)(const char *, int);

        if (device_of(path) >= 0) {
                errno = ENOENT;
                return wanted(device_of(path)) ? 0 : -1;
        }
        *(void **) &real = dlsym(RTLD_NEXT, "access");
        return real(path, mode);
}

#define DEFINE_OPEN(name) \
        int name(const char *path, int flags, ...) { \
                int (*real)(const char *, int, mode_t); \
                va_list ap; \
                mode_t mode; \
                va_start(ap, flags); \
                mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(ap, mode_t) : 0; \
                va_end(ap); \
                if (device_of(path) >= 0) \
                        return open_device(device_of(path), flags); \
                *(void **) &real = dlsym(RTLD_NEXT, #name); \
                return real(path, flags, mode); \
        }

DEFINE_OPEN(open)
DEFINE_OPEN(open64)
