//! A running chronyd as a source, through `chronyc -c`.
//!
//! Its own program is asked rather than its socket: the socket's binary protocol belongs to
//! chrony and changes with its versions, the columns of `chronyc -c` are documented (chronyc(1)).

use std::io;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use hwts::Domain;
use parisync::present::text::span;

use super::source::{Reading, Source, Trouble, trouble};

const NAME: &str = "chrony";

/// Asks chronyd through chronyc.
#[derive(Debug)]
pub struct ChronySource {
    program: PathBuf,
    host: Option<String>,
}

/// What `chronyc -c tracking` says (chronyc(1), `tracking`), as far as it is used. Seconds.
#[derive(Debug, Clone, PartialEq)]
struct Tracking {
    /// Name or address of the source it follows; empty without one.
    reference: String,
    stratum: u8,
    /// The clock that chronyd keeps minus the system clock.
    correction: f64,
    rms_offset: f64,
    root_delay: f64,
    root_dispersion: f64,
    leap: String,
}

/// One line of `chronyc -c sources` (chronyc(1), `sources`), as far as it is used.
#[derive(Debug, Clone, PartialEq)]
struct Peer {
    /// `*` is followed, `+` combined, `-` not, `x` a falseticker, `~` too variable, `?` not usable.
    state: char,
    name: String,
    stratum: u8,
    /// The clock that chronyd keeps minus the source, now, s.
    offset: f64,
    /// Half-width of that, s.
    error: f64,
    /// Since the last sample, s.
    age: u64,
}

/// Why chronyc's answer cannot be used.
#[derive(Debug, thiserror::Error)]
enum ChronyError {
    #[error(
        "{} is not installed: install the package chrony, or name the program with --chronyc",
        program.display()
    )]
    NoProgram { program: PathBuf },
    #[error("cannot run {}: {error}", program.display())]
    Run { program: PathBuf, error: io::Error },
    #[error("chronyd does not answer ({0}); is it running, and may this user ask it?")]
    Silent(String),
    #[error("chronyc's {report}, line {line}: {what}; is it a chronyc of version 3 or later?")]
    Foreign {
        report: &'static str,
        line: usize,
        what: String,
    },
}

impl ChronySource {
    /// Asks by this program; chronyd is on this host unless `host` (an address, or the path of a
    /// socket, as for `chronyc -h`) says otherwise.
    pub fn new(program: PathBuf, host: Option<String>) -> Self {
        Self { program, host }
    }

    fn report(&self, report: &'static str) -> Result<String, ChronyError> {
        let mut command = Command::new(&self.program);
        // -n: no name is looked up, -c: columns with commas.
        command.args(["-n", "-c"]).stdin(Stdio::null());
        if let Some(host) = &self.host {
            command.args(["-h", host]);
        }
        let output = command.arg(report).output().map_err(|error| {
            let program = self.program.clone();
            match error.kind() {
                io::ErrorKind::NotFound => ChronyError::NoProgram { program },
                _ => ChronyError::Run { program, error },
            }
        })?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        if output.status.success() {
            return Ok(said);
        }
        let complaint = String::from_utf8_lossy(&output.stderr) + said.as_str();
        let first = complaint.lines().next().unwrap_or("no reason given");
        Err(ChronyError::Silent(first.trim().to_owned()))
    }

    fn ask(&self) -> Result<Vec<Reading>, ChronyError> {
        let tracking = tracking(&self.report("tracking")?)?;
        let at = Domain::MonotonicRaw.now();
        let mut readings = vec![of_tracking(&tracking, at)];
        let peers = peers(&self.report("sources")?)?;
        let at = Domain::MonotonicRaw.now();
        // Without a sample there is nothing to show.
        let heard = peers.iter().filter(|peer| peer.error > 0.0);
        readings.extend(heard.map(|peer| of_peer(peer, &tracking, at)));
        Ok(readings)
    }
}

impl Source for ChronySource {
    fn name(&self) -> &str {
        NAME
    }

    fn read(&mut self) -> Result<Vec<Reading>, Trouble> {
        self.ask().map_err(|error| trouble(NAME, error))
    }
}

