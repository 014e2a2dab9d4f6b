//! The life of a daemon.

use std::io::IsTerminal;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use hwts::transport::{AnyTransport, Transport};
use nix::unistd::{User, geteuid};
use tracing_subscriber::EnvFilter;

use super::ServiceError;
use super::assemble::assemble;
use super::core::Notice;
use super::daemon::{self, Daemon, Desk, Scheduling};
use super::setup::{self, IDENTITY_FILE};
use super::signals::StopSignals;
use super::single::Single;
use super::state::{KnownPeer, State, StateFile};
use super::steer::{self, SharedReport};
use super::{privileges, setup::blueprint};
use crate::config::{Config, Stamps, Wait};
use crate::export::control::{ControlServer, StatusProvider};
use crate::export::status::{ClockReading, Status};
use crate::time::Rate;
use crate::topology::FoundBy;
use crate::wire::ClockState;

/// Pause between looks at the engines.
const ATTEND: Duration = Duration::from_millis(200);

/// Pause between saves of what was learnt.
const SAVE: Duration = Duration::from_secs(300);

/// Runs a node by `config` until SIGTERM, SIGINT, or the end of `stop_after`. All that it is told
/// is written to `record`, if that is given ([`crate::record`]).
///
/// # Errors
/// [`ServiceError`]; each says what to do. Once it runs, only the death of a thread is one.
pub fn run(
    config: Config,
    stop_after: Option<Duration>,
    record: Option<PathBuf>,
) -> Result<(), ServiceError> {
    start_log(&config.log);
    let system = |what| move |source| ServiceError::System { what, source };
    let signals = StopSignals::new().map_err(system("signals"))?;
    let started = Instant::now();
    let until = stop_after.and_then(|after| started.checked_add(after));

    let blueprint = blueprint(&config, record)?;
    let secret = blueprint.identity.ed25519_secret_bytes();
    let time_port = blueprint.transport.local_addr().port();
    tracing::info!(
        network = config.network,
        "node {}",
        blueprint.identity.node_id()
    );
    let mut parts = assemble(blueprint)?;
    let recorder = parts.recorder.take();
    let control = config
        .control
        .then(|| ControlServer::bind(&config.control_socket))
        .transpose()?;
    give_up_privileges(&config, parts.port.transport())?;
    let peers = setup::sources(&config, secret, time_port)?;
    let keeper = Keeper {
        file: StateFile::new(&config.state_dir),
        card: config.raw_card().map(str::to_owned),
        next: started + SAVE,
    };
    let life = Life {
        signals,
        until,
        keeper,
    };
    let scheduling = Scheduling {
        cpu: config.transport.cpu,
        fifo: config.transport.fifo_priority,
        // Who does not sleep has a processor of his own, and stamps of this process are as late as
        // it reads the socket.
        apart: config.transport.wait != Wait::Block || config.transport.stamps == Stamps::User,
    };
    let result = if config.single_thread {
        daemon::schedule(scheduling);
        life.single(Single::new(parts, peers, control));
        Ok(())
    } else {
        let daemon = Daemon::start(parts, peers, scheduling).map_err(system("threads"))?;
        life.threads(daemon, control)
    };
    // The node is gone and its tape with it.
    if let Some(recorder) = recorder {
        recorder.finish();
    }
    result
}

/// What ends a daemon, and what remains of it.
struct Life {
    signals: StopSignals,
    until: Option<Instant>,
    keeper: Keeper,
}

impl Life {
    fn over(&self) -> bool {
        self.until.is_some_and(|until| Instant::now() >= until)
    }

    fn threads(
        mut self,
        mut daemon: Daemon,
        control: Option<ControlServer>,
    ) -> Result<(), ServiceError> {
        let desk = daemon.desk().clone();
        let control = control
            .map(|server| server.spawn(Answers(desk.clone())))
            .transpose()?;
        notify_ready();
        while !self.over() {
            if self.signals.wait(ATTEND) {
                break;
            }
            report(&daemon.attend());
            if !daemon.is_sound() {
                return Err(ServiceError::Died);
            }
            if self.keeper.is_due()
                && let Some(status) = desk.status()
            {
                self.keeper.save(&status, desk.report());
            }
        }
        notify_stopping();
        drop(control);
        let status = desk.status();
        daemon.stop();
        if let Some(status) = status {
            self.keeper.save(&status, desk.report());
        }
        Ok(())
    }

    fn single(mut self, mut single: Single) {
        notify_ready();
        while !self.over() && !self.signals.asked() {
            report(&single.turn());
            if self.keeper.is_due() {
                let status = single.status();
                self.keeper.save(&status, single.report());
            }
        }
        notify_stopping();
        single.stop();
        let status = single.status();
        self.keeper.save(&status, single.report());
    }
}

