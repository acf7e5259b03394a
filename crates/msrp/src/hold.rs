//! Messages that are held (OMA-TS-SIMPLE_IM §7.2.2.10.3): whoever they are for wants none for now.

/// How much may be held for one session. What does not fit has failed: its sender gets a REPORT
/// 408, if he wants one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HoldLimits {
    /// Messages. Default 100.
    pub messages: u32,
    /// Octets, with all that is kept beside the bodies. Default 1 MiB.
    pub octets: u64,
}

impl Default for HoldLimits {
    fn default() -> Self {
        Self { messages: 100, octets: 1 << 20 }
    }
}
