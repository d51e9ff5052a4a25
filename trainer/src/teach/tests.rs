use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::time::Duration;

use headstart::encoder::EmbedError;
use headstart::frontend;
use headstart::pack::Artefact;
use headstart::wire::{Device, Input, Receiver, Refusal, Request, Server, Signal};
use headstart::{Embedding, Encoder, Label, Learner, PrototypeHead, Samples, Statistics};

use super::client::{Client, ClientError};
use super::lesson::wilson;
use super::session::Command;

const DIM: usize = 4;

/// Takes a window of four counts as its raw embedding.
struct Plain;

impl Encoder for Plain {
    fn dim(&self) -> usize {
        DIM
    }

    fn input_len(&self) -> usize {
        DIM
    }

    fn artefact(&self) -> Artefact {
        [5; 32]
    }

    fn embed<'o>(
        &mut self,
        signal: frontend::Signal<'_>,
        out: &'o mut [i8],
    ) -> Result<Embedding<'o>, EmbedError> {
        let frontend::Signal::Samples(counts) = signal else {
            return Err(EmbedError::WrongSignal { takes: "samples" });
        };
        let raw = counts.iter().map(|&c| i32::from(c));
        Embedding::normalise(raw, &[0; DIM], out).map_err(EmbedError::Zero)
    }
}

/// A wire with something on its other end that takes bytes and gives some back.
struct Wire<F> {
    far: F,
    coming: VecDeque<u8>,
}

impl<F: FnMut(u8) -> Vec<u8>> Read for Wire<F> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let count = out.len().min(self.coming.len());
        for (place, byte) in out.iter_mut().zip(self.coming.drain(..count)) {
            *place = byte;
        }
        match count {
            0 => Err(io::ErrorKind::TimedOut.into()),
            count => Ok(count),
        }
    }
}

impl<F: FnMut(u8) -> Vec<u8>> Write for Wire<F> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for &byte in bytes {
            let back = (self.far)(byte);
            self.coming.extend(back);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn leak<T: Clone>(value: T, count: usize) -> &'static mut [T] {
    Vec::leak(vec![value; count])
}

