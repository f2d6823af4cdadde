// A demo job across containers on a private network: RabbitMQ, sandboxd, a git host, a producer, workers; scaled from 1 to 3
// workers and back with builds in flight. What must hold at the end is asked of harvestctl, RabbitMQ, sandboxd and the workers' logs.
//
//   node demo.mjs --tag TAG --rabbitmq IMAGE --name NAME
//
// Every build waits at a gate until the demo opens it, so that nothing depends on how fast the machine is. Everything made
// here carries the label harvest.images=NAME; scripts/images removes it.
import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { chmodSync, existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs, promisify } from 'node:util';

const { values: given } = parseArgs({ options: { tag: { type: 'string' }, rabbitmq: { type: 'string' }, name: { type: 'string' } } });
const here = dirname(fileURLToPath(import.meta.url));
const image = (program) => `harvest-${program}:${given.tag}`;
const FLEET = 'images';
const API_KEY = 'dtn_the_demo_s_own_key';
const SLOTS = 2;
const GRACE_SECONDS = 90;
// Six that need nothing but the image's own Node, one with another Node, one with pnpm.
const TARGETS = [
  ...[1, 2, 3, 4, 5, 6].map((number) => ({ name: `acme/service-${number}`, sample: 'npm-service', node: 'own' })),
  { name: 'acme/pinned-node', sample: 'pinned-node', build: 'npm run build' },
  { name: 'acme/pnpm-workspace', sample: 'pnpm-workspace', build: 'pnpm run build' },
];

const run = promisify(execFile);
const say = (line) => console.log(`   ${line}`);
const container = (name) => `${given.name}-${name}`;

async function docker(...words) {
  const environment = { ...process.env, DAYTONA_API_KEY: API_KEY, SANDBOXD_API_KEYS: API_KEY };
  const { stdout } = await run('docker', words, { env: environment, maxBuffer: 64e6 });
  return stdout.trim();
}

/** Waits for a fact, with a bound; the only sleep there is. */
async function eventually(what, seconds, look) {
  const end = Date.now() + seconds * 1000;
  for (let last; ; ) {
    try {
      const found = await look();
      if (found) return found;
      last = JSON.stringify(found);
    } catch (error) {
      last = error.stderr || error.message;
    }
    if (Date.now() > end) throw new Error(`not within ${seconds} s: ${what}; last: ${last}`);
    await new Promise((wake) => setTimeout(wake, 500));
  }
}

const HARDENED = ['--read-only', '--cap-drop', 'ALL', '--security-opt', 'no-new-privileges'];
// What bubblewrap needs that Docker's defaults keep from it; see images/README.md.
const SANDBOXES = ['--cap-drop', 'ALL', '--security-opt', 'seccomp=unconfined', '--security-opt', 'apparmor=unconfined', '--security-opt', 'systempaths=unconfined'];

function options(name) {
  return ['--name', container(name), '--hostname', name, '--label', `harvest.images=${given.name}`, '--network', given.name, '--network-alias', name];
}
const start = (name, ...words) => docker('run', '--detach', ...options(name), ...words);
const logs = async (name) => {
  const { stdout, stderr } = await run('docker', ['logs', container(name)], { maxBuffer: 64e6 });
  return stdout + stderr;
};
const says = (name, text, seconds) => eventually(`${name} says "${text}"`, seconds, async () => (await logs(name)).includes(text));
/** A worker's log: a JSON object a line. */
const lines = async (name) => (await logs(name)).split('\n').filter((line) => line.startsWith('{')).map((line) => JSON.parse(line));

