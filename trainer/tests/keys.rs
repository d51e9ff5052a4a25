//! Heads and keys as a user meets them: `keygen`, `sign`, `verify`, and all of `head`.

#[allow(dead_code)] // shared with evaluate.rs, which takes more of it
mod folder;
#[allow(dead_code)] // as above
mod tiny;

use folder::{Folder, refused};
use headstart::store::{FileFlash, LogClass, SampleLog};
use headstart::{Embedding, EncoderPack, Label, Statistics};
use headstart_trainer::files::Aligned;
use serde_json::Value;

const D: usize = 64;
const BYTES: u32 = 16 * 4096;
const PACK: &[u8] = include_bytes!("../../models/watch.pack");
const LABELS: [&str; 3] = ["curl", "fly", "row"];

/// Learns samples in a device's log, and returns the head that the device would save.
fn teach(folder: &Folder, name: &str, samples: std::ops::Range<usize>) -> Vec<u8> {
    let pack = Aligned::new(PACK);
    let artefact = EncoderPack::new(pack.bytes()).expect("a pack").artefact();
    let mut words = vec![0; Statistics::gram_words(D, 3)];
    let mut labels = [const { Label::new() }; 3];
    let statistics = Statistics::with_gram(D, artefact, &mut words, &mut labels);
    let mut statistics = statistics.expect("there is room");
    let mut classes = [LogClass::NONE; 3];
    let mut buffer = [0; SampleLog::<FileFlash>::buffer_bytes(D)];
    let flash = FileFlash::open(&folder.path().join(name), BYTES).expect("a file");
    let log = SampleLog::open_rewritable(flash, 0..BYTES, &statistics, &mut classes, &mut buffer);
    let mut log = log.expect("a log");
    for i in samples {
        // Classes a good way apart, samples of one close together.
        let spread = |k: usize| (i * 31 + k * 17) % 23;
        let values: [i8; D] =
            std::array::from_fn(|k| if k % 3 == i % 3 { 70 } else { 1 } + spread(k) as i8);
        let e = Embedding::new(&values).expect("not zero");
        log.learn(LABELS[i % 3], e).expect("there is room");
    }
    log.restore(&mut statistics).expect("restored");
    let mut head = vec![0; Statistics::gram_snapshot_bytes(D, 3)];
    let length = statistics.save(&mut head).expect("it is long enough");
    head.truncate(length);
    head
}

/// With device.log of 90 samples, watch.pack, and keys of all kinds.
fn folder() -> Folder {
    let folder = Folder::new();
    folder.write("watch.pack", PACK);
    teach(&folder, "device.log", 0..90);
    for call in [
        "keygen -o maker",
        "keygen -o stranger",
        "keygen --shared fleet",
        "keygen --shared other",
        "head export device.log -o my.head",
        "sign my.head --key maker.secret --counter 3 -o my.signed",
        "head export my.signed -o my.sealed --seal fleet.shared",
    ] {
        done(&folder, call);
    }
    folder
}

/// Runs a call that must succeed, and returns what it prints.
fn done(folder: &Folder, call: &str) -> String {
    let output = folder.run(call);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{call}: {errors}");
    String::from_utf8(output.stdout).expect("text")
}

fn bytes(folder: &Folder, name: &str) -> Vec<u8> {
    std::fs::read(folder.path().join(name)).expect("a file")
}

