/* Loaded before libfaketime 0.9.10, whose clock_nanosleep() answers EINVAL to a process with its own monotonic clock. */
#define _GNU_SOURCE
#include <errno.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int clock_nanosleep(clockid_t clock, int flags, const struct timespec *until, struct timespec *left)
{
    int before = errno, answer = syscall(SYS_clock_nanosleep, clock, flags, until, left) == 0 ? 0 : errno;
    errno = before;
    return answer;
}
