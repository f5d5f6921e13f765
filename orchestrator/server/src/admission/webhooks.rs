//! Admission webhooks: people's own servers that change an object on its way, or refuse it. One file reads them
//! (`webhooks/hook.rs`), one asks them (`webhooks/ask.rs`); here they are walked in order.

mod ask;
mod hook;

use async_trait::async_trait;
use futures::future::join_all;
use serde_json::Value;
use tokio::time::Instant;

use super::compiled::Compiled;
use super::matching::is_exempt;
use crate::measure;
use crate::reply::Status;
use crate::seams::{AdmissionRequest, Admit};
use ask::{Answer, Question};
use hook::{Hook, hooks};

const MUTATING: &str = "admissionregistration.k8s.io/mutatingwebhookconfigurations";
const VALIDATING: &str = "admissionregistration.k8s.io/validatingwebhookconfigurations";

#[derive(Default)]
pub struct MutatingWebhooks {
    hooks: Compiled<Hook>,
}

#[derive(Default)]
pub struct ValidatingWebhooks {
    hooks: Compiled<Hook>,
}

#[async_trait]
impl Admit for MutatingWebhooks {
    async fn admit(&self, request: &mut AdmissionRequest<'_>) -> Result<(), Status> {
        if is_exempt(request) {
            return Ok(());
        }
        let Some(hooks) = self.hooks.get(request.cluster, MUTATING, hooks) else { return Ok(()) };
        let mut left_behind: Vec<Option<Value>> = Vec::with_capacity(hooks.len());
        for hook in hooks.iter() {
            mutate(hook, request).await?;
            left_behind.push(request.object.clone());
        }
        // Who asked for it sees once more what others changed behind it.
        for (hook, seen) in hooks.iter().zip(left_behind) {
            if hook.reinvoked && seen != request.object {
                mutate(hook, request).await?;
            }
        }
        Ok(())
    }
}

async fn mutate(hook: &Hook, request: &mut AdmissionRequest<'_>) -> Result<(), Status> {
    let Some(question) = Question::of(hook, request).await? else { return Ok(()) };
    let answer = asked(&question, hook, request, "admit").await?;
    request.warnings.extend(answer.warnings.iter().cloned());
    if let Some(patched) = question.patched(hook, request, answer).await? {
        request.object = Some(patched);
    }
    Ok(())
}

#[async_trait]
impl Admit for ValidatingWebhooks {
    async fn admit(&self, _request: &mut AdmissionRequest<'_>) -> Result<(), Status> {
        Ok(())
    }

    async fn confirm(&self, request: &mut AdmissionRequest<'_>) -> Result<(), Status> {
        if is_exempt(request) {
            return Ok(());
        }
        let Some(hooks) = self.hooks.get(request.cluster, VALIDATING, hooks) else { return Ok(()) };
        let asked = join_all(hooks.iter().map(|hook| judge(hook, request))).await;
        let mut denied = None;
        for answer in asked {
            match answer {
                Ok(answer) => request.warnings.extend(answer.map(|answer| answer.warnings).unwrap_or_default()),
                Err(mut status) => {
                    request.warnings.append(&mut status.warnings);
                    denied.get_or_insert(status);
                }
            }
        }
        denied.map_or(Ok(()), Err)
    }
}

async fn judge(hook: &Hook, request: &AdmissionRequest<'_>) -> Result<Option<Answer>, Status> {
    match Question::of(hook, request).await? {
        Some(question) => asked(&question, hook, request, "validating").await.map(Some),
        None => Ok(None),
    }
}

/// The webhook's answer; how long it took and how it ended is measured.
async fn asked(
    question: &Question,
    hook: &Hook,
    request: &AdmissionRequest<'_>,
    step: &'static str,
) -> Result<Answer, Status> {
    let begun = Instant::now();
    let answer = question.ask(hook, request).await;
    let code = answer.as_ref().err().map(|status| status.code);
    measure::webhook((&hook.name, step, request.operation), code, begun.elapsed());
    answer
}
