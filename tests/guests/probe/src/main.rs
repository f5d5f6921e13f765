//! A command whose first argument chooses what it does, so that tests can see how a host reacts.

use std::time::Duration;

use wasip2::http::outgoing_handler;
use wasip2::http::types::{Fields, OutgoingRequest, Scheme};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let argument = |at: usize| arguments.get(at).cloned().unwrap_or_default();
    match argument(0).as_str() {
        "print" => println!("{}", arguments[1..].join(" ")),
        "exit" => wasip2::cli::exit::exit_with_code(argument(1).parse().expect("a number")),
        "fail" => std::process::exit(1),
        "trap" => trap(),
        "allocate" => allocate(),
        "environment" => std::env::vars().for_each(|(name, value)| println!("{name}={value}")),
        "loop" => loop {
            std::hint::black_box(0);
        },
        "sleep" => std::thread::sleep(Duration::from_millis(argument(1).parse().expect("milliseconds"))),
        "get" => get(&argument(1), &argument(2)),
        "write" => std::fs::write(argument(1), argument(2)).expect("a file that may be written"),
        "read" => print!("{}", std::fs::read_to_string(argument(1)).unwrap_or_else(|error| format!("{error}\n"))),
        other => panic!("no such behaviour: {other:?}"),
    }
}

#[inline(never)]
fn trap() {
    std::process::abort();
}

fn allocate() {
    let mut kept = Vec::new();
    loop {
        kept.push(vec![1_u8; 1 << 20]);
        std::hint::black_box(&kept);
    }
}

/// Fetches `http://authority/path` and prints the status.
fn get(authority: &str, path: &str) {
    let request = OutgoingRequest::new(Fields::new());
    request.set_scheme(Some(&Scheme::Http)).expect("a scheme");
    request.set_authority(Some(authority)).expect("an authority");
    request.set_path_with_query(Some(path)).expect("a path");
    let response = outgoing_handler::handle(request, None).expect("a request");
    response.subscribe().block();
    match response.get().expect("ready").expect("taken once") {
        Ok(response) => println!("status {}", response.status()),
        Err(error) => println!("error {error:?}"),
    }
}
