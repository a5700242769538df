/*
 * Faults of the machine below a node, put between the node and the C library with LD_PRELOAD:
 *
 *   AGON_FAULT_CLOCK_MS   the wall clock is off by so many milliseconds (the monotonic clock is not)
 *   AGON_FAULT_FULL_DIR   with AGON_FAULT_FULL_WHEN: while the file that the latter names exists, nothing can be written to
 *   AGON_FAULT_FULL_WHEN  files below the folder that the former names, as on a disk without room
 *
 * Linux only. System calls are made directly, so that nothing here depends on which functions of the library call which.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

/* -- the wall clock ------------------------------------------------------------------------------------------------- */

static long long clock_offset_ms(void) {
    const char *text = getenv("AGON_FAULT_CLOCK_MS");
    return text ? atoll(text) : 0;
}

int clock_gettime(clockid_t clock, struct timespec *out) {
    if (syscall(SYS_clock_gettime, clock, out) != 0) {
        return -1;
    }
    if (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE) {
        long long nanoseconds = (long long)out->tv_nsec + (clock_offset_ms() % 1000) * 1000000LL;
        long long seconds = (long long)out->tv_sec + clock_offset_ms() / 1000;
        if (nanoseconds < 0) {
            nanoseconds += 1000000000LL;
            seconds -= 1;
        } else if (nanoseconds >= 1000000000LL) {
            nanoseconds -= 1000000000LL;
            seconds += 1;
        }
        out->tv_sec = (time_t)seconds;
        out->tv_nsec = (long)nanoseconds;
    }
    return 0;
}

int gettimeofday(struct timeval *restrict out, void *restrict zone) {
    struct timespec now;
    (void)zone;
    if (clock_gettime(CLOCK_REALTIME, &now) != 0) {
        return -1;
    }
    out->tv_sec = now.tv_sec;
    out->tv_usec = now.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *out) {
    struct timespec now;
    if (clock_gettime(CLOCK_REALTIME, &now) != 0) {
        return (time_t)-1;
    }
    if (out) {
        *out = now.tv_sec;
    }
    return now.tv_sec;
}

/* -- a disk without room -------------------------------------------------------------------------------------------- */

/* Whether the disk is full and the open file is on it. Keeps errno. */
static int is_full(int file) {
    const char *folder = getenv("AGON_FAULT_FULL_DIR");
    const char *trigger = getenv("AGON_FAULT_FULL_WHEN");
    int saved = errno, full = 0;
    if (folder && trigger && syscall(SYS_faccessat, AT_FDCWD, trigger, F_OK) == 0) {
        char link[64], path[PATH_MAX];
        snprintf(link, sizeof link, "/proc/self/fd/%d", file);
        ssize_t length = readlink(link, path, sizeof path - 1);
        if (length > 0) {
            size_t prefix = strlen(folder);
            path[length] = 0;
            full = strncmp(path, folder, prefix) == 0 && path[prefix] == '/';
        }
    }
    errno = saved;
    return full;
}

#define FAIL_IF_FULL(file)      \
    do {                        \
        if (is_full(file)) {    \
            errno = ENOSPC;     \
            return -1;          \
        }                       \
    } while (0)

ssize_t write(int file, const void *bytes, size_t count) {
    FAIL_IF_FULL(file);
    return syscall(SYS_write, file, bytes, count);
}

ssize_t writev(int file, const struct iovec *pieces, int count) {
    FAIL_IF_FULL(file);
    return syscall(SYS_writev, file, pieces, count);
}

ssize_t pwrite64(int file, const void *bytes, size_t count, off64_t offset) {
    FAIL_IF_FULL(file);
    return syscall(SYS_pwrite64, file, bytes, count, offset);
}

ssize_t pwrite(int file, const void *bytes, size_t count, off_t offset) {
    return pwrite64(file, bytes, count, offset);
}

int fsync(int file) {
    FAIL_IF_FULL(file);
    return (int)syscall(SYS_fsync, file);
}

int fdatasync(int file) {
    FAIL_IF_FULL(file);
    return (int)syscall(SYS_fdatasync, file);
}

int fallocate64(int file, int mode, off64_t offset, off64_t length) {
    FAIL_IF_FULL(file);
    return (int)syscall(SYS_fallocate, file, mode, offset, length);
}

int fallocate(int file, int mode, off_t offset, off_t length) {
    return fallocate64(file, mode, offset, length);
}

/* Shrinking a file needs no room, growing one does not either before its holes are written: the writes fail. */
