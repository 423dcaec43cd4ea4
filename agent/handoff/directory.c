/* SPDX-License-Identifier: Apache-2.0 */
#include "handoff/directory.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#define UNSEALING ".unsealing"
#define PUBLISHING ".publishing"

struct handoff {
        char *path, *published;
        int fd, unsealing, publishing;
};

/* Removes a file or a tree. Symbolic links are removed, not followed. */
static int remove_tree(int parent, const char *name) {
        struct dirent *entry;
        DIR *dir;
        int fd;

        if (unlinkat(parent, name, 0) == 0 || errno == ENOENT)
                return 0;
        fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0)
                return -errno;
        dir = fdopendir(fd);
        if (!dir) {
                close(fd);
                return -ENOMEM;
        }
        while ((entry = readdir(dir)))
                if (!streq(entry->d_name, ".") && !streq(entry->d_name, ".."))
                        remove_tree(fd, entry->d_name);
        closedir(dir);
        return unlinkat(parent, name, AT_REMOVEDIR) == 0 ? 0 : -errno;
}

static int check_memory(int fd, const char *path, struct error *e) {
        struct statfs s;

        if (fstatfs(fd, &s) < 0)
                return fail(e, FAILURE_PUBLISH, -errno, path, "its file system cannot be examined: %m");
        if (s.f_type != TMPFS_MAGIC && s.f_type != RAMFS_MAGIC)
                return fail(e, FAILURE_PUBLISH, -EMEDIUMTYPE, path,
                            "it is not on a tmpfs: plaintext weights would reach a disk");
        return 0;
}

