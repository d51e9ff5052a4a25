//! `headstart head merge`: the sum of many heads, exact or with noise.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, anyhow, ensure};
use headstart::Label;
use serde_json::{Value, json};

use super::Head;
use super::noise::{self, DiscreteGaussian};
use crate::error::{Failure, Outcome};
use crate::files;

/// Add up what many devices learnt
///
/// Without --epsilon the result is exact: the same bits as one device that learnt it all. With it,
/// integer Gaussian noise hides whether any one sample was there at all, or, with --clip, any one head.
/// --min-devices leaves out classes that few devices know, as their very names tell on them; that
/// itself is no part of the promise.
#[derive(clap::Args)]
#[command(
    after_help = "Example: headstart head merge a.head b.head c.head -o all.head\n         headstart head merge devices/*.head -o all.head --min-devices 20 --epsilon 1"
)]
pub struct Args {
    /// The heads, all of one encoder file
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Where the sum goes
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// Only classes that so many of the heads have; such a sum has no second moments
    #[arg(long, default_value_t = 1, value_name = "DEVICES")]
    min_devices: usize,
    /// Hide whether any one sample was there (with --clip, any one head): the less, the better hidden
    #[arg(long, value_name = "EPSILON")]
    epsilon: Option<f64>,
    /// The chance that --epsilon does not hold
    #[arg(long, default_value_t = 1e-6, value_name = "DELTA")]
    delta: f64,
    /// Samples that one head counts for at most: one with more is scaled down. Such a sum has no second
    /// moments
    #[arg(long, value_name = "SAMPLES")]
    clip: Option<i32>,
    /// Of the noise, for tests; without it the system's random numbers
    #[arg(long, hide = true)]
    seed: Option<u64>,
    /// One JSON object on stdout instead of text
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub fn run(args: Args) -> Outcome {
    let wrong = |text: &str| Err(Failure::Usage(text.into()));
    if args.epsilon.is_some_and(|e| !(e > 0.0 && e <= 100.0)) {
        return wrong("--epsilon must be above 0, and at most 100");
    }
    if !(args.delta > 0.0 && args.delta < 0.1) {
        return wrong(
            "--delta must be above 0 and below 0.1: less than one in the number of samples",
        );
    }
    if args.clip.is_some_and(|clip| clip < 1) {
        return wrong("--clip must be 1 or more");
    }
    let mut heads = Vec::new();
    for path in &args.files {
        let head = Head::read(path)?;
        let first: &Head = heads.first().unwrap_or(&head);
        if (head.artefact, head.dim, head.gram.is_some())
            != (first.artefact, first.dim, first.gram.is_some())
        {
            return Err(anyhow!(
                "{} was learnt with another encoder file, or in another tier, than {}",
                path.display(),
                args.files[0].display()
            )
            .into());
        }
        heads.push(head);
    }
    let means_alone = args.min_devices > 1 || args.clip.is_some();
    let mut sum = added(&heads, args.min_devices, args.clip)?;
    if means_alone {
        sum.gram = None;
    }
    let privacy = match args.epsilon {
        Some(epsilon) => Some(hide(&mut sum, epsilon, args.delta, args.clip, args.seed)?),
        None => None,
    };
    let bytes = sum.bytes()?;
    files::write(&args.output, &bytes)?;
    let (devices, examples, classes) = (heads.len(), sum.examples(), sum.classes.len());
    if args.json {
        println!(
            "{}",
            json!({ "heads": devices, "examples": examples, "classes": classes, "bytes": bytes.len(),
                "privacy": privacy.as_ref().map(Privacy::json) })
        );
        return Ok(());
    }
    println!("{:<10} {devices}", "heads");
    println!("{:<10} {examples} of {classes} classes", "examples");
    if let Some(privacy) = privacy {
        println!("{:<10} {privacy}", "privacy");
    }
    println!(
        "{:<10} {}, {} bytes",
        "written",
        args.output.display(),
        bytes.len()
    );
    Ok(())
}

/// The sum of heads, of classes that `min_devices` of them have.
///
/// # Errors
/// More examples than the sums can take.
pub fn added(heads: &[Head], min_devices: usize, clip: Option<i32>) -> anyhow::Result<Head> {
    let first = heads.first().context("there is no head")?;
    let mut sum = Head {
        classes: BTreeMap::new(),
        gram: first.gram.as_ref().map(|gram| vec![0; gram.len()]),
        ..first.clone()
    };
    let mut devices: BTreeMap<&Label, usize> = BTreeMap::new();
    let beyond = || anyhow!("there are more examples than the sums can take");
    let add = |total: &mut i32, v: i32| -> anyhow::Result<()> {
        *total = total.checked_add(v).ok_or_else(beyond)?;
        Ok(())
    };
    for head in heads {
        let (all, limit) = (head.examples(), clip.map_or(i64::MAX, i64::from));
        // Towards zero, so that what a head adds is no longer than its limit.
        let scaled = |v: i32| match all > limit {
            true => (i64::from(v) * limit / all) as i32,
            false => v,
        };
        let counts = clipped(head, limit);
        for (i, (label, (_, sums))) in head.classes.iter().enumerate() {
            *devices.entry(label).or_default() += 1;
            let empty = || (0, vec![0; head.dim]);
            let (total, totals) = sum.classes.entry(label.clone()).or_insert_with(empty);
            add(total, counts[i])?;
            for (total, &v) in totals.iter_mut().zip(sums) {
                add(total, scaled(v))?;
            }
        }
        if let (Some(total), Some(gram)) = (&mut sum.gram, &head.gram) {
            for (total, &v) in total.iter_mut().zip(gram) {
                add(total, v)?;
            }
        }
    }
    sum.classes.retain(|label, (count, _)| {
        *count > 0 && devices.get(label).is_some_and(|&n| n >= min_devices)
    });
    ensure!(
        !sum.classes.is_empty(),
        "no class is in {min_devices} heads or more"
    );
    if clip.is_some() {
        for (count, sums) in sum.classes.values_mut() {
            let most = count.saturating_mul(128);
            sums.iter_mut().for_each(|v| *v = (*v).clamp(-most, most));
        }
    }
    Ok(sum)
}

/// The counts of a head's classes, scaled down to `limit` together: rounded down, and what that leaves
/// goes to those that lost most.
fn clipped(head: &Head, limit: i64) -> Vec<i32> {
    let all = head.examples();
    let own: Vec<i64> = head
        .classes
        .values()
        .map(|(count, _)| i64::from(*count))
        .collect();
    if all <= limit {
        return own.iter().map(|&count| count as i32).collect();
    }
    let mut scaled: Vec<i64> = own.iter().map(|count| count * limit / all).collect();
    let mut order: Vec<usize> = (0..own.len()).collect();
    order.sort_by_key(|&i| std::cmp::Reverse(own[i] * limit % all));
    let left = limit - scaled.iter().sum::<i64>();
    for &i in order.iter().take(left.max(0) as usize) {
        scaled[i] += 1;
    }
    scaled.iter().map(|&count| count as i32).collect()
}

/// What was promised, and what it took.
struct Privacy {
    epsilon: f64,
    delta: f64,
    /// What is hidden: a sample, or a head.
    of: &'static str,
    /// Of counts, sums and moments: what one of these can change (L2), and the noise on it.
    blocks: Vec<(&'static str, f64, f64)>,
}

impl Privacy {
    fn json(&self) -> Value {
        let block = |(name, sensitivity, sigma): &(&str, f64, f64)| json!({ "of": name, "sensitivity": sensitivity, "sigma": sigma });
        let blocks: Vec<Value> = self.blocks.iter().map(block).collect();
        json!({ "epsilon": self.epsilon, "delta": self.delta, "hidden": self.of, "noise": blocks })
    }
}

impl std::fmt::Display for Privacy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (epsilon, delta, of) = (self.epsilon, self.delta, self.of);
        write!(
            f,
            "epsilon {epsilon}, delta {delta:e}, for any one {of} in or out"
        )?;
        for (name, sensitivity, sigma) in &self.blocks {
            write!(
                f,
                "\n{:<10} {name}: one {of} changes them by {sensitivity:.0} at most, noise of sigma {sigma:.1}",
                ""
            )?;
        }
        Ok(())
    }
}

