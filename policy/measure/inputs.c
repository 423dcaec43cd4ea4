/* SPDX-License-Identifier: Apache-2.0 */
#include "measure/inputs.h"

#include "basic/encode.h"
#include "basic/file.h"
#include "measure/stub.h"

enum {
        KEY_LIST_MAX = 16 * 1024 * 1024,
        FAILED_OPTIONS_MAX = 64,
};

static int parse_number(const char *text, unsigned min, unsigned max, const char *option, unsigned *ret,
                        struct error *e) {
        uint64_t v;

        if (decimal_parse(text, max, &v) < 0 || v < min)
                return fail(e, FAILURE_USAGE, -EINVAL, option, "\"%s\" is not a number from %u to %u", text, min, max);
        *ret = (unsigned) v;
        return 0;
}

int parse_pcr2(const char *text, uint8_t ret[static SHA384_SIZE], struct error *e) {
        static const uint8_t zeros[SHA384_SIZE];
        uint8_t value[SHA384_SIZE] = {};

        if (streq(text, "none")) {
                reference_firmware_alone(ret);
                return 0;
        }
        if (hex_decode(text, value, sizeof value) < 0)
                return fail(e, FAILURE_USAGE, -EINVAL, "--pcr2", "\"%.120s\" is neither \"none\" nor %d hex digits",
                            text, 2 * SHA384_SIZE);
        if (memcmp(value, zeros, sizeof zeros) == 0) {
                fail(e, FAILURE_USAGE, -EINVAL, "--pcr2",
                     "it is zero, which no firmware leaves PCR2 at: it measures a separator");
                fail_advice(e, "Take PCR2 from an attestation document of an instance of that type (`sealboot verify "
                               "--json`), or from its event log (`sealboot replay`), once you know what was loaded "
                               "there.");
                return -EINVAL;
        }
        memcpy(ret, value, sizeof value);
        return 0;
}

static int append(char ***list, size_t *n, char *value, struct error *e) {
        char **larger = reallocarray(*list, *n + 1, sizeof *larger);

        if (!larger)
                return fail_oom(e);
        larger[(*n)++] = value;
        *list = larger;
        return 0;
}

int inputs_add_image(struct inputs *i, char *path, struct error *e) {
        i->given = true;
        return append(&i->image_paths, &i->n_image_paths, path, e);
}

int inputs_option(void *inputs, const struct option_row *row, char *value, struct error *e) {
        struct inputs *i = inputs;

        i->given = true;
        switch ((enum input_option) row->number) {
        case INPUT_PK:
        case INPUT_KEK:
        case INPUT_DB:
        case INPUT_DBX:
                i->paths[row->number - INPUT_PK] = value;
                return 0;
        case INPUT_SECURE_BOOT:
                if (!streq(value, "on") && !streq(value, "off"))
                        return fail(e, FAILURE_USAGE, -EINVAL, "--secure-boot", "\"%s\" is neither \"on\" nor \"off\"",
                                    value);
                i->secure_boot = streq(value, "on") ? 1 : -1;
                return 0;
        case INPUT_STUB_VERSION:
                return parse_number(value, 1, 100000, "--stub-version", &i->boot.stub_version, e);
        case INPUT_ADDON:
                return append(&i->addon_paths, &i->n_addon_paths, value, e);
        case INPUT_COMMAND_LINE:
                i->boot.command_line = value;
                return 0;
        case INPUT_FAILED_OPTIONS:
                return parse_number(value, 0, FAILED_OPTIONS_MAX, "--failed-boot-options", &i->boot.failed_options, e);
        case INPUT_PCR2:
                i->boot.pcr2 = streq(value, "none") ? NULL : i->pcr2;
                return parse_pcr2(value, i->pcr2, e);
        case INPUT_DISK:
                i->disk = value;
                return 0;
        case INPUT_ARCH:
                if (!streq(value, "x64") && !streq(value, "aa64"))
                        return fail(e, FAILURE_USAGE, -EINVAL, "--arch", "\"%s\" is neither \"x64\" nor \"aa64\"",
                                    value);
                i->arch = streq(value, "x64") ? "BOOTX64.EFI" : "BOOTAA64.EFI";
                return 0;
        }
        return fail(e, FAILURE_INTERNAL, -EINVAL, "", "option %s is not known", row->name);
}

static int load_key_list(struct inputs *i, enum key_list list, struct error *e) {
        struct key_lists *keys = &i->keys;
        _cleanup_esl_ struct esl esl = {};
        size_t size;
        int r;

        r = file_read(i->paths[list], KEY_LIST_MAX, FAILURE_IO, &i->key_data[list], &size, e);
        if (r < 0)
                return r;
        r = esl_parse(i->key_data[list], size, i->paths[list], &esl, e);
        if (r < 0)
                return r;
        keys->data[list] = esl.bytes;
        keys->size[list] = esl.size;
        if (list == KEY_DB)
                keys->db = TAKE_STRUCT(esl);
        if (list == KEY_DBX)
                keys->dbx = TAKE_STRUCT(esl);
        return 0;
}

