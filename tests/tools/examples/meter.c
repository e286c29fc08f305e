/*
 * meter.c - publish a reading, then handle all from where the last run of this program stopped.
 *
 *     cc meter.c $(pkg-config --cflags --libs libdaybook) -o meter && ./meter
 */
#include <daybook.h>
#include <stdio.h>
#include <stdlib.h>

static struct daybook_error error;

static int publish(void)
{
    struct daybook *daybook;
    struct daybook_options options = {.producer = "meter-7"}; /* named: none lost, none twice */
    if (daybook_connect(&options, &daybook, &error))
        return 1;
    int failed = daybook_publish_json(daybook, "meter.reading", DAYBOOK_TIME_NONE,
                                      "{\"kWh\":3.2}", NULL, &error);
    daybook_close(daybook);
    return failed;
}

static int handle(const struct daybook_event *event)
{
    char *json;
    if (daybook_payload_json(event->payload, event->payload_bytes, &json, &error))
        return 1;
    printf("%llu %s\n", (unsigned long long)event->sequence, json);
    free(json);
    return 0;
}

static int follow(struct daybook_subscription *subscription)
{
    struct daybook_event event;
    for (;;)
        switch (daybook_subscription_next(subscription, -1, &event, &error)) {
        case DAYBOOK_OK:
            if (handle(&event) ||
                daybook_subscription_commit(subscription, event.sequence, &error))
                return 1;
            break;
        case DAYBOOK_LOST: /* retention was faster */
            fprintf(stderr, "%s\n", error.text);
            break;
        case DAYBOOK_CAUGHT_UP: /* a service goes on waiting here */
            return daybook_subscription_flush(subscription, &error);
        default:
            return 1;
        }
}

int main(void)
{
    const char *topics[] = {"meter.*", NULL};
    struct daybook_subscription_options options = {.cursor = "billing", .topics = topics};
    struct daybook_subscription *subscription;
    if (publish() || daybook_subscribe(&options, &subscription, &error) || follow(subscription)) {
        fprintf(stderr, "%s\n", error.text);
        return 1;
    }
    daybook_subscription_close(subscription);
    return 0;
}
