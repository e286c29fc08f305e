#include "tools/daybookd/log_stream.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/clock.h"
#include "segment/block.h"
#include "segment/reader.h"

enum { LOST_MAX = 4 }; /* told at a time: before, by retention, behind, and a gap's own */

struct log_stream {
    struct segment_reader *reader;
    uint64_t looked;
    bool from_start; /* nothing was given since a seek to the beginning */
    bool in_block;
    struct segment_block_cursor cursor;
    uint64_t block_last;
    struct log_stream_place place;
    bool finds; /* it stands where a search for this time has come to */
    int64_t finds_since_ns;
    uint64_t found_through;
    struct log_stream_item lost[LOST_MAX];
    size_t lost_count;
    char damage[sizeof((struct error *)0)->text]; /* what the reader has reported; "" */
};

enum error_code log_stream_open(const char *directory, struct log_stream **stream_out,
                                struct error *error)
{
    struct log_stream *stream = calloc(1, sizeof *stream);
    if (!stream)
        return error_set(error, ERROR_MEMORY, "no memory to read the log");
    enum error_code code = segment_reader_open(directory, &stream->reader, error);
    if (code) {
        free(stream);
        return code;
    }
    *stream_out = stream;
    return OK;
}

void log_stream_close(struct log_stream *stream)
{
    if (!stream)
        return;
    segment_reader_close(stream->reader);
    free(stream);
}

void log_stream_seek(struct log_stream *stream, uint64_t after,
                     const struct log_stream_place *place)
{
    stream->looked = after;
    stream->from_start = after == 0;
    stream->in_block = false;
    stream->lost_count = 0;
    stream->damage[0] = '\0';
    stream->place = (struct log_stream_place){0};
    stream->finds = false;
    segment_reader_hint_times(stream->reader, INT64_MIN, INT64_MAX);
    if (place && place->segment_first > 0)
        segment_reader_seek_near(stream->reader, after + 1, place->segment_first, place->offset,
                                 place->sequence_first);
    else
        segment_reader_seek(stream->reader, after + 1, NULL);
}

uint64_t log_stream_looked(const struct log_stream *stream)
{
    return stream->looked;
}

struct log_stream_place log_stream_place(const struct log_stream *stream)
{
    return stream->place;
}

uint64_t log_stream_durable(struct log_stream *stream)
{
    return segment_reader_watermark(stream->reader);
}

uint64_t log_stream_bound(struct log_stream *stream)
{
    return segment_reader_bound(stream->reader);
}

/* ---- What is lost ---- */

static void tell_lost(struct log_stream *stream, uint64_t first, uint64_t last, const char *cause,
                      const char *text)
{
    if (first <= stream->looked)
        first = stream->looked + 1;
    if (first > last || stream->lost_count == LOST_MAX)
        return;
    stream->lost[stream->lost_count++] = (struct log_stream_item){
        .lost = true, .first = first, .last = last, .cause = cause, .text = text};
    stream->looked = last;
}

/*
 * Nothing up to `sequence` came: say why. Damage is reported by the reader before it goes on behind
 * it; a hole that retention made is asked for.
 */
static void account(struct log_stream *stream, uint64_t sequence)
{
    uint64_t hole_first, hole_last;
    bool hole = segment_reader_hole(stream->reader, &hole_first, &hole_last);
    if (sequence <= stream->looked)
        return;
    if (stream->from_start && !stream->damage[0] && !hole) {
        stream->looked = sequence; /* retention took the beginning, which nobody has asked for */
        return;
    }
    const char *damage = stream->damage[0] ? stream->damage : "they are not in the log";
    if (hole) {
        if (hole_first > 1)
            tell_lost(stream, stream->looked + 1,
                      hole_first - 1 < sequence ? hole_first - 1 : sequence, "damage", damage);
        tell_lost(stream, hole_first, hole_last < sequence ? hole_last : sequence, "retention",
                  "retention has deleted them");
    }
    tell_lost(stream, stream->looked + 1, sequence, "damage", damage);
}

static enum error_code take_gap(struct log_stream *stream,
                                const struct segment_reader_block *block, struct error *error)
{
    struct segment_format_gap gap;
    enum error_code code =
        segment_format_decode_gap(block->raw, block->header.raw_bytes, &gap, error);
    if (code)
        return code;
    account(stream, gap.sequence_first - 1);
    if (segment_format_gap_is_loss(gap.cause))
        tell_lost(stream, gap.sequence_first, gap.sequence_last,
                  segment_format_gap_cause_text(gap.cause), "a repair has put this on record");
    else
        tell_lost(stream, gap.sequence_first, gap.sequence_last, "never given",
                  segment_format_gap_cause_text(gap.cause));
    return OK;
}

/* ---- Reading ---- */

static void begin_block(struct log_stream *stream, const struct segment_reader_block *block)
{
    const struct segment_format_block_header *header = &block->header;
    account(stream, header->sequence_first - 1);
    segment_block_cursor_init(&stream->cursor, header, block->raw);
    stream->in_block = true;
    stream->block_last = header->sequence_first + header->event_count - 1;
    stream->place = (struct log_stream_place){block->segment_first, header->offset,
                                              header->sequence_first};
}

