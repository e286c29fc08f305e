#include "tools/daybookd/status.h"

#include <string.h>
#include <unistd.h>

#include "core/msgpack.h"
#include "tools/client/daybook.h"
#include "tools/daybookd/index_thread.h"
#include "tools/gate.h"

static void pack_key_text(msgpack_packer *packer, const char *key, const char *text)
{
    msgpack_pack_text(packer, key);
    msgpack_pack_text(packer, text);
}

static void pack_key_number(msgpack_packer *packer, const char *key, uint64_t number)
{
    msgpack_pack_text(packer, key);
    msgpack_pack_uint64(packer, number);
}

enum {
    STATUS_KEYS = 29,
    STATUS_TOPICS_MAX = 1000, /* with schemas; an answer has to fit into a frame */
    STATUS_TOPIC_BYTES = EVENT_TOPIC_BYTES_MAX + 128, /* the counts of one */
    /* Beside the directory and the index's trouble. */
    STATUS_BYTES_MAX = 1280 + sizeof((struct error *)0)->text,
};

static void pack_log(msgpack_packer *packer, const struct status *status)
{
    struct segment_log_counters counters;
    segment_log_count(status->log, &counters);
    pack_key_text(packer, "log", status->log_id);
    pack_key_number(packer, "durable", segment_log_durable(status->log));
    pack_key_number(packer, "appended", segment_log_appended(status->log));
    pack_key_number(packer, "events", counters.events);
    pack_key_number(packer, "duplicates", counters.duplicates);
    pack_key_number(packer, "commits", counters.commits);
    pack_key_number(packer, "blocks", counters.blocks);
    pack_key_number(packer, "rolls", counters.rolls);
    pack_key_number(packer, "raw_bytes", counters.raw_bytes);
    pack_key_number(packer, "stored_bytes", counters.stored_bytes);
    pack_key_number(packer, "prepare_failures", counters.prepare_failures);
    struct error trouble;
    segment_log_read_trouble(status->log, &trouble);
    pack_key_text(packer, "prepare_error", trouble.code ? trouble.text : "");
    msgpack_pack_text(packer, "disk_full");
    if (counters.disk_full)
        msgpack_pack_true(packer);
    else
        msgpack_pack_false(packer);
}

static size_t told_topics(const struct gate *gate)
{
    size_t count = gate_topics(gate);
    return count < STATUS_TOPICS_MAX ? count : STATUS_TOPICS_MAX;
}

static bool has_counts(const struct gate_count *topic)
{
    return (topic->checked | topic->refused | topic->quarantined | topic->warned) != 0;
}

static void pack_counts(msgpack_packer *packer, const struct gate_count *topic)
{
    pack_key_number(packer, "checked", topic->checked);
    pack_key_number(packer, "refused", topic->refused);
    pack_key_number(packer, "quarantined", topic->quarantined);
    pack_key_number(packer, "warned", topic->warned);
}

static void pack_topic(msgpack_packer *packer, const struct gate_count *topic)
{
    msgpack_pack_text(packer, topic->topic);
    msgpack_pack_map(packer, 6);
    pack_key_number(packer, "version", topic->version);
    pack_key_text(packer, "mode", segment_schemas_mode_name(topic->mode));
    pack_counts(packer, topic);
}

/* Where not all have room, those come first of which there is something to tell. */
static void pack_schemas(msgpack_packer *packer, const struct gate *gate)
{
    size_t room = told_topics(gate);
    msgpack_pack_text(packer, "schemas");
    msgpack_pack_map(packer, room);
    for (int counted = 1; counted >= 0; counted--)
        for (size_t i = 0; room > 0 && i < gate_topics(gate); i++) {
            struct gate_count topic = gate_count(gate, i);
            if (has_counts(&topic) != (counted != 0))
                continue;
            pack_topic(packer, &topic);
            room--;
        }
}

/* Of all topics, also of those that have no room above. */
static void pack_schemas_total(msgpack_packer *packer, const struct gate *gate)
{
    struct gate_count total = {0};
    for (size_t i = 0; i < gate_topics(gate); i++) {
        struct gate_count topic = gate_count(gate, i);
        total.checked += topic.checked;
        total.refused += topic.refused;
        total.quarantined += topic.quarantined;
        total.warned += topic.warned;
    }
    msgpack_pack_text(packer, "schemas_total");
    msgpack_pack_map(packer, 5);
    pack_key_number(packer, "topics", gate_topics(gate));
    pack_counts(packer, &total);
}

enum error_code status_write(const struct status *status, struct buffer *map, struct error *error)
{
    struct index_thread_state index;
    index_thread_read(status->index, &index);
    /* With this much room packing cannot fail. */
    enum error_code code = buffer_reserve(map,
                                          STATUS_BYTES_MAX + strlen(status->directory) +
                                              strlen(index.trouble) +
                                              told_topics(status->gate) * STATUS_TOPIC_BYTES,
                                          error);
    if (code)
        return code;
    msgpack_packer packer;
    msgpack_packer_to_buffer(&packer, map);
    msgpack_pack_map(&packer, STATUS_KEYS);
    pack_key_text(&packer, "server", "daybookd " DAYBOOK_VERSION);
    pack_key_number(&packer, "pid", (uint64_t)getpid());
    pack_key_number(&packer, "uptime_ns", (uint64_t)status->uptime_ns);
    pack_key_text(&packer, "directory", status->directory);
    pack_key_number(&packer, "connections", status->connections);
    pack_key_number(&packer, "subscribers", status->bus.subscribers);
    pack_key_number(&packer, "feeds", status->bus.feeds);
    pack_key_number(&packer, "delivered", status->bus.delivered);
    pack_key_number(&packer, "refused", status->refused);
    pack_key_number(&packer, "closed", status->closed);
    pack_key_number(&packer, "turned_away", status->turned_away);
    pack_key_number(&packer, "memory_max", status->memory_max);
    pack_log(&packer, status);
    pack_key_number(&packer, "index_sequence", index.sequence);
    pack_key_text(&packer, "index_error", index.trouble);
    pack_schemas(&packer, status->gate);
    pack_schemas_total(&packer, status->gate);
    return OK;
}
