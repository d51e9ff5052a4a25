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

    /// Whether it is int8 of this height, width and channels.
    pub(crate) fn is(&self, shape: [u16; 3]) -> bool {
        [self.height, self.width, self.channels] == shape && self.element == 1
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
    /// Convolution, 1-D (height 1) or 2-D, any groups; may add a second tensor. Weights as
    /// [`LayerRecord::weights_at`] says.
    Conv = 1,
    /// Convolution with one input channel a group. Weights `[kh][kw][out]`.
    Depthwise = 2,
    /// Matrix times vector; may add a second tensor. Weights as a convolution's.
    Dense = 3,
    /// Average of a window; padding counts as zero.
    AvgPool = 4,
    /// Maximum of a window; padding does not count.
    MaxPool = 5,
    /// Sum of two tensors of one shape, each with its own scale.
    Add = 6,
    /// Product of two tensors; the second may be one vector for all pixels.
    Mul = 7,
    /// A table of 256 values: any function of one value.
    Lookup = 8,
    /// Two tensors side by side, channel after channel, each with its own scale.
    Concat = 9,
    /// Limits of its own for each channel: maximum and minimum with constants.
    Clamp = 10,
    /// Zeros around a tensor.
    Pad = 11,
}

impl LayerKind {
    /// All kinds.
    pub const ALL: [LayerKind; 11] = [
        LayerKind::Conv,
        LayerKind::Depthwise,
        LayerKind::Dense,
        LayerKind::AvgPool,
        LayerKind::MaxPool,
        LayerKind::Add,
        LayerKind::Mul,
        LayerKind::Lookup,
        LayerKind::Concat,
        LayerKind::Clamp,
        LayerKind::Pad,
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
            LayerKind::Mul => "Mul",
            LayerKind::Lookup => "Lookup",
            LayerKind::Concat => "Concat",
            LayerKind::Clamp => "Clamp",
            LayerKind::Pad => "Pad",
        }
    }
}

/// The value of `second_input` where a layer has one input.
pub const NO_TENSOR: u16 = u16::MAX;

/// How a channel's sum becomes an output: 8 bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Channel {
    /// The sum starts here; the input's zero point is folded in.
    pub bias: i32,
    /// What the sum is multiplied with before the shift.
    pub multiplier: i32,
}

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
    /// Index of the second input, else [`NO_TENSOR`].
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
    /// What is computed from one filling of the scratch. Of Depthwise: rows of output; of Conv:
    /// pixels, 1 or 4; of Dense: 1; else 0.
    pub at_once: u16,
    /// Where the int8 weights start in the file. Of Conv and Dense, group by group:
    /// `[out / 4][k / 4][4 outputs][4 k]` with k over `[kh][kw][in / groups]`; both are filled up
    /// with zeros to multiples of four. Of Lookup the 256 values, of Clamp `[low, high]` a channel.
    pub weights_at: u32,
    /// Where a [`Channel`] for each output channel starts.
    pub channels_at: u32,
    /// Where the multipliers of negative sums start; 0 where there is no difference.
    pub negative_multipliers_at: u32,
    /// Where in the arena this layer's scratch starts, a multiple of 8.
    pub scratch_at: u32,
    /// Of Add, Mul, Concat and AvgPool: what the first input (or the sum) is multiplied with.
    pub first_multiplier: i32,
    /// Of Add, Concat and layers that add: what the second input is multiplied with.
    pub second_multiplier: i32,
    /// Of Add, AvgPool, Concat and layers that add: what is added before the shift.
    pub bias: i32,
    /// Of Conv and Dense that add a second tensor: the shift of the sum, 1 to 24.
    pub add_shift: u8,
    /// Of the same: by how much the scaled accumulator is shifted up first, 0 to 24.
    pub add_up: u8,
    /// Zero.
    pub reserved: [u8; 2],
}

impl LayerRecord {
    /// What the layer computes; `None` for a kind of a later version.
    pub fn kind(&self) -> Option<LayerKind> {
        LayerKind::ALL
            .into_iter()
            .find(|&kind| kind as u8 == self.kind)
    }

    /// Whether it has a second input.
    pub fn adds(&self) -> bool {
        self.second_input != NO_TENSOR
    }
}
