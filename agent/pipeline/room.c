/* SPDX-License-Identifier: Apache-2.0 */
#include "pipeline/room.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>

enum { INODE_BYTES = 1024 }; /* about what the kernel needs for a file or directory, beside its pages */

/* ---- memory */

/* The number in a file of one line; UINT64_MAX: the file has "max" or no number. */
static uint64_t read_number(const char *directory, const char *name) {
        _cleanup_fclose_ FILE *f = NULL;
        unsigned long long n;
        char path[PATH_MAX];

        if (snprintf(path, sizeof path, "%s/%s", directory, name) >= (int) sizeof path)
                return UINT64_MAX;
        f = fopen(path, "re");
        return f && fscanf(f, "%llu", &n) == 1 ? (uint64_t) n : UINT64_MAX;
}

/* The value in the line "NAME VALUE" or "NAME: VALUE"; 0: there is no such line. */
static uint64_t read_row(const char *path, const char *name) {
        _cleanup_fclose_ FILE *f = fopen(path, "re");
        unsigned long long n;
        char line[128];

        while (f && fgets(line, sizeof line, f)) {
                size_t length = strcspn(line, ": ");

                if (length == strlen(name) && strncmp(line, name, length) == 0 &&
                    sscanf(line + length, "%*[: ]%llu", &n) == 1)
                        return (uint64_t) n;
        }
        return 0;
}

/* The kernel can give back the pages of files on disks, but not those of a tmpfs. */
static uint64_t left_in_cgroup(const char *directory) {
        uint64_t max = read_number(directory, "memory.max"), used = read_number(directory, "memory.current");
        uint64_t file, shmem;
        char path[PATH_MAX];

        if (max == UINT64_MAX || used == UINT64_MAX ||
            snprintf(path, sizeof path, "%s/memory.stat", directory) >= (int) sizeof path)
                return UINT64_MAX;
        file = read_row(path, "file");
        shmem = read_row(path, "shmem");
        used -= MIN_OF(used, file - MIN_OF(file, shmem));
        return max - MIN_OF(max, used);
}

uint64_t room_of_cgroup(const char *root, const char *text, char *ret_name, size_t name_size) {
        const char *line = strncmp(text, "0::/", 4) == 0 ? text : strstr(text, "\n0::/");
        char path[PATH_MAX / 2], directory[PATH_MAX];
        uint64_t least = UINT64_MAX;

        if (!line)
                return least;
        line += strlen("0::") + (*line == '\n');
        snprintf(path, sizeof path, "%.*s", (int) MIN_OF(strcspn(line, "\n"), sizeof path - 1), line);
        if (strstr(path, "/..")) /* outside of this cgroup namespace */
                return least;
        for (char *slash; (slash = strrchr(path, '/')); *slash = '\0') {
                uint64_t left;

                if (!slash[1])
                        continue;
                snprintf(directory, sizeof directory, "%s%s", root, path);
                left = left_in_cgroup(directory);
                if (left < least) {
                        least = left;
                        snprintf(ret_name, name_size, "%s", slash + 1);
                }
        }
        return least;
}

static void measure_memory(struct room *r) {
        uint64_t available = read_row("/proc/meminfo", "MemAvailable"), left;
        _cleanup_fclose_ FILE *f = fopen("/proc/self/cgroup", "re");
        char line[4096] = "", name[100];

        while (f && fgets(line, sizeof line, f) && strncmp(line, "0::", 3) != 0)
                ;
        r->memory = available > 0 ? available * 1024 : UINT64_MAX;
        snprintf(r->limit, sizeof r->limit, "the machine's memory (MemAvailable)");
        left = room_of_cgroup("/sys/fs/cgroup", line, name, sizeof name);
        if (left < r->memory) {
                r->memory = left;
                snprintf(r->limit, sizeof r->limit, "MemoryMax= of %s", name);
        }
}

/* ---- the tmpfs */

/* st_blksize of an empty file is a page, or a huge page with huge=always. The kernel may split huge pages when room is
 * short, but this is not certain. */
