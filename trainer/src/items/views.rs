//! Augmented views of images: what makes two examples of one thing out of an image without a label.
//!
//! Each augmentation is a claim about what does not matter, and the differences between the views
//! of one image are what a background then takes for variation *within* a thing. The strengths are
//! for small pictures of objects. A mirror image of a digit or of a sign is another thing: for such
//! images these views claim too much.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use crate::augment::stream;

/// Sets the streams of views apart from those of noise.
const PURPOSE: u64 = 1;

/// How strong each augmentation is; 0 switches it off. But for `mirror` they are the largest
/// values, drawn evenly from as far in either direction.
struct Strengths {
    /// How upright the thing stands: radians.
    turn: f64,
    /// How near it is: the logarithm of its size.
    scale: f64,
    /// Where in the picture it is: a part of the picture's height and width.
    shift: f64,
    /// Which of its sides is left: the probability of a mirror image.
    mirror: f64,
    /// How much light falls on it: the logarithm of the gain. What gets brighter than white is
    /// white.
    gain: f64,
    /// How the camera renders dark and bright: the logarithm of the exponent of gamma.
    gamma: f64,
}

/// 10 degrees, 16 %, 2.5 pixels of 28, and light from two thirds to one and a half.
const STRENGTHS: Strengths = Strengths {
    turn: 0.17,
    scale: 0.15,
    shift: 0.09,
    mirror: 0.5,
    gain: 0.4,
    gamma: 0.4,
};

/// One way of looking at an image, the same for all of its channels.
#[derive(Debug, Clone, PartialEq)]
pub struct View {
    /// Radians.
    turn: f64,
    /// The step from pixel to pixel, in pixels of the image.
    scale: f64,
    /// Down and to the right, a part of the height and of the width.
    shift: [f64; 2],
    mirrored: bool,
    gain: f64,
    gamma: f64,
}

impl View {
    /// View `number` of image `image`: a function of these three, however many views there are.
    pub fn new(seed: u64, image: usize, number: usize) -> View {
        let mut rng = stream(seed, PURPOSE, number as u64, image as u64);
        View::draw(&STRENGTHS, &mut rng)
    }

    fn draw(strengths: &Strengths, rng: &mut ChaCha8Rng) -> View {
        let mut within = |strength: f64| strength * (2.0 * rng.random::<f64>() - 1.0);
        View {
            turn: within(strengths.turn),
            scale: within(strengths.scale).exp(),
            shift: [within(strengths.shift), within(strengths.shift)],
            gain: within(strengths.gain).exp(),
            gamma: within(strengths.gamma).exp(),
            mirrored: rng.random::<f64>() < strengths.mirror,
        }
    }

    /// One channel of the image as this view shows it, of the same size: [height, width], from 0
    /// to 255, interpolated bilinearly. Outside of the image it is black.
    ///
    /// `stretch` is the height of a pixel by its width, not 1 where a resize has changed the
    /// picture's proportions: things turn as they would have before it.
    pub fn of(&self, plane: &[f64], width: usize, stretch: f64) -> Vec<f64> {
        let height = plane.len() / width;
        let centre = [height, width].map(|side| (side as f64 - 1.0) / 2.0);
        let [down, right] = [self.shift[0] * height as f64, self.shift[1] * width as f64];
        let (sin, cos) = self.turn.sin_cos();
        let sign = if self.mirrored { -1.0 } else { 1.0 };
        let of = |at: usize| {
            let y = (at / width) as f64 - centre[0];
            let x = sign * ((at % width) as f64 - centre[1]);
            let row = self.scale * (cos * y + sin / stretch * x) + centre[0] + down;
            let column = self.scale * (cos * x - sin * stretch * y) + centre[1] + right;
            self.lit(between(plane, height, width, row, column))
        };
        (0..plane.len()).map(of).collect()
    }

    /// A value from 0 to 255 under this view's light.
    fn lit(&self, value: f64) -> f64 {
        let light = (value / 255.0 * self.gain).min(1.0);
        255.0 * light.powf(self.gamma)
    }
}

