#include "tools/torture/oracle.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "segment/reader.h"
#include "tools/torture/disk_image.h"

enum { REPORTS_MAX = 100000 };

struct entry {
    struct event event; /* its bytes are the oracle's */
    bool lost;          /* used, and not in the log any more */
};

struct torture_oracle {
    struct entry *entries; /* by sequence */
    size_t count, capacity;
    uint64_t sequence_used; /* nothing up to here is given again */
};

struct torture_oracle *torture_oracle_create(void)
{
    return disk_allocate_zeroed(1, sizeof(struct torture_oracle));
}

static void free_event(struct event *event)
{
    free((void *)(uintptr_t)event->topic);
}

static void cut_entries(struct torture_oracle *oracle, size_t count)
{
    while (oracle->count > count)
        free_event(&oracle->entries[--oracle->count].event);
}

void torture_oracle_free(struct torture_oracle *oracle)
{
    if (!oracle)
        return;
    cut_entries(oracle, 0);
    free(oracle->entries);
    free(oracle);
}

/* One piece of memory for the three of them. */
static struct event copy_event(const struct event *event, uint64_t sequence)
{
    struct event copy = *event;
    char *bytes = disk_allocate(event->topic_bytes + event->producer_bytes + event->payload_bytes);
    copy.sequence = sequence;
    copy.topic = bytes;
    memcpy(bytes, event->topic, event->topic_bytes);
    bytes += event->topic_bytes;
    copy.producer = bytes;
    if (event->producer_bytes > 0)
        memcpy(bytes, event->producer, event->producer_bytes);
    bytes += event->producer_bytes;
    copy.payload = bytes;
    memcpy(bytes, event->payload, event->payload_bytes);
    return copy;
}

static void add_entry(struct torture_oracle *oracle, const struct event *event, uint64_t sequence,
                      bool lost)
{
    if (oracle->count == oracle->capacity) {
        oracle->capacity = oracle->capacity ? oracle->capacity * 2 : 64;
        struct entry *grown = disk_allocate(oracle->capacity * sizeof *grown);
        if (oracle->count > 0)
            memcpy(grown, oracle->entries, oracle->count * sizeof *grown);
        free(oracle->entries);
        oracle->entries = grown;
    }
    oracle->entries[oracle->count++] =
        (struct entry){.event = copy_event(event, sequence), .lost = lost};
}

struct torture_oracle *torture_oracle_copy(const struct torture_oracle *oracle)
{
    struct torture_oracle *copy = torture_oracle_create();
    for (size_t i = 0; i < oracle->count; i++) {
        const struct entry *entry = &oracle->entries[i];
        add_entry(copy, &entry->event, entry->event.sequence, entry->lost);
    }
    copy->sequence_used = oracle->sequence_used;
    return copy;
}

bool torture_oracle_note(struct torture_oracle *oracle, const struct event *event,
                         uint64_t sequence, struct error *failure_out)
{
    if (sequence <= oracle->sequence_used) {
        error_set(failure_out, ERROR_DAMAGED,
                  "sequence %" PRIu64 " was given again: up to %" PRIu64 " all were used (D6)",
                  sequence, oracle->sequence_used);
        return false;
    }
    add_entry(oracle, event, sequence, false);
    oracle->sequence_used = sequence;
    return true;
}

size_t torture_oracle_count(const struct torture_oracle *oracle)
{
    return oracle->count;
}

uint64_t torture_oracle_last_number(const struct torture_oracle *oracle, const char *producer,
                                    size_t producer_bytes, uint64_t *sequence_out)
{
    for (size_t i = oracle->count; i > 0; i--) {
        const struct entry *entry = &oracle->entries[i - 1];
        if (entry->lost || entry->event.producer_bytes != producer_bytes ||
            memcmp(entry->event.producer, producer, producer_bytes) != 0)
            continue;
        *sequence_out = entry->event.sequence;
        return entry->event.number;
    }
    *sequence_out = 0;
    return 0;
}

/* One comparison of a log with what it was given. */
struct comparison {
    const struct torture_oracle *oracle;
    const struct torture_mark *mark;
    bool may_be_damaged;
    struct segment_reader *reader;
    struct torture_reading reading;
    size_t next;     /* the first entry that was not reached */
    uint64_t bound;  /* of the log */
    uint64_t missed; /* the sequence of an event that was passed over */
    bool *seen;      /* by entry; may be NULL */
    struct error *failure;
};

static bool fail(struct comparison *c, const char *what, uint64_t sequence)
{
    error_set(c->failure, ERROR_DAMAGED,
              "event %" PRIu64 " %s (%" PRIu64 " were read, up to %" PRIu64 "; %" PRIu64
              " is acknowledged)",
              sequence, what, c->reading.events, c->reading.sequence_last, c->mark->acknowledged);
    return false;
}

/* The entry was passed over or never reached. */
static bool miss(struct comparison *c, const struct entry *entry)
{
    uint64_t sequence = entry->event.sequence;
    if (entry->lost || sequence < c->bound)
        return true;
    c->reading.missing++;
    if (sequence <= c->mark->acknowledged) {
        if (c->reading.missing_acked++ == 0)
            c->reading.missing_first = sequence;
        if (!c->may_be_damaged)
            return fail(c, "was acknowledged and is not in the log (D1)", sequence);
    }
    if (c->missed == 0)
        c->missed = sequence;
    return true;
}

