//! Job and CronJob.

use expect_test::expect;

use super::checks::{becomes, refused, refused_update, row};
use super::json;

const TEMPLATE: &str = "template: {spec: {restartPolicy: Never, containers: [{name: c, image: 'i:1'}]}}";

fn job(fields: &str) -> String {
    format!("{{kind: Job, metadata: {{name: x, namespace: n, uid: u}}, spec: {{{fields} {TEMPLATE}}}}}")
}

fn cron_job(fields: &str) -> String {
    format!(
        "{{kind: CronJob, metadata: {{name: x, namespace: n}}, spec: {{{fields} jobTemplate: {{spec: {{{TEMPLATE}}}}}}}}}"
    )
}

// tidy: long because it is a table
#[test]
fn a_job_gets_a_selector_of_its_own() {
    becomes(
        &job(""),
        expect![[r#"
        metadata:
          labels:
            batch.kubernetes.io/controller-uid: u
            batch.kubernetes.io/job-name: x
            controller-uid: u
            job-name: x
          name: x
          namespace: n
          uid: u
        spec:
          backoffLimit: 6
          completionMode: NonIndexed
          completions: 1
          manualSelector: false
          parallelism: 1
          podReplacementPolicy: TerminatingOrFailed
          selector:
            matchLabels:
              batch.kubernetes.io/controller-uid: u
          suspend: false
          template:
            metadata:
              labels:
                batch.kubernetes.io/controller-uid: u
                batch.kubernetes.io/job-name: x
                controller-uid: u
                job-name: x
            spec:
              containers:
              - image: i:1
                imagePullPolicy: IfNotPresent
                name: c
                resources: {}
                terminationMessagePath: /dev/termination-log
                terminationMessagePolicy: File
              dnsPolicy: ClusterFirst
              restartPolicy: Never
              schedulerName: default-scheduler
              securityContext: {}
              terminationGracePeriodSeconds: 30
        status: {}
    "#]],
    );
    becomes(
        "{kind: Job, metadata: {name: x, uid: u}, spec: {parallelism: 2, manualSelector: true, backoffLimitPerIndex: 1, podFailurePolicy: {rules: [{action: Ignore, onPodConditions: [{type: DisruptionTarget}]}]}, selector: {matchLabels: {a: b}}, template: {metadata: {labels: {a: b}}}}}",
        expect![[r#"
            metadata:
              labels:
                a: b
              name: x
              uid: u
            spec:
              backoffLimit: 2147483647
              backoffLimitPerIndex: 1
              completionMode: NonIndexed
              manualSelector: true
              parallelism: 2
              podFailurePolicy:
                rules:
                - action: Ignore
                  onPodConditions:
                  - status: 'True'
                    type: DisruptionTarget
              podReplacementPolicy: Failed
              selector:
                matchLabels:
                  a: b
              suspend: false
              template:
                metadata:
                  labels:
                    a: b
            status: {}
        "#]],
    );
}

// tidy: long because it is a table
#[test]
fn rules_of_jobs() {
    refused(&job(""), expect![[""]]);
    refused(
        &job("completions: -1, backoffLimitPerIndex: 1, maxFailedIndexes: 2, managedBy: me,"),
        expect![[r#"
        spec.completions: Invalid value: -1: must be greater than or equal to 0
        spec.managedBy: Invalid value: "me": must be a domain-prefixed path (such as "acme.io/foo")
        spec.backoffLimitPerIndex: Invalid value: 1: requires indexed completion mode
        spec.maxFailedIndexes: Invalid value: 2: requires indexed completion mode
    "#]],
    );
    refused(
        &job("completionMode: Indexed, parallelism: 100001,"),
        expect![[r#"
        spec.parallelism: Invalid value: 100001: must be less than or equal to 100000 when completion mode is Indexed
        spec.completions: Required value: when completion mode is Indexed
    "#]],
    );
    refused(
        &job("completionMode: Odd, podReplacementPolicy: Odd,"),
        expect![[r#"
        spec.completionMode: Unsupported value: "Odd": supported values: "NonIndexed", "Indexed"
        spec.podReplacementPolicy: Unsupported value: "Odd": supported values: "Failed", "TerminatingOrFailed"
    "#]],
    );
    refused(
        "{kind: Job, metadata: {name: x, namespace: n, uid: u}, spec: {template: {spec: {containers: []}}}}",
        expect![[r#"
            spec.template.spec.containers: Required value
            spec.template.spec.restartPolicy: Required value: valid values: "OnFailure", "Never"
        "#]],
    );
    refused(
        "{kind: Job, metadata: {name: x, namespace: n, uid: u}, spec: {template: {metadata: {labels: {job-name: other}}, spec: {restartPolicy: Never, containers: [{name: c, image: 'i:1'}]}}}}",
        expect![[r#"
            spec.template.metadata.labels[job-name]: Invalid value: {"batch.kubernetes.io/controller-uid":"u","batch.kubernetes.io/job-name":"x","controller-uid":"u","job-name":"other"}: must be 'x'
        "#]],
    );
    refused(
        &job(
            "podFailurePolicy: {rules: [{action: FailIndex, onExitCodes: {operator: In, values: [2, 1, 0], containerName: z}}, {action: Odd}, {onPodConditions: [{type: '', status: Odd}], onExitCodes: {values: []}}]},",
        ),
        expect![[r#"
            spec.podFailurePolicy.rules[0].action: Invalid value: "FailIndex": requires the backoffLimitPerIndex to be set
            spec.podFailurePolicy.rules[0].onExitCodes.containerName: Invalid value: "z": must be one of the container or initContainer names in the pod template
            spec.podFailurePolicy.rules[0].onExitCodes.values[2]: Invalid value: 0: must not be 0 for the In operator
            spec.podFailurePolicy.rules[0].onExitCodes.values: Invalid value: [2,1,0]: must be ordered
            spec.podFailurePolicy.rules[1].action: Unsupported value: "Odd": supported values: "Count", "FailIndex", "FailJob", "Ignore"
            spec.podFailurePolicy.rules[1]: Invalid value: specifying one of OnExitCodes and OnPodConditions is required
            spec.podFailurePolicy.rules[2].action: Required value: valid values: ["Count" "FailIndex" "FailJob" "Ignore"]
            spec.podFailurePolicy.rules[2].onExitCodes.operator: Required value: valid values: ["In" "NotIn"]
            spec.podFailurePolicy.rules[2].onExitCodes.values: Invalid value: []: at least one value is required
            spec.podFailurePolicy.rules[2].onPodConditions[0].type: Invalid value: "": name part must be non-empty
            spec.podFailurePolicy.rules[2].onPodConditions[0].type: Invalid value: "": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')
            spec.podFailurePolicy.rules[2].onPodConditions[0].status: Unsupported value: "Odd": supported values: "False", "True", "Unknown"
            spec.podFailurePolicy.rules[2]: Invalid value: specifying both OnExitCodes and OnPodConditions is not supported
        "#]],
    );
    refused(
        &job(
            "completionMode: Indexed, completions: 4, successPolicy: {rules: [{}, {succeededIndexes: '0-1,3', succeededCount: 4}, {succeededIndexes: '3,1'}, {succeededIndexes: '9'}, {succeededCount: 5}]},",
        ),
        expect![[r#"
            spec.successPolicy.rules[0]: Required value: at least one of succeededCount or succeededIndexes must be specified
            spec.successPolicy.rules[1].succeededCount: Invalid value: 4: must be less than or equal to 3 (the number of indexes in the specified succeededIndexes field)
            spec.successPolicy.rules[2].succeededIndexes: Invalid value: "3,1": error parsing succeededIndexes: non-increasing order, previous: 3, current: 1
            spec.successPolicy.rules[3].succeededIndexes: Invalid value: "9": error parsing succeededIndexes: too large index: "9"
            spec.successPolicy.rules[4].succeededCount: Invalid value: 5: must be less than or equal to 4 (the number of specified completions)
        "#]],
    );
}

#[test]
fn what_of_a_job_may_change() {
    refused_update(&job(""), "{spec: {parallelism: 3, suspend: true, backoffLimit: 1}}", expect![[""]]);
    refused_update(
        &job(""),
        "{spec: {completions: 3, template: {spec: {hostname: h}}}}",
        expect![[r#"
        spec.completions: Invalid value: 3: field is immutable
        spec.template: Invalid value: {"metadata":{"labels":{"batch.kubernetes.io/controller-uid":"u","batch.kubernetes.io/job-name":"x","controller-uid":"u","job-name":"x"}},"spec":{"containers":[{"image":"i:1","imagePullPolicy":"IfNotPresent","name":"c","resources":{},"terminationMessagePath":"/dev/termination-log","terminationMessagePolicy":"File"}],"dnsPolicy":"ClusterFirst","hostname":"h","restartPolicy":"Never","schedulerName":"default-scheduler","securityContext":{},"terminationGracePeriodSeconds":30}}: field is immutable
    "#]],
    );
    refused_update(
        &job("completionMode: Indexed, completions: 2,"),
        "{spec: {completions: 3}}",
        expect![[r#"
        spec.completions: Invalid value: 3: can only be modified in tandem with spec.parallelism
    "#]],
    );
    refused_update(
        &job("suspend: true,"),
        "{spec: {template: {metadata: {annotations: {a: b}}, spec: {nodeSelector: {a: b}, affinity: {nodeAffinity: {}}}}}}",
        expect![[""]],
    );
}

#[test]
fn a_suspended_job_may_be_placed_anew() {
    let changes = "{spec: {template: {spec: {nodeSelector: {a: b}, containers: [{name: c, image: 'i:1', resources: {limits: {cpu: 1}}}]}}}}";
    let may = |spec: &str, status: &str| {
        let (kind, old) = super::created(&job(spec));
        let mut old = old;
        super::checks::merge(&mut old, &serde_yaml_ng::from_str(&format!("{{status: {status}}}")).unwrap());
        let mut new = old.clone();
        super::checks::merge(&mut new, &serde_yaml_ng::from_str(changes).unwrap());
        (kind.defaults)(&mut new);
        (kind.validate_update)(&new, &old).is_empty()
    };
    let suspended = "conditions: [{type: Suspended, status: 'True'}], startTime: '2026-01-01T11:00:00Z'";
    assert!(may("suspend: true,", "{}"));
    assert!(may("suspend: true,", &format!("{{{suspended}}}")));
    assert!(!may("suspend: true,", &format!("{{{suspended}, active: 1}}")));
    assert!(!may("suspend: true,", "{startTime: '2026-01-01T11:00:00Z'}"));
    assert!(!may("", "{}"));
}

// tidy: long because it is a table
#[test]
fn how_the_status_of_a_job_may_change() {
    let check = |spec: &str, before: &str, after: &str, expected: expect_test::Expect| {
        let (kind, mut old) = super::created(&job(spec));
        let mut new = old.clone();
        for (object, status) in [(&mut old, before), (&mut new, after)] {
            json::set(object, "status", serde_yaml_ng::from_str(&format!("{{{status}}}")).unwrap());
        }
        expected.assert_eq(&super::checks::shown(&(kind.validate_update)(&new, &old)));
    };
    let times = "startTime: '2026-01-01T11:00:00Z', completionTime: '2026-01-01T11:00:05Z'";
    let is = |kinds: &str| {
        let each = kinds.split(' ').map(|kind| format!("{{type: {kind}, status: 'True'}}"));
        format!("conditions: [{}]", each.collect::<Vec<_>>().join(", "))
    };
    let complete = format!("{times}, {}", is("SuccessCriteriaMet Complete"));
    check("", "active: 1, ready: 1", "active: 2, ready: 1, failed: 1", expect![""]);
    check("", "", &complete, expect![""]);
    check(
        "",
        "active: 1",
        &format!("active: 1, ready: 2, uncountedTerminatedPods: {{failed: [a, a], succeeded: ['']}}, {}", is("Failed")),
        expect![[r#"
            status.conditions: Invalid value: cannot set Failed=True condition without the FailureTarget=true condition
            status.active: Invalid value: 1: active>0 is invalid for finished job
            status.startTime: Required value: startTime is required for finished job
            status.uncountedTerminatedPods: Invalid value: {"failed":["a","a"],"succeeded":[""]}: uncountedTerminatedPods needs to be empty for finished job
            status.ready: Invalid value: 2: cannot set more ready pods than active
            status.uncountedTerminatedPods.succeeded[0]: Invalid value: "": must not be empty
            status.uncountedTerminatedPods.failed[1]: Duplicate value: "a"
        "#]],
    );
    check(
        "",
        &format!("failed: 2, succeeded: 1, {complete}"),
        "failed: 1, startTime: '2026-01-01T12:00:00Z', completionTime: '2026-01-01T11:00:09Z'",
        expect![[r#"
            status.conditions: Invalid value: cannot disable the terminal Complete=True condition
            status.conditions: Invalid value: cannot disable the SuccessCriteriaMet=True condition
            status.failed: Invalid value: 1: cannot decrease the failed counter
            status.succeeded: Invalid value: 0: cannot decrease the succeeded counter
            status.completionTime: Invalid value: "2026-01-01T11:00:09Z": completionTime cannot be set before startTime
            status.completionTime: Invalid value: "2026-01-01T11:00:09Z": completionTime cannot be mutated
            status.startTime: Required value: startTime cannot be removed for unsuspended job
        "#]],
    );
    check("suspend: true,", "startTime: '2026-01-01T11:00:00Z'", "active: 0", expect![""]);
    check(
        "",
        "",
        "completedIndexes: '0', failedIndexes: ''",
        expect![[r#"
            status.completedIndexes: Invalid value: "0": cannot set non-empty completedIndexes when non-indexed completion mode
            status.failedIndexes: Invalid value: "": cannot set non-null failedIndexes when backoffLimitPerIndex is null
        "#]],
    );
    let indexed = "completionMode: Indexed, completions: 5, parallelism: 5, backoffLimitPerIndex: 1,";
    check(indexed, "succeeded: 4", "succeeded: 2, completedIndexes: '0,3', failedIndexes: '1,2'", expect![""]);
    check(
        indexed,
        "",
        "completedIndexes: '0-3,7', failedIndexes: '2,4'",
        expect![[r#"
            status.completedIndexes: Invalid value: "0-3,7": error parsing completedIndexes: too large index: "7"
            status.failedIndexes: Invalid value: "2,4": failedIndexes and completedIndexes overlap at index: 2
        "#]],
    );
}

#[test]
fn a_cron_job() {
    becomes(
        "{kind: CronJob, metadata: {name: x}, spec: {schedule: '* * * * *', jobTemplate: {spec: {template: {spec: {}}}}}}",
        expect![[r#"
            metadata:
              name: x
            spec:
              concurrencyPolicy: Allow
              failedJobsHistoryLimit: 1
              jobTemplate:
                spec:
                  template:
                    spec:
                      dnsPolicy: ClusterFirst
                      restartPolicy: Always
                      schedulerName: default-scheduler
                      securityContext: {}
                      terminationGracePeriodSeconds: 30
              schedule: '* * * * *'
              successfulJobsHistoryLimit: 3
              suspend: false
            status: {}
        "#]],
    );
    refused(&cron_job("schedule: '@daily', timeZone: Etc/UTC,"), expect![[""]]);
    refused(
        &cron_job("concurrencyPolicy: Odd, startingDeadlineSeconds: -1,"),
        expect![[r#"
        spec.schedule: Required value
        spec.startingDeadlineSeconds: Invalid value: -1: must be greater than or equal to 0
        spec.concurrencyPolicy: Unsupported value: "Odd": supported values: "Allow", "Forbid", "Replace"
    "#]],
    );
    refused(
        &cron_job("schedule: 'CRON_TZ=UTC * * *', timeZone: 'Nowhere/-x',"),
        expect![[r#"
        spec.schedule: Invalid value: "CRON_TZ=UTC * * *": expected exactly 5 fields, found 3: [* * *]
        spec.schedule: Invalid value: "CRON_TZ=UTC * * *": cannot use TZ or CRON_TZ in schedule, use timeZone field instead
        spec.timeZone: Invalid value: "Nowhere/-x": unknown time zone Nowhere/-x
    "#]],
    );
    refused(
        "{kind: CronJob, metadata: {name: a123456789-123456789-123456789-123456789-123456789-xyz, namespace: n}, spec: {schedule: '* * * * *', jobTemplate: {spec: {manualSelector: true, selector: {}, template: {spec: {restartPolicy: OnFailure, containers: [{name: c, image: 'i:1'}]}}}}}}",
        expect![[r#"
            spec.jobTemplate.spec.selector: Invalid value: {}: `selector` will be auto-generated
            spec.jobTemplate.spec.manualSelector: Unsupported value: "true": supported values: "nil", "false"
            metadata.name: Invalid value: "a123456789-123456789-123456789-123456789-123456789-xyz": must be no more than 52 characters
        "#]],
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
    expect![[r#"
        x | Running | 1/3 | 2m
        x | Running | 0/1 of 4 | 
        x | Suspended | 0/1 | 
        x | Complete | 1/1 | 5s
        x | Failed | 0/1 | "#]]
    .assert_eq(&rows.join("\n"));
    row(
        &format!(
            "{{kind: CronJob, {metadata}, spec: {{schedule: '* * * * *', suspend: true, timeZone: Etc/UTC, jobTemplate: {{spec: {{{template}}}}}}}, status: {{active: [{{}}], lastScheduleTime: '2026-01-01T11:59:00Z'}}}}"
        ),
        expect!["x | * * * * * | Etc/UTC | True | 1 | 60s | 60m | c | i | <none>"],
    );
    row(
        &format!("{{kind: CronJob, {metadata}, spec: {{schedule: '@daily', suspend: false}}}}"),
        expect!["x | @daily | <none> | False | 0 | <none> | 60m |  |  | <none>"],
    );
}
