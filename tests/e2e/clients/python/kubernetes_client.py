"""The Python client as its own examples use it: strict models, typed and dynamic calls, watches, patches, apply."""

import inspect
import json
import os
import threading
import time

from kubernetes import client, config, dynamic, utils, watch
from kubernetes.client import ApiException
from kubernetes.leaderelection import electionconfig, leaderelection
from kubernetes.leaderelection.resourcelock.leaselock import LeaseLock

HERE = os.path.dirname(os.path.abspath(__file__))
IMAGE = os.environ["IMAGE"]
NAMESPACE = os.environ["NAMESPACE"]


def refused(status, reason, call, *args, **kwargs):
    """The call must fail like this; the message is given for a closer look."""
    try:
        call(*args, **kwargs)
    except ApiException as problem:
        said = client.V1Status.from_json(problem.body)
        assert (problem.status, said.reason) == (status, reason), problem
        return said.message
    raise AssertionError(f"{call} went through")


def until(what, reached, seconds=30):
    end = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < end, f"not within {seconds} s: {what}"
        time.sleep(0.05)


def every_list_is_read_by_strict_models():
    """Also utils.create_from_yaml: one object of every kind, then every list call that the client has."""
    api = client.ApiClient()
    utils.create_from_yaml(api, os.path.join(HERE, "..", "every-kind.yaml"), namespace="default")
    try:
        utils.create_from_yaml(api, os.path.join(HERE, "..", "every-kind.yaml"), namespace="default")
    except utils.FailToCreateError as problem:
        assert all(each.status == 409 for each in problem.api_exceptions), problem
    served = {group.name: {each.version for each in group.versions} for group in client.ApisApi(api).get_api_versions().groups}
    read, empty = 0, []
    for name, api_class in inspect.getmembers(client, inspect.isclass):
        if not name.endswith("Api") or name == "CustomObjectsApi":
            continue
        lists = [call for call in dir(api_class) if call.startswith("list_")]
        for call in (call for call in lists if not call.endswith(("_with_http_info", "_without_preload_content"))):
            arguments = ["default"] if "_namespaced_" in call else []
            try:
                found = getattr(api_class(api), call)(*arguments)
            except ApiException as problem:
                # Only what discovery does not show may be absent: versions that upstream, too, leaves off.
                assert problem.status == 404 and ("alpha" in name or "beta" in name), (name, call, problem)
                continue
            read += 1
            if not found.items:
                empty.append(call)
    assert read > 90, read
    uncreatable = ("certificate_signing_request", "cluster_trust_bundle", "pod_certificate_request")
    assert all(any(each in call for each in uncreatable) for call in empty), empty
    assert served["apps"] == {"v1"}, served


