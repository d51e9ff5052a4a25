//! An encoder as bytes: checked once by [`EncoderPack::new`], then read in place from flash.
//!
//! ```text
//! header | tensors | layers | front end | centre | background | metadata | weights, biases, multipliers
//! ```
//!
//! FORMAT.md has the byte tables. Everything that a layer needs at run time (weight layout, zero
//! points folded into biases, multipliers, the memory plan) was worked out on the host.

mod check;
mod record;

pub use record::{
    CRC_FROM, Channel, ElementKind, LayerKind, LayerRecord, MAGIC, NO_TENSOR, PackHeader,
    TensorRecord,
};

use crate::frontend::{FrontEnd, SensorWindow};
use crate::head::calibration::Calibration;
use crate::ops::{AllKernels, Kernels};

/// The version that this crate reads and the trainer writes.
pub const VERSION: u16 = 2;

/// A larger arena is a mistake, not an encoder for a device.
pub(crate) const MAX_ARENA: u32 = 64 << 20;

/// The most tensors, and so layers, a pack can have.
pub const MAX_TENSORS: usize = 128;

/// A file's SHA-256: evidence belongs to the artefact whose embeddings it was learnt from.
pub type Artefact = [u8; 32];

/// Names the encoder across its builds: new with each pretraining or import, copied by pack.
pub type SpaceId = [u8; 16];

/// An encoder in flash. Cheap to copy: it borrows.
#[derive(Clone, Copy)]
pub struct EncoderPack<'a> {
    bytes: &'a [u8],
    header: &'a PackHeader,
    tensors: &'a [TensorRecord],
    layers: &'a [LayerRecord],
    frontend: FrontEnd<'a>,
    centre: &'a [i32],
    background: Option<Background<'a>>,
    metadata: &'a str,
}

/// What the encoder's makers saw of the world, as heads use it: variances of background
/// embeddings in the directions that tell classes apart.
#[derive(Clone, Copy, Debug)]
pub struct Background<'a> {
    /// The rank r, 1 to 32.
    pub rank: usize,
    /// r rows of D: the projection that makes both covariances diagonal.
    pub projection: &'a [f32],
    /// r variances within a class.
    pub within: &'a [f32],
    /// r variances between classes.
    pub between: &'a [f32],
    /// The mean squared distance of an embedding from its class mean, all D directions together.
    pub within_total: f32,
    /// How sure to be; empty where it was not measured.
    pub calibration: Calibration<'a>,
}

/// Why bytes are not an encoder pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PackError {
    /// Shorter than the header, or than the header says: the file was cut.
    Truncated {
        /// Bytes that should be there.
        needed: usize,
        /// Bytes that are.
        got: usize,
    },
    /// Longer than the header says.
    TrailingBytes {
        /// Bytes too many.
        extra: usize,
    },
    /// The first eight bytes are not a pack's.
    NotAPack,
    /// Written for another version of the format.
    Version {
        /// The file's version; this crate reads [`VERSION`].
        found: u16,
    },
    /// The bytes do not start at a multiple of eight: use [`include_pack!`](crate::include_pack).
    Misaligned,
    /// The checksum does not match: some bit changed after the pack was written.
    Checksum,
    /// A part is wrong although the checksum matches: the writer was at fault.
    Invalid {
        /// What is wrong.
        fault: Fault,
        /// Which layer or tensor; 0 for the others.
        index: u16,
    },
}

/// What [`PackError::Invalid`] can find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A reserved field of the header is not zero.
    Reserved,
    /// A section lies outside the file or is misaligned.
    Section,
    /// No layers, no tensors, or more than [`MAX_TENSORS`].
    Count,
    /// A tensor has a zero or huge dimension, or an unknown element type.
    TensorShape,
    /// A tensor reaches beyond the arena.
    TensorPlace,
    /// Unknown layer kind.
    LayerKind,
    /// A layer names a tensor that does not exist.
    LayerTensor,
    /// A layer reads what no earlier layer wrote.
    ReadBeforeWrite,
    /// Two layers write one tensor, or a layer writes the input.
    WrittenTwice,
    /// A layer's output overwrites bytes that are still needed.
    Overlap,
    /// A layer's scratch lies outside the arena or over bytes that are needed.
    Scratch,
    /// A layer's shapes do not fit each other.
    LayerShape,
    /// A layer's weights, biases or multipliers lie outside the file, or what only fills weights up
    /// to fours is not zero.
    LayerData,
    /// Shift, low or high out of range.
    OutputStage,
    /// The embedding is not one vector that a layer writes.
    EmbeddingTensor,
    /// The front end does not fit the input, or its memory overlaps what it must not,
    /// or this firmware was built without it.
    FrontEnd,
    /// Background statistics that are not finite, not positive or too long.
    Background,
    /// Metadata is not UTF-8.
    Metadata,
}

