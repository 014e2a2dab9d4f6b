//! The document to a [`Config`], key by key.

use std::ops::RangeInclusive;
use std::path::PathBuf;

use toml::de::DeTable;
use tracing_subscriber::EnvFilter;

use super::document::{Field, Section, Source};
use super::{Config, ConfigError, DurationText, PeerAddress, Target};
use crate::time::{Rate, Span};

/// The longest path a unix socket can have, with room for the temporary name it is made under.
const MAX_SOCKET_PATH: usize = 100;

/// Reads and checks the whole document.
pub(super) fn read(source: Source<'_>) -> Result<Config, ConfigError> {
    let document = DeTable::parse(source.text).map_err(|error| source.syntax(&error))?;
    let top = Section::open(source, String::new(), document.get_ref())?;
    let mut config = Config::default();
    top_level(&top, &mut config)?;
    if let Some(section) = top.section("dht")? {
        let dht = &mut config.dht;
        section.set("enabled", &mut dht.enabled, Field::boolean)?;
        section.set("listen", &mut dht.listen, Field::parsed)?;
    }
    if let Some(section) = top.section("discipline")? {
        discipline(&section, &mut config)?;
    }
    if let Some(section) = top.section("oscillator")? {
        let spec = &mut config.oscillator;
        section.set("max_drift_ppm", &mut spec.max_drift, |f| {
            ppm(f, 0.001..=1e4)
        })?;
        section.set("wander_ppb", &mut spec.wander, |f| ppb(f, 0.0..=1e3))?;
    }
    if let Some(section) = top.section("virtual")? {
        let virt = &mut config.virtual_oscillator;
        section.set("offset", &mut virt.offset, signed_span)?;
        section.set("drift_ppm", &mut virt.drift, |f| ppm(f, -1e4..=1e4))?;
        section.set("wander_ppb", &mut virt.wander, |f| ppb(f, 0.0..=1e3))?;
        section.set("seed", &mut virt.seed, |f| f.integer(0..=u64::MAX))?;
    }
    if let Some(section) = top.section("exchange")? {
        let exchange = &mut config.exchange;
        let (least, most) = (Span::from_millis(10), Span::from_secs(3_600));
        section.set("poll", &mut exchange.poll, |f| span(f, least..=most))?;
        section.set("burst", &mut exchange.burst, |f| small(f, 1..=16))?;
    }
    if let Some(section) = top.section("transport")? {
        let transport = &mut config.transport;
        section.set("stamps", &mut transport.stamps, Field::parsed)?;
        section.set("wait", &mut transport.wait, Field::parsed)?;
        let (least, most) = (Span::from_micros(1), Span::from_millis(100));
        section.set("busy_poll", &mut transport.busy_poll, |f| {
            span(f, least..=most)
        })?;
        section.set("cpu", &mut transport.cpu, |f| {
            Ok(Some(f.integer(0..=1023)? as usize))
        })?;
        section.set("fifo_priority", &mut transport.fifo_priority, |f| {
            small(f, 1..=99).map(Some)
        })?;
    }
    explicit_conflicts(&top, &config)?;
    config.settle().map_err(|error| match top.field("listen") {
        Some(field) => field.bad(format!("does not go with the rest: {error}")),
        None => error,
    })?;
    Ok(config)
}

fn top_level(top: &Section<'_>, config: &mut Config) -> Result<(), ConfigError> {
    top.set("network", &mut config.network, |field| {
        let name = field.text()?;
        let fits = (1..=64).contains(&name.len()) && !name.contains(char::is_control);
        if !fits {
            return Err(field.bad("must be 1 to 64 bytes of text without control characters"));
        }
        Ok(name.to_owned())
    })?;
    top.set("listen", &mut config.listen, |field| {
        let text = field.text()?;
        text.parse().map_err(|_| {
            field.bad(format!(
                "is {text:?}: expected ADDRESS:PORT, such as \"[::]:4711\""
            ))
        })
    })?;
    top.set("peers", &mut config.peers, peers)?;
    top.set("bootstrap", &mut config.bootstrap, peers)?;
    top.set("lan", &mut config.lan, Field::boolean)?;
    let state_dir_moved = top.field("state_dir").is_some();
    top.set("state_dir", &mut config.state_dir, absolute_path)?;
    if state_dir_moved {
        let state_dir = &config.state_dir;
        config.control_socket = super::paths::with_surroundings(|h| h.control_socket(state_dir));
    }
    top.set("control_socket", &mut config.control_socket, |field| {
        let path = absolute_path(field)?;
        if path.as_os_str().len() > MAX_SOCKET_PATH {
            return Err(field.bad(format!(
                "is longer than {MAX_SOCKET_PATH} bytes, more than a unix socket can have; \
                 choose a shorter path"
            )));
        }
        Ok(path)
    })?;
    top.set("user", &mut config.user, |field| {
        let name = field.text()?;
        let fits = !name.is_empty() && !name.contains(|c: char| c == ':' || c.is_whitespace());
        if !fits {
            return Err(field.bad("must be the name of a user"));
        }
        Ok(Some(name.to_owned()))
    })?;
    top.set("log", &mut config.log, |field| {
        let text = field.text()?;
        EnvFilter::try_new(text).map_err(|error| {
            let words = error.to_string();
            field.bad(format!(
                "is {text:?}: {words}; try \"info\" or \"parisync=debug\""
            ))
        })?;
        Ok(text.to_owned())
    })?;
    top.set("single_thread", &mut config.single_thread, Field::boolean)
}

