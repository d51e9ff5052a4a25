//! The memory plan of a pack, measured and drawn.

use headstart::ops::geometry;
use headstart::pack::{EncoderPack, LayerKind, LayerRecord, NO_TENSOR, TensorRecord};

use super::{shape, thousands};

/// When each activation lives. Step 0 is the front end, which writes the input; layer i is step
/// i + 1.
pub struct Plan<'a> {
    tensors: &'a [TensorRecord],
    layers: &'a [LayerRecord],
    /// First and last step of each tensor.
    lives: Vec<(usize, usize)>,
    arena: usize,
}

impl<'a> Plan<'a> {
    /// Reads the plan out of a checked pack.
    pub fn of(pack: &EncoderPack<'a>) -> Plan<'a> {
        let (tensors, layers) = (pack.tensors(), pack.layers());
        let embedding = pack.embedding_tensor();
        let life = |(t, tensor): (usize, &TensorRecord)| {
            let written = layers.iter().position(|l| usize::from(l.output) == t);
            let born = written.map_or(0, |i| i + 1);
            let read = layers
                .iter()
                .rposition(|l| inputs(l).any(|input| input == t));
            match std::ptr::eq(tensor, embedding) {
                true => (born, layers.len()),
                false => (born, read.map_or(born, |i| i + 1)),
            }
        };
        Plan {
            tensors,
            layers,
            lives: tensors.iter().enumerate().map(life).collect(),
            arena: pack.arena_bytes(),
        }
    }

    fn alive(&self, tensor: usize, step: usize) -> bool {
        let (born, dies) = self.lives[tensor];
        (born..=dies).contains(&step)
    }

    /// Distinct bytes that live at each step, scratch apart. What a layer may write over counts
    /// once, whether or not this plan does so.
    pub fn live_bytes(&self) -> Vec<usize> {
        let live = |step: usize| {
            let alive = (0..self.tensors.len()).filter(|&t| self.alive(t, step));
            let sum: usize = alive.map(|t| self.tensors[t].bytes()).sum();
            sum - self.shared(step)
        };
        (0..=self.layers.len()).map(live).collect()
    }

    fn shared(&self, step: usize) -> usize {
        let Some(layer) = step.checked_sub(1).and_then(|i| self.layers.get(i)) else {
            return 0;
        };
        let (input, output) = (usize::from(layer.input), usize::from(layer.output));
        let bytes = self.tensors[output].bytes();
        let dying = |t: usize| self.lives[t].1 == step;
        let over = |t: usize| dying(t) && self.tensors[t].bytes() == bytes;
        let value_by_value = match layer.kind() {
            Some(LayerKind::Add | LayerKind::Mul) => inputs(layer).any(over),
            Some(LayerKind::Lookup | LayerKind::Clamp) => over(input),
            Some(LayerKind::Depthwise) => {
                let (from, to) = (&self.tensors[input], &self.tensors[output]);
                over(input) && geometry::takes_place(layer, from, to)
            }
            _ => layer.adds() && over(usize::from(layer.second_input)),
        };
        if value_by_value {
            return bytes;
        }
        let (from, to) = (&self.tensors[input], &self.tensors[output]);
        match geometry::least_gap(layer, from, to) {
            Some(gap) if dying(input) => {
                let apart = from.bytes() + bytes;
                apart - bytes.max(gap + from.bytes()).min(apart)
            }
            _ => 0,
        }
    }

    /// The largest of them.
    pub fn lower_bound(&self) -> usize {
        self.live_bytes().into_iter().max().unwrap_or(0)
    }

    /// One row a tensor, from the arena's start to its end; one column a step. Tensors whose bytes
    /// are used again stand in rows of the same bytes, in different columns.
    pub fn draw(&self) -> String {
        let mut order: Vec<usize> = (0..self.tensors.len()).collect();
        order.sort_by_key(|&t| (self.tensors[t].offset, self.lives[t]));
        let steps = self.layers.len() + 1;
        // Two digits and a space a step, so that the header can name it.
        let header: String = (0..steps).map(|s| format!("{s:>3}")).collect();
        let mut text = format!(
            "{:<8} {:<10} {:>17}  step{header}\n",
            "tensor", "shape", "arena bytes"
        );
        for t in order {
            let tensor = &self.tensors[t];
            let sides = [tensor.height, tensor.width, tensor.channels].map(usize::from);
            let place = tensor.place();
            let cells: String = (0..steps)
                .map(|s| if self.alive(t, s) { "  #" } else { "  ." })
                .collect();
            let name = if t == 0 {
                "input".to_owned()
            } else {
                format!("t{t}")
            };
            let range = format!("{} to {}", place.start, place.end);
            text += &format!("{name:<8} {:<10} {range:>17}      {cells}\n", shape(sides));
        }
        let live = self.live_bytes();
        let most = self.lower_bound();
        let steps: Vec<String> = (0..live.len())
            .filter(|&s| live[s] == most)
            .map(|s| s.to_string())
            .collect();
        text += &format!(
            "most bytes live at once: {} (step {}); the arena has {}{}\n",
            thousands(most),
            steps.join(", "),
            thousands(self.arena),
            match self.arena as f64 / most.max(1) as f64 - 1.0 {
                over if over > 0.0 => format!(", {:.1} % more", 100.0 * over),
                _ => String::new(),
            }
        );
        text
    }

    /// First and last step of tensor `t`.
    pub fn life(&self, t: usize) -> (usize, usize) {
        self.lives[t]
    }
}

fn inputs(layer: &LayerRecord) -> impl Iterator<Item = usize> {
    let all = [layer.input, layer.second_input].into_iter();
    all.filter(|&t| t != NO_TENSOR).map(usize::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(offset: u32, channels: u16) -> TensorRecord {
        TensorRecord {
            offset,
            height: 1,
            width: 1,
            channels,
            element: 1,
            zero_point: 0,
            scale: 1.0,
        }
    }

    fn layer(kind: LayerKind, input: u16, second: u16, output: u16) -> LayerRecord {
        LayerRecord {
            kind: kind as u8,
            input,
            second_input: second,
            output,
            ..bytemuck::Zeroable::zeroed()
        }
    }

    /// input 8 -> a 16 -> b 16; a + b -> c 16, the embedding.
    #[test]
    fn a_residual_sum_needs_no_third_buffer() {
        let tensors = [tensor(0, 8), tensor(16, 16), tensor(0, 16), tensor(16, 16)];
        let layers = [
            layer(LayerKind::Dense, 0, NO_TENSOR, 1),
            layer(LayerKind::Dense, 1, NO_TENSOR, 2),
            layer(LayerKind::Add, 1, 2, 3),
        ];
        let plan = Plan {
            tensors: &tensors,
            layers: &layers,
            lives: vec![(0, 1), (1, 3), (2, 3), (3, 3)],
            arena: 32,
        };
        assert_eq!(plan.live_bytes(), [8, 16, 32, 32]);
        assert_eq!(plan.lower_bound(), 32);
        let drawn = plan.draw();
        let rows: Vec<&str> = drawn.lines().collect();
        assert!(
            rows[1].starts_with("input") && rows[1].ends_with("  #  #  .  ."),
            "{drawn}"
        );
        assert!(
            rows[3].starts_with("t1") && rows[3].ends_with("  .  #  #  #"),
            "{drawn}"
        );
        assert!(rows[5].contains("32 (step 2, 3)"), "{drawn}");
    }

    #[test]
    fn a_sum_whose_inputs_are_read_again_needs_one() {
        let tensors = [tensor(0, 8), tensor(8, 8), tensor(16, 8), tensor(24, 8)];
        let layers = [
            layer(LayerKind::Dense, 0, NO_TENSOR, 1),
            layer(LayerKind::Add, 0, 1, 2),
            layer(LayerKind::Add, 0, 1, 3),
        ];
        let plan = Plan {
            tensors: &tensors,
            layers: &layers,
            lives: vec![(0, 3), (1, 3), (2, 2), (3, 3)],
            arena: 32,
        };
        assert_eq!(plan.live_bytes(), [8, 16, 24, 16]);
    }
}
