//! The one place where a pack is doubted.

use core::ops::Range;

use super::record::{CRC_FROM, LayerKind, LayerRecord, MAGIC, NO_TENSOR, PackHeader, TensorRecord};
use super::{Background, EncoderPack, Fault, MAX_ARENA, MAX_TENSORS, PackError, VERSION};
use crate::frontend::{FrontEnd, FrontEndKind};
use crate::head::calibration::{self, Calibration};
use crate::ops::{Kernels, geometry};

/// The longest embedding.
const MAX_DIM: u16 = 4096;
const MAX_BACKGROUND: u32 = 12 << 10;
const CRC: crc::Crc<u32> = crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC);

fn invalid(fault: Fault, index: usize) -> PackError {
    PackError::Invalid {
        fault,
        index: index as u16,
    }
}

fn require(ok: bool, fault: Fault, index: usize) -> Result<(), PackError> {
    if ok {
        Ok(())
    } else {
        Err(invalid(fault, index))
    }
}

/// The bytes of a section, 4-aligned and inside the file.
fn section(bytes: &[u8], at: u32, length: usize) -> Result<&[u8], Fault> {
    let from = at as usize;
    let to = from.checked_add(length).ok_or(Fault::Section)?;
    match bytes.get(from..to) {
        Some(found) if at.is_multiple_of(4) && from >= size_of::<PackHeader>() => Ok(found),
        _ => Err(Fault::Section),
    }
}

fn table<T: bytemuck::AnyBitPattern>(
    bytes: &[u8],
    at: u32,
    count: usize,
) -> Result<&[T], PackError> {
    section(bytes, at, count.saturating_mul(size_of::<T>()))
        .and_then(|found| bytemuck::try_cast_slice(found).map_err(|_| Fault::Section))
        .map_err(|fault| invalid(fault, 0))
}

pub(super) fn check<K: Kernels>(bytes: &[u8]) -> Result<EncoderPack<'_>, PackError> {
    let header = check_header(bytes)?;
    require(
        header.flags == 0 && header.reserved == [0; 10],
        Fault::Reserved,
        0,
    )?;
    require(
        header.arena_bytes <= MAX_ARENA && header.arena_bytes % 4 == 0,
        Fault::TensorPlace,
        0,
    )?;
    let (tensor_count, layer_count) = (
        usize::from(header.tensor_count),
        usize::from(header.layer_count),
    );
    let counts =
        (2..=MAX_TENSORS).contains(&tensor_count) && (1..MAX_TENSORS).contains(&layer_count);
    require(counts, Fault::Count, tensor_count)?;

    let tensors: &[TensorRecord] = table(bytes, header.tensors_at, tensor_count)?;
    let layers: &[LayerRecord] = table(bytes, header.layers_at, layer_count)?;
    for (i, tensor) in tensors.iter().enumerate() {
        check_tensor(tensor, header.arena_bytes).map_err(|fault| invalid(fault, i))?;
    }
    for (i, layer) in layers.iter().enumerate() {
        check_layer(bytes, tensors, layer, header.arena_bytes)
            .map_err(|fault| invalid(fault, i))?;
    }
    check_plan(tensors, layers, usize::from(header.embedding_tensor))?;

    let embedding = tensors.get(usize::from(header.embedding_tensor));
    let vector = embedding.is_some_and(|t| t.len() == usize::from(header.dim));
    require(
        vector && (1..=MAX_DIM).contains(&header.dim),
        Fault::EmbeddingTensor,
        0,
    )?;
    let step = header.embedding_step;
    require(step.is_finite() && step > 0.0, Fault::EmbeddingTensor, 0)?;
    let centre = table(bytes, header.centre_at, usize::from(header.dim))?;

    let frontend = section(bytes, header.frontend_at, header.frontend_bytes as usize)
        .map_err(|fault| invalid(fault, 0))?;
    let frontend = FrontEnd::read::<K>(frontend, &tensors[0]).ok_or(invalid(Fault::FrontEnd, 0))?;
    // Only a clip has memory of its own.
    let placed = !K::has_front_end(FrontEndKind::LogMel)
        || frontend_has_room(&frontend, header, tensors, layers);
    require(placed, Fault::FrontEnd, 0)?;
    let metadata = section(bytes, header.metadata_at, header.metadata_bytes as usize)
        .map_err(|fault| invalid(fault, 0))?;
    let metadata = core::str::from_utf8(metadata).map_err(|_| invalid(Fault::Metadata, 0))?;
    let background = check_background(bytes, header)?;
    Ok(EncoderPack {
        bytes,
        header,
        tensors,
        layers,
        frontend,
        centre,
        background,
        metadata,
    })
}

