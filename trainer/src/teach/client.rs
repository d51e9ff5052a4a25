//! Asking a device: one request, one reply, and again where it got lost on the way.

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use headstart::Verdict;
use headstart::wire::{
    FrameError, Info, Receiver, Refusal, Reply, Request, Signal, VERSION, frame_bytes,
    request_bytes, write,
};

use super::port::Port;
use crate::error::Failure;
use crate::head::Head;

/// How often a request is sent before the device is given up.
const TRIES: u32 = 3;
/// Longer names than a device takes, so that it is the device that refuses them.
const NAME: usize = 4096;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The device did not do it, and says why.
    #[error("{text}")]
    Refused {
        /// For programs.
        why: Refusal,
        /// For people.
        text: String,
    },
    /// Nothing at all came back.
    #[error(
        "nothing answers on {port}: is it the right port{baud}, and does the device's firmware run headstart::wire?"
    )]
    Silent {
        /// Its name.
        port: String,
        /// A question about the rate of a serial port.
        baud: &'static str,
    },
    /// Something came back that is no frame.
    #[error(
        "what came back on {port} in {bytes} bytes is none of headstart's frames: is it the right port{baud}?"
    )]
    Foreign {
        /// Its name.
        port: String,
        /// How many came.
        bytes: u64,
        /// A question about the rate of a serial port.
        baud: &'static str,
    },
    /// The device was there, and then was not.
    #[error("the device on {port} does not answer any more: was it unplugged or reset?")]
    Lost {
        /// Its name.
        port: String,
    },
    /// The device speaks another version.
    #[error(
        "the device speaks version {found} of the protocol, this command speaks {VERSION}: use the command of the firmware's release, or renew the firmware"
    )]
    Version {
        /// The device's.
        found: u8,
    },
    /// The port failed.
    #[error("the port {port} failed")]
    Port {
        /// Its name.
        port: String,
        /// How.
        #[source]
        source: std::io::Error,
    },
    /// The answer is none to what was asked.
    #[error(
        "the device gave an answer that does not fit the question: is its firmware of this release?"
    )]
    Misfit,
    /// What was sent piece by piece does not make a head.
    #[error("what the device has learnt came over damaged: {0}")]
    Head(String),
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        Failure::Failed(error.into())
    }
}

/// What the device says of a signal.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// The most probable class.
    pub label: String,
    /// 0 to 1.
    pub probability: f32,
    /// Whether it is one of them at all.
    pub verdict: Verdict,
}

/// A sample of the device's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// Its number there.
    pub id: u32,
    /// Its class.
    pub label: String,
    /// D values.
    pub values: Vec<i8>,
}

/// A device on the other end of a wire.
pub struct Client<'b> {
    port: Box<dyn Port>,
    name: String,
    timeout: Duration,
    receiver: Receiver<'b>,
    /// Of the request that was sent last. Begins at random: a device must not take this command's first
    /// request for the last one of the command before.
    number: u32,
    /// Bytes that ever came, and whether a frame was among them.
    heard: u64,
    known: bool,
    /// Bytes that came with the last frame and are not looked at yet.
    rest: std::collections::VecDeque<u8>,
}

/// What came within the time.
enum Heard {
    Frame,
    Damaged,
    Nothing,
}

impl<'b> Client<'b> {
    /// `buffer` is for replies; `name` is the port's, for messages.
    pub fn new(port: Box<dyn Port>, name: &str, timeout: Duration, buffer: &'b mut [u8]) -> Self {
        Client {
            port,
            name: name.to_owned(),
            timeout,
            receiver: Receiver::new(buffer),
            number: getrandom::u32().unwrap_or(1),
            heard: 0,
            known: false,
            rest: Default::default(),
        }
    }

    /// Who is there.
    ///
    /// # Errors
    /// As every request: see [`ClientError`].
    pub fn hello(&mut self) -> Result<Info, ClientError> {
        // Whatever was begun on this wire ends here.
        self.send(&[0])?;
        self.ask(&Request::Hello, |reply| match reply {
            Reply::Info(info) => Some(info),
            _ => None,
        })
    }

