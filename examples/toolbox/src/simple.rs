//! Simple commands: assignments, redirections, and the function or tool that is called.

use brush_parser::ast::{
    Assignment, AssignmentName, AssignmentValue, CommandPrefixOrSuffixItem as Item, SimpleCommand, Word,
};

use crate::io::Io;
use crate::shell::{Outcome, Shell, Stop, Variable};
use crate::tools;

/// They take `NAME=value` as it is written, unsplit.
const DECLARE: &[&str] = &["export", "local", "readonly"];

impl Shell {
    pub fn simple(&mut self, command: &SimpleCommand, outer: &Io) -> Outcome {
        self.substituted = 0;
        let mut io = outer.clone();
        let words = self.words(command, outer)?;
        let mut assigned = Vec::new();
        let prefix = command.prefix.iter().flat_map(|items| &items.0);
        let suffix = command.suffix.iter().flat_map(|items| &items.0);
        for item in prefix.clone().chain(suffix) {
            if let Item::IoRedirect(redirect) = item {
                self.redirect(redirect, &mut io)?;
            }
        }
        for item in prefix {
            if let Item::AssignmentWord(assignment, _) = item {
                let (name, value) = self.assignment(assignment, outer)?;
                if words.is_empty() {
                    self.assign(&name, value);
                } else {
                    assigned.push((name, value));
                }
            }
        }
        if self.options.xtrace && !words.is_empty() {
            outer.complain(&format!("+ {}", words.join(" ")));
        }
        match words.split_first() {
            None => Ok(self.substituted),
            Some((name, arguments)) => self.with_variables(assigned, |shell| shell.call(name, arguments, &io)),
        }
    }

    fn words(&mut self, command: &SimpleCommand, io: &Io) -> Result<Vec<String>, Stop> {
        let mut words = Vec::new();
        if let Some(name) = &command.word_or_name {
            words.extend(self.fields(&name.value, io)?);
        }
        for item in command.suffix.iter().flat_map(|items| &items.0) {
            match item {
                Item::Word(Word { value, .. }) => words.extend(self.fields(value, io)?),
                Item::AssignmentWord(_, word) if words.first().is_some_and(|name| DECLARE.contains(&name.as_str())) => {
                    words.push(self.text(&word.value, io)?);
                }
                Item::AssignmentWord(_, word) => words.extend(self.fields(&word.value, io)?),
                Item::IoRedirect(_) => {}
                Item::ProcessSubstitution(..) => return Err(Stop::Refused("<(: not in this shell".to_owned())),
            }
        }
        Ok(words)
    }

    fn assignment(&mut self, assignment: &Assignment, io: &Io) -> Result<(String, String), Stop> {
        match (&assignment.name, &assignment.value) {
            (AssignmentName::VariableName(name), AssignmentValue::Scalar(word)) => {
                let value = self.text(&word.value, io)?;
                let before = self.variable(name).filter(|_| assignment.append).unwrap_or_default();
                Ok((name.clone(), format!("{before}{value}")))
            }
            _ => Err(Stop::Refused("there are no arrays in this shell".to_owned())),
        }
    }

    /// `NAME=value command`: exported to the command, and as before afterwards.
    fn with_variables(&mut self, assigned: Vec<(String, String)>, run: impl FnOnce(&mut Self) -> Outcome) -> Outcome {
        let mut before = Vec::new();
        for (name, value) in assigned {
            let variable = Variable { value, exported: true };
            before.push((name.clone(), self.variables.insert(name, variable)));
        }
        let outcome = run(self);
        self.restore(before);
        outcome
    }

    fn restore(&mut self, before: Vec<(String, Option<Variable>)>) {
        for (name, variable) in before.into_iter().rev() {
            match variable {
                Some(variable) => self.variables.insert(name, variable),
                None => self.variables.remove(&name),
            };
        }
    }

    pub fn call(&mut self, name: &str, arguments: &[String], io: &Io) -> Outcome {
        if let Some(body) = self.functions.get(name).cloned() {
            let outer = std::mem::replace(&mut self.arguments, arguments.to_vec());
            self.hidden.push(Vec::new());
            let outcome = self.nested(|shell| shell.redirected(&body.0, body.1.as_ref(), io));
            let hidden = self.hidden.pop().unwrap_or_default();
            self.restore(hidden);
            self.arguments = outer;
            return match outcome {
                Err(Stop::Return(code)) => Ok(code),
                outcome => outcome,
            };
        }
        match tools::find(name) {
            Some(tool) => tool(self, arguments, io),
            None => {
                io.complain(&format!("sh: {name}: not found"));
                Ok(127)
            }
        }
    }
}
