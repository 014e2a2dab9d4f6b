//! That what we ship is valid, complete, and means what the program does.

use super::*;
use crate::consensus::strategies::CombineKind;
use crate::link::EstimatorKind;

fn example() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/parisync.toml");
    fs::read_to_string(path).unwrap()
}

#[test]
fn every_shipped_configuration_is_valid() {
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts");
    let files: Vec<PathBuf> = fs::read_dir(scripts)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ext| ext == "toml"))
        .collect();
    assert!(!files.is_empty());
    for file in files {
        Config::load(&file).unwrap();
    }
}

/// The example shows defaults as comments, so that with the marks taken off it means the same.
#[test]
fn the_example_shows_every_key_with_its_default() {
    let example = example();
    let mut shown = Vec::new();
    let mut section = String::new();
    let mut uncommented = String::new();
    for line in example.lines() {
        let bare = line.strip_prefix('#').unwrap_or(line);
        let header = bare.starts_with("[[") || line.starts_with('[');
        if header {
            section = bare.trim_matches(['[', ']']).to_owned();
        }
        let key = bare.split(" = ").next().unwrap_or_default();
        let word = |c: char| c.is_ascii_lowercase() || c == '_';
        let is_setting = bare.contains(" = ") && key.chars().all(word);
        if is_setting {
            shown.push(schema::dotted(&section, key));
        }
        uncommented += if is_setting || header { bare } else { line };
        uncommented += "\n";
    }
    for (section, keys) in SECTIONS {
        for key in keys.iter().map(|key| schema::dotted(section, key)) {
            let is_section = SECTIONS.iter().any(|(name, _)| *name == key);
            assert!(
                is_section || shown.contains(&key),
                "{key} is not in the example"
            );
        }
    }
    let config = parse(&uncommented).unwrap();
    let expected = Config {
        // These have no value by default, and paths depend on who runs it.
        peers: config.peers.clone(),
        bootstrap: config.bootstrap.clone(),
        reference: config.reference.clone(),
        user: Some("parisync".to_owned()),
        state_dir: SYSTEM_STATE.into(),
        control_socket: SYSTEM_SOCKET.into(),
        transport: TransportConfig {
            xdp_interface: Some("eth0".to_owned()),
            cpu: Some(1),
            fifo_priority: Some(50),
            interfaces: vec![InterfaceConfig {
                in_flight: Some(4),
                ..InterfaceConfig::new("eth0".to_owned())
            }],
            ..TransportConfig::default()
        },
        discipline: DisciplineConfig {
            pulse_output: Some(0),
            step: StepPolicy {
                threshold: Some(Span::from_millis(10)),
                ..StepPolicy::default()
            },
            ..DisciplineConfig::default()
        },
        ..Config::default()
    };
    assert_eq!(config, expected);
    assert_eq!((config.peers.len(), config.bootstrap.len()), (2, 1));
    assert_eq!(config.reference.trust.len(), 1);
}

#[test]
fn the_manual_explains_every_key_and_names_every_strategy() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/operations.md");
    let manual = fs::read_to_string(path).unwrap();
    let line_of = |key: &str| manual.lines().find(|line| line.contains(key)).unwrap();
    for name in EstimatorKind::ALL.map(EstimatorKind::name) {
        assert!(line_of("`strategies.estimator`").contains(&format!("`{name}`")));
    }
    for name in CombineKind::ALL.map(CombineKind::name) {
        assert!(line_of("`strategies.combine`").contains(&format!("`{name}`")));
    }
    for (section, keys) in SECTIONS {
        for key in keys.iter().map(|key| schema::dotted(section, key)) {
            let is_section = SECTIONS.iter().any(|(name, _)| *name == key);
            assert!(
                is_section || manual.contains(&format!("| `{key}` |")),
                "{key}"
            );
        }
    }
}
