//! Why nothing was compared.

use super::links::LinksError;
use super::netns::NetnsLabError;
use super::sim::SimError;
use super::uml::UmlError;

/// Why nothing was compared.
#[derive(Debug, thiserror::Error)]
pub enum CompareError {
    /// There are no such links.
    #[error(transparent)]
    Links(#[from] LinksError),
    /// There is no simulator.
    #[error(transparent)]
    Sim(#[from] SimError),
    /// There are no namespaces.
    #[error(transparent)]
    Netns(#[from] NetnsLabError),
    /// There is no User-mode Linux.
    #[error(transparent)]
    Uml(#[from] UmlError),
    /// It was stopped before the first run was over.
    #[error("interrupted before any run was over")]
    Interrupted,
    /// No system is there, or none ran to its end; the reasons were told one by one.
    #[error("nothing could be compared")]
    Nothing,
}

impl CompareError {
    /// Whether the command line is the reason.
    pub fn is_misuse(&self) -> bool {
        matches!(
            self,
            Self::Links(_) | Self::Sim(SimError::Unnamed | SimError::NoFile { .. })
        )
    }
}
