//! The encoder's `.onnx` behind the same learner as its pack: the same predictions, and errors that
//! say what to do.

use std::path::{Path, PathBuf};

use headstart::encoder::EmbedError;
use headstart::frontend::{Image, Signal};
use headstart::onnx::{
    InfoError, Library, OnnxEncoder, OnnxError, Options, OrtEncoder, Runtime, TractEncoder,
};
use headstart::{Encoder, EncoderPack, Label, Learner, PackedEncoder, PrototypeHead, Statistics};

#[path = "../../examples/watch/mod.rs"]
#[allow(dead_code)]
mod watch;
use watch::Watch;

static PACK: &[u8] = headstart::include_pack!("../../models/watch.pack");
const WAYS: usize = 3;

fn repository(path: &str) -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/..")).join(path)
}

fn onnx() -> Vec<u8> {
    std::fs::read(repository("models/watch.onnx")).expect("committed")
}

fn data() -> Watch {
    Watch::load(&repository("models/data/watch/unseen.npz")).expect("committed")
}

/// ONNX Runtime is not on every machine: its part is skipped aloud.
fn without_library(test: &str) -> bool {
    let found = Library::find();
    if let Err(why) = &found {
        eprintln!("skipped, {test}: {why}");
    }
    found.is_err()
}

/// Teaches three exercises and asks about them: the names that it gives.
fn answers(
    encoder: impl Encoder,
    background: Option<headstart::pack::Background<'_>>,
) -> Vec<String> {
    let data = data();
    let (dim, artefact) = (encoder.dim(), encoder.artefact());
    let mut words = vec![0; Statistics::words(dim, WAYS)];
    let mut labels = vec![Label::new(); WAYS];
    let statistics = Statistics::new(dim, artefact, &mut words, &mut labels).expect("room");
    let mut embedding = vec![0; dim];
    let head = PrototypeHead::new(background);
    let mut learner = Learner::new(encoder, statistics, head, &mut embedding).expect("they fit");
    let (support, query) = watch::lesson(&data.same_wearer());
    for &(class, window) in &support {
        let counts = data.counts(window);
        learner.learn(&data.labels[class], counts).expect("learnt");
    }
    let mut ask = |&(_, window): &(usize, usize)| {
        let prediction = learner.predict(data.counts(window)).expect("taught");
        prediction.label.to_string()
    };
    query.iter().map(&mut ask).collect()
}

fn float_answers<R: Runtime>() -> Vec<String> {
    let encoder = OnnxEncoder::<R>::from_bytes(&onnx()).expect("ours");
    let background = encoder.info().background.clone();
    answers(encoder, background.as_ref().map(|b| b.view()))
}

#[test]
fn one_learner_over_three_encoders_gives_the_same_predictions() {
    let pack = EncoderPack::new(PACK).expect("committed");
    let mut arena = vec![0; pack.arena_bytes().div_ceil(4)];
    let encoder: PackedEncoder = PackedEncoder::new(pack, &mut arena).expect("room");
    let packed = answers(encoder, pack.background());
    assert_eq!(packed.len(), 60);
    assert_eq!(float_answers::<headstart::onnx::Tract>(), packed);
    if !without_library("predictions") {
        assert_eq!(float_answers::<headstart::onnx::Ort>(), packed);
    }
}

fn inputs(encoder: &OnnxEncoder<impl Runtime>, windows: usize) -> Vec<f32> {
    let data = data();
    let window = |w: usize| encoder.info().frontend.inputs(data.counts(w * 32).into());
    (0..windows)
        .flat_map(|w| window(w).expect("one of ours"))
        .collect()
}

/// Of the largest value.
fn apart(a: &[Vec<f32>], b: &[Vec<f32>]) -> f32 {
    assert_eq!(a.len(), b.len());
    let pairs = || a.iter().flatten().zip(b.iter().flatten());
    let largest = pairs().fold(0.0f32, |m, (a, _)| m.max(a.abs()));
    pairs().fold(0.0f32, |m, (a, b)| m.max((a - b).abs())) / largest
}

#[test]
fn tract_and_onnx_runtime_agree() {
    if without_library("raw embeddings") {
        return;
    }
    let mut tract = TractEncoder::from_bytes(&onnx()).expect("ours");
    let mut ort = OrtEncoder::from_bytes(&onnx()).expect("ours");
    assert_eq!((tract.dim(), tract.artefact()), (ort.dim(), ort.artefact()));
    let inputs = inputs(&tract, 50);
    let (a, b) = (tract.embed_batch(&inputs), ort.embed_batch(&inputs));
    let difference = apart(&a.expect("runs"), &b.expect("runs"));
    assert!(difference <= 1e-4, "{difference}");
}

