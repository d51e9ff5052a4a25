//! How sure to be, measured where labels are plenty: the host lets heads learn classes of the
//! background from 1, 2, 3, 5, 10 and 20 examples, asks them about others, and writes down which
//! scores strangers reach.
//!
//! The table begins with the [`Outlook`] under which classes that the prior had not seen were told
//! apart best. Then it has a row for each of [`SHOTS`]: a temperature; an exponent, as n classes give a
//! stranger less than n independent chances: n to this power; then for each of [`RATES`] the score
//! that such a part of strangers exceeds against one class.

/// Examples of a class that the rows stand for.
pub const SHOTS: [f32; 6] = [1.0, 2.0, 3.0, 5.0, 10.0, 20.0];

/// False accepts against one class that the columns stand for, falling.
pub const RATES: [f32; 10] = [0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001, 0.0005];

/// Stands for a score that too few strangers were there to measure.
pub const NOT_MEASURED: f32 = f32::MAX;

/// Values of a row before the scores.
const HEAD: usize = 2;
const ROW: usize = HEAD + RATES.len();

/// Values before the rows.
const OUTLOOK: usize = 3;

/// Values of a table.
pub const LEN: usize = OUTLOOK + SHOTS.len() * ROW;

/// How the background goes on where it stores nothing, and how much it is believed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Outlook {
    /// The ratio of between- to within-class variance outside the stored directions, as a part of
    /// the smallest stored one.
    pub ratio: f32,
    /// The variance within a class there, times that which the total leaves for it.
    pub variance: f32,
    /// Examples that the covariance within a class is worth as a prior, times D.
    pub examples: f32,
}

impl Default for Outlook {
    /// Where nothing was measured.
    fn default() -> Self {
        Outlook {
            ratio: 0.5,
            variance: 1.0,
            examples: 1.0,
        }
    }
}

/// Log-likelihoods sum over directions that are not independent; this much of one counts where
/// nothing was measured.
const TEMPERATURE: f32 = 0.2;

/// A table of [`LEN`] values, or none.
#[derive(Clone, Copy, Debug, Default)]
pub struct Calibration<'a> {
    table: &'a [f32],
}

impl<'a> Calibration<'a> {
    /// `None` unless the table is empty or [`LEN`] finite numbers long, the outlook and temperatures
    /// positive, exponents 0 to 1 and thresholds rising.
    pub fn new(table: &'a [f32]) -> Option<Self> {
        let Some((outlook, rows)) = table.split_at_checked(OUTLOOK) else {
            return table.is_empty().then_some(Calibration { table });
        };
        let valid = |row: &[f32]| match row.split_first_chunk() {
            Some((&[temperature, exponent], scores)) => {
                temperature > 0.0
                    && (0.0..=1.0).contains(&exponent)
                    && row.iter().all(|v| v.is_finite())
                    && scores.is_sorted()
            }
            None => false,
        };
        let whole = table.len() == LEN && outlook.iter().all(|&v| v > 0.0 && v.is_finite());
        (whole && rows.chunks_exact(ROW).all(valid)).then_some(Calibration { table })
    }

