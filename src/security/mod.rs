//! Identities, sessions, packet authentication, replay, cookies.
