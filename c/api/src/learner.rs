//! `hs_learner`: one function for each declaration of headstart.h. Pointers come from C; what they
//! must be, headstart.h says.
#![allow(missing_docs, clippy::missing_safety_doc)]

use core::ffi::{c_char, c_void};

use headstart::{
    AutoHead, Encoder, EncoderPack, Label, Learner, PackedEncoder, PrototypeHead, Statistics,
};

use crate::plan::{LEARNER_BYTES, Places, Plan};
use crate::types::c_label;
use crate::{Class, Config, Parts, Prediction, Sizes, Status, Tier, raw};

/// Stands at the start of a learner that was begun.
const STARTED: u64 = u64::from_le_bytes(*b"HSLEARNR");

type Packed<P> = PackedEncoder<'static, <P as Parts>::Kernels>;

/// `hs_learner`, in the caller's memory. The lifetimes are those that C promises: pack, memory and
/// arena stay where they are as long as the learner is used.
#[repr(C, align(8))]
pub struct Object<P: Parts> {
    started: u64,
    inner: Inner<P>,
}

/// Both in one, as a learner's size is one number.
#[allow(clippy::large_enum_variant)]
enum Inner<P: Parts> {
    Prototype(Learner<'static, Packed<P>, PrototypeHead>),
    Auto(Learner<'static, Packed<P>, AutoHead<'static>>),
}

/// Runs `$body` with whichever learner it is. Where the library has no `AutoHead`, the guard is a
/// constant, so that nothing of it is linked.
macro_rules! with {
    ($object:expr, $learner:ident => $body:expr) => {
        match $object {
            Inner::Prototype($learner) => $body,
            Inner::Auto($learner) if P::AUTO => $body,
            Inner::Auto(_) => return Err(Status::MissingHead),
        }
    };
}

/// # Safety
/// `object` is what `init` gave, or memory of 8 bytes at least, and the callee's alone.
unsafe fn learner<'a, P: Parts>(object: *mut Object<P>) -> Result<&'a mut Inner<P>, Status> {
    // SAFETY: the first word of the caller's learner.
    let &started = unsafe { raw::value(object.cast_const().cast::<u64>()) }?;
    if started != STARTED {
        return Err(Status::NotStarted);
    }
    // SAFETY: not null and aligned, as was checked; that word says that `init` wrote it, and the
    // caller makes one call at a time.
    Ok(unsafe { &mut (*object).inner })
}

/// # Safety
/// As [`learner`], but other readers are welcome.
pub(crate) unsafe fn statistics<'a, P: Parts>(
    object: *const Object<P>,
) -> Result<&'a Statistics<'static>, Status> {
    // SAFETY: the first word of the caller's learner.
    let &started = unsafe { raw::value(object.cast::<u64>()) }?;
    if started != STARTED {
        return Err(Status::NotStarted);
    }
    // SAFETY: as in `learner`, and nothing is written.
    Ok(with!(unsafe { &(*object).inner }, l => l.statistics()))
}

/// Whether no byte is in both.
fn apart(a: *const c_void, a_len: usize, b: *const c_void, b_len: usize) -> bool {
    let (a, b) = (a as usize, b as usize);
    a.saturating_add(a_len) <= b || b.saturating_add(b_len) <= a
}

impl<P: Parts> Object<P> {
    const FITS: () = assert!(
        size_of::<Self>() <= LEARNER_BYTES
            && align_of::<Self>() == 8
            && LEARNER_BYTES.is_multiple_of(8)
    );

    pub unsafe fn pack_check(pack: *const c_void, pack_len: usize) -> Status {
        // SAFETY: the caller's.
        let bytes = unsafe { raw::slice(pack.cast::<u8>(), pack_len) };
        bytes
            .and_then(|bytes| Ok(EncoderPack::with_kernels::<P::Kernels>(bytes).map(|_| ())?))
            .into()
    }

    pub unsafe fn pack_sizes(
        pack: *const c_void,
        pack_len: usize,
        max_classes: u32,
        tier: u32,
        sizes: *mut Sizes,
    ) -> Status {
        let ask = || {
            // SAFETY: the caller's.
            let (bytes, place) = unsafe {
                let bytes = raw::slice(pack.cast::<u8>(), pack_len)?;
                (bytes, raw::place(sizes)?)
            };
            place.write(
                Plan::new(
                    &EncoderPack::with_kernels::<P::Kernels>(bytes)?,
                    max_classes,
                    tier,
                )?
                .sizes,
            );
            Ok(())
        };
        ask().into()
    }

