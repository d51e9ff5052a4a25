//! What the C demo reads from flash, into a folder: the windows' counts as `windows.bin`, the
//! support first, and their labels with the encoder's sizes as `windows.h`.

use std::error::Error;
use std::fmt::Write as _;
use std::path::PathBuf;

use app::data;
use headstart::EncoderPack;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args_os().nth(1).ok_or("usage: windows FOLDER")?;
    let folder = PathBuf::from(folder);
    let rank = EncoderPack::new(data::PACK)?
        .background()
        .map_or(0, |b| b.rank);

    let mut header = String::new();
    let numbers = [
        ("SUBJECT", usize::from(data::SUBJECT)),
        ("COUNTS", data::COUNTS),
        ("CLASSES", app::CLASSES),
        ("DIM", data::DIM),
        ("RANK", rank),
        ("ARENA_BYTES", 4 * data::ARENA_WORDS),
    ];
    for (name, number) in numbers {
        writeln!(header, "#define {name} {number}")?;
    }
    let mut counts = Vec::new();
    let sets: [(_, &mut dyn Iterator<Item = _>); 2] = [
        ("support", &mut data::support()),
        ("queries", &mut data::queries()),
    ];
    for (name, examples) in sets {
        write!(header, "static const char *const {name}[] = {{")?;
        for (label, window) in examples {
            write!(header, "{label:?}, ")?;
            counts.extend(window.iter().flat_map(|count| count.to_le_bytes()));
        }
        writeln!(header, "}};")?;
    }
    std::fs::write(folder.join("windows.h"), header)?;
    std::fs::write(folder.join("windows.bin"), counts)?;
    Ok(())
}
