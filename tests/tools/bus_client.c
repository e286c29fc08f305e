/*
 * A subscriber for test_bus_kill.py, written with the C library.
 *
 *     bus_client SOCKET CURSOR STOP
 *
 * Writes a line `SEQUENCE TOPIC PAYLOAD` an event, and commits now and then. When the file STOP
 * names a sequence, and everything up to there was given and its commit is durable, it ends with 0.
 * What the library does not get over by itself ends it with 1.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "tools/client/daybook.h"

enum { COMMIT_EVERY = 7, LOOK_MS = 50, PATIENCE_MS = 200000 };

/* 0: not yet. */
static uint64_t last_wanted(const char *path)
{
    uint64_t last = 0;
    FILE *file = fopen(path, "r");
    if (!file)
        return 0;
    if (fscanf(file, "%" SCNu64, &last) != 1)
        last = 0;
    fclose(file);
    return last;
}

static enum daybook_code write_down(struct daybook_subscription *subscription,
                                    const struct daybook_event *event, struct daybook_error *error)
{
    static unsigned count;
    char *json;
    enum daybook_code code =
        daybook_payload_json(event->payload, event->payload_bytes, &json, error);
    if (code)
        return code;
    printf("%" PRIu64 " %.*s %s\n", event->sequence, (int)event->topic_bytes, event->topic, json);
    free(json);
    if (++count % COMMIT_EVERY)
        return DAYBOOK_OK;
    return daybook_subscription_commit(subscription, event->sequence, error);
}

static enum daybook_code run(struct daybook_subscription *subscription, const char *stop,
                             struct daybook_error *error)
{
    struct daybook_event event;
    enum daybook_code code = DAYBOOK_OK;
    while (!code) {
        code = daybook_subscription_next(subscription, LOOK_MS, &event, error);
        if (code == DAYBOOK_OK)
            code = write_down(subscription, &event, error);
        else if (code == DAYBOOK_CAUGHT_UP)
            code = DAYBOOK_OK;
        if (code != DAYBOOK_END)
            continue;
        code = DAYBOOK_OK; /* none has come for a while */
        uint64_t last = last_wanted(stop);
        if (last && daybook_subscription_position(subscription) >= last)
            break;
    }
    if (!code)
        code = daybook_subscription_commit(
            subscription, daybook_subscription_position(subscription), error);
    return code ? code : daybook_subscription_flush(subscription, error);
}

int main(int argc, char **argv)
{
    struct daybook_subscription *subscription;
    struct daybook_error error;
    if (argc != 4)
        return 2;
    struct daybook_subscription_options options = {
        .socket = argv[1], .cursor = argv[2], .retry_timeout_ms = PATIENCE_MS};
    enum daybook_code code;
    do /* the first attempt is the program's to repeat */
        code = daybook_subscribe(&options, &subscription, &error);
    while (code == DAYBOOK_UNREACHABLE);
    if (!code) {
        code = run(subscription, argv[3], &error);
        daybook_subscription_close(subscription);
    }
    if (code)
        fprintf(stderr, "%s\n", error.text);
    return code || fflush(stdout) ? 1 : 0;
}
