/*
 * Clocks of the virtual lab: what they show, and how far off they truly are. Runs in the guests and
 * on the host.
 *
 *   clocks khz                    how fast the processor's counter is, measured for a second
 *   clocks meet FILE SLOT host    what a guest's counter is ahead of the host's, and the most by
 *   clocks meet FILE SLOT guest   which that can be wrong, in ticks; both run at once, with memory
 *                                 that both see
 *   clocks watch FILE SECONDS     a line of the test NIC's `truth`, ten times a second
 *   clocks judge KHZ FROM WHAT AHEAD:FILE...
 *                                 how well clocks agree after FROM seconds, by what `watch` wrote in
 *                                 each guest and what its counter is ahead; WHAT is raw, system or phc
 *   clocks show                   the kernel's state of its clock, one value a line
 *   clocks set NAME VALUE         one of them: tai, status, maxerror_us, freq_ppm, tick_us
 *   clocks step SECONDS           sets the clock ahead
 *
 * Under software emulation a guest's counter is the host's, less what that was when the guest
 * started. So all clocks can be read at one instant of one counter.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <math.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/timex.h>
#include <time.h>
#include <unistd.h>
#include <x86intrin.h>

#define SECOND 1000000000LL

static int fail(const char *what)
{
	perror(what);
	return 1;
}

static int64_t now(clockid_t clock)
{
	struct timespec time;

	clock_gettime(clock, &time);
	return time.tv_sec * SECOND + time.tv_nsec;
}

/* The counter and a clock at the middle of the reading that took the shortest. */
static uint64_t reading(clockid_t clock, int64_t *value)
{
	uint64_t best = UINT64_MAX, at = 0;

	for (int i = 0; i < 1000; i++) {
		uint64_t before = __rdtsc(), after;
		int64_t read = now(clock);

		after = __rdtsc();
		if (after - before < best) {
			best = after - before;
			at = before + best / 2;
			*value = read;
		}
	}
	return at;
}

static int khz(void)
{
	int64_t first, last;
	uint64_t begin = reading(CLOCK_MONOTONIC_RAW, &first), end;

	sleep(1);
	end = reading(CLOCK_MONOTONIC_RAW, &last);
	printf("%.0f\n", 1e6 * (end - begin) / (last - first));
	return 0;
}

/* One guest's place in the shared memory. */
struct place {
	_Atomic uint64_t question; /* the host's */
	_Atomic uint64_t answer;   /* the guest's: the same number, after its counter */
	_Atomic uint64_t counter;
	_Atomic uint64_t done;
};

