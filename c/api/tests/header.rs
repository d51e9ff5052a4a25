//! include/headstart.h and the Rust side say the same: numbers, structs, functions, sizes. What C
//! makes of the header, a C compiler says.

use std::collections::BTreeMap;
use std::mem::{offset_of, size_of};
use std::path::{Path, PathBuf};
use std::process::Command;

use headstart::{AutoHead, Label, Statistics, Verdict};
use headstart_c_api::{
    ABI, Class, Config, DIGEST_SIZE, LABEL_SIZE, Prediction, RunningDigest, Sizes, Status, Tier,
};

/// Every kernel and head.
struct Everything;

impl headstart_c_api::Parts for Everything {
    type Kernels = headstart::ops::AllKernels;
    const AUTO: bool = true;
}

headstart_c_api::exports!(Everything);

fn include() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../include")
}

/// The header without its comments.
fn header() -> String {
    let text = std::fs::read_to_string(include().join("headstart.h")).unwrap();
    let mut code = String::new();
    for (i, part) in text.split("/*").enumerate() {
        code += match i {
            0 => part,
            _ => part.split_once("*/").expect("a comment ends").1,
        };
    }
    code
}

/// What a C program prints whose `main` is `body`: lines of a name and a number.
fn printed(name: &str, body: &str) -> BTreeMap<String, i64> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let (source, program) = (folder.join(format!("{name}.c")), folder.join(name));
    let text = format!(
        "#include <stdio.h>\n#include \"headstart.h\"\nint main(void) {{\n{body}\nreturn 0; }}\n"
    );
    std::fs::write(&source, text).unwrap();
    let compiler = std::env::var("CC").unwrap_or_else(|_| "cc".into());
    let strict = [
        "-std=c99",
        "-Wall",
        "-Wextra",
        "-Wpedantic",
        "-Werror",
        "-I",
    ];
    let mut command = Command::new(&compiler);
    command.args(strict).arg(include()).arg(&source);
    let compiled = command.arg("-o").arg(&program).status();
    assert!(compiled.expect("a C compiler").success(), "{compiler}");
    let output = Command::new(&program).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let lines = text.lines().filter_map(|line| line.rsplit_once(' '));
    lines
        .map(|(name, number)| (name.to_owned(), number.parse().unwrap()))
        .collect()
}

fn print(expression: &str) -> String {
    format!("printf(\"%s %lld\\n\", \"{expression}\", (long long)({expression}));\n")
}

#[test]
fn numbers_are_the_same() {
    let header = header();
    let enumerators = header.split(['{', '}', ',']).filter_map(|part| {
        let (name, _) = part.trim().split_once(" = ")?;
        name.starts_with("HS_").then_some(name)
    });
    // Those with parameters are sizes; a test below has them.
    let defines = header.lines().filter_map(|line| {
        let name = line.strip_prefix("#define ")?.split(' ').next()?;
        (name.starts_with("HS_") && !name.contains('(')).then_some(name)
    });
    let body: String = enumerators.chain(defines).map(print).collect();

    let mut rust = BTreeMap::from([
        ("HS_ABI".to_owned(), i64::from(ABI)),
        ("HS_LABEL_MAX".to_owned(), Label::new().capacity() as i64),
        ("HS_LABEL_SIZE".to_owned(), LABEL_SIZE as i64),
        ("HS_DIGEST_SIZE".to_owned(), DIGEST_SIZE as i64),
        (
            "HS_LEARNER_BYTES".to_owned(),
            headstart_c_api::LEARNER_BYTES as i64,
        ),
        ("HS_TIER_PROTOTYPE".to_owned(), Tier::Prototype as i64),
        ("HS_TIER_MEANS".to_owned(), Tier::Means as i64),
        ("HS_TIER_GRAM".to_owned(), Tier::Gram as i64),
        ("HS_KNOWN".to_owned(), Verdict::Known as i64),
        ("HS_UNKNOWN".to_owned(), Verdict::Unknown as i64),
        (
            "HS_NOT_ENOUGH_EXAMPLES".to_owned(),
            Verdict::NotEnoughExamples as i64,
        ),
    ]);
    for &status in Status::ALL {
        let name = status.name().to_str().unwrap().to_owned();
        rust.insert(name, status as i64);
    }
    assert_eq!(printed("numbers", &body), rust);
}

/// `(size, name and offset of each field)`.
macro_rules! layout {
    ($($rust:ident as $c:literal { $($field:ident),+ })+) => {
        [$(($c, size_of::<$rust>(), &[$((stringify!($field), offset_of!($rust, $field))),+][..])),+]
    };
}

