//! Encoder, evidence and head in one: what a firmware author meets.

use crate::embedding::Embedding;
use crate::encoder::{EmbedError, Encoder};
use crate::head::{FitError, Head, Prediction};
use crate::samples::{Samples, SamplesError};
use crate::statistics::{SampleId, SnapshotError, Statistics, StatisticsError};
use crate::stream::Stream;

/// Learns new classes from windows of raw counts, and predicts.
pub struct Learner<'a, E, H> {
    encoder: E,
    statistics: Statistics<'a>,
    samples: Option<Samples<'a>>,
    head: H,
    embedding: &'a mut [i8],
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
    /// Samples and statistics must hold the same examples: both begin empty, and a snapshot has
    /// no samples.
    OutOfStep,
    /// There is nothing to predict from: learn an example first.
    NothingLearnt,
}

impl core::fmt::Display for LearnerError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            LearnerError::Embed(e) => e.fmt(f),
            LearnerError::Statistics(e) => e.fmt(f),
            LearnerError::Samples(e) => e.fmt(f),
            LearnerError::Fit(e) => e.fmt(f),
            LearnerError::Snapshot(e) => e.fmt(f),
            LearnerError::OutOfStep => f.write_str(
                "samples and statistics must hold the same examples: begin with both empty",
            ),
            LearnerError::NothingLearnt => f.write_str("nothing was learnt yet"),
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
from!(EmbedError => Embed, StatisticsError => Statistics, SamplesError => Samples, FitError => Fit, SnapshotError => Snapshot);

impl<'a, E: Encoder, H: Head> Learner<'a, E, H> {
    /// Joins the parts. `embedding` is D long; statistics of another encoder file are refused.
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
        if embedding.len() != expected {
            return Err(EmbedError::OutputLength {
                expected,
                got: embedding.len(),
            }
            .into());
        }
        Ok(Learner {
            encoder,
            statistics,
            samples: None,
            head,
            embedding,
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

    /// Takes over what was learnt before a reset; see [`Statistics::save`]. Samples are not part of
    /// it, so a learner that keeps them refuses.
    pub fn restore(&mut self, snapshot: &[u8]) -> Result<(), LearnerError> {
        if self.samples.is_some() {
            return Err(LearnerError::OutOfStep);
        }
        self.statistics.restore(snapshot)?;
        self.fitted = false;
        Ok(())
    }

    /// The head.
    pub fn head(&self) -> &H {
        &self.head
    }

    /// Embeds a window.
    pub fn embed(&mut self, counts: &[i16]) -> Result<Embedding<'_>, LearnerError> {
        Ok(self.encoder.embed(counts, self.embedding)?)
    }

    /// Learns one labelled window; a new name makes a new class.
    pub fn learn(&mut self, label: &str, counts: &[i16]) -> Result<SampleId, LearnerError> {
        let e = self.encoder.embed(counts, self.embedding)?;
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
        self.fitted = false;
        Ok(change.id)
    }

    /// Forgets one labelled window, as if it had never been learnt, to the bit.
    pub fn forget(&mut self, label: &str, counts: &[i16]) -> Result<(), LearnerError> {
        let e = self.encoder.embed(counts, self.embedding)?;
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
        self.fitted = false;
        Ok(())
    }

    /// Forgets a class and all its examples.
    pub fn forget_class(&mut self, label: &str) -> Result<(), LearnerError> {
        let class = self
            .statistics
            .find(label)
            .ok_or(StatisticsError::UnknownLabel)?;
        self.statistics.forget_class(label)?;
        if let Some(samples) = &mut self.samples {
            samples.class_removed(class);
        }
        self.fitted = false;
        Ok(())
    }

    /// Predicts the class of a window. Fits the head first where something was learnt since.
    pub fn predict(&mut self, counts: &[i16]) -> Result<Prediction, LearnerError> {
        self.fit()?;
        let e = self.encoder.embed(counts, self.embedding)?;
        self.head
            .predict(&self.statistics, e)
            .ok_or(LearnerError::NothingLearnt)
    }

    /// Fits the head now instead of at the next prediction.
    pub fn fit(&mut self) -> Result<(), LearnerError> {
        if self.statistics.classes() == 0 {
            return Err(LearnerError::NothingLearnt);
        }
        if !self.fitted {
            self.head.fit(&self.statistics, self.samples.as_ref())?;
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
