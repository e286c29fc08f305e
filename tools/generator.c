#include "tools/generator.h"

#include <inttypes.h>
#include <stdlib.h>

enum {
    SYMBOLS = 12,
    FOLLOWERS_MAX = 256, /* events that others have caused and whose time has not come */
};

#define MILLISECOND INT64_C(1000000)

enum trading_topic {
    MARKET_DATA,
    SIGNAL_GENERATED,
    FIRE_COMMAND,
    TRADE_EXECUTED,
    BALANCE_UPDATE,
    SYSTEM_HEALTH,
    USER_ACTION,
};

static const char *const trading_topics[] = {
    "market_data",    "signal_generated", "fire_command", "trade_executed",
    "balance_update", "system_health",    "user_action",
};

static const char *const flat_topics[] = {
    "signals.detected", "signals.confirmed", "orders.submitted", "orders.filled",
    "signals.rejected", "market.heartbeat",  "risk.alerts",      "system.audit",
};

static const struct {
    const char *name;
    unsigned decimals;
    int64_t price; /* in units of 10^-decimals */
    int64_t step;  /* the largest move from one event to the next */
} symbols[SYMBOLS] = {
    {"XAUUSD", 2, 364210, 45}, {"EURUSD", 5, 117530, 12},     {"GBPUSD", 5, 135420, 15},
    {"USDJPY", 3, 147255, 18}, {"BTCUSD", 2, 11162050, 2400}, {"USDCNH", 5, 712840, 20},
    {"XAGUSD", 3, 41233, 22},  {"AUDUSD", 5, 65910, 9},       {"ETHUSD", 2, 430515, 190},
    {"USDCAD", 5, 138120, 11}, {"GER40", 1, 237185, 40},      {"NAS100", 1, 238790, 55},
};

static const char *const patterns[] = {
    "KALMAN_QUICKFIRE",         "BB_SCALP",     "ORDER_BLOCK_BOUNCE", "FAIR_VALUE_GAP_FILL",
    "LIQUIDITY_SWEEP_REVERSAL", "SWEEP_RETURN", "MOMENTUM_BURST",     "VCB_BREAKOUT",
};
static const char *const sessions[] = {"TOKYO", "LONDON", "NEW_YORK", "OVERLAP"};
static const char *const venues[] = {"LMAX", "CME", "EBS", "BINANCE"};
static const char *const services[] = {"signal-engine",  "risk-gate",   "order-router",
                                       "balance-keeper", "market-feed", "web-ui"};
static const char *const hosts[] = {"desk-01", "desk-02", "fra-edge-1"};
static const char *const users[] = {"anna", "björn", "chen", "dana", "eli"};
static const char *const actions[] = {"login", "set_risk", "pause_symbol", "ack_alert",
                                      "export_report"};
static const char *const notes[] = {
    "risk halved before the US jobs report",
    "\"news\" filter off until Friday, 17:00",
    "spread looks wrong on Zürich feed, watching it",
    "back from lunch \u2013 resumed as agreed",
};
static const char *const flat_patterns[] = {
    "bull_flag",     "bear_flag", "head_and_shoulders", "double_top",  "double_bottom",
    "falling_wedge", "breakout",  "mean_reversion",     "order_block", "ascending_triangle",
};
static const char *const frames[] = {"1m", "5m", "15m", "1h", "4h", "1d"};

#define COUNT_OF(array) (sizeof(array) / sizeof *(array))

/* What a signal started and the events after it share. */
struct chain {
    uint64_t id;
    unsigned symbol;
    bool buy;
    int64_t price;
    int64_t lots; /* hundredths */
};

struct follower {
    int64_t due_ns;
    enum trading_topic topic;
    struct chain chain;
};

struct generator {
    struct generator_options options;
    uint64_t random;
    uint64_t made;
    uint64_t chains;
    uint64_t ticks;
    int64_t next_ns; /* of the next event that nothing has caused */
    unsigned burst;  /* so many more events come close together */
    int64_t balance; /* cents */
    int64_t prices[SYMBOLS];
    size_t follower_count;
    struct follower followers[FOLLOWERS_MAX];
};

