//! What the linker and the emulator know.

use cortex_m_rt::STACK_PAINT_VALUE;
use cortex_m_semihosting::syscall1;

/// What the code was built for; the board itself has a Cortex-M4F.
pub const CORE: &str = if cfg!(target_abi = "eabihf") {
    "Cortex-M4F"
} else {
    "code for a Cortex-M0"
};

/// Bytes.
pub struct Usage {
    /// Everything in flash but the demo's windows.
    pub flash: usize,
    /// .data and .bss.
    pub statics: usize,
    /// The deepest that the stack ever was.
    pub stack: usize,
    /// Whether it reached its end.
    pub stack_exhausted: bool,
}

unsafe extern "C" {
    static __sdata: u32;
    static __edata: u32;
    static __sidata: u32;
    static __ebss: u32;
    static _stack_end: u32;
    static _stack_start: u32;
}

/// Flash begins at address 0, the statics begin with .data, and the stack grows down towards
/// `_stack_end` over words that were painted at start-up.
pub fn usage() -> Usage {
    let (bottom, top) = (&raw const _stack_end, &raw const _stack_start);
    let words = (top as usize - bottom as usize) / size_of::<u32>();
    // SAFETY: the words from `_stack_end` to `_stack_start` are RAM that only the stack uses; they
    // are read one by one, without a reference to them.
    let painted =
        (0..words).take_while(|&i| unsafe { bottom.add(i).read_volatile() } == STACK_PAINT_VALUE);
    let untouched = painted.count();
    let address = |symbol: *const u32| symbol as usize;
    let (data, data_end) = (address(&raw const __sdata), address(&raw const __edata));
    Usage {
        flash: address(&raw const __sidata) + data_end - data,
        statics: address(&raw const __ebss) - data,
        stack: (words - untouched) * size_of::<u32>(),
        stack_exhausted: untouched == 0,
    }
}

/// The second word of the semihosting command line; the first is the program's name.
pub fn argument(buffer: &mut [u8]) -> Option<&str> {
    let mut block = [buffer.as_mut_ptr() as usize, buffer.len()];
    // SAFETY: SYS_GET_CMDLINE writes at most the given length to the given place, and then the
    // length that it wrote into the block.
    let failed = unsafe { syscall1!(GET_CMDLINE, block.as_mut_ptr()) };
    let line = buffer.get(..block[1]).filter(|_| failed == 0)?;
    core::str::from_utf8(line).ok()?.split_whitespace().nth(1)
}