/// From the outside in: what the file claims to be before what it says.
fn check_header(bytes: &[u8]) -> Result<&PackHeader, PackError> {
    let start = bytes.len().min(MAGIC.len());
    if start > 0 && bytes[..start] != MAGIC[..start] {
        return Err(PackError::NotAPack);
    }
    let needed = size_of::<PackHeader>();
    let Some(head) = bytes.get(..needed) else {
        return Err(PackError::Truncated {
            needed,
            got: bytes.len(),
        });
    };
    if bytes.as_ptr().align_offset(8) != 0 {
        return Err(PackError::Misaligned);
    }
    let header: &PackHeader = bytemuck::try_from_bytes(head).map_err(|_| PackError::Misaligned)?;
    if header.version != VERSION {
        return Err(PackError::Version {
            found: header.version,
        });
    }
    let total = header.total_bytes as usize;
    if bytes.len() < total {
        return Err(PackError::Truncated {
            needed: total,
            got: bytes.len(),
        });
    }
    if bytes.len() > total {
        return Err(PackError::TrailingBytes {
            extra: bytes.len() - total,
        });
    }
    match bytes.get(CRC_FROM..) {
        Some(rest) if CRC.checksum(rest) == header.crc32 => Ok(header),
        _ => Err(PackError::Checksum),
    }
}

fn check_tensor(tensor: &TensorRecord, arena: u32) -> Result<(), Fault> {
    let sides = [tensor.height, tensor.width, tensor.channels];
    let elements: u64 = sides.iter().map(|&s| u64::from(s)).product();
    if elements == 0 || elements > u64::from(MAX_ARENA) || !matches!(tensor.element, 1 | 2) {
        return Err(Fault::TensorShape);
    }
    if tensor.element == 2 && tensor.zero_point != 0 {
        return Err(Fault::TensorShape);
    }
    let end = u64::from(tensor.offset) + elements * u64::from(tensor.element);
    if !tensor.offset.is_multiple_of(4) || end > u64::from(arena) {
        return Err(Fault::TensorPlace);
    }
    Ok(())
}

fn check_layer(
    bytes: &[u8],
    tensors: &[TensorRecord],
    layer: &LayerRecord,
    arena: u32,
) -> Result<(), Fault> {
    let kind = layer.kind().ok_or(Fault::LayerKind)?;
    let tensor = |index: u16| tensors.get(usize::from(index)).ok_or(Fault::LayerTensor);
    let (input, output) = (tensor(layer.input)?, tensor(layer.output)?);
    let second = if layer.adds() {
        Some(tensor(layer.second_input)?)
    } else {
        None
    };
    check_stage(kind, layer, output)?;
    check_shapes(bytes, kind, layer, [input, output], second)?;
    check_scratch(layer, input, output, arena)
}

