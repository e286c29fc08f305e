#include "tools/daybook/certificate.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "core/json.h"
#include "core/units.h"

/* Recorded time over the time that it took up to the last event, without pauses. */
static double achieved_rate(const struct replay_player *player)
{
    return player->active_ns > 0 ? (double)player->pace.span_ns / (double)player->active_ns : 0;
}

static uint64_t dropped(const struct replay_target_counts *counts)
{
    return counts->too_large + counts->no_room;
}

uint64_t certificate_missing(const struct certificate *certificate)
{
    const struct replay_target_counts *counts = certificate->counts;
    return dropped(counts) + counts->unreachable + counts->refused + counts->undelivered;
}

static void print_rate(const struct replay_player *player)
{
    if (player->pace.rate > 0) {
        fprintf(stderr, "rate %g asked, %.4g achieved\n", player->pace.rate, achieved_rate(player));
        return;
    }
    double seconds = (double)player->active_ns / 1e9;
    double speed = seconds > 0 ? (double)player->pace.events / seconds : 0;
    char text[UNITS_TEXT_SIZE + 8];
    units_format_count((uint64_t)(speed + 0.5), text);
    fprintf(stderr, "rate max, %s events/s\n", text);
}

static void print_timing(const struct pace *pace)
{
    char half[UNITS_TEXT_SIZE], most[UNITS_TEXT_SIZE], all[UNITS_TEXT_SIZE];
    units_format_duration(pace_percentile(pace, 50), half);
    units_format_duration(pace_percentile(pace, 99), most);
    units_format_duration(pace->error_max_ns, all);
    fprintf(stderr,
            "timing error p50 %s, p99 %s, max %s; %" PRIu64 " of %" PRIu64 " more than 1 ms off\n",
            half, most, all, pace->late, pace->measured);
}

/* "3 events", "1 event", with what follows. */
static void print_count(uint64_t count, const char *noun, const char *rest)
{
    char text[UNITS_TEXT_SIZE + 8];
    units_format_count(count, text);
    fprintf(stderr, "%s %s%s%s", text, noun, count == 1 ? "" : "s", rest);
}

static void print_user(const struct replay_player *player)
{
    if (player->pauses == 0 && player->seeks == 0)
        return;
    char paused[UNITS_TEXT_SIZE];
    units_format_duration(player->paused_ns, paused);
    print_count(player->pauses, "pause", " of ");
    fprintf(stderr, "%s in all, ", paused);
    print_count(player->steps, "event", " stepped, ");
    print_count(player->seeks, "seek", "\n");
}

static void print_clock(const struct pace *pace)
{
    if (pace->gaps_shortened) {
        char text[UNITS_TEXT_SIZE];
        units_format_duration(pace->shortened_ns, text);
        print_count(pace->gaps_shortened, "gap", " shortened, by ");
        fprintf(stderr, "%s in all\n", text);
    }
    if (pace->backward)
        print_count(pace->backward, "event", " left at once because their time goes back\n");
}

static void print_missing(const struct certificate *certificate)
{
    const struct replay_target_counts *counts = certificate->counts;
    if (counts->too_large)
        print_count(counts->too_large, "event", " dropped: too large for a datagram\n");
    if (counts->no_room)
        print_count(counts->no_room, "event", " dropped: nobody took them in time\n");
    if (counts->unreachable)
        print_count(counts->unreachable, "datagram", " or more came to where nobody listens\n");
    if (counts->refused)
        print_count(counts->refused, "event", " refused by the daemon\n");
}

void certificate_print(const struct certificate *certificate)
{
    const struct replay_player *player = certificate->player;
    const struct pace *pace = &player->pace;
    char span[UNITS_TEXT_SIZE], took[UNITS_TEXT_SIZE], digest[DIGEST_TEXT_SIZE];
    units_format_duration(pace->span_ns, span);
    units_format_duration(player->took_ns, took);
    fputs("replayed ", stderr);
    print_count(pace->events, "event", " spanning ");
    fprintf(stderr, "%s in %s%s: ", span, took, player->interrupted ? ", interrupted" : "");
    print_rate(player);
    if (pace->measured)
        print_timing(pace);
    print_user(player);
    print_clock(pace);
    print_missing(certificate);
    digest_text(&player->digest, digest);
    fprintf(stderr, "sha256 %s\n", digest);
}

