//! What NTPsec's ntpd needs in the simulator.

use std::path::{Path, PathBuf};

use crate::compare::compile::{CompileError, LIBRARY, compile};

/// Says its requests in the simulator's words.
const WORDS: &str = include_str!("../../../../scripts/lab/sim/ntpsec.c");

/// The library to load before clknetsim's, made in `dir`.
pub(super) fn library(dir: &Path) -> Result<PathBuf, CompileError> {
    compile(dir, "ntpsec", WORDS, &LIBRARY)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::daemons::find;
    use crate::scratch::Scratch;
    use std::process::Command;

    /// Sends itself a packet and waits for it as ntpd does; prints the seconds of its stamp.
    const ASKS: &str = r#"
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <signal.h>
#include <stdio.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <time.h>

int main(void)
{
	struct sockaddr_in own = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
	socklen_t size = sizeof own;
	struct timespec patience = { 10, 0 };
	char bytes[8], control[512];
	struct iovec part = { bytes, sizeof bytes };
	struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1,
				  .msg_control = control, .msg_controllen = sizeof control };
	struct cmsghdr *said;
	sigset_t none, blocked;
	int one = 1, s = socket(AF_INET, SOCK_DGRAM, 0);
	fd_set reading;

	bind(s, (struct sockaddr *)&own, sizeof own);
	getsockname(s, (struct sockaddr *)&own, &size);
	if (setsockopt(s, SOL_SOCKET, SO_TIMESTAMPNS, &one, sizeof one))
		return 1;
	sendto(s, "hello", 5, 0, (struct sockaddr *)&own, sizeof own);
	FD_ZERO(&reading);
	FD_SET(s, &reading);
	sigemptyset(&none);
	sigemptyset(&blocked);
	sigaddset(&blocked, SIGUSR1);
	sigprocmask(SIG_BLOCK, &blocked, NULL);
	if (pselect(s + 1, &reading, NULL, NULL, &patience, &none) != 1)
		return 2;
	sigprocmask(SIG_BLOCK, NULL, &blocked);
	if (!sigismember(&blocked, SIGUSR1))
		return 3;
	if (recvmsg(s, &message, 0) != 5)
		return 4;
	for (said = CMSG_FIRSTHDR(&message); said; said = CMSG_NXTHDR(&message, said))
		if (said->cmsg_level == SOL_SOCKET && said->cmsg_type == SCM_TIMESTAMPNS &&
		    said->cmsg_len == CMSG_LEN(sizeof(struct timespec)))
			printf("%lld\n", (long long)((struct timespec *)CMSG_DATA(said))->tv_sec);
	return 0;
}
"#;

    #[test]
    fn requests_in_other_words_get_the_same_answers() {
        if find("cc").is_none() {
            eprintln!("SKIPPED: no cc");
            return;
        }
        let dir = Scratch::new("words").unwrap();
        let library = library(dir.path()).unwrap();
        let asks = compile(dir.path(), "asks", ASKS, &["-Werror"]).unwrap();
        let seconds = |command: &mut Command| {
            let output = command.output().unwrap();
            assert!(output.status.success(), "{output:?}");
            let said = String::from_utf8(output.stdout).unwrap();
            said.trim().parse::<i64>().unwrap()
        };
        let plain = seconds(&mut Command::new(&asks));
        let reworded = seconds(Command::new(&asks).env("LD_PRELOAD", &library));
        assert!((0..60).contains(&(reworded - plain)), "{plain} {reworded}");
    }
}
