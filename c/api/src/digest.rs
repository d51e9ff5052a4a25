//! `hs_digest` and what needs no learner.
#![allow(missing_docs, clippy::missing_safety_doc)]

use core::ffi::{CStr, c_char};
use core::mem::MaybeUninit;

use headstart::digest::Digest;
use headstart::{Label, Verdict};

use crate::learner::statistics;
use crate::{ABI, Object, Parts, Prediction, RunningDigest, Status, raw};

/// Stands at the start of a digest that was begun.
const STARTED: u64 = u64::from_le_bytes(*b"HSDIGEST");

/// `HS_DIGEST_SIZE`: 64 digits and a zero.
pub const DIGEST_SIZE: usize = 65;

/// # Safety
/// `digest` is the caller's, and the callee's alone.
unsafe fn running<'a>(digest: *mut RunningDigest) -> Result<&'a mut RunningDigest, Status> {
    // SAFETY: its first word.
    let &started = unsafe { raw::value(digest.cast_const().cast::<u64>()) }?;
    if started != STARTED {
        return Err(Status::NotStarted);
    }
    // SAFETY: not null and aligned; that word says that `digest_begin` wrote all of it.
    Ok(unsafe { &mut *digest })
}

impl<P: Parts> Object<P> {
    pub fn abi() -> u32 {
        ABI
    }

    pub fn status_name(status: i32) -> *const c_char {
        let name: &'static CStr = Status::name_of(status);
        name.as_ptr()
    }

    pub unsafe fn digest_begin(object: *const Self, digest: *mut RunningDigest) -> Status {
        // SAFETY: the caller's.
        let begin = || unsafe {
            let (learnt, place) = (statistics(object)?, raw::place(digest)?);
            place.write(RunningDigest {
                tag: STARTED,
                digest: MaybeUninit::new(Digest::new(learnt)),
                spare: [0; _],
            });
            Ok(())
        };
        begin().into()
    }

    pub unsafe fn digest_add(digest: *mut RunningDigest, prediction: *const Prediction) -> Status {
        let add = || {
            // SAFETY: the caller's.
            let (digest, said) = unsafe { (running(digest)?, raw::value(prediction)?) };
            let verdict = [Verdict::Known, Verdict::Unknown, Verdict::NotEnoughExamples];
            let verdict = verdict.into_iter().find(|&v| v as u32 == said.verdict);
            let said = headstart::Prediction {
                class: said.index as usize,
                label: Label::new(),
                probability: said.probability,
                margin: said.margin,
                verdict: verdict.ok_or(Status::BadArgument)?,
            };
            // SAFETY: `running` says that it was written.
            unsafe { digest.digest.assume_init_mut() }.query(&said);
            Ok(())
        };
        add().into()
    }

    pub unsafe fn digest_end(digest: *mut RunningDigest, text: *mut c_char, len: usize) -> Status {
        let end = || {
            // SAFETY: the caller's.
            let digest = unsafe { running(digest) }?;
            if len < DIGEST_SIZE && !text.is_null() {
                return Err(Status::BufferTooSmall);
            }
            // SAFETY: the caller's, of at least this length.
            let text = unsafe { raw::zeroed(text.cast::<u8>(), DIGEST_SIZE) }?;
            digest.tag = 0;
            // SAFETY: `running` says that it was written, and without its tag it is read once.
            let hex = unsafe { digest.digest.assume_init_read() }.hex();
            text[..hex.len()].copy_from_slice(hex.as_bytes());
            Ok(())
        };
        end().into()
    }
}
