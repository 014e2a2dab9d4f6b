/*
 * An oscillator for one User-mode Linux.
 *
 * Loaded before the C library (LD_PRELOAD), it answers for clock_gettime and gettimeofday: the
 * host's clock with a frequency error that wanders and an offset of its own. User-mode Linux takes
 * its time from nowhere else, so its kernel runs on this oscillator and may steer its own clock
 * without the host knowing.
 *
 *   OSC_BASE_NS    CLOCK_MONOTONIC of the host when all oscillators began
 *   OSC_ERROR      frequency error then, s/s
 *   OSC_WANDER     standard deviation of its change in a second, s/s
 *   OSC_OFFSET_NS  what CLOCK_REALTIME is off then
 *   OSC_SEED       where the changes come from
 *
 * All phases are reckoned beforehand: calls come from signal handlers, too, and must change nothing.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>

#define SECONDS 7200
#define SECOND 1000000000LL

static int (*real)(clockid_t, struct timespec *);
static int64_t base, offset;
/* At the beginning of each second: gained so far, ns, and gained in a second, s/s. */
static double phase[SECONDS], rate[SECONDS];

static double setting(const char *name)
{
	const char *text = getenv(name);
	return text ? atof(text) : 0.0;
}

/* SplitMix64 (Steele, Lea, Flood 2014), as a number from 0 to 1. */
static double uniform(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15ULL;
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
	return (double)((z ^ (z >> 31)) >> 11) / (double)(1ULL << 53);
}

/* Twelve uniform numbers have a sum of variance one, near enough a Gaussian. */
static double normal(uint64_t *state)
{
	double sum = -6.0;
	for (int i = 0; i < 12; i++)
		sum += uniform(state);
	return sum;
}

__attribute__((constructor)) static void begin(void)
{
	const char *text = getenv("OSC_BASE_NS");
	uint64_t state = (uint64_t)setting("OSC_SEED");
	double wander = setting("OSC_WANDER");

	real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
	base = text ? atoll(text) : 0;
	offset = (int64_t)setting("OSC_OFFSET_NS");
	rate[0] = setting("OSC_ERROR");
	for (int k = 1; k < SECONDS; k++) {
		phase[k] = phase[k - 1] + rate[k - 1] * SECOND;
		rate[k] = rate[k - 1] + wander * normal(&state);
	}
}

int clock_gettime(clockid_t clock, struct timespec *time)
{
	struct timespec now;
	int64_t since, second, value;

	/* The value that is asked for is read last, so that reading costs it nothing. */
	if (!real || real(CLOCK_MONOTONIC, &now) || real(clock, time))
		return -1;
	since = now.tv_sec * SECOND + now.tv_nsec - base;
	second = since < 0 ? 0 : since / SECOND;
	if (second >= SECONDS)
		second = SECONDS - 1;
	value = time->tv_sec * SECOND + time->tv_nsec;
	value += (int64_t)(phase[second] + rate[second] * (double)(since - second * SECOND));
	if (clock == CLOCK_REALTIME)
		value += offset;
	time->tv_sec = value / SECOND;
	time->tv_nsec = value % SECOND;
	return 0;
}

int gettimeofday(struct timeval *time, void *zone)
{
	struct timespec now;

	(void)zone;
	if (clock_gettime(CLOCK_REALTIME, &now))
		return -1;
	time->tv_sec = now.tv_sec;
	time->tv_usec = now.tv_nsec / 1000;
	return 0;
}
