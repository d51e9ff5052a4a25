//! Encoder, evidence and head in one: what a firmware author meets.

use crate::embedding::Embedding;
use crate::encoder::{EmbedError, Encoder};
use crate::frontend::Signal;
use crate::head::{Evidence, FitError, Head, Prediction};
use crate::samples::{Samples, SamplesError};
use crate::statistics::{Label, SampleId, SnapshotError, Statistics, StatisticsError};
use crate::store::StoreError;
use crate::stream::Stream;

mod logged;

pub use logged::{Relearnt, WhenFull};

/// Learns new classes from signals, and predicts.
pub struct Learner<'a, E, H> {
    encoder: E,
    statistics: Statistics<'a>,
    samples: Option<Samples<'a>>,
    head: H,
    embedding: &'a mut [i8],
    /// The last example learnt, where there is room for it, and its label.
    last: &'a mut [i8],
    last_label: Option<Label>,
    fitted: bool,
}

/// Why the learner did not do what it was asked. What was learnt is as before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LearnerError {
    /// The input gave no embedding.
    Embed(EmbedError),
    /// The statistics refused.
    Statistics(StatisticsError),
    /// The samples refused.
    Samples(SamplesError),
    /// The head could not be fitted.
    Fit(FitError),
    /// The snapshot was refused.
    Snapshot(SnapshotError),
    /// The log refused.
    Store(StoreError),
    /// Samples and statistics must hold the same examples: both begin empty, and a snapshot has
    /// no samples.
    OutOfStep,
    /// There is nothing to predict from: learn an example first.
    NothingLearnt,
    /// There is no last label to undo, or no room was given to remember it.
    NothingToUndo,
}

impl core::fmt::Display for LearnerError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            LearnerError::Embed(e) => e.fmt(f),
            LearnerError::Statistics(e) => e.fmt(f),
            LearnerError::Samples(e) => e.fmt(f),
            LearnerError::Fit(e) => e.fmt(f),
            LearnerError::Snapshot(e) => e.fmt(f),
            LearnerError::Store(e) => e.fmt(f),
            LearnerError::OutOfStep => f.write_str(
                "samples and statistics must hold the same examples: begin with both empty",
            ),
            LearnerError::NothingLearnt => f.write_str("nothing was learnt yet"),
            LearnerError::NothingToUndo => f.write_str(
                "there is no label to undo: one was undone or changed since, or the embedding's buffer is not 2 D long",
            ),
        }
    }
}

impl core::error::Error for LearnerError {}

macro_rules! from {
    ($($error:ident => $variant:ident),+) => {$(
        impl From<$error> for LearnerError {
            fn from(error: $error) -> Self {
                LearnerError::$variant(error)
            }
        }
    )+};
}
from!(EmbedError => Embed, StatisticsError => Statistics, SamplesError => Samples, FitError => Fit, SnapshotError => Snapshot, StoreError => Store);

impl<'a, E: Encoder, H: Head> Learner<'a, E, H> {
    /// Joins the parts. `embedding` is D long, or 2 D to make [`Learner::undo`] possible; statistics
    /// of another encoder file are refused.
    pub fn new(
        encoder: E,
        statistics: Statistics<'a>,
        head: H,
        embedding: &'a mut [i8],
    ) -> Result<Self, LearnerError> {
        let (expected, got) = (encoder.dim(), statistics.dim());
        if expected != got {
            return Err(StatisticsError::Dim { expected, got }.into());
        }
        if encoder.artefact() != statistics.artefact() {
            return Err(StatisticsError::OtherArtefact.into());
        }
        let got = embedding.len();
        if got != expected && got != 2 * expected {
            return Err(EmbedError::OutputLength { expected, got }.into());
        }
        let (embedding, last) = embedding.split_at_mut(expected);
        Ok(Learner {
            encoder,
            statistics,
            samples: None,
            head,
            embedding,
            last,
            last_label: None,
            fitted: false,
        })
    }

    /// Keeps the examples too, as some heads need. `samples` must be empty and of the same D.
    pub fn with_samples(mut self, samples: Samples<'a>) -> Result<Self, LearnerError> {
        if samples.dim() != self.statistics.dim() {
            return Err(SamplesError::Dim.into());
        }
        if !samples.is_empty() || self.statistics.classes() != 0 {
            return Err(LearnerError::OutOfStep);
        }
        self.samples = Some(samples);
        Ok(self)
    }

