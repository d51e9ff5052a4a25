//! A device's log, from an image of its flash: opened in memory with the code that the device boots with.
//!
//! Pages say of themselves how long embeddings are and which encoder file they come from, and how far they
//! lie apart says how long they are. What the flash can write, to which slots are rounded up, stands
//! nowhere: it is tried, as a wrong one leaves no slot whole.

use anyhow::{Context, anyhow};
use embedded_storage::nor_flash::{
    ErrorType, MultiwriteNorFlash, NorFlash, NorFlashErrorKind, ReadNorFlash, check_erase,
    check_read, check_write,
};
use headstart::store::{Header, LogClass, MAGIC, SampleLog, StoreError, VERSION};
use headstart::{Label, Statistics};

use crate::error::Failure;

/// The page of a file on Linux, and of most flash.
const USUAL_PAGE: usize = 4096;
/// As long as pages get. Each is filled up to this, as a blank end changes nothing: so one type of flash
/// serves all lengths.
const LONGEST: usize = 256 * 1024;
/// Pages of a log.
const PAGES: std::ops::RangeInclusive<usize> = 3..=128;
/// Of a slot, 2 bytes say which class: no log has more.
const CLASSES: usize = 1 << 16;

/// What is in a log.
#[derive(Debug)]
pub struct Log {
    /// Bytes of a page.
    pub page_bytes: usize,
    /// Slots that could not be read.
    pub damaged: u32,
    /// Number, label and embedding of each sample, in the order of numbers.
    pub samples: Vec<(u32, Label, Vec<i8>)>,
    /// The statistics as the device saves them.
    pub head: Vec<u8>,
}

/// Reads a log; `gram` is the tier of the statistics. `page_bytes` is taken from the image where it is
/// not given.
///
/// # Errors
/// It is no log, cut short, or empty. Where the page's length can't be told the call is wrong.
pub fn read(image: &[u8], page_bytes: Option<usize>, gram: bool) -> Result<Log, Failure> {
    let (first, page) = pages(image, page_bytes)?;
    let mut filled = vec![0xff; image.len() / page * LONGEST];
    for (page, filled) in image.chunks(page).zip(filled.chunks_mut(LONGEST)) {
        filled[..page.len()].copy_from_slice(page);
    }
    let (mut best, mut tried) = (None::<Log>, Vec::new());
    macro_rules! attempt {
        ($($write:literal)+) => {$(
            let (slot, header) = slots::<$write>(first.dim.into());
            if !tried.contains(&(slot, header)) {
                tried.push((slot, header));
                let log = open(Image::<$write>(filled.clone()), first, page, gram);
                let log = log.context("the log can't be opened")?;
                if best.as_ref().is_none_or(|best| best.samples.len() < log.samples.len()) {
                    best = Some(log);
                }
            }
        )+};
    }
    attempt!(1 2 4 8 16 32 64 128 256);
    match best {
        Some(log) if !log.samples.is_empty() => Ok(log),
        Some(Log { damaged: 0, .. }) | None => Err(anyhow!("the log is empty").into()),
        Some(_) => Err(anyhow!(
            "the log's pages are there (of {page} bytes), but no sample in them can be read"
        )
        .into()),
    }
}

