//! What a word becomes: variables, substitutions and quotes, then fields, then names of files.

use brush_parser::word::{
    self, Parameter, ParameterExpr, ParameterTestType, SpecialParameter, TildeExpr, WordPiece, WordPieceWithSource,
};

use crate::glob;
use crate::io::{Io, captured};
use crate::shell::{Shell, Stop, syntax};
use crate::tools;

/// A field's text, and the same as a pattern in which what was quoted is escaped.
#[derive(Clone, Default)]
struct Field {
    text: String,
    pattern: String,
}

/// Fields in the making; the last is open while more may be joined to it.
#[derive(Default)]
struct Fields {
    done: Vec<Field>,
    open: Option<Field>,
}

impl Fields {
    fn plain(&mut self, text: &str) {
        let field = self.open.get_or_insert_default();
        field.text.push_str(text);
        field.pattern.push_str(text);
    }

    fn quoted(&mut self, text: &str) {
        let field = self.open.get_or_insert_default();
        field.text.push_str(text);
        for character in text.chars() {
            if matches!(character, '*' | '?' | '[' | ']' | '\\' | '-' | '!' | '^') {
                field.pattern.push('\\');
            }
            field.pattern.push(character);
        }
    }

    fn end(&mut self) {
        self.done.extend(self.open.take());
    }

    fn split(&mut self, text: &str, separators: &str) {
        for (index, part) in text.split(|character| separators.contains(character)).enumerate() {
            if index > 0 {
                self.end();
            }
            if !part.is_empty() {
                self.plain(part);
            }
        }
    }

    fn add(&mut self, text: &str, quoted: bool, separators: &str) {
        if quoted { self.quoted(text) } else { self.split(text, separators) }
    }
}

impl Shell {
    /// The words that a word of a command becomes.
    pub fn fields(&mut self, word: &str, io: &Io) -> Result<Vec<String>, Stop> {
        let mut words = Vec::new();
        for field in self.expanded(&pieces(word)?, false, io)? {
            let paths =
                if glob::is_pattern(&field.pattern) { glob::paths(&field.pattern, &self.folder) } else { Vec::new() };
            if paths.is_empty() { words.push(field.text) } else { words.extend(paths) }
        }
        Ok(words)
    }

    /// One text, whatever its blanks: of assignments, redirections, `case`.
    pub fn text(&mut self, word: &str, io: &Io) -> Result<String, Stop> {
        Ok(self.joined(word, io)?.text)
    }

    pub fn pattern(&mut self, word: &str, io: &Io) -> Result<String, Stop> {
        Ok(self.joined(word, io)?.pattern)
    }

    fn joined(&mut self, word: &str, io: &Io) -> Result<Field, Stop> {
        let separators = self.variables.remove("IFS");
        self.assign("IFS", String::new());
        let fields = pieces(word).and_then(|pieces| self.expanded(&pieces, false, io));
        match separators {
            Some(separators) => self.variables.insert("IFS".to_owned(), separators),
            None => self.variables.remove("IFS"),
        };
        let join = |all: Vec<String>| all.join(" ");
        let fields = fields?;
        Ok(Field {
            text: join(fields.iter().map(|field| field.text.clone()).collect()),
            pattern: join(fields.into_iter().map(|field| field.pattern).collect()),
        })
    }

    /// The text of a here-document or an arithmetic expression: quotes mean nothing there.
    pub fn document(&mut self, text: &str, io: &Io) -> Result<String, Stop> {
        let pieces = word::parse_heredoc(text, &syntax()).map_err(|error| Stop::Refused(error.to_string()))?;
        let fields = self.expanded(&pieces, true, io)?;
        Ok(fields.into_iter().map(|field| field.text).collect::<Vec<_>>().join(" "))
    }

    fn expanded(&mut self, pieces: &[WordPieceWithSource], quoted: bool, io: &Io) -> Result<Vec<Field>, Stop> {
        let mut fields = Fields::default();
        for piece in pieces {
            self.expand(&piece.piece, quoted, &mut fields, io)?;
        }
        fields.end();
        Ok(fields.done)
    }

    fn separators(&self) -> String {
        self.variable("IFS").unwrap_or(" \t\n").to_owned()
    }