/// The clock chronyd keeps: its bound is root dispersion and half the root delay (chronyc(1)).
fn of_tracking(tracking: &Tracking, at: i64) -> Reading {
    let known = tracking.leap != "Not synchronised";
    let bound = tracking.root_dispersion + tracking.root_delay / 2.0;
    Reading {
        source: NAME.to_owned(),
        offset_ns: tracking.correction * 1e9,
        guaranteed_ns: known.then_some(bound * 1e9),
        statistical_ns: None,
        detail: match (known, tracking.reference.as_str()) {
            (false, _) => "not synchronised".to_owned(),
            (true, name) => format!(
                "follows {name}, stratum {}, RMS offset {}",
                tracking.stratum,
                span(tracking.rms_offset * 1e9)
            ),
        },
        at,
    }
}

/// One of chronyd's own sources, as chronyd measured it: against the clock that it keeps.
fn of_peer(peer: &Peer, tracking: &Tracking, at: i64) -> Reading {
    Reading {
        source: format!("{NAME}:{}", peer.name),
        // Chrony has it the other way round: how far its clock is ahead of the source.
        offset_ns: (tracking.correction - peer.offset) * 1e9,
        guaranteed_ns: Some(peer.error * 1e9),
        statistical_ns: None,
        detail: format!(
            "{} stratum {}, heard {} s ago",
            peer.state, peer.stratum, peer.age
        ),
        at,
    }
}

fn tracking(text: &str) -> Result<Tracking, ChronyError> {
    let foreign = |what: String| ChronyError::Foreign {
        report: "tracking",
        line: 1,
        what,
    };
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let (Some(line), None) = (lines.next(), lines.next()) else {
        return Err(foreign("one line expected".to_owned()));
    };
    let fields: Vec<&str> = line.split(',').collect();
    let &[
        _,
        name,
        stratum,
        _,
        correction,
        _,
        rms,
        _,
        _,
        _,
        delay,
        dispersion,
        _,
        leap,
    ] = fields.as_slice()
    else {
        return Err(foreign(format!(
            "14 columns expected, {} found",
            fields.len()
        )));
    };
    let number = |field: &str| number(field).map_err(foreign);
    Ok(Tracking {
        reference: name.to_owned(),
        stratum: whole(stratum).map_err(foreign)?,
        correction: number(correction)?,
        rms_offset: number(rms)?,
        root_delay: number(delay)?,
        root_dispersion: number(dispersion)?,
        leap: leap.to_owned(),
    })
}

fn peers(text: &str) -> Result<Vec<Peer>, ChronyError> {
    let lines = text.lines().map(str::trim).enumerate();
    lines
        .filter(|(_, line)| !line.is_empty())
        .map(|(at, line)| {
            peer(line).map_err(|what| ChronyError::Foreign {
                report: "sources",
                line: at + 1,
                what,
            })
        })
        .collect()
}

fn peer(line: &str) -> Result<Peer, String> {
    let fields: Vec<&str> = line.split(',').collect();
    let &[_, state, name, stratum, _, _, age, offset, _, error] = fields.as_slice() else {
        return Err(format!("10 columns expected, {} found", fields.len()));
    };
    let mut states = state.chars();
    let (Some(state), None) = (states.next(), states.next()) else {
        return Err(format!("{state:?} is no state"));
    };
    Ok(Peer {
        state,
        name: name.to_owned(),
        stratum: whole(stratum)?,
        offset: number(offset)?,
        error: number(error)?,
        age: whole(age)?,
    })
}

fn number(field: &str) -> Result<f64, String> {
    let value: Option<f64> = field.parse().ok();
    let value = value.filter(|value| value.is_finite());
    value.ok_or_else(|| format!("{field:?} is no number"))
}

