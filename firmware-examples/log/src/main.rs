//! A log of a thousand samples on the emulated board: what it costs, and a reset in the middle of a
//! write, after which the learner is back to the bit. Its flash is memory that a reset leaves alone.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
mod board {
    use core::fmt::Write as _;
    use core::mem::MaybeUninit;
    use core::ptr::addr_of_mut;

    use cortex_m_rt::entry;
    use cortex_m_semihosting::hio;
    use ed25519_dalek::{Signer, SigningKey};
    use embedded_storage::nor_flash::{
        ErrorType, MultiwriteNorFlash, NorFlash, NorFlashErrorKind, ReadNorFlash,
    };
    use headstart::sealed::{HEADER, SealedError, SharedKey, TAG};
    use headstart::signed::{Content, PublicKey, TRAILER};
    use headstart::store::LogClass;
    use headstart::{Embedding, Label, SampleId, SampleLog, Statistics};
    use mps2::Instructions;

    const D: usize = 64;
    const CLASSES: usize = 8;
    const SAMPLES: u32 = 1000;
    const PAGE: usize = 4096;
    const FLASH: usize = 40 * PAGE;
    /// 64 KiB, of which the trailer is a part.
    const PACK: usize = 64 * 1024;

    /// What outlives a reset.
    #[repr(C)]
    struct Kept {
        flash: [u8; FLASH],
        /// Starts so far; anything else after the power came on.
        starts: u32,
        check: u32,
    }

    #[unsafe(link_section = ".uninit.KEPT")]
    static mut KEPT: MaybeUninit<Kept> = MaybeUninit::uninit();

