//! What strangers send: garbage in reply to packets, and floods. Only within a lab's namespaces,
//! bounded in count, rate and time.

use std::fs::File;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::lab::Host;
use super::{Context, Failure, Outcome, say};

/// A UDP socket bound in another network namespace; it may be used from any thread.
pub(crate) fn bind(namespace: &str, local: SocketAddr) -> Outcome<UdpSocket> {
    let path = format!("/run/netns/{namespace}");
    let file = File::open(&path).context(&path)?;
    // A thread of its own enters the namespace and ends there: no other thread ever moves.
    std::thread::spawn(move || -> Outcome<UdpSocket> {
        nix::sched::setns(file, nix::sched::CloneFlags::CLONE_NEWNET).context("setns")?;
        UdpSocket::bind(local).context(local)
    })
    .join()
    .map_err(|_| Failure::new("the thread that binds in a namespace panicked"))?
}

/// A thread of traffic; stops when dropped.
pub(crate) struct Stranger {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Stranger {
    fn spawn(work: impl FnOnce(&AtomicBool, &AtomicU64) + Send + 'static) -> Self {
        let (stop, sent) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicU64::new(0)),
        );
        let (its_stop, its_sent) = (Arc::clone(&stop), Arc::clone(&sent));
        let thread = std::thread::spawn(move || work(&its_stop, &its_sent));
        Self {
            stop,
            sent,
            thread: Some(thread),
        }
    }

    /// Datagrams sent so far.
    pub(crate) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Waits until it has sent all it was told to, then gives the count.
    pub(crate) fn finish(mut self) -> Outcome<u64> {
        if self
            .thread
            .take()
            .is_some_and(|thread| thread.join().is_err())
        {
            return Err(Failure::new("the thread that sends traffic panicked"));
        }
        Ok(self.sent())
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if self
            .thread
            .take()
            .is_some_and(|thread| thread.join().is_err())
        {
            say("the thread that sends traffic panicked");
        }
    }
}

/// Answers every datagram with garbage: noise, the datagram itself, the datagram with flipped bits
/// (so that its header is plausible), a truncated one. At most 20,000 answers.
pub(crate) fn babbler(host: &Host, port: u16) -> Outcome<Stranger> {
    const ANSWERS: u64 = 20_000;
    let socket = bind(&host.namespace, (host.address, port).into())?;
    socket.set_read_timeout(Some(Duration::from_millis(50)))?;
    Ok(Stranger::spawn(move |stop, sent| {
        let mut noise = Noise::new(0x6261_6262_6c65);
        let mut buffer = [0; 2048];
        while !stop.load(Ordering::Relaxed) && sent.load(Ordering::Relaxed) < ANSWERS {
            let Ok((length, from)) = socket.recv_from(&mut buffer) else {
                continue;
            };
            let answer = &mut buffer[..length];
            let answer = match sent.fetch_add(1, Ordering::Relaxed) % 4 {
                0 => {
                    noise.fill(answer);
                    answer
                }
                1 => answer,
                2 => {
                    for _ in 0..3.min(length) {
                        answer[noise.next() as usize % length] ^= 1 << (noise.next() % 8);
                    }
                    answer
                }
                _ => &mut answer[..length / 2],
            };
            // A full queue drops it: garbage need not arrive.
            let _ = socket.send_to(answer, from);
        }
    }))
}

/// What a flood is made of.
pub(crate) struct Flood {
    /// Addresses it claims to come from, all of them the flooding host's for as long as it lasts.
    pub(crate) sources: Vec<IpAddr>,
    /// Where it goes, in turn.
    pub(crate) targets: Vec<SocketAddr>,
    /// Makes datagrams, each from other noise.
    pub(crate) forge: fn(&mut Noise) -> Vec<u8>,
    /// Datagrams a second.
    pub(crate) rate: u32,
    /// How long.
    pub(crate) lasts: Duration,
}

/// Floods from one host: at most 20,000 datagrams a second for at most 30 s.
pub(crate) fn flood(host: &Host, flood: Flood) -> Outcome<Stranger> {
    let sockets = flood.sources.iter();
    let sockets: Vec<UdpSocket> = sockets
        .map(|&source| bind(&host.namespace, (source, 0).into()))
        .collect::<Outcome<_>>()?;
    let (rate, lasts) = (
        flood.rate.min(20_000),
        flood.lasts.min(Duration::from_secs(30)),
    );
    Ok(Stranger::spawn(move |stop, sent| {
        let mut noise = Noise::new(0x0066_6c6f_6f64);
        let start = Instant::now();
        while !stop.load(Ordering::Relaxed) && start.elapsed() < lasts {
            let due = (start.elapsed().as_secs_f64() * f64::from(rate)) as u64;
            while sent.load(Ordering::Relaxed) < due {
                sent.fetch_add(1, Ordering::Relaxed);
                let datagram = (flood.forge)(&mut noise);
                let (socket, target) = (noise.pick(&sockets), noise.pick(&flood.targets));
                // A full queue drops it: a flood does not care.
                let _ = socket.send_to(&datagram, target);
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }))
}

/// Noise that is the same in every run: splitmix64.
pub(crate) struct Noise(u64);

impl Noise {
    /// The noise of one seed.
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below 2^64.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// One of several; panics if there is none.
    pub(crate) fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.next() as usize % from.len()]
    }

    /// So many bytes.
    pub(crate) fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.fill(&mut bytes);
        bytes
    }

    fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            let word = self.next().to_le_bytes();
            chunk.copy_from_slice(&word[..chunk.len()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::lab::{Lab, Side};
    use super::*;

    #[test]
    fn garbage_and_floods_arrive_and_stay_within_their_bounds() -> Outcome {
        let Some(mut lab) = Lab::new("traffic")? else {
            return Ok(());
        };
        let (a, b) = (lab.host(Side::Left)?, lab.host(Side::Left)?);
        let babbler = babbler(&b, 7)?;
        let asker = bind(&a.namespace, (a.address, 0).into())?;
        asker.set_read_timeout(Some(Duration::from_secs(2)))?;
        let (question, mut answer) = ([7_u8; 100], [0; 200]);
        let mut echoes = 0;
        for _ in 0..8 {
            asker.send_to(&question, (b.address, 7))?;
            let (length, from) = asker.recv_from(&mut answer)?;
            assert_eq!(from, (b.address, 7).into());
            assert!(length <= question.len());
            echoes += u32::from(answer[..length] == question);
        }
        assert_eq!(
            (echoes, babbler.sent()),
            (2, 8),
            "two of eight are the datagram itself"
        );

        let sink = bind(&b.namespace, (b.address, 8).into())?;
        sink.set_read_timeout(Some(Duration::from_millis(200)))?;
        let sources = lab.aliases(&a, 3)?;
        let flood = flood(
            &a,
            Flood {
                sources: sources.clone(),
                targets: vec![(b.address, 8).into()],
                forge: |noise| noise.bytes::<60>().to_vec(),
                rate: 500,
                lasts: Duration::from_millis(400),
            },
        )?;
        let (mut arrived, mut origins) = (0, BTreeSet::new());
        while let Ok((length, from)) = sink.recv_from(&mut answer) {
            assert_eq!(length, 60);
            arrived += 1;
            origins.insert(from.ip());
        }
        assert_eq!(origins, sources.into_iter().collect());
        let sent = flood.finish()?;
        assert!(
            (50..=200).contains(&sent),
            "{sent} at 500 a second for 0.4 s"
        );
        assert!(arrived > 0 && arrived <= sent, "{arrived} of {sent}");
        Ok(())
    }
}
