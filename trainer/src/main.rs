//! The `headstart` command.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use headstart_trainer::error::Outcome;
use headstart_trainer::{
    background, bench, embed, evaluate, head, import, inspect, keys, pack, pretrain, sign, study,
    teach,
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Pretrain once. Teach it anywhere.
#[derive(Parser)]
#[command(version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Pretrain(pretrain::Args),
    Import(import::Args),
    Background(background::Args),
    Pack(pack::Args),
    Evaluate(evaluate::Args),
    Study(study::Args),
    Teach(teach::Args),
    Embed(embed::Args),
    Inspect(inspect::Args),
    Bench(bench::Args),
    Head(head::Args),
    Keygen(keys::Args),
    Sign(sign::SignArgs),
    Verify(sign::VerifyArgs),
}

fn main() -> ExitCode {
    let outcome: Outcome = match Cli::parse().command {
        Command::Pretrain(args) => pretrain::run(args),
        Command::Import(args) => import::run(args),
        Command::Background(args) => background::run(args),
        Command::Pack(args) => pack::run(args),
        Command::Evaluate(args) => evaluate::run(args),
        Command::Study(args) => study::run(args),
        Command::Teach(args) => teach::run(args),
        Command::Embed(args) => embed::run(args),
        Command::Inspect(args) => inspect::run(args),
        Command::Bench(args) => bench::run(args),
        Command::Head(args) => head::run(args),
        Command::Keygen(args) => keys::run(args),
        Command::Sign(args) => sign::sign(args),
        Command::Verify(args) => sign::verify(args),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {failure:#}");
            ExitCode::from(failure.exit_code())
        }
    }
}
