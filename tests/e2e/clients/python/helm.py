"""Helm 4 as a library (the same SDK that the command is made of): a chart with hooks, CRDs and a subchart lives its life."""

import base64
import gzip
import json
import os
import time

import helm_python as helm
from kubernetes import client, config

CHART = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "chart")
NAMESPACE = os.environ["NAMESPACE"] + "-shop"
VALUES = {"image": os.environ["IMAGE"], "probe": os.environ["PROBE"]}

config.load_kube_config()
core, apps, custom = client.CoreV1Api(), client.AppsV1Api(), client.CustomObjectsApi()
helmed = helm.Config(kubeconfig_path=os.environ["KUBECONFIG"], namespace=NAMESPACE)
began = time.monotonic()


def done(what):
    global began
    print(f"{what}: {time.monotonic() - began:.1f} s", flush=True)
    began = time.monotonic()


def settings():
    return core.read_namespaced_config_map("one-settings", NAMESPACE).data


def revisions():
    return [(each["revision"], each["status"]) for each in helmed.history("one")]


helmed.check_reachable()
installed = helmed.install(CHART, "one", VALUES, wait="watcher", timeout=90, create_namespace=True)
assert installed["status"] == "deployed", installed
assert settings()["first"] == "hello" and settings()["jobs"] == "true" and settings()["kube"].startswith("v1.37"), settings()
assert core.read_namespaced_config_map("one-part", NAMESPACE).data["of"] == "part"
web = apps.read_namespaced_deployment("one-web", NAMESPACE)
assert web.status.available_replicas == 1, web.status
assert "Apply" in {each.operation for each in web.metadata.managed_fields}, web.metadata.managed_fields
assert web.metadata.labels["app.kubernetes.io/managed-by"] == "Helm", web.metadata.labels
gadget = custom.get_namespaced_custom_object("shop.example.com", "v1", NAMESPACE, "gadgets", "one")
assert gadget["spec"] == {"size": 1}, gadget
for hook in ("pre-install", "post-install"):
    assert core.read_namespaced_pod_log(f"one-{hook}", NAMESPACE).strip() == hook
assert core.read_namespaced_pod("one-pre-install", NAMESPACE).metadata.creation_timestamp <= web.metadata.creation_timestamp
done("installed, with hooks and CRDs, and waited for")

secret = core.read_namespaced_secret("sh.helm.release.v1.one.v1", NAMESPACE)
assert secret.type == "helm.sh/release.v1" and secret.metadata.labels["status"] == "deployed", secret.metadata
release = json.loads(gzip.decompress(base64.b64decode(base64.b64decode(secret.data["release"]))))
assert release["name"] == "one" and release["info"]["notes"].strip() == "Say hello.", release["info"]
assert [each["name"] for each in helmed.list()] == ["one"]
assert NAMESPACE in [each["namespace"] for each in helmed.list(all_namespaces=True, name_filter="^one$")]
assert int(helmed.status("one")["revision"]) == 1
assert helmed.get_values("one") == VALUES
tested = helmed.test("one", timeout=60, logs=True)
assert "tested" in tested["logs"], tested
done("listed, shown and tested")

upgraded = helmed.upgrade(CHART, "one", {"replicas": 2, "greeting": "moin"}, reuse_values=True, wait="watcher", timeout=90)
assert int(upgraded["revision"]) == 2, upgraded
assert apps.read_namespaced_deployment("one-web", NAMESPACE).status.available_replicas == 2
assert settings()["greeting"] == "moin" and settings()["first"] == "hello", "lookup keeps what is there"
gadget = custom.get_namespaced_custom_object("shop.example.com", "v1", NAMESPACE, "gadgets", "one")
assert gadget["spec"] == {"size": 2}, gadget
done("upgraded")

try:
    helmed.upgrade(CHART, "one", {"broken": True}, reuse_values=True, wait="watcher", timeout=3, rollback_on_failure=True)
    raise AssertionError("an image that is nowhere became ready")
except helm.HelmError as problem:
    assert "one-web" in str(problem) or "deadline" in str(problem), problem
assert revisions()[-1] == (4, "deployed"), revisions()
assert apps.read_namespaced_deployment("one-web", NAMESPACE).spec.template.spec.containers[0].image == VALUES["image"]
done("a failed upgrade is taken back")

dry = helmed.install(CHART, "two", VALUES, dry_run="server")
assert "kind: Deployment" in dry["manifest"] and len(apps.list_namespaced_deployment(NAMESPACE).items) == 1, dry
try:
    core.create_namespaced_config_map(NAMESPACE, client.V1ConfigMap(metadata=client.V1ObjectMeta(name="two-settings")))
    helmed.install(CHART, "two", VALUES, timeout=5)
    raise AssertionError("another's object was taken")
except helm.HelmError as problem:
    assert "cannot be imported into the current release" in str(problem), problem

helmed.rollback("one", version=1, wait="watcher", timeout=60)
assert revisions()[-1] == (5, "deployed"), revisions()
assert apps.read_namespaced_deployment("one-web", NAMESPACE).spec.replicas == 1 and settings()["greeting"] == "hello"
done("rolled back")

helmed.uninstall("one", wait="watcher", timeout=60)
assert not helmed.list(all_states=True, name_filter="^one$")
assert not apps.list_namespaced_deployment(NAMESPACE).items
assert not core.list_namespaced_secret(NAMESPACE, label_selector="owner=helm,name=one").items
custom.list_namespaced_custom_object("shop.example.com", "v1", NAMESPACE, "gadgets")
done("uninstalled, CRDs kept")