    /// Memory as flash, which resets the board in the middle of a write when told to.
    struct Flash<'a> {
        bytes: &'a mut [u8; FLASH],
        reset_after: Option<u32>,
    }

    impl ErrorType for Flash<'_> {
        type Error = NorFlashErrorKind;
    }

    impl ReadNorFlash for Flash<'_> {
        const READ_SIZE: usize = 1;

        fn read(&mut self, offset: u32, out: &mut [u8]) -> Result<(), NorFlashErrorKind> {
            out.copy_from_slice(&self.bytes[offset as usize..][..out.len()]);
            Ok(())
        }

        fn capacity(&self) -> usize {
            FLASH
        }
    }

    impl NorFlash for Flash<'_> {
        const WRITE_SIZE: usize = 4;
        const ERASE_SIZE: usize = PAGE;

        fn erase(&mut self, from: u32, to: u32) -> Result<(), NorFlashErrorKind> {
            self.bytes[from as usize..to as usize].fill(0xff);
            Ok(())
        }

        fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), NorFlashErrorKind> {
            for (i, byte) in bytes.iter().enumerate() {
                if let Some(left) = &mut self.reset_after {
                    match left.checked_sub(1) {
                        Some(less) => *left = less,
                        None => cortex_m::peripheral::SCB::sys_reset(),
                    }
                }
                self.bytes[offset as usize + i] &= byte;
            }
            Ok(())
        }
    }

    impl MultiwriteNorFlash for Flash<'_> {}

    /// Sample number `n`, the same on every start.
    fn values(n: u32) -> [i8; D] {
        let mut state = n.wrapping_mul(0x9e37_79b9).wrapping_add(1);
        core::array::from_fn(|_| {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            (state >> 24) as i8 | 1
        })
    }

    fn label(n: u32) -> &'static str {
        ["row", "curl", "press", "fly", "dip", "lift", "turn", "rest"][n as usize % CLASSES]
    }

    struct Memory {
        words: [i32; Statistics::gram_words(D, CLASSES)],
        labels: [Label; CLASSES],
        classes: [LogClass; CLASSES],
        buffer: [u8; SampleLog::<Flash>::buffer_bytes(D)],
    }

    impl Memory {
        const fn new() -> Self {
            Memory {
                words: [0; Statistics::gram_words(D, CLASSES)],
                labels: [const { Label::new() }; CLASSES],
                classes: [LogClass::NONE; CLASSES],
                buffer: [0; SampleLog::<Flash>::buffer_bytes(D)],
            }
        }
    }

    #[entry]
    fn main() -> ! {
        static mut MEMORY: [Memory; 2] = [const { Memory::new() }; 2];
        static mut FILE: [u8; PACK] = [0; PACK];
        let Ok(mut out) = hio::hstdout() else {
            mps2::exit(false)
        };
        let Some(core) = cortex_m::Peripherals::take() else {
            mps2::exit(false)
        };
        let counter = Instructions::start(core.SYST);
        // SAFETY: nothing else looks at it, any pattern of bits is a `Kept`, and a reset keeps it.
        let kept = unsafe { (*addr_of_mut!(KEPT)).assume_init_mut() };
        if kept.check != !kept.starts || kept.starts > 9 {
            (kept.starts, kept.flash) = (0, [0xff; FLASH]);
        }
        kept.starts += 1;
        kept.check = !kept.starts;
        let done = match kept.starts {
            1 => first_start(&mut kept.flash, &mut MEMORY[0], &counter, &mut out),
            _ => after_reset(&mut kept.flash, MEMORY, &counter, &mut out)
                .and_then(|()| signature(FILE, &counter, &mut out))
                .and_then(|()| seal(&mut MEMORY[0], FILE, &counter, &mut out)),
        };
        if let Err(why) = done {
            let _ = writeln!(out, "error: {why}");
        }
        let usage = mps2::usage();
        mps2::exit(done.is_ok() && !usage.stack_exhausted);
    }

    type Done = Result<(), &'static str>;

    fn first_start(
        bytes: &mut [u8; FLASH],
        memory: &mut Memory,
        counter: &Instructions,
        out: &mut impl core::fmt::Write,
    ) -> Done {
        let statistics = Statistics::with_gram(D, [5; 32], &mut memory.words, &mut memory.labels);
        let mut statistics = statistics.map_err(|_| "the statistics")?;
        let flash = Flash {
            bytes,
            reset_after: None,
        };
        let (classes, buffer) = (&mut memory.classes, &mut memory.buffer);
        let log = SampleLog::open_rewritable(flash, 0..FLASH as u32, &statistics, classes, buffer);
        let mut log = log.map_err(|_| "opening")?;
        let mut spent = 0;
        for n in 0..SAMPLES {
            let values = values(n);
            let e = Embedding::new(&values).map_err(|_| "a sample of zeros")?;
            let from = counter.count();
            log.learn(label(n), e).map_err(|_| "learning")?;
            spent += counter.count().wrapping_sub(from);
            statistics.learn(label(n), e).map_err(|_| "learning")?;
        }
        let _ = writeln!(
            out,
            "a sample: {} bytes of flash",
            SampleLog::<Flash>::sample_bytes(D)
        );
        let _ = writeln!(
            out,
            "a page's header: {} bytes",
            SampleLog::<Flash>::header_bytes()
        );
        let slot = SampleLog::<Flash>::sample_bytes(D);
        let parts = Statistics::gram_snapshot_bytes(D, CLASSES).div_ceil(slot - 12);
        let _ = writeln!(out, "a snapshot: {} bytes", parts * slot);
        report(out, "learn, acknowledged", spent / SAMPLES, 100_000)?;

        let from = counter.count();
        log.snapshot(&statistics).map_err(|_| "the snapshot")?;
        report(
            out,
            "snapshot",
            counter.count().wrapping_sub(from),
            20_000_000,
        )?;
        for n in SAMPLES..SAMPLES + 5 {
            let values = values(n);
            let e = Embedding::new(&values).map_err(|_| "a sample of zeros")?;
            log.learn(label(n), e).map_err(|_| "learning")?;
        }
        let _ = writeln!(out, "reset in the middle of sample {}", SAMPLES + 6);
        let mut flash = log.into_flash();
        flash.reset_after = Some(40);
        let log = SampleLog::open_rewritable(
            flash,
            0..FLASH as u32,
            &statistics,
            &mut memory.classes,
            &mut memory.buffer,
        );
        let values = values(SAMPLES + 5);
        let e = Embedding::new(&values).map_err(|_| "a sample of zeros")?;
        let _ = log.map_err(|_| "opening")?.learn("row", e);
        Err("there was no reset")
    }

    fn after_reset(
        bytes: &mut [u8; FLASH],
        memory: &mut [Memory; 2],
        counter: &Instructions,
        out: &mut impl core::fmt::Write,
    ) -> Done {
        let [memory, other] = memory;
        let statistics = Statistics::with_gram(D, [5; 32], &mut memory.words, &mut memory.labels);
        let mut statistics = statistics.map_err(|_| "the statistics")?;
        let expected = Statistics::with_gram(D, [5; 32], &mut other.words, &mut other.labels);
        let mut expected = expected.map_err(|_| "the statistics")?;
        for n in 0..SAMPLES + 5 {
            let values = values(n);
            let e = Embedding::new(&values).map_err(|_| "a sample of zeros")?;
            expected.learn(label(n), e).map_err(|_| "learning")?;
        }
        let flash = Flash {
            bytes,
            reset_after: None,
        };
        let (classes, buffer) = (&mut memory.classes, &mut memory.buffer);
        let from = counter.count();
        let log = SampleLog::open_rewritable(flash, 0..FLASH as u32, &statistics, classes, buffer);
        let mut log = log.map_err(|_| "opening")?;
        let opened = counter.count();
        log.restore(&mut statistics).map_err(|_| "restoring")?;
        let restored = counter.count();
        let _ = writeln!(
            out,
            "{} samples, {} slots damaged",
            log.len(),
            log.found().damaged
        );
        same(&statistics, &expected)?;
        let _ = writeln!(out, "the learner is back, to the bit");
        report(out, "opening at boot", opened.wrapping_sub(from), 3_000_000)?;
        report(
            out,
            "restoring at boot",
            restored.wrapping_sub(opened),
            3_000_000,
        )?;
        report(out, "boot", restored.wrapping_sub(from), 3_000_000)?;

        let from = counter.count();
        let gone = SampleId(12);
        let mut values = [0; D];
        let label = log.read(gone, &mut values).map_err(|_| "reading")?;
        log.forget(gone).map_err(|_| "forgetting")?;
        report(
            out,
            "forget, with the snapshot",
            counter.count().wrapping_sub(from),
            20_000_000,
        )?;
        let e = Embedding::new(&values).map_err(|_| "a sample of zeros")?;
        expected.forget(&label, e).map_err(|_| "forgetting")?;
        let from = counter.count();
        log.restore(&mut statistics).map_err(|_| "restoring")?;
        report(
            out,
            "restore without a snapshot",
            counter.count().wrapping_sub(from),
            50_000_000,
        )?;
        same(&statistics, &expected)
    }

    fn same(a: &Statistics<'_>, b: &Statistics<'_>) -> Done {
        let classes = a.iter().zip(b.iter());
        let mut equal = a.gram() == b.gram() && a.classes() == b.classes();
        for (a, b) in classes {
            equal &= a.label == b.label && a.count == b.count && a.sums == b.sums;
        }
        if equal {
            Ok(())
        } else {
            Err("the learner is another one")
        }
    }

    fn signature(
        file: &mut [u8; PACK],
        counter: &Instructions,
        out: &mut impl core::fmt::Write,
    ) -> Done {
        let secret = SigningKey::from_bytes(&[9; 32]);
        let key = PublicKey::new(secret.verifying_key().as_bytes()).map_err(|_| "the key")?;
        let (message, end) = file.split_at_mut(PACK - 64);
        let at = message.len() - (TRAILER - 64);
        message[at..].copy_from_slice(&key.trailer(Content::Pack, 3));
        end.copy_from_slice(&secret.sign(message).to_bytes());
        let from = counter.count();
        key.check(Content::Pack, file, 3)
            .map_err(|_| "an honest file")?;
        report(
            out,
            "signature of 64 KiB",
            counter.count().wrapping_sub(from),
            100_000_000,
        )?;
        file[1234] ^= 8;
        match key.check(Content::Pack, file, 3) {
            Err(headstart::signed::SignedError::Altered) => Ok(()),
            _ => Err("an altered file passed"),
        }
    }

    /// A head of 8 classes in the gram tier, sealed and opened.
    fn seal(
        memory: &mut Memory,
        file: &mut [u8; PACK],
        counter: &Instructions,
        out: &mut impl core::fmt::Write,
    ) -> Done {
        let head = Statistics::with_gram(D, [5; 32], &mut memory.words, &mut memory.labels);
        let mut head = head.map_err(|_| "the statistics")?;
        for n in 0..CLASSES as u32 {
            let values = values(n);
            let e = Embedding::new(&values).map_err(|_| "a sample of zeros")?;
            head.learn(label(n), e).map_err(|_| "learning")?;
        }
        let length = head.save(&mut file[HEADER..]).map_err(|_| "saving")?;
        let file = &mut file[..HEADER + length + TAG];
        let key = SharedKey::new(&[9; 32]);
        key.seal(Content::Head, &[3; 24], file)
            .map_err(|_| "sealing")?;
        file[1234] ^= 8;
        if key.open(Content::Head, file) != Err(SealedError::Refused) {
            return Err("an altered head was opened");
        }
        file[1234] ^= 8;
        let from = counter.count();
        let plain = key.open(Content::Head, file).map_err(|_| "an honest head")?;
        let spent = counter.count().wrapping_sub(from);
        head.restore(plain).map_err(|_| "restoring")?;
        let _ = writeln!(out, "a sealed head: {} bytes", length + HEADER + TAG);
        report(out, "opening a sealed head", spent, 1_000_000)
    }

    /// Prints a cost, and holds it against the limit.
    fn report(out: &mut impl core::fmt::Write, what: &str, cost: u32, limit: u32) -> Done {
        let _ = writeln!(out, "{what}: {cost} instructions");
        if cost <= limit {
            Ok(())
        } else {
            Err("over the limit")
        }
    }

    #[panic_handler]
    fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
        mps2::panicked(info)
    }
}

#[cfg(not(target_os = "none"))]
fn main() {}