    pub unsafe fn init(config: *const Config, learner: *mut *mut Self) -> Status {
        let begin = || {
            // SAFETY: the caller's.
            let (config, place) = unsafe { (raw::value(config)?, raw::place(learner)?) };
            place.write(core::ptr::null_mut());
            // SAFETY: the caller's.
            place.write(unsafe { Self::begin(config) }?);
            Ok(())
        };
        begin().into()
    }

    /// # Safety
    /// The buffers of `config` are as headstart.h asks.
    unsafe fn begin(config: &Config) -> Result<*mut Self, Status> {
        const { Self::FITS };
        // SAFETY: the caller's.
        let bytes = unsafe { raw::slice(config.pack.cast::<u8>(), config.pack_len) }?;
        let pack = EncoderPack::with_kernels::<P::Kernels>(bytes)?;
        let plan = Plan::new(&pack, config.max_classes, config.tier)?;
        // NaN is not in the range either.
        if !(0.0..=0.5).contains(&config.false_accepts) {
            return Err(Status::BadArgument);
        }
        let auto = config.tier != Tier::Prototype as u32;
        if auto && !P::AUTO {
            return Err(Status::MissingHead);
        }
        let (memory, arena) = (plan.sizes.memory as usize, plan.sizes.arena as usize);
        if config.memory_len < memory && !config.memory.is_null() {
            return Err(Status::MemoryTooSmall);
        }
        if config.arena_len < arena && !config.arena.is_null() {
            return Err(Status::ArenaTooSmall);
        }
        let (m, a) = (config.memory.cast_const(), config.arena.cast_const());
        if !apart(m, memory, a, arena)
            || !apart(m, memory, config.pack, config.pack_len)
            || !apart(a, arena, config.pack, config.pack_len)
        {
            return Err(Status::BadArgument);
        }
        // SAFETY: both are long enough and apart; the caller leaves them to the learner.
        let (memory, arena) = unsafe {
            let memory = raw::zeroed(config.memory.cast::<u64>(), memory / 8)?;
            (memory, raw::zeroed(config.arena.cast::<u64>(), arena / 8)?)
        };
        let places = plan.cut(memory).ok_or(Status::Internal)?;
        Self::join(config, pack, places, bytemuck::cast_slice_mut(arena))
    }

    fn join(
        config: &Config,
        pack: EncoderPack<'static>,
        places: Places<'static>,
        arena: &'static mut [u32],
    ) -> Result<*mut Self, Status> {
        let Places {
            learner,
            labels,
            words,
            head,
            embedding,
        } = places;
        let encoder = Packed::<P>::new(pack, arena)?;
        let (dim, artefact) = (pack.dim(), encoder.artefact());
        let statistics = if config.tier == Tier::Gram as u32 {
            Statistics::with_gram(dim, artefact, words, labels)?
        } else {
            Statistics::new(dim, artefact, words, labels)?
        };
        let background = pack.background();
        let inner = if P::AUTO && config.tier != Tier::Prototype as u32 {
            let head = AutoHead::new(background, head);
            let head = match config.false_accepts {
                0.0 => head,
                rate => head.with_false_accepts(rate),
            };
            Inner::Auto(Learner::new(encoder, statistics, head, embedding)?)
        } else {
            let head = PrototypeHead::new(background);
            Inner::Prototype(Learner::new(encoder, statistics, head, embedding)?)
        };
        let object = learner.as_mut_ptr().cast::<Self>();
        // SAFETY: `learner` has LEARNER_BYTES at a multiple of 8; `FITS` says that this is enough.
        unsafe {
            object.write(Object {
                started: STARTED,
                inner,
            });
        }
        Ok(object)
    }

    pub unsafe fn learn(
        object: *mut Self,
        label: *const c_char,
        window: *const i16,
        counts: usize,
    ) -> Status {
        // SAFETY: the caller's.
        let learn = || unsafe {
            let (inner, label, window) = labelled(object, label, window, counts)?;
            with!(inner, l => l.learn(&label, window).map(|_| ())?);
            Ok(())
        };
        learn().into()
    }

    pub unsafe fn forget(
        object: *mut Self,
        label: *const c_char,
        window: *const i16,
        counts: usize,
    ) -> Status {
        // SAFETY: the caller's.
        let forget = || unsafe {
            let (inner, label, window) = labelled(object, label, window, counts)?;
            with!(inner, l => l.forget(&label, window)?);
            Ok(())
        };
        forget().into()
    }

