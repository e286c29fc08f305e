#!/usr/bin/env bash
# tools/demo.sh - what `make demo` shows: a daemon, a few thousand events in, followed, replayed,
# asked for in SQL, also as a table with columns. Everything lives in $BUILD/demo, which is deleted
# at the beginning of each demo.
set -eu
cd "$(dirname "$0")/.."
BUILD=${BUILD:-build}
dir=$BUILD/demo
unset DAYBOOK_DIR DAYBOOK_SOCKET
export LC_ALL=C.UTF-8
exec 2>&1 # what programs say about their work belongs between their output, also in a pipe

bold='' plain=''
if [ -t 1 ] && [ -z "${NO_COLOR:-}" ] && [ "${TERM:-dumb}" != dumb ]; then
    bold=$'\033[1m' plain=$'\033[0m'
fi

daemon='' follower=''
clean_up() {
    trap - EXIT INT TERM
    [ -z "$follower" ] || kill "$follower" 2>/dev/null || true
    [ -z "$daemon" ] || kill "$daemon" 2>/dev/null || true
    wait 2>/dev/null || true
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

step() { # heading
    printf '\n%s== %s%s\n' "$bold" "$1" "$plain"
}

show() { # the command as one would type it
    printf '$ %s\n' "$1"
}

try() { # the same, and run it
    show "$1"
    eval "$1"
}

milliseconds() {
    echo $(($(date +%s%N) / 1000000))
}

thousands() { # 411844 as 411,844
    sed -E ':next; s/^([0-9]+)([0-9]{3})/\1,\2/; t next' <<<"$1"
}

start_daemon() {
    show "$BUILD/daybookd -D $dir &"
    "$BUILD/daybookd" -D "$dir" >"$BUILD/demo.log" 2>&1 &
    daemon=$!
    local tries=0
    until grep -q ' ready$' "$BUILD/demo.log"; do
        tries=$((tries + 1))
        if [ "$tries" -gt 500 ] || ! kill -0 "$daemon" 2>/dev/null; then
            echo "the daemon did not start; it said:" >&2
            cat "$BUILD/demo.log" >&2
            exit 1
        fi
        sleep 0.02
    done
}

step "Start the daemon on an empty directory"
rm -rf "$dir"
start_daemon
echo "It listens on $dir/daybook.sock."

step "Publish 5,000 events of a trading desk's last ten minutes"
begin=$(milliseconds)
try "$BUILD/daybook-generate -n 5000 --start -10m --span 10m | $BUILD/daybook pub -D $dir"
published_ms=$(($(milliseconds) - begin))

step "Follow the log while more events arrive"
show "$BUILD/daybook read -D $dir -f -n 0 &"
"$BUILD/daybook" read -D "$dir" -f -n 0 &
follower=$!
for seed in 11 12 13; do
    sleep 0.4
    "$BUILD/daybook-generate" -n 4 --seed "$seed" --signals "${seed}0000" --start now --span 100ms |
        "$BUILD/daybook" pub -D "$dir" 2>/dev/null
done
sleep 0.4
kill "$follower" 2>/dev/null || true
wait "$follower" 2>/dev/null || true
follower=''

step "A consumer with a name goes on where it stopped, though the daemon is killed"
try "$BUILD/daybook read -D $dir --cursor billing -t 'trade_*' | tail -n 1 | cut -c1-100"
show "kill -9 $daemon"
kill -9 "$daemon"
wait "$daemon" 2>/dev/null || true
start_daemon
try "$BUILD/daybook-generate -n 40 --seed 14 --signals 140000 --start now --span 1s | $BUILD/daybook pub -D $dir"
try "$BUILD/daybook read -D $dir --cursor billing -t 'trade_*' | cut -c1-100"
try "$BUILD/daybook cursors -D $dir"

step "Replay twenty seconds of it, ten times as fast, with the gaps as they were"
try "$BUILD/daybook replay -D $dir --rate 10 -S -9m20s -U -9m >/dev/null"

step "Replay everything as fast as it goes"
try "$BUILD/daybook replay -D $dir --rate max >/dev/null"

step "Ask in SQL: how much of what?"
try "$BUILD/daybook sql -D $dir \"SELECT topic, COUNT(*) AS events FROM events GROUP BY topic ORDER BY events DESC\""

step "Ask in SQL: what became of one signal?"
id=$("$BUILD/daybook" sql -D "$dir" -o csv \
    "SELECT payload ->> 'correlation_id' FROM events WHERE topic = 'balance_update' LIMIT 1" |
    tail -n 1 | tr -d '"\r')
try "$BUILD/daybook sql -D $dir \"SELECT seq, time, topic FROM events WHERE payload ->> 'correlation_id' = '$id' ORDER BY seq\""

step "Give a topic a schema, and ask it like a table"
try "$BUILD/daybook topics -D $dir --infer signal_generated >$dir/signal_generated.json"
try "$BUILD/daybook schema add -D $dir signal_generated $dir/signal_generated.json --mode warn"
try "$BUILD/daybook sql -D $dir \"SELECT pattern, count(*) AS signals, round(avg(confidence), 1) AS confidence FROM signal_generated GROUP BY pattern ORDER BY confidence DESC\""

step "How is it?"
try "$BUILD/daybook status -D $dir"

step "Stop the daemon"
show "kill -TERM $daemon"
kill -TERM "$daemon"
status=0
wait "$daemon" || status=$?
daemon=''
echo "It finished its last commit and ended with status $status."

step "How fast was it?"
printf "5,000 events were made, parsed, published and durable in %d ms: %s events/s,\n" \
    "$published_ms" "$(thousands $((5000 * 1000 / (published_ms > 0 ? published_ms : 1))))"
echo "the start of two programs included. '$BUILD/daybook bench' measures the log itself on this disk."

step "Try next (no daemon needed)"
cat <<END
$BUILD/daybook read -D $dir -n 5
$BUILD/daybook read -D $dir -n 3 -t trade_executed -o json-pretty
$BUILD/daybook sql -D $dir "SELECT payload ->> 'symbol' AS symbol, COUNT(*) FROM events WHERE topic = 'trade_executed' GROUP BY symbol"
$BUILD/daybook sql -D $dir     # a shell; docs/sql.md has over two dozen questions
echo '{"topic":"hello","payload":{"from":"me"}}' | $BUILD/daybook pub -D $dir
$BUILD/daybook verify -D $dir
$BUILD/daybook retention -D $dir --max-size 1M --dry-run
$BUILD/daybook help
END
