//! The memory plan: where in the arena each activation lives, so that those that never live at
//! the same time share bytes.

use std::ops::RangeInclusive;

/// A stretch of bytes that is needed from one step to another. Activations that a layer may
/// write over in place are one buffer.
#[derive(Clone, Debug, PartialEq)]
pub struct Buffer {
    /// Bytes.
    pub size: usize,
    /// Steps at which its bytes are in use.
    pub alive: RangeInclusive<usize>,
}

/// Where buffers were put.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// One a buffer, multiples of 4.
    pub offsets: Vec<usize>,
    /// Bytes in all.
    pub arena: usize,
    /// What no plan can go below: the largest sum of bytes that live at one step.
    pub lower_bound: usize,
}

const TRIES: u64 = 400;

/// Places the buffers. The first try takes them by size, which is optimal for most chains; then
/// orders are shuffled with a fixed seed until the lower bound is met or the tries are used up.
pub fn plan(buffers: &[Buffer]) -> Plan {
    let steps = buffers.iter().map(|b| *b.alive.end()).max().unwrap_or(0);
    let live = |step| {
        buffers
            .iter()
            .filter(|b| b.alive.contains(&step))
            .map(|b| b.size)
            .sum()
    };
    let lower_bound: usize = (0..=steps).map(live).max().unwrap_or(0);
    let mut order: Vec<usize> = (0..buffers.len()).collect();
    order.sort_by_key(|&i| std::cmp::Reverse(buffers[i].size));
    let mut best = place(buffers, &order);
    let mut random = 0x9E37_79B9_7F4A_7C15u64;
    for _ in 0..TRIES {
        if best.1 <= lower_bound.next_multiple_of(4) {
            break;
        }
        for i in (1..order.len()).rev() {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            order.swap(i, (random >> 33) as usize % (i + 1));
        }
        let next = place(buffers, &order);
        if next.1 < best.1 {
            best = next;
        }
    }
    Plan {
        offsets: best.0,
        arena: best.1,
        lower_bound,
    }
}

/// Puts each buffer at the lowest place that is free for its whole life.
fn place(buffers: &[Buffer], order: &[usize]) -> (Vec<usize>, usize) {
    let mut offsets = vec![0; buffers.len()];
    let mut placed: Vec<usize> = Vec::new();
    let mut arena = 0;
    for &i in order {
        let rival = |&&p: &&usize| {
            let (a, b) = (&buffers[i].alive, &buffers[p].alive);
            a.start() <= b.end() && b.start() <= a.end()
        };
        let mut taken: Vec<(usize, usize)> = placed
            .iter()
            .filter(rival)
            .map(|&p| (offsets[p], offsets[p] + buffers[p].size))
            .collect();
        taken.sort_unstable();
        let mut at = 0;
        for (from, to) in taken {
            if at + buffers[i].size <= from {
                break;
            }
            at = at.max(to.next_multiple_of(4));
        }
        offsets[i] = at;
        arena = arena.max(at + buffers[i].size);
        placed.push(i);
    }
    (offsets, arena.next_multiple_of(4))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn buffer(size: usize, alive: RangeInclusive<usize>) -> Buffer {
        Buffer { size, alive }
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
            buffer(100, 0..=1),
            buffer(400, 1..=4),
            buffer(400, 2..=3),
            buffer(400, 3..=4),
        ];
        for buffers in [&chain[..], &residual] {
            let plan = plan(buffers);
            assert_eq!(plan.arena, plan.lower_bound);
        }
    }

    #[test]
    fn buffers_that_live_together_do_not_touch() {
        let buffers: Vec<Buffer> = (0..40)
            .map(|i| buffer(i * 37 % 91 + 1, i / 2..=i / 2 + i % 5))
            .collect();
        let plan = plan(&buffers);
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