#[test]
fn a_head_travels_from_one_device_to_another() {
    let folder = folder();
    let head = teach(&folder, "same.log", 0..90);
    let log = bytes(&folder, "device.log");
    assert_eq!(bytes(&folder, "my.head"), head, "as the device saves it");
    done(
        &folder,
        "head export device.log -o again.head --page-bytes 4096 --encoder watch.pack",
    );
    assert_eq!(bytes(&folder, "again.head"), head);
    assert_eq!(bytes(&folder, "device.log"), log, "the log is not changed");

    let sealed = bytes(&folder, "my.sealed");
    assert_eq!(sealed.len(), head.len() + 96 + 56);
    for name in LABELS.iter().chain(&["HSSTAT", "HSSIGN"]) {
        let found = sealed.windows(name.len()).any(|own| own == name.as_bytes());
        assert!(!found, "{name} can be read");
    }
    let call = "head import my.sealed -o new.head --unseal fleet.shared --key maker.public";
    let text = done(&folder, &format!("{call} --least 3 --encoder watch.pack"));
    assert!(
        text.contains("signed     with this key, counter 3"),
        "{text}"
    );
    assert!(text.contains("examples   90 of 3 classes"), "{text}");
    assert_eq!(bytes(&folder, "new.head"), head);

    // A head that is not signed, sealed at once; sealed twice it is two files.
    for name in ["a.sealed", "b.sealed"] {
        done(
            &folder,
            &format!("head export device.log -o {name} --seal fleet.shared"),
        );
        done(
            &folder,
            &format!("head import {name} -o {name}.head --unseal fleet.shared"),
        );
        assert_eq!(bytes(&folder, &format!("{name}.head")), head);
    }
    assert_ne!(bytes(&folder, "a.sealed"), bytes(&folder, "b.sealed"));
    done(&folder, "head import my.head -o copy.head");
    assert_eq!(bytes(&folder, "copy.head"), head);
    done(
        &folder,
        "head import my.signed -o unsigned.head --key maker.public",
    );
    assert_eq!(bytes(&folder, "unsigned.head"), head);
    done(
        &folder,
        "verify my.signed --key maker.public -o verified.head",
    );
    assert_eq!(bytes(&folder, "verified.head"), head);
}

#[test]
fn json_is_one_object() {
    let folder = folder();
    let export = folder.json("head export device.log -o a.head --encoder watch.pack --json");
    assert_eq!(
        export["classes"],
        serde_json::json!({ "curl": 30, "fly": 30, "row": 30 })
    );
    assert_eq!(export["samples"], 90);
    assert_eq!(export["damaged"], 0);
    assert_eq!(export["page_bytes"], 4096);
    assert_eq!(
        (&export["tier"], &export["sealed"]),
        (&"gram".into(), &false.into())
    );
    assert_eq!(export["bytes"], bytes(&folder, "a.head").len());

    let means = folder.json("head export device.log -o means.head --means --json");
    assert_eq!(
        (&means["tier"], &means["classes"]),
        (&"means".into(), &export["classes"])
    );
    done(&folder, "head export a.head -o other.head --means");
    let same = folder.json("head diff means.head other.head --json");
    assert_eq!(same["same"], true, "{same}");

    let sealed = folder.json("head export my.head -o b.sealed --seal fleet.shared --json");
    assert_eq!(sealed["sealed"], true);
    assert!(sealed["page_bytes"].is_null());
    let import = folder
        .json("head import my.sealed -o c.head --unseal fleet.shared --key maker.public --json");
    assert_eq!(
        (&import["counter"], &import["sealed"]),
        (&3.into(), &true.into())
    );
    let inspect = folder.json("head inspect c.head --json");
    for key in ["encoder_sha256", "dim", "tier", "classes"] {
        assert_eq!(inspect[key], export[key], "{key}");
        assert_eq!(inspect[key], import[key], "{key}");
    }
    let merge = folder.json("head merge a.head c.head -o sum.head --json");
    assert_eq!(
        (&merge["heads"], &merge["examples"]),
        (&2.into(), &180.into())
    );
    let keygen = folder.json("keygen -o third --json");
    assert_eq!(keygen["secret_file"], "third.secret");
    assert_eq!(keygen["public"].as_str().map(str::len), Some(64));
    let shared = folder.json("keygen --shared third --json");
    assert_eq!(shared["shared_file"], "third.shared");
    let secret = String::from_utf8(bytes(&folder, "third.shared")).expect("text");
    let digits = secret.lines().nth(1).expect("a second line");
    assert!(!shared.to_string().contains(digits), "the key is printed");
    let sign = folder.json("sign a.head --key maker.secret --counter 4 --json");
    assert_eq!(
        (&sign["output"], &sign["counter"]),
        (&"a.head.signed".into(), &4.into())
    );
    let verify = folder.json("verify a.head.signed --key maker.public --json");
    assert_eq!(verify["counter"], 4);
}

