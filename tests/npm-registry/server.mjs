// An npm registry on loopback in front of the one that npm is set to: what one sandbox has fetched, no other fetches again.
//
//   node server.mjs <folder of npm>
//
// It asks by npm's own libraries: with the settings, certificates and credentials that npm has on this machine, and by npm's own cache,
// which any number of processes may use at once (cacache: "lockless, high-concurrency cache access"). Sandboxes only ever read: what they
// are given is what the registry said. Writes what sandboxes are to be told into the folder it runs in, then says where it listens.
import { appendFileSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { join } from 'node:path';

const npmPath = process.argv[2];
const require = createRequire(join(npmPath, 'package.json'));
const Config = require('@npmcli/config');
const { definitions, flatten, nerfDarts, shorthands } = require('@npmcli/config/lib/definitions');
const fetchFromRegistry = require('npm-registry-fetch');

const config = new Config({ npmPath, definitions, flatten, nerfDarts, shorthands, argv: [process.execPath, 'npm'] });
await config.load();
const npm = config.flat;
const registry = npm.registry.replace(/\/*$/, '/');

const PASSED_ON = ['content-type', 'cache-control', 'etag', 'last-modified', 'vary'];
const isArchive = (path) => path.includes('/-/') && path.endsWith('.tgz');
/** What was asked for in this run, and is being asked for: one answer for everybody. */
const answers = new Map();

// The run's list of what it started, where there is one.
const list = process.env.FLEET_TESTS_STARTED;
const count = (what) => list && appendFileSync(list, `${what}\n`);

function answer(path, accept, own) {
  const key = `${path}\n${accept}`;
  if (!answers.has(key)) {
    const asked = ask(path, accept, own);
    answers.set(key, asked);
    // An archive comes from npm's cache from now on, and a failure is nothing to keep.
    const forget = () => answers.delete(key);
    asked.then(() => isArchive(path) && forget(), forget);
  }
  return answers.get(key);
}

async function ask(path, accept, own) {
  // An archive of one name and version never changes.
  const response = await fetchFromRegistry(path, { ...npm, headers: { accept }, preferOffline: isArchive(path) });
  let body = await response.buffer();
  if (!['hit', 'stale'].includes(response.headers.get('x-local-cache-status'))) count('npm requests passed on');
  const headers = Object.fromEntries(PASSED_ON.map((name) => [name, response.headers.get(name)]).filter(([, value]) => value));
  // npm replaces npmjs's own address by that of the registry it is set to, and no other.
  if (/json/.test(headers['content-type']) && !registry.includes('//registry.npmjs.org/')) {
    body = Buffer.from(body.toString().replaceAll(`"tarball":"${registry}`, `"tarball":"${own}`));
  }
  return { status: 200, headers, body };
}

const server = createServer(async (request, response) => {
  const { method, url: path } = request;
  count('npm requests');
  // Nothing but reading, and nothing but this registry.
  if ((method !== 'GET' && method !== 'HEAD') || !/^\/(?!\/)/.test(path)) {
    response.writeHead(405).end();
    return;
  }
  let answered;
  try {
    answered = await answer(path, request.headers.accept ?? '*/*', `http://${request.headers.host}/`);
  } catch (error) {
    const body = Buffer.from(JSON.stringify({ error: error.message }));
    answered = { status: error.statusCode ?? 502, headers: { 'content-type': 'application/json' }, body };
  }
  response.writeHead(answered.status, { ...answered.headers, 'content-length': answered.body.length });
  response.end(method === 'HEAD' ? undefined : answered.body);
});

/** The lines of one of npm's files, without the registry. */
function linesOf(where) {
  try {
    return readFileSync(config.get(where), 'utf8').split('\n').filter((line) => line.trim() && !/^\s*(registry|noproxy)\s*=/.test(line));
  } catch {
    return [];
  }
}

server.listen(0, '127.0.0.1', () => {
  // The level that comes last: whatever a repository, a build or a test says of a registry is stronger, as it is in production.
  const own = [`registry=http://127.0.0.1:${server.address().port}/`, `noproxy=${['127.0.0.1', ...[npm.noProxy ?? []].flat()].join(',')}`];
  writeFileSync('global', [...linesOf('globalconfig'), ...own, ''].join('\n'), { mode: 0o600 });
  // This machine's own choice of a registry would be stronger: it is what is asked from here.
  if (config.find('registry') === 'user') writeFileSync('user', [...linesOf('userconfig'), ''].join('\n'), { mode: 0o600 });
  console.log(`npm registry on http://127.0.0.1:${server.address().port}/`);
});
