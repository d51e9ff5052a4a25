//! The training loop.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::bail;
use burn::module::{Module, ModuleVisitor, Param};
use burn::nn::BatchNorm;
use burn::optim::{AdamWConfig, GradientsAccumulator, GradientsParams, ModuleOptimizer};
use burn::tensor::{Device, Tensor};

use super::checkpoint::{self, Header};
use super::halves::Halves;
use super::lars::Lars;
use super::loader::Loader;
use super::progress::Progress;
use super::settings::{Optimiser, Settings};
use crate::augment::stream;
use crate::error::Failure;
use crate::export;
use crate::network::{self, Initialiser, Network, Shape};
use crate::pretext::quality::{Quality, quality};
use crate::pretext::{self, Draw, Encoder, Head, Prepared, Pretext};
use crate::report::Epoch;
use crate::source::{self, Source, purpose};

/// At most so many items are measured after an epoch: quality costs their square.
const PROBES: usize = 512;

/// Below this effective rank all embeddings lie on a line.
const COLLAPSED: f32 = 1.5;
/// Epochs in a row that count as a collapse.
const PATIENCE: usize = 3;

/// What is trained: the encoder, and what only training needs.
#[derive(Module, Debug)]
pub struct Model {
    /// What is exported.
    pub encoder: Network,
    pub(super) heads: Vec<Head>,
}

impl Model {
    fn norms(&self) -> Vec<&BatchNorm> {
        let heads = self.heads.iter().flat_map(|head| &head.layers);
        let keys = self.heads.iter().filter_map(|head| head.keys.as_ref());
        self.encoder
            .norms()
            .iter()
            .chain(heads.flat_map(|layers| layers.norms()))
            .chain(keys.flat_map(|keys| keys.norms()))
            .collect()
    }
}

/// A finished run.
pub struct Trained {
    /// In evaluation mode, on a device without gradients.
    pub encoder: Network,
    /// The network behind the encoder, of each task.
    pub heads: Vec<Head>,
    /// Every epoch of it.
    pub epochs: Vec<Epoch>,
    /// Seconds of training, earlier parts of a resumed run included.
    pub seconds: f64,
}

/// Where a run is kept, and how often.
#[derive(Debug, Clone)]
pub struct Keeping<'a> {
    /// The checkpoint.
    pub path: &'a Path,
    /// At the end of an epoch, but not more often than this.
    pub every: Duration,
    /// Go on from it.
    pub resume: bool,
}

/// A task and its weight in the loss.
pub type Weighted = (Box<dyn Pretext>, f32, String);

/// One run, from its first step or from a checkpoint.
pub struct Training<'a> {
    source: &'a dyn Source,
    tasks: &'a [Weighted],
    settings: &'a Settings,
    keeping: Option<Keeping<'a>>,
    /// Steps of an epoch: whole batches.
    per_epoch: u64,
    shape: Shape,
    device: Device,
    model: Model,
    halves: Option<Halves>,
    optimiser: ModuleOptimizer,
    header: Header,
    started: Instant,
    saved: Option<Instant>,
    clock: Clock,
    gradient_norm: f64,
}

/// Where an epoch's time went.
struct Clock {
    start: Instant,
    waiting: Duration,
    network: Duration,
}

impl Clock {
    fn new() -> Clock {
        Clock {
            start: Instant::now(),
            waiting: Duration::ZERO,
            network: Duration::ZERO,
        }
    }
}