#[test]
fn samples_are_what_evaluate_takes() {
    let folder = folder();
    done(
        &folder,
        "head export device.log -o a.head --samples samples.npz",
    );
    let mut npz = npyz::npz::NpzArchive::open(folder.path().join("samples.npz")).expect("npz");
    let ids = npz.by_name("id").expect("read").expect("there");
    let ids: Vec<u32> = ids.into_vec().expect("numbers");
    // The first slot of each class is its name.
    assert_eq!((ids.len(), ids[0]), (90, 2));
    let call = "evaluate samples.npz --ways 3 --shots 1 --episodes 20 --head prototype --json";
    let report = folder.json(call);
    let accuracy = report["rows"][0]["accuracy"].as_f64().expect("a number");
    assert!(accuracy > 0.9, "{report}");
}

#[test]
fn keys_are_for_their_owner_and_never_overwritten() {
    let folder = folder();
    #[cfg(unix)]
    for (name, expected) in [("fleet.shared", 0o600), ("maker.secret", 0o600)] {
        use std::os::unix::fs::PermissionsExt;
        let file = std::fs::metadata(folder.path().join(name)).expect("a file");
        assert_eq!(file.permissions().mode() & 0o777, expected, "{name}");
    }
    assert_ne!(
        bytes(&folder, "fleet.shared"),
        bytes(&folder, "other.shared")
    );
    let before = bytes(&folder, "fleet.shared");
    refused(
        &folder,
        &[
            (
                "keygen --shared fleet",
                1,
                "fleet.shared is there already: choose another name",
            ),
            (
                "keygen -o maker",
                1,
                "maker.secret is there already: choose another name",
            ),
            ("keygen --shared a -o b", 2, "cannot be used with"),
            (
                "keygen --shared nowhere/a",
                1,
                "could not write nowhere/a.shared",
            ),
        ],
    );
    assert_eq!(bytes(&folder, "fleet.shared"), before);
    // Where the public file is taken, no secret one is left behind.
    folder.write("half.public", b"");
    refused(
        &folder,
        &[("keygen -o half", 1, "half.public is there already")],
    );
    assert!(!folder.path().join("half.secret").exists());
}

#[test]
fn wrong_keys_are_named() {
    let folder = folder();
    folder.write("short.shared", b"headstart shared key 1\nabcd\n");
    refused(
        &folder,
        &[
            (
                "sign my.head --key maker.public --counter 1 -o x",
                2,
                "maker.public is a public key, and a secret key is needed there",
            ),
            (
                "verify my.signed --key maker.secret",
                2,
                "maker.secret is a secret key, and a public key is needed there",
            ),
            (
                "head export my.head -o x --seal maker.secret",
                2,
                "maker.secret is a secret key, and a shared key is needed there",
            ),
            (
                "head import my.sealed -o x --unseal maker.public",
                2,
                "maker.public is a public key, and a shared key is needed there",
            ),
            (
                "head import my.signed -o x --key fleet.shared",
                2,
                "fleet.shared is a shared key, and a public key is needed there",
            ),
            (
                "head export my.head -o x --seal my.head",
                1,
                "my.head is no shared key: headstart keygen makes them",
            ),
            (
                "head export my.head -o x --seal short.shared",
                1,
                "short.shared is damaged: its second line is no shared key",
            ),
            (
                "head export my.head -o x --seal missing.shared",
                1,
                "could not read missing.shared: No such file",
            ),
            (
                "head import my.sealed -o x --unseal other.shared",
                1,
                "refused my.sealed: the file was sealed with another key, or altered since",
            ),
            (
                "head import my.sealed -o x --unseal fleet.shared --key stranger.public",
                1,
                "refused my.sealed: the file was signed with another key",
            ),
            (
                "verify my.signed --key stranger.public",
                1,
                "refused my.signed: the file was signed with another key",
            ),
        ],
    );
    assert!(!folder.path().join("x").exists());
}

