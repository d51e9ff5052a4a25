//! NOR flash that loses power, tears writes, wears out and checks how it is used.

use embedded_storage::nor_flash::{
    ErrorType, MultiwriteNorFlash, NorFlash, NorFlashErrorKind, ReadNorFlash, check_erase,
    check_read, check_write,
};

/// Random numbers that a seed names (SplitMix64, Steele et al., 2014).
#[derive(Clone)]
pub struct Random(pub u64);

impl Random {
    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.bits() % end
    }
}

/// Pages of `PAGE` bytes, words of 4.
#[derive(Clone)]
pub struct BadFlash<const PAGE: usize> {
    /// What a good read gives.
    pub bytes: Vec<u8>,
    /// Bits that may read either way: they were changing when the power went.
    unstable: Vec<u8>,
    /// Whether any bit is.
    torn_somewhere: bool,
    /// Bytes that may still be programmed or erased before the power goes.
    pub left: Option<u64>,
    /// Bytes programmed and erased so far.
    pub steps: u64,
    /// How often each page was erased.
    pub erases: Vec<u32>,
    /// Pages that do not erase any more.
    pub worn: Vec<usize>,
    /// A cut leaves the word that is being changed half changed, and unsteady.
    pub torn: bool,
    /// Words may be written again, towards zero.
    pub rewritable: bool,
    off: bool,
    random: Random,
}

impl<const PAGE: usize> BadFlash<PAGE> {
    /// Blank pages.
    pub fn new(pages: usize, rewritable: bool, torn: bool) -> Self {
        BadFlash {
            bytes: vec![0xff; pages * PAGE],
            unstable: vec![0; pages * PAGE],
            torn_somewhere: false,
            left: None,
            steps: 0,
            erases: vec![0; pages],
            worn: Vec::new(),
            torn,
            rewritable,
            off: false,
            random: Random(7),
        }
    }

    /// The power goes after so many more bytes.
    pub fn cut_after(&mut self, bytes: u64) {
        self.left = Some(bytes);
    }

    /// The power is back, and stays.
    pub fn power_on(&mut self) {
        (self.left, self.off) = (None, false);
    }

    fn spend(&mut self) -> bool {
        match &mut self.left {
            Some(0) => {
                self.off = true;
                false
            }
            left => {
                if let Some(left) = left {
                    *left -= 1;
                }
                self.steps += 1;
                true
            }
        }
    }

    /// A byte on its way from `old` to `new` when the power goes.
    fn tear(&mut self, at: usize, old: u8, new: u8) {
        let changing = old ^ new;
        let kept = self.random.bits() as u8;
        self.bytes[at] = (old & kept) | (new & !kept);
        self.unstable[at] = changing;
        self.torn_somewhere |= changing != 0;
    }
}

impl<const PAGE: usize> ErrorType for BadFlash<PAGE> {
    type Error = NorFlashErrorKind;
}

impl<const PAGE: usize> ReadNorFlash for BadFlash<PAGE> {
    const READ_SIZE: usize = 1;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), NorFlashErrorKind> {
        check_read(self, offset, bytes.len())?;
        if self.off {
            return Err(NorFlashErrorKind::Other);
        }
        let from = offset as usize;
        bytes.copy_from_slice(&self.bytes[from..from + bytes.len()]);
        if self.torn_somewhere {
            for (out, &unsteady) in bytes.iter_mut().zip(&self.unstable[from..]) {
                if unsteady != 0 {
                    *out ^= unsteady & self.random.bits() as u8;
                }
            }
        }
        Ok(())
    }

    fn capacity(&self) -> usize {
        self.bytes.len()
    }
}

impl<const PAGE: usize> NorFlash for BadFlash<PAGE> {
    const WRITE_SIZE: usize = 4;
    const ERASE_SIZE: usize = PAGE;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), NorFlashErrorKind> {
        check_erase(self, from, to)?;
        for page in from as usize / PAGE..to as usize / PAGE {
            self.erases[page] += 1;
            let worn = self.worn.contains(&page);
            for at in page * PAGE..(page + 1) * PAGE {
                if !self.spend() {
                    if self.torn && !worn {
                        // All cells of a block change together.
                        for at in at..(page + 1) * PAGE {
                            self.tear(at, self.bytes[at], 0xff);
                        }
                    }
                    return Err(NorFlashErrorKind::Other);
                }
                if !worn {
                    (self.bytes[at], self.unstable[at]) = (0xff, 0);
                }
            }
        }
        Ok(())
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), NorFlashErrorKind> {
        check_write(self, offset, bytes.len())?;
        for (i, &new) in bytes.iter().enumerate() {
            let at = offset as usize + i;
            let old = self.bytes[at];
            if !self.rewritable {
                assert!(
                    old == 0xff && self.unstable[at] == 0 || self.torn_somewhere,
                    "a word is written twice at {at}"
                );
            }
            if !self.spend() {
                if self.torn {
                    self.tear(at, old, old & new);
                }
                return Err(NorFlashErrorKind::Other);
            }
            (self.bytes[at], self.unstable[at]) = (old & new, 0);
        }
        Ok(())
    }
}

impl<const PAGE: usize> MultiwriteNorFlash for BadFlash<PAGE> {}
