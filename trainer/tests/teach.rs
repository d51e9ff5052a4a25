//! `headstart teach` as a user meets it: a server and a client, over TCP on this machine.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

fn headstart(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_headstart"));
    command.current_dir(folder).arg("teach");
    command
}

/// A server on a free port; it ends with the test.
struct Server {
    process: Child,
    port: String,
}

impl Server {
    fn start(folder: &Path, arguments: &[&str]) -> Server {
        let mut process = headstart(folder)
            .arg("--serve")
            .arg(repository("models/watch.pack"))
            .args(["--listen", "127.0.0.1:0"])
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the binary runs");
        let mut line = String::new();
        let out = process.stdout.as_mut().expect("piped");
        BufReader::new(out).read_line(&mut line).expect("a line");
        let address = line.trim().strip_prefix("listening on ").expect(&line);
        let port = format!("tcp:{address}");
        Server { process, port }
    }

    fn client(&self, folder: &Path, arguments: &[&str], lines: &str) -> Output {
        let mut process = headstart(folder)
            .args(["--port", &self.port])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary runs");
        let mut stdin = process.stdin.take().expect("piped");
        // It may have ended before it read a line.
        let _ = stdin.write_all(lines.as_bytes());
        drop(stdin);
        process.wait_with_output().expect("its output")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn said(output: &Output) -> String {
    let errors = text(&output.stderr);
    assert!(output.status.success(), "{errors}");
    text(&output.stdout)
}

fn data() -> String {
    let path = repository("models/data/watch/unseen.npz");
    path.to_str().expect("a name").to_owned()
}

#[test]
fn a_lesson_and_what_comes_of_it() {
    let folder = tempfile::tempdir().expect("folder");
    let folder = folder.path();
    let server = Server::start(folder, &[]);
    let outputs = [
        "--predictions",
        "answers.npz",
        "--samples",
        "samples.npz",
        "--head",
        "out.head",
    ];
    let pack = repository("models/watch.pack");
    let lesson = [
        "--data",
        &data(),
        "--shots",
        "5",
        "--seed",
        "3",
        "--json",
        "--encoder",
    ];
    let arguments = [&lesson[..], &[pack.to_str().expect("a name")], &outputs].concat();
    let json = said(&server.client(folder, &arguments, ""));
    let report: serde_json::Value = serde_json::from_str(&json).expect("one object");
    assert_eq!(report["episodes"], 1);
    assert_eq!(report["queries"], 45);
    // The study's mean over such episodes is 99.98 %.
    assert!(
        report["accuracy"].as_f64().expect("a number") > 0.9,
        "{report}"
    );
    let [low, high] = [0, 1].map(|i| report["ci95_queries"][i].as_f64().expect("a number"));
    assert!(low < high && high <= 1.0);
    let classes: Vec<u64> = report["classes"]
        .as_object()
        .expect("by name")
        .values()
        .map(|n| n.as_u64().expect("a count"))
        .collect();
    assert_eq!(classes, [5, 5, 5]);

    let bytes = std::fs::read(folder.join("answers.npz")).expect("written");
    let mut npz = npyz::npz::NpzArchive::new(std::io::Cursor::new(bytes)).expect("an archive");
    let mut column = |name: &str| -> Vec<u32> {
        let array = npz.by_name(name).expect("readable").expect(name);
        array.into_vec().expect("numbers")
    };
    let (y, predicted) = (column("y"), column("predicted"));
    let right = y.iter().zip(&predicted).filter(|(a, b)| a == b).count();
    assert_eq!(
        right as f64 / 45.0,
        report["accuracy"].as_f64().expect("a number")
    );

    let samples = headstart_trainer::dataset::Dataset::load(&folder.join("samples.npz"));
    let samples = samples.expect("data like any other");
    assert_eq!((samples.recordings.len(), samples.channels), (15, 64));

    // The head's counts are those samples' sums, to the bit.
    let head = std::fs::read(folder.join("out.head")).expect("written");
    let head = headstart_trainer::head::Head::parse(&head).expect("a head");
    for (class, (label, (count, sums))) in head.classes.iter().enumerate() {
        let own = samples.recordings.iter().filter(|r| r.class == Some(class));
        let own: Vec<&[f32]> = own.map(|r| samples.window(r.rows.start, 1)).collect();
        assert_eq!(
            (samples.labels[class].as_str(), own.len()),
            (label.as_str(), *count as usize)
        );
        let summed: Vec<i32> = (0..64)
            .map(|d| own.iter().map(|row| row[d] as i32).sum())
            .collect();
        assert_eq!(&summed, sums);
    }
}

#[test]
fn a_session_and_a_log_that_outlives_it() {
    let folder = tempfile::tempdir().expect("folder");
    let folder = folder.path();
    let recordings = data();
    let arguments = [
        "--log",
        "samples.log",
        "--log-bytes",
        "65536",
        "--replay",
        &recordings,
    ];
    let server = Server::start(folder, &arguments);
    let lines = "here\nhere\nhere\nundo\nclasses\nforget #99\n?\nsave now.head\n";
    let output = server.client(folder, &[], lines);
    assert_eq!(output.status.code(), Some(1), "a line was refused");
    let stdout = text(&output.stdout);
    let expected = "here: 1 example, this one is #2\nhere: 2 examples, this one is #3\nhere: 3 examples, this one is #4\nundone\nhere             2\n";
    assert!(stdout.starts_with(expected), "{stdout}");
    let errors = text(&output.stderr);
    assert!(
        errors.contains("forget #99: no sample of that number is in the log"),
        "{errors}"
    );
    assert!(errors.contains("1 of 8 lines were not done"), "{errors}");

    drop(server);
    let server = Server::start(folder, &["--log", "samples.log"]);
    let json = said(&server.client(folder, &["--json", "--head", "later.head"], "classes\n"));
    let report: serde_json::Value = serde_json::from_str(&json).expect("one object");
    assert_eq!(report["classes"]["here"], 2);
    let read = |name: &str| {
        let bytes = std::fs::read(folder.join(name)).expect("written");
        headstart_trainer::head::Head::parse(&bytes).expect("a head")
    };
    assert_eq!(read("now.head"), read("later.head"));
    // Without --replay it has no sensor.
    let output = server.client(folder, &[], "here\n");
    assert!(text(&output.stderr).contains("no sensor of its own"));
    assert!(
        said(&server.client(folder, &[], "forget here\nclasses\n")).contains("nothing was learnt")
    );
}

#[test]
fn wrong_calls_are_told_what_is_wrong() {
    let folder = tempfile::tempdir().expect("folder");
    let folder = folder.path();
    let server = Server::start(folder, &[]);
    let (data, other) = (data(), repository("models/word.pack"));
    let other = other.to_str().expect("a name");
    let port = server.port.clone();
    let port = port.as_str();
    std::fs::write(folder.join("junk.npz"), b"junk").expect("written");
    let cases: &[(&[&str], i32, &str)] = &[
        (&[], 2, "--port"),
        (
            &["--port", "/dev/no-such-port"],
            1,
            "there is no serial port /dev/no-such-port",
        ),
        (&["--port", "tcp:127.0.0.1"], 2, "has no port number"),
        (
            &["--port", "tcp:127.0.0.1:1"],
            1,
            "could not connect to 127.0.0.1:1",
        ),
        (
            &["--port", port, "--timeout", "0"],
            2,
            "--timeout must be above 0",
        ),
        (
            &["--port", port, "--encoder", other],
            1,
            "another encoder than",
        ),
        (
            &["--port", port, "--encoder", "junk.npz"],
            1,
            "could not use the encoder junk.npz",
        ),
        (&["--port", port, "--data", "none.npz"], 1, "none.npz"),
        (&["--port", port, "--data", "junk.npz"], 1, "junk.npz"),
        (
            &["--port", port, "--data", &data, "--shots", "900"],
            2,
            "windows of class",
        ),
        (
            &["--port", port, "--data", &data, "--ways", "9"],
            2,
            "9 classes",
        ),
        (
            &["--port", port, "--head", "no/such/out.head"],
            1,
            "there is no folder no/such",
        ),
        (
            &["--port", port, "--samples", "s.npz"],
            1,
            "the device has no samples yet",
        ),
        (
            &["--port", port, "--serve", other],
            2,
            "cannot be used with",
        ),
        (&["--port", port, "--predictions", "p.npz"], 2, "--data"),
        (&["--serve", "none.pack"], 1, "none.pack"),
        (
            &["--serve", "junk.npz"],
            1,
            "could not use the encoder junk.npz",
        ),
        (&["--serve", other, "--listen", "nowhere"], 2, "--listen"),
        (
            &[
                "--serve",
                other,
                "--listen",
                "127.0.0.1:0",
                "--log",
                "l",
                "--log-bytes",
                "5000",
            ],
            1,
            "whole pages of 4096",
        ),
        (
            &[
                "--serve",
                other,
                "--listen",
                "127.0.0.1:0",
                "--replay",
                &data,
            ],
            1,
            "--replay stands for a sensor",
        ),
    ];
    for (arguments, code, message) in cases {
        let output = headstart(folder)
            .args(*arguments)
            .stdin(Stdio::null())
            .output()
            .expect("the binary runs");
        let errors = text(&output.stderr);
        assert_eq!(output.status.code(), Some(*code), "{arguments:?}: {errors}");
        assert!(errors.contains(message), "{arguments:?}: {errors}");
    }
}

#[test]
fn somebody_who_is_no_device_is_not_waited_for_long() {
    let folder = tempfile::tempdir().expect("folder");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = format!("tcp:{}", listener.local_addr().expect("its address"));
    let output = headstart(folder.path())
        .args(["--port", &port, "--timeout", "0.2"])
        .stdin(Stdio::null())
        .output()
        .expect("the binary runs");
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("nothing answers on tcp:"));
}

#[cfg(unix)]
#[test]
fn ctrl_c_ends_at_once() {
    let folder = tempfile::tempdir().expect("folder");
    let server = Server::start(folder.path(), &[]);
    // A session that waits for a line, and the server itself.
    let mut session = headstart(folder.path())
        .args(["--port", &server.port])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    let mut stdin = session.stdin.take().expect("piped");
    stdin.write_all(b"classes\n").expect("it reads");
    let mut line = String::new();
    let out = session.stdout.as_mut().expect("piped");
    BufReader::new(out)
        .read_line(&mut line)
        .expect("it answers");
    let interrupt = |process: &mut Child| {
        let id = process.id().to_string();
        let sent = Command::new("kill").args(["-INT", &id]).status();
        assert!(sent.expect("kill runs").success());
        process.wait().expect("it ends").code()
    };
    assert_eq!(interrupt(&mut session), Some(130));
    let mut server = server;
    assert_eq!(interrupt(&mut server.process), Some(130));
}
