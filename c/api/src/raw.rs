//! From C's pointers to references. Null, misaligned and endless ones are told apart here; whether
//! the memory behind a pointer is there, and the caller's, no code can tell: headstart.h makes it
//! the caller's promise, and each SAFETY line below rests on it.

use core::ffi::c_char;
use core::mem::MaybeUninit;

use headstart::statistics::Label;

use crate::Status;

/// Types that any bits are a value of.
pub(crate) trait Plain {}
impl Plain for u8 {}
impl Plain for i8 {}
impl Plain for i16 {}
impl Plain for u64 {}
impl Plain for crate::Config {}
impl Plain for crate::Prediction {}

fn check<T>(pointer: *const T, len: usize) -> Result<(), Status> {
    if pointer.is_null() {
        Err(Status::NullPointer)
    } else if !pointer.is_aligned() {
        Err(Status::Misaligned)
    } else if len > isize::MAX as usize / size_of::<T>() {
        Err(Status::BadArgument)
    } else {
        Ok(())
    }
}

/// # Safety
/// `pointer` has `len` readable values that nobody writes during the call.
pub(crate) unsafe fn slice<'a, T: Plain>(pointer: *const T, len: usize) -> Result<&'a [T], Status> {
    check(pointer, len)?;
    // SAFETY: not null, aligned, of a length that a slice may have; the rest is the caller's word.
    Ok(unsafe { core::slice::from_raw_parts(pointer, len) })
}

/// Zeros, whatever lay there: C's memory may be uninitialised.
///
/// # Safety
/// `pointer` has room for `len` values, which are the callee's alone as long as `'a` lasts.
pub(crate) unsafe fn zeroed<'a, T: Plain>(
    pointer: *mut T,
    len: usize,
) -> Result<&'a mut [T], Status> {
    check(pointer.cast_const(), len)?;
    // SAFETY: not null, aligned, of a length that a slice may have; zeros are written before the
    // reference exists; the rest is the caller's word.
    unsafe {
        pointer.write_bytes(0, len);
        Ok(core::slice::from_raw_parts_mut(pointer, len))
    }
}

/// # Safety
/// `pointer` has one readable value that nobody writes during the call.
pub(crate) unsafe fn value<'a, T: Plain>(pointer: *const T) -> Result<&'a T, Status> {
    check(pointer, 1)?;
    // SAFETY: not null, aligned, and any bits are a value; the rest is the caller's word.
    Ok(unsafe { &*pointer })
}

/// A place to write a result to; what lies there is never read.
///
/// # Safety
/// `pointer` has room for one value, which is the callee's alone during the call.
pub(crate) unsafe fn place<'a, T>(pointer: *mut T) -> Result<&'a mut MaybeUninit<T>, Status> {
    check(pointer.cast_const(), 1)?;
    // SAFETY: not null, aligned, and MaybeUninit asks nothing of the bits; the rest is the caller's
    // word.
    Ok(unsafe { &mut *pointer.cast::<MaybeUninit<T>>() })
}

/// A class name: at most 16 bytes before its zero, and not one byte behind that zero is read.
///
/// # Safety
/// `pointer` has bytes up to a zero, or at least 17.
pub(crate) unsafe fn label(pointer: *const c_char) -> Result<Label, Status> {
    check(pointer, 1)?;
    let mut label = [0; 16];
    let mut length = 0;
    loop {
        // SAFETY: no zero came yet and length is at most 16, so that the byte is there.
        let byte = unsafe { pointer.add(length).read() } as u8;
        match (byte, label.get_mut(length)) {
            (0, _) => break,
            (byte, Some(place)) => *place = byte,
            (_, None) => return Err(Status::BadLabel),
        }
        length += 1;
    }
    core::str::from_utf8(&label[..length])
        .ok()
        .filter(|name| !name.is_empty())
        .and_then(|name| Label::try_from(name).ok())
        .ok_or(Status::BadLabel)
}
