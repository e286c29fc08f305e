#include "segment/set.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "core/file.h"
#include "segment/bound.h"
#include "segment/watermark.h"

static int compare_segments(const void *a, const void *b)
{
    const struct segment_set_segment *left = a, *right = b;
    return (left->sequence_first > right->sequence_first) -
           (left->sequence_first < right->sequence_first);
}

static enum error_code append_name(struct segment_set *set, size_t *capacity, const char *name,
                                   uint64_t sequence_first, struct error *error)
{
    if (set->count == *capacity) {
        size_t wanted = *capacity ? *capacity * 2 : 16;
        void *grown = realloc(set->segments, wanted * sizeof *set->segments);
        if (!grown)
            return error_set(error, ERROR_MEMORY, "no memory for %zu segments", wanted);
        set->segments = grown;
        *capacity = wanted;
    }
    struct segment_set_segment *segment = &set->segments[set->count++];
    *segment = (struct segment_set_segment){
        .sequence_first = sequence_first,
        .header_verdict = FORMAT_BAD,
        .trailer_verdict = FORMAT_BAD,
    };
    memcpy(segment->name, name, FORMAT_SEGMENT_NAME_BYTES);
    return OK;
}

struct name_list {
    struct segment_set *set;
    size_t capacity;
    enum error_code code;
    struct error *error;
};

static int note_name(void *context, const char *name)
{
    struct name_list *list = context;
    uint64_t sequence_first = 0;

    if (!segment_format_parse_segment_name(name, &sequence_first)) {
        list->set->names_ignored++;
        return 0;
    }
    list->code = append_name(list->set, &list->capacity, name, sequence_first, list->error);
    return list->code ? 1 : 0;
}

static enum error_code list_names(int segments_fd, struct segment_set *set, struct error *error)
{
    struct name_list list = {.set = set, .error = error};
    enum error_code code = file_list(segments_fd, "segments", note_name, &list, error);

    if (!code)
        code = list.code;
    if (!code && set->count > 0)
        qsort(set->segments, set->count, sizeof *set->segments, compare_segments);
    return code;
}

static void read_ends_soon(int segments_fd, const char *name)
{
    uint64_t size;
    int fd = -1;
    if (file_open(segments_fd, name, FILE_READ, &fd, NULL))
        return;
    if (!file_size(fd, name, &size, NULL) && size > FORMAT_TRAILER_BYTES) {
        file_read_soon(fd, 0, FORMAT_SEGMENT_HEADER_BYTES);
        file_read_soon(fd, size - FORMAT_TRAILER_BYTES, FORMAT_TRAILER_BYTES);
    }
    file_close(&fd);
}

void segment_set_read_soon(int segments_fd)
{
    struct segment_set set = {0};
    if (!list_names(segments_fd, &set, NULL))
        for (size_t i = 0; i < set.count; i++)
            read_ends_soon(segments_fd, set.segments[i].name);
    segment_set_free(&set);
}

static void read_trailer(int fd, struct segment_set_segment *segment, struct error *error)
{
    uint8_t bytes[FORMAT_TRAILER_BYTES];
    /* In a file of another size the trailer is not where it was put. */
    if (segment->size_bytes != segment->header.size_bytes ||
        file_read(fd, segment->name, bytes, sizeof bytes, segment->size_bytes - sizeof bytes,
                  error))
        return;
    segment->trailer_verdict =
        segment_format_decode_trailer(segment->seed, bytes, &segment->trailer);
    segment->sealed = segment->trailer_verdict == FORMAT_VALID;
}

/* What cannot be read is as damaged as what reads wrong: the verdicts start as FORMAT_BAD. */
static void read_ends(int fd, struct segment_set_segment *segment, struct error *error)
{
    uint8_t bytes[FORMAT_SEGMENT_HEADER_BYTES];
    if (segment->size_bytes < sizeof bytes ||
        file_read(fd, segment->name, bytes, sizeof bytes, 0, error))
        return;
    segment->header_verdict =
        segment_format_decode_segment_header(bytes, &segment->header, &segment->header_checksum);
    if (segment->header_verdict != FORMAT_VALID)
        return;
    if (segment->header.sequence_first != segment->sequence_first) {
        segment->header_verdict = FORMAT_BAD;
        return;
    }
    segment->seed = segment_format_seed(segment->header.log_id, segment->sequence_first);
    read_trailer(fd, segment, error);
}

