//! One case for each check, the versions, and what replaces what.

use expect_test::{Expect, expect};
use serde_json::json;

use super::*;

fn check(standard: (Level, Option<u32>), pod: Value, expect: Expect) {
    let standard = Standard { level: standard.0, version: standard.1 };
    let found = violations(standard, &Pod::of(&pod));
    expect.assert_eq(&found.iter().map(Violation::to_string).collect::<Vec<_>>().join("\n"));
}

fn with(context: Value) -> Value {
    json!({ "spec": { "containers": [{ "name": "c", "securityContext": context }] } })
}

const BASELINE: (Level, Option<u32>) = (Level::Baseline, None);
const RESTRICTED: (Level, Option<u32>) = (Level::Restricted, None);

fn hardened() -> Value {
    json!({
        "runAsNonRoot": true, "allowPrivilegeEscalation": false,
        "capabilities": { "drop": ["ALL"] }, "seccompProfile": { "type": "RuntimeDefault" },
    })
}

#[test]
fn a_plain_pod_is_baseline_and_a_hardened_one_restricted() {
    check(BASELINE, with(json!({})), expect![""]);
    check(RESTRICTED, with(hardened()), expect![""]);
    check(
        RESTRICTED,
        with(json!({})),
        expect![[r#"
        allowPrivilegeEscalation != false (container "c" must set securityContext.allowPrivilegeEscalation=false)
        unrestricted capabilities (container "c" must set securityContext.capabilities.drop=["ALL"])
        runAsNonRoot != true (pod or container "c" must set securityContext.runAsNonRoot=true)
        seccompProfile (pod or container "c" must set securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost")"#]],
    );
    check(
        (Level::Restricted, Some(18)),
        with(json!({})),
        expect![[r#"
        allowPrivilegeEscalation != false (container "c" must set securityContext.allowPrivilegeEscalation=false)
        runAsNonRoot != true (pod or container "c" must set securityContext.runAsNonRoot=true)"#]],
    );
    check((Level::Privileged, None), json!({ "spec": { "hostNetwork": true } }), expect![""]);
}

#[test]
fn hosts_are_out_of_reach() {
    let spec = json!({
        "hostNetwork": true, "hostIPC": true,
        "volumes": [{ "name": "v", "hostPath": {} }, { "name": "w", "hostPath": {} }],
        "containers": [{ "name": "a", "ports": [{ "hostPort": 80 }, { "hostPort": 81 }], "livenessProbe": { "httpGet": { "host": "h" } } }],
        "initContainers": [{ "name": "i", "ports": [{ "hostPort": 80 }] }],
        "securityContext": { "windowsOptions": { "hostProcess": true }, "sysctls": [{ "name": "kernel.x" }, { "name": "net.ipv4.tcp_rmem" }] },
    });
    check(
        BASELINE,
        json!({ "spec": spec }),
        expect![[r#"
        host namespaces (hostNetwork=true, hostIPC=true)
        hostPath volumes (volumes "v", "w")
        hostPort (containers "i", "a" use hostPorts 80, 81)
        probe or lifecycle host (container "a" uses probe or lifecycle host "h")
        forbidden sysctls (kernel.x)
        hostProcess (pod must not set securityContext.windowsOptions.hostProcess=true)"#]],
    );
    check(
        (Level::Baseline, Some(31)),
        json!({ "spec": { "securityContext": spec["securityContext"] } }),
        expect![[r#"
        forbidden sysctls (kernel.x, net.ipv4.tcp_rmem)
        hostProcess (pod must not set securityContext.windowsOptions.hostProcess=true)"#]],
    );
}

#[test]
fn containers_get_no_privileges() {
    let context = json!({
        "privileged": true, "procMount": "Unmasked", "capabilities": { "add": ["SYS_ADMIN", "CHOWN", "BPF"] },
        "seccompProfile": { "type": "Unconfined" }, "appArmorProfile": { "type": "Unconfined" },
        "seLinuxOptions": { "type": "container_engine_t", "user": "u" },
    });
    check(
        BASELINE,
        with(context.clone()),
        expect![[r#"
        forbidden AppArmor profile (container "c" must not set AppArmor profile type to "Unconfined")
        non-default capabilities (container "c" must not include "BPF", "SYS_ADMIN" in securityContext.capabilities.add)
        privileged (container "c" must not set securityContext.privileged=true)
        procMount (container "c" must not set securityContext.procMount to "Unmasked")
        seLinuxOptions (container "c" set forbidden securityContext.seLinuxOptions: user may not be set)
        seccompProfile (container "c" must not set securityContext.seccompProfile.type to "Unconfined")"#]],
    );
    check(
        (Level::Baseline, Some(18)),
        with(json!({ "seLinuxOptions": context["seLinuxOptions"], "seccompProfile": context["seccompProfile"] })),
        expect![[
            r#"seLinuxOptions (container "c" set forbidden securityContext.seLinuxOptions: type "container_engine_t"; user may not be set)"#
        ]],
    );
}

#[test]
fn the_stricter_check_takes_the_place_of_the_weaker() {
    let mut context = hardened();
    context["capabilities"]["add"] = json!(["SYS_ADMIN", "NET_BIND_SERVICE"]);
    context["runAsUser"] = 0.into();
    let mut pod = with(context);
    pod["spec"]["volumes"] =
        json!([{ "name": "v", "hostPath": {} }, { "name": "n", "nfs": {} }, { "name": "e", "emptyDir": {} }]);
    check(
        RESTRICTED,
        pod.clone(),
        expect![[r#"
        unrestricted capabilities (container "c" must not include "SYS_ADMIN" in securityContext.capabilities.add)
        restricted volume types (volumes "v", "n" use restricted volume types "hostPath", "nfs")
        runAsUser=0 (container "c" must not set runAsUser=0)"#]],
    );
    pod["spec"]["hostUsers"] = false.into();
    pod["spec"]["volumes"] = json!([]);
    check(
        RESTRICTED,
        pod,
        expect![[
            r#"unrestricted capabilities (container "c" must not include "SYS_ADMIN" in securityContext.capabilities.add)"#
        ]],
    );
}

#[test]
fn a_pod_speaks_for_its_containers_and_annotations_count() {
    let pod = json!({
        "metadata": { "annotations": { "container.apparmor.security.beta.kubernetes.io/c": "unconfined" } },
        "spec": { "securityContext": { "runAsNonRoot": false }, "containers": [{ "name": "c", "securityContext": { "runAsNonRoot": false, "appArmorProfile": { "type": "Unconfined" } } }] },
    });
    let found = violations(Standard { level: Level::Restricted, version: None }, &Pod::of(&pod));
    let shown: Vec<String> = found.iter().map(Violation::to_string).collect();
    expect![[r#"forbidden AppArmor profiles (container "c" and annotation must not set AppArmor profile type to "Unconfined", "container.apparmor.security.beta.kubernetes.io/c="unconfined"")"#]].assert_eq(&shown[0]);
    expect![[r#"runAsNonRoot != true (pod and container "c" must not set securityContext.runAsNonRoot=false)"#]]
        .assert_eq(&shown[3]);
    let windows = json!({ "spec": { "os": { "name": "windows" }, "securityContext": { "runAsNonRoot": true }, "containers": [{ "name": "c" }] } });
    check(RESTRICTED, windows, expect![""]);
}
