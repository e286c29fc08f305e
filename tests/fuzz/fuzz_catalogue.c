/*
 * fuzz_catalogue.c - the catalogue of schemas holds any bytes at all.
 *
 * What is accepted makes sense and is what would be written; what is not is refused with a reason.
 * If the first byte is '+', the rest gets a checksum that fits: else nothing would come past that.
 */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "core/checksum.h"
#include "segment/schemas_catalogue.h"
#include "segment/schemas_presence.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_input(const uint8_t *data, size_t size, struct buffer *text)
{
    enum error_code code;
    if (size > 0 && *data == '+') {
        code = buffer_append(text, data + 1, size - 1, NULL);
        assert(code == OK);
        code = buffer_printf(text, NULL, "checksum %08x\n",
                             checksum_extend(0, text->data, text->size));
    } else {
        code = buffer_append(text, data, size, NULL);
    }
    assert(code == OK);
}

static void expect_sense(const struct segment_schemas *schemas)
{
    char name[SCHEMAS_FILE_NAME_MAX + 1];
    struct error error = {0};
    for (size_t i = 0; i < schemas->count; i++) {
        const struct segment_schemas_change *change = &schemas->changes[i];
        assert(event_check_topic(change->topic, strlen(change->topic), NULL) == OK);
        assert(change->version >= 1 && change->text_bytes <= SCHEMAS_TEXT_BYTES_MAX);
        assert(change->since > change->after || (change->since == 0 && i + 1 == schemas->count));
        if (!segment_schemas_file_name(change->topic, change->version, name, &error))
            assert(!strchr(name, '/') && name[0] != '.');
        else
            assert(error.text[0]);
    }
    struct segment_schemas_presence presence = {0};
    assert(segment_schemas_presence_init(schemas, &presence, &error) == OK);
    for (size_t i = 0; i < presence.count; i++) {
        const char *topic = presence.list[i]->topic;
        assert(presence.list[i]->action == SCHEMAS_ADD && presence.list[i]->since > 0);
        assert(presence.list[i] == segment_schemas_present(schemas, topic, strlen(topic)));
        assert(presence.list[i] == segment_schemas_presence_find(&presence, topic));
    }
    segment_schemas_presence_release(&presence);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buffer text = {0}, again = {0};
    struct segment_schemas schemas = {0};
    struct error error = {0};
    read_input(data, size, &text);
    size_t bytes = text.size;
    enum error_code code = segment_schemas_decode(&text, &schemas, &error);
    if (code) {
        assert((code == ERROR_DAMAGED || code == ERROR_VERSION) && error.text[0]);
        assert(!schemas.changes);
    } else {
        expect_sense(&schemas);
        code = segment_schemas_encode(&schemas, &again, &error);
        assert(code == OK && again.size == bytes && memcmp(again.data, text.data, bytes) == 0);
    }
    segment_schemas_free(&schemas);
    buffer_release(&again);
    buffer_release(&text);
    return 0;
}
