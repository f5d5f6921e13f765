"""Smaller Python clients, each with its own idea of the wire: lightkube, kr8s, and the asyncio half of the official one."""

import asyncio
import os
import time

NAMESPACE = os.environ["NAMESPACE"]
PROBE = os.environ["PROBE"]


def with_lightkube():
    from lightkube import ApiError, Client, codecs
    from lightkube.generic_resource import load_in_cluster_generic_resources
    from lightkube.models.meta_v1 import ObjectMeta
    from lightkube.resources.apps_v1 import Deployment
    from lightkube.resources.core_v1 import ConfigMap, Pod
    from lightkube.types import CascadeType, PatchType

    with open(os.path.join(os.path.dirname(__file__), "..", "node", "deployment.yaml"), encoding="utf-8") as file:
        [deployment] = codecs.load_all_yaml(file)
    deployment.metadata.name = "lightkube"
    deployment.spec.template.spec.containers[0].image = os.environ["IMAGE"]
    lights = Client(namespace=NAMESPACE, field_manager="lightkube")
    assert lights.apply(deployment).spec.progressDeadlineSeconds == 600
    lights.wait(Deployment, "lightkube", for_conditions=["Available"])
    lights.delete(Deployment, "lightkube", cascade=CascadeType.FOREGROUND)
    lights.create(ConfigMap(metadata=ObjectMeta(name="light", labels={"l": "v"}), data={"a": "1"}))
    patched = lights.patch(ConfigMap, "light", {"data": {"b": "2"}}, patch_type=PatchType.MERGE)
    assert patched.data == {"a": "1", "b": "2"}
    for verb, seen in lights.watch(ConfigMap, fields={"metadata.name": "light"}):
        assert (verb, seen.data) == ("ADDED", patched.data)
        break
    assert [each.metadata.name for each in lights.list(ConfigMap, labels={"l": "v"}, chunk_size=1)] == ["light"]
    lights.delete(ConfigMap, "light")
    try:
        lights.get(ConfigMap, "light")
        raise AssertionError("still there")
    except ApiError as problem:
        assert problem.status.reason == "NotFound", problem.status
    load_in_cluster_generic_resources(lights)
    assert [pod.metadata.name for pod in lights.list(Pod, namespace="*", fields={"metadata.name": "none"})] == []


def with_kr8s():
    import kr8s
    from kr8s.objects import ConfigMap, Pod

    pod = Pod({"metadata": {"name": "kr8s", "namespace": NAMESPACE},
               "spec": {"restartPolicy": "Never", "containers": [{"name": "p", "image": PROBE, "args": ["print", "read"]}]}})
    pod.create()
    pod.wait("jsonpath='{.status.phase}'=Succeeded", timeout=30)
    assert list(pod.logs()) == ["read"], list(pod.logs())
    held = ConfigMap({"metadata": {"name": "kr8s", "namespace": NAMESPACE}, "data": {"a": "1"}})
    held.create()
    held.patch({"data": {"b": "2"}})
    held.label({"l": "v"})
    [same] = kr8s.get("configmaps", namespace=NAMESPACE, label_selector="l=v")
    assert same.data == {"a": "1", "b": "2"} and same.exists()
    held.delete()
    pod.delete()
    assert "1.37" in str(kr8s.api().version()) or kr8s.api().version()["minor"] == "37"


async def asked_at_once():
    from kubernetes.aio import client, config, dynamic, watch

    await config.load_kube_config()
    async with client.ApiClient() as api:
        core = client.CoreV1Api(api)
        await core.create_namespaced_config_map(NAMESPACE, client.V1ConfigMap(metadata=client.V1ObjectMeta(name="aio")))
        async with watch.Watch().stream(core.list_namespaced_config_map, NAMESPACE, timeout_seconds=1) as events:
            names = [event["object"].metadata.name async for event in events]
        assert "aio" in names, names
        await core.patch_namespaced_config_map("aio", NAMESPACE, {"data": {"a": "1"}})
        found = await dynamic.DynamicClient(api)
        maps = await found.resources.get(api_version="v1", kind="ConfigMap")
        assert (await maps.get(name="aio", namespace=NAMESPACE)).data.a == "1"
        await core.delete_namespaced_config_map("aio", NAMESPACE)


def with_asyncio():
    asyncio.run(asked_at_once())


for check in (with_lightkube, with_kr8s, with_asyncio):
    began = time.monotonic()
    check()
    print(f"{check.__name__}: {time.monotonic() - began:.1f} s", flush=True)
