//! The text form of label selectors: `a=b,c in (d,e),!f,g>1`. Tokens, rules and complaints are those of upstream's
//! `labels.Parse`.

use std::collections::BTreeSet;

use super::{Requirement, Test};
use crate::kinds::names;

const OPERATORS: &str = "in, notin, =, ==, !=, gt, lt";

/// # Errors
/// Upstream's text, ready for the client.
pub fn parse(text: &str) -> Result<Vec<Requirement>, String> {
    let mut tokens = Tokens::of(text);
    let mut requirements = Vec::new();
    loop {
        match tokens.peek() {
            Token::End => return Ok(requirements),
            Token::Word(_) | Token::Sign("!") => {}
            other => return Err(format!("found '{other}', expected: !, identifier, or 'end of string'")),
        }
        let requirement = tokens.requirement().map_err(|why| format!("unable to parse requirement: {why}"))?;
        requirements.push(requirement);
        match tokens.next() {
            Token::End => return Ok(requirements),
            Token::Sign(",") => match tokens.peek() {
                Token::Word(_) | Token::Sign("!") => {}
                other => return Err(format!("found '{other}', expected: identifier after ','")),
            },
            other => return Err(format!("found '{other}', expected: ',' or 'end of string'")),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Token<'t> {
    Word(&'t str),
    /// `= == != ! ( ) , > <`
    Sign(&'static str),
    End,
}

impl std::fmt::Display for Token<'_> {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Token::Word(text) | Token::Sign(text) => to.write_str(text),
            Token::End => Ok(()),
        }
    }
}

const SIGNS: &[&str] = &["==", "!=", "=", "!", "(", ")", ",", ">", "<"];

struct Tokens<'t> {
    rest: &'t str,
}

impl<'t> Tokens<'t> {
    fn of(text: &'t str) -> Self {
        Self { rest: text }
    }

    fn peek(&self) -> Token<'t> {
        Self { rest: self.rest }.next()
    }

    fn next(&mut self) -> Token<'t> {
        let is_blank = |c: char| matches!(c, ' ' | '\t' | '\r' | '\n');
        let is_sign = |c: char| "=!(),><".contains(c);
        self.rest = self.rest.trim_start_matches(is_blank);
        if self.rest.is_empty() {
            return Token::End;
        }
        if let Some(sign) = SIGNS.iter().find(|sign| self.rest.starts_with(**sign)) {
            self.rest = &self.rest[sign.len()..];
            return Token::Sign(sign);
        }
        let end = self.rest.find(|c| is_blank(c) || is_sign(c)).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        Token::Word(word)
    }

    fn requirement(&mut self) -> Result<Requirement, String> {
        let is_absent = self.peek() == Token::Sign("!");
        if is_absent {
            self.next();
        }
        let key = match self.next() {
            Token::Word(key) => key,
            other => return Err(format!("found '{other}', expected: identifier")),
        };
        let complaints = names::qualified(key);
        if !complaints.is_empty() {
            return Err(format!("<nil>: Invalid value: {key:?}: {}", complaints.join("; ")));
        }
        let test = match (is_absent, self.peek()) {
            (true, _) => Test::Absent,
            (false, Token::End | Token::Sign(",")) => Test::Exists,
            (false, _) => self.test(key)?,
        };
        Ok(Requirement { key: key.to_owned(), test })
    }

    fn test(&mut self, key: &str) -> Result<Test, String> {
        let operator = self.next();
        let (Token::Word(word) | Token::Sign(word)) = operator else {
            return Err(format!("found '{operator}', expected: {OPERATORS}"));
        };
        let values = match word {
            "in" | "notin" => self.values()?,
            "=" | "==" | "!=" | ">" | "<" => vec![self.value()?],
            other => return Err(format!("found '{other}', expected: {OPERATORS}")),
        };
        let mut problems = Vec::new();
        let bound = values[0].parse::<i64>().unwrap_or_default();
        if matches!(word, ">" | "<") && values[0].parse::<i64>().is_err() {
            let why = "for 'Gt', 'Lt' operators, the value must be an integer";
            problems.push(format!("values[0]: Invalid value: {:?}: {why}", values[0]));
        }
        for (index, value) in values.iter().enumerate() {
            let complaints = names::label_value(value);
            if !complaints.is_empty() {
                problems.push(format!("values[{index}][{key}]: Invalid value: {value:?}: {}", complaints.join("; ")));
            }
        }
        match problems.as_slice() {
            [] => {}
            [one] => return Err(one.clone()),
            many => return Err(format!("[{}]", many.join(", "))),
        }
        Ok(match word {
            ">" => Test::Greater(bound),
            "<" => Test::Less(bound),
            "notin" | "!=" => Test::NotIn(values),
            _ => Test::In(values),
        })
    }

    /// What follows `=`: nothing is the empty value.
    fn value(&mut self) -> Result<String, String> {
        if matches!(self.peek(), Token::End | Token::Sign(",")) {
            return Ok(String::new());
        }
        match self.next() {
            Token::Word(value) => Ok(value.to_owned()),
            other => Err(format!("found '{other}', expected: identifier")),
        }
    }

    /// `(a, b)`, sorted; a missing element is the empty value.
    fn values(&mut self) -> Result<Vec<String>, String> {
        match self.next() {
            Token::Sign("(") => {}
            other => return Err(format!("found '{other}' expected: '('")),
        }
        let mut values = BTreeSet::new();
        match self.peek() {
            Token::Word(_) | Token::Sign("," | ")") => {}
            other => return Err(format!("found '{other}', expected: ',', ')' or identifier")),
        }
        loop {
            match self.peek() {
                Token::Word(value) => drop((self.next(), values.insert(value.to_owned()))),
                Token::Sign("," | ")") => drop(values.insert(String::new())),
                other => return Err(format!("found '{other}', expected: ',', or identifier")),
            }
            match self.next() {
                Token::Sign(")") => return Ok(values.into_iter().collect()),
                Token::Sign(",") => {}
                other => return Err(format!("found '{other}', expected: ',' or ')'")),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    fn refused(text: &str, expected: Expect) {
        expected.assert_eq(&super::parse(text).unwrap_err());
    }

    #[test]
    fn complaints_are_upstreams() {
        refused("a==b==c", expect!["found '==', expected: ',' or 'end of string'"]);
        refused("a=b c", expect!["found 'c', expected: ',' or 'end of string'"]);
        refused("a,", expect!["found '', expected: identifier after ','"]);
        refused("=x", expect!["found '=', expected: !, identifier, or 'end of string'"]);
        refused("a in web", expect!["unable to parse requirement: found 'web' expected: '('"]);
        refused("a in (b", expect!["unable to parse requirement: found '', expected: ',' or ')'"]);
        refused("a is (b)", expect!["unable to parse requirement: found 'is', expected: in, notin, =, ==, !=, gt, lt"]);
        refused(
            "a>x",
            expect![[
                r#"unable to parse requirement: values[0]: Invalid value: "x": for 'Gt', 'Lt' operators, the value must be an integer"#
            ]],
        );
        refused("!", expect!["unable to parse requirement: found '', expected: identifier"]);
        refused(
            "-a",
            expect![[
                r#"unable to parse requirement: <nil>: Invalid value: "-a": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"#
            ]],
        );
        refused(
            "a=$",
            expect![[
                r#"unable to parse requirement: values[0][a]: Invalid value: "$": a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"#
            ]],
        );
    }
}
