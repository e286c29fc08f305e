#include "indexer/event_way.h"

#include <stdlib.h>

#include "indexer/database.h"
#include "indexer/event_field.h"

/* So many rows must be wanted, and so large a part, to go through the log for them. */
enum { LOG_ROWS_MIN = 1024, LOG_SHARE_MIN = 8 /* one in so many */ };

struct indexer_event_ways {
    sqlite3_stmt *find_state; /* stands on its row from the first question on: see event_way.h */
    sqlite3_stmt *find_topic, *find_segments;
    struct indexer_event_field_check *check; /* made by the first plan with a field */
    struct indexer_host *host;
    bool begun;
    int64_t last_sequence, bound; /* of the index */
};

static const char find_state_sql[] = "SELECT last_seq, bound FROM %s.state";
static const char find_topic_sql[] = "SELECT id, events, first_seq, last_seq, first_ts, last_ts"
                                     " FROM %s.topic_rows WHERE topic = ?1";
static const char find_segments_sql[] =
    "SELECT min(first_seq), max(last_seq), sum(events), min(first_ts), max(last_ts)"
    " FROM %s.segment_rows WHERE last_ts >= ?1 AND first_ts <= ?2";

enum error_code indexer_event_ways_create(struct indexer_host *host,
                                          struct indexer_event_ways **ways_out,
                                          struct error *error)
{
    struct indexer_event_ways *ways = calloc(1, sizeof *ways);
    if (!ways)
        return error_set(error, ERROR_MEMORY, "no memory for a query's plan");
    const struct {
        const char *sql;
        sqlite3_stmt **statement;
    } list[] = {
        {find_state_sql, &ways->find_state},
        {find_topic_sql, &ways->find_topic},
        {find_segments_sql, &ways->find_segments},
    };
    enum error_code code = OK;
    ways->host = host;
    for (size_t i = 0; !code && i < sizeof list / sizeof list[0]; i++)
        code = indexer_database_prepare_in(host->database, host->schema, list[i].sql,
                                           list[i].statement, error);
    if (code) {
        indexer_event_ways_free(ways);
        return code;
    }
    *ways_out = ways;
    return OK;
}

void indexer_event_ways_stop(struct indexer_event_ways *ways)
{
    sqlite3_reset(ways->find_state);
    ways->begun = false;
}

void indexer_event_ways_free(struct indexer_event_ways *ways)
{
    if (!ways)
        return;
    sqlite3_finalize(ways->find_state);
    sqlite3_finalize(ways->find_topic);
    sqlite3_finalize(ways->find_segments);
    indexer_event_field_check_free(ways->check);
    free(ways);
}

static int64_t larger(int64_t left, int64_t right)
{
    return left > right ? left : right;
}

static int64_t smaller(int64_t left, int64_t right)
{
    return left < right ? left : right;
}

/* What part of [low, high] lies within [first, last]? */
static double share_of(int64_t first, int64_t last, int64_t low, int64_t high)
{
    double whole = (double)high - (double)low + 1;
    double part = (double)smaller(last, high) - (double)larger(first, low) + 1;
    return part <= 0 ? 0 : part / whole;
}

/* How far does the index go, and from here on it stays there. */
static enum error_code begin(struct indexer_event_ways *ways, struct error *error)
{
    if (ways->begun)
        return OK;
    enum error_code code = indexer_database_step(ways->find_state, error);
    if (code == ERROR_END)
        return error_set(error, ERROR_DAMAGED, "index: its table state is empty");
    if (code)
        return code;
    ways->begun = true;
    ways->last_sequence = sqlite3_column_int64(ways->find_state, 0);
    ways->bound = sqlite3_column_int64(ways->find_state, 1);
    return OK;
}

/* Find the plan's topic, and narrow the plan to where it has events. */
static enum error_code narrow_to_topic(struct indexer_event_ways *ways,
                                       struct indexer_event_plan *plan,
                                       struct indexer_event_estimate *estimate,
                                       struct error *error)
{
    sqlite3_stmt *find = ways->find_topic;
    sqlite3_bind_text(find, 1, plan->topic, (int)plan->topic_bytes, SQLITE_STATIC);
    enum error_code code = indexer_database_step(find, error);
    if (!code) {
        plan->topic_id = sqlite3_column_int64(find, 0);
        int64_t first_ts = sqlite3_column_int64(find, 4), last_ts = sqlite3_column_int64(find, 5);
        estimate->topic_events = (double)sqlite3_column_int64(find, 1);
        estimate->found = estimate->topic_events *
                          share_of(plan->ts_first, plan->ts_last, first_ts, last_ts);
        plan->sequence_first = larger(plan->sequence_first, sqlite3_column_int64(find, 2));
        plan->sequence_last = smaller(plan->sequence_last, sqlite3_column_int64(find, 3));
    } else if (code == ERROR_END) {
        plan->empty = true;
        code = OK;
    }
    sqlite3_reset(find);
    return code;
}

