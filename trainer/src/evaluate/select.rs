//! Which recordings an evaluation runs on.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::str::FromStr;

use anyhow::anyhow;
use serde::{Deserialize, Serialize};

use crate::dataset::Dataset;
use crate::error::Failure;

/// Groups by number: `6-10`, `1,3` or `1,6-8`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Groups(Vec<RangeInclusive<u32>>);

impl FromStr for Groups {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let range = |part: &str| {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
            (first <= last).then_some(first..=last)
        };
        let ranges: Option<Vec<_>> = text.split(',').map(range).collect();
        ranges
            .map(Groups)
            .ok_or_else(|| "give numbers or ranges of groups, for example 6-10 or 1,3".to_owned())
    }
}

impl TryFrom<String> for Groups {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Groups> for String {
    fn from(groups: Groups) -> String {
        let range = |r: &RangeInclusive<u32>| match (r.start(), r.end()) {
            (first, last) if first == last => first.to_string(),
            (first, last) => format!("{first}-{last}"),
        };
        groups.0.iter().map(range).collect::<Vec<_>>().join(",")
    }
}

impl Groups {
    /// Whether `group` is one of them.
    pub fn contains(&self, group: u32) -> bool {
        self.0.iter().any(|range| range.contains(&group))
    }
}

/// The labelled recordings of the classes and groups asked for, `None` standing for all.
///
/// `classes` are names or indices. What is left has at least `ways` classes, and at least two.
pub fn select(
    data: &Dataset,
    classes: Option<&[String]>,
    groups: Option<&Groups>,
    ways: usize,
) -> Result<Dataset, Failure> {
    if data.recordings.iter().all(|r| r.class.is_none()) {
        let why = "the data has no labels: episodes need an array y with a class for each row";
        return Err(anyhow!(why).into());
    }
    let wanted = match classes {
        Some(names) => Some(
            names
                .iter()
                .map(|name| class(data, name))
                .collect::<Result<BTreeSet<_>, _>>()?,
        ),
        None => None,
    };
    let kept = data.filter(|r| {
        let chosen = |class| wanted.as_ref().is_none_or(|w| w.contains(&class));
        r.class.is_some_and(chosen) && groups.is_none_or(|g| g.contains(r.group))
    });
    let found: BTreeSet<usize> = kept.recordings.iter().filter_map(|r| r.class).collect();
    match found.len() {
        0 => Err(anyhow!(
            "no labelled recording has the classes and groups asked for; the data has classes {} in groups {}",
            list(data.labels.iter()),
            list(distinct_groups(data))
        )
        .into()),
        1 => Err(anyhow!(
            "there is one class only ({}): telling classes apart takes two",
            list(found.iter().filter_map(|&c| data.labels.get(c)))
        )
        .into()),
        have if have < ways => Err(anyhow!(
            "{ways}-way episodes need {ways} classes, there are {have} ({}); ask for fewer ways",
            list(found.iter().filter_map(|&c| data.labels.get(c)))
        )
        .into()),
        _ => Ok(kept),
    }
}

/// A class by its name, else by its index.
fn class(data: &Dataset, name: &str) -> Result<usize, Failure> {
    let name = name.trim();
    let by_name = data
        .labels
        .iter()
        .position(|label| label.eq_ignore_ascii_case(name));
    let by_index = name.parse().ok().filter(|&c: &usize| c < data.labels.len());
    by_name.or(by_index).ok_or_else(|| {
        let known = list(data.labels.iter());
        Failure::Usage(format!(
            "--classes: there is no class {name}; the data has {known} (or 0 to {})",
            data.labels.len().saturating_sub(1)
        ))
    })
}

/// The groups of the labelled recordings, in order.
pub fn distinct_groups(data: &Dataset) -> BTreeSet<u32> {
    let labelled = data.recordings.iter().filter(|r| r.class.is_some());
    labelled.map(|r| r.group).collect()
}

/// Items with commas between them.
pub fn list(items: impl IntoIterator<Item = impl ToString>) -> String {
    let items: Vec<String> = items.into_iter().map(|i| i.to_string()).collect();
    items.join(", ")
}
