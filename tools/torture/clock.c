#include "tools/torture/clock.h"

#include <stdatomic.h>
#include <string.h>

#include "core/clock.h"
#include "core/identity.h"
#include "tools/torture/chance.h"

#define SECOND_NS INT64_C(1000000000)
/* 2026-01-01 */
#define EPOCH_NS (INT64_C(1767225600) * SECOND_NS)
/* The log's deadlines lie in the far future of the machine's own clock: no thread wakes by itself.
 */
#define ASLEEP_NS (INT64_C(1) << 60)
/* Longer than a log waits before it counts as idle. */
#define IDLE_NS (SECOND_NS / 10 + 1)

/* The process has one time, as core/clock.h says. */
static _Atomic int64_t realtime_passed_ns, monotonic_passed_ns;
static _Atomic uint64_t boot;
static atomic_bool idle_passes;
static uint64_t identity_state;
static _Thread_local bool is_writer;

static int64_t realtime_ns(void)
{
    return EPOCH_NS + atomic_fetch_add(&realtime_passed_ns, 1000);
}

static int64_t monotonic_ns(void)
{
    if (!atomic_load(&idle_passes))
        return ASLEEP_NS + atomic_fetch_add(&monotonic_passed_ns, 1000);
    return SECOND_NS + atomic_fetch_add(&monotonic_passed_ns, is_writer ? IDLE_NS : 1000);
}

static void boot_id(uint8_t boot_id_out[CLOCK_BOOT_ID_SIZE])
{
    uint64_t state = atomic_load(&boot);
    uint64_t words[2] = {chance_draw(&state), chance_draw(&state)};
    memcpy(boot_id_out, words, CLOCK_BOOT_ID_SIZE);
}

static void draw_identity(uint8_t *bytes_out, size_t size)
{
    for (size_t i = 0; i < size; i++)
        bytes_out[i] = (uint8_t)chance_draw(&identity_state);
}

void torture_clock_use(uint64_t seed)
{
    static const struct clock_source source = {
        .realtime_ns = realtime_ns, .monotonic_ns = monotonic_ns, .boot_id = boot_id};
    atomic_store(&realtime_passed_ns, 0);
    atomic_store(&monotonic_passed_ns, 0);
    atomic_store(&boot, 1);
    atomic_store(&idle_passes, false);
    identity_state = seed;
    clock_use(&source);
    identity_use(draw_identity);
}

void torture_clock_release(void)
{
    clock_use(NULL);
    identity_use(NULL);
}

void torture_clock_reboot(void)
{
    atomic_fetch_add(&boot, 1);
}

uint64_t torture_clock_boot(void)
{
    return atomic_load(&boot);
}

void torture_clock_set_boot(uint64_t number)
{
    atomic_store(&boot, number);
}

struct torture_clock_moment torture_clock_save(void)
{
    return (struct torture_clock_moment){.boot = atomic_load(&boot),
                                         .realtime_ns = atomic_load(&realtime_passed_ns)};
}

void torture_clock_restore(const struct torture_clock_moment *moment)
{
    atomic_store(&boot, moment->boot);
    atomic_store(&realtime_passed_ns, moment->realtime_ns);
}

void torture_clock_set_idle(bool idle)
{
    atomic_store(&idle_passes, idle);
}

void torture_clock_note_writer(void)
{
    is_writer = true;
}
