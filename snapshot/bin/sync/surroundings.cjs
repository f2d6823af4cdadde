// What the programs that harvest-sync runs are given: each the variables it needs, by name, and nothing else of the session's.
//
// Every process of the sandbox's user can read the environment of the others, so harvest-sync's own holds no secret either once it runs.
'use strict';

const fs = require('node:fs');
const path = require('node:path');

/** Root's folders: what is in them came with the image. */
const ROOT_FOLDERS = ['/usr/local/sbin', '/usr/local/bin', '/usr/sbin', '/usr/bin', '/sbin', '/bin'];
const ROOT_PATH = ROOT_FOLDERS.join(':');
/** Folders of the user's that come before them in a session, in this order. */
const HOME_FOLDERS = ['.harvest/bin', '.npm-global/bin', '.local/bin'];

const NETWORK = /^((https?|no|all)_proxy|SSL_CERT_(FILE|DIR)|CURL_CA_BUNDLE|GIT_SSL_CA(INFO|PATH))$/i;
const PLAIN = /^(LANG|LANGUAGE|LC_[A-Z]+|TZ|TERM|TMPDIR)$/;
/** What an install may be told besides; a name that looks like a secret's is not among them, whatever it begins with. */
const INSTALL = [
  /^(HOME|USER|LOGNAME|SHELL|CI|NO_COLOR|FORCE_COLOR|HUSKY|LEFTHOOK|NODE_ENV|NODE_OPTIONS|NODE_EXTRA_CA_CERTS|MAKEFLAGS)$/,
  /^(REQUESTS_CA_BUNDLE|NEXT_TELEMETRY_DISABLED|(npm_config|pnpm|yarn|bun|corepack|pip|uv|turbo|nx|playwright)_.*)$/i,
];
const SECRET = /TOKEN|KEY|SECRET|PASSW|AUTH|CREDENTIAL/i;
/** Names of secrets that installs are given where the manifest does not say which ones the prebuild's was. */
const USUAL_SECRETS = ['NPM_TOKEN', 'NODE_AUTH_TOKEN'];
/** The session's own, which no install is given, whoever asks for it. */
const NEVER = /^(GITHUB_TOKEN|GH_TOKEN|CLAUDE_|ANTHROPIC_|LINEAR_API_KEY|SENTRY_|GEMINI_|DAYTONA_|HARVEST_)/;

function pick(environment, isWanted) {
  return Object.fromEntries(Object.entries(environment).filter(([name]) => isWanted(name)));
}

/** For git and what it starts. No home: git, curl and ssh would look for settings there. */
function gitEnvironment(environment) {
  return {
    ...pick(environment, (name) => NETWORK.test(name) || PLAIN.test(name)),
    PATH: ROOT_PATH, HOME: '/nonexistent', LC_ALL: 'C',
    GIT_CONFIG_NOSYSTEM: '1', GIT_CONFIG_GLOBAL: '/dev/null', GIT_ATTR_NOSYSTEM: '1', GIT_NO_REPLACE_OBJECTS: '1', GIT_LITERAL_PATHSPECS: '1',
    GIT_TERMINAL_PROMPT: '0', GIT_LFS_SKIP_SMUDGE: '1', GIT_OPTIONAL_LOCKS: '0',
  };
}

/** Whether the caller may have a variable given to installs. */
function isForbidden(name) {
  return NEVER.test(name);
}

/** For an install: what it is told by the prebuild's, what the session says of the same, and the secrets it is to have. */
function installEnvironment(environment, { home, manifest, asked }) {
  const told = {
    CI: 'true', NO_COLOR: '1', HUSKY: '0', LEFTHOOK: '0', GIT_TERMINAL_PROMPT: '0',
    npm_config_fund: 'false', npm_config_audit: 'false', npm_config_update_notifier: 'false', npm_config_fetch_retries: '5',
    COREPACK_ENABLE_DOWNLOAD_PROMPT: '0', COREPACK_ENABLE_AUTO_PIN: '0', NEXT_TELEMETRY_DISABLED: '1',
  };
  const kind = manifest.recipe?.toolchain?.package_manager?.kind;
  if (kind === 'npm') told.npm_config_include = 'dev';
  if (kind === 'pnpm') Object.assign(told, { npm_config_manage_package_manager_versions: 'false', npm_config_production: 'false' });
  const named = [...(Array.isArray(manifest.secrets) ? manifest.secrets : USUAL_SECRETS), ...asked];
  const given = pick(environment, (name) => !isForbidden(name) && (isForInstall(name) || named.includes(name)));
  const own = path.join(home, HOME_FOLDERS[0]);
  return { ...told, ...plainTexts(manifest.env), ...given, PATH: `${own}:${environment.PATH ?? ROOT_PATH}` };
}

function isForInstall(name) {
  if (PLAIN.test(name) || NETWORK.test(name)) return true;
  return INSTALL.some((names) => names.test(name)) && (!SECRET.test(name) || /^npm_config_/i.test(name));
}

/** Of a record in the manifest, which may be missing, what can be a variable. */
function plainTexts(record) {
  return pick(record ?? {}, (name) => typeof record[name] === 'string' && !isForbidden(name));
}

/**
 * Overwrites the values of secrets in what /proc shows as this process's environment, for as long as it lives; the caller has a copy.
 * False where the kernel does not let it. What the runtime started this with may show them all the same.
 */
function hideSecrets(environment) {
  try {
    const shown = fs.readFileSync('/proc/self/environ');
    // Fields 50 and 51 of proc(5), the first two being before the closing bracket.
    const begin = Number(fs.readFileSync('/proc/self/stat', 'utf8').split(') ').pop().split(' ')[47]);
    const memory = fs.openSync('/proc/self/mem', 'r+');
    for (const [name, value] of Object.entries(environment)) {
      const at = SECRET.test(name) ? shown.indexOf(`${name}=${value}\0`) : -1;
      if (at < 0) continue;
      fs.writeSync(memory, Buffer.alloc(Buffer.byteLength(value), '*'), 0, undefined, begin + at + Buffer.byteLength(`${name}=`));
    }
    fs.closeSync(memory);
    return true;
  } catch {
    return false;
  }
}

module.exports = { ROOT_FOLDERS, ROOT_PATH, HOME_FOLDERS, gitEnvironment, installEnvironment, plainTexts, isForbidden, hideSecrets };
