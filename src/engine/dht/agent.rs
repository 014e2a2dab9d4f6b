//! The line in which nodes tell each other their time port, through identify's agent version:
//! `parisync/0.1.0 time/4711`, as product tokens of an HTTP user agent (RFC 9110 §10.1.5).

/// Longest line read.
const LONGEST: usize = 128;

/// The line for a node with this time port.
pub(super) fn format(time_port: u16) -> String {
    std::format!("parisync/{} time/{time_port}", env!("CARGO_PKG_VERSION"))
}

/// The time port in the line; `None` unless the line has exactly the right form. Further tokens,
/// of later versions, are passed over.
pub(super) fn time_port(line: &str) -> Option<u16> {
    if line.len() > LONGEST {
        return None;
    }
    let mut tokens = line.split(' ').map(token);
    let (product, _version) = tokens.next()??;
    if product != "parisync" {
        return None;
    }
    let mut port = None;
    for token in tokens {
        let (product, value) = token?;
        if product == "time" && port.replace(decimal(value)?).is_some() {
            return None;
        }
    }
    port
}

fn token(text: &str) -> Option<(&str, &str)> {
    let (product, value) = text.split_once('/')?;
    let name = |b: u8| b.is_ascii_lowercase();
    let rest = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'+' | b'_');
    let good = !product.is_empty() && product.bytes().all(name);
    (good && !value.is_empty() && value.bytes().all(rest)).then_some((product, value))
}

fn decimal(text: &str) -> Option<u16> {
    let plain = text.bytes().all(|b| b.is_ascii_digit()) && !text.starts_with('0');
    text.parse().ok().filter(|_| plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn our_own_line_is_read() {
        assert_eq!(time_port(&format(4711)), Some(4711));
        assert_eq!(time_port("parisync/9.9.9-rc.1 time/1 ntp/4"), Some(1));
    }

    #[test]
    fn anything_else_is_not() {
        for line in [
            "",
            "parisync/0.1.0",
            "parisync/0.1.0 time/",
            "parisync/0.1.0 time/0",
            "parisync/0.1.0 time/04711",
            "parisync/0.1.0 time/+4711",
            "parisync/0.1.0 time/65536",
            "parisync/0.1.0 time/1 time/2",
            "parisync/0.1.0  time/4711",
            "parisync/0.1.0 time/4711 ",
            "rust-libp2p/0.57 time/4711",
            "time/4711 parisync/0.1.0",
            "parisync time/4711",
            "parisync/0.1.0 time/4711 x",
        ] {
            assert_eq!(time_port(line), None, "{line:?}");
        }
        assert_eq!(
            time_port(&std::format!("{} x/{}", format(1), "1".repeat(LONGEST))),
            None
        );
    }

    proptest! {
        #[test]
        fn any_line_is_survived(line in "\\PC*", port: u16) {
            let _ = time_port(&line);
            prop_assert_eq!(time_port(&format(port)), (port != 0).then_some(port));
        }
    }
}