/// The value between four pixels.
fn between(plane: &[f64], height: usize, width: usize, row: f64, column: f64) -> f64 {
    let (top, left) = (row.floor(), column.floor());
    let (below, beside) = (row - top, column - left);
    let pixel = |y: f64, x: f64| {
        let inside = y >= 0.0 && x >= 0.0 && y < height as f64 && x < width as f64;
        match inside {
            true => plane[y as usize * width + x as usize],
            false => 0.0,
        }
    };
    let upper = pixel(top, left) * (1.0 - beside) + pixel(top, left + 1.0) * beside;
    let lower = pixel(top + 1.0, left) * (1.0 - beside) + pixel(top + 1.0, left + 1.0) * beside;
    upper * (1.0 - below) + lower * below
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: View = View {
        turn: 0.0,
        scale: 1.0,
        shift: [0.0; 2],
        mirrored: false,
        gain: 1.0,
        gamma: 1.0,
    };

    fn noise(pixels: usize) -> Vec<f64> {
        let mut rng = stream(7, 0, 0, 0);
        (0..pixels)
            .map(|_| rng.random_range(0..=255u8).into())
            .collect()
    }

    fn assert_near(found: &[f64], expected: &[f64], tolerance: f64) {
        assert_eq!(found.len(), expected.len());
        for (at, (a, b)) in found.iter().zip(expected).enumerate() {
            assert!((a - b).abs() <= tolerance, "pixel {at}: {a}, not {b}");
        }
    }

    #[test]
    fn a_view_is_named_by_seed_image_and_number() {
        let view = View::new(3, 20, 1);
        assert_eq!(view, View::new(3, 20, 1));
        for other in [
            View::new(4, 20, 1),
            View::new(3, 21, 1),
            View::new(3, 20, 0),
        ] {
            assert_ne!(view, other);
        }
    }

    #[test]
    fn without_strength_the_image_comes_back() {
        let none = Strengths {
            turn: 0.0,
            scale: 0.0,
            shift: 0.0,
            mirror: 0.0,
            gain: 0.0,
            gamma: 0.0,
        };
        for (height, width, stretch) in [(1, 1, 1.0), (28, 28, 1.0), (5, 8, 1.7), (9, 2, 0.3)] {
            let image = noise(height * width);
            for item in 0..20 {
                let view = View::draw(&none, &mut stream(1, 2, 3, item));
                assert_near(&view.of(&image, width, stretch), &image, 1e-9);
            }
        }
    }

    #[test]
    fn views_stay_bytes() {
        for (height, width, stretch) in [(1, 1, 1.0), (28, 28, 1.0), (40, 7, 5.0), (3, 50, 0.1)] {
            for image in [noise(height * width), vec![255.0; height * width]] {
                for number in 0..50 {
                    let view = View::new(0, 0, number).of(&image, width, stretch);
                    assert_eq!(view.len(), image.len());
                    assert!(view.iter().all(|v| (0.0..=255.0).contains(v)), "{number}");
                }
            }
        }
    }

    #[test]
    fn draws_fill_their_ranges() {
        let views: Vec<View> = (0..4000).map(|image| View::new(0, image, 0)).collect();
        type Value = fn(&View) -> f64;
        let cases: [(f64, Value); 6] = [
            (STRENGTHS.turn, |v| v.turn),
            (STRENGTHS.scale, |v| v.scale.ln()),
            (STRENGTHS.shift, |v| v.shift[0]),
            (STRENGTHS.shift, |v| v.shift[1]),
            (STRENGTHS.gain, |v| v.gain.ln()),
            (STRENGTHS.gamma, |v| v.gamma.ln()),
        ];
        for (case, (strength, value)) in cases.into_iter().enumerate() {
            let most = views.iter().map(value).fold(f64::MIN, f64::max) / strength;
            let least = views.iter().map(value).fold(f64::MAX, f64::min) / strength;
            assert!((0.99..=1.0 + 1e-9).contains(&most), "{case}: {most}");
            assert!((-1.0 - 1e-9..=-0.99).contains(&least), "{case}: {least}");
        }
        let mirrored = views.iter().filter(|v| v.mirrored).count();
        assert!((1850..2150).contains(&mirrored), "{mirrored} of 4000");
    }

    #[test]
    fn moved_mirrored_and_turned() {
        let image = [10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0, 90.0];
        let turn = std::f64::consts::FRAC_PI_2;
        let cases = [
            (
                View {
                    shift: [1.0 / 3.0, 0.0],
                    ..PLAIN
                },
                [40.0, 50.0, 60.0, 70.0, 80.0, 90.0, 0.0, 0.0, 0.0],
            ),
            (
                View {
                    shift: [0.0, -0.5 / 3.0],
                    ..PLAIN
                },
                [5.0, 15.0, 25.0, 20.0, 45.0, 55.0, 35.0, 75.0, 85.0],
            ),
            (
                View {
                    mirrored: true,
                    ..PLAIN
                },
                [30.0, 20.0, 10.0, 60.0, 50.0, 40.0, 90.0, 80.0, 70.0],
            ),
            (
                View { turn, ..PLAIN },
                [30.0, 60.0, 90.0, 20.0, 50.0, 80.0, 10.0, 40.0, 70.0],
            ),
            (
                View {
                    scale: 2.0,
                    ..PLAIN
                },
                [0.0, 0.0, 0.0, 0.0, 50.0, 0.0, 0.0, 0.0, 0.0],
            ),
        ];
        for (view, expected) in cases {
            assert_near(&view.of(&image, 3, 1.0), &expected, 1e-9);
        }
    }

    #[test]
    fn light_changes_values_alone() {
        let image = [0.0, 51.0, 127.5, 204.0, 255.0];
        let gain = View { gain: 1.6, ..PLAIN };
        let bright = [0.0, 81.6, 204.0, 255.0, 255.0];
        assert_near(&gain.of(&image, 5, 1.0), &bright, 1e-9);
        let gamma = View {
            gamma: 2.0,
            ..PLAIN
        };
        let dark = [0.0, 10.2, 63.75, 163.2, 255.0];
        assert_near(&gamma.of(&image, 5, 1.0), &dark, 1e-9);
    }

    #[test]
    fn a_turn_is_one_of_the_picture_before_it_was_squashed() {
        // A round spot, the picture twice as high as it is now.
        let (side, stretch) = (41, 2.0);
        let spot: Vec<f64> = (0..side * side)
            .map(|at| [at / side, at % side].map(|v| v as f64 - 20.0))
            .map(|[y, x]| 255.0 * (-((stretch * y).powi(2) + x * x) / 100.0).exp())
            .collect();
        let view = View { turn: 0.6, ..PLAIN };
        assert_near(&view.of(&spot, side, stretch), &spot, 3.0);
        let oval = view.of(&spot, side, 1.0);
        assert!(oval.iter().zip(&spot).any(|(a, b)| (a - b).abs() > 50.0));
    }
}
