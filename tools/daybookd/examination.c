#include <assert.h>

#include "tools/daybookd/server_state.h"

/* The examiner does one at a time, and its result has to be used before it can do the next. */
static void start_next(struct server *server)
{
    if (server->examined || list_is_empty(&server->away))
        return;
    struct connection *connection = LIST_MEMBER(server->away.next, struct connection, in_away);
    list_remove(&connection->in_away);
    connection->away = AWAY_RUNNING;
    server->examined = connection;
    examiner_begin(server->examiner, &connection->examination);
}

void server_examine(struct server *server, struct connection *connection)
{
    assert(connection->away == AWAY_NOT);
    connection->away = AWAY_QUEUED;
    list_append(&server->away, &connection->in_away);
    start_next(server);
}

void server_take_result(struct server *server)
{
    const struct examiner_result *result = examiner_result(server->examiner);
    if (!result || !server->examined || server->examined->away != AWAY_RUNNING)
        return;
    server->result = result;
    server->examined->away = AWAY_BACK;
    server_make_ready(server, server->examined);
}

const struct examiner_result *server_result(const struct server *server,
                                            const struct connection *connection)
{
    return connection->away == AWAY_BACK ? server->result : NULL;
}

void server_forget_result(struct server *server, struct connection *connection)
{
    if (connection->away == AWAY_QUEUED) {
        list_remove(&connection->in_away);
        connection->away = AWAY_NOT;
    } else if (connection->away == AWAY_BACK) {
        assert(server->examined == connection);
        connection->away = AWAY_NOT;
        server->examined = NULL;
        server->result = NULL;
        examiner_finish(server->examiner);
        start_next(server);
    }
}
