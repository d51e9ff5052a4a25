//! `libheadstart_c.a`, for `include/headstart.h`: every kernel and every head that C can ask for.
//! README.md beside it says how to build a smaller one.
#![no_std]

headstart_c_api::library!(kernels: headstart::ops::AllKernels, auto: true);
