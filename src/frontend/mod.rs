//! From the raw signal to the encoder's input, in integers: the same bits on host and device.

mod sensor;

pub use sensor::{ChannelScale, KIND_SENSOR, SensorRecord, SensorWindow};