    /// Learns an example: its number in the log, and how many its class has now.
    ///
    /// # Errors
    /// As every request.
    pub fn learn(
        &mut self,
        label: &str,
        signal: Signal<'_>,
    ) -> Result<(Option<u32>, u32), ClientError> {
        self.ask(&Request::Learn { label, signal }, |reply| match reply {
            Reply::Learnt { id, examples } => Some((id, examples)),
            _ => None,
        })
    }

    /// Names a signal.
    ///
    /// # Errors
    /// As every request.
    pub fn predict(&mut self, signal: Signal<'_>) -> Result<Answer, ClientError> {
        self.ask(&Request::Predict(signal), |reply| match reply {
            Reply::Prediction {
                label,
                probability,
                verdict,
                ..
            } => Some(Answer {
                label: label.to_owned(),
                probability,
                verdict: [Verdict::Known, Verdict::Unknown, Verdict::NotEnoughExamples]
                    .into_iter()
                    .find(|&own| own as u8 == verdict)?,
            }),
            _ => None,
        })
    }

    /// Undo, forget, forget a class.
    ///
    /// # Errors
    /// As every request.
    pub fn change(&mut self, request: &Request<'_>) -> Result<(), ClientError> {
        self.ask(request, |reply| (reply == Reply::Done).then_some(()))
    }

    /// Names and numbers of examples, in the order of names.
    ///
    /// # Errors
    /// As every request.
    pub fn classes(&mut self) -> Result<Vec<(String, u32)>, ClientError> {
        let mut classes = Vec::new();
        for index in 0..u16::MAX {
            let class = self.ask(&Request::Class { index }, |reply| match reply {
                Reply::Class { label, examples } => Some((label.to_owned(), examples)),
                _ => None,
            });
            match end(class)? {
                Some(class) => classes.push(class),
                None => break,
            }
        }
        Ok(classes)
    }

    /// All samples, by number.
    ///
    /// # Errors
    /// As every request.
    pub fn samples(&mut self) -> Result<Vec<Sample>, ClientError> {
        let mut samples: Vec<Sample> = Vec::new();
        let mut from = 0;
        loop {
            let sample = self.ask(&Request::Sample { from }, |reply| match reply {
                Reply::Sample { id, label, values } => Some(Sample {
                    id,
                    label: label.to_owned(),
                    values: values.iter().map(|&v| v as i8).collect(),
                }),
                _ => None,
            });
            let Some(sample) = end(sample)? else {
                return Ok(samples);
            };
            if sample.id < from {
                return Err(ClientError::Misfit);
            }
            match sample.id.checked_add(1) {
                Some(next) => from = next,
                None => return Ok(samples),
            }
            samples.push(sample);
        }
    }

    /// The bytes of a head file, checked.
    ///
    /// # Errors
    /// As every request; and [`ClientError::Head`].
    pub fn head(&mut self) -> Result<Vec<u8>, ClientError> {
        let mut head: Vec<u8> = Vec::new();
        loop {
            let at = u32::try_from(head.len()).map_err(|_| ClientError::Misfit)?;
            let (length, piece) = self.ask(&Request::Head { at }, |reply| match reply {
                Reply::Head { length, bytes } => Some((length as usize, bytes.to_vec())),
                _ => None,
            })?;
            head.extend(&piece);
            if head.len() == length {
                break;
            }
            if piece.is_empty() || head.len() > length {
                return Err(ClientError::Misfit);
            }
        }
        match Head::parse(&head) {
            Ok(_) => Ok(head),
            Err(why) => Err(ClientError::Head(format!("{why:#}"))),
        }
    }

