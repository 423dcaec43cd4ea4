/* SPDX-License-Identifier: Apache-2.0 */
#include "owner/source.h"

#include <fcntl.h>
#include <fnmatch.h>
#include <limits.h>

#include "basic/utf8.h"

enum { DEPTH_MAX = 64, LFS_POINTER_MAX = 1024 };

struct scan {
        struct source *source;
        enum source_links links;
        enum source_files files;
        char root[PATH_MAX]; /* resolved */
        struct {
                dev_t dev;
                ino_t ino;
        } above[DEPTH_MAX]; /* the directories that the one being read lies in */
        struct error *e;
};

static int refuse(struct scan *s, const char *path, int r, const char *why) {
        return fail(s->e, FAILURE_IO, r, path, "%s", why);
}

static bool is_below(const char *root, const char *target) {
        size_t n = strlen(root);

        return strncmp(root, target, n) == 0 && (target[n] == '/' || streq(root, "/"));
}

static int check_link(struct scan *s, const char *path) {
        char target[PATH_MAX];

        if (s->links == SOURCE_LINKS_ALL)
                return 0;
        if (!realpath(path, target))
                return fail(s->e, FAILURE_IO, -errno, path, "cannot resolve the symbolic link: %m");
        if (is_below(s->root, target))
                return 0;
        fail(s->e, FAILURE_IO, -EXDEV, path, "is a symbolic link that leads out of the model's directory, to %s",
             target);
        fail_advice(s->e, "Give --dereference if it belongs to the model: the files in a Hugging Face cache's "
                          "snapshots/ link to its blobs/.");
        return -EXDEV;
}

/* A clone without git-lfs has such texts in the weights' place: 130 bytes each. */
static bool is_lfs_pointer(const char *path, const struct stat *st) {
        static const char *const starts[] = { "version https://git-lfs.github.com/spec/",
                                              "version https://hawser.github.com/spec/" };
        _cleanup_close_ int fd = -1;
        char head[64] = "";

        if (st->st_size > LFS_POINTER_MAX)
                return false;
        fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
        if (fd < 0 || read(fd, head, sizeof head - 1) <= 0)
                return false;
        for (size_t i = 0; i < ELEMENTS(starts); i++)
                if (strncmp(head, starts[i], strlen(starts[i])) == 0)
                        return true;
        return false;
}

/* What a download or clone that is not complete leaves. No instance could use such a model. */
static int check_complete(struct scan *s, const char *path, const struct stat *st) {
        static const char *const unfinished[] = { "*.incomplete", "*.aria2", "*.crdownload" };
        const char *name = strrchr(path, '/');

        name = name ? name + 1 : path;
        for (size_t i = 0; i < ELEMENTS(unfinished); i++)
                if (fnmatch(unfinished[i], name, 0) == 0) {
                        fail(s->e, FAILURE_IO, -EINVAL, path, "is what a download keeps until it is complete");
                        fail_advice(s->e, "Finish the download, or remove what is left of it. With --all the file is "
                                          "taken as it is.");
                        return -EINVAL;
                }
        if (!is_lfs_pointer(path, st))
                return 0;
        fail(s->e, FAILURE_IO, -EINVAL, path, "is a pointer of Git LFS, and not the file that it stands for");
        fail_advice(s->e,
                    "Install git-lfs and run `git lfs pull` in the clone. With --all the pointer itself is taken.");
        return -EINVAL;
}

static int add_file(struct scan *s, const char *path, const char *relative, const struct stat *st) {
        int r;

        if (s->files == SOURCE_FILES_MODEL && (r = check_complete(s, path, st)) < 0)
                return r;
        if (!utf8_valid(relative, strlen(relative)))
                return fail(s->e, FAILURE_MANIFEST, -EILSEQ, path, "has a name that is not UTF-8");
        return model_add(s->source->model, s->source->path, relative, NULL, (uint64_t) st->st_size, NULL, s->e);
}

const char *const *source_bookkeeping(size_t *ret_n) {
        /* clang-format off */
        static const char *const patterns[] = {
                ".cache/huggingface", ".huggingface",                  /* hf download --local-dir: times and locks */
                ".hfd",                                                /* hfd.sh */
                ".msc", ".mdl", ".mv", "._____temp",                   /* modelscope download */
                ".git", ".gitattributes", ".gitignore", ".gitmodules", /* a clone; .git/lfs has every weight again */
                ".lfsconfig",
                ".ipynb_checkpoints", "__pycache__",                   /* notebooks and Python: copies, times */
                "*.swp", "*.swo", "*~",                                /* editors */
                ".DS_Store", "._*", "Thumbs.db", "desktop.ini",        /* file managers */
                ".nfs*", "lost+found",                                 /* file systems */
        };
        /* clang-format on */

        *ret_n = ELEMENTS(patterns);
        return patterns;
}

