//! What all writes share: defaults, the walk through admission, the verdict of validation.

use amphipod_store::{Committed, Error, Guard, Op, Txn};
use serde_json::Value;
use tokio::time::Instant;

use crate::call::Call;
use crate::kinds::{Kind, Problem};
use crate::measure::Phase;
use crate::registry::Entry;
use crate::reply::Status;
use crate::seams::{AdmissionRequest, Cluster, Operation};
use crate::server::Server;

/// Literal defaults from the schema table, then what the table cannot express.
pub fn fill_defaults(value: &mut Value, entry: &Entry) {
    if let Some(custom) = entry.kind.custom() {
        return custom.schema.fill_defaults(value);
    }
    if let Some(ty) = entry.ty {
        amphipod_schema::fill_defaults(value, ty);
    }
    (entry.kind.defaults)(value);
}

/// The form Go prints: empty optional fields go, required ones appear. Of a custom object, what its schema does not know goes.
pub fn shape(value: &mut Value, entry: &Entry) {
    if let Some(ty) = entry.ty {
        amphipod_schema::prune_empty(value, ty);
    }
    if let Some(custom) = entry.kind.custom() {
        custom.schema.prune(value);
    }
}

/// The first walk: plug-ins may change the object.
pub async fn admit(server: &Server, request: &mut AdmissionRequest<'_>) -> Result<(), Status> {
    let begun = Instant::now();
    for plugin in &server.admission {
        if let Err(status) = plugin.admit(request).await {
            server.admissions.rejected(&**plugin, (Phase::Admit, request.operation), begun.elapsed());
            return Err(warned(status, request));
        }
    }
    server.admissions.passed((Phase::Admit, request.operation), begun.elapsed());
    Ok(())
}

/// The second walk: plug-ins see what will be stored.
pub async fn confirm(server: &Server, request: &mut AdmissionRequest<'_>) -> Result<(), Status> {
    let begun = Instant::now();
    for plugin in &server.admission {
        if let Err(status) = plugin.confirm(request).await {
            server.admissions.rejected(&**plugin, (Phase::Validate, request.operation), begun.elapsed());
            return Err(warned(status, request));
        }
    }
    server.admissions.passed((Phase::Validate, request.operation), begun.elapsed());
    Ok(())
}

/// What plug-ins warned of is said even when the request is refused.
fn warned(mut status: Status, request: &mut AdmissionRequest<'_>) -> Status {
    let mut warnings = std::mem::take(&mut request.warnings);
    warnings.append(&mut status.warnings);
    Status { warnings, ..status }
}

/// One transaction that changes an object of this kind; `operation` is `create`, `update` or `delete`.
pub async fn commit(
    server: &Server,
    (operation, kind): (&'static str, &Kind),
    guards: Vec<Guard>,
    ops: Vec<Op>,
) -> Result<Committed, Error> {
    let txn = Txn { guards, ops, share_revision: true };
    server.commits.commit(&*server.store, (operation, kind.storage), txn).await
}

/// What admission gets to see of a write to the object of this name; object and old object are the caller's to add.
pub fn request<'a>(
    call: &'a Call,
    operation: Operation,
    name: &'a str,
    dry_run: bool,
    cluster: &'a Cluster,
) -> AdmissionRequest<'a> {
    AdmissionRequest {
        kind: call.kind(),
        entry: &call.entry,
        subresource: "",
        operation,
        namespace: call.namespace(),
        name,
        object: None,
        old: None,
        identity: &call.identity,
        dry_run,
        now: call.server.now().as_second(),
        cluster,
        guards: Vec::new(),
        ops: Vec::new(),
        explain: Vec::new(),
        warnings: Vec::new(),
        notes: &call.notes,
    }
}

/// The body of a subresource with a kind of its own (TokenRequest, Eviction, PodExecOptions), as admission leaves it.
pub async fn admit_body(call: &Call, operation: Operation, body: Value, dry_run: bool) -> Result<Value, Status> {
    let server = &call.server;
    let cluster = server.cluster(server.store.snapshot());
    let mut request = AdmissionRequest {
        subresource: call.subresource(),
        object: Some(body),
        ..self::request(call, operation, call.name(), dry_run, &cluster)
    };
    admit(server, &mut request).await?;
    confirm(server, &mut request).await?;
    Ok(request.object.take().expect("plug-ins leave an object"))
}

/// What the plug-ins hold for the object is released with it.
pub fn removed(server: &Server, request: &mut AdmissionRequest<'_>) {
    for plugin in &server.admission {
        plugin.removed(request);
    }
}

pub fn check(kind: &Kind, name: &str, problems: Vec<Problem>) -> Result<(), Status> {
    if problems.is_empty() { Ok(()) } else { Err(Status::invalid(kind, name, &problems)) }
}
