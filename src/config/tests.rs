//! What is refused, where, and with which advice.

mod shipped;

use std::fs;
use std::path::{Path, PathBuf};

use super::*;
use crate::consensus::strategies::CombineKind;
use crate::link::EstimatorKind;
use crate::node::{Lie, Strategies};
use crate::testing::TempDir;
use crate::time::{Rate, Span};
use proptest::prelude::*;

fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::parse(text, Path::new("f.toml"))
}

/// The error of a text that must not be accepted, in words.
fn refused(text: &str) -> String {
    let message = parse(text).unwrap_err().to_string();
    assert!(!message.contains('\n'), "more than one line: {message:?}");
    message
}

#[test]
fn an_empty_file_is_the_defaults() {
    assert_eq!(parse("").unwrap(), Config::default());
    assert_eq!(parse("# nothing\n\n[dht]\n").unwrap(), Config::default());
}

#[test]
fn everything_can_be_said() {
    let key = "cd".repeat(32);
    let config = parse(&format!(
        r#"
        network = "lab"
        listen = "0.0.0.0:5000"
        peers = ["a:1", "{key}@[::1]:2"]
        bootstrap = ["b:3"]
        topology = "chord"
        lan = false
        state_dir = "/s"
        control = false
        control_socket = "/c"
        user = "nobody"
        log = "parisync=debug,warn"
        single_thread = false
        dht = {{ enabled = true, listen = "[::]:6000" }}
        discipline.target = "virtual"
        discipline.max_slew_ppm = 1_000
        discipline.beside_others = true
        discipline.pulse_output = 1
        discipline.pps = true
        [discipline.step]
        threshold = "20ms"
        startup = "0s"
        panic = "never"
        startup_panic = "1h"
        after_interruption = false
        while_running = true
        [oscillator]
        clock = "phc:eth1"
        max_drift_ppm = 5.5
        wander_ppb = 0.5
        [virtual]
        offset = "-500ms"
        drift_ppm = -20
        seed = 0xff
        [exchange]
        poll = "250ms"
        burst = 8
        near = 5
        [consensus]
        assumed_liars = 0.25
        [reference]
        source = "oscillator"
        trust = ["{key}@ref:1"]
        [strategies]
        estimator = "kalman"
        combine = "w-msr"
        [transport]
        path = "xdp"
        xdp_interface = "eth1"
        stamps = "user"
        wait = "busy-poll"
        busy_poll = "20us"
        cpu = 0
        fifo_priority = 50
        [[transport.interface]]
        name = "eth1"
        hardware = false
        tx_compensation = "20ns"
        rx_compensation = "-30ns"
        in_flight = 1
        [testing]
        lie_offset = "-10ms"
        lie_drift_ppm = 200
        "#
    ))
    .unwrap();
    let expected = Config {
        network: "lab".to_owned(),
        listen: "0.0.0.0:5000".parse().unwrap(),
        peers: vec![
            "a:1".parse().unwrap(),
            format!("{key}@[::1]:2").parse().unwrap(),
        ],
        bootstrap: vec!["b:3".parse().unwrap()],
        topology: Topology::Chord,
        lan: false,
        state_dir: "/s".into(),
        control_socket: "/c".into(),
        control: false,
        user: Some("nobody".to_owned()),
        log: "parisync=debug,warn".to_owned(),
        single_thread: false,
        dht: DhtConfig {
            enabled: true,
            listen: "[::]:6000".parse().unwrap(),
        },
        discipline: DisciplineConfig {
            target: Target::Virtual,
            beside_others: true,
            pulse_output: Some(1),
            pps: true,
            max_slew: Rate::from_ppm(1_000.0),
            step: StepPolicy {
                threshold: Some(Span::from_millis(20)),
                startup: Span::ZERO,
                after_interruption: false,
                while_running: true,
                panic: None,
                startup_panic: Some(Span::from_secs(3_600)),
            },
        },
        oscillator: OscillatorSpec {
            clock: RawSource::Card("eth1".to_owned()),
            max_drift: Rate::from_ppm(5.5),
            wander: Rate::from_ppm(0.5e-3),
        },
        virtual_oscillator: VirtualOscillator {
            offset: Span::from_millis(-500),
            drift: Rate::from_ppm(-20.0),
            wander: Rate::ZERO,
            seed: 255,
        },
        exchange: ExchangeConfig {
            poll: Span::from_millis(250),
            burst: 8,
            near: 5,
        },
        consensus: ConsensusConfig {
            assumed_liars: 0.25,
        },
        reference: ReferenceConfig {
            source: TrueFrequency::Oscillator,
            trust: vec![format!("{key}@ref:1").parse().unwrap()],
        },
        strategies: Strategies {
            estimator: EstimatorKind::Kalman,
            combine: CombineKind::WMsr,
        },
        transport: TransportConfig {
            path: PacketPath::Xdp,
            xdp_interface: Some("eth1".to_owned()),
            stamps: Stamps::User,
            interfaces: vec![InterfaceConfig {
                hardware: false,
                tx_compensation: Span::from_nanos(20),
                rx_compensation: Span::from_nanos(-30),
                in_flight: Some(1),
                ..InterfaceConfig::new("eth1".to_owned())
            }],
            wait: Wait::BusyPoll,
            busy_poll: Span::from_micros(20),
            cpu: Some(0),
            fifo_priority: Some(50),
        },
        testing: Lie {
            offset: Span::from_millis(-10),
            drift: Rate::from_ppm(200.0),
        },
    };
    assert_eq!(config, expected);
    let settings = config.discipline.settings().unwrap();
    assert_eq!(settings.check(), Ok(()));
    assert_eq!(settings.max_slew, Rate::from_ppm(1_000.0));
    assert_eq!(settings.step.threshold, Span::from_millis(20));
    assert_eq!(settings.step.startup, Span::ZERO);
    assert_eq!(settings.step.panic, Span::MAX);
    assert_eq!(settings.step.startup_panic, Span::from_secs(3_600));
}

