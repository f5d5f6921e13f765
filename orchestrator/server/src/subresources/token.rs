//! `serviceaccounts/token`: the issuer behind the seam signs, this only fetches the account and checks the body.

use axum::body::Body;
use axum::response::Response;

use crate::body::{self, Expected};
use crate::call::{Call, WriteOptions};
use crate::reply::{self, Status};
use crate::seams::Operation;
use crate::{update, write};

pub async fn create(call: Call, body: Body) -> Result<Response, Status> {
    let options = WriteOptions::of(&call)?;
    let expected = Expected::known("authentication.k8s.io/v1", "TokenRequest");
    let bytes = body::bytes(body).await?;
    let mut request =
        body::decode((call.header(http::header::CONTENT_TYPE), &bytes), &expected, options.validation)?.value;
    request["apiVersion"] = expected.api_version.into();
    request["kind"] = expected.kind.into();
    let account = call.server.codec.value(&*update::read(&call, call.name())?);
    let request = write::admit_body(&call, Operation::Create, request, options.dry_run).await?;
    let issuer = call.server.tokens.as_ref().ok_or_else(Status::no_such_path)?;
    let issued = issuer.issue(&account, request).await?;
    let mut response = reply::created(issued.request.to_string().into());
    reply::warn(&mut response, &issued.warnings);
    Ok(response)
}