    fn expand(&mut self, piece: &WordPiece, quoted: bool, fields: &mut Fields, io: &Io) -> Result<(), Stop> {
        match piece {
            WordPiece::Text(text) if quoted => fields.quoted(text),
            WordPiece::Text(text) => fields.plain(text),
            WordPiece::SingleQuotedText(text) => fields.quoted(text),
            WordPiece::AnsiCQuotedText(text) => fields.quoted(&tools::unescaped(text).0),
            WordPiece::DoubleQuotedSequence(pieces) | WordPiece::GettextDoubleQuotedSequence(pieces) => {
                if !matches!(pieces.as_slice(), [only] if is_all(&only.piece)) {
                    fields.quoted("");
                }
                for piece in pieces {
                    self.expand(&piece.piece, true, fields, io)?;
                }
            }
            WordPiece::TildeExpansion(TildeExpr::Home) => fields.quoted(self.variable("HOME").unwrap_or("/")),
            WordPiece::TildeExpansion(_) => return Err(Stop::Refused("~: there are no users here".to_owned())),
            WordPiece::ParameterExpansion(expression) => self.parameter(expression, quoted, fields, io)?,
            WordPiece::CommandSubstitution(script) | WordPiece::BackquotedCommandSubstitution(script) => {
                let text = self.substitute(script, io)?;
                fields.add(&text, quoted, &self.separators());
            }
            WordPiece::EscapeSequence(text) if text == "\\\n" => {}
            WordPiece::EscapeSequence(text) => fields.quoted(&text[1..]),
            WordPiece::ArithmeticExpression(expression) => {
                let text = self.document(&expression.value, io)?;
                let value = self.arithmetic(&text)?.to_string();
                fields.add(&value, quoted, &self.separators());
            }
        }
        Ok(())
    }

    fn substitute(&mut self, script: &str, io: &Io) -> Result<String, Stop> {
        let (bytes, code) = captured(io, |io| self.subshell(|shell| shell.run(script, io)));
        self.substituted = code?;
        self.last = self.substituted;
        Ok(String::from_utf8_lossy(&bytes).trim_end_matches('\n').to_owned())
    }

    fn parameter(
        &mut self,
        expression: &ParameterExpr,
        quoted: bool,
        fields: &mut Fields,
        io: &Io,
    ) -> Result<(), Stop> {
        use ParameterExpr as E;
        match expression {
            E::Parameter { parameter, indirect: false } => return self.plain_parameter(parameter, quoted, fields),
            E::UseDefaultValues { parameter, indirect: false, test_type, default_value } => {
                if self.is_set(parameter, test_type) {
                    return self.plain_parameter(parameter, quoted, fields);
                }
                return self.alternative(default_value.as_deref(), quoted, fields, io);
            }
            E::UseAlternativeValue { parameter, indirect: false, test_type, alternative_value } => {
                if self.is_set(parameter, test_type) {
                    return self.alternative(alternative_value.as_deref(), quoted, fields, io);
                }
                return Ok(());
            }
            _ => {}
        }
        let value = self.computed(expression, io)?;
        fields.add(&value, quoted, &self.separators());
        Ok(())
    }

    /// Those expressions that make one text.
    fn computed(&mut self, expression: &ParameterExpr, io: &Io) -> Result<String, Stop> {
        use ParameterExpr as E;
        if let Some((parameter, pattern, cut)) = removal(expression) {
            let pattern = self.pattern(pattern.as_deref().unwrap_or_default(), io)?;
            return Ok(cut.of(&self.value(parameter)?, &pattern).to_owned());
        }
        Ok(match expression {
            E::AssignDefaultValues { parameter: Parameter::Named(name), indirect: false, test_type, default_value } => {
                if !self.is_set(&Parameter::Named(name.clone()), test_type) {
                    let value = self.text(default_value.as_deref().unwrap_or_default(), io)?;
                    self.assign(name, value);
                }
                self.variable(name).unwrap_or_default().to_owned()
            }
            E::IndicateErrorIfNullOrUnset { parameter, indirect: false, test_type, error_message } => {
                if !self.is_set(parameter, test_type) {
                    let message = self.text(error_message.as_deref().unwrap_or("parameter not set"), io)?;
                    return Err(Stop::Refused(format!("{}: {message}", named(parameter))));
                }
                self.value(parameter)?
            }
            E::ParameterLength { parameter, indirect: false } => self.value(parameter)?.chars().count().to_string(),
            _ => return Err(Stop::Refused("${…}: not in this shell".to_owned())),
        })
    }

    fn alternative(&mut self, word: Option<&str>, quoted: bool, fields: &mut Fields, io: &Io) -> Result<(), Stop> {
        for piece in pieces(word.unwrap_or_default())? {
            self.expand(&piece.piece, quoted, fields, io)?;
        }
        Ok(())
    }