    /// Whether nothing was measured.
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// The values, row by row.
    pub fn table(&self) -> &'a [f32] {
        self.table
    }

    /// How to go on from what is stored.
    pub fn outlook(&self) -> Outlook {
        match self.table.first_chunk() {
            Some(&[ratio, variance, examples]) => Outlook {
                ratio,
                variance,
                examples,
            },
            None => Outlook::default(),
        }
    }

    /// What log-likelihoods are multiplied with, for classes of `count` examples.
    pub fn temperature(&self, count: f32) -> f32 {
        self.at(count, 0).unwrap_or(TEMPERATURE)
    }

    /// The score that a stranger exceeds against a class of `count` examples in so few cases that
    /// all of `classes` together accept `rate` of the strangers. `None` where there is no table,
    /// or its strangers were too few for so small a rate.
    pub fn threshold(&self, count: f32, rate: f32, classes: usize) -> Option<f32> {
        // 1 - (1 - rate)^(1 / chances) for each class.
        let exponent = self.at(count, 1)?;
        let chances = libm::expf(exponent * libm::logf(classes.max(1) as f32));
        let one = 1.0 - libm::expf(libm::log1pf(-rate.clamp(0.0, 0.5)) / chances);
        let above = RATES.iter().rposition(|&r| r >= one)?;
        let (&high, &low) = (RATES.get(above)?, RATES.get(above + 1)?);
        let part = libm::logf(high / one) / libm::logf(high / low);
        let (from, to) = (
            self.at(count, HEAD + above)?,
            self.at(count, HEAD + above + 1)?,
        );
        (to < NOT_MEASURED).then_some(from + part * (to - from))
    }

    /// A column's value for `count` examples, between rows in proportion to the logarithm.
    fn at(&self, count: f32, column: usize) -> Option<f32> {
        let value = |row: usize| self.table.get(OUTLOOK + row * ROW + column).copied();
        let below = SHOTS.iter().rposition(|&s| s <= count).unwrap_or(0);
        let from = value(below)?;
        let (Some(&low), Some(&high), Some(to)) =
            (SHOTS.get(below), SHOTS.get(below + 1), value(below + 1))
        else {
            return Some(from);
        };
        if count <= low {
            return Some(from);
        }
        if from.max(to) == NOT_MEASURED {
            return Some(NOT_MEASURED);
        }
        let part = libm::logf(count / low) / libm::logf(high / low);
        Some(from + part * (to - from))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> [f32; LEN] {
        core::array::from_fn(
            |i| match i.checked_sub(OUTLOOK).map(|i| (i / ROW, i % ROW)) {
                None => 0.5,
                Some((_, 0)) => 0.1,
                Some((_, 1)) => 0.8,
                Some((row, column)) => (10 * row + column - 1) as f32,
            },
        )
    }

    #[test]
    fn thresholds_lie_between_those_measured() {
        let table = table();
        let calibration = Calibration::new(&table).unwrap();
        let at = |count, rate, classes| calibration.threshold(count, rate, classes);
        for (count, expected) in [(1.0, 2.0), (3.0, 22.0), (1000.0, 52.0)] {
            let found = at(count, 0.2, 1).unwrap();
            assert!((found - expected).abs() < 1e-4, "{count}: {found}");
        }
        let between = at(4.0, 0.07, 1).unwrap();
        assert!((23.0..34.0).contains(&between), "{between}");
        // More classes, more chances for a stranger.
        assert!(at(1.0, 0.05, 8).unwrap() > at(1.0, 0.05, 2).unwrap());
    }

    #[test]
    fn what_was_not_measured_is_not_promised() {
        let table = table();
        let calibration = Calibration::new(&table).unwrap();
        assert_eq!(calibration.threshold(1.0, 0.0001, 1), None);
        assert_eq!(calibration.threshold(1.0, 0.01, 64), None);
        assert_eq!(Calibration::default().threshold(1.0, 0.05, 1), None);
        assert_eq!(calibration.threshold(1.0, f32::NAN, 1), None);
        let mut few = table;
        few[OUTLOOK + 2 * ROW - 1] = NOT_MEASURED; // two shots, the smallest rate
        let calibration = Calibration::new(&few).unwrap();
        let at = |count| calibration.threshold(count, 0.0005, 1);
        assert!(at(1.0).is_some() && at(1.5).is_none() && at(2.0).is_none() && at(3.0).is_some());
    }

    #[test]
    fn tables_are_checked() {
        let good = table();
        assert!(Calibration::new(&good).is_some() && Calibration::new(&[]).is_some());
        assert!(Calibration::new(&good[1..]).is_none());
        for (at, wrong) in [
            (0, 0.0),
            (3, 0.0),
            (3, f32::NAN),
            (4, 1.5),
            (8, f32::INFINITY),
            (8, 99.0),
        ] {
            let mut bad = good;
            bad[at] = wrong;
            assert!(Calibration::new(&bad).is_none(), "{at} {wrong}");
        }
    }
}
