/*
 * tools/zmq/flags.h - what the gateway was told on its command line.
 */
#ifndef DAYBOOK_TOOLS_ZMQ_FLAGS_H
#define DAYBOOK_TOOLS_ZMQ_FLAGS_H

#include <stdbool.h>
#include <stdio.h>

#include "tools/settings.h"

enum { FLAGS_PREFIX_BYTES_MAX = 64 };

struct flags {
    struct settings settings; /* of them, directory and socket; "": the library's defaults */
    const char *pull;         /* addresses as libzmq reads them */
    const char *pub;
    const char *prefix;
    const char *producer;
    const char *cursor;
    int64_t heartbeat_ns;
    int64_t settle_ns; /* before the first event goes out, for subscribers to come back */
    int hwm;           /* messages that are kept for one subscriber */
    bool verbose;
    bool help; /* only print the help, or the version, and go */
    bool version;
};

/* ERROR_INVALID: the text names the flag, or the file and line. The strings are argv's. */
enum error_code flags_parse(int argc, char **argv, struct flags *flags_out,
                              struct error *error);
void flags_print_help(FILE *out);

#endif