#[test]
fn wrong_files_are_named() {
    let folder = folder();
    let mut altered = bytes(&folder, "my.sealed");
    altered[500] ^= 4;
    folder.write("altered.sealed", &altered);
    folder.write("cut.sealed", &altered[..300]);
    folder.write("cut.head", &bytes(&folder, "my.head")[..3000]);
    folder.write("cut.log", &bytes(&folder, "device.log")[..8000]);
    folder.write("empty", b"");
    std::fs::create_dir(folder.path().join("texts")).expect("a folder");
    let altered = "refused altered.sealed: the file was sealed with another key, or altered since";
    refused(
        &folder,
        &[
            (
                "head import altered.sealed -o x --unseal fleet.shared",
                1,
                altered,
            ),
            (
                "head import cut.sealed -o x --unseal fleet.shared",
                1,
                "or altered since",
            ),
            (
                "head import my.head -o x --unseal fleet.shared",
                1,
                "refused my.head: the file is not sealed, or cut short",
            ),
            (
                "head import my.sealed -o x",
                2,
                "my.sealed is sealed: give its shared key with --unseal",
            ),
            (
                "head import my.sealed -o x --unseal fleet.shared",
                2,
                "my.sealed is signed: give the signer's public key with --key",
            ),
            (
                "head import my.head -o x --key maker.public",
                1,
                "refused my.head: the file is not signed",
            ),
            (
                "head import my.sealed -o x --unseal fleet.shared --key maker.public --least 4",
                1,
                "its counter is 3, not 4 or more",
            ),
            ("head import my.head -o x --least 4", 2, "--key"),
            (
                "head import cut.head -o x",
                1,
                "could not read cut.head: it is cut short",
            ),
            (
                "head import device.log -o x",
                1,
                "could not read device.log: it is a log: headstart head export makes a head of it",
            ),
            (
                "head import watch.pack -o x",
                1,
                "could not read watch.pack: it is a pack, no head",
            ),
            (
                "head import data.npz -o x",
                1,
                "could not read data.npz: it is no head",
            ),
            (
                "head import missing -o x",
                1,
                "could not read missing: No such file",
            ),
            (
                "head import texts -o x",
                1,
                "could not read texts: Is a directory",
            ),
            ("head import my.head", 2, "--output <FILE>"),
            (
                "head import my.head -o my.head",
                2,
                "my.head would be overwritten",
            ),
            (
                "head export missing -o x",
                1,
                "could not read missing: No such file",
            ),
            (
                "head export texts -o x",
                1,
                "could not read texts: Is a directory",
            ),
            (
                "head export empty -o x",
                1,
                "could not read empty: there is no whole page of a log",
            ),
            (
                "head export cut.log -o x",
                1,
                "8000 bytes are no log with pages of 4096",
            ),
            (
                "head export device.log -o x --page-bytes 5000",
                2,
                "--page-bytes: 65536 bytes are no log",
            ),
            (
                "head export device.log -o ./device.log",
                2,
                "device.log would be overwritten",
            ),
            (
                "head export device.log -o x --samples device.log",
                2,
                "device.log would be overwritten",
            ),
            (
                "head export watch.pack -o x",
                1,
                "it is a pack: export takes a log or a head",
            ),
            (
                "head export my.sealed -o x --seal other.shared",
                1,
                "my.sealed: it is sealed already: to seal it anew open it first",
            ),
            (
                "head export my.head -o x",
                2,
                "my.head is a head already: give --seal, or --means",
            ),
            (
                "head export my.head -o x --means --samples y",
                2,
                "my.head is a head, which has no samples",
            ),
            (
                "head export my.signed -o x --means",
                2,
                "my.signed is signed, which --means would undo",
            ),
            (
                "head export device.log -o nowhere/x",
                1,
                "could not write nowhere/x",
            ),
            (
                "head inspect my.sealed",
                1,
                "my.sealed: it is sealed: open it with headstart head import --unseal",
            ),
            (
                "head inspect device.log",
                1,
                "headstart head export makes a head of it",
            ),
            (
                "head merge my.head missing -o x",
                1,
                "could not read missing: No such file",
            ),
            (
                "head diff my.head data.npz",
                1,
                "could not read data.npz: it is no head",
            ),
            (
                "sign my.sealed --key maker.secret --counter 1 -o x",
                1,
                "could not sign my.sealed: it is sealed",
            ),
            (
                "sign my.signed --key maker.secret --counter 4 -o x",
                1,
                "my.signed is signed already",
            ),
            (
                "sign data.npz --key maker.secret --counter 4 -o x",
                1,
                "could not sign data.npz: it is neither a pack nor a head",
            ),
            (
                "verify my.head --key maker.public",
                1,
                "refused my.head: the file is not signed",
            ),
            (
                "verify my.signed --key maker.public --least 4",
                1,
                "its counter is 3, not 4 or more",
            ),
        ],
    );
    assert!(!folder.path().join("x").exists());
    assert!(!folder.path().join("y").exists());
}