static enum error_code append_timing(const struct pace *pace, struct buffer *out,
                                     struct error *error)
{
    return buffer_printf(out, error,
                         ",\"measured\":%" PRIu64 ",\"error_p50_ns\":%" PRId64
                         ",\"error_p99_ns\":%" PRId64 ",\"error_max_ns\":%" PRId64
                         ",\"late\":%" PRIu64 ",\"early\":%" PRIu64 ",\"backward\":%" PRIu64
                         ",\"gaps_shortened\":%" PRIu64 ",\"shortened_ns\":%" PRId64,
                         pace->measured, pace_percentile(pace, 50), pace_percentile(pace, 99),
                         pace->error_max_ns, pace->late, pace->early, pace->backward,
                         pace->gaps_shortened, pace->shortened_ns);
}

static enum error_code append_rate(const struct replay_player *player, struct buffer *out,
                                   struct error *error)
{
    enum error_code code = buffer_printf(out, error, ",\"rate_asked\":");
    if (!code && player->pace.rate > 0)
        code = buffer_printf(out, error, "%.17g", player->pace.rate);
    else if (!code)
        code = buffer_printf(out, error, "\"max\"");
    if (!code)
        code = buffer_printf(out, error, ",\"rate_achieved\":%.17g", achieved_rate(player));
    return code;
}

static enum error_code append_user(const struct replay_player *player, struct buffer *out,
                                   struct error *error)
{
    return buffer_printf(out, error,
                         ",\"pauses\":%" PRIu64 ",\"paused_ns\":%" PRId64 ",\"steps\":%" PRIu64
                         ",\"seeks\":%" PRIu64 ",\"interrupted\":%s",
                         player->pauses, player->paused_ns, player->steps, player->seeks,
                         player->interrupted ? "true" : "false");
}

static enum error_code append_missing(const struct replay_target_counts *counts, struct buffer *out,
                                      struct error *error)
{
    return buffer_printf(out, error,
                         ",\"dropped\":%" PRIu64 ",\"too_large\":%" PRIu64 ",\"no_room\":%" PRIu64
                         ",\"unreachable\":%" PRIu64 ",\"refused\":%" PRIu64 ",\"delivered\":%s",
                         dropped(counts), counts->too_large, counts->no_room, counts->unreachable,
                         counts->refused, counts->undelivered ? "false" : "true");
}

static enum error_code append_what(const struct certificate *certificate, struct buffer *out,
                                   struct error *error)
{
    const struct replay_player *player = certificate->player;
    const char *to = certificate->to ? certificate->to : "stdout";
    enum error_code code = buffer_printf(out, error, "{\"to\":");
    if (!code)
        code = json_append_string(out, to, strlen(to), error);
    if (!code)
        code = buffer_printf(out, error,
                             ",\"events\":%" PRIu64 ",\"first_seq\":%" PRIu64
                             ",\"last_seq\":%" PRIu64 ",\"rounds\":%" PRIu64
                             ",\"merge_window_ns\":%" PRId64 ",\"span_ns\":%" PRId64
                             ",\"took_ns\":%" PRId64 ",\"active_ns\":%" PRId64,
                             player->pace.events, player->sequence_first, player->sequence_last,
                             player->rounds, certificate->merge_window_ns, player->pace.span_ns,
                             player->took_ns, player->active_ns);
    return code;
}

static enum error_code append_all(const struct certificate *certificate, struct buffer *out,
                                  struct error *error)
{
    const struct replay_player *player = certificate->player;
    char digest[DIGEST_TEXT_SIZE];
    digest_text(&player->digest, digest);
    enum error_code code = append_what(certificate, out, error);
    if (!code)
        code = append_rate(player, out, error);
    if (!code)
        code = append_timing(&player->pace, out, error);
    if (!code)
        code = append_missing(certificate->counts, out, error);
    if (!code)
        code = append_user(player, out, error);
    return code ? code : buffer_printf(out, error, ",\"sha256\":\"%s\"}\n", digest);
}

enum error_code certificate_write(const struct certificate *certificate, const char *path,
                                  struct error *error)
{
    struct buffer out = {0};
    enum error_code code = append_all(certificate, &out, error);
    FILE *file = code ? NULL : fopen(path, "we");
    if (file) {
        size_t written = fwrite(out.data, 1, out.size, file);
        if (fclose(file) || written != out.size)
            code = error_set_errno(error, errno, "write report '%s'", path);
    } else if (!code) {
        code = error_set_errno(error, errno, "write report '%s'", path);
    }
    buffer_release(&out);
    return code;
}
