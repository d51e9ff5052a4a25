//! What is in a signed or sealed file.

/// What is in a signed or sealed file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum Content {
    /// An encoder pack.
    Pack = 1,
    /// A head: statistics that were learnt elsewhere.
    Head = 2,
}
