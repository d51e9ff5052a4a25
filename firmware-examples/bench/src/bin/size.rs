//! The smallest image that embeds with one network's kernels, its pack apart: `run` measures how
//! much larger it is than one that only starts.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(all(target_os = "none", target_arch = "arm"))]
mod board {
    use cortex_m_rt::entry;

    #[entry]
    fn main() -> ! {
        #[cfg(any(
            feature = "kws",
            feature = "vww",
            feature = "resnet8",
            feature = "speech_embedding",
            feature = "efficientnet_lite0_b11"
        ))]
        embed();
        loop {
            cortex_m::asm::wfi();
        }
    }

    #[cfg(any(feature = "kws", feature = "vww"))]
    type Set = headstart::kernels!(AvgPool, Conv, Dense, Depthwise);
    #[cfg(feature = "resnet8")]
    type Set = headstart::kernels!(AvgPool, Conv, Dense);
    #[cfg(feature = "speech_embedding")]
    type Set = headstart::kernels!(Conv, MaxPool);
    #[cfg(feature = "efficientnet_lite0_b11")]
    type Set = headstart::kernels!(AvgPool, Conv, Depthwise);

    #[cfg(any(
        feature = "kws",
        feature = "vww",
        feature = "resnet8",
        feature = "speech_embedding",
        feature = "efficientnet_lite0_b11"
    ))]
    fn embed() {
        use headstart::{Encoder as _, PackedEncoder};
        static mut ARENA: [u32; bench::ARENA] = [0; bench::ARENA];
        static mut COUNTS: [i16; bench::COUNTS] = [0; bench::COUNTS];
        static mut EMBEDDING: [i8; 1024] = [0; 1024];
        // SAFETY: the board has memory there, and nothing else uses the statics.
        let (pack, arena, counts, embedding) = unsafe {
            (
                bench::pack_at::<Set>(0x0020_0000),
                &mut *(&raw mut ARENA),
                &*(&raw const COUNTS),
                &mut *(&raw mut EMBEDDING),
            )
        };
        let Ok(pack) = pack else { return };
        let Ok(mut encoder) = PackedEncoder::<Set>::new(pack, arena) else {
            return;
        };
        let (length, dim) = (encoder.input_len(), encoder.dim());
        if let (Some(counts), Some(embedding)) = (counts.get(..length), embedding.get_mut(..dim)) {
            let _ = core::hint::black_box(encoder.embed((&counts[..]).into(), embedding).is_ok());
        }
    }

    #[panic_handler]
    fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
        loop {
            cortex_m::asm::wfi();
        }
    }
}

#[cfg(not(all(target_os = "none", target_arch = "arm")))]
fn main() {}
