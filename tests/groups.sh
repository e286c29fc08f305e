# tests/groups.sh - what tests/run and tests/nightly share: run groups of tests, $at_once at a time,
# and count. To be sourced from the project's root, with `pattern` set.
#
# A group is a program or script; it prints one line with its duration and counts, and its whole
# output when something failed. Logs stay in $logs. N counts single tests: the synthesis of a
# Criterion program, the `ok` and `not ok` lines of a script. A group that ends badly without naming
# a failure counts as one failure, so nothing can fail unseen; so does one that ran no test at all.
# A campaign says what it tried in lines `cases: NUMBER what`; they are added up at the end.
# shellcheck shell=bash

export LC_ALL=C.UTF-8
BUILD=$(realpath -m "${BUILD:-build}")
export BUILD
# A real disk: in a tmpfs the syncs that are tested would do nothing.
export TMPDIR="${TMPDIR:-/var/tmp}"
# Memory, for a second run of the same tests that is not about syncs: it takes half the time.
memory=$TMPDIR
[ ! -w /dev/shm ] || memory=/dev/shm
export PYTHONDONTWRITEBYTECODE=1
unset DAYBOOK_DIR DAYBOOK_SOCKET MAKEFLAGS MAKELEVEL
export ASAN_OPTIONS="abort_on_error=0:detect_leaks=1${ASAN_OPTIONS:+:$ASAN_OPTIONS}"
export UBSAN_OPTIONS="print_stacktrace=1${UBSAN_OPTIONS:+:$UBSAN_OPTIONS}"
export TSAN_OPTIONS="halt_on_error=1:second_deadlock_stack=1${TSAN_OPTIONS:+:$TSAN_OPTIONS}"

# One more than there are processors: many of the scripts wait for most of their time.
at_once=${TEST_JOBS:-$(($(nproc) + 1))}
started_groups=0

start_groups() { # folder for the logs
    logs=$1
    rm -rf "$logs"
    mkdir -p "$logs"
}

count() { # log, exit status -> passed, failed
    local log=$1 status=$2 line
    passed=0
    failed=0
    line=$(sed 's/\x1b\[[0-9;]*m//g' "$log" | grep -a 'Synthesis: Tested:' | tail -n 1)
    if [ -n "$line" ]; then
        passed=$(sed -E 's/.*Passing: ([0-9]+).*/\1/' <<<"$line")
        failed=$(sed -E 's/.*Failing: ([0-9]+) .*Crashing: ([0-9]+).*/\1 + \2/' <<<"$line")
        failed=$((failed))
    else
        passed=$(grep -acE '^ok\b' "$log")
        failed=$(grep -acE '^not ok\b' "$log")
    fi
    if [ "$status" -ne 0 ] && [ "$failed" -eq 0 ]; then
        failed=1
    elif [ "$passed" -eq 0 ] && [ "$failed" -eq 0 ]; then
        failed=1
        echo 'this group ran no test' >>"$log"
    fi
}

run_group() { # name, command…
    local name=$1 begin end status log
    shift
    log=$logs/${name//[ \/]/_}.log
    begin=$(date +%s%N)
    timeout -k 10 "${hang_seconds:-600}" "$@" >"$log" 2>&1 </dev/null
    status=$?
    end=$(date +%s%N)
    [ "$status" -ne 124 ] || echo "stopped after ${hang_seconds:-600} s without an end" >>"$log"
    count "$log" "$status"
    echo "$passed $failed" >"$log.count"
    # One write each, so that the lines of two groups never mix.
    local line
    printf -v line '%-34s %5d.%d s %5d passed %3d failed' "$name" $(((end - begin) / 1000000000)) \
        $(((end - begin) / 100000000 % 10)) "$passed" "$failed"
    if [ "$failed" -gt 0 ]; then
        printf '%s\n%s\n--- end of %s, exit status %d\n' "$line" "$(sed 's/^/    /' "$log")" "$log" "$status"
    else
        printf '%s\n' "$line"
    fi
}

group() { # name, command…: beside at most $at_once - 1 others
    [[ $1 == *"$pattern"* ]] || return 0
    while [ "$(jobs -rp | wc -l)" -ge "$at_once" ]; do
        wait -n
    done
    started_groups=$((started_groups + 1))
    run_group "$@" &
}

group_alone() { # for what measures time or loads both cores by itself
    [[ $1 == *"$pattern"* ]] || return 0
    wait
    started_groups=$((started_groups + 1))
    run_group "$@"
}

as_test() { # sentence, command…: an exit status as an ok line
    local sentence=$1
    shift
    if "$@"; then echo "ok - $sentence"; else echo "not ok - $sentence"; fi
}
export -f as_test

print_cases() {
    cat "$logs"/*.log | grep -ahE '^cases: [0-9]+ ' | awk '
        { number = $2; $1 = $2 = ""; sub(/^ +/, ""); sum[$0] += number }
        END { for (what in sum) printf "%12d %s\n", sum[what], what }' | sort -k2
}

finish_groups() { # waits, adds up, prints the closing line; false when something failed
    local total_passed=0 total_failed=0 finished_groups=0 file passed failed
    wait
    for file in "$logs"/*.count; do
        [ -f "$file" ] || continue
        read -r passed failed <"$file"
        total_passed=$((total_passed + passed))
        total_failed=$((total_failed + failed))
        finished_groups=$((finished_groups + 1))
    done
    total_failed=$((total_failed + started_groups - finished_groups))
    echo 'cases tried:'
    print_cases
    echo "$total_passed passed, $total_failed failed"
    [ "$total_failed" -eq 0 ] && [ "$total_passed" -gt 0 ]
}
