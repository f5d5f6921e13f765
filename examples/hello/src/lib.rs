//! Answers every request with a greeting and the name of the pod that gave it.

use std::io::Write;

use wasip2::http::types::{Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam};

struct Hello;

impl wasip2::exports::http::incoming_handler::Guest for Hello {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let pod = std::env::var("POD_NAME").or_else(|_| std::env::var("HOSTNAME")).unwrap_or_else(|_| "unknown".into());
        let version = std::env::var("HELLO_VERSION").unwrap_or_else(|_| "v1".into());
        println!("{} {}", pod, request.path_with_query().unwrap_or_default());

        let response = OutgoingResponse::new(Fields::new());
        let body = response.body().expect("taken once");
        ResponseOutparam::set(out, Ok(response));
        let mut stream = body.write().expect("taken once");
        // A client that went away is no failure of ours.
        let _ = writeln!(stream, "Hello from Amphipod, pod {pod}! ({version})");
        drop(stream);
        let _ = OutgoingBody::finish(body, None);
    }
}

wasip2::http::proxy::export!(Hello);