/// The largest L2 norm of an embedding: 127, a whole root in the division instead of the exact one
/// (below 1), and half a step in each of D values.
fn largest_norm(dim: usize) -> f64 {
    128.0 + (dim as f64).sqrt() / 2.0
}

/// Adds noise to everything. Counts, sums and moments each get an equal share of the privacy that is
/// spent: one sample changes one count by 1, one class's sums by its embedding, and the moments by
/// that times itself.
fn hide(
    head: &mut Head,
    epsilon: f64,
    delta: f64,
    clip: Option<i32>,
    seed: Option<u64>,
) -> anyhow::Result<Privacy> {
    let norm = largest_norm(head.dim);
    // A clipped head's counts, and its sums of all classes together, are as long as so many samples.
    let samples = f64::from(clip.unwrap_or(1));
    let mut blocks = vec![("counts", samples), ("sums", samples * norm)];
    if head.gram.is_some() {
        blocks.push(("moments", norm * norm));
    }
    let each = noise::rho(epsilon, delta) / blocks.len() as f64;
    let noises: Option<Vec<DiscreteGaussian>> = blocks
        .iter()
        .map(|(_, sensitivity)| DiscreteGaussian::new(sensitivity / (2.0 * each).sqrt()))
        .collect();
    let noises = noises
        .context("so much noise can't be drawn: take a larger --epsilon, or a smaller --clip")?;
    let mut key = [0; 32];
    match seed {
        Some(seed) => key[..8].copy_from_slice(&seed.to_le_bytes()),
        None => getrandom::fill(&mut key)
            .map_err(|e| anyhow!("the system gives no random numbers: {e}"))?,
    }
    let mut rng: rand_chacha::ChaCha20Rng = rand::SeedableRng::from_seed(key);
    let mut noisy = |value: i32, noise: &DiscreteGaussian, least: i64, most: i64| {
        (i64::from(value) + noise.draw(&mut rng)).clamp(least, most) as i32
    };
    // What can't have been learnt is brought to the nearest that can; that tells no more.
    let many = i64::from(headstart::statistics::MAX_COUNT);
    let mut examples = 0;
    for (count, sums) in head.classes.values_mut() {
        *count = noisy(*count, &noises[0], 1, many);
        examples += i64::from(*count);
        let most = 128 * i64::from(*count);
        for sum in sums {
            *sum = noisy(*sum, &noises[1], -most, most);
        }
    }
    if let (Some(gram), Some(noise)) = (&mut head.gram, noises.get(2)) {
        let most = (examples * 128 * 128).min(i32::MAX.into());
        for moment in gram {
            *moment = noisy(*moment, noise, -most, most);
        }
    }
    let blocks = blocks.iter().zip(&noises);
    Ok(Privacy {
        epsilon,
        delta,
        of: if clip.is_some() { "head" } else { "sample" },
        blocks: blocks
            .map(|(&(name, s), noise)| (name, s, noise.sigma()))
            .collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::{D, device, samples};
    use super::*;

    #[test]
    fn a_thousand_heads_are_one_device_that_learnt_it_all() {
        let all = samples(3000);
        let heads: Vec<Head> = all
            .chunks(3)
            .map(|own| Head::parse(&device(own)).expect("a head"))
            .collect();
        assert_eq!(heads.len(), 1000);
        let sum = added(&heads, 1, None).expect("it adds up");
        assert_eq!(sum.bytes().expect("it can be written"), device(&all));
    }

    #[test]
    fn classes_that_few_know_are_left_out_and_noise_stays_learnable() {
        let mut heads: Vec<Head> = samples(60)
            .chunks(3)
            .map(|own| Head::parse(&device(own)).expect("a head"))
            .collect();
        heads.push(Head::parse(&device(&[("secret", [5; D])])).expect("a head"));
        let mut sum = added(&heads, 2, Some(2)).expect("it adds up");
        assert!(!sum.classes.contains_key("secret"));
        assert!(sum.examples() <= 2 * 20, "two a head");
        sum.gram = None;
        for (epsilon, clip) in [(0.01, None), (1.0, Some(2))] {
            let mut noisy = sum.clone();
            let privacy = hide(&mut noisy, epsilon, 1e-6, clip, Some(3)).expect("numbers");
            assert_ne!(noisy, sum);
            assert_eq!(privacy.blocks.len(), 2);
            noisy.bytes().expect("a device takes it");
        }
    }

    #[test]
    fn noise_that_cannot_be_drawn_is_refused() {
        let mut head = Head::parse(&device(&samples(3))).expect("a head");
        assert!(hide(&mut head.clone(), 1e-6, 1e-6, None, Some(1)).is_err());
        hide(&mut head, 0.01, 1e-6, None, Some(1)).expect("moments of 0.01 are in range");
    }
}
