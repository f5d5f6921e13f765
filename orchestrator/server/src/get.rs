//! GET of one object.

use axum::response::Response;

use crate::call::Call;
use crate::reply::{self, Status};
use crate::{forms, reads, versions};

pub async fn get(call: Call) -> Result<Response, Status> {
    let revision = reads::revision(call.query())?;
    let snapshot = reads::snapshot(&call, revision).await?;
    let object = snapshot.get(&call.entry.key(call.namespace(), call.name()));
    let object = object.ok_or_else(|| Status::not_found(call.kind(), call.name()))?;
    let frame = versions::frame(&call.server, &call.entry, &object).await?;
    Ok(reply::ok(forms::shaped(&call, frame)?))
}
