//! A sensor's stream at another rate than the encoder's.

/// Two rates in any one unit: Hz, or mHz where they are no whole numbers. Both at least 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rates {
    /// Of the sensor.
    pub from: u32,
    /// Of the encoder.
    pub to: u32,
}

/// Turns time steps at one rate into time steps at another, in integers and without drift: output k
/// belongs to the time k / to, however long the stream.
///
/// A rising rate draws lines between time steps; a falling one takes the mean over each step's time,
/// every input holding until the next. An equal rate changes nothing.
///
/// ```
/// use headstart::frontend::{Rates, Resampler};
/// let (mut state, mut out, mut heard) = ([0; 1], [0; 1], [0; 4]);
/// let rates = Rates { from: 25, to: 50 };
/// let mut resampler = Resampler::new(rates, &mut state, &mut out).ok_or("a rate is 0")?;
/// let mut heard = heard.iter_mut();
/// for count in [10, 20] {
///     resampler.push(&[count], |step| *heard.next().unwrap() = step[0]);
/// }
/// assert_eq!(heard.len(), 1); // 10, 15, 20
/// # Ok::<(), &str>(())
/// ```
pub struct Resampler<'a> {
    rates: Rates,
    /// Rising: the last input. Falling: what the next output has gathered, times its duration.
    state: &'a mut [i64],
    out: &'a mut [i16],
    /// In units of 1 / (from * to) seconds. Rising: from the latest input to the next output.
    /// Falling: how much of the next output's time has passed.
    ahead: i64,
    started: bool,
}

impl<'a> Resampler<'a> {
    /// `state` and `out` have one element a channel, whatever is in them; `None` where they differ
    /// in length or a rate is 0.
    pub fn new(rates: Rates, state: &'a mut [i64], out: &'a mut [i16]) -> Option<Self> {
        let fits = rates.from >= 1 && rates.to >= 1 && state.len() == out.len();
        state.fill(0);
        fits.then_some(Resampler {
            rates,
            state,
            out,
            ahead: 0,
            started: false,
        })
    }

    /// Takes one time step, a count a channel, and shows what is due: at most `to / from + 1` time
    /// steps, rounded half up. Channels that `sample` lacks keep their state. Costs a 64-bit
    /// product a channel, and for each time step shown a 64-bit division.
    pub fn push(&mut self, sample: &[i16], emit: impl FnMut(&[i16])) {
        if self.rates.to >= self.rates.from {
            self.rise(sample, emit);
        } else {
            self.fall(sample, emit);
        }
    }

    fn rise(&mut self, sample: &[i16], mut emit: impl FnMut(&[i16])) {
        let (from, to) = (i64::from(self.rates.from), i64::from(self.rates.to));
        if self.started {
            self.ahead -= to;
        }
        self.started = true;
        while self.ahead <= 0 {
            let channels = self.out.iter_mut().zip(&*self.state).zip(sample);
            for ((out, &last), &now) in channels {
                let now = i64::from(now);
                *out = rounded(now * to + (now - last) * self.ahead, to);
            }
            emit(self.out);
            self.ahead += from;
        }
        for (last, &now) in self.state.iter_mut().zip(sample) {
            *last = now.into();
        }
    }

    fn fall(&mut self, sample: &[i16], mut emit: impl FnMut(&[i16])) {
        let (from, to) = (i64::from(self.rates.from), i64::from(self.rates.to));
        let room = from - self.ahead;
        let now = to.min(room);
        for (sum, &count) in self.state.iter_mut().zip(sample) {
            *sum += i64::from(count) * now;
        }
        self.ahead += now;
        if self.ahead < from {
            return;
        }
        for (out, &sum) in self.out.iter_mut().zip(&*self.state) {
            *out = rounded(sum, from);
        }
        emit(self.out);
        self.ahead = to - now;
        for (sum, &count) in self.state.iter_mut().zip(sample) {
            *sum = i64::from(count) * self.ahead;
        }
    }
}

/// A mean of counts is one.
fn rounded(sum: i64, over: i64) -> i16 {
    (2 * sum + over).div_euclid(2 * over) as i16
}

