// The home as the image has it, in what steers programs that a session runs with its tokens: on the first run in a sandbox.
//
// The worker puts all of it back before it captures a prebuild; this is for prebuilds from before it did. What a base image of one's
// own may have put there as well, and what only the repository's own tools read, cannot be told from a build's and stays: ~/.npmrc,
// caches, installed packages.
'use strict';

const fs = require('node:fs');
const path = require('node:path');

const { kindOf, remove, replace, textOf } = require('./files.cjs');
const { HOME_FOLDERS, ROOT_FOLDERS } = require('./surroundings.cjs');

/** Settings and programs of git, ssh, gh, curl, wget and docker. */
const STEERING = [
  '.git', '.config/git', '.git-credentials', '.netrc', '.ssh', '.gnupg', '.config/gh', '.local/share/gh', '.curlrc', '.config/curlrc',
  '.config/.curlrc', '.wgetrc', '.docker/config.json', '.docker/cli-plugins',
];
/** Of Claude Code, which a session may be writing to when this runs for a second time. */
const CLAUDE = ['.claude', '.claude.json'];
const SHELLS = [
  '.profile', '.bash_profile', '.bash_login', '.bash_logout', '.bashrc', '.bash_aliases', '.inputrc', '.zshenv', '.zprofile', '.zshrc',
  '.zlogin', '.zlogout', '.config/fish',
];
/** Where a new user's files come from; root's. */
const SKELETON = '/etc/skel';
const PROFILES = '/etc/profile.d';
/** What the worker adds for login shells on bases that do not know of the repository's tools. */
const OWN_LINE = 'export PATH="$HOME/.harvest/bin:$PATH"';
/** A repository's own tools, which may stand before the image's. */
const TOOLCHAIN = /^(node|npm|npx|corepack|pnpm|pnpx|yarn|yarnpkg|python[0-9.]*|pip[0-9.]*|uv|uvx)$/;
/** What Claude Code reads in a checkout and runs programs for. */
const PROJECT = ['.claude/settings.json', '.claude/settings.local.json', '.mcp.json'];

/** Puts it back; answers with what was there. */
function putBack(home) {
  const gone = [...STEERING, ...CLAUDE].filter((name) => isReachable(home, name) && remove(path.join(home, name)));
  for (const name of SHELLS) if (isReachable(home, name) && restored(path.join(home, name))) gone.push(name);
  return [...gone, ...removeShadows(home, shadows(home))];
}

/** Not through a link: what lies behind it is somebody else's. A link in the way is removed itself. */
function isReachable(home, name) {
  const above = path.dirname(name);
  if (above === '.') return true;
  if (!isReachable(home, above)) return false;
  if (kindOf(path.join(home, above)) === 'link') remove(path.join(home, above));
  return true;
}

/** A start file of a shell: one of root's where it began as that, with the worker's line where it was in it. True when there was more. */
function restored(file) {
  if (kindOf(file) === undefined) return false;
  const text = textOf(file) ?? '';
  const first = examples(path.basename(file)).find((example) => text.startsWith(example)) ?? '';
  const own = text.split('\n').includes(OWN_LINE) ? OWN_LINE : '';
  const lines = (some) => some.split('\n').filter((line) => line.trim() !== '').join('\n');
  if (kindOf(file) === 'file' && lines(text) === lines(`${first}\n${own}`)) return false;
  const wanted = [first, own].filter(Boolean).join('\n\n');
  if (wanted === '') remove(file);
  else replace(file, `${wanted}\n`);
  return true;
}

/** What root has for new users, and for every login shell. */
function examples(name) {
  const everybodys = entriesOf(PROFILES).map((each) => path.join(PROFILES, each));
  return [path.join(SKELETON, name), ...everybodys].map((file) => textOf(file)?.trimEnd()).filter(Boolean);
}

/** Programs of the user's that would be run in place of root's of the same name; a folder that is a link to such, as a whole. */
function shadows(home) {
  return HOME_FOLDERS.flatMap((folder) => {
    const names = entriesOf(path.join(home, folder)).filter((name) => !TOOLCHAIN.test(name) && isOfRoot(name));
    return kindOf(path.join(home, folder)) === 'link' && names.length > 0 ? [folder] : names.map((name) => path.join(folder, name));
  });
}

function isOfRoot(name) {
  return ROOT_FOLDERS.some((folder) => kindOf(path.join(folder, name)) !== undefined);
}

function entriesOf(folder) {
  try {
    return fs.readdirSync(folder);
  } catch {
    return [];
  }
}

function removeShadows(home, names) {
  return names.filter((name) => remove(path.join(home, name)));
}

/** Files of a checkout that Claude Code would run programs for, and that are not the repository's: made by a build. */
async function putBackProject({ folder, git }) {
  const { stdout } = await git(['ls-files', '-z', '--', '.claude', '.mcp.json']);
  const tracked = stdout.split('\0').filter(Boolean);
  const gone = [];
  if (kindOf(path.join(folder, '.claude')) === 'link' && !tracked.includes('.claude')) {
    remove(path.join(folder, '.claude'));
    gone.push('.claude');
  }
  for (const name of PROJECT) if (!tracked.includes(name) && remove(path.join(folder, name))) gone.push(name);
  if (tracked.length === 0) return gone;
  const changed = (await git(['diff', '--no-ext-diff', '--name-only', '-z', 'HEAD', '--', ...tracked])).stdout.split('\0').filter(Boolean);
  if (changed.length > 0) await git(['checkout', '--quiet', '--force', 'HEAD', '--', ...changed]);
  return [...gone, ...changed];
}

/** What an install must leave as it is: the settings above, those of Claude Code apart, which a session may be at work with. */
function steering(home, folder) {
  return [...['.gitconfig', ...STEERING, ...SHELLS].map((name) => path.join(home, name)), ...PROJECT.map((name) => path.join(folder, name))];
}

module.exports = { putBack, putBackProject, removeShadows, shadows, steering };
