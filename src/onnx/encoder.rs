//! The trait [`Encoder`] over any runtime.

use std::path::Path;
use std::vec;
use std::vec::Vec;

use sha2::{Digest, Sha256};

use super::model::Model;
use super::{Background, EncoderInfo, InfoError, Layout, OnnxError};
use crate::embedding::{Embedding, EmbeddingError, ZeroEmbedding};
use crate::encoder::{EmbedError, Encoder};
use crate::frontend::Signal;
use crate::pack::Artefact;

/// Runs a graph at one shape.
pub trait Runtime: Sized {
    /// Prepares a graph for inputs of `shape`, the batch first, on `threads` threads, at least one.
    ///
    /// # Errors
    /// Where the runtime is not there or refuses the graph.
    fn load(bytes: &[u8], shape: &[usize], threads: usize) -> Result<Self, OnnxError>;

    /// Runs batches of the graph's shape, one after the other in `inputs`; the values of the first
    /// output, in the same order. What is left over a whole batch is not run.
    ///
    /// # Errors
    /// Where the runtime fails.
    fn run(&mut self, inputs: &[f32]) -> Result<Vec<f32>, OnnxError>;
}

/// How an encoder runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Threads; 0 is one a processor.
    pub threads: usize,
    /// Windows that the graph takes at once, where the file leaves that open; less is padded. 1 is
    /// for a device, more makes [`OnnxEncoder::embed_batch`] faster.
    pub batch: usize,
}

/// One thread, one window at a time.
impl Default for Options {
    fn default() -> Self {
        Options {
            threads: 1,
            batch: 1,
        }
    }
}

/// Windows at once beyond which a file is damaged.
const LARGEST_BATCH: usize = 1024;

/// Numbers at once beyond which it is damaged, too: half a gibibyte of them.
const LARGEST_INPUT: usize = 1 << 27;

/// An encoder's `.onnx` in a runtime; see the [module](super).
pub struct OnnxEncoder<R> {
    runtime: R,
    info: EncoderInfo,
    layout: Layout,
    batch: usize,
    dim: usize,
    artefact: Artefact,
    centre: Vec<i32>,
}

