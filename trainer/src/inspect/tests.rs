use super::*;
use crate::tiny;

/// Every truncation and every single bit flip of a file gives an error or findings, never a
/// panic.
#[test]
fn damage_never_panics() {
    let onnx = tiny::onnx();
    for end in 0..onnx.len() {
        let _ = onnx::findings(&onnx[..end]);
    }
    for bit in 0..onnx.len() * 8 {
        let mut damaged = onnx.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        let _ = onnx::findings(&damaged);
    }
}

#[test]
fn columns_stand_below_each_other() {
    let rows = [head(&["a", "long", "c"]), head(&["longer", "1", ""])];
    assert_eq!(columns(&rows, &[1]), "a       long  c\nlonger     1\n");
}

#[test]
fn numbers_read_easily() {
    let cases = [
        (0, "0"),
        (999, "999"),
        (1000, "1,000"),
        (1234567, "1,234,567"),
    ];
    for (number, expected) in cases {
        assert_eq!(thousands(number), expected);
    }
}
