//! A board that is taught over its serial port: `headstart teach` on the other end. The recorded windows
//! stand for its sensor, one after the other.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
mod board {
    use app::data::{self, ARENA_WORDS, COUNTS, DIM, PACK};
    use cortex_m as _;
    use cortex_m_rt::entry;
    use headstart::frontend::Signal;
    use headstart::wire::{self, Device, Input, Sensor, Server};
    use headstart::{
        AutoHead, EncoderPack, Label, Learner, PackedEncoder, Samples, Statistics, kernels,
    };
    use mps2::Uart;

    /// `headstart pack` prints this line.
    type Kernels = kernels!(Conv, Dense, AvgPool, MaxPool, Add);

    const CLASSES: usize = 8;
    /// Examples that are kept, so that a class can be forgotten and samples can be read back.
    const SAMPLES: usize = 128;
    /// Directions of the encoder's background.
    const RANK: usize = 16;

    struct Memory {
        arena: [u32; ARENA_WORDS],
        words: [i32; Statistics::gram_words(DIM, CLASSES)],
        labels: [Label; CLASSES],
        weights: [f32; AutoHead::words(DIM, CLASSES, RANK)],
        samples: [i8; Samples::bytes(DIM, SAMPLES)],
        embedding: [i8; 2 * DIM],
        request: [u8; wire::request_bytes(2 * COUNTS)],
        reply: [u8; wire::reply_bytes(DIM)],
    }

    impl Memory {
        const fn new() -> Self {
            Memory {
                arena: [0; ARENA_WORDS],
                words: [0; Statistics::gram_words(DIM, CLASSES)],
                labels: [const { Label::new() }; CLASSES],
                weights: [0.0; AutoHead::words(DIM, CLASSES, RANK)],
                samples: [0; Samples::bytes(DIM, SAMPLES)],
                embedding: [0; 2 * DIM],
                request: [0; wire::request_bytes(2 * COUNTS)],
                reply: [0; wire::reply_bytes(DIM)],
            }
        }
    }

    /// The recorded windows, and again from the start when they are through.
    struct Recorded(usize);

    impl Sensor for Recorded {
        fn signal(&mut self) -> Option<Signal<'_>> {
            let all = || data::support().chain(data::queries());
            let (_, window) = all().nth(self.0 % all().count())?;
            self.0 += 1;
            Some(window.into())
        }
    }

    #[entry]
    fn main() -> ! {
        static mut MEMORY: Memory = Memory::new();
        serve(MEMORY);
        mps2::exit(false)
    }

    /// Until the power goes; returns where the parts do not fit together.
    fn serve(memory: &mut Memory) -> Option<()> {
        let pack = EncoderPack::with_kernels::<Kernels>(PACK).ok()?;
        let encoder: PackedEncoder<'_, Kernels> =
            PackedEncoder::new(pack, &mut memory.arena).ok()?;
        let (words, labels) = (&mut memory.words, &mut memory.labels);
        let statistics = Statistics::with_gram(DIM, pack.artefact(), words, labels).ok()?;
        let head = AutoHead::new(pack.background(), &mut memory.weights);
        let learner = Learner::new(encoder, statistics, head, &mut memory.embedding).ok()?;
        let learner = learner
            .with_samples(Samples::new(DIM, &mut memory.samples))
            .ok()?;
        let mut device = Device::new(learner, Input::of(&pack.frontend()), Recorded(0));
        let mut server = Server::new(&mut memory.request, &mut memory.reply);
        let mut uart = Uart::start();
        loop {
            let byte = uart.read();
            if let Some(reply) = server.push(byte, &mut device) {
                uart.write(reply);
            }
        }
    }

    #[panic_handler]
    fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
        mps2::panicked(info)
    }
}

#[cfg(not(target_os = "none"))]
fn main() {}
