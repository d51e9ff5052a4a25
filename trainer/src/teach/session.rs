//! A person at the keyboard, or a script: one line, one thing done.

use std::io::{BufRead, IsTerminal};
use std::path::Path;

use anyhow::{Context, anyhow};
use headstart::Verdict;
use headstart::wire::{Info, Request, Signal};
use serde_json::{Value, json};

use super::client::{Answer, Client, ClientError};
use super::{check_label, takes, writable};
use crate::error::Outcome;
use crate::files;

const HELP: &str = "\
LABEL          learn what the device sees now, as LABEL
learn LABEL    the same, for a label that is one of these words
?              what does it see now?
undo           forget the example learnt last
forget LABEL   forget a label and all its examples
forget #7      forget the sample of that number, where the device keeps a log
classes        what it has learnt
save FILE.head what it has learnt, as a file
quit           end; Ctrl-D does the same";

/// What a line asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Command<'l> {
    Nothing,
    Learn(&'l str),
    Ask,
    Undo,
    Forget(&'l str),
    ForgetSample(u32),
    Classes,
    Save(&'l str),
    Help,
    Quit,
}

impl<'l> Command<'l> {
    pub(super) fn parse(line: &'l str) -> anyhow::Result<Command<'l>> {
        let line = line.trim();
        let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let rest = rest.trim();
        Ok(match (word, rest) {
            ("", _) => Command::Nothing,
            ("?", "") => Command::Ask,
            ("undo", "") => Command::Undo,
            ("classes", "") => Command::Classes,
            ("help", "") => Command::Help,
            ("quit" | "exit", "") => Command::Quit,
            ("forget", "") => return Err(anyhow!("forget what? A label, or #NUMBER")),
            ("save", "") => return Err(anyhow!("save where? Give a file: save FILE.head")),
            ("learn", "") => return Err(anyhow!("learn what? Give a label: learn LABEL")),
            ("save", file) => Command::Save(file),
            ("learn", label) => Command::Learn(label),
            ("forget", what) => match what.strip_prefix('#') {
                None => Command::Forget(what),
                Some(number) => Command::ForgetSample(
                    number
                        .parse()
                        .map_err(|_| anyhow!("`{what}` is no sample's number: give #7, say"))?,
                ),
            },
            _ => Command::Learn(line),
        })
    }
}

/// What a session came to.
#[derive(Debug, Default)]
pub(super) struct Tally {
    learnt: u32,
    asked: u32,
    refused: u32,
    lines: u32,
    /// A person saw what was refused; a script looks at the exit code.
    person: bool,
}

impl Tally {
    pub(super) fn json(&self) -> Value {
        json!({ "learnt": self.learnt, "asked": self.asked, "refused": self.refused })
    }

    pub(super) fn outcome(&self) -> Outcome {
        match self.refused {
            0 => Ok(()),
            _ if self.person => Ok(()),
            refused => Err(anyhow!("{refused} of {} lines were not done", self.lines).into()),
        }
    }
}

/// Does what stdin says until it ends. What a line comes to is printed on stdout, on stderr where that is
/// for JSON.
pub(super) fn run(client: &mut Client<'_>, info: &Info, json: bool) -> anyhow::Result<Tally> {
    let say = |text: &str| match json {
        true => eprintln!("{text}"),
        false => println!("{text}"),
    };
    let mut tally = Tally {
        person: std::io::stdin().is_terminal(),
        ..Tally::default()
    };
    if tally.person {
        eprintln!(
            "the device takes {}, has learnt {} of {} classes; a label learns what it sees now, ? asks, help lists the rest",
            takes(&info.input),
            info.classes,
            info.room
        );
    }
    let mut lines = std::io::stdin().lock().lines();
    loop {
        if tally.person {
            eprint!("> ");
        }
        let Some(line) = lines.next() else {
            return Ok(tally);
        };
        let line = line.context("could not read stdin")?;
        match Command::parse(&line) {
            Ok(Command::Nothing) => continue,
            Ok(Command::Quit) => return Ok(tally),
            Ok(command) => match obey(client, &command) {
                Ok(text) => {
                    tally.learnt += u32::from(matches!(command, Command::Learn(_)));
                    tally.asked += u32::from(command == Command::Ask);
                    say(&text);
                }
                Err(error) => match error.downcast_ref() {
                    None | Some(ClientError::Refused { .. }) => refuse(&mut tally, &line, &error),
                    // The wire is gone.
                    Some(_) => return Err(error),
                },
            },
            Err(error) => refuse(&mut tally, &line, &error),
        }
        tally.lines += 1;
    }
}

fn refuse(tally: &mut Tally, line: &str, error: &anyhow::Error) {
    tally.refused += 1;
    match tally.person {
        true => eprintln!("{error:#}"),
        false => eprintln!("{}: {error:#}", line.trim()),
    }
}

fn obey(client: &mut Client<'_>, command: &Command<'_>) -> anyhow::Result<String> {
    Ok(match command {
        Command::Nothing | Command::Quit => String::new(),
        Command::Help => HELP.to_owned(),
        Command::Learn(label) => {
            check_label(label)?;
            let (id, examples) = client.learn(label, Signal::Own)?;
            let s = if examples == 1 { "" } else { "s" };
            let number = id.map_or(String::new(), |id| format!(", this one is #{id}"));
            format!("{label}: {examples} example{s}{number}")
        }
        Command::Ask => describe(&client.predict(Signal::Own)?),
        Command::Undo => {
            client.change(&Request::Undo)?;
            "undone".to_owned()
        }
        Command::Forget(label) => {
            client.change(&Request::ForgetClass { label })?;
            format!("{label} is forgotten")
        }
        Command::ForgetSample(id) => {
            client.change(&Request::Forget { id: *id })?;
            format!("#{id} is forgotten")
        }
        Command::Classes => {
            let classes = client.classes()?;
            let line = |(label, examples): &(String, u32)| format!("{label:<16} {examples}");
            match classes.is_empty() {
                true => "nothing was learnt yet".to_owned(),
                false => classes.iter().map(line).collect::<Vec<_>>().join("\n"),
            }
        }
        Command::Save(file) => {
            let path = Path::new(file);
            writable(Some(path))?;
            let head = client.head()?;
            files::write(path, &head)?;
            format!("{file}: {} bytes", head.len())
        }
    })
}

fn describe(answer: &Answer) -> String {
    let Answer {
        label, probability, ..
    } = answer;
    let percent = 100.0 * probability;
    match answer.verdict {
        Verdict::Known => format!("{label}, {percent:.1} %"),
        Verdict::Unknown => format!("unknown; of what was learnt most like {label}"),
        Verdict::NotEnoughExamples => {
            format!("{label}, {percent:.1} %, with too few examples to say whether it is known")
        }
    }
}
