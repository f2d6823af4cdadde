// Which MCP servers a session gets: the file that is baked in, and the variables that switch each one on.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';

import { BIN, CONFIG, folder, run } from './support.mjs';

const SCRIPT = path.join(BIN, 'harvest-mcp-servers');
const FILE = path.join(CONFIG, 'mcp-servers.json');
const SECRETS = {
  CLAUDE_CODE_OAUTH_TOKEN: 'secret-claude',
  ANTHROPIC_API_KEY: 'secret-anthropic',
  GITHUB_TOKEN: 'secret-github',
  LINEAR_API_KEY: 'secret-linear',
  SENTRY_AUTH_TOKEN: 'secret-sentry',
  GEMINI_API_KEY: 'secret-gemini',
};
const BY_VARIABLE = { github: 'GITHUB_TOKEN', linear: 'LINEAR_API_KEY', sentry: 'SENTRY_AUTH_TOKEN', gemini: 'GEMINI_API_KEY' };
const ALWAYS = ['memory', 'filesystem', 'playwright', 'chrome-devtools', 'context7'];

function servers(t, env, args = ['--file', FILE]) {
  return run(t, process.execPath, [SCRIPT, ...args], { env });
}

test('without variables only the servers that need none are there, and each other one is named with what it lacks', async (t) => {
  const { code, stdout, stderr } = await servers(t, {});
  assert.equal(code, 0);
  assert.deepEqual(Object.keys(JSON.parse(stdout)), ALWAYS);
  const lines = Object.entries(BY_VARIABLE).map(([name, variable]) => `${name}: left out, ${variable} is not set`);
  assert.deepEqual(stderr.trim().split('\n').sort(), lines.sort());
});

test('each variable switches its own server on, and an empty one does not', async (t) => {
  for (const [name, variable] of Object.entries(BY_VARIABLE)) {
    const { stdout } = await servers(t, { GITHUB_TOKEN: '', [variable]: 'value' });
    assert.deepEqual(Object.keys(JSON.parse(stdout)).sort(), [...ALWAYS, name].sort(), variable);
  }
});

test('a value is put where the server reads it, and in no other server', async (t) => {
  const { stdout, stderr } = await servers(t, SECRETS);
  const all = JSON.parse(stdout);
  assert.equal(all.sentry.env.SENTRY_ACCESS_TOKEN, 'secret-sentry');
  assert.equal(all.gemini.env.GEMINI_API_KEY, 'secret-gemini');
  assert.deepEqual(all.github.headers, { Authorization: 'Bearer secret-github' });
  assert.deepEqual(all.linear.headers, { Authorization: 'Bearer secret-linear' });
  for (const [name, server] of Object.entries(all)) {
    const own = SECRETS[BY_VARIABLE[name]];
    const held = Object.values(SECRETS).filter((secret) => JSON.stringify(server).includes(secret));
    assert.deepEqual(held, own ? [own] : [], name);
    // A stdio server inherits the session's environment: what is not its own is blanked.
    if (server.type === 'stdio') {
      for (const variable of Object.keys(SECRETS)) {
        assert.ok(server.env[variable] === '' || server.env[variable] === own, `${name} would inherit ${variable}`);
      }
    }
  }
  assert.ok(!/secret-/.test(stderr), stderr);
});

test('every local server starts by absolute paths of the image', () => {
  for (const [name, server] of Object.entries(JSON.parse(fs.readFileSync(FILE, 'utf8')))) {
    if (server.type === 'http') {
      assert.match(server.url, /^https:\/\//, name);
      continue;
    }
    assert.match(server.command, /^\/opt\/harvest\/bin\/(node|harvest-mcp-memory)$/, name);
    if (server.command.endsWith('/node')) assert.match(server.args[0], /^\/opt\/harvest\/node_modules\/.+\.js$/, name);
    assert.equal(server.alwaysLoad, undefined, `${name} would hold the session's start up`);
  }
});

test('a value is taken as it is, whatever it looks like', async (t) => {
  const { stdout } = await servers(t, { GITHUB_TOKEN: '$& ${LINEAR_API_KEY} "\\' });
  assert.equal(JSON.parse(stdout).github.headers.Authorization, 'Bearer $& ${LINEAR_API_KEY} "\\');
});

test('a file that is missing or not in the form is refused with what is wrong, and nothing is printed', async (t) => {
  const home = folder(t);
  const file = path.join(home, 'servers.json');
  const rows = [
    [undefined, /cannot be read: ENOENT/],
    ['{"a": {"command": "x"}, // no', /is not JSON/],
    ['[]', /is not an object of servers/],
    ['{"a": "x"}', /a is not an object/],
    ['{"a": {"args": []}}', /a has no command/],
    ['{"a": {"type": "http"}}', /a has no url/],
    ['{"a": {"type": "other"}}', /a has a type that is none of/],
    ['{"a": {"command": "x", "comment": "y"}}', /a has the unknown key comment/],
    ['{"a": {"command": "x", "args": [1]}}', /a has args that are not/],
    ['{"a": {"command": "x", "env": {"B": 1}}}', /a has env that are not texts/],
  ];
  for (const [text, expected] of rows) {
    if (text !== undefined) fs.writeFileSync(file, text);
    const { code, stdout, stderr } = await servers(t, {}, ['--file', file]);
    assert.deepEqual([code, stdout], [1, ''], text);
    assert.match(stderr, expected);
  }
});

test('what is asked for wrongly is refused, and --help answers', async (t) => {
  for (const args of [['--fiel', FILE], [FILE], ['--file'], ['--file=']]) {
    const { code, stdout } = await servers(t, {}, args);
    assert.deepEqual([code, stdout], [2, ''], args.join(' '));
  }
  const { code, stdout } = await servers(t, {}, ['--help']);
  assert.equal(code, 0);
  assert.match(stdout, /Exit codes/);
});
