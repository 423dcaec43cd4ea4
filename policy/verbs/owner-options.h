/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Options that verbs which read a model from disk, or move one, have in common. */

#include "owner/source.h"
#include "verbs/command.h"

/* `field`: an enum source_links. */
#define OPTION_DEREFERENCE(type, field) \
        { \
                'L', "dereference", NULL, \
                        "follow symbolic links out of the directory, too (Hugging Face snapshots have them)", \
                        OPTION_NUMBER(type, field, SOURCE_LINKS_ALL) \
        }
/* `field`: an enum source_files. */
#define OPTION_ALL(type, field, help) \
        { 'a', "all", NULL, help, OPTION_NUMBER(type, field, SOURCE_FILES_ALL) }
#define OPTION_QUIET(type, field) \
        { 'q', "quiet", NULL, "show no progress", OPTION_FLAG(type, field) }
