//! The training loop.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use anyhow::bail;
use burn::module::Module;
use burn::optim::{AdamWConfig, GradientsParams, ModuleOptimizer};
use burn::tensor::{Device, Tensor, TensorData};

use super::checkpoint::{self, Header};
use super::progress::Progress;
use super::settings::Settings;
use super::views::{Windows, purpose};
use crate::augment::stream;
use crate::dataset::Dataset;
use crate::error::Failure;
use crate::export;
use crate::network::{Initialiser, Projector, SensorCnn};
use crate::pretext::contrastive::nt_xent;
use crate::pretext::quality::{Quality, quality};

/// The projector's hidden and contrasted widths.
const PROJECTOR: [usize; 2] = [128, 64];

/// At most so many windows are measured after an epoch: quality costs their square.
const PROBES: usize = 512;

/// What is trained: the encoder, and the projector that only training needs.
#[derive(Module, Debug)]
pub struct Model {
    /// What is exported.
    pub encoder: SensorCnn,
    projector: Projector,
}

/// A finished run.
pub struct Trained {
    /// In evaluation mode, on a device without gradients.
    pub encoder: SensorCnn,
    /// Mean loss of the last epoch.
    pub loss: f64,
    /// After the last epoch.
    pub quality: Quality,
    /// Seconds of training, earlier parts of a resumed run included.
    pub seconds: f64,
}

/// One run, from its first step or from a checkpoint.
pub struct Training<'a> {
    windows: Windows<'a>,
    settings: &'a Settings,
    checkpoint: &'a Path,
    device: Device,
    model: Model,
    optimiser: ModuleOptimizer,
    header: Header,
    started: Instant,
}

impl<'a> Training<'a> {
    /// Prepares a run; `resume` goes on from the checkpoint.
    ///
    /// # Errors
    /// The checkpoint is missing, damaged, or of another run.
    pub fn new(
        data: &'a Dataset,
        settings: &'a Settings,
        threads: usize,
        checkpoint: &'a Path,
        resume: bool,
    ) -> anyhow::Result<Self> {
        let device = Device::flex().autodiff();
        let mut init = Initialiser::new(stream(settings.seed, purpose::WEIGHTS, 0, 0), &device);
        let encoder = SensorCnn::new(&mut init, settings.shape(data.channels), &device);
        let projector =
            Projector::new(&mut init, settings.dim as usize, PROJECTOR[0], PROJECTOR[1]);
        let mut model = Model { encoder, projector };
        let mut optimiser = AdamWConfig::new()
            .with_epsilon(1e-8)
            .with_weight_decay(settings.weight_decay)
            .init();
        let mut header = Header {
            settings: settings.clone(),
            data_sha256: super::hex(&data.sha256),
            threads,
            step: 0,
            loss_sum: 0.0,
            loss: f64::NAN,
            seconds: 0.0,
        };
        if resume {
            (header, model, optimiser) = checkpoint::load(checkpoint, &header, model, optimiser)?;
        }
        let windows = Windows::new(data, settings);
        let started = Instant::now();
        Ok(Training {
            windows,
            settings,
            checkpoint,
            device,
            model,
            optimiser,
            header,
            started,
        })
    }

    fn steps_per_epoch(&self) -> u64 {
        self.windows.len() as u64 / u64::from(self.settings.batch)
    }

    fn steps(&self) -> u64 {
        self.steps_per_epoch() * u64::from(self.settings.epochs)
    }

