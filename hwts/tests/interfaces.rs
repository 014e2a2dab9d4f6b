//! Interfaces that stand on each other, change their names and go, in a network namespace of the
//! test's own. Needs root and `ip`; skipped, and said so, without.

use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use hwts::Source;
use hwts::netlink::{Link, LinkChange, LinkWatch, Routes, links};
use hwts::nic::{self, NoDevice, Survey, Verdict, physical};
use hwts::transport::{TxEvent, UdpConfig, UdpTransport};

/// Runs `body` in a thread with a network namespace of its own, which goes with the thread.
fn in_namespace(body: impl FnOnce() + Send) {
    thread::scope(|scope| {
        scope.spawn(|| {
            // SAFETY: changes the namespace of this thread only, which ends with the test.
            if unsafe { libc::unshare(libc::CLONE_NEWNET) } != 0 {
                let error = std::io::Error::last_os_error();
                eprintln!("skipped: no network namespace of our own ({error})");
                return;
            }
            body();
        });
    });
}

/// `ip` with these arguments; whether it did what it was told.
fn ip(arguments: &str) -> bool {
    let output = Command::new("ip").args(arguments.split(' ')).output();
    match output {
        Ok(output) if output.status.success() => true,
        Ok(output) => {
            let error = String::from_utf8_lossy(&output.stderr);
            eprintln!("ip {arguments}: {}", error.trim());
            false
        }
        Err(error) => {
            eprintln!("ip: {error}");
            false
        }
    }
}

fn named(links: &[Link], name: &str) -> Link {
    let link = links.iter().find(|link| link.name == name);
    link.unwrap_or_else(|| panic!("{name} is not in {links:?}"))
        .clone()
}

fn device(links: &[Link], name: &str) -> Result<String, NoDevice> {
    physical(links, named(links, name).index).map(|link| link.name.clone())
}

#[test]
fn stacked_interfaces_lead_to_their_device() {
    in_namespace(|| {
        if !ip("link add near type veth peer name far") {
            eprintln!("skipped: no veth");
            return;
        }
        if ip("link add link near name upon type macvlan") {
            assert_eq!(device(&links().unwrap(), "upon"), Ok("near".to_owned()));
        } else {
            eprintln!("skipped in part: no macvlan");
        }
        if ip("link add link near name near.7 type vlan id 7") {
            assert_eq!(device(&links().unwrap(), "near.7"), Ok("near".to_owned()));
        } else {
            eprintln!("skipped in part: no vlan");
        }
        if ip("link add bridge0 type bridge") {
            assert!(matches!(
                device(&links().unwrap(), "bridge0"),
                Err(NoDevice::Empty { .. })
            ));
            assert!(ip("link set far master bridge0"));
            assert_eq!(device(&links().unwrap(), "bridge0"), Ok("far".to_owned()));
        } else {
            eprintln!("skipped in part: no bridge");
        }
        if ip("link add bond7 type bond mode active-backup") {
            assert!(ip("link set near down") && ip("link set near master bond7"));
            assert_eq!(device(&links().unwrap(), "bond7"), Ok("near".to_owned()));
        } else {
            eprintln!("skipped in part: no bond");
        }
        let all = links().unwrap();
        let survey = Survey::of(&all, &named(&all, "near"), 4_711).unwrap();
        assert!(matches!(survey.verdict, Verdict::Kernel(_)), "{survey:?}");
        assert_eq!(survey.driver.as_deref(), Some("veth"));
        assert_eq!(nic::driver("near").unwrap(), "veth");
    });
}

#[test]
fn changes_are_heard_of() {
    in_namespace(|| {
        if !ip("link add first type veth peer name second") {
            eprintln!("skipped: no veth");
            return;
        }
        let mut watch = LinkWatch::open().unwrap();
        let index = named(&links().unwrap(), "first").index;
        assert!(ip("link set first name renamed") && ip("link set renamed up"));
        assert!(ip("link del renamed"));
        let (mut heard, mut gone) = (Vec::new(), false);
        let start = Instant::now();
        while !gone && start.elapsed() < Duration::from_secs(10) {
            assert!(watch.poll(|change| match change {
                LinkChange::Changed(link) if link.index == index => heard.push(link),
                LinkChange::Changed(_) => {}
                LinkChange::Gone(of) => gone |= of == index,
            }));
        }
        assert!(gone);
        assert!(heard.iter().any(|link| link.name == "renamed" && link.up));
        let mut routes = Routes::open().unwrap();
        let unreachable = routes.interface_to("192.0.2.1:9".parse().unwrap());
        assert_eq!(
            unreachable.unwrap_err().raw_os_error(),
            Some(libc::ENETUNREACH)
        );
    });
}

#[test]
fn without_stamping_cards_the_kernel_stamps_on() {
    in_namespace(|| {
        assert!(ip("link set lo up"));
        let config = UdpConfig::new("127.0.0.1:0".parse().unwrap());
        let mut sender = UdpTransport::open(&config).unwrap();
        let mut receiver = UdpTransport::open(&config).unwrap();
        for transport in [&mut sender, &mut receiver] {
            transport.use_cards(Vec::new()).unwrap();
            assert!(transport.cards().is_empty());
            assert!(transport.next_card_note().is_none());
        }
        let (mut sent, mut arrived) = (None, None);
        let start = Instant::now();
        // The first packets may come before stamps are turned on.
        while sent < Some(Source::Kernel) || arrived < Some(Source::Kernel) {
            assert!(start.elapsed() < Duration::from_secs(10), "no stamps");
            sender.attend_cards();
            sender.send(receiver.local_addr(), b"stamp me").unwrap();
            receiver
                .wait(Some(Duration::from_millis(100)), None)
                .unwrap();
            let note = |event| {
                if let TxEvent::Stamped { stamp, beside, .. } = event {
                    assert_eq!(beside, None);
                    sent = sent.max(Some(stamp.source));
                }
            };
            sender.poll_tx(note).unwrap();
            let take = |received: hwts::transport::Received<'_>| {
                assert_eq!(received.beside, None);
                arrived = arrived.max(Some(received.stamp.source));
            };
            receiver.receive(8, take).unwrap();
        }
        assert_eq!(sent, Some(Source::Kernel));
    });
}
