//! What can't become an encoder is refused in words that help.

use tract_onnx::pb::{GraphProto, ModelProto, NodeProto};

use crate::case::{Case, imported};
use crate::folder::{Folder, refused};
use crate::net::*;

/// An If that passes `input` on, or takes it away from itself.
fn branch(input: &str, output: &str) -> NodeProto {
    let side = |operator: &str| {
        let inputs: &[&str] = if operator == "Sub" {
            &[input, input]
        } else {
            &[input]
        };
        GraphProto {
            name: operator.into(),
            node: vec![node(operator, inputs, "inner", vec![])],
            output: vec![value("inner", FLOAT, &[])],
            ..Default::default()
        }
    };
    let sides = vec![
        graph("then_branch", side("Relu")),
        graph("else_branch", side("Sub")),
    ];
    node("If", &["condition"], output, sides)
}

fn with_condition(model: ModelProto) -> ModelProto {
    changed(model, |g| {
        g.initializer
            .push(bytes("condition", 9, &[], std::iter::once(1)));
    })
}

fn flow_first() -> ModelProto {
    with_condition(between(vec![branch("c0", "r0")], vec![]))
}

fn flow_in_head() -> ModelProto {
    with_condition(changed(classifier(), |g| {
        g.node[5] = branch("scores", "y");
    }))
}

fn unknown(nodes: [usize; 2]) -> ModelProto {
    changed(classifier(), |g| {
        let [at, to] = nodes;
        let (from, output) = (g.node[at].output[0].clone(), g.node[to].input[0].clone());
        let mine = NodeProto {
            domain: "com.example".into(),
            ..node("FancyNorm", &[&from], "fancy", vec![])
        };
        assert_eq!(from, output);
        g.node[to].input[0] = "fancy".into();
        g.node.insert(to, mine);
    })
}

/// A backbone, boxes and scores from its map, and their selection.
fn detector() -> ModelProto {
    let head = |name: &str, weights: &str| {
        node(
            "Conv",
            &["r0", weights],
            name,
            vec![ints("kernel_shape", &[1, 1])],
        )
    };
    let model = between(vec![node("Relu", &["c0"], "r0", vec![])], vec![]);
    changed(model, |g| {
        g.node.truncate(2);
        g.node.extend([
            head("b0", "wb"),
            head("s0", "ws"),
            node("Reshape", &["b0", "four"], "b2", vec![]),
            node(
                "Transpose",
                &["b2"],
                "boxes",
                vec![ints("perm", &[0, 2, 1])],
            ),
            node("Reshape", &["s0", "two"], "s1", vec![]),
            node("Sigmoid", &["s1"], "scores", vec![]),
            node(
                "NonMaxSuppression",
                &["boxes", "scores", "most"],
                "y",
                vec![],
            ),
        ]);
        g.output = vec![
            value("boxes", FLOAT, &[]),
            value("scores", FLOAT, &[]),
            value("y", INT64, &[]),
        ];
        g.initializer.extend([
            weights("wb", &[4, 8, 1, 1], 8),
            weights("ws", &[2, 8, 1, 1], 9),
            list("four", &[1, 4, -1]),
            list("two", &[1, 2, -1]),
            list("most", &[3]),
        ]);
    })
}

#[test]
fn heads_that_nothing_here_can_run_are_cut_off() {
    imported(vec![
        Case::new("an If in the head", flow_in_head(), "mean", 8),
        Case::new(
            "an unknown operator in the head",
            unknown([4, 5]),
            "mean",
            8,
        ),
        Case::new("a detector's backbone", detector(), "r0", 8).with("--pool mean"),
        Case::new("the same by name", detector(), "r0", 8).with("--embedding r0 --pool mean"),
        Case::new("before an If", flow_first(), "c0", 8).with("--embedding c0 --pool mean"),
    ]);
}

