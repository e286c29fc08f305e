/* Where some blocks of the log stand (tools/daybookd/landmarks.h). */
#include <criterion/criterion.h>
#include <string.h>

#include "tools/daybookd/landmarks.h"

static struct landmarks landmarks;

static void note(uint64_t segment, uint64_t sequence)
{
    const struct log_stream_place place = {segment, sequence * 10, sequence};
    landmarks_note(&landmarks, &place);
}

static void expect_order(void)
{
    for (size_t i = 1; i < landmarks.count; i++)
        cr_assert_lt(landmarks.at[i - 1].sequence_first, landmarks.at[i].sequence_first);
    cr_assert_leq(landmarks.count, (size_t)LANDMARKS_MAX);
}

static void setup(void)
{
    memset(&landmarks, 0, sizeof landmarks);
}
TestSuite(landmarks, .init = setup);

Test(landmarks, leads_to_a_block_that_is_not_far_before_any_sequence)
{
    const uint64_t last = 1000000;
    for (uint64_t sequence = 1; sequence <= last; sequence++)
        note(1, sequence);
    expect_order();
    uint64_t far = 2 * last / LANDMARKS_MAX + LANDMARKS_APART;
    for (uint64_t sequence = 1; sequence <= last; sequence += 997) {
        struct log_stream_place place = landmarks_find(&landmarks, sequence);
        cr_assert_eq(place.segment_first, 1);
        cr_assert_leq(place.sequence_first, sequence);
        cr_assert_leq(sequence - place.sequence_first, far);
        cr_assert_eq(place.offset, place.sequence_first * 10);
    }
}

Test(landmarks, forgets_older_segments_first)
{
    for (uint64_t sequence = 1; sequence <= 200000; sequence++)
        note(1 + sequence / 50000, sequence);
    expect_order();
    for (uint64_t sequence = 200001; sequence <= 400000; sequence++)
        note(200001, sequence);
    expect_order();
    cr_assert_eq(landmarks.at[0].segment_first, 200001);
}

Test(landmarks, takes_marks_in_any_order_and_knows_none_before_the_first)
{
    note(1, 50000);
    note(1, 10000);
    note(1, 30000);
    note(1, 30001);
    note(0, 40000);
    expect_order();
    cr_assert_eq(landmarks.count, 3);
    cr_assert_eq(landmarks_find(&landmarks, 9999).segment_first, 0);
    cr_assert_eq(landmarks_find(&landmarks, 29999).sequence_first, 10000);
    cr_assert_eq(landmarks_find(&landmarks, 99999).sequence_first, 50000);
}
