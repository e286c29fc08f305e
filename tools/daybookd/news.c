/* What the server does about the log's news: failure, full disk, withdrawal, progress. */
#include "tools/daybookd/server_state.h"

/* D8: nothing is acknowledged any more. Nobody knows what of the last commit is on the disk. */
static void take_failure(struct server *server)
{
    if (server->failure.code || segment_log_failure(server->options.log, &server->failure) == OK)
        return;
    struct error why = server->failure;
    report_line(server->options.report, REPORT_ERROR, "the log has failed: %s", why.text);
    error_prefix(&why, "outcome unknown");
    server_begin_stop(server);
    bus_end(server->bus, "io", server->failure.text);
    for (struct list_link *link = server->all.next; link != &server->all; link = link->next) {
        struct connection *connection = LIST_MEMBER(link, struct connection, in_all);
        answers_release(&connection->answers, server_log_sequence(server, false));
        connection_abort(connection, "io", why.text);
        server_make_ready(server, connection);
    }
}

/* A full disk ends nothing: say when it begins and when it is over. */
static void take_space(struct server *server)
{
    const struct report *report = server->options.report;
    struct segment_log_counters counters;
    struct error why;
    segment_log_count(server->options.log, &counters);
    segment_log_read_trouble(server->options.log, &why);
    if (counters.disk_full && !server->disk_full)
        report_line(report, REPORT_ERROR, "%s: %s",
                    why.code && why.code != ERROR_NO_SPACE
                        ? "no new segment can be made: new events are refused until one can"
                        : "no room for a new segment: new events are refused until there is space "
                          "('daybook retention' deletes the oldest segments)",
                    why.code ? why.text : "the last try failed");
    else if (counters.next_missing && !server->next_missing && !counters.disk_full)
        report_line(report, REPORT_WARNING,
                    "the next segment cannot be made; events are taken as long as the present one "
                    "has room: %s",
                    why.text);
    else if (server->disk_full && !counters.disk_full)
        report_line(report, REPORT_INFO, "there is room for segments again");
    else if (server->next_missing && !counters.next_missing)
        report_line(report, REPORT_INFO, "the next segment is there");
    server->disk_full = counters.disk_full;
    server->next_missing = counters.next_missing;
}

/*
 * What the full disk has no room for was taken back: tell those who wait for it. Who reads no more
 * is looked at as well: what its answers waited for is not known any longer.
 */
static void take_withdrawal(struct server *server)
{
    struct error why;
    if (!segment_log_take_withdrawal(server->options.log, &why))
        return;
    gate_withdraw(server->options.gate, server_log_sequence(server, false));
    intake_withdraw(&server->intake, server_log_sequence(server, false));
    for (struct list_link *link = server->all.next; link != &server->all; link = link->next) {
        struct connection *connection = LIST_MEMBER(link, struct connection, in_all);
        answers_release(&connection->answers, server_log_sequence(server, false));
        if (answers_are_waiting(&connection->answers) || connection->deaf)
            connection_withdraw(connection, why.text);
    }
}

void server_wake_stalled(struct server *server)
{
    while (!list_is_empty(&server->stalled)) {
        struct connection *connection =
            LIST_MEMBER(server->stalled.next, struct connection, in_stalled);
        list_remove(&connection->in_stalled);
        connection->stalled = false;
        server_make_ready(server, connection);
    }
}

/* On the disk, but seldom: only when 'daybook schema' was killed before it could note it itself. */
void server_settle_schemas(struct server *server)
{
    struct error why;
    enum error_code code =
        gate_settle(server->options.gate, server_log_sequence(server, false), &why);
    if (code && !server->settle_failed)
        report_line(server->options.report, REPORT_WARNING,
                    "schemas: a change is in effect, but that cannot be noted in "
                    "schemas/catalogue; it is tried again every second: %s",
                    why.text);
    else if (!code && server->settle_failed)
        report_line(server->options.report, REPORT_INFO, "schemas: the change is noted");
    server->settle_failed = code != OK;
}

void server_take_news(struct server *server)
{
    take_failure(server);
    take_space(server);
    take_withdrawal(server);
    server_wake_stalled(server);
    struct list_link *next;
    for (struct list_link *link = server->waiting.next; link != &server->waiting; link = next) {
        next = link->next;
        struct connection *connection = LIST_MEMBER(link, struct connection, in_waiting);
        bool written = connection->session.ack == WIRE_ACK_WRITTEN;
        answers_release(&connection->answers, server_log_sequence(server, written));
        if (answers_ready_bytes(&connection->answers) > 0)
            server_make_ready(server, connection);
        if (!answers_are_waiting(&connection->answers))
            list_remove(&connection->in_waiting);
    }
}
