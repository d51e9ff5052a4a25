//! `headstart import`: somebody else's ONNX becomes an encoder file.

mod candidates;
mod cut;
mod facts;
pub(crate) mod input;
mod open;
mod preprocess;
mod quantised;
mod report;
mod tensor;
mod tidy;
mod verify;

use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail, ensure};
use prost::Message;
use sha2::{Digest, Sha256};
use tract_onnx::pb::{ModelProto, NodeProto, StringStringEntryProto};

use crate::bench::onnxruntime::Library;
use crate::encoder_file::EncoderFile;
use crate::error::{Failure, Outcome};
use crate::files;
use crate::graph::Graph;
use candidates::{Candidate, View};
use cut::Layout;
pub use cut::Pool;
use input::Input;
use preprocess::Preprocess;
use report::Report;
use tidy::{Tidied, Tidy};
use verify::{Original, Verified};

/// Turn somebody else's ONNX into an encoder file
///
/// Finds where the head begins and cuts it off, folds what can be folded, makes the batch free and
/// names the input `input` and the output `embedding`. The result is run beside the original,
/// through tract and, where ORT_DYLIB_PATH names its library, through ONNX Runtime; nothing is
/// written where they disagree.
#[derive(Debug, Clone, clap::Args)]
#[command(
    after_help = "Examples:\n  headstart import mobilenet.onnx --list\n  headstart import mobilenet.onnx -o encoder.onnx --preset imagenet\n  headstart import detector.onnx -o encoder.onnx --embedding backbone/out --pool mean"
)]
pub struct Args {
    /// The network, .onnx of opset 7 or later; weights may be in files beside it
    model: PathBuf,
    /// Where the encoder goes
    #[arg(short, long, value_name = "ENCODER", required_unless_present = "list")]
    output: Option<PathBuf>,
    /// Only show which tensors could be the embedding, best first
    #[arg(long)]
    list: bool,
    /// The tensor that is the embedding [default: the first of --list]
    #[arg(long, value_name = "NAME")]
    embedding: Option<String>,
    /// How a map or tokens become one vector
    #[arg(long, value_enum)]
    pool: Option<Pool>,
    /// Sizes of the input without the batch, where the file leaves them open: 3,224,224
    #[arg(long, value_name = "SIZES", value_delimiter = ',', value_parser = clap::value_parser!(u32).range(1..))]
    shape: Option<Vec<u32>>,
    /// Compare on these too, besides random numbers: recordings or inputs (.npz), pictures or WAV
    /// files, as the front end takes them
    #[arg(long, value_name = "DATA")]
    check: Option<PathBuf>,
    #[command(flatten)]
    preprocess: Preprocess,
    /// The network's licence, kept in the metadata
    #[arg(long, value_name = "NAME")]
    licence: Option<String>,
    /// Where the network is from, kept in the metadata
    #[arg(long, value_name = "TEXT")]
    origin: Option<String>,
    /// One JSON object on stdout instead of text
    #[arg(long)]
    json: bool,
}

/// Candidates that a list shows.
const SHOWN: usize = 8;
/// Inputs that original and encoder are compared on.
const COMPARED: usize = 6;

/// Runs the command.
pub fn run(args: Args) -> Outcome {
    if let Some(output) = &args.output {
        check_output(output, &args.model)?;
    }
    let name = args.model.display().to_string();
    let found = prepare(&args, None).with_context(|| name.clone())?;
    if args.list {
        print!("{}", report::list(&name, &found, args.json));
        return Ok(());
    }
    let chosen = choose(&args, &found)?;
    let fed = args.preprocess.metadata(&found.model)?;
    let (mut imported, verified) = import(&args, found, &chosen).with_context(|| name.clone())?;
    imported.model.metadata_props.extend(fed);
    let output = args.output.as_deref().unwrap_or(Path::new(""));
    let bytes = imported.model.encode_to_vec();
    files::write(output, &bytes)?;
    let report = Report::new(&args, output, &imported, &verified, &bytes);
    print!("{}", report.print(args.json));
    Ok(())
}

