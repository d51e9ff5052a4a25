//! Numbers that are the same on every machine.

/// SplitMix64: *Fast splittable pseudorandom number generators*, Steele, Lea, Flood, 2014.
pub struct Random(pub u64);

impl Random {
    /// 32 random bits.
    pub fn bits(&mut self) -> u32 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) as u32
    }

    /// `low..=high`.
    pub fn range(&mut self, low: i32, high: i32) -> i32 {
        let span = (high - low + 1) as u32;
        low + (self.bits() % span) as i32
    }

    /// A size.
    pub fn size(&mut self, low: u16, high: u16) -> u16 {
        self.range(low.into(), high.into()) as u16
    }

    /// True once in `n`.
    pub fn once_in(&mut self, n: u32) -> bool {
        self.bits() % n == 0
    }

    /// Any 32 bits, the extremes often.
    pub fn word(&mut self) -> i32 {
        match self.bits() % 16 {
            0 => i32::MIN,
            1 => i32::MAX,
            2 => 0,
            3..8 => self.bits() as i32,
            _ => self.bits() as i32 >> 12,
        }
    }
}
