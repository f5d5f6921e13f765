//! What parent and worker say to each other. Both are the same program, so there is one version; the number only
//! catches a program file that was replaced under a running parent.

use amphipod_runtime::{Exit, Limits, PodName};
use serde::{Deserialize, Serialize};

pub(crate) const VERSION: u32 = 2;

/// A container, as its worker counts it.
pub(crate) type Number = u64;

/// From the parent.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Request {
    /// First frame: what the sandbox must let through.
    Hello {
        version: u32,
        readable: Vec<String>,
        writable: Vec<String>,
        instances_max: u32,
        http: Http,
    },
    /// Descriptors: the log, then the listeners.
    Start {
        number: Number,
        spec: Box<Spec>,
    },
    Stop {
        number: Number,
        grace_milliseconds: u64,
    },
    /// Descriptor: a connected stream socket.
    Deliver {
        number: Number,
    },
    /// Answers [`Reply::Connect`]; with a descriptor when it succeeded.
    Connected {
        query: u64,
        failure: Option<(Refusal, String)>,
    },
    /// What all of its containers have used.
    Stats {
        query: u64,
    },
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Http {
    pub(crate) requests_max: usize,
    pub(crate) p2_requests_per_instance: usize,
    pub(crate) p3_requests_per_instance: usize,
    pub(crate) idle_milliseconds: u64,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Spec {
    pub(crate) pod: PodName,
    pub(crate) cwasm: String,
    pub(crate) arguments: Vec<String>,
    pub(crate) environment: Vec<(String, String)>,
    pub(crate) working_directory: Option<String>,
    pub(crate) directories: Vec<(String, String, Access)>,
    pub(crate) limits: Limits,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Access {
    ReadOnly,
    ReadWrite,
}

/// From the worker.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Reply {
    /// The sandbox is closed, guests may come.
    Ready {
        version: u32,
    },
    Started {
        number: Number,
        result: Result<Started, Failure>,
    },
    Exited {
        number: Number,
        exit: Exit,
    },
    Connect {
        query: u64,
        pod: PodName,
        host: String,
        port: u16,
    },
    Stats {
        query: u64,
        all: Vec<Used>,
    },
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Used {
    pub(crate) number: Number,
    pub(crate) cpu_nanoseconds: u64,
    pub(crate) memory_bytes: u64,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Started {
    pub(crate) at: jiff::Timestamp,
    /// It takes connections; a command does not.
    pub(crate) serves: bool,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Failure {
    Config(String),
    Image(String),
    Host(String),
}

/// The kinds of `std::io::Error` that a guest can tell apart.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) enum Refusal {
    NotFound,
    Denied,
    Refused,
    TimedOut,
    Other,
}

impl From<std::io::ErrorKind> for Refusal {
    fn from(kind: std::io::ErrorKind) -> Self {
        use std::io::ErrorKind;
        match kind {
            ErrorKind::NotFound => Self::NotFound,
            ErrorKind::PermissionDenied => Self::Denied,
            ErrorKind::ConnectionRefused => Self::Refused,
            ErrorKind::TimedOut => Self::TimedOut,
            _ => Self::Other,
        }
    }
}

impl From<Refusal> for std::io::ErrorKind {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::NotFound => Self::NotFound,
            Refusal::Denied => Self::PermissionDenied,
            Refusal::Refused => Self::ConnectionRefused,
            Refusal::TimedOut => Self::TimedOut,
            Refusal::Other => Self::Other,
        }
    }
}

impl From<amphipod_wasm::Error> for Failure {
    fn from(error: amphipod_wasm::Error) -> Self {
        match error {
            amphipod_wasm::Error::Config(message) => Self::Config(message),
            amphipod_wasm::Error::Image(message) => Self::Image(message),
            amphipod_wasm::Error::Host(message) => Self::Host(message),
        }
    }
}

impl From<Failure> for amphipod_runtime::Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Config(message) => Self::Config(message),
            Failure::Image(message) => Self::Image(message),
            Failure::Host(message) => Self::Runtime(message),
        }
    }
}
