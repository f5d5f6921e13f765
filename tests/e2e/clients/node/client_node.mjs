// The JavaScript client as its own examples use it: typed lists and writes, every kind of patch, an informer, a watch, logs.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { Writable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';

const k8s = await import(pathToFileURL(`${process.env.CLIENT_NODE}/dist/index.js`));
const namespace = process.env.NAMESPACE;
const config = new k8s.KubeConfig();
config.loadFromDefault();
const core = config.makeApiClient(k8s.CoreV1Api);
const apps = config.makeApiClient(k8s.AppsV1Api);
const objects = k8s.KubernetesObjectApi.makeApiClient(config);

async function until(what, reached) {
  const end = Date.now() + 30_000;
  while (!(await reached())) {
    assert.ok(Date.now() < end, `not within 30 s: ${what}`);
    await sleep(50);
  }
}

async function refused(code, reason, promise) {
  const problem = await promise.then(() => assert.fail('it went through'), (problem) => problem);
  assert.equal(problem.code, code, `${problem}`);
  const status = typeof problem.body === 'string' ? JSON.parse(problem.body) : problem.body;
  assert.equal(status.reason, reason);
  return status;
}

async function everyListIsRead() {
  let read = 0;
  for (const [name, api] of Object.entries(k8s).filter(([name]) => /V1Api$|V2Api$/.test(name))) {
    const client = config.makeApiClient(api);
    for (const call of Object.getOwnPropertyNames(api.prototype).filter((call) => call.startsWith('list') && !call.endsWith('WithHttpInfo'))) {
      const list = await client[call]({ namespace: 'default' });
      assert.ok(Array.isArray(list.items), `${name}.${call}`);
      read += 1;
    }
  }
  assert.ok(read > 80, `${read}`);
}

async function typedCallsAndPatches() {
  const metadata = { name: 'a', namespace, labels: { from: 'javascript' } };
  const made = await core.createNamespacedConfigMap({ namespace, body: { metadata, data: { k: '1' } } });
  assert.ok(made.metadata.creationTimestamp instanceof Date);
  await refused(409, 'AlreadyExists', core.createNamespacedConfigMap({ namespace, body: { metadata } }));
  await refused(404, 'NotFound', core.readNamespacedConfigMap({ name: 'none', namespace }));
  const patched = async (body, strategy, more = {}) => {
    const options = k8s.setHeaderOptions('Content-Type', strategy);
    return (await core.patchNamespacedConfigMap({ name: 'a', namespace, body, ...more }, options)).data;
  };
  assert.deepEqual(await patched([{ op: 'add', path: '/data/j', value: '2' }], k8s.PatchStrategy.JsonPatch), { k: '1', j: '2' });
  assert.deepEqual(await patched({ data: { j: null } }, k8s.PatchStrategy.MergePatch), { k: '1' });
  assert.deepEqual(await patched({ data: { s: '3' } }, k8s.PatchStrategy.StrategicMergePatch), { k: '1', s: '3' });
  const applied = { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'a' }, data: { k: '4' } };
  const fieldManager = 'applier';
  const conflict = await refused(409, 'Conflict', patched(applied, k8s.PatchStrategy.ServerSideApply, { fieldManager }));
  assert.equal(conflict.details.causes[0].field, '.data.k');
  assert.deepEqual(await patched(applied, k8s.PatchStrategy.ServerSideApply, { fieldManager, force: true }), { k: '4', s: '3' });

  const generic = { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'generic', namespace }, data: { a: 'b' } };
  await objects.create(generic);
  assert.equal((await objects.read(generic)).data.a, 'b');
  assert.equal((await objects.patch({ ...generic, data: { a: 'c' } }, undefined, undefined, 'me', true, k8s.PatchStrategy.ServerSideApply)).data.a, 'c');
  assert.equal((await objects.list('v1', 'ConfigMap', namespace)).items.length, 3);
  assert.equal((await objects.delete(generic)).status, 'Success');

  const [deployment] = k8s.loadAllYaml(readFileSync(new URL('deployment.yaml', import.meta.url), 'utf8'));
  deployment.spec.template.spec.containers[0].image = process.env.IMAGE;
  await apps.createNamespacedDeployment({ namespace, body: deployment });
  await until('the deployment is ready', async () =>
    (await apps.readNamespacedDeploymentStatus({ name: 'javascript', namespace })).status.readyReplicas === 1);
}

async function anInformerFollows() {
  const list = () => core.listNamespacedConfigMap({ namespace, labelSelector: 'seen=yes' });
  const informer = k8s.makeInformer(config, `/api/v1/namespaces/${namespace}/configmaps`, list, 'seen=yes');
  const seen = [];
  for (const verb of ['add', 'update', 'delete']) informer.on(verb, (object) => seen.push(`${verb} ${object.metadata.name}`));
  const make = (name) => core.createNamespacedConfigMap({ namespace, body: { metadata: { name, labels: { seen: 'yes' } } } });
  await make('first');
  await informer.start();
  await make('second');
  await until('the second is seen', () => informer.get('second', namespace));
  await core.patchNamespacedConfigMap({ name: 'first', namespace, body: { data: { x: 'y' } } }, k8s.setHeaderOptions('Content-Type', k8s.PatchStrategy.MergePatch));
  await core.deleteNamespacedConfigMap({ name: 'second', namespace });
  await until('the second is gone', () => seen.includes('delete second'));
  assert.deepEqual(seen, ['add first', 'add second', 'update first', 'delete second']);
  assert.deepEqual(informer.list().map((object) => object.metadata.name), ['first']);
  await informer.stop();
}

async function aWatchEndsWhenItSays() {
  const events = [];
  await new Promise((resolve, reject) => {
    const done = (problem) => (problem && problem !== k8s.Watch.SERVER_SIDE_CLOSE ? reject(problem) : resolve());
    new k8s.Watch(config)
      .watch(`/api/v1/namespaces/${namespace}/configmaps`, { timeoutSeconds: 1, sendInitialEvents: true, allowWatchBookmarks: true, resourceVersionMatch: 'NotOlderThan' },
        (phase, object) => events.push([phase, object.metadata.annotations?.['k8s.io/initial-events-end']]), done)
      .catch(reject);
  });
  assert.deepEqual(events.at(-1), ['BOOKMARK', 'true']);
  assert.ok(events.slice(0, -1).every(([phase]) => phase === 'ADDED') && events.length > 2, `${events}`);
}

async function logsAreFollowed() {
  const container = { name: 'p', image: process.env.PROBE, args: ['print', 'logged'] };
  await core.createNamespacedPod({ namespace, body: { metadata: { name: 'p' }, spec: { restartPolicy: 'Never', containers: [container] } } });
  await until('the pod has run', async () => (await core.readNamespacedPod({ name: 'p', namespace })).status.phase === 'Succeeded');
  let text = '';
  const sink = new Writable({ write: (chunk, _, next) => { text += chunk; next(); } });
  await new k8s.Log(config).log(namespace, 'p', 'p', sink, { follow: true, tailLines: 1 });
  await until('the log is read', () => text === 'logged\n');
}

for (const check of [everyListIsRead, typedCallsAndPatches, anInformerFollows, aWatchEndsWhenItSays, logsAreFollowed]) {
  const began = Date.now();
  await check();
  console.log(`${check.name}: ${(Date.now() - began) / 1000} s`);
}
process.exit(0);
