#include "tests/campaigns/model_reading.h"

#include <inttypes.h>
#include <string.h>

#include "tests/campaigns/model_steps.h"
#include "tools/torture/chance.h"

#define SECOND_NS INT64_C(1000000000)

static bool open_reader(struct model_world *w, struct model_reader *reader)
{
    struct error error = {0};
    segment_reader_close(reader->reader);
    *reader = (struct model_reader){.next = 1, .at_start = true};
    if (segment_reader_open(MODEL_PATH, &reader->reader, &error))
        return model_world_fail(w, "a reader cannot be opened: %s", error.text);
    return true;
}

static bool seek(struct model_world *w, struct model_reader *reader, uint64_t sequence)
{
    struct error error = {0};
    if (segment_reader_seek(reader->reader, sequence, &error))
        return model_world_fail(w, "a reader cannot seek: %s", error.text);
    reader->next = sequence ? sequence : 1;
    reader->at_start = sequence <= 1;
    return true;
}

/* The first event of the model at or above a sequence, deleted ones too. */
static size_t find_any(const struct model_log *model, uint64_t sequence)
{
    size_t i = 0;
    while (i < model->count && model->events[i].sequence < sequence)
        i++;
    return i;
}

/*
 * Did the reader say that events between `next` and the one at `index` were deleted? It must when
 * there were some, unless it is at its start; those that are not deleted it may not pass. What it
 * has open it may still give.
 */
static bool check_passed(struct model_world *w, const struct model_reader *reader, size_t index)
{
    const struct model_log *model = &w->model;
    size_t first = find_any(model, reader->next);
    uint64_t hole_first = 0, hole_last = 0;
    bool told = segment_reader_hole(reader->reader, &hole_first, &hole_last);

    w->counts[MODEL_COUNT_HOLE] += told;
    model_world_note(w, hole_first);
    if (index > first && model->events[index - 1].sequence >= model->bound)
        return model_world_fail(w, "the reader passes event %" PRIu64 ", which is not deleted",
                                model->events[index - 1].sequence);
    if (index > first && !reader->at_start &&
        (!told || hole_first > model->events[first].sequence ||
         hole_last < model->events[index - 1].sequence))
        return model_world_fail(w, "the reader does not say that event %" PRIu64 " was deleted",
                                model->events[first].sequence);
    if (told && (hole_last >= model->bound || hole_first < reader->next))
        return model_world_fail(w,
                                "the reader says that %" PRIu64 " to %" PRIu64
                                " were deleted; the bound is %" PRIu64,
                                hole_first, hole_last, model->bound);
    return true;
}

/*
 * One step of a reader. *end_out: it says that there is nothing more, and there is not.
 */
static bool read_one(struct model_world *w, struct model_reader *reader, bool *end_out)
{
    struct model_log *model = &w->model;
    struct error error = {0};
    struct event event;
    enum error_code code = segment_reader_next(reader->reader, &event, &error);

    *end_out = code == ERROR_END;
    if (code == ERROR_END) {
        size_t left = model_log_find(model, reader->next);
        return left >= model->durable ||
               model_world_fail(w, "the reader ends before event %" PRIu64,
                                model->events[left].sequence);
    }
    if (code)
        return model_world_fail(w, "reading fails: %s", error.text);
    size_t index = find_any(model, event.sequence);
    if (index >= model->durable)
        return model_world_fail(w, "the reader gives event %" PRIu64 ", which is not durable",
                                event.sequence);
    if (event.sequence < reader->next || !model_world_matches(w, &model->events[index], &event))
        return model_world_fail(w, "the reader gives event %" PRIu64 ", which is not as appended",
                                event.sequence);
    if (!check_passed(w, reader, index))
        return false;
    reader->next = event.sequence + 1;
    reader->at_start = false;
    return true;
}

static bool read_many(struct model_world *w, struct model_reader *reader, uint64_t count)
{
    bool end = false;
    while (count-- > 0 && !end)
        if (!read_one(w, reader, &end))
            return false;
    return true;
}

static bool check_what_it_knows(struct model_world *w, struct segment_reader *reader)
{
    uint64_t watermark = segment_reader_watermark(reader);

    if (watermark != w->model.sequence_next_durable - 1)
        return model_world_fail(w, "the watermark is %" PRIu64 ", not %" PRIu64, watermark,
                                w->model.sequence_next_durable - 1);
    if (segment_reader_bound(reader) != w->model.bound)
        return model_world_fail(w, "the bound is %" PRIu64 ", not %" PRIu64,
                                segment_reader_bound(reader), w->model.bound);
    return segment_reader_is_live(reader) || model_world_fail(w, "the writer is called dead");
}

