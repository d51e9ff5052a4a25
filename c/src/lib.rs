//! `libheadstart_c.a`, for `include/headstart.h`: every kernel and every head that C can ask for.
//! README.md beside it says how to build a smaller one.
#![no_std]

headstart_c_api::library!(
    // All layers, and sound besides windows of a sensor: pictures are not for C yet.
    kernels: headstart::kernels!(
        Conv, Depthwise, Dense, AvgPool, MaxPool, Add, Mul, Lookup, Concat, Clamp, Pad; LogMel
    ),
    auto: true
);