    fn plain_parameter(&mut self, parameter: &Parameter, quoted: bool, fields: &mut Fields) -> Result<(), Stop> {
        let separators = self.separators();
        let concatenates = match parameter {
            Parameter::Special(SpecialParameter::AllPositionalParameters { concatenate }) => *concatenate && quoted,
            _ => true,
        };
        if concatenates {
            fields.add(&self.value(parameter)?, quoted, &separators);
            return Ok(());
        }
        for (index, argument) in self.arguments.iter().enumerate() {
            if index > 0 {
                fields.end();
            }
            fields.add(argument, quoted, &separators);
        }
        Ok(())
    }

    fn is_set(&self, parameter: &Parameter, test: &ParameterTestType) -> bool {
        match (self.known(parameter), test) {
            (None, _) => false,
            (Some(value), ParameterTestType::UnsetOrNull) => !value.is_empty(),
            (Some(_), ParameterTestType::Unset) => true,
        }
    }

    fn value(&self, parameter: &Parameter) -> Result<String, Stop> {
        match self.known(parameter) {
            Some(value) => Ok(value),
            None if self.options.nounset => Err(Stop::Refused(format!("{}: parameter not set", named(parameter)))),
            None => Ok(String::new()),
        }
    }

    fn known(&self, parameter: &Parameter) -> Option<String> {
        use SpecialParameter as S;
        match parameter {
            Parameter::Positional(0) | Parameter::Special(S::ShellName) => Some(self.name.clone()),
            Parameter::Positional(number) => self.arguments.get(*number as usize - 1).cloned(),
            Parameter::Named(name) if name == "RANDOM" => Some(((self.clock)().subsec_micros() % 32768).to_string()),
            Parameter::Named(name) => self.variable(name).map(str::to_owned),
            Parameter::Special(S::AllPositionalParameters { .. }) if self.arguments.is_empty() => None,
            Parameter::Special(S::AllPositionalParameters { .. }) => Some(self.arguments.join(" ")),
            Parameter::Special(S::PositionalParameterCount) => Some(self.arguments.len().to_string()),
            Parameter::Special(S::LastExitStatus) => Some(self.last.to_string()),
            Parameter::Special(S::ProcessId) => Some("1".to_owned()),
            _ => None,
        }
    }
}

fn pieces(word: &str) -> Result<Vec<WordPieceWithSource>, Stop> {
    word::parse(word, &syntax()).map_err(|error| Stop::Refused(error.to_string()))
}

/// `$@`
fn is_all(piece: &WordPiece) -> bool {
    let all = Parameter::Special(SpecialParameter::AllPositionalParameters { concatenate: false });
    match piece {
        WordPiece::ParameterExpansion(ParameterExpr::Parameter { parameter, .. }) => named(parameter) == named(&all),
        _ => false,
    }
}

fn named(parameter: &Parameter) -> String {
    match parameter {
        Parameter::Named(name) => name.clone(),
        other => other.to_string().trim_start_matches('$').to_owned(),
    }
}

/// What `#`, `##`, `%` and `%%` take away.
struct Cut {
    is_prefix: bool,
    is_longest: bool,
}

impl Cut {
    fn of<'a>(&self, value: &'a str, pattern: &str) -> &'a str {
        let mut places: Vec<usize> = (0..=value.len()).filter(|at| value.is_char_boundary(*at)).collect();
        if self.is_prefix == self.is_longest {
            places.reverse();
        }
        let parts = places.into_iter().map(|at| value.split_at(at));
        let mut parts = parts.map(|(before, after)| if self.is_prefix { (before, after) } else { (after, before) });
        parts.find(|(cut, _)| glob::matches(pattern, cut)).map_or(value, |(_, kept)| kept)
    }
}

fn removal(expression: &ParameterExpr) -> Option<(&Parameter, &Option<String>, Cut)> {
    use ParameterExpr as E;
    let (parameter, pattern, is_prefix, is_longest) = match expression {
        E::RemoveSmallestSuffixPattern { parameter, indirect: false, pattern } => (parameter, pattern, false, false),
        E::RemoveLargestSuffixPattern { parameter, indirect: false, pattern } => (parameter, pattern, false, true),
        E::RemoveSmallestPrefixPattern { parameter, indirect: false, pattern } => (parameter, pattern, true, false),
        E::RemoveLargestPrefixPattern { parameter, indirect: false, pattern } => (parameter, pattern, true, true),
        _ => return None,
    };
    Some((parameter, pattern, Cut { is_prefix, is_longest }))
}