def typed_calls_and_patches():
    core, apps = client.CoreV1Api(), client.AppsV1Api()
    labels = {"app": "web"}
    container = client.V1Container(
        name="web", image=IMAGE, ports=[client.V1ContainerPort(container_port=8080)],
        resources=client.V1ResourceRequirements(requests={"cpu": "1m", "memory": "8Mi"}))
    template = client.V1PodTemplateSpec(
        metadata=client.V1ObjectMeta(labels=labels), spec=client.V1PodSpec(containers=[container]))
    wanted = client.V1Deployment(
        metadata=client.V1ObjectMeta(name="web"),
        spec=client.V1DeploymentSpec(replicas=1, selector=client.V1LabelSelector(match_labels=labels), template=template))
    made = apps.create_namespaced_deployment(NAMESPACE, wanted)
    assert made.spec.strategy.type == "RollingUpdate" and made.metadata.generation == 1
    assert "already exists" in refused(409, "AlreadyExists", apps.create_namespaced_deployment, NAMESPACE, wanted)

    # A dict is a strategic merge patch, a list a JSON patch; others are asked for by their type.
    patched = apps.patch_namespaced_deployment(
        "web", NAMESPACE, {"spec": {"template": {"spec": {"containers": [{"name": "web", "env": [{"name": "A", "value": "1"}]}]}}}})
    assert patched.spec.template.spec.containers[0].image == IMAGE
    patched = apps.patch_namespaced_deployment(
        "web", NAMESPACE, [{"op": "replace", "path": "/spec/replicas", "value": 2}])
    assert patched.spec.replicas == 2
    scale = apps.read_namespaced_deployment_scale("web", NAMESPACE)
    scale.spec.replicas, scale.metadata.resource_version = 1, None
    assert apps.replace_namespaced_deployment_scale("web", NAMESPACE, scale).spec.replicas == 1
    stale = apps.read_namespaced_deployment("web", NAMESPACE)
    stale.metadata.resource_version = made.metadata.resource_version
    assert "the object has been modified" in refused(
        409, "Conflict", apps.replace_namespaced_deployment, "web", NAMESPACE, stale)
    until("web is ready", lambda: apps.read_namespaced_deployment_status("web", NAMESPACE).status.ready_replicas == 1)

    # Pods of the older revision may still be leaving, and their logs with them.
    pods = lambda: core.list_namespaced_pod(NAMESPACE, label_selector="app=web", field_selector="status.phase=Running").items
    until("web's last pod is alone", lambda: len(pods()) == 1)
    assert core.read_namespaced_pod_log(pods()[0].metadata.name, NAMESPACE, tail_lines=1) is not None
    refused(404, "NotFound", core.read_namespaced_pod, "none", NAMESPACE)
    said = refused(422, "Invalid", core.create_namespaced_service, NAMESPACE, client.V1Service(
        metadata=client.V1ObjectMeta(name="Bad"), spec=client.V1ServiceSpec(ports=[client.V1ServicePort(port=1)])))
    assert "Bad" in said
    status = apps.delete_namespaced_deployment("web", NAMESPACE, propagation_policy="Foreground")
    assert status is not None
    until("web's pods are gone", lambda: not core.list_namespaced_pod(NAMESPACE, label_selector="app=web").items)

    pages, token = [], None
    for name in "abcde":
        core.create_namespaced_config_map(NAMESPACE, client.V1ConfigMap(
            metadata=client.V1ObjectMeta(name=f"page-{name}", labels={"page": "yes"}), data={"k": name}))
    while True:
        page = core.list_namespaced_config_map(NAMESPACE, label_selector="page", limit=2, _continue=token)
        pages.append([each.metadata.name for each in page.items])
        token = page.metadata._continue
        if not token:
            break
    assert [len(page) for page in pages] == [2, 2, 1], pages
    core.delete_collection_namespaced_config_map(NAMESPACE, label_selector="page")
    assert not core.list_namespaced_config_map(NAMESPACE, label_selector="page").items


def watches():
    core = client.CoreV1Api()
    seen = []
    for name in ("one", "two"):
        core.create_namespaced_config_map(NAMESPACE, client.V1ConfigMap(
            metadata=client.V1ObjectMeta(name=name, labels={"watched": "yes"})))
    core.patch_namespaced_config_map("two", NAMESPACE, {"metadata": {"labels": {"watched": "no"}}})
    stream = watch.Watch()
    start = core.list_namespaced_config_map(NAMESPACE).metadata.resource_version
    threading.Timer(0.2, lambda: core.patch_namespaced_config_map(
        "two", NAMESPACE, {"metadata": {"labels": {"watched": "yes"}}})).start()
    for event in stream.stream(core.list_namespaced_config_map, NAMESPACE, label_selector="watched=yes",
                               resource_version=start, timeout_seconds=10):
        seen.append((event["type"], event["object"].metadata.name))
        if event["type"] == "ADDED":
            core.patch_namespaced_config_map("two", NAMESPACE, {"metadata": {"labels": None}})
        else:
            stream.stop()
    assert seen == [("ADDED", "two"), ("DELETED", "two")], seen
    began = time.monotonic()
    names = [event["object"].metadata.name for event in watch.Watch().stream(
        core.list_namespaced_config_map, NAMESPACE, label_selector="watched=yes", timeout_seconds=1)]
    assert names == ["one"] and time.monotonic() - began < 5, names