fn whole<T: std::str::FromStr>(field: &str) -> Result<T, String> {
    let value = field.parse();
    value.map_err(|_| format!("{field:?} is no number from 0 on"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    // As chronyc 4.3 printed them of a chronyd that follows one server.
    const TRACKING: &str = "C0000202,192.0.2.2,2,1763841234.123456789,0.049998123,-0.000000321,0.000001500,-12.345,0.001,0.250,0.000120000,0.000034000,16.2,Normal\n";
    const SOURCES: &str = "\
^,*,192.0.2.2,1,4,377,12,-0.000002000,-0.000004000,0.000083000
^,?,192.0.2.9,0,6,0,4294967295,0.000000000,0.000000000,0.000000000
";

    #[test]
    fn tracking_says_how_far_the_system_clock_is_behind() {
        let reading = of_tracking(&tracking(TRACKING).unwrap(), 7);
        assert!((reading.offset_ns - 49_998_123.0).abs() < 1e-3);
        // 34 µs and half of 120 µs.
        assert!((reading.guaranteed_ns.unwrap() - 94_000.0).abs() < 1e-6);
        assert_eq!(reading.statistical_ns, None);
        assert_eq!(
            reading.detail,
            "follows 192.0.2.2, stratum 2, RMS offset 1.50µs"
        );
        assert_eq!(reading.at, 7);
    }

    #[test]
    fn an_unsynchronised_chronyd_has_no_bound() {
        let text = "00000000,,0,0.000000000,0.000000000,0.000000000,0.000000000,0.000,0.000,0.000,1.000000000,1.000000000,0.0,Not synchronised";
        let reading = of_tracking(&tracking(text).unwrap(), 0);
        assert_eq!(
            (reading.guaranteed_ns, reading.statistical_ns),
            (None, None)
        );
        assert_eq!(reading.detail, "not synchronised");
    }

    #[test]
    fn sources_are_told_against_chronys_own_clock() {
        let peers = peers(SOURCES).unwrap();
        assert_eq!(peers.len(), 2);
        let tracking = tracking(TRACKING).unwrap();
        let reading = of_peer(&peers[0], &tracking, 0);
        assert_eq!(reading.source, "chrony:192.0.2.2");
        // Chrony's clock is 49 998 123 ns ahead of the system's, and the source 2 µs ahead of that.
        assert!((reading.offset_ns - 50_000_123.0).abs() < 1e-3);
        assert!((reading.guaranteed_ns.unwrap() - 83_000.0).abs() < 1e-6);
        assert_eq!(reading.detail, "* stratum 1, heard 12 s ago");
        assert_eq!((peers[1].state, peers[1].error), ('?', 0.0));
    }

    #[test]
    fn columns_are_taken_strictly() {
        let said = |text: &str| tracking(text).unwrap_err().to_string();
        assert!(said("").contains("one line expected"));
        assert!(said("1,2,3").contains("14 columns expected, 3 found"));
        assert!(said(&TRACKING.replace("0.049998123", "soon")).contains("\"soon\" is no number"));
        assert!(said(&TRACKING.replace("0.049998123", "NaN")).contains("\"NaN\" is no number"));
        assert!(said(&TRACKING.replace(",2,", ",-2,")).contains("\"-2\""));
        let said = |text: &str| peers(text).unwrap_err().to_string();
        assert!(said(&SOURCES.replace(",?,", ",??,")).contains("line 2"));
        assert!(said("506 Cannot talk to daemon").contains("10 columns expected"));
    }

    #[test]
    fn a_missing_program_is_named_with_its_package() {
        let mut source = ChronySource::new("/no/such/chronyc".into(), None);
        let trouble = source.read().unwrap_err();
        assert!(trouble.what.contains("/no/such/chronyc is not installed"));
        assert!(trouble.what.contains("package chrony"));
    }

    #[test]
    fn what_chronyc_complains_of_is_passed_on() {
        // `false` has nothing to say.
        let mut source = ChronySource::new("false".into(), Some("192.0.2.1".into()));
        let trouble = source.read().unwrap_err();
        assert!(trouble.what.contains("no reason given"), "{trouble:?}");
    }

    proptest! {
        #[test]
        fn whatever_chronyc_prints_is_read_or_refused(text in "([-0-9a-zA-Z.^*?]{0,9},){0,15}\n?") {
            let _ = tracking(&text);
            let _ = peers(&text);
        }
    }
}
