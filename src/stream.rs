//! Windows out of a running sensor, and detections out of predictions.

use crate::encoder::EmbedError;
use crate::frontend::SensorWindow;
use crate::head::Prediction;
use crate::statistics::Label;

/// A sliding window in memory of the caller's, and the rule that turns its predictions into
/// detections. [`Learner::push`](crate::Learner::push) drives it.
///
/// ```
/// use headstart::stream::{Detection, Stream};
/// let mut buffer = [0i16; 4]; // two channels, two time steps
/// let mut stream = Stream::new(2, 1, Detection::default(), &mut buffer);
/// assert_eq!(stream.push(&[1, 2])?, None);
/// assert_eq!(stream.push(&[3, 4])?, Some(&[1, 2, 3, 4][..]));
/// assert_eq!(stream.push(&[5, 6])?, Some(&[3, 4, 5, 6][..]));
/// # Ok::<(), headstart::encoder::EmbedError>(())
/// ```
pub struct Stream<'a> {
    buffer: &'a mut [i16],
    channels: usize,
    hop: usize,
    filled: usize,
    due: bool,
    rule: Detection,
    last: Label,
    agreed: u16,
    quiet: u16,
}

/// When predictions become a detection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Detection {
    /// Predictions in a row that name the same known class.
    pub agree: u16,
    /// Windows after a detection in which there is no other.
    pub refractory: u16,
}

impl Default for Detection {
    fn default() -> Self {
        Detection {
            agree: 3,
            refractory: 3,
        }
    }
}

impl<'a> Stream<'a> {
    /// `buffer` holds one window: time steps times `channels` counts. `hop` is in time steps.
    pub fn new(channels: usize, hop: usize, rule: Detection, buffer: &'a mut [i16]) -> Self {
        let last = Label::new();
        Stream {
            buffer,
            channels,
            hop,
            filled: 0,
            due: false,
            rule,
            last,
            agreed: 0,
            quiet: 0,
        }
    }

    /// As the encoder's front end says. `buffer` is [`SensorWindow::len`] long.
    pub fn of(frontend: &SensorWindow<'_>, rule: Detection, buffer: &'a mut [i16]) -> Self {
        Self::new(frontend.channels, frontend.hop, rule, buffer)
    }

    /// Takes one time step, `channels` counts; gives the window at every hop.
    pub fn push(&mut self, sample: &[i16]) -> Result<Option<&[i16]>, EmbedError> {
        if sample.len() != self.channels {
            return Err(EmbedError::InputLength {
                expected: self.channels,
                got: sample.len(),
            });
        }
        if self.due {
            let gone = (self.hop * self.channels).min(self.filled);
            self.buffer.copy_within(gone..self.filled, 0);
            self.filled -= gone;
            self.due = false;
        }
        if let Some(place) = self
            .buffer
            .get_mut(self.filled..self.filled + self.channels)
        {
            place.copy_from_slice(sample);
            self.filled += self.channels;
        }
        self.due = self.filled + self.channels > self.buffer.len();
        Ok(self.due.then_some(&self.buffer[..self.filled]))
    }

    /// Applies the rule to the next prediction.
    pub fn accept(&mut self, prediction: Option<Prediction>) -> Option<Prediction> {
        self.quiet = self.quiet.saturating_sub(1);
        let Some(prediction) = prediction.filter(|p| p.is_known()) else {
            self.agreed = 0;
            return None;
        };
        if self.agreed == 0 || prediction.label != self.last {
            self.last = prediction.label.clone();
            self.agreed = 0;
        }
        self.agreed = self.agreed.saturating_add(1);
        if self.agreed < self.rule.agree || self.quiet > 0 {
            return None;
        }
        self.agreed = 0;
        self.quiet = self.rule.refractory.saturating_add(1);
        Some(prediction)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::head::Verdict;

    fn says(label: &str, unknown: bool) -> Option<Prediction> {
        let label = Label::try_from(label).unwrap();
        Some(Prediction {
            class: 0,
            label,
            probability: 1.0,
            margin: 1.0,
            verdict: if unknown {
                Verdict::Unknown
            } else {
                Verdict::Known
            },
        })
    }

    #[test]
    fn a_detection_takes_agreement_and_then_keeps_quiet() {
        let mut stream = Stream::new(
            1,
            1,
            Detection {
                agree: 2,
                refractory: 2,
            },
            &mut [],
        );
        let mut heard = |label, unknown| stream.accept(says(label, unknown)).is_some();
        assert!(!heard("a", false) && heard("a", false));
        assert!(!heard("b", false) && !heard("b", false), "refractory");
        assert!(heard("b", false));
        assert!(!heard("b", false) && !heard("b", true) && !heard("b", false) && heard("b", false));
    }
}