static bool is_bookkeeping(const char *relative) {
        const char *name = strrchr(relative, '/'), *two = name;
        const char *const *patterns;
        size_t n;

        while (two && two > relative && two[-1] != '/')
                two--;
        name = name ? name + 1 : relative;
        patterns = source_bookkeeping(&n);
        for (size_t i = 0; i < n; i++)
                if (fnmatch(patterns[i], strchr(patterns[i], '/') && two ? two : name, 0) == 0)
                        return true;
        return false;
}

static int leave_out(struct source *source, const char *relative, struct error *e) {
        char **larger = reallocarray(source->left_out, source->n_left_out + 1, sizeof *larger);

        if (!larger)
                return fail_oom(e);
        source->left_out = larger;
        larger[source->n_left_out] = strdup(relative);
        if (!larger[source->n_left_out])
                return fail_oom(e);
        source->n_left_out++;
        return 0;
}

static int scan_directory(struct scan *s, const char *path, const char *relative, size_t depth, const struct stat *st);

static int scan_entry(struct scan *s, const char *path, const char *relative, size_t depth) {
        struct stat st;
        int r;

        if (lstat(path, &st) < 0)
                return fail(s->e, FAILURE_IO, -errno, path, "cannot look at it: %m");
        if (S_ISLNK(st.st_mode)) {
                r = check_link(s, path);
                if (r < 0)
                        return r;
                if (stat(path, &st) < 0)
                        return fail(s->e, FAILURE_IO, -errno, path, "cannot follow the symbolic link: %m");
        }
        if (S_ISDIR(st.st_mode))
                return scan_directory(s, path, relative, depth + 1, &st);
        if (!S_ISREG(st.st_mode))
                return refuse(s, path, -EINVAL, "is neither a file nor a directory");
        return add_file(s, path, relative, &st);
}

static int scan_directory(struct scan *s, const char *path, const char *relative, size_t depth, const struct stat *st) {
        _cleanup_closedir_ DIR *d = opendir(path);
        struct dirent *entry;
        int r;

        if (!d)
                return fail(s->e, FAILURE_IO, -errno, path, "cannot read the directory: %m");
        for (size_t i = 0; i < depth; i++)
                if (s->above[i].dev == st->st_dev && s->above[i].ino == st->st_ino)
                        return refuse(s, path, -ELOOP,
                                      "is a directory that contains itself, by way of a symbolic link");
        if (depth >= DEPTH_MAX)
                return refuse(s, path, -ELOOP, "lies too deep");
        s->above[depth].dev = st->st_dev;
        s->above[depth].ino = st->st_ino;
        while ((errno = 0, entry = readdir(d))) {
                _cleanup_free_ char *below = NULL, *below_relative = NULL;

                if (streq(entry->d_name, ".") || streq(entry->d_name, ".."))
                        continue;
                if (asprintf(&below, "%s/%s", path, entry->d_name) < 0 ||
                    asprintf(&below_relative, "%s%s%s", relative, relative[0] ? "/" : "", entry->d_name) < 0)
                        return fail_oom(s->e);
                if (s->files == SOURCE_FILES_MODEL && is_bookkeeping(below_relative))
                        r = leave_out(s->source, below_relative, s->e);
                else
                        r = scan_entry(s, below, below_relative, depth);
                if (r < 0)
                        return r;
        }
        return errno ? fail(s->e, FAILURE_IO, -errno, path, "cannot read the directory: %m") : 0;
}

static const char *last_part(const char *path) {
        const char *slash = strrchr(path, '/');

        return slash ? slash + 1 : path;
}

static bool has_directory(const char *path, const char *name) {
        _cleanup_free_ char *below = NULL;
        struct stat st;

        return asprintf(&below, "%s/%s", path, name) > 0 && stat(below, &st) == 0 && S_ISDIR(st.st_mode);
}

/* models--OWNER--NAME of a Hugging Face cache: every file is in blobs/, and again, by links, below snapshots/. */
static int check_cache(struct scan *s, const char *path) {
        if (s->files != SOURCE_FILES_MODEL || !has_directory(path, "blobs") || !has_directory(path, "snapshots") ||
            !has_directory(path, "refs"))
                return 0;
        fail(s->e, FAILURE_IO, -EINVAL, path, "is a repository of a Hugging Face cache, which has each file twice");
        fail_advice(s->e,
                    "Give one revision, with --dereference: the directory below snapshots/ that refs/main names.");
        return -EINVAL;
}

