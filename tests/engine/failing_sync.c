/* Makes fsync and fdatasync fail with EIO while the file named by SYNC_FAILS_WHILE exists. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

static int synchronise(const char *name, int file)
{
    const char *path = getenv("SYNC_FAILS_WHILE");
    int (*really)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);

    if (path && access(path, F_OK) == 0) {
        errno = EIO;
        return -1;
    }
    return really(file);
}

int fsync(int file) { return synchronise("fsync", file); }

int fdatasync(int file) { return synchronise("fdatasync", file); }