#[cfg(test)]
mod tests {
    use std::f64::consts::TAU;
    use std::vec;
    use std::vec::Vec;

    use super::*;

    fn resampled(from: u32, to: u32, counts: &[i16]) -> Vec<i16> {
        let (mut state, mut out, mut all) = ([9], [9], vec![]);
        let mut resampler = Resampler::new(Rates { from, to }, &mut state, &mut out).unwrap();
        for &count in counts {
            resampler.push(&[count], |step| all.push(step[0]));
        }
        all
    }

    #[test]
    fn small_streams_are_what_they_should_be() {
        let cases: [(u32, u32, &[i16], &[i16]); 7] = [
            (50, 50, &[1, -2, 3], &[1, -2, 3]),
            (1, 2, &[0, 10, 20], &[0, 5, 10, 15, 20]),
            (2, 3, &[0, 30, 60, 90], &[0, 20, 40, 60, 80]),
            (2, 1, &[1, 2, -1, -2], &[2, -1]),
            (3, 2, &[0, 30, 60], &[10, 50]),
            (100, 25, &[i16::MIN; 8], &[i16::MIN; 2]),
            (u32::MAX, u32::MAX - 1, &[i16::MAX; 3], &[i16::MAX; 2]),
        ];
        for (from, to, counts, expected) in cases {
            assert_eq!(resampled(from, to, counts), expected, "{from} to {to}");
        }
    }

    #[test]
    fn constants_stay_and_slow_waves_keep_their_shape() {
        for (from, to) in [
            (26, 50),
            (104, 50),
            (52_000, 50_000),
            (12_500, 50_000),
            (119, 50),
        ] {
            assert!(resampled(from, to, &[-77; 1000]).iter().all(|&c| c == -77));
            let seconds = |i: usize, rate: u32| i as f64 / f64::from(rate);
            let unit = f64::from(from.max(to)) / 50.0;
            let wave = |t: f64| 10_000.0 * (TAU * 0.5 / unit.min(1.0) * t).sin();
            let rate = f64::from(from);
            let counts: Vec<i16> = (0..2000).map(|i| wave(i as f64 / rate) as i16).collect();
            // A mean belongs to its time's middle; each input holds for a step.
            let shift = if to < from {
                (rate / f64::from(to) - 1.0) / 2.0 / rate
            } else {
                0.0
            };
            for (k, found) in resampled(from, to, &counts).into_iter().enumerate() {
                let expected = wave(seconds(k, to) + shift);
                let near = (f64::from(found) - expected).abs() < 250.0;
                assert!(near, "{from} to {to}, {k}: {found}, not {expected}");
            }
        }
    }

    #[test]
    fn channels_stay_apart_and_zero_rates_are_refused() {
        let (mut state, mut out, mut all) = ([0; 2], [0; 2], vec![]);
        let rates = Rates { from: 2, to: 1 };
        let mut resampler = Resampler::new(rates, &mut state, &mut out).unwrap();
        for sample in [[1, 10], [3, 30]] {
            resampler.push(&sample, |step| all.extend_from_slice(step));
        }
        assert_eq!(all, [2, 20]);
        for (from, to) in [(0, 1), (1, 0)] {
            assert!(Resampler::new(Rates { from, to }, &mut state, &mut out).is_none());
        }
        assert!(Resampler::new(rates, &mut state[..1], &mut out).is_none());
    }

    #[test]
    fn long_streams_do_not_drift() {
        for (from, to) in [(104_000, 50_001), (49_999, 50_000), (3, 7)] {
            let (mut state, mut out, mut count) = ([0], [0], 0u64);
            let mut resampler = Resampler::new(Rates { from, to }, &mut state, &mut out).unwrap();
            let pushed = 3_000_000u64;
            for _ in 0..pushed {
                resampler.push(&[1], |_| count += 1);
            }
            let [from, to] = [from, to].map(u64::from);
            // Rising: the outputs from 0 to the last input. Falling: the steps that have passed.
            let expected = if to >= from {
                (pushed - 1) * to / from + 1
            } else {
                pushed * to / from
            };
            assert_eq!(count, expected, "{from} to {to}");
        }
    }
}