/// A client of something else.
fn client(far: impl FnMut(u8) -> Vec<u8> + 'static) -> Client<'static> {
    let wire = Wire {
        far,
        coming: VecDeque::new(),
    };
    let timeout = Duration::from_millis(20);
    Client::new(Box::new(wire), "tcp:test", timeout, leak(0, 4096))
}

/// A client of a device whose every reply goes through `spoil`, with its number from 0 on.
fn taught(mut spoil: impl FnMut(usize, &mut Vec<u8>) + 'static) -> Client<'static> {
    let (words, labels) = (leak(0, Statistics::words(DIM, 3)), leak(Label::new(), 3));
    let statistics = Statistics::new(DIM, [5; 32], words, labels).expect("room");
    let head = PrototypeHead::new(None);
    let learner = Learner::new(Plain, statistics, head, leak(0, 2 * DIM)).expect("room");
    let samples = Samples::new(DIM, leak(0, Samples::bytes(DIM, 9)));
    let learner = learner.with_samples(samples).expect("none yet");
    let input = Input::Sensor {
        window: 1,
        channels: 4,
        hop: 1,
        rate_hz: 50.0,
    };
    let mut device = Device::new(learner, input, ());
    let mut server = Server::new(leak(0, 64), leak(0, 512));
    let mut count = 0;
    client(move |byte| {
        let mut reply = match server.push(byte, &mut device) {
            Some(reply) => reply.to_vec(),
            None => return Vec::new(),
        };
        spoil(count, &mut reply);
        count += 1;
        reply
    })
}

const ROW: Signal<'_> = Signal::Samples(&[100, 0, 0, 0, 0, 0, 0, 0]);
const LIFT: Signal<'_> = Signal::Samples(&[0, 0, 0, 0, 100, 0, 9, 0]);

#[test]
fn a_device_is_taught_and_asked() {
    let mut client = taught(|_, _| {});
    assert_eq!(client.hello().expect("it is there").artefact, [5; 32]);
    client.learn("row", ROW).expect("learnt");
    client.learn("lift", LIFT).expect("learnt");
    assert_eq!(client.predict(LIFT).expect("named").label, "lift");
    let classes = [("lift".to_owned(), 1), ("row".to_owned(), 1)];
    assert_eq!(client.classes().expect("two"), classes);
    let labels: Vec<String> = client
        .samples()
        .expect("two")
        .into_iter()
        .map(|s| s.label)
        .collect();
    assert_eq!(labels, ["lift", "row"]);
    let head = crate::head::Head::parse(&client.head().expect("a head")).expect("whole");
    assert_eq!(head.classes.len(), 2);
    client.change(&Request::Undo).expect("undone");
    let why = client
        .learn("a name that is too long", ROW)
        .expect_err("17 bytes");
    assert!(matches!(
        why,
        ClientError::Refused {
            why: Refusal::Label,
            ..
        }
    ));
    let forgotten = client.change(&Request::ForgetClass { label: "row" });
    forgotten.expect("forgotten");
    assert_eq!(client.classes().expect("none"), []);
}

#[test]
fn a_reply_that_is_lost_or_damaged_teaches_once() {
    // The second reply, to the first learn, and the fifth.
    let mut client = taught(|count, reply| match count {
        1 => reply.clear(),
        4 => reply[3] ^= 1,
        _ => {}
    });
    client.hello().expect("it is there");
    client.learn("row", ROW).expect("at the second try");
    let (_, examples) = client.learn("row", ROW).expect("at once");
    assert_eq!(examples, 2);
    let (_, examples) = client.learn("row", ROW).expect("at the second try");
    assert_eq!(examples, 3, "each was learnt once");
}

#[test]
fn a_request_that_is_damaged_is_sent_again() {
    // The far end of this client hears the first frame with a bit wrong.
    let mut heard = 0;
    let buffer = leak(0, 256);
    let mut receiver = Receiver::new(buffer);
    let mut client = client(move |byte| {
        heard += 1;
        let byte = if heard == 5 { byte ^ 0x40 } else { byte };
        let mut out = vec![0; 64];
        let length = match receiver.push(byte) {
            Ok(false) => None,
            Ok(true) => {
                let (number, _) = receiver.message::<Request<'_>>().expect("a request");
                headstart::wire::write(number, &headstart::wire::Reply::Done, &mut out)
            }
            Err(_) => {
                let why = Refusal::Damaged;
                let refused = headstart::wire::Reply::Refused { why, text: "" };
                headstart::wire::write(0, &refused, &mut out)
            }
        };
        out.truncate(length.unwrap_or(0));
        out
    });
    client.change(&Request::Undo).expect("at the second try");
}

#[test]
fn who_is_no_device_is_told_from_who_is_silent() {
    let silent = client(|_| Vec::new()).hello().expect_err("nobody");
    assert!(matches!(silent, ClientError::Silent { .. }), "{silent}");
    let chatty = client(|_| b"login: \n".to_vec())
        .hello()
        .expect_err("a shell");
    assert!(matches!(chatty, ClientError::Foreign { .. }), "{chatty}");
    // The same frame with another version, sealed again.
    let mut newer = client(|byte| match byte {
        0 => {
            let body = [2, 9, 3];
            let sum = crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC).checksum(&body);
            let mut frame = vec![8];
            frame.extend(body);
            frame.extend(sum.to_le_bytes());
            frame.push(0);
            assert!(!frame[..8].contains(&0), "COBS by hand");
            frame
        }
        _ => Vec::new(),
    });
    let newer = newer.hello().expect_err("a newer one");
    assert!(
        matches!(newer, ClientError::Version { found: 2 }),
        "{newer}"
    );
}

#[test]
fn a_device_that_goes_away_is_lost() {
    let mut client = taught(|count, reply| {
        if count > 0 {
            reply.clear();
        }
    });
    client.hello().expect("it is there");
    let lost = client.learn("row", ROW).expect_err("gone");
    assert!(matches!(lost, ClientError::Lost { .. }), "{lost}");
}

#[test]
fn lines_mean_what_help_says() {
    let parse = |line| Command::parse(line).expect("a command");
    let cases = [
        ("", Command::Nothing),
        ("  upright row ", Command::Learn("upright row")),
        ("learn undo", Command::Learn("undo")),
        ("?", Command::Ask),
        ("undo", Command::Undo),
        ("undo that", Command::Learn("undo that")),
        ("forget upright row", Command::Forget("upright row")),
        ("forget #7", Command::ForgetSample(7)),
        ("classes", Command::Classes),
        ("save my.head", Command::Save("my.head")),
        ("help", Command::Help),
        ("quit", Command::Quit),
    ];
    for (line, expected) in cases {
        assert_eq!(parse(line), expected, "{line}");
    }
    for line in ["forget", "save", "learn", "forget #x"] {
        assert!(Command::parse(line).is_err(), "{line}");
    }
}

/// Against the interval's definition: at its ends the proportion is 1.96 standard errors off.
#[test]
fn the_interval_of_a_proportion() {
    for (right, of) in [(0, 10), (1, 10), (45, 45), (33, 45), (300, 600)] {
        let (low, high) = wilson(right, of);
        let (n, p) = (of as f64, right as f64 / of as f64);
        let off = |end: f64| (p - end).abs() / (end * (1.0 - end) / n).sqrt();
        for end in [low, high] {
            let inside = end > 1e-12 && end < 1.0 - 1e-12;
            assert!(
                !inside || (off(end) - 1.959_964).abs() < 1e-6,
                "{right} of {of}"
            );
        }
        assert!(low < high && low <= p + 1e-12 && p <= high + 1e-12);
    }
}