impl<'a> Training<'a> {
    /// Prepares a run.
    ///
    /// # Errors
    /// The checkpoint to resume from is missing, damaged, or of another run; no batch can be filled.
    pub fn new(
        source: &'a dyn Source,
        tasks: &'a [Weighted],
        settings: &'a Settings,
        data_sha256: &[u8],
        threads: usize,
        keeping: Option<Keeping<'a>>,
    ) -> anyhow::Result<Self> {
        let device = network::device().autodiff();
        let shape = settings.shape(source);
        let batch = settings.batch as usize;
        let order = source::order(source, settings.batches(), batch, settings.seed, 0);
        if order.is_empty() {
            bail!("the data does not fill one batch of {batch}: take a smaller --batch");
        }
        let mut init = Initialiser::new(stream(settings.seed, purpose::WEIGHTS, 0, 0), &device);
        let encoder = Network::new(&mut init, shape, &device);
        let heads = tasks
            .iter()
            .map(|(task, _, _)| task.head(&mut init, shape, source, &encoder))
            .collect();
        let mut model = Model { encoder, heads };
        let mut optimiser = match settings.optimiser.unwrap_or(Optimiser::Adamw) {
            Optimiser::Adamw => AdamWConfig::new()
                .with_epsilon(1e-8)
                .with_weight_decay(settings.weight_decay)
                .init(),
            Optimiser::Lars => Lars::init(settings.weight_decay),
        };
        let mut header = Header {
            settings: settings.clone(),
            kind: source.kind(),
            data_sha256: super::hex(data_sha256),
            threads,
            step: 0,
            sums: vec![0.0; 1 + tasks.len()],
            epochs: Vec::new(),
            seconds: 0.0,
        };
        if let Some(keeping) = keeping.as_ref().filter(|k| k.resume) {
            (header, model, optimiser) = checkpoint::load(keeping.path, &header, model, optimiser)?;
        }
        let halves = match settings.halves && source.kind() != source::Kind::Text {
            true => Some(Halves::new(threads)?),
            false => None,
        };
        Ok(Training {
            source,
            tasks,
            settings,
            keeping,
            per_epoch: (order.len() / batch) as u64,
            shape,
            device,
            model,
            halves,
            optimiser,
            header,
            started: Instant::now(),
            saved: None,
            clock: Clock::new(),
            gradient_norm: 0.0,
        })
    }

    /// Epochs that were done before this run began.
    pub fn epochs(&self) -> &[Epoch] {
        &self.header.epochs
    }

    /// Steps of the whole run.
    pub fn steps(&self) -> u64 {
        self.per_epoch * u64::from(self.settings.epochs)
    }

    /// Trains to the end. `each` sees every epoch when it is done. A checkpoint is written at the end
    /// of epochs and when `stop` is set.
    ///
    /// # Errors
    /// [`Failure::Interrupted`] where `stop` was set; the loss is not finite; the embeddings have
    /// collapsed; a checkpoint can't be written.
    pub fn run(
        mut self,
        stop: &AtomicBool,
        progress: Option<&Progress>,
        mut each: impl FnMut(&Epoch, &[Epoch]) -> anyhow::Result<()>,
    ) -> Result<Trained, Failure> {
        let (per_epoch, steps) = (self.per_epoch, self.steps());
        let (source, tasks) = (self.source, self.tasks);
        let (settings, first) = (self.settings, self.header.step);
        let prepare = move |step: u64| -> Vec<Prepared> {
            let batch = settings.batch as usize;
            let order = source::order(
                source,
                settings.batches(),
                batch,
                settings.seed,
                step / per_epoch,
            );
            let picked = &order[(step % per_epoch) as usize * batch..][..batch];
            let each = tasks.iter().enumerate().map(|(task, (pretext, _, _))| {
                let draw = Draw {
                    seed: settings.seed,
                    task: task as u64,
                    step,
                };
                pretext.prepare(source, picked, draw)
            });
            each.collect()
        };
        std::thread::scope(|scope| {
            let loader = Loader::start(scope, first..steps, prepare)?;
            self.clock = Clock::new();
            while self.header.step < steps {
                if stop.load(Ordering::Relaxed) {
                    self.save(true)?;
                    return Err(Failure::Interrupted);
                }
                let (batch, waited) = loader.next()?;
                self.clock.waiting += waited;
                let (loss, rate) = self.step(batch, steps)?;
                if let Some(progress) = progress {
                    let share = waiting_share(&self.clock);
                    progress.step(loss, rate, share);
                }
                if self.header.step.is_multiple_of(per_epoch) {
                    let epoch = self.finish_epoch(per_epoch, steps);
                    each(&epoch, &self.header.epochs)?;
                    self.refuse_collapse()?;
                    self.save(false)?;
                    self.clock = Clock::new();
                }
            }
            Ok(())
        })?;
        let valid = self.model.valid();
        Ok(Trained {
            encoder: valid.encoder,
            heads: valid.heads,
            seconds: self.header.seconds + self.started.elapsed().as_secs_f64(),
            epochs: self.header.epochs,
        })
    }

