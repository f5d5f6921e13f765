//! A body with something that lives until it ends or is lost.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Body;
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};

/// `held` is dropped with the body.
pub struct Tail<H> {
    body: Body,
    _held: H,
}

impl<H: Send + Unpin + 'static> Tail<H> {
    pub fn wrap(body: Body, held: H) -> Body {
        Body::new(Self { body, _held: held })
    }
}

impl<H: Unpin> HttpBody for Tail<H> {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
