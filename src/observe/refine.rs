//! Takes observations that the head is sure of for examples.
//!
//! *A classification EM algorithm for clustering and two stochastic versions*, Gilles Celeux,
//! Gérard Govaert, 1992: fit, give each observation to its most probable class, fit again. An
//! observation belongs to a class wholly or not at all, so sums stay integers and a step back is
//! exact. Three limits keep it from talking itself into something: an observation counts only where
//! the verdict is known, the probability above 0.9 and the class's mean not far; a class takes no
//! more than it has labelled examples, so that labels keep half the weight; and all classes take
//! equally many, as many as the one with fewest has. Without the last a class that is seen often
//! grows at the cost of the others; a class that is not seen at all stops everything.

use super::{NONE, Observations};
use crate::head::{AutoHead, Evidence, FitError, Head, SldaHead, Spread, Verdict};
use crate::statistics::{Statistics, StatisticsError};

/// Probabilities from here on are no doubt.
const SURE: f32 = 0.9;
/// Nor are squared distances up to so many times those that a class's own examples have. Heads with
/// a calibrated verdict are stricter already.
const NEAR: f32 = 2.5;

/// The class that an observation counts for.
const TAKEN: usize = 0;
/// The class that it should count for.
const PROPOSED: usize = 1;
/// How sure that is.
const SURENESS: usize = 2;

/// Heads for which [`Observations::refine`] was found to do no harm: those that weigh directions by
/// how classes scatter. Sure observations lie near the middle of a class; a head that keeps a mean
/// and nothing else is drawn there and loses up to 3 points.
pub trait Refinable: Head {}

impl Refinable for AutoHead<'_> {}
impl Refinable for SldaHead<'_> {}

/// What [`Observations::refine`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Refined {
    /// Observations that count as examples now, of all classes together.
    pub taken: usize,
    /// Steps until nothing changed any more, or as many as were allowed.
    pub steps: usize,
}

/// Why nothing was refined. What was learnt from labels is as before; the refined statistics are of
/// no use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefineError {
    /// The refined statistics have examples already: make new ones over the same memory.
    NotEmpty,
    /// The refined statistics are not of the labelled ones' kind, or too small.
    Statistics(StatisticsError),
    /// The head could not be fitted, or there are no moments to fit it to.
    Fit(FitError),
}

impl core::fmt::Display for RefineError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            RefineError::NotEmpty => {
                f.write_str("refined statistics begin empty: make new ones over the same memory")
            }
            RefineError::Statistics(e) => e.fmt(f),
            RefineError::Fit(e) => e.fmt(f),
        }
    }
}

impl core::error::Error for RefineError {}

impl From<StatisticsError> for RefineError {
    fn from(error: StatisticsError) -> Self {
        RefineError::Statistics(error)
    }
}

impl From<FitError> for RefineError {
    fn from(error: FitError) -> Self {
        RefineError::Fit(error)
    }
}