fn check_output(output: &Path, model: &Path) -> Result<(), Failure> {
    let folder = output.parent().filter(|f| !f.as_os_str().is_empty());
    if let Some(folder) = folder.filter(|f| !f.is_dir()) {
        let text = format!("there is no folder {} to write into", folder.display());
        return Err(anyhow!(text).into());
    }
    let same = |a: &Path| a.canonicalize().ok();
    if output.is_dir() {
        return Err(anyhow!("the output {} is a folder", output.display()).into());
    }
    if same(output).is_some() && same(output) == same(model) {
        let text = "the output is the network itself: give it another name";
        return Err(Failure::Usage(text.into()));
    }
    Ok(())
}

/// A network that was read and tidied, and what could be its embedding.
struct Found {
    model: ModelProto,
    input: Input,
    /// The input's name in the file, and how it takes numbers there.
    before: Input,
    tidied: Tidied,
    /// Names that went away, to those with the same values.
    renamed: std::collections::HashMap<String, String>,
    candidates: Vec<Candidate>,
    facts: std::collections::HashMap<String, facts::Fact>,
}

impl Found {
    fn graph(&self) -> &tract_onnx::pb::GraphProto {
        static EMPTY: std::sync::LazyLock<tract_onnx::pb::GraphProto> =
            std::sync::LazyLock::new(Default::default);
        self.model.graph.as_ref().unwrap_or(&EMPTY)
    }

    /// A tensor by the name that the file has for it.
    fn named(&self, name: &str) -> Option<Candidate> {
        let view = View::new(self.graph(), &self.facts, &self.input.name);
        let now = self.renamed.get(name).map_or(name, String::as_str);
        view.chosen(now)
    }
}

/// Reads and tidies the file. `batch` fixes the batch where it can't be free.
fn prepare(args: &Args, batch: Option<usize>) -> anyhow::Result<Found> {
    let mut model = open::open(&args.model)?;
    if model
        .metadata_props
        .iter()
        .any(|p| p.key == "headstart.space_id")
    {
        bail!("it is an encoder of headstart already: there is nothing to import");
    }
    let graph = model.graph.as_mut().context("it has no graph")?;
    tidy::order(graph)?;
    let asked: Option<Vec<usize>> = args
        .shape
        .as_ref()
        .map(|s| s.iter().map(|&d| d as usize).collect());
    let before = Input::of(graph, asked.as_deref())?;
    let mut input = before.clone();
    let mut tidy = Tidy::new(&mut model);
    tidy.run();
    let (mut done, renamed) = (tidy.done, tidy.renamed);
    input.make_float(&mut model);
    let own = batch.or(before.batch).unwrap_or(1);
    let at = |model: &ModelProto, batch: usize| facts::facts(model, &input.shape(batch));
    let (first, others) = (at(&model, own)?, [at(&model, 2)?, at(&model, 3)?]);
    let mut tidy = Tidy::new(&mut model);
    match batch {
        Some(_) => tidy.fold_constants(&first, [&first, &first], false),
        None => tidy.fold_constants(&first, [&others[0], &others[1]], true),
    }
    done.constants = tidy.done.constants;
    let graph = model.graph.get_or_insert_default();
    if batch.is_none() {
        input.batch = None;
    }
    graph.input = vec![cut::value(&input.name, input.batch, &input.sizes)];
    let facts = facts::facts(&model, &input.shape(own))?;
    let candidates = match model.graph.as_ref() {
        Some(graph) => View::new(graph, &facts, &input.name).candidates(),
        None => Vec::new(),
    };
    Ok(Found {
        model,
        input,
        before,
        tidied: done,
        renamed,
        candidates,
        facts,
    })
}

