//! The board's first serial port, an Arm CMSDK APB UART: a byte in, a byte out, without interrupts.

const DATA: *mut u32 = 0x4000_4000 as *mut u32;
const STATE: *mut u32 = 0x4000_4004 as *mut u32;
const CONTROL: *mut u32 = 0x4000_4008 as *mut u32;
const DIVIDER: *mut u32 = 0x4000_4010 as *mut u32;

const SENDING: u32 = 1;
const RECEIVED: u32 = 2;
/// To send and to receive.
const ENABLE: u32 = 3;
/// 25 MHz over 115,200.
const BAUD: u32 = 217;

/// The serial port.
pub struct Uart(());

impl Uart {
    /// Switches it on, at 115,200 baud.
    pub fn start() -> Self {
        // SAFETY: registers of the board's UART 0, which nothing else in these programs touches.
        unsafe {
            DIVIDER.write_volatile(BAUD);
            CONTROL.write_volatile(ENABLE);
        }
        Uart(())
    }

    /// Waits for a byte.
    pub fn read(&mut self) -> u8 {
        // SAFETY: as in `start`.
        unsafe {
            while STATE.read_volatile() & RECEIVED == 0 {}
            DATA.read_volatile() as u8
        }
    }

    /// Sends bytes, each when the one before is on its way.
    pub fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            // SAFETY: as in `start`.
            unsafe {
                while STATE.read_volatile() & SENDING != 0 {}
                DATA.write_volatile(byte.into());
            }
        }
    }
}