/* Narrow the plan to the segments that have events of these times. */
static enum error_code narrow_to_segments(struct indexer_event_ways *ways,
                                          struct indexer_event_plan *plan,
                                          struct indexer_event_estimate *estimate,
                                          struct error *error)
{
    sqlite3_stmt *find = ways->find_segments;
    sqlite3_bind_int64(find, 1, plan->ts_first);
    sqlite3_bind_int64(find, 2, plan->ts_last);
    enum error_code code = indexer_database_step(find, error);
    if (!code && sqlite3_column_type(find, 0) == SQLITE_NULL) {
        plan->empty = true; /* no segment has any */
    } else if (!code) {
        plan->sequence_first = larger(plan->sequence_first, sqlite3_column_int64(find, 0));
        plan->sequence_last = smaller(plan->sequence_last, sqlite3_column_int64(find, 1));
        estimate->walked = estimate->found =
            (double)sqlite3_column_int64(find, 2) *
            share_of(plan->ts_first, plan->ts_last, sqlite3_column_int64(find, 3),
                     sqlite3_column_int64(find, 4));
    }
    sqlite3_reset(find);
    return code;
}

static bool has_times(const struct indexer_event_plan *plan)
{
    return plan->ts_first != INT64_MIN || plan->ts_last != INT64_MAX;
}

static double span_of(const struct indexer_event_plan *plan)
{
    return (double)(plan->sequence_last - plan->sequence_first) + 1;
}

static enum error_code check_field(struct indexer_event_ways *ways,
                                   struct indexer_event_plan *plan, struct error *error)
{
    enum error_code code = OK;
    if (!ways->check)
        code = indexer_event_field_check_create(ways->host, &ways->check, error);
    return code ? code : indexer_event_field_check_plan(ways->check, plan, error);
}

static enum error_code narrow(struct indexer_event_ways *ways, int64_t bound,
                              struct indexer_event_plan *plan,
                              struct indexer_event_estimate *estimate,
                              struct error *error)
{
    enum error_code code = begin(ways, error);
    if (code || plan->empty)
        return code;
    plan->sequence_first = larger(plan->sequence_first, bound);
    plan->sequence_last = smaller(plan->sequence_last, ways->last_sequence);
    *estimate = (struct indexer_event_estimate){
        .found = span_of(plan),
        .walked = span_of(plan),
        .sequence_first = bound,
        .sequence_last = ways->last_sequence,
    };
    if (plan->field.column)
        code = check_field(ways, plan, error);
    if (plan->field.id) /* its rows are of the topic, and few */
        return OK;
    if (!code && has_times(plan) && plan->sequence_first < plan->sequence_last)
        code = narrow_to_segments(ways, plan, estimate, error);
    if (!code && plan->has_topic && !plan->empty)
        code = narrow_to_topic(ways, plan, estimate, error);
    plan->empty |= plan->sequence_first > plan->sequence_last;
    return code;
}

/* To go through `found` rows and sort them, or, of a few, to get the first ones. */
static bool sorting_is_cheaper(double found, double span, int64_t limit)
{
    double walked = span;
    if (limit >= 0 && found > 0 && (double)limit < found)
        walked = span * (double)limit / found;
    return 4 * found < walked;
}

static bool is_by_sequence(enum indexer_event_order order)
{
    return order == EVENT_ORDER_SEQ || order == EVENT_ORDER_SEQ_DESC;
}

static bool log_is_cheaper(const struct indexer_event_plan *plan,
                           const struct indexer_event_estimate *estimate)
{
    return plan->needs_payload && !plan->needs_place &&
           (plan->order == EVENT_ORDER_NONE || plan->order == EVENT_ORDER_SEQ) &&
           estimate->found >= LOG_ROWS_MIN && LOG_SHARE_MIN * estimate->found >= estimate->walked;
}

static enum indexer_event_way choose_with_topic(const struct indexer_event_plan *plan,
                                                const struct indexer_event_estimate *estimate)
{
    if (plan->order == EVENT_ORDER_TS || plan->order == EVENT_ORDER_TS_DESC)
        return EVENT_WAY_TOPIC;
    bool short_way = is_by_sequence(plan->order)
                         ? !sorting_is_cheaper(estimate->found, span_of(plan), plan->limit)
                         : span_of(plan) < estimate->found;
    return short_way ? EVENT_WAY_SEQUENCE : EVENT_WAY_TOPIC;
}

static enum indexer_event_way choose(const struct indexer_event_plan *plan,
                                     const struct indexer_event_estimate *estimate)
{
    if (plan->empty)
        return EVENT_WAY_NONE;
    if (plan->field.id)
        return EVENT_WAY_FIELD;
    if (plan->sequence_first == plan->sequence_last)
        return EVENT_WAY_SEQUENCE;
    if (log_is_cheaper(plan, estimate))
        return EVENT_WAY_LOG;
    if (plan->has_topic)
        return choose_with_topic(plan, estimate);
    if (plan->order == EVENT_ORDER_TOPIC)
        return EVENT_WAY_TIMES;
    if (has_times(plan) && sorting_is_cheaper(estimate->found, span_of(plan), plan->limit))
        return EVENT_WAY_TIMES;
    return EVENT_WAY_SEQUENCE;
}

enum error_code indexer_event_ways_choose(struct indexer_event_ways *ways, int64_t bound,
                                          struct indexer_event_plan *plan,
                                          enum indexer_event_way *way_out,
                                          struct indexer_event_estimate *estimate_out,
                                          struct error *error)
{
    struct indexer_event_estimate estimate = {0};
    enum error_code code = narrow(ways, bound, plan, &estimate, error);
    if (code)
        return code;
    *way_out = choose(plan, &estimate);
    /* Only when the rows of deleted events are gone do the topics' numbers say what is there. */
    if (*way_out != EVENT_WAY_NONE && !plan->needs_rows && ways->bound == bound)
        *way_out = EVENT_WAY_TOPICS;
    *estimate_out = estimate;
    return OK;
}
