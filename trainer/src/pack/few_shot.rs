//! What quantisation cost where it counts: few-shot accuracy, pack and float encoder in the same
//! episodes.

use std::path::Path;

use anyhow::Context;

use crate::dataset::Dataset;
use crate::episode::{Cut, EPISODES, Protocol, Sampler, Score};
use crate::evaluate::heads::{HeadKind, answers};
use crate::evaluate::open::open;
use crate::evaluate::progress::Progress;
use crate::evaluate::space::Space;

const SHOTS: usize = 5;

/// Accuracy over the same episodes: same wearer, all classes of the data, 5 shots, class means.
pub struct FewShot {
    /// All classes of the data.
    pub ways: usize,
    /// The ONNX.
    pub float: Score,
    /// The pack.
    pub packed: Score,
    /// Pack minus float, paired.
    pub difference: Score,
}

/// Runs both encoders over the labelled recordings.
pub fn measure(encoder: &Path, pack: &Path, labelled: &Path) -> anyhow::Result<FewShot> {
    let data = Dataset::load(labelled)?;
    let (float, packed) = (open(encoder)?, open(pack)?);
    float.input.check(&data, labelled)?;
    let cut = Cut {
        length: float.input.window,
        hop: float.input.hop,
        ..Cut::default()
    };
    let sampler = Sampler::new(&data, Protocol::SameWearer, cut);
    let ways = sampler.classes();
    let episodes = sampler
        .episodes(ways, SHOTS, EPISODES, 0)
        .with_context(|| format!("{} can't make {SHOTS}-shot episodes", labelled.display()))?;
    let progress = Progress::new("few-shot episodes", 2 * EPISODES);
    let run = |space: &Space| {
        let embedded = space.embed(&data, sampler.windows())?;
        answers(space, &embedded, HeadKind::Prototype, &episodes, &progress)
    };
    let (float, packed) = (run(&float.space)?, run(&packed.space)?);
    let paired: Vec<(u32, f64)> = packed
        .iter()
        .zip(&float)
        .map(|(p, f)| (p.0, p.1 - f.1))
        .collect();
    let score = |results: &[(u32, f64)]| Score::over(results).context("there are no episodes");
    Ok(FewShot {
        ways,
        float: score(&float)?,
        packed: score(&packed)?,
        difference: score(&paired)?,
    })
}
