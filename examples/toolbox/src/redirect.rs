//! Redirections to and from files, other streams and here-documents.

use std::cell::RefCell;
use std::fs::{File, OpenOptions};
use std::io::{BufReader, Cursor};
use std::rc::Rc;

use brush_parser::ast::{IoFileRedirectKind as Kind, IoFileRedirectTarget as Target, IoHereDocument, IoRedirect};

use crate::io::{Input, Io, Output, cause};
use crate::shell::{Shell, Stop};

impl Shell {
    pub fn redirect(&mut self, redirect: &IoRedirect, io: &mut Io) -> Result<(), Stop> {
        match redirect {
            IoRedirect::File(number, kind, target) => self.redirect_file(*number, kind, target, io),
            IoRedirect::HereDocument(None | Some(0), document) => {
                let text = self.here(document, io)?;
                io.input = Rc::new(RefCell::new(Cursor::new(text.into_bytes())));
                Ok(())
            }
            other => Err(Stop::Refused(format!("{other}: not in this shell"))),
        }
    }

    fn here(&mut self, document: &IoHereDocument, io: &Io) -> Result<String, Stop> {
        let text = &document.doc.value;
        let stripped = |line: &str| line.trim_start_matches('\t').to_owned();
        let text = if document.remove_tabs { text.split_inclusive('\n').map(stripped).collect() } else { text.clone() };
        if document.requires_expansion { self.document(&text, io) } else { Ok(text) }
    }

    fn redirect_file(&mut self, number: Option<i32>, kind: &Kind, to: &Target, io: &mut Io) -> Result<(), Stop> {
        let name = match to {
            Target::Filename(word) | Target::Duplicate(word) => self.text(&word.value, io)?,
            Target::Fd(number) => number.to_string(),
            Target::ProcessSubstitution(..) => return Err(Stop::Refused("<(: not in this shell".to_owned())),
        };
        let writes = !matches!(kind, Kind::Read | Kind::DuplicateInput);
        match (number.unwrap_or(i32::from(writes)), kind) {
            (0, Kind::Read) => io.input = self.open(&name)?,
            (0, Kind::DuplicateInput) if name == "0" => {}
            (1, Kind::DuplicateOutput) => io.output = stream(&name, io)?,
            (2, Kind::DuplicateOutput) => io.errors = stream(&name, io)?,
            (1, Kind::Write | Kind::Append | Kind::Clobber) => io.output = self.create(&name, kind, io)?,
            (2, Kind::Write | Kind::Append | Kind::Clobber) => io.errors = self.create(&name, kind, io)?,
            (number, kind) => return Err(Stop::Refused(format!("{number}{kind}{name}: not in this shell"))),
        }
        Ok(())
    }

    pub fn open(&self, name: &str) -> Result<Input, Stop> {
        if name == "/dev/null" {
            return Ok(Rc::new(RefCell::new(std::io::empty())));
        }
        match File::open(self.path(name)) {
            Ok(file) => Ok(Rc::new(RefCell::new(BufReader::new(file)))),
            Err(error) => Err(Stop::Failed(format!("sh: can't open {name}: {}", cause(&error)))),
        }
    }

    fn create(&self, name: &str, kind: &Kind, io: &Io) -> Result<Output, Stop> {
        match name {
            "/dev/null" => return Ok(Rc::new(RefCell::new(std::io::sink()))),
            "/dev/stdout" => return Ok(io.output.clone()),
            "/dev/stderr" => return Ok(io.errors.clone()),
            _ => {}
        }
        let mut options = OpenOptions::new();
        let options = match kind {
            Kind::Append => options.append(true).create(true),
            _ => options.write(true).create(true).truncate(true),
        };
        match options.open(self.path(name)) {
            Ok(file) => Ok(Rc::new(RefCell::new(file))),
            Err(error) => Err(Stop::Failed(format!("sh: can't create {name}: {}", cause(&error)))),
        }
    }
}

fn stream(name: &str, io: &Io) -> Result<Output, Stop> {
    match name {
        "1" => Ok(io.output.clone()),
        "2" => Ok(io.errors.clone()),
        "-" => Ok(Rc::new(RefCell::new(std::io::sink()))),
        _ => Err(Stop::Refused(format!(">&{name}: there are the streams 0, 1 and 2 only"))),
    }
}