/// What each kind asks of its tensors and parameters.
fn check_shapes(
    bytes: &[u8],
    kind: LayerKind,
    layer: &LayerRecord,
    [input, output]: [&TensorRecord; 2],
    second: Option<&TensorRecord>,
) -> Result<(), Fault> {
    match (kind, second) {
        (LayerKind::Add | LayerKind::Mul | LayerKind::Concat, Some(second)) => {
            check_pair(kind, layer, [input, second], output)
        }
        (LayerKind::Conv | LayerKind::Dense, Some(second)) if shape(second) != shape(output) => {
            Err(Fault::LayerShape)
        }
        (LayerKind::Conv | LayerKind::Dense, _) | (LayerKind::Depthwise, None) => {
            check_weighted(bytes, kind, layer, input, output)
        }
        (LayerKind::AvgPool, None) => check_window(kind, layer, input, output).map(|_| ()),
        (LayerKind::MaxPool, None) if input.element == output.element => {
            check_window(kind, layer, input, output).map(|_| ())
        }
        (LayerKind::Lookup, None) => check_table(bytes, layer, [input, output], 256),
        (LayerKind::Clamp, None) => {
            let limits = 2 * usize::from(output.channels);
            check_table(bytes, layer, [input, output], limits)
        }
        (LayerKind::Pad, None) => {
            let fits = |from: u16, pad: u16, to: u16| u32::from(from) + u32::from(pad) <= to.into();
            let fits = fits(input.height, layer.pad_top, output.height)
                && fits(input.width, layer.pad_left, output.width)
                && input.channels == output.channels
                && input.element == output.element;
            if fits { Ok(()) } else { Err(Fault::LayerShape) }
        }
        (LayerKind::MaxPool, None) => Err(Fault::LayerShape),
        _ => Err(Fault::LayerTensor),
    }
}

fn shape(tensor: &TensorRecord) -> [u16; 3] {
    [tensor.height, tensor.width, tensor.channels]
}

/// Limits, shifts and what must be zero.
fn check_stage(kind: LayerKind, layer: &LayerRecord, output: &TensorRecord) -> Result<(), Fault> {
    let limit = if output.element == 1 {
        (-128, 127)
    } else {
        (i16::MIN, i16::MAX)
    };
    let range = limit.0 <= layer.low && layer.low <= layer.high && layer.high <= limit.1;
    let shifted = (1..=47).contains(&layer.shift);
    let weighted = matches!(kind, LayerKind::Conv | LayerKind::Dense);
    let adds = if weighted && layer.adds() {
        (1..=24).contains(&layer.add_shift) && layer.add_up <= 24
    } else {
        layer.add_shift == 0 && layer.add_up == 0
    };
    let at_once = match kind {
        LayerKind::Depthwise => (1..=output.height).contains(&layer.at_once),
        LayerKind::Conv => matches!(layer.at_once, 1 | 4),
        LayerKind::Dense => layer.at_once == 1,
        _ => layer.at_once == 0,
    };
    if range && shifted && adds && at_once && layer.reserved == [0; 2] {
        Ok(())
    } else {
        Err(Fault::OutputStage)
    }
}

/// Layers that work on two tensors value by value.
fn check_pair(
    kind: LayerKind,
    layer: &LayerRecord,
    [first, second]: [&TensorRecord; 2],
    output: &TensorRecord,
) -> Result<(), Fault> {
    let same = shape(first) == shape(output);
    let fits = match kind {
        LayerKind::Add => same && shape(second) == shape(output) && layer.shift <= 31,
        LayerKind::Mul => {
            let vector = shape(second) == [1, 1, first.channels];
            same && (vector || shape(second) == shape(output))
        }
        _ => {
            let side = |t: &TensorRecord| [t.height, t.width];
            let channels = u32::from(first.channels) + u32::from(second.channels);
            side(first) == side(output)
                && side(second) == side(output)
                && channels == u32::from(output.channels)
        }
    };
    if fits { Ok(()) } else { Err(Fault::LayerShape) }
}

/// Layers that look int8 values up.
fn check_table(
    bytes: &[u8],
    layer: &LayerRecord,
    [input, output]: [&TensorRecord; 2],
    length: usize,
) -> Result<(), Fault> {
    if shape(input) != shape(output) || input.element != 1 || output.element != 1 {
        return Err(Fault::LayerShape);
    }
    section(bytes, layer.weights_at, length)
        .map(|_| ())
        .map_err(|_| Fault::LayerData)
}

