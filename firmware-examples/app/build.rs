//! Cuts the demo's windows out of the watch set: one subject's first thirds to learn from, the
//! rest to be asked about.

use std::error::Error;
use std::fmt::Write as _;
use std::path::Path;

#[allow(dead_code)] // teach.rs uses the rest
#[path = "../../examples/watch/mod.rs"]
mod watch;

use watch::{CHANNELS, SUBJECT, WINDOW, Watch};

fn main() -> Result<(), Box<dyn Error>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let data = root.join("models/data/watch/unseen.npz");
    for path in [&data, &root.join("examples/watch/mod.rs")] {
        println!("cargo::rerun-if-changed={}", path.display());
    }
    let watch = Watch::load(&data)?;
    let (support, query) = watch::lesson(&watch.same_wearer());

    let mut counts = Vec::new();
    let mut source = format!("/// Whose windows these are.\npub const SUBJECT: u8 = {SUBJECT};\n");
    writeln!(
        source,
        "/// Counts in a window.\npub const COUNTS: usize = {};",
        WINDOW * CHANNELS
    )?;
    for (name, examples) in [("SUPPORT", &support), ("QUERIES", &query)] {
        writeln!(source, "/// The label of each window.")?;
        write!(source, "pub static {name}: [&str; {}] = [", examples.len())?;
        for &(class, window) in examples {
            write!(source, "{:?}, ", watch.labels[class])?;
            let window = watch.counts(window).iter();
            counts.extend(window.flat_map(|count| count.to_le_bytes()));
        }
        writeln!(source, "];")?;
    }
    let out = std::env::var("OUT_DIR")?;
    std::fs::write(Path::new(&out).join("demo.bin"), counts)?;
    std::fs::write(Path::new(&out).join("demo.rs"), source)?;
    Ok(())
}