static int measure_unit(int directory_fd, uint64_t *ret) {
        _cleanup_close_ int fd = openat(directory_fd, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
        struct stat st;

        if (fd < 0 || fstat(fd, &st) < 0)
                return -errno;
        *ret = (uint64_t) MAX_OF(st.st_blksize, (blksize_t) 1);
        return 0;
}

int room_measure(int directory_fd, const char *path, struct room *ret, struct error *e) {
        struct room r = { 0 };
        struct statvfs s;
        int result;

        if (fstatvfs(directory_fd, &s) < 0)
                return fail(e, FAILURE_PUBLISH, -errno, path, "its free room cannot be measured: %m");
        /* A tmpfs without a limit (size=0, nr_inodes=0) has none to count. */
        r.size = s.f_blocks > 0 ? (uint64_t) s.f_bavail * s.f_frsize : UINT64_MAX;
        r.inodes = s.f_files > 0 ? (uint64_t) s.f_favail : UINT64_MAX;
        result = measure_unit(directory_fd, &r.unit);
        if (result == -EOPNOTSUPP) /* ramfs */
                r.unit = s.f_bsize;
        else if (result < 0 && !room_refused(directory_fd, -result, path, "no file can be made there", e))
                return fail(e, FAILURE_PUBLISH, result, path, "no file can be made there: %s", strerror(-result));
        else if (result < 0)
                return result;
        measure_memory(&r);
        *ret = r;
        return 0;
}

/* ---- what a model needs of it */

uint64_t room_taken(uint64_t unit, uint64_t size) {
        uint64_t over = unit > 0 ? size % unit : 0;

        return over > 0 && size <= UINT64_MAX - unit ? size - over + unit : size;
}

uint64_t room_bytes(const struct room *r) {
        return MIN_OF(r->size, r->memory);
}

const char *room_limit(const struct room *r) {
        return r->memory < r->size ? r->limit : "the tmpfs (size=)";
}

static void advise(const struct room *r, struct error *e) {
        if (r->memory < r->size && strncmp(r->limit, "MemoryMax=", 10) == 0)
                fail_advice(e, "The model's pages count for the unit that writes them: raise %s, or leave it out.",
                            r->limit);
        else if (r->unit > 1024 * 1024)
                fail_advice(e,
                            "Every file takes a multiple of %llu bytes there: mount the model tmpfs with "
                            "huge=within_size instead of huge=always.",
                            (unsigned long long) r->unit);
}

static uint64_t inodes_of(const struct model *m) {
        return m->n_files + model_directories(m);
}

static uint64_t taken_by(const struct room *r, const struct model *m) {
        uint64_t taken = 0;

        for (size_t i = 0; i < m->n_files; i++)
                taken += room_taken(r->unit, m->files[i].size);
        return taken;
}

int room_check(const struct room *r, const struct model *m, const char *subject, struct error *e) {
        uint64_t taken = taken_by(r, m), inodes = inodes_of(m), room = room_bytes(r);

        if (inodes > r->inodes) {
                fail(e, FAILURE_SPACE, -ENOSPC, subject,
                     "it has %zu files in %zu directories, and the tmpfs takes %llu more of both (nr_inodes=)",
                     m->n_files, model_directories(m), (unsigned long long) r->inodes);
                fail_advice(e, "Raise nr_inodes= of the model tmpfs in the image.");
                return -ENOSPC;
        }
        if (taken <= r->size && taken <= r->memory && inodes * INODE_BYTES <= r->memory - taken)
                return 0;
        fail(e, FAILURE_SPACE, -ENOSPC, subject,
             "it has %llu bytes and takes up %llu, and there is room for %llu: the limit is %s",
             (unsigned long long) model_size(m), (unsigned long long) taken, (unsigned long long) room, room_limit(r));
        advise(r, e);
        return -ENOSPC;
}

void room_take(struct room *r, const struct model *m) {
        uint64_t taken = taken_by(r, m), inodes = inodes_of(m);

        if (r->size != UINT64_MAX)
                r->size -= taken;
        if (r->memory != UINT64_MAX)
                r->memory -= taken + inodes * INODE_BYTES;
        if (r->inodes != UINT64_MAX)
                r->inodes -= inodes;
}

/* ---- refused although there seemed to be room */

/* For an owner who unseals a model onto a disk. */
static int refused_by_disk(int error, const char *subject, const char *sentence, struct error *e) {
        if (error == ENOMEM)
                return 0;
        fail(e, FAILURE_SPACE, -error, subject, "%s: %s", sentence, strerror(error));
        fail_advice(e, "Make room on the file system of that directory, or unseal the model into another.");
        return -error;
}

int room_refused(int fd, int error, const char *subject, const char *sentence, struct error *e) {
        struct statvfs s = { 0 };
        struct statfs type;

        if (error != ENOMEM && error != ENOSPC && error != EDQUOT)
                return 0;
        if (fstatfs(fd, &type) == 0 && type.f_type != TMPFS_MAGIC && type.f_type != RAMFS_MAGIC)
                return refused_by_disk(error, subject, sentence, e);
        if (error == ENOMEM) {
                fail(e, FAILURE_SPACE, -error, subject,
                     "%s: there is no memory left, of the machine or of a control group (MemoryMax=): %s", sentence,
                     strerror(error));
                fail_advice(e, "Choose an instance type with more memory, or raise MemoryMax= of the agent's service "
                               "and of the slices above it.");
                return -error;
        }
        if (fstatvfs(fd, &s) < 0)
                s = (struct statvfs) { 0 };
        if (error == EDQUOT)
                fail(e, FAILURE_SPACE, -error, subject, "%s: the quota of the tmpfs is used up: %s", sentence,
                     strerror(error));
        else if (s.f_files > 0 && s.f_favail == 0) {
                fail(e, FAILURE_SPACE, -error, subject, "%s: the tmpfs has all the files it takes (nr_inodes=): %s",
                     sentence, strerror(error));
                fail_advice(e, "Raise nr_inodes= of the model tmpfs in the image.");
        } else if (s.f_blocks == 0 || (uint64_t) s.f_bavail * s.f_frsize > 4 * 1024 * 1024) {
                fail(e, FAILURE_SPACE, -error, subject,
                     "%s: the tmpfs has room, but the kernel gives no more memory "
                     "(vm.overcommit_memory=2): %s",
                     sentence, strerror(error));
                fail_advice(e, "Set vm.overcommit_memory to 0, or raise vm.overcommit_ratio, in the image.");
        } else
                fail(e, FAILURE_SPACE, -error, subject, "%s: the tmpfs is full (size=): %s", sentence, strerror(error));
        return -error;
}
