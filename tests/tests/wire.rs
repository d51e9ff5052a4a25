//! Contract: what is on a wire is learnt, or refused, whatever it is; and never twice.

use headstart::wire::{
    self, Device, FrameError, Input, NoFlash, Receiver, Reply, Request, Server, Signal, write,
};
use headstart::{EncoderPack, Label, Learner, PackedEncoder, PrototypeHead, Samples, Statistics};
use proptest::prelude::*;

const DIM: usize = 64;
const COUNTS: usize = 768;

/// A device with the watch encoder.
fn with_device<R>(
    run: impl FnOnce(
        &mut Server<'_>,
        &mut Device<'_, PackedEncoder<'_>, PrototypeHead, (), NoFlash>,
    ) -> R,
) -> R {
    let bytes = headstart_tests::aligned("models/watch.pack");
    let pack = EncoderPack::new(bytes.bytes()).expect("it ships");
    let mut arena = vec![0; pack.arena_bytes().div_ceil(4)];
    let encoder = PackedEncoder::new(pack, &mut arena).expect("room");
    let mut words = [0; Statistics::words(DIM, 4)];
    let mut labels = [const { Label::new() }; 4];
    let statistics = Statistics::new(DIM, pack.artefact(), &mut words, &mut labels);
    let head = PrototypeHead::new(pack.background());
    let mut embedding = [0; 2 * DIM];
    let learner = Learner::new(encoder, statistics.expect("room"), head, &mut embedding);
    let mut samples = [0; Samples::bytes(DIM, 8)];
    let learner = learner
        .expect("room")
        .with_samples(Samples::new(DIM, &mut samples));
    let mut device = Device::new(learner.expect("empty"), Input::of(&pack.frontend()), ());
    let mut request = [0; wire::request_bytes(2 * COUNTS)];
    let mut reply = [0; wire::reply_bytes(DIM)];
    run(&mut Server::new(&mut request, &mut reply), &mut device)
}

fn framed(number: u32, message: &impl serde::Serialize) -> Vec<u8> {
    let mut out = vec![0; 4096];
    let length = write(number, message, &mut out).expect("room");
    out.truncate(length);
    out
}

