#!/usr/bin/env bash
# daybook bench runs, says what it measured in one JSON document, and leaves nothing behind.
set -u
BUILD=${BUILD:-build}
work=$(mktemp -d "${TMPDIR:-/var/tmp}/daybook-bench-test-XXXXXX")
trap 'rm -rf "$work"' EXIT
failed=0

ok() { # sentence, command…
    local sentence=$1
    shift
    if "$@" >"$work/said" 2>&1; then
        echo "ok - $sentence"
    else
        echo "not ok - $sentence"
        sed 's/^/# /' "$work/said"
        failed=1
    fi
}

mkdir "$work/disk"
tiny=(--dir "$work/disk" --seconds 50ms --rounds 2 --events 400000)

run_json() {
    "$BUILD/daybook" bench "${tiny[@]}" -o json --plot "$work/bench.svg" all >"$work/bench.json"
}
ok "bench measures all suites" run_json

check_json() {
    python3 - "$work/bench.json" <<'END'
import json, sys
document = json.load(open(sys.argv[1]))
for key in ("program", "version", "date", "machine", "parameters", "figures", "notes"):
    assert key in document, key
for key in ("processor", "processors", "memory_bytes", "kernel", "file_system", "load"):
    assert key in document["machine"], key
assert document["parameters"]["rounds"] == 2, document["parameters"]
figures = {figure["name"]: figure for figure in document["figures"]}
for name in (
    "raw_commit_p50", "raw_commit_p99", "socket_round_trip_p50",
    "one_in_flight_p50", "one_in_flight_p99", "one_in_flight_rate",
    "many_p50", "many_rate", "pipelined_rate", "index_lag", "memory_peak",
    "sqlite_one_p50", "sqlite_one_p99", "sqlite_many_rate", "sqlite_batch_rate",
    "one_in_flight_to_raw_limit", "one_in_flight_to_sqlite", "many_to_sqlite", "pipelined_to_sqlite",
    "append_raw_p50", "append_one_p50", "append_one_p99", "append_many_rate",
    "append_burst_rate", "append_rate", "append_durable_rate", "append_one_to_raw_limit",
    "index_rate", "scan_rate", "packed_scan_rate",
    "count_by_topic_daybook", "count_by_topic_sqlite", "count_by_topic_ratio",
    "latest_of_topic_daybook", "latest_of_topic_sqlite", "latest_of_topic_ratio",
    "window_of_topic_daybook", "window_of_topic_sqlite", "window_of_topic_ratio", "topics",
    "group_by_field_daybook", "group_by_field_sqlite", "group_by_field_ratio",
    "point_by_field_daybook", "point_by_field_sqlite", "point_by_field_ratio",
    "start_clean", "start_killed", "retention_space", "retention_rows",
    "schema_check_rate", "schema_fault_rate",
    "where_number_rate", "where_two_rate", "where_text_rate", "where_json_rate",
    "bus_alone_p50", "bus_alone_p99", "bus_watched_p50", "bus_watched_p99", "bus_arrival_p50",
    "bus_arrival_p99", "bus_watched_to_alone",
    "pwrite_growing_p50", "pwrite_fallocate_p50", "pwrite_zeroed_p50",
    "mmap_growing_p50", "mmap_fallocate_p50", "mmap_zeroed_p50",
):
    figure = figures[name]
    assert figure["min"] <= figure["median"] <= figure["max"], figure
    assert len(figure["rounds"]) == 2, figure
    assert figure["max"] > 0 or name == "index_lag", figure
goals = {name for name, figure in figures.items() if "met" in figure}
assert len(figures["pack_rate"]["rounds"]) == 1 and figures["packed_bytes"]["median"] > 10, figures
assert figures["index_bytes"]["median"] > 10, figures
assert goals == {"one_in_flight_to_raw_limit", "append_one_to_raw_limit", "pipelined_rate", "index_lag",
                 "append_burst_rate", "memory_peak", "processor_at_1000_per_second",
                 "memory_at_1000_per_second", "index_rate", "packed_scan_rate", "packed_bytes",
                 "count_by_topic_ratio", "latest_of_topic_ratio", "window_of_topic_ratio", "topics",
                 "group_by_field_ratio", "point_by_field_ratio",
                 "start_killed", "retention_space", "retention_publish_ratio",
                 "schema_check_rate", "where_number_rate",
                 "bus_arrival_p50", "bus_arrival_p99", "bus_watched_to_alone"}, goals
for name in goals:
    assert figures[name]["met"] is None, figures[name]
ratio = figures["one_in_flight_to_raw_limit"]
for i in range(2):
    below = figures["raw_commit_p50"]["rounds"][i] + figures["socket_round_trip_p50"]["rounds"][i]
    expected = figures["one_in_flight_p50"]["rounds"][i] / below
    assert abs(ratio["rounds"][i] / expected - 1) < 1e-3, (ratio, expected)
END
}
ok "its JSON names machine, parameters, every figure with median and range, goals and ratios" check_json

check_plot() {
    python3 - "$work/bench.svg" <<'END'
import sys, xml.etree.ElementTree as xml
name = "{http://www.w3.org/2000/svg}"
root = xml.parse(sys.argv[1]).getroot()
assert root.tag == name + "svg", root.tag
texts = [text.text for text in root.iter(name + "text")]
assert any("pipelined" in text for text in texts) and "99" in texts, texts
assert len(list(root.iter(name + "circle"))) >= 8
assert len(list(root.iter(name + "polyline"))) >= 3
END
}
ok "its plot is SVG with a dot for each rate and a curve for each latency" check_plot

check_table() {
    "$BUILD/daybook" bench "${tiny[@]}" disk >"$work/table" &&
        grep -q 'pwrite, zero-filled' "$work/table" && grep -q 'median' "$work/table"
}
ok "its table is for people" check_table

check_goals() {
    "$BUILD/daybook" bench "${tiny[@]}" socket >"$work/table" &&
        [ "$(grep -c ' goal .*: run too short to judge$' "$work/table")" -eq 6 ] &&
        ! grep -E ': (met|MISSED)$' "$work/table"
}
ok "a run that is too short to judge by says so of each goal, in JSON and in the table" check_goals

is_empty() {
    [ -z "$(ls -A "$work/disk")" ]
}
ok "its scratch directory is gone afterwards" is_empty

daemon_is_gone() {
    local file
    for file in /proc/[0-9]*/cmdline; do
        [[ $({ tr '\0' ' ' <"$file"; } 2>/dev/null) != *daybookd*"$work/disk"* ]] || return 1
    done
}

interrupt() {
    "$BUILD/daybook" bench --dir "$work/disk" --seconds 300ms --rounds 99 socket >"$work/table" 2>"$work/stderr" &
    local bench=$! tries=0 status=0
    # Its daemon serves: by then everything is there that has to be cleaned up.
    until compgen -G "$work/disk/*/log/daybook.sock" >/dev/null || [ $((tries += 1)) -gt 6000 ]; do
        sleep 0.01
    done
    kill -TERM "$bench"
    wait "$bench" || status=$?
    [ "$status" -eq 1 ] && grep -q interrupted "$work/stderr" && is_empty && daemon_is_gone
}
ok "interrupted, it ends with status 1, its daemon with it, and the scratch directory is gone, too" interrupt

refuses_suite() {
    "$BUILD/daybook" bench --dir "$work/disk" nonsense
    [ $? -eq 2 ] && is_empty
}
ok "an unknown suite is a usage error" refuses_suite

exit "$failed"
