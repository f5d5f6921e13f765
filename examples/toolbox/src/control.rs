//! Compound commands: `if`, `for`, `while`, `until`, `case`, groups, subshells, definitions of functions.

use std::rc::Rc;

use brush_parser::ast::{
    CaseClauseCommand, CaseItemPostAction, Command, CompoundCommand, CompoundList, ForClauseCommand, IfClauseCommand,
    RedirectList, WhileOrUntilClauseCommand,
};

use crate::glob;
use crate::io::Io;
use crate::shell::{Outcome, Shell, Stop};

impl Shell {
    pub fn command(&mut self, command: &Command, io: &Io) -> Outcome {
        let outcome = match command {
            Command::Simple(command) => self.simple(command, io),
            Command::Compound(command, redirects) => self.redirected(command, redirects.as_ref(), io),
            Command::Function(function) => {
                self.functions.insert(function.fname.value.clone(), Rc::new(function.body.clone()));
                Ok(0)
            }
            Command::ExtendedTest(..) => Err(Stop::Refused("[[: use [ instead".to_owned())),
        };
        match outcome {
            Err(Stop::Failed(text)) => {
                io.complain(&text);
                Ok(1)
            }
            outcome => outcome,
        }
    }

    pub fn redirected(&mut self, command: &CompoundCommand, redirects: Option<&RedirectList>, io: &Io) -> Outcome {
        let mut io = io.clone();
        for redirect in redirects.iter().flat_map(|list| &list.0) {
            self.redirect(redirect, &mut io)?;
        }
        self.compound(command, &io)
    }

    fn compound(&mut self, command: &CompoundCommand, io: &Io) -> Outcome {
        match command {
            CompoundCommand::BraceGroup(group) => self.list(&group.list, io),
            CompoundCommand::Subshell(group) => self.subshell(|shell| shell.list(&group.list, io)),
            CompoundCommand::IfClause(clause) => self.branch(clause, io),
            CompoundCommand::ForClause(clause) => self.for_each(clause, io),
            CompoundCommand::WhileClause(clause) => self.while_it(clause, true, io),
            CompoundCommand::UntilClause(clause) => self.while_it(clause, false, io),
            CompoundCommand::CaseClause(clause) => self.case(clause, io),
            CompoundCommand::Arithmetic(_) | CompoundCommand::ArithmeticForClause(_) => {
                Err(Stop::Refused("((: use $(( )) instead".to_owned()))
            }
            CompoundCommand::Coprocess(_) => Err(Stop::Refused("coproc: there are no background jobs".to_owned())),
        }
    }

    fn condition(&mut self, list: &CompoundList, io: &Io) -> Result<bool, Stop> {
        Ok(self.tested(true, |shell| shell.list(list, io))? == 0)
    }

    fn branch(&mut self, clause: &IfClauseCommand, io: &Io) -> Outcome {
        if self.condition(&clause.condition, io)? {
            return self.list(&clause.then, io);
        }
        for other in clause.elses.iter().flatten() {
            let holds = match &other.condition {
                Some(condition) => self.condition(condition, io)?,
                None => true,
            };
            if holds {
                return self.list(&other.body, io);
            }
        }
        Ok(0)
    }

    fn for_each(&mut self, clause: &ForClauseCommand, io: &Io) -> Outcome {
        let mut values = self.arguments.clone();
        if let Some(words) = &clause.values {
            values.clear();
            for word in words {
                values.extend(self.fields(&word.value, io)?);
            }
        }
        let mut code = 0;
        for value in values {
            self.assign(&clause.variable_name, value);
            match turn(self.list(&clause.body.list, io))? {
                Some(next) => code = next,
                None => break,
            }
        }
        Ok(code)
    }

    fn while_it(&mut self, clause: &WhileOrUntilClauseCommand, wanted: bool, io: &Io) -> Outcome {
        let mut code = 0;
        while self.condition(&clause.0, io)? == wanted {
            match turn(self.list(&clause.1.list, io))? {
                Some(next) => code = next,
                None => break,
            }
        }
        Ok(code)
    }

    fn case(&mut self, clause: &CaseClauseCommand, io: &Io) -> Outcome {
        let value = self.text(&clause.value.value, io)?;
        for case in &clause.cases {
            for pattern in &case.patterns {
                if !glob::matches(&self.pattern(&pattern.value, io)?, &value) {
                    continue;
                }
                if !matches!(case.post_action, CaseItemPostAction::ExitCase) {
                    return Err(Stop::Refused("case: end an item with ;;".to_owned()));
                }
                return case.cmd.as_ref().map_or(Ok(0), |list| self.list(list, io));
            }
        }
        Ok(0)
    }
}

/// What a loop's body said: its code, or none when the loop ends.
fn turn(outcome: Outcome) -> Result<Option<i32>, Stop> {
    match outcome {
        Ok(code) => Ok(Some(code)),
        Err(Stop::Continue(1)) => Ok(Some(0)),
        Err(Stop::Break(1)) => Ok(None),
        Err(Stop::Continue(loops)) => Err(Stop::Continue(loops - 1)),
        Err(Stop::Break(loops)) => Err(Stop::Break(loops - 1)),
        Err(stop) => Err(stop),
    }
}
