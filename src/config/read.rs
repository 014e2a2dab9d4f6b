//! The document to a [`Config`], key by key.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use toml::de::DeTable;

use super::check;
use super::document::{Field, Section, Source};
use super::{Config, ConfigError, DEFAULT_DHT_PORT, DurationText, InterfaceConfig, Target};
use crate::discipline::StepPolicy as DisciplinePolicy;
use crate::engine::{DEFAULT_TIME_PORT, PeerAddress};
use crate::time::{Rate, Span};

/// Reads and checks the whole document.
pub(super) fn read(source: Source<'_>) -> Result<Config, ConfigError> {
    let document = DeTable::parse(source.text).map_err(|error| source.syntax(&error))?;
    let top = Section::open(source, String::new(), document.get_ref())?;
    let mut config = Config::default();
    top_level(&top, &mut config)?;
    if let Some(section) = top.section("dht")? {
        let dht = &mut config.dht;
        section.set("enabled", &mut dht.enabled, Field::boolean)?;
        section.set("listen", &mut dht.listen, socket_address)?;
    }
    if let Some(section) = top.section("discipline")? {
        discipline(&section, &mut config)?;
    }
    if let Some(section) = top.section("oscillator")? {
        let spec = &mut config.oscillator;
        section.set("clock", &mut spec.clock, Field::parsed)?;
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
        section.set("near", &mut exchange.near, |f| small(f, 0..=16))?;
    }
    if let Some(section) = top.section("consensus")? {
        let consensus = &mut config.consensus;
        section.set("assumed_liars", &mut consensus.assumed_liars, minority)?;
    }
    if let Some(section) = top.section("reference")? {
        reference(&section, &mut config)?;
    }
    if let Some(section) = top.section("strategies")? {
        let strategies = &mut config.strategies;
        section.set("estimator", &mut strategies.estimator, Field::parsed)?;
        section.set("combine", &mut strategies.combine, Field::parsed)?;
    }
    if let Some(section) = top.section("transport")? {
        let transport = &mut config.transport;
        section.set("path", &mut transport.path, Field::parsed)?;
        section.set("xdp_interface", &mut transport.xdp_interface, |field| {
            interface_name(field).map(Some)
        })?;
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
    for section in transport_interfaces(&top)? {
        let interface = interface(&section)?;
        let interfaces = &mut config.transport.interfaces;
        if interfaces.iter().any(|i| i.name == interface.name) {
            return Err(match section.field("name") {
                Some(name) => name.bad(format!("names {} twice; remove one", interface.name)),
                None => section.missing("name"),
            });
        }
        interfaces.push(interface);
    }
    if let Some(section) = top.section("testing")? {
        let lie = &mut config.testing;
        section.set("lie_offset", &mut lie.offset, signed_span)?;
        section.set("lie_drift_ppm", &mut lie.drift, |f| ppm(f, -1e4..=1e4))?;
    }
    explicit_conflicts(&top, &config)?;
    config.settle().map_err(|error| match top.field("listen") {
        Some(field) => field.bad(format!("does not go with the rest: {error}")),
        None => error,
    })?;
    Ok(config)
}

fn transport_interfaces<'a>(top: &Section<'a>) -> Result<Vec<Section<'a>>, ConfigError> {
    match top.section("transport")? {
        Some(transport) => transport.sections("interface"),
        None => Ok(Vec::new()),
    }
}

fn interface_name(field: &Field<'_>) -> Result<String, ConfigError> {
    // IFNAMSIZ with its final zero.
    let text = field.text()?;
    if text.is_empty() || text.len() > 15 || text.contains(|c: char| c == '/' || c.is_whitespace())
    {
        return Err(field.bad("must be the name of a network interface"));
    }
    Ok(text.to_owned())
}