/// The tensor that is to be the embedding.
fn choose(args: &Args, found: &Found) -> Result<Candidate, Failure> {
    let model = args.model.display();
    let chosen = match &args.embedding {
        Some(name) => found.named(name).ok_or_else(|| {
            let text = format!(
                "{model} has no tensor `{name}` that depends on its input and has a known shape: `headstart import {model} --list` shows what it has"
            );
            Failure::Failed(anyhow!(text))
        })?,
        None => {
            let suits = |c: &&Candidate| c.pooled == args.pool.is_some() && (!c.pooled || c.shape.len() < 4);
            let first = found.candidates.iter().find(suits).or(found.candidates.first());
            first.cloned().ok_or_else(|| open_choice(found, &model))?
        }
    };
    if chosen.pooled && args.pool.is_none() {
        return Err(anyhow!(
            "`{}` is a map of {}, not one vector: add --pool mean{}, or choose another with --embedding (see --list)",
            chosen.name,
            report::sizes(&chosen.shape),
            if chosen.shape.len() == 2 { " (or --pool cls, its first token)" } else { "" }
        )
        .into());
    }
    if args.pool == Some(Pool::Cls) && chosen.shape.len() != 2 {
        return Err(Failure::Usage(format!(
            "--pool cls takes tokens, [tokens, values], and `{}` is {}",
            chosen.name,
            report::sizes(&chosen.shape)
        )));
    }
    Ok(chosen)
}

fn open_choice(found: &Found, model: &std::path::Display) -> Failure {
    if let Some(node) = blocked(found) {
        return Failure::Failed(node);
    }
    anyhow!(
        "no tensor was found that all of its output is computed from and whose shape is known: name one with --embedding NAME, for example from `netron {model}`"
    )
    .into()
}

/// The first node that nothing here can look behind.
fn blocked(found: &Found) -> Option<anyhow::Error> {
    let flow = input::control_flow(found.graph());
    let unknown = || {
        found
            .graph()
            .node
            .iter()
            .find(|n| !facts::known(&n.op_type))
    };
    flow.or_else(unknown).map(|n| refusal(n, found.graph()))
}

/// Says which node can't be run, what it feeds and what to do.
fn refusal(node: &NodeProto, graph: &tract_onnx::pb::GraphProto) -> anyhow::Error {
    let fed = graph
        .node
        .iter()
        .find(|n| n.input.iter().any(|i| node.output.contains(i)));
    let feeds = match fed {
        Some(next) => format!("which feeds `{}` ({})", tidy::name_of(next), next.op_type),
        None => "which is an output".into(),
    };
    let what = match tidy::inner(node).next() {
        Some(_) => {
            "control flow: a device runs every layer every time. Export the network with its condition fixed (torch.onnx.export traces one path), or cut before it with --embedding"
        }
        None => {
            "unknown to the runtimes here. Export with standard operators of opset 17, or cut before it with --embedding"
        }
    };
    anyhow!(
        "node `{}` is a {}, {feeds}; it is {what}",
        tidy::name_of(node),
        node.op_type
    )
}

/// An encoder that agrees with its file.
struct Imported {
    model: ModelProto,
    input: Input,
    embedding: Candidate,
    tidied: Tidied,
    /// What was cut off, by operator.
    head: Vec<String>,
    tolerance: f32,
    /// Why a microcontroller can't run it; `None` where it can.
    pack: Option<String>,
    /// Why the batch stays as it is.
    batch: Option<String>,
}

/// Cuts, and verifies; where a free batch gives something else, the batch stays the file's.
fn import(args: &Args, found: Found, chosen: &Candidate) -> anyhow::Result<(Imported, Verified)> {
    let library = Library::find();
    let fixed = found.before.batch;
    let first = finish(args, found, chosen).and_then(|i| checked(args, i, &library));
    let (why, batch) = match (first, fixed) {
        (Ok(found), _) => return Ok(found),
        (Err(why), Some(batch)) => (why, batch),
        (Err(why), None) => return Err(why),
    };
    let found = prepare(args, Some(batch))?;
    let again = finish(args, found, chosen).and_then(|i| checked(args, i, &library));
    // What was wrong at first is the better answer where this does not help.
    let Ok((mut imported, verified)) = again else {
        return Err(why);
    };
    imported.batch = Some(format!("{why:#}"));
    Ok((imported, verified))
}

