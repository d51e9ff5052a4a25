//! The device's side on this machine: the same code, over TCP.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;

use anyhow::{Context, bail, ensure};
use embedded_storage::nor_flash::NorFlash;
use headstart::frontend::{FrontEnd, Signal};
use headstart::learner::WhenFull;
use headstart::store::{FileFlash, LogClass, SampleLog};
use headstart::wire::{self, Device, Input, Sensor, Server};
use headstart::{
    AutoHead, Encoder, EncoderPack, Head, Label, Learner, PackedEncoder, Samples, Statistics,
};
use serde_json::json;

use super::{Args, hex};
use crate::dataset::Dataset;
use crate::error::Outcome;
use crate::evaluate::space::{self, stored_counts};
use crate::files::{self, Aligned};

/// Of a log that is new.
const LOG_BYTES: u32 = 256 * 1024;
/// Samples that are kept in memory where there is no log.
const SAMPLES: usize = 4096;
/// Bytes of a picture that is sent: room for one of 640 by 480 in colour.
const PICTURE: usize = 640 * 480 * 3;

/// Recordings in place of a sensor.
struct Replay {
    counts: Vec<i16>,
    /// Where each window starts, in counts.
    starts: Vec<usize>,
    length: usize,
    next: usize,
}

impl Sensor for Replay {
    fn signal(&mut self) -> Option<Signal<'_>> {
        let start = *self.starts.get(self.next % self.starts.len().max(1))?;
        self.next += 1;
        let window = self.counts.get(start..start + self.length)?;
        Some(window.into())
    }
}

/// Listens, and serves one host after the other until Ctrl-C.
pub(super) fn run(args: &Args, path: &Path) -> Outcome {
    let bytes = Aligned::new(&files::read(path)?);
    let pack = EncoderPack::new(bytes.bytes());
    let pack = pack.with_context(|| format!("could not use the encoder {}", path.display()))?;
    let (dim, classes) = (pack.dim(), usize::from(args.classes));
    let sensor = match &args.replay {
        Some(data) => replay(data, &pack)?,
        None => Replay {
            counts: Vec::new(),
            starts: Vec::new(),
            length: 0,
            next: 0,
        },
    };
    let rank = pack.background().map_or(0, |b| b.rank);
    let mut arena = vec![0; pack.arena_bytes().div_ceil(4)];
    let mut words = vec![0; Statistics::gram_words(dim, classes)];
    let mut labels = vec![Label::new(); classes];
    let mut weights = vec![0.0; AutoHead::words(dim, classes, rank)];
    let mut embedding = vec![0; 2 * dim];
    let mut kept = vec![0; Samples::bytes(dim, SAMPLES)];
    let encoder: PackedEncoder<'_> =
        PackedEncoder::new(pack, &mut arena).context("could not use the encoder")?;
    let statistics = Statistics::with_gram(dim, pack.artefact(), &mut words, &mut labels)
        .context("could not set up the learner")?;
    let head = AutoHead::new(pack.background(), &mut weights);

    let mut known = vec![LogClass::NONE; classes];
    let mut buffer = vec![0; SampleLog::<FileFlash>::buffer_bytes(dim)];
    let log = match &args.log {
        Some(file) => {
            let (flash, size) = flash(file, args.log_bytes)?;
            let opened =
                SampleLog::open_rewritable(flash, 0..size, &statistics, &mut known, &mut buffer);
            Some(opened.with_context(|| format!("could not use the log {}", file.display()))?)
        }
        None => None,
    };
    let mut learner = Learner::new(encoder, statistics, head, &mut embedding)
        .context("could not set up the learner")?;
    let input = Input::of(&pack.frontend());
    let listener = TcpListener::bind(args.listen)
        .with_context(|| format!("could not listen on {}", args.listen))?;
    match log {
        Some(mut log) => {
            let restored = learner.restore_from(&mut log);
            restored.context("could not take over what is in the log")?;
            let device = Device::new(learner, input, sensor).with_log(log, WhenFull::Refuse);
            serve(args, &listener, &pack, device)?;
        }
        None => {
            let learner = learner.with_samples(Samples::new(dim, &mut kept));
            let learner = learner.context("could not set up the learner")?;
            serve(args, &listener, &pack, Device::new(learner, input, sensor))?;
        }
    }
    Ok(())
}