static int scan_root(struct scan *s) {
        const char *path = s->source->path;
        struct stat st;
        int r;

        if (stat(path, &st) < 0)
                return fail(s->e, FAILURE_IO, -errno, path, "cannot look at it: %m");
        if (S_ISREG(st.st_mode))
                return add_file(s, path, last_part(path), &st);
        if (!S_ISDIR(st.st_mode))
                return refuse(s, path, -EINVAL, "is neither a file nor a directory");
        s->source->is_directory = true;
        if (!realpath(path, s->root))
                return fail(s->e, FAILURE_IO, -errno, path, "cannot resolve it: %m");
        r = check_cache(s, path);
        if (r < 0)
                return r;
        return scan_directory(s, path, "", 0, &st);
}

static int compare_texts(const void *a, const void *b) {
        return strcmp(*(const char *const *) a, *(const char *const *) b);
}

int source_scan(const char *path, enum source_links links, enum source_files files, struct source **ret,
                struct error *e) {
        _cleanup_source_ struct source *source = calloc(1, sizeof *source);
        struct scan s = { .source = source, .links = links, .files = files, .e = e };
        size_t n = strlen(path);
        int r;

        while (n > 1 && path[n - 1] == '/')
                n--;
        if (!source || !(source->path = strndup(path, n)))
                return fail_oom(e);
        r = model_new(&source->model, e);
        if (r == 0)
                r = scan_root(&s);
        if (r == 0 && source->model->n_files == 0)
                r = refuse(&s, path, -ENOENT,
                           source->n_left_out > 0 ? "has no file in it but bookkeeping" : "has no file in it");
        if (r == 0)
                r = model_sort(source->model, path, e);
        if (r < 0 && e && e->failure == FAILURE_MANIFEST && !e->advice[0])
                fail_advice(e, r == -E2BIG
                                       ? "Put some of them into an archive; a model has fewer files."
                                       : "Rename the file or directory, or leave it out: names are part of the model's "
                                         "digest, and each must be one line of text that any file system can hold.");
        if (r < 0)
                return r;
        if (source->n_left_out > 0)
                qsort(source->left_out, source->n_left_out, sizeof *source->left_out, compare_texts);
        *ret = TAKE(source);
        return 0;
}

void source_free(struct source *s) {
        if (!s)
                return;
        model_free(s->model);
        for (size_t i = 0; i < s->n_left_out; i++)
                free(s->left_out[i]);
        free(s->left_out);
        free(s->path);
        free(s);
}

int source_open(const struct source *s, size_t index, struct source_file *ret, struct error *e) {
        const struct model_file *f = &s->model->files[index];
        _cleanup_free_ char *path = NULL;
        _cleanup_close_ int fd = -1;
        struct stat st;

        if (asprintf(&path, "%s%s%s", s->path, s->is_directory ? "/" : "", s->is_directory ? f->path : "") < 0)
                return fail_oom(e);
        fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
        if (fd < 0 || fstat(fd, &st) < 0)
                return fail(e, FAILURE_IO, -errno, path, "cannot open: %m");
        if (!S_ISREG(st.st_mode) || (uint64_t) st.st_size != f->size)
                return fail(e, FAILURE_IO, -ESTALE, path, "has changed since the model was looked through");
        *ret = (struct source_file) { .fd = TAKE_FD(fd), .path = TAKE(path), .before = st };
        return 0;
}

int source_read(const struct source_file *f, uint64_t offset, void *data, size_t n, struct error *e) {
        uint8_t *p = data;

        while (n > 0) {
                ssize_t got = pread(f->fd, p, n, (off_t) offset);

                if (got < 0 && errno == EINTR)
                        continue;
                if (got < 0)
                        return fail(e, FAILURE_IO, -errno, f->path, "cannot read: %m");
                if (got == 0)
                        return fail(e, FAILURE_IO, -ESTALE, f->path, "has become shorter while it was read");
                p += got;
                offset += (uint64_t) got;
                n -= (size_t) got;
        }
        return 0;
}

int source_unchanged(const struct source_file *f, struct error *e) {
        struct stat now;

        if (fstat(f->fd, &now) < 0)
                return fail(e, FAILURE_IO, -errno, f->path, "cannot look at it: %m");
        if (now.st_size != f->before.st_size || now.st_mtim.tv_sec != f->before.st_mtim.tv_sec ||
            now.st_mtim.tv_nsec != f->before.st_mtim.tv_nsec)
                return fail(e, FAILURE_IO, -ESTALE, f->path,
                            "was changed while it was read; nobody can say which version this would be");
        return 0;
}

void source_close(struct source_file *f) {
        if (f->fd >= 0)
                close(f->fd);
        free(f->path);
        *f = (struct source_file) { .fd = -1 };
}
