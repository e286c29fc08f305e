#include "tools/daybook/bench_machine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

/* "model name : …" on x86; other processors do not tell. */
static void find_processor(char *name_out, size_t size)
{
    char line[256];
    snprintf(name_out, size, "unknown");
    FILE *file = fopen("/proc/cpuinfo", "re");
    if (!file)
        return;
    while (fgets(line, sizeof line, file)) {
        char *value = strchr(line, ':');
        if (strncmp(line, "model name", 10) != 0 || !value || strlen(value) < 3)
            continue;
        value[strcspn(value, "\n")] = '\0';
        snprintf(name_out, size, "%s", value + 2);
        break;
    }
    fclose(file);
}

void bench_machine_describe(struct bench_machine *machine_out)
{
    struct utsname name;
    *machine_out = (struct bench_machine){.kernel = "unknown"};
    find_processor(machine_out->processor, sizeof machine_out->processor);
    machine_out->processors = sysconf(_SC_NPROCESSORS_ONLN);
    long pages = sysconf(_SC_PHYS_PAGES);
    if (pages > 0)
        machine_out->memory_bytes = (uint64_t)pages * (uint64_t)sysconf(_SC_PAGESIZE);
    if (getloadavg(&machine_out->load, 1) < 1)
        machine_out->load = 0;
    if (uname(&name) == 0)
        snprintf(machine_out->kernel, sizeof machine_out->kernel, "%.64s %.64s", name.sysname,
                 name.release);
}
