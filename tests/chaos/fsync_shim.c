/* Loaded with LD_PRELOAD: a disk that fails to flush, or takes its time, while the file named by the
 * environment variable FSYNC_FAULT exists. The file says `fail` (EIO) or `slow` (2 s). */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

typedef int (*flush_function)(int);

static char fault(void)
{
    const char *path = getenv("FSYNC_FAULT");
    int control = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    char first = 0;

    if (control < 0)
        return 0;
    if (read(control, &first, 1) != 1)
        first = 0;
    close(control);
    return first;
}

static int flush(const char *name, int file)
{
    char found = fault();

    if (found == 'f') {
        errno = EIO;
        return -1;
    }
    if (found == 's')
        sleep(2);
    return ((flush_function)dlsym(RTLD_NEXT, name))(file);
}

int fsync(int file)
{
    return flush("fsync", file);
}

int fdatasync(int file)
{
    return flush("fdatasync", file);
}