impl Observations<'_> {
    /// Makes `refined` what was learnt from labels plus the observations that the head is sure of,
    /// and fits the head to it. `refined` is empty statistics of the gram tier for the same encoder
    /// file, with room for the same classes. Two steps do most of the work.
    ///
    /// On people whom nothing was tuned on it is worth up to 0.1 points where they go on as they were
    /// taught, 0.7 to 2.4 where another person goes on, nothing where none of the taught classes is met,
    /// and at worst -0.4, where one of two is met and the other's place is taken by what nobody
    /// taught (tests/tests/observe.rs prints it with --nocapture).
    ///
    /// What was learnt from labels is not touched: to undo it, go on with that and fit the head
    /// again. Observations in another order give the same bits unless two that are equally sure
    /// compete for the last place.
    pub fn refine(
        &mut self,
        head: &mut impl Refinable,
        evidence: Evidence<'_>,
        refined: &mut Statistics<'_>,
        steps: usize,
    ) -> Result<Refined, RefineError> {
        let labelled = evidence.statistics;
        self.check_dim(labelled.dim())?;
        if labelled.gram().is_none() {
            return Err(FitError::NeedsGram.into());
        }
        if refined.classes() != 0 {
            return Err(RefineError::NotEmpty);
        }
        refined.merge(labelled)?;
        let mut done = Refined::default();
        if labelled.classes() == 0 {
            return Ok(done);
        }
        (0..self.len()).for_each(|i| self.set_note(i, TAKEN, NONE));
        head.fit(only(refined))?;
        while done.steps < steps {
            self.propose(head, refined);
            self.thin_out(labelled);
            if !self.take(labelled, refined)? {
                break;
            }
            done.steps += 1;
            head.fit(only(refined))?;
        }
        done.taken = self.count_noted(TAKEN, |class| class != NONE);
        Ok(done)
    }

    /// Notes the class of each observation that the head is sure of.
    fn propose(&mut self, head: &mut impl Head, refined: &Statistics<'_>) {
        let mut spread = Spread::new(self.background);
        spread.limit = NEAR;
        spread.fit(refined);
        for index in 0..self.len() {
            let Some(e) = self.get(index) else { continue };
            let sure = head.predict(only(refined), e).filter(|p| {
                let near = spread.verdict(refined.class(p.class), e) == Verdict::Known;
                near && p.is_known() && p.probability > SURE
            });
            let (class, sureness) = sure.map_or((NONE, 0), |p| {
                let sureness = (p.probability - SURE) / (1.0 - SURE) * f32::from(u16::MAX);
                (u16::try_from(p.class).unwrap_or(NONE), sureness as u16)
            });
            self.set_note(index, PROPOSED, class);
            self.set_note(index, SURENESS, sureness);
        }
    }

    /// Leaves each class its surest, as many of each.
    fn thin_out(&mut self, labelled: &Statistics<'_>) {
        let numbers = 0..labelled.classes().min(usize::from(NONE)) as u16;
        let found = |class| self.count_noted(PROPOSED, |own| own == class);
        let fewest = numbers.clone().map(found).min().unwrap_or(0);
        for (class, learnt) in numbers.zip(labelled.iter()) {
            let keep = fewest.min(learnt.count as usize);
            let found = self.count_noted(PROPOSED, |own| own == class);
            for _ in keep..found {
                let own = (0..self.len()).filter(|&i| self.note(i, PROPOSED) == class);
                if let Some(least) = own.min_by_key(|&i| self.note(i, SURENESS)) {
                    self.set_note(least, PROPOSED, NONE);
                }
            }
        }
    }

    /// Learns and forgets until what is taken is what was proposed; whether anything changed.
    fn take(
        &mut self,
        labelled: &Statistics<'_>,
        refined: &mut Statistics<'_>,
    ) -> Result<bool, RefineError> {
        let mut changed = false;
        for index in 0..self.len() {
            let (old, new) = (self.note(index, TAKEN), self.note(index, PROPOSED));
            let Some(e) = self.get(index).filter(|_| old != new) else {
                continue;
            };
            give(labelled, old, |label| refined.forget(label, e))?;
            give(labelled, new, |label| refined.learn(label, e).map(|_| ()))?;
            self.set_note(index, TAKEN, new);
            changed = true;
        }
        Ok(changed)
    }

    fn count_noted(&self, which: usize, wanted: impl Fn(u16) -> bool) -> usize {
        (0..self.len())
            .filter(|&i| wanted(self.note(i, which)))
            .count()
    }
}

/// Does something with a class's name, where there is one.
fn give(
    labelled: &Statistics<'_>,
    class: u16,
    work: impl FnOnce(&str) -> Result<(), StatisticsError>,
) -> Result<(), StatisticsError> {
    match labelled.class(usize::from(class)).filter(|_| class != NONE) {
        Some(class) => work(class.label),
        None => Ok(()),
    }
}

fn only<'s>(statistics: &'s Statistics<'s>) -> Evidence<'s> {
    Evidence {
        statistics,
        samples: None,
    }
}
