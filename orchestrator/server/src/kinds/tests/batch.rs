//! Job and CronJob.

use expect_test::expect;

use super::checks::{becomes, refused, refused_update, row};

const TEMPLATE: &str = "template: {spec: {restartPolicy: Never, containers: [{name: c, image: 'i:1'}]}}";

fn job(fields: &str) -> String {
    format!("{{kind: Job, metadata: {{name: x, namespace: n, uid: u}}, spec: {{{fields} {TEMPLATE}}}}}")
}

fn cron_job(fields: &str) -> String {
    format!(
        "{{kind: CronJob, metadata: {{name: x, namespace: n}}, spec: {{{fields} jobTemplate: {{spec: {{{TEMPLATE}}}}}}}}}"
    )
}

#[test]
fn a_job_gets_a_selector_of_its_own() {
    becomes(&job(""), expect![[""]]);
    becomes(
        "{kind: Job, metadata: {name: x, uid: u}, spec: {parallelism: 2, manualSelector: true, backoffLimitPerIndex: 1, podFailurePolicy: {rules: [{action: Ignore, onPodConditions: [{type: DisruptionTarget}]}]}, selector: {matchLabels: {a: b}}, template: {metadata: {labels: {a: b}}}}}",
        expect![[""]],
    );
}

#[test]
fn rules_of_jobs() {
    refused(&job(""), expect![[""]]);
    refused(&job("completions: -1, backoffLimitPerIndex: 1, maxFailedIndexes: 2, managedBy: me,"), expect![[""]]);
    refused(&job("completionMode: Indexed, parallelism: 100001,"), expect![[""]]);
    refused(&job("completionMode: Odd, podReplacementPolicy: Odd,"), expect![[""]]);
    refused(
        "{kind: Job, metadata: {name: x, namespace: n, uid: u}, spec: {template: {spec: {containers: []}}}}",
        expect![[""]],
    );
    refused(
        "{kind: Job, metadata: {name: x, namespace: n, uid: u}, spec: {template: {metadata: {labels: {job-name: other}}, spec: {restartPolicy: Never, containers: [{name: c, image: 'i:1'}]}}}}",
        expect![[""]],
    );
    refused(
        &job(
            "podFailurePolicy: {rules: [{action: FailIndex, onExitCodes: {operator: In, values: [2, 1, 0], containerName: z}}, {action: Odd}, {onPodConditions: [{type: '', status: Odd}], onExitCodes: {values: []}}]},",
        ),
        expect![[""]],
    );
    refused(
        &job(
            "completionMode: Indexed, completions: 4, successPolicy: {rules: [{}, {succeededIndexes: '0-1,3', succeededCount: 4}, {succeededIndexes: '3,1'}, {succeededIndexes: '9'}, {succeededCount: 5}]},",
        ),
        expect![[""]],
    );
}

#[test]
fn what_of_a_job_may_change() {
    refused_update(&job(""), "{spec: {parallelism: 3, suspend: true, backoffLimit: 1}}", expect![[""]]);
    refused_update(&job(""), "{spec: {completions: 3, template: {spec: {hostname: h}}}}", expect![[""]]);
    refused_update(&job("completionMode: Indexed, completions: 2,"), "{spec: {completions: 3}}", expect![[""]]);
    refused_update(
        &job("suspend: true,"),
        "{spec: {template: {metadata: {annotations: {a: b}}, spec: {nodeSelector: {a: b}, affinity: {nodeAffinity: {}}}}}}",
        expect![[""]],
    );
}

#[test]
fn a_cron_job() {
    becomes(
        "{kind: CronJob, metadata: {name: x}, spec: {schedule: '* * * * *', jobTemplate: {spec: {template: {spec: {}}}}}}",
        expect![[""]],
    );
    refused(&cron_job("schedule: '@daily', timeZone: Etc/UTC,"), expect![[""]]);
    refused(&cron_job("concurrencyPolicy: Odd, startingDeadlineSeconds: -1,"), expect![[""]]);
    refused(&cron_job("schedule: 'CRON_TZ=UTC * * *', timeZone: 'Nowhere/-x',"), expect![[""]]);
    refused(
        "{kind: CronJob, metadata: {name: a123456789-123456789-123456789-123456789-123456789-xyz, namespace: n}, spec: {schedule: '* * * * *', jobTemplate: {spec: {manualSelector: true, selector: {}, template: {spec: {restartPolicy: OnFailure, containers: [{name: c, image: 'i:1'}]}}}}}}",
        expect![[""]],
    );
}

#[test]
fn rows() {
    let metadata = "metadata: {name: x, creationTimestamp: '2026-01-01T11:00:00Z'}";
    let template = "template: {spec: {containers: [{name: c, image: i}]}}";
    let jobs = [
        ("spec: {completions: 3}", "status: {succeeded: 1, startTime: '2026-01-01T11:58:00Z'}"),
        ("spec: {parallelism: 4}", ""),
        ("spec: {parallelism: 1}", "status: {conditions: [{type: Suspended, status: 'True'}]}"),
        (
            "spec: {completions: 1}",
            "status: {succeeded: 1, startTime: '2026-01-01T11:00:00Z', completionTime: '2026-01-01T11:00:05Z', conditions: [{type: Complete, status: 'True'}]}",
        ),
        ("spec: {completions: 1}", "status: {conditions: [{type: Failed, status: 'True'}]}"),
    ];
    let rows: Vec<String> = jobs
        .iter()
        .map(|(spec, status)| {
            let (kind, object) = super::parse(&format!("{{kind: Job, {metadata}, {spec}, {status}}}"));
            let cells = (kind.row)(&object, super::NOW);
            cells
                .iter()
                .take(4)
                .map(|cell| cell.as_str().unwrap_or_default().to_owned())
                .collect::<Vec<_>>()
                .join(" | ")
        })
        .collect();
    expect![[""]].assert_eq(&rows.join("\n"));
    row(
        &format!(
            "{{kind: CronJob, {metadata}, spec: {{schedule: '* * * * *', suspend: true, timeZone: Etc/UTC, jobTemplate: {{spec: {{{template}}}}}}}, status: {{active: [{{}}], lastScheduleTime: '2026-01-01T11:59:00Z'}}}}"
        ),
        expect![[""]],
    );
    row(&format!("{{kind: CronJob, {metadata}, spec: {{schedule: '@daily', suspend: false}}}}"), expect![[""]]);
}