impl Fault {
    fn message(self) -> &'static str {
        match self {
            Fault::Reserved => "a reserved header field is not zero",
            Fault::Section => "a section lies outside the file or is misaligned",
            Fault::Count => "no layers, or more tensors than this runtime takes",
            Fault::TensorShape => "tensor with an impossible shape or element type",
            Fault::TensorPlace => "tensor outside the arena",
            Fault::LayerKind => "unknown kind of layer",
            Fault::LayerTensor => "layer names a tensor that does not exist",
            Fault::ReadBeforeWrite => "layer reads a tensor that nothing wrote yet",
            Fault::WrittenTwice => "layer writes a tensor that is already written",
            Fault::Overlap => "layer overwrites bytes that are still needed",
            Fault::Scratch => {
                "layer whose scratch is outside the arena or over bytes that are needed"
            }
            Fault::LayerShape => "layer with shapes that do not fit each other",
            Fault::LayerData => "layer with weights outside the file, or where only zeros belong",
            Fault::OutputStage => "layer with an impossible output range or shift",
            Fault::EmbeddingTensor => "the embedding is not a vector that a layer writes",
            Fault::FrontEnd => {
                "the front end does not fit the encoder's input or memory, or is not linked"
            }
            Fault::Background => "background statistics are not usable numbers",
            Fault::Metadata => "metadata is not UTF-8",
        }
    }
}

impl core::fmt::Display for PackError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match *self {
            PackError::Truncated { needed, got } => {
                write!(
                    f,
                    "the pack is cut short: {needed} bytes needed, {got} there"
                )
            }
            PackError::TrailingBytes { extra } => {
                write!(
                    f,
                    "{extra} bytes follow the pack's end: was it padded or concatenated?"
                )
            }
            PackError::NotAPack => f.write_str("not an encoder pack (`headstart pack` writes one)"),
            PackError::Version { found } => write!(
                f,
                "pack format version {found}, this runtime reads {VERSION}: pack the .onnx again"
            ),
            PackError::Misaligned => {
                f.write_str("the pack's bytes must start at a multiple of 8: use include_pack!")
            }
            PackError::Checksum => f.write_str(
                "the checksum does not match: the pack was damaged after it was written",
            ),
            PackError::Invalid { fault, index } => {
                write!(f, "invalid pack: {} (number {index})", fault.message())
            }
        }
    }
}

impl core::error::Error for PackError {}

impl<'a> EncoderPack<'a> {
    /// Checks `bytes` from end to end: checksum, every offset, every shape, and that no layer
    /// overwrites what a later one reads. Costs one pass over the bytes.
    pub fn new(bytes: &'a [u8]) -> Result<Self, PackError> {
        Self::with_kernels::<AllKernels>(bytes)
    }

    /// The same for firmware that links the kernels `K`: the checks of front ends that it has not are
    /// not in the binary, and a pack with such a front end is [`Fault::FrontEnd`].
    pub fn with_kernels<K: Kernels>(bytes: &'a [u8]) -> Result<Self, PackError> {
        check::check::<K>(bytes)
    }

    /// Words of arena that the pack in `bytes` asks for, before it is checked: a firmware sizes its
    /// arena with it when it is built. 0 where the bytes are too short.
    ///
    /// ```
    /// use headstart::EncoderPack;
    /// static PACK: &[u8] = headstart::include_pack!("../../models/watch.pack");
    /// static ARENA: [u32; EncoderPack::arena_words(PACK)] = [0; EncoderPack::arena_words(PACK)];
    /// assert_eq!(4 * ARENA.len(), EncoderPack::new(PACK)?.arena_bytes());
    /// # Ok::<(), headstart::pack::PackError>(())
    /// ```
    pub const fn arena_words(bytes: &[u8]) -> usize {
        let at = core::mem::offset_of!(PackHeader, arena_bytes);
        match bytes.split_at_checked(at) {
            Some((_, [a, b, c, d, ..])) => {
                u32::from_le_bytes([*a, *b, *c, *d]).div_ceil(4) as usize
            }
            _ => 0,
        }
    }

