//! The records of the file, laid out so that a cast reads them.

use bytemuck::{Pod, Zeroable};

/// The first eight bytes; the line end in it finds files that a text mode transfer changed.
pub const MAGIC: [u8; 8] = *b"HSPACK\r\n";

/// 128 bytes at the start of the file.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub struct PackHeader {
    /// [`MAGIC`].
    pub magic: [u8; 8],
    /// The format's version.
    pub version: u16,
    /// Zero.
    pub flags: u16,
    /// The file's length.
    pub total_bytes: u32,
    /// CRC-32 (IEEE) of the bytes from [`CRC_FROM`] on.
    pub crc32: u32,
    /// Working memory, a multiple of 4.
    pub arena_bytes: u32,
    /// Activations.
    pub tensor_count: u16,
    /// Layers.
    pub layer_count: u16,
    /// D.
    pub dim: u16,
    /// Which activation is the raw embedding.
    pub embedding_tensor: u16,
    /// Raw float embedding = step * integer.
    pub embedding_step: f32,
    /// Where the [`TensorRecord`]s start.
    pub tensors_at: u32,
    /// Where the [`LayerRecord`]s start.
    pub layers_at: u32,
    /// Where the front end's section starts.
    pub frontend_at: u32,
    /// Its length.
    pub frontend_bytes: u32,
    /// Where the D int32 of the background mean start.
    pub centre_at: u32,
    /// Where the background statistics start.
    pub background_at: u32,
    /// Their length; 0 where there are none.
    pub background_bytes: u32,
    /// Where the metadata text starts.
    pub metadata_at: u32,
    /// Its length.
    pub metadata_bytes: u32,
    /// Names the encoder across its builds.
    pub space_id: [u8; 16],
    /// Zero.
    pub reserved: [u32; 10],
}

/// The checksum covers everything behind itself.
pub const CRC_FROM: usize = 20;

/// An activation's shape and place: 16 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct TensorRecord {
    /// Where it starts in the arena, in bytes; a multiple of 4.
    pub offset: u32,
    /// Rows; 1 for a time series.
    pub height: u16,
    /// Columns, or time steps.
    pub width: u16,
    /// Innermost dimension.
    pub channels: u16,
    /// 1 = int8, 2 = int16: the bytes an element takes.
    pub element: u8,
    /// The value that stands for 0.0.
    pub zero_point: i8,
    /// What one step is worth. For reports: the device never reads it.
    pub scale: f32,
}

/// How an activation is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ElementKind {
    /// One byte.
    Int8,
    /// Two bytes, for embeddings.
    Int16,
}

impl TensorRecord {
    /// Elements.
    pub fn len(&self) -> usize {
        usize::from(self.height) * usize::from(self.width) * usize::from(self.channels)
    }

    /// Whether there are none (a checked pack has no such tensor).
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes that it takes in the arena.
    pub fn bytes(&self) -> usize {
        self.len() * usize::from(self.element)
    }

    /// The bytes of the arena that it takes.
    pub fn place(&self) -> core::ops::Range<usize> {
        let from = self.offset as usize;
        from..from + self.bytes()
    }

    /// How its elements are stored.
    pub fn element_kind(&self) -> ElementKind {
        if self.element == 2 {
            ElementKind::Int16
        } else {
            ElementKind::Int8
        }
    }
}

/// What a layer computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum LayerKind {
    /// Convolution, 1-D (height 1) or 2-D, any groups. Weights `[out][kh][kw][in / groups]`.
    Conv = 1,
    /// Convolution with one input channel a group. Weights `[kh][kw][out]`.
    Depthwise = 2,
    /// Matrix times vector. Weights `[out][in]`.
    Dense = 3,
    /// Average of a window; padding counts as zero.
    AvgPool = 4,
    /// Maximum of a window; padding does not count.
    MaxPool = 5,
    /// Sum of two tensors of one shape, each with its own scale.
    Add = 6,
}

impl LayerKind {
    /// All kinds.
    pub const ALL: [LayerKind; 6] = [
        LayerKind::Conv,
        LayerKind::Depthwise,
        LayerKind::Dense,
        LayerKind::AvgPool,
        LayerKind::MaxPool,
        LayerKind::Add,
    ];

    /// As `kernels!` spells it.
    pub fn name(self) -> &'static str {
        match self {
            LayerKind::Conv => "Conv",
            LayerKind::Depthwise => "Depthwise",
            LayerKind::Dense => "Dense",
            LayerKind::AvgPool => "AvgPool",
            LayerKind::MaxPool => "MaxPool",
            LayerKind::Add => "Add",
        }
    }
}

/// The value of `second_input` where a layer has one input.
pub const NO_TENSOR: u16 = u16::MAX;

/// One layer: 64 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct LayerRecord {
    /// A [`LayerKind`].
    pub kind: u8,
    /// Of the output stage, 1 to 47.
    pub shift: u8,
    /// Smallest output value.
    pub low: i16,
    /// Largest output value.
    pub high: i16,
    /// Index of the input tensor.
    pub input: u16,
    /// Index of the second input of Add, else [`NO_TENSOR`].
    pub second_input: u16,
    /// Index of the output tensor.
    pub output: u16,
    /// Groups of a convolution.
    pub groups: u16,
    /// Window height.
    pub kernel_height: u16,
    /// Window width.
    pub kernel_width: u16,
    /// Vertical stride.
    pub stride_height: u16,
    /// Horizontal stride.
    pub stride_width: u16,
    /// Vertical dilation.
    pub dilation_height: u16,
    /// Horizontal dilation.
    pub dilation_width: u16,
    /// Padding above; what lies below follows from the output's height.
    pub pad_top: u16,
    /// Padding to the left.
    pub pad_left: u16,
    /// Zero.
    pub reserved: u16,
    /// Where the int8 weights start in the file.
    pub weights_at: u32,
    /// Where the int32 biases start, input zero point folded in.
    pub biases_at: u32,
    /// Where the int32 multipliers start.
    pub multipliers_at: u32,
    /// Where the multipliers of negative accumulators start; 0 where there is no difference.
    pub negative_multipliers_at: u32,
    /// Of Add: what the first input is multiplied with.
    pub first_multiplier: i32,
    /// Of Add: what the second input is multiplied with.
    pub second_multiplier: i32,
    /// Of Add and AvgPool: what is added before the shift.
    pub bias: i32,
    /// Zero.
    pub reserved_end: u32,
}

impl LayerRecord {
    /// What the layer computes; `None` for a kind of a later version.
    pub fn kind(&self) -> Option<LayerKind> {
        LayerKind::ALL
            .into_iter()
            .find(|&kind| kind as u8 == self.kind)
    }
}
