#include "tools/daybookd/landmarks.h"

#include <string.h>

/* The first mark behind `sequence`; count: there is none. */
static size_t index_behind(const struct landmarks *landmarks, uint64_t sequence)
{
    size_t low = 0, high = landmarks->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (landmarks->at[middle].sequence_first > sequence)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

static void remove_at(struct landmarks *landmarks, size_t index)
{
    landmarks->count--;
    memmove(landmarks->at + index, landmarks->at + index + 1,
            (landmarks->count - index) * sizeof *landmarks->at);
}

/* Make room: of what has a directory by now, the oldest; else every other one goes. */
static void thin_out(struct landmarks *landmarks)
{
    const struct log_stream_place *last = &landmarks->at[landmarks->count - 1];
    if (landmarks->at[0].segment_first != last->segment_first) {
        remove_at(landmarks, 0);
        return;
    }
    size_t kept = 0;
    for (size_t i = 0; i < landmarks->count; i += 2)
        landmarks->at[kept++] = landmarks->at[i];
    landmarks->count = kept;
    landmarks->apart *= 2;
}

void landmarks_note(struct landmarks *landmarks, const struct log_stream_place *place)
{
    if (place->segment_first == 0)
        return;
    if (landmarks->count == 0)
        landmarks->apart = LANDMARKS_APART;
    size_t index = index_behind(landmarks, place->sequence_first);
    if (index > 0 &&
        place->sequence_first - landmarks->at[index - 1].sequence_first < landmarks->apart)
        return;
    if (index < landmarks->count &&
        landmarks->at[index].sequence_first - place->sequence_first < landmarks->apart)
        return;
    if (landmarks->count == LANDMARKS_MAX) {
        thin_out(landmarks);
        index = index_behind(landmarks, place->sequence_first);
    }
    memmove(landmarks->at + index + 1, landmarks->at + index,
            (landmarks->count - index) * sizeof *landmarks->at);
    landmarks->at[index] = *place;
    landmarks->count++;
}

struct log_stream_place landmarks_find(const struct landmarks *landmarks, uint64_t sequence)
{
    size_t index = index_behind(landmarks, sequence);
    return index > 0 ? landmarks->at[index - 1] : (struct log_stream_place){0};
}