fn interface(section: &Section<'_>) -> Result<InterfaceConfig, ConfigError> {
    let Some(name) = section.field("name") else {
        return Err(section.missing("name"));
    };
    let mut interface = InterfaceConfig::new(interface_name(&name)?);
    section.set("hardware", &mut interface.hardware, Field::boolean)?;
    for (key, value) in [
        ("tx_compensation", &mut interface.tx_compensation),
        ("rx_compensation", &mut interface.rx_compensation),
    ] {
        section.set(key, value, signed_span)?;
    }
    section.set("in_flight", &mut interface.in_flight, |f| {
        small(f, 1..=64).map(Some)
    })?;
    Ok(interface)
}

fn top_level(top: &Section<'_>, config: &mut Config) -> Result<(), ConfigError> {
    let checked = |field: &Field<'_>, check: fn(&str) -> Result<String, String>| {
        check(field.text()?).map_err(|problem| field.bad(problem))
    };
    let path = |field: &Field<'_>, check: fn(&Path) -> Result<PathBuf, String>| {
        check(Path::new(field.text()?)).map_err(|problem| field.bad(problem))
    };
    top.set("network", &mut config.network, |f| {
        checked(f, check::network)
    })?;
    top.set("listen", &mut config.listen, socket_address)?;
    top.set("peers", &mut config.peers, |f| peers(f, DEFAULT_TIME_PORT))?;
    top.set("bootstrap", &mut config.bootstrap, |f| {
        peers(f, DEFAULT_DHT_PORT)
    })?;
    top.set("topology", &mut config.topology, Field::parsed)?;
    top.set("lan", &mut config.lan, Field::boolean)?;
    if let Some(field) = top.field("state_dir") {
        let dir = path(&field, check::absolute)?;
        config.set_state_dir(&dir)?;
    }
    top.set("control_socket", &mut config.control_socket, |f| {
        path(f, check::socket)
    })?;
    top.set("user", &mut config.user, |field| {
        let name = field.text()?;
        let fits = !name.is_empty() && !name.contains(|c: char| c == ':' || c.is_whitespace());
        if !fits {
            return Err(field.bad("must be the name of a user"));
        }
        Ok(Some(name.to_owned()))
    })?;
    top.set("control", &mut config.control, Field::boolean)?;
    top.set("log", &mut config.log, |f| checked(f, check::log))?;
    top.set("single_thread", &mut config.single_thread, Field::boolean)
}

fn discipline(section: &Section<'_>, config: &mut Config) -> Result<(), ConfigError> {
    let discipline = &mut config.discipline;
    section.set("target", &mut discipline.target, Field::parsed::<Target>)?;
    // The kernel's tick reaches ±10 %.
    section.set("max_slew_ppm", &mut discipline.max_slew, |f| {
        ppm(f, 1.0..=1e5)
    })?;
    section.set(
        "beside_others",
        &mut discipline.beside_others,
        Field::boolean,
    )?;
    section.set("pulse_output", &mut discipline.pulse_output, |f| {
        let output = f.integer(0..=u64::from(u32::MAX))?;
        Ok(u32::try_from(output).ok())
    })?;
    section.set("pps", &mut discipline.pps, Field::boolean)?;
    let Some(section) = section.section("step")? else {
        return Ok(());
    };
    let step = &mut discipline.step;
    let shortest = Span::from_nanos(1);
    section.set("threshold", &mut step.threshold, |field| {
        span(field, shortest..=Span::MAX).map(Some)
    })?;
    section.set("startup", &mut step.startup, |f| {
        span(f, Span::ZERO..=Span::MAX)
    })?;
    let flag = Field::boolean;
    section.set("after_interruption", &mut step.after_interruption, flag)?;
    section.set("while_running", &mut step.while_running, flag)?;
    section.set("panic", &mut step.panic, limit)?;
    section.set("startup_panic", &mut step.startup_panic, limit)?;
    // Whatever the target, so that changing it by a flag cannot break a valid file.
    let threshold = step
        .threshold
        .unwrap_or(DisciplinePolicy::default().threshold);
    for (key, panic) in [("panic", step.panic), ("startup_panic", step.startup_panic)] {
        if let (Some(panic), Some(field)) = (panic, section.field(key))
            && panic <= threshold
        {
            let threshold = DurationText::new(threshold);
            return Err(field.bad(format!(
                "must be longer than `discipline.step.threshold` ({threshold}), or \"never\""
            )));
        }
    }
    if let (Some(threshold), Some(field)) = (step.threshold, section.field("threshold"))
        && step
            .panic
            .into_iter()
            .chain(step.startup_panic)
            .any(|panic| panic <= threshold)
    {
        return Err(field.bad("must be shorter than `panic` and `startup_panic` beside it"));
    }
    Ok(())
}