/// Layers with weights: their shapes, and that their parameters lie in the file.
fn check_weighted(
    bytes: &[u8],
    kind: LayerKind,
    layer: &LayerRecord,
    input: &TensorRecord,
    output: &TensorRecord,
) -> Result<(), Fault> {
    let weights = match kind {
        LayerKind::Dense => {
            let vector = output.height == 1 && output.width == 1 && layer.groups == 1;
            if !vector || input.len() > MAX_FILTER {
                return Err(Fault::LayerShape);
            }
            geometry::weight_bytes(layer, input, output)
        }
        LayerKind::Conv => {
            check_window(kind, layer, input, output)?;
            geometry::weight_bytes(layer, input, output)
        }
        // Planes in the scratch have room for int8.
        _ if input.element != 1 => return Err(Fault::LayerShape),
        _ => check_window(kind, layer, input, output)?,
    };
    let channels = usize::from(output.channels);
    let weights = section(bytes, layer.weights_at, weights).map_err(|_| Fault::LayerData)?;
    if kind != LayerKind::Depthwise && !filled_up(weights, geometry::filter(layer, input)) {
        return Err(Fault::LayerData);
    }
    words(bytes, layer.channels_at, 2 * channels)?;
    if layer.negative_multipliers_at != 0 {
        words(bytes, layer.negative_multipliers_at, channels)?;
    }
    Ok(())
}

/// Whether zeros fill filters up to fours: behind a window the scratch holds what was there before.
fn filled_up(weights: &[u8], filter: usize) -> bool {
    let (blocks, left) = (filter.div_ceil(4), filter % 4);
    let last = |four: &[u8]| {
        let (outputs, _) = four[16 * (blocks - 1)..].as_chunks::<4>();
        outputs.iter().all(|k| k[left..].iter().all(|&w| w == 0))
    };
    left == 0 || weights.chunks_exact(16 * blocks).all(last)
}

/// The scratch lies in the arena; [`check_plan`] sees to it that nothing else lies there.
fn check_scratch(
    layer: &LayerRecord,
    input: &TensorRecord,
    output: &TensorRecord,
    arena: u32,
) -> Result<(), Fault> {
    let bytes = geometry::scratch_bytes(layer, input, output);
    let end = (layer.scratch_at as usize).checked_add(bytes);
    let inside = end.is_some_and(|end| end <= arena as usize);
    let none = bytes > 0 || layer.scratch_at == 0;
    if layer.scratch_at.is_multiple_of(8) && inside && none {
        Ok(())
    } else {
        Err(Fault::Scratch)
    }
}

fn words(bytes: &[u8], at: u32, count: usize) -> Result<(), Fault> {
    section(bytes, at, 4 * count)
        .map(|_| ())
        .map_err(|_| Fault::LayerData)
}

/// The most values that a window may have.
const MAX_FILTER: usize = 1 << 16;