    /// Trains to the end. A checkpoint is written after every epoch and when `stop` is set.
    ///
    /// # Errors
    /// [`Failure::Interrupted`] where `stop` was set; the loss is not finite; a checkpoint can't
    /// be written.
    pub fn run(mut self, stop: &AtomicBool) -> Result<(Trained, Windows<'a>), Failure> {
        let progress = Progress::new(self.steps(), self.header.step);
        let mut last = None;
        while self.header.step < self.steps() {
            if stop.load(Ordering::Relaxed) {
                self.save()?;
                progress.finish();
                return Err(Failure::Interrupted);
            }
            let (loss, rate) = self.step()?;
            progress.step(loss, rate);
            if self.header.step.is_multiple_of(self.steps_per_epoch()) {
                self.header.loss = self.header.loss_sum / self.steps_per_epoch() as f64;
                self.header.loss_sum = 0.0;
                let quality = self.measure();
                let epoch = self.header.step / self.steps_per_epoch();
                progress.epoch(
                    epoch,
                    u64::from(self.settings.epochs),
                    self.header.loss,
                    &quality,
                    rate,
                );
                last = Some(quality);
                self.save()?;
            }
        }
        progress.finish();
        let trained = Trained {
            quality: last.unwrap_or_else(|| self.measure()),
            encoder: self.evaluation(),
            loss: self.header.loss,
            seconds: self.header.seconds + self.started.elapsed().as_secs_f64(),
        };
        Ok((trained, self.windows))
    }

    /// One step of AdamW. Returns the loss and windows a second.
    fn step(&mut self) -> anyhow::Result<(f64, f64)> {
        let clock = Instant::now();
        let (step, batch) = (self.header.step, self.settings.batch as usize);
        let (epoch, place) = (step / self.steps_per_epoch(), step % self.steps_per_epoch());
        let order = self.windows.order(epoch);
        let picked = &order[place as usize * batch..][..batch];
        let views = self.windows.views(picked, purpose::VIEWS, step);
        let shape = self.settings.shape(self.windows.std.len());
        let data = TensorData::new(views, [2 * batch, shape.channels, shape.window]);
        let embedding = self
            .model
            .encoder
            .forward(Tensor::from_data(data, &self.device));
        let z = self.model.projector.forward(embedding);
        let [first, second] = [0..batch, batch..2 * batch].map(|half| z.clone().slice([half]));
        let loss = nt_xent(first, second, self.settings.temperature);
        let value = f64::from(loss.clone().into_scalar::<f32>());
        if !value.is_finite() {
            bail!(
                "the loss became {value} at step {}: try a lower --learning-rate (now {}) or a higher --temperature (now {})",
                step + 1,
                self.settings.learning_rate,
                self.settings.temperature
            );
        }
        let gradients = GradientsParams::from_grads(loss.backward(), &self.model);
        self.model = self
            .optimiser
            .step(self.rate(), self.model.clone(), gradients);
        self.header.loss_sum += value;
        self.header.step += 1;
        Ok((value, batch as f64 / clock.elapsed().as_secs_f64()))
    }

    /// The learning rate of this step: a line up over the first twentieth, then half a cosine
    /// (*SGDR: Stochastic Gradient Descent with Warm Restarts*, Loshchilov and Hutter, 2017).
    fn rate(&self) -> f64 {
        let (step, steps) = (self.header.step as f64, self.steps() as f64);
        let warm = (steps / 20.0).max(1.0);
        let cosine = 0.5 * (1.0 + (std::f64::consts::PI * step / steps).cos());
        self.settings.learning_rate * ((step + 1.0) / warm).min(1.0) * cosine
    }

    /// The encoder as it will be exported: batch norm with its running statistics, no gradients.
    fn evaluation(&self) -> SensorCnn {
        self.model.valid().encoder
    }

    fn measure(&self) -> Quality {
        let every = self.windows.len().div_ceil(PROBES);
        let picked: Vec<usize> = (0..self.windows.len()).step_by(every).collect();
        let shape = self.settings.shape(self.windows.std.len());
        let views = self.windows.views(&picked, purpose::PROBE, 0);
        let embeddings = export::embed(&self.evaluation(), shape, &views, &Device::flex());
        let (first, second) = embeddings.split_at(embeddings.len() / 2);
        quality(first, second, shape.dim)
    }

    fn save(&mut self) -> anyhow::Result<()> {
        // Running statistics are applied one step late unless they are asked for.
        for norm in &self.model.encoder.norms {
            norm.running_mean.value_sync();
            norm.running_var.value_sync();
        }
        let mut header = self.header.clone();
        header.seconds += self.started.elapsed().as_secs_f64();
        checkpoint::save(self.checkpoint, &header, &self.model, &self.optimiser)
    }
}
