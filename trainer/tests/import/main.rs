//! `headstart import` on what people bring, on what is damaged, and on what can't become an encoder.

#[allow(dead_code)]
#[path = "../folder/mod.rs"]
mod folder;
#[allow(dead_code)]
#[path = "../tiny/mod.rs"]
mod tiny;

mod attention;
mod brought;
mod case;
mod damage;
mod external;
mod large;
mod net;
mod quantised;
mod refused;