/// Weights of a layer that slides a window, `[kh][kw][in / groups][out]`.
fn check_window(
    kind: LayerKind,
    layer: &LayerRecord,
    input: &TensorRecord,
    output: &TensorRecord,
) -> Result<usize, Fault> {
    let vertical = Axis {
        kernel: layer.kernel_height,
        stride: layer.stride_height,
        dilation: layer.dilation_height,
        pad: layer.pad_top,
        input: input.height,
        output: output.height,
    };
    let horizontal = Axis {
        kernel: layer.kernel_width,
        stride: layer.stride_width,
        dilation: layer.dilation_width,
        pad: layer.pad_left,
        input: input.width,
        output: output.width,
    };
    let (inputs, outputs, groups) = (input.channels, output.channels, layer.groups);
    let per_group = match kind {
        LayerKind::Conv if groups >= 1 && inputs % groups == 0 && outputs % groups == 0 => {
            usize::from(inputs / groups)
        }
        LayerKind::Depthwise if groups == inputs && outputs % groups == 0 => 1,
        LayerKind::AvgPool | LayerKind::MaxPool if inputs == outputs && undilated(layer) => 1,
        _ => return Err(Fault::LayerShape),
    };
    let sides = [layer.kernel_height, layer.kernel_width].map(usize::from);
    let window = sides
        .into_iter()
        .try_fold(per_group, usize::checked_mul)
        .unwrap_or(usize::MAX);
    if !vertical.fits() || !horizontal.fits() || window > MAX_FILTER {
        return Err(Fault::LayerShape);
    }
    window
        .checked_mul(usize::from(outputs))
        .ok_or(Fault::LayerShape)
}

fn undilated(layer: &LayerRecord) -> bool {
    layer.dilation_height == 1 && layer.dilation_width == 1
}

/// One direction of a sliding window.
struct Axis {
    kernel: u16,
    stride: u16,
    dilation: u16,
    pad: u16,
    input: u16,
    output: u16,
}

impl Axis {
    /// Every window starts inside the padded input and holds at least one real element, so that a
    /// maximum exists.
    fn fits(&self) -> bool {
        if self.kernel == 0 || self.stride == 0 || self.dilation == 0 {
            return false;
        }
        let reach = u32::from(self.kernel - 1) * u32::from(self.dilation);
        let last = u64::from(self.output - 1) * u64::from(self.stride);
        u32::from(self.pad) <= reach && last < u64::from(self.input) + u64::from(self.pad)
    }
}

/// Each tensor is written once before it is read, and lives undisturbed until its last reader.
fn check_plan(
    tensors: &[TensorRecord],
    layers: &[LayerRecord],
    embedding: usize,
) -> Result<(), PackError> {
    const NEVER: u16 = u16::MAX;
    // Step 0 is the front end, which writes tensor 0; layer i is step i + 1.
    let mut written = [NEVER; MAX_TENSORS];
    let mut last_read = [0u16; MAX_TENSORS];
    written[0] = 0;
    for (i, layer) in layers.iter().enumerate() {
        let step = i as u16 + 1;
        for input in inputs(layer) {
            require(written[input] != NEVER, Fault::ReadBeforeWrite, i)?;
            last_read[input] = step;
        }
        let output = usize::from(layer.output);
        require(written[output] == NEVER, Fault::WrittenTwice, i)?;
        written[output] = step;
    }
    let left = written.get(embedding).copied().unwrap_or(NEVER);
    require(
        left != NEVER && left != 0 && embedding < tensors.len(),
        Fault::EmbeddingTensor,
        0,
    )?;
    last_read[embedding] = NEVER;

    for (i, layer) in layers.iter().enumerate() {
        let step = i as u16 + 1;
        let place = tensors[usize::from(layer.output)].place();
        let scratch = scratch(layer, tensors);
        require(!overlap(&scratch, &place), Fault::Scratch, i)?;
        for (t, tensor) in tensors.iter().enumerate() {
            let alive = written[t] < step && last_read[t] >= step;
            if !alive {
                continue;
            }
            require(!overlap(&scratch, &tensor.place()), Fault::Scratch, i)?;
            if overlap(&tensor.place(), &place) {
                let dies_here = last_read[t] == step;
                let allowed = dies_here && may_follow(layer, t, tensors);
                require(allowed, Fault::Overlap, i)?;
            }
        }
    }
    Ok(())
}