/// The header of a page, and how long pages are.
fn pages(image: &[u8], asked: Option<usize>) -> Result<(Header, usize), Failure> {
    let header = |at: &usize| Header::parse(&image[*at..]);
    let begins = |at: &usize| image[*at..].starts_with(&MAGIC);
    let starts: Vec<usize> = (0..image.len())
        .filter(|at| begins(at) && header(at).is_some())
        .collect();
    let first = starts.first().and_then(header);
    let first = first.ok_or_else(|| anyhow!("there is no whole page of a log in it"))?;
    let (found, image_bytes) = (first.version, image.len());
    if !(1..=VERSION).contains(&found) {
        return Err(anyhow!("log version {found}, this program reads 1 to {VERSION}").into());
    }
    let own = |at| header(at).is_some_and(|h| (h.artefact, h.dim) == (first.artefact, first.dim));
    if first.dim == 0 || !starts.iter().all(own) {
        let text = "there are pages of more than one log in it: cut it to the range of one";
        return Err(anyhow!(text).into());
    }
    let apart = starts.windows(2).map(|pair| pair[1] - pair[0]).min();
    let page = match (asked, apart) {
        (Some(page), _) => page,
        (None, Some(page)) => page,
        // Of a single page the length does not matter, as long as there is nothing behind it.
        (None, None) => {
            let end = image.iter().rposition(|&b| b != 0xff).unwrap_or(0);
            let usual = starts[0].is_multiple_of(USUAL_PAGE) && end < starts[0] + USUAL_PAGE;
            if !usual || !image.len().is_multiple_of(USUAL_PAGE) {
                let text = "one page of the log is in use, and how long it is can't be told from that: give \
                            --page-bytes, what the flash erases at once";
                return Err(Failure::Usage(text.into()));
            }
            USUAL_PAGE
        }
    };
    let fits = |at: &usize| at.is_multiple_of(page);
    let whole = page > 0 && image_bytes.is_multiple_of(page) && starts.iter().all(fits);
    let possible = whole && page <= LONGEST && PAGES.contains(&(image_bytes / page));
    if !possible {
        let text = format!(
            "{image_bytes} bytes are no log with pages of {page}: a log is {} to {} whole pages of at most {LONGEST} bytes, \
             and the image is its range of the flash alone",
            PAGES.start(),
            PAGES.end()
        );
        return Err(match asked {
            Some(_) => Failure::Usage(format!("--page-bytes: {text}")),
            None => anyhow!(text).into(),
        });
    }
    Ok((first, page))
}

/// Bytes of a slot and of a page's header.
fn slots<const WRITE: usize>(dim: usize) -> (usize, usize) {
    type Log<const WRITE: usize> = SampleLog<'static, Image<WRITE>>;
    (
        Log::<WRITE>::sample_bytes(dim),
        Log::<WRITE>::header_bytes(),
    )
}

/// What a device does at boot.
fn open<const WRITE: usize>(
    flash: Image<WRITE>,
    header: Header,
    page_bytes: usize,
    gram: bool,
) -> anyhow::Result<Log> {
    let (dim, range) = (usize::from(header.dim), 0..flash.0.len() as u32);
    let mut classes = vec![LogClass::NONE; CLASSES];
    let mut buffer = vec![0; SampleLog::<Image<WRITE>>::buffer_bytes(dim)];
    let bound = Statistics::new(dim, header.artefact, &mut [], &mut [])?;
    let mut log = SampleLog::open_rewritable(flash, range, &bound, &mut classes, &mut buffer)?;
    let damaged = log.found().damaged;

    let mut samples = Vec::new();
    log.for_each(|id, label, e| {
        let label = Label::try_from(label).unwrap_or_default();
        samples.push((id.0, label, e.values().to_vec()));
    })?;
    samples.sort_by_key(|sample| sample.0);

    let mut labels = vec![Label::new(); log.classes().count()];
    let count = labels.len();
    let (words, size) = match gram {
        true => (
            Statistics::gram_words(dim, count),
            Statistics::gram_snapshot_bytes(dim, count),
        ),
        false => (
            Statistics::words(dim, count),
            Statistics::snapshot_bytes(dim, count),
        ),
    };
    let mut words = vec![0; words];
    let mut statistics = match gram {
        true => Statistics::with_gram(dim, header.artefact, &mut words, &mut labels)?,
        false => Statistics::new(dim, header.artefact, &mut words, &mut labels)?,
    };
    match log.restore(&mut statistics) {
        Err(StoreError::Full) => Err(anyhow!(
            "there are more samples than second moments can take: export with --means"
        )),
        restored => restored.map_err(anyhow::Error::from),
    }?;
    let mut head = vec![0; size];
    let length = statistics.save(&mut head)?;
    head.truncate(length);
    Ok(Log {
        page_bytes,
        damaged,
        samples,
        head,
    })
}

/// A copy of the flash, in memory: what opening ends and erases changes nothing elsewhere.
struct Image<const WRITE: usize, const PAGE: usize = LONGEST>(Vec<u8>);

impl<const WRITE: usize, const PAGE: usize> ErrorType for Image<WRITE, PAGE> {
    type Error = NorFlashErrorKind;
}

impl<const WRITE: usize, const PAGE: usize> ReadNorFlash for Image<WRITE, PAGE> {
    const READ_SIZE: usize = 1;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), NorFlashErrorKind> {
        check_read(self, offset, bytes.len())?;
        bytes.copy_from_slice(&self.0[offset as usize..][..bytes.len()]);
        Ok(())
    }

    fn capacity(&self) -> usize {
        self.0.len()
    }
}

