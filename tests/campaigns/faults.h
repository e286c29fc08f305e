/*
 * tests/campaigns/faults.h - what the parts of the fault campaign share (tests/campaigns/faults.c).
 *
 * A case runs one scenario in a fresh copy of its starting point, while one call on the disk fails.
 * Then the disk is healed, the log is stopped in one of several ways, and opened again; the ledger,
 * which lives outside of the log, says what must be there.
 */
#ifndef DAYBOOK_TESTS_CAMPAIGNS_FAULTS_H
#define DAYBOOK_TESTS_CAMPAIGNS_FAULTS_H

#include <stdatomic.h>
#include <stdbool.h>

#include "segment/log.h"
#include "tools/torture/faults.h"

/* ---- Where: on the simulated disk or on a real one ------------------------------------------- */

struct faults_place;
enum faults_disk {
    FAULTS_DISK_SIMULATED,
    FAULTS_DISK_UNSYNCED, /* real files, and syncs that do nothing */
    FAULTS_DISK_REAL,
};
struct faults_place *faults_place_create(enum faults_disk disk);
void faults_place_free(struct faults_place *place);
/* The log's directory; its parent is there, it may not be. */
const char *faults_place_path(const struct faults_place *place);
/* The calls that a fault injector wraps. */
const struct file_calls *faults_place_calls(const struct faults_place *place);
/* An empty place, in which a starting point is built. */
void faults_place_clear(struct faults_place *place);
/* What is there now is the starting point of each case, as after a kill of every process. */
void faults_place_keep(struct faults_place *place);
void faults_place_restore(struct faults_place *place);
/* Every process was killed at the moment of the call of `freeze`; or the power was cut then. */
void faults_place_freeze(struct faults_place *place);
/* Freezing copies one file after the other: nobody may write meanwhile. */
bool faults_place_freezes_slowly(const struct faults_place *place);
void faults_place_after_kill(struct faults_place *place);
/* False: this place cannot lose power. */
bool faults_place_after_power_cut(struct faults_place *place, uint64_t seed);

/* For clock_use: each power cut is followed by another boot. */
void faults_place_boot_id(uint8_t boot_id_out[CLOCK_BOOT_ID_SIZE]);

/* ---- What must be in the log ----------------------------------------------------------------- */

enum { FAULTS_EVENTS_MAX = 4096 };
struct faults_ledger {
    struct {
        uint64_t sequence; /* as the log gave it; 0: refused */
        size_t bytes;
        bool acknowledged;
        bool retired;            /* retention may have deleted it */
        bool seen;               /* by the last faults_case_check_events */
    } events[FAULTS_EVENTS_MAX]; /* by id; events[0] is nobody */
    uint64_t count;              /* ids used */
    uint64_t opened;             /* … when the log was opened last */
};

/* ---- A case ---------------------------------------------------------------------------------- */

struct faults_scenario;
struct faults_case {
    const struct faults_scenario *scenario;
    struct faults_place *place;
    struct faults_plan plan;
    struct faults_ledger ledger;
    uint64_t seed;  /* of sizes and counts in this round */
    uint64_t state; /* of the random numbers */

    struct segment_log *_Atomic log; /* while it is open */
    _Atomic uint64_t hits;           /* faults so far */
    _Atomic uint64_t failed_hits;    /* … of which the caller heard */
    /* The watermark at the first failed write or sync of the active segment. */
    atomic_bool latched;
    _Atomic uint64_t durable_then;
    bool refused; /* some call of the scenario has failed */
    bool broken;  /* an assertion has failed */
};

struct faults_scenario {
    const char *title; /* what is done while a call fails */
    bool on_kernel;    /* needs real files (SQLite) */
    bool no_log;       /* nothing but memory is used */
    bool by_map;
    bool fast_clock; /* each look at the clock makes it later */
    int64_t age_ns;  /* of segments; 0: they do not grow old */
    /* Build the starting point and keep it (faults_place_keep); NULL: there is no log. */
    void (*prepare)(struct faults_case *c);
    void (*run)(struct faults_case *c);
    /* With healthy calls, after the log was opened and closed again; may be NULL. */
    void (*check)(struct faults_case *c);
};

extern const struct faults_scenario faults_log_scenarios[];
extern const size_t faults_log_scenario_count;
extern const struct faults_scenario faults_recovery_scenarios[];
extern const size_t faults_recovery_scenario_count;
extern const struct faults_scenario faults_index_scenarios[];
extern const size_t faults_index_scenario_count;

/* Build the scenario's starting point, with healthy calls; *start is what it holds. */
void faults_case_prepare(struct faults_case *c, struct faults_ledger *start);
/* Back to the starting point. Then calls may begin to fail. */
void faults_case_begin(struct faults_case *c, const struct faults_ledger *start);
/* Nothing fails any more. Stop the log in one of these ways, open it again, and check it. */
enum faults_end { FAULTS_STOPPED, FAULTS_KILLED, FAULTS_CUT };
enum faults_end faults_case_finish(struct faults_case *c);

/* Say what is wrong, with all that is needed to do it again. */
void faults_case_blame(struct faults_case *c, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Take the answer of a call: an error must have a cause, and a text that says what and where. */
bool faults_case_took(struct faults_case *c, enum error_code code, const struct error *error);
uint64_t faults_case_random(struct faults_case *c, uint64_t below);

/* Open the log; false when that failed. */
bool faults_case_open(struct faults_case *c, uint64_t segment_bytes);
/* Append an event with so many bytes of payload; false when it was refused. */
bool faults_case_append(struct faults_case *c, size_t bytes);
/* Commit, and wait until everything is durable, the log has failed, or the disk is full. */
bool faults_case_commit(struct faults_case *c);
void faults_case_note_acks(struct faults_case *c);
void faults_case_close(struct faults_case *c);
/* Wait until `holds`, or until the log has failed or cannot get a new file. */
void faults_case_wait_until(struct faults_case *c, bool (*holds)(struct faults_case *c));

/* Retention has moved the lower bound: what lies below need not be there any more. */
void faults_case_note_bound(struct faults_case *c);
/* The calls of the injector so far, on these files. */
uint64_t faults_case_calls(enum faults_file file, enum faults_call call);

/* Read everything that a reader may see and compare it with the ledger. */
void faults_case_check_events(struct faults_case *c, const char *when);
/*
 * Above 0: the thread allocates for the campaign, not for what is tested. Volatile, because
 * compilers believe that malloc looks at nobody's variables.
 */
extern _Thread_local volatile unsigned faults_case_exempt;

/* `bytes` of payload for the event `id`; the caller frees them. */
uint8_t *faults_case_payload(uint64_t id, size_t bytes);

/*
 * Append so many events from several threads and check the order of what is done for each before it
 * is acknowledged. Prints the verdict. Returns how many were checked; 0: not ok.
 */
uint64_t faults_order_run(uint64_t events, bool by_map);

#endif