bool model_reading_all(struct model_world *w)
{
    struct model_reader reader = {0};
    bool good = open_reader(w, &reader) && read_many(w, &reader, UINT64_MAX) &&
                check_what_it_knows(w, reader.reader);
    segment_reader_close(reader.reader);
    return good;
}

/* One of those that there are, or near one, or anything. */
static uint64_t any_sequence(const struct model_world *w, uint64_t *draw)
{
    if (w->model.count == 0 || chance_happens(draw, 10))
        return chance_below(draw, w->model.sequence_next + 10);
    uint64_t sequence = w->model.events[chance_below(draw, w->model.count)].sequence;
    return chance_happens(draw, 20) ? sequence + 1 + chance_below(draw, 70000) : sequence;
}

bool model_reading_from(struct model_world *w, uint64_t draw)
{
    struct model_reader reader = {0};
    bool good = open_reader(w, &reader) && seek(w, &reader, any_sequence(w, &draw)) &&
                read_many(w, &reader, 1 + chance_below(&draw, 30));
    segment_reader_close(reader.reader);
    return good;
}

static bool is_wanted(const struct event *event, const char *topic, int64_t since_ns,
                      int64_t until_ns)
{
    return event->time_ns >= since_ns && event->time_ns <= until_ns &&
           event->topic_bytes == strlen(topic) &&
           memcmp(event->topic, topic, event->topic_bytes) == 0;
}

/* The model's next event of the window from index `at` on; its time may not be known yet. */
static size_t next_wanted(const struct model_world *w, size_t at, const char *topic,
                          int64_t since_ns, int64_t until_ns)
{
    struct event event;
    for (; at < w->model.durable; at++) {
        model_world_event(&w->model.events[at], NULL, &event);
        event.time_ns = w->model.events[at].time_ns;
        if (is_wanted(&event, topic, since_ns, until_ns))
            break;
    }
    return at;
}

/* Only where every time is known: those that the log chose behind a restart are seen first. */
static bool times_are_known(const struct model_world *w)
{
    for (size_t i = model_log_find(&w->model, 1); i < w->model.durable; i++)
        if (!w->model.events[i].time_known)
            return false;
    return true;
}

static bool compare_window(struct model_world *w, struct segment_reader *reader, const char *topic,
                           int64_t since_ns, int64_t until_ns)
{
    size_t at = model_log_find(&w->model, 1);
    struct error error = {0};
    struct event event;
    enum error_code code;

    segment_reader_hint_times(reader, since_ns, until_ns);
    while ((code = segment_reader_next(reader, &event, &error)) == OK) {
        if (!is_wanted(&event, topic, since_ns, until_ns))
            continue;
        at = next_wanted(w, at, topic, since_ns, until_ns);
        if (at == w->model.durable || !model_world_matches(w, &w->model.events[at], &event))
            return model_world_fail(w, "in a time window event %" PRIu64 " is not the next one",
                                    event.sequence);
        at++;
    }
    if (code != ERROR_END)
        return model_world_fail(w, "reading a time window fails: %s", error.text);
    at = next_wanted(w, at, topic, since_ns, until_ns);
    return at >= w->model.durable ||
           model_world_fail(w, "in a time window event %" PRIu64 " is missing",
                            w->model.events[at].sequence);
}

bool model_reading_window(struct model_world *w, uint64_t draw)
{
    static const char *const topics[] = {"t", "orders.created", "sensor/7/temperature", "a:b"};
    struct model_reader reader = {0};

    if (!times_are_known(w) && !model_reading_all(w))
        return false;
    if (w->model.durable == 0)
        return true;
    int64_t since = w->model.events[chance_below(&draw, w->model.durable)].time_ns;
    int64_t until = since + (int64_t)chance_below(&draw, 20) * SECOND_NS;
    bool good = open_reader(w, &reader) &&
                compare_window(w, reader.reader, topics[chance_below(&draw, 4)], since, until);
    segment_reader_close(reader.reader);
    return good;
}

static struct model_reader *choose_reader(struct model_world *w, uint64_t *draw)
{
    return &w->readers[chance_below(draw, MODEL_READERS)];
}

bool model_reading_open(struct model_world *w, uint64_t draw)
{
    return open_reader(w, choose_reader(w, &draw));
}

bool model_reading_seek(struct model_world *w, uint64_t draw)
{
    struct model_reader *reader = choose_reader(w, &draw);
    if (!reader->reader && !open_reader(w, reader))
        return false;
    return seek(w, reader, any_sequence(w, &draw));
}

bool model_reading_next(struct model_world *w, uint64_t draw)
{
    struct model_reader *reader = choose_reader(w, &draw);
    if (!reader->reader && !open_reader(w, reader))
        return false;
    return read_many(w, reader, 1 + chance_below(&draw, 25));
}