/** A request from inside the private network. */
async function ask(method, url, headers = {}) {
  const script = 'const [method, url, headers] = process.argv.slice(1); const answer = await fetch(url, { method, headers: JSON.parse(headers) }); console.log(await answer.text()); process.exit(answer.ok ? 0 : 1)';
  const text = await docker('exec', container('git'), 'node', '--input-type=module', '--eval', script, method, url, JSON.stringify(headers));
  return text === '' ? undefined : JSON.parse(text);
}
const daytona = (path) => ask('GET', `http://sandboxd:3986/api${path}`, { authorization: `Bearer ${API_KEY}` });
const sandboxes = async () => (await daytona('/sandbox')).items;
/** Which builds stand at their gates, by the worker that holds them. */
async function held() {
  const waiting = await ask('GET', 'http://git:3000/waiting');
  const by = { 'worker-1': [], 'worker-2': [], 'worker-3': [] };
  for (const sandbox of await sandboxes()) {
    const target = sandbox.labels['harvest.target'];
    const name = target?.replace(/^acme\//, '').replace(/@main$/, '');
    if (waiting.includes(name)) by[sandbox.labels['harvest.holder'].replace(/-1$/, '')]?.push(name);
  }
  return by;
}

const settings = mkdtempSync(join(tmpdir(), 'harvest-images-'));
const variables = ['--env', `HARVEST_FLEET=${FLEET}`, '--env', 'AMQP_URL=amqp://harvest:harvest@rabbitmq:5672/%2f',
  '--env', 'DAYTONA_API_URL=http://sandboxd:3986/api', '--env', 'DAYTONA_API_KEY', '--env', 'HARVEST_FLEET_FILE=/etc/harvest/fleet.toml'];
const mounted = ['--volume', `${settings}:/etc/harvest:ro`];
const quick = ['--health-interval', '1s', '--health-start-period', '30s'];

function writeSettings(nodeVersion) {
  const gate = (name) => `node --input-type=module -e "while (!(await fetch('http://git:3000/gate/${name}')).ok) await new Promise((wake) => setTimeout(wake, 300))"`;
  const repositories = TARGETS.map(({ name, build = 'npm run build', node }) => [
    '[[repository]]', `name = "${name}"`,
    `commands = { build = '''${gate(name.slice('acme/'.length))} && ${build}''' }`,
    ...(node ? [`toolchain = { node = "${nodeVersion}" }`] : []),
  ].join('\n'));
  const retry = '[retry]\ndelays = ["2s", "5s", "10s"]\nbusy_delay = "2s"\n';
  const lease = '[lease]\nbeat = "5s"\nstale = "60s"\n';
  const telemetry = '[telemetry]\nlog_format = "json"\n';
  const files = {
    'fleet.toml': `[defaults]\nevery = "30m"\nbranch = "main"\nclone_url = "http://git:3000/{owner}/{name}.git"\n\n${repositories.join('\n\n')}\n`,
    'producer.toml': `${retry}\n${telemetry}\n${lease}\n[keeper]\nsweep = "30s"\n`,
    'worker.toml': `slots = ${SLOTS}\n\n${retry}\n${telemetry}\n[commands]\npoll = "500ms"\n\n${lease}`,
  };
  for (const [name, text] of Object.entries(files)) writeFileSync(join(settings, name), text);
  chmodSync(settings, 0o755);
}

const worker = (number, ...more) =>
  start(`worker-${number}`, ...HARDENED, ...variables, ...mounted, ...quick, ...more, image('worker'), '--config', '/etc/harvest/worker.toml');
const harvestctl = (...words) =>
  docker('run', '--rm', '--label', `harvest.images=${given.name}`, '--network', given.name, ...HARDENED, ...variables, ...mounted,
    image('operator'), '--config', '/etc/harvest/producer.toml', ...words);
const harvestctlJson = async (...words) => JSON.parse(await harvestctl(...words, '--json'));
const healthy = (name) => eventually(`${name} is healthy`, 60, async () =>
  (await docker('inspect', '--format', '{{.State.Health.Status}}', container(name))) === 'healthy');

async function surroundings() {
  await start('rabbitmq', '--volume', `${here}/rabbitmq.conf:/etc/rabbitmq/rabbitmq.conf:ro`, given.rabbitmq);
  const node = ['--read-only', '--tmpfs', '/tmp', '--entrypoint', 'node', '--volume', `${here}:/demo:ro`];
  const samples = resolve(here, '../fixtures/repositories');
  await start('git', ...HARDENED, ...node.slice(1), '--volume', `${samples}:/samples:ro`, image('sandboxd'), '/demo/git-host.mjs', '/samples',
    ...TARGETS.map(({ name, sample }) => `${name}=${sample}`));
  // The way out for package downloads: see way-out.mjs. As root, since a fresh volume is root's.
  const way = [...node, '--user', '0:0', '--volume', `${given.name}:/way`];
  await docker('volume', 'create', '--label', `harvest.images=${given.name}`, given.name);
  await docker('run', '--detach', '--name', container('way-out'), '--label', `harvest.images=${given.name}`, '--network', 'host',
    '--env', 'HTTPS_PROXY', '--env', 'https_proxy', ...way, image('sandboxd'), '/demo/way-out.mjs', 'out', '/way/socket');
  await says('way-out', 'way out is open', 60);
  await start('proxy', ...way, image('sandboxd'), '/demo/way-out.mjs', 'in', '3128', '/way/socket');
  // What a package download needs on this machine: an extra CA, npm's settings.
  const ca = process.env.HARVEST_EXTRA_CA || process.env.NODE_EXTRA_CA_CERTS;
  const npmrc = process.env.NPM_CONFIG_USERCONFIG || join(homedir(), '.npmrc');
  const download = ['--env', 'HTTPS_PROXY=http://proxy:3128', '--env', 'NO_PROXY=git,sandboxd,127.0.0.1'];
  if (ca) download.push('--volume', `${ca}:/run/harvest-ca.crt:ro`, '--env', 'NODE_EXTRA_CA_CERTS=/run/harvest-ca.crt');
  if (existsSync(npmrc)) download.push('--volume', `${npmrc}:/etc/harvest-npmrc:ro`, '--env', 'NPM_CONFIG_USERCONFIG=/etc/harvest-npmrc');
  await start('sandboxd', '--read-only', ...SANDBOXES, '--env', 'SANDBOXD_API_KEYS', ...download, image('sandboxd'), '--public-url', 'http://sandboxd:3986', '--faults');
  await says('git', `${TARGETS.length} repositories`, 60);
  await says('sandboxd', 'sandboxd listening on', 60);
  await says('rabbitmq', 'Server startup complete', 120);
}

async function demo() {
  const node = (await docker('run', '--rm', '--network', 'none', '--entrypoint', 'node', image('sandboxd'), '--version')).slice(1);
  writeSettings(node);
  await surroundings();
  say('RabbitMQ, sandboxd and the git host run, on a network without a way in or out but for package downloads');

  // Refused at once where something is wrong with what the others are given.
  const plan = await docker('run', '--rm', '--network', 'none', ...HARDENED, ...variables, ...mounted, image('producer'), '--config', '/etc/harvest/producer.toml', '--dry-run');
  assert.equal(plan.split('\n').length, TARGETS.length, 'producer --dry-run lists every target');
  await docker('run', '--rm', '--network', 'none', ...HARDENED, ...variables, ...mounted, image('worker'), '--config', '/etc/harvest/worker.toml', '--check');

  await worker(1);
  await start('producer-once', ...HARDENED, ...variables, ...mounted, image('producer'), '--config', '/etc/harvest/producer.toml', '--once');
  assert.equal(await docker('wait', container('producer-once')), '0', 'producer --once published the tick');
  await start('producer', ...HARDENED, ...variables, ...mounted, ...quick, image('producer'), '--config', '/etc/harvest/producer.toml');
  for (const name of ['producer', 'worker-1']) await healthy(name);
  await docker('exec', container('worker-1'), '/usr/local/bin/worker', 'healthcheck');
  await docker('exec', container('producer'), '/usr/local/bin/producer', 'healthcheck');
  console.log((await harvestctl('doctor')).replace(/^/gm, '   '));

  await eventually(`worker-1 has ${SLOTS} builds in flight`, 180, async () => (await held())['worker-1'].length === SLOTS);
  say(`1 worker, ${SLOTS} builds in flight, ${TARGETS.length - SLOTS} jobs wait`);

  await worker(2);
  await worker(3, '--env', 'HARVEST_DRAIN_DEADLINE=1s');
  const all = await eventually('three workers have all slots in flight', 240, async () => {
    const by = await held();
    return Object.values(by).every((names) => names.length === SLOTS) && by;
  });
  assert.equal(new Set(Object.values(all).flat()).size, 3 * SLOTS, 'no target is built by two workers');
  say(`3 workers, ${3 * SLOTS} builds in flight: ${JSON.stringify(all)}`);

  // The same targets once more, asked for by a person, while they are being built.
  const submit = spawn('docker', ['run', '--rm', ...options('submit'), ...HARDENED, ...variables, ...mounted, image('operator'),
    '--config', '/etc/harvest/producer.toml', 'submit', '--all', '--wait', '--timeout', '10m'],
    { env: { ...process.env, DAYTONA_API_KEY: API_KEY }, stdio: ['ignore', 'pipe', 'pipe'] });
  let told = '';
  for (const stream of [submit.stdout, submit.stderr]) stream.on('data', (text) => { told += text; });
  const submitted = new Promise((ended) => submit.on('close', ended));
  await eventually('the submitted jobs wait', 60, async () => {
    const depth = (await depths()).get(`harvest.${FLEET}.work.ondemand`);
    return depth === TARGETS.length;
  });

  // Both at once, as a platform scales in. What worker-2 has in hand is let through once it drains; worker-3 has one second.
  const stopped = [2, 3].map((number) => docker('stop', '--time', String(GRACE_SECONDS), container(`worker-${number}`)));
  await says('worker-2', 'draining: no new jobs', 30);
  for (const name of all['worker-2']) await ask('POST', `http://git:3000/open/${name}`);
  await Promise.all(stopped);
  for (const number of [2, 3]) {
    const code = await docker('inspect', '--format', '{{.State.ExitCode}}', container(`worker-${number}`));
    assert.equal(code, '0', `worker-${number} left in order`);
  }
  assert.deepEqual((await ends('worker-2')).map(brief).sort(), all['worker-2'].map((name) => `acme/${name}@main built ack`).sort(), 'worker-2 finished what it had');
  assert.deepEqual((await ends('worker-3')).map(brief).sort(), all['worker-3'].map((name) => `acme/${name}@main interrupted hand_back`).sort(), 'worker-3 handed back what it had');
  say('1 worker again: worker-2 finished its builds while draining, worker-3 handed its builds back; both left with 0');

  await ask('POST', 'http://git:3000/open-all');
  const code = await Promise.race([submitted, new Promise((_, late) => setTimeout(() => late(new Error('harvestctl submit did not end in time')), 600e3).unref())]);
  assert.equal(code, 0, `harvestctl submit --all --wait succeeds\n${told}`);
  await eventually('nothing is left in a queue', 120, async () => {
    const left = [...(await depths())].filter(([name, messages]) => messages > 0 && /\.(work|retry|dead)/.test(name));
    return left.length === 0 || (() => { throw new Error(JSON.stringify(left)); })();
  });
  await check(all);
}

/** Every queue's messages, those out for delivery included. */
async function depths() {
  const text = await docker('exec', container('rabbitmq'), 'rabbitmqctl', '--quiet', '--no-table-headers', 'list_queues', 'name', 'messages');
  return new Map(text.split('\n').map((line) => line.split('\t')).map(([name, messages]) => [name, Number(messages)]));
}

/** The summary line of each attempt that a worker took to its end. */
const ends = async (name) => (await lines(name)).filter((line) => 'decision' in line && 'settled' in line);
const brief = (line) => `${line.target} ${line.outcome} ${line.decision}`;

async function check(all) {
  const attempts = (await Promise.all([1, 2, 3].map((number) => ends(`worker-${number}`)))).flat();
  const of = (outcome) => attempts.filter((line) => line.outcome === outcome);
  const jobs = new Set(attempts.map((line) => line['job.id']));
  assert.equal(jobs.size, 2 * TARGETS.length, 'every job was taken: the tick\'s and the submitted ones');
  for (const job of jobs) {
    const told = attempts.filter((line) => line['job.id'] === job);
    assert.equal(told.filter((line) => line.decision === 'ack').length, 1, `job ${job} ended once: ${told.map(brief)}`);
  }
  assert.deepEqual(of('built').map((line) => line.target).sort(), TARGETS.map(({ name }) => `${name}@main`).sort(), 'one build for each target');
  assert.equal(of('interrupted').length, all['worker-3'].length, `what worker-3 had: ${attempts.map(brief).join('; ')}`);
  // The other job of a target ends as the first has built it (unchanged) or is building it (busy: the schedule's job ends, a person's waits).
  // One that takes the lease just between the first's capture and its verify goes on with that very snapshot, finds the name taken by
  // the first's verify (lease_lost) and is delivered again.
  const others = attempts.filter((line) => !['built', 'interrupted', 'unchanged', 'busy', 'lease_lost'].includes(line.outcome));
  assert.deepEqual(others.map(brief), [], 'nothing ended otherwise');

  // harvestctl: the register and the ledger.
  const status = await harvestctlJson('status');
  assert.equal(status.targets.length, TARGETS.length);
  for (const { name } of TARGETS) {
    const explained = await harvestctlJson('explain', name);
    const builds = explained.attempts.filter((attempt) => attempt.outcome === 'built');
    assert.equal(builds.length, 1, `the ledger has one build of ${name}`);
    assert.equal(explained.prebuild.completeness, 'complete', name);
    assert.equal(explained.prebuild.commit, builds[0].commit, name);
    assert.deepEqual(explained.open_dead_letters, {}, name);
    assert.equal((await harvestctlJson('resolve', name)).confirmed, true, `register and Daytona agree on ${name}`);
  }

  // sandboxd: its counters, its snapshots, its sandboxes. A build makes two sandboxes: to build in, and to verify the prebuild.
  const { events } = await ask('GET', 'http://sandboxd:3986/faults/requests');
  // The other job of a target may take the lease for a moment, before it sees what the first one captured or promoted.
  const least = 2 * TARGETS.length + all['worker-3'].length;
  const most = least + of('unchanged').length + of('lease_lost').length;
  const made = events['sandbox created'];
  assert.ok(made >= least && made <= most, `two sandboxes for each build, one for each that was handed back or built nothing: ${made} of ${least} to ${most}`);
  const prebuilds = (await daytona('/snapshots?limit=200')).items.filter(({ name }) => name.startsWith('hv.')).map(({ name }) => name);
  assert.equal(prebuilds.length, TARGETS.length, `one prebuild for each target and commit: ${prebuilds}`);
  assert.deepEqual((await sandboxes()).map(({ name }) => name), [], 'no sandbox is left');
  say(`${jobs.size} jobs, all ended, ${of('built').length} by a build, the others because of it; ${of('interrupted').length} were handed back on the way`);
  say(`${prebuilds.length} prebuilds for ${TARGETS.length} targets; ${events['sandbox created']} sandboxes were made, none is left`);
}

async function stop() {
  for (const name of ['producer', 'worker-1', 'sandboxd']) {
    await docker('stop', '--time', String(GRACE_SECONDS), container(name));
    const code = await docker('inspect', '--format', '{{.State.ExitCode}}', container(name));
    assert.equal(code, '0', `${name} left in order`);
  }
}

try {
  await demo();
  await stop();
} catch (error) {
  console.error(error);
  const names = (await docker('ps', '--all', '--filter', `label=harvest.images=${given.name}`, '--format', '{{.Names}}')).split('\n').filter(Boolean);
  for (const name of names) {
    const { stdout, stderr } = await run('docker', ['logs', '--tail', '20', name], { maxBuffer: 64e6 });
    console.error(`--- ${name}\n${stdout}${stderr}`);
  }
  process.exitCode = 1;
} finally {
  rmSync(settings, { recursive: true, force: true });
}