    /// What was learnt.
    pub fn statistics(&self) -> &Statistics<'a> {
        &self.statistics
    }

    /// The examples, where they are kept.
    pub fn samples(&self) -> Option<&Samples<'a>> {
        self.samples.as_ref()
    }

    /// Takes over what was learnt before a reset; see [`Statistics::save`]. Samples are not part of
    /// it, so a learner that keeps them refuses.
    pub fn restore(&mut self, snapshot: &[u8]) -> Result<(), LearnerError> {
        if self.samples.is_some() {
            return Err(LearnerError::OutOfStep);
        }
        self.statistics.restore(snapshot)?;
        self.changed();
        Ok(())
    }

    /// The head.
    pub fn head(&self) -> &H {
        &self.head
    }

    /// Embeds a window.
    pub fn embed<'s>(
        &mut self,
        signal: impl Into<Signal<'s>>,
    ) -> Result<Embedding<'_>, LearnerError> {
        Ok(self.encoder.embed(signal.into(), self.embedding)?)
    }

    /// Learns one labelled window; a new name makes a new class.
    pub fn learn<'s>(
        &mut self,
        label: &str,
        signal: impl Into<Signal<'s>>,
    ) -> Result<SampleId, LearnerError> {
        self.encoder.embed(signal.into(), self.embedding)?;
        let id = self.learn_embedded(label)?;
        if !self.last.is_empty() {
            self.last.copy_from_slice(self.embedding);
            self.last_label = Label::try_from(label).ok();
        }
        Ok(id)
    }

    /// Forgets one labelled window, as if it had never been learnt, to the bit.
    pub fn forget<'s>(
        &mut self,
        label: &str,
        signal: impl Into<Signal<'s>>,
    ) -> Result<(), LearnerError> {
        self.encoder.embed(signal.into(), self.embedding)?;
        self.forget_embedded(label)
    }

    /// Forgets the window learnt last, as if it had never been. Once; what was predicted since does
    /// not matter.
    pub fn undo(&mut self) -> Result<(), LearnerError> {
        let label = self.last_label.clone().ok_or(LearnerError::NothingToUndo)?;
        self.embedding.copy_from_slice(self.last);
        self.forget_embedded(&label)
    }

    /// Gives a learnt window another label.
    pub fn relabel<'s>(
        &mut self,
        from: &str,
        to: &str,
        signal: impl Into<Signal<'s>>,
    ) -> Result<(), LearnerError> {
        self.encoder.embed(signal.into(), self.embedding)?;
        self.forget_embedded(from)?;
        let learnt = self.learn_embedded(to);
        if learnt.is_err() {
            // Its place was free a moment ago.
            self.learn_embedded(from)?;
        }
        learnt.map(|_| ())
    }

    /// Gives a class a new name.
    pub fn rename(&mut self, from: &str, to: &str) -> Result<(), LearnerError> {
        let old = self.statistics.find(from);
        self.statistics.rename(from, to)?;
        let new = self.statistics.find(to);
        if let (Some(samples), Some(old), Some(new)) = (&mut self.samples, old, new) {
            samples.class_moved(old, new);
        }
        self.changed();
        Ok(())
    }

    /// Forgets a class and all its examples. In the gram tier this takes the samples.
    pub fn forget_class(&mut self, label: &str) -> Result<(), LearnerError> {
        let class = self
            .statistics
            .find(label)
            .ok_or(StatisticsError::UnknownLabel)?;
        match &mut self.samples {
            Some(samples) => {
                for (_, values) in samples.iter().filter(|&(own, _)| own == class) {
                    let e = Embedding::new(values).map_err(EmbedError::Zero)?;
                    self.statistics.forget(label, e)?;
                }
                samples.class_removed(class);
            }
            None => self.statistics.forget_class(label)?,
        }
        self.changed();
        Ok(())
    }

    fn learn_embedded(&mut self, label: &str) -> Result<SampleId, LearnerError> {
        let e = Embedding::new(self.embedding).map_err(EmbedError::Zero)?;
        if let Some(samples) = &self.samples {
            samples.room_for(e)?;
        }
        let change = self.statistics.learn_at(label, e)?;
        if let Some(samples) = &mut self.samples {
            if change.class_changed {
                samples.class_inserted(change.class);
            }
            samples.insert(change.class, e)?;
        }
        self.changed();
        Ok(change.id)
    }

    fn forget_embedded(&mut self, label: &str) -> Result<(), LearnerError> {
        let e = Embedding::new(self.embedding).map_err(EmbedError::Zero)?;
        if let Some(samples) = &self.samples {
            let class = self
                .statistics
                .find(label)
                .ok_or(StatisticsError::UnknownLabel)?;
            if !samples.contains(class, e) {
                return Err(SamplesError::NotFound.into());
            }
        }
        let change = self.statistics.forget_at(label, e)?;
        if let Some(samples) = &mut self.samples {
            samples.remove(change.class, e)?;
            if change.class_changed {
                samples.class_removed(change.class);
            }
        }
        self.changed();
        Ok(())
    }

    /// The head is behind, and the last label may be another one by now.
    fn changed(&mut self) {
        self.fitted = false;
        self.last_label = None;
    }

    /// Predicts the class of a window. Fits the head first where something was learnt since.
    pub fn predict<'s>(
        &mut self,
        signal: impl Into<Signal<'s>>,
    ) -> Result<Prediction, LearnerError> {
        self.fit()?;
        let e = self.encoder.embed(signal.into(), self.embedding)?;
        let evidence = Evidence {
            statistics: &self.statistics,
            samples: self.samples.as_ref(),
        };
        self.head
            .predict(evidence, e)
            .ok_or(LearnerError::NothingLearnt)
    }

    /// Fits the head now instead of at the next prediction.
    pub fn fit(&mut self) -> Result<(), LearnerError> {
        if self.statistics.classes() == 0 {
            return Err(LearnerError::NothingLearnt);
        }
        if !self.fitted {
            self.head.fit(Evidence {
                statistics: &self.statistics,
                samples: self.samples.as_ref(),
            })?;
            self.fitted = true;
        }
        Ok(())
    }

    /// Takes one time step of a running sensor. At every hop the window is predicted; what comes
    /// back is a detection: enough predictions in a row that agree, and not too soon after the
    /// last.
    pub fn push(
        &mut self,
        stream: &mut Stream<'_>,
        sample: &[i16],
    ) -> Result<Option<Prediction>, LearnerError> {
        let Some(window) = stream.push(sample)? else {
            return Ok(None);
        };
        let prediction = match self.predict(window) {
            Err(LearnerError::Embed(EmbedError::Zero(_))) => None, // a still sensor is no news
            other => Some(other?),
        };
        Ok(stream.accept(prediction))
    }
}

#[cfg(test)]
mod tests;
