//! One component, two faces: it answers requests with a greeting and the pod's name; given arguments, it greets once
//! and ends.

use std::io::Write;

use wasip2::http::types::{Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam};

struct Hello;

fn greeting() -> String {
    let pod = std::env::var("POD_NAME").or_else(|_| std::env::var("HOSTNAME")).unwrap_or_else(|_| "unknown".into());
    let version = std::env::var("HELLO_VERSION").unwrap_or_else(|_| "v1".into());
    format!("Hello from Amphipod, pod {pod}! ({version})")
}

impl wasip2::exports::http::incoming_handler::Guest for Hello {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        println!("request for {}", request.path_with_query().unwrap_or_default());
        let response = OutgoingResponse::new(Fields::new());
        let body = response.body().expect("taken once");
        ResponseOutparam::set(out, Ok(response));
        let mut stream = body.write().expect("taken once");
        // A client that went away is no failure of ours.
        let _ = writeln!(stream, "{}", greeting());
        drop(stream);
        let _ = OutgoingBody::finish(body, None);
    }
}

impl wasip2::exports::cli::run::Guest for Hello {
    fn run() -> Result<(), ()> {
        println!("{}", greeting());
        Ok(())
    }
}

wasip2::http::proxy::export!(Hello);
wasip2::cli::command::export!(Hello);
