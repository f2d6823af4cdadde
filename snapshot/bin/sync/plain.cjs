// Git's refs and index, said again in the plainest way: a build can put more into both than names and numbers.
//
// An index can mark files as unchanged, hold times that make changed files look clean, and be shared; refs can be pipes, stand for
// other objects, and have names that are taken for those of others (refs/tags/origin/main).
'use strict';

const fs = require('node:fs');
const path = require('node:path');

const { entriesOf, kindOf, makeFolder, remove, replace, textOf } = require('./files.cjs');

/** Of `refs/` what may be a session's, and what the fleet makes. */
const KEPT = ['heads', 'remotes', 'stash'];
const PACKED_BYTES = 64 * 1024 * 1024;
/** Names longer than this are nobody's. */
const LONGEST = 2048;

/** Leaves branches, a stash and what is known of origin. Whatever is no file goes. */
function plainRefs(gitFolder) {
  const refs = path.join(gitFolder, 'refs');
  for (const name of entriesOf(refs)) if (!KEPT.includes(name)) remove(path.join(refs, name));
  for (const name of entriesOf(path.join(refs, 'remotes'))) if (name !== 'origin') remove(path.join(refs, 'remotes', name));
  for (const name of ['origin', 'HEAD']) remove(path.join(refs, 'heads', name));
  [refs, path.join(gitFolder, 'logs')].forEach(onlyFiles);
  const packed = path.join(gitFolder, 'packed-refs');
  const text = textOf(packed, PACKED_BYTES);
  if (text === undefined) remove(packed);
  else replace(packed, plainPacked(text));
}

/** Lines of refs, each with the line of what a tag is of, if there is one. */
function plainPacked(text) {
  const kept = [];
  for (const line of text.split('\n').filter(Boolean)) {
    const [, name] = /^[0-9a-f]{40,64} (refs\/\S+)$/.exec(line) ?? [];
    if (line.startsWith('#') && kept.length === 0) kept.push(line);
    else if (name && /^refs\/(heads\/|remotes\/origin\/|stash$)/.test(name) && !/^refs\/heads\/(origin\/|HEAD$)/.test(name)) kept.push(line);
  }
  return kept.map((line) => `${line}\n`).join('');
}

/** Sets a ref whatever is in its way. */
function setRef(gitFolder, name, commit) {
  let folder = gitFolder;
  for (const part of path.dirname(name).split('/')) makeFolder((folder = path.join(folder, part)));
  replace(path.join(gitFolder, name), `${commit}\n`);
}

/** Pipes block whoever opens them, and links lead elsewhere. */
function onlyFiles(folder) {
  for (const entry of entriesOf(folder)) {
    const name = path.join(folder, entry);
    const kind = name.length > LONGEST ? 'other' : kindOf(name);
    if (kind === 'folder') onlyFiles(name);
    else if (kind !== 'file') remove(name);
  }
}

/**
 * The same entries in a new index, which no one has looked at yet, and the commit's where there is none; answers with its file. It
 * is in place as well, for what is asked before `refreshIndex`.
 */
async function newIndex(git, gitFolder) {
  const [index, own] = ['harvest-index', 'index'].map((name) => path.join(gitFolder, name));
  const environment = { GIT_INDEX_FILE: index };
  const { code, bytes } = kindOf(own) === 'file' ? await git(['ls-files', '--stage', '-z']) : {};
  remove(index);
  const made = code === 0 ? await git(['update-index', '-z', '--index-info'], { input: bytes, environment }) : { code };
  if (made.code !== 0) await git(['read-tree', 'HEAD'], { environment });
  if (kindOf(index) === 'file') replace(own, fs.readFileSync(index));
  for (const name of fs.readdirSync(gitFolder)) if (/^sharedindex\./.test(name)) remove(path.join(gitFolder, name));
  return index;
}

/** Has every entry looked at, so that the next `status` sees what is there; it must be readable. */
async function refreshIndex(git, index, { sparse }) {
  const environment = { GIT_INDEX_FILE: index };
  if (sparse) await git(['sparse-checkout', 'reapply'], { environment });
  await git(['update-index', '-q', '--refresh'], { environment });
  // Also where somebody has its lock: that one puts its own in place when it is done.
  if (kindOf(index) === 'file') fs.renameSync(index, path.join(path.dirname(index), 'index'));
}

module.exports = { plainRefs, newIndex, refreshIndex, onlyFiles, setRef };