impl<const WRITE: usize, const PAGE: usize> NorFlash for Image<WRITE, PAGE> {
    const WRITE_SIZE: usize = WRITE;
    const ERASE_SIZE: usize = PAGE;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), NorFlashErrorKind> {
        check_erase(self, from, to)?;
        self.0[from as usize..to as usize].fill(0xff);
        Ok(())
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), NorFlashErrorKind> {
        check_write(self, offset, bytes.len())?;
        self.0[offset as usize..][..bytes.len()].copy_from_slice(bytes);
        Ok(())
    }
}

impl<const WRITE: usize, const PAGE: usize> MultiwriteNorFlash for Image<WRITE, PAGE> {}

#[cfg(test)]
mod tests {
    use headstart::{Embedding, SampleId};

    use super::super::Head;
    use super::*;

    /// Of which slots come out longer the more the flash writes at once.
    const D: usize = 21;
    const ARTEFACT: [u8; 32] = [7; 32];

    /// What is done with a log, in memory for five classes.
    fn with<const WRITE: usize, const PAGE: usize, T>(
        bytes: Vec<u8>,
        rewritable: bool,
        act: impl FnOnce(&mut SampleLog<'_, Image<WRITE, PAGE>>, &mut Statistics<'_>) -> T,
    ) -> (Vec<u8>, T) {
        let mut words = [0; Statistics::gram_words(D, 5)];
        let mut labels = [const { Label::new() }; 5];
        let statistics = Statistics::with_gram(D, ARTEFACT, &mut words, &mut labels);
        let mut statistics = statistics.expect("there is room");
        let mut classes = [LogClass::NONE; 5];
        let mut buffer = vec![0; SampleLog::<Image<WRITE, PAGE>>::buffer_bytes(D)];
        let (range, flash) = (0..bytes.len() as u32, Image(bytes));
        let (classes, buffer) = (&mut classes[..], &mut buffer[..]);
        let log = match rewritable {
            true => SampleLog::open_rewritable(flash, range, &statistics, classes, buffer),
            false => SampleLog::open(flash, range, &statistics, classes, buffer),
        };
        let mut log = log.expect("a log");
        let done = act(&mut log, &mut statistics);
        (log.into_flash().0, done)
    }

    fn learn<const WRITE: usize, const PAGE: usize>(
        log: &mut SampleLog<'_, Image<WRITE, PAGE>>,
        samples: std::ops::Range<usize>,
    ) {
        for i in samples {
            let values: [i8; D] = std::array::from_fn(|k| (i * 7 + k * 13) as i8 | 1);
            let e = Embedding::new(&values).expect("not zero");
            let label = ["row", "curl", "fly"][i % 3];
            log.learn(label, e).expect("there is room");
        }
    }

    /// What a device restores when it boots, as it saves it.
    fn boot<const WRITE: usize, const PAGE: usize>(
        image: &[u8],
        rewritable: bool,
    ) -> (u32, Vec<u8>) {
        let boot = |log: &mut SampleLog<'_, Image<WRITE, PAGE>>, own: &mut Statistics<'_>| {
            log.restore(own).expect("restored");
            let mut out = vec![0; Statistics::gram_snapshot_bytes(D, 5)];
            let length = own.save(&mut out).expect("it is long enough");
            out.truncate(length);
            (log.len(), out)
        };
        with::<WRITE, PAGE, _>(image.to_vec(), rewritable, boot).1
    }

    fn device<const WRITE: usize, const PAGE: usize>(rewritable: bool) {
        // A page and a half.
        let many = 3 * PAGE / (2 * SampleLog::<Image<WRITE, PAGE>>::sample_bytes(D));
        let blank = vec![0xff; 6 * PAGE];
        let (image, _) = with::<WRITE, PAGE, _>(blank, rewritable, |log, statistics| {
            learn(log, 0..many);
            // Names have numbers, too: this is the second sample.
            log.forget(SampleId(4)).expect("forgotten");
            log.restore(statistics).expect("restored");
            log.snapshot(statistics).expect("there is room");
            learn(log, many..many + 5);
        });
        let (samples, head) = boot::<WRITE, PAGE>(&image, rewritable);
        let log = read(&image, None, true).expect("a log");
        assert_eq!(log.page_bytes, PAGE, "writes {WRITE}");
        assert_eq!(log.samples.len(), samples as usize, "writes {WRITE}");
        assert!(log.samples.iter().all(|sample| sample.0 != 4));
        assert_eq!((log.damaged, &log.head), (0, &head), "writes {WRITE}");
        assert_eq!(read(&image, Some(PAGE), true).expect("a log").head, head);
    }