fn reference(section: &Section<'_>, config: &mut Config) -> Result<(), ConfigError> {
    let reference = &mut config.reference;
    section.set("source", &mut reference.source, Field::parsed)?;
    section.set("trust", &mut reference.trust, |field| {
        let trusted = peers(field, DEFAULT_TIME_PORT)?;
        let anybody = trusted.iter().find(|peer| peer.id.is_none());
        match anybody {
            Some(peer) => Err(field.bad(format!(
                "names {peer} without its identity, so whoever answers there would be trusted: \
                 write \"IDENTITY@{peer}\", as `parisync tracking` shows it there"
            ))),
            None => Ok(trusted),
        }
    })?;
    match (section.field("source"), config.circular()) {
        (Some(field), Some(circle)) => Err(field.bad(circle)),
        _ => Ok(()),
    }
}

/// A limit that can be taken away.
fn limit(field: &Field<'_>) -> Result<Option<Span>, ConfigError> {
    match field.text()? {
        "never" => Ok(None),
        _ => span(field, Span::from_nanos(1)..=Span::MAX).map(Some),
    }
}

/// With one thread there are no engines; refuse it where one was asked for in so many words.
fn explicit_conflicts(top: &Section<'_>, config: &Config) -> Result<(), ConfigError> {
    if !config.single_thread {
        return Ok(());
    }
    let refuse = |field: Field<'_>| {
        Err(field
            .bad("does not go with `single_thread`, which takes peers by name only; remove one"))
    };
    match (top.field("lan"), top.section("dht")?) {
        (Some(field), _) if config.lan => refuse(field),
        (_, Some(dht)) if config.dht.enabled => match dht.field("enabled") {
            Some(field) => refuse(field),
            None => Ok(()),
        },
        _ => match (top.field("bootstrap"), top.field("topology")) {
            (Some(field), _) if !config.bootstrap.is_empty() => refuse(field),
            (_, Some(field)) => refuse(field),
            _ => Ok(()),
        },
    }
}

fn peers(field: &Field<'_>, default_port: u16) -> Result<Vec<PeerAddress>, ConfigError> {
    let mut peers = Vec::new();
    for element in field.elements()? {
        let text = element.text()?;
        let peer = PeerAddress::parse(text, default_port)
            .map_err(|error| element.bad(format!("is {text:?}: {error}")))?;
        if peers.contains(&peer) {
            return Err(element.bad(format!("names {peer} twice; remove one")));
        }
        peers.push(peer);
    }
    Ok(peers)
}

fn socket_address(field: &Field<'_>) -> Result<SocketAddr, ConfigError> {
    let text = field.text()?;
    text.parse().map_err(|_| {
        field.bad(format!(
            "is {text:?}: expected ADDRESS:PORT, such as \"[::]:4711\" or \"192.0.2.7:4711\""
        ))
    })
}

fn ppm(field: &Field<'_>, range: RangeInclusive<f64>) -> Result<Rate, ConfigError> {
    field.number(range).map(Rate::from_ppm)
}

fn ppb(field: &Field<'_>, range: RangeInclusive<f64>) -> Result<Rate, ConfigError> {
    field.number(range).map(|ppb| Rate::from_ppm(ppb / 1e3))
}

/// A share of less than one half.
fn minority(field: &Field<'_>) -> Result<f64, ConfigError> {
    match field.number(0.0..=0.5)? {
        share if share < 0.5 => Ok(share),
        _ => Err(field.bad("must be less than 0.5: there is no consensus with as many liars")),
    }
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