/// How windows are gathered and spread over threads does not matter.
#[test]
fn batches_and_threads_change_nothing() {
    let mut one = TractEncoder::from_bytes(&onnx()).expect("ours");
    let inputs = inputs(&one, 21);
    let expected = one.embed_batch(&inputs).expect("runs");
    assert_eq!((expected.len(), expected[0].len()), (21, one.dim()));
    for (threads, batch) in [(0, 1), (3, 4), (2, 32)] {
        let options = Options { threads, batch };
        let mut other = TractEncoder::from_bytes_with(&onnx(), options).expect("ours");
        let difference = apart(&expected, &other.embed_batch(&inputs).expect("runs"));
        assert!(difference <= 1e-5, "{options:?}: {difference}");
    }
}

/// tract refuses, and ONNX Runtime where it is there; what is `expected` of both.
fn refused(bytes: &[u8], expected: impl Fn(&OnnxError) -> bool) {
    let tract = TractEncoder::from_bytes(bytes).err().expect("refused");
    assert!(expected(&tract), "{tract}");
    let ort = OrtEncoder::from_bytes(bytes).err().expect("refused");
    assert!(
        expected(&ort) || matches!(ort, OnnxError::Library(_)),
        "{ort}"
    );
}

#[test]
fn files_that_are_no_encoders_are_refused() {
    let missing = TractEncoder::open("no/such.onnx").err().expect("refused");
    assert!(matches!(missing, OnnxError::Read { .. }));
    assert!(missing.to_string().contains("no/such.onnx"), "{missing}");

    let not_onnx = |e: &OnnxError| matches!(e, OnnxError::NotOnnx);
    refused(b"", not_onnx);
    refused(
        b"An encoder is a network without its last layer.\n",
        not_onnx,
    );
    let whole = onnx();
    refused(&whole[..whole.len() / 2], not_onnx);

    use prost::Message;
    let mut proto = tract_onnx::pb::ModelProto::decode(whole.as_slice()).expect("ONNX");
    let stored = std::mem::take(&mut proto.metadata_props);
    refused(&proto.encode_to_vec(), |e| {
        matches!(e, OnnxError::Info(InfoError::Missing("frontend")))
    });
    // A front end of another sensor.
    proto.metadata_props = stored;
    for entry in &mut proto.metadata_props {
        entry.value = entry.value.replace("\"window\":128", "\"window\":96");
    }
    refused(&proto.encode_to_vec(), |e| {
        matches!(
            e,
            OnnxError::Input {
                frontend: [1, 96, 6],
                ..
            }
        )
    });
    // A graph that no runtime can run.
    let mut proto = tract_onnx::pb::ModelProto::decode(whole.as_slice()).expect("ONNX");
    for node in &mut proto.graph.as_mut().expect("a graph").node {
        node.op_type = "Nothing".into();
    }
    refused(&proto.encode_to_vec(), |e| {
        matches!(e, OnnxError::Runtime(_))
    });
}

/// One flipped bit here and there: an error or an encoder, never a panic.
#[test]
fn a_damaged_file_never_panics() {
    let whole = onnx();
    for byte in (0..whole.len()).step_by(whole.len() / 150) {
        let mut damaged = whole.clone();
        damaged[byte] ^= 1 << (byte % 8);
        let _ = TractEncoder::from_bytes(&damaged);
    }
}

#[test]
fn signals_of_another_kind_or_length_are_refused() {
    let mut encoder = TractEncoder::from_bytes(&onnx()).expect("ours");
    let mut out = vec![0; encoder.dim()];
    let image = Image::new(2, 2, 1, &[0; 4]).expect("an image");
    let takes = "samples of a sensor";
    assert_eq!(
        encoder.embed(Signal::Image(image), &mut out).err(),
        Some(EmbedError::WrongSignal { takes })
    );
    let (expected, got) = (encoder.input_len(), 12);
    assert_eq!(
        encoder.embed((&[0; 12]).into(), &mut out).err(),
        Some(EmbedError::InputLength { expected, got })
    );
    let window = vec![0; expected];
    let (expected, got) = (encoder.dim(), encoder.dim() - 1);
    assert_eq!(
        encoder.embed(window.as_slice().into(), &mut out[1..]).err(),
        Some(EmbedError::OutputLength { expected, got })
    );
    assert!(encoder.embed_batch(&[0.0; 7]).is_err());
}

/// In a process of its own, because a library that is loaded stays.
#[test]
fn without_a_library_the_error_says_how_to_get_one() {
    const CHILD: &str = "HEADSTART_TEST_WITHOUT_LIBRARY";
    if std::env::var_os(CHILD).is_some() {
        let why = OrtEncoder::from_bytes(&onnx()).err().expect("refused");
        assert!(matches!(why, OnnxError::Library(_)));
        let why = why.to_string();
        for expected in [
            "ORT_DYLIB_PATH",
            "pip install onnxruntime",
            "no/such/library",
        ] {
            assert!(why.contains(expected), "{why}");
        }
        return;
    }
    let test = "without_a_library_the_error_says_how_to_get_one";
    let this = std::env::current_exe().expect("running");
    let child = std::process::Command::new(this)
        .args(["--exact", test])
        .env(CHILD, "1")
        .env("ORT_DYLIB_PATH", "no/such/library.so")
        .status();
    assert!(child.expect("runs").success());
}
