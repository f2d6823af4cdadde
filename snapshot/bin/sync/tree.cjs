// What git opens by its name in a work tree: a pipe there makes every git wait for ever, and `.gitattributes` steer what it does.
//
// Git never follows links to these files, and reads tracked files only where they are files; what it opens without looking first is
// `.gitattributes` and `.gitignore` of every folder that it comes through, and at the top what it and git-lfs take settings from.
// Names are kept as bytes of Latin-1: a repository's need be no text.
'use strict';

const fs = require('node:fs');

const OPENED = ['.gitattributes', '.gitignore', '.gitmodules', '.lfsconfig', '.mailmap'];
const ATTRIBUTES = '.gitattributes';
/** Of a repository's folder, where git itself makes no links to folders. */
const NO_LINKS = /^(objects|refs|logs)(\/|$)/;
const MOST_BYTES = 4 * 1024 * 1024;

/**
 * Removes what git would wait for in the folders of the index and of `more` names, and puts back from the index what was tracked. On
 * the first run attributes are put back as well, whatever they are. Answers with the names of what was different.
 */
async function makeReadable({ git, folder, environment, more = [], isFirst }) {
  const { bytes } = await git(['ls-files', '-z'], { cwd: folder, environment });
  const root = rootOf(folder);
  const removed = [];
  for (const [within, tracked] of existing(root, foldersOf(namesIn(bytes), more))) {
    for (const entry of entriesOf(root + within)) {
      const name = entry.name.toString('latin1');
      const file = root + within + name;
      const isOpened = OPENED.includes(name);
      const goes = blocks(entry, file, isOpened) ? isOpened || tracked.has(name) : isFirst && name === ATTRIBUTES && !entry.isDirectory();
      if (!goes) continue;
      removed.push({ name: within + name, file, before: entry.isFile() ? bytesOf(file) : undefined, isTracked: tracked.has(name) });
      fs.unlinkSync(raw(file));
    }
  }
  const again = removed.filter(({ isTracked }) => isTracked).map(({ name }) => `${name}\0`).join('');
  if (again !== '') await git(['checkout-index', '--quiet', '--force', '-z', '--stdin'], { cwd: folder, environment, input: raw(again) });
  return removed.filter(({ file, before }) => !before || !bytesOf(file)?.equals(before)).map(({ name }) => raw(name).toString());
}

/** What git printed of names in a checkout, each ended by a zero byte. */
function namesIn(bytes) {
  return (bytes ?? '').toString('latin1').split('\0').filter((name) => name !== '' && isInside(name));
}

/** The folders that all these names lie in, and those above them, each with the tracked names in it; outer ones first. */
function foldersOf(tracked, more) {
  const folders = new Map([['', new Set()]]);
  for (const name of [...tracked, ...more]) {
    const within = name.slice(0, name.lastIndexOf('/') + 1);
    for (let up = within; !folders.has(up); up = up.slice(0, up.lastIndexOf('/', up.length - 2) + 1)) folders.set(up, new Set());
  }
  for (const name of tracked) folders.get(name.slice(0, name.lastIndexOf('/') + 1)).add(name.slice(name.lastIndexOf('/') + 1));
  return [...folders].sort(([one], [other]) => one.length - other.length);
}

/** Those of them that are folders, without a link on the way, and can be looked into. */
function existing(root, folders) {
  const real = new Set();
  return folders.filter(([within]) => {
    const isReachable = within === '' || real.has(within.slice(0, within.lastIndexOf('/', within.length - 2) + 1));
    if (isReachable && open(root + within)) real.add(within);
    return real.has(within);
  });
}

/** Whether it is a folder, which its owner may look into from then on: git opens names in one that it cannot list. */
function open(name) {
  try {
    const stat = fs.lstatSync(raw(name.replace(/\/+$/, '')));
    if (stat.isDirectory() && (stat.mode & 0o700) !== 0o700) fs.chmodSync(raw(name), (stat.mode & 0o7777) | 0o700);
    return stat.isDirectory();
  } catch {
    return false;
  }
}

function entriesOf(name) {
  try {
    return fs.readdirSync(raw(name), { withFileTypes: true, encoding: 'buffer' });
  } catch {
    return [];
  }
}

/** Whether whoever opens it may wait: it is neither file nor folder, nor a link to one where links count. */
function blocks(entry, file, isFollowed) {
  if (!entry.isSymbolicLink()) return !entry.isFile() && !entry.isDirectory();
  if (!isFollowed) return false;
  try {
    const stat = fs.statSync(raw(file));
    return !stat.isFile() && !stat.isDirectory();
  } catch {
    return false;
  }
}

/** Removes of a repository's folder what git would wait for, or be led away by to wait there; answers with the names of that. */
function removeBlocking(gitFolder) {
  const root = rootOf(gitFolder);
  const look = (within) => !open(root + within) ? [] : entriesOf(root + within).flatMap((entry) => {
    const name = within + entry.name.toString('latin1');
    if (entry.isDirectory()) return look(`${name}/`);
    const isAstray = entry.isSymbolicLink() && NO_LINKS.test(name) && entriesOf(root + name).length > 0;
    if (!isAstray && !blocks(entry, root + name, true)) return [];
    fs.unlinkSync(raw(root + name));
    return [raw(name).toString()];
  });
  return look('');
}

function rootOf(folder) {
  return `${Buffer.from(folder).toString('latin1')}/`;
}

function bytesOf(file) {
  const stat = fs.lstatSync(raw(file), { throwIfNoEntry: false });
  return stat?.isFile() && stat.size <= MOST_BYTES ? readable(file) : undefined;
}

function readable(file) {
  try {
    return fs.readFileSync(raw(file));
  } catch {
    return undefined;
  }
}

/** Whether a name of an index leads nowhere else, and into no repository's own folder. */
function isInside(name) {
  return !name.split('/').some((part) => ['', '.', '..', '.git'].includes(part.toLowerCase()));
}

function raw(name) {
  return Buffer.from(name, 'latin1');
}

module.exports = { makeReadable, removeBlocking, namesIn, isInside };
