/* SPDX-License-Identifier: Apache-2.0 */
#include "owner/source.h"

#include <limits.h>
#include <sys/stat.h>

#include "basic/utf8.h"
#include "owner/bookkeeping.h"

enum { DEPTH_MAX = 64 };

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

static bool is_below(const char *root, const char *target) {
        size_t n = strlen(root);

        return strncmp(root, target, n) == 0 && (target[n] == '/' || streq(root, "/"));
}

static int check_link(struct scan *s, const char *path) {
        char target[PATH_MAX];

        if (s->links == SOURCE_LINKS_ALL)
                return 0;
        if (!realpath(path, target))
                return fail(s->e, FAILURE_IO, -errno, path, "the symbolic link cannot be resolved: %m");
        if (is_below(s->root, target))
                return 0;
        fail(s->e, FAILURE_IO, -EXDEV, path, "it is a symbolic link that leads out of the model's directory, to %s",
             target);
        fail_advice(s->e, "Give --dereference if it belongs to the model: the files in a Hugging Face cache's "
                          "snapshots/ link to its blobs/.");
        return -EXDEV;
}

static int add_file(struct scan *s, const char *path, const char *relative, const struct stat *st) {
        int r;

        r = s->files == SOURCE_FILES_MODEL ? bookkeeping_check_file(path, st, s->e) : 0;
        if (r < 0)
                return r;
        if (!utf8_valid(relative, strlen(relative)))
                return fail(s->e, FAILURE_MANIFEST, -EILSEQ, path, "it has a name that is not UTF-8");
        return model_add(s->source->model, s->source->path, relative, NULL, (uint64_t) st->st_size, NULL, s->e);
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
                return fail(s->e, FAILURE_IO, -errno, path, "it cannot be read: %m");
        if (S_ISLNK(st.st_mode)) {
                r = check_link(s, path);
                if (r < 0)
                        return r;
                if (stat(path, &st) < 0)
                        return fail(s->e, FAILURE_IO, -errno, path, "the symbolic link cannot be followed: %m");
        }
        if (S_ISDIR(st.st_mode))
                return scan_directory(s, path, relative, depth + 1, &st);
        if (!S_ISREG(st.st_mode))
                return fail(s->e, FAILURE_IO, -EINVAL, path, "it is neither a file nor a directory");
        return add_file(s, path, relative, &st);
}

static int scan_directory(struct scan *s, const char *path, const char *relative, size_t depth, const struct stat *st) {
        _cleanup_closedir_ DIR *d = opendir(path);
        struct dirent *entry;
        int r;

        if (!d)
                return fail(s->e, FAILURE_IO, -errno, path, "the directory cannot be read: %m");
        for (size_t i = 0; i < depth; i++)
                if (s->above[i].dev == st->st_dev && s->above[i].ino == st->st_ino)
                        return fail(s->e, FAILURE_IO, -ELOOP, path,
                                    "it is a directory that contains itself, by way of a symbolic link");
        if (depth >= DEPTH_MAX)
                return fail(s->e, FAILURE_IO, -ELOOP, path, "it lies more than 64 directories deep");
        s->above[depth].dev = st->st_dev;
        s->above[depth].ino = st->st_ino;
        while ((errno = 0, entry = readdir(d))) {
                _cleanup_free_ char *below = NULL, *below_relative = NULL;

                if (streq(entry->d_name, ".") || streq(entry->d_name, ".."))
                        continue;
                if (asprintf(&below, "%s/%s", path, entry->d_name) < 0 ||
                    asprintf(&below_relative, "%s%s%s", relative, relative[0] ? "/" : "", entry->d_name) < 0)
                        return fail_oom(s->e);
                if (s->files == SOURCE_FILES_MODEL && bookkeeping_matches(below_relative))
                        r = leave_out(s->source, below_relative, s->e);
                else
                        r = scan_entry(s, below, below_relative, depth);
                if (r < 0)
                        return r;
        }
        return errno ? fail(s->e, FAILURE_IO, -errno, path, "the directory cannot be read: %m") : 0;
}

static int scan_root(struct scan *s) {
        const char *path = s->source->path;
        struct stat st;
        int r;

        if (stat(path, &st) < 0)
                return fail(s->e, FAILURE_IO, -errno, path, "it cannot be read: %m");
        if (S_ISREG(st.st_mode))
                return add_file(s, path, basename(path), &st);
        if (!S_ISDIR(st.st_mode))
                return fail(s->e, FAILURE_IO, -EINVAL, path, "it is neither a file nor a directory");
        s->source->is_directory = true;
        if (!realpath(path, s->root))
                return fail(s->e, FAILURE_IO, -errno, path, "its path cannot be resolved: %m");
        r = s->files == SOURCE_FILES_MODEL ? bookkeeping_check_directory(path, s->e) : 0;
        if (r < 0)
                return r;
        return scan_directory(s, path, "", 0, &st);
}

static int compare_texts(const void *a, const void *b) {
        return strcmp(*(const char *const *) a, *(const char *const *) b);
}

/* Names that a manifest cannot hold, and too many of them. */
static int advise(int r, struct error *e) {
        if (r == 0 || !e || e->failure != FAILURE_MANIFEST || e->advice[0])
                return r;
        fail_advice(e, r == -E2BIG
                               ? "Put some of them into an archive; a model has fewer files."
                               : "Rename the file or directory, or leave it out: names are part of the model's digest, "
                                 "and each must be one line of text that any file system can hold.");
        return r;
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
        if (r < 0)
                return r;
        r = scan_root(&s);
        if (r < 0)
                return advise(r, e);
        if (source->model->n_files == 0)
                return fail(e, FAILURE_IO, -ENOENT, path, "%s",
                            source->n_left_out > 0 ? "it has no file in it but bookkeeping" : "it has no file in it");
        r = model_sort(source->model, path, e);
        if (r < 0)
                return advise(r, e);
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
