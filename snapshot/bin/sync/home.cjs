// The home as the image has it, in what steers programs that a session runs with its tokens: on the first run in a sandbox.
//
// The worker puts all of it back before it captures a prebuild; this is for prebuilds from before it did, and for what it missed.
// Settings are found by their kind and not by a list of programs: hidden files of the home itself, and all of ~/.config, go, and so
// do the folders below. What stays are other folders, which hold caches and installed packages; and what the base had, where the
// manifest says so (`home`).
'use strict';

const fs = require('node:fs');
const path = require('node:path');

const { entriesOf, isAsKnown, kindOf, remove, replace, sweep, textOf } = require('./files.cjs');
const { HOME_FOLDERS, ROOT_FOLDERS } = require('./surroundings.cjs');

/** Settings, and programs or code that are run without being asked for, of git, ssh, shells, editors, runtimes and browsers. */
const FOLDERS = [
  '.git', '.ssh', '.gnupg', '.pki', '.aws', '.azure', '.kube', '.docker', '.vim', '.emacs.d', '.tmux', '.pip', '.bundle', '.ipython', '.node_modules',
  '.node_libraries', '.npm-global/etc', '.cargo/config', '.cargo/config.toml', '.cargo/credentials', '.cargo/credentials.toml', '.gradle/init.d',
  '.gradle/gradle.properties', '.m2/settings.xml', '.m2/extensions.xml', '.cache/chrome-devtools-mcp', '.cache/claude-cli-nodejs',
  ...['applications', 'bash-completion', 'claude', 'fish', 'gh', 'keyrings', 'nvim', 'zsh'].map((name) => `.local/share/${name}`),
];
/** Of Claude Code, which a session may be writing to when this runs for a second time. */
const CLAUDE = ['.claude', '.claude.json'];
/** Git's, which is made anew by itself. */
const IDENTITY = '.gitconfig';
const SETTINGS = '.config';
const SHELLS = [
  '.profile', '.bash_profile', '.bash_login', '.bash_logout', '.bashrc', '.bash_aliases', '.zshenv', '.zprofile', '.zshrc', '.zlogin', '.zlogout',
];
/**
 * Where Python looks for what it runs at every start: https://docs.python.org/3/library/site.html. Of a `.pth` it runs lines that
 * begin with `import` and a blank, hidden ones included before 3.12.2, and takes every other line for a place to find modules in,
 * which `pip install --editable` leaves; `.start` files (PEP 829) name functions to call.
 */
const PYTHONS = '.local/lib';
const CUSTOM = /^(user|site)customize\b/;
const AT_START = /\.(pth|start)$/;
const PATHS = /\.pth$/;
const PATHS_BYTES = 16 * 1024;
/** All that Python takes for the end of a line. */
const LINE_END = /[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]/;
/** Where a new user's files come from; root's. */
const SKELETON = '/etc/skel';
const PROFILES = '/etc/profile.d';
/** What the worker adds for login shells on bases that do not know of the repository's tools. */
const OWN_LINE = 'export PATH="$HOME/.harvest/bin:$PATH"';
/** A repository's own tools, which may stand before the image's. */
const TOOLCHAIN = /^(node|npm|npx|corepack|pnpm|pnpx|yarn|yarnpkg|python[0-9.]*|pip[0-9.]*|uv|uvx)$/;
/** Run by git, Claude Code and shells wherever they find them, also where root has none. */
const SOUGHT = /^(git-.*|ssh(-.*)?|gpg.*|gh|rg|less(pipe)?|more|pager|editor|vi|vim|nano|zsh|fish|tmux|docker|docker-.*|security|xdg-open|command-not-found)$/;
/** In the folder for temporary files: what Claude Code, Node and git use there by a name that can be known before. */
const TEMPORARY = /^(claude-.*|cc-.*|node-compile-cache|v8-compile-cache.*|node_modules|package\.json|\.git|\.claude|\.mcp\.json|CLAUDE(\.local)?\.md|AGENTS\.md)$/;

