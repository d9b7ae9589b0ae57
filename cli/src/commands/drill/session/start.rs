//! `casefile drill start`: chooses the incident, has it staged, and tells the story.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use clap::Args;
use playbooks::drill::{Drill, Level, choose};
use playbooks::incident;
use serde_json::{Value, json};

use super::host::{Holder, Secret};
use super::talk;
use crate::commands::drill::{plan, shop_of};
use crate::error::CliError;
use crate::exit;
use crate::output::{Console, Line, Tone};
use crate::paths;

#[derive(Debug, Args)]
pub struct StartArgs {
    /// The incident: a number of `drill list`, an id, or a file.
    #[arg(
        value_name = "INCIDENT",
        required_unless_present = "random",
        conflicts_with = "random"
    )]
    incident: Option<String>,
    /// Any incident of the level.
    #[arg(long)]
    random: bool,
    /// How hard it is: 1 near, 2 further away, 3 with something harmless beside it, 4 two faults, 5 with a signal missing.
    #[arg(long, value_name = "LEVEL", default_value = "1", value_parser = clap::value_parser!(u8).range(1..=5))]
    level: u8,
    /// Makes the same drill again [default: by the clock].
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,
    /// Where the case is written [default: a new one among the cases].
    #[arg(long, value_name = "PATH")]
    case: Option<PathBuf>,
    /// Line in, line out: requests as JSON on standard input, replies on standard output, until the score.
    #[arg(long)]
    json: bool,
    /// Looks that are allowed with --json.
    #[arg(long, value_name = "COUNT", requires = "json", default_value = "40")]
    looks: usize,
    /// Return once the shop is under load, and do not wait for the case to be sealed.
    #[arg(long, conflicts_with = "json")]
    no_wait: bool,
}

impl StartArgs {
    fn drill(&self, seed: u64) -> Result<Drill, CliError> {
        let level = Level::new(self.level).ok_or_else(|| CliError::new("levels go from 1 to 5"))?;
        let given = match &self.incident {
            None => None,
            Some(name) => {
                let mut found = plan::chosen(None, std::slice::from_ref(name))?;
                if found.len() > 1 {
                    return Err(CliError::new(format!(
                        "{} incidents are called {name}",
                        found.len()
                    ))
                    .hint("a drill is about one; name it by its number"));
                }
                found.pop().map(|(_, incident)| incident)
            }
        };
        let drill = choose(&incident::all()?, level, seed, given.as_ref()).ok_or_else(|| {
            CliError::new("no incident can be staged like this").hint("try another level or seed")
        })?;
        for incident in &drill.incidents {
            shop_of::check(incident)?;
        }
        Ok(drill)
    }
}

pub(in crate::commands::drill) fn run(
    args: &StartArgs,
    console: &mut Console,
) -> Result<u8, CliError> {
    let now = case::writer::wall_clock();
    let seed = args.seed.unwrap_or(now.0);
    let drill = args.drill(seed)?;
    let case = match &args.case {
        Some(path) => std::path::absolute(path)
            .map_err(|error| CliError::io(format!("resolve {}", path.display()), &error))?,
        None => paths::new_case("drill", now)?,
    };
    if case::manifest::path(&case).exists() {
        return Err(
            CliError::new(format!("{} is a case already", case.display()))
                .hint("a drill needs a case of its own"),
        );
    }
    if let Some(folder) = case.parent() {
        std::fs::create_dir_all(folder)
            .map_err(|error| CliError::io(format!("create {}", folder.display()), &error))?;
    }
    let budget = args.json.then_some(args.looks);
    let secret = Secret::of(&drill, seed, case, budget);
    if args.json {
        return by_lines(&secret, console);
    }
    let socket = talk::socket()?;
    if talk::is_running(&socket) {
        return Err(CliError::new("a drill is under way")
            .hint("`casefile drill score` or `drill stop` ends it"));
    }
    console.remark("starting the shop");
    let story = begin(&secret, &socket)?;
    paths::remember_case(&secret.case);
    tell(&story, console)?;
    if !args.no_wait {
        console.remark(&format!(
            "the shop runs for {} s, then the case is sealed",
            story["watch_s"]
        ));
        talk::wait()?;
    }
    console.line(&Line::plain(
        "drill hint · drill evidence add KIND ID · drill answer --service S --cause C · drill score · drill stop",
    ))?;
    Ok(exit::CLEAN)
}

/// Starts the process that keeps the secret, and waits until its shop is under load.
fn begin(secret: &Secret, socket: &std::path::Path) -> Result<Value, CliError> {
    let program = std::env::current_exe()
        .map_err(|error| CliError::io("find the running executable", &error))?;
    let mut child = Command::new(program)
        .args(["drill", "host", "--socket"])
        .arg(socket)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| CliError::io("start the drill's process", &error))?;
    let text = serde_json::to_string(secret)
        .map_err(|error| CliError::new(format!("can't write what to stage: {error}")))?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin
            .write_all(text.as_bytes())
            .map_err(|error| CliError::io("tell the drill's process what to stage", &error))?;
    }
    let mut line = String::new();
    if let Some(stdout) = child.stdout.take() {
        BufReader::new(stdout)
            .read_line(&mut line)
            .map_err(|error| CliError::io("hear from the drill's process", &error))?;
    }
    let story: Value = serde_json::from_str(&line)
        .map_err(|_| CliError::new("the drill's process ended before its shop ran"))?;
    match story.get("error").and_then(Value::as_str) {
        Some(error) => Err(CliError::new(format!(
            "the drill could not be staged: {error}"
        ))),
        None => Ok(story),
    }
}

fn tell(story: &Value, console: &mut Console) -> Result<(), CliError> {
    let text = |key: &str| story.get(key).and_then(Value::as_str).unwrap_or_default();
    console.line(&Line::new().with(Tone::Strong, text("story")))?;
    console.line(&Line::new().with(
        Tone::Dim,
        format!(
            "level {}: {} · {} to find · case {}",
            story["level"],
            text("about"),
            story["faults"],
            text("case")
        ),
    ))
}

/// The whole exchange in this process, a line each way.
fn by_lines(secret: &Secret, console: &mut Console) -> Result<u8, CliError> {
    let mut holder = Holder::begin(secret)?;
    let story = match holder.begun() {
        Ok(story) => story,
        Err(error) => {
            console.json(&json!({ "event": "error", "error": error.message() }))?;
            return Err(error);
        }
    };
    console.json(&story)?;
    console.flush()?;
    for line in std::io::stdin().lock().lines() {
        let line = line.map_err(|error| CliError::io("read a request", &error))?;
        if line.trim().is_empty() {
            continue;
        }
        let (reply, over) = holder.reply(&line);
        console.json(&reply)?;
        console.flush()?;
        if over || console.is_closed() {
            break;
        }
    }
    holder.end();
    Ok(exit::CLEAN)
}
