use std::string::{String, ToString};
use std::vec;
use std::vec::Vec;

use super::*;
use crate::encoder::plain::{DIM, Plain};
use crate::frontend;
use crate::learner::WhenFull;
use crate::store::{LogClass, RamFlash, SampleLog};
use crate::{AutoHead, Label, Learner, PrototypeHead, Samples, Statistics};

const INPUT: Input = Input::Sensor {
    window: 1,
    channels: 3,
    hop: 1,
    rate_hz: 50.0,
};

/// Sees one thing, until it is taken away.
struct Eye(Option<[i16; DIM]>);

impl Sensor for Eye {
    fn signal(&mut self) -> Option<frontend::Signal<'_>> {
        self.0.as_ref().map(Into::into)
    }
}

fn framed(number: u32, request: &Request<'_>) -> Vec<u8> {
    let mut wire = vec![0; 256];
    let length = write(number, request, &mut wire).unwrap();
    wire.truncate(length);
    wire
}

/// The messages of some frames.
fn read<R>(wire: &[u8], mut each: impl FnMut(u32, Reply<'_>) -> R) -> Vec<R> {
    let mut buffer = [0; 1024];
    let mut receiver = Receiver::new(&mut buffer);
    let mut seen = Vec::new();
    for &byte in wire {
        if receiver.push(byte).unwrap() {
            let (number, reply) = receiver.message().unwrap();
            seen.push(each(number, reply));
        }
    }
    seen
}

fn bytes(counts: [i16; DIM]) -> Vec<u8> {
    counts.iter().flat_map(|c| c.to_le_bytes()).collect()
}

/// A device with a means-tier learner and without a log.
fn with_device(
    eye: Eye,
    run: impl FnOnce(&mut dyn FnMut(&[u8]) -> Vec<u8>, &mut dyn FnMut() -> Vec<u8>),
) {
    let mut words = [0; Statistics::words(DIM, 2)];
    let mut labels = [const { Label::new() }; 2];
    let statistics = Statistics::new(DIM, [3; 32], &mut words, &mut labels).unwrap();
    let mut embedding = [0; 2 * DIM];
    let learner = Learner::new(Plain, statistics, PrototypeHead::new(None), &mut embedding);
    let device = core::cell::RefCell::new(Device::new(learner.unwrap(), INPUT, eye));
    let (mut request, mut reply) = ([0; request_bytes(2 * DIM)], [0; reply_bytes(DIM)]);
    let mut server = Server::new(&mut request, &mut reply);
    let mut ask = |wire: &[u8]| {
        let mut device = device.borrow_mut();
        let replies = wire.iter().filter_map(|&byte| {
            let reply = server.push(byte, &mut device);
            reply.map(<[u8]>::to_vec)
        });
        replies.flatten().collect()
    };
    let mut saved = || {
        let mut out = vec![0; 256];
        let device = device.borrow();
        let length = device.learner.statistics().save(&mut out).unwrap();
        out.truncate(length);
        out
    };
    run(&mut ask, &mut saved);
}

fn learn<'a>(label: &'a str, bytes: &'a [u8]) -> Request<'a> {
    Request::Learn {
        label,
        signal: Signal::Samples(bytes),
    }
}

fn kinds(wire: &[u8]) -> Vec<(u32, String)> {
    let text = |reply: Reply<'_>| match reply {
        Reply::Refused { why, text } => std::format!("{why:?}: {text}"),
        Reply::Learnt { id, examples } => std::format!("learnt {id:?}, {examples}"),
        Reply::Prediction { label, .. } => label.to_string(),
        Reply::Class { label, examples } => std::format!("{label} {examples}"),
        Reply::Sample { id, label, values } => std::format!("{id} {label} {values:?}"),
        other => std::format!("{other:?}"),
    };
    read(wire, |number, reply| (number, text(reply)))
}

#[test]
fn a_request_that_comes_again_is_answered_again_and_not_done_again() {
    with_device(Eye(None), |ask, saved| {
        let right = bytes([100, 0, 0]);
        let once = ask(&framed(9, &learn("right", &right)));
        let state = saved();
        // What can't be read in between must not take the reply's place.
        let noise = ask(b"\x03garbage\0");
        assert_eq!(kinds(&noise), [(0, "Damaged: ".into())]);
        assert_eq!(ask(&framed(9, &learn("right", &right))), once);
        assert_eq!(saved(), state);
        let twice = ask(&framed(10, &learn("right", &right)));
        assert_eq!(kinds(&twice), [(10, "learnt None, 2".into())]);
    });
}

