#include "tools/zmq/heartbeat.h"

#include <inttypes.h>

#include "core/clock.h"

void heartbeat_init(struct heartbeat *heartbeat, int64_t every_ns)
{
    int64_t now_ns = clock_monotonic_ns();
    *heartbeat = (struct heartbeat){
        .every_ns = every_ns, .started_ns = now_ns, .due_ns = now_ns + every_ns};
}

int64_t heartbeat_left_ns(const struct heartbeat *heartbeat)
{
    int64_t left_ns = heartbeat->due_ns - clock_monotonic_ns();
    if (heartbeat->every_ns == 0)
        return INT64_MAX;
    return left_ns > 0 ? left_ns : 0;
}

bool heartbeat_is_due(const struct heartbeat *heartbeat)
{
    return heartbeat_left_ns(heartbeat) == 0;
}

enum error_code heartbeat_make(struct heartbeat *heartbeat, const struct counts *counts,
                               struct message_reader *reader, struct event *event_out,
                               struct error *error)
{
    int64_t now_ns = clock_monotonic_ns();
    heartbeat->due_ns = now_ns + heartbeat->every_ns;
    heartbeat->text.size = 0;
    enum error_code code = buffer_printf(
        &heartbeat->text, error,
        "{\"event_type\":\"system_health\",\"timestamp\":%.6f,\"source\":\"event_bus\","
        "\"data\":{\"status\":\"healthy\",\"uptime_seconds\":%.3f,\"received\":%" PRIu64
        ",\"stored\":%" PRIu64 ",\"refused\":%" PRIu64 ",\"sent\":%" PRIu64 ",\"replayed\":%" PRIu64
        ",\"left_behind\":%" PRIu64 ",\"subscriptions\":%" PRIu64
        "},\"correlation_id\":null,\"user_id\":null,\"session_id\":null}",
        (double)clock_realtime_ns() / 1e9, (double)(now_ns - heartbeat->started_ns) / 1e9,
        atomic_load(&counts->received), atomic_load(&counts->stored),
        atomic_load(&counts->refused), atomic_load(&counts->sent), atomic_load(&counts->replayed),
        atomic_load(&counts->left_behind), atomic_load(&counts->subscriptions));
    if (code)
        return code;
    return message_read(reader, heartbeat->text.data, heartbeat->text.size, event_out, error);
}

void heartbeat_release(struct heartbeat *heartbeat)
{
    buffer_release(&heartbeat->text);
}
