// Whether git's objects are what their names say. Git looks when it receives one, and not when it reads one: a build can write another
// tree or another file under the name of the commit's own, and a checkout of it would come out as clean.
'use strict';

const { createHash } = require('node:crypto');

/** Longer than any commit, and than any folder or settings file that is read by this. */
const MOST_OBJECTS = 10_000;
/** Modes of a tree's entries. */
const [FOLDER, SUBMODULE] = ['40000', '160000'];

class ForgedObject extends Error {}

/**
 * Of these top-level names those that a commit has, after a look at every object that makes them. Throws where one is not what its
 * name says, or is not there, for what would be checked out then is not the repository's. In a partial clone objects may be missing:
 * those come from the remote, and git looks at them then.
 */
async function genuine({ git, isPartial }, commit, names) {
  const look = (oids) => read(git, oids, isPartial);
  const [text] = await look([commit]);
  const root = /^tree ([0-9a-f]+)\n/.exec(text.toString())?.[1];
  const [tree] = await look([root]);
  const top = entries(tree, commit).filter(({ name }) => names.includes(name));
  let count = 0;
  for (let level = top; level.length > 0; ) {
    const here = level.filter(({ mode }) => mode !== SUBMODULE);
    count += here.length;
    if (count > MOST_OBJECTS) throw new ForgedObject(`more than ${MOST_OBJECTS} objects make ${names.join(', ')}`);
    const objects = await look(here.map(({ oid }) => oid));
    level = here.flatMap(({ mode }, index) => (mode === FOLDER ? entries(objects[index], commit) : []));
  }
  return top.map(({ name }) => name);
}

/** The objects of these names, each as its name says; nothing for what a partial clone lacks. */
async function read(git, oids, isPartial) {
  const found = [];
  while (found.length < oids.length) {
    const input = `${oids.slice(found.length).join('\n')}\n`;
    const { bytes } = await git(['cat-file', '--batch'], { input, environment: { GIT_NO_LAZY_FETCH: '1' } });
    found.push(...objectsIn(bytes, oids.slice(found.length)));
    if (found.length === oids.length) break;
    if (!isPartial) throw new ForgedObject(`${oids[found.length]} is not among git's objects`);
    found.push(Buffer.alloc(0));
  }
  return found;
}

/** What `git cat-file --batch` printed, up to the first that is not there. */
function objectsIn(bytes, oids) {
  const found = [];
  let at = 0;
  for (const oid of oids) {
    const end = bytes.indexOf('\n', at);
    const [, type, size] = /^[0-9a-f]+ ([a-z]+) ([0-9]+)$/.exec(bytes.subarray(at, Math.max(at, end)).toString()) ?? [];
    if (type === undefined) break;
    const object = bytes.subarray(end + 1, end + 1 + Number(size));
    at = end + 2 + Number(size);
    const hash = createHash(oid.length === 64 ? 'sha256' : 'sha1').update(`${type} ${size}\0`).update(object).digest('hex');
    if (hash !== oid) throw new ForgedObject(`git's object ${oid} holds something else than its name says`);
    found.push(object);
  }
  return found;
}

/** A tree's entries. Names are kept as bytes of Latin-1: only whether they are equal matters. */
function entries(tree, { length: digits }) {
  const [found, length] = [[], digits / 2];
  for (let at = 0; at < tree.length; ) {
    const [space, end] = [tree.indexOf(' ', at), tree.indexOf(0, at)];
    found.push({ mode: tree.toString('latin1', at, space), name: tree.toString('latin1', space + 1, end), oid: tree.toString('hex', end + 1, end + 1 + length) });
    at = end + 1 + length;
  }
  return found;
}

module.exports = { ForgedObject, genuine };
