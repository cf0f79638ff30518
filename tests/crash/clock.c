/* The date as a file tells it; all clocks that only count are left alone.
 *
 * $METERD_CLOCK names 16 bytes: how far the date is off, in nanoseconds, and whether a time source
 * holds it (1: synced, 0: not). Both may change at any time.
 *
 * cc -shared -fPIC -O2 -Wall -Wextra -o clock.so clock.c -ldl
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timex.h>
#include <time.h>
#include <unistd.h>

#define SECOND_NS 1000000000LL

static const volatile int64_t *told;

__attribute__((constructor)) static void look(void)
{
	const char *path = getenv("METERD_CLOCK");
	int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	void *seen;

	if (file < 0)
		return;
	seen = mmap(NULL, 16, PROT_READ, MAP_SHARED, file, 0);
	close(file);
	if (seen != MAP_FAILED)
		told = seen;
}

static int64_t now_ns(void)
{
	struct timespec real;

	syscall(SYS_clock_gettime, CLOCK_REALTIME, &real);
	return real.tv_sec * SECOND_NS + real.tv_nsec + (told ? told[0] : 0);
}

int clock_gettime(clockid_t clock, struct timespec *now)
{
	if (clock != CLOCK_REALTIME && clock != CLOCK_REALTIME_COARSE)
		return (int)syscall(SYS_clock_gettime, clock, now);
	int64_t ns = now_ns();
	now->tv_sec = ns / SECOND_NS;
	now->tv_nsec = ns % SECOND_NS;
	return 0;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone)
{
	int64_t ns = now_ns();

	(void)zone;
	now->tv_sec = ns / SECOND_NS;
	now->tv_usec = ns % SECOND_NS / 1000;
	return 0;
}

time_t time(time_t *now)
{
	time_t seconds = now_ns() / SECOND_NS;

	if (now)
		*now = seconds;
	return seconds;
}

int adjtimex(struct timex *asked)
{
	memset(asked, 0, sizeof *asked);
	return told && told[1] ? TIME_OK : TIME_ERROR;
}
