// The demo's git host: the sample repositories, served by git's own http-backend, and a gate before each build.
//
//   node git-host.mjs SAMPLES OWNER/NAME=SAMPLE...
//
// GET /gate/NAME answers 423 until POST /open/NAME (or /open-all), so that a build waits for the demo and not the demo for a
// build; GET /waiting lists who has asked in vain. Not for anything but the demo: everything is allowed.
import { spawn, execFileSync } from 'node:child_process';
import { cpSync, mkdirSync } from 'node:fs';
import { createServer } from 'node:http';

const PORT = 3000;
const root = '/tmp/git';
const [samples, ...repositories] = process.argv.slice(2);
const quiet = { GIT_CONFIG_GLOBAL: '/dev/null', GIT_CONFIG_NOSYSTEM: '1' };
const author = { GIT_AUTHOR_NAME: 'Sample', GIT_AUTHOR_EMAIL: 'sample@example.com', GIT_COMMITTER_NAME: 'Sample', GIT_COMMITTER_EMAIL: 'sample@example.com' };
const git = (cwd, ...words) => execFileSync('git', words, { cwd, env: { ...process.env, ...quiet, ...author }, stdio: ['ignore', 'pipe', 'inherit'] });

for (const repository of repositories) {
  const [name, sample] = repository.split('=');
  const [bare, work] = [`${root}/bare/${name}.git`, `${root}/work/${name}`];
  mkdirSync(bare, { recursive: true });
  cpSync(`${samples}/${sample}`, work, { recursive: true });
  git(bare, 'init', '--quiet', '--bare', '--initial-branch', 'main');
  git(bare, 'config', 'uploadpack.allowFilter', 'true');
  git(bare, 'config', 'uploadpack.allowAnySHA1InWant', 'true');
  git(work, 'init', '--quiet', '--initial-branch', 'main');
  git(work, 'add', '--all');
  git(work, 'commit', '--quiet', '--message', `First commit of ${name}`);
  git(work, 'push', '--quiet', bare, 'main');
}

const open = new Set();
const waiting = new Set();
let allOpen = false;

function gates(method, path, response) {
  const [, verb, name] = path.split('/');
  if (method === 'GET' && verb === 'gate') {
    const passes = allOpen || open.has(name);
    if (passes) waiting.delete(name);
    else waiting.add(name);
    response.writeHead(passes ? 200 : 423).end();
  } else if (method === 'POST' && verb === 'open') {
    open.add(name);
    response.writeHead(204).end();
  } else if (method === 'POST' && verb === 'open-all') {
    allOpen = true;
    response.writeHead(204).end();
  } else if (method === 'GET' && verb === 'waiting') {
    response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify([...waiting]));
  } else {
    return false;
  }
  return true;
}

// One request to one run of `git http-backend`, by the rules of CGI.
function backend(request, url, response) {
  const child = spawn('git', ['http-backend'], {
    env: {
      PATH: process.env.PATH, ...quiet,
      GIT_PROJECT_ROOT: `${root}/bare`, GIT_HTTP_EXPORT_ALL: '1',
      REQUEST_METHOD: request.method, PATH_INFO: url.pathname, QUERY_STRING: url.search.slice(1),
      CONTENT_TYPE: request.headers['content-type'] ?? '', CONTENT_LENGTH: request.headers['content-length'] ?? '',
      HTTP_CONTENT_ENCODING: request.headers['content-encoding'] ?? '', GIT_PROTOCOL: request.headers['git-protocol'] ?? '',
    },
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  // A backend that has read enough may close early.
  child.stdin.on('error', () => {});
  request.pipe(child.stdin);
  const chunks = [];
  child.stdout.on('data', (chunk) => chunks.push(chunk));
  child.on('close', () => {
    const output = Buffer.concat(chunks);
    const end = output.indexOf('\r\n\r\n');
    if (end < 0) return response.writeHead(500).end();
    const headers = output.subarray(0, end).toString().split('\r\n').map((line) => line.split(': '));
    const status = headers.find(([name]) => name === 'Status')?.[1];
    response.writeHead(status ? Number.parseInt(status, 10) : 200, Object.fromEntries(headers.filter(([name]) => name !== 'Status')));
    return response.end(output.subarray(end + 4));
  });
}

const server = createServer((request, response) => {
  const url = new URL(request.url, 'http://git');
  if (!gates(request.method, url.pathname, response)) backend(request, url, response);
});
server.listen(PORT, () => console.log(`git host with ${repositories.length} repositories`));
// Process 1 of a container has no default for it.
process.on('SIGTERM', () => process.exit(0));