static int meet(const char *path, int slot, int host)
{
	int file = open(path, O_RDWR | O_CLOEXEC);
	struct place *place;
	int64_t best = INT64_MAX, ahead = 0, end;

	if (file < 0)
		return fail(path);
	place = mmap(NULL, 4096 * (slot + 1), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	if (place == MAP_FAILED)
		return fail("mmap");
	place = (struct place *)((char *)place + 4096 * slot);
	/* The host gives up first: it knows what it has. */
	end = now(CLOCK_MONOTONIC) + (host ? 10 : 30) * SECOND;
	if (!host) {
		int answered = 0;

		/* Answers until the host has enough, and never for longer than that. */
		for (uint64_t last = atomic_load(&place->question);
		     !answered || !atomic_load(&place->done);) {
			uint64_t asked = atomic_load(&place->question);

			if (asked != last) {
				atomic_store(&place->counter, __rdtsc());
				atomic_store(&place->answer, asked);
				last = asked;
				answered = 1;
			} else if (now(CLOCK_MONOTONIC) > end) {
				return 1;
			}
		}
		return 0;
	}
	atomic_store(&place->done, 0);
	for (uint64_t number = __rdtsc(), answers = 0; answers < 5000; number++) {
		uint64_t before = __rdtsc(), after;

		atomic_store(&place->question, number);
		while (atomic_load(&place->answer) != number) {
			if (__rdtsc() - before > 100000000) {
				if (now(CLOCK_MONOTONIC) > end)
					goto out;
				break;
			}
		}
		if (atomic_load(&place->answer) != number)
			continue;
		after = __rdtsc();
		answers++;
		if ((int64_t)(after - before) < best) {
			best = after - before;
			ahead = atomic_load(&place->counter) - (before + best / 2);
		}
	}
out:
	atomic_store(&place->done, 1);
	if (best == INT64_MAX) {
		fprintf(stderr, "the guest does not answer\n");
		return 1;
	}
	printf("%lld %lld\n", (long long)ahead, (long long)best / 2);
	return 0;
}

static int watch(const char *path, double seconds)
{
	struct timespec tenth = { .tv_nsec = SECOND / 10 };
	int64_t end = now(CLOCK_MONOTONIC) + (int64_t)(seconds * SECOND);

	while (now(CLOCK_MONOTONIC) < end) {
		char line[256];
		FILE *file = fopen(path, "r");

		if (!file)
			return fail(path);
		if (fgets(line, sizeof line, file))
			fputs(line, stdout);
		fclose(file);
		fflush(stdout);
		nanosleep(&tenth, NULL);
	}
	return 0;
}

/* A clock's track: true time and what the clock is ahead of it, in ns since the first of all. */
struct track {
	int count;
	double *at, *error;
};

static int read_track(struct track *track, const char *path, int64_t ahead, double khz, int column,
		      int64_t origin[2])
{
	FILE *file = fopen(path, "r");
	unsigned long long counter;
	long long value[3];

	*track = (struct track){ 0 };
	if (!file)
		return fail(path);
	while (fscanf(file, "%llu %lld %lld %lld", &counter, &value[0], &value[1], &value[2]) == 4) {
		int64_t ticks = (int64_t)counter - ahead, shown = value[column];
		int size = track->count + 1;

		/* Numbers are too long for a double until what is common is taken off. */
		if (!origin[0]) {
			origin[0] = ticks;
			origin[1] = shown;
		}
		track->at = realloc(track->at, size * sizeof *track->at);
		track->error = realloc(track->error, size * sizeof *track->error);
		track->at[track->count] = 1e6 * (ticks - origin[0]) / khz;
		track->error[track->count] = (shown - origin[1]) - track->at[track->count];
		track->count = size;
	}
	fclose(file);
	return track->count < 2;
}

/* A clock's error at an instant, linear between the readings around it. */
static double error_at(const struct track *track, double at)
{
	int next = 1;
	double part;

	while (next < track->count - 1 && track->at[next] < at)
		next++;
	part = (at - track->at[next - 1]) / (track->at[next] - track->at[next - 1]);
	return track->error[next - 1] + part * (track->error[next] - track->error[next - 1]);
}

/*
 * Ten times a second, each clock's error from the mean of all: its root mean square and the most,
 * in ns, and how far apart the two outermost are at the end.
 */
static int judge(double khz, double from, const char *what, int count, char **words)
{
	const char *columns[] = { "raw", "system", "phc" };
	struct track *tracks = calloc(count, sizeof *tracks);
	double begin = -INFINITY, end = INFINITY, squares = 0, most = 0, spread = 0;
	int64_t origin[2] = { 0, 0 };
	int column = 0, rows = 0;

	while (column < 3 && strcmp(columns[column], what))
		column++;
	if (column == 3 || count < 2)
		return 2;
	for (int i = 0; i < count; i++) {
		char *path = strchr(words[i], ':');

		if (!path || read_track(&tracks[i], path + 1, atoll(words[i]), khz, column, origin)) {
			fprintf(stderr, "%s: nothing to judge\n", words[i]);
			return 1;
		}
		begin = fmax(begin, tracks[i].at[0]);
		end = fmin(end, tracks[i].at[tracks[i].count - 1]);
	}
	for (double at = begin + 1e9 * from; at <= end; at += 1e8, rows++) {
		double sum = 0, low = INFINITY, high = -INFINITY;

		for (int i = 0; i < count; i++) {
			double error = error_at(&tracks[i], at);

			sum += error / count;
			low = fmin(low, error);
			high = fmax(high, error);
		}
		for (int i = 0; i < count; i++) {
			double error = error_at(&tracks[i], at) - sum;

			squares += error * error;
			most = fmax(most, fabs(error));
		}
		spread = high - low;
	}
	if (!rows) {
		fprintf(stderr, "the guests were watched for %.1f s together\n", 1e-9 * (end - begin));
		return 1;
	}
	printf("rms_ns %.0f\nmax_ns %.0f\nlast_spread_ns %.0f\nrows %d\n",
	       sqrt(squares / rows / count), most, spread, rows);
	return 0;
}

static int show(void)
{
	struct timex state = { 0 };
	int result = clock_adjtime(CLOCK_REALTIME, &state);

	if (result < 0)
		return fail("clock_adjtime");
	printf("state %d\nstatus 0x%x\nsynchronized %s\nleap %s\n", result, state.status,
	       state.status & STA_UNSYNC ? "no" : "yes",
	       state.status & STA_INS ? "insert" : state.status & STA_DEL ? "delete" : "none");
	printf("tai %d\nmaxerror_us %ld\nesterror_us %ld\ntick_us %ld\nfreq_ppm %.4f\n", state.tai,
	       state.maxerror, state.esterror, state.tick, state.freq / 65536.0);
	return 0;
}

static int set(const char *name, const char *value)
{
	struct timex state = { 0 };

	if (!strcmp(name, "tai")) {
		state.modes = ADJ_TAI;
		state.constant = atol(value);
	} else if (!strcmp(name, "status")) {
		state.modes = ADJ_STATUS;
		state.status = strtol(value, NULL, 0);
	} else if (!strcmp(name, "maxerror_us")) {
		state.modes = ADJ_MAXERROR;
		state.maxerror = atol(value);
	} else if (!strcmp(name, "freq_ppm")) {
		state.modes = ADJ_FREQUENCY;
		state.freq = lround(65536.0 * atof(value));
	} else if (!strcmp(name, "tick_us")) {
		state.modes = ADJ_TICK;
		state.tick = atol(value);
	} else {
		return 2;
	}
	return clock_adjtime(CLOCK_REALTIME, &state) < 0 ? fail("clock_adjtime") : 0;
}

static int step(double seconds)
{
	struct timex state = { .modes = ADJ_SETOFFSET | ADJ_NANO };
	double whole = floor(seconds);

	state.time.tv_sec = whole;
	state.time.tv_usec = lround(1e9 * (seconds - whole));
	return clock_adjtime(CLOCK_REALTIME, &state) < 0 ? fail("clock_adjtime") : 0;
}

int main(int count, char **words)
{
	const char *what = count > 1 ? words[1] : "";

	if (count == 2 && !strcmp(what, "khz"))
		return khz();
	if (count == 5 && !strcmp(what, "meet"))
		return meet(words[2], atoi(words[3]), !strcmp(words[4], "host"));
	if (count == 4 && !strcmp(what, "watch"))
		return watch(words[2], atof(words[3]));
	if (count > 6 && !strcmp(what, "judge"))
		return judge(atof(words[2]), atof(words[3]), words[4], count - 5, words + 5);
	if (count == 2 && !strcmp(what, "show"))
		return show();
	if (count == 4 && !strcmp(what, "set"))
		return set(words[2], words[3]);
	if (count == 3 && !strcmp(what, "step"))
		return step(atof(words[2]));
	fprintf(stderr, "usage: clocks khz | meet | watch | judge | show | set | step; see clocks.c\n");
	return 2;
}