#[test]
fn the_defaults_fit_the_discipline() {
    use crate::discipline::Settings;
    for (target, expected) in [
        (Target::System, Settings::system()),
        (Target::Virtual, Settings::virtual_clock()),
        (Target::Card("eth0".to_owned()), Settings::card_clock()),
    ] {
        let config = DisciplineConfig {
            target,
            ..DisciplineConfig::default()
        };
        assert_eq!(config.settings(), Some(expected));
    }
    let none = DisciplineConfig {
        target: Target::None,
        ..DisciplineConfig::default()
    };
    assert_eq!(none.settings(), None);
}

#[test]
fn typos_are_refused_with_place_and_nearest_key() {
    assert_eq!(
        refused("lan = true\n[exchange]\n  pol = \"1s\"\n"),
        "f.toml:3:3: unknown key `exchange.pol`; did you mean `exchange.poll`?"
    );
    assert_eq!(
        refused("lann = true"),
        "f.toml:1:1: unknown key `lann`; did you mean `lan`?"
    );
    assert_eq!(
        refused("[dicipline]\ntarget = \"none\""),
        "f.toml:1:2: unknown key `dicipline`; did you mean `discipline`?"
    );
    assert_eq!(
        refused("poll = \"1s\""),
        "f.toml:1:1: unknown key `poll`; it belongs in [exchange]"
    );
    // Of several the first in the file, whatever their order in the alphabet.
    assert!(refused("zzz = 1\naaa = 1").starts_with("f.toml:1:1: unknown key `zzz`"));
    // A key cannot smuggle control characters to a terminal.
    assert!(refused("\"\\u001b[31m\" = 1").contains("\\u{1b}"));
}