/// The front end's memory lies in the arena. What it keeps while layers run touches none of theirs;
/// its scratch, which is done with by then, only may not touch what it is made for.
fn frontend_has_room(
    frontend: &FrontEnd<'_>,
    header: &PackHeader,
    tensors: &[TensorRecord],
    layers: &[LayerRecord],
) -> bool {
    let [sums, clip] = frontend.kept(header.dim.into());
    let before = frontend.scratch();
    let (kept, made) = if clip.is_empty() {
        (0..0, tensors[0].place())
    } else {
        (sums.start..clip.end, clip)
    };
    let arena = header.arena_bytes as usize;
    kept.end <= arena
        && before.end <= arena
        && !overlap(&before, &made)
        && !tensors.iter().any(|t| overlap(&kept, &t.place()))
        && !layers.iter().any(|l| overlap(&kept, &scratch(l, tensors)))
}

/// The bytes of the arena that a layer needs besides its tensors.
fn scratch(layer: &LayerRecord, tensors: &[TensorRecord]) -> Range<usize> {
    let [input, output] = [layer.input, layer.output].map(|t| &tensors[usize::from(t)]);
    let from = layer.scratch_at as usize;
    from..from + geometry::scratch_bytes(layer, input, output)
}

fn inputs(layer: &LayerRecord) -> impl Iterator<Item = usize> {
    [layer.input, layer.second_input]
        .into_iter()
        .filter(|&t| t != NO_TENSOR)
        .map(usize::from)
}

fn overlap(a: &Range<usize>, b: &Range<usize>) -> bool {
    a.start < b.end && b.start < a.end
}

/// Whether the layer's output may take bytes of its input `tensor`, read here for the last time.
fn may_follow(layer: &LayerRecord, tensor: usize, tensors: &[TensorRecord]) -> bool {
    let (input, second) = (usize::from(layer.input), usize::from(layer.second_input));
    let (this, output) = (&tensors[tensor], &tensors[usize::from(layer.output)]);
    // Value by value, each is read before it is written.
    let in_place = this.place() == output.place() && this.element == output.element;
    match layer.kind() {
        Some(LayerKind::Add | LayerKind::Mul | LayerKind::Lookup | LayerKind::Clamp) => in_place,
        _ if tensor == second => in_place && second != input,
        _ if in_place && geometry::takes_place(layer, this, output) => true,
        _ => geometry::least_gap(layer, &tensors[input], output)
            .is_some_and(|gap| this.offset as usize >= output.offset as usize + gap),
    }
}

fn check_background<'a>(
    bytes: &'a [u8],
    header: &PackHeader,
) -> Result<Option<Background<'a>>, PackError> {
    if header.background_bytes == 0 {
        return Ok(None);
    }
    let fault = || invalid(Fault::Background, 0);
    require(
        header.background_bytes <= MAX_BACKGROUND,
        Fault::Background,
        0,
    )?;
    let words: &[f32] = table(
        bytes,
        header.background_at,
        header.background_bytes as usize / 4,
    )?;
    let (&[rank, within_total], rest) = words.split_first_chunk().ok_or_else(fault)?;
    let rank = rank.to_bits() as usize;
    let dim = usize::from(header.dim);
    let ranked = (1..=32.min(dim)).contains(&rank);
    require(
        ranked && header.background_bytes.is_multiple_of(4),
        Fault::Background,
        0,
    )?;
    let statistics = rank * dim + 2 * rank;
    let fits = [statistics, statistics + calibration::LEN].contains(&rest.len());
    require(fits, Fault::Background, 0)?;
    let (projection, diagonals) = rest.split_at(rank * dim);
    let (within, diagonals) = diagonals.split_at(rank);
    let (between, calibration) = diagonals.split_at(rank);
    let calibration = Calibration::new(calibration).ok_or_else(fault)?;
    let finite = rest.iter().all(|v| v.is_finite()) && within_total.is_finite();
    let positive =
        within.iter().all(|&v| v > 0.0) && between.iter().all(|&v| v >= 0.0) && within_total > 0.0;
    require(finite && positive, Fault::Background, 0)?;
    Ok(Some(Background {
        rank,
        projection,
        within,
        between,
        within_total,
        calibration,
    }))
}
