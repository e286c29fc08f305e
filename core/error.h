/*
 * core/error.h - one channel for what went wrong: a code to act on, a text to read.
 *
 * A function that can fail returns an error_code and takes a `struct error *`, which may be
 * NULL. Where it fails it calls error_set; a caller that knows more puts its context in front
 * with error_prefix, so that a user reads
 *
 *     open log '/x': segment 42: block at byte 16: its length 99 is too long
 *
 * Texts name what, where, why and, where there is one, the way out; they are one sentence, with no
 * newline and no full stop at the end. Control characters in what they quote become '?'.
 * Thread-safe: an error belongs to its caller.
 */
#ifndef DAYBOOK_CORE_ERROR_H
#define DAYBOOK_CORE_ERROR_H

#include <stdbool.h>
#include <stddef.h>

enum error_code {
    OK = 0,
    ERROR_INVALID,   /* the caller's input breaks a rule: refuse it, nothing changed */
    ERROR_NOT_FOUND, /* no such file, segment, sequence */
    ERROR_EXISTS,    /* it is already there and was left alone */
    ERROR_BUSY,      /* somebody else holds the lock, or a bounded buffer is full: try later */
    ERROR_FULL,      /* does not fit into this segment, block or frame; nothing was written */
    ERROR_NO_SPACE,  /* the disk or the quota is full; nothing was written */
    ERROR_IO,        /* the system refused a read, write or sync */
    ERROR_DAMAGED,   /* bytes on disk are not what was written */
    ERROR_FOREIGN,   /* a healthy file that is not ours, or belongs to another log */
    ERROR_VERSION,   /* written by a newer Daybook */
    ERROR_CONFLICT,  /* the log is not as the caller expects it; nothing was written */
    ERROR_MEMORY,
    ERROR_CLOSED, /* the other side, or this handle, is closed */
    ERROR_END,    /* nothing more, for now */
};

struct error {
    enum error_code code;
    char text[760];
    int errno_value; /* of the system call that failed; 0: none did */
};

/* Set code and text, and return the code. Accepts NULL for `error`. */
enum error_code error_set(struct error *error, enum error_code code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/*
 * As error_set, for a failed system call: appends ": " and the words for `errno_value`. The code
 * follows from it: ENOSPC, EDQUOT and EFBIG give ERROR_NO_SPACE, ENOENT ERROR_NOT_FOUND,
 * EEXIST ERROR_EXISTS, ENOMEM ERROR_MEMORY, everything else ERROR_IO.
 */
enum error_code error_set_errno(struct error *error, int errno_value, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/*
 * Did the device refuse, or the file system that finds its own structures damaged? Then the bytes
 * cannot be had, whoever asks. A lack of descriptors or of permission says nothing of them.
 */
bool error_is_of_device(const struct error *error);

/*
 * Put "context: " in front of the text and return the code that is already there. Where there is
 * no `error` to hold one it returns ERROR_IO: a caller whose `error` may be NULL keeps its code.
 */
enum error_code error_prefix(struct error *error, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* The code's name as a producer sees it in an ack: "invalid", "no_space", … Never NULL. */
const char *error_name(enum error_code code);

#endif
