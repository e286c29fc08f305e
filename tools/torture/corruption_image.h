/*
 * tools/torture/corruption_image.h - a specimen's files as they are on the disk, taken into memory.
 */
#ifndef DAYBOOK_TOOLS_TORTURE_CORRUPTION_IMAGE_H
#define DAYBOOK_TOOLS_TORTURE_CORRUPTION_IMAGE_H

#include "tools/torture/corruption_specimen.h"

/*
 * Read every segment and the watermark page into specimen->files, find every block, and tie the
 * events to their blocks. ERROR_DAMAGED: the files are not those of the specimen's events.
 */
enum error_code corruption_image_load(int log_fd, int segments_fd,
                                      struct corruption_specimen *specimen, struct error *error);

#endif
