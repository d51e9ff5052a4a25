//! How a command ends when it does not end well.

/// Why a command stopped. Each kind has its own exit code, so that scripts can tell them apart.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The call itself is wrong: exit code 2.
    #[error("{0}")]
    Usage(String),
    /// Ctrl-C: exit code 130.
    #[error("interrupted")]
    Interrupted,
    /// Everything else: exit code 1. The chain of causes is printed on one line each.
    #[error(transparent)]
    Failed(#[from] anyhow::Error),
}

impl Failure {
    /// The process's exit code.
    pub fn exit_code(&self) -> u8 {
        match self {
            Failure::Failed(_) => 1,
            Failure::Usage(_) => 2,
            Failure::Interrupted => 130,
        }
    }
}

/// What every command returns.
pub type Outcome = Result<(), Failure>;
