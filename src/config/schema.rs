//! Every key there is, and which of them a typo was meant to be.

/// A section of the file and its keys; the first is the top level.
pub type SectionKeys = (&'static str, &'static [&'static str]);

/// Every section with every key, in the order of the documentation.
pub const SECTIONS: &[SectionKeys] = &[
    (
        "",
        &[
            "network",
            "listen",
            "peers",
            "bootstrap",
            "topology",
            "lan",
            "state_dir",
            "control",
            "control_socket",
            "user",
            "log",
            "single_thread",
            "dht",
            "discipline",
            "oscillator",
            "virtual",
            "exchange",
            "consensus",
            "reference",
            "strategies",
            "transport",
            "testing",
        ],
    ),
    ("dht", &["enabled", "listen"]),
    (
        "discipline",
        &[
            "target",
            "max_slew_ppm",
            "beside_others",
            "pulse_output",
            "pps",
            "step",
        ],
    ),
    (
        "discipline.step",
        &[
            "threshold",
            "startup",
            "after_interruption",
            "while_running",
            "panic",
            "startup_panic",
        ],
    ),
    ("oscillator", &["clock", "max_drift_ppm", "wander_ppb"]),
    ("virtual", &["offset", "drift_ppm", "wander_ppb", "seed"]),
    ("exchange", &["poll", "burst", "near"]),
    ("consensus", &["assumed_liars"]),
    ("reference", &["source", "trust"]),
    ("strategies", &["estimator", "combine"]),
    (
        "transport",
        &[
            "path",
            "xdp_interface",
            "stamps",
            "wait",
            "busy_poll",
            "cpu",
            "fifo_priority",
            "interface",
        ],
    ),
    (
        "transport.interface",
        &[
            "name",
            "hardware",
            "tx_compensation",
            "rx_compensation",
            "in_flight",
        ],
    ),
    ("testing", &["lie_offset", "lie_drift_ppm"]),
];

/// The keys of `section`; none for a section there is not.
pub(super) fn keys_of(section: &str) -> &'static [&'static str] {
    let found = SECTIONS.iter().find(|(name, _)| *name == section);
    found.map_or(&[], |(_, keys)| keys)
}

/// `key` with its section before it, as TOML writes it.
pub(super) fn dotted(section: &str, key: &str) -> String {
    if section.is_empty() {
        key.to_owned()
    } else {
        format!("{section}.{key}")
    }
}

/// What to say to somebody who wrote `key` in `section`, where there is no such key.
pub(super) fn advice(section: &str, key: &str) -> String {
    let here = keys_of(section);
    if let Some(near) = nearest(key, here.iter().copied()) {
        return format!("; did you mean `{}`?", dotted(section, near));
    }
    let exact = |keys: &[&str]| keys.contains(&key);
    if let Some((home, _)) = SECTIONS.iter().find(|(_, keys)| exact(keys)) {
        return match *home {
            "" => "; it belongs at the top of the file, before any [section]".to_owned(),
            home => format!("; it belongs in [{home}]"),
        };
    }
    let elsewhere: Vec<String> = SECTIONS
        .iter()
        .flat_map(|(home, keys)| keys.iter().map(move |key| dotted(home, key)))
        .collect();
    let last_part = |full: &str| full.rsplit('.').next().unwrap_or_default().to_owned();
    let near = nearest(key, elsewhere.iter().map(|full| last_part(full)));
    match near.and_then(|near| elsewhere.iter().find(|full| last_part(full) == near)) {
        Some(full) => format!("; did you mean `{full}`?"),
        None => format!("; the keys here are {}", here.join(", ")),
    }
}

/// The candidate that differs from `word` least, if it is near enough to have been meant.
pub fn nearest<S: AsRef<str>>(word: &str, candidates: impl Iterator<Item = S>) -> Option<S> {
    let word = word.to_lowercase().replace('-', "_");
    // A word of hundreds of letters is no typo, and the distance costs their product.
    if word.chars().count() > 40 {
        return None;
    }
    let distance = |candidate: &S| {
        let candidate = candidate.as_ref();
        if candidate.len() >= 3 && word.len() >= 3 {
            let part = candidate.starts_with(&word) || word.starts_with(candidate);
            return strsim::damerau_levenshtein(&word, candidate).min(if part { 1 } else { 99 });
        }
        strsim::damerau_levenshtein(&word, candidate)
    };
    let tolerated = (word.chars().count() / 3).clamp(1, 3);
    candidates
        .map(|candidate| (distance(&candidate), candidate))
        .filter(|(distance, _)| *distance <= tolerated)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typos_find_their_key() {
        assert_eq!(advice("exchange", "pol"), "; did you mean `exchange.poll`?");
        assert_eq!(advice("", "bootstap"), "; did you mean `bootstrap`?");
        assert_eq!(advice("", "state-dir"), "; did you mean `state_dir`?");
        assert_eq!(advice("", "Listen"), "; did you mean `listen`?");
        assert_eq!(
            advice("discipline", "max_slew"),
            "; did you mean `discipline.max_slew_ppm`?"
        );
    }

    #[test]
    fn keys_in_the_wrong_section_are_sent_home() {
        assert_eq!(advice("", "poll"), "; it belongs in [exchange]");
        assert_eq!(
            advice("", "while_running"),
            "; it belongs in [discipline.step]"
        );
        assert_eq!(
            advice("dht", "bootstrap"),
            "; it belongs at the top of the file, before any [section]"
        );
        assert_eq!(advice("", "brust"), "; did you mean `exchange.burst`?");
    }

    #[test]
    fn nonsense_lists_the_keys() {
        assert_eq!(
            advice("dht", "xyzzyplugh"),
            "; the keys here are enabled, listen"
        );
        assert!(advice("dht", &"x".repeat(100_000)).ends_with("enabled, listen"));
    }

    #[test]
    fn every_section_is_a_key_of_its_parent() {
        for (section, keys) in SECTIONS.iter().skip(1) {
            let (parent, name) = section.rsplit_once('.').unwrap_or(("", section));
            assert!(keys_of(parent).contains(&name), "{section}");
            assert!(!keys.is_empty());
        }
    }
}