static enum error_code load_segment(int segments_fd, struct segment_set_segment *segment,
                                    struct error *unreadable, struct error *error)
{
    struct error why = {0};
    int fd = -1;
    enum error_code code = file_open(segments_fd, segment->name, FILE_READ, &fd, error);
    if (code)
        return code;
    code = file_size(fd, segment->name, &segment->size_bytes, error);
    if (!code)
        read_ends(fd, segment, &why);
    file_close(&fd);
    if (why.code && !unreadable->code)
        *unreadable = why;
    return code;
}

enum error_code segment_set_reload(int segments_fd, struct segment_set_segment *segment,
                                   struct error *error)
{
    struct error unreadable = {0};
    struct segment_set_segment fresh = {
        .sequence_first = segment->sequence_first,
        .header_verdict = FORMAT_BAD,
        .trailer_verdict = FORMAT_BAD,
    };
    memcpy(fresh.name, segment->name, sizeof fresh.name);
    enum error_code code = load_segment(segments_fd, &fresh, &unreadable, error);
    if (!code)
        *segment = fresh;
    return code;
}

/*
 * Load each segment that was listed. Those that have vanished meanwhile are left out;
 * *vanished_out is the last of them, or 0.
 */
static enum error_code load_segments(int segments_fd, struct segment_set *set,
                                     uint64_t *vanished_out, struct error *error)
{
    size_t kept = 0;
    *vanished_out = 0;
    for (size_t i = 0; i < set->count; i++) {
        struct segment_set_segment *segment = &set->segments[i];
        enum error_code code = load_segment(segments_fd, segment, &set->unreadable, error);
        if (code && code != ERROR_NOT_FOUND)
            return code;
        if (code)
            *vanished_out = segment->sequence_first;
        else
            set->segments[kept++] = *segment;
    }
    set->count = kept;
    return OK;
}

/* Does every event of segment `i` lie below the bound? The one after it tells, or its trailer. */
static bool is_dead(const struct segment_set *set, size_t i)
{
    if (i + 1 < set->count && set->segments[i + 1].sequence_first <= set->bound)
        return true;
    const struct segment_set_segment *segment = &set->segments[i];
    return segment->sealed && segment->trailer.sequence_last < set->bound &&
           segment->sequence_first < set->bound;
}

void segment_set_take_bound(struct segment_set *set, uint64_t bound)
{
    set->bound = bound;
    set->dead_count = 0;
    while (set->dead_count < set->count && is_dead(set, set->dead_count))
        set->dead_count++;
}

/*
 * When the file is damaged, the first segment that is there is taken for the first that is left: a
 * reader serves what it finds, and a writer refuses (segment_set_check).
 */
static enum error_code load_bound(int log_fd, struct segment_set *set, struct error *error)
{
    struct error why;
    uint64_t bound = set->count > 0 ? set->segments[0].sequence_first : 1;
    enum error_code code = segment_bound_look(log_fd, &bound, &why);
    if (code && code != ERROR_DAMAGED && code != ERROR_FOREIGN)
        return error_set(error, code, "%s", why.text);
    set->bound_damaged = code != OK;
    if (code)
        set->bound_reason = why;
    segment_set_take_bound(set, bound);
    return OK;
}

static enum error_code load_once(int log_fd, int segments_fd, struct segment_set *set_out,
                                 uint64_t *vanished_out, struct error *error)
{
    struct segment_set set = {0};
    enum error_code code = list_names(segments_fd, &set, error);
    if (!code)
        code = load_segments(segments_fd, &set, vanished_out, error);
    if (!code)
        code = load_bound(log_fd, &set, error);
    if (code) {
        segment_set_free(&set);
        return code;
    }
    *set_out = set;
    return OK;
}