#[test]
fn learns_and_predicts_wherever_the_bytes_lie() {
    with_device(Eye(Some([0, 0, 100])), |ask, _| {
        // Names of odd and even length move the counts by a byte.
        for label in ["a", "bb", "a", "bb"] {
            let counts = if label == "a" {
                bytes([100, 5, 0])
            } else {
                bytes([0, 100, 9])
            };
            ask(&framed(label.len() as u32, &learn(label, &counts)));
        }
        let own = ask(&framed(5, &Request::Predict(Signal::Own)));
        assert_eq!(kinds(&own), [(5, "bb".into())]);
        let odd = [1; 5];
        let odd = ask(&framed(6, &Request::Predict(Signal::Samples(&odd))));
        assert_eq!(kinds(&odd), [(6, "Signal: ".into())]);
    });
}

#[test]
fn refusals_say_why() {
    with_device(Eye(None), |ask, saved| {
        let counts = bytes([100, 5, 0]);
        let empty = saved();
        let long = "a name that is too long";
        let image = Signal::Image {
            height: 1,
            width: 1,
            channels: 1,
            pixels: &[7],
        };
        let cases = [
            (Request::Predict(Signal::Own), "NothingSeen: "),
            (
                Request::Predict(Signal::Samples(&counts)),
                "NothingLearnt: nothing was learnt yet",
            ),
            (learn("", &counts), "Label: a class name has 1 to 16 bytes"),
            (
                learn("of", &[0; 6]),
                "Signal: the embedding is zero: the input carries no signal (is the sensor on?)",
            ),
            (Request::Forget { id: 1 }, "NotKept: "),
            (Request::Sample { from: 0 }, "NotKept: "),
            (Request::Class { index: 0 }, "NotFound: "),
            (
                Request::ForgetClass { label: "x" },
                "NotFound: no class of that name was learnt",
            ),
            (
                Request::Learn {
                    label: "x",
                    signal: image,
                },
                "Signal: the encoder takes samples",
            ),
        ];
        for (number, (request, expected)) in (1..).zip(cases) {
            let wire = ask(&framed(number, &request));
            assert_eq!(kinds(&wire), [(number, expected.into())], "{request:?}");
        }
        assert_eq!(
            kinds(&ask(&framed(20, &learn(long, &counts))))[0].1,
            "Label: a class name has 1 to 16 bytes"
        );
        let too_long = ask(&framed(21, &learn("x", &[1; 64])));
        assert_eq!(kinds(&too_long), [(0, "TooLong: ".into())]);
        assert_eq!(saved(), empty);
    });
}

#[test]
fn other_versions_and_other_messages_are_told_apart() {
    with_device(Eye(None), |ask, _| {
        // COBS by hand: no zero is in here.
        let frame = |body: &[u8]| {
            let sum = crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC).checksum(body);
            let body = [body, &sum.to_le_bytes()].concat();
            let mut wire = Vec::new();
            for part in body.split(|&b| b == 0) {
                wire.push(part.len() as u8 + 1);
                wire.extend_from_slice(part);
            }
            wire.push(0);
            wire
        };
        assert_eq!(
            kinds(&ask(&frame(&[1, 7, 3])))[0].1,
            "NothingToUndo: there is no label to undo: one was undone or changed since, or the embedding's buffer is not 2 D long"
        );
        assert_eq!(kinds(&ask(&frame(&[2, 8, 3]))), [(0, "Version: ".into())]);
        assert_eq!(kinds(&ask(&frame(&[1, 9, 77]))), [(0, "Unknown: ".into())]);
        // A message with something behind it.
        assert_eq!(
            kinds(&ask(&frame(&[1, 9, 3, 5]))),
            [(0, "Unknown: ".into())]
        );
        assert!(ask(&[0, 0, 0]).is_empty());
    });
}

#[test]
fn a_snapshot_goes_over_in_pieces() {
    with_device(Eye(None), |ask, saved| {
        ask(&framed(1, &learn("a", &bytes([100, 5, 0]))));
        ask(&framed(2, &learn("b", &bytes([5, 0, 100]))));
        let mut head = Vec::new();
        for number in 3.. {
            let at = head.len() as u32;
            let wire = ask(&framed(number, &Request::Head { at }));
            let length = read(&wire, |_, reply| match reply {
                Reply::Head { length, bytes } => {
                    assert!(!bytes.is_empty());
                    head.extend_from_slice(bytes);
                    length as usize
                }
                other => panic!("{other:?}"),
            });
            if head.len() >= length[0] {
                assert!(number > 3, "it should take more than one piece");
                break;
            }
        }
        assert_eq!(head, saved());
    });
}

