//! Whether a head is as often right as it says.

/// Stretches that probabilities are sorted into, all of one width.
const BINS: usize = 15;

/// What was claimed and what was true, sorted by what was claimed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reliability([Bin; BINS]);

#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Bin {
    count: u32,
    right: u32,
    claimed: f64,
}

impl Reliability {
    /// One answer: the probability that it was given, and whether it was right.
    pub fn add(&mut self, probability: f32, right: bool) {
        // Each stretch includes its upper end.
        let at = (probability * BINS as f32).ceil() as usize;
        let bin = &mut self.0[at.clamp(1, BINS) - 1];
        bin.count += 1;
        bin.right += u32::from(right);
        bin.claimed += f64::from(probability);
    }

    /// All answers of both.
    pub fn merge(mut self, other: &Reliability) -> Reliability {
        for (own, other) in self.0.iter_mut().zip(&other.0) {
            own.count += other.count;
            own.right += other.right;
            own.claimed += other.claimed;
        }
        self
    }

    /// The expected calibration error: how far the mean claim of a stretch is from the fraction
    /// that was right, on average over answers (*On Calibration of Modern Neural Networks*,
    /// Chuan Guo, Geoff Pleiss, Yu Sun, Kilian Weinberger, 2017). `None` without answers.
    pub fn error(&self) -> Option<f64> {
        let count: u32 = self.0.iter().map(|b| b.count).sum();
        let apart = self
            .0
            .iter()
            .map(|b| (b.claimed - f64::from(b.right)).abs());
        (count > 0).then(|| apart.sum::<f64>() / f64::from(count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_is_the_mean_distance_of_claim_and_truth() {
        let of = |answers: &[(f32, bool)]| {
            let mut all = Reliability::default();
            answers.iter().for_each(|&(p, right)| all.add(p, right));
            all.error()
        };
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[(1.0, true); 3]), Some(0.0));
        assert_eq!(of(&[(1.0, false); 3]), Some(1.0));
        // Four claims of 0.75 of which three are true: one stretch, no error.
        let honest = [(0.75, true), (0.75, true), (0.75, true), (0.75, false)];
        assert_eq!(of(&honest), Some(0.0));
        // Two stretches don't cancel out: one claims 0.25 too much, the other as much too little.
        let mixed = [(0.75, true), (0.75, false), (0.25, true), (0.25, false)];
        assert_eq!(of(&mixed), Some(0.25));
        // A third of an answer in (0.2, 0.2667], the rest beyond.
        let found = of(&[(0.25, false), (0.5, true), (0.5, false)]).expect("answers");
        assert!((found - 0.25 / 3.0).abs() < 1e-12, "{found}");
    }

    #[test]
    fn stretches_include_their_upper_end() {
        let (mut low, mut high) = (Reliability::default(), Reliability::default());
        low.add(0.0, false);
        low.add(1.0 / 15.0, false);
        high.add(14.5 / 15.0, true);
        high.add(1.0, true);
        assert_eq!(low.0[0].count, 2);
        assert_eq!(high.0[BINS - 1].count, 2);
        assert_eq!(low.merge(&high).0.iter().map(|b| b.count).sum::<u32>(), 4);
    }
}