static bool is_equal(const struct event *a, const struct event *b)
{
    return a->topic_bytes == b->topic_bytes && a->producer_bytes == b->producer_bytes &&
           a->payload_bytes == b->payload_bytes && a->number == b->number &&
           a->time_ns == b->time_ns && memcmp(a->topic, b->topic, a->topic_bytes) == 0 &&
           (a->producer_bytes == 0 || memcmp(a->producer, b->producer, a->producer_bytes) == 0) &&
           memcmp(a->payload, b->payload, a->payload_bytes) == 0;
}

static bool take_event(struct comparison *c, const struct event *event)
{
    uint64_t sequence = event->sequence;
    while (c->next < c->mark->appended && c->oracle->entries[c->next].event.sequence < sequence)
        if (!miss(c, &c->oracle->entries[c->next++]))
            return false;
    const struct entry *entry = &c->oracle->entries[c->next];
    if (c->next == c->mark->appended || entry->event.sequence != sequence)
        return fail(c, "was never appended (D3)", sequence);
    if (entry->lost)
        return fail(c, "was lost once and has come back (D2)", sequence);
    if (!is_equal(event, &entry->event))
        return fail(c, "has another content than it was given (D3, D6)", sequence);
    if (c->missed && !c->may_be_damaged)
        return fail(c, "was lost, but later ones are there (D2)", c->missed);
    if (c->seen)
        c->seen[c->next] = true;
    c->next++;
    c->reading.events++;
    c->reading.sequence_last = sequence;
    c->reading.hash = c->reading.hash * UINT64_C(0x9e3779b97f4a7c15) + sequence;
    return true;
}

static bool check_bound(struct comparison *c)
{
    c->bound = segment_reader_bound(c->reader);
    if (c->bound >= c->mark->bound_durable && c->bound <= c->mark->bound_wanted)
        return true;
    error_set(c->failure, ERROR_DAMAGED,
              "the lower bound is %" PRIu64 ", but retention had stored %" PRIu64
              " and begun with %" PRIu64,
              c->bound, c->mark->bound_durable, c->mark->bound_wanted);
    return false;
}

/* Losses that the log has on record count as told. */
static bool take_losses(struct comparison *c)
{
    struct segment_format_gap gap;
    while (segment_reader_loss(c->reader, &gap)) {
        if (!c->may_be_damaged)
            return fail(c, "is on record as lost, while nothing was damaged", gap.sequence_first);
        c->reading.damage++;
    }
    return true;
}

static bool read_all(struct comparison *c)
{
    struct event event;
    struct error why;
    uint64_t first, last;
    for (;;) {
        enum error_code code = segment_reader_next(c->reader, &event, &why);
        if (code == ERROR_END)
            break;
        if (code == ERROR_DAMAGED && c->may_be_damaged && ++c->reading.damage < REPORTS_MAX)
            continue;
        if (code) {
            error_set(c->failure, code, "reading after event %" PRIu64 ": %s",
                      c->reading.sequence_last, why.text);
            return false;
        }
        if (segment_reader_hole(c->reader, &first, &last))
            return fail(c, "is said to be deleted by retention, and is not", first);
        if (!take_losses(c) || !take_event(c, &event))
            return false;
    }
    if (!take_losses(c))
        return false;
    while (c->next < c->mark->appended)
        if (!miss(c, &c->oracle->entries[c->next++]))
            return false;
    return true;
}

static bool compare(struct comparison *c, const char *path)
{
    struct error why;
    enum error_code code = segment_reader_open(path, &c->reader, &why);
    if (code == ERROR_NOT_FOUND || (code == ERROR_DAMAGED && c->may_be_damaged)) {
        c->reading.empty = code == ERROR_NOT_FOUND;
        c->reading.damage = code == ERROR_DAMAGED;
        c->bound = c->mark->bound_durable;
        while (c->next < c->mark->appended)
            if (!miss(c, &c->oracle->entries[c->next++]))
                return false;
        return true;
    }
    if (code) {
        error_set(c->failure, code, "%s", why.text);
        return false;
    }
    bool good = check_bound(c) && read_all(c);
    segment_reader_close(c->reader);
    return good;
}

bool torture_oracle_read(const struct torture_oracle *oracle, const struct torture_mark *mark,
                         const char *path, bool may_be_damaged, struct torture_reading *reading_out,
                         struct error *failure_out)
{
    struct comparison c = {
        .oracle = oracle, .mark = mark, .may_be_damaged = may_be_damaged, .failure = failure_out};
    bool good = compare(&c, path);
    *reading_out = c.reading;
    return good;
}

bool torture_oracle_go_on(struct torture_oracle *oracle, const struct torture_mark *mark,
                          uint64_t sequence_used, const char *path, struct error *failure_out)
{
    struct comparison c = {.oracle = oracle, .mark = mark, .failure = failure_out};
    c.seen = disk_allocate_zeroed(oracle->count, sizeof *c.seen);
    bool good = compare(&c, path);
    cut_entries(oracle, mark->appended);
    /* What was given but told to nobody may be given again; what is in the log was told. */
    if (sequence_used < c.reading.sequence_last)
        sequence_used = c.reading.sequence_last;
    while (oracle->count > 0 && oracle->entries[oracle->count - 1].event.sequence > sequence_used)
        cut_entries(oracle, oracle->count - 1);
    for (size_t i = 0; i < oracle->count; i++)
        if (!c.seen[i] && oracle->entries[i].event.sequence >= c.bound)
            oracle->entries[i].lost = true;
    oracle->sequence_used = sequence_used;
    free(c.seen);
    return good;
}
