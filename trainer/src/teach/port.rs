//! The wire: a serial port, or TCP.

use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use anyhow::{Context, anyhow};
use serialport::ErrorKind;

use crate::error::Failure;

/// How long a read waits; the client's own timeouts are counted in these.
const READ: Duration = Duration::from_millis(20);
/// For a connection over TCP.
const CONNECT: Duration = Duration::from_secs(5);

/// Bytes to a device and back. A read waits a moment, and says that it timed out where nothing came.
pub trait Port: Read + Write {}

impl<T: Read + Write> Port for T {}

/// Opens a port by its name: `tcp:HOST:PORT`, else a serial one.
///
/// # Errors
/// Says what is not there, and what is.
pub fn open(name: &str, baud: u32) -> Result<Box<dyn Port>, Failure> {
    match name.strip_prefix("tcp:") {
        Some(address) => tcp(address),
        None => serial(name, baud),
    }
}

fn tcp(address: &str) -> Result<Box<dyn Port>, Failure> {
    if !address.contains(':') {
        return Err(Failure::Usage(format!(
            "`tcp:{address}` has no port number: give tcp:HOST:PORT"
        )));
    }
    let resolved = address.to_socket_addrs();
    let mut last = None;
    for address in resolved.with_context(|| format!("could not find the address {address}"))? {
        match TcpStream::connect_timeout(&address, CONNECT) {
            Ok(stream) => {
                let set = stream
                    .set_read_timeout(Some(READ))
                    .and_then(|()| stream.set_nodelay(true));
                set.context("could not set up the connection")?;
                return Ok(Box::new(stream));
            }
            Err(error) => last = Some(error),
        }
    }
    let why = last.map_or_else(|| "it has none".to_owned(), |error| error.to_string());
    Err(anyhow!(
        "could not connect to {address} ({why}): is the device, the emulator or `headstart teach --serve` running?"
    )
    .into())
}

fn serial(name: &str, baud: u32) -> Result<Box<dyn Port>, Failure> {
    let opened = serialport::new(name, baud).timeout(READ).open();
    let port = opened.map_err(|error| match error.kind() {
        ErrorKind::NoDevice | ErrorKind::Io(std::io::ErrorKind::NotFound) => {
            anyhow!("there is no serial port {name}: {}", others())
        }
        ErrorKind::Io(std::io::ErrorKind::PermissionDenied) => {
            anyhow!("may not open {name}: on most Linux systems, join the group dialout")
        }
        _ => anyhow!(
            "could not open {name} as a serial port ({error}): {}",
            others()
        ),
    })?;
    Ok(Box::new(port))
}

fn others() -> String {
    let ports = serialport::available_ports().unwrap_or_default();
    let names: Vec<String> = ports.into_iter().map(|port| port.port_name).collect();
    match names.is_empty() {
        true => "none was found; is the device plugged in? TCP is tcp:HOST:PORT".to_owned(),
        false => format!("there is {}; TCP is tcp:HOST:PORT", names.join(", ")),
    }
}
