//! The encoder and the windows that the demo reads from flash.

use headstart::EncoderPack;

include!(concat!(env!("OUT_DIR"), "/demo.rs"));

/// The encoder's file.
pub const PACK: &[u8] = headstart::include_pack!("../../../models/watch.pack");

/// Words of working memory, known when the firmware is built.
pub const ARENA_WORDS: usize = EncoderPack::arena_words(PACK);

/// D, the length of an embedding.
pub const DIM: usize = EncoderPack::dim_of(PACK);

const WINDOWS: usize = SUPPORT.len() + QUERIES.len();

#[repr(C, align(4))]
struct Aligned([u8; WINDOWS * COUNTS * 2]);

/// In a section of its own, so that it does not count as the firmware's flash.
#[cfg_attr(target_os = "none", unsafe(link_section = ".demo_windows"))]
static DEMO: Aligned = Aligned(*include_bytes!(concat!(env!("OUT_DIR"), "/demo.bin")));

/// Window number `index`, raw counts as the sensor's registers gave them; the support comes
/// first, then the queries.
fn window(index: usize) -> &'static [i16] {
    let counts: &[i16] = bytemuck::cast_slice(&DEMO.0);
    &counts[index * COUNTS..(index + 1) * COUNTS]
}

/// The windows to learn, with their labels.
pub fn support() -> impl Iterator<Item = (&'static str, &'static [i16])> + Clone {
    (SUPPORT.iter().enumerate()).map(|(i, &label)| (label, window(i)))
}

/// The windows to be asked about, with their true labels.
pub fn queries() -> impl Iterator<Item = (&'static str, &'static [i16])> + Clone {
    (QUERIES.iter().enumerate()).map(|(i, &label)| (label, window(SUPPORT.len() + i)))
}