    fn ask<R>(
        &mut self,
        request: &Request<'_>,
        take: impl FnOnce(Reply<'_>) -> Option<R>,
    ) -> Result<R, ClientError> {
        // 0 is for what had no number.
        self.number = self.number.wrapping_add(1).max(1);
        let frame = framed(self.number, request).ok_or(ClientError::Misfit)?;
        for _ in 0..TRIES {
            self.send(&frame)?;
            let deadline = Instant::now() + self.timeout;
            while let Heard::Frame = self.listen(deadline)? {
                let reply = self.receiver.message::<Reply<'_>>();
                let (number, reply) = reply.ok_or(ClientError::Misfit)?;
                self.known = true;
                match reply {
                    // It came to pieces on its way there: once more.
                    Reply::Refused { why, .. } if number == 0 && why == Refusal::Damaged => break,
                    Reply::Refused { why, text } if number == 0 || number == self.number => {
                        let text = match text.is_empty() {
                            true => why.to_string(),
                            false => text.to_owned(),
                        };
                        return Err(ClientError::Refused { why, text });
                    }
                    // To a request of before, whose reply was late.
                    _ if number != self.number => {}
                    reply => return take(reply).ok_or(ClientError::Misfit),
                }
            }
        }
        Err(self.silence())
    }

    fn send(&mut self, bytes: &[u8]) -> Result<(), ClientError> {
        let sent = self.port.write_all(bytes).and_then(|()| self.port.flush());
        sent.map_err(|source| ClientError::Port {
            port: self.name.clone(),
            source,
        })
    }

    /// Waits for a frame, or for the ruins of one.
    fn listen(&mut self, deadline: Instant) -> Result<Heard, ClientError> {
        loop {
            while let Some(byte) = self.rest.pop_front() {
                match self.receiver.push(byte) {
                    Ok(false) => {}
                    Ok(true) => return Ok(Heard::Frame),
                    Err(FrameError::Version { found }) => {
                        return Err(ClientError::Version { found });
                    }
                    // Before the first frame it may be what was on the wire before.
                    Err(_) if !self.known => {}
                    Err(_) => return Ok(Heard::Damaged),
                }
            }
            if Instant::now() >= deadline {
                return Ok(Heard::Nothing);
            }
            let mut some = [0; 4096];
            match self.port.read(&mut some) {
                Ok(0) => {
                    return Err(ClientError::Lost {
                        port: self.name.clone(),
                    });
                }
                Ok(count) => {
                    self.heard += count as u64;
                    self.rest.extend(&some[..count]);
                }
                Err(error) => match error.kind() {
                    ErrorKind::TimedOut | ErrorKind::WouldBlock | ErrorKind::Interrupted => {}
                    _ => {
                        return Err(ClientError::Port {
                            port: self.name.clone(),
                            source: error,
                        });
                    }
                },
            }
        }
    }

    fn silence(&self) -> ClientError {
        let port = self.name.clone();
        let baud = match port.starts_with("tcp:") {
            true => "",
            false => ", at the right --baud",
        };
        match (self.known, self.heard) {
            (true, _) => ClientError::Lost { port },
            (false, 0) => ClientError::Silent { port, baud },
            (false, bytes) => ClientError::Foreign { port, bytes, baud },
        }
    }
}

/// What ends a list is no failure.
fn end<R>(next: Result<R, ClientError>) -> Result<Option<R>, ClientError> {
    match next {
        Ok(next) => Ok(Some(next)),
        Err(ClientError::Refused {
            why: Refusal::NotFound,
            ..
        }) => Ok(None),
        Err(other) => Err(other),
    }
}

fn framed(number: u32, request: &Request<'_>) -> Option<Vec<u8>> {
    let signal = match request {
        Request::Learn { signal, .. } | Request::Predict(signal) => match signal {
            Signal::Own => 0,
            Signal::Samples(bytes) | Signal::Image { pixels: bytes, .. } => bytes.len(),
        },
        _ => 0,
    };
    let mut frame = vec![0; frame_bytes(request_bytes(signal) + NAME)];
    let length = write(number, request, &mut frame)?;
    frame.truncate(length);
    Some(frame)
}
