/*
 * fuzz_path.c - any text at all is read as a path, and looked for in any bytes at all.
 *
 * The first byte says how long the text is; the payload follows it. A path that is accepted has a
 * canonical text, which means the same and is its own; what is found lies within the payload. In
 * sound msgpack a path of keys finds what msgpack_find finds, key by key, and exactly one value.
 */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "core/msgpack_path.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void expect_canonical(const struct msgpack_path *path)
{
    char once[MSGPACK_PATH_BYTES_MAX + 1], twice[MSGPACK_PATH_BYTES_MAX + 1];
    struct msgpack_path again;
    if (msgpack_path_text(path, once, NULL))
        return; /* too long when it is quoted */
    assert(msgpack_path_parse(once, strlen(once), &again, NULL) == OK);
    assert(memcmp(path, &again, sizeof again) == 0);
    assert(msgpack_path_text(&again, twice, NULL) == OK && strcmp(once, twice) == 0);
}

/* By the other implementation, which knows keys only. */
static enum error_code find_by_keys(const struct msgpack_path *path, const uint8_t *payload,
                                    size_t bytes, struct msgpack_cursor *found)
{
    *found = (struct msgpack_cursor){payload, payload + bytes};
    for (uint32_t i = 0; i < path->step_count; i++) {
        char key[MSGPACK_PATH_BYTES_MAX + 1] = "";
        const struct msgpack_path_step *step = &path->steps[i];
        memcpy(key, path->keys + step->key_offset, step->key_bytes);
        enum error_code code = msgpack_find(found, key, found, NULL);
        if (code)
            return code;
    }
    return OK;
}

static bool has_only_keys(const struct msgpack_path *path)
{
    for (uint32_t i = 0; i < path->step_count; i++)
        if (path->steps[i].kind != MSGPACK_PATH_KEY)
            return false;
    return true;
}

static void look_for(const struct msgpack_path *path, const uint8_t *payload, size_t bytes)
{
    struct msgpack_cursor found, expected;
    bool sound = msgpack_check(payload, bytes, MSGPACK_DEPTH_LIMIT, NULL) == OK;
    enum error_code code = msgpack_path_find(path, payload, bytes, &found);
    assert(code == OK || code == ERROR_NOT_FOUND || code == ERROR_INVALID);
    assert(!sound || code != ERROR_INVALID);
    if (code == OK) {
        assert(found.at >= payload && found.at < found.end && found.end <= payload + bytes);
        assert(!sound || msgpack_check(found.at, (size_t)(found.end - found.at),
                                       MSGPACK_DEPTH_LIMIT, NULL) == OK);
    }
    if (!sound || !has_only_keys(path))
        return;
    assert(find_by_keys(path, payload, bytes, &expected) == code);
    assert(code != OK || (found.at == expected.at && found.end == expected.end));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct msgpack_path path;
    size_t text_bytes = size > 0 ? data[0] : 0;
    if (size < 1 + text_bytes)
        return 0;
    if (msgpack_path_parse((const char *)data + 1, text_bytes, &path, NULL))
        return 0;
    expect_canonical(&path);
    look_for(&path, data + 1 + text_bytes, size - 1 - text_bytes);
    return 0;
}
