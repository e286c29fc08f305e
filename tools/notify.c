#include "tools/notify.h"

#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "core/file.h"

enum { NOTIFY_TEXT_MAX = 512 };

/* A path, or '@' and a name that is in no file system. 0: neither. */
static socklen_t address_of(const char *name, struct sockaddr_un *address_out)
{
    size_t bytes = strlen(name);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if ((name[0] != '/' && name[0] != '@') || bytes < 2 || bytes >= sizeof address.sun_path)
        return 0;
    memcpy(address.sun_path, name, bytes);
    if (name[0] == '@')
        address.sun_path[0] = '\0';
    *address_out = address;
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + bytes);
}

static int connect_to(const char *name)
{
    struct sockaddr_un address;
    socklen_t bytes = address_of(name, &address);
    if (bytes == 0)
        return -1;
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&address, bytes))
        file_close(&fd);
    return fd;
}

/* $WATCHDOG_PID, when it is there, says whom the manager watches. */
static int64_t read_watchdog(void)
{
    const char *usec = getenv("WATCHDOG_USEC");
    const char *pid = getenv("WATCHDOG_PID");
    if (!usec || (pid && strtol(pid, NULL, 10) != getpid()))
        return 0;
    char *end;
    errno = 0;
    long long value = strtoll(usec, &end, 10);
    return errno || *end || value <= 0 || value > INT64_MAX / 1000 ? 0 : value * 1000;
}

void notify_init(struct notify *notify)
{
    const char *name = getenv("NOTIFY_SOCKET");
    *notify = (struct notify){.fd = name ? connect_to(name) : -1};
    if (notify->fd >= 0)
        notify->watchdog_ns = read_watchdog();
    unsetenv("NOTIFY_SOCKET");
    unsetenv("WATCHDOG_USEC");
    unsetenv("WATCHDOG_PID");
}

bool notify_is_due(struct notify *notify, int64_t now_ns)
{
    if (!notify || notify->fd < 0 || now_ns < notify->due_ns)
        return false;
    int64_t pause_ns = INT64_C(10000000000);
    if (notify->watchdog_ns > 0 && notify->watchdog_ns / 4 < pause_ns)
        pause_ns = notify->watchdog_ns / 4;
    notify->due_ns = now_ns + pause_ns;
    return true;
}

void notify_send(const struct notify *notify, const char *format, ...)
{
    if (!notify || notify->fd < 0)
        return;
    char text[NOTIFY_TEXT_MAX];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (length <= 0)
        return;
    size_t bytes = (size_t)length < sizeof text ? (size_t)length : sizeof text - 1;
    /* A manager that does not read for long, or has gone, is no reason to stop. */
    (void)!send(notify->fd, text, bytes, MSG_NOSIGNAL);
}

void notify_release(struct notify *notify)
{
    file_close(&notify->fd);
}