fn discipline(section: &Section<'_>, config: &mut Config) -> Result<(), ConfigError> {
    let discipline = &mut config.discipline;
    section.set("target", &mut discipline.target, Field::parsed::<Target>)?;
    // The kernel's tick reaches ±10 %.
    section.set("max_slew_ppm", &mut discipline.max_slew, |f| {
        ppm(f, 1.0..=1e5)
    })?;
    let Some(section) = section.section("step")? else {
        return Ok(());
    };
    let step = &mut discipline.step;
    let any = Span::ZERO..=Span::MAX;
    section.set("startup", &mut step.startup, |f| span(f, any.clone()))?;
    section.set("panic", &mut step.panic, |field| match field.text()? {
        "never" => Ok(None),
        _ => span(field, any.clone()).map(Some),
    })?;
    if let (Some(panic), Some(field)) = (step.panic, section.field("panic"))
        && panic <= step.startup
    {
        return Err(field.bad(format!(
            "must be longer than `discipline.step.startup` ({}), or \"never\"",
            DurationText::new(step.startup)
        )));
    }
    section.set("while_running", &mut step.while_running, Field::boolean)
}

/// With one thread there are no engines; refuse it where one was asked for in so many words.
fn explicit_conflicts(top: &Section<'_>, config: &Config) -> Result<(), ConfigError> {
    if !config.single_thread {
        return Ok(());
    }
    let refuse = |field: Field<'_>| {
        Err(field.bad("does not go with `single_thread`, which takes `peers` only; remove one"))
    };
    match (top.field("lan"), top.section("dht")?) {
        (Some(field), _) if config.lan => refuse(field),
        (_, Some(dht)) if config.dht.enabled => match dht.field("enabled") {
            Some(field) => refuse(field),
            None => Ok(()),
        },
        _ => match top.field("bootstrap") {
            Some(field) if !config.bootstrap.is_empty() => refuse(field),
            _ => Ok(()),
        },
    }
}

fn peers(field: &Field<'_>) -> Result<Vec<PeerAddress>, ConfigError> {
    let mut peers = Vec::new();
    for element in field.elements()? {
        let peer: PeerAddress = element.parsed()?;
        if peers.contains(&peer) {
            return Err(element.bad(format!("names {peer} twice; remove one")));
        }
        peers.push(peer);
    }
    Ok(peers)
}

fn absolute_path(field: &Field<'_>) -> Result<PathBuf, ConfigError> {
    let path = PathBuf::from(field.text()?);
    if !path.is_absolute() || path.as_os_str().as_encoded_bytes().contains(&0) {
        return Err(field.bad("must be an absolute path, beginning with /"));
    }
    Ok(path)
}

fn ppm(field: &Field<'_>, range: RangeInclusive<f64>) -> Result<Rate, ConfigError> {
    field.number(range).map(Rate::from_ppm)
}

fn ppb(field: &Field<'_>, range: RangeInclusive<f64>) -> Result<Rate, ConfigError> {
    field.number(range).map(|ppb| Rate::from_ppm(ppb / 1e3))
}

fn small(field: &Field<'_>, range: RangeInclusive<u64>) -> Result<u8, ConfigError> {
    field.integer(range).map(|value| value as u8)
}

fn span(field: &Field<'_>, range: RangeInclusive<Span>) -> Result<Span, ConfigError> {
    let span = field.parsed::<DurationText>()?.span();
    if range.contains(&span) {
        return Ok(span);
    }
    let (least, most) = (
        DurationText::new(*range.start()),
        DurationText::new(*range.end()),
    );
    Err(field.bad(format!("must be from {least} to {most}")))
}

fn signed_span(field: &Field<'_>) -> Result<Span, ConfigError> {
    let text = field.text()?;
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text),
    };
    let span = digits
        .parse::<DurationText>()
        .map_err(|error| field.bad(format!("is {text:?}: {error}")))?
        .span();
    Ok(if negative { -span } else { span })
}
