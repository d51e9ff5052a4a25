//! Stored tensors: how many bytes they should have, and numbers in and out of them.

use tract_onnx::pb::{TensorProto, tensor_proto::DataType};

/// Bytes that an element takes; `None` for text and complex numbers.
fn element(tensor: &TensorProto) -> Option<u64> {
    Some(match DataType::try_from(tensor.data_type).ok()? {
        DataType::Bool | DataType::Int8 | DataType::Uint8 => 1,
        DataType::Float16 | DataType::Bfloat16 | DataType::Int16 | DataType::Uint16 => 2,
        DataType::Float | DataType::Int32 | DataType::Uint32 => 4,
        DataType::Double | DataType::Int64 | DataType::Uint64 => 8,
        _ => return None,
    })
}

/// Elements that its shape names.
pub fn elements(tensor: &TensorProto) -> Option<u64> {
    let sides = tensor.dims.iter().map(|&d| u64::try_from(d).ok());
    sides.into_iter().try_fold(1u64, |n, d| n.checked_mul(d?))
}

/// Bytes that its shape asks for; `None` where it is no array of plain numbers.
pub fn bytes_needed(tensor: &TensorProto) -> Option<u64> {
    elements(tensor)?.checked_mul(element(tensor)?)
}

/// Whether it has as many numbers as its shape asks for. Of texts and of numbers that share a byte
/// there are no more than there can be; the rest is left to those who read them.
pub fn is_whole(tensor: &TensorProto) -> bool {
    let lists = [
        tensor.float_data.len(),
        tensor.int32_data.len(),
        tensor.int64_data.len(),
        tensor.double_data.len(),
        tensor.uint64_data.len(),
    ];
    let listed: usize = lists.iter().sum();
    if element(tensor).is_none() {
        let most = listed + tensor.string_data.len() + 2 * tensor.raw_data.len();
        return elements(tensor).is_some_and(|n| n <= most as u64);
    }
    match tensor.raw_data.is_empty() {
        false => bytes_needed(tensor) == Some(tensor.raw_data.len() as u64),
        true => elements(tensor) == Some(listed as u64),
    }
}

/// A float tensor.
pub fn of_floats(name: &str, dims: &[i64], values: &[f32]) -> TensorProto {
    TensorProto {
        name: name.into(),
        dims: dims.to_vec(),
        data_type: DataType::Float as i32,
        raw_data: values.iter().flat_map(|v| v.to_le_bytes()).collect(),
        ..Default::default()
    }
}

/// A list of int64, as shapes and axes are stored; a single number where `dims` is empty.
pub fn of_ints(name: &str, dims: &[i64], values: &[i64]) -> TensorProto {
    TensorProto {
        name: name.into(),
        dims: dims.to_vec(),
        data_type: DataType::Int64 as i32,
        raw_data: values.iter().flat_map(|v| v.to_le_bytes()).collect(),
        ..Default::default()
    }
}

/// One int8 or uint8.
pub fn of_byte(name: &str, value: i32, signed: bool) -> TensorProto {
    let kind = if signed {
        DataType::Int8
    } else {
        DataType::Uint8
    };
    TensorProto {
        name: name.into(),
        data_type: kind as i32,
        int32_data: vec![value],
        ..Default::default()
    }
}

/// Whether it is a float of another width than 32 bits.
pub fn is_other_float(data_type: i32) -> bool {
    let others = [DataType::Float16, DataType::Bfloat16, DataType::Double];
    others.iter().any(|&d| d as i32 == data_type)
}

/// 16- and 64-bit floats become 32-bit ones.
pub fn widen(tensor: &mut TensorProto) {
    let halves = |tensor: &TensorProto| -> Vec<u16> {
        match tensor.raw_data.is_empty() {
            true => tensor.int32_data.iter().map(|&v| v as u16).collect(),
            false => {
                let words = tensor.raw_data.as_chunks().0.iter();
                words.map(|&b| u16::from_le_bytes(b)).collect()
            }
        }
    };
    let values: Vec<f32> = match DataType::try_from(tensor.data_type) {
        Ok(DataType::Float16) => halves(tensor).into_iter().map(half).collect(),
        Ok(DataType::Bfloat16) => {
            let upper = |v: u16| f32::from_bits(u32::from(v) << 16);
            halves(tensor).into_iter().map(upper).collect()
        }
        Ok(DataType::Double) if tensor.raw_data.is_empty() => {
            tensor.double_data.iter().map(|&v| v as f32).collect()
        }
        Ok(DataType::Double) => {
            let words = tensor.raw_data.as_chunks().0.iter();
            words.map(|&b| f64::from_le_bytes(b) as f32).collect()
        }
        _ => return,
    };
    *tensor = of_floats(&tensor.name, &tensor.dims, &values);
}

/// An IEEE 754 half as a float.
fn half(bits: u16) -> f32 {
    let (sign, exponent, fraction) = (bits >> 15, bits >> 10 & 31, bits & 1023);
    let size = match exponent {
        0 => f32::from(fraction) / (1 << 24) as f32,
        31 if fraction == 0 => f32::INFINITY,
        31 => f32::NAN,
        _ => f32::from_bits((u32::from(exponent) + 112) << 23 | u32::from(fraction) << 13),
    };
    if sign == 1 { -size } else { size }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_are_what_ieee_754_says() {
        let cases = [
            (0x0000, 0.0),
            (0x0001, 2f32.powi(-24)),
            (0x03ff, 1023.0 * 2f32.powi(-24)),
            (0x0400, 2f32.powi(-14)),
            (0x3c00, 1.0),
            (0xc000, -2.0),
            (0x7bff, 65504.0),
            (0x7c00, f32::INFINITY),
            (0xfc00, f32::NEG_INFINITY),
        ];
        for (bits, value) in cases {
            assert_eq!(half(bits), value, "{bits:#06x}");
        }
        assert!(half(0x7e00).is_nan());
    }

    #[test]
    fn a_shape_that_promises_more_is_seen() {
        let mut tensor = of_floats("w", &[2, 3], &[0.0; 6]);
        assert!(is_whole(&tensor));
        tensor.dims = vec![2, 4];
        assert!(!is_whole(&tensor));
        tensor.dims = vec![i64::MAX, i64::MAX];
        assert!(!is_whole(&tensor));
        tensor.dims = vec![-1];
        assert!(!is_whole(&tensor));
    }
}