/// From the tidied network to the encoder.
fn finish(args: &Args, found: Found, chosen: &Candidate) -> anyhow::Result<Imported> {
    let Found {
        mut model,
        input,
        before,
        tidied,
        ..
    } = found;
    let graph = model.graph.get_or_insert_default();
    let pool = args
        .pool
        .filter(|_| chosen.pooled)
        .map(|p| (p, layout(graph, &chosen.name)));
    let head = cut::cut(graph, &chosen.name, &chosen.shape, pool);
    if let Some(node) = input::control_flow(graph) {
        return Err(refusal(node, graph));
    }
    let values = match pool {
        Some((_, Layout::First)) => chosen.shape[0],
        Some((_, Layout::Last)) => chosen.shape[chosen.shape.len() - 1],
        None => chosen.values,
    };
    ensure!(
        (1..=4096).contains(&values),
        "an embedding has 1 to 4096 values, `{}` has {values}: choose another with --embedding, or --pool mean",
        chosen.name
    );
    graph.input = vec![cut::value("input", input.batch, &input.sizes)];
    graph.output = vec![cut::value("embedding", input.batch, &[values])];
    graph.doc_string.clear();
    let half = tidied.widened > 0;
    model
        .metadata_props
        .extend(metadata(args, chosen, &before)?);
    model.functions.clear();
    let mut input = input;
    input.name = "input".into();
    Ok(Imported {
        pack: packable(&model, &input),
        model,
        input,
        embedding: Candidate {
            values,
            ..chosen.clone()
        },
        tidied,
        head,
        tolerance: if half {
            verify::HALF_TOLERANCE
        } else {
            verify::TOLERANCE
        },
        batch: None,
    })
}

/// Whether channels come before places in the map that `name` is.
fn layout(graph: &tract_onnx::pb::GraphProto, name: &str) -> Layout {
    let mut at = name;
    loop {
        let Some(node) = graph.node.iter().find(|n| n.output.iter().any(|o| o == at)) else {
            return Layout::First;
        };
        match node.op_type.as_str() {
            "Conv"
            | "MaxPool"
            | "AveragePool"
            | "BatchNormalization"
            | "ConvTranspose"
            | "InstanceNormalization" => return Layout::First,
            "MatMul" | "Gemm" | "LayerNormalization" | "Transpose" | "LSTM" | "GRU" => {
                return Layout::Last;
            }
            _ => match node.input.first() {
                Some(input) => at = input,
                None => return Layout::First,
            },
        }
    }
}

/// What the file says about itself besides the graph.
fn metadata(
    args: &Args,
    chosen: &Candidate,
    before: &Input,
) -> anyhow::Result<Vec<StringStringEntryProto>> {
    let file = files::read(&args.model)?;
    let source: [u8; 32] = Sha256::digest(&file).into();
    drop(file);
    let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
    // One space for one network cut at one place.
    let space = Sha256::new()
        .chain_update(source)
        .chain_update(&chosen.name)
        .chain_update(format!("{:?}{:?}", args.pool, before.sizes))
        .finalize();
    let name = args.model.file_name().unwrap_or_default().to_string_lossy();
    let mut entries = vec![
        ("space_id", hex(&space[..16])),
        ("source", name.into_owned()),
        ("source_sha256", hex(&source)),
        ("source_tensor", chosen.name.clone()),
    ];
    entries.extend(args.licence.clone().map(|l| ("licence", l)));
    entries.extend(args.origin.clone().map(|o| ("origin", o)));
    let entry = |(key, value): (&str, String)| StringStringEntryProto {
        key: format!("headstart.{key}"),
        value,
    };
    Ok(entries.into_iter().map(entry).collect())
}

/// Why the packed encoder can't run it.
fn packable(model: &ModelProto, _input: &Input) -> Option<String> {
    let input = crate::encoder_file::GraphInput::of(model, None);
    let Some(input) = input else {
        return Some("its input is no picture, series or vector".into());
    };
    Graph::read(model, input.shape).err().map(|e| e.to_string())
}