/// What a receiver makes of bytes: how many frames, and what was none.
fn received(
    wire: &[u8],
    buffer: &mut [u8],
    mut each: impl FnMut(&Receiver<'_>),
) -> Vec<FrameError> {
    let mut receiver = Receiver::new(buffer);
    let mut refused = Vec::new();
    for &byte in wire {
        match receiver.push(byte) {
            Ok(false) => {}
            Ok(true) => each(&receiver),
            Err(error) => refused.push(error),
        }
    }
    refused
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    // Runs around COBS's 254, zeros, and both ends of a byte.
    let run = (
        prop_oneof![Just(0u8), Just(1), Just(255), any::<u8>()],
        0usize..300,
    );
    proptest::collection::vec(run, 0..6).prop_map(|runs| {
        let run = |(value, length)| std::iter::repeat_n(value, length);
        runs.into_iter().flat_map(run).collect()
    })
}

/// A request out of parts that outlive it.
fn request<'a>(kind: u8, label: &'a str, bytes: &'a [u8], number: u32) -> Request<'a> {
    let signal = match kind % 3 {
        0 => Signal::Own,
        1 => Signal::Samples(bytes),
        _ => Signal::Image {
            height: number as u16,
            width: kind.into(),
            channels: kind,
            pixels: bytes,
        },
    };
    match kind / 3 % 9 {
        0 => Request::Hello,
        1 => Request::Learn { label, signal },
        2 => Request::Predict(signal),
        3 => Request::Undo,
        4 => Request::Forget { id: number },
        5 => Request::ForgetClass { label },
        6 => Request::Class {
            index: number as u16,
        },
        7 => Request::Sample { from: number },
        _ => Request::Head { at: number },
    }
}

fn reply<'a>(kind: u8, label: &'a str, bytes: &'a [u8], number: u32) -> Reply<'a> {
    match kind % 6 {
        0 => Reply::Learnt {
            id: (kind > 9).then_some(number),
            examples: number / 2,
        },
        1 => Reply::Prediction {
            label,
            probability: number as f32 / 7.0,
            margin: 0.25,
            verdict: kind,
        },
        2 => Reply::Class {
            label,
            examples: number,
        },
        3 => Reply::Sample {
            id: number,
            label,
            values: bytes,
        },
        4 => Reply::Head {
            length: number,
            bytes,
        },
        _ => Reply::Refused {
            why: wire::Refusal::Flash,
            text: label,
        },
    }
}

proptest! {
    #[test]
    fn messages_come_out_as_they_went_in(
        kind: u8, label in "\\PC{0,16}", bytes in bytes(), number: u32, odd in 0usize..2,
    ) {
        let mut buffer = vec![0; 4096];
        let (asked, answered) = (
            request(kind, &label, &bytes, number),
            reply(kind, &label, &bytes, number),
        );
        let mut wire = framed(number, &asked);
        prop_assert_eq!(wire.iter().position(|&b| b == 0), Some(wire.len() - 1));
        wire.extend(framed(number, &answered));
        let mut seen = 0;
        let refused = received(&wire, &mut buffer[odd..], |receiver| {
            match seen {
                0 => assert_eq!(receiver.message(), Some((number, asked))),
                _ => assert_eq!(receiver.message(), Some((number, answered))),
            }
            seen += 1;
        });
        prop_assert_eq!((seen, refused), (2, vec![]));
    }

    #[test]
    fn a_frame_fits_where_it_is_said_to(bytes in bytes(), number: u32) {
        let asked = Request::Learn { label: "sixteen bytes ok", signal: Signal::Samples(&bytes) };
        let wire = framed(number, &asked);
        let size = wire::request_bytes(bytes.len());
        prop_assert!(wire.len() <= wire::frame_bytes(size - 5));
        let mut seen = 0;
        let refused = received(&wire, &mut vec![0; size], |_| seen += 1);
        prop_assert_eq!((seen, refused), (1, vec![]));
        // A buffer that is too short says so, and the frame behind it arrives.
        let both = [wire.clone(), framed(1, &Request::Hello)].concat();
        let mut small = vec![0; 7];
        let refused = received(&both, &mut small, |r| {
            assert_eq!(r.message(), Some((1, Request::Hello)));
            seen += 1;
        });
        prop_assert_eq!((seen, refused), (2, vec![FrameError::TooLong]));
    }

    #[test]
    fn any_bytes_are_answered_or_waited_for(noise in proptest::collection::vec(any::<u8>(), 0..400)) {
        with_device(|server, device| {
            let zeros = noise.iter().filter(|&&b| b == 0).count();
            let replies = noise.iter().filter(|&&b| server.push(b, device).is_some()).count();
            assert!(replies <= zeros);
            server.push(0, device);
            // Then it is as it was.
            let hello = framed(1, &Request::Hello);
            let reply = hello.iter().fold(None, |_, &b| server.push(b, device).map(<[u8]>::to_vec));
            received(&reply.expect("an answer"), &mut [0; 512], |r| {
                assert!(matches!(r.message(), Some((1, Reply::Info(info))) if info.examples == 0));
            });
        });
    }
}

#[test]
fn every_truncation_and_every_flipped_bit_is_refused() {
    let signal: Vec<u8> = (0..40).collect();
    let frame = framed(
        7,
        &Request::Learn {
            label: "row",
            signal: Signal::Samples(&signal),
        },
    );
    let whole = |wire: &[u8]| {
        let mut seen = 0;
        received(wire, &mut [0; 128], |_| seen += 1);
        seen
    };
    assert_eq!(whole(&frame), 1);
    for cut in 0..frame.len() {
        // The end is lost, or the beginning, and the next zero comes.
        let ended = [&frame[..cut], &[0]].concat();
        assert_eq!(whole(&ended), usize::from(cut == frame.len() - 1), "{cut}");
        assert_eq!(whole(&frame[cut..]), usize::from(cut == 0), "{cut}");
    }
    for bit in 0..8 * (frame.len() - 1) {
        let mut damaged = frame.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(whole(&damaged), 0, "bit {bit}");
        // And one more on each side of it.
        for other in 0..8 * (frame.len() - 1) {
            if other != bit {
                damaged[other / 8] ^= 1 << (other % 8);
                assert_eq!(whole(&damaged), 0, "bits {bit} and {other}");
                damaged[other / 8] ^= 1 << (other % 8);
            }
        }
    }
}