impl<R: Runtime> OnnxEncoder<R> {
    /// Opens a file, to run on one thread.
    ///
    /// # Errors
    /// All but [`OnnxError::Embed`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self, OnnxError> {
        Self::open_with(path, Options::default())
    }

    /// Opens a file.
    ///
    /// # Errors
    /// As [`OnnxEncoder::open`].
    pub fn open_with(path: impl AsRef<Path>, options: Options) -> Result<Self, OnnxError> {
        let path = path.as_ref();
        let bytes = std::fs::read(path).map_err(|error| OnnxError::Read {
            path: path.into(),
            error,
        })?;
        Self::from_bytes_with(&bytes, options)
    }

    /// Opens a file's bytes, to run on one thread. They are not needed afterwards.
    ///
    /// # Errors
    /// As [`OnnxEncoder::open`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, OnnxError> {
        Self::from_bytes_with(bytes, Options::default())
    }

    /// Opens a file's bytes. Runs the graph once, on zeros, to see that it does and how long its
    /// embeddings are.
    ///
    /// # Errors
    /// As [`OnnxEncoder::open`].
    pub fn from_bytes_with(bytes: &[u8], options: Options) -> Result<Self, OnnxError> {
        let model = Model::read(bytes)?;
        let info = EncoderInfo::from_entries(model.metadata())?;
        let frontend = info.frontend.shape();
        // A file may say nothing of its input's shape.
        let input = model
            .input()
            .unwrap_or_else(|| vec![None; if frontend[0] == 1 { 3 } else { 4 }]);
        let (batch, graph) = input.split_first().ok_or(OnnxError::Input {
            graph: Vec::new(),
            frontend,
        })?;
        let batch = batch.unwrap_or(options.batch.max(1));
        if batch > LARGEST_BATCH {
            return Err(OnnxError::Runtime(std::format!(
                "it takes {batch} windows at once"
            )));
        }
        let (layout, dims) =
            arrange(graph, frontend, info.layout).ok_or_else(|| OnnxError::Input {
                graph: graph.to_vec(),
                frontend,
            })?;
        let threads = match options.threads {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            threads => threads,
        };
        let shape = [&[batch], dims.as_slice()].concat();
        let values = shape.iter().fold(1usize, |n, &d| n.saturating_mul(d));
        if values > LARGEST_INPUT {
            return Err(OnnxError::Runtime(std::format!(
                "it takes {values} numbers at once"
            )));
        }
        let mut runtime = R::load(bytes, &shape, threads)?;
        let silence = vec![0.0; shape.iter().product()];
        let dim = runtime.run(&silence)?.len() / batch;
        if dim == 0 {
            return Err(OnnxError::Runtime("its output is empty".into()));
        }
        let mean = info.background.as_ref().map_or(dim, |b| b.mean.len());
        if mean != dim {
            let why = std::format!("embeddings have {dim} values, the background mean has {mean}");
            return Err(InfoError::Damaged("background", why).into());
        }
        let mut encoder = OnnxEncoder {
            runtime,
            info,
            layout,
            batch,
            dim,
            artefact: Sha256::digest(bytes).into(),
            centre: vec![0; dim],
        };
        if let Some(step) = encoder.info.embedding_step {
            encoder.set_centre(step);
        }
        Ok(encoder)
    }

    /// What the file says besides the graph.
    pub fn info(&self) -> &EncoderInfo {
        &self.info
    }

    /// What heads start from, where the file has it.
    pub fn background(&self) -> Option<crate::pack::Background<'_>> {
        self.info.background.as_ref().map(Background::view)
    }

    /// Raw embeddings, a row a window. `inputs` is `[windows][height][width][channels]` as
    /// [`Settings::inputs`](crate::frontend::Settings::inputs) makes it, of any number of windows.
    ///
    /// # Errors
    /// [`OnnxError::Runtime`], and [`EmbedError::InputLength`] where the last window is not whole.
    pub fn embed_batch(&mut self, inputs: &[f32]) -> Result<Vec<Vec<f32>>, OnnxError> {
        let [height, width, channels] = self.info.frontend.shape();
        let size = height * width * channels;
        let windows = inputs.len() / size;
        if !inputs.len().is_multiple_of(size) {
            let (expected, got) = ((windows + 1) * size, inputs.len());
            return Err(EmbedError::InputLength { expected, got }.into());
        }
        let mut values = match self.layout {
            Layout::Nhwc => inputs.to_vec(),
            Layout::Nchw => inputs
                .chunks_exact(size)
                .flat_map(|w| (0..channels).flat_map(move |c| w.iter().skip(c).step_by(channels)))
                .copied()
                .collect(),
        };
        values.resize(windows.next_multiple_of(self.batch) * size, 0.0);
        let rows = self.runtime.run(&values)?;
        if rows.len() != windows.next_multiple_of(self.batch) * self.dim {
            return Err(OnnxError::Runtime("its output changes its size".into()));
        }
        let rows = rows.chunks_exact(self.dim).take(windows);
        Ok(rows.map(<[f32]>::to_vec).collect())
    }

    /// The raw embedding of a signal, the mean over its windows, D values.
    ///
    /// # Errors
    /// [`OnnxError::Runtime`], and [`OnnxError::Embed`] where the signal is not the encoder's.
    pub fn embed_raw(&mut self, signal: Signal<'_>) -> Result<Vec<f32>, OnnxError> {
        let inputs = self.info.frontend.inputs(signal)?;
        let rows = self.embed_batch(&inputs)?;
        let mut mean = vec![0.0; self.dim];
        for row in &rows {
            mean.iter_mut().zip(row).for_each(|(sum, v)| *sum += v);
        }
        let windows = rows.len().max(1) as f32;
        mean.iter_mut().for_each(|v| *v /= windows);
        Ok(mean)
    }

    /// The background's mean in whole steps; zeros without a background.
    fn set_centre(&mut self, step: f32) {
        if let Some(background) = &self.info.background {
            let whole = |v: &f32| libm::roundf(v / step) as i32;
            let steps = background.mean.iter().map(whole);
            self.centre.iter_mut().zip(steps).for_each(|(c, v)| *c = v);
        }
    }

    /// The fixed-point step: the file's, else 1/65536 of the largest value that there is.
    fn step(&mut self, raw: &[f32]) -> f32 {
        if let Some(step) = self.info.embedding_step {
            return step;
        }
        let mean = self.info.background.iter().flat_map(|b| &b.mean);
        let largest = mean.chain(raw).fold(0.0f32, |m, v| m.max(v.abs()));
        let step = (largest / 65_536.0).max(f32::MIN_POSITIVE);
        self.set_centre(step);
        step
    }
}

impl<R: Runtime> Encoder for OnnxEncoder<R> {
    fn dim(&self) -> usize {
        self.dim
    }