enum error_code segment_set_load(int log_fd, int segments_fd, struct segment_set *set_out,
                                 struct error *error)
{
    struct segment_set set = {0};
    uint64_t vanished = 0;
    enum error_code code = load_once(log_fd, segments_fd, &set, &vanished, error);
    /*
     * Retention moves the bound before it unlinks, so a file that vanished at or above the bound
     * was taken by somebody else. Look once more; what is still missing then is missing.
     */
    if (!code && vanished >= set.bound) {
        segment_set_free(&set);
        code = load_once(log_fd, segments_fd, &set, &vanished, error);
    }
    if (code)
        return code;
    *set_out = set;
    return OK;
}

enum error_code segment_set_check_version(const struct segment_set_segment *segment,
                                          struct error *error)
{
    if (segment->header_verdict == FORMAT_NEWER || segment->trailer_verdict == FORMAT_NEWER)
        return error_set(error, ERROR_VERSION,
                         "segment %s was written by a newer Daybook; read it with that",
                         segment->name);
    return OK;
}

static enum error_code check_header(const struct segment_set_segment *segment,
                                    const uint8_t *log_id, struct error *error)
{
    enum error_code code = segment_set_check_version(segment, error);
    if (code)
        return code;
    if (segment->header_verdict != FORMAT_VALID)
        return error_set(error, ERROR_DAMAGED, "segment %s: its header is damaged", segment->name);
    if (memcmp(segment->header.log_id, log_id, FORMAT_LOG_ID_BYTES) != 0)
        return error_set(error, ERROR_FOREIGN, "segment %s belongs to another log", segment->name);
    if (segment->size_bytes != segment->header.size_bytes)
        return error_set(error, ERROR_DAMAGED,
                         "segment %s has %" PRIu64 " bytes, but was made with %" PRIu64,
                         segment->name, segment->size_bytes, segment->header.size_bytes);
    return OK;
}

static enum error_code check_first(const struct segment_set *set, struct error *error)
{
    const struct segment_set_segment *first = &set->segments[set->dead_count];
    if (first->sequence_first > set->bound)
        return error_set(error, ERROR_DAMAGED,
                         "the log starts with segment %s, but should start at event %" PRIu64
                         ": events %" PRIu64 " to %" PRIu64 " are missing",
                         first->name, set->bound, set->bound, first->sequence_first - 1);
    return OK;
}

/* A repair, or packing, has put `before` in the place of what `segment` describes. */
static bool is_replacement(const struct segment_set_segment *before,
                           const struct segment_format_predecessor *told)
{
    const struct segment_format_predecessor *replaces = &before->header.replaces;
    return before->header_verdict == FORMAT_VALID && told->sequence_first > 0 &&
           told->sequence_first == replaces->sequence_first &&
           told->sequence_last == replaces->sequence_last &&
           told->end_offset == replaces->end_offset && told->chain == replaces->chain;
}

enum error_code segment_set_check_pair(const struct segment_set_segment *before,
                                       const struct segment_set_segment *segment,
                                       struct error *error)
{
    const struct segment_format_predecessor *told = &segment->header.predecessor;
    bool replaced = is_replacement(before, told);
    if (!replaced && told->sequence_first != before->sequence_first) {
        if (told->sequence_first > before->sequence_first)
            return error_set(error, ERROR_DAMAGED,
                             "segment %020" PRIu64
                             ".seg is missing between %s and %s: events %" PRIu64 " to %" PRIu64
                             " are lost",
                             told->sequence_first, before->name, segment->name,
                             told->sequence_first, told->sequence_last);
        return error_set(error, ERROR_DAMAGED,
                         "segment %s was written after segment %020" PRIu64
                         ".seg, not after %s which stands before it",
                         segment->name, told->sequence_first, before->name);
    }
    if (!before->sealed)
        return error_set(error, ERROR_DAMAGED,
                         "segment %s is not sealed, but segment %s follows it", before->name,
                         segment->name);
    if (told->sequence_last != before->trailer.sequence_last ||
        (!replaced && told->chain != before->trailer.seal_checksum))
        return error_set(error, ERROR_DAMAGED,
                         "segment %s does not end as segment %s, which follows it, says: its last "
                         "event is %" PRIu64 " instead of %" PRIu64,
                         before->name, segment->name, before->trailer.sequence_last,
                         told->sequence_last);
    return OK;
}

