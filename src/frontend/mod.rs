//! From the raw signal to the encoder's input, in integers: the same bits on host and device.

mod sensor;
#[cfg(feature = "onnx")]
mod settings;
mod signal;

pub use sensor::{ChannelScale, KIND_SENSOR, SensorRecord, SensorWindow};
#[cfg(feature = "onnx")]
pub use settings::{SensorSettings, Settings, SettingsError};
pub use signal::{Image, Signal};