#[test]
fn a_head_of_another_encoder_is_refused_by_both_hashes() {
    let folder = folder();
    let inspect = folder.json("head inspect my.head --json");
    let own = inspect["encoder_sha256"]
        .as_str()
        .expect("a hash")
        .to_owned();
    for call in [
        "head import my.sealed -o x --unseal fleet.shared --key maker.public --encoder tiny.onnx",
        "head export device.log -o x --encoder tiny.onnx --samples y",
    ] {
        let output = folder.run(call);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{call}: {errors}");
        let hashes = |c: &str| {
            errors
                .split(|c: char| !c.is_ascii_hexdigit())
                .any(|w| w == c)
        };
        assert!(hashes(&own), "{errors}");
        let long = errors
            .split(|c: char| !c.is_ascii_hexdigit())
            .filter(|w| w.len() == 64);
        assert_eq!(long.count(), 2, "{errors}");
    }
    assert!(!folder.path().join("x").exists() && !folder.path().join("y").exists());
    // The pack that a device runs is the one without its signature.
    done(
        &folder,
        "sign watch.pack --key maker.secret --counter 1 -o watch.signed",
    );
    done(&folder, "head import my.head -o x --encoder watch.signed");
}

#[test]
fn a_log_in_use_is_not_read() {
    let folder = folder();
    let path = folder.path().join("device.log");
    let device = FileFlash::open(&path, BYTES).expect("it is free");
    let case = (
        "head export device.log -o x",
        1,
        "a process has this log open: stop it first",
    );
    refused(&folder, &[case]);
    drop(device);
    done(&folder, "head export device.log -o x");
}

#[test]
fn heads_are_compared_and_added() {
    let folder = folder();
    let one = teach(&folder, "one.log", 0..60);
    let both = teach(&folder, "both.log", 0..150);
    folder.write("one.head", &one);
    teach(&folder, "two.log", 60..150);
    done(&folder, "head export two.log -o two.head");
    done(&folder, "head merge one.head two.head -o sum.head");
    folder.write("both.head", &both);
    assert_eq!(done(&folder, "head diff sum.head both.head"), "the same\n");
    let differs = |call: &str| {
        let output = folder.run(call);
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{call}: {errors}");
        assert_eq!(errors, "error: the heads differ\n");
        String::from_utf8(output.stdout).expect("text")
    };
    let text = differs("head diff one.head both.head");
    assert!(
        text.contains("row              20 -> 50 examples"),
        "{text}"
    );
    done(&folder, "head export one.log -o means.head --means");
    let text = differs("head diff one.head means.head");
    assert_eq!(text, "one has second moments, the other has none\n");
    let report: Value = {
        let output = folder.run("head diff one.head both.head --json");
        serde_json::from_slice(&output.stdout).expect("one JSON object")
    };
    assert_eq!(
        (&report["same"], &report["classes"]["row"]),
        (&false.into(), &vec![20, 50].into())
    );
    let case = (
        "head merge one.head means.head -o x",
        1,
        "in another tier, than one.head",
    );
    refused(&folder, &[case]);
}