    /// One step of the optimiser. Returns the loss and items a second.
    fn step(&mut self, batch: Vec<Prepared>, steps: u64) -> anyhow::Result<(f64, f64)> {
        let clock = Instant::now();
        let halves = self.halves.as_ref();
        let halves = halves.map(|halves| halves.step(&self.model.encoder, &self.device));
        let encoder = match &halves {
            Some(step) => Encoder::Halves(step),
            None => Encoder::Whole(&self.model.encoder),
        };
        let mut total: Option<Tensor<1>> = None;
        let (mut kept, mut values) = (Vec::new(), Vec::new());
        let parts = self.tasks.iter().zip(&self.model.heads).zip(batch);
        for (((task, weight, name), head), prepared) in parts {
            let x = pretext::tensor(prepared.inputs, self.source.shape(), &self.device);
            let loss = task.loss(&encoder, head, x, &prepared.targets);
            let value = f64::from(loss.value.clone().into_scalar::<f32>());
            if !value.is_finite() {
                bail!(
                    "the loss of {name} became {value} at step {}: try a lower --learning-rate (now {}), --clip 1, or a higher --temperature (now {})",
                    self.header.step + 1,
                    self.settings.learning_rate,
                    self.settings.temperature
                );
            }
            values.push(value);
            kept.push(loss.keys);
            let weighted = match weight {
                1.0 => loss.value,
                weight => loss.value.mul_scalar(*weight),
            };
            total = Some(match total {
                None => weighted,
                Some(sum) => sum + weighted,
            });
        }
        let Some(total) = total else {
            bail!("there is no task to learn from");
        };
        let mut all = total.backward();
        let mut found = GradientsAccumulator::new();
        found.accumulate(
            &self.model,
            GradientsParams::from_module(&mut all, &self.model),
        );
        if let Some(step) = halves {
            step.backward(&all, &mut found, &self.model);
        }
        let mut gradients = found.grads();
        self.clock.network += clock.elapsed();
        let ends = (self.header.step + 1).is_multiple_of(self.per_epoch);
        if ends || self.settings.clip.is_some() {
            self.gradient_norm = f64::from(norm(&self.model, &gradients));
        }
        if let Some(most) = self
            .settings
            .clip
            .filter(|&c| self.gradient_norm > f64::from(c))
        {
            let by = f64::from(most) / self.gradient_norm;
            self.model.visit(&mut Shortened {
                gradients: &mut gradients,
                by: by as f32,
            });
        }
        let rate = self.rate(steps);
        self.model = self.optimiser.step(rate, self.model.clone(), gradients);
        if kept.iter().any(Option::is_some) {
            let heads = std::mem::take(&mut self.model.heads);
            let encoder = &self.model.encoder;
            let each = self.tasks.iter().zip(heads).zip(kept);
            self.model.heads = each
                .map(|(((task, _, _), head), keys)| task.after(encoder, head, keys))
                .collect();
        }
        let weights = self.tasks.iter().map(|(_, weight, _)| f64::from(*weight));
        let value: f64 = values.iter().zip(weights).map(|(v, w)| v * w).sum();
        let parts = std::iter::once(value).chain(values);
        for (sum, part) in self.header.sums.iter_mut().zip(parts) {
            *sum += part;
        }
        self.header.step += 1;
        let seconds = clock.elapsed().as_secs_f64();
        Ok((value, f64::from(self.settings.batch) / seconds))
    }

    fn finish_epoch(&mut self, per_epoch: u64, steps: u64) -> Epoch {
        let spent = self.clock.start.elapsed().as_secs_f64();
        let part = |time: Duration| time.as_secs_f64() / spent.max(1e-9);
        let (waiting, network) = (part(self.clock.waiting), part(self.clock.network));
        self.synchronise();
        let quality = self.measure();
        let mean = |sum: &f64| sum / per_epoch as f64;
        let names = self.tasks.iter().map(|(_, _, name)| name.clone());
        let parts = self.header.sums.iter().skip(1).map(mean);
        let epoch = Epoch {
            epoch: (self.header.step / per_epoch) as u32,
            step: self.header.step,
            seconds: spent,
            loss: self.header.sums.first().map_or(f64::NAN, mean),
            parts: names.zip(parts).collect(),
            alignment: quality.alignment,
            uniformity: quality.uniformity,
            effective_rank: quality.effective_rank,
            learning_rate: self.rate_at(self.header.step.saturating_sub(1), steps),
            gradient_norm: self.gradient_norm,
            items_per_second: per_epoch as f64 * f64::from(self.settings.batch) / spent,
            waiting,
            outside: 1.0 - network,
        };
        self.header.sums.iter_mut().for_each(|sum| *sum = 0.0);
        self.header.epochs.push(epoch.clone());
        epoch
    }

