/*
 * tools/daybook/digest.h - SHA-256 over bytes that come in pieces.
 *
 * Nettle's: it uses the processor's instructions for it.
 */
#ifndef DAYBOOK_TOOLS_DAYBOOK_DIGEST_H
#define DAYBOOK_TOOLS_DAYBOOK_DIGEST_H

#include <nettle/sha2.h>
#include <stddef.h>

#define DIGEST_TEXT_SIZE (2 * SHA256_DIGEST_SIZE + 1)

struct digest {
    struct sha256_ctx state;
};

void digest_init(struct digest *digest);
void digest_add(struct digest *digest, const void *data, size_t size);
/* Of what came so far, in hexadecimal; more may be added behind it. */
void digest_text(const struct digest *digest, char text_out[DIGEST_TEXT_SIZE]);

#endif
