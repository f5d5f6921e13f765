//! A shell's state and its programs: lists, `&&` and `||`, pipelines, subshells.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use brush_parser::ast::{AndOr, AndOrList, Command, CompoundList, FunctionBody, Pipeline, SeparatorOperator};
use brush_parser::{Parser, ParserOptions};

use crate::io::{Io, captured};

/// Functions, substitutions and subshells within each other; a Wasm stack is small.
const DEPTH_MAX: u32 = 64;

/// Why a command does not go on with the next.
#[derive(Debug)]
pub enum Stop {
    Exit(i32),
    Return(i32),
    /// So many loops, at least one.
    Break(u32),
    Continue(u32),
    /// This command failed with code 1; the text says why and is complete.
    Failed(String),
    /// The script is wrong or asks for what is not there: everything ends with code 2.
    Refused(String),
}

/// An exit code, or why there is more to it.
pub type Outcome = Result<i32, Stop>;

#[derive(Clone, Debug, Default)]
pub struct Variable {
    pub value: String,
    pub exported: bool,
}

/// `set -e`, `-u`, `-x`, `-o pipefail`.
#[derive(Clone, Debug, Default)]
pub struct Options {
    pub errexit: bool,
    pub nounset: bool,
    pub xtrace: bool,
    pub pipefail: bool,
}

#[derive(Clone)]
pub struct Shell {
    pub variables: BTreeMap<String, Variable>,
    pub functions: BTreeMap<String, Rc<FunctionBody>>,
    /// `$0`
    pub name: String,
    /// `$1` and on
    pub arguments: Vec<String>,
    /// `$?`
    pub last: i32,
    /// The code of the last command substitution within the current command.
    pub substituted: i32,
    pub folder: PathBuf,
    pub options: Options,
    /// What `local` hid, for each function that is running.
    pub hidden: Vec<Vec<(String, Option<Variable>)>>,
    /// Since 1970.
    pub clock: fn() -> Duration,
    pub pause: fn(Duration),
    /// Conditions that are being evaluated: `set -e` does not hold within.
    conditions: u32,
    depth: u32,
}

impl Shell {
    pub fn new(
        environment: Vec<(String, String)>,
        folder: PathBuf,
        clock: fn() -> Duration,
        pause: fn(Duration),
    ) -> Self {
        let exported = |(name, value)| (name, Variable { value, exported: true });
        Self {
            variables: environment.into_iter().map(exported).collect(),
            functions: BTreeMap::new(),
            name: "sh".to_owned(),
            arguments: Vec::new(),
            last: 0,
            substituted: 0,
            folder,
            options: Options::default(),
            hidden: Vec::new(),
            clock,
            pause,
            conditions: 0,
            depth: 0,
        }
    }

    pub fn variable(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(|variable| variable.value.as_str())
    }

    pub fn assign(&mut self, name: &str, value: String) {
        self.variables.entry(name.to_owned()).or_default().value = value;
    }

    /// Seen from the shell's own folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    pub fn run(&mut self, script: &str, io: &Io) -> Outcome {
        let program = Parser::new(script.as_bytes(), &syntax()).parse_program();
        let program = program.map_err(|error| Stop::Refused(error.to_string()))?;
        let mut code = 0;
        for list in &program.complete_commands {
            code = self.list(list, io)?;
        }
        Ok(code)
    }

    pub fn list(&mut self, list: &CompoundList, io: &Io) -> Outcome {
        let mut code = 0;
        for item in &list.0 {
            if matches!(item.1, SeparatorOperator::Async) {
                return Err(Stop::Refused("&: there are no background jobs".to_owned()));
            }
            code = self.and_or(&item.0, io)?;
        }
        Ok(code)
    }

    fn and_or(&mut self, list: &AndOrList, io: &Io) -> Outcome {
        let count = list.additional.len();
        let mut code = self.tested(count > 0, |shell| shell.pipeline(&list.first, io))?;
        for (index, next) in list.additional.iter().enumerate() {
            let (pipeline, runs) = match next {
                AndOr::And(pipeline) => (pipeline, code == 0),
                AndOr::Or(pipeline) => (pipeline, code != 0),
            };
            if runs {
                code = self.tested(index + 1 < count, |shell| shell.pipeline(pipeline, io))?;
            }
        }
        Ok(code)
    }

    /// Runs this as a condition if it is one.
    pub fn tested(&mut self, is_condition: bool, run: impl FnOnce(&mut Self) -> Outcome) -> Outcome {
        self.conditions += u32::from(is_condition);
        let outcome = run(self);
        self.conditions -= u32::from(is_condition);
        outcome
    }

    fn pipeline(&mut self, pipeline: &Pipeline, io: &Io) -> Outcome {
        if pipeline.timed.is_some() {
            return Err(Stop::Refused("time: not in the toolbox".to_owned()));
        }
        let code = self.tested(pipeline.bang, |shell| match pipeline.seq.as_slice() {
            [command] => shell.command(command, io),
            stages => shell.stages(stages, io),
        })?;
        self.last = if pipeline.bang { i32::from(code == 0) } else { code };
        if self.last != 0 && self.options.errexit && self.conditions == 0 && !pipeline.bang {
            return Err(Stop::Exit(self.last));
        }
        Ok(self.last)
    }

    /// One after the other: each reads what the one before has written.
    fn stages(&mut self, stages: &[Command], io: &Io) -> Outcome {
        let mut io = io.clone();
        let mut failed = 0;
        for (index, command) in stages.iter().enumerate() {
            let code = if index + 1 == stages.len() {
                self.subshell(|shell| shell.command(command, &io))?
            } else {
                let (bytes, code) = captured(&io, |io| self.subshell(|shell| shell.command(command, io)));
                io = io.with_input(bytes);
                code?
            };
            if code != 0 || (index + 1 == stages.len() && !self.options.pipefail) {
                failed = code;
            }
        }
        Ok(failed)
    }

    /// Runs this on a copy; only its code comes back.
    pub fn subshell(&mut self, run: impl FnOnce(&mut Self) -> Outcome) -> Outcome {
        let mut copy = self.clone();
        match copy.nested(run) {
            Err(Stop::Exit(code) | Stop::Return(code)) => Ok(code),
            Err(Stop::Break(_) | Stop::Continue(_)) => Ok(0),
            outcome => outcome,
        }
    }

    pub fn nested(&mut self, run: impl FnOnce(&mut Self) -> Outcome) -> Outcome {
        if self.depth == DEPTH_MAX {
            return Err(Stop::Refused(format!("more than {DEPTH_MAX} functions and subshells within each other")));
        }
        self.depth += 1;
        let outcome = run(self);
        self.depth -= 1;
        outcome
    }
}

pub fn syntax() -> ParserOptions {
    ParserOptions { enable_extended_globbing: false, sh_mode: true, ..ParserOptions::default() }
}