#[test]
fn structs_lie_the_same() {
    let structs = layout! {
        Sizes as "hs_sizes" { window, channels, hop, dim, rank, arena, memory, learner, state, head, snapshot }
        Config as "hs_config" {
            pack, pack_len, memory, memory_len, arena, arena_len, max_classes, tier, false_accepts
        }
        Prediction as "hs_prediction" { index, verdict, probability, margin, label }
        Class as "hs_class" { examples, label }
    };
    let (mut body, mut rust) = (String::new(), BTreeMap::new());
    for (name, size, fields) in structs {
        let mut add = |expression: String, value: usize| {
            body += &print(&expression);
            rust.insert(expression, value as i64);
        };
        add(format!("sizeof({name})"), size);
        for (field, offset) in fields {
            add(format!("offsetof({name}, {field})"), *offset);
        }
        // As many fields as the header has: each declares one and ends with a semicolon.
        let header = header();
        let (before, _) = header.split_once(&format!("}} {name};")).unwrap();
        let (_, declared) = before.rsplit_once('{').unwrap();
        assert_eq!(declared.matches(';').count(), fields.len(), "{name}");
    }
    body += &print("sizeof(hs_digest)");
    rust.insert(
        "sizeof(hs_digest)".to_owned(),
        size_of::<RunningDigest>() as i64,
    );
    body += &print("sizeof(hs_status)");
    rust.insert("sizeof(hs_status)".to_owned(), size_of::<Status>() as i64);
    assert_eq!(printed("structs", &body), rust);
}

/// The C spelling of a Rust type.
fn c_type(rust: &str) -> String {
    let named = |name: &str| match name {
        "c_char" => "char".to_owned(),
        "c_void" => "void".to_owned(),
        "u32" | "i32" | "i16" | "i8" => match name.split_at(1) {
            ("u", bits) => format!("uint{bits}_t"),
            (_, bits) => format!("int{bits}_t"),
        },
        "usize" => "size_t".to_owned(),
        "RunningDigest" => "hs_digest".to_owned(),
        other => format!("hs_{}", other.to_lowercase()),
    };
    if let Some(rest) = rust.strip_prefix("*const ") {
        format!("const {} *", c_type(rest).trim_end())
    } else if let Some(rest) = rust.strip_prefix("*mut ") {
        let inner = c_type(rest);
        format!(
            "{}*",
            if inner.ends_with('*') {
                inner
            } else {
                inner + " "
            }
        )
    } else {
        named(rust)
    }
}

#[test]
fn functions_are_declared_as_they_are() {
    let header = header();
    let mut declared: Vec<String> = header
        .split([';', '{', '}', '\n'])
        .map(str::trim)
        .filter(|line| line.contains(" hs_") || line.contains(" *hs_"))
        .filter(|line| line.contains('(') && !line.starts_with('#'))
        .map(str::to_owned)
        .collect();
    let join = |c: String, name: &str| match c.ends_with('*') {
        true => c + name,
        false => c + " " + name,
    };
    let mut exported: Vec<String> = exports::EXPORTS
        .iter()
        .map(|(name, arguments, result)| {
            // hs_status_name takes the number itself.
            let c = |(argument, rust): &(&str, &str)| match *argument {
                "status" => join("hs_status".to_owned(), "status"),
                _ => join(c_type(&rust.replace("* ", "*")), argument),
            };
            let arguments: Vec<String> = arguments.iter().map(c).collect();
            let arguments = match arguments.is_empty() {
                true => "void".to_owned(),
                false => arguments.join(", "),
            };
            format!(
                "{}({arguments})",
                join(c_type(&result.replace("* ", "*")), name)
            )
        })
        .collect();
    declared.sort();
    exported.sort();
    assert_eq!(declared, exported);
}

#[test]
fn sizes_of_static_arrays_are_those_of_the_crate() {
    let (mut body, mut rust) = (String::new(), BTreeMap::new());
    for (dim, classes, rank) in [(64, 3, 16), (64, 8, 0), (1, 1, 1), (96, 40, 32), (7, 5, 3)] {
        let means = 4 * Statistics::words(dim, classes) + classes * size_of::<Label>();
        let gram = 4 * Statistics::gram_words(dim, classes) + classes * size_of::<Label>();
        let head = 4 * AutoHead::words(dim, classes, rank);
        let rest = headstart_c_api::LEARNER_BYTES + 2 * dim;
        let cases = [
            (format!("HS_STATE_MEANS({dim}, {classes})"), means),
            (format!("HS_STATE_GRAM({dim}, {classes})"), gram),
            (format!("HS_HEAD({dim}, {classes}, {rank})"), head),
            (
                format!("HS_MEMORY_PROTOTYPE({dim}, {classes})"),
                rest + means,
            ),
            (
                format!("HS_MEMORY_MEANS({dim}, {classes}, {rank})"),
                rest + means + head,
            ),
            (
                format!("HS_MEMORY_GRAM({dim}, {classes}, {rank})"),
                rest + gram + head,
            ),
            (
                format!("HS_SNAPSHOT_MEANS({dim}, {classes})"),
                Statistics::snapshot_bytes(dim, classes),
            ),
            (
                format!("HS_SNAPSHOT_GRAM({dim}, {classes})"),
                Statistics::gram_snapshot_bytes(dim, classes),
            ),
        ];
        for (expression, value) in cases {
            body += &print(&expression);
            rust.insert(expression, value as i64);
        }
    }
    assert_eq!(printed("sizes", &body), rust);
}
