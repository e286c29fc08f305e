/*
 * tools/torture/corruption_look.h - what verify, a reader and a writer make of a damaged log.
 *
 * Only collects, and compares every event that anybody hands out with the specimen's. What the
 * answers are worth is judged in tools/torture/corruption.c.
 */
#ifndef DAYBOOK_TOOLS_TORTURE_CORRUPTION_LOOK_H
#define DAYBOOK_TOOLS_TORTURE_CORRUPTION_LOOK_H

#include "segment/recovery.h"
#include "tools/torture/corruption_specimen.h"

/* What was said of one sequence. */
enum corruption_mark {
    CORRUPTION_GIVEN = 1,       /* by the reader */
    CORRUPTION_READER_LOST = 2, /* the reader said that it cannot be read */
    CORRUPTION_VERIFY_LOST = 4, /* verify said that it is lost */
    CORRUPTION_GIVEN_AGAIN = 8, /* by a second reader, after a writer has had the log */
    CORRUPTION_SOUGHT = 16,     /* by a reader that began at some sequence */
};

enum { CORRUPTION_FINDINGS_KEPT = 16 };

struct corruption_look {
    const struct corruption_specimen *specimen; /* borrowed */
    uint8_t *marks;                             /* of sequence i + 1; owned */

    enum error_code verify_code; /* OK: it ran to its end */
    uint64_t findings, torn_bytes;
    struct {
        uint64_t segment_first, offset;
    } places[CORRUPTION_FINDINGS_KEPT]; /* of the first findings */

    enum error_code reader_code; /* ERROR_END: it came to the end */
    uint64_t damages;            /* that it told */

    bool writer_asked;
    enum error_code writer_code;           /* OK: it was not refused */
    struct segment_recovery_report report; /* when it was not refused */
    uint64_t sequence_after;               /* of an event published then; 0: none */

    char fault[400];       /* "": no promise was broken so far */
    char verify_text[200]; /* the first finding, or why it did not run */
    char reader_text[200]; /* the first damage that the reader told */
    char writer_text[200];
};

enum error_code corruption_look_init(struct corruption_look *look,
                                     const struct corruption_specimen *specimen,
                                     struct error *error);
void corruption_look_release(struct corruption_look *look);
/* Forget what was seen. */
void corruption_look_clear(struct corruption_look *look);

void corruption_look_verify(struct corruption_look *look, const char *path);
void corruption_look_read(struct corruption_look *look, const char *path);
/* Read from a sequence on: the same events must come as in the reading of all. */
void corruption_look_seek(struct corruption_look *look, const char *path, uint64_t sequence);
/* Open for writing; when that is not refused: publish an event, close, read again. */
void corruption_look_write(struct corruption_look *look, const char *path);

/* Note the first broken promise. */
void corruption_look_fault(struct corruption_look *look, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
