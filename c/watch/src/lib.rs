//! The kernels are those that `headstart pack` prints for models/watch.pack.
#![no_std]

headstart_c_api::library!(
    kernels: headstart::kernels!(Conv, Dense, AvgPool, MaxPool, Add),
    auto: false
);