    /// D of the pack in `bytes`, before it is checked; 0 where the bytes are too short.
    pub const fn dim_of(bytes: &[u8]) -> usize {
        let at = core::mem::offset_of!(PackHeader, dim);
        match bytes.split_at_checked(at) {
            Some((_, [a, b, ..])) => u16::from_le_bytes([*a, *b]) as usize,
            _ => 0,
        }
    }

    /// D, the length of an embedding.
    pub fn dim(&self) -> usize {
        self.centre.len()
    }

    /// What the raw signal must look like.
    pub fn frontend(&self) -> FrontEnd<'a> {
        self.frontend
    }

    /// Bytes of the file that the front end's section takes.
    pub fn frontend_bytes(&self) -> usize {
        self.header.frontend_bytes as usize
    }

    /// The front end where it is a sensor's.
    pub fn sensor(&self) -> Option<SensorWindow<'a>> {
        match self.frontend {
            FrontEnd::Sensor(sensor) => Some(sensor),
            _ => None,
        }
    }

    /// Bytes of working memory, input and scratch included: the arena's length in words is a
    /// quarter of it.
    pub fn arena_bytes(&self) -> usize {
        self.header.arena_bytes as usize
    }

    /// The raw output's fixed-point step: raw float embedding = step * integer.
    pub fn embedding_step(&self) -> f32 {
        self.header.embedding_step
    }

    /// The background mean in fixed-point steps, D values.
    pub fn centre(&self) -> &'a [i32] {
        self.centre
    }

    /// Background statistics, where the pack has them.
    pub fn background(&self) -> Option<Background<'a>> {
        self.background
    }

    /// Lines of `key=value`: licence, origin, training command, seed, data.
    pub fn metadata(&self) -> &'a str {
        self.metadata
    }

    /// Names the encoder across its builds.
    pub fn space_id(&self) -> SpaceId {
        self.header.space_id
    }

    /// The file's SHA-256. Costs a pass over the bytes: ask once, at boot.
    pub fn artefact(&self) -> Artefact {
        use sha2::Digest as _;
        sha2::Sha256::digest(self.bytes).into()
    }

    /// All activations and their places in the arena; the first is the input.
    pub fn tensors(&self) -> &'a [TensorRecord] {
        self.tensors
    }

    /// The layers, in the order in which they run.
    pub fn layers(&self) -> &'a [LayerRecord] {
        self.layers
    }

    /// The tensor that the last layer leaves the raw embedding in.
    pub fn embedding_tensor(&self) -> &'a TensorRecord {
        // Checked: the index is in range, and the first tensor exists.
        self.tensors
            .get(usize::from(self.header.embedding_tensor))
            .unwrap_or(&self.tensors[0])
    }

    /// The file's bytes.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Parameters of `layer` that lie in the file as int8; empty where out of range, which
    /// [`EncoderPack::new`] has ruled out.
    pub(crate) fn bytes_at(&self, offset: u32, length: usize) -> &'a [i8] {
        let from = offset as usize;
        bytemuck::cast_slice(self.bytes.get(from..from + length).unwrap_or(&[]))
    }

    /// The same as 32-bit words.
    pub(crate) fn words_at(&self, offset: u32, length: usize) -> &'a [i32] {
        let from = offset as usize;
        let bytes = self.bytes.get(from..from + 4 * length).unwrap_or(&[]);
        bytemuck::try_cast_slice(bytes).unwrap_or(&[])
    }

    /// The same as channels' biases and multipliers.
    pub(crate) fn channels_at(&self, offset: u32, length: usize) -> &'a [Channel] {
        let from = offset as usize;
        let size = size_of::<Channel>();
        let bytes = self.bytes.get(from..from + size * length).unwrap_or(&[]);
        bytemuck::try_cast_slice(bytes).unwrap_or(&[])
    }
}

/// Places a pack in flash at a multiple of eight: `static PACK: &[u8] = include_pack!("watch.pack");`
#[macro_export]
macro_rules! include_pack {
    ($path:expr) => {{
        #[repr(C, align(8))]
        struct Aligned<B: ?Sized> {
            bytes: B,
        }
        static PACK: &Aligned<[u8]> = &Aligned {
            bytes: *include_bytes!($path),
        };
        &PACK.bytes
    }};
}