    fn input_len(&self) -> usize {
        self.info.frontend.input_len()
    }

    fn artefact(&self) -> Artefact {
        self.artefact
    }

    fn embed<'o>(
        &mut self,
        signal: Signal<'_>,
        out: &'o mut [i8],
    ) -> Result<Embedding<'o>, EmbedError> {
        let (expected, got) = (self.dim, out.len());
        if got != expected {
            return Err(EmbedError::OutputLength { expected, got });
        }
        let raw = self.embed_raw(signal).map_err(|e| match e {
            OnnxError::Embed(e) => e,
            _ => EmbedError::Runtime,
        })?;
        let step = self.step(&raw);
        Embedding::from_floats(&raw, step, &self.centre, out).map_err(|e| match e {
            EmbeddingError::Zero => EmbedError::Zero(ZeroEmbedding),
            EmbeddingError::NotFinite { .. } => EmbedError::Runtime,
        })
    }
}

/// How the graph wants a window: the order, and the dimensions without the batch. A series may lack
/// its height of 1, a vector its width, too. What fits both orders is ONNX's own, channels first,
/// unless the metadata says otherwise.
fn arrange(
    graph: &[Option<usize>],
    [height, width, channels]: [usize; 3],
    stored: Option<Layout>,
) -> Option<(Layout, Vec<usize>)> {
    let fits = |layout: Layout| {
        let space = match (height, width) {
            (1, 1) if graph.len() == 1 => &[][..],
            (1, _) if graph.len() == 2 => &[width],
            _ => &[height, width],
        };
        let dims = match layout {
            Layout::Nchw => [&[channels], space].concat(),
            Layout::Nhwc => [space, &[channels]].concat(),
        };
        // A series may have the sides of a picture.
        let series = [Some(channels), Some(width)];
        let sides = |space: &[Option<usize>]| match *space {
            [Some(h), Some(w)] => h.checked_mul(w),
            _ => None,
        };
        if let (1, &[first, second, third]) = (height, graph) {
            let (space, own) = match layout {
                Layout::Nchw => ([second, third], first),
                Layout::Nhwc => ([first, second], third),
            };
            if [own, sides(&space)] == series {
                return Some((layout, graph.iter().flatten().copied().collect()));
            }
        }
        let same = |(own, dim): (&Option<usize>, &usize)| own.is_none_or(|own| own == *dim);
        let fit = dims.len() == graph.len() && graph.iter().zip(&dims).all(same);
        fit.then_some((layout, dims))
    };
    match stored {
        Some(layout) => fits(layout),
        None => fits(Layout::Nchw).or_else(|| fits(Layout::Nhwc)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_is_found_from_the_shape() {
        use Layout::{Nchw, Nhwc};
        let open = None;
        let cases = [
            (
                &[Some(3), Some(96), Some(64)][..],
                [96, 64, 3],
                None,
                Some(Nchw),
            ),
            (
                &[Some(96), Some(64), Some(3)],
                [96, 64, 3],
                None,
                Some(Nhwc),
            ),
            (&[open, open, open], [96, 64, 3], None, Some(Nchw)),
            (&[open, open, Some(3)], [96, 64, 3], None, Some(Nhwc)),
            (&[Some(6), Some(128)], [1, 128, 6], None, Some(Nchw)),
            (&[Some(128), Some(6)], [1, 128, 6], None, Some(Nhwc)),
            (
                &[Some(6), Some(1), Some(128)],
                [1, 128, 6],
                None,
                Some(Nchw),
            ),
            (&[Some(6), Some(6)], [1, 6, 6], None, Some(Nchw)),
            (&[Some(6), Some(6)], [1, 6, 6], Some(Nhwc), Some(Nhwc)),
            (&[Some(7)], [1, 1, 7], None, Some(Nchw)),
            (&[Some(7)], [1, 7, 1], None, None),
            (&[Some(5), Some(128)], [1, 128, 6], None, None),
            (&[Some(6), Some(128)], [1, 128, 6], Some(Nhwc), None),
            (
                &[Some(49), Some(10), Some(1)],
                [1, 490, 1],
                Some(Nhwc),
                Some(Nhwc),
            ),
            (&[Some(48), Some(10), Some(1)], [1, 490, 1], None, None),
            (&[], [1, 128, 6], None, None),
        ];
        for (graph, frontend, stored, expected) in cases {
            let found = arrange(graph, frontend, stored).map(|(layout, _)| layout);
            assert_eq!(found, expected, "{graph:?} {frontend:?}");
        }
    }
}