def dynamic_client():
    found = dynamic.DynamicClient(client.ApiClient())
    maps = found.resources.get(api_version="v1", kind="ConfigMap")
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "dynamic"}, "data": {"a": "1"}}
    maps.create(body=body, namespace=NAMESPACE)
    applied = maps.server_side_apply(
        body={**body, "data": {"b": "2"}}, namespace=NAMESPACE, field_manager="one", force_conflicts=False)
    assert applied.data.to_dict() == {"a": "1", "b": "2"}
    try:
        maps.server_side_apply(body={**body, "data": {"b": "3"}}, namespace=NAMESPACE, field_manager="two")
        raise AssertionError("another's field was taken")
    except dynamic.exceptions.ConflictError as problem:
        assert 'conflict with "one": .data.b' in json.loads(problem.body)["message"], problem.body
    forced = maps.server_side_apply(
        body={**body, "data": {"b": "3"}}, namespace=NAMESPACE, field_manager="two", force_conflicts=True)
    assert forced.data.b == "3"
    managers = {(each.manager, each.operation) for each in forced.metadata.managedFields}
    assert ("two", "Apply") in managers and ("one", "Apply") not in managers, managers
    assert maps.patch(name="dynamic", namespace=NAMESPACE, body={"data": {"a": None}},
                      content_type="application/merge-patch+json").data.to_dict() == {"b": "3"}
    for event in maps.watch(namespace=NAMESPACE, field_selector="metadata.name=dynamic", timeout=5):
        assert event["type"] == "ADDED" and event["object"].data.b == "3"
        break
    customs = found.resources.get(api_version="example.com/v1", kind="Every")
    customs.create(body={"apiVersion": "example.com/v1", "kind": "Every", "metadata": {"name": "e"}, "spec": {"x": 1}},
                   namespace=NAMESPACE)
    assert customs.get(name="e", namespace=NAMESPACE).spec.x == 1
    listed = client.CustomObjectsApi().list_namespaced_custom_object("example.com", "v1", NAMESPACE, "everies")
    assert [each["metadata"]["name"] for each in listed["items"]] == ["e"]
    assert maps.delete(name="dynamic", namespace=NAMESPACE).status == "Success"


def a_leader_is_elected():
    events = []
    lost = threading.Event()

    def leads():
        events.append("leads")
        lost.set()

    lock = LeaseLock("election", NAMESPACE, "candidate-1")
    settings = electionconfig.Config(
        lock, lease_duration=3, renew_deadline=2, retry_period=1, onstarted_leading=leads,
        onstopped_leading=lambda: events.append("stopped"))
    runner = threading.Thread(target=leaderelection.LeaderElection(settings).run, daemon=True)
    runner.start()
    assert lost.wait(15), "nobody leads"
    lease = client.CoordinationV1Api().read_namespaced_lease("election", NAMESPACE)
    assert lease.spec.holder_identity == "candidate-1", lease


def questions():
    me = client.AuthenticationV1Api().create_self_subject_review(client.V1SelfSubjectReview())
    assert "system:masters" in me.status.user_info.groups, me
    may = client.AuthorizationV1Api().create_self_subject_access_review(client.V1SelfSubjectAccessReview(
        spec=client.V1SelfSubjectAccessReviewSpec(
            resource_attributes=client.V1ResourceAttributes(verb="get", resource="pods"))))
    assert may.status.allowed
    assert client.VersionApi().get_code().minor == "37"
    token = client.CoreV1Api().create_namespaced_service_account_token("default", NAMESPACE, client.AuthenticationV1TokenRequest(
        spec=client.V1TokenRequestSpec(audiences=[], expiration_seconds=600)))
    assert token.status.token.count(".") == 2


config.load_kube_config()
for check in (every_list_is_read_by_strict_models, typed_calls_and_patches, watches, dynamic_client,
              a_leader_is_elected, questions):
    began = time.monotonic()
    check()
    print(f"{check.__name__.replace('_', ' ')}: {time.monotonic() - began:.1f} s", flush=True)