/// A device in the gram tier with a log; the head wants no samples.
#[test]
fn with_a_log_samples_have_numbers_and_what_is_forgotten_is_gone() {
    let mut words = [0; Statistics::gram_words(DIM, 3)];
    let mut labels = [const { Label::new() }; 3];
    let statistics = Statistics::with_gram(DIM, [3; 32], &mut words, &mut labels).unwrap();
    let (mut classes, mut flash) = ([LogClass::NONE; 3], [0xff; 4096]);
    let mut buffer = [0; SampleLog::<RamFlash<'_>>::buffer_bytes(DIM)];
    let flash = RamFlash(&mut flash);
    let log =
        SampleLog::open_rewritable(flash, 0..4096, &statistics, &mut classes, &mut buffer).unwrap();
    let mut weights = [0.0; AutoHead::words(DIM, 3, 0)];
    let head = AutoHead::new(None, &mut weights);
    let mut embedding = [0; DIM];
    let learner = Learner::new(Plain, statistics, head, &mut embedding).unwrap();
    let mut device = Device::new(learner, INPUT, ()).with_log(log, WhenFull::Refuse);
    let (mut request, mut reply) = ([0; request_bytes(2 * DIM)], [0; reply_bytes(DIM)]);
    let mut server = Server::new(&mut request, &mut reply);
    let mut number = 0;
    let mut ask = |request: &Request<'_>| {
        number += 1;
        let mut replies = Vec::new();
        for &byte in &framed(number, request) {
            replies.extend(server.push(byte, &mut device).unwrap_or(&[]));
        }
        kinds(&replies).remove(0).1
    };
    let [a, b] = [bytes([127, 0, 0]), bytes([0, 127, 0])];
    // A name takes a number of the log's, too.
    assert_eq!(ask(&learn("a", &a)), "learnt Some(2), 1");
    assert_eq!(ask(&learn("a", &b)), "learnt Some(3), 2");
    assert_eq!(ask(&learn("b", &b)), "learnt Some(5), 1");
    assert_eq!(ask(&learn("b", &a)), "learnt Some(6), 2");
    assert_eq!(ask(&Request::Undo), "Done");
    assert!(ask(&Request::Undo).starts_with("NothingToUndo"));
    assert_eq!(ask(&Request::Sample { from: 0 }), "2 a [127, 0, 0]");
    assert_eq!(ask(&Request::Sample { from: 4 }), "5 b [0, 127, 0]");
    assert_eq!(ask(&Request::Sample { from: 6 }), "NotFound: ");
    assert_eq!(ask(&Request::Forget { id: 2 }), "Done");
    assert!(ask(&Request::Forget { id: 2 }).starts_with("NotFound"));
    assert_eq!(ask(&Request::Class { index: 0 }), "a 1");
    assert_eq!(ask(&Request::ForgetClass { label: "a" }), "Done");
    assert_eq!(ask(&Request::Class { index: 0 }), "b 1");
    assert_eq!(ask(&Request::Sample { from: 0 }), "5 b [0, 127, 0]");
    assert!(ask(&Request::Hello).contains("samples: Some(1)"));
}

#[test]
fn samples_in_memory_go_over_too() {
    let mut words = [0; Statistics::words(DIM, 2)];
    let mut labels = [const { Label::new() }; 2];
    let statistics = Statistics::new(DIM, [3; 32], &mut words, &mut labels).unwrap();
    let (mut embedding, mut samples) = ([0; DIM], [0; Samples::bytes(DIM, 4)]);
    let learner = Learner::new(Plain, statistics, PrototypeHead::new(None), &mut embedding);
    let learner = learner
        .unwrap()
        .with_samples(Samples::new(DIM, &mut samples));
    let mut device = Device::new(learner.unwrap(), INPUT, ());
    let (mut request, mut reply) = ([0; request_bytes(2 * DIM)], [0; reply_bytes(DIM)]);
    let mut server = Server::new(&mut request, &mut reply);
    let mut wire = framed(1, &learn("b", &bytes([127, 0, 0])));
    wire.extend(framed(2, &learn("a", &bytes([0, 0, 127]))));
    wire.extend(framed(3, &Request::Sample { from: 1 }));
    wire.extend(framed(4, &Request::Sample { from: 2 }));
    let mut replies = Vec::new();
    for byte in wire {
        replies.extend(server.push(byte, &mut device).unwrap_or(&[]));
    }
    let texts: Vec<String> = kinds(&replies).into_iter().map(|(_, text)| text).collect();
    assert_eq!(texts[2..], ["1 b [127, 0, 0]", "NotFound: "]);
}
