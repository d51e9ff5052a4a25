//! The memory plan: where in the arena each activation and each layer's scratch lives, so that those
//! that never live at the same time share bytes, and an output follows its input as closely as the
//! layer allows.

use std::ops::RangeInclusive;

/// A stretch of bytes that is needed from one step to another. Activations that a layer may
/// write over in place are one buffer.
#[derive(Clone, Debug, PartialEq)]
pub struct Buffer {
    /// Bytes.
    pub size: usize,
    /// Steps at which its bytes are in use.
    pub alive: RangeInclusive<usize>,
    /// Scratch does not count in the lower bound.
    pub scratch: bool,
}

/// A layer reads `input` for the last time while it writes `output`: the two may overlap where the
/// input starts at least `gap` bytes behind the output's start.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Follow {
    /// Index of the buffer that is read.
    pub input: usize,
    /// Index of the buffer that is written.
    pub output: usize,
    /// Bytes.
    pub gap: usize,
}

/// Where buffers were put.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// One a buffer, multiples of 8.
    pub offsets: Vec<usize>,
    /// Bytes in all.
    pub arena: usize,
    /// The largest sum of distinct bytes that live at one step, scratch apart.
    pub lower_bound: usize,
}

const ALIGN: usize = 8;
const TRIES: usize = 600;

/// Places the buffers. The first order takes them by size, the second by time; then two places in
/// the best order so far are exchanged, with a fixed seed, for as long as there is something to
/// gain and tries are left.
pub fn plan(buffers: &[Buffer], follows: &[Follow]) -> Plan {
    let lower_bound = lower_bound(buffers, follows);
    let mut order: Vec<usize> = (0..buffers.len()).collect();
    order.sort_by_key(|&i| std::cmp::Reverse(buffers[i].size));
    let mut by_time = order.clone();
    by_time.sort_by_key(|&i| *buffers[i].alive.start());
    let mut back_in_time = order.clone();
    back_in_time.sort_by_key(|&i| std::cmp::Reverse(*buffers[i].alive.end()));
    let mut best = place(buffers, follows, &order);
    for next in [by_time, back_in_time] {
        let placed = place(buffers, follows, &next);
        if placed.1 < best.1 {
            (best, order) = (placed, next);
        }
    }
    let mut random = 0x9E37_79B9_7F4A_7C15u64;
    let mut below = |limit: usize| {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) as usize % limit
    };
    for _ in 0..TRIES {
        if best.1 <= lower_bound.next_multiple_of(ALIGN) {
            break;
        }
        let mut next = order.clone();
        let (from, to) = (below(next.len()), below(next.len()));
        let moved = next.remove(from);
        next.insert(to, moved);
        let placed = place(buffers, follows, &next);
        // Orders that are as good are taken too: they lead elsewhere.
        if placed.1 <= best.1 {
            (best, order) = (placed, next);
        }
    }
    Plan {
        offsets: best.0,
        arena: best.1,
        lower_bound,
    }
}

/// The largest sum of distinct bytes that live at one step, scratch apart; a layer's input and
/// output count once where they may overlap.
fn lower_bound(buffers: &[Buffer], follows: &[Follow]) -> usize {
    let steps = buffers.iter().map(|b| *b.alive.end()).max().unwrap_or(0);
    let live = |step: usize| {
        let alive = |b: &&Buffer| b.alive.contains(&step) && !b.scratch;
        let sum: usize = buffers.iter().filter(alive).map(|b| b.size).sum();
        let here = |f: &&Follow| {
            *buffers[f.input].alive.end() == step && *buffers[f.output].alive.start() == step
        };
        let shared = follows.iter().filter(here).map(|f| {
            let (input, output) = (buffers[f.input].size, buffers[f.output].size);
            (input + output) - output.max(f.gap + input).min(input + output)
        });
        sum - shared.max().unwrap_or(0)
    };
    (0..=steps).map(live).max().unwrap_or(0)
}

/// Puts each buffer at the lowest place that is free for its whole life.
fn place(buffers: &[Buffer], follows: &[Follow], order: &[usize]) -> (Vec<usize>, usize) {
    let mut offsets = vec![0; buffers.len()];
    let mut placed: Vec<usize> = Vec::new();
    let mut arena = 0;
    for &i in order {
        let size = buffers[i].size;
        // Between these ends, both excluded, it must not start.
        let mut taken: Vec<(isize, isize)> = Vec::new();
        for &p in &placed {
            let (a, b) = (&buffers[i].alive, &buffers[p].alive);
            if a.start() > b.end() || b.start() > a.end() {
                continue;
            }
            let (from, length) = (offsets[p] as isize, buffers[p].size as isize);
            let follow = |input, output| {
                let pair = |f: &&Follow| f.input == input && f.output == output;
                follows.iter().find(pair).map(|f| f.gap as isize)
            };
            taken.push(if let Some(gap) = follow(p, i) {
                (from - gap.min(size as isize), from + length)
            } else if let Some(gap) = follow(i, p) {
                (from - size as isize, from + gap.min(length))
            } else {
                (from - size as isize, from + length)
            });
        }
        taken.sort_unstable();
        let mut at = 0;
        for (from, to) in taken {
            if at > from && at < to {
                at = (to as usize).next_multiple_of(ALIGN) as isize;
            }
        }
        offsets[i] = at as usize;
        arena = arena.max(offsets[i] + size);
        placed.push(i);
    }
    (offsets, arena.next_multiple_of(ALIGN))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn buffer(size: usize, alive: RangeInclusive<usize>) -> Buffer {
        Buffer {
            size,
            alive,
            scratch: false,
        }
    }

    #[test]
    fn a_chain_and_a_residual_meet_the_lower_bound() {
        let chain = [
            buffer(768, 0..=1),
            buffer(1536, 1..=2),
            buffer(1024, 2..=3),
            buffer(64, 3..=4),
        ];
        let residual = [
            buffer(104, 0..=1),
            buffer(400, 1..=4),
            buffer(400, 2..=3),
            buffer(400, 3..=4),
        ];
        for buffers in [&chain[..], &residual] {
            let plan = plan(buffers, &[]);
            assert_eq!(plan.arena, plan.lower_bound);
        }
    }

    #[test]
    fn an_output_follows_its_input() {
        // Twice as long as what it is made from: both fit where the longer one alone does.
        let buffers = [buffer(800, 0..=1), buffer(1600, 1..=2)];
        let follows = [Follow {
            input: 0,
            output: 1,
            gap: 800,
        }];
        let plan = plan(&buffers, &follows);
        assert_eq!((plan.arena, plan.lower_bound), (1600, 1600));
        assert!(plan.offsets[0] >= plan.offsets[1] + 800);
    }

    #[test]
    fn buffers_that_live_together_do_not_touch() {
        let buffers: Vec<Buffer> = (0..40)
            .map(|i| buffer(i * 37 % 91 + 1, i / 2..=i / 2 + i % 5))
            .collect();
        let plan = plan(&buffers, &[]);
        for (i, a) in buffers.iter().enumerate() {
            for (j, b) in buffers.iter().enumerate().skip(i + 1) {
                let together = a.alive.start() <= b.alive.end() && b.alive.start() <= a.alive.end();
                let apart = plan.offsets[i] + a.size <= plan.offsets[j]
                    || plan.offsets[j] + b.size <= plan.offsets[i];
                assert!(!together || apart, "{i} and {j}");
            }
        }
    }
}
