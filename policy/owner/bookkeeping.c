/* SPDX-License-Identifier: Apache-2.0 */
#include "owner/bookkeeping.h"

#include <fcntl.h>
#include <fnmatch.h>

enum { LFS_POINTER_MAX = 1024 };

/* fnmatch(3) patterns of the last part of a path, or of the last two where a pattern has a slash. */
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

bool bookkeeping_matches(const char *relative) {
        const char *name = strrchr(relative, '/'), *two = name;

        while (two && two > relative && two[-1] != '/')
                two--;
        name = name ? name + 1 : relative;
        for (size_t i = 0; i < ELEMENTS(patterns); i++)
                if (fnmatch(patterns[i], strchr(patterns[i], '/') && two ? two : name, 0) == 0)
                        return true;
        return false;
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

int bookkeeping_check_file(const char *path, const struct stat *st, struct error *e) {
        static const char *const unfinished[] = { "*.incomplete", "*.aria2", "*.crdownload" };
        const char *name = basename(path);

        for (size_t i = 0; i < ELEMENTS(unfinished); i++)
                if (fnmatch(unfinished[i], name, 0) == 0) {
                        fail(e, FAILURE_IO, -EINVAL, path, "it is what a download keeps until it is complete");
                        fail_advice(e, "Finish the download, or remove what is left of it. With --all the file is "
                                       "taken as it is.");
                        return -EINVAL;
                }
        if (!is_lfs_pointer(path, st))
                return 0;
        fail(e, FAILURE_IO, -EINVAL, path, "it is a pointer of Git LFS, and not the file that it stands for");
        fail_advice(e, "Install git-lfs and run `git lfs pull` in the clone. With --all the pointer itself is taken.");
        return -EINVAL;
}

static bool has_directory(const char *path, const char *name) {
        _cleanup_free_ char *below = NULL;
        struct stat st;

        return asprintf(&below, "%s/%s", path, name) > 0 && stat(below, &st) == 0 && S_ISDIR(st.st_mode);
}

int bookkeeping_check_directory(const char *directory, struct error *e) {
        if (!has_directory(directory, "blobs") || !has_directory(directory, "snapshots") ||
            !has_directory(directory, "refs"))
                return 0;
        fail(e, FAILURE_IO, -EINVAL, directory,
             "it is a repository of a Hugging Face cache, which has each file twice");
        fail_advice(e, "Give one revision, with --dereference: the directory below snapshots/ that refs/main names.");
        return -EINVAL;
}
