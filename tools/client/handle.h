/*
 * tools/client/handle.h - the inside of struct daybook, for the files of the library.
 *
 *     daybook.c    making and ending a handle, status
 *     connecting.c hello, and again after a lost connection
 *     results.c    answers from the daemon, and what they mean for each event
 *     publish.c    send, publish, poll, flush
 */
#ifndef DAYBOOK_TOOLS_CLIENT_HANDLE_H
#define DAYBOOK_TOOLS_CLIENT_HANDLE_H

#include "core/json.h"
#include "tools/client/failure.h"
#include "tools/client/link.h"
#include "tools/client/outbox.h"

struct daybook {
    struct daybook_options options; /* defaults filled in; the strings are ours */
    size_t producer_bytes;          /* 0: anonymous */
    struct link link;
    struct outbox outbox;
    struct daybook_counts counts;
    uint64_t number_given;      /* the last one that went out through this handle */
    uint64_t number_welcomed;   /* the log's last, as the last welcome told it */
    bool welcomed;              /* once, at least */
    struct daybook_error gone;  /* why there is no connection; code OK: no reason yet */
    struct daybook_error ended; /* why there will never be one again; code OK: there may */
    struct daybook_error bad;   /* the first bad result since the last flush */
    int64_t pumped_ns;          /* when the socket was looked at last */

    struct daybook_result published; /* for daybook_publish; its reason is in published_error */
    struct daybook_error published_error;
    bool published_came;

    struct buffer status; /* the last status answer's map */
    bool status_came;

    struct json_reader *json; /* made when first needed */
    struct buffer converted;
};

/*
 * daybook.c: the path of the daemon's socket, allocated: as given, else from the environment, else
 * inside of the directory. NULL: no memory.
 */
char *handle_socket_path(const char *directory, const char *socket);

/*
 * connecting.c: connect and be welcomed, or give up at `deadline_ns`. DAYBOOK_UNREACHABLE: nobody
 * listens, or nobody welcomed us in time.
 */
enum daybook_code handle_connect_once(struct daybook *daybook, int64_t deadline_ns,
                                      struct daybook_error *error);
/*
 * Be connected, again if need be. DAYBOOK_UNKNOWN: the connection was lost, and events without a
 * number got that result; the next call connects.
 */
enum daybook_code handle_ensure(struct daybook *daybook, struct daybook_error *error);

/*
 * publish.c: send what can be sent, take in what has come; wait up to `timeout_ms` for something to
 * come when nothing has. DAYBOOK_UNREACHABLE: the connection is lost (handle_ensure).
 */
enum daybook_code handle_pump(struct daybook *daybook, int timeout_ms, struct daybook_error *error);

/*
 * results.c: one frame from the daemon. DAYBOOK_UNREACHABLE: it says goodbye, and we may come back;
 * other codes: for good.
 */
enum daybook_code handle_take_frame(struct daybook *daybook, struct msgpack_cursor frame,
                                    struct daybook_error *error);
/* Nobody knows what became of the first frame's events, or ever will. */
void handle_give_up_first(struct daybook *daybook);

#endif