/* splitmix64 (Steele, Lea, Flood 2014). */
static uint64_t random_next(struct generator *generator)
{
    uint64_t z = (generator->random += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

/* 0 … bound - 1; the bias of the remainder is far below anything that we show. */
static uint64_t random_below(struct generator *generator, uint64_t bound)
{
    return random_next(generator) % bound;
}

static int64_t random_between(struct generator *generator, int64_t low, int64_t high)
{
    return low + (int64_t)random_below(generator, (uint64_t)(high - low) + 1);
}

/* 0 <= u < 1 */
static double random_real(struct generator *generator)
{
    return (double)(random_next(generator) >> 11) / 9007199254740992.0;
}

#define PICK(generator, array) ((array)[random_below(generator, COUNT_OF(array))])

static int64_t walk_price(struct generator *generator, unsigned symbol)
{
    int64_t step = symbols[symbol].step;
    int64_t moved = generator->prices[symbol] + random_between(generator, -step, step);
    if (moved > symbols[symbol].price / 2)
        generator->prices[symbol] = moved;
    return generator->prices[symbol];
}

static void add_chain(struct generator_event *event, const struct chain *chain)
{
    generator_add_text(event, "correlation_id", "SIG_%s_%06" PRIu64, symbols[chain->symbol].name,
                       chain->id);
    generator_add_text(event, "symbol", "%s", symbols[chain->symbol].name);
    generator_add_text(event, "direction", "%s", chain->buy ? "BUY" : "SELL");
}

/* Something that a chain's event causes, `low` to `high` milliseconds after it. */
static void schedule(struct generator *generator, const struct generator_event *event,
                     enum trading_topic topic, const struct chain *chain, int64_t low, int64_t high)
{
    if (generator->follower_count == FOLLOWERS_MAX)
        return; /* The rest of this chain never happens, as when a desk is overrun. */
    struct follower *follower = &generator->followers[generator->follower_count++];
    follower->due_ns =
        event->time_ns + random_between(generator, low * MILLISECOND, high * MILLISECOND);
    follower->topic = topic;
    follower->chain = *chain;
}

static void make_market_data(struct generator *generator, struct generator_event *event)
{
    unsigned symbol = (unsigned)random_below(generator, SYMBOLS);
    unsigned decimals = symbols[symbol].decimals;
    int64_t bid = walk_price(generator, symbol);
    int64_t spread = 1 + random_between(generator, 0, symbols[symbol].step / 2);

    generator_add_text(event, "symbol", "%s", symbols[symbol].name);
    generator_add_text(event, "venue", "%s", PICK(generator, venues));
    generator_add_text(event, "source", "market-feed");
    generator_add_integer(event, "tick", (int64_t)++generator->ticks);
    generator_add_decimal(event, "bid", bid, decimals);
    generator_add_decimal(event, "ask", bid + spread, decimals);
    generator_add_decimal(event, "last", bid + random_between(generator, 0, spread), decimals);
    generator_add_decimal(event, "high", bid + symbols[symbol].step * 40, decimals);
    generator_add_decimal(event, "low", bid - symbols[symbol].step * 40, decimals);
    generator_add_integer(event, "bid_size", random_between(generator, 1, 500) * 1000);
    generator_add_integer(event, "ask_size", random_between(generator, 1, 500) * 1000);
    generator_add_integer(event, "volume", random_between(generator, 100, 900000));
    generator_add_text(event, "session", "%s", PICK(generator, sessions));
}

static void make_signal(struct generator *generator, struct generator_event *event)
{
    struct chain chain = {
        .id = ++generator->chains,
        .symbol = (unsigned)random_below(generator, SYMBOLS),
        .buy = random_below(generator, 2) == 0,
        .lots = random_between(generator, 1, 250),
    };
    chain.price = walk_price(generator, chain.symbol);
    unsigned decimals = symbols[chain.symbol].decimals;
    int64_t risk = symbols[chain.symbol].step * random_between(generator, 8, 30);

    add_chain(event, &chain);
    generator_add_text(event, "pattern", "%s", PICK(generator, patterns));
    generator_add_text(event, "timeframe", "%s", PICK(generator, frames));
    generator_add_decimal(event, "confidence", random_between(generator, 550, 980), 1);
    generator_add_decimal(event, "entry", chain.price, decimals);
    generator_add_decimal(event, "stop_loss", chain.price + (chain.buy ? -risk : risk), decimals);
    generator_add_decimal(event, "take_profit", chain.price + (chain.buy ? 2 * risk : -2 * risk),
                          decimals);
    generator_add_text(event, "session", "%s", PICK(generator, sessions));
    if (random_below(generator, 3) < 2)
        schedule(generator, event, FIRE_COMMAND, &chain, 3, 40);
}

static void make_fire_command(struct generator *generator, struct generator_event *event,
                              const struct chain *chain)
{
    unsigned decimals = symbols[chain->symbol].decimals;
    add_chain(event, chain);
    generator_add_text(event, "order_id", "ORD-%08" PRIx64,
                       random_below(generator, UINT64_C(1) << 32));
    generator_add_text(event, "type", "%s", random_below(generator, 4) ? "MARKET" : "LIMIT");
    generator_add_decimal(event, "lots", chain->lots, 2);
    generator_add_decimal(event, "price", chain->price, decimals);
    generator_add_integer(event, "max_slippage_points", random_between(generator, 2, 30));
    generator_add_text(event, "account", "desk-%" PRId64, random_between(generator, 1, 6));
    generator_add_text(event, "venue", "%s", PICK(generator, venues));
    if (random_below(generator, 4) < 3)
        schedule(generator, event, TRADE_EXECUTED, chain, 20, 400);
}

static void make_trade(struct generator *generator, struct generator_event *event,
                       const struct chain *chain)
{
    unsigned decimals = symbols[chain->symbol].decimals;
    int64_t slippage = random_between(generator, -3, 9);
    add_chain(event, chain);
    generator_add_text(event, "trade_id", "T%010" PRIu64,
                       random_below(generator, UINT64_C(10000000000)));
    generator_add_decimal(event, "lots", chain->lots, 2);
    generator_add_decimal(event, "price", chain->price + slippage, decimals);
    generator_add_integer(event, "slippage_points", slippage);
    generator_add_decimal(event, "commission", random_between(generator, 10, 900), 2);
    generator_add_text(event, "venue", "%s", PICK(generator, venues));
    generator_add_text(event, "liquidity", "%s", random_below(generator, 3) ? "taker" : "maker");
    generator_add_flag(event, "partial", random_below(generator, 10) == 0);
    if (random_below(generator, 5) < 4)
        schedule(generator, event, BALANCE_UPDATE, chain, 1, 25);
}

static void make_balance(struct generator *generator, struct generator_event *event,
                         const struct chain *chain)
{
    int64_t change = random_between(generator, -45000, 52000);
    generator->balance += change;
    generator_add_text(event, "correlation_id", "SIG_%s_%06" PRIu64, symbols[chain->symbol].name,
                       chain->id);
    generator_add_text(event, "account", "desk-%" PRId64, random_between(generator, 1, 6));
    generator_add_text(event, "currency", "USD");
    generator_add_decimal(event, "change", change, 2);
    generator_add_decimal(event, "balance", generator->balance, 2);
    generator_add_decimal(event, "equity",
                          generator->balance + random_between(generator, -90000, 90000), 2);
    generator_add_decimal(event, "margin_used", random_between(generator, 0, 4000000), 2);
    generator_add_integer(event, "open_positions", random_between(generator, 0, 14));
    generator_add_text(event, "reason", "trade_executed");
}

static void make_health(struct generator *generator, struct generator_event *event)
{
    bool well = random_below(generator, 20) != 0;
    generator_add_text(event, "service", "%s", PICK(generator, services));
    generator_add_text(event, "host", "%s", PICK(generator, hosts));
    generator_add_text(event, "version", "2026.1.%" PRId64, random_between(generator, 0, 9));
    generator_add_text(event, "state", "%s", well ? "ok" : "degraded");
    generator_add_decimal(event, "cpu_percent", random_between(generator, 5, 970), 1);
    generator_add_integer(event, "resident_bytes", random_between(generator, 20, 900) << 20);
    generator_add_integer(event, "queue_depth", random_between(generator, 0, well ? 12 : 4000));
    generator_add_integer(event, "uptime_s", event->time_ns / (1000 * MILLISECOND) % 864000);
    generator_add_integer(event, "open_files", random_between(generator, 14, 220));
    generator_add_decimal(event, "latency_p99_ms",
                          random_between(generator, 20, well ? 900 : 90000), 2);
    if (well)
        generator_add_null(event, "error");
    else
        generator_add_text(event, "error", "queue above its limit");
}

static void make_user_action(struct generator *generator, struct generator_event *event)
{
    uint64_t session = random_next(generator);
    generator_add_text(event, "user", "%s", PICK(generator, users));
    generator_add_text(event, "action", "%s", PICK(generator, actions));
    generator_add_text(event, "symbol", "%s", symbols[random_below(generator, SYMBOLS)].name);
    generator_add_text(event, "session_id", "%016" PRIx64, session);
    generator_add_text(event, "client", "desk-ui/4.%" PRId64 ".%" PRId64,
                       random_between(generator, 0, 9), random_between(generator, 0, 40));
    generator_add_text(event, "ip", "10.20.%" PRId64 ".%" PRId64, random_between(generator, 0, 3),
                       random_between(generator, 2, 250));
    generator_add_flag(event, "confirmed", random_below(generator, 8) != 0);
    generator_add_text(event, "note", "%s", PICK(generator, notes));
}

/* Mean 1, more often small than large: what a Poisson process looks like, without a logarithm. */
static double skewed(struct generator *generator)
{
    return 4.0 * random_real(generator) * random_real(generator);
}

/* Events that nothing causes are 698 of 1,000: the gaps between them are that much longer. */
#define EVENTS_PER_CAUSE 1.433

/*
 * Set the time of the next uncaused event. The mean gap follows from what is left of span and
 * count, so that the events fill the span whatever the bursts did so far.
 */
static void draw_gap(struct generator *generator)
{
    int64_t end_ns = generator->options.start_ns + generator->options.span_ns;
    double left_ns = (double)(end_ns - generator->next_ns);
    double left = (double)(generator->options.count - generator->made) + 1.0;
    double factor;

    if (generator->burst > 0) {
        generator->burst--;
        factor = 0.1;
    } else {
        /* One gap in twenty starts a burst of 10 to 60: the calm gaps must be longer for it. */
        if (random_below(generator, 20) == 0)
            generator->burst = (unsigned)random_between(generator, 10, 60);
        factor = 2.6;
    }
    double gap_ns = skewed(generator) * factor * EVENTS_PER_CAUSE * left_ns / left;
    generator->next_ns += gap_ns < left_ns ? (int64_t)gap_ns : end_ns - generator->next_ns;
}

static size_t first_follower(const struct generator *generator)
{
    size_t first = 0;
    for (size_t i = 1; i < generator->follower_count; i++)
        if (generator->followers[i].due_ns < generator->followers[first].due_ns)
            first = i;
    return first;
}

static void make_follower(struct generator *generator, struct generator_event *event, size_t index)
{
    struct follower follower = generator->followers[index];
    generator->followers[index] = generator->followers[--generator->follower_count];
    event->time_ns = follower.due_ns;
    event->topic = trading_topics[follower.topic];
    if (follower.topic == FIRE_COMMAND)
        make_fire_command(generator, event, &follower.chain);
    else if (follower.topic == TRADE_EXECUTED)
        make_trade(generator, event, &follower.chain);
    else
        make_balance(generator, event, &follower.chain);
}

static void make_trading(struct generator *generator, struct generator_event *event)
{
    if (generator->follower_count > 0) {
        size_t first = first_follower(generator);
        if (generator->followers[first].due_ns <= generator->next_ns) {
            make_follower(generator, event, first);
            return;
        }
    }
    /* Shares of the zipf distribution (s = 1, 7 topics) among the four that nothing causes. */
    double draw = random_real(generator);
    event->time_ns = generator->next_ns;
    if (draw < 0.5526) {
        event->topic = trading_topics[MARKET_DATA];
        make_market_data(generator, event);
    } else if (draw < 0.8289) {
        event->topic = trading_topics[SIGNAL_GENERATED];
        make_signal(generator, event);
    } else if (draw < 0.9210) {
        event->topic = trading_topics[SYSTEM_HEALTH];
        make_health(generator, event);
    } else {
        event->topic = trading_topics[USER_ACTION];
        make_user_action(generator, event);
    }
    draw_gap(generator);
}

static const char *pick_flat_topic(struct generator *generator)
{
    static const double below[] = {0.36793, 0.55189, 0.67454, 0.76652,
                                   0.84010, 0.90142, 0.95398, 1.0};
    double draw = random_real(generator);
    size_t topic = 0;
    while (draw >= below[topic])
        topic++;
    return flat_topics[topic];
}

static void make_flat(struct generator *generator, struct generator_event *event)
{
    unsigned symbol = (unsigned)random_below(generator, SYMBOLS);
    unsigned decimals = symbols[symbol].decimals;
    int64_t price = walk_price(generator, symbol);
    int64_t risk = symbols[symbol].step * random_between(generator, 8, 30);
    bool buy = random_below(generator, 2) == 0;

    event->topic = pick_flat_topic(generator);
    event->time_ns = generator->options.start_ns +
                     (int64_t)((double)generator->options.span_ns * (double)generator->made /
                               (double)generator->options.count);
    generator_add_text(event, "signal_id", "%012" PRIx64, random_next(generator) >> 16);
    generator_add_text(event, "symbol", "%s", symbols[symbol].name);
    generator_add_text(event, "direction", "%s", buy ? "long" : "short");
    generator_add_decimal(event, "confidence", random_between(generator, 5001, 9999), 4);
    generator_add_text(event, "pattern_type", "%s", PICK(generator, flat_patterns));
    generator_add_text(event, "timeframe", "%s", PICK(generator, frames));
    generator_add_decimal(event, "entry_price", price, decimals);
    generator_add_decimal(event, "stop_loss", price + (buy ? -risk : risk), decimals);
    generator_add_decimal(event, "take_profit", price + (buy ? 2 * risk : -2 * risk), decimals);
    generator_add_text(event, "strategy", "desk%02" PRId64, random_between(generator, 0, 19));
}

enum error_code generator_create(const struct generator_options *options,
                                 struct generator **generator_out, struct error *error)
{
    if (options->span_ns <= 0 || options->start_ns > INT64_MAX - options->span_ns)
        return error_set(error, ERROR_INVALID,
                         "the events' span must be positive and end before the year 2262");
    struct generator *generator = calloc(1, sizeof *generator);
    if (!generator)
        return error_set(error, ERROR_MEMORY, "no memory for the event generator");
    generator->options = *options;
    generator->random = options->seed;
    generator->chains = options->signals;
    generator->next_ns = options->start_ns;
    generator->balance = 25000000;
    for (unsigned i = 0; i < SYMBOLS; i++)
        generator->prices[i] = symbols[i].price;
    *generator_out = generator;
    return OK;
}

bool generator_next(struct generator *generator, struct generator_event *event_out)
{
    if (generator->made == generator->options.count)
        return false;
    event_out->field_count = 0;
    if (generator->options.mode == GENERATOR_FLAT)
        make_flat(generator, event_out);
    else
        make_trading(generator, event_out);
    generator->made++;

    int64_t end_ns = generator->options.start_ns + generator->options.span_ns;
    if (event_out->time_ns > end_ns)
        event_out->time_ns = end_ns; /* A consequence that falls behind the end. */
    return true;
}

void generator_free(struct generator *generator)
{
    free(generator);
}
