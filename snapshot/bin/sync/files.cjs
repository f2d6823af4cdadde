// Files in places where a build could write: a name may be a pipe, a link or a folder by now, and none of that may make a run wait
// or write anywhere else.
'use strict';

const { spawnSync } = require('node:child_process');
const { createHash } = require('node:crypto');
const fs = require('node:fs');
const path = require('node:path');

const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK } = fs.constants;
/** Nothing that is read here whole is longer. */
const MOST_BYTES = 4 * 1024 * 1024;
let mounts;

/** The bytes of a regular file; undefined for everything else, and for what is too long to be what it should be. */
function bytesOf(file, most = MOST_BYTES) {
  let opened;
  try {
    opened = fs.openSync(file, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
    const stat = fs.fstatSync(opened);
    return stat.isFile() && stat.size <= most ? fs.readFileSync(opened) : undefined;
  } catch {
    return undefined;
  } finally {
    if (opened !== undefined) fs.closeSync(opened);
  }
}

function textOf(file, most) {
  return bytesOf(file, most)?.toString();
}

/** `file`, `folder`, `link` or `other`; undefined where there is nothing. */
function kindOf(name) {
  let stat;
  try {
    stat = fs.lstatSync(name, { throwIfNoEntry: false });
  } catch (error) {
    if (error.code !== 'ENOTDIR') throw error;
  }
  if (!stat) return undefined;
  if (stat.isSymbolicLink()) return 'link';
  return stat.isFile() ? 'file' : stat.isDirectory() ? 'folder' : 'other';
}

/** Whole or not at all, whatever was there before. */
function replace(file, bytes, mode = 0o644) {
  const part = `${file}.harvest-new`;
  remove(part);
  fs.writeFileSync(part, bytes, { flag: 'wx', mode });
  if (kindOf(file) === 'folder') remove(file);
  fs.renameSync(part, file);
}

/** Removes a file, a link, or a folder with all that is in it; true when there was something. What is mounted is nobody's to remove. */
function remove(name) {
  if (kindOf(name) === undefined || isMounted(name)) return false;
  try {
    fs.rmSync(name, { recursive: true, force: true });
  } catch {
    // Folders that their owner may not look into, or that are nested deeper than a path can be long.
    const options = { env: {}, stdio: 'ignore' };
    spawnSync('/bin/chmod', ['-R', 'u+rwx', '--', name], options);
    spawnSync('/bin/rm', ['-rf', '--', name], options);
    if (kindOf(name) !== undefined) throw new Error(`${name} cannot be removed: remove it by hand`);
  }
  return true;
}

/** Removes it but for files within that are as `known` says, by names within `root`; true when something was removed. */
function sweep(root, name, known) {
  const file = path.join(root, name);
  if (kindOf(file) === undefined || isAsKnown(root, name, known)) return false;
  if (kindOf(file) !== 'folder' || !Object.keys(known).some((other) => other.startsWith(`${name}/`))) return remove(file);
  return entriesOf(file).map((entry) => sweep(root, path.join(name, entry), known)).some(Boolean);
}

/** Whether it is a file with the digest that is known of it. */
function isAsKnown(root, name, known) {
  if (!Object.hasOwn(known, name)) return false;
  const bytes = bytesOf(path.join(root, name));
  return bytes !== undefined && createHash('sha256').update(bytes).digest('hex') === known[name];
}

/** Names in a folder; none where it is no folder that can be read. */
function entriesOf(folder) {
  try {
    return fs.readdirSync(folder);
  } catch {
    return [];
  }
}

/** Whether it is a mount, or holds one: those were made by whoever made the sandbox, and hold what is not in a prebuild. */
function isMounted(name) {
  mounts ??= fs.readFileSync('/proc/self/mountinfo', 'utf8').split('\n').filter(Boolean)
    .map((line) => line.split(' ')[4].replace(/\\([0-7]{3})/g, (_, octal) => String.fromCharCode(Number.parseInt(octal, 8))));
  if (kindOf(name) === 'link') return false;
  const real = fs.realpathSync(name);
  return mounts.some((mount) => mount === real || mount.startsWith(`${real}${path.sep}`));
}

/** Whether this is a folder, and no link is on the way to it. */
function isRealFolder(name) {
  return kindOf(name) === 'folder' && fs.realpathSync(name) === name;
}

/** A folder of that name, with nothing in between that leads elsewhere. */
function makeFolder(name) {
  if (kindOf(name) === 'folder') return;
  remove(name);
  fs.mkdirSync(name);
}

module.exports = { bytesOf, textOf, kindOf, entriesOf, isAsKnown, isRealFolder, replace, remove, sweep, makeFolder };