#[test]
fn values_are_refused_with_place_and_reason() {
    for (text, message) in [
        (
            "lan = 1",
            "f.toml:1:7: `lan` must be true or false, not an integer",
        ),
        (
            "dht = true",
            "f.toml:1:7: `dht` must be a section, not a boolean",
        ),
        (
            "peers = \"a:1\"",
            "f.toml:1:9: `peers` must be a list, not a string",
        ),
        (
            "peers = [\n  \"a:1\",\n  \"é\", \"b\"]",
            "f.toml:3:3: `peers` is \"é\": \"é\" is neither a host name nor an address",
        ),
        (
            "log = \"info\" # é\npeers = [\"a\", \"a:4711\"]",
            "f.toml:2:15: `peers` names a:4711 twice; remove one",
        ),
        (
            "[exchange]\npoll = 1",
            "f.toml:2:8: `exchange.poll` must be a string, not an integer",
        ),
        (
            "[exchange]\npoll = \"1\"",
            "f.toml:2:8: `exchange.poll` is \"1\": say the unit: one of ns, us, ms, s, min, h, d, \
             as in \"500ms\"",
        ),
        (
            "[exchange]\npoll = \"1us\"",
            "f.toml:2:8: `exchange.poll` must be from 10ms to 1h",
        ),
        (
            "[exchange]\nburst = 17",
            "f.toml:2:9: `exchange.burst` must be from 1 to 16, not 17",
        ),
        (
            "[consensus]\nassumed_liars = 0.5",
            "f.toml:2:17: `consensus.assumed_liars` must be less than 0.5: there is no consensus \
             with as many liars",
        ),
        (
            "[consensus]\nassumed_liars = -0.1",
            "f.toml:2:17: `consensus.assumed_liars` must be from 0 to 0.5, not -0.1",
        ),
        (
            "[reference]\ntrust = [\"a\"]",
            "f.toml:2:9: `reference.trust` names a:4711 without its identity, so whoever answers \
             there would be trusted: write \"IDENTITY@a:4711\", as `parisync tracking` shows it \
             there",
        ),
        (
            "[reference]\nsource = \"system\"",
            "f.toml:2:10: `reference.source` is \"system\", which something else has to steer: set \
             `discipline.target` to something else, such as \"none\"",
        ),
        (
            "[exchange]\nburst = -1",
            "f.toml:2:9: `exchange.burst` must be from 1 to 16, not -1",
        ),
        (
            "[oscillator]\nmax_drift_ppm = nan",
            "f.toml:2:17: `oscillator.max_drift_ppm` must be from 0.001 to 10000, not nan",
        ),
        (
            "[discipline]\ntarget = \"phc\"",
            "f.toml:2:10: `discipline.target` is \"phc\": use one of system, virtual, none, \
             phc:INTERFACE, phc:/dev/ptpN",
        ),
        (
            "[strategies]\nestimator = \"kalmann\"",
            "f.toml:2:13: `strategies.estimator` is \"kalmann\": use one of min-rtt, regression, \
             hull, arvind, packet-interval, coded-pairs, kalman, default",
        ),
        (
            "[strategies]\ncombine = \"mean\"",
            "f.toml:2:11: `strategies.combine` is \"mean\": use one of mean-coupling, midpoint, cnv, \
             trimmed-mean, w-msr, median, gradient, skewless, tiers, loop-consistent, robust-mean, \
             default",
        ),
        (
            "[[transport.interface]]\nhardware = true",
            "f.toml:2:1: `transport.interface.name` is missing",
        ),
        (
            "[transport]\ninterface = [{ name = \"eth0\" }, { name = \"eth0\" }]",
            "f.toml:2:42: `transport.interface.name` names eth0 twice; remove one",
        ),
        (
            "listen = \"4711\"",
            "f.toml:1:10: `listen` is \"4711\": expected ADDRESS:PORT, such as \"[::]:4711\" or \
             \"192.0.2.7:4711\"",
        ),
        (
            "state_dir = \"here\"",
            "f.toml:1:13: `state_dir` must be an absolute path, beginning with /",
        ),
        (
            "[discipline.step]\npanic = \"1ms\"",
            "f.toml:2:9: `discipline.step.panic` must be longer than \
             `discipline.step.threshold` (10ms), or \"never\"",
        ),
        (
            "listen = \"[::]:4712\"",
            "f.toml:1:10: `listen` does not go with the rest: `listen` ([::]:4712) and \
             `dht.listen` ([::]:4712) are the same UDP port; give them different ones",
        ),
        (
            "single_thread = true\nlan = true",
            "f.toml:2:7: `lan` does not go with `single_thread`, which takes peers by name only; \
             remove one",
        ),
    ] {
        assert_eq!(refused(text), message);
    }
    let long = format!("control_socket = \"/{}\"", "x".repeat(100));
    assert!(refused(&long).contains("longer than 100 bytes"));
    assert!(refused("log = \"a=b=c\"").starts_with("f.toml:1:7: `log` is \"a=b=c\""));
    assert!(refused("network = \"\"").starts_with("f.toml:1:11: `network` must be"));
}

