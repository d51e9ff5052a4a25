//! From the raw signal to the encoder's input, in integers: the same bits on host and device.

mod sensor;
mod signal;

pub use sensor::{ChannelScale, KIND_SENSOR, SensorRecord, SensorWindow};
pub use signal::{Image, Signal};
