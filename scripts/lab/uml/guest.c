/*
 * What runs in each guest of the User-mode Linux lab, and on the host to compare clocks.
 *
 *   guest clock                       one line: the processor's counter, CLOCK_MONOTONIC in ns
 *   guest load FILE...                load kernel modules, as insmod does
 *   guest run SECONDS DEVICE LOG PROGRAM ARGUMENTS...
 *                                     start a daemon, which logs to LOG; each second one line on
 *                                     standard output, until the time is over or the daemon ends;
 *                                     then switch the guest off
 *
 * The counter is the same in all guests and on the host: it tells when each guest's clock showed
 * what. The lines of `run`:
 *
 *   @ COUNTER REALTIME_NS PACKETS TICKS PEAK_KIB
 *                   counter and CLOCK_REALTIME at one instant, packets that DEVICE has sent, the
 *                   daemon's processor time in clock ticks, the most memory it had
 *   ! STATUS        the daemon has ended, with this status of waitpid
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/reboot.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <x86intrin.h>

/* The reading that took the shortest of so many, at the middle of it. */
#define READINGS 20

static uint64_t reading(clockid_t clock, int64_t *value)
{
	uint64_t best = UINT64_MAX, at = 0;

	for (int i = 0; i < READINGS; i++) {
		struct timespec time;
		uint64_t before = __rdtsc(), after;

		clock_gettime(clock, &time);
		after = __rdtsc();
		if (after - before < best) {
			best = after - before;
			at = before + best / 2;
			*value = time.tv_sec * 1000000000LL + time.tv_nsec;
		}
	}
	return at;
}

static int load(char **files)
{
	for (; *files; files++) {
		int file = open(*files, O_RDONLY | O_CLOEXEC);

		if (file < 0 || syscall(SYS_finit_module, file, "", 0)) {
			perror(*files);
			return 1;
		}
		close(file);
	}
	return 0;
}

/* Packets sent by a device: after its name eight columns of what it received, then bytes. */
static long packets(const char *device)
{
	char line[512];
	long sent = 0;
	FILE *file = fopen("/proc/net/dev", "r");

	while (file && fgets(line, sizeof line, file)) {
		char *colon = strchr(line, ':'), *name = line + strspn(line, " ");

		if (!colon)
			continue;
		*colon = 0;
		if (!strcmp(name, device))
			sscanf(colon + 1, "%*s %*s %*s %*s %*s %*s %*s %*s %*s %ld", &sent);
	}
	if (file)
		fclose(file);
	return sent;
}

/* User and system time of a process in clock ticks: the fields 14 and 15 of its stat. */
static long ticks(pid_t pid)
{
	char name[64], text[1024];
	long user = 0, system = 0;
	FILE *file;

	snprintf(name, sizeof name, "/proc/%d/stat", pid);
	file = fopen(name, "r");
	if (file && fgets(text, sizeof text, file) && strrchr(text, ')'))
		sscanf(strrchr(text, ')') + 1,
		       " %*c %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %ld %ld", &user, &system);
	if (file)
		fclose(file);
	return user + system;
}

static long peak(pid_t pid)
{
	char name[64], line[256];
	long most = 0;
	FILE *file;

	snprintf(name, sizeof name, "/proc/%d/status", pid);
	file = fopen(name, "r");
	while (file && fgets(line, sizeof line, file))
		sscanf(line, "VmHWM: %ld", &most);
	if (file)
		fclose(file);
	return most;
}

static void run(int seconds, const char *device, const char *log, char **program)
{
	int64_t begun, now, value = 0;
	pid_t pid = fork();

	if (!pid) {
		int file = open(log, O_WRONLY | O_CREAT | O_TRUNC, 0644);

		dup2(file, 1);
		dup2(file, 2);
		execv(program[0], program);
		perror(program[0]);
		_exit(127);
	}
	reading(CLOCK_MONOTONIC, &begun);
	do {
		int status;
		uint64_t counter = reading(CLOCK_REALTIME, &value);

		printf("@ %llu %lld %ld %ld %ld\n", (unsigned long long)counter,
		       (long long)value, packets(device), ticks(pid), peak(pid));
		if (waitpid(pid, &status, WNOHANG) == pid) {
			printf("! %d\n", status);
			break;
		}
		fflush(stdout);
		sleep(1);
		reading(CLOCK_MONOTONIC, &now);
	} while (now - begun < seconds * 1000000000LL);
	fflush(stdout);
	sync();
	reboot(RB_POWER_OFF);
}

int main(int count, char **words)
{
	int64_t value = 0;

	if (count == 2 && !strcmp(words[1], "clock")) {
		uint64_t counter = reading(CLOCK_MONOTONIC, &value);

		printf("%llu %lld\n", (unsigned long long)counter, (long long)value);
		return 0;
	}
	if (count > 2 && !strcmp(words[1], "load"))
		return load(words + 2);
	if (count > 5 && !strcmp(words[1], "run")) {
		run(atoi(words[2]), words[3], words[4], words + 5);
		return 1;
	}
	fprintf(stderr, "usage: guest clock | load FILE... | run SECONDS DEVICE LOG PROGRAM...\n");
	return 2;
}
