// What a hostile build leaves in a prebuild: programs that note that they ran and what they were given, in all the places from which
// something might run them.
import fs from 'node:fs';
import path from 'node:path';

import { TOKEN } from './host.mjs';
import { run } from './support.mjs';

/** The session's, all of them. */
export const SECRETS = {
  GITHUB_TOKEN: TOKEN, CLAUDE_CODE_OAUTH_TOKEN: 'sk-ant-oat-0123456789', ANTHROPIC_API_KEY: 'sk-ant-api-0123456789', ANTHROPIC_AUTH_TOKEN: 'anthropic-auth-01234',
  LINEAR_API_KEY: 'lin_api_0123456789', SENTRY_AUTH_TOKEN: 'sntryu_0123456789', GEMINI_API_KEY: 'gemini-0123456789',
};
export const IDENTITY = { GIT_USER_NAME: 'Ann Example', GIT_USER_EMAIL: 'ann@example.com' };

/** The path of a program that notes that it ran. As a filter it passes on what it gets. */
export function planted(made, name) {
  const file = made.at(`planted/${name}`);
  put(file, `#!/bin/sh\n/bin/mkdir -p '${made.at('ran')}'\n/usr/bin/env >>'${made.at(`ran/${name}`)}'\n/bin/cat\n`, 0o755);
  return file;
}

/** Names of the planted programs that ran, with a star when they saw a secret of the session. */
export function ran(made) {
  if (!fs.existsSync(made.at('ran'))) return [];
  return fs.readdirSync(made.at('ran')).sort().map((name) => {
    const text = fs.readFileSync(made.at(`ran/${name}`), 'utf8');
    return Object.values(SECRETS).some((secret) => text.includes(secret)) ? `${name}*` : name;
  });
}

/** Writes a file, folders included, over whatever is there. */
export function put(file, text, mode = 0o644) {
  fs.mkdirSync(path.dirname(file), { recursive: true });
  fs.rmSync(file, { recursive: true, force: true });
  fs.writeFileSync(file, text, { mode });
}

/** Git as a session runs it, with the session's environment. */
export function sessionGit(t, made, args, { env = {}, input = '', cwd = made.app } = {}) {
  const PATH = [...homeFolders(made), made.env.PATH].join(':');
  return run(t, 'git', args, { cwd, env: { ...made.env, PATH, ...SECRETS, GIT_TERMINAL_PROMPT: '0', GIT_EDITOR: undefined, ...env }, input });
}

/** What the image has first on PATH. */
export function homeFolders(made) {
  return ['.harvest/bin', '.npm-global/bin', '.local/bin'].map((name) => made.at(`home/${name}`));
}
