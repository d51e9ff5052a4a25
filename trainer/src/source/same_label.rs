//! Pairs of two items with one label, where labels cost nothing: a program that renders characters or
//! speaks words knows what they are, and a pair then differs in all that a font or a voice
//! changes, which no augmentation imitates.
//!
//! Source: *Supervised Contrastive Learning*, Khosla et al., 2020.

use anyhow::bail;
use rand::RngExt;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::{Kind, Source, purpose};
use crate::augment::stream;
use headstart::frontend::settings::Settings as FrontEnd;

/// A source whose second views are of another item with the first's label.
pub struct SameLabel {
    of: Box<dyn Source>,
    /// The items of each label.
    members: Vec<Vec<usize>>,
    /// The label of each item.
    labels: Vec<usize>,
}

impl SameLabel {
    /// # Errors
    /// An item has no label, or no two have the same.
    pub fn new(of: Box<dyn Source>) -> anyhow::Result<Self> {
        let labels: Option<Vec<usize>> = (0..of.len()).map(|i| of.class(i)).collect();
        let Some(labels) = labels else {
            bail!("--pairs label needs data in which everything has a label");
        };
        let mut members = vec![Vec::new(); labels.iter().max().map_or(0, |most| most + 1)];
        for (i, &label) in labels.iter().enumerate() {
            members[label].push(i);
        }
        if members.iter().all(|own| own.len() < 2) {
            bail!("--pairs label needs labels that several items have");
        }
        Ok(SameLabel {
            of,
            members,
            labels,
        })
    }
}

impl Source for SameLabel {
    fn kind(&self) -> Kind {
        self.of.kind()
    }

    fn shape(&self) -> [usize; 3] {
        self.of.shape()
    }

    fn len(&self) -> usize {
        self.of.len()
    }

    fn plain(&self, i: usize, out: &mut [f32]) {
        self.of.plain(i, out);
    }

    fn view(
        &self,
        i: usize,
        second: bool,
        common: ChaCha8Rng,
        mut private: ChaCha8Rng,
        out: &mut [f32],
    ) {
        let own = &self.members[self.labels[i]];
        let seen = match second && own.len() > 1 {
            true => {
                let at = private.random_range(0..own.len() - 1);
                // The last one stands in for the item itself.
                if own[at] == i {
                    own[own.len() - 1]
                } else {
                    own[at]
                }
            }
            false => i,
        };
        self.of.view(seen, second, common, private, out);
    }

    fn group(&self, i: usize) -> u32 {
        self.of.group(i)
    }

    fn class(&self, i: usize) -> Option<usize> {
        self.of.class(i)
    }

    fn labels(&self) -> &[String] {
        self.of.labels()
    }

    /// What is one thing is what has one label.
    fn recordings(&self) -> Option<Vec<usize>> {
        Some(self.labels.clone())
    }

    fn pairs(&self, seed: u64) -> Option<Vec<(usize, usize)>> {
        let mut rng = stream(seed, purpose::PROBE, 0, u64::MAX);
        let mut pairs = Vec::new();
        for own in &self.members {
            let mut order = own.clone();
            order.shuffle(&mut rng);
            let next = order.iter().cycle().skip(1);
            let two = order.iter().zip(next).filter(|_| own.len() > 1);
            pairs.extend(two.map(|(&a, &b)| (a, b)));
        }
        Some(pairs)
    }

    fn next(&self, i: usize) -> Option<usize> {
        self.of.next(i)
    }

    fn frontend(&self) -> Option<FrontEnd> {
        self.of.frontend()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Twelve items; a view is the item's number. Item 11 is alone with its label.
    struct Numbers(bool);

    impl Source for Numbers {
        fn kind(&self) -> Kind {
            Kind::Pictures
        }
        fn shape(&self) -> [usize; 3] {
            [1, 1, 1]
        }
        fn len(&self) -> usize {
            12
        }
        fn plain(&self, i: usize, out: &mut [f32]) {
            out.fill(i as f32);
        }
        fn view(&self, i: usize, _: bool, _: ChaCha8Rng, _: ChaCha8Rng, out: &mut [f32]) {
            self.plain(i, out);
        }
        fn group(&self, _: usize) -> u32 {
            0
        }
        fn class(&self, i: usize) -> Option<usize> {
            self.0.then_some(if i == 11 { 7 } else { i % 3 })
        }
        fn labels(&self) -> &[String] {
            &[]
        }
        fn frontend(&self) -> Option<FrontEnd> {
            None
        }
    }

    #[test]
    fn second_views_are_of_others_with_the_label() {
        let source = SameLabel::new(Box::new(Numbers(true))).expect("everything has a label");
        let picked: Vec<usize> = (0..12).collect();
        let mut others = std::collections::BTreeSet::new();
        for step in 0..40 {
            let views = super::super::views(&source, &picked, [1, 2, step]);
            let (first, second) = views.split_at(12);
            for (i, (&first, &second)) in first.iter().zip(second).enumerate() {
                assert_eq!(first as usize, i);
                let other = second as usize;
                assert_eq!(source.class(other), source.class(i));
                assert_eq!(other == i, i == 11, "an item alone is its own pair");
                others.insert((i, other));
            }
        }
        // Items of labels 0 and 1 have three others, those of label 2 two; one is alone.
        assert_eq!(others.len(), 4 * 3 + 4 * 3 + 3 * 2 + 1);
    }

    #[test]
    fn data_without_labels_is_refused() {
        assert!(SameLabel::new(Box::new(Numbers(false))).is_err());
    }
}