enum error_code segment_set_check_end(const struct segment_set_segment *before, uint64_t seal_end,
                                      const struct segment_set_segment *segment,
                                      struct error *error)
{
    const struct segment_format_predecessor *told = &segment->header.predecessor;
    if (told->end_offset == seal_end || is_replacement(before, told))
        return OK;
    return error_set(error, ERROR_DAMAGED,
                     "segment %s ends at byte %" PRIu64 ", but segment %s says at %" PRIu64,
                     before->name, seal_end, segment->name, told->end_offset);
}

enum error_code segment_set_check(const struct segment_set *set, struct error *error)
{
    /* Perhaps it is whole, and only the disk fails: that is another word than damaged. */
    if (set->unreadable.code)
        return error_set(error, set->unreadable.code, "%s", set->unreadable.text);
    if (set->bound_damaged)
        return error_set(error, ERROR_DAMAGED,
                         "%s; what retention has deleted cannot be told from what is missing",
                         set->bound_reason.text);
    if (set->dead_count == set->count) {
        /* Retention never deletes the last segment, so the one at the bound is there. */
        if (set->bound == 1)
            return OK;
        return error_set(error, ERROR_DAMAGED,
                         "no segment is left, but the log should have events from %" PRIu64 " on",
                         set->bound);
    }
    enum error_code code = check_first(set, error);
    for (size_t i = set->dead_count; !code && i < set->count; i++) {
        code = check_header(&set->segments[i], set->segments[set->dead_count].header.log_id, error);
        if (!code && i > set->dead_count)
            code = segment_set_check_pair(&set->segments[i - 1], &set->segments[i], error);
    }
    return code;
}

/* How many segments with a valid header are of this log? */
static size_t count_of_log(const struct segment_set *set, const uint8_t *log_id)
{
    size_t count = 0;
    for (size_t i = 0; i < set->count; i++)
        count += set->segments[i].header_verdict == FORMAT_VALID &&
                 memcmp(set->segments[i].header.log_id, log_id, FORMAT_LOG_ID_BYTES) == 0;
    return count;
}

/* Of segments of two logs in one directory, the fewer are the strangers. NULL: no header is valid.
 */
static const uint8_t *most_frequent_log(const struct segment_set *set)
{
    const uint8_t *log_id = NULL;
    size_t most = 0;
    for (size_t i = set->count; i > 0; i--) {
        const struct segment_set_segment *segment = &set->segments[i - 1];
        if (segment->header_verdict != FORMAT_VALID ||
            (log_id && memcmp(segment->header.log_id, log_id, FORMAT_LOG_ID_BYTES) == 0))
            continue;
        size_t count = count_of_log(set, segment->header.log_id);
        if (count > most) {
            most = count;
            log_id = segment->header.log_id;
        }
        if (2 * most > i) /* what is left cannot outnumber it */
            break;
    }
    return log_id;
}

enum error_code segment_set_identify(const struct segment_set *set, int log_fd,
                                     uint8_t log_id_out[FORMAT_LOG_ID_BYTES], struct error *error)
{
    size_t newest = set->count;
    while (newest > 0 && set->segments[newest - 1].header_verdict != FORMAT_VALID &&
           set->segments[newest - 1].header_verdict != FORMAT_NEWER)
        newest--;
    enum error_code code =
        newest > 0 ? segment_set_check_version(&set->segments[newest - 1], error) : OK;
    if (code)
        return code;
    const uint8_t *log_id = most_frequent_log(set);
    if (log_id) {
        memcpy(log_id_out, log_id, FORMAT_LOG_ID_BYTES);
        return OK;
    }
    struct segment_watermark *page = NULL;
    struct segment_watermark_state state;
    bool known =
        !segment_watermark_open(log_fd, &page, NULL) && segment_watermark_read(page, &state);
    segment_watermark_close(page);
    if (!known)
        return error_set(error, ERROR_DAMAGED,
                         "the headers of all %zu segments are damaged, so nothing can be read",
                         set->count);
    memcpy(log_id_out, state.log_id, FORMAT_LOG_ID_BYTES);
    return OK;
}

void segment_set_free(struct segment_set *set)
{
    free(set->segments);
    *set = (struct segment_set){0};
}