static int make_private(struct handoff *h, const char *name, int *ret, struct error *e) {
        int r;

        r = remove_tree(h->fd, name);
        if (r < 0)
                return fail(e, FAILURE_PUBLISH, r, h->path, "%s of an earlier run cannot be removed: %s", name,
                            strerror(-r));
        if (mkdirat(h->fd, name, 0700) < 0) {
                r = -errno;
                if (room_refused(h->fd, -r, h->path, "no directory can be made there", e) < 0)
                        return r;
                return fail(e, FAILURE_PUBLISH, r, h->path, "%s cannot be made there: %s", name, strerror(-r));
        }
        *ret = openat(h->fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        return *ret < 0 ? fail(e, FAILURE_PUBLISH, -errno, h->path, "%s cannot be opened: %m", name) : 0;
}

int handoff_new(const char *model_directory, struct handoff **ret, struct error *e) {
        _cleanup_(handoff_freep) struct handoff *h = calloc(1, sizeof *h);
        struct stat st;
        int r;

        if (!h)
                return fail_oom(e);
        *h = (struct handoff) { .fd = -1, .unsealing = -1, .publishing = -1, .path = strdup(model_directory) };
        if (!h->path || asprintf(&h->published, "%s/" HANDOFF_PUBLISHED, model_directory) < 0)
                return fail_oom(e);
        h->fd = open(model_directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (h->fd < 0)
                return fail(e, FAILURE_PUBLISH, -errno, model_directory, "the model directory cannot be opened: %m");
        r = check_memory(h->fd, model_directory, e);
        if (r < 0)
                return r;
        if (fstatat(h->fd, HANDOFF_PUBLISHED, &st, AT_SYMLINK_NOFOLLOW) == 0)
                return fail(e, FAILURE_PUBLISH, -EEXIST, model_directory, "it has a published model already");
        r = make_private(h, UNSEALING, &h->unsealing, e);
        if (r < 0)
                return r;
        r = make_private(h, PUBLISHING, &h->publishing, e);
        if (r < 0)
                return r;
        *ret = TAKE(h);
        return 0;
}

void handoff_discard(struct handoff *h) {
        static const char *const names[] = { UNSEALING, PUBLISHING };

        /* A thread may make a file after the listing of a directory: then its removal fails. Try again. */
        for (size_t i = 0; h->fd >= 0 && i < ELEMENTS(names); i++)
                while (remove_tree(h->fd, names[i]) == -ENOTEMPTY)
                        ;
}

int handoff_clean_up(const char *model_directory, bool *ret_found, struct error *e) {
        static const char *const names[] = { UNSEALING, PUBLISHING };
        _cleanup_close_ int fd = open(model_directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        int r;

        *ret_found = false;
        if (fd < 0 && errno == ENOENT)
                return 0;
        if (fd < 0)
                return fail(e, FAILURE_PUBLISH, -errno, model_directory, "the model directory cannot be opened: %m");
        for (size_t i = 0; i < ELEMENTS(names); i++) {
                struct stat st;

                if (fstatat(fd, names[i], &st, AT_SYMLINK_NOFOLLOW) < 0 && errno == ENOENT)
                        continue;
                *ret_found = true;
                r = remove_tree(fd, names[i]);
                if (r < 0)
                        return fail(e, FAILURE_PUBLISH, r, model_directory, "%s of a killed run cannot be removed: %s",
                                    names[i], strerror(-r));
        }
        return 0;
}

void handoff_free(struct handoff *h) {
        if (!h)
                return;
        handoff_discard(h);
        closep(&h->fd);
        closep(&h->unsealing);
        closep(&h->publishing);
        free(h->path);
        free(h->published);
        free(h);
}

int handoff_private_fd(const struct handoff *h) {
        return h->unsealing;
}

int handoff_room(const struct handoff *h, struct room *ret, struct error *e) {
        return room_measure(h->unsealing, h->path, ret, e);
}

static int make_parent(struct handoff *h, const char *parent, const char *path, struct error *e) {
        if (mkdirat(h->publishing, parent, 0750) == 0) {
                /* The umask may have taken the group's rights away. */
                if (fchmodat(h->publishing, parent, 0750, 0) < 0)
                        return fail(e, FAILURE_PUBLISH, -errno, path, "%s cannot be opened to the group: %m", parent);
        } else if (errno != EEXIST) {
                int r = -errno;

                if (room_refused(h->fd, -r, path, "its directory cannot be made", e) < 0)
                        return r;
                return fail(e, FAILURE_PUBLISH, r, path, "the directory %s cannot be made: %s", parent, strerror(-r));
        }
        return 0;
}

static int make_parents(struct handoff *h, const char *path, struct error *e) {
        char parent[PATH_MAX];
        int r;

        if (snprintf(parent, sizeof parent, "%s", path) >= (int) sizeof parent)
                return fail(e, FAILURE_PUBLISH, -ENAMETOOLONG, path, "it is too long for a path");
        for (char *slash = strchr(parent, '/'); slash; slash = strchr(slash + 1, '/')) {
                *slash = '\0';
                r = make_parent(h, parent, path, e);
                if (r < 0)
                        return r;
                *slash = '/';
        }
        return 0;
}

int handoff_place(struct handoff *h, const char *private_name, const char *path, struct error *e) {
        int r;

        r = make_parents(h, path, e);
        if (r < 0)
                return r;
        if (fchmodat(h->unsealing, private_name, 0440, 0) < 0 ||
            renameat(h->unsealing, private_name, h->publishing, path) < 0)
                return fail(e, FAILURE_PUBLISH, -errno, path, "it cannot be put into its place: %m");
        return 0;
}

int handoff_publish(struct handoff *h, const char **ret, struct error *e) {
        if (fchmod(h->publishing, 0750) < 0 || renameat(h->fd, PUBLISHING, h->fd, HANDOFF_PUBLISHED) < 0)
                return fail(e, FAILURE_PUBLISH, -errno, h->published, "it cannot be published: %m");
        *ret = h->published;
        return 0;
}

int handoff_withdraw(struct handoff *h, struct error *e) {
        int r = remove_tree(h->fd, HANDOFF_PUBLISHED);

        return r < 0 ? fail(e, FAILURE_PUBLISH, r, h->published, "it cannot be removed: %s", strerror(-r)) : 0;
}
