// A git host as sessions know them: real smart HTTP by git's own program, for who has the token, and LFS files beside it.
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import http from 'node:http';
import path from 'node:path';

export const TOKEN = 'ghp_0123456789secretsecret';
export const GOOD = `Basic ${Buffer.from(`x-access-token:${TOKEN}`).toString('base64')}`;
/** Forms in which the token could be found. */
export const FORMS = [TOKEN, GOOD.slice(6)];

/** A server of the test's own: `seen` has the requests it got as `{ url, authorization }`; `answer` may take one over. */
export async function listen(t, answer) {
  const seen = [];
  const server = http.createServer((request, response) => {
    seen.push({ url: request.url, authorization: request.headers.authorization });
    answer(request, response);
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => server.closeAllConnections());
  t.after(() => server.close());
  return { origin: `http://127.0.0.1:${server.address().port}`, seen };
}

/** Somebody else's host, which answers nothing and notes what it is shown. */
export function elsewhere(t) {
  return listen(t, (request, response) => response.writeHead(401, { 'WWW-Authenticate': 'Basic realm="git"' }).end());
}

/**
 * Serves the remote's folder. The prebuild is one of `origin/remote.git` from then on: its manifest says so and its checkout has it.
 * `answer` gets every request with the token first, and answers with true when it took it over.
 */
export async function serve(t, made, { answer = () => false, facts = {} } = {}) {
  made.git('remote.git', 'config', 'http.receivepack', 'true');
  const host = await listen(t, (request, response) => {
    if (request.headers.authorization !== GOOD) response.writeHead(401, { 'WWW-Authenticate': 'Basic realm="git"' }).end();
    else if (!answer(request, response)) backend(made, request, response);
  });
  host.url = `${host.origin}/remote.git`;
  made.git('workspace/app', 'remote', 'set-url', 'origin', host.url);
  made.states({ ...(made.facts.clone ? { clone: { url: host.url } } : {}), ...facts });
  return host;
}

function backend(made, request, response) {
  const { pathname, search } = new URL(request.url, 'http://x');
  const git = spawn('git', ['http-backend'], {
    env: {
      PATH: process.env.PATH, HOME: made.at('home'), GIT_CONFIG_NOSYSTEM: '1', GIT_CONFIG_GLOBAL: '/dev/null',
      GIT_PROJECT_ROOT: made.home, GIT_HTTP_EXPORT_ALL: '1', PATH_INFO: pathname, QUERY_STRING: search.slice(1),
      REQUEST_METHOD: request.method, CONTENT_TYPE: request.headers['content-type'] ?? '', REMOTE_USER: 'x',
      HTTP_CONTENT_ENCODING: request.headers['content-encoding'] ?? '', GIT_PROTOCOL: request.headers['git-protocol'] ?? '',
    },
  });
  request.pipe(git.stdin);
  git.stdin.on('error', () => {});
  const chunks = [];
  git.stdout.on('data', (chunk) => chunks.push(chunk));
  git.on('close', () => {
    const all = Buffer.concat(chunks);
    const end = all.indexOf('\r\n\r\n');
    const lines = all.subarray(0, end).toString().split('\r\n').map((line) => line.split(': '));
    const { Status: status = '200', ...headers } = Object.fromEntries(lines);
    response.writeHead(Number.parseInt(status, 10), headers).end(all.subarray(end + 4));
  });
}

/** The text that stands for an LFS file in a repository. */
export function pointer(text) {
  return `version https://git-lfs.github.com/spec/v1\noid sha256:${oid(text)}\nsize ${Buffer.byteLength(text)}\n`;
}

/** Puts an LFS file where git-lfs finds it for a remote that is a folder. */
export function store(made, text) {
  const id = oid(text);
  const folder = path.join(made.remote, 'lfs/objects', id.slice(0, 2), id.slice(2, 4));
  fs.mkdirSync(folder, { recursive: true });
  fs.writeFileSync(path.join(folder, id), text);
}

function oid(text) {
  return createHash('sha256').update(text).digest('hex');
}

/** An answer for `serve`: the LFS side of the host, which takes and gives the files of the remote's folder. */
export function lfs(made) {
  return (request, response) => {
    const origin = `http://${request.headers.host}`;
    const json = (value) => response.writeHead(200, { 'Content-Type': 'application/vnd.git-lfs+json' }).end(JSON.stringify(value));
    const file = (id) => path.join(made.remote, 'lfs/objects', id.slice(0, 2), id.slice(2, 4), id);
    const [, id] = /^\/lfs\/([0-9a-f]{64})$/.exec(request.url) ?? [];
    if (id && request.method === 'GET') response.writeHead(200).end(fs.readFileSync(file(id)));
    else if (request.url.endsWith('/info/lfs/objects/batch')) {
      whole(request, (body) => {
        const { operation, objects } = JSON.parse(body);
        const actions = { [operation]: { href: `${origin}/lfs/`, header: { Authorization: GOOD } } };
        json({ objects: objects.map((each) => ({ ...each, actions: { [operation]: { ...actions[operation], href: `${origin}/lfs/${each.oid}` } } })) });
      });
    } else if (id && request.method === 'PUT') {
      whole(request, (body) => {
        store(made, body.toString());
        response.writeHead(200).end();
      });
    } else return false;
    return true;
  };
}

function whole(request, then) {
  const chunks = [];
  request.on('data', (chunk) => chunks.push(chunk));
  request.on('end', () => then(Buffer.concat(chunks)));
}