fn serve<E: Encoder, H: Head, F: NorFlash>(
    args: &Args,
    listener: &TcpListener,
    pack: &EncoderPack<'_>,
    mut device: Device<'_, E, H, Replay, F>,
) -> anyhow::Result<()> {
    let signal = match pack.frontend() {
        FrontEnd::Image(_) => PICTURE,
        other => 2 * other.input_len(),
    };
    let mut request = vec![0; wire::request_bytes(signal)];
    let mut reply = vec![0; wire::reply_bytes(pack.dim()).max(4096)];
    let mut server = Server::new(&mut request, &mut reply);
    let address = listener.local_addr().context("could not listen")?;
    let examples = device.learner.statistics().examples();
    match args.json {
        true => println!(
            "{}",
            json!({ "listening": address.to_string(), "encoder_sha256": hex(&pack.artefact()), "examples": examples })
        ),
        false => println!("listening on {address}"),
    }
    if !args.json {
        eprintln!(
            "headstart teach --port tcp:{address} talks to it, {examples} examples are learnt already; Ctrl-C ends it"
        );
    }
    for host in listener.incoming() {
        // One host that is lost is no reason not to wait for the next.
        if let Err(why) = host.and_then(|host| talk(host, &mut server, &mut device)) {
            eprintln!("a host was lost: {why}");
        }
    }
    Ok(())
}

/// Serves a host until it hangs up.
fn talk<E: Encoder, H: Head, F: NorFlash>(
    mut host: TcpStream,
    server: &mut Server<'_>,
    device: &mut Device<'_, E, H, Replay, F>,
) -> std::io::Result<()> {
    host.set_nodelay(true)?;
    let mut some = [0; 4096];
    loop {
        let count = host.read(&mut some)?;
        if count == 0 {
            return Ok(());
        }
        for &byte in &some[..count] {
            if let Some(reply) = server.push(byte, device) {
                host.write_all(reply)?;
            }
        }
    }
}

/// A file that stands for flash, and its size.
fn flash(path: &Path, asked: Option<u32>) -> anyhow::Result<(FileFlash, u32)> {
    let present = std::fs::metadata(path).map_or(0, |file| file.len());
    let present = u32::try_from(present).context("the log's file is larger than 4 GiB")?;
    let size = match (asked, present) {
        (Some(asked), 0) => asked,
        (Some(asked), present) if asked < present => bail!(
            "the log {} has {present} bytes already: --log-bytes can't be less",
            path.display()
        ),
        (Some(asked), _) => asked,
        (None, 0) => LOG_BYTES,
        (None, present) => present,
    };
    ensure!(
        size >= 3 * 4096 && size % 4096 == 0,
        "the log {} would have {size} bytes: a log is whole pages of 4096, three at least",
        path.display()
    );
    let flash = FileFlash::open(path, size);
    let flash = flash.with_context(|| format!("could not open the log {}", path.display()))?;
    Ok((flash, size))
}

fn replay(path: &Path, pack: &EncoderPack<'_>) -> anyhow::Result<Replay> {
    let sensor = pack.sensor().context(
        "--replay stands for a sensor, and this encoder takes pictures or sound: leave it out",
    )?;
    let data = Dataset::load(path)?;
    let input = space::Input {
        channels: sensor.channels,
        window: sensor.window,
        hop: sensor.hop,
        rate: sensor.rate_hz,
    };
    input.check(&data, path)?;
    let windows = data.windows(sensor.window, sensor.hop);
    ensure!(
        !windows.is_empty(),
        "no recording of {} is as long as a window, {} rows",
        path.display(),
        sensor.window
    );
    Ok(Replay {
        starts: windows.iter().map(|w| w.start * data.channels).collect(),
        counts: stored_counts(&data)?,
        length: sensor.len(),
        next: 0,
    })
}
