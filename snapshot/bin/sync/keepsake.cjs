// How some files are at one moment, so that they can be put back exactly so: what an install, which runs the repository's code, may
// not change behind the session's back.
'use strict';

const fs = require('node:fs');
const path = require('node:path');

const { bytesOf, entriesOf, kindOf, remove } = require('./files.cjs');

class Keepsake {
  constructor(names) {
    this.kept = new Map(names.map((name) => [name, memoryOf(name)]));
  }

  /** What is different now, as pairs of its name and how it was. */
  #changes() {
    return [...this.kept].filter(([name, memory]) => !isSame(memory, memoryOf(name)));
  }

  /** Names of what is different now. */
  changed() {
    return this.#changes().map(([name]) => name);
  }

  /** Puts back what is different now; answers with the names of that. What is too long to be settings is told, and left. */
  restore() {
    const changed = this.#changes();
    for (const [name, memory] of changed) {
      if (memory?.kind === 'file') continue;
      remove(name);
      make(name, memory);
    }
    return changed.map(([name]) => name);
  }
}

/** `{ bytes, mode }`, `{ link }`, `{ entries }` or `{ kind, stamp }`, which is all there is of what is not read; undefined for nothing. */
function memoryOf(name) {
  const kind = kindOf(name);
  if (kind === 'link') return { link: fs.readlinkSync(name) };
  const bytes = kind === 'file' ? bytesOf(name) : undefined;
  if (bytes) return { bytes, mode: fs.statSync(name).mode & 0o7777 };
  if (kind !== 'folder') return kind && { kind, stamp: stampOf(name) };
  return { entries: new Map(entriesOf(name).sort().map((entry) => [entry, memoryOf(path.join(name, entry))])) };
}

function stampOf(name) {
  const { ino, size, ctimeMs } = fs.lstatSync(name);
  return `${ino} ${size} ${ctimeMs}`;
}

function isSame(one, other) {
  if (!one || !other) return one === other;
  if (one.bytes && other.bytes) return one.mode === other.mode && one.bytes.equals(other.bytes);
  if (!one.entries || !other.entries) {
    return ['link', 'kind', 'stamp'].every((part) => one[part] === other[part]) && !one.bytes === !other.bytes && !one.entries === !other.entries;
  }
  return one.entries.size === other.entries.size && [...one.entries].every(([name, memory]) => isSame(memory, other.entries.get(name)));
}

function make(name, memory) {
  if (!memory) return;
  fs.mkdirSync(path.dirname(name), { recursive: true });
  if (memory.link !== undefined) fs.symlinkSync(memory.link, name);
  else if (memory.bytes) fs.writeFileSync(name, memory.bytes, { flag: 'wx', mode: memory.mode });
  else if (memory.entries) {
    fs.mkdirSync(name);
    for (const [entry, inner] of memory.entries) make(path.join(name, entry), inner);
  }
}

module.exports = { Keepsake };
