//! Contract: no outside byte makes the host panic, run for long or take more memory than the file is
//! worth. What the fuzzers in `fuzz/host` found worth keeping is run once more by the code that they ran,
//! under the same limits; and each fault that was found stands here by itself.

use std::alloc::System;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use cap::Cap;
use headstart_tests::hostile::TARGETS;
use headstart_tests::repository;

#[global_allocator]
static MEMORY: Cap<System> = Cap::new(System, usize::MAX);

/// As long as one file may take; the fuzzers' own limit is half of it, on a machine of its own.
const LONGEST: Duration = Duration::from_secs(20);

/// Runs something that may take so many bytes of memory more than there are now; one at a time.
fn within<T>(memory: usize, run: impl FnOnce() -> T) -> T {
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock();
    let limit = MEMORY.allocated() + memory;
    MEMORY.set_limit(limit).expect("more than there is now");
    let found = run();
    MEMORY.set_limit(usize::MAX).expect("no limit");
    found
}

/// The files of a folder, by name.
fn files(folder: PathBuf) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|e| panic!("{folder:?}: {e}"));
    let mut files: Vec<PathBuf> = entries.map(|e| e.expect("an entry").path()).collect();
    files.sort();
    files
}

#[test]
fn corpora_of_the_host() {
    for target in &TARGETS {
        let files = files(repository("fuzz/host/corpus").join(target.name));
        let mut taken = 0;
        for path in &files {
            // The name is what a panic or an abort below does not say.
            println!("{}", path.display());
            let bytes = std::fs::read(path).expect("a file");
            let start = Instant::now();
            taken += usize::from(within(target.memory, || (target.run)(&bytes)));
            assert!(start.elapsed() < LONGEST, "{}", path.display());
        }
        println!("{}: {taken} of {} were read", target.name, files.len());
        assert!(
            files.len() > 5 && taken > 1,
            "{}: {taken} of {}",
            target.name,
            files.len()
        );
    }
}

mod found {
    //! What was found, by name.

    use std::io::Cursor;

    use headstart::onnx::TractEncoder;
    use headstart_tests::networks::{dense, onnx, value};
    use headstart_trainer::dataset::Pictures;
    use headstart_trainer::encoder_file::EncoderFile;
    use headstart_trainer::import;
    use headstart_trainer::items::Picture;
    use prost::Message;
    use tract_onnx::pb::attribute_proto::AttributeType;
    use tract_onnx::pb::tensor_proto::DataType;
    use tract_onnx::pb::{
        AttributeProto, ModelProto, NodeProto, StringStringEntryProto, TensorProto,
    };

    /// A network of one dense layer, changed.
    fn network(change: impl FnOnce(&mut ModelProto)) -> Vec<u8> {
        let mut model = dense();
        change(&mut model);
        model.encode_to_vec()
    }

    #[test]
    fn a_network_as_it_should_be_is_imported() {
        import::encoder(&network(|_| {})).expect("a dense layer");
    }

    /// What reads the input was looked for round and round.
    #[test]
    fn nodes_in_a_circle_end() {
        let bytes = network(|model| {
            let graph = model.graph.as_mut().expect("it has one");
            let node = &mut graph.node[0];
            (node.op_type, node.output) = ("Identity".into(), vec!["x".into()]);
        });
        assert!(EncoderFile::plain(&bytes, 1.0).is_err());
        onnx(&bytes);
    }

    /// The encoder that was written could not be read: its front end was somebody else's words.
    #[test]
    fn entries_under_our_name_are_not_taken_over() {
        let bytes = network(|model| {
            model.metadata_props.push(StringStringEntryProto {
                key: "headstart.frontend".into(),
                value: "-".into(),
            });
        });
        let encoder = import::encoder(&bytes).expect("a dense layer");
        EncoderFile::from_bytes(&encoder).expect("an encoder");
    }

    /// tract looked up the second dimension of one.
    #[test]
    fn windows_over_a_single_dimension_are_refused() {
        for operator in ["BatchNormalization", "Conv", "MaxPool", "AveragePool"] {
            let bytes = network(|model| {
                let graph = model.graph.as_mut().expect("it has one");
                let node = &mut graph.node[0];
                let (weights, count) = match operator {
                    "BatchNormalization" => ("short", 4),
                    "Conv" => ("short", 1),
                    _ => ("short", 0),
                };
                node.op_type = operator.into();
                node.input = vec!["short".into()];
                node.input.extend(vec![weights.to_owned(); count]);
            });
            assert!(import::encoder(&bytes).is_err(), "{operator}");
            onnx(&bytes);
        }
    }

    /// Its first input would have been 4 GiB of zeros.
    #[test]
    fn an_input_of_gigabytes_is_refused() {
        let (window, channels) = (65_535, 16);
        let list = vec!["1.0"; channels].join(",");
        let frontend = format!(
            r#"{{"kind":"sensor","channels":{channels},"window":{window},"hop":1,"rate":1.0,"scale":[{list}],"mean":[{list}],"std":[{list}]}}"#
        );
        let bytes = network(|model| {
            for (key, value) in [("frontend", frontend), ("space_id", "0".repeat(32))] {
                model.metadata_props.push(StringStringEntryProto {
                    key: format!("headstart.{key}"),
                    value,
                });
            }
            let graph = model.graph.as_mut().expect("it has one");
            graph.input = vec![value("x", DataType::Float, &[1024, 16, 65_535])];
        });
        let fault = TractEncoder::from_bytes(&bytes)
            .err()
            .expect("1 Gi of numbers");
        let expected = "it takes 1073725440 numbers at once";
        assert!(fault.to_string().contains(expected), "{fault}");
    }

