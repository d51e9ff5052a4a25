//! The functions' C names, and the macro that makes a library of them.

/// A static library for include/headstart.h, of the parts that are named:
///
/// ```text
/// headstart_c_api::library!(kernels: headstart::kernels!(Conv, Dense, AvgPool), auto: false);
/// ```
///
/// A fault in Rust code ends in C's `abort`: it can't unwind into C.
#[macro_export]
macro_rules! library {
    (kernels: $kernels:ty, auto: $auto:literal) => {
        /// What this library has.
        pub struct LibraryParts;

        impl $crate::Parts for LibraryParts {
            type Kernels = $kernels;
            const AUTO: bool = $auto;
        }

        $crate::exports!(LibraryParts);

        #[panic_handler]
        fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
            unsafe extern "C" {
                safe fn abort() -> !;
            }
            abort()
        }
    };
}

/// The functions alone. `EXPORTS` is what the test of headstart.h compares with.
#[doc(hidden)]
#[macro_export]
macro_rules! exports {
    ($parts:ident) => {
        #[allow(missing_docs, clippy::missing_safety_doc)]
        mod exports {
            use super::$parts;
            use $crate::{Class, Config, Prediction, RunningDigest, Sizes, Status};
            use $crate::{c_char, c_void};
            type Learner = $crate::Object<$parts>;

            $crate::exports! { @each
                hs_abi = abi() -> u32;
                hs_status_name = status_name(status: i32) -> *const c_char;
                hs_pack_check = pack_check(pack: *const c_void, pack_len: usize) -> Status;
                hs_pack_sizes = pack_sizes(pack: *const c_void, pack_len: usize, max_classes: u32, tier: u32, sizes: *mut Sizes) -> Status;
                hs_init = init(config: *const Config, learner: *mut *mut Learner) -> Status;
                hs_learn = learn(learner: *mut Learner, label: *const c_char, window: *const i16, counts: usize) -> Status;
                hs_forget = forget(learner: *mut Learner, label: *const c_char, window: *const i16, counts: usize) -> Status;
                hs_forget_class = forget_class(learner: *mut Learner, label: *const c_char) -> Status;
                hs_undo = undo(learner: *mut Learner) -> Status;
                hs_fit = fit(learner: *mut Learner) -> Status;
                hs_predict = predict(learner: *mut Learner, window: *const i16, counts: usize, prediction: *mut Prediction) -> Status;
                hs_embed = embed(learner: *mut Learner, window: *const i16, counts: usize, embedding: *mut i8, embedding_len: usize) -> Status;
                hs_class_count = class_count(learner: *const Learner, count: *mut u32) -> Status;
                hs_class_at = class_at(learner: *const Learner, index: u32, found: *mut Class) -> Status;
                hs_save = save(learner: *const Learner, out: *mut c_void, out_len: usize, written: *mut usize) -> Status;
                hs_restore = restore(learner: *mut Learner, snapshot: *const c_void, snapshot_len: usize) -> Status;
                hs_digest_begin = digest_begin(learner: *const Learner, digest: *mut RunningDigest) -> Status;
                hs_digest_add = digest_add(digest: *mut RunningDigest, prediction: *const Prediction) -> Status;
                hs_digest_end = digest_end(digest: *mut RunningDigest, text: *mut c_char, text_len: usize) -> Status;
            }
        }
    };
    (@each $($name:ident = $call:ident($($argument:ident: $type:ty),*) -> $result:ty;)+) => {
        $(
            #[unsafe(no_mangle)]
            pub unsafe extern "C" fn $name($($argument: $type),*) -> $result {
                #[allow(unused_unsafe)]
                // SAFETY: the caller's, as headstart.h asks.
                unsafe { Learner::$call($($argument),*) }
            }
        )+

        /// Name, arguments and result.
        pub const EXPORTS: &[(&str, &[(&str, &str)], &str)] = &[
            $((stringify!($name), &[$((stringify!($argument), stringify!($type))),*], stringify!($result)),)+
        ];
    };
}
