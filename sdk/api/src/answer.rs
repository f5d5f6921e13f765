//! What the API said to a request that failed, in words for a log or a terminal.

/// A refusal's own message; of any other failure the error with its causes, each once.
pub fn said(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) if status.message.is_empty() => format!("{} {}", status.code, status.reason),
        kube::Error::Api(status) => status.message.clone(),
        other => chain(other),
    }
}

/// An error with its causes; many repeat them already.
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = String::new();
    let mut next = Some(error);
    while let Some(cause) = next {
        let api = cause.downcast_ref::<kube::Error>().filter(|error| matches!(error, kube::Error::Api(_)));
        let words = api.map_or_else(|| cause.to_string(), said);
        if !text.ends_with(&words) {
            let colon = if text.is_empty() { "" } else { ": " };
            text = format!("{text}{colon}{words}");
        }
        if api.is_some() {
            break;
        }
        next = cause.source();
    }
    text.replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{text}")]
    struct Link {
        text: &'static str,
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    }

    #[test]
    fn a_refusal_is_its_message_and_a_cause_is_told_once() {
        let status = kube::core::Status::failure("pods \"a\" not found", "NotFound").with_code(404).boxed();
        let refused = kube::Error::Api(status);
        assert_eq!(said(&refused), "pods \"a\" not found");
        assert_eq!(chain(&Link { text: "no log", source: Some(Box::new(refused)) }), "no log: pods \"a\" not found");
        let deep = Link { text: "refused\nnow", source: None };
        let middle = Link { text: "cannot connect: refused\nnow", source: Some(Box::new(deep)) };
        assert_eq!(chain(&middle), "cannot connect: refused now");
    }
}
