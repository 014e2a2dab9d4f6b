use super::*;
use crate::topology::overlay::position;
use proptest::prelude::*;

const REALM: Realm = Realm {
    network: *b"networkA",
    structure: Structure::Can,
};

fn signer() -> (SigningKey, NodeId, u32) {
    let key = SigningKey::from_bytes(&[9; 32]);
    let id = NodeId::from_bytes(key.verifying_key().to_bytes());
    let (solution, _) = position::solve(&REALM.network, &id).unwrap();
    (key, id, solution)
}

fn referral() -> Referral<Endpoint> {
    let (_, id, solution) = signer();
    let at = Endpoint {
        id,
        solution,
        addr: "192.0.2.1:4712".parse().unwrap(),
        time_port: 4711,
    };
    let contact = at.contact(&REALM.network).unwrap();
    Referral {
        contact,
        seat: Key(5 << 60),
    }
}

fn bodies() -> Vec<Body<Endpoint>> {
    let referral = referral();
    let contact = referral.contact;
    let zones = vec![Key(1 << 63); MAX_ZONES];
    let queries = [
        Query::Ping,
        Query::Find(Key(77)),
        Query::Ring,
        Query::Row(15),
        Query::Leaves,
        Query::Join,
        Query::Zones(zones.clone()),
        Query::Give(Key(3)),
    ];
    let answers = [
        Answer::Pong,
        Answer::Found {
            seat: Key(8),
            nearer: vec![referral; MAX_REFERRALS],
        },
        Answer::Ring {
            predecessor: Some(contact),
            successors: vec![contact; MAX_REFERRALS - 1],
        },
        Answer::Contacts(vec![contact; MAX_REFERRALS]),
        Answer::Zones {
            granted: Some(Key(1 << 62)),
            own: zones[..2].to_vec(),
            neighbours: vec![referral; 14],
        },
    ];
    let queries = queries.into_iter().map(Body::Query);
    queries
        .chain(answers.into_iter().map(Body::Answer))
        .collect()
}

#[test]
fn every_message_is_read_as_it_was_written_and_fits() {
    let (key, id, solution) = signer();
    let sender = Sender {
        key: &key,
        solution,
        time_port: 4711,
    };
    let from = "192.0.2.1:9".parse().unwrap();
    for body in bodies() {
        let message = Message { number: 42, body };
        let asker = matches!(message.body, Body::Answer(_)).then_some(id);
        let bytes = encode(&REALM, &sender, &[6; 16], &message, asker.as_ref());
        assert!(bytes.len() <= LONGEST);
        let Ok(Unverified::Message(read)) = parse_overlay(&bytes, &REALM) else {
            panic!("{message:?}");
        };
        // Seats of plain contacts are their keys.
        assert_eq!(read.message, message);
        assert_eq!((read.from, read.cookie), (id, [6; 16]));
        assert!(read.verify(&REALM.network, from, asker.as_ref()).is_ok());
        let other = NodeId::from_bytes([1; 32]);
        let wrong = read.verify(&REALM.network, from, Some(&other));
        assert_eq!(wrong, Err(E::Signature), "an answer to somebody else");
        for position in [16, 30, 45, 78, bytes.len() - 70, bytes.len() - 1] {
            let mut forged = bytes.clone();
            forged[position] ^= 1;
            if let Ok(Unverified::Message(read)) = parse_overlay(&forged, &REALM) {
                assert!(read.verify(&REALM.network, from, asker.as_ref()).is_err());
            }
        }
        for shorter in 0..bytes.len() {
            assert!(parse_overlay(&bytes[..shorter], &REALM).is_err());
        }
    }
}

#[test]
fn a_cookie_is_shorter_than_any_query() {
    let bytes = encode_cookie(&REALM, 7, &[3; 16]);
    assert_eq!(bytes.len(), 40);
    assert!(bytes.len() < HEAD + SIGNATURE);
    let cookie = [3; 16];
    let read = parse_overlay(&bytes, &REALM);
    assert_eq!(read, Ok(Unverified::Cookie { number: 7, cookie }));
    let elsewhere = Realm {
        network: *b"networkB",
        ..REALM
    };
    assert_eq!(parse_overlay(&bytes, &elsewhere), Err(E::Network));
    let ring = Realm {
        structure: Structure::Chord,
        ..REALM
    };
    assert_eq!(parse_overlay(&bytes, &ring), Err(E::Structure));
}

proptest! {
    #[test]
    fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = parse_overlay(&bytes, &REALM);
        let mut framed = encode_cookie(&REALM, 1, &[0; 16]);
        framed[6] = bytes.first().copied().unwrap_or(1);
        framed.extend(&bytes);
        let _ = parse_overlay(&framed, &REALM);
    }
}
