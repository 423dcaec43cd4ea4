/* SPDX-License-Identifier: Apache-2.0 */
#include "owner/landing.h"

#include <fcntl.h>
#include <ftw.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

enum { OPEN_FILES = 16 };

struct landing {
        char *destination, *container;
        int private_fd, model_fd;
};

static int check_destination(const char *path, struct error *e) {
        _cleanup_closedir_ DIR *d = opendir(path);
        struct dirent *entry;

        if (!d && errno == ENOENT)
                return 0;
        if (!d && errno != ENOTDIR)
                return fail(e, FAILURE_IO, -errno, path, "it cannot be read: %m");
        while (d && (entry = readdir(d)))
                if (!streq(entry->d_name, ".") && !streq(entry->d_name, ".."))
                        break;
        if (d && !entry)
                return 0;
        fail(e, FAILURE_PUBLISH, -EEXIST, path, "it exists, and is not an empty directory");
        fail_advice(e, "Name a directory that does not exist yet.");
        return -EEXIST;
}

static int make_directory(const struct landing *l, const char *name, int *ret, struct error *e) {
        _cleanup_free_ char *path = NULL;

        if (asprintf(&path, "%s/%s", l->container, name) < 0)
                return fail_oom(e);
        if (mkdir(path, 0777) < 0 || (*ret = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
                return fail(e, FAILURE_IO, -errno, path, "the directory cannot be made: %m");
        return 0;
}

int landing_new(const char *destination, struct landing **ret, struct error *e) {
        _cleanup_(landing_freep) struct landing *l = calloc(1, sizeof *l);
        size_t n = strlen(destination);
        int r;

        if (!l)
                return fail_oom(e);
        l->private_fd = l->model_fd = -1;
        while (n > 1 && destination[n - 1] == '/')
                n--;
        l->destination = strndup(destination, n);
        if (!l->destination)
                return fail_oom(e);
        r = check_destination(l->destination, e);
        if (r < 0)
                return r;
        if (asprintf(&l->container, "%s.XXXXXX", l->destination) < 0) {
                l->container = NULL;
                return fail_oom(e);
        }
        if (!mkdtemp(l->container)) {
                r = fail(e, FAILURE_IO, -errno, destination, "no directory can be made beside it: %m");
                free(TAKE(l->container));
                return r;
        }
        r = make_directory(l, "private", &l->private_fd, e);
        if (r < 0)
                return r;
        r = make_directory(l, "model", &l->model_fd, e);
        if (r < 0)
                return r;
        *ret = TAKE(l);
        return 0;
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw) {
        (void) st;
        (void) type;
        (void) ftw;
        remove(path);
        return 0;
}

void landing_free(struct landing *l) {
        if (!l)
                return;
        closep(&l->private_fd);
        closep(&l->model_fd);
        if (l->container)
                nftw(l->container, remove_entry, OPEN_FILES, FTW_DEPTH | FTW_PHYS);
        free(l->container);
        free(l->destination);
        free(l);
}

int landing_private_fd(const struct landing *l) {
        return l->private_fd;
}

int landing_room(const struct landing *l, uint64_t *ret, struct error *e) {
        struct statvfs fs;

        if (fstatvfs(l->private_fd, &fs) < 0)
                return fail(e, FAILURE_IO, -errno, l->destination,
                            "the free space of its file system cannot be read: %m");
        *ret = (uint64_t) fs.f_bavail * fs.f_frsize;
        return 0;
}

int landing_place(struct landing *l, const char *private_name, const char *path, struct error *e) {
        _cleanup_free_ char *parent = strdup(path);

        if (!parent)
                return fail_oom(e);
        for (char *slash = parent; (slash = strchr(slash, '/')); *slash++ = '/') {
                *slash = '\0';
                if (mkdirat(l->model_fd, parent, 0777) < 0 && errno != EEXIST)
                        return fail(e, FAILURE_IO, -errno, path, "its directory cannot be made: %m");
        }
        if (fchmodat(l->private_fd, private_name, 0644, 0) < 0 ||
            renameat(l->private_fd, private_name, l->model_fd, path) < 0)
                return fail(e, FAILURE_IO, -errno, path, "the file cannot be moved to its place: %m");
        return 0;
}

int landing_publish(struct landing *l, struct error *e) {
        _cleanup_free_ char *model = NULL;

        if (asprintf(&model, "%s/model", l->container) < 0)
                return fail_oom(e);
        /* A destination that is an empty directory is replaced, one that was filled meanwhile is not. */
        if (rename(model, l->destination) < 0)
                return fail(e, FAILURE_PUBLISH, -errno, l->destination, "the model cannot be moved to its place: %m");
        return 0;
}