#[test]
fn networks_that_are_no_encoders_say_why() {
    let folder = Folder::new();
    let write = |name: &str, model: &ModelProto| save(folder.path(), name, model);
    write("good.onnx", &classifier());
    write("if.onnx", &flow_first());
    write("unknown.onnx", &unknown([1, 2]));
    write("detector.onnx", &detector());
    let two = changed(classifier(), |g| {
        g.input.push(value("mask", FLOAT, &[1, 8]))
    });
    write("two.onnx", &two);
    let none = changed(classifier(), |g| g.input.clear());
    write("none.onnx", &none);
    let tokens = changed(classifier(), |g| g.input[0] = value("x", INT64, &[1, 16]));
    write("tokens.onnx", &tokens);
    let text = changed(classifier(), |g| g.input[0] = value("x", 8, &[1, 16]));
    write("text.onnx", &text);
    let open = changed(classifier(), |g| {
        g.input[0] = value("x", FLOAT, &[-1, 3, -1, -1])
    });
    write("open.onnx", &open);
    let huge = changed(classifier(), |g| {
        g.input[0] = value("x", FLOAT, &[1, 3, 1 << 20, 1 << 20])
    });
    write("huge.onnx", &huge);
    let mut old = classifier();
    old.opset_import[0].version = 6;
    write("old.onnx", &old);
    let bare = ModelProto {
        graph: None,
        ..classifier()
    };
    write("bare.onnx", &bare);
    folder.run("import good.onnx -o encoder.onnx");
    std::fs::create_dir(folder.path().join("sub")).expect("a folder");
    refused(
        &folder,
        &[
            (
                "import if.onnx -o e.onnx",
                1,
                "node `r0_If` (If), which feeds `pool_GlobalAveragePool` (GlobalAveragePool), is control flow",
            ),
            (
                "import if.onnx -o e.onnx",
                1,
                "torch.onnx.export traces one path",
            ),
            (
                "import if.onnx -o e.onnx --embedding mean",
                1,
                "node `r0_If`",
            ),
            ("import unknown.onnx -o e.onnx", 1, "node `fancy_FancyNorm`"),
            ("import unknown.onnx -o e.onnx", 1, "standard operators"),
            (
                "import detector.onnx -o e.onnx",
                1,
                "`r0` is 8 x 4 x 4, not one vector: add --pool mean",
            ),
            (
                "import two.onnx -o e.onnx",
                1,
                "it has 2 inputs (x, mask): an encoder takes one",
            ),
            (
                "import none.onnx -o e.onnx",
                1,
                "reads `x`, which nothing writes",
            ),
            (
                "import tokens.onnx -o e.onnx",
                1,
                "its input `x` takes int64 numbers, as tokens of text are",
            ),
            (
                "import text.onnx -o e.onnx",
                1,
                "its input `x` is no tensor of numbers",
            ),
            ("import open.onnx -o e.onnx", 1, "--shape 3,224,224"),
            (
                "import open.onnx -o e.onnx --shape 4,8,8",
                1,
                "does not fit its input `x`, which is [?, 3, ?, ?]",
            ),
            ("import open.onnx -o e.onnx --shape 3,0,8", 2, "--shape"),
            (
                "import open.onnx -o e.onnx --shape 3,4294967295,4294967295",
                1,
                "more than the 4,194,304",
            ),
            ("import huge.onnx -o e.onnx", 1, "more than the 4,194,304"),
            (
                "import good.onnx -o e.onnx --shape 3,9,9",
                1,
                "does not fit its input `x`, which is [1, 3, 8, 8]",
            ),
            (
                "import old.onnx -o e.onnx",
                1,
                "it is of opset 6; opset 7 or later is read",
            ),
            ("import bare.onnx -o e.onnx", 1, "it has no graph"),
            (
                "import good.onnx -o e.onnx --embedding nowhere",
                1,
                "headstart import good.onnx --list",
            ),
            (
                "import good.onnx -o e.onnx --embedding x",
                1,
                "no tensor `x` that depends on its input",
            ),
            (
                "import good.onnx -o e.onnx --embedding w0",
                1,
                "no tensor `w0`",
            ),
            (
                "import good.onnx -o e.onnx --embedding r0",
                1,
                "add --pool mean",
            ),
            (
                "import good.onnx -o e.onnx --embedding r0 --pool cls",
                2,
                "takes tokens",
            ),
            (
                "import good.onnx -o nowhere/e.onnx",
                1,
                "there is no folder nowhere to write into",
            ),
            ("import good.onnx -o sub", 1, "the output sub is a folder"),
            ("import good.onnx -o good.onnx", 2, "give it another name"),
            (
                "import good.onnx -o ./sub/../good.onnx",
                2,
                "give it another name",
            ),
            ("import good.onnx", 2, "--output"),
            (
                "import encoder.onnx -o e.onnx",
                1,
                "an encoder of headstart already",
            ),
        ],
    );
    assert!(
        !folder.path().join("e.onnx").exists(),
        "a refusal wrote something"
    );
    let list = folder.json("import detector.onnx --list --json");
    assert_eq!(list["candidates"][0]["pooled"], true, "{list}");
}

/// A limit to the size of files is a disk that is full.
#[cfg(unix)]
#[test]
fn a_full_disk_leaves_nothing_behind() {
    let folder = Folder::new();
    save(folder.path(), "good.onnx", &classifier());
    let call = format!(
        "trap '' XFSZ; ulimit -f 1; exec {} import good.onnx -o e.onnx",
        env!("CARGO_BIN_EXE_headstart")
    );
    let output = std::process::Command::new("sh")
        .args(["-c", &call])
        .current_dir(folder.path())
        .output()
        .expect("a shell");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{errors}");
    assert!(errors.contains("could not write e.onnx"), "{errors}");
    let names = std::fs::read_dir(folder.path()).expect("a folder");
    assert_eq!(names.count(), 3, "something was left behind");
}
