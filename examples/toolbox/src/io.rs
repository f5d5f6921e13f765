//! The three streams of a command: the process's own, a buffer between two commands, a file, or nothing.

use std::cell::RefCell;
use std::io::{BufRead, BufReader, Cursor, Write};
use std::rc::Rc;

pub type Input = Rc<RefCell<dyn BufRead>>;
pub type Output = Rc<RefCell<dyn Write>>;

#[derive(Clone)]
pub struct Io {
    pub input: Input,
    pub output: Output,
    pub errors: Output,
}

impl Io {
    pub fn of_process() -> Self {
        Self {
            input: Rc::new(RefCell::new(BufReader::new(std::io::stdin()))),
            output: Rc::new(RefCell::new(std::io::stdout())),
            errors: Rc::new(RefCell::new(std::io::stderr())),
        }
    }

    pub fn with_input(&self, bytes: Vec<u8>) -> Self {
        Self { input: Rc::new(RefCell::new(Cursor::new(bytes))), ..self.clone() }
    }

    /// Writes at once, so that a log shows what was said so far; who does not listen is not told.
    pub fn write(&self, bytes: &[u8]) {
        let mut output = self.output.borrow_mut();
        let _ = output.write_all(bytes);
        let _ = output.flush();
    }

    pub fn say(&self, text: &str) {
        self.write(text.as_bytes());
    }

    pub fn complain(&self, text: &str) {
        let mut errors = self.errors.borrow_mut();
        let _ = errors.write_all(format!("{text}\n").as_bytes());
        let _ = errors.flush();
    }
}

/// Runs this with a buffer for its output; what it wrote, and its result.
pub fn captured<T>(io: &Io, run: impl FnOnce(&Io) -> T) -> (Vec<u8>, T) {
    let buffer = Rc::new(RefCell::new(Vec::new()));
    let result = run(&Io { output: buffer.clone(), ..io.clone() });
    let bytes = std::mem::take(&mut *buffer.borrow_mut());
    (bytes, result)
}

/// The cause without the number that differs from system to system.
pub fn cause(error: &std::io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_owned()
}
