//! Turns: every runtime runs for a while, then the next one, over and over. What the machine does
//! besides then meets all of them.

use std::time::{Duration, Instant};

use anyhow::Context;

use super::runner::Runner;

/// How long a turn takes.
const TURN: Duration = Duration::from_millis(40);

/// Microseconds of one inference: the median over a turn's inferences, over the turns.
pub struct Run {
    pub name: String,
    pub median: f64,
    pub least: f64,
    pub most: f64,
}

/// Lets every runner have one turn to warm up and `turns` that count.
pub fn measure(
    runners: &mut [(String, Box<dyn Runner + '_>)],
    turns: usize,
) -> anyhow::Result<Vec<Run>> {
    let mut times = vec![Vec::with_capacity(turns); runners.len()];
    for turn in 0..=turns {
        for ((name, runner), times) in runners.iter_mut().zip(&mut times) {
            let time = take(runner.as_mut()).with_context(|| format!("{name} failed"))?;
            if turn > 0 {
                times.push(time);
            }
        }
    }
    let runs = runners.iter().zip(times).map(|((name, _), mut times)| {
        let median = median(&mut times);
        Run {
            name: name.clone(),
            median,
            least: times[0],
            most: times[times.len() - 1],
        }
    });
    Ok(runs.collect())
}

/// One turn.
fn take(runner: &mut dyn Runner) -> anyhow::Result<f64> {
    let (start, mut times) = (Instant::now(), Vec::new());
    while start.elapsed() < TURN || times.len() < 3 {
        let now = Instant::now();
        runner.run(times.len())?;
        times.push(now.elapsed().as_secs_f64() * 1e6);
    }
    Ok(median(&mut times))
}

/// Sorts, and takes the middle.
fn median(times: &mut [f64]) -> f64 {
    times.sort_by(f64::total_cmp);
    let half = times.len() / 2;
    match times.len() % 2 {
        1 => times[half],
        _ => (times[half - 1] + times[half]) / 2.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Count(usize);

    impl Runner for Count {
        fn run(&mut self, i: usize) -> anyhow::Result<()> {
            self.0 += 1;
            anyhow::ensure!(i < usize::MAX);
            Ok(())
        }
    }

    #[test]
    fn every_runner_has_its_turns() {
        let mut runners: Vec<(String, Box<dyn Runner>)> = vec![
            ("a".into(), Box::new(Count(0))),
            ("b".into(), Box::new(Count(0))),
        ];
        let runs = measure(&mut runners, 2).unwrap();
        assert_eq!(runs.len(), 2);
        assert!(runs[1].least <= runs[1].median && runs[1].median <= runs[1].most);
    }

    #[test]
    fn the_middle_of_an_even_number_is_between_two() {
        assert_eq!(median(&mut [3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&mut [4.0, 1.0, 2.0, 3.0]), 2.5);
    }
}