static int load_keys(struct inputs *i, struct error *e) {
        struct key_lists *keys = &i->keys;
        bool any = i->secure_boot != 0;
        int r;

        for (enum key_list list = 0; list < KEY_LISTS; list++) {
                if (!i->paths[list])
                        continue;
                any = true;
                r = load_key_list(i, list, e);
                if (r < 0)
                        return r;
        }
        if (!any)
                return 0;
        keys->enabled = i->secure_boot > 0 || (i->secure_boot == 0 && keys->size[KEY_PK] > 0);
        if (keys->enabled && keys->size[KEY_PK] == 0)
                return fail(e, FAILURE_USAGE, -EINVAL, "--secure-boot",
                            "it cannot be on without a platform key: give --PK");
        if (i->secure_boot == 0 && keys->size[KEY_PK] == 0)
                return fail(e, FAILURE_USAGE, -EINVAL, "--PK",
                            "it is missing: give all key lists that are enrolled, or --secure-boot=off");
        i->boot.keys = keys;
        return 0;
}

static int load_file(struct inputs *i, const char *path, struct measured_image *ret, struct error *e) {
        uint8_t **larger = reallocarray(i->file_data, i->n_file_data + 1, sizeof *larger);
        size_t size;
        int k;

        if (!larger)
                return fail_oom(e);
        i->file_data = larger;
        k = file_read(path, PE_FILE_MAX, FAILURE_IO, &i->file_data[i->n_file_data], &size, e);
        if (k < 0)
                return k;
        ret->path = path;
        return pe_parse(i->file_data[i->n_file_data++], size, path, &ret->pe, e);
}

static int load_disk_file(const struct disk_file *file, struct measured_image *ret, struct error *e) {
        ret->path = file->path;
        return pe_parse(file->data, file->size, file->path, &ret->pe, e);
}

/* The version of the stub in the disk's image decides whether the disk's addons count. */
static int load_disk(struct inputs *i, struct error *e) {
        struct measured_image *image = &i->images[i->boot.n_images];
        unsigned version;
        int k;

        k = load_disk_file(&i->disk_boot.image, image, e);
        if (k < 0)
                return k;
        i->boot.n_images++;
        k = pe_check_machine(&image->pe, i->disk_boot.machine, e);
        if (k < 0)
                return k;
        if (!pe_section(&image->pe, ".linux")) {
                fail(e, FAILURE_UKI, -ENOTSUP, image->path,
                     "it is not a UKI: what it starts in turn cannot be told from the disk");
                fail_advice(e, "Give the images in load order instead: the boot loader, then the UKI it starts.");
                return -ENOTSUP;
        }
        version = stub_version(&image->pe) ?: i->boot.stub_version;
        for (size_t a = 0; a < i->disk_boot.n_addons && version >= STUB_LOADS_ADDONS; a++) {
                k = load_disk_file(&i->disk_boot.addons[a], &i->addons[i->boot.n_addons], e);
                if (k < 0)
                        return k;
                i->boot.n_addons++;
        }
        return 0;
}

static int load_files(struct inputs *i, char *const *paths, size_t n_paths, struct measured_image *to, size_t *n,
                      struct error *e) {
        int k;

        for (size_t a = 0; a < n_paths; a++) {
                k = load_file(i, paths[a], &to[*n], e);
                if (k < 0)
                        return k;
                (*n)++;
        }
        return 0;
}

int inputs_load(struct inputs *i, struct error *e) {
        int k;

        if (i->disk && i->n_image_paths > 0)
                return fail(e, FAILURE_USAGE, -EINVAL, "--disk",
                            "it brings its own image: give either a disk or images");
        if (!i->disk && i->n_image_paths == 0)
                return fail(e, FAILURE_USAGE, -EINVAL, "", "no image given");
        if (i->disk) {
                k = disk_open_boot(i->disk, i->arch, &i->disk_boot, e);
                if (k < 0)
                        return k;
        }
        k = load_keys(i, e);
        if (k < 0)
                return k;
        i->images = calloc(i->n_image_paths + 1, sizeof *i->images);
        i->addons = calloc(i->disk_boot.n_addons + i->n_addon_paths + 1, sizeof *i->addons);
        if (!i->images || !i->addons)
                return fail_oom(e);
        i->boot.images = i->images;
        i->boot.addons = i->addons;
        if (i->disk) {
                k = load_disk(i, e);
                if (k < 0)
                        return k;
        }
        k = load_files(i, i->image_paths, i->n_image_paths, i->images, &i->boot.n_images, e);
        return k < 0 ? k : load_files(i, i->addon_paths, i->n_addon_paths, i->addons, &i->boot.n_addons, e);
}

void inputs_done(struct inputs *i) {
        for (size_t l = 0; l < KEY_LISTS; l++)
                free(i->key_data[l]);
        for (size_t f = 0; f < i->n_file_data; f++)
                free(i->file_data[f]);
        free(i->file_data);
        free(i->images);
        free(i->addons);
        free(i->image_paths);
        free(i->addon_paths);
        esl_done(&i->keys.db);
        esl_done(&i->keys.dbx);
        disk_boot_done(&i->disk_boot);
        *i = (struct inputs) {};
}