/** Puts it back; answers with what was there. `known` has the digests of what the base had, by names within the home. */
function putBack(home, { temporary, known = {} }) {
  const gone = [...steered(home), ...CLAUDE].filter((name) => isReachable(home, name) && sweep(home, name, known));
  for (const name of SHELLS) if (!isAsKnown(home, name, known) && restored(path.join(home, name))) gone.push(name);
  gone.push(...entriesOf(temporary).filter((name) => TEMPORARY.test(name) && remove(path.join(temporary, name))));
  return [...gone, ...removeAll(home, [...shadows(home), ...startsOfPython(home)])];
}

/** Names within the home of what steers programs, as far as it is there; those of Claude Code, of shells and of git apart. */
function steered(home) {
  const apart = [...CLAUDE, ...SHELLS, IDENTITY];
  const files = entriesOf(home).filter((name) => name.startsWith('.') && kindOf(path.join(home, name)) !== 'folder' && !apart.includes(name));
  const isFolder = kindOf(path.join(home, SETTINGS)) === 'folder';
  const settings = isFolder ? entriesOf(path.join(home, SETTINGS)).map((name) => path.join(SETTINGS, name)) : [];
  return [...files, ...settings, ...FOLDERS.filter((name) => !files.includes(name))];
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
    const names = entriesOf(path.join(home, folder)).filter((name) => !TOOLCHAIN.test(name) && (SOUGHT.test(name) || isOfRoot(name)));
    return kindOf(path.join(home, folder)) === 'link' && names.length > 0 ? [folder] : names.map((name) => path.join(folder, name));
  });
}

function isOfRoot(name) {
  return ROOT_FOLDERS.some((folder) => kindOf(path.join(folder, name)) !== undefined);
}

/** Code that root's Python would run at every start, whatever it was started for. */
function startsOfPython(home) {
  return entriesOf(path.join(home, PYTHONS)).filter((name) => name.startsWith('python')).flatMap((version) => {
    const folder = path.join(PYTHONS, version, 'site-packages');
    const names = entriesOf(path.join(home, folder)).filter((name) => CUSTOM.test(name) || AT_START.test(name));
    return names.map((name) => path.join(folder, name)).filter((name) => !onlyAddsFolders(path.join(home, name)));
  });
}

/** Whether it is a `.pth` by which Python finds modules in more folders, behind its own, and nothing that it would run by itself. */
function onlyAddsFolders(file) {
  const text = PATHS.test(file) ? textOf(file, PATHS_BYTES) : undefined;
  // Wherever it stands in a line: what ends a line depends on Python's version, and on an encoding.
  if (text === undefined || /import[ \t]|\0/.test(text)) return false;
  const lines = text.split(LINE_END).map((line) => line.trim()).filter((line) => line !== '' && !line.startsWith('#'));
  return lines.every((line) => {
    const place = path.resolve(path.dirname(file), line);
    return kindOf(place) === undefined || entriesOfFolder(place)?.some((name) => CUSTOM.test(name)) === false;
  });
}

/** Undefined for what is no folder: Python looks for modules in archives as well. */
function entriesOfFolder(name) {
  try {
    return fs.readdirSync(name);
  } catch {
    return undefined;
  }
}

/** Takes out what Python would run at its start by a checkout that has moved since; answers with the names of that. */
function check(home) {
  return removeAll(home, startsOfPython(home));
}

function removeAll(home, names) {
  return names.filter((name) => remove(path.join(home, name)));
}

/** What an install must leave as it is: the settings above, those of Claude Code apart, which a session may be at work with. */
function guarded(home) {
  const names = [...steered(home), ...SHELLS, IDENTITY].filter((name) => !/^\.config\/(google-chrome|chromium)$/.test(name));
  return { settings: [...new Set(names)], programs: [...shadows(home), ...startsOfPython(home)] };
}

module.exports = { putBack, check, guarded, removeAll };