    /// No rows of more values than can be counted were as good as no values.
    #[test]
    fn rows_that_can_not_be_counted_are_too_many() {
        let bytes = network(|model| {
            let graph = model.graph.as_mut().expect("it has one");
            graph.input = vec![value("x", DataType::Float, &[1, 2, 2])];
            let node = &mut graph.node[0];
            (node.op_type, node.input) = ("Tile".into(), vec!["x".into(), "times".into()]);
            graph.initializer.push(TensorProto {
                name: "times".into(),
                dims: vec![3],
                data_type: DataType::Int64 as i32,
                int64_data: vec![0, 2, -1],
                ..Default::default()
            });
        });
        let fault = import::encoder(&bytes).expect_err("2^65 values a row");
        assert!(
            fault.to_string().contains("its tensor `y` would have"),
            "{fault:#}"
        );
    }

    /// Half a gibibyte of ones was asked for with a few bytes, and copied several times.
    #[test]
    fn a_constant_made_of_its_size_is_not_large() {
        let made = |sides: [i64; 2], by_a_node: bool| {
            network(|model| {
                let graph = model.graph.as_mut().expect("it has one");
                let sizes = TensorProto {
                    name: "sizes".into(),
                    dims: vec![2],
                    data_type: DataType::Int64 as i32,
                    int64_data: sides.into(),
                    ..Default::default()
                };
                let node = |operator: &str, inputs: &[&str], output: &str| NodeProto {
                    op_type: operator.into(),
                    input: inputs.iter().map(|&name| name.into()).collect(),
                    output: vec![output.into()],
                    ..Default::default()
                };
                let value = |tensor: TensorProto| AttributeProto {
                    name: "value".into(),
                    r#type: AttributeType::Tensor as i32,
                    t: Some(tensor),
                    ..Default::default()
                };
                let one = TensorProto {
                    dims: vec![1],
                    data_type: DataType::Float as i32,
                    float_data: vec![1.0],
                    ..Default::default()
                };
                let mut nodes = vec![
                    node("ConstantOfShape", &["sizes"], "made"),
                    node("MatMul", &["x", "made"], "y"),
                ];
                nodes[0].attribute.push(value(one));
                if by_a_node {
                    let mut constant = node("Constant", &[], "sizes");
                    constant.attribute.push(value(sizes));
                    nodes.insert(0, constant);
                } else {
                    graph.initializer.push(sizes);
                }
                graph.node = nodes;
            })
        };
        for by_a_node in [false, true] {
            import::encoder(&made([4, 3], by_a_node)).expect("12 ones");
            let large = made([4, 1 << 23], by_a_node);
            let fault = super::within(64 << 20, || import::encoder(&large));
            let fault = fault.expect_err("2^25 ones").to_string();
            assert!(
                fault.contains("its tensor `made` would have 33554432 values"),
                "{fault}"
            );
        }
    }

    /// An npz file whose `x` has this header and nothing behind it.
    fn npz(header: &[u8]) -> Vec<u8> {
        use std::io::Write;
        let mut npz = npyz::npz::NpzWriter::new(Cursor::new(Vec::new()));
        let zip = npz.zip_writer();
        zip.start_file("x.npy", Default::default()).expect("memory");
        zip.write_all(header).expect("memory");
        zip.finish().expect("memory").into_inner()
    }

    /// The library took memory for all of a header before it read any of it.
    #[test]
    fn a_header_that_promises_gigabytes_is_not_believed() {
        let header = [b"\x93NUMPY\x02\0", &u32::MAX.to_le_bytes()[..], b"{}"].concat();
        let file = npz(&header);
        let pictures = super::within(64 << 20, || Pictures::are_in(Cursor::new(&file)));
        assert!(!pictures);
    }

    /// A JPEG file of grey that says it has these sides, and has a block of eight by eight: tables of ones,
    /// and one code for "no change" and for "no more".
    fn jpeg(side: u16) -> Vec<u8> {
        let mut bytes = b"\xff\xd8\xff\xdb\0\x43\0".to_vec();
        bytes.extend([1; 64]);
        let sides = [side.to_be_bytes(), side.to_be_bytes()].concat();
        bytes.extend([&b"\xff\xc0\0\x0b\x08"[..], &sides, b"\x01\x01\x11\0"].concat());
        for table in [0, 0x10] {
            bytes.extend([0xff, 0xc4, 0, 20, table, 1]);
            bytes.extend([0; 16]);
        }
        bytes.extend(b"\xff\xda\0\x08\x01\x01\0\0\x3f\0\x3f\xff\xd9");
        bytes
    }

    /// Two hundred bytes were 12,288 x 12,288 pixels of grey, and 576 MB.
    #[test]
    fn a_picture_that_claims_too_many_pixels_is_refused() {
        let decode = |side| Picture::decode(Cursor::new(jpeg(side))).map(|_| ());
        decode(8).expect("eight by eight");
        let fault = decode(12_288).expect_err("150,994,944 pixels");
        assert!(fault.to_string().contains("12288 x 12288"), "{fault}");
    }
}