    #[test]
    fn an_image_of_any_flash_is_what_the_device_restores() {
        device::<1, 2048>(true);
        device::<4, 4096>(true);
        device::<4, 4096>(false);
        device::<8, 2048>(false);
        device::<32, 8192>(false);
        device::<32, 131_072>(true);
        device::<256, 4096>(true);
    }

    #[test]
    fn a_sample_cut_off_while_it_was_written_is_left_out() {
        let blank = vec![0xff; 3 * 4096];
        let (whole, ()) = with::<4, 4096, _>(blank, true, |log, _| learn(log, 0..9));
        let end = whole.iter().rposition(|&b| b != 0xff).expect("written");
        let mut cut = whole.clone();
        cut[end - 9..=end].fill(0xff);
        let [all, less] = [&whole, &cut].map(|image| read(image, None, true).expect("a log"));
        assert_eq!((all.samples.len(), all.damaged), (9, 0));
        assert_eq!((less.samples.len(), less.damaged), (8, 1));
        assert_eq!(less.samples[..], all.samples[..8]);
        assert_eq!(less.head, boot::<4, 4096>(&cut, true).1);
    }

    #[test]
    fn where_the_page_can_not_be_told_it_is_asked_for() {
        let blank = vec![0xff; 4 * 8192];
        let (image, ()) = with::<4, 8192, _>(blank, true, |log, _| learn(log, 0..150));
        let refused = read(&image, None, true).expect_err("one page of 8,192 is in use");
        assert!(refused.to_string().contains("--page-bytes"), "{refused}");
        assert_eq!(refused.exit_code(), 2);
        let log = read(&image, Some(8192), true).expect("a log");
        assert_eq!(log.samples.len(), 150);
        for wrong in [0, 100, 4, 5000, 1 << 20] {
            let refused = read(&image, Some(wrong), true).expect_err("no log has such pages");
            assert_eq!(refused.exit_code(), 2, "{wrong}: {refused}");
        }
    }

    #[test]
    fn what_is_no_log_is_said_to_be_none() {
        let (image, ()) =
            with::<4, 4096, _>(vec![0xff; 3 * 4096], true, |log, _| learn(log, 0..200));
        let why = |image: &[u8]| read(image, None, true).expect_err("no log").to_string();
        assert!(why(&[]).contains("no whole page"));
        assert!(why(&[0xff; 4096]).contains("no whole page"));
        assert!(why(&image[..2 * 4096]).contains("3 to 128 whole pages"));
        assert!(why(&[&[0xff; 64], &image[..]].concat()).contains("range of the flash alone"));
        let mut two = image.clone();
        let (other, ()) = with::<4, 4096, _>(vec![0xff; 3 * 4096], true, |_, _| ());
        two[2 * 4096..].copy_from_slice(&other[..4096]);
        two[2 * 4096 + 20] ^= 1;
        let crc = crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC).checksum(&two[2 * 4096..][..60]);
        two[2 * 4096 + 60..][..4].copy_from_slice(&crc.to_le_bytes());
        assert!(why(&two).contains("more than one log"));
        let (empty, ()) = with::<4, 4096, _>(vec![0xff; 3 * 4096], true, |_, _| ());
        assert_eq!(why(&empty), "the log is empty");
        let mut spoilt = empty.clone();
        spoilt[64..1000].fill(0x55);
        assert!(why(&spoilt).contains("no sample in them can be read"));
    }

    /// Any byte of an image may be anything: a log is read, or refused.
    #[test]
    fn damage_is_read_around() {
        let (image, ()) =
            with::<4, 4096, _>(vec![0xff; 3 * 4096], true, |log, _| learn(log, 0..150));
        let whole = read(&image, None, true).expect("a log").samples;
        for at in (0..2 * 4096).step_by(101) {
            let mut damaged = image.clone();
            damaged[at] ^= 1 << (at % 8);
            if let Ok(log) = read(&damaged, Some(4096), true) {
                let known = log.samples.iter().all(|sample| whole.contains(sample));
                assert!(known, "byte {at}");
                Head::parse(&log.head).expect("a head");
            }
        }
    }
}
