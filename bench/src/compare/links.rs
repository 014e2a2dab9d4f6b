//! The oscillators and links of a comparison: presets, files, and what a seed makes of them.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::sim::Random;
use crate::units::{Fraction, Nanos};

/// What is drawn here, among all that a seed is used for.
const PURPOSE: u64 = 0xc0;

/// What the delay of a packet has on top of the least.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Noise {
    /// Exponential with mean `scale`: packets that queue behind others.
    Exponential,
    /// Gaussian with standard deviation `scale`, either way.
    Normal,
}

/// The links, all of one kind and independent of each other, and the oscillators of the hosts. A file
/// says what is not as in [`Links::LAN`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Links {
    /// The least delay one way.
    pub base: Nanos,
    /// The distribution of what comes on top.
    pub noise: Noise,
    /// Its scale.
    pub scale: Nanos,
    /// The probability that a packet is lost.
    pub loss: f64,
    /// Each direction of each pair is longer by a constant drawn from 0 to this.
    pub asymmetry: Nanos,
    /// Frequency errors are drawn from minus to plus this.
    pub error: Fraction,
    /// Random walk of the frequency: its standard deviation after one second.
    pub wander: Fraction,
    /// Clocks start up to this far off, either way.
    pub offset: Nanos,
}

impl Default for Links {
    fn default() -> Self {
        Self::LAN
    }
}

/// Why the links cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum LinksError {
    /// The file cannot be read.
    #[error("{}: {source}; --links takes lan, wan, dc or a file", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The file is not what it should be.
    #[error("{}: {problem}", path.display())]
    Bad {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
}

impl Links {
    /// Software stamps in a local network: 10 µs + exp(1 µs). Oscillators of all presets: ±50 ppm,
    /// 1e-9/√s, ±0.5 s.
    pub const LAN: Self = Self {
        base: Nanos(10e3),
        noise: Noise::Exponential,
        scale: Nanos(1e3),
        loss: 0.0,
        asymmetry: Nanos(0.0),
        error: Fraction(50e-6),
        wander: Fraction(1e-9),
        offset: Nanos(0.5e9),
    };
    /// Hardware stamps in a data centre: 10 µs + exp(0.1 µs).
    pub const DC: Self = Self {
        scale: Nanos(100.0),
        ..Self::LAN
    };
    /// A wide-area network: 1 ms + exp(100 µs).
    pub const WAN: Self = Self {
        base: Nanos(1e6),
        scale: Nanos(100e3),
        ..Self::LAN
    };

    /// A preset by its name, or else a file.
    ///
    /// # Errors
    /// The file cannot be read, or a value in it is out of range.
    pub fn named(name: &str) -> Result<Self, LinksError> {
        match name {
            "lan" => Ok(Self::LAN),
            "dc" => Ok(Self::DC),
            "wan" => Ok(Self::WAN),
            file => {
                let path = PathBuf::from(file);
                match std::fs::read_to_string(&path) {
                    Ok(text) => Self::parse(&text, &path),
                    Err(source) => Err(LinksError::Read { path, source }),
                }
            }
        }
    }

    fn parse(text: &str, path: &Path) -> Result<Self, LinksError> {
        let bad = |problem: String| LinksError::Bad {
            path: path.to_owned(),
            problem,
        };
        let links: Self = toml::from_str(text).map_err(|error| bad(error.to_string()))?;
        let within = |key: &str, value: f64, shown: String, most: f64| {
            if (0.0..=most).contains(&value) {
                Ok(())
            } else {
                Err(bad(format!("{key} = {shown} is out of range")))
            }
        };
        let Self {
            base,
            scale,
            loss,
            asymmetry,
            error,
            wander,
            offset,
            ..
        } = links;
        for (key, span) in [("base", base), ("scale", scale), ("asymmetry", asymmetry)] {
            within(key, span.0, span.to_string(), Nanos::from_secs(10.0).0)?;
        }
        within(
            "offset",
            offset.0,
            offset.to_string(),
            Nanos::from_secs(1e6).0,
        )?;
        within("loss", loss, loss.to_string(), 0.9)?;
        // The kernel corrects no more than 500 ppm by its frequency.
        within("error", error.0, error.to_string(), 400e-6)?;
        within("wander", wander.0, wander.to_string(), 1e-5)?;
        if base.0 == 0.0 {
            return Err(bad("base must be more than nothing".to_owned()));
        }
        if links.noise == Noise::Normal && base.0 < 6.0 * scale.0 {
            let problem = "normal noise would arrive before it was sent: base < 6 scale";
            return Err(bad(problem.to_owned()));
        }
        Ok(links)
    }

    /// The links in words, `10 µs + exp(1 µs)`.
    pub fn words(&self) -> String {
        let name = match self.noise {
            Noise::Exponential => "exp",
            Noise::Normal => "normal",
        };
        let mut words = format!("{} + {name}({})", self.base, self.scale);
        if self.asymmetry.0 > 0.0 {
            words += &format!(", up to {} longer one way", self.asymmetry);
        }
        if self.loss > 0.0 {
            words += &format!(", {} % lost", 100.0 * self.loss);
        }
        words
    }

    /// What `seed` makes of them for so many hosts.
    pub fn draw(&self, hosts: usize, seed: u64) -> Network {
        let mut random = Random::new(seed, PURPOSE);
        let oscillators = (0..hosts)
            .map(|_| Oscillator {
                error: random.symmetric(self.error.0),
                offset_s: random.symmetric(self.offset.as_secs()),
            })
            .collect();
        let extra = (0..hosts * hosts)
            .map(|_| self.asymmetry.as_secs() * random.unit())
            .collect();
        Network {
            links: *self,
            oscillators,
            extra,
        }
    }
}

