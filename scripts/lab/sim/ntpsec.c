/*
 * Loaded before clknetsim's library into the ntpd of NTPsec: says what it asks for in the words that
 * the simulator knows. Nothing of time is decided here.
 *
 *   pselect                 select, between the changes of the signal mask
 *   SO_TIMESTAMPNS          SO_TIMESTAMPING with stamps of received packets by the kernel's software
 *   SCM_TIMESTAMPING        its first stamp is that one: as SCM_TIMESTAMPNS
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <linux/net_tstamp.h>
#include <signal.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <time.h>

int pselect(int count, fd_set *reading, fd_set *writing, fd_set *failing,
	    const struct timespec *timeout, const sigset_t *mask)
{
	struct timeval time, *limit = NULL;
	sigset_t before;
	int result;

	if (timeout) {
		time.tv_sec = timeout->tv_sec;
		time.tv_usec = timeout->tv_nsec / 1000;
		limit = &time;
	}
	if (mask)
		sigprocmask(SIG_SETMASK, mask, &before);
	result = select(count, reading, writing, failing, limit);
	if (mask)
		sigprocmask(SIG_SETMASK, &before, NULL);
	return result;
}

int setsockopt(int socket, int level, int name, const void *value, socklen_t length)
{
	int (*next)(int, int, int, const void *, socklen_t) = dlsym(RTLD_NEXT, "setsockopt");
	int flags = SOF_TIMESTAMPING_RX_SOFTWARE | SOF_TIMESTAMPING_SOFTWARE;

	if (level == SOL_SOCKET && name == SO_TIMESTAMPNS)
		return next(socket, level, SO_TIMESTAMPING, &flags, sizeof flags);
	return next(socket, level, name, value, length);
}

ssize_t recvmsg(int socket, struct msghdr *message, int flags)
{
	ssize_t (*next)(int, struct msghdr *, int) = dlsym(RTLD_NEXT, "recvmsg");
	ssize_t length = next(socket, message, flags);
	struct cmsghdr *part;

	if (length < 0)
		return length;
	for (part = CMSG_FIRSTHDR(message); part; part = CMSG_NXTHDR(message, part)) {
		if (part->cmsg_level == SOL_SOCKET && part->cmsg_type == SCM_TIMESTAMPING) {
			part->cmsg_type = SCM_TIMESTAMPNS;
			part->cmsg_len = CMSG_LEN(sizeof(struct timespec));
		}
	}
	return length;
}