/* ERROR_END: the durable end. OK: look again at what there is now. */
static enum error_code next_block(struct log_stream *stream, struct error *error)
{
    struct segment_reader_block block;
    struct error why;
    /* Before the read: what becomes durable during it may not have been seen. */
    uint64_t durable = segment_reader_watermark(stream->reader);
    enum error_code code = segment_reader_next_block(stream->reader, &block, &why);
    if (code == ERROR_DAMAGED) {
        snprintf(stream->damage, sizeof stream->damage, "%s", why.text);
        return OK;
    }
    if (code == ERROR_END) {
        account(stream, durable);
        if (stream->lost_count == 0)
            return ERROR_END;
    } else if (code) {
        return error_set(error, code, "%s", why.text);
    } else if (block.header.kind == FORMAT_BLOCK_EVENTS) {
        begin_block(stream, &block);
    } else if (block.header.kind == FORMAT_BLOCK_GAP) {
        code = take_gap(stream, &block, error);
    }
    return code == ERROR_END ? OK : code;
}

/* Of the block at hand. *count_out 0: it has no more. */
static void read_events(struct log_stream *stream, struct log_stream_item *items,
                        size_t *count_out)
{
    size_t count = 0;
    struct error why;
    enum error_code code = OK;
    while (count < LOG_STREAM_BATCH) {
        struct log_stream_item *item = &items[count];
        code = segment_block_cursor_next(&stream->cursor, &item->event, &why);
        if (code)
            break;
        if (item->event.sequence <= stream->looked)
            continue;
        item->lost = false;
        stream->looked = item->event.sequence;
        count++;
    }
    stream->from_start = stream->from_start && count == 0;
    *count_out = count;
    if (!code)
        return;
    stream->in_block = false;
    if (code == ERROR_DAMAGED) {
        snprintf(stream->damage, sizeof stream->damage, "%s", why.text);
        tell_lost(stream, stream->looked + 1, stream->block_last, "damage", stream->damage);
    }
}

static void read_lost(struct log_stream *stream, struct log_stream_item *items, size_t *count_out)
{
    memcpy(items, stream->lost, stream->lost_count * sizeof *items);
    *count_out = stream->lost_count;
    stream->lost_count = 0;
    stream->from_start = false;
}

enum error_code log_stream_read(struct log_stream *stream, struct log_stream_item *items,
                                size_t *count_out, struct error *error)
{
    for (;;) {
        if (stream->lost_count > 0) {
            read_lost(stream, items, count_out);
            return OK;
        }
        /* What was said of it has been given, and is of no meaning for what comes now. */
        if (stream->in_block)
            stream->damage[0] = '\0';
        size_t count = 0;
        if (stream->in_block)
            read_events(stream, items, &count);
        if (count > 0) {
            *count_out = count;
            return OK;
        }
        if (stream->in_block || stream->lost_count > 0)
            continue;
        enum error_code code = next_block(stream, error);
        if (code)
            return code;
    }
}

/* ---- By time ---- */

/* Stand where the search has come to; when it was this stream that came there, it does. */
static void go_on_finding(struct log_stream *stream, int64_t since_ns,
                          const struct log_stream_search *search)
{
    const struct log_stream_place *place = &search->place;
    segment_reader_hint_times(stream->reader, since_ns, INT64_MAX);
    if (stream->finds && stream->found_through == search->looked &&
        stream->finds_since_ns == since_ns)
        return;
    if (place->segment_first == 0 ||
        segment_reader_seek_block(stream->reader, place->segment_first, place->offset,
                                  place->sequence_first, NULL))
        segment_reader_seek(stream->reader, search->looked + 1, NULL);
    stream->finds = true;
    stream->finds_since_ns = since_ns;
}

/* Up to where the reader stops. ERROR_END: there is none. */
static enum error_code find_event(struct log_stream *stream, int64_t since_ns, uint64_t *after_out,
                                  struct error *error)
{
    struct segment_reader_block block;
    for (;;) {
        enum error_code code = segment_reader_next_block(stream->reader, &block, error);
        if (code == ERROR_DAMAGED)
            continue;
        if (code)
            return code;
        if (block.header.kind != FORMAT_BLOCK_EVENTS)
            continue;
        struct segment_block_cursor cursor;
        struct event event;
        segment_block_cursor_init(&cursor, &block.header, block.raw);
        while (!segment_block_cursor_next(&cursor, &event, NULL))
            if (event.time_ns >= since_ns) {
                *after_out = event.sequence - 1;
                return OK;
            }
    }
}

static void note_search(struct log_stream *stream, uint64_t looked,
                        struct log_stream_search *search)
{
    struct log_stream_place *place = &search->place;
    search->looked = stream->found_through = looked;
    if (!segment_reader_stands(stream->reader, &place->segment_first, &place->offset,
                               &place->sequence_first))
        *place = (struct log_stream_place){0};
}

/* In steps, for a block may have one event, and the reader passes any number of blocks at once. */
enum error_code log_stream_find_time(struct log_stream *stream, int64_t since_ns,
                                     int64_t deadline_ns, struct log_stream_search *search,
                                     uint64_t *after_out, struct error *error)
{
    enum { STEP = 2048 };
    enum error_code code;
    go_on_finding(stream, since_ns, search);
    for (;;) {
        uint64_t durable = segment_reader_watermark(stream->reader);
        bool last = durable <= search->looked + STEP;
        uint64_t end = last ? durable : search->looked + STEP;
        segment_reader_stop_behind(stream->reader, end);
        code = find_event(stream, since_ns, after_out, error);
        if (code == ERROR_END && last)
            *after_out = durable;
        if (code != ERROR_END || last)
            break;
        note_search(stream, end, search);
        if (clock_monotonic_ns() >= deadline_ns) {
            code = error_set(error, ERROR_BUSY, "the search by time is not at its end");
            break;
        }
    }
    segment_reader_stop_behind(stream->reader, UINT64_MAX);
    stream->finds = code == ERROR_BUSY;
    return code;
}