/// One host's clock before anybody steers it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Oscillator {
    /// Frequency error at the start, s/s.
    pub error: f64,
    /// Time error at the start, s.
    pub offset_s: f64,
}

/// Oscillators and links of one run.
#[derive(Debug, Clone, PartialEq)]
pub struct Network {
    links: Links,
    oscillators: Vec<Oscillator>,
    /// What each direction is longer, s; row: from, column: to.
    extra: Vec<f64>,
}

impl Network {
    /// Number of hosts.
    pub fn hosts(&self) -> usize {
        self.oscillators.len()
    }

    /// Their clocks before anybody steers them.
    pub fn oscillators(&self) -> &[Oscillator] {
        &self.oscillators
    }

    /// The configuration file that clknetsim reads (its README, "Configuration file"): a frequency,
    /// an initial offset and a delay to each other node for each node, counted from 1.
    pub fn clknetsim(&self) -> String {
        let mut text = String::new();
        for (from, oscillator) in self.oscillators.iter().enumerate() {
            let node = from + 1;
            text += &format!(
                "node{node}_freq = (+ {:.9e} (sum (* {:e} (normal))))\n\
                 node{node}_offset = {:.9}\n",
                oscillator.error, self.links.wander.0, oscillator.offset_s,
            );
            for to in (0..self.hosts()).filter(|to| *to != from) {
                text += &format!("node{node}_delay{} = {}\n", to + 1, self.delay(from, to));
            }
        }
        text
    }

    fn delay(&self, from: usize, to: usize) -> String {
        let links = &self.links;
        let noise = match links.noise {
            Noise::Exponential => format!("(* {:e} (exponential))", links.scale.as_secs()),
            Noise::Normal => format!("(* {:e} (normal))", links.scale.as_secs()),
        };
        let base = links.base.as_secs() + self.extra[from * self.hosts() + to];
        // A negative delay is a lost packet; `equal` is 1 if its values are within its first.
        let loss = match links.loss {
            0.0 => String::new(),
            loss => format!(" (* -1e3 (equal {0:e} (uniform) {0:e}))", loss / 2.0),
        };
        format!("(+ {base:e} {noise}{loss})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Links, LinksError> {
        Links::parse(text, Path::new("l.toml"))
    }

    #[test]
    fn two_hosts_make_this_configuration() {
        let network = Network {
            links: Links {
                loss: 0.1,
                ..Links::LAN
            },
            oscillators: vec![
                Oscillator {
                    error: -3e-5,
                    offset_s: 0.25,
                },
                Oscillator {
                    error: 5e-5,
                    offset_s: -0.5,
                },
            ],
            extra: vec![0.0, 0.0, 2e-6, 0.0],
        };
        let expected = "\
            node1_freq = (+ -3.000000000e-5 (sum (* 1e-9 (normal))))\n\
            node1_offset = 0.250000000\n\
            node1_delay2 = (+ 1e-5 (* 1e-6 (exponential)) (* -1e3 (equal 5e-2 (uniform) 5e-2)))\n\
            node2_freq = (+ 5.000000000e-5 (sum (* 1e-9 (normal))))\n\
            node2_offset = -0.500000000\n\
            node2_delay1 = (+ 1.2e-5 (* 1e-6 (exponential)) (* -1e3 (equal 5e-2 (uniform) 5e-2)))\n";
        assert_eq!(network.clknetsim(), expected);
    }

    #[test]
    fn a_seed_always_draws_the_same_and_within_the_limits() {
        let network = Links::LAN.draw(50, 7);
        assert_eq!(network, Links::LAN.draw(50, 7));
        assert_ne!(network, Links::LAN.draw(50, 8));
        let errors: Vec<f64> = network.oscillators.iter().map(|o| o.error).collect();
        assert!(errors.iter().all(|e| e.abs() <= 50e-6), "{errors:?}");
        assert!(errors.iter().any(|e| *e < -25e-6) && errors.iter().any(|e| *e > 25e-6));
        assert!(network.oscillators.iter().all(|o| o.offset_s.abs() <= 0.5));
    }

    #[test]
    fn files_say_what_differs_from_lan() {
        assert_eq!(parse("").unwrap(), Links::LAN);
        assert_eq!(parse("scale = \"0.1us\"").unwrap(), Links::DC);
        let wan = parse("base = \"1ms\"\nscale = \"100us\"").unwrap();
        assert_eq!(wan, Links::WAN);
        assert_eq!(wan.words(), "1ms + exp(100us)");
        let odd = "noise = \"normal\"\nloss = 0.05\nasymmetry = \"300ns\"\nerror = \"1ppm\"";
        let odd = parse(odd).unwrap();
        assert_eq!(
            odd.words(),
            "10us + normal(1us), up to 300ns longer one way, 5 % lost"
        );
        assert_eq!(odd.error, Fraction(1e-6));
    }

    #[test]
    fn a_wrong_file_is_refused_with_its_name() {
        for (text, says) in [
            ("jitter = \"1us\"", "unknown field `jitter`"),
            ("base = \"10\"", "is no span of time"),
            ("base = \"0s\"", "more than nothing"),
            ("scale = \"-1us\"", "scale = -1us is out of range"),
            ("loss = 1.5", "loss = 1.5 is out of range"),
            ("noise = \"normal\"\nscale = \"5us\"", "before it was sent"),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.starts_with("l.toml: "), "{error}");
            assert!(error.contains(says), "{error}");
        }
        let missing = Links::named("no-such-links").unwrap_err().to_string();
        assert!(missing.contains("lan, wan, dc"), "{missing}");
    }
}
