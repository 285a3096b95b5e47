/* Preloaded: counts in the file $SYNCS what a process asks the kernel to write out. Each call still reaches it. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

static unsigned long *counts; /* fdatasync, fsync */

__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv("SYNCS");
    int file = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    void *map = file < 0 ? MAP_FAILED : mmap(NULL, 16, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (file >= 0)
        close(file);
    counts = map == MAP_FAILED ? NULL : map;
}

static int forward(const char *name, int which, int file)
{
    int (*call)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
    if (counts)
        __sync_fetch_and_add(&counts[which], 1);
    return call(file);
}

int fdatasync(int file) { return forward("fdatasync", 0, file); }
int fsync(int file) { return forward("fsync", 1, file); }
