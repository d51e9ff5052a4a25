//! `headstart import`: somebody else's ONNX becomes an encoder file.

mod candidates;
mod check;
mod choose;
mod cut;
mod facts;
pub(crate) mod input;
mod norms;
mod onnxruntime;
mod open;
mod preprocess;
mod quantised;
mod report;
mod tensor;
mod tidy;
mod verify;

use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail, ensure};
use check::checked;
use choose::{choose, refusal};
use headstart::onnx::{Library, PREFIX};
use prost::Message;
use sha2::{Digest, Sha256};
use tract_onnx::pb::{GraphProto, ModelProto, StringStringEntryProto};

use crate::error::{Failure, Outcome};
use crate::files;
use crate::graph::Graph;
use candidates::{Candidate, View};
pub use cut::Pool;
use input::Input;
use preprocess::Preprocess;
use report::Report;
use tidy::{Tidied, Tidy};
use verify::Verified;

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
    /// The network's licence, kept in the metadata
    #[arg(long, value_name = "NAME")]
    licence: Option<String>,
    /// Where the network is from, kept in the metadata
    #[arg(long, value_name = "TEXT")]
    origin: Option<String>,
    /// One JSON object on stdout instead of text
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    preprocess: Preprocess,
}

/// Candidates that a list shows.
const SHOWN: usize = 8;

/// Runs the command.
pub fn run(args: Args) -> Outcome {
    if let Some(output) = &args.output {
        check_output(output, &args.model)?;
    }
    let name = args.model.display().to_string();
    let found = open_and_prepare(&args, None).with_context(|| name.clone())?;
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

/// The encoder file that `headstart import` makes of a network's bytes before it runs the two side by
/// side: cut at the best candidate. Weights in files beside it are left out.
///
/// # Errors
/// All that the command says of a network that it can't use.
pub fn encoder(bytes: &[u8]) -> anyhow::Result<Vec<u8>> {
    let args = Args {
        model: "network.onnx".into(),
        output: None,
        list: false,
        embedding: None,
        pool: None,
        shape: None,
        check: None,
        licence: None,
        origin: None,
        json: false,
        preprocess: Preprocess::default(),
    };
    let model = open::whole(open::decode(bytes)?, Path::new(""), 0)?;
    let found = prepare(&args, model, None)?;
    let chosen = choose(&args, &found)?;
    let imported = finish(&args, found, &chosen, Sha256::digest(bytes).into())?;
    Ok(imported.model.encode_to_vec())
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
    fn graph(&self) -> &GraphProto {
        graph_of(&self.model)
    }

    /// A tensor by the name that the file has for it.
    fn named(&self, name: &str) -> Option<Candidate> {
        let view = View::new(self.graph(), &self.facts, &self.input.name);
        let now = self.renamed.get(name).map_or(name, String::as_str);
        view.chosen(now)
    }
}

/// The graph, or one without anything in it.
fn graph_of(model: &ModelProto) -> &GraphProto {
    static EMPTY: std::sync::LazyLock<GraphProto> = std::sync::LazyLock::new(Default::default);
    model.graph.as_ref().unwrap_or(&EMPTY)
}

impl Args {
    /// Sizes of the input behind the batch.
    fn sizes(&self) -> Option<Vec<usize>> {
        let sizes = self.shape.as_ref()?;
        Some(sizes.iter().map(|&d| d as usize).collect())
    }
}

/// Reads and tidies the file. `batch` fixes the batch where it can't be free.
fn open_and_prepare(args: &Args, batch: Option<usize>) -> anyhow::Result<Found> {
    prepare(args, open::open(&args.model)?, batch)
}

fn prepare(args: &Args, mut model: ModelProto, batch: Option<usize>) -> anyhow::Result<Found> {
    if model
        .metadata_props
        .iter()
        .any(|p| p.key == "headstart.space_id")
    {
        bail!("it is an encoder of headstart already: there is nothing to import");
    }
    // What else stands there under our name is not ours, and would be read as if it were.
    model.metadata_props.retain(|p| !p.key.starts_with(PREFIX));
    let graph = model.graph.as_mut().context("it has no graph")?;
    tidy::order(graph)?;
    let before = Input::of(graph, args.sizes().as_deref())?;
    let mut input = before.clone();
    let mut tidy = Tidy::new(&mut model);
    tidy.run(args.embedding.as_deref());
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
    let candidates = View::new(graph_of(&model), &facts, &input.name).candidates();
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
    let library = Library::find().ok();
    let batch = found.before.batch.unwrap_or(1);
    let source: [u8; 32] = Sha256::digest(files::read(&args.model)?).into();
    let first = finish(args, found, chosen, source).and_then(|i| checked(args, i, library));
    let why = match &first {
        Ok((_, verified)) if verified.refusals.is_empty() => return first,
        Ok((_, verified)) => anyhow!("{}", verified.refusals.join("; ")),
        Err(why) => anyhow!("{why:#}"),
    };
    let again = open_and_prepare(args, Some(batch))
        .and_then(|found| finish(args, found, chosen, source))
        .and_then(|i| checked(args, i, library));
    match (first, again) {
        // A free batch that one runtime can't run loses against a fixed one that both can.
        (Ok(first), Ok((_, verified))) if !verified.refusals.is_empty() => Ok(first),
        (_, Ok((mut imported, verified))) => {
            imported.batch = Some(format!("{why:#}"));
            Ok((imported, verified))
        }
        // What was wrong at first is the better answer where this does not help.
        (first, Err(_)) => first,
    }
}

/// From the tidied network to the encoder; `source` is the file's SHA-256.
fn finish(
    args: &Args,
    found: Found,
    chosen: &Candidate,
    source: [u8; 32],
) -> anyhow::Result<Imported> {
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
        .map(|p| (p, cut::layout(p, graph, &chosen.name)));
    let head = cut::cut(graph, &chosen.name, &chosen.shape, pool);
    if let Some(node) = input::control_flow(graph) {
        return Err(refusal(node, graph));
    }
    let values = match pool {
        Some((_, layout)) => layout.channels(&chosen.shape),
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
        .extend(metadata(args, chosen, &before, source));
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

/// What the file says about itself besides the graph.
fn metadata(
    args: &Args,
    chosen: &Candidate,
    before: &Input,
    source: [u8; 32],
) -> Vec<StringStringEntryProto> {
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
    entries.into_iter().map(entry).collect()
}

/// Why the packed encoder can't run it.
fn packable(model: &ModelProto, _input: &Input) -> Option<String> {
    let input = crate::encoder_file::GraphInput::of(model, None);
    let Some(input) = input else {
        return Some("its input is no picture, series or vector".into());
    };
    Graph::read(model, input.shape).err().map(|e| e.to_string())
}
