#include "tools/daybook/digest.h"

void digest_init(struct digest *digest)
{
    sha256_init(&digest->state);
}

void digest_add(struct digest *digest, const void *data, size_t size)
{
    sha256_update(&digest->state, size, data);
}

void digest_text(const struct digest *digest, char text_out[DIGEST_TEXT_SIZE])
{
    static const char digits[] = "0123456789abcdef";
    struct sha256_ctx copy = digest->state;
    uint8_t bytes[SHA256_DIGEST_SIZE];
    sha256_digest(&copy, sizeof bytes, bytes);
    for (size_t i = 0; i < sizeof bytes; i++) {
        text_out[2 * i] = digits[bytes[i] >> 4];
        text_out[2 * i + 1] = digits[bytes[i] & 15];
    }
    text_out[DIGEST_TEXT_SIZE - 1] = '\0';
}