    /// Stops a run that can come to nothing.
    fn refuse_collapse(&self) -> anyhow::Result<()> {
        // The first epochs may begin anywhere.
        let early = (self.settings.epochs as usize / 20).max(PATIENCE);
        let recent = self.header.epochs.iter().skip(early).rev().take(PATIENCE);
        let bad = recent.filter(|e| e.effective_rank < COLLAPSED || !e.effective_rank.is_finite());
        if bad.count() < PATIENCE {
            return Ok(());
        }
        let advice = self.tasks.iter().map(|(task, _, _)| task.advice());
        bail!(
            "the embeddings have collapsed: for {PATIENCE} epochs they have lain on a line (effective rank below {COLLAPSED} of {}), and an encoder that says the same of everything is of no use; {}",
            self.shape.dim,
            advice.collect::<Vec<_>>().join("; ")
        )
    }

    fn rate(&self, steps: u64) -> f64 {
        self.rate_at(self.header.step, steps)
    }

    /// The learning rate of a step: a line up over the first twentieth, then half a cosine
    /// (*SGDR: Stochastic Gradient Descent with Warm Restarts*, Loshchilov and Hutter, 2017).
    fn rate_at(&self, step: u64, steps: u64) -> f64 {
        let (step, steps) = (step as f64, steps as f64);
        let warm = (steps / 20.0).max(1.0);
        let cosine = 0.5 * (1.0 + (std::f64::consts::PI * step / steps).cos());
        self.settings.learning_rate * ((step + 1.0) / warm).min(1.0) * cosine
    }

    fn measure(&self) -> Quality {
        let every = self.source.len().div_ceil(PROBES);
        let picked: Vec<usize> = (0..self.source.len()).step_by(every).collect();
        let named = [self.settings.seed, purpose::PROBE, 0];
        let views = source::views(self.source, &picked, named);
        // As it will be exported: batch norm with its running statistics, no gradients.
        let encoder = self.model.valid().encoder;
        let embeddings = export::embed(&encoder, self.shape, &views, &network::device());
        let (first, second) = embeddings.split_at(embeddings.len() / 2);
        quality(first, second, self.shape.dim)
    }

    /// Running statistics are applied one step late unless they are asked for: by this, whichever
    /// threads they come from.
    fn synchronise(&self) {
        for norm in self.model.norms() {
            let _ = norm.running_mean.valid();
            let _ = norm.running_var.valid();
        }
    }

    /// Writes the checkpoint, if it is time or `now`.
    fn save(&mut self, now: bool) -> anyhow::Result<()> {
        let Some(keeping) = &self.keeping else {
            return Ok(());
        };
        if !now && self.saved.is_some_and(|at| at.elapsed() < keeping.every) {
            return Ok(());
        }
        self.synchronise();
        let mut header = self.header.clone();
        header.seconds += self.started.elapsed().as_secs_f64();
        checkpoint::save(keeping.path, &header, &self.model, &self.optimiser)?;
        self.saved = Some(Instant::now());
        Ok(())
    }
}

fn waiting_share(clock: &Clock) -> f64 {
    clock.waiting.as_secs_f64() / clock.start.elapsed().as_secs_f64().max(1e-9)
}

/// L2 norm of all gradients together.
fn norm(model: &Model, gradients: &GradientsParams) -> f32 {
    struct Squares<'a>(&'a GradientsParams, f32);
    impl ModuleVisitor for Squares<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if let Some(gradient) = self.0.get::<D>(param.id) {
                self.1 += gradient.powi_scalar(2).sum().into_scalar::<f32>();
            }
        }
    }
    let mut squares = Squares(gradients, 0.0);
    model.visit(&mut squares);
    squares.1.sqrt()
}

/// All gradients made shorter by one factor.
struct Shortened<'a> {
    gradients: &'a mut GradientsParams,
    by: f32,
}

impl ModuleVisitor for Shortened<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(gradient) = self.gradients.remove::<D>(param.id) {
            let shorter = gradient.mul_scalar(self.by);
            self.gradients.register::<D>(param.id, shorter);
        }
    }
}