/// Answers the control socket from another thread.
struct Answers(Desk);

impl StatusProvider for Answers {
    fn status(&self) -> Option<Status> {
        self.0.status()
    }

    fn clock_at(&self, mono_raw: i64) -> ClockReading {
        self.0.clocks().at(mono_raw)
    }
}

/// Keeps on disk what the next start can use.
struct Keeper {
    file: StateFile,
    /// The card whose clock is the raw clock, if it is one's.
    card: Option<String>,
    next: Instant,
}

impl Keeper {
    fn is_due(&self) -> bool {
        Instant::now() >= self.next
    }

    fn save(&mut self, status: &Status, report: Option<&SharedReport>) {
        self.next = Instant::now() + SAVE;
        let tracking = &status.tracking;
        let settled = matches!(
            tracking.state,
            ClockState::Synchronized | ClockState::Holdover
        );
        let (before, _) = self.file.load();
        let before = before.with_clock_of(self.card.as_deref());
        // What was good once is better than nothing.
        let state = State {
            oscillator: settled
                .then(|| Rate::from_ppm(tracking.rate_ppm))
                .or(before.oscillator),
            card: before.card,
            clock: report.and_then(|r| steer::lock(r).steady).or(before.clock),
            saved_at: hwts::Domain::Realtime.now() / 1_000_000_000,
            peers: worth_keeping(status, before.peers),
        };
        if let Err(error) = self.file.save(&state) {
            tracing::warn!("{error}");
        }
    }
}

/// Peers to try first at the next start: those in use, then those that were kept before.
fn worth_keeping(status: &Status, before: Vec<KnownPeer>) -> Vec<KnownPeer> {
    /// Older ones are not worth the wait.
    const MOST: usize = 64;
    let now = status.peers.iter();
    let good = now.filter(|peer| peer.found_by != FoundBy::Inbound && peer.reach != 0);
    let mut kept: Vec<KnownPeer> = good
        .map(|peer| KnownPeer {
            id: peer.id,
            addr: peer.addr,
        })
        .collect();
    for old in before {
        if kept.iter().all(|peer| peer.id != old.id) {
            kept.push(old);
        }
    }
    kept.truncate(MOST);
    kept
}

fn report(notices: &[Notice]) {
    for notice in notices {
        match notice {
            Notice::State(state) => tracing::info!("virtual clock {state:?}"),
            Notice::Stepped(by) => tracing::info!("virtual clock stepped by {by}"),
            Notice::SessionUp(peer, addr) => tracing::debug!("session with {peer:?} at {addr}"),
            Notice::SessionFailed(addr, why) => tracing::info!("no session with {addr}: {why}"),
            Notice::WantPeers(count) => tracing::debug!("{count} more peers wanted"),
        }
    }
}

fn start_log(filter: &str) {
    let filter = EnvFilter::try_new(filter).unwrap_or_else(|_| EnvFilter::new("info"));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_target(false)
        .with_ansi(std::io::stderr().is_terminal());
    // The journal has times of its own; a second subscriber (in tests) is nobody's loss.
    let _ = if std::env::var_os("JOURNAL_STREAM").is_some() {
        log.without_time().try_init()
    } else {
        log.try_init()
    };
}

fn give_up_privileges(config: &Config, transport: &AnyTransport) -> Result<(), ServiceError> {
    let Some(user) = &config.user else {
        return Ok(());
    };
    let bypass = match transport {
        AnyTransport::Xdp(xdp) => Some(xdp),
        AnyTransport::Udp(_) => None,
    };
    if geteuid().is_root() {
        hand_over(user, config);
        if let Some(priority) = config.transport.fifo_priority {
            privileges::allow_realtime(priority)?;
        }
        if let Some(xdp) = bypass {
            privileges::allow_locked_memory(xdp.most_memory());
        }
    }
    let dropped = privileges::drop_to(user, bypass.is_some())?;
    tracing::info!("{dropped}");
    Ok(())
}

/// What root made must be writable for `user` later. Failures show when it is written.
fn hand_over(user: &str, config: &Config) {
    let Ok(Some(user)) = User::from_name(user) else {
        return;
    };
    let own = |path: &Path| {
        if let Err(error) = chown(path, Some(user.uid.as_raw()), Some(user.gid.as_raw())) {
            tracing::debug!("cannot hand {} over: {error}", path.display());
        }
    };
    own(&config.state_dir);
    own(&config.state_dir.join(IDENTITY_FILE));
    let state = StateFile::new(&config.state_dir).path();
    if state.exists() {
        own(&state);
    }
    if config.control {
        own(&config.control_socket);
    }
}

fn notify_ready() {
    // Not under systemd: nobody to tell.
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
}

fn notify_stopping() {
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
}
