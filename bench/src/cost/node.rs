//! Daemons on loopback, each with its own directory; killed when dropped.

use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use parisync::config::DurationText;
use parisync::export::client::Client;
use parisync::export::status::Tracking;

use super::{CostError, Discovery, Options};
use crate::scratch::Scratch;

/// Lines of a dead node's log that are shown.
const LAST_WORDS: usize = 5;

/// The nodes to be: their addresses and what they have in common.
pub(super) struct Network {
    binary: PathBuf,
    discovery: Discovery,
    poll: DurationText,
    burst: u8,
    single_thread: bool,
    fifo: Option<u8>,
    cpu: Option<u16>,
    /// Nodes end by themselves after this long, whatever happens to us.
    lifetime: u64,
    time: Vec<SocketAddr>,
    dht: Vec<SocketAddr>,
    scratch: Scratch,
}

impl Network {
    /// Finds addresses for the neighbours and, as the last, the node that is measured.
    pub(super) fn new(
        binary: PathBuf,
        options: &Options,
        discovery: Discovery,
    ) -> Result<Self, CostError> {
        let count = usize::from(options.neighbours) + 1;
        let (time, dht) = free_addresses(2 * count)?
            .split_at_checked(count)
            .map(|(time, dht)| (time.to_vec(), dht.to_vec()))
            .unwrap_or_default();
        let busy = options.seconds.span() + options.settle.span();
        Ok(Self {
            binary,
            discovery,
            poll: options.poll,
            burst: options.burst,
            single_thread: options.single_thread,
            fifo: options.fifo,
            cpu: options.cpu,
            lifetime: busy.to_duration().as_secs() + 3 * super::PATIENCE.as_secs(),
            time,
            dht,
            scratch: Scratch::new("cost")?,
        })
    }

    /// Starts node `number`.
    pub(super) fn start(&self, number: usize) -> Result<Node, CostError> {
        let directory = self.scratch.path().join(number.to_string());
        fs::create_dir_all(directory.join("state"))?;
        let file = directory.join("node.toml");
        fs::write(&file, self.toml(number, &directory))?;
        let log = directory.join("log");
        let output = File::create(&log)?;
        let child = Command::new(&self.binary)
            .args(["run", "--discipline", "virtual", "-c"])
            .arg(&file)
            .args(["--for", &self.lifetime.to_string()])
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .map_err(|source| CostError::NoBinary {
                path: self.binary.clone(),
                source,
            })?;
        Ok(Node {
            child,
            log,
            socket: directory.join("control.sock"),
            client: None,
        })
    }

    fn toml(&self, number: usize, directory: &Path) -> String {
        let text = |addresses: &[SocketAddr]| -> Vec<String> {
            addresses.iter().map(SocketAddr::to_string).collect()
        };
        let mut others = self.time.clone();
        let listen = others.remove(number);
        let is_static = self.discovery == Discovery::Static;
        let peers = if is_static { text(&others) } else { vec![] };
        let bootstrap = if is_static || number == 0 {
            vec![]
        } else {
            text(&self.dht[..1])
        };
        // Clocks as bad as in the demo, neighbours in number far apart.
        let spread = |step: usize| ((number * step + 3) % 11) as f64 / 5.0 - 1.0;
        format!(
            "network = \"cost\"\n\
             listen = \"{listen}\"\n\
             peers = {peers:?}\n\
             bootstrap = {bootstrap:?}\n\
             lan = false\n\
             state_dir = {state:?}\n\
             control_socket = {control:?}\n\
             single_thread = {single_thread}\n\
             [dht]\n\
             enabled = {dht}\n\
             listen = \"{dht_listen}\"\n\
             [exchange]\n\
             poll = \"{poll}\"\n\
             burst = {burst}\n\
             [virtual]\n\
             offset = \"{offset}us\"\n\
             drift_ppm = {drift:?}\n\
             wander_ppb = 1.0\n\
             seed = {seed}\n\
             [transport]\n\
             {fifo}{cpu}",
            state = directory.join("state"),
            control = directory.join("control.sock"),
            single_thread = self.single_thread && number + 1 == self.time.len(),
            dht = !is_static,
            dht_listen = self.dht[number],
            poll = self.poll,
            burst = self.burst,
            offset = (500_000.0 * spread(7)) as i64,
            drift = 50.0 * spread(4),
            seed = number + 1,
            fifo = self.fifo.map_or(String::new(), |priority| {
                format!("fifo_priority = {priority}\n")
            }),
            cpu = match self.cpu {
                Some(cpu) if number + 1 == self.time.len() => format!("cpu = {cpu}\n"),
                _ => String::new(),
            },
        )
    }
}

/// A running node.
pub(super) struct Node {
    child: Child,
    log: PathBuf,
    socket: PathBuf,
    client: Option<Client>,
}

impl Node {
    /// Its process.
    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it says of its clock; `None` if it does not answer (yet).
    pub(super) fn tracking(&mut self) -> Result<Option<Tracking>, CostError> {
        if let Some(status) = self.child.try_wait()? {
            let log = fs::read_to_string(&self.log).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            let log = lines[lines.len().saturating_sub(LAST_WORDS)..].join("\n");
            return Err(CostError::Ended { status, log });
        }
        if self.client.is_none() {
            self.client = Client::connect(std::slice::from_ref(&self.socket)).ok();
        }
        let answer = self.client.as_mut().map(Client::tracking);
        match answer {
            Some(Ok(answer)) => Ok(Some(answer.content)),
            // It may only be starting; whether it is dead is seen above.
            Some(Err(_)) => {
                self.client = None;
                Ok(None)
            }
            None => Ok(None),
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// So many UDP addresses on loopback that were free a moment ago.
fn free_addresses(count: usize) -> io::Result<Vec<SocketAddr>> {
    let sockets: Vec<UdpSocket> = (0..count)
        .map(|_| UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)))
        .collect::<io::Result<_>>()?;
    sockets.iter().map(UdpSocket::local_addr).collect()
}
