/* SPDX-License-Identifier: Apache-2.0 */
#include "machine/verity-root.h"

#include <fcntl.h>
#include <linux/dm-ioctl.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#define MAPPED_NAME "verityroot"

static int read_whole(const char *path, void *buffer, size_t size, size_t *ret_n) {
        _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
        size_t n = 0;

        if (fd < 0)
                return -errno;
        while (n < size) {
                ssize_t k = read(fd, (char *) buffer + n, size - n);

                if (k < 0)
                        return -errno;
                if (k == 0)
                        break;
                n += (size_t) k;
        }
        *ret_n = n;
        return 0;
}

/* A whole decimal number that ends at `end`. */
static int parse_number(const char *text, char end, uint64_t *ret, const char **ret_rest) {
        char *rest;
        unsigned long long n;

        if (*text < '0' || *text > '9')
                return -EBADMSG;
        errno = 0;
        n = strtoull(text, &rest, 10);
        if (errno != 0 || *rest != end)
                return -EBADMSG;
        *ret = n;
        *ret_rest = rest + 1;
        return 0;
}

/* "1 @ @ DATA_BLOCK_SIZE HASH_BLOCK_SIZE DATA_BLOCKS ...": the length of the mapped device in sectors. */
static int table_sectors(const char *table, uint64_t *ret) {
        static const char head[] = "1 @ @ ";
        uint64_t data_block, hash_block, blocks;
        const char *p;

        if (strncmp(table, head, sizeof head - 1) != 0)
                return -EBADMSG;
        if (parse_number(table + sizeof head - 1, ' ', &data_block, &p) < 0 ||
            parse_number(p, ' ', &hash_block, &p) < 0 || parse_number(p, ' ', &blocks, &p) < 0 || data_block < 512 ||
            data_block > 65536 || data_block % 512 != 0 || blocks == 0 || blocks > UINT64_MAX / data_block)
                return -EBADMSG;
        *ret = blocks * (data_block / 512);
        return 0;
}

int verity_root_read(struct verity_root *ret, const char *description, const char *superblock) {
        char text[VERITY_TABLE_MAX + 1];
        struct verity_root v = { 0 };
        const char *table;
        size_t n = 0;
        int r;

        r = read_whole(superblock, v.superblock, sizeof v.superblock, &n);
        if (r < 0)
                return r;
        if (n != sizeof v.superblock || memcmp(v.superblock, "verity\0\0", 8) != 0)
                return -EBADMSG;
        r = read_whole(description, text, sizeof text - 1, &n);
        if (r < 0)
                return r;
        text[n] = '\0';
        if (strlen(text) != n || n == 0 || text[n - 1] != '\n')
                return -EBADMSG;
        text[n - 1] = '\0';
        if (parse_number(text, '\n', &v.offset, &table) < 0 || strchr(table, '\n') ||
            table_sectors(table, &v.sectors) < 0)
                return -EBADMSG;
        v.table = strdup(table);
        if (!v.table)
                return -ENOMEM;
        *ret = v;
        return 0;
}

void verity_root_done(struct verity_root *v) {
        free(v->table);
        v->table = NULL;
}

bool verity_root_is(const struct verity_root *v, const char *device) {
        _cleanup_close_ int fd = open(device, O_RDONLY | O_CLOEXEC);
        uint8_t found[VERITY_SUPERBLOCK_SIZE];

        return fd >= 0 && pread(fd, found, sizeof found, (off_t) v->offset) == (ssize_t) sizeof found &&
               memcmp(found, v->superblock, sizeof found) == 0;
}

int verity_root_table(const struct verity_root *v, unsigned major, unsigned minor, char *ret, size_t size) {
        size_t n = 0;

        for (const char *p = v->table; *p; p++) {
                int k = *p == '@' ? snprintf(ret + n, size - n, "%u:%u", major, minor)
                                  : snprintf(ret + n, size - n, "%c", *p);

                if (k < 0 || (size_t) k >= size - n)
                        return -ENOBUFS;
                n += (size_t) k;
        }
        return 0;
}

/* One request to the device mapper: a header, then what it carries. */
struct request {
        struct dm_ioctl head;
        struct dm_target_spec target;
        char table[VERITY_TABLE_MAX];
};

static void request_init(struct request *q, uint32_t flags) {
        memset(q, 0, sizeof *q);
        q->head = (struct dm_ioctl) {
                .version = { DM_VERSION_MAJOR, 0, 0 },
                .data_size = sizeof *q,
                .data_start = sizeof q->head,
                .flags = flags,
                .name = MAPPED_NAME,
        };
}

int verity_root_open(const struct verity_root *v, const char *device, char *ret, size_t size) {
        _cleanup_close_ int fd = -1;
        struct request q;
        struct stat s;
        int r;

        if (stat(device, &s) < 0)
                return -errno;
        if (!S_ISBLK(s.st_mode))
                return -ENOTBLK;
        fd = open("/dev/mapper/control", O_RDWR | O_CLOEXEC);
        if (fd < 0)
                return -errno;
        request_init(&q, DM_READONLY_FLAG);
        if (ioctl(fd, DM_DEV_CREATE, &q) < 0)
                return -errno;
        request_init(&q, DM_READONLY_FLAG);
        q.head.target_count = 1;
        q.target = (struct dm_target_spec) { .length = v->sectors, .target_type = "verity" };
        r = verity_root_table(v, major(s.st_rdev), minor(s.st_rdev), q.table, sizeof q.table);
        if (r < 0)
                return r;
        if (ioctl(fd, DM_TABLE_LOAD, &q) < 0)
                return -errno;
        request_init(&q, DM_READONLY_FLAG);
        if (ioctl(fd, DM_DEV_SUSPEND, &q) < 0) /* without DM_SUSPEND_FLAG: resume */
                return -errno;
        r = snprintf(ret, size, "/dev/dm-%u", minor((dev_t) q.head.dev));
        return r < 0 || (size_t) r >= size ? -ENOBUFS : 0;
}