/// Compares encoder and file; an error where they differ.
fn checked(
    args: &Args,
    imported: Imported,
    library: &Library,
) -> anyhow::Result<(Imported, Verified)> {
    let mut original = open::open(&args.model)?;
    let graph = original.graph.as_mut().context("it has no graph")?;
    tidy::order(graph)?;
    let asked: Option<Vec<usize>> = args
        .shape
        .as_ref()
        .map(|s| s.iter().map(|&d| d as usize).collect());
    let input = Input::of(graph, asked.as_deref())?;
    let (tensor, dequantise, step) = counterpart(graph, &imported);
    let compared = Original {
        model: &original,
        input: &input,
        tensor: &tensor,
        dequantise,
        shape: &imported.embedding.shape,
        pool: args
            .pool
            .filter(|_| imported.embedding.pooled)
            .map(|p| (p, layout(graph_of(&original), &tensor))),
    };
    let range = args.preprocess.range(&imported.model);
    let mut inputs = verify::random(input.values(), COMPARED, input.range().or(range));
    if let Some(data) = &args.check {
        inputs.extend(given(args, &imported, data)?);
    }
    let verified = verify::differences(
        &compared,
        &imported.model,
        imported.input.batch,
        &inputs,
        library,
    )?;
    let scale = verified.largest.max(1.0);
    let tolerance = match step {
        Some(step) => (step / scale * 1.001).max(imported.tolerance),
        None => imported.tolerance,
    };
    let worst = verified
        .differences
        .iter()
        .max_by(|a, b| a.1.total_cmp(b.1));
    if let Some((runtime, difference)) = worst.filter(|(_, d)| **d > tolerance) {
        bail!(
            "the encoder differs from the file by {difference:.1e} in {runtime}, more than {tolerance:.0e}: nothing was written"
        );
    }
    Ok((
        Imported {
            tolerance,
            ..imported
        },
        verified,
    ))
}

/// Inputs from data, as the front end makes them.
fn given(args: &Args, imported: &Imported, data: &Path) -> anyhow::Result<Vec<Vec<f32>>> {
    let mut model = imported.model.clone();
    let fed = args
        .preprocess
        .metadata(&model)
        .map_err(anyhow::Error::from)?;
    model.metadata_props.extend(fed);
    let bytes = model.encode_to_vec();
    drop(model);
    let encoder = EncoderFile::for_data(&bytes, data)?;
    let things = crate::pack::things(&encoder, data, COMPARED).map_err(anyhow::Error::from)?;
    let inputs = encoder.inputs(&things)?;
    let values = imported.input.values();
    Ok(inputs.chunks_exact(values).map(<[f32]>::to_vec).collect())
}

fn graph_of(model: &ModelProto) -> &tract_onnx::pb::GraphProto {
    static EMPTY: std::sync::LazyLock<tract_onnx::pb::GraphProto> =
        std::sync::LazyLock::new(Default::default);
    model.graph.as_ref().unwrap_or(&EMPTY)
}

/// The tensor of the file that the embedding is; integers with how to read them, and the step of
/// the last quantisation before it, which is how far two runtimes may be apart.
fn counterpart(
    graph: &tract_onnx::pb::GraphProto,
    imported: &Imported,
) -> (String, Option<[f32; 2]>, Option<f32>) {
    let name = &imported.embedding.name;
    let ours = graph_of(&imported.model);
    let written = graph.node.iter().any(|n| n.output.contains(name));
    let number = |name: Option<&String>| {
        let tensor = ours.initializer.iter().find(|t| Some(&t.name) == name)?;
        crate::graph::floats(tensor)?.1.first().copied()
    };
    // The steps of all quantisers that lead to it: a value next to a step's edge may fall on
    // either side in another runtime, and the last one decides how far that shows.
    let quantisers = ours
        .node
        .iter()
        .rev()
        .filter(|n| n.op_type == "QuantizeLinear");
    let step = quantisers.filter_map(|n| number(n.input.get(1))).next();
    let made = ours
        .node
        .iter()
        .find(|n| n.output.iter().any(|o| o == "embedding" || o == name));
    match made.filter(|n| !written && n.op_type == "DequantizeLinear") {
        Some(node) => {
            let scale = number(node.input.get(1)).unwrap_or(1.0);
            let zero = number(node.input.get(2)).unwrap_or(0.0);
            (node.input[0].clone(), Some([scale, zero]), step)
        }
        None => (name.clone(), None, step),
    }
}