    pub unsafe fn forget_class(object: *mut Self, label: *const c_char) -> Status {
        // SAFETY: the caller's.
        let forget = || unsafe {
            let (inner, label) = (learner(object)?, raw::label(label)?);
            with!(inner, l => l.forget_class(&label)?);
            Ok(())
        };
        forget().into()
    }

    pub unsafe fn undo(object: *mut Self) -> Status {
        // SAFETY: the caller's.
        let undo = || unsafe {
            with!(learner(object)?, l => l.undo()?);
            Ok(())
        };
        undo().into()
    }

    pub unsafe fn fit(object: *mut Self) -> Status {
        // SAFETY: the caller's.
        let fit = || unsafe {
            with!(learner(object)?, l => l.fit()?);
            Ok(())
        };
        fit().into()
    }

    pub unsafe fn predict(
        object: *mut Self,
        window: *const i16,
        counts: usize,
        prediction: *mut Prediction,
    ) -> Status {
        // SAFETY: the caller's.
        let predict = || unsafe {
            let (inner, window) = (learner(object)?, raw::slice(window, counts)?);
            let place = raw::place(prediction)?;
            let said = with!(inner, l => l.predict(window)?);
            place.write(Prediction {
                index: said.class as u32,
                verdict: said.verdict as u32,
                probability: said.probability,
                margin: said.margin,
                label: c_label(&said.label),
            });
            Ok(())
        };
        predict().into()
    }

    pub unsafe fn embed(
        object: *mut Self,
        window: *const i16,
        counts: usize,
        embedding: *mut i8,
        len: usize,
    ) -> Status {
        // SAFETY: the caller's; `embedding` is written up to D, which `len` is not below.
        let embed = || unsafe {
            let (inner, window) = (learner(object)?, raw::slice(window, counts)?);
            raw::place(embedding)?;
            let values = with!(inner, l => {
                if len < l.statistics().dim() {
                    return Err(Status::BufferTooSmall);
                }
                l.embed(window)?.values()
            });
            raw::zeroed(embedding, values.len())?.copy_from_slice(values);
            Ok(())
        };
        embed().into()
    }

    pub unsafe fn class_count(object: *const Self, count: *mut u32) -> Status {
        // SAFETY: the caller's.
        let ask = || unsafe {
            let (learnt, place) = (statistics(object)?, raw::place(count)?);
            place.write(learnt.classes() as u32);
            Ok(())
        };
        ask().into()
    }

    pub unsafe fn class_at(object: *const Self, index: u32, class: *mut Class) -> Status {
        // SAFETY: the caller's.
        let ask = || unsafe {
            let (learnt, place) = (statistics(object)?, raw::place(class)?);
            let class = learnt.class(index as usize).ok_or(Status::BadArgument)?;
            place.write(Class {
                examples: class.count as u32,
                label: c_label(class.label),
            });
            Ok(())
        };
        ask().into()
    }

    pub unsafe fn save(
        object: *const Self,
        out: *mut c_void,
        len: usize,
        written: *mut usize,
    ) -> Status {
        // SAFETY: the caller's; `out` is written up to `needed`, which `len` is not below.
        let save = || unsafe {
            let (learnt, place) = (statistics(object)?, raw::place(written)?);
            let (dim, classes) = (learnt.dim(), learnt.classes());
            let needed = match learnt.gram() {
                Some(_) => Statistics::gram_snapshot_bytes(dim, classes),
                None => Statistics::snapshot_bytes(dim, classes),
            };
            place.write(needed);
            if len < needed && !out.is_null() {
                return Err(Status::BufferTooSmall);
            }
            learnt.save(raw::zeroed(out.cast::<u8>(), needed)?)?;
            Ok(())
        };
        save().into()
    }

    pub unsafe fn restore(object: *mut Self, snapshot: *const c_void, len: usize) -> Status {
        // SAFETY: the caller's.
        let restore = || unsafe {
            let inner = learner(object)?;
            let snapshot = raw::slice(snapshot.cast::<u8>(), len)?;
            with!(inner, l => l.restore(snapshot)?);
            Ok(())
        };
        restore().into()
    }
}

/// # Safety
/// As [`learner`], [`raw::label`] and [`raw::slice`].
unsafe fn labelled<'a, P: Parts>(
    object: *mut Object<P>,
    label: *const c_char,
    window: *const i16,
    counts: usize,
) -> Result<(&'a mut Inner<P>, Label, &'a [i16]), Status> {
    // SAFETY: the caller's.
    unsafe {
        Ok((
            learner(object)?,
            raw::label(label)?,
            raw::slice(window, counts)?,
        ))
    }
}
