//! Which things can be read, before hours are spent on them.

use std::collections::BTreeMap;

use anyhow::anyhow;
use rayon::prelude::*;

use super::wav::WavError;
use super::{Items, Source};
use crate::on_error::{OnError, Skipped};

impl Items {
    /// Reads every thing once, on all processors, and says which can be read. Clips of another rate
    /// than the encoder's can't: they are left to a tool that resamples well.
    ///
    /// # Errors
    /// With [`OnError::Stop`] where any can't be read, else where none can: how many, the first
    /// and why, and which rates there are among clips of a wrong one.
    pub fn readable(&self, on_error: OnError) -> anyhow::Result<(Vec<usize>, Skipped)> {
        let fault = |i: usize| {
            self.get(i, None)
                .and_then(|thing| thing.signal().map(|_| ()))
                .err()
        };
        let faults: Vec<Option<anyhow::Error>> =
            (0..self.len()).into_par_iter().map(fault).collect();
        let good = |(i, fault): (usize, &Option<anyhow::Error>)| fault.is_none().then_some(i);
        let readable: Vec<usize> = faults.iter().enumerate().filter_map(good).collect();
        let faults: Vec<anyhow::Error> = faults.into_iter().flatten().collect();
        let first = faults
            .first()
            .map(|fault| format!("{fault:#}{}", rates(&faults)));
        let what = match self.source {
            Source::Images(_) => "pictures",
            Source::Clips(_) => "clips",
        };
        let skipped = Skipped::new(what, faults.len(), self.len(), first.clone());
        match first {
            Some(first) if on_error == OnError::Stop || readable.is_empty() => Err(anyhow!(
                "{} of {} {what} can't be read; the first: {first}",
                faults.len(),
                self.len()
            )),
            _ => Ok((readable, skipped)),
        }
    }
}

/// How many clips there are of each rate that is not the encoder's: most often all are of one kind,
/// and are to be converted at once.
fn rates(faults: &[anyhow::Error]) -> String {
    let mut rates: BTreeMap<u32, usize> = BTreeMap::new();
    for fault in faults {
        if let Some(WavError::Format { found, rate }) = fault.downcast_ref()
            && found.sample_rate != *rate
        {
            *rates.entry(found.sample_rate).or_default() += 1;
        }
    }
    let rates: Vec<String> = rates
        .iter()
        .map(|(hz, n)| format!("{n} at {hz} Hz"))
        .collect();
    match rates.is_empty() {
        true => String::new(),
        false => format!("; of another rate in all: {}", rates.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::Wanted;
    use super::*;

    const PICTURES: Wanted = Wanted::Pictures {
        height: 8,
        width: 8,
    };
    const SOUND: Wanted = Wanted::Sound {
        rate: 16_000,
        samples: 100,
    };

    fn pictures(folder: &Path, count: usize) {
        for i in 0..count {
            let path = folder.join(format!("{i:05}.png"));
            image::save_buffer(path, &[i as u8; 12], 2, 2, image::ColorType::Rgb8)
                .expect("a picture");
        }
    }

    fn items(folder: &Path, wanted: Wanted) -> Items {
        Items::unlabelled(folder, wanted, usize::MAX).expect("items")
    }

    #[test]
    fn one_damaged_picture_of_many_is_named_or_left_out() {
        let folder = tempfile::tempdir().expect("folder");
        pictures(folder.path(), 1000);
        std::fs::write(folder.path().join("00500.png"), b"\x89PNG\r\n\x1a\nno more").expect("file");
        let items = items(folder.path(), PICTURES);
        let fault = items
            .readable(OnError::Stop)
            .expect_err("one is damaged")
            .to_string();
        assert!(
            fault.contains("1 of 1000 pictures can't be read") && fault.contains("00500.png"),
            "{fault}"
        );
        let (readable, skipped) = items.readable(OnError::Skip).expect("the others");
        assert_eq!(
            (readable.len(), readable[499], readable[500]),
            (999, 499, 501)
        );
        let text = skipped.to_string();
        assert!(
            text.starts_with("skipped 1 of 1,000 pictures; the first: ")
                && text.contains("00500.png"),
            "{text}"
        );
    }

    #[test]
    fn two_pictures_are_two_pictures() {
        let folder = tempfile::tempdir().expect("folder");
        let empty = Items::unlabelled(folder.path(), PICTURES, 9).map(|_| ());
        assert!(
            empty
                .expect_err("nothing there")
                .to_string()
                .contains("no PNG or JPEG file")
        );
        pictures(folder.path(), 2);
        let (readable, skipped) = items(folder.path(), PICTURES)
            .readable(OnError::Stop)
            .expect("both");
        assert_eq!(
            (readable, skipped.count(), skipped.first()),
            (vec![0, 1], 0, None)
        );
        for name in ["00000.png", "00001.png"] {
            std::fs::write(folder.path().join(name), b"").expect("file");
        }
        let fault = items(folder.path(), PICTURES)
            .readable(OnError::Skip)
            .expect_err("none is left");
        assert!(fault.to_string().starts_with("2 of 2 pictures"), "{fault}");
    }

    #[test]
    fn rates_are_counted() {
        let folder = tempfile::tempdir().expect("folder");
        for (i, (sample_rate, channels)) in [
            (16_000, 1),
            (44_100, 1),
            (8000, 1),
            (44_100, 2),
            (16_000, 2),
        ]
        .into_iter()
        .enumerate()
        {
            let spec = hound::WavSpec {
                channels,
                sample_rate,
                bits_per_sample: 16,
                sample_format: hound::SampleFormat::Int,
            };
            let path = folder.path().join(format!("{i}.wav"));
            let mut wav = hound::WavWriter::create(path, spec).expect("header");
            (0..10 * channels).for_each(|v| wav.write_sample(v as i16).expect("sample"));
            wav.finalize().expect("length");
        }
        let items = items(folder.path(), SOUND);
        let fault = items
            .readable(OnError::Stop)
            .expect_err("four are of other kinds")
            .to_string();
        for part in [
            "4 of 5 clips",
            "1.wav",
            "ffmpeg",
            "of another rate in all: 1 at 8000 Hz, 2 at 44100 Hz",
        ] {
            assert!(fault.contains(part), "{fault}");
        }
        let (readable, skipped) = items.readable(OnError::Skip).expect("the first");
        assert_eq!((readable, skipped.count()), (vec![0], 4));
    }
}