#[test]
fn the_raw_clock_runs_free() {
    let with = |target: &str| {
        let discipline = format!("[discipline]\ntarget = {target:?}\n");
        let config = format!("[oscillator]\nclock = \"phc:eth0\"\n{discipline}");
        let mut config = parse(&config)?;
        config.settle().map(|()| config)
    };
    let error = with("phc:eth0").unwrap_err().to_string();
    assert!(error.contains("has to run free"), "{error}");
    for target in ["phc:eth1", "phc:/dev/ptp1", "system", "none"] {
        let config = with(target).unwrap();
        assert_eq!((config.raw_card(), config.idle().len()), (Some("eth0"), 0));
    }
    let idle = with("virtual").unwrap();
    assert_eq!((idle.raw_card(), idle.idle().len()), (None, 1));
    let stamps = "[oscillator]\nclock = \"phc:eth0\"\n[transport]\nstamps = \"kernel\"\n";
    assert_eq!(parse(stamps).unwrap().idle().len(), 1);
    assert!(refused("oscillator.clock = \"eth0\"").contains("phc:INTERFACE"));
}

#[test]
fn text_that_is_no_toml_is_refused_with_its_place() {
    assert!(refused("lan = true\nlan = false").starts_with("f.toml:2:1: duplicate key"));
    assert!(refused("[dht]\n[dht]").starts_with("f.toml:2:2: duplicate key"));
    assert!(refused("lan = \n").starts_with("f.toml:1:7: not valid TOML"));
    assert!(refused("network = \"open\nlan = true").starts_with("f.toml:1:"));
    assert!(refused(&"[".repeat(100_000)).starts_with("f.toml:1:"));
}

#[test]
fn single_thread_turns_the_engines_off() {
    let config = parse("single_thread = true\npeers = [\"a:1\"]").unwrap();
    assert!(!config.lan && !config.dht.enabled);
}

#[test]
fn files_that_cannot_be_read_say_why() {
    let dir = TempDir::new("config");
    let load = |name: &str| Config::load(&dir.path().join(name)).unwrap_err();
    assert!(matches!(load("gone"), ConfigError::Unreadable { .. }));
    assert!(matches!(load(""), ConfigError::Directory { .. }));

    fs::write(dir.path().join("latin1"), b"# caf\xe9\nlan = true").unwrap();
    let error = load("latin1");
    let place = error.place().unwrap();
    assert_eq!((place.line, place.column), (1, 6));
    assert!(error.to_string().contains("not valid UTF-8"));

    fs::write(dir.path().join("huge"), vec![b'#'; MAX_FILE as usize + 1]).unwrap();
    assert!(matches!(load("huge"), ConfigError::TooLarge { .. }));
    // A device without end is read no further than the limit.
    let endless = Config::load(Path::new("/dev/zero")).unwrap_err();
    assert!(matches!(endless, ConfigError::TooLarge { .. }));

    fs::write(dir.path().join("ok"), vec![b'#'; MAX_FILE as usize]).unwrap();
    assert!(Config::load(&dir.path().join("ok")).is_ok());
}

proptest! {
    #[test]
    fn arbitrary_text_never_panics(text in "(lan|peers|[a-z\\[\\]\\. ={}\"'#\n0-9é]){0,40}") {
        if let Err(error) = parse(&text) {
            prop_assert!(!error.to_string().contains('\n'));
        }
    }
}
